"""Signals to make EEG of: coloured noise, rhythms whose strength and phase wander, bursts, and single waves."""

import numpy as np
from scipy import fft
from scipy.signal import lfilter

_LOWEST_HZ = 0.3  # below it, coloured noise is flat: its power must be finite
_COUNTED_FROM_HZ = 0.5  # the variance of coloured noise is that from here on


def coloured_noise(
    rng: np.random.Generator, n_signals: int, n_times: int, sfreq: float, *, exponent: float, knee_hz: float = 0.0
) -> np.ndarray:
    """Draw noise with the power spectrum 1 / (knee^exponent + f^exponent).

    Parameters
    ----------
    rng : numpy.random.Generator
    n_signals, n_times : int
        Shape of the result.
    sfreq : float
        Sampling rate in Hz.
    exponent : float
        How fast power falls with frequency.
    knee_hz : float
        Frequency below which the spectrum becomes flat; 0: none, then it is flat below 0.3 Hz.

    Returns
    -------
    noise : ndarray, shape (n_signals, n_times)
        Variance of what is above 0.5 Hz: 1.
    """
    n_fft = fft.next_fast_len(n_times, real=True)
    frequencies = fft.rfftfreq(n_fft, 1 / sfreq)
    power = 1 / (knee_hz**exponent + np.maximum(frequencies, _LOWEST_HZ) ** exponent)
    power[0] = 0.0
    gain = np.sqrt(power * (len(frequencies) - 1) / power[frequencies >= _COUNTED_FROM_HZ].sum())
    return _filtered(rng.standard_normal((n_signals, n_fft)), gain)[:, :n_times]


def _filtered(noise: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Weigh the spectra of signals (n_signals, n_fft) by gains (n_freqs,)."""
    spectrum = fft.rfft(noise, axis=-1)
    spectrum *= gain
    return fft.irfft(spectrum, noise.shape[-1], axis=-1)


def damped_oscillator(
    rng: np.random.Generator, n_times: int, sfreq: float, *, frequency: float, bandwidth: float
) -> np.ndarray:
    """Draw what an oscillator with a damping does that noise drives: z' = (2πi·frequency − π·bandwidth) z + noise.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_times : int
        Length of the result.
    sfreq : float
        Sampling rate in Hz.
    frequency, bandwidth : float
        Middle and width at half height of the peak in the power spectrum, in Hz.

    Returns
    -------
    z : ndarray of complex, shape (n_times,)
        Real and imaginary part have the variance 1; the imaginary part lags by a quarter of a period.
    """
    pole = np.exp((2j * np.pi * frequency - np.pi * bandwidth) / sfreq)
    drive = rng.standard_normal((2, n_times)).T.copy().view(complex)[:, 0]
    drive[1:] *= np.sqrt(1 - np.abs(pole) ** 2)  # the first sample is a draw from what it comes to in the end
    return lfilter([1.0], [1.0, -pole], drive)


def with_harmonic(z: np.ndarray, share: float) -> np.ndarray:
    """A wave with a second harmonic that keeps its phase, as an arch has, of the variance of the wave without it.

    Parameters
    ----------
    z : ndarray of complex, shape (n_times,)
        As `damped_oscillator` draws it.
    share : float
        Amplitude of the harmonic over that of the wave.

    Returns
    -------
    wave : ndarray, shape (n_times,)
    """
    amplitude = np.maximum(np.abs(z), np.finfo(float).tiny)
    return (z.real + share * (z**2 / amplitude).real) / np.sqrt(1 + share**2)


def envelope(
    n_times: int, sfreq: float, starts: np.ndarray, stops: np.ndarray, sizes: np.ndarray, *, base: float = 0.0
) -> np.ndarray:
    """Sum bursts that come and go smoothly (Hann windows from start to stop) over a base.

    Parameters
    ----------
    n_times : int
        Length of the result.
    sfreq : float
        Sampling rate in Hz.
    starts, stops : ndarray, shape (n_bursts,)
        In seconds.
    sizes : ndarray, shape (n_bursts,)
        What each has in its middle.
    base : float
        What there is without bursts.

    Returns
    -------
    strength : ndarray, shape (n_times,)
    """
    strength = np.full(n_times, float(base))
    for start, stop, size in zip(starts, stops, sizes, strict=True):
        first, last = max(0, int(np.ceil(start * sfreq))), min(n_times, int(np.floor(stop * sfreq)) + 1)
        phase = (np.arange(first, last) / sfreq - start) / (stop - start)
        strength[first:last] += size * np.sin(np.pi * phase) ** 2
    return strength


def blink(n_times: int) -> np.ndarray:
    """The course of a blink, shape (n_times,): up fast, down more slowly; largest value 1."""
    phase = np.linspace(0, 1, n_times) ** 0.7
    return np.sin(np.pi * phase) ** 2


def saccade(n_times: int) -> np.ndarray:
    """The course of a look aside and back, shape (n_times,): steps of 30 samples at 1000 Hz or so; largest value 1."""
    phase = np.linspace(0, 1, n_times)
    return np.clip(np.minimum(phase, 1 - phase) * 20, 0, 1)


def spike_and_wave(n_times: int) -> np.ndarray:
    """A sharp wave, and a slow one the other way, shape (n_times,): the first fifth, and the rest; largest value 1."""
    phase = np.linspace(0, 1, n_times)
    sharp = np.clip(1 - np.abs(phase - 0.1) / 0.1, 0, 1) ** 1.5
    slow = np.where(phase > 0.2, np.sin(np.pi * np.clip((phase - 0.2) / 0.8, 0, 1)), 0.0)
    return sharp - 0.5 * slow


def muscle_noise(rng: np.random.Generator, n_signals: int, n_times: int, sfreq: float) -> np.ndarray:
    """Draw noise that rises from 15 Hz to 40 Hz and stays, shape (n_signals, n_times), of variance 1."""
    n_fft = fft.next_fast_len(n_times, real=True)
    frequencies = fft.rfftfreq(n_fft, 1 / sfreq)
    gain = np.clip((frequencies - 15) / 25, 0, 1)
    gain /= np.sqrt(np.mean(gain**2))
    return _filtered(rng.standard_normal((n_signals, n_fft)), gain)[:, :n_times]
