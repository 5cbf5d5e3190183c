"""EDF files of known signals."""

from pathlib import Path

import mne
import numpy as np


def noise_uv(n_channels: int, seconds: float, sfreq: float, seed: int) -> np.ndarray:
    """Noise of 30 µV."""
    return 30 * np.random.default_rng(seed).standard_normal((n_channels, round(seconds * sfreq)))


def write_edf(path: Path, microvolts: np.ndarray, sfreq: float, ch_names, marks: mne.Annotations | None = None) -> None:
    """Write signals (n_channels, n_times) in µV, and marks."""
    info = mne.create_info([f"{place}" for place in range(len(ch_names))], sfreq, "eeg")
    raw = mne.io.RawArray(microvolts * 1e-6, info, verbose="ERROR").set_annotations(marks)
    path.parent.mkdir(parents=True, exist_ok=True)
    mne.export.export_raw(path, raw, overwrite=True, verbose="ERROR")
    _rename(path, ch_names)


def _rename(path: Path, ch_names) -> None:
    """Write the names of channels, which may be there twice."""
    with path.open("r+b") as file:
        file.seek(256)
        for name in ch_names:
            file.write(name.encode().ljust(16))
