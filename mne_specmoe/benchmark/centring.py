"""Features centred per subject, without labels."""

import warnings
from collections.abc import Iterator

import numpy as np

from mne_specmoe._validation import listed


def each_subject(subjects: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of each subject's windows, but of those with one window, who cannot be centred.

    Parameters
    ----------
    subjects : ndarray of str, shape (n_windows,)
        Whose windows they are.

    Yields
    ------
    places : ndarray of int
        Of one subject.

    Warns
    -----
    UserWarning
        If subjects have one window; all are named.
    """
    single = []
    for subject in sorted(set(subjects.tolist())):
        own = np.flatnonzero(subjects == subject)
        if len(own) > 1:
            yield own
        else:
            single.append(subject)
    if single:
        warnings.warn(
            f"{listed(single, at_most=5)} have one window, so they are not centred; give all windows of a subject at "
            "once.",
            UserWarning,
            stacklevel=2,
        )


def centred_features(features: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Subtract each subject's mean from the features, and divide by the subject's standard deviation.

    Mean and deviation are of all windows that are given, so that what is said of one window depends on the others of
    the subject: this is transductive where windows are to be predicted.

    Parameters
    ----------
    features : ndarray, shape (n_windows, n_features)
        Any.
    subjects : ndarray of str, shape (n_windows,)
        Whose.

    Returns
    -------
    features : ndarray, shape (n_windows, n_features)
        Constant ones are 0. Those of a subject with one window stay as they are, which is a warning.
    """
    centred = np.array(features, dtype=float)
    for own in each_subject(subjects):
        part = centred[own]
        spread, size = part.std(0), np.abs(part).max(0)
        varies = spread > 1e-9 * size  # else it is what rounding leaves of a constant
        centred[own] = np.where(varies, part - part.mean(0), 0) / np.where(varies, spread, 1)
    return centred
