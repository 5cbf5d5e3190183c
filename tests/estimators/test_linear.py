"""Penalised linear models: against scikit-learn, with noise beside signal, and where there is too little."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from mne_specmoe.estimators import _linear
from mne_specmoe.estimators._linear import Problem, inner_folds, solve, standard_scale


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def classes(rng, n_epochs=60, n_features=8, n_classes=2):
    """Features of which the first few tell classes apart, and the problem."""
    target = np.arange(n_epochs) % n_classes
    features = rng.standard_normal((n_epochs, n_features))
    features[:, :n_classes] += 1.5 * np.eye(n_classes)[target]
    features -= features.mean(0)
    return features * standard_scale(features.std(0)), Problem(target, np.ones(n_epochs), n_classes)


def outputs(solution, features):
    return features @ solution.weights.T + solution.intercepts


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_features", [8, 200])
def test_without_folds_a_block_is_a_logistic_regression_of_the_default_strength(n_classes, n_features, rng):
    features, problem = classes(rng, n_features=n_features, n_classes=n_classes)
    solution = solve([features], problem, [])
    size = np.square(features).sum(1).mean()
    model = LogisticRegression(C=_linear.DEFAULT_STRENGTH / size, tol=1e-8, max_iter=10000)
    expected = model.fit(features, problem.target).predict_log_proba(features)
    found = outputs(solution, features)
    found = found - np.log(np.exp(found).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert solution.loss is None


@pytest.mark.parametrize("n_features", [5, 100])
def test_a_regression_is_ridge_in_as_many_dimensions_as_there_are_epochs(n_features, rng):
    features = rng.standard_normal((30, n_features))
    target = features[:, 0] + 0.1 * rng.standard_normal(30)
    solution = solve([features], Problem(target, np.ones(30), None), [])
    size = np.square(features).sum(1).mean()
    expected = Ridge(alpha=size / _linear.DEFAULT_STRENGTH).fit(features, target)
    np.testing.assert_allclose(outputs(solution, features)[:, 0], expected.predict(features), rtol=1e-6, atol=1e-8)


def test_a_block_of_noise_does_not_drown_one_of_signal(rng):
    features, problem = classes(rng, n_epochs=100)
    noise = rng.standard_normal((100, 3000)) / np.sqrt(3000)
    folds = inner_folds(100, problem.target, None)
    solution = solve([noise, features], problem, folds)
    assert solution.shares[0] < 0.2
    np.testing.assert_allclose(sum(solution.shares), 1)
    assert solution.loss < 0.55


def test_blocks_that_know_different_things_are_added(rng):
    target = np.arange(120) % 2
    blocks = [rng.standard_normal((120, 4)) for _ in range(2)]
    for block in blocks:
        block[:, 0] += 1.2 * target
    problem, folds = Problem(target, np.ones(120), 2), inner_folds(120, target, None)
    both = solve(blocks, problem, folds)
    assert min(both.shares) > 0.25
    assert both.loss < min(solve([block], problem, folds).loss for block in blocks)


def test_numbers_are_weighed_block_by_block_too(rng):
    target = rng.standard_normal(80)
    signal, noise = target[:, None] + 0.3 * rng.standard_normal((80, 3)), rng.standard_normal((80, 500))
    solution = solve([signal, noise], Problem(target, np.ones(80), None), inner_folds(80, None, None))
    assert solution.shares[0] > 0.8
    assert solution.loss < 0.2


def test_heavier_epochs_count_more(rng):
    features, problem = classes(rng)
    heavy = problem._replace(sample_weights=np.where(problem.target == 1, 10.0, 0.1))
    light, tilted = solve([features], problem, []), solve([features], heavy, [])
    margin = [np.diff(outputs(solution, features)).mean() for solution in (light, tilted)]
    assert margin[1] > margin[0] + 1


def test_features_that_say_nothing_leave_the_shares_of_the_classes(rng):
    target = np.repeat([0, 1], [30, 10])
    solution = solve([np.zeros((40, 3))], Problem(target, np.ones(40), 2), inner_folds(40, target, None))
    probabilities = np.exp(solution.intercepts) / np.exp(solution.intercepts).sum()
    np.testing.assert_allclose(probabilities, [0.75, 0.25], atol=1e-3)


def test_folds_keep_groups_together_and_classes_in_proportion():
    groups = np.repeat(np.arange(8), 5)
    labels = np.tile([0, 1], 20)
    folds = inner_folds(40, labels, groups)
    assert len(folds) == 5
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(40))


def test_without_groups_folds_are_of_neighbours():
    labels = np.tile([0, 1], 20)
    for _, test in inner_folds(40, labels, None):
        assert np.ptp(test) == len(test) - 1
    assert len(inner_folds(40, None, None)) == 5


@pytest.mark.parametrize(("labels", "groups"), [([0, 1, 1, 1], None), ([0, 1], ["a", "a"])])
def test_too_few_epochs_have_no_folds(labels, groups):
    assert inner_folds(len(labels), np.array(labels), groups and np.array(groups)) == []


def test_one_group_is_parted_by_neighbours():
    assert len(inner_folds(20, np.tile([0, 1], 10), np.zeros(20))) == 5


def test_features_that_do_not_change_have_no_scale():
    scale = standard_scale(np.array([2.0, np.inf, 0.5]))
    np.testing.assert_allclose(scale, [0.5 / np.sqrt(2), 0, 2 / np.sqrt(2)])
