"""The papers' other data sets, one module each: windows, labels and splits as published, and corrected."""
