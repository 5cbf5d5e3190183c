"""Every person centred by their own mean, without labels.

People differ more from each other than the states of one person do. What is centred says how an epoch differs from the
person's others. That needs all epochs of the person at once, those to be predicted included, so results are
*transductive*: they use the unlabelled test recording, and a person's share of each class matters.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from pyriemann.geometry.base import invsqrtm
from pyriemann.geometry.mean import mean_riemann

from mne_specmoe._validation import listed, warn_caller

_MOST_MATRICES = 500  # evenly spread ones are as good for a mean as all
_TOLERANCE = 1e-6
_MOST_STEPS = 30
_SMALLEST_STD = 1e-6  # relative to the size of a feature: less is rounding


def check_persons(persons: object, n_epochs: int) -> np.ndarray:
    """Number the people; raise if entries are missing or their number is wrong, warn of those with one epoch.

    Parameters
    ----------
    persons : array-like of shape (n_epochs,)
        Whom each epoch is of: numbers or names.
    n_epochs : int
        How many there must be.

    Returns
    -------
    codes : ndarray of int, shape (n_epochs,)
        0 for the person of the first epoch, and so on.

    Raises
    ------
    ValueError
        If there are more or fewer, or if some are missing (None, NaN).

    Warns
    -----
    SpecMoEWarning
        A person has one epoch, which cannot be centred by itself.
    """
    persons = np.asarray(persons)
    if persons.shape != (n_epochs,):
        raise ValueError(
            f"Centring needs to know whose every epoch is: X has {n_epochs} epochs, but groups has shape "
            f"{persons.shape}; give one entry per epoch."
        )
    names = persons.tolist()
    missing = [i for i, person in enumerate(names) if _is_missing(person)]
    if missing:
        raise ValueError(
            f"Centring needs to know whose every epoch is, but {len(missing)} of {n_epochs} entries are missing, the "
            f"first at epoch {missing[0]}; fill them in, or leave those epochs out."
        )
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    codes = np.array([numbers[name] for name in names])
    alone = [name for name, number in numbers.items() if (codes == number).sum() == 1]
    if alone:
        warn_caller(
            "These have one epoch each, which cannot be centred by its own mean, and are taken as an average person: "
            f"{listed(alone, at_most=5)}. Give more epochs of each at once."
        )
    return codes


def _is_missing(value: object) -> bool:
    """None, NaN and their like."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA
        return True


def riemannian_mean(covariances: np.ndarray) -> np.ndarray:
    """Riemannian mean of covariances.

    Parameters
    ----------
    covariances : ndarray, shape (n_epochs, ..., n_channels, n_channels)
        Positive definite. Of more than 500 epochs, 500 are taken, evenly spread.

    Returns
    -------
    mean : ndarray, shape (..., n_channels, n_channels)
    """
    if len(covariances) > _MOST_MATRICES:
        places = np.linspace(0, len(covariances) - 1, _MOST_MATRICES).round().astype(int)
        covariances = covariances[places]
    sets = covariances.reshape(len(covariances), -1, *covariances.shape[-2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # steps that end before the tolerance are near enough
        means = [mean_riemann(sets[:, i], tol=_TOLERANCE, maxiter=_MOST_STEPS) for i in range(sets.shape[1])]
    return np.stack(means).reshape(covariances.shape[1:])


def person_whiteners(covariances: np.ndarray, persons: np.ndarray, average: np.ndarray | None = None) -> np.ndarray:
    """Inverse square root of the mean covariance of each epoch's person.

    Parameters
    ----------
    covariances : ndarray, shape (n_epochs, ..., n_channels, n_channels)
        Positive definite.
    persons : ndarray, shape (n_epochs,)
        Whom each is of.
    average : ndarray, shape (..., n_channels, n_channels) | None
        What is taken for people with one epoch (None: from the mean of all epochs).

    Returns
    -------
    whiteners : ndarray, shape (n_epochs, ..., n_channels, n_channels)
    """
    whiteners = np.empty_like(covariances)
    for person in np.unique(persons):
        own = persons == person
        if own.sum() > 1:
            whiteners[own] = invsqrtm(riemannian_mean(covariances[own]))
        else:
            average = invsqrtm(riemannian_mean(covariances)) if average is None else average
            whiteners[own] = average
    return whiteners


def center_covariances(covariances: np.ndarray, persons: Sequence) -> np.ndarray:
    """Whiten covariances by the Riemannian mean of their person, so that everybody's mean is the identity.

    Parameters
    ----------
    covariances : ndarray, shape (n_epochs, ..., n_channels, n_channels)
        Positive definite.
    persons : array-like of shape (n_epochs,)
        Whom each epoch is of.

    Returns
    -------
    covariances : ndarray, shape (n_epochs, ..., n_channels, n_channels)

    Raises
    ------
    ValueError
        See `check_persons`.

    Notes
    -----
    Source: Zanini et al., doi:10.1109/TBME.2017.2742541.
    """
    whiteners = person_whiteners(covariances, check_persons(persons, len(covariances)))
    return whiteners @ covariances @ whiteners


def center_features(
    features: np.ndarray, persons: Sequence, average: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Subtract the mean of each feature over its person's epochs, and divide by the standard deviation.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        The features.
    persons : array-like of shape (n_epochs,)
        Whom each epoch is of.
    average : tuple of ndarray, shape (n_features,) | None
        Mean and standard deviation that are taken for people with one epoch (None: those of all epochs).

    Returns
    -------
    features : ndarray, shape (n_epochs, n_features)
        A feature that does not change is 0.
    """
    persons, average = check_persons(persons, len(features)), average or mean_and_std(features)
    centred = np.empty_like(features)
    for person in np.unique(persons):
        own = persons == person
        mean, std = mean_and_std(features[own]) if own.sum() > 1 else average
        centred[own] = (features[own] - mean) / std
    return centred


def mean_and_std(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of features over epochs; infinite where there is nothing but rounding.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        The features.

    Returns
    -------
    mean, std : ndarray of float64, shape (n_features,)
    """
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    return mean, np.where(std > _SMALLEST_STD * np.maximum(1.0, np.abs(mean)), std, np.inf)
