"""What a linear model reads from features: of pretrained experts, of random ones, and of band power."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import welch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.benchmark.recordings import StoredRecording, chosen_recordings
from mne_specmoe.signal.canonical import SFREQ

_WINDOW_SECONDS = 4.0
_STRENGTHS = np.logspace(-4, 1, 6)  # of the regularisation, chosen within the training subjects
_N_FOLDS = 5  # of that choice, at most
_BANDS = ((1, 4), (4, 8), (8, 12), (12, 30), (30, 45))


class Windows(NamedTuple):
    """Labelled windows of one task.

    Attributes
    ----------
    volts : ndarray, shape (n_windows, n_channels, n_times)
        At 200 Hz.
    y : ndarray of int, shape (n_windows,)
        Labels.
    groups : ndarray of str, shape (n_windows,)
        Subjects.
    per_subject : bool
        Whether a subject has one label, so that its windows vote.
    ch_names : tuple of str
        Names of the channels.
    """

    volts: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    per_subject: bool
    ch_names: tuple[str, ...] = ()


def eegmat(root: Path, *, held_out: bool = True) -> Windows:
    """Rest against mental arithmetic, 4 s, in the subjects that no starter expert saw, or in all others."""
    recordings = chosen_recordings(root, "eegmat", held_out=held_out)
    parts = [_eegmat_windows(recording) for recording in recordings]
    return _joined(parts, per_subject=False, ch_names=recordings[0].ch_names())


def guinea_bissau(root: Path, *, held_out: bool = True) -> Windows:
    """Patients with epilepsy against controls at rest, 4 s, in subjects that no starter expert saw, or all others.

    Patients and controls were partly recorded on different days, which a model can pick up instead of the disease.
    """
    parts, recordings = [], chosen_recordings(root, "guinea_bissau", held_out=held_out)
    for recording in recordings:
        volts = np.concatenate([_cut(x, _side_by_side(x.shape[1])) for x in recording.prepared()])
        parts.append((volts, np.full(len(volts), int(recording.arrays()["labels"])), recording.subject))
    return _joined(parts, per_subject=True, ch_names=recordings[0].ch_names())


TASKS: dict[str, Callable[..., Windows]] = {"eegmat": eegmat, "guinea_bissau": guinea_bissau}


def band_power(volts: np.ndarray) -> np.ndarray:
    """Band power, the features that need no network.

    Parameters
    ----------
    volts : ndarray, shape (n_windows, n_channels, n_times)
        At 200 Hz, no channel of them constant.

    Returns
    -------
    features : ndarray, shape (n_windows, 10)
        Of the log10 of the power in 1–4, 4–8, 8–12, 12–30 and 30–45 Hz (Welch, 2 s, lower edges included): the mean
        over channels, then the standard deviation.
    """
    frequencies, power = welch(volts, SFREQ, nperseg=400)
    bands = [power[..., (low <= frequencies) & (frequencies < high)].sum(-1) for low, high in _BANDS]
    log_power = np.log10(np.stack(bands, -1))  # windows, channels, bands
    return np.concatenate([log_power.mean(1), log_power.std(1)], 1)


def probe(windows: Windows, features: np.ndarray) -> np.ndarray:
    """Score a linear model on each subject, trained on all others.

    Logistic regression on standardised features, with classes weighted alike; its regularisation is chosen by
    cross-validation over the subjects of the training part.

    Parameters
    ----------
    windows : Windows
        Labels and subjects; every label in three subjects or more.
    features : ndarray, shape (n_windows, n_features)
        What the model sees.

    Returns
    -------
    scores : ndarray, shape (n_subjects,)
        Share of the subject's windows that are right, the mean over its labels (balanced accuracy); where a subject
        has one label, 1 or 0 for the mean probability of its windows. Subjects in alphabetical order.

    Raises
    ------
    ValueError
        If features do not fit the windows, or if a label has too few subjects.
    """
    _check_subjects(windows, features)
    scores = {}
    for training, test in LeaveOneGroupOut().split(features, windows.y, windows.groups):
        model = _fitted(features[training], windows.y[training], windows.groups[training])
        right = _right(model, features[test], windows.y[test], vote=windows.per_subject)
        scores[str(windows.groups[test][0])] = right
    return np.array([scores[subject] for subject in sorted(scores)])


def compare(
    windows: Windows, features: Mapping[str, list[np.ndarray]], reference: str
) -> dict[str, tuple[Interval, Interval]]:
    """Score several kinds of features.

    Parameters
    ----------
    windows : Windows
        Labels and subjects.
    features : mapping of str to list of ndarray
        Name → features of shape (n_windows, n_features), one array per repetition (such as seeds of random experts).
    reference : str
        The name of those that the others are compared with.

    Returns
    -------
    results : dict of str to (Interval, Interval)
        The score over subjects, each the mean over repetitions, and its difference to that of `reference`.
    """
    scores = {name: np.mean([probe(windows, part) for part in parts], 0) for name, parts in features.items()}
    return {name: (bootstrap(s), bootstrap(s - scores[reference])) for name, s in scores.items()}


def table(task: str, windows: Windows, results: Mapping[str, tuple[Interval, Interval]], reference: str) -> str:
    """Lay the results of `compare` out as text."""
    unit = "subjects right" if windows.per_subject else "windows right"
    n_subjects = len(set(windows.groups))
    lines = [f"{task}: {unit}, {n_subjects} subjects [95 % interval over subjects]; difference to {reference}"]
    lines += [f"  {name:<24}{score!s:<24}{difference}" for name, (score, difference) in results.items()]
    return "\n".join(lines) + "\n"


def _check_subjects(windows: Windows, features: np.ndarray) -> None:
    """Raise unless there is one row per window, and enough subjects with each label to choose and to test."""
    if len(features) != len(windows.y):
        raise ValueError(f"features must have one row for each of the {len(windows.y)} windows, got {len(features)}.")
    n_subjects = _subjects_per_label(windows.y, windows.groups)
    if len(n_subjects) < 2 or min(n_subjects.values()) < 3:
        raise ValueError(f"Two labels or more are needed, each in three subjects or more, got {n_subjects}.")


def _subjects_per_label(y: np.ndarray, groups: np.ndarray) -> dict[int, int]:
    """How many subjects have windows with each label."""
    return {int(label): len(set(groups[y == label])) for label in np.unique(y)}


def _fitted(features: np.ndarray, y: np.ndarray, groups: np.ndarray) -> GridSearchCV:
    """A linear model of the strength that serves other subjects best."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    # Subjects may have one label, so folds are stratified, and the loss is told what labels there are.
    n_folds = min(_N_FOLDS, *_subjects_per_label(y, groups).values())
    loss = make_scorer(log_loss, response_method="predict_proba", greater_is_better=False, labels=np.unique(y))
    search = GridSearchCV(
        model,
        {"logisticregression__C": _STRENGTHS},
        cv=StratifiedGroupKFold(n_folds),
        scoring=loss,
        error_score="raise",
    )
    return search.fit(features, y, groups=groups)


def _right(model: GridSearchCV, features: np.ndarray, y: np.ndarray, *, vote: bool) -> float:
    """Share of right windows, or whether their mean probability is right."""
    if not vote:
        # Both classes count alike, also where a subject has more windows of one.
        hits = model.predict(features) == y
        return float(np.mean([hits[y == label].mean() for label in np.unique(y)]))
    mean = model.predict_proba(features).mean(0)
    return float(model.classes_[mean.argmax()] == y[0])


def _eegmat_windows(recording: StoredRecording) -> tuple[np.ndarray, np.ndarray, str]:
    """The labelled windows of one subject, none across the seam between rest and task."""
    arrays = recording.arrays()
    bounds, sfreq = arrays["segment_bounds"], float(arrays["sfreq"])
    volts, labels = [], []
    for x, start, stop in zip(recording.prepared(), bounds[:-1], bounds[1:], strict=True):
        begin = arrays["epoch_start_sample"]
        inside = (begin >= start) & (begin < stop)
        starts = ((begin[inside] - start) * SFREQ / sfreq).round().astype(int)
        whole = starts + _n_times() <= x.shape[1]
        volts.append(_cut(x, starts[whole]))
        labels.append(arrays["labels"][inside][whole])
    return np.concatenate(volts), np.concatenate(labels).astype(int), recording.subject


def _n_times() -> int:
    """Samples of a window."""
    return round(_WINDOW_SECONDS * SFREQ)


def _side_by_side(n_times: int) -> np.ndarray:
    """Where windows begin that fill a recording of so many samples; what is left at its end is not used."""
    return np.arange(n_times // _n_times()) * _n_times()


def _cut(volts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Windows of a recording [C, T] that begin at given samples: [n_windows, C, n_times]."""
    return volts[:, starts[:, None] + np.arange(_n_times())].swapaxes(0, 1)


def _joined(
    parts: list[tuple[np.ndarray, np.ndarray, str]], *, per_subject: bool, ch_names: tuple[str, ...]
) -> Windows:
    """The windows of all subjects."""
    volts, labels, subjects = zip(*parts, strict=True)
    groups = np.repeat(subjects, [len(part) for part in volts])
    return Windows(np.concatenate(volts), np.concatenate(labels), groups, per_subject, ch_names)
