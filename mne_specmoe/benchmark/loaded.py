"""Tasks with their windows, thinned to a budget; and the tasks of telling whose windows they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mne_specmoe.benchmark.entries import TaskFacts
from mne_specmoe.benchmark.fingerprints import fingerprint
from mne_specmoe.benchmark.folds import Fold, make_folds
from mne_specmoe.benchmark.leakage import check_split
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import FoldIndices, Split
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.benchmark.tasks import Task

_SHARES = (0.5, 0.7)  # of a subject's windows, in order of time: training ends, validation ends
_FEWEST = 4  # windows of a subject, so that each part has one
_COUNTED_SECONDS = 4.0  # of a window of the budget, where each subject has a model
_PER_DATASET = 60  # windows of each data set, where data sets are to be told apart


@dataclass(frozen=True, eq=False)
class LoadedTask:
    """A task with its windows.

    Attributes
    ----------
    name : str
        Its name.
    kind : {"task", "identity"}
        Whether it is what a user wants to know, or whose windows they are.
    about : mapping
        What the plan says of it: title, dataset, citation, licence, confounds, known_leaks, metric, per_subject.
    data : TaskData
        The windows that are used.
    split : Split
        Their folds.
    subjects : tuple of str
        All subjects of the task.
    """

    name: str
    kind: str
    about: Mapping[str, object] = field(repr=False)
    data: TaskData = field(repr=False)
    split: Split = field(repr=False)
    subjects: tuple[str, ...] = field(repr=False)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.about["dataset"]

    @property
    def split_hash(self) -> str:
        """Of windows, labels and parts."""
        return fingerprint(self.data, self.split).windows

    @property
    def facts(self) -> TaskFacts:
        """What estimators may know beforehand."""
        data = self.data
        is_event_related = bool(self.about.get("is_event_related"))
        return TaskFacts(self.name, data.classes, data.ch_names, data.n_times, data.sfreq, is_event_related)

    def folds(self) -> tuple[Fold, ...]:
        """Folds for one run of one estimator, all shut."""
        return make_folds(self.data, self.split)

    def plan(self) -> dict[str, object]:
        """What the plan says of it."""
        data, n_classes = self.data, len(self.data.classes)
        return {
            **self.about,
            "kind": self.kind,
            "classes": list(data.classes) if self.kind == "task" else [],
            "n_classes": n_classes,
            "chance": 1 / n_classes if n_classes else 0.0,
            "n_subjects": len(set(data.subjects.tolist())),
            "n_windows": len(data),
            "n_channels": len(data.ch_names),
            "window_seconds": data.n_times / data.sfreq,
            "folds": [fold.name for fold in self.split.folds],
        }


def load(task: Task | Recipe, root: Path, max_windows: int | None) -> LoadedTask:
    """Load a task from the data root, and use every k-th window of each recording if there are too many.

    Parameters
    ----------
    task : Task or Recipe
        What to load.
    root : Path
        Folder of the data sets.
    max_windows : int | None
        Most windows. None: all.

    Returns
    -------
    loaded : LoadedTask

    Raises
    ------
    FileNotFoundError, ValueError
        See `Task.load`.
    """
    data = task.load(root)
    protocol = {"protocol": task.protocol} if isinstance(task, Recipe) else {}
    about = {
        "title": task.title,
        "dataset": task.dataset,
        "citation": task.citation,
        "licence": task.licence,
        "confounds": list(task.confounds),
        "known_leaks": list(getattr(task, "known_leaks", ())),
        "is_frozen": task.frozen is not None,
        "metric": task.metric,
        "per_subject": task.per_subject,
    } | protocol
    if getattr(task, "is_event_related", False):
        about["is_event_related"] = True
    split = task.split(data)
    kept = _within_budget(data, split.by, max_windows, about["confounds"])
    if kept is not data:
        data, split = kept, task.split(kept)
    if not about["known_leaks"]:
        check_split(data, split)
    return LoadedTask(
        task.name, "task", about, data, split, task.subjects or tuple(sorted(set(data.subjects.tolist())))
    )


def _within_budget(data: TaskData, split_by: str, max_windows: int | None, confounds: list[str]) -> TaskData:
    """Every k-th window of each recording if there are too many, which becomes a confound."""
    if max_windows is None:
        return data
    if split_by == "run":
        return _within_budget_each(data, max_windows, confounds)
    if len(data) <= max_windows:
        return data
    step = -(-len(data) // max_windows)
    confounds.append(f"one in {step} windows of each recording was used; there are {len(data)}")
    return data.take(thinned(data, step)).read_only()


def _within_budget_each(data: TaskData, max_windows: int, confounds: list[str]) -> TaskData:
    """The same where each subject has a model: the limit is that of a subject, counted in seconds."""
    limit = round(max_windows * max(1.0, _COUNTED_SECONDS * data.sfreq / data.n_times))
    places, steps = [], {}
    for subject in sorted(set(data.subjects.tolist())):
        own = np.flatnonzero(data.subjects == subject)
        steps[subject] = -(-len(own) // limit)
        places.append(own[thinned(data.take(own), steps[subject])])
    thinner = ", ".join(f"{subject} one in {step}" for subject, step in steps.items() if step > 1)
    if not thinner:
        return data
    confounds.append(f"of some subjects not all windows of each recording were used: {thinner}")
    return data.take(np.sort(np.concatenate(places))).read_only()


def thinned(data: TaskData, step: int) -> np.ndarray:
    """Places of every `step`-th window of each recording, in the order of the data."""
    places = []
    for number, recording in enumerate(dict.fromkeys(data.recordings.tolist())):
        own = np.flatnonzero(data.recordings == recording)
        places.append(own[number % step % len(own) :: step])  # begins elsewhere in each, so that none is left out
    return np.sort(np.concatenate(places))


def subject_identity(task: LoadedTask) -> LoadedTask | None:
    """The task of telling a task's subjects apart, trained on the first half of each one's windows.

    Parameters
    ----------
    task : LoadedTask
        Any.

    Returns
    -------
    identity : LoadedTask | None
        None if there are not two subjects with four windows each.
    """
    data = task.data
    counts = {who: int((data.subjects == who).sum()) for who in sorted(set(data.subjects.tolist()))}
    who = [subject for subject, n in counts.items() if n >= _FEWEST]
    if len(who) < 2:
        return None
    data = data.take(np.flatnonzero(np.isin(data.subjects, who)))
    data = data.with_labels(np.searchsorted(who, data.subjects), tuple(who))
    text = f"Whose windows are these? ({task.about['title']})"
    return _identity(f"{task.name}/subjects", text, task, data, data.subjects)


def dataset_identity(tasks: Sequence[LoadedTask]) -> LoadedTask | None:
    """The task of telling data sets apart by windows of one channel.

    Parameters
    ----------
    tasks : sequence of LoadedTask
        Those that run; of several on one data set, the first is taken. Event-related ones are left out, since all
        windows would have to be as short as theirs.

    Returns
    -------
    identity : LoadedTask | None
        None if there are not two data sets.
    """
    by_dataset: dict[str, LoadedTask] = {}
    for task in tasks:
        if not task.facts.is_event_related:
            by_dataset.setdefault(task.dataset, task)
    if len(by_dataset) < 2:
        return None
    names = tuple(sorted(by_dataset))
    n_times = min(task.data.n_times for task in by_dataset.values())
    parts = [_one_channel(by_dataset[name].data, name, names, n_times) for name in names]
    data = parts[0]
    for part in parts[1:]:
        data = data.joined(part)
    first = by_dataset[names[0]]
    return _identity("datasets", "Which data set is this? (one channel)", first, data, data.sessions, dataset="all")


def _one_channel(data: TaskData, name: str, names: tuple[str, ...], n_times: int) -> TaskData:
    """Some windows of a data set, each of another channel in turn; its name becomes the session."""
    places = np.unique(np.linspace(0, len(data) - 1, _PER_DATASET).round().astype(int))
    data = data.take(places)
    channel = np.arange(len(data)) % len(data.ch_names)
    X = data.X[np.arange(len(data)), channel][:, None, :n_times]
    tag = np.char.add(f"{name}:", data.subjects)
    return TaskData(
        X=np.ascontiguousarray(X),
        y=np.full(len(data), names.index(name)),
        subjects=tag,
        sessions=np.full(len(data), name),
        recordings=np.char.add(f"{name}:", data.recordings),
        starts=data.starts,
        sfreq=data.sfreq,
        ch_names=("EEG",),
        classes=names,
    )


def _identity(
    name: str, title: str, task: LoadedTask, data: TaskData, units: np.ndarray, dataset: str | None = None
) -> LoadedTask:
    """Each unit's windows in order of time: the first half trains, then some validate, the rest is tested."""
    part = np.empty(len(data))
    for unit in sorted(set(units.tolist())):
        own = np.flatnonzero(units == unit)
        own = own[np.lexsort((data.starts[own], data.recordings[own]))]
        part[own] = (np.arange(len(own)) + 0.5) / len(own)
    places = np.digitize(part, _SHARES)
    fold = FoldIndices("later windows", *(np.flatnonzero(places == number) for number in range(3)))
    about = {
        **task.about,
        "title": title,
        "dataset": dataset or task.dataset,
        "confounds": ["a control: high scores mean that features tell who or what was recorded"],
        "metric": "balanced_accuracy",
        "per_subject": False,
    }
    subjects = tuple(sorted(set(data.subjects.tolist())))
    return LoadedTask(name, "identity", about, data.read_only(), Split((fold,), "block"), subjects)
