"""Decoders of envelopes, against what is true of a spectrogram."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from lively_experts import eeg

from mne_specmoe.models.specmoe.emphasis import emphasise
from mne_specmoe.models.specmoe.envelope import EnvelopeDecoder, log_envelope
from mne_specmoe.models.specmoe.masking import HOP, N_FFT
from mne_specmoe.models.specmoe.network import root_mean_square
from mne_specmoe.signal.spectral import istft, stft

N_FREQS = N_FFT // 2 + 1


def told(envelope: torch.Tensor, share: float = 50.0) -> EnvelopeDecoder:
    """A decoder that says one envelope [201] at all times, and takes it over in full, or by a share's logit."""
    decoder = EnvelopeDecoder(120)
    with torch.no_grad():
        decoder.contract.weight.zero_()
        decoder.contract.bias.copy_(torch.cat([envelope, torch.full((N_FREQS,), share)]))
    return decoder


def bins(x: torch.Tensor) -> torch.Tensor:
    return stft(x, n_fft=N_FFT, hop=HOP)


def steady(level: float = 1.0) -> torch.Tensor:
    """A signal whose spectrogram has one envelope at all times but the edges: the same pulse in every frame."""
    x = torch.zeros(1, 1, 2400)
    x[..., 50::HOP] = level * 10
    return x


def test_log_envelopes_are_scipys_smoothed_amplitudes():
    x = np.random.default_rng(0).standard_normal((2, 2000))
    _, _, spectrum = scipy.signal.stft(x, 200, "hann", nperseg=N_FFT, noverlap=N_FFT - HOP)
    power = np.abs(spectrum) ** 2 * (0.5 * np.arange(N_FREQS).clip(1))[:, None]
    power = np.pad(power, ((0, 0), (5, 5), (0, 0)), mode="edge")
    weights = (1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1)
    smooth = sum(w * power[:, i : i + N_FREQS] for i, w in enumerate(weights)) / sum(weights)
    expected = 0.5 * np.log(smooth + 1e-4 * 1.5 / N_FFT)
    np.testing.assert_allclose(log_envelope(torch.from_numpy(spectrum)), expected, rtol=0, atol=1e-10)


def test_the_power_of_a_bin_of_white_noise_is_what_the_floor_is_measured_by():
    power = bins(torch.randn(50, 1, 4000, generator=torch.Generator().manual_seed(0))).abs().square()
    assert power[..., 2:-2, 2:-2].mean().item() == pytest.approx(1.5 / N_FFT, rel=0.02)


@torch.no_grad()
def test_the_envelope_of_the_clean_signal_rebuilds_it_from_a_quieter_one():
    """Where a mask takes the same of all frequencies, nothing but the floor stands between."""
    clean = steady()
    envelope = log_envelope(bins(clean))[0, 0, :, 5]
    rebuilt, said = told(envelope)(torch.zeros(1, 1, 128, 20), 0.3 * clean)
    assert said.shape == (1, 1, N_FREQS, 13)
    torch.testing.assert_close(said[0, 0, :, 5], envelope)
    inside = slice(400, 2000)
    error = (rebuilt - clean)[..., inside].square().mean() / clean[..., inside].square().mean()
    assert error < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 1.0, -2.0])
def test_of_two_shares_one_leaves_the_signal_and_one_takes_the_envelope(level):
    x, embedding = eeg(1, 2, 1200), torch.zeros(1, 2, 128, 10)
    envelope = torch.full((N_FREQS,), level)
    kept, _ = told(envelope, share=-50.0)(embedding, x)
    torch.testing.assert_close(kept, x, rtol=0, atol=1e-5)
    taken, said = told(envelope)(embedding, x)
    gain = (said - log_envelope(bins(x))).clamp_max(4.0).exp()
    torch.testing.assert_close(taken, istft(bins(x) * gain, n_fft=N_FFT, hop=HOP, n_times=1200), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_is_silent_stays_silent_and_finite():
    rebuilt, _ = told(torch.full((N_FREQS,), 3.0))(torch.zeros(1, 1, 128, 10), torch.zeros(1, 1, 1200))
    assert not rebuilt.any()


@torch.no_grad()
def test_gains_are_bounded():
    x = 1e-3 * eeg(1, 1, 1200)
    rebuilt, _ = told(torch.full((N_FREQS,), 100.0))(torch.zeros(1, 1, 128, 10), x)
    torch.testing.assert_close(rebuilt, math.exp(4) * x, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_channels_and_segments_are_read_each_by_itself():
    torch.manual_seed(0)
    decoder, x, embedding = EnvelopeDecoder(120), eeg(2, 3, 1200), eeg(2, 3, 128, 10)
    together = decoder(embedding, x)
    for i, j in np.ndindex(2, 3):
        alone = decoder(embedding[i, j][None, None], x[i, j][None, None])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i, j], part[0, 0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_training_begins_near_the_envelope_of_eeg():
    """Of 1/f noise of which the encoder sees variance 1: within a factor of e nearly everywhere up to 60 Hz."""
    torch.manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(4, 1, 6000))
    noise = torch.fft.irfft(spectrum / torch.arange(3001).clamp_min(1).sqrt(), n=6000)
    noise = noise / root_mean_square(emphasise(noise))
    _, envelope = EnvelopeDecoder(120)(torch.zeros(4, 1, 128, 50), noise)
    off = (envelope - log_envelope(bins(noise)))[..., 2:120, 1:-1]
    assert off.mean().abs() < 0.5
    assert (off.abs() < 1).float().mean() > 0.8
