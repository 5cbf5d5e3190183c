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
EMBEDDING = [(128, 120)]  # features of a token, and samples that it stands for


def saying(envelope: torch.Tensor, **options: bool) -> EnvelopeDecoder:
    """A decoder that says one envelope [201] at all times."""
    decoder = EnvelopeDecoder(EMBEDDING, **options)
    with torch.no_grad():
        decoder.contract.weight.zero_()
        decoder.begin_with(envelope)
    return decoder


def bins(x: torch.Tensor) -> torch.Tensor:
    return stft(x, n_fft=N_FFT, hop=HOP)


def steady(n_times: int = 2400) -> torch.Tensor:
    """A signal whose spectrogram has one envelope at all times but the edges: the same pulse in every frame."""
    x = torch.zeros(1, 1, n_times)
    x[..., 50::HOP] = 10
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
    rebuilt, said = saying(envelope)([torch.zeros(1, 1, 128, 20)], 0.3 * clean)
    assert said.shape == (1, 1, N_FREQS, 13)
    torch.testing.assert_close(said[0, 0, :, 5], envelope)
    inside = slice(400, 2000)
    error = (rebuilt - clean)[..., inside].square().mean() / clean[..., inside].square().mean()
    assert error < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 1.0, -2.0])
def test_a_signal_gets_the_envelope_that_is_said_and_keeps_its_phases(level):
    x, embedding = eeg(1, 2, 1200), [torch.zeros(1, 2, 128, 10)]
    taken, said = saying(torch.full((N_FREQS,), level))(embedding, x)
    gain = (level - log_envelope(bins(x))).clamp_max(4.0).exp()
    assert torch.equal(said, torch.full_like(gain, level))
    torch.testing.assert_close(taken, istft(bins(x) * gain, n_fft=N_FFT, hop=HOP, n_times=1200), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_told_what_was_kept_a_decoder_finds_the_level_by_itself():
    """An envelope of the right shape at any level rebuilds what a mask left a quarter of."""
    clean = steady(12000)
    envelope, kept = log_envelope(bins(clean))[0, 0, :, 5], torch.ones(1, 1, N_FREQS, 61)
    kept[:, :, 20:60, 4:40] = 0.25
    masked, inside = istft(bins(clean) * kept, n_fft=N_FFT, hop=HOP, n_times=12000), slice(400, -400)
    lost, errors = (masked - clean)[..., inside].square().mean(), []
    for level in (-3.0, 0.0, 2.0):
        rebuilt, said = saying(envelope + level, told_mask=True)([torch.zeros(1, 1, 128, 100)], masked, kept)
        errors.append((rebuilt - clean)[..., inside].square().mean())
        assert (said[0, 0, 2:90, 3:57] - envelope[2:90, None]).mean().abs() < 0.05
    assert max(errors) - min(errors) < 1e-6
    assert max(errors) < 0.2 * lost  # where the mask has edges, smoothing blurs them


@torch.no_grad()
def test_told_what_was_kept_a_decoder_at_most_doubles_what_undoing_it_would_give():
    x, loud = eeg(1, 1, 2400), torch.zeros(N_FREQS)
    loud[100:] = 50.0  # beyond 45 Hz no level is taken from
    kept = torch.full((1, 1, N_FREQS, 13), 0.5)
    rebuilt, _ = saying(loud, told_mask=True)([torch.zeros(1, 1, 128, 20)], x, kept)
    inside = slice(400, 2000)
    fast = [torch.fft.rfft(signal[..., inside])[..., 450:750].abs() for signal in (rebuilt, x)]  # 56 to 94 Hz
    torch.testing.assert_close(fast[0], 4 * fast[1], rtol=0.1, atol=0.5)  # twice the inverse of a half


@torch.no_grad()
def test_what_is_silent_stays_silent_and_finite():
    rebuilt, _ = saying(torch.full((N_FREQS,), 3.0))([torch.zeros(1, 1, 128, 10)], torch.zeros(1, 1, 1200))
    assert not rebuilt.any()


@torch.no_grad()
def test_gains_are_bounded():
    x = 1e-3 * eeg(1, 1, 1200)
    rebuilt, _ = saying(torch.full((N_FREQS,), 100.0))([torch.zeros(1, 1, 128, 10)], x)
    torch.testing.assert_close(rebuilt, math.exp(4) * x, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_stages_are_read_at_the_times_that_their_tokens_stand_for():
    """Whatever the lengths of its tokens, a stage that says something from 6 s on changes nothing up to 5 s."""
    torch.manual_seed(0)
    decoder, x = EnvelopeDecoder([(2, 120), (3, 15)]), eeg(1, 1, 2400)
    stages = [torch.zeros(1, 1, 2, 20), torch.zeros(1, 1, 3, 160)]
    _, before = decoder(stages, x)
    for i, first in enumerate((10, 80)):
        later = [stage.clone() for stage in stages]
        later[i][..., first:] = 10.0
        _, after = decoder(later, x)
        assert torch.equal(after[..., :5], before[..., :5])
        assert (after - before)[..., 8:].abs().min(-1).values.max() > 0.1


@torch.no_grad()
def test_channels_and_segments_are_read_each_by_itself():
    torch.manual_seed(0)
    decoder, x, embedding = EnvelopeDecoder(EMBEDDING), eeg(2, 3, 1200), eeg(2, 3, 128, 10)
    together = decoder([embedding], x)
    for i, j in np.ndindex(2, 3):
        alone = decoder([embedding[i, j][None, None]], x[i, j][None, None])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i, j], part[0, 0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_training_begins_near_the_envelope_of_eeg():
    """Of 1/f noise of which the encoder sees variance 1: within a factor of e nearly everywhere up to 60 Hz."""
    torch.manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(4, 1, 6000))
    noise = torch.fft.irfft(spectrum / torch.arange(3001).clamp_min(1).sqrt(), n=6000)
    noise = noise / root_mean_square(emphasise(noise))
    _, envelope = EnvelopeDecoder(EMBEDDING)([torch.zeros(4, 1, 128, 50)], noise)
    off = (envelope - log_envelope(bins(noise)))[..., 2:120, 1:-1]
    assert off.mean().abs() < 0.5
    assert (off.abs() < 1).float().mean() > 0.8
