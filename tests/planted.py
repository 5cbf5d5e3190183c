"""Windows of noise in which classes differ by something that estimators ought to find."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tiny_tasks import noise_data

from mne_specmoe.benchmark.entries import BUDGETS, Setting
from mne_specmoe.benchmark.networks import import_braindecode
from mne_specmoe.benchmark.task_data import TaskData

TINY = Setting(seed=0, budget=BUDGETS["tiny"], remember=lambda function: function)
SITES = ("Fz", "Cz", "Pz", "C3", "C4", "O1", "O2", "Oz", "F3", "F4", "P3", "P4")


def _has_braindecode() -> bool:
    try:
        import_braindecode()
    except ImportError:
        return False
    return True


needs_braindecode = pytest.mark.skipif(not _has_braindecode(), reason="needs the extra of the benchmark")


def noise(
    n_windows: int = 24,
    n_classes: int = 2,
    *,
    n_channels: int = 3,
    n_times: int = 400,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> TaskData:
    """Windows of white noise, 10 µV, side by side in one recording of each of four subjects; labels take turns."""
    per_subject = -(-n_windows // 4)
    data = noise_data(per_subject, subjects=("P0", "P1", "P2", "P3")).take(np.arange(n_windows))
    volts = 1e-5 * np.random.default_rng(seed).standard_normal((n_windows, n_channels, n_times))
    return replace(
        data,
        X=volts.astype(np.float32),
        y=np.arange(n_windows) % n_classes,
        starts=n_times * (np.arange(n_windows) % per_subject),
        ch_names=SITES[:n_channels] if n_channels > 1 else ("EEG",),
        classes=tuple(classes or [f"class {number}" for number in range(n_classes)]),
    )


def oscillating(n_windows: int, n_classes: int = 2, *, frequencies: Sequence[float] = (0, 10, 20, 28), **kwargs):
    """The same, each class with an oscillation of its own frequency, of random phase, on the second channel."""
    data = noise(n_windows, n_classes, **kwargs)
    time = np.arange(data.n_times) / data.sfreq
    phases = np.random.default_rng(1 + kwargs.get("seed", 0)).uniform(0, 2 * np.pi, (n_windows, 1))
    hertz = np.asarray(frequencies)[data.y][:, None]
    waves = 1e-5 * np.where(hertz > 0, np.sin(2 * np.pi * hertz * time + phases), 0)
    data.X[:, min(1, len(data.ch_names) - 1)] += waves.astype(np.float32)
    return data
