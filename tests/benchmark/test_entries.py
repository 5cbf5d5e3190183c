"""The best candidate on validation data is kept, within the budget, and asked without labels."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from tiny_tasks import noise_data

from mne_specmoe.benchmark.entries import BUDGETS, Budget, Entry, Setting, fit_best, predict_with, spread
from mne_specmoe.benchmark.scoring import selection_score

TINY = Setting(0, BUDGETS["tiny"])


def mean_of_channels(data):
    return 1e5 * data.X.mean(-1)


def planted(seed):
    """The first channel tells the label."""
    data = noise_data(n_per_subject=8, seed=seed)
    X = data.X.copy()
    X[:, 0] += (1e-5 * (2 * data.y - 1))[:, None]
    return data.with_signals(X)


def test_keeps_the_best_and_the_first_of_equals():
    training, validation = planted(0), planted(1)
    candidates = [({"C": C}, lambda C=C: LogisticRegression(C=C)) for C in (1e-9, 1.0, 10.0)]
    selected = fit_best(candidates, training, validation, TINY, features=mean_of_channels)
    scores = {}
    for settings, make in candidates:
        model = make().fit(mean_of_channels(training), training.y)
        scores[settings["C"]] = selection_score(predict_with(model, mean_of_channels(validation), 2), validation)
    assert selected.choice["settings"]["C"] == max(scores, key=scores.get)
    assert selected.choice["n_looks"] == 3
    assert selected.choice["validation_score"] == pytest.approx(max(scores.values()), abs=1e-6)
    assert selected.n_parameters == 4
    prediction = selected.predict(planted(2))
    assert (prediction.labels == planted(2).y).mean() > 0.9
    np.testing.assert_allclose(prediction.probabilities.sum(1), 1)


@pytest.mark.parametrize("n", [0, 4])
def test_refuses_more_looks_than_the_budget_has(n):
    data = planted(0)
    with pytest.raises(ValueError, match="budget of 1 to 3 looks"):
        fit_best([({}, LogisticRegression)] * n, data, data, TINY, features=mean_of_channels)


def test_probabilities_stand_in_the_columns_of_their_classes():
    X = np.array([[0.0], [1.0], [0.1], [0.9]])
    model = KNeighborsClassifier(1).fit(X, [0, 2, 0, 2])
    found = predict_with(model, X, 4)
    assert found.probabilities.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]] * 2
    assert predict_with(RidgeClassifier().fit(X, [0, 1, 0, 1]), X, 2).probabilities is None


def test_spread_takes_evenly_spaced_values():
    assert spread(range(20), 3) == [3, 10, 16]
    assert spread(range(20), 1) == [10]
    assert spread([1, 2], 20) == [1, 2]


def test_roles_are_known():
    with pytest.raises(ValueError, match="role"):
        Entry("a", "A", "friend", fit_best)


def test_a_budget_of_ones_own():
    assert Budget("mine", n_looks=5).max_windows is None
