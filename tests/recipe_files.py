"""Small files in the formats of the data sets that recipes read."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np


def write_edf(
    path: Path, names: Sequence[str], sfreq: int, volts: np.ndarray, begin: datetime.time = datetime.time(0)
) -> None:
    """Write EDF, in µV up to 300."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = [
        edfio.EdfSignal(row * 1e6, sfreq, label=name, physical_dimension="uV", physical_range=(-300, 300))
        for name, row in zip(names, volts, strict=True)
    ]
    edfio.Edf(signals, starttime=begin).write(path)


def waves(n_channels: int, n_times: int, sfreq: float, *, seed: float = 0.0, lowest: float = 5.0) -> np.ndarray:
    """Sines of 50 µV, each channel with a frequency of its own, whose phases drift from window to window."""
    hertz = lowest + 0.37 * np.arange(n_channels) + 0.013 * (1 + seed)
    return 50e-6 * np.sin(2 * np.pi * hertz[:, None] * np.arange(n_times) / sfreq)
