"""How much of the power in bands of EEG a linear model reads from features, in people that it was not fitted on."""

from collections.abc import Iterator

import numpy as np
from scipy.signal import welch
from sklearn.model_selection import GroupKFold

from mne_specmoe.models.specmoe.masking import BANDS
from mne_specmoe.signal.canonical import SFREQ

RANGE = (1.0, 45.0)
"""Edges in Hz of the power that bands are relative to, and of the errors of what is rebuilt; the upper one excluded."""

FEWEST_PEOPLE = 3
"""The strength of the regularisation is chosen among the people that are fitted on, which takes two."""

_STRENGTHS = np.logspace(-2, 6, 17)
_OUTER, _INNER = 8, 4  # folds, at most
_SEGMENT = 400  # samples, 2 s


def log_relative_power(x: np.ndarray) -> np.ndarray:
    """Logarithm of the share that a band has of the power.

    Parameters
    ----------
    x : ndarray, shape (n_epochs, n_channels, n_times)
        Signals at 200 Hz, of any unit.

    Returns
    -------
    power : ndarray, shape (n_epochs, 4)
        log10 of the power in delta, theta, alpha and beta over that from 1 to 45 Hz, a mean over channels (Welch, Hann
        windows of 2 s that overlap by half, or one as long as the epoch). Flat channels are left out; NaN where all
        are flat.
    """
    frequencies, density = _spectrum(x)

    def between(edges: tuple[float, float]) -> np.ndarray:
        return density[..., (edges[0] <= frequencies) & (frequencies < edges[1])].sum(-1)

    return _mean_log_share(np.stack([between(edges) for edges in BANDS.values()], -1), between(RANGE))


def log_relative_spectrum(x: np.ndarray) -> np.ndarray:
    """The same frequency by frequency: the plainest features of EEG, with which those of a network are compared.

    Parameters
    ----------
    x : ndarray, shape (n_epochs, n_channels, n_times)
        As in `log_relative_power`.

    Returns
    -------
    spectrum : ndarray, shape (n_epochs, n_freqs)
        log10 of the share that every frequency from 1 to 45 Hz has, 0.5 Hz apart in epochs of 2 s and more.
    """
    frequencies, density = _spectrum(x)
    inside = density[..., (RANGE[0] <= frequencies) & (frequencies < RANGE[1])]
    return _mean_log_share(inside, inside.sum(-1))


def _spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and densities [n_epochs, n_channels, n_freqs]."""
    return welch(x.astype(np.float64), SFREQ, nperseg=min(_SEGMENT, x.shape[-1]))


def _mean_log_share(parts: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean over channels of the logarithms of parts [n, C, k] of a total [n, C], without flat channels: (n, k)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(total[..., None] > 0, np.log10(parts / total[..., None]), np.nan)
    flat = ~np.isfinite(logs).all(-1, keepdims=True)
    n_kept = (~flat).sum(1)
    return np.where(flat, 0.0, logs).sum(1) / np.where(n_kept, n_kept, np.nan)


def cross_person_r2(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Coefficient of determination of ridge regression from features to targets, in other people.

    Features are standardised with the training people's mean and deviation. The people of a test fold (of at most 8)
    are others than those of its training folds; the strength of the ridge is the one that predicts best within the
    training people, over at most 4 folds, target by target. With the predictions :math:`\\hat y` of all test folds,

    .. math:: R^2 = 1 - \\sum (y - \\hat y)^2 / \\sum (y - \\bar y)^2

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        What is read from.
    targets : ndarray, shape (n_epochs, n_targets)
        What is read.
    groups : ndarray, shape (n_epochs,)
        Who was recorded: `FEWEST_PEOPLE` people or more.

    Returns
    -------
    r2 : ndarray, shape (n_targets,)
        1 is perfect, 0 what the mean over everybody achieves; below 0 is worse than that. NaN where a target is
        constant.
    """
    predicted = np.empty(targets.shape)
    for training, test in _folds(groups, _OUTER):
        ridge = _Ridge(features[training], targets[training])
        strengths = _best_strengths(features[training], targets[training], groups[training])
        predicted[test] = ridge.predict(ridge.project(features[test]), strengths)
    missed = np.square(targets - predicted).sum(0)
    total = np.square(targets - targets.mean(0)).sum(0)
    return np.where(total > 0, 1 - missed / np.where(total > 0, total, 1), np.nan)


def _folds(groups: np.ndarray, n_most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Folds that keep people together."""
    return GroupKFold(min(n_most, len(np.unique(groups)))).split(groups, groups=groups)


def _best_strengths(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The strength for every target (n_targets,) that other people are predicted best with."""
    missed = np.zeros((len(_STRENGTHS), targets.shape[1]))
    for training, test in _folds(groups, _INNER):
        ridge = _Ridge(features[training], targets[training])
        projected = ridge.project(features[test])
        for i, strength in enumerate(_STRENGTHS):
            missed[i] += np.square(targets[test] - ridge.predict(projected, strength)).sum(0)
    return _STRENGTHS[missed.argmin(0)]


class _Ridge:
    """Ridge regression for any strength, from one eigenvalue decomposition."""

    def __init__(self, features: np.ndarray, targets: np.ndarray):
        features = features.astype(np.float64)
        self.mean, self.deviation = features.mean(0), features.std(0)
        self.deviation[self.deviation <= 1e-6 * self.deviation.max(initial=0.0)] = np.inf  # constant: no feature
        self.target_mean = targets.mean(0)
        x = (features - self.mean) / self.deviation
        self.values, vectors = np.linalg.eigh(x @ x.T)
        self.values = self.values.clip(min=0)
        self.to_weights = x.T @ vectors  # (n_features, n_epochs)
        self.projected = vectors.T @ (targets - self.target_mean)  # (n_epochs, n_targets)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Features in the coordinates that do not depend on the strength."""
        return ((features - self.mean) / self.deviation) @ self.to_weights

    def predict(self, projected: np.ndarray, strengths: float | np.ndarray) -> np.ndarray:
        """Predict targets from projected features, with one strength, or one for each."""
        return projected @ (self.projected / (self.values[:, None] + strengths)) + self.target_mean
