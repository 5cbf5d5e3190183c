import numpy as np
import pytest
import torch
from golden_data import load_cases
from scipy.signal import istft as scipy_istft
from scipy.signal import stft as scipy_stft
from scipy.signal import welch

from mne_specmoe.signal.canonical import pad
from mne_specmoe.signal.spectral import istft, n_frames, stft, weigh_bins, welch_psd


@pytest.mark.parametrize(
    ("n_times", "n_per_segment", "n_overlap"),
    [(1200, 400, 200), (1230, 400, 200), (600, 200, 0), (700, 101, 33), (400, 400, 200)],
)
def test_agrees_with_scipy_but_for_detrending_and_doubling(n_times, n_per_segment, n_overlap):
    x = np.random.default_rng(0).standard_normal((2, 3, n_times)).cumsum(-1) + 40
    options = {"fs": 200, "window": "hann", "nperseg": n_per_segment, "noverlap": n_overlap}
    centred = x - x.mean(-1, keepdims=True)
    _, two_sided = welch(centred, detrend=False, return_onesided=False, **options)
    n_freqs = n_per_segment // 2 + 1
    psd = welch_psd(torch.from_numpy(x), n_per_segment=n_per_segment, n_overlap=n_overlap).numpy()
    np.testing.assert_allclose(psd, two_sided[..., :n_freqs], rtol=1e-9)
    # Scipy's usual settings differ in the two respects that the docstring names.
    _, detrended = welch(x, return_onesided=False, **options)
    if n_times > n_per_segment:
        assert np.abs(psd / detrended[..., :n_freqs] - 1).max() > 0.01
    _, doubled = welch(centred, detrend=False, **options)
    np.testing.assert_allclose(doubled[..., 1 : n_freqs - 1], 2 * psd[..., 1:-1], rtol=1e-9)


@pytest.mark.parametrize(("case", "n_per_segment", "n_overlap"), [("moe_a", 400, 200), ("moe_b", 200, 0)])
def test_reproduces_the_published_spectra(case, n_per_segment, n_overlap):
    arrays = load_cases()[case]
    padded, _ = pad(torch.from_numpy(arrays["x"]))
    psd = welch_psd(padded, n_per_segment=n_per_segment, n_overlap=n_overlap).numpy()
    assert psd.dtype == np.float32
    assert np.abs(psd - arrays["psd"]).max() < 1e-7
    assert np.abs(psd / arrays["psd"] - 1).max() < 1e-3  # small powers too


def test_power_scales_with_the_rate_and_the_square_of_the_amplitude():
    x = torch.randn(2, 500, dtype=torch.float64)
    psd = welch_psd(x, n_per_segment=100)
    torch.testing.assert_close(welch_psd(3 * x, n_per_segment=100), 9 * psd)
    torch.testing.assert_close(welch_psd(x, sfreq=100.0, n_per_segment=100), 2 * psd)


def test_a_tone_peaks_at_its_frequency_with_its_power():
    x = 2 * torch.sin(2 * torch.pi * 10 * torch.arange(2000, dtype=torch.float64) / 200)
    psd = welch_psd(x, n_per_segment=400, n_overlap=200)
    assert psd.argmax() == 20  # 0.5 Hz apart
    assert abs(psd.sum() * 0.5 - 1.0) < 1e-6  # half of the power 2²/2: the other side is not counted


def test_an_offset_does_not_matter():
    x = torch.randn(600, dtype=torch.float64)
    torch.testing.assert_close(welch_psd(x + 1e3, n_per_segment=200), welch_psd(x, n_per_segment=200))


def test_shorter_signals_are_padded_after_their_mean_was_removed():
    x = torch.randn(3, 120, dtype=torch.float64) + 5
    padded = torch.zeros(3, 200, dtype=torch.float64)
    padded[:, :120] = x - x.mean(-1, keepdim=True)
    window = torch.hann_window(200, dtype=torch.float64)
    spectrum = torch.fft.rfft(padded * window).abs().square() / (200 * window.square().sum())
    torch.testing.assert_close(welch_psd(x, n_per_segment=200), spectrum, rtol=1e-9, atol=1e-15)


def test_gradients_agree_with_finite_differences():
    x = torch.randn(2, 50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: welch_psd(x, n_per_segment=20, n_overlap=10), x)


def test_a_flat_signal_has_no_power_and_no_nan_gradient():
    x = torch.full((1, 400), 2.0, requires_grad=True)
    psd = welch_psd(x, n_per_segment=400)
    psd.sum().backward()
    assert (psd == 0).all()
    assert x.grad.isfinite().all()


# Short-time Fourier transform

FRAMES = [(6000, 400, 200), (1230, 400, 200), (400, 400, 200), (1003, 100, 33), (1000, 256, 64), (777, 64, 1)]


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))


@pytest.mark.parametrize(("n_times", "n_fft", "hop"), FRAMES)
def test_transform_is_scipys(n_times, n_fft, hop):
    x = noise(2, 3, n_times)
    _, _, expected = scipy_stft(x.numpy(), nperseg=n_fft, noverlap=n_fft - hop)
    z = stft(x, n_fft=n_fft, hop=hop).numpy()
    assert z.shape == (2, 3, n_fft // 2 + 1, n_frames(n_times, n_fft=n_fft, hop=hop))
    np.testing.assert_allclose(z, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("n_times", "n_fft", "hop"), FRAMES)
def test_inverse_of_a_changed_transform_is_scipys(n_times, n_fft, hop):
    weights = np.random.default_rng(0).random((n_fft // 2 + 1, n_frames(n_times, n_fft=n_fft, hop=hop)))
    z = stft(noise(3, n_times), n_fft=n_fft, hop=hop) * torch.from_numpy(weights)
    _, expected = scipy_istft(z.numpy(), nperseg=n_fft, noverlap=n_fft - hop)
    x = istft(z, n_fft=n_fft, hop=hop, n_times=n_times).numpy()
    assert x.shape == (3, n_times)
    np.testing.assert_allclose(x, expected[:, :n_times], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n_times", "n_fft", "hop"), [*FRAMES, (1, 400, 200), (150, 400, 200), (399, 400, 130)])
def test_inverse_gives_the_signal_back(n_times, n_fft, hop):
    for x in (noise(n_times), noise(2, 1, 3, n_times), 50 + noise(2, n_times).float()):
        back = istft(stft(x, n_fft=n_fft, hop=hop), n_fft=n_fft, hop=hop, n_times=n_times)
        assert back.dtype == x.dtype
        torch.testing.assert_close(back, x)


@pytest.mark.parametrize(("n_segments", "n_channels"), [(1, 1), (45, 1), (7, 3), (2, 43)])
@pytest.mark.parametrize(("n_times", "hop"), [(800, 200), (830, 200), (830, 150)])
def test_weighed_bins_are_those_of_the_plain_form(n_segments, n_channels, n_times, hop):
    frames = {"n_fft": 400, "hop": hop}
    x = noise(n_segments, n_times, n_channels).mT  # no signal lies in one piece
    for n_weights in {1, n_channels}:
        weights = noise(n_segments, n_weights, 201, n_frames(n_times, **frames))
        expected = istft(stft(x, **frames) * weights, **frames, n_times=n_times)
        torch.testing.assert_close(weigh_bins(x, weights, **frames), expected)
        with_gradient = weights.clone().requires_grad_()
        torch.testing.assert_close(weigh_bins(x, with_gradient, **frames), expected)


def test_both_transforms_are_differentiable():
    x = noise(2, 47).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: stft(x, n_fft=16, hop=8), x)
    for hop in (8, 5):
        z = stft(noise(2, 47), n_fft=16, hop=hop).requires_grad_()
        assert torch.autograd.gradcheck(lambda z, hop=hop: istft(z, n_fft=16, hop=hop, n_times=47), z)


@pytest.mark.parametrize(("n_fft", "hop"), [(401, 200), (400, 201), (400, 0)])
def test_frames_that_cannot_be_put_together_again_are_refused(n_fft, hop):
    with pytest.raises(ValueError, match="n_fft must be even and hop in"):
        stft(noise(1000), n_fft=n_fft, hop=hop)


def test_a_transform_of_another_length_is_refused():
    z = stft(noise(1000), n_fft=400, hop=200)
    with pytest.raises(ValueError, match=r"\(201, 7\).* n_times=1001, got \(201, 6\)"):
        istft(z, n_fft=400, hop=200, n_times=1001)


def test_transforms_used_in_inference_mode_first_have_gradients_later():
    options = {"n_fft": 26, "hop": 13}  # of no other test: windows are kept
    with torch.inference_mode():
        istft(stft(noise(100), **options), **options, n_times=100)
    x = noise(100).requires_grad_()
    istft(stft(x, **options), **options, n_times=100).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
