"""Arrays to the canonical tensor, names of its channels, and spectra of it."""
