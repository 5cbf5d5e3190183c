"""Penalised linear models of many features and few epochs, one per block of features, and their weighted sum.

Every block is solved for by itself, its penalty chosen by inner folds. What the blocks say of epochs that they have not
seen then decides how much each counts, so that a block of noise, or one of thousands of features, does not drown
another of ten. The sum is linear in the features, so it is one linear layer.

The penalty is on the sum of the squared weights, not on the intercept, so rotations of the features do not change a
model: where there are more features than epochs it is computed, exactly, in as many dimensions as there are epochs.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""What is tried: how much the epochs count against the penalty, where an epoch's features have a squared norm of 1."""

DEFAULT_STRENGTH = 3.0
"""Where there are too few epochs to choose."""

_N_FOLDS = 5
_PATIENCE = 2  # strengths in a row that are worse than the best before no stronger one is tried
_FACTOR_PENALTY = 0.02  # on squared distances from equal factors: with few epochs, losses hardly tell blocks apart
_RANK_TOLERANCE = 1e-10
_SMALLEST_PROBABILITY = 1e-9

Fold = tuple[np.ndarray, np.ndarray]


class Solution(NamedTuple):
    """A linear model of standardised features.

    Attributes
    ----------
    weights : ndarray, shape (n_outputs, n_features)
        Of the features of all blocks.
    intercepts : ndarray, shape (n_outputs,)
        Of the outputs.
    strengths : list of float
        The one of `STRENGTHS` that was chosen for each block.
    shares : list of float
        How much of the outputs is of each block: how far what it adds is spread over epochs, those set aside in the
        folds if there are any, as a share of the sum of these.
    loss : float | None
        Mean loss in the inner folds; None if there were none.
    """

    weights: np.ndarray
    intercepts: np.ndarray
    strengths: list[float]
    shares: list[float]
    loss: float | None


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

    def at(self, index: np.ndarray) -> "Problem":
        """The epochs at some places."""
        return self._replace(target=self.target[index], sample_weights=self.sample_weights[index])


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


def standard_scale(std: np.ndarray) -> np.ndarray:
    """Factors that bring features to variance 1, and then all of them together to 1.

    Parameters
    ----------
    std : ndarray, shape (n_features,)
        Standard deviations, infinite where a feature does not change.

    Returns
    -------
    scale : ndarray, shape (n_features,)
    """
    n_changing = np.isfinite(std).sum()
    return 1.0 / (std * np.sqrt(max(n_changing, 1)))


def solve(blocks: Sequence[np.ndarray], problem: Problem, folds: Sequence[Fold]) -> Solution:
    """Solve for each block of features, and weigh what they say.

    Parameters
    ----------
    blocks : sequence of ndarray, shape (n_epochs, n_features)
        Standardised and scaled.
    problem : Problem
        What to predict.
    folds : sequence of (ndarray, ndarray)
        Places to solve with and to compare; without any, strengths are `DEFAULT_STRENGTH` and factors are equal.

    Returns
    -------
    solution : Solution
    """
    trials = [_try_strengths(block, problem, folds) for block in blocks]
    factors, loss = _weigh([trial.outputs for trial in trials], problem, folds)
    models = [_solve_block(block, problem, trial.strength) for block, trial in zip(blocks, trials, strict=True)]
    weights = [factor * model[0] for factor, model in zip(factors, models, strict=True)]
    intercepts = sum(factor * model[1] for factor, model in zip(factors, models, strict=True))
    said = [block @ own.T for block, own in zip(blocks, weights, strict=True)]
    if folds:
        said = [factor * trial.outputs for factor, trial in zip(factors, trials, strict=True)]
    spreads = [(outputs - outputs.mean(1, keepdims=True) * (outputs.shape[1] > 1)).std(0).sum() for outputs in said]
    shares = [float(spread / max(sum(spreads), 1e-12)) for spread in spreads]
    return Solution(np.concatenate(weights, 1), intercepts, [trial.strength for trial in trials], shares, loss)


class _Trial(NamedTuple):
    """What came of one block in the inner folds."""

    strength: float
    outputs: np.ndarray | None  # of every epoch, by models that had not seen it


def _solve_block(block: np.ndarray, problem: Problem, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercepts for all epochs."""
    rotated, back = _rotated(block)
    weights, intercepts = _model(problem)(problem).fit(rotated, np.arange(len(block)), strength / _size(block))
    return (weights if back is None else weights @ back), intercepts


def _try_strengths(block: np.ndarray, problem: Problem, folds: Sequence[Fold]) -> _Trial:
    """The strength with the smallest loss in the folds; stronger ones are left out once the loss only grows."""
    if not folds:
        return _Trial(DEFAULT_STRENGTH, None)
    features, size = _rotated(block)[0], _size(block)
    models = [_model(problem)(problem) for _ in folds]
    best, smallest, n_worse = None, np.inf, 0
    for strength in STRENGTHS:
        outputs = np.zeros((len(block), problem.n_classes or 1))
        for model, (train, test) in zip(models, folds, strict=True):
            weights, intercepts = model.fit(features, train, strength / size)
            outputs[test] = features[test] @ weights.T + intercepts
        loss = _mean_loss(outputs, problem, folds)
        n_worse = n_worse + 1 if loss > smallest else 0
        if loss < smallest:
            best, smallest = _Trial(strength, outputs), loss
        if n_worse == _PATIENCE:
            break
    return best


def _weigh(
    outputs: Sequence[np.ndarray | None], problem: Problem, folds: Sequence[Fold]
) -> tuple[list[float], float | None]:
    """Factors of the blocks, none of them negative, with the smallest loss of the sum of their outputs; that loss."""
    n_blocks = len(outputs)
    if not folds:
        return [1.0 / n_blocks] * n_blocks, None
    if n_blocks == 1:
        return [1.0], _mean_loss(outputs[0], problem, folds)
    compared = np.unique(np.concatenate([test for _, test in folds]))
    stacked = np.stack([each[compared] for each in outputs])
    if problem.n_classes:
        stacked = stacked - stacked.mean(-1, keepdims=True)
    part = problem.at(compared)

    def objective(factors: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = _loss_and_slope(np.tensordot(factors, stacked, 1), part)
        away = factors - 1.0 / n_blocks
        return loss + _FACTOR_PENALTY * away @ away, np.tensordot(stacked, slope, 2) + 2 * _FACTOR_PENALTY * away

    start = np.full(n_blocks, 1.0 / n_blocks)
    found = minimize(objective, start, jac=True, bounds=[(0.0, None)] * n_blocks, method="L-BFGS-B").x
    return found.tolist(), _loss_and_slope(np.tensordot(found, stacked, 1), part)[0]


def _loss_and_slope(outputs: np.ndarray, problem: Problem) -> tuple[float, np.ndarray]:
    """Mean loss and its derivative by the outputs."""
    weights = problem.sample_weights / problem.sample_weights.sum()
    loss = float(weights @ _losses(outputs, problem.target, problem.n_classes))
    if problem.n_classes is None:
        return loss, 2 * weights[:, None] * (outputs - problem.target[:, None])
    slope = softmax(outputs, 1)
    slope[np.arange(len(slope)), problem.target] -= 1.0
    return loss, weights[:, None] * slope


def _mean_loss(outputs: np.ndarray, problem: Problem, folds: Sequence[Fold]) -> float:
    """Mean loss over all epochs that were set aside."""
    compared = np.concatenate([test for _, test in folds])
    return _loss_and_slope(outputs[compared], problem.at(compared))[0]


def _size(block: np.ndarray) -> float:
    """Mean squared norm of the epochs."""
    return max(float(np.square(block).sum(1).mean()), 1e-12)


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


def _model(problem: Problem) -> type:
    """What solves a problem."""
    return _Ridge if problem.n_classes is None else _Logistic


class _Logistic:
    """Logistic regression, which starts where the last one ended; one row of weights per class."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.model = LogisticRegression(warm_start=True, max_iter=1000, tol=1e-4)

    def fit(self, features: np.ndarray, index: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights and intercepts of the epochs at some places."""
        part = self.problem.at(index)
        if features.shape[1] == 0 or not features.any():
            return _constant(part, features.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = self.model.set_params(C=strength).fit(features[index], part.target, part.sample_weights)
        return _all_classes(model.coef_, model.intercept_, model.classes_, part.n_classes)


class _Ridge:
    """Ridge regression with a squared error of half a unit per epoch; what does not depend on the strength is kept."""

    def __init__(self, problem: Problem):
        self.problem, self.kept = problem, None

    def fit(self, features: np.ndarray, index: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights and intercept of the epochs at some places."""
        if self.kept is None:
            target, mean = self.problem.target[index], features[index].mean(0)
            left, sizes, right = np.linalg.svd(features[index] - mean, full_matrices=False)
            self.kept = mean, target.mean(), sizes, left.T @ (target - target.mean()), right
        mean, level, sizes, projected, right = self.kept
        weights = (sizes / (np.square(sizes) + 1.0 / strength) * projected) @ right
        return weights[None], np.array([level - weights @ mean])


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
