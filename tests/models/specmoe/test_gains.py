"""Decoders of gains: what they add to what the network sees."""

import numpy as np
import pytest
import scipy.signal
import torch

from mne_specmoe.models.specmoe.gains import SpectralGains
from mne_specmoe.models.specmoe.network import SpecHiNet

SFREQ = 200


def eeg(*shape):
    """Noise of 100 µV, in network units."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def gains_of(bias, weight=None):
    """Gains that do not depend on features, or do as `weight` [201, 4] says."""
    module = SpectralGains(4)
    with torch.no_grad():
        module.linear.bias.copy_(torch.as_tensor(bias))
        if weight is not None:
            module.linear.weight.copy_(weight)
    return module


@torch.no_grad()
@pytest.mark.parametrize("n_times", [600, 720, 960, 2000])
def test_one_gain_for_all_bins_scales_the_signal(n_times):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, n_times))).float()
    features = torch.zeros(6, 4, n_times // 15)
    torch.testing.assert_close(gains_of(np.full(201, 0.7))(features, x), 0.7 * x, rtol=0, atol=1e-5)


@torch.no_grad()
def test_gains_per_frequency_filter_as_scipy_does():
    rng = np.random.default_rng(1)
    x, gains = rng.standard_normal((1, 2, 2000)), rng.standard_normal(201)
    _, _, z = scipy.signal.stft(x, SFREQ, "hann", nperseg=400, noverlap=200)
    _, expected = scipy.signal.istft(z * gains[:, None], SFREQ, "hann", nperseg=400, noverlap=200)
    filtered = gains_of(gains)(torch.zeros(2, 4, 133), torch.from_numpy(x).float())
    np.testing.assert_allclose(filtered, expected, atol=1e-5)


@torch.no_grad()
def test_features_act_where_they_are():
    weight = torch.zeros(201, 4)
    weight[:, 0] = 1.0
    features = torch.zeros(1, 4, 133)
    features[0, 0, 80] = 100.0  # at 15 * 80.5 = 1,207 samples
    scaled = gains_of(np.zeros(201), weight)(features, torch.ones(1, 1, 2000))[0, 0].abs()
    assert scaled[1100:1300].min() > 0.1
    assert scaled[:1000].max() == 0
    assert scaled[1601:].max() == 0
    assert 1100 < float((scaled * torch.arange(2000)).sum() / scaled.sum()) < 1300


@torch.no_grad()
def test_features_of_one_channel_act_on_that_channel():
    weight = torch.ones(201, 4)
    features = torch.zeros(6, 4, 40)  # two segments of three channels
    features[4] = 1.0
    scaled = gains_of(np.zeros(201), weight)(features, torch.ones(2, 3, 600)).abs().amax(-1)
    assert scaled[1, 1] > 0
    assert scaled.count_nonzero() == 1


@torch.no_grad()
@pytest.mark.parametrize("amplitude", ["absolute", "relative"])
def test_an_untrained_decoder_of_gains_adds_its_signal_to_what_the_network_sees(amplitude):
    x = eeg(1, 3, 500)  # padded to 600
    torch.manual_seed(0)
    whole, rest = (SpecHiNet(amplitude=amplitude, decoder=d).eval() for d in ("signal", "gains"))
    missing, _ = rest.load_state_dict(whole.state_dict(), strict=False)
    assert all("gains" in name for name in missing)  # which are 0
    whole, rest = whole(x), rest(x)
    torch.testing.assert_close(rest.short, whole.short + x)
    torch.testing.assert_close(rest.long, whole.long + x)
    torch.testing.assert_close(rest.aux_up1, whole.aux_up1)
    torch.testing.assert_close(rest.aux_up2, whole.aux_up2)


def test_gains_are_trained():
    expert = SpecHiNet(decoder="gains")
    expert(eeg(2, 2, 720)).long.square().mean().backward()
    assert expert.decoder.gains_long.linear.weight.grad.abs().max() > 0
    assert expert.decoder.gains_short.linear.weight.grad is None  # the short branch did not count
