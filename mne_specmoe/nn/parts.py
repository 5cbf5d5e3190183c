"""Parts of what a classifier reads of an epoch: amplitude, spectrum, covariances, evoked responses.

A part works in two steps. `Part.measure` depends on the epoch alone; its numbers can be kept. `Part.forward` makes
features of them with what was learned from training epochs, which is in buffers, so that a stored network is complete.

Shapes in the comments: B batch, C channels, K bands, P components.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mne_specmoe._validation import check_option
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.cross_spectrum import (
    BANDS,
    band_powers,
    cross_power,
    log_power,
    log_rms,
    packed,
    shrunk,
    tangent_vectors,
    unpacked,
    wide,
)

Bands = Sequence[tuple[float, float]]

EVOKED_SECONDS = 2.0
"""Longest epochs that the evoked part is for."""

SPECTRUM = tuple((i / 2 - 0.25, i / 2 + 0.25) for i in range(2, 91))
"""Bands of the fine spectrum in Hz, around 1, 1.5, …, 45."""

_EDGES = (*range(1, 14), 15, 17, 20, 23, 26, 30, 35, 40, 45)
NARROW_BANDS = tuple((float(low), float(high)) for low, high in zip(_EDGES[:-1], _EDGES[1:], strict=True))
"""Bands of the power of single channels, in Hz."""

_ALL = (1.0, 45.0)
_SPECTRUM_TAPERS = 3  # more would blur lines that are 1 Hz wide
_ONE_SECOND = 200  # samples at 200 Hz: of shorter epochs, spectra are too coarse for the bands
_FEWEST_REFERENCED = 8  # channels whose average is a reference; of fewer it would hold much of what is looked for
_EVOKED_STEP = 8  # samples at 200 Hz
_SMALLEST_SQUARE = 1e-10  # (0.001 µV)²: a channel that is flat stays so
_SHORTEST_EVOKED = 40  # samples at 200 Hz


class Part(nn.Module):
    """One part. `n_sets` covariances of an epoch, if it has any, are seen from a reference that fit has learned.

    Parameters
    ----------
    n_features : int
        How many features it has.
    n_sets, size : int
        How many covariances it makes of an epoch, and of how many channels (or components) each.
    min_times : int
        Fewest samples of an epoch at 200 Hz.

    Attributes
    ----------
    whitener : Tensor, shape (n_sets, size, size)
        Inverse square root of the references.
    keeps_channels : bool
        Whether its features belong to channels, so that epochs need all of these.
    keeps_length : bool
        Whether epochs need the length that it was made for.
    n_components : int | None
        How many principal components of training epochs, which fit has learned, stand for its features; None: there are
        none to learn.
    """

    keeps_channels = True
    keeps_length = False
    n_components: int | None = None

    def __init__(self, n_features: int, *, n_sets: int = 0, size: int = 0, min_times: int = 1):
        super().__init__()
        self.n_features, self.n_sets, self.min_times = n_features, n_sets, min_times
        if n_sets:
            self.register_buffer("whitener", torch.eye(size).expand(n_sets, -1, -1).clone())

    @property
    def learns(self) -> bool:
        """Whether fit has to learn something from training epochs."""
        return bool(self.n_sets or self.n_components)

    @property
    def n_plain(self) -> int:
        """Features that come first and are not of a tangent space."""
        return 0 if self.n_sets else self.n_features

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """What is kept of epochs x [B, C, T], 200 Hz in units of 100 µV: float32 [B, m]."""
        raise NotImplementedError

    def covariances(self, measured: Tensor) -> Tensor | None:
        """Covariances [B, n_sets, size, size] in what was measured; None if there are none."""
        return None

    def plain(self, measured: Tensor) -> Tensor:
        """Features [B, n_plain] that need no reference."""
        return measured

    def forward(self, measured: Tensor, whitener: Tensor | None = None) -> Tensor:
        """Map what was measured [B, m] to features [B, n_features]; `whitener` [B, n_sets, …] replaces the own one."""
        if not self.n_sets:
            return self.plain(measured)
        vectors = tangent_vectors(self.covariances(measured), self.whitener if whitener is None else whitener)
        vectors = vectors.flatten(1).to(measured)
        return torch.cat([self.plain(measured), vectors], 1) if self.n_plain else vectors

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """Names of the features, for channels of these names."""
        raise NotImplementedError


class Amplitude(Part):
    """Logarithm of the root mean square of every channel.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    """

    def __init__(self, n_channels: int):
        super().__init__(n_channels)

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """See `Part`."""
        return _narrow(log_rms(x), x)

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``amplitude_Cz``."""
        return [f"amplitude_{name}" for name in ch_names]


class Power(Part):
    """Logarithm of the power of every channel in 21 bands, relative to its power from 1 to 45 Hz.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    """

    def __init__(self, n_channels: int):
        super().__init__(n_channels * len(NARROW_BANDS), min_times=_ONE_SECOND)

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """See `Part`."""
        powers = log_power(band_powers(x, bands=(*NARROW_BANDS, _ALL), n_tapers=_SPECTRUM_TAPERS))
        return _narrow((powers[:, :-1] - powers[:, -1:]).flatten(1), x)

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``power_10-11Hz_Cz``."""
        return [f"power_{band}_{name}" for band in map(band_name, NARROW_BANDS) for name in ch_names]


class Spectrum(Part):
    """Logarithm of the power spectrum from 1 to 45 Hz in steps of 0.5 Hz, averaged over channels."""

    keeps_channels = False

    def __init__(self):
        super().__init__(len(SPECTRUM), min_times=_ONE_SECOND)

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """See `Part`."""
        return _narrow(log_power(band_powers(x, bands=SPECTRUM, n_tapers=_SPECTRUM_TAPERS)).mean(-1), x)

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``spectrum_10.5Hz``."""
        return [f"spectrum_{(low + high) / 2:g}Hz" for low, high in SPECTRUM]


class Covariance(Part):
    """Covariances of the channels in frequency bands, in the tangent space at the mean of the training epochs.

    From eight channels on, channels are referenced to their average first, so that a recording's reference does not
    matter.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    bands : sequence of (float, float)
        In Hz.
    """

    def __init__(self, n_channels: int, bands: Bands = BANDS):
        n_pairs = n_channels * (n_channels + 1) // 2
        super().__init__(n_pairs * len(bands), n_sets=len(bands), size=n_channels, min_times=_ONE_SECOND)
        self.bands = tuple(map(tuple, bands))

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """See `Part`: upper triangles, band by band."""
        if x.shape[1] >= _FEWEST_REFERENCED:
            x = x - x.mean(1, keepdim=True)
        return _narrow(packed(cross_power(x, bands=self.bands)).flatten(1), x)

    def covariances(self, measured: Tensor) -> Tensor:
        """See `Part`."""
        return shrunk(unpacked(measured.double().unflatten(1, (self.n_sets, -1))))

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``covariance_8-13Hz_C3_C4``."""
        return [f"covariance_{band}_{pair}" for band in map(band_name, self.bands) for pair in pair_names(ch_names)]


class Evoked(Part):
    """Slow time courses: every channel divided by its root mean square in the epoch, in means over 40 ms.

    Responses are locked to the beginning of an epoch, so all have one length.

    Parameters
    ----------
    n_channels, n_times : int
        Of the epochs, at 200 Hz.
    """

    keeps_length = True

    def __init__(self, n_channels: int, n_times: int):
        self.n_steps = max(1, n_times // _EVOKED_STEP)
        super().__init__(n_channels * self.n_steps, min_times=_SHORTEST_EVOKED)

    def measure(self, x: Tensor, activations: object = None) -> Tensor:
        """See `Part`."""
        centred = wide(x)
        centred = centred - centred.mean(-1, keepdim=True)
        size = centred.square().mean(-1, keepdim=True).clamp_min(_SMALLEST_SQUARE).sqrt()
        steps = centred[..., : self.n_steps * _EVOKED_STEP].unflatten(-1, (self.n_steps, -1))
        return _narrow((steps.mean(-1) / size).flatten(1), x)

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``evoked_Cz_300ms``: the mean from there on."""
        step = round(1000 * _EVOKED_STEP / SFREQ)
        return [f"evoked_{name}_{i * step}ms" for name in ch_names for i in range(self.n_steps)]


def band_name(band: tuple[float, float]) -> str:
    """``8-13Hz``."""
    return f"{band[0]:g}-{band[1]:g}Hz"


def pair_names(names: Sequence[str]) -> list[str]:
    """Names of the pairs in an upper triangle, row by row: ``C3_C3``, ``C3_C4``, …"""
    return [f"{first}_{second}" for i, first in enumerate(names) for second in names[i:]]


def _narrow(values: Tensor, x: Tensor) -> Tensor:
    """float32, on the device of x."""
    return values.to(x.device, torch.float32)


SIGNAL_PARTS = ("amplitude", "power", "spectrum", "covariance", "evoked")
"""Parts that read the signal itself, in the order of their features."""


def signal_parts(names: Sequence[str], *, n_channels: int, n_times: int, bands: Bands = BANDS) -> dict[str, Part]:
    """Make the parts of `SIGNAL_PARTS` that are among the names.

    Parameters
    ----------
    names : sequence of str
        Which; others are left to whoever knows them.
    n_channels, n_times : int
        Of the epochs, at 200 Hz.
    bands : sequence of (float, float)
        Of covariances, in Hz.

    Returns
    -------
    parts : dict of str to Part
    """
    make = {
        "amplitude": lambda: Amplitude(n_channels),
        "power": lambda: Power(n_channels),
        "spectrum": Spectrum,
        "covariance": lambda: Covariance(n_channels, bands),
        "evoked": lambda: Evoked(n_channels, n_times),
    }
    return {name: make[name]() for name in SIGNAL_PARTS if name in names}


def obstacle(name: str, n_times: int) -> str | None:
    """Why a part cannot be had of some epochs.

    Parameters
    ----------
    name : str
        The part; any that is not of `SIGNAL_PARTS` suits all epochs.
    n_times : int
        Samples per epoch at 200 Hz.

    Returns
    -------
    reason : str | None
        None if it can be had.
    """
    needed = {
        "power": _ONE_SECOND,
        "spectrum": _ONE_SECOND,
        "covariance": _ONE_SECOND,
        "evoked": _SHORTEST_EVOKED,
    }.get(name, 1)
    if n_times < needed:
        return f"it needs epochs of at least {needed / SFREQ:.2g} s, and these last {n_times / SFREQ:.3g} s"
    if name == "evoked" and n_times > EVOKED_SECONDS * SFREQ:
        return f"it is for epochs of up to {EVOKED_SECONDS:g} s, and these last {n_times / SFREQ:.3g} s"
    return None


def part_features(
    parts: Mapping[str, Part], measured: Sequence[Tensor], whiteners: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, ...]:
    """Replace what the parts have measured by their features.

    Parameters
    ----------
    parts : mapping of str to Part
        The parts.
    measured : sequence of Tensor, shape (n_epochs, ...)
        What they have measured, in their order, after whatever else there is.
    whiteners : mapping of str to Tensor | None
        Names of parts → whiteners that replace their own, see `Part.forward`.

    Returns
    -------
    pooled : tuple of Tensor
        What came before as it is, then the features of all parts next to each other, if there are parts.
    """
    n_before = len(measured) - len(parts)
    if not len(parts):
        return tuple(measured)
    pairs = zip(parts.items(), measured[n_before:], strict=True)
    features = [part(values, (whiteners or {}).get(name)) for (name, part), values in pairs]
    return (*measured[:n_before], torch.cat(features, 1))


def check_parts(parts: object, known: Sequence[str]) -> None:
    """Raise unless these are some of the known parts, each once."""
    if isinstance(parts, str) or not isinstance(parts, list | tuple):
        raise TypeError(f"parts must be a list or tuple of names, such as {tuple(known)!r}, got {parts!r}.")
    if not parts:
        raise ValueError(f"parts is empty; give some of {', '.join(map(repr, known))}.")
    for name in parts:
        check_option("parts", name, known)
    if len(set(parts)) < len(parts):
        raise ValueError(f"parts names something twice: {', '.join(map(repr, parts))}.")
