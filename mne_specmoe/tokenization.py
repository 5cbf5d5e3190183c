"""Codes of epochs, and what a tokenizer makes of them again."""

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mne_specmoe._validation import check_device, check_number
from mne_specmoe.data.recordings import EpochsReader, check_amplitude, open_epochs
from mne_specmoe.loaders.brainrvq import load_tokenizer
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.downstream import whole_seconds, window_lengths
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH, importance_scores
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.objective import tokenizer_targets
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes, Reconstruction
from mne_specmoe.signal.canonical import SFREQ, UNIT_VOLTS, to_network

# Axes of epochs, and of what windows of an epoch are joined along where that is not the last but one.
_EPOCH_AXES = {"time": 1, "frequency": 1, "importance": 0, "original": 0}
_EPOCH_AXES |= {f"rebuilt_{name}": 1 for name in Reconstruction._fields}
_EPOCH_AXES |= {f"target_{name}": 0 for name in Reconstruction._fields}
_PATCH_AXES = {"time": -1, "frequency": -1, "importance": -1, "original": -1}


@dataclass(frozen=True)
class TokenizedEpochs:
    """Epochs as codes. Made by :func:`tokenize`.

    Attributes
    ----------
    time, frequency : ndarray of int64, shape (n_levels, n_epochs, n_channels, n_patches)
        Codes of every second of every channel, coarse to fine, for the waveform and for the spectrum.
    importance : ndarray of float32, shape (n_epochs, n_channels, n_patches)
        How much each second looks like activity of the brain, 0 to 1: what pretraining hides sooner. Scores compare
        seconds of one epoch; see `mne_specmoe.models.brainrvq.masking.importance_scores`.
    original : ndarray of float32, shape (n_epochs, n_channels, n_patches * 200)
        The signals at 200 Hz in volts, rounded to whole seconds.
    rebuilt : dict of str to ndarray, each of shape (n_levels, n_epochs, n_channels, n_patches, 200)
        ``"time"``, ``"amplitude"`` and ``"angle"`` as the decoders make them of the first level alone, of the first
        two, and so on.
    target : dict of str to ndarray, each of shape (n_epochs, n_channels, n_patches, 200)
        What they should be: the waveform standardised second by second, amplitudes and angles of the two-sided spectrum
        standardised over the window.
    ch_names : tuple of str
        Names of the channels.
    sfreq : float
        200 Hz.
    """

    time: np.ndarray
    frequency: np.ndarray
    importance: np.ndarray
    original: np.ndarray
    rebuilt: dict[str, np.ndarray]
    target: dict[str, np.ndarray]
    ch_names: tuple[str, ...]
    sfreq: float = SFREQ

    def __len__(self) -> int:
        return len(self.original)

    @property
    def n_levels(self) -> int:
        """Codes per second, channel and domain."""
        return len(self.time)

    def waveform(self, n_levels: int | None = None) -> np.ndarray:
        """The signal that the codes of the first levels stand for.

        Codes do not hold the mean and the deviation of a second; those of the original are put in.

        Parameters
        ----------
        n_levels : int | None
            How many levels to use (None: all).

        Returns
        -------
        volts : ndarray of float32, shape (n_epochs, n_channels, n_patches * 200)
        """
        n_levels = self.n_levels if n_levels is None else n_levels
        check_number("n_levels", n_levels, minimum=1, maximum=self.n_levels, integer=True)
        standard = self.rebuilt["time"][n_levels - 1]
        patches = self.original.reshape(standard.shape)
        volts = standard * patches.std(-1, ddof=1, keepdims=True) + patches.mean(-1, keepdims=True)
        return volts.reshape(self.original.shape)

    def errors(self) -> dict[str, np.ndarray]:
        """Mean squared errors of what is rebuilt, by the number of levels used.

        Returns
        -------
        errors : dict of str to ndarray, each of shape (n_levels,)
            For ``"time"``, ``"amplitude"`` and ``"angle"``. 1 is what a guess of nothing but the mean would reach.
        """
        return {name: np.mean((self.rebuilt[name] - self.target[name]) ** 2, (1, 2, 3, 4)) for name in self.target}


def tokenize(
    epochs: object,
    tokenizer: BrainRVQTokenizer | str | os.PathLike = "brainrvq-starter-tokenizer",
    *,
    sfreq: float | None = None,
    unit: str = "V",
    ch_names: Sequence[str] | None = None,
    aliases: str = "10-20",
    device: str | torch.device = "auto",
    batch_size: int = 8,
) -> TokenizedEpochs:
    """Turn epochs into the codes of a BrainRVQ tokenizer, and the codes back into what they stand for.

    Parameters
    ----------
    epochs : mne.Epochs | list of mne.Epochs | array-like | Tensor
        Epochs; arrays of shape (n_epochs, n_channels, n_times). Everything is resampled to 200 Hz. Epochs are rounded
        to whole seconds; those of more than 30 s are cut into windows.
    tokenizer : BrainRVQTokenizer | path-like
        A trained tokenizer, a file that :func:`mne_specmoe.load_tokenizer` reads, or ``"brainrvq-starter-tokenizer"``,
        which comes with the package.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : sequence of str | None
        Names of the channels of arrays, which a tokenizer needs; for Epochs, the channels to use.
    aliases : {"10-20", "none"}
        Whether T3 and T7 (T4 and T8, T5 and P7, T6 and P8) are one electrode.
    device : str | torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    batch_size : int
        Epochs in one pass.

    Returns
    -------
    tokens : TokenizedEpochs

    Raises
    ------
    ValueError
        If channels have no names or unknown ones, or other parameters are not as above.
    TypeError
        If `tokenizer` is neither a tokenizer nor a path.
    CheckpointError
        If the file holds no tokenizer.

    References
    ----------
    Cui et al., "BrainRVQ: A High-Fidelity EEG Foundation Model via Dual-Domain Residual Quantization and Hierarchical
    Autoregression", arXiv:2602.16951.

    Examples
    --------
    >>> from mne_specmoe import make_epochs, tokenize
    >>> epochs, y, groups = make_epochs(n_epochs=4, n_channels=3)
    >>> tokenize(epochs, device="cpu").time.shape
    (3, 4, 3, 4)
    """
    check_number("batch_size", batch_size, minimum=1, integer=True)
    device = check_device(device)
    reader = open_epochs(epochs, sfreq=sfreq, unit=unit, ch_names=ch_names)
    if reader.ch_names is None:
        raise ValueError("A tokenizer needs the names of the channels; give ch_names with arrays.")
    check_amplitude(reader)
    network = _copy_of(tokenizer).to(device)
    rows = channel_rows(reader.ch_names, aliases=aliases, trained=network.encoder.trunk.trained_rows).rows.to(device)
    batches = [_tokenized(x, network, rows) for x in _windows(reader, device, batch_size)]
    fields = {name: np.concatenate([batch[name] for batch in batches], axis) for name, axis in _EPOCH_AXES.items()}
    for kind in ("rebuilt", "target"):
        fields[kind] = {name: fields.pop(f"{kind}_{name}") for name in Reconstruction._fields}
    return TokenizedEpochs(**fields, ch_names=tuple(reader.ch_names))


def _copy_of(tokenizer: object) -> BrainRVQTokenizer:
    """A tokenizer in evaluation mode and float32 that is ours alone."""
    if isinstance(tokenizer, str | os.PathLike):
        return load_tokenizer(tokenizer)
    if not isinstance(tokenizer, BrainRVQTokenizer):
        raise TypeError(f"tokenizer must be a BrainRVQTokenizer or a path, got {type(tokenizer).__name__}.")
    return deepcopy(tokenizer).eval().float()


def _windows(reader: EpochsReader, device: torch.device, batch_size: int) -> Iterator[list[Tensor]]:
    """Batches of epochs, each as the windows (n, C, A * 200) that it is cut into."""
    for index in reader.batches(batch_size):
        x = whole_seconds(to_network(reader.volts(index), reader.sfreq or SFREQ)).to(device)
        yield x.split([length * PATCH_LENGTH for length in window_lengths(x.shape[-1] // PATCH_LENGTH)], -1)


@torch.inference_mode()
def _tokenized(windows: Sequence[Tensor], network: BrainRVQTokenizer, rows: Tensor) -> dict[str, np.ndarray]:
    """The fields of one batch, by the names of `_EPOCH_AXES`."""
    parts = [_tokenized_window(x, network, rows) for x in windows]
    fields = {name: torch.cat([part[name] for part in parts], _PATCH_AXES.get(name, -2)) for name in parts[0]}
    return {name: field.cpu().numpy() for name, field in fields.items()}


def _tokenized_window(x: Tensor, network: BrainRVQTokenizer, rows: Tensor) -> dict[str, Tensor]:
    """The fields of one window (n, C, A * 200)."""
    patches, codes = to_patches(x), network.encode(x, rows)
    levels = range(1, len(codes.time) + 1)
    rebuilt = [network.decode(Codes(codes.time[:n], codes.frequency[:n]), rows) for n in levels]
    fields = {f"rebuilt_{name}": torch.stack(of_levels) for name, of_levels in _by_name(rebuilt)}
    fields |= {f"target_{name}": target for name, target in tokenizer_targets(patches)._asdict().items()}
    importance = importance_scores(patches).unflatten(1, patches.shape[1:3]).float()
    return fields | {**codes._asdict(), "importance": importance, "original": x * UNIT_VOLTS}


def _by_name(rebuilt: Sequence[Reconstruction]) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """What all levels made of waveform, amplitude and angle."""
    return zip(Reconstruction._fields, zip(*rebuilt, strict=True), strict=True)
