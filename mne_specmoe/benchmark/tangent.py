"""Covariances of windows as points in the tangent space at their mean, and covariances centred per subject."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mne_specmoe.benchmark.centring import each_subject
from mne_specmoe.benchmark.spectra import band_pass
from mne_specmoe.benchmark.task_data import TaskData

SIX_BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 20.0), (20.0, 30.0), (30.0, 45.0))
"""In Hz: delta, theta, alpha, low beta, high beta, gamma."""

_SHRINKAGE = 0.05  # a band of a short window has few independent samples, whatever their number
_FLOOR_UV2 = 1e-6  # µV²: below the noise of any amplifier, so that a flat window has a logarithm

Covariances = Callable[[TaskData], np.ndarray]


def import_pyriemann():
    """Import pyriemann, with what to install if it is not there.

    Returns
    -------
    pyriemann : module
        With its submodules ``estimation``, ``preprocessing`` and ``tangentspace``.
    """
    try:
        import pyriemann
        import pyriemann.estimation
        import pyriemann.preprocessing
        import pyriemann.tangentspace
    except ImportError as error:
        raise ImportError(
            "The tangent space needs pyriemann. Install the extra of the benchmark: pip install "
            f"'mne-specmoe[benchmark]'. ({error})"
        ) from error
    return pyriemann


def shrunk(covariances: np.ndarray, shrinkage: float = _SHRINKAGE) -> np.ndarray:
    """Move covariances towards a multiple of the identity, so that all of them have logarithms.

    Parameters
    ----------
    covariances : ndarray, shape (..., n_channels, n_channels)
        In µV²; may be singular, as those of constant channels or of few samples are.
    shrinkage : float
        Share of the identity, whose multiple is the mean of the variances, and a millionth of a µV² at least.

    Returns
    -------
    covariances : ndarray, shape (..., n_channels, n_channels)
    """
    mean = np.trace(covariances, axis1=-2, axis2=-1)[..., None, None] / covariances.shape[-1]
    return (1 - shrinkage) * covariances + (shrinkage * mean + _FLOOR_UV2) * np.eye(covariances.shape[-1])


def band_covariances(data: TaskData, band: tuple[float, float]) -> np.ndarray:
    """Covariances of filtered windows, shrunk by a twentieth.

    Parameters
    ----------
    data : TaskData
        The windows.
    band : tuple of float
        Edges in Hz.

    Returns
    -------
    covariances : ndarray, shape (n_windows, n_channels, n_channels)
        In µV².
    """
    filtered = band_pass(data.X, band, data.sfreq)
    filtered -= filtered.mean(-1, keepdims=True)
    return shrunk(filtered @ filtered.swapaxes(-1, -2) / data.n_times)


def centred_covariances(covariances: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Whiten the covariances of each subject by the subject's mean, without labels.

    The mean (Riemannian) of every subject becomes the identity. It is of all windows that are given, so that what is
    said of one window depends on the others of the subject: this is transductive where windows are to be predicted.

    Parameters
    ----------
    covariances : ndarray, shape (n_windows, n_channels, n_channels)
        Positive definite.
    subjects : ndarray of str, shape (n_windows,)
        Whose.

    Returns
    -------
    covariances : ndarray, shape (n_windows, n_channels, n_channels)
        Those of a subject with one window stay as they are, which is a warning.

    References
    ----------
    Zanini, P. et al. (2018), "Transfer learning: a Riemannian geometry framework with applications to brain-computer
    interfaces", IEEE Trans. Biomed. Eng. 65(5), doi:10.1109/TBME.2017.2742541.
    """
    whitening = import_pyriemann().preprocessing.Whitening
    centred = covariances.copy()
    for own in each_subject(subjects):
        centred[own] = whitening(metric="riemann").fit_transform(covariances[own])
    return centred


def tangent_vectors(training: TaskData, covariances: Sequence[Covariances], *, centred: bool = False) -> Covariances:
    """Fit tangent spaces, one for each kind of covariances, at the mean of the training part.

    Parameters
    ----------
    training : TaskData
        The training part; its labels are not looked at.
    covariances : sequence of callable
        Each takes windows, and returns covariances.
    centred : bool
        Whether covariances are centred per subject; see `centred_covariances`.

    Returns
    -------
    features : callable
        Takes windows, and returns an array of shape (n_windows, n_features): the vectors of all kinds, one after the
        other, each of n (n + 1) / 2 numbers for covariances of n channels.
    """
    kinds = [partial(_centred, kind) if centred else kind for kind in covariances]
    spaces = [_fitted(kind(training)) for kind in kinds]

    def features(data: TaskData) -> np.ndarray:
        return np.concatenate([space.transform(kind(data)) for space, kind in zip(spaces, kinds, strict=True)], 1)

    return features


def six_band_vectors(training: TaskData, *, centred: bool = False) -> Covariances:
    """Fit the tangent spaces of six bands (`SIX_BANDS`); see `tangent_vectors`."""
    return tangent_vectors(training, [partial(band_covariances, band=band) for band in SIX_BANDS], centred=centred)


def _centred(covariances: Covariances, data: TaskData) -> np.ndarray:
    """Covariances of windows, centred per subject."""
    return centred_covariances(covariances(data), data.subjects)


def _fitted(covariances: np.ndarray):
    """The tangent space at the mean of some covariances."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Convergence not reached")  # a mean that is nearly one is a base point, too
        return import_pyriemann().tangentspace.TangentSpace(metric="riemann").fit(covariances)
