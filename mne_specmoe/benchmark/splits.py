"""Which windows train, select and test: by subjects, by sessions or runs within them, or by blocks of time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mne_specmoe._validation import check_option, listed
from mne_specmoe.benchmark.task_data import TaskData

PARTS = ("training", "validation", "test")
UNITS = ("subject", "session", "block", "run")
"""What is kept whole: a subject; where there is one subject, a session or a block of time; where each subject has a
model, the runs that are tested."""


@dataclass(frozen=True, eq=False)
class FoldIndices:
    """Places of the windows of one fold; those in no part are not used.

    Attributes
    ----------
    name : str
        Name of the fold.
    training, validation, test : ndarray of int
        Places in the task's data, in ascending order.
    """

    name: str
    training: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)

    def parts(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield name and places of every part."""
        return ((name, getattr(self, name)) for name in PARTS)


@dataclass(frozen=True, eq=False)
class Split:
    """All folds of a task.

    Attributes
    ----------
    folds : tuple of FoldIndices
        In fixed order.
    by : {"subject", "session", "block", "run"}
        What no two parts of a fold share. Of runs only those that are tested are whole: training and validation may be
        of one run.
    gap_seconds : float
        For blocks and runs: at least so much lies between windows of different parts.

    Raises
    ------
    ValueError
        If there are no folds, or if `by` is not known.
    """

    folds: tuple[FoldIndices, ...]
    by: str = "subject"
    gap_seconds: float = 0.0

    def __post_init__(self):
        check_option("by", self.by, UNITS)
        if not self.folds:
            raise ValueError("A split needs one fold or more, got none.")


SplitRule = Callable[[TaskData], Split]
"""Makes the split of a task, from names and times only: never from signals or labels."""


def by_subject(strata: Sequence[Sequence[str]], n_folds: int) -> SplitRule:
    """Deal subjects out to folds, in turn.

    The subject at place i of its stratum is tested in fold i modulo `n_folds`; the next fold's test subjects validate.

    Parameters
    ----------
    strata : sequence of sequence of str
        The subjects; those of each stratum are spread evenly over the folds.
    n_folds : int
        Three or more.

    Returns
    -------
    rule : callable
        Takes the data of a task, and returns its `Split`. A ValueError names subjects that are in no stratum.
    """
    _check_n_folds(n_folds)
    fold_of = {subject: place % n_folds for stratum in strata for place, subject in enumerate(stratum)}
    folds = {
        f"subjects {fold + 1} of {n_folds}": {name: _part(own, fold, n_folds) for name, own in fold_of.items()}
        for fold in range(n_folds)
    }
    return partial(_split_by_names, "subject", folds)


def fixed_subjects(training: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> SplitRule:
    """The one fold that others have published, by subjects; see `by_subject` for what is returned."""
    groups = zip(PARTS, (training, validation, test), strict=True)
    part_of = {subject: part for part, subjects in groups for subject in subjects}
    return partial(_split_by_names, "subject", {"fixed subjects": part_of})


def by_session(groups: Sequence[Sequence[str]]) -> SplitRule:
    """Leave one group of sessions out, within subjects; the next validates. See `by_subject` for what is returned."""
    _check_n_folds(len(groups))
    folds = {
        " and ".join(tested): {
            name: _part(own, fold, len(groups)) for own, group in enumerate(groups) for name in group
        }
        for fold, tested in enumerate(groups)
    }
    return partial(_split_by_names, "session", folds)


def by_block(n_folds: int, block_seconds: float, gap_seconds: float) -> SplitRule:
    """Deal blocks of time out to folds, in turn, where there is one animal.

    Time in each recording is cut into blocks. Windows that reach into the last `gap_seconds` of a block are not used.
    Block i is tested in fold i modulo `n_folds`; the fold after the next validates, so that neither neighbour of a test
    block does.

    Parameters
    ----------
    n_folds : int
        Three or more.
    block_seconds, gap_seconds : float
        Length of a block, and what is left out at its end. The gap has to be longer than the reach of the filters.

    Returns
    -------
    rule : callable
        Takes the data of a task, and returns its `Split`.
    """
    _check_n_folds(n_folds)
    if not 0 <= gap_seconds < block_seconds:
        raise ValueError(f"A gap must be shorter than a block, got {gap_seconds:g} s in {block_seconds:g} s.")

    return partial(_split_by_blocks, n_folds, block_seconds, gap_seconds)


def within_subject(n_folds: int, gap_seconds: float) -> SplitRule:
    """Make folds of each subject alone, and leave some of the subject's runs out.

    Run i of a subject is tested in fold i modulo `n_folds`, and validates in the one before. A subject with fewer runs
    has as many folds as runs. Of two runs one is tested, and the last third of the other validates.

    Parameters
    ----------
    n_folds : int
        Three or more; for each subject.
    gap_seconds : float
        What is left out before that last third. It has to be longer than the reach of the filters.

    Returns
    -------
    rule : callable
        Takes the data of a task, and returns its `Split`. A ValueError names subjects with one run.
    """
    _check_n_folds(n_folds)
    return partial(_split_by_runs, n_folds, gap_seconds)


def _check_n_folds(n_folds: int) -> None:
    """Raise unless there is a fold for each part."""
    if n_folds < len(PARTS):
        raise ValueError(f"Three folds or more are needed to train, validate and test, got {n_folds}.")


def _part(own: int, fold: int, n_folds: int, validation_step: int = 1) -> str:
    """The part that what is tested in fold `own` plays in another fold."""
    return {0: "test", validation_step: "validation"}.get((own - fold) % n_folds, "training")


def _split_by_names(by: str, folds: Mapping[str, Mapping[str, str]], data: TaskData) -> Split:
    """The split that gives each subject or session its part."""
    names = getattr(data, f"{by}s").tolist()
    if unknown := sorted(set(names) - set(next(iter(folds.values())))):
        raise ValueError(
            f"The frozen split does not know {len(unknown)} {by}s of the data: {listed(unknown)}. Take them out of the "
            "data, or define a task of its own."
        )
    return Split(tuple(_fold(name, [part_of[each] for each in names]) for name, part_of in folds.items()), by)


def _split_by_blocks(n_folds: int, block_seconds: float, gap_seconds: float, data: TaskData) -> Split:
    """The split that gives each block of time its part."""
    block, begin = np.divmod(data.starts / data.sfreq, block_seconds)
    used = begin + data.n_times / data.sfreq <= block_seconds - gap_seconds
    own = block.astype(int) % n_folds
    folds = []
    for fold in range(n_folds):
        parts = [_part(k, fold, n_folds, 2) if use else None for k, use in zip(own, used, strict=True)]
        folds.append(_fold(f"blocks {fold + 1} of {n_folds}", parts))
    return Split(tuple(folds), "block", gap_seconds)


def _split_by_runs(n_folds: int, gap_seconds: float, data: TaskData) -> Split:
    """The split that gives each run of a subject its part."""
    folds = []
    for subject in sorted(set(data.subjects.tolist())):
        runs = list(dict.fromkeys(data.recordings[data.subjects == subject].tolist()))
        if len(runs) < 2:
            raise ValueError(f"{subject} has one run, so none can be left out; take the subject out of the task.")
        n_own = min(n_folds, len(runs))
        for fold in range(n_own):
            part_of = {run: _part(place % n_own, fold, n_own) for place, run in enumerate(runs)}
            parts = [part_of.get(run) for run in data.recordings.tolist()]
            if n_own == 2:  # the other run is for both
                parts = _shared(parts, data, gap_seconds)
            folds.append(_fold(f"{subject}, runs {fold + 1} of {n_own}", parts))
    return Split(tuple(folds), "run", gap_seconds)


def _shared(parts: Sequence[str | None], data: TaskData, gap_seconds: float) -> list[str | None]:
    """The same parts, but the run that is not tested trains until its last third, which validates after a gap."""
    own = np.array([part not in (None, "test") for part in parts])
    starts = data.starts[own]
    begin = starts.min() + 2 * (np.ptp(starts) + data.n_times) / 3
    end = begin - data.n_times - round(gap_seconds * data.sfreq)
    found = list(parts)
    for place in np.flatnonzero(own):
        start = data.starts[place]
        found[place] = "training" if start <= end else "validation" if start >= begin else None
    return found


def _fold(name: str, parts: Sequence[str | None]) -> FoldIndices:
    """A fold by the part of every window, None for those that are not used."""
    parts = np.array([part or "" for part in parts])
    return FoldIndices(name, *(np.flatnonzero(parts == part) for part in PARTS))
