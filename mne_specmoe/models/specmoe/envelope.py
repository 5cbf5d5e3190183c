"""Rebuilding by envelopes: how strong every bin of a spectrogram was, read off an encoder's features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe.gains import frame_weights
from mne_specmoe.models.specmoe.masking import HOP, N_FFT
from mne_specmoe.signal.spectral import istft, stft

N_FREQS = N_FFT // 2 + 1
_REACH = 5  # bins of 0.5 Hz on either side that an envelope is smoothed over: about as far as a mask's bumps reach
_FLOOR = 1e-4  # of a smoothed power, about 40 dB below that of noise at the same amplitude
_MOST_GAIN = 4.0  # nepers: 55 times
_N_LEVEL = 90  # frequencies that say how strong a segment is: from 1 to 45 Hz
_MARGIN = math.log(2)  # how far an amplitude may go beyond what undoing the mask would make of it
_LEAST_LEFT = 1e-4  # of power, of what a mask kept of a bin


class EnvelopeDecoder(nn.Module):
    """Give the spectrogram of what the network sees the envelope that it reads off its features.

    A mask multiplies a spectrogram by numbers of 0 and more, so it leaves the phases where it leaves anything, and
    what has to be rebuilt are amplitudes. With the spectrogram S of what the network sees, its log envelope V
    (`log_envelope`), and an envelope E that is read off what the encoder made of it,

    .. math:: \\hat S = S \\, e^{E - V}

    Where the decoder is told what the mask kept, the envelope is moved, one number per segment, to the level of what
    the mask kept, and amplitudes grow to twice what undoing the mask would make of them at most. Nothing else of an
    amplitude comes in by another way than the encoder's features, even where the mask took nothing, so an encoder that
    ignores the EEG rebuilds badly.

    Parameters
    ----------
    stages : sequence of tuple of int
        Of every stage that is read: its features, and the samples that a token of it stands for.
    n_hidden : int
        Features between the stages and the envelope.
    told_mask : bool
        Whether the decoder is told what the mask kept.
    """

    def __init__(self, stages: Sequence[tuple[int, int]], n_hidden: int = 256, *, told_mask: bool = False):
        super().__init__()
        self.steps, self.told_mask = [step for _, step in stages], told_mask
        self.expand = nn.Linear(sum(n_features for n_features, _ in stages), n_hidden)
        self.contract = nn.Linear(n_hidden, N_FREQS)
        with torch.no_grad():
            self.contract.weight.mul_(0.1)
        self.begin_with(_typical_envelope())

    @torch.no_grad()
    def begin_with(self, envelope: Tensor) -> None:
        """Let the first guess be the log envelope [n_freqs] given, whatever the features."""
        self.contract.bias.copy_(envelope)

    def forward(self, stages: Sequence[Tensor], x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rebuild x [B, C, T] from stages, each [B, C, features, n]: the signal, and E [B, C, n_freqs, n_frames].

        What the mask kept is [B, 1 or C, n_freqs, m], of use to decoders that are told; frames beyond m hold padding.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        spectrum = stft(wide, n_fft=N_FFT, hop=HOP)  # [B, C, F, M]
        framed = [
            stage @ frame_weights(stage.shape[-1], spectrum.shape[-1], step).to(stage)  # [B, C, features, M]
            for stage, step in zip(stages, self.steps, strict=True)
        ]
        output = self.contract(F.gelu(self.expand(torch.cat(framed, 2).transpose(-1, -2)))).transpose(-1, -2)
        envelope, seen = output.to(spectrum.real.dtype), log_envelope(spectrum)
        most = _MOST_GAIN
        if self.told_mask:
            left = _log_left(kept.to(seen), spectrum.shape[-1])
            envelope = envelope + _level((seen - envelope)[..., : kept.shape[-1]], left[..., : kept.shape[-1]])
            most = (_MARGIN - left).clamp_max(most)  # a mask took so much, and no more
        gain = (envelope - seen).minimum(torch.as_tensor(most).to(seen)).exp()
        return istft(spectrum * gain, n_fft=N_FFT, hop=HOP, n_times=x.shape[-1]).to(x.dtype), envelope


def _log_left(kept: Tensor, n_frames: int) -> Tensor:
    """Log amplitude of what a mask [B, 1 or C, F, m] leaves of an envelope, [B, 1 or C, F, n_frames]; 0 beyond m."""
    left = 0.5 * _smoothed(kept.square()).clamp_min(_LEAST_LEFT).log()
    return F.pad(left, (0, n_frames - left.shape[-1]))


def _level(difference: Tensor, left: Tensor) -> Tensor:
    """How much stronger a segment is than envelopes say: [B, 1, 1, 1], from 1 to 45 Hz.

    The mean of what was seen less what is said [B, C, F, M], weighed by the power that a mask left (its log amplitude
    [B, 1 or C, F, M]), and corrected for that.
    """
    difference = difference[:, :, 2:_N_LEVEL]
    left = left[:, :, 2:_N_LEVEL].expand_as(difference)
    weights = (2 * left).exp()
    return (((difference - left) * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3)))[:, None, None, None]


def log_envelope(spectrum: Tensor) -> Tensor:
    """Logarithm of the amplitudes of a spectrogram [..., F, M] times root frequency, smoothed over 11 frequencies.

    Root frequency, so that of EEG, whose power is about 1/f, all frequencies count alike. What is finer than the
    smoothing is noise to a network, and stays as the spectrogram has it.
    """
    bins = torch.arange(spectrum.shape[-2], dtype=spectrum.real.dtype, device=spectrum.device).clamp_min(1)
    power = (spectrum.real.square() + spectrum.imag.square()) * (0.5 * bins)[:, None]
    return 0.5 * (_smoothed(power) + _FLOOR * _noise_power()).log()


def _smoothed(power: Tensor) -> Tensor:
    """Weighted mean of power [..., F, M] over 11 frequencies."""
    kernel = 1 - torch.arange(-_REACH, _REACH + 1, dtype=power.dtype, device=power.device).abs() / (_REACH + 1)
    series = power.movedim(-2, -1)
    padded = F.pad(series.reshape(-1, 1, series.shape[-1]), (_REACH, _REACH), mode="replicate")  # [·, 1, F]
    return F.conv1d(padded, (kernel / kernel.sum())[None, None]).view(series.shape).movedim(-1, -2)


def _noise_power() -> float:
    """Power of a bin of the spectrogram of white noise of variance 1: Hann windows that add up to 1."""
    return 1.5 / N_FFT


def _typical_envelope() -> Tensor:
    """Log envelope of 1/f noise that has variance 1 once it is emphasised: where training begins."""
    return torch.full((N_FREQS,), 0.5 * math.log(2 * _noise_power()))
