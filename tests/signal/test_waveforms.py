"""Made-up signals have the spectra, the variances and the times that they are asked for."""

import numpy as np
import pytest
from scipy.signal import welch

from mne_specmoe.signal.waveforms import (
    blink,
    coloured_noise,
    damped_oscillator,
    envelope,
    muscle_noise,
    saccade,
    spike_and_wave,
    with_harmonic,
)

SFREQ = 200.0
N_TIMES = 120_000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def spectrum(signal) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and mean power over signals."""
    frequencies, power = welch(np.atleast_2d(signal), SFREQ, nperseg=800)
    return frequencies, power.mean(0)


def slope(signal, low: float, high: float) -> float:
    """Slope of log power over log frequency."""
    frequencies, power = spectrum(signal)
    fitted = (frequencies >= low) & (frequencies <= high)
    return np.polyfit(np.log(frequencies[fitted]), np.log(power[fitted]), 1)[0]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.2])
def test_power_of_coloured_noise_falls_by_its_exponent(rng, exponent):
    noise = coloured_noise(rng, 3, N_TIMES, SFREQ, exponent=exponent)
    assert noise.shape == (3, N_TIMES)
    assert slope(noise, 2, 80) == pytest.approx(-exponent, abs=0.05)


def test_coloured_noise_is_flat_below_its_knee(rng):
    noise = coloured_noise(rng, 3, N_TIMES, SFREQ, exponent=2.0, knee_hz=10.0)
    assert slope(noise, 0.5, 2) == pytest.approx(0, abs=0.15)
    assert slope(noise, 40, 90) == pytest.approx(-2, abs=0.15)


@pytest.mark.parametrize("options", [{"exponent": 0.6}, {"exponent": 2.0}, {"exponent": 1.5, "knee_hz": 5.0}])
def test_the_variance_of_coloured_noise_above_half_a_hertz_is_one(rng, options):
    spectrum = np.fft.rfft(coloured_noise(rng, 2, N_TIMES, SFREQ, **options))
    spectrum[:, np.fft.rfftfreq(N_TIMES, 1 / SFREQ) < 0.5] = 0
    assert np.fft.irfft(spectrum, N_TIMES).var() == pytest.approx(1, rel=0.05)


def test_an_oscillator_has_its_peak_and_its_width_and_unit_variance(rng):
    z = damped_oscillator(rng, 10 * N_TIMES, SFREQ, frequency=10.0, bandwidth=2.0)
    frequencies, power = spectrum(z.real)
    high = frequencies[power >= power.max() / 2]
    assert frequencies[power.argmax()] == pytest.approx(10, abs=0.3)
    assert high[-1] - high[0] == pytest.approx(2, abs=0.6)
    assert z.real.var() == pytest.approx(1, rel=0.05)
    assert z.imag.var() == pytest.approx(1, rel=0.05)


def test_an_oscillator_has_its_variance_from_the_first_sample_on():
    first = [
        damped_oscillator(np.random.default_rng(seed), 2, SFREQ, frequency=10.0, bandwidth=0.5) for seed in range(2000)
    ]
    assert np.var(np.real(first), axis=0) == pytest.approx([1, 1], rel=0.15)


def test_the_imaginary_part_lags_by_a_quarter_of_a_period(rng):
    z = damped_oscillator(rng, N_TIMES, SFREQ, frequency=10.0, bandwidth=0.5)
    assert np.corrcoef(z.real[:-5], z.imag[5:])[0, 1] == pytest.approx(1, abs=0.1)


def test_a_harmonic_keeps_the_variance_and_has_twice_the_frequency(rng):
    z = damped_oscillator(rng, 4 * N_TIMES, SFREQ, frequency=10.0, bandwidth=0.5)
    wave = with_harmonic(z, 0.5)
    assert wave.var() == pytest.approx(z.real.var(), rel=0.05)
    frequencies, power = spectrum(wave)
    _, plain = spectrum(with_harmonic(z, 0.0))
    at = np.argmin(np.abs(frequencies - 20))
    assert power[at] > 50 * plain[at]


def test_an_envelope_is_its_base_and_its_bursts():
    strength = envelope(1000, SFREQ, np.array([1.0, 4.5]), np.array([2.0, 6.0]), np.array([3.0, 1.0]), base=0.5)
    assert strength[:200] == pytest.approx(0.5)
    assert strength[300] == pytest.approx(3.5)  # the middle
    assert strength[401:900] == pytest.approx(0.5)
    assert strength[-1] == pytest.approx(1.25, abs=0.02)  # goes on behind the end
    assert (np.diff(strength[200:301]) > 0).all()


@pytest.mark.parametrize("shape", [blink, saccade, spike_and_wave])
def test_single_waves_begin_and_end_at_zero_and_reach_one(shape):
    wave = shape(101)
    assert wave[[0, -1]] == pytest.approx([0, 0], abs=1e-6)
    assert wave.max() == pytest.approx(1, abs=0.01)
    assert len(shape(7)) == 7


def test_a_blink_comes_faster_than_it_goes():
    assert blink(101).argmax() < 45


def test_a_spike_is_followed_by_a_slow_wave_of_the_other_sign():
    wave = spike_and_wave(201)
    assert wave.argmax() < 40 < wave.argmin()
    assert (wave < 0).sum() > 3 * (wave > 0).sum()


def test_muscle_noise_is_fast_and_of_unit_variance(rng):
    noise = muscle_noise(rng, 2, N_TIMES, SFREQ)
    frequencies, power = spectrum(noise)
    assert noise.var() == pytest.approx(1, rel=0.03)
    assert power[frequencies < 12].max() < 1e-3 * power[frequencies > 45].mean()


def test_noise_is_a_function_of_the_generator():
    drawn = [coloured_noise(np.random.default_rng(3), 2, 500, SFREQ, exponent=1.0) for _ in range(2)]
    assert np.array_equal(*drawn)
