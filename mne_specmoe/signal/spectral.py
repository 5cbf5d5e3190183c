"""Spectra of canonical signals, batched and differentiable."""

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
