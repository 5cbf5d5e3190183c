"""Recordings of noise, in memory and as files."""

import mne
import numpy as np

NAMES = ("Fp1", "Cz", "O2")


def noise(seconds=9.0, *, names=NAMES, sfreq=200.0, seed=0, amplitude_uv=20.0):
    """A recording of noise."""
    rng = np.random.default_rng(seed)
    data = amplitude_uv * 1e-6 * rng.standard_normal((len(names), round(seconds * sfreq)))
    return mne.io.RawArray(data, mne.create_info(list(names), sfreq, "eeg"), verbose="ERROR")


def save(raw, path):
    """Write a recording as FIF, in double precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw.save(path, fmt="double", overwrite=True, verbose="ERROR")
    return path
