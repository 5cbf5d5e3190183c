"""Rebuilding by gains: how much is missing of every bin of a spectrogram."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe.masking import HOP, N_FFT
from mne_specmoe.signal.spectral import istft, stft


class SpectralGains(nn.Module):
    """Gains for every bin of a signal's spectrogram, from features of the signal along time.

    After the stages of pooling, features say how strong a rhythm is rather than where its peaks are. So a decoder can
    hardly draw the peaks of what is missing, but it can say how much is missing of what the signal still shows.

    Parameters
    ----------
    n_features : int
        Number of features.
    """

    def __init__(self, n_features: int):
        super().__init__()
        self.linear = nn.Linear(n_features, N_FFT // 2 + 1)
        nn.init.zeros_(self.linear.weight)  # the first guess: nothing is missing
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Scale the spectrogram of x [B, C, T], channel by channel, by gains from features [B·C, n_features, n]."""
        n_times = x.shape[-1]
        spectrum = stft(x.to(torch.promote_types(x.dtype, torch.float32)), n_fft=N_FFT, hop=HOP)  # [B, C, F, M]
        weights = frame_weights(features.shape[-1], spectrum.shape[-1], n_times / features.shape[-1])
        framed = F.gelu(features) @ weights.to(features)  # [G, n_features, M]
        gains = self.linear(framed.transpose(1, 2)).transpose(1, 2)  # [G, F, M]
        scaled = spectrum * gains.to(x.device, spectrum.real.dtype).view(spectrum.shape)
        return istft(scaled, n_fft=N_FFT, hop=HOP, n_times=n_times).to(x.dtype)


@lru_cache(maxsize=32)
def frame_weights(n_tokens: int, n_frames: int, step: float) -> Tensor:
    """Weights [n_tokens, n_frames] of tokens, `step` samples apart, in frames: most at its centre, 0 a frame away.

    A frame whose centre is beyond the first or the last token counts as centred there.
    """
    with torch.inference_mode(False):  # the weights may serve training later on
        tokens = (torch.arange(n_tokens, dtype=torch.float64)[:, None] + 0.5) * step
        centres = (torch.arange(n_frames, dtype=torch.float64) * HOP).clamp(tokens.min(), tokens.max())
        weights = (1 - (tokens - centres).abs() / HOP).clamp_min(0)
        return (weights / weights.sum(0)).float()
