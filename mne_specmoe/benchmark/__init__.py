"""What is measured, against what, and how fast."""
