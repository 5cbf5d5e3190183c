"""Linear models on standardised features, whose classes weigh alike."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

LOGISTIC_STRENGTHS = tuple(map(float, np.logspace(-5, 2, 20)))
"""Inverse strengths of regularisation that are tried on what networks say, the strongest regularisation first."""

RIDGE_STRENGTHS = tuple(map(float, np.logspace(6, -3, 20)))
"""Strengths of regularisation that are tried on what networks say, the strongest first: of equals the first is kept."""


def logistic(C: float, *, max_iter: int = 1000) -> Pipeline:
    """Make an unfitted logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=max_iter))


def ridge(alpha: float) -> Pipeline:
    """Make an unfitted ridge regression."""
    return make_pipeline(StandardScaler(), Ridge(alpha))


def ridge_classifier(alpha: float) -> Pipeline:
    """Make an unfitted ridge regression of the classes."""
    return make_pipeline(StandardScaler(), RidgeClassifier(alpha, class_weight="balanced"))
