"""The health check of pretrained networks: what their features carry, and what they ignore."""
