"""How well an expert rebuilds EEG of which a mask took something away."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.signal import welch
from torch import Tensor, nn

from mne_specmoe._validation import check_device, check_number, check_option, check_seed
from mne_specmoe.data.recordings import EpochsReader, check_amplitude, open_epochs
from mne_specmoe.loaders.specmoe import load_experts
from mne_specmoe.models.specmoe.masking import BANDS, GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.signal.canonical import SFREQ, UNIT_VOLTS, segment_positions, to_network

SIGNALS = ("reconstruction", "masked", "short", "long")
"""What :func:`band_errors` can compare with the original."""

_SEGMENT = 400  # samples, 2 s: half a hertz, so that delta has six frequencies
_PER_EPOCH = ("original", "masked", "short", "long", "mask_map")


@dataclass(frozen=True)
class ReconstructedEpochs:
    """Epochs, what a mask left of them, and what an expert made of that. Made by :func:`reconstruct`.

    Indexing gives the same for some of the epochs: ``result[0]``, ``result[3:7]``, ``result[subject == "S01"]``.

    Attributes
    ----------
    original, masked : ndarray of float32, shape (n_epochs, n_channels, n_times)
        The signals at 200 Hz in volts, before and after the mask.
    short, long : ndarray of float32, shape (n_epochs, n_channels, n_times)
        What the decoder's branches of small and of large kernels rebuilt, in volts; of several experts, the mean.
    mask_map : ndarray of float32, shape (n_epochs, 1 or n_channels, n_freqs, n_frames)
        What the mask kept of every bin of the spectrogram: 1 all, 0 nothing. A second axis of length 1 stands for all
        channels.
    ch_names : tuple of str | None
        Channel names; None for arrays without.
    sfreq : float
        200 Hz.
    info : mne.Info | None
        That of the Epochs given (the first, if a list), with all their channels and their own rate; it says where the
        electrodes are. None for arrays.
    """

    original: np.ndarray
    masked: np.ndarray
    short: np.ndarray
    long: np.ndarray
    mask_map: np.ndarray
    ch_names: tuple[str, ...] | None
    sfreq: float
    info: object | None

    @property
    def reconstruction(self) -> np.ndarray:
        """Mean of `short` and `long`: ndarray of float32, shape (n_epochs, n_channels, n_times), in volts."""
        return (self.short + self.long) / 2

    def __len__(self) -> int:
        return len(self.original)

    def __getitem__(self, index) -> "ReconstructedEpochs":
        """The same for some epochs; an int keeps the axis of epochs, as in MNE."""
        which = np.atleast_1d(np.arange(len(self))[index])
        return replace(self, **{name: getattr(self, name)[which] for name in _PER_EPOCH})


def reconstruct(
    epochs: object,
    expert: SpecHiNet | Sequence[SpecHiNet] | str | os.PathLike = "starter",
    mask: Callable | None = None,
    *,
    sfreq: float | None = None,
    unit: str = "V",
    ch_names: Sequence[str] | None = None,
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
    device: str | torch.device = "auto",
    batch_size: int = 8,
) -> ReconstructedEpochs:
    """Mask epochs, and let experts rebuild what the mask removed.

    An expert works in evaluation mode without gradients, on a copy: the caller's module stays as it is. Samples get
    the positions of the first segment of a pretraining recording (``linspace(1, 10, n_times)``), which experts know
    from pretraining, and not the positions of fine-tuning.

    Parameters
    ----------
    epochs : mne.Epochs | list of mne.Epochs | array-like | Tensor
        Epochs of at least 0.2 s; arrays of shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one
        channel. Everything is resampled to 200 Hz. The paper's experts saw segments of 30 s, the starters of 10 s.
    expert : SpecHiNet | list of SpecHiNet | path-like
        An expert with its decoder, or several, of whose signals the mean is taken: networks, a file that
        :func:`mne_specmoe.load_experts` reads, or ``"starter"``, the experts that come with the package.
    mask : GaussianStftMask | callable | None
        What removes parts of the signal; None is the default ``GaussianStftMask()``, that of pretraining. Anything
        works that is called as ``mask(x, seeds, locations=locations)`` and returns a signal and a map as it does.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : sequence of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    random_state : int | RandomState | Generator | None
        Seed of the masks. An epoch's mask depends on the seed and on its place, and not on the batch.
    device : str | torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    batch_size : int
        Epochs in one pass through the expert.

    Returns
    -------
    result : ReconstructedEpochs
        Original, masked and rebuilt signals.

    Raises
    ------
    TypeError
        If ``expert`` is neither an expert nor a path (a SpecMoE or an encoder alone has no decoder), if ``mask`` cannot
        be called, or if ``epochs`` hold no epochs.
    CheckpointError
        If the file holds no expert with a decoder.
    ValueError
        If ``epochs`` or other parameters are not as above.

    Warns
    -----
    AmplitudeWarning
        The amplitude is implausible for EEG.

    See Also
    --------
    band_errors : what is missing in each frequency band.
    mne_specmoe.plot_reconstruction : a figure of the result.

    Examples
    --------
    >>> from mne_specmoe import SpecHiNet, make_epochs, reconstruct
    >>> epochs, y, groups = make_epochs(n_epochs=4, n_channels=3)
    >>> result = reconstruct(epochs, SpecHiNet("channelwise"), device="cpu")  # an untrained expert
    >>> result.reconstruction.shape
    (4, 3, 800)
    """
    check_number("batch_size", batch_size, minimum=1, integer=True)
    device = check_device(device)
    mask = GaussianStftMask() if mask is None else _check_mask(mask)
    reader = open_epochs(epochs, sfreq=sfreq, unit=unit, ch_names=ch_names)
    check_amplitude(reader)
    experts = [each.to(device) for each in _copies_of(expert)]
    info, seeds = measurement_info(epochs), epoch_seeds(random_state, reader.n_epochs)
    locations = channel_locations(info, reader.ch_names)
    parts = list(_rebuilt_batches(reader, experts, mask, seeds, locations, device, batch_size))
    fields = {name: np.concatenate(column) for name, column in zip(_PER_EPOCH, zip(*parts, strict=True), strict=True)}
    return ReconstructedEpochs(**fields, ch_names=reader.ch_names, sfreq=SFREQ, info=info)


def band_errors(
    result: ReconstructedEpochs,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    *,
    of: str = "reconstruction",
) -> dict[str, float]:
    """Share of the clean signal's power in each band that a signal misses.

    With the clean signal :math:`x`, the other one :math:`y`, and :math:`P` the Welch spectrum (segments of 2 s that
    overlap by half, Hann window, means removed; one segment where epochs are shorter), summed over epochs, channels
    and the frequencies of band :math:`b`,

    .. math:: e_b = \\frac{\\sum_{f \\in b} P_{y - x}(f)}{\\sum_{f \\in b} P_x(f)}

    It is 0 where :math:`y` is the clean signal, 1 where it is silent, and above 1 where silence would be better: both
    amplitude and phase have to be right. For ``of="masked"`` it is what the mask took away, so a reconstruction is of
    use in a band where its error is below that.

    Parameters
    ----------
    result : ReconstructedEpochs
        From :func:`reconstruct`. Index it (``result[3]``) for single epochs.
    bands : mapping of str to (float, float)
        Edges in Hz, the upper one excluded. By default delta 1–4, theta 4–8, alpha 8–12 and beta 12–30 Hz.
    of : {"reconstruction", "masked", "short", "long"}
        The signal that is compared with ``result.original``.

    Returns
    -------
    errors : dict of str to float
        The relative error of every band; NaN where the clean signal has no power.

    Raises
    ------
    ValueError
        If a band is not within 0 to 100 Hz or too narrow to hold a frequency of the spectrum.
    """
    check_option("of", of, SIGNALS)
    freqs, clean = _power(result.original, result.sfreq)
    _, missed = _power(getattr(result, of) - result.original, result.sfreq)
    inside = {name: _inside(name, edges, freqs) for name, edges in bands.items()}
    return {
        name: float(missed[band].sum() / clean[band].sum()) if clean[band].any() else float("nan")
        for name, band in inside.items()
    }


def epoch_seeds(random_state: object, n_epochs: int) -> Tensor:
    """One seed per epoch for the mask: a tensor of int64; more epochs leave the seeds of the first ones as they are."""
    rng = np.random.default_rng(check_seed(random_state))
    return torch.from_numpy(rng.integers(2**62, size=n_epochs))


def measurement_info(epochs: object) -> object | None:
    """The mne.Info of Epochs, or of the first of a list of them; None for arrays."""
    if not hasattr(epochs, "info") and isinstance(epochs, list | tuple | np.ndarray) and len(epochs):
        epochs = epochs[0]
    return getattr(epochs, "info", None)


def channel_locations(info: object | None, ch_names: Sequence[str] | None) -> Tensor | None:
    """Where the electrodes are: (n_channels, 3) in metres, NaN where unknown; None where no position is known."""
    if info is None or ch_names is None:
        return None
    known = {channel["ch_name"]: channel["loc"][:3] for channel in info["chs"]}
    locations = torch.tensor(np.array([known[name] for name in ch_names]), dtype=torch.float32)
    locations[(locations == 0).all(1)] = torch.nan  # how MNE says it, too
    return None if locations.isnan().all() else locations


def _check_mask(mask: object) -> Callable:
    """Return the mask if it can be called."""
    if not callable(mask):
        raise TypeError(f"mask must be a GaussianStftMask or None, got {mask!r} of type {type(mask).__name__}.")
    return mask


def _copies_of(expert: object) -> list[SpecHiNet]:
    """Experts in evaluation mode and float32 that are ours alone."""
    if isinstance(expert, str | os.PathLike):
        return load_experts(expert)
    experts = list(expert) if isinstance(expert, list | tuple | nn.ModuleList) else [expert]
    if not experts:
        raise ValueError("expert is empty; give one or more.")
    return [_copy_of(each) for each in experts]


def _copy_of(expert: object) -> SpecHiNet:
    """An expert in evaluation mode and float32 that is ours alone."""
    if not isinstance(expert, SpecHiNet):
        raise TypeError(
            "expert must be one or more SpecHiNet, encoder and decoder, or the path of a file of experts, got "
            f"{type(expert).__name__}. Encoders alone, such as those within a SpecMoE, cannot rebuild signals; of an "
            "ExpertSet, give its experts."
        )
    return deepcopy(expert).eval().float()


@torch.inference_mode()
def _rebuilt_batches(
    reader: EpochsReader,
    experts: Sequence[SpecHiNet],
    mask: Callable,
    seeds: Tensor,
    locations: Tensor | None,
    device: torch.device,
    batch_size: int,
) -> Iterator[list[np.ndarray]]:
    """Yield the arrays of `_PER_EPOCH` a batch at a time."""
    for index in reader.batches(batch_size):
        x = to_network(reader.volts(index), reader.sfreq or SFREQ).to(device)
        masked, mask_map = mask(x, seeds[index], locations=locations)
        positions = segment_positions(0, x.shape[-1], device=device)
        rebuilt = [expert(masked, positions, locations=locations, kept=mask_map) for expert in experts]
        short, long = (torch.stack([getattr(part, name) for part in rebuilt]).mean(0) for name in ("short", "long"))
        signals = (x, masked, short, long)
        yield [*(_to_volts(signal) for signal in signals), mask_map.float().cpu().numpy()]


def _to_volts(x: Tensor) -> np.ndarray:
    """What a network takes or gives, in volts."""
    return x.float().cpu().numpy() * np.float32(UNIT_VOLTS)


def _power(volts: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and the Welch spectrum summed over epochs and channels, in V²/Hz."""
    n_per_segment = min(_SEGMENT, volts.shape[-1])
    power = np.zeros(n_per_segment // 2 + 1)
    for epoch in volts:  # one at a time: spectra are larger than signals
        freqs, density = welch(epoch.astype(np.float64), sfreq, nperseg=n_per_segment)
        power += density.sum(0)
    return freqs, power


def _inside(name: str, edges: tuple[float, float], freqs: np.ndarray) -> np.ndarray:
    """Which frequencies a band holds."""
    low, high = edges
    check_number(f"lower edge of band {name!r}", low, minimum=0)
    check_number(f"upper edge of band {name!r}", high, minimum=low, maximum=freqs[-1], strict=True)
    inside = (low <= freqs) & (freqs < high)
    if not inside.any():
        raise ValueError(
            f"Band {name!r} ({low:g} to {high:g} Hz) holds no frequency of the spectrum, which has one every "
            f"{freqs[1]:g} Hz; widen it."
        )
    return inside
