"""Where electrodes are: as recordings say, else as their names do."""

import re
from collections.abc import Sequence
from functools import lru_cache

import mne
import numpy as np

from mne_specmoe.signal.names import plain_name

_CAP_SITE = re.compile(r"[A-H]\d+")  # of BioSemi: other places than of the same name in the 10-05 system
_MONTAGES = ("colin27_1005", "standard_1005")  # MNE 1.13 has renamed it


def channel_locations(X: object, ch_names: Sequence[str]) -> np.ndarray:
    """Where the channels of epochs are.

    Parameters
    ----------
    X : mne.Epochs, list of mne.Epochs, or array-like
        The data. Where Epochs have a montage, locations are those of the first.
    ch_names : sequence of str
        Names of the channels wanted.

    Returns
    -------
    locations : ndarray, shape (n_channels, 3)
        In metres, head coordinates; of channels without a location of their own, that of their name on the Colin27
        head (`standard_positions`); else NaN.
    """
    own = {} if (epochs := _first_epochs(X)) is None else _own_locations(epochs.info)
    plain, standard = [plain_name(name) for name in ch_names], standard_positions()
    if "A3" in plain:
        standard = {name: place for name, place in standard.items() if not _CAP_SITE.fullmatch(name)}
    nowhere = np.full(3, np.nan)
    return np.array([own.get(name, standard.get(of, nowhere)) for name, of in zip(ch_names, plain, strict=True)])


@lru_cache(maxsize=1)
def standard_positions() -> dict[str, np.ndarray]:
    """Places (3,) on the Colin27 head (MNE's standard_1005) in metres, head coordinates, by names in capitals."""
    known = mne.channels.get_builtin_montages()
    montage = mne.channels.make_standard_montage(next(name for name in _MONTAGES if name in known))
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    return {channel["ch_name"].upper(): channel["loc"][:3] for channel in info["chs"]}


def _first_epochs(X: object) -> mne.BaseEpochs | None:
    """The Epochs, or the first of several; None for anything else."""
    if isinstance(X, mne.BaseEpochs):
        return X
    is_list = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
    return X[0] if is_list and len(X) and isinstance(X[0], mne.BaseEpochs) else None


def _own_locations(info: mne.Info) -> dict[str, np.ndarray]:
    """Locations of the channels that have one."""
    places = {channel["ch_name"]: channel["loc"][:3] for channel in info["chs"]}
    return {name: place for name, place in places.items() if np.isfinite(place).all() and place.any()}
