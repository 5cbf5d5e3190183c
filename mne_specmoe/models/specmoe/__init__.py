"""SpecMoE: a spectral mixture of masked-reconstruction experts."""
