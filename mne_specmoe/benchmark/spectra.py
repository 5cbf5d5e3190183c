"""Band power, spectra and filters, for the benchmark's estimators without networks."""

import numpy as np
from scipy.signal import butter, sosfiltfilt, welch

from mne_specmoe.benchmark.task_data import TaskData

BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 12.0), (12.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta and gamma, in Hz; lower edges included."""

_FLOOR = 1e-20  # V²/Hz: below the noise of any amplifier, so that a flat channel has a logarithm


def band_powers(data: TaskData) -> np.ndarray:
    """Log power of every channel in five bands.

    Parameters
    ----------
    data : TaskData
        Windows.

    Returns
    -------
    features : ndarray, shape (n_windows, n_channels * 5)
        log10 of V², by Welch's method with segments of 2 s.
    """
    frequencies, power = _spectrum(data)
    inside = [(low <= frequencies) & (frequencies < high) for low, high in BANDS]
    return np.stack([np.log10(power[..., part].mean(-1)) for part in inside], -1).reshape(len(data), -1)


def mean_log_psd(data: TaskData) -> np.ndarray:
    """Log spectrum from 1 to 45 Hz, the mean over channels.

    Parameters
    ----------
    data : TaskData
        Windows.

    Returns
    -------
    features : ndarray, shape (n_windows, n_frequencies)
        log10 of V²/Hz, by Welch's method with segments of 2 s.
    """
    frequencies, power = _spectrum(data)
    return np.log10(power[..., (frequencies >= 1) & (frequencies <= 45)]).mean(1)


def band_pass(X: np.ndarray, band: tuple[float, float], sfreq: float) -> np.ndarray:
    """Filter windows forwards and backwards (Butterworth, order 4), and give microvolts.

    Parameters
    ----------
    X : ndarray, shape (n_windows, n_channels, n_times)
        Signals in volts.
    band : tuple of float
        Edges in Hz.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    X_uv : ndarray, shape (n_windows, n_channels, n_times)
        float64, in microvolts, so that matrices are far from underflow.
    """
    return sosfiltfilt(butter(4, band, "bandpass", fs=sfreq, output="sos"), 1e6 * X.astype(np.float64))


def low_pass(X: np.ndarray, edge: float, sfreq: float) -> np.ndarray:
    """Filter windows forwards and backwards (Butterworth, order 4), and give microvolts.

    Parameters
    ----------
    X : ndarray, shape (n_windows, n_channels, n_times)
        Signals in volts.
    edge : float
        In Hz.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    X_uv : ndarray, shape (n_windows, n_channels, n_times)
        float64, in microvolts.
    """
    return sosfiltfilt(butter(4, edge, "lowpass", fs=sfreq, output="sos"), 1e6 * X.astype(np.float64))


def _spectrum(data: TaskData) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, and power in V²/Hz, shape (n_windows, n_channels, n_frequencies)."""
    n_segment = min(data.n_times, round(2 * data.sfreq))
    frequencies, power = welch(data.X.astype(np.float64), data.sfreq, nperseg=n_segment)
    return frequencies, np.maximum(power, _FLOOR)
