"""Rebuilding by envelopes: how strong every bin of a spectrogram was, read off an embedding."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe.config import EMBED_DIM
from mne_specmoe.models.specmoe.gains import frame_weights
from mne_specmoe.models.specmoe.masking import HOP, N_FFT
from mne_specmoe.signal.spectral import istft, stft

N_FREQS = N_FFT // 2 + 1
_REACH = 5  # bins of 0.5 Hz on either side that an envelope is smoothed over: about as far as a mask's bumps reach
_FLOOR = 1e-4  # of a smoothed power, about 40 dB below that of noise at the same amplitude
_MOST_GAIN = 4.0  # nepers: 55 times


class EnvelopeDecoder(nn.Module):
    """Give the spectrogram of what the network sees the envelope that it reads off its embedding.

    A mask multiplies a spectrogram by numbers of 0 and more, so it leaves the phases where it leaves anything, and
    what has to be rebuilt are amplitudes. With the spectrogram S of what the network sees, its log envelope V
    (`log_envelope`), and an envelope E and a share a in (0, 1) that are both linear in features of the embedding,

    .. math:: \\hat S = S \\, (1 + a \\, (e^{E - V} - 1))

    Where the decoder is told what the mask kept, only the share depends on that, and not the envelope. So nothing of a
    clean amplitude comes in by another way than the embedding, and an embedding that ignores the EEG rebuilds badly.

    Parameters
    ----------
    n_samples : int
        Samples that a token of the embedding stands for.
    n_hidden : int
        Features between embedding and envelope.
    told_mask : bool
        Whether the share in a bin depends on what the mask kept of it, too.
    """

    def __init__(self, n_samples: int, n_hidden: int = 256, *, told_mask: bool = False):
        super().__init__()
        self.n_samples = n_samples
        self.told = nn.Parameter(torch.full((N_FREQS, 1), 4.0)) if told_mask else None
        self.expand = nn.Linear(EMBED_DIM, n_hidden)
        self.contract = nn.Linear(n_hidden, 2 * N_FREQS)
        with torch.no_grad():
            self.contract.weight.mul_(0.1)
            shares = torch.full((N_FREQS,), -2.0 if told_mask else 0.0)
            self.contract.bias.copy_(torch.cat([_typical_envelope(), shares]))

    def forward(self, embedding: Tensor, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rebuild x [B, C, T] from an embedding [B, C, 128, n]: the signal, and E [B, C, n_freqs, n_frames].

        What the mask kept is [B, 1 or C, n_freqs, n_frames], of use to decoders that are told.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        spectrum = stft(wide, n_fft=N_FFT, hop=HOP)  # [B, C, F, M]
        weights = frame_weights(embedding.shape[-1], spectrum.shape[-1], self.n_samples)
        framed = embedding @ weights.to(embedding)  # [B, C, 128, M]
        output = self.contract(F.gelu(self.expand(framed.transpose(-1, -2)))).transpose(-1, -2)
        envelope, share = output.to(spectrum.real.dtype).chunk(2, -2)
        if self.told is not None:
            share = share + self.told * (1 - kept)
        gain = (envelope - log_envelope(spectrum)).clamp_max(_MOST_GAIN).exp() - 1
        rebuilt = istft(spectrum * (1 + share.sigmoid() * gain), n_fft=N_FFT, hop=HOP, n_times=x.shape[-1])
        return rebuilt.to(x.dtype), envelope


def log_envelope(spectrum: Tensor) -> Tensor:
    """Logarithm of the amplitudes of a spectrogram [..., F, M] times root frequency, smoothed over 11 frequencies.

    Root frequency, so that of EEG, whose power is about 1/f, all frequencies count alike. What is finer than the
    smoothing is noise to a network, and stays as the spectrogram has it.
    """
    bins = torch.arange(spectrum.shape[-2], dtype=spectrum.real.dtype, device=spectrum.device).clamp_min(1)
    power = (spectrum.real.square() + spectrum.imag.square()) * (0.5 * bins)[:, None]
    kernel = 1 - torch.arange(-_REACH, _REACH + 1, dtype=power.dtype, device=power.device).abs() / (_REACH + 1)
    series = power.movedim(-2, -1).reshape(-1, 1, power.shape[-2])  # [·, 1, F]
    padded = F.pad(series, (_REACH, _REACH), mode="replicate")
    smooth = F.conv1d(padded, (kernel / kernel.sum())[None, None]).view(power.movedim(-2, -1).shape).movedim(-1, -2)
    return 0.5 * (smooth + _FLOOR * _noise_power()).log()


def _noise_power() -> float:
    """Power of a bin of the spectrogram of white noise of variance 1: Hann windows that add up to 1."""
    return 1.5 / N_FFT


def _typical_envelope() -> Tensor:
    """Log envelope of 1/f noise that has variance 1 once it is emphasised: where training begins."""
    return torch.full((N_FREQS,), 0.5 * math.log(2 * _noise_power()))
