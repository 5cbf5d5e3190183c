"""Kinds of features count as their weights say, whatever their number and unit."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mne_specmoe.benchmark.linear import Blocks, logistic_of_blocks


def features():
    rng = np.random.default_rng(0)
    return np.concatenate([1e-6 * rng.standard_normal((40, 3)), 5 + 1e3 * rng.standard_normal((40, 50))], 1)


def test_variances_of_a_kind_add_up_to_the_square_of_its_weight():
    found = Blocks((3, 50), (1.0, 0.3)).fit_transform(features())
    np.testing.assert_allclose([found[:, :3].var(0).sum(), found[:, 3:].var(0).sum()], [1.0, 0.09])
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)


def test_a_kind_of_weight_0_changes_nothing():
    X, y = features(), np.arange(40) % 2
    alone = logistic_of_blocks(10.0, (3,), (1.0,)).fit(X[:, :3], y).predict_proba(X[:, :3])
    both = logistic_of_blocks(10.0, (3, 50), (1.0, 0.0)).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(alone, both, atol=1e-5)


def test_one_kind_is_a_logistic_regression_on_standardised_features():
    X, y = features(), np.arange(40) % 2
    found = clone(logistic_of_blocks(50.0, (53,), (1.0,))).fit(X, y).predict_proba(X)
    Z = StandardScaler().fit_transform(X)
    expected = LogisticRegression(C=50.0 / 53, class_weight="balanced", tol=1e-8).fit(Z, y).predict_proba(Z)
    np.testing.assert_allclose(found, expected, atol=1e-3)
