"""Files for a health check: epochs of recordings, and who was recorded as their names or metadata say."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from mne_specmoe.data.recordings import metadata_column
from mne_specmoe.data.sources import Source, check_subject_pattern, subject_of
from mne_specmoe.data.windows import read_windows


class People(NamedTuple):
    """Epochs and whose they are, as `mne_specmoe.diagnose` takes them.

    Attributes
    ----------
    epochs : list of mne.BaseEpochs
        One per file.
    groups : ndarray of str, shape (n_epochs,)
        Who was recorded, for all of them.
    """

    epochs: list
    groups: np.ndarray


def read_people(
    files: Sequence[str | os.PathLike],
    *,
    subject_pattern: str | None = None,
    subject_column: str | None = None,
    window_seconds: float = 10.0,
    l_freq: float | None = 0.3,
    h_freq: float | None = 75.0,
    notch: float | Sequence[float] | None = 60.0,
    channels: Sequence[str] | None = None,
    verbose: int = 0,
) -> People:
    """Read files, and tell who was recorded.

    Parameters
    ----------
    files : sequence of path-like
        Recordings, which are preprocessed and cut into windows, or epochs (``-epo.fif``), which are taken as they are.
    subject_pattern : str | None
        Regular expression with one group, the subject, searched for in the path. None: known schemes of naming files,
        then what the recording states, then the name of the file.
    subject_column : str | None
        Column of the epochs' metadata that says who was recorded, in place of the path.
    window_seconds, l_freq, h_freq, notch, channels
        See `mne_specmoe.data.windows.read_windows`.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    people : People

    Raises
    ------
    ValueError
        If neither path nor metadata say who was recorded.
    FileNotFoundError
        If there is no such file.
    """
    check_subject_pattern(subject_pattern)
    epochs, groups = [], []
    for path in tqdm([Path(file) for file in files], desc="read", unit="file", disable=not verbose, leave=False):
        windows = read_windows(
            path, window_seconds=window_seconds, l_freq=l_freq, h_freq=h_freq, notch=notch, channels=channels
        )
        epochs.append(windows.epochs)
        groups.append(_subjects(path, windows.epochs, subject_pattern, subject_column))
    return People(epochs, np.concatenate(groups))


def _subjects(path: Path, epochs: object, pattern: str | None, column: str | None) -> np.ndarray:
    """Who was recorded, epoch by epoch."""
    try:
        if column is not None:
            return metadata_column(epochs, column).astype(str)
        return np.repeat(subject_of(Source(str(path), 0, path), epochs, pattern), len(epochs))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
