"""What the channelwise layout makes of signals before its first convolution."""

import numpy as np
import pytest
import scipy.signal
import torch
from lively_experts import eeg

from mne_specmoe.models.specmoe import emphasis
from mne_specmoe.models.specmoe.emphasis import detrend, emphasise


def gain(frequency: float) -> float:
    """Amplitude of a sine of amplitude 1, away from the edges."""
    x = torch.sin(2 * torch.pi * frequency * torch.arange(4000, dtype=torch.float64) / 200)[None, None]
    return (2**0.5 * emphasise(x)[..., 1000:3000].square().mean().sqrt()).item()


@pytest.mark.parametrize("frequency", [3, 6, 10, 20, 30, 40])
def test_amplitudes_grow_with_the_square_root_of_frequency(frequency):
    assert gain(frequency) == pytest.approx(frequency**0.5, rel=0.05)


@pytest.mark.parametrize("frequency", [0.05, 80, 95])
def test_drift_and_what_recordings_hold_nothing_of_are_taken_out(frequency):
    assert gain(frequency) < 0.1


def test_lines_are_taken_out_as_scipy_does():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 500)) + 5 + np.linspace(0, 40, 500)
    np.testing.assert_allclose(detrend(torch.from_numpy(x)), scipy.signal.detrend(x), atol=1e-9)


@pytest.mark.parametrize("n_times", [1, 2, 3, 100])
def test_short_and_flat_signals_are_finite(n_times):
    for x in (eeg(2, 3, n_times), torch.full((2, 3, n_times), 7.0)):
        assert emphasise(x).isfinite().all()
        assert emphasise(x).shape == x.shape
    assert emphasise(torch.full((1, 1, n_times), 7.0)).abs().max() < 1e-4


@pytest.mark.parametrize("n_times", [1, 50, 500, 2001])
def test_filtering_is_a_plain_convolution_with_zeros_around(n_times):
    x = eeg(2, 3, n_times, dtype=torch.float64)
    expected = np.apply_along_axis(np.convolve, -1, detrend(x).numpy(), emphasis._taps().numpy())[
        ..., 80 : 80 + n_times
    ]
    np.testing.assert_allclose(emphasise(x), expected, atol=1e-10)


def test_autocast_does_not_round_what_the_network_sees():
    x = eeg(1, 2, 800)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = emphasise(x)
    assert torch.equal(rounded, emphasise(x))


def test_the_phase_stays():
    x = torch.zeros(1, 1, 801)
    x[..., 400] = 1.0
    y = emphasise(x)
    torch.testing.assert_close(y[..., 320:481], y[..., 320:481].flip(-1), rtol=0, atol=1e-2)
    assert y[0, 0].abs().argmax() == 400


def test_channels_and_segments_do_not_see_each_other():
    x = eeg(2, 3, 600)
    alone = torch.stack([torch.cat([emphasise(c[None, None])[0] for c in segment]) for segment in x])
    torch.testing.assert_close(emphasise(x), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_filter_made_in_inference_serves_training(dtype):
    emphasis._taps.cache_clear()
    x = eeg(1, 2, 400).to(dtype)
    with torch.inference_mode():
        emphasise(x)
    x.requires_grad_()
    emphasise(x).square().sum().backward()
    assert x.grad.isfinite().all()
