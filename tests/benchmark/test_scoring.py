"""Scores are those of scikit-learn, per subject and pooled, and what is not defined is left out."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from tiny_tasks import noise_data

from mne_specmoe.benchmark.scoring import Prediction, pooled_confusion, score, selection_score

RNG = np.random.default_rng(0)


def guesses(data, n_classes=2):
    probabilities = RNG.dirichlet(np.ones(n_classes), len(data))
    return Prediction(probabilities.argmax(1), probabilities)


def three_classes():
    data = noise_data(n_per_subject=12)
    return replace(data, y=np.arange(len(data)) % 3, classes=("a", "b", "c"))


def regression():
    data = noise_data()
    return replace(data, y=RNG.standard_normal(len(data)), classes=())


def test_two_classes_agree_with_scikit_learn():
    data = noise_data(n_per_subject=10)
    guess = guesses(data)
    found = score(guess, data)
    y, labels, p = data.y, guess.labels, guess.probabilities[:, 1]
    assert found.pooled == pytest.approx(
        {
            "balanced_accuracy": metrics.balanced_accuracy_score(y, labels),
            "cohen_kappa": metrics.cohen_kappa_score(y, labels),
            "weighted_f1": metrics.f1_score(y, labels, average="weighted"),
            "auroc": metrics.roc_auc_score(y, p),
            "auc_pr": metrics.average_precision_score(y, p),
        }
    )
    own = data.subjects == "P3"
    assert found.scores["auroc"]["P3"] == pytest.approx(metrics.roc_auc_score(y[own], p[own]))
    assert found.confusion["P3"] == metrics.confusion_matrix(y[own], labels[own]).tolist()


def test_three_classes_are_each_scored_against_the_others():
    data = three_classes()
    guess = guesses(data, 3)
    found = score(guess, data).pooled
    one_hot = np.eye(3)[data.y]
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(one_hot, guess.probabilities, average="macro"))
    expected = metrics.average_precision_score(one_hot, guess.probabilities, average="macro")
    assert found["auc_pr"] == pytest.approx(expected)


def test_what_is_not_defined_for_a_subject_is_left_out():
    data = noise_data()
    data = replace(data, y=np.where(data.subjects == "P0", 0, data.y))
    found = score(guesses(data), data).scores
    assert set(found["balanced_accuracy"]) == {f"P{i}" for i in range(6)}
    assert set(found["auroc"]) == set(found["cohen_kappa"]) == {f"P{i}" for i in range(1, 6)}


def test_windows_of_a_subject_with_one_label_vote_by_their_mean_probability():
    data = noise_data()
    data = replace(data, y=(data.subjects > "P2").astype(int))
    probabilities = np.full((len(data), 2), 0.5)
    probabilities[data.subjects == "P0"] = [
        [0.9, 0.1],
        [0.4, 0.6],
        [0.4, 0.6],
        [0.4, 0.6],
    ]  # one window outweighs three
    probabilities[data.subjects == "P5"] = [0.2, 0.8]
    found = score(Prediction(probabilities.argmax(1), probabilities), data, per_subject=True)
    right = found.scores["balanced_accuracy"]
    assert (right["P0"], right["P5"]) == (1.0, 1.0)
    assert found.pooled["balanced_accuracy"] == pytest.approx((3 / 3 + 1 / 3) / 2)  # ties go to the first class
    assert "auroc" in found.pooled
    assert "auroc" not in found.scores


def test_labels_vote_where_there_are_no_probabilities():
    data = noise_data()
    data = replace(data, y=(data.subjects > "P2").astype(int))
    labels = np.where(np.arange(len(data)) % 4 == 0, 1 - data.y, data.y)  # one of four is wrong
    assert score(Prediction(labels, None), data, per_subject=True).pooled["balanced_accuracy"] == 1


def test_subjects_with_two_labels_cannot_be_scored_as_one():
    data = noise_data()
    with pytest.raises(ValueError, match="one label per subject"):
        score(guesses(data), data, per_subject=True)


def test_regressions_have_their_own_metrics():
    data = regression()
    guess = Prediction(data.y + 0.5 * RNG.standard_normal(len(data)), None)
    found = score(guess, data, metric="r2")
    assert found.pooled["r2"] == pytest.approx(metrics.r2_score(data.y, guess.labels))
    assert found.pooled["rmse"] == pytest.approx(np.sqrt(((data.y - guess.labels) ** 2).mean()))
    assert found.pooled["pearson_r"] == pytest.approx(np.corrcoef(data.y, guess.labels)[0, 1])
    assert found.confusion == {}
    assert selection_score(guess, data) == found.pooled["r2"]


def test_a_constant_prediction_has_no_correlation():
    data = regression()
    assert "pearson_r" not in score(Prediction(np.zeros(len(data)), None), data).pooled


def test_a_metric_that_is_needed_must_be_there():
    data = noise_data()
    with pytest.raises(ValueError, match="no auroc: the estimator has no predict_proba"):
        score(Prediction(data.y, None), data, metric="auroc")
    with pytest.raises(ValueError, match="the test part does not allow it"):
        score(guesses(data), replace(data, y=np.zeros(len(data), int)), metric="auroc")


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (lambda n: Prediction(np.zeros(n - 1, int), None), "one per window"),
        (lambda n: Prediction(np.full(n, 2), None), r"\[2\] are not among the task's 2 classes"),
        (lambda n: Prediction(np.full(n, "a"), None), "not among"),
        (lambda n: Prediction(np.zeros(n, int), np.full((n, 2), np.nan)), "finite"),
        (lambda n: Prediction(np.zeros(n, int), np.zeros((n, 3))), "shape"),
    ],
)
def test_refuses_predictions_that_do_not_fit(prediction, message):
    data = noise_data()
    with pytest.raises(ValueError, match=message):
        score(prediction(len(data)), data)


def test_folds_are_pooled_by_their_counts():
    data = three_classes()
    guess = guesses(data, 3)
    whole = score(guess, data)
    halves = []
    for part in (data.subjects < "P3", data.subjects >= "P3"):
        half = Prediction(guess.labels[part], guess.probabilities[part])
        halves.append(score(half, data.take(np.flatnonzero(part))).confusion)
    found = pooled_confusion(halves)
    assert found == pytest.approx({name: whole.pooled[name] for name in found})
    assert set(found) == {"balanced_accuracy", "cohen_kappa", "weighted_f1"}


def test_settings_are_chosen_by_windows_also_where_subjects_are_scored():
    data = noise_data()
    data = replace(data, y=(data.subjects > "P2").astype(int))
    labels = np.where(np.arange(len(data)) % 4 == 0, 1 - data.y, data.y)
    assert selection_score(Prediction(labels, None), data) == 0.75
