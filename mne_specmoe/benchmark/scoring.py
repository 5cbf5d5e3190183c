"""Scores of predictions: per subject, of all together, and those that settings are chosen by."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.task_data import TaskData

CLASSIFICATION_METRICS = ("balanced_accuracy", "cohen_kappa", "weighted_f1", "auroc", "auc_pr")
REGRESSION_METRICS = ("r2", "pearson_r", "rmse")
NEED_PROBABILITIES = ("auroc", "auc_pr")


class Prediction(NamedTuple):
    """What an estimator says of windows.

    Attributes
    ----------
    labels : ndarray, shape (n_windows,)
        Places in the task's classes; numbers for a regression.
    probabilities : ndarray, shape (n_windows, n_classes) | None
        None for estimators that have none.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None


class Scored(NamedTuple):
    """All scores of one cell.

    Attributes
    ----------
    scores : dict of str to dict of str to float
        Metric → subject → score. Subjects for whom a metric is not defined are left out, and metrics without any.
    pooled : dict of str to float
        Metric → score of all windows (or subjects, where these have one label) of the test part together.
    confusion : dict of str to list
        Subject → counts, rows are true classes.
    """

    scores: dict[str, dict[str, float]]
    pooled: dict[str, float]
    confusion: dict[str, list[list[int]]]


def score(prediction: Prediction, data: TaskData, *, per_subject: bool = False, metric: str | None = None) -> Scored:
    """Score predictions.

    Balanced accuracy is the mean over those classes that occur; Cohen's kappa, AUROC and AUC-PR are not defined where
    only one does. With three classes or more, AUROC and AUC-PR (average precision) are means over the classes that
    occur, each against all others. Area metrics need probabilities.

    Parameters
    ----------
    prediction : Prediction
        What was predicted.
    data : TaskData
        Of which windows, with their labels.
    per_subject : bool
        Whether each subject has one label: then its windows vote, by their mean probabilities (or by their labels where
        there are none), and its balanced accuracy is 1 or 0.
    metric : str | None
        A metric that there has to be.

    Returns
    -------
    scored : Scored

    Raises
    ------
    ValueError
        If predictions do not fit the windows, are not finite or are no classes of the task, or if there is no such
        metric, as for one of areas without probabilities.
    """
    _check(prediction, data)
    subjects, y, given = data.subjects, data.y, prediction
    if per_subject:
        subjects, y, given = _vote(prediction, data)
    measure = _classification if data.classes else _regression
    parts = {who: subjects == who for who in sorted(set(subjects.tolist()))}
    each = {who: measure(y[part], _part(given, part), len(data.classes)) for who, part in parts.items()}
    pooled = measure(y, given, len(data.classes))
    scores = {name: {who: found[name] for who, found in each.items() if name in found} for name in _names(data)}
    if metric is not None and metric not in pooled and not any(metric in found for found in each.values()):
        without = prediction.probabilities is None and metric in NEED_PROBABILITIES
        why = "the estimator has no predict_proba" if without else "the test part does not allow it"
        raise ValueError(f"There is no {metric}: {why}. The metrics are {listed(list(pooled))}.")
    confusion = {who: _confusion(y[part], given.labels[part], len(data.classes)) for who, part in parts.items()}
    return Scored({name: part for name, part in scores.items() if part}, pooled, confusion if data.classes else {})


def selection_score(prediction: Prediction, data: TaskData) -> float:
    """The score that settings and checkpoints are chosen by, the larger the better.

    Balanced accuracy of all windows, also where a task is scored by subjects, who are too few to choose by; for a
    regression R².

    Parameters
    ----------
    prediction : Prediction
        Of the validation part.
    data : TaskData
        The validation part.

    Returns
    -------
    score : float
    """
    _check(prediction, data)
    if data.classes:
        return _balanced_accuracy(data.y, prediction.labels)
    return float(r2_score(data.y, prediction.labels))


def pooled_confusion(confusions: list[Mapping[str, list[list[int]]]]) -> dict[str, float]:
    """Scores of the counts of several folds together.

    Parameters
    ----------
    confusions : list of mapping
        Subject → counts, one mapping per fold.

    Returns
    -------
    scores : dict of str to float
        Balanced accuracy, Cohen's kappa and weighted F1.
    """
    total = np.sum([matrix for fold in confusions for matrix in fold.values()], 0)
    true, predicted = np.indices(total.shape)
    counts = total.ravel()
    return _of_labels(np.repeat(true.ravel(), counts), np.repeat(predicted.ravel(), counts), len(total))


def _names(data: TaskData) -> tuple[str, ...]:
    """Metrics of a kind of task."""
    return CLASSIFICATION_METRICS if data.classes else REGRESSION_METRICS


def _check(prediction: Prediction, data: TaskData) -> None:
    """Raise unless there is a usable prediction for every window."""
    labels, probabilities = prediction
    if np.shape(labels) != (len(data),):
        raise ValueError(f"{len(data)} predictions are needed, one per window, got shape {np.shape(labels)}.")
    if not data.classes:
        if not np.isfinite(labels).all():
            raise ValueError("The predictions are not finite.")
        return
    if wrong := sorted(set(np.asarray(labels).tolist()) - set(range(len(data.classes)))):
        raise ValueError(f"The predictions {wrong} are not among the task's {len(data.classes)} classes.")
    if probabilities is not None:
        shape = (len(data), len(data.classes))
        if probabilities.shape != shape or not np.isfinite(probabilities).all():
            raise ValueError(f"Probabilities must be finite, of shape {shape}, got {probabilities.shape}.")


def _part(prediction: Prediction, part: np.ndarray) -> Prediction:
    """Some of the predictions."""
    probabilities = prediction.probabilities
    return Prediction(prediction.labels[part], None if probabilities is None else probabilities[part])


def _vote(prediction: Prediction, data: TaskData) -> tuple[np.ndarray, np.ndarray, Prediction]:
    """One prediction per subject: names, labels, predictions."""
    names = sorted(set(data.subjects.tolist()))
    votes = prediction.probabilities
    if votes is None:
        votes = np.eye(len(data.classes))[prediction.labels]
    parts = [data.subjects == who for who in names]
    labels = [np.unique(data.y[part]) for part in parts]
    if any(len(found) != 1 for found in labels):
        raise ValueError("A task that is scored by subjects must have one label per subject.")
    means = np.array([votes[part].mean(0) for part in parts])
    return np.array(names), np.concatenate(labels), Prediction(means.argmax(1), means)


def _classification(y: np.ndarray, prediction: Prediction, n_classes: int) -> dict[str, float]:
    """All metrics that are defined."""
    found = _of_labels(y, prediction.labels, n_classes)
    present = np.unique(y)
    if prediction.probabilities is not None and len(present) > 1:
        columns = [1] if n_classes == 2 else present.tolist()
        for name, measure in (("auroc", roc_auc_score), ("auc_pr", average_precision_score)):
            found[name] = _mean_over(measure, y, prediction.probabilities, columns)
    return found


def _mean_over(measure: Callable, y: np.ndarray, probabilities: np.ndarray, columns: list[int]) -> float:
    """Mean of a metric of one class against all others."""
    return float(np.mean([measure(y == column, probabilities[:, column]) for column in columns]))


def _of_labels(y: np.ndarray, labels: np.ndarray, n_classes: int) -> dict[str, float]:
    """The metrics that need no probabilities."""
    found = {"balanced_accuracy": _balanced_accuracy(y, labels)}
    if len(np.unique(y)) > 1:
        found["cohen_kappa"] = float(cohen_kappa_score(y, labels))
    found["weighted_f1"] = float(f1_score(y, labels, labels=np.arange(n_classes), average="weighted", zero_division=0))
    return found


def _balanced_accuracy(y: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall of the classes that occur."""
    return float(np.mean([(labels[y == label] == label).mean() for label in np.unique(y)]))


def _regression(y: np.ndarray, prediction: Prediction, n_classes: int) -> dict[str, float]:
    """All metrics that are defined."""
    found = {"rmse": float(root_mean_squared_error(y, prediction.labels))}
    if len(y) > 1 and np.ptp(y) > 0:
        found["r2"] = float(r2_score(y, prediction.labels))
        if np.ptp(prediction.labels) > 0:
            found["pearson_r"] = float(pearsonr(y, prediction.labels).statistic)
    return found


def _confusion(y: np.ndarray, labels: np.ndarray, n_classes: int) -> list[list[int]]:
    """Counts, rows are true classes."""
    return confusion_matrix(y, labels, labels=np.arange(n_classes)).tolist() if n_classes else []
