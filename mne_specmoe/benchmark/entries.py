"""What takes part in the benchmark: estimators that are trained, selected on validation data, and asked to predict."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from mne_specmoe._validation import check_option
from mne_specmoe.benchmark.scoring import Prediction, selection_score
from mne_specmoe.benchmark.task_data import TaskData

ROLES = ("pretrained", "classical", "peer", "control", "chance", "combined")
"""Kinds of entries: our weights, trained on other recordings; methods without such; networks of others, from their
initial weights unless their titles say otherwise; a pretrained entry with something taken away; guesses; and classical
features with those of our networks added, with the classical features alone."""

KINDS = ("ridge", "logistic", "head", "finetuned")
"""What is made of the same pretrained weights. An entry is named by its weights, a dash, and one of these."""

DEFAULTS = ("default", "features", "default_centred", "features_centred")
"""The same, for the estimators as users get them."""

ADDED, CENTRED = "added", "centred"
"""The same, for features of pretrained weights that are added to classical ones, and for such that are centred."""


@dataclass(frozen=True)
class Budget:
    """How much every estimator may try and train; written in the results.

    Attributes
    ----------
    name : str
        Name of the budget.
    n_looks : int
        Most candidates (settings, or checkpoints of a network) that are scored on validation data.
    max_windows : int | None
        Most windows of a task: of more, every k-th of each recording is used. None: all. Where each subject has a
        model, so many for each, and of shorter windows than 4 s as many as last as long together.
    n_windows : int
        Training windows that a small network sees, all passes together.
    n_medium_windows : int
        The same for networks whose steps cost several times as much.
    n_heavy_windows : int
        The same for networks of more than two million parameters. 0: these are not trained at all, and only what they
        say while they are frozen is measured.
    n_unfrozen : int
        Passes over the training windows with pretrained weights training too, where these are fine-tuned; passes with
        frozen ones come before, up to `n_looks` together.
    max_channels : int | None
        Channels, drawn anew for every step, on which experts that treat channels one by one are fine-tuned. None: all.
    """

    name: str
    n_looks: int = 20
    max_windows: int | None = None
    n_windows: int = 200_000
    n_medium_windows: int = 200_000
    n_heavy_windows: int = 200_000
    n_unfrozen: int = 15
    max_channels: int | None = None


BUDGETS: Mapping[str, Budget] = {
    "full": Budget("full"),
    "small": Budget("small", 20, 512, 4_000, 600, 0, n_unfrozen=1, max_channels=2),
    "tiny": Budget("tiny", 3, 64, 64, 64, 32, n_unfrozen=1, max_channels=2),
}
"""Budgets by name: for a machine with a GPU, for two cores, and for tests."""


@dataclass(frozen=True)
class Setting:
    """The circumstances under which an entry is trained.

    Attributes
    ----------
    seed : int
        Of all that is random.
    budget : Budget
        How much may be tried.
    remember : callable
        Wraps a function so that it is not run twice with the same arguments, as ``joblib.Memory.cache`` does.
    folder : Path | None
        Where files go that other cells can use too. None: a temporary one.
    remembered : list of float
        Seconds that remembered results took when they were computed, less those that it took to remember them.
    """

    seed: int
    budget: Budget
    remember: Callable[[Callable], Callable] = field(default=lambda function: function, repr=False)
    folder: Path | None = None
    remembered: list[float] = field(default_factory=list, repr=False)


class Selected(NamedTuple):
    """What an entry comes back with: trained, and chosen on validation data.

    Attributes
    ----------
    predict : callable
        Takes windows (`TaskData`, whose labels it must not use), returns a `Prediction`.
    choice : dict
        What was chosen among what, in values that JSON can hold.
    n_parameters : int | None
        Numbers learnt; None where that says nothing.
    """

    predict: Callable[[TaskData], Prediction]
    choice: dict
    n_parameters: int | None = None


class TaskFacts(NamedTuple):
    """What an entry may know of a task beforehand.

    Attributes
    ----------
    name : str
        Its name.
    classes : tuple of str
        Its labels; none for a regression.
    ch_names : tuple of str
        Channels.
    n_times : int
        Samples of a window.
    sfreq : float
        Sampling rate in Hz.
    is_event_related : bool
        Whether windows hold the response to a stimulus, at the same time in each.
    """

    name: str
    classes: tuple[str, ...]
    ch_names: tuple[str, ...]
    n_times: int
    sfreq: float
    is_event_related: bool = False


def suits_all(facts: TaskFacts) -> str:
    """For entries that can do every task."""
    return ""


def suits_classification(facts: TaskFacts) -> str:
    """For entries that cannot predict numbers."""
    return "" if facts.classes else "it predicts labels, not numbers"


@dataclass(frozen=True, eq=False)
class Entry:
    """One estimator of the benchmark.

    Attributes
    ----------
    name, title : str
        Short name for the command line, and name for tables.
    role : str
        One of `ROLES`.
    fit : callable
        Takes training windows, validation windows and a `Setting`; returns a `Selected`.
    stochastic : bool
        Whether it is run with several seeds.
    unsuited : callable
        Takes `TaskFacts`, and says why the entry cannot do the task; an empty text if it can.
    control_of : str | None
        Name of the entry that this is a control of.
    control : str | None
        What was taken away: "random" (weights), "permuted" (labels), "flattened" (spectrum); or "variant", where it was
        only changed.
    training : mapping | None
        What the weights were pretrained on, as their file says; for entries with weights.
    weights_hash : str | None
        Of the weights that the entry begins with.
    parameters : mapping
        Settings that are not chosen on validation data, in values that JSON can hold.
    is_probe : bool
        Whether it is cheap and linear, so that it also asks whose windows they are.
    is_heavy : bool
        Whether it trains more than two million parameters that did not come trained.
    is_centred : bool
        Whether it centres every subject by the windows that it is asked about, without labels: it is transductive, and
        is compared with its like alone.
    adds_to : str | None
        Name of the entry that has the same without our networks' features; for those that add them.
    stand_ins : mapping of str to Entry
        Data set → the entry that runs in its place on the tasks of that data set, with weights that saw nothing of it.
        Empty: it runs itself, on all tasks.
    """

    name: str
    title: str
    role: str
    fit: Callable[[TaskData, TaskData, Setting], Selected] = field(repr=False)
    stochastic: bool = False
    unsuited: Callable[[TaskFacts], str] = field(default=suits_classification, repr=False)
    control_of: str | None = None
    control: str | None = None
    training: Mapping | None = field(default=None, repr=False)
    weights_hash: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)
    is_probe: bool = False
    is_heavy: bool = False
    is_centred: bool = False
    adds_to: str | None = None
    stand_ins: Mapping[str, "Entry"] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        check_option("role", self.role, ROLES)

    def on(self, dataset: str) -> "Entry":
        """The entry that runs on the tasks of a data set: itself, or the one that stands in for it."""
        return self.stand_ins[dataset] if self.stand_ins else self


def random_control(entry: Entry, fit: Callable) -> Entry:
    """Make the control of an entry that has random weights.

    Parameters
    ----------
    entry : Entry
        With trained ones.
    fit : callable
        What it does with random ones.

    Returns
    -------
    control : Entry
    """
    return replace(
        entry, name=f"{entry.name}@random", title=f"{entry.title}, random weights", fit=fit, role="control",
        control="random", control_of=entry.name, stochastic=True, training=None, weights_hash=None,
    )  # fmt: skip


def spread(values: Sequence, n_most: int) -> list:
    """Take as many values as there may be looks, evenly spaced, from the middles of equal parts.

    Parameters
    ----------
    values : sequence
        In an order in which neighbours are alike.
    n_most : int
        How many to take; all if there are no more.

    Returns
    -------
    chosen : list
        In the same order.

    Examples
    --------
    >>> spread(range(9), 3)
    [1, 4, 7]
    """
    n_all = len(values)
    if n_all <= n_most:
        return list(values)
    return [values[(2 * place + 1) * n_all // (2 * n_most)] for place in range(n_most)]


def fit_best(
    candidates: Iterable[tuple[Mapping[str, object], Callable[[], BaseEstimator]]],
    training: TaskData,
    validation: TaskData,
    setting: Setting,
    *,
    features: Callable[[TaskData], np.ndarray] = lambda data: data.X,
) -> Selected:
    """Fit scikit-learn estimators to training data, and keep the one that is best on validation data.

    Parameters
    ----------
    candidates : iterable of (mapping, callable)
        Settings, and what makes an unfitted estimator of them; the first of equals is kept. Those beyond the budget's
        looks are an error.
    training, validation : TaskData
        The windows.
    setting : Setting
        Of the cell.
    features : callable
        What the estimators see of windows; the signals in volts, by default.

    Returns
    -------
    selected : Selected
        Its choice holds the settings, how many were looked at, and the best validation score.

    Raises
    ------
    ValueError
        If there are more candidates than looks, or none.
    """
    candidates = list(candidates)
    if not 1 <= len(candidates) <= setting.budget.n_looks:
        raise ValueError(f"{len(candidates)} candidates, but a budget of 1 to {setting.budget.n_looks} looks.")
    X, X_validation = features(training), features(validation)
    n_classes, best = len(training.classes), None
    for settings, make in candidates:
        estimator = make().fit(X, training.y)
        score = selection_score(predict_with(estimator, X_validation, n_classes), validation)
        if best is None or score > best[0]:
            best = score, settings, estimator
    score, settings, estimator = best
    choice = {"settings": dict(settings), "n_looks": len(candidates), "validation_score": round(score, 6)}
    return Selected(lambda data: predict_with(estimator, features(data), n_classes), choice, _n_learnt(estimator))


def predict_with(estimator: BaseEstimator, X: np.ndarray, n_classes: int) -> Prediction:
    """Ask a fitted scikit-learn estimator, for probabilities too if it has any.

    Parameters
    ----------
    estimator : object
        With ``predict``, and perhaps ``predict_proba``; its ``classes_`` are places in the task's classes.
    X : ndarray
        What it takes.
    n_classes : int
        Of the task; 0 for a regression.

    Returns
    -------
    prediction : Prediction
    """
    if not n_classes or not hasattr(estimator, "predict_proba"):
        return Prediction(np.asarray(estimator.predict(X)), None)
    probabilities = np.zeros((len(X), n_classes))
    probabilities[:, np.asarray(estimator.classes_, dtype=int)] = estimator.predict_proba(X)
    return Prediction(np.asarray(estimator.predict(X)), probabilities)


def _n_learnt(estimator: BaseEstimator) -> int | None:
    """Numbers in the coefficients of a linear model at the end of a pipeline."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    coefficients = getattr(last, "coef_", None)
    return None if coefficients is None else int(np.size(coefficients) + np.size(getattr(last, "intercept_", ())))
