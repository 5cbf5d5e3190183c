"""Experts and masks as one would first write them: the yardstick for speed, and an oracle for tests."""

import copy
import math

import numpy as np
import torch
from scipy.signal import istft, stft
from torch import Tensor, nn

from mne_specmoe.models.specmoe.axial import Attention
from mne_specmoe.models.specmoe.masking import BOTH, FREQUENCY, HOP, N_FFT, SFREQ, GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder
from mne_specmoe.models.specmoe.published_layout import AttentionBlock, published_heads
from mne_specmoe.nn.attention import rotate
from mne_specmoe.nn.layers import ConvNormAct, Dropout, MaxPool1d, PhaseConvTranspose1d


def plain_expert(expert: SpecHiNet | SpecHiNetEncoder) -> SpecHiNet | SpecHiNetEncoder:
    """Copy an expert into a form that computes the same the obvious way.

    Attention stores its map of scores, batch normalisation is a layer of its own in evaluation mode too; transposed
    convolutions, pooling and dropout are torch's.

    Parameters
    ----------
    expert : SpecHiNet or SpecHiNetEncoder
        Not changed.

    Returns
    -------
    plain : SpecHiNet or SpecHiNetEncoder
        A copy with the same state dict.
    """
    plain = copy.deepcopy(expert)
    for parent in list(plain.modules()):
        if isinstance(parent, AttentionBlock):
            parent.attention = plain_published_attention
        if isinstance(parent, Attention):
            parent.attention = plain_attention
        for name, child in parent.named_children():
            replacement = _plain_layer(child)
            if replacement is not child:
                setattr(parent, name, replacement.train(child.training))
    return plain


def plain_published_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Attention normalised over the queries, with its map of scores: [B, N, D] → [B, heads, N, D/heads]."""
    query, key, value = (rotate(published_heads(x), factors) for x in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    diagonal = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(diagonal, 0.0).softmax(-2) @ value


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Standard attention with its map of scores: [G, heads, N, D/heads] → the same shape."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.softmax(-1) @ value


class PlainConvNormAct(ConvNormAct):
    """Convolution, batch normalisation, pooling and activation, one after another in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        x = (self.masked_norm if self.sees_masked else self.norm)(self.conv(x))
        return nn.functional.gelu(x if self.pool is None else self.pool(x))


def _plain_layer(layer: nn.Module) -> nn.Module:
    """The same layer without our shortcuts; parameters keep their names."""
    if isinstance(layer, ConvNormAct):
        plain = PlainConvNormAct(_plain_layer(layer.conv), pool=layer.pool and _plain_layer(layer.pool))
        plain.norm, plain.masked_norm = layer.norm, layer.masked_norm
        return plain
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    if isinstance(layer, MaxPool1d):
        return nn.MaxPool1d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, PhaseConvTranspose1d):
        return _plain_transposed(layer)
    return layer


def _plain_transposed(layer: PhaseConvTranspose1d) -> nn.ConvTranspose1d:
    """torch's transposed convolution with the same parameters."""
    plain = nn.ConvTranspose1d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        bias=layer.bias is not None,
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


def plain_mask(
    mask: GaussianStftMask, x: np.ndarray, seeds: np.ndarray, *, n_bumps: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Mask segment by segment and channel by channel with SciPy, with the bumps that `mask` would use.

    Parameters
    ----------
    mask : GaussianStftMask
        Of the shared scope, with Gaussian bumps.
    x : ndarray, shape (n_segments, n_channels, n_times)
        Signals of 400 samples or more.
    seeds : ndarray of int64, shape (n_segments,)
        One per segment.
    n_bumps : int
        Drawn for each segment; it has to be enough.

    Returns
    -------
    signal : ndarray, shape (n_segments, n_channels, n_times)
        What is left.
    maps : ndarray, shape (n_segments, 201, n_frames)
        1 keeps, 0 removes.
    """
    frames = {"nperseg": N_FFT, "noverlap": N_FFT - HOP}
    maps = plain_maps(mask, x.shape[-1], seeds, n_bumps=n_bumps)
    signal = np.empty_like(x)
    for segment, kept, masked in zip(x, maps, signal, strict=True):
        for i, channel in enumerate(segment):
            _, _, spectrum = stft(channel, **frames)
            _, rebuilt = istft(spectrum * kept, **frames)
            masked[i] = rebuilt[: len(channel)]
    return signal, maps


def plain_maps(mask: GaussianStftMask, n_times: int, seeds: np.ndarray, *, n_bumps: int = 64) -> np.ndarray:
    """The maps alone, bump by bump on the whole grid; parameters and result as for `plain_mask`."""
    bumps = mask.draw_bumps(seeds, n_bumps)
    n_freqs, n_frames = N_FFT // 2 + 1, math.ceil(n_times / HOP) + 1
    f, t = np.meshgrid(np.arange(n_freqs), np.arange(n_frames), indexing="ij")
    maps = np.ones((len(seeds), n_freqs, n_frames))
    for i in range(len(seeds)):
        for kind, f0, t0 in zip(*(column[i] for column in bumps), strict=True):
            if np.mean(1 - maps[i]) >= mask.config.ratio:
                break
            over_f = (f - f0 * N_FFT / SFREQ) / (mask.config.width * n_freqs)
            over_t = (t - t0 * (n_frames - 1)) / (mask.config.width * n_frames)
            distance = over_f**2 + over_t**2 if kind == BOTH else over_f**2 if kind == FREQUENCY else over_t**2
            maps[i] *= 1 - mask.config.level * np.exp(-0.5 * distance)
    return maps
