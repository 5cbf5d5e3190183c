"""Spectra of canonical signals, batched and differentiable."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


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
    if hop == half and not missing:
        frames = _halved_frames(x.unflatten(-1, (-1, hop)), window)
    else:
        frames = F.pad(x, (half, half + missing)).unfold(-1, n_fft, hop) * window  # (..., n_frames, n_fft)
    return torch.fft.rfft(frames).transpose(-1, -2)


def istft(z: Tensor, *, n_fft: int, hop: int, n_times: int, out: Tensor | None = None) -> Tensor:
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
    out : Tensor, shape (..., n_times), optional
        Where to write the result; without gradients only.

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
    if 2 * hop == n_fft and out is not None and n_times % hop == 0:
        return _add_halves(frames, out.unflatten(-1, (-1, hop)))
    added = _add_halves(frames) if 2 * hop == n_fft else _add_overlapping(frames, hop)
    return added[..., :n_times] if out is None else out.copy_(added[..., :n_times])


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


def _halved_frames(halves: Tensor, window: Tensor) -> Tensor:
    """Weighted frames that overlap by half, of a signal cut into halves (..., n_halves, hop), without a padded copy."""
    n_halves, hop = halves.shape[-2:]
    frames = halves.new_empty(*halves.shape[:-2], n_halves + 1, 2 * hop)
    later, earlier = frames[..., 1:, :hop], frames[..., :-1, hop:]
    if torch.is_grad_enabled() and halves.requires_grad:
        later.copy_(halves * window[:hop])
        earlier.copy_(halves * window[hop:])
    else:  # one pass less
        torch.mul(halves, window[:hop], out=later)
        torch.mul(halves, window[hop:], out=earlier)
    frames[..., 0, :hop] = 0
    frames[..., -1, hop:] = 0
    return frames


def _add_halves(frames: Tensor, out: Tensor | None = None) -> Tensor:
    """`_add_overlapping` where every sample lies in two frames, the usual case: fewer passes over the data."""
    n_fft = frames.shape[-1]
    first, second = _inverse_window(n_fft, frames.dtype, frames.device).split(n_fft // 2)
    added = torch.mul(frames[..., :-1, n_fft // 2 :], second, out=out)
    return added.addcmul_(frames[..., 1:, : n_fft // 2], first).flatten(-2)


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
