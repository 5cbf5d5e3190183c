"""Hidden Markov model over the windows of recordings: sequences of labels that are likely as sequences."""

from collections.abc import Iterator

import numpy as np

from mne_specmoe.benchmark.task_data import TaskData

_TOLERANCE = 0.02


def chains(data: TaskData) -> Iterator[np.ndarray]:
    """Yield places of windows that follow each other in one recording without a gap, in order of time.

    Two windows follow each other if the second begins where the first ends, give or take 2 % of a window.

    Parameters
    ----------
    data : TaskData
        Its recordings and starts; the order of its windows does not matter.
    """
    order = np.lexsort((data.starts, data.recordings))
    steps = np.diff(data.starts[order])
    follows = np.abs(steps - data.n_times) <= _TOLERANCE * data.n_times
    follows &= data.recordings[order][1:] == data.recordings[order][:-1]
    yield from np.split(order, np.flatnonzero(~follows) + 1)


def count_transitions(data: TaskData) -> np.ndarray:
    """Count how often a label follows another in windows that are neighbours in time.

    Parameters
    ----------
    data : TaskData
        Labelled windows.

    Returns
    -------
    counts : ndarray, shape (n_classes, n_classes)
        From row to column.
    """
    counts = np.zeros((len(data.classes),) * 2)
    for chain in chains(data):
        np.add.at(counts, (data.y[chain[:-1]], data.y[chain[1:]]), 1)
    return counts


def smooth(likelihoods: np.ndarray, transitions: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """Probabilities of the states of one chain, given all its observations (forward-backward algorithm).

    Parameters
    ----------
    likelihoods : ndarray, shape (n_windows, n_classes)
        Of each observation given each state, up to a factor per window.
    transitions : ndarray, shape (n_classes, n_classes)
        Probabilities from row to column.
    initial : ndarray, shape (n_classes,)
        Probabilities of the first state.

    Returns
    -------
    probabilities : ndarray, shape (n_windows, n_classes)
        Rows sum to 1.
    """
    forward, backward = np.empty_like(likelihoods), np.ones_like(likelihoods)
    message = initial
    for place, likelihood in enumerate(likelihoods):
        forward[place] = _normalised(message * likelihood)
        message = forward[place] @ transitions
    for place in range(len(likelihoods) - 1, 0, -1):
        # Scaled in each step, or long chains would underflow.
        backward[place - 1] = _normalised(transitions @ (likelihoods[place] * backward[place]))
    return _normalised(forward * backward)


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Scale so that the last axis sums to 1."""
    return weights / weights.sum(-1, keepdims=True)
