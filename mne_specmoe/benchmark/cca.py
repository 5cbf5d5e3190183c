"""Canonical correlation of signals with sines and cosines, for steady-state visual evoked potentials."""

import re
from collections.abc import Sequence

import numpy as np

_RANK_TOLERANCE = 1e-6


def stimulus_frequencies(classes: Sequence[str]) -> tuple[float, ...]:
    """Frequencies that are named as classes, such as "13 Hz"; other classes are left out."""
    found = (re.fullmatch(r"(\d+(?:\.\d+)?)\s*Hz", name.strip()) for name in classes)
    return tuple(float(match[1]) for match in found if match)


def references(frequency: float, n_harmonics: int, n_times: int, sfreq: float) -> np.ndarray:
    """Sines and cosines at a frequency and its multiples below half the sampling rate.

    Parameters
    ----------
    frequency : float
        In Hz.
    n_harmonics : int
        The fundamental is the first.
    n_times : int
        Samples.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    references : ndarray, shape (n_references, n_times)
    """
    multiples = frequency * np.arange(1, n_harmonics + 1)
    phases = 2 * np.pi * np.outer(multiples[multiples < sfreq / 2], np.arange(n_times) / sfreq)
    return np.concatenate([np.sin(phases), np.cos(phases)])


def largest_correlations(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Largest canonical correlation of each window with references.

    Parameters
    ----------
    X : ndarray, shape (n_windows, n_channels, n_times)
        Signals; channels that depend on each other (as after an average reference) are no problem.
    y : ndarray, shape (n_references, n_times)
        References.

    Returns
    -------
    correlations : ndarray, shape (n_windows,)
        From 0 to 1.
    """
    inner = _orthonormal(X.astype(np.float64)) @ _orthonormal(y).T
    return np.linalg.norm(inner, ord=2, axis=(-2, -1)).clip(max=1.0)


def _orthonormal(x: np.ndarray) -> np.ndarray:
    """Directions in time that the rows of matrices [..., rows, T] span, once their means are taken off."""
    x = x - x.mean(-1, keepdims=True)
    _, sizes, directions = np.linalg.svd(x, full_matrices=False)
    # Directions of rounding errors would correlate with anything.
    return directions * (sizes > _RANK_TOLERANCE * sizes[..., :1])[..., None]
