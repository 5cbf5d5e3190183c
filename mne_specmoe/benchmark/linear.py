"""Linear models on standardised features, whose classes weigh alike."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

LOGISTIC_STRENGTHS = tuple(map(float, np.logspace(-5, 2, 20)))
"""Inverse strengths of regularisation that are tried on what networks say, the strongest regularisation first."""

RIDGE_STRENGTHS = tuple(map(float, np.logspace(6, -3, 20)))
"""Strengths of regularisation that are tried on what networks say, the strongest first: of equals the first is kept."""


class Blocks(TransformerMixin, BaseEstimator):
    """Features of several kinds, standardised, and weighted so that each kind counts as much as its weight says.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of features of each kind, in order.
    weights : tuple of float
        Of each kind: the square root of the sum of its features' variances.
    """

    def __init__(self, sizes: tuple[int, ...], weights: tuple[float, ...]):
        self.sizes = sizes
        self.weights = weights

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> "Blocks":
        """Learn mean and deviation of every feature, of X of shape (n_windows, n_features)."""
        self.scaler_ = StandardScaler().fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Standardise and weight; the shape stays."""
        pairs = zip(self.weights, self.sizes, strict=True)
        factors = np.concatenate([np.full(size, weight / np.sqrt(size)) for weight, size in pairs])
        return self.scaler_.transform(X) * factors


def logistic_of_blocks(C: float, sizes: tuple[int, ...], weights: tuple[float, ...]) -> Pipeline:
    """Make an unfitted logistic regression on features of several kinds; see `Blocks`."""
    regression = LogisticRegression(C=C, class_weight="balanced", max_iter=2000)
    return make_pipeline(Blocks(sizes, weights), regression)


def logistic(C: float, *, max_iter: int = 1000) -> Pipeline:
    """Make an unfitted logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=max_iter))


BLOCK_STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverse strengths of regularisation that are tried on features of several kinds, whose sizes `Blocks` takes out."""


def ridge(alpha: float) -> Pipeline:
    """Make an unfitted ridge regression."""
    return make_pipeline(StandardScaler(), Ridge(alpha))


def ridge_classifier(alpha: float) -> Pipeline:
    """Make an unfitted ridge regression of the classes."""
    return make_pipeline(StandardScaler(), RidgeClassifier(alpha, class_weight="balanced"))
