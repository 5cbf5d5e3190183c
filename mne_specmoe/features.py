"""Features of recordings in files, written to one file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from mne_specmoe._files import check_folder_of, replacing
from mne_specmoe.checkpoint import family_of
from mne_specmoe.data.windows import read_windows
from mne_specmoe.estimators.brainrvq import BrainRVQFeaturizer
from mne_specmoe.estimators.specmoe import SpecMoEFeaturizer
from mne_specmoe.estimators.weights import Untrained, Weights


class FeatureTable(NamedTuple):
    """Features of windows.

    Attributes
    ----------
    features : ndarray, shape (n_windows, n_features)
        float32.
    names : ndarray of str, shape (n_features,)
        What they are called.
    source : ndarray of str, shape (n_windows,)
        Where each window comes from.
    start_seconds : ndarray, shape (n_windows,)
        Where it begins there.
    """

    features: np.ndarray
    names: np.ndarray
    source: np.ndarray
    start_seconds: np.ndarray


def write_features(
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    weights: Weights = "starter",
    window_seconds: float = 10.0,
    l_freq: float | None = 0.3,
    h_freq: float | None = 75.0,
    notch: float | Sequence[float] | None = 60.0,
    channels: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    readout: Sequence[str] | None = None,
    channel_pooling: str | None = "mean",
    device: str = "auto",
) -> FeatureTable:
    """Compute features of files and write them as ``.npz``.

    Parameters
    ----------
    files : sequence of path-like
        Recordings, which are preprocessed and cut into windows, or epochs (``-epo.fif``), which are taken as they are.
    out : path-like
        The file to write; its arrays are those of `FeatureTable`.
    weights : "starter" | "brainrvq-starter" | path-like | list of path-like | None
        As for `mne_specmoe.SpecMoEFeaturizer`, or for `mne_specmoe.BrainRVQFeaturizer`: the file tells.
    window_seconds, l_freq, h_freq, notch, channels
        See `mne_specmoe.data.windows.read_windows`.
    parts : sequence of str | None
        See `mne_specmoe.SpecMoEFeaturizer`. None: what the pretrained networks say, and nothing else. References of
        covariances are those of each file.
    readout : sequence of str | None
        What is taken of SpecMoE's experts, see there, as it is, without principal components; None for its default, and
        with BrainRVQ's weights.
    channel_pooling : {"mean", "max"} | None
        See there; with BrainRVQ's weights ``"mean"`` or None. What keeps channels apart needs the same channels in all
        files.
    device : str
        See there.

    Returns
    -------
    table : FeatureTable
    """
    out = Path(out).expanduser()
    check_folder_of(out)
    make = _maker(weights, parts, readout, channel_pooling, device)
    tables, names = [], None
    for path in tqdm([Path(file) for file in files], desc="features", unit="file"):
        windows = read_windows(
            path, window_seconds=window_seconds, l_freq=l_freq, h_freq=h_freq, notch=notch, channels=channels
        )
        featurizer = make()  # a new one per file, since a fitted one keeps to the channels that it saw
        values = featurizer.fit_transform(windows.epochs).astype(np.float32)
        found = featurizer.get_feature_names_out().astype(str)
        if names is not None and not np.array_equal(found, names):
            raise ValueError(
                f"{path} has other channels than the files before it; choose common ones with channels, or pool "
                "over channels."
            )
        names = found
        tables.append((values, np.repeat(str(path), len(values)), windows.start_seconds))
    features, source, start = (np.concatenate(arrays) for arrays in zip(*tables, strict=True))
    table = FeatureTable(features, names, source, start)
    with replacing(out) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **table._asdict())
    return table


def _maker(
    weights: Weights,
    parts: Sequence[str] | None,
    readout: Sequence[str] | None,
    channel_pooling: str | None,
    device: str,
) -> Callable[[], SpecMoEFeaturizer | BrainRVQFeaturizer]:
    """What makes featurizers of the family that the weights are of."""
    if not _are_brainrvq(weights):
        options = {} if readout is None else {"readout": tuple(readout)}
        options |= {"parts": ("experts",) if parts is None else tuple(parts), "channel_pooling": channel_pooling}
        # Components would be those of each file, so that numbers of two files could not be compared.
        return lambda: SpecMoEFeaturizer(weights, n_components=None, device=device, **options)
    if readout is not None or channel_pooling not in ("mean", None):
        raise ValueError(
            "Features of BrainRVQ are means over seconds, and over channels or not: leave readout at None and give "
            f"channel_pooling='mean' or None (none), got {readout!r} and {channel_pooling!r}."
        )
    parts = ("encoder",) if parts is None else tuple(parts)
    return lambda: BrainRVQFeaturizer(weights, parts=parts, pooling=channel_pooling, device=device)


def _are_brainrvq(weights: Weights) -> bool:
    """Whether weights are one file of BrainRVQ, ours or published."""
    weights = weights.weights if isinstance(weights, Untrained) else weights
    return isinstance(weights, str | os.PathLike) and family_of(weights) == "brainrvq"
