"""Spectra of canonical signals, batched and differentiable."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK_SIGNALS = 20  # signals of 30 s whose transform fits a processor's cache


def welch_psd(x: Tensor, *, sfreq: float = 200.0, n_per_segment: int, n_overlap: int = 0) -> Tensor:
    """Welch power spectral density without one-sided doubling.

    The mean of every channel is removed once, over the whole window; segments are weighted by a periodic Hann window
    *w* and :math:`|\\mathrm{rfft}|^2 / (f_s \\sum w^2 + 10^{-12})` is averaged over segments.

    Parameters
    ----------
    x : Tensor, shape (..., n_times)
        Signals; shorter ones than a segment are zero-padded to one after the mean was removed.
    sfreq : float
        Sampling rate in Hz.
    n_per_segment, n_overlap : int
        Length of the segments and how far they overlap, in samples.

    Returns
    -------
    psd : Tensor, shape (..., n_per_segment // 2 + 1)
        In squared units of `x` per Hz.
    """
    x = x - x.mean(-1, keepdim=True)
    if x.shape[-1] < n_per_segment:
        x = F.pad(x, (0, n_per_segment - x.shape[-1]))
    window = torch.hann_window(n_per_segment, dtype=x.dtype, device=x.device)
    segments = x.unfold(-1, n_per_segment, n_per_segment - n_overlap)  # (..., n_segments, n_per_segment)
    power = torch.fft.rfft(segments * window).abs().square()
    return power.mean(-2) / (sfreq * window.square().sum() + 1e-12)


def stft(x: Tensor, *, n_fft: int, hop: int) -> Tensor:
    """Short-time Fourier transform in the conventions of `scipy.signal.stft`.

    Frames of `n_fft` samples, `hop` apart, are weighted by a periodic Hann window *w* and transformed; the result is
    divided by :math:`\\sum w`. The first frame is centred on the first sample: `n_fft // 2` zeros go before and after
    the signal, and more zeros after it until the frames are whole.

    Parameters
    ----------
    x : Tensor, shape (..., n_times)
        Real signals. Unlike SciPy's, the window does not shrink where a signal is shorter.
    n_fft, hop : int
        Length and distance of the frames, in samples; `hop` is at most half of `n_fft`, which is even.

    Returns
    -------
    z : Tensor, shape (..., n_fft // 2 + 1, n_frames)
        Complex, in units of `x`. There are ``ceil(n_times / hop) + 1`` frames where `hop` is half of `n_fft`; see
        `n_frames`. Frequencies of one frame lie side by side in memory.

    Raises
    ------
    ValueError
        If `n_fft` and `hop` are not as above: the signal could not be had back.
    """
    _check_frames(n_fft, hop)
    n_times = x.shape[-1]
    missing = (n_frames(n_times, n_fft=n_fft, hop=hop) - 1) * hop - n_times
    half = n_fft // 2
    window = _window(n_fft, x.dtype, x.device)
    frames = F.pad(x, (half, half + missing)).unfold(-1, n_fft, hop) * window  # (..., n_frames, n_fft)
    return torch.fft.rfft(frames).transpose(-1, -2)


def istft(z: Tensor, *, n_fft: int, hop: int, n_times: int) -> Tensor:
    """Inverse of `stft`, as in `scipy.signal.istft`.

    Of all signals, the one whose transform comes closest to `z`: frames are weighted by the window, added up and
    divided by the sum of the squared windows.

    Parameters
    ----------
    z : Tensor, shape (..., n_fft // 2 + 1, n_frames)
        Complex.
    n_fft, hop : int
        As for `stft`.
    n_times : int
        Length of the signal that `z` came from; the padding beyond it is cut off.

    Returns
    -------
    x : Tensor, shape (..., n_times)

    Raises
    ------
    ValueError
        If the shape of `z` is not the one that `stft` gives for such a signal.
    """
    _check_frames(n_fft, hop)
    expected = (n_fft // 2 + 1, n_frames(n_times, n_fft=n_fft, hop=hop))
    if tuple(z.shape[-2:]) != expected:
        raise ValueError(
            f"z must end with {expected} frequencies and frames for n_times={n_times}, got {tuple(z.shape[-2:])}."
        )
    frames = torch.fft.irfft(z.transpose(-1, -2), n_fft)
    added = _add_halves(frames).flatten(-2) if 2 * hop == n_fft else _add_overlapping(frames, hop)
    return added[..., :n_times]


def weigh_bins(x: Tensor, weights: Tensor, *, n_fft: int, hop: int) -> Tensor:
    """Multiply the bins of the short-time Fourier transform, and transform back.

    Parameters
    ----------
    x : Tensor, shape (n_segments, n_channels, n_times)
        Real signals.
    weights : Tensor, shape (n_segments, 1 or n_channels, n_fft // 2 + 1, n_frames)
        Real, on the same device.
    n_fft, hop : int
        As for `stft`.

    Returns
    -------
    weighed : Tensor, shape (n_segments, n_channels, n_times)
        ``istft(stft(x) * weights)``. On a processor and without gradients, it is computed a few signals at a time,
        which stay in the cache.
    """
    _check_frames(n_fft, hop)
    with_gradient = torch.is_grad_enabled() and (x.requires_grad or weights.requires_grad)
    if x.device.type != "cpu" or with_gradient or 2 * hop != n_fft or x.shape[-1] % hop:
        z = stft(x, n_fft=n_fft, hop=hop).mul_(weights)
        return istft(z, n_fft=n_fft, hop=hop, n_times=x.shape[-1])
    return _weigh_in_cache(x, weights, n_fft)


def n_frames(n_times: int, *, n_fft: int, hop: int) -> int:
    """Number of frames that `stft` cuts a signal of `n_times` samples into."""
    half = n_fft // 2
    return math.ceil((n_times + 2 * half - n_fft) / hop) + 1


def _check_frames(n_fft: int, hop: int) -> None:
    """Raise unless windowed frames can be put together again."""
    if n_fft % 2 or not 1 <= hop <= n_fft // 2:
        raise ValueError(f"n_fft must be even and hop in 1 ... n_fft // 2, got n_fft={n_fft} and hop={hop}.")


@lru_cache(maxsize=32)
def _window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A periodic Hann window of sum 1."""
    with torch.inference_mode(False):  # the window may serve training later on
        window = torch.hann_window(n_fft, dtype=dtype, device=device)
        return window / window.sum()


@lru_cache(maxsize=32)
def _inverse_window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The window over the sum of squared windows, where frames overlap by half."""
    with torch.inference_mode(False):
        window = _window(n_fft, dtype, device)
        return window / (window.square() + window.roll(n_fft // 2).square())


def _weigh_in_cache(x: Tensor, weights: Tensor, n_fft: int) -> Tensor:
    """`weigh_bins` where frames overlap by half and fill the signal: as few passes over memory as can be."""
    hop = n_fft // 2
    first, second = _window(n_fft, x.dtype, x.device).split(hop)
    halves = x.unflatten(-1, (-1, hop))  # (n_segments, n_channels, n_halves, hop)
    weighed = torch.empty_like(halves, memory_format=torch.contiguous_format)
    n_segments = max(1, _BLOCK_SIGNALS // x.shape[1])
    frames = x.new_zeros(min(n_segments, len(x)), x.shape[1], halves.shape[2] + 1, n_fft)  # zeros before and after
    later, earlier = frames[..., 1:, :hop], frames[..., :-1, hop:]
    for source, result, gains in zip(*(t.split(n_segments) for t in (halves, weighed, weights)), strict=True):
        n = len(source)
        torch.mul(source, first, out=later[:n])
        torch.mul(source, second, out=earlier[:n])
        z = torch.fft.rfft(frames[:n])
        # Both parts of every number get their own weight: several times faster than complex by real.
        torch.view_as_real(z).view(*z.shape[:-1], n_fft + 2).mul_(gains.mT.repeat_interleave(2, -1))
        _add_halves(torch.fft.irfft(z, n_fft), out=result)
    return weighed.flatten(-2)


def _add_halves(frames: Tensor, out: Tensor | None = None) -> Tensor:
    """`_add_overlapping` where every sample lies in two frames, the usual case: signals (..., n_halves, n_fft // 2)."""
    n_fft = frames.shape[-1]
    first, second = _inverse_window(n_fft, frames.dtype, frames.device).split(n_fft // 2)
    added = torch.mul(frames[..., :-1, n_fft // 2 :], second, out=out)
    return added.addcmul_(frames[..., 1:, : n_fft // 2], first)


def _add_overlapping(frames: Tensor, hop: int) -> Tensor:
    """Weighted sum of frames (..., n_frames, n_fft) over that of squared windows, less the padding in front."""
    window = _window(frames.shape[-1], frames.dtype, frames.device)
    added = _overlap_add(frames, window, hop)
    energy = _overlap_add(window.expand(frames.shape[-2], -1), window, hop)
    half = len(window) // 2
    return added[..., half:-half] / energy[half:-half]


def _overlap_add(frames: Tensor, window: Tensor, hop: int) -> Tensor:
    """Weight frames (..., n_frames, n_fft) and add them up, each `hop` samples after the one before."""
    n_frames, n_fft = frames.shape[-2:]
    n_parts = -(-n_fft // hop)
    if n_fft % hop:
        missing = (0, n_parts * hop - n_fft)
        frames, window = F.pad(frames, missing), F.pad(window, missing)
    added = frames.new_zeros(*frames.shape[:-2], n_frames + n_parts - 1, hop)
    for i in range(n_parts):
        part = slice(i * hop, (i + 1) * hop)
        added[..., i : i + n_frames, :].addcmul_(frames[..., part], window[part])
    return added.flatten(-2)
