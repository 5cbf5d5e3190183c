"""BrainRVQ: masked prediction of the codes of a residual quantiser of two domains."""
