"""Penalised linear models of many features and few epochs, their penalty chosen by inner folds.

Features are standardised, and blocks of features are scaled to one total variance each, so that a part with thousands
of features does not drown one with ten. The penalty is on the sum of the squared weights, not on the intercept, so
rotations of the features do not change the model: where there are more features than epochs it is computed, exactly,
in as many dimensions as there are epochs.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""What is tried: how much the epochs count against the penalty, where an epoch's features have a squared norm of 1."""

DEFAULT_STRENGTH = 3.0
"""Where there are too few epochs to choose."""

_N_FOLDS = 5
_RANK_TOLERANCE = 1e-10
_SMALLEST_PROBABILITY = 1e-9

Fold = tuple[np.ndarray, np.ndarray]


class Solution(NamedTuple):
    """A linear model of standardised features.

    Attributes
    ----------
    weights : ndarray, shape (n_outputs, n_features)
        Of the features.
    intercepts : ndarray, shape (n_outputs,)
        Of the outputs.
    strength : float
        The one of `STRENGTHS` that was chosen.
    losses : dict of float to float
        Loss in the inner folds, by strength; empty if there were none.
    """

    weights: np.ndarray
    intercepts: np.ndarray
    strength: float
    losses: dict[float, float]


class Problem(NamedTuple):
    """A target with its loss.

    Attributes
    ----------
    target : ndarray, shape (n_epochs,)
        Classes 0, 1, …, or numbers.
    sample_weights : ndarray, shape (n_epochs,)
        Of the epochs in the loss, 1 on average.
    n_classes : int | None
        None: numbers.
    """

    target: np.ndarray
    sample_weights: np.ndarray
    n_classes: int | None


def inner_folds(n_epochs: int, labels: np.ndarray | None, groups: np.ndarray | None) -> list[Fold]:
    """Up to five folds, by groups where there are two or more, else of neighbouring epochs; none if there are too few.

    Parameters
    ----------
    n_epochs : int
        How many there are.
    labels : ndarray | None
        Classes 0, 1, …, kept in proportion as far as possible (None in regression).
    groups : ndarray | None
        No group is on both sides.
    """
    everything = np.arange(n_epochs)
    n_groups = 0 if groups is None else len(np.unique(groups))
    if n_groups > 1:
        n_folds = min(_N_FOLDS, n_groups)
        if labels is not None and np.bincount(labels).max() >= n_folds:
            splitter = StratifiedGroupKFold(n_folds)
        else:
            splitter = GroupKFold(n_folds)
    else:
        n_folds = min(_N_FOLDS, n_epochs if labels is None else int(np.bincount(labels).min()))
        if n_folds < 2:
            return []
        splitter = KFold(n_folds) if labels is None else StratifiedKFold(n_folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes
        folds = list(splitter.split(everything, labels, groups))
    return [fold for fold in folds if labels is None or len(np.unique(labels[fold[0]])) > 1]


def standard_scale(std: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Factors that bring features to variance 1, and then blocks of so many features each to total variance 1.

    Parameters
    ----------
    std : ndarray, shape (n_features,)
        Standard deviations, infinite where a feature does not change.
    blocks : sequence of int
        How many features each block has.

    Returns
    -------
    scale : ndarray, shape (n_features,)
    """
    ends = np.cumsum(blocks)[:-1]
    per_block = [np.isfinite(part).sum() for part in np.split(std, ends)]
    sizes = np.repeat(np.maximum(per_block, 1), blocks)
    return 1.0 / (std * np.sqrt(sizes))


def solve(
    features: np.ndarray,
    problem: Problem,
    folds: Sequence[Fold],
    refit: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Solution:
    """Choose a strength and solve with all epochs.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        Standardised and scaled.
    problem : Problem
        What to predict.
    folds : sequence of (ndarray, ndarray)
        Places to solve with and to compare.
    refit : callable | None
        Given places to learn from, returns features of all epochs: where features have seen targets, those of a fold
        must not have seen the ones to compare.

    Returns
    -------
    solution : Solution
    """
    n_blocks = max(np.square(features).sum(1).mean(), 1e-12)
    strengths = [strength / n_blocks for strength in STRENGTHS]
    losses = _fold_losses(features, problem, folds, refit, strengths) if folds else None
    if losses is None:
        chosen = STRENGTHS.index(DEFAULT_STRENGTH)
    else:
        chosen = int(np.argmin(losses))
    rotated, back = _rotated(features)
    weights, intercepts = _path(problem)(rotated, problem, strengths[chosen : chosen + 1])[0]
    table = {} if losses is None else dict(zip(STRENGTHS, map(float, losses), strict=True))
    weights = weights if back is None else weights @ back
    return Solution(weights, intercepts, STRENGTHS[chosen], table)


def _fold_losses(
    features: np.ndarray,
    problem: Problem,
    folds: Sequence[Fold],
    refit: Callable[[np.ndarray], np.ndarray] | None,
    strengths: Sequence[float],
) -> np.ndarray | None:
    """Mean loss of each strength over all epochs that were set aside; None where there were none."""
    rotated = _rotated(features)[0] if refit is None else None
    total, n_compared = np.zeros(len(strengths)), 0.0
    for train, test in folds:
        own = _rotated(refit(train))[0] if refit is not None else rotated
        part = problem._replace(target=problem.target[train], sample_weights=problem.sample_weights[train])
        weights = problem.sample_weights[test]
        for i, (coefficients, intercepts) in enumerate(_path(problem)(own[train], part, strengths)):
            outputs = own[test] @ coefficients.T + intercepts
            total[i] += weights @ _losses(outputs, problem.target[test], problem.n_classes)
        n_compared += weights.sum()
    return total / n_compared if n_compared else None


def _losses(outputs: np.ndarray, target: np.ndarray, n_classes: int | None) -> np.ndarray:
    """Cross-entropy, or squared error, of every epoch."""
    if n_classes is None:
        return np.square(outputs[:, 0] - target)
    outputs = outputs - outputs.max(1, keepdims=True)
    chosen = outputs[np.arange(len(target)), target] - np.log(np.exp(outputs).sum(1))
    return -np.maximum(chosen, np.log(_SMALLEST_PROBABILITY))


def _rotated(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (n, r) in their own span, and what brings weights back (r, n_features), None if nothing is to do."""
    if features.shape[1] <= len(features):
        return features, None
    values, vectors = np.linalg.eigh(features @ features.T)
    kept = values > _RANK_TOLERANCE * max(values[-1], 1e-300)
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return vectors * roots, (vectors / roots).T @ features


def _path(problem: Problem) -> Callable[..., list[tuple[np.ndarray, np.ndarray]]]:
    """What solves a problem for several strengths."""
    return _ridge_path if problem.n_classes is None else _logistic_path


def _logistic_path(
    features: np.ndarray, problem: Problem, strengths: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and intercepts of logistic regressions, one row per class, from the weakest fit to the strongest."""
    present = np.unique(problem.target)
    if features.shape[1] == 0 or not features.any():
        return [_constant(problem, features.shape[1])] * len(strengths)
    model = LogisticRegression(warm_start=True, max_iter=1000, tol=1e-5)
    path = []
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(features, problem.target, problem.sample_weights)
        path.append(_all_classes(model.coef_, model.intercept_, present, problem.n_classes))
    return path


def _all_classes(
    weights: np.ndarray, intercepts: np.ndarray, present: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """One row per class, of models of two classes too; classes that were not seen are next to impossible."""
    if len(weights) == 1:  # log-odds of the second class: half for it, half against the other
        weights, intercepts = np.concatenate([-weights, weights]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    rows, offsets = np.zeros((n_classes, weights.shape[1])), np.full(n_classes, np.log(_SMALLEST_PROBABILITY))
    rows[present], offsets[present] = weights, intercepts
    return rows, offsets


def _constant(problem: Problem, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Where no feature says anything: the shares of the classes."""
    shares = np.bincount(problem.target, problem.sample_weights, problem.n_classes) / problem.sample_weights.sum()
    return np.zeros((problem.n_classes, n_features)), np.log(np.maximum(shares, _SMALLEST_PROBABILITY))


def _ridge_path(
    features: np.ndarray, problem: Problem, strengths: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and intercept of ridge regressions, with a squared error of half a unit per epoch."""
    mean, level = features.mean(0), problem.target.mean()
    left, sizes, right = np.linalg.svd(features - mean, full_matrices=False)
    projected = left.T @ (problem.target - level)
    path = []
    for strength in strengths:
        weights = (sizes / (np.square(sizes) + 1.0 / strength) * projected) @ right
        path.append((weights[None], np.array([level - weights @ mean])))
    return path
