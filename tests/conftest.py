"""Fixtures shared by all tests: synthetic epochs, and real recordings where they are present."""

import os
from pathlib import Path

import mne
import pytest
import torch

from mne_specmoe.data.synthetic import make_epochs

mne.set_log_level("WARNING")
# The tests' networks are tiny. More threads than idle cores make each step wait for the busiest core, many times over.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real recordings, named by the environment variable MNE_SPECMOE_DATA."""
    root = os.environ.get("MNE_SPECMOE_DATA")
    if not root:
        pytest.skip("real recordings are needed: set MNE_SPECMOE_DATA to their folder")
    if not Path(root).is_dir():
        pytest.skip(f"real recordings are needed, but MNE_SPECMOE_DATA={root} is no folder")
    return Path(root)


@pytest.fixture(scope="session")
def eegbci_raw(data_root) -> mne.io.BaseRaw:
    """PhysioNet EEGMMIDB, subject 1, imagined left or right fist, three runs, 64 channels, 160 Hz.

    Shared by the session: copy before changing.
    """
    folder = data_root / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"
    if not folder.is_dir():
        pytest.skip(f"EEGMMIDB is needed, but {folder} is absent")
    runs = [mne.io.read_raw_edf(folder / f"S001R{run:02d}.edf", preload=True) for run in (4, 8, 12)]
    raw = mne.concatenate_raws(runs)
    mne.datasets.eegbci.standardize(raw)
    return raw


@pytest.fixture(scope="session")
def eegbci_epochs(eegbci_raw) -> mne.Epochs:
    """Imagined left (T1) and right (T2) fist, 4 s each, preloaded. Shared: copy before changing."""
    return mne.Epochs(eegbci_raw, event_id=["T1", "T2"], tmin=0, tmax=4 - 1 / 160, baseline=None, preload=True)


@pytest.fixture(scope="session")
def synthetic_epochs() -> mne.EpochsArray:
    """Twelve small epochs of two subjects: 6 channels, 2 s at 160 Hz. Copy before changing."""
    epochs, _, _ = make_epochs(12, n_channels=6, duration=2, sfreq=160, n_subjects=2)
    return epochs
