"""EDF files of noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import recipe_files


def noise_uv(n_channels: int, seconds: float, sfreq: float, seed: int) -> np.ndarray:
    """Noise of 30 µV."""
    return 30 * np.random.default_rng(seed).standard_normal((n_channels, round(seconds * sfreq)))


def write_edf(path: Path, microvolts: np.ndarray, sfreq: float, ch_names: Sequence[str]) -> None:
    """Write signals (n_channels, n_times) in µV; names may be there twice."""
    recipe_files.write_edf(path, ch_names, round(sfreq), microvolts * 1e-6)
