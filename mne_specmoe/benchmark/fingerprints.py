"""Fingerprints of tasks, by which a frozen task knows whether data and split are still the same."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from mne_specmoe.benchmark.splits import Split
from mne_specmoe.benchmark.task_data import TaskData


@dataclass(frozen=True)
class Fingerprint:
    """What a frozen task must look like when it is loaded.

    Attributes
    ----------
    n_subjects : int
        Number of subjects.
    n_windows : tuple of int
        Number of windows of each class, in order of classes; of a regression, of all.
    windows : str
        SHA-256 over the sorted (fold, recording, start, label, part) of all windows.
    signals : str
        SHA-256 over the sorted (file, SHA-256 of what it stores). Filtered signals are not hashed: their last bits
        differ between machines.
    """

    n_subjects: int
    n_windows: tuple[int, ...]
    windows: str
    signals: str


def fingerprint(data: TaskData, split: Split) -> Fingerprint:
    """Take the fingerprint of data and split."""
    return Fingerprint(
        n_subjects=len(set(data.subjects.tolist())),
        n_windows=tuple(int((data.y == label).sum()) for label in range(len(data.classes))) or (len(data),),
        windows=_hash(f"{line}" for line in _lines(data, split)),
        signals=_hash(f"{name}\t{digest}" for name, digest in data.digests.items()),
    )


def check_fingerprint(name: str, frozen: Fingerprint, data: TaskData, split: Split) -> None:
    """Raise a ValueError that says what differs unless data and split have the frozen fingerprint."""
    found = fingerprint(data, split)
    if found != frozen:
        raise ValueError(
            f"The data of the task {name!r} are not those that its split was frozen with: "
            f"{'; '.join(_differences(frozen, found, data.classes))}. Results would not be comparable: restore the "
            "data, or define a task of another name."
        )


def _lines(data: TaskData, split: Split) -> Iterable[str]:
    """One line per fold and window."""
    for fold in split.folds:
        part_of = np.full(len(data), "unused", dtype="<U10")
        for part, places in fold.parts():
            part_of[places] = part
        for window in zip(data.recordings, data.starts, data.y, part_of, strict=True):
            yield "\t".join([fold.name, *map(str, window)])


def _hash(lines: Iterable[str]) -> str:
    """SHA-256 of lines, whatever their order."""
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _differences(frozen: Fingerprint, found: Fingerprint, classes: tuple[str, ...]) -> list[str]:
    """What differs, from the coarsest to the finest."""
    said = []
    if found.n_subjects != frozen.n_subjects:
        said.append(_more_or_fewer("subjects", frozen.n_subjects, found.n_subjects))
    for label, before, now in zip(classes or ("any kind",), frozen.n_windows, found.n_windows, strict=True):
        if before != now:
            said.append(_more_or_fewer(f"windows of {label!r}", before, now))
    if not said and found.windows != frozen.windows:
        said.append("as many subjects and windows, but other names, times, labels or parts")
    if found.signals != frozen.signals:
        said.append("the files hold other signals")
    return said


def _more_or_fewer(what: str, before: int, now: int) -> str:
    """A difference in numbers."""
    return f"{'more' if now > before else 'fewer'} {what} ({now}, not {before})"
