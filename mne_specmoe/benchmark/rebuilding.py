"""How well experts rebuild masked EEG of recordings that they never saw, against forms without a network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.models.interface import Batch
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.spectral import istft, stft

BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 12.0), "beta": (12.0, 30.0), "all": (1.0, 45.0)}
"""Edges in Hz; a band holds its lower edge, not its upper one."""

_N_FFT, _HOP = 400, 200  # of the mask's transform
_REMOVED = 0.5  # a bin of which less is left counts as missing
Rebuild = Callable[[Batch, Tensor, Tensor], Tensor]


class Errors(NamedTuple):
    """Errors relative to the clean signal's power in a band, per subject.

    Attributes
    ----------
    subjects : tuple of str
        Who was recorded; recordings of one subject are taken together, as they are not independent.
    by_method : dict of str to dict of str to ndarray
        Method → band → error per subject, shape (n_subjects,): 0 is perfect, 1 is silence.
    """

    subjects: tuple[str, ...]
    by_method: dict[str, dict[str, np.ndarray]]

    def against(self, method: str, baseline: str, band: str) -> Interval:
        """Difference of two methods' errors over subjects; below 0 where `method` is the better one."""
        return bootstrap(self.by_method[method][band] - self.by_method[baseline][band])


def expert_rebuilds(expert: SpecHiNet) -> Rebuild:
    """The mean of what both branches of an expert's decoder rebuild."""
    expert = expert.eval()

    def rebuild(batch: Batch, masked: Tensor, kept: Tensor) -> Tensor:
        output = expert(masked, batch.positions)
        return (output.short + output.long) / 2

    return rebuild


def mean_of(rebuilds: Sequence[Rebuild]) -> Rebuild:
    """The mean of several rebuilt signals."""
    return lambda *arguments: torch.stack([rebuild(*arguments) for rebuild in rebuilds]).mean(0)


def leave_masked(batch: Batch, masked: Tensor, kept: Tensor) -> Tensor:
    """The first baseline: the masked signal itself."""
    return masked


def rescale_bands(gains: Mapping[str, float]) -> Rebuild:
    """The second baseline: the masked signal, each band times one number (see `fit_gains`)."""

    def rebuild(batch: Batch, masked: Tensor, kept: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(masked)
        for band, gain in gains.items():
            spectrum[..., _inside(band, masked.shape[-1])] *= gain
        return torch.fft.irfft(spectrum, masked.shape[-1])

    return rebuild


def interpolate(batch: Batch, masked: Tensor, kept: Tensor) -> Tensor:
    """The third baseline: missing bins of the spectrogram are drawn as straight lines between their neighbours.

    In time, between the nearest bins of the same frequency that are left; where a frequency is missing at all times,
    in frequency, of what is known then. The phase that a steady wave of the bin's frequency gains from frame to frame
    is taken out before and put back after. Bins of which half is left or more are divided by what is left.
    """
    z = stft(masked, n_fft=_N_FFT, hop=_HOP)  # [B, C, F, M]
    missing = kept < _REMOVED
    z = z / kept.clamp_min(_REMOVED)
    n_freqs, n_frames = z.shape[-2:]
    frequency = torch.arange(n_freqs)[:, None] / _N_FFT
    turn = torch.exp(2j * torch.pi * frequency * _HOP * torch.arange(n_frames))
    z = z / turn
    for i, segment in enumerate(z):
        known = ~missing[i].expand(len(segment), -1, -1)[0].numpy()
        z[i] = torch.from_numpy(_lines(segment.numpy(), known))
    return istft(z * turn, n_fft=_N_FFT, hop=_HOP, n_times=masked.shape[-1])


def _lines(z: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill the unknown bins of z [C, F, M], linearly along time, then along frequency."""
    z = z.copy()
    times, freqs = np.arange(z.shape[2]), np.arange(z.shape[1])
    somewhere = known.any(1)
    for f in np.flatnonzero(somewhere & ~known.all(1)):
        z[:, f, ~known[f]] = _interpolated(times[~known[f]], times[known[f]], z[:, f, known[f]])
    if somewhere.any() and not somewhere.all():
        filled = _interpolated(freqs[~somewhere], freqs[somewhere], z[:, somewhere].swapaxes(1, 2))
        z[:, ~somewhere] = filled.swapaxes(1, 2)
    return z


def _interpolated(at: np.ndarray, known_at: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values on straight lines through known ones along the last axis; beyond the ends, the last value."""
    right = np.searchsorted(known_at, at).clip(1, max(len(known_at) - 1, 1))
    left = right - 1
    right = right.clip(max=len(known_at) - 1)
    span = np.maximum(known_at[right] - known_at[left], 1)
    share = ((at - known_at[left]) / span).clip(0, 1)
    return known[..., left] * (1 - share) + known[..., right] * share


def fit_gains(corpus: Corpus, mask: GaussianStftMask, *, n_segments: int = 256) -> dict[str, float]:
    """Least-squares gain per band, from masked to clean, over segments of a training corpus spread evenly."""
    chosen = np.unique(np.linspace(0, len(corpus) - 1, min(n_segments, len(corpus))).astype(int))
    bands = [band for band in BANDS if band != "all"]
    products = {band: np.zeros(2) for band in bands}
    for batch in _batches(corpus, chosen):
        masked = mask(batch.x, batch.seeds, locations=batch.locations).signal
        clean, left = torch.fft.rfft(batch.x), torch.fft.rfft(masked)
        for band in bands:
            inside = _inside(band, batch.x.shape[-1])
            cross = (clean[..., inside] * left[..., inside].conj()).real.sum().item()
            products[band] += cross, left[..., inside].abs().square().sum().item()
    return {band: float(cross / power) for band, (cross, power) in products.items()}


@torch.no_grad()
def measure(corpus: Corpus, methods: Mapping[str, Rebuild], mask: GaussianStftMask) -> Errors:
    """Errors of every method on every subject of a corpus.

    Parameters
    ----------
    corpus : Corpus
        Recordings that no method has seen.
    methods : mapping of str to callable
        Each maps a batch, the masked signal and the mask's map to the rebuilt signal.
    mask : GaussianStftMask
        Masks are drawn once, the same for all methods.

    Returns
    -------
    errors : Errors
    """
    subjects, subject_of = np.unique(corpus.subject_of, return_inverse=True)
    power = {band: np.zeros(len(subjects)) for band in BANDS}
    missed = {method: {band: np.zeros(len(subjects)) for band in BANDS} for method in methods}
    for subject in range(len(subjects)):
        for batch in _batches(corpus, np.flatnonzero(subject_of == subject)):
            masked = mask(batch.x, batch.seeds, locations=batch.locations)
            _add_power(power, subject, batch.x)
            for method, rebuild in methods.items():
                rebuilt = rebuild(batch, masked.signal, masked.map)
                _add_power(missed[method], subject, rebuilt - batch.x)
    relative = {m: {band: missed[m][band] / power[band] for band in BANDS} for m in methods}
    return Errors(tuple(map(str, subjects)), relative)


def table(errors: Errors, baselines: Sequence[str]) -> str:
    """Mean errors with intervals, and the differences of all other methods to the baselines."""
    lines = [f"{len(errors.subjects)} subjects; mean of the relative error [95 % interval over subjects]", ""]
    width = max(map(len, errors.by_method)) + 2
    lines.append(" " * width + "".join(f"{band:<24}" for band in BANDS))
    for method, bands in errors.by_method.items():
        lines.append(f"{method:<{width}}" + "".join(f"{bootstrap(bands[b])!s:<24}" for b in BANDS))
    for method in [method for method in errors.by_method if method not in baselines]:
        lines += ["", f"{method}, difference to"]
        for baseline in baselines:
            differences = "".join(f"{errors.against(method, baseline, b)!s:<24}" for b in BANDS)
            lines.append(f"{baseline:<{width}}" + differences)
    return "\n".join(lines) + "\n"


def _batches(corpus: Corpus, segments: np.ndarray) -> Iterator[Batch]:
    """Segments in a fixed order, read lazily."""
    batches = CorpusBatches(corpus, segments, batch_size=8, shuffle=False)
    return (batches[number][0] for number in range(len(batches)))


def _inside(band: str, n_times: int) -> Tensor:
    """Which frequencies of a whole segment's spectrum a band holds."""
    frequencies = torch.fft.rfftfreq(n_times, 1 / SFREQ)
    low, high = BANDS[band]
    return (frequencies >= low) & (frequencies < high)


def _add_power(sums: Mapping[str, np.ndarray], subject: int, x: Tensor) -> None:
    """Add the power of x [B, C, T] in every band to a subject's."""
    window = torch.hann_window(x.shape[-1])
    power = torch.fft.rfft(x * window).abs().square().sum((0, 1))
    for band, totals in sums.items():
        totals[subject] += power[_inside(band, x.shape[-1])].sum().item()
