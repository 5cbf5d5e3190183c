"""Files, of recordings or of epochs, as windows of one length."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np

from mne_specmoe._validation import check_number
from mne_specmoe.data.preprocessing import prepare_raw

_EPOCHS_ENDINGS = ("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")


class Windows(NamedTuple):
    """Windows of one file.

    Attributes
    ----------
    epochs : mne.BaseEpochs
        The windows.
    start_seconds : ndarray, shape (n_windows,)
        Where each begins in its recording.
    """

    epochs: mne.BaseEpochs
    start_seconds: np.ndarray


def read_windows(
    path: str | os.PathLike,
    *,
    window_seconds: float = 10.0,
    l_freq: float | None = 0.3,
    h_freq: float | None = 75.0,
    notch: float | Sequence[float] | None = 60.0,
    channels: Sequence[str] | None = None,
) -> Windows:
    """Read a file of epochs as it is, or preprocess a recording and cut it into windows that do not overlap.

    Parameters
    ----------
    path : path-like
        ``-epo.fif``, or any recording that MNE reads.
    window_seconds : float
        Length of the windows of recordings.
    l_freq, h_freq, notch, channels
        Preprocessing of recordings, see `mne_specmoe.prepare_raw`. Of epochs, only `channels` are picked.

    Returns
    -------
    windows : Windows

    Raises
    ------
    ValueError
        If a recording is shorter than a window, or the path is a folder of recordings.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no recording {path}.")
    if path.is_dir() and not path.suffix:  # recordings that are folders, of CTF or EGI, have a suffix
        raise ValueError(f"{path} is a folder; give the recordings in it, such as {path / '*.edf'}.")
    if path.name.endswith(_EPOCHS_ENDINGS):
        epochs = mne.read_epochs(path, verbose="ERROR")
        epochs = epochs if channels is None else epochs.pick(list(channels))
        return Windows(epochs, epochs.events[:, 0] / epochs.info["sfreq"] + epochs.tmin)
    check_number("window_seconds", window_seconds, minimum=0.0, strict=True)
    raw = mne.io.read_raw(path, verbose="ERROR")
    if raw.duration < window_seconds:
        raise ValueError(f"{path} lasts {raw.duration:g} s, less than one window of {window_seconds:g} s.")
    raw = prepare_raw(raw, l_freq=l_freq, h_freq=h_freq, notch=notch, channels=channels, verbose="ERROR")
    epochs = mne.make_fixed_length_epochs(
        raw, window_seconds, reject_by_annotation=False, preload=True, verbose="ERROR"
    )
    start = (epochs.events[:, 0] - raw.first_samp) / raw.info["sfreq"]
    return Windows(epochs, start)
