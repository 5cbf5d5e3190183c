"""Arrays to the canonical tensor, and spectra of it."""
