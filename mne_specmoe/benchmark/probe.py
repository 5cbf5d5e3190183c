"""What a linear model reads from features: of pretrained experts, of random ones, and of band power."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import welch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording, stored_recordings
from mne_specmoe.signal.canonical import SFREQ

_WINDOW_SECONDS = 4.0
_STRENGTHS = np.logspace(-4, 1, 6)  # of the regularisation, chosen within the training subjects
_BANDS = ((1, 4), (4, 8), (8, 12), (12, 30), (30, 45))
Features = Callable[[np.ndarray], np.ndarray]


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
    """

    volts: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    per_subject: bool


def eegmat(root: Path) -> Windows:
    """Rest against mental arithmetic, 4 s, in the subjects that no starter expert saw."""
    parts = [_eegmat_windows(recording) for recording in _held_out(root, "eegmat")]
    return _joined(parts, per_subject=False)


def guinea_bissau(root: Path) -> Windows:
    """Patients with epilepsy against controls at rest, 4 s, in the subjects that no starter expert saw.

    Patients and controls were partly recorded on different days, which a model can pick up instead of the disease.
    """
    parts = []
    for recording in _held_out(root, "guinea_bissau"):
        volts = np.concatenate([_cut(x, np.arange(0, x.shape[1], _n_times())) for x in recording.prepared()])
        parts.append((volts, np.full(len(volts), int(recording.arrays()["labels"])), recording.subject))
    return _joined(parts, per_subject=True)


TASKS: dict[str, Callable[[Path], Windows]] = {"eegmat": eegmat, "guinea_bissau": guinea_bissau}


def band_power(volts: np.ndarray) -> np.ndarray:
    """Log power in five bands, mean and deviation over channels: the features that need no network."""
    frequencies, power = welch(volts, SFREQ, nperseg=400)
    bands = [power[..., (low <= frequencies) & (frequencies < high)].sum(-1) for low, high in _BANDS]
    log_power = np.log10(np.stack(bands, -1))  # windows, channels, bands
    return np.concatenate([log_power.mean(1), log_power.std(1)], 1)


def probe(windows: Windows, features: np.ndarray) -> np.ndarray:
    """Score a linear model on each subject, trained on all others.

    Logistic regression on standardised features; its regularisation is chosen by cross-validation over the subjects
    of the training part.

    Parameters
    ----------
    windows : Windows
        Labels and subjects.
    features : ndarray, shape (n_windows, n_features)
        What the model sees.

    Returns
    -------
    scores : ndarray, shape (n_subjects,)
        Share of the subject's windows that are right; where a subject has one label, 1 or 0 for their joint vote.
        Subjects in alphabetical order.
    """
    scores = {}
    for training, test in LeaveOneGroupOut().split(features, windows.y, windows.groups):
        groups = windows.groups[training]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
        search = GridSearchCV(
            model,
            {"logisticregression__C": _STRENGTHS},
            cv=GroupKFold(min(5, len(set(groups)))),
            scoring="neg_log_loss",
        )
        search.fit(features[training], windows.y[training], groups=groups)
        right = _right(search, features[test], windows.y[test], vote=windows.per_subject)
        scores[str(windows.groups[test][0])] = right
    return np.array([scores[subject] for subject in sorted(scores)])


def compare(windows: Windows, features: Mapping[str, list[np.ndarray]], reference: str) -> dict[str, tuple]:
    """Score several kinds of features, each the mean over its repetitions (such as seeds of random experts).

    Returns
    -------
    results : dict of str to (Interval, Interval)
        The score over subjects, and its difference to that of `reference`.
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


def _right(model: GridSearchCV, features: np.ndarray, y: np.ndarray, *, vote: bool) -> float:
    """Share of right windows, or whether their mean probability is right."""
    if not vote:
        # Both classes count alike, also where a subject has more windows of one.
        hits = model.predict(features) == y
        return float(np.mean([hits[y == label].mean() for label in np.unique(y)]))
    mean = model.predict_proba(features).mean(0)
    return float(model.classes_[mean.argmax()] == y[0])


def _held_out(root: Path, dataset: str) -> list[StoredRecording]:
    """Recordings of the subjects kept for evaluation."""
    return [recording for recording in stored_recordings(root, dataset) if recording.subject in HELD_OUT[dataset]]


def _eegmat_windows(recording: StoredRecording) -> tuple[np.ndarray, np.ndarray, str]:
    """The labelled windows of one subject, none across the seam between rest and task."""
    arrays = recording.arrays()
    bounds, sfreq = arrays["segment_bounds"], float(arrays["sfreq"])
    volts, labels = [], []
    for x, start, stop in zip(recording.prepared(), bounds[:-1], bounds[1:], strict=True):
        inside = (arrays["epoch_start_sample"] >= start) & (arrays["epoch_start_sample"] < stop)
        starts = (arrays["epoch_start_sample"][inside] - start) * SFREQ / sfreq
        volts.append(_cut(x, starts.round().astype(int)))
        labels.append(arrays["labels"][inside][: len(volts[-1])])
    return np.concatenate(volts), np.concatenate(labels).astype(int), recording.subject


def _n_times() -> int:
    return round(_WINDOW_SECONDS * SFREQ)


def _cut(volts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Windows of a recording [C, T] from given samples on; those that would reach beyond its end are left out."""
    starts = [start for start in starts if start + _n_times() <= volts.shape[1]]
    return np.stack([volts[:, start : start + _n_times()] for start in starts])


def _joined(parts: list[tuple[np.ndarray, np.ndarray, str]], *, per_subject: bool) -> Windows:
    """The windows of all subjects."""
    volts, labels, subjects = zip(*parts, strict=True)
    groups = np.repeat(subjects, [len(part) for part in volts])
    return Windows(np.concatenate(volts), np.concatenate(labels), groups, per_subject)
