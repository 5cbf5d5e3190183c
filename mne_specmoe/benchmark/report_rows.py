"""What a results file says of each estimator on each task."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.entries import ROLES
from mne_specmoe.benchmark.leakage import UNKNOWN
from mne_specmoe.benchmark.plan import Plan, all_cells, cells_of
from mne_specmoe.benchmark.records import Cell, Key, Record, cell_of, subject_means
from mne_specmoe.benchmark.results import ResultsFile
from mne_specmoe.benchmark.scoring import CLASSIFICATION_METRICS, REGRESSION_METRICS, pooled_confusion
from mne_specmoe.benchmark.stated import Statement, stated_subjects
from mne_specmoe.benchmark.statistics import Scores

SMALLER_IS_BETTER = ("rmse",)
_OF_CONFUSIONS = ("balanced_accuracy", "cohen_kappa", "weighted_f1")
_PLAN_FIELDS = ("tasks", "estimators", "n_seeds", "budget")
_TASK_FIELDS = ("title", "classes", "metric", "chance", "per_subject", "folds", "kind")
_ESTIMATOR_FIELDS = ("title", "role", "control_of", "control", "stochastic", "unsuited", "seen")


@dataclass(frozen=True, eq=False)
class Results:
    """A results file that was read.

    Attributes
    ----------
    path : Path
        The file.
    header : mapping
        Its first line.
    records : mapping
        `Cell.key` → record.
    stated : mapping
        Estimator → task → subjects that its weights were pretrained on, where whoever reads the file stated it.
    """

    path: Path
    header: Mapping[str, object] = field(repr=False)
    records: Mapping[Key, Record] = field(repr=False)
    stated: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict, repr=False)

    @property
    def plan(self) -> Plan:
        """What was to be run."""
        return self.header["plan"]

    def tasks(self, kind: str = "task") -> list[str]:
        """Names of the tasks of one kind."""
        return [name for name, task in self.plan["tasks"].items() if task["kind"] == kind]

    def of(self, cells: Iterable[Cell]) -> list[Record]:
        """The records of those cells that have one."""
        return [self.records[cell.key] for cell in cells if cell.key in self.records]

    def done(self, cells: Iterable[Cell]) -> list[Record]:
        """The records of those cells that have scores."""
        return [record for record in self.of(cells) if record["status"] == "done"]


class Progress(NamedTuple):
    """How many cells were planned, have scores, and have an error instead."""

    n_planned: int
    n_done: int
    n_failed: int

    @property
    def n_missing(self) -> int:
        """Cells that were not run."""
        return self.n_planned - self.n_done - self.n_failed

    @property
    def problem(self) -> str:
        """What keeps the scores from being compared; empty if nothing does."""
        counts = {"failed": self.n_failed, "not run": self.n_missing}
        parts = [f"{n} {word}" for word, n in counts.items() if n]
        return f"of {n_of(self.n_planned, 'cell')} {', '.join(parts)}" if parts else ""


class Spread(NamedTuple):
    """Mean and standard deviation of some cells' or seeds' scores; with one of them, there is no deviation."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        mean = f"{round(self.mean, 3) + 0.0:.3f}"  # no "-0.000"
        return mean if self.sd is None else f"{mean} ± {self.sd:.3f}"


class Overlap(NamedTuple):
    """What is known of the subjects of a task that weights were pretrained on.

    Attributes
    ----------
    subjects : frozenset of str
        Those that are known.
    is_unknown : bool
        Whether there may be others.
    is_unnamed : bool
        Whether there are some, but nothing says who.
    """

    subjects: frozenset[str]
    is_unknown: bool
    is_unnamed: bool

    def among(self, subjects: Collection[str]) -> bool | None:
        """Tell if any of some subjects was seen; None where nobody knows."""
        if self.is_unnamed or self.subjects & set(subjects):
            return True
        return None if self.is_unknown else False


class Kind(NamedTuple):
    """With which others of its role an estimator is compared.

    Attributes
    ----------
    is_centred : bool
        Whether it centres every subject by the windows that are asked about, without labels.
    leaves_out : bool
        Whether its weights, others on each data set, saw nothing of it.
    """

    is_centred: bool = False
    leaves_out: bool = False


@dataclass(frozen=True)
class Row:
    """One estimator on one task.

    Attributes
    ----------
    name, title, role : str
        As in the plan; titles that occur twice are followed by the name.
    progress : Progress
        Its cells.
    cells : dict of str to Spread
        Metric → scores of the test parts as a whole, over cells.
    folds : dict of str to Spread
        Metric → scores of all folds pooled, over seeds; only where a test part lacks a class.
    means : dict of str to float | None
        Subject → mean score over seeds; None if it may not be compared. Where a test part lacks a class, a subject's
        folds are pooled first.
    problem : str
        Why not.
    overlap : Overlap
        With the task.
    seconds, peak_memory_mib : float | None
        Mean per cell, and largest.
    n_parameters : tuple of int | None
        Fewest and most.
    kind : Kind
        With which others it is compared.
    """

    name: str
    title: str
    role: str
    progress: Progress
    cells: Mapping[str, Spread]
    folds: Mapping[str, Spread]
    means: Scores | None
    problem: str
    overlap: Overlap
    seconds: float | None
    peak_memory_mib: float | None
    n_parameters: tuple[int, int] | None
    kind: Kind = Kind()

    def main(self, metric: str) -> Spread | None:
        """The score that the row is sorted by: folds pooled, where that is needed."""
        return self.folds.get(metric, self.cells.get(metric))


def read_results(path: str | os.PathLike, pretrained_on: Statement | None = None) -> Results:
    """Read a results file, finished or not.

    Parameters
    ----------
    path : path-like
        The file.
    pretrained_on : mapping of str to mapping | None
        Whom weights were pretrained on, where their files do not say: name of weights → task → subjects, or
        ``("all",)``. ``{"mine": {}}`` states that those named "mine" saw nobody. Nothing checks it, and reports say so.

    Returns
    -------
    results : Results

    Raises
    ------
    ValueError
        If it is no results file, is damaged, or was not written by a run of the benchmark; or if `pretrained_on` names
        weights, tasks or subjects that it does not have.
    OSError
        If it cannot be read.
    """
    file = ResultsFile(path)
    header, records = file.header(), file.records()
    _check_plan(file.path, header["plan"])
    planned = {cell.key for cell in all_cells(header["plan"])}
    if foreign := [str(cell_of(record)) for record in records if cell_of(record).key not in planned]:
        raise ValueError(f"{file.path} has records of cells that its plan does not hold: {listed(foreign, at_most=3)}.")
    stated = stated_subjects(pretrained_on, header["plan"], _scored(header["plan"], records)) if pretrained_on else {}
    return Results(file.path, header, {cell_of(record).key: record for record in records}, stated)


def n_of(n: int, noun: str) -> str:
    """A count with its noun, such as "1 cell" and "2,000 cells"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def progress(results: Results, cells: Iterable[Cell]) -> Progress:
    """Count cells by their state."""
    cells = list(cells)
    return Progress(len(cells), len(results.done(cells)), len(results.of(cells)) - len(results.done(cells)))


def titles_of(named: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Titles of estimators or tasks, with the name where two have the same."""
    titles = [each["title"] for each in named.values()]
    return {
        name: each["title"] if titles.count(each["title"]) == 1 else f"{each['title']} ({name})"
        for name, each in named.items()
    }


def metrics_of(rows: Iterable[Row], first: str) -> list[str]:
    """The metrics that any row has, the task's own first."""
    found = {metric for row in rows for metric in row.cells}
    order = [first, *CLASSIFICATION_METRICS, *REGRESSION_METRICS]
    return [metric for metric in dict.fromkeys([*order, *sorted(found)]) if metric in found]


def versions_of(results: Results) -> dict[str, list[str]]:
    """Package → versions that cells were run with."""
    found: dict[str, set[str]] = {}
    for record in results.records.values():
        for package, version in record["versions"].items():
            found.setdefault(package, set()).add(str(version))
    return {package: sorted(found[package]) for package in sorted(found, key=str.lower)}


def row_of(results: Results, task: str, name: str, lacks_a_class: bool) -> Row:
    """The numbers of one estimator on one task."""
    plan, metric = results.plan, results.plan["tasks"][task]["metric"]
    cells = cells_of(plan, task, name)
    state, done = progress(results, cells), results.done(cells)
    means, problem = None, state.problem
    if not problem and metric in SMALLER_IS_BETTER:
        problem = f"{metric} is the better the smaller it is, and comparisons need the opposite"
    if not problem and any(metric not in record["scores"] for record in done):
        problem = f"some cells have no {metric} of single subjects"
    if not problem:
        means = subject_means(done, cells, metric)
        if lacks_a_class and metric in _OF_CONFUSIONS:
            means = _pooled_subjects(done, metric)
    memory = [record["peak_memory_mib"] for record in done if record["peak_memory_mib"] is not None]
    sizes = [record["n_parameters"] for record in done if record["n_parameters"] is not None]
    return Row(
        name,
        titles_of(plan["estimators"])[name],
        plan["estimators"][name]["role"],
        state,
        _spreads([record["pooled"] for record in done]),
        _spreads(_pooled_folds(cells, done)) if lacks_a_class else {},
        means,
        problem,
        _overlap(results, task, name),
        float(np.mean([record["seconds"] for record in done])) if done else None,
        max(memory) if memory else None,
        (min(sizes), max(sizes)) if sizes else None,
        kind_of(plan, name),
    )


def kind_of(plan: Plan, name: str) -> Kind:
    """With which others an estimator is compared; plans of older files say nothing of it."""
    entry = plan["estimators"][name]
    return Kind(bool(entry.get("is_centred")), "left_out" in entry)


def folds_that_lack_a_class(results: Results, task: str) -> set[int]:
    """Folds in whose test part, which is the same for all estimators, a class does not occur."""
    lacking = set()
    for record in results.records.values():
        if record["task"] == task and record["confusion"]:
            counts = np.sum([np.sum(matrix, 1) for matrix in record["confusion"].values()], 0)
            if not counts.all():
                lacking.add(record["fold"])
    return lacking


def in_order(rows: Sequence[Row], metric: str) -> dict[str, Row]:
    """By roles, then those that can be compared before those that cannot, then by scores."""
    sign = 1 if metric in SMALLER_IS_BETTER else -1

    def place(row: Row) -> tuple[int, bool, float]:
        score = row.main(metric)
        return ROLES.index(row.role), bool(row.progress.problem), np.inf if score is None else sign * score.mean

    return {row.name: row for row in sorted(rows, key=place)}


def _check_plan(path: Path, plan: object) -> None:
    """Raise unless a plan holds what the report needs."""
    lacking = []
    if not isinstance(plan, Mapping) or any(name not in plan for name in _PLAN_FIELDS):
        lacking = [name for name in _PLAN_FIELDS if not isinstance(plan, Mapping) or name not in plan]
    elif not all(isinstance(plan[name], Mapping) for name in ("tasks", "estimators", "budget")):
        lacking = ["tasks, estimators and budget by name"]
    else:
        for kind, fields in (("tasks", _TASK_FIELDS), ("estimators", _ESTIMATOR_FIELDS)):
            for name, each in plan[kind].items():
                lacking += [f"{kind}.{name}.{key}" for key in fields if key not in each]
    if lacking:
        raise ValueError(
            f"The plan of {path} is not that of a benchmark run, for it lacks {listed(lacking, at_most=5)}; give the "
            "file that `mne-specmoe benchmark run` wrote."
        )


def _scored(plan: Plan, records: Iterable[Record]) -> dict[str, set[str]]:
    """Task → subjects that have a score."""
    found = {task: set() for task in plan["tasks"]}
    for record in records:
        found[record["task"]] |= {who for scores in record["scores"].values() for who in scores}
    return found


def _spreads(parts: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Metric → mean and deviation over those parts that have it."""
    found: dict[str, list[float]] = {}
    for part in parts:
        for metric, score in part.items():
            found.setdefault(metric, []).append(score)
    return {
        metric: Spread(float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else None, len(scores))
        for metric, scores in found.items()
    }


def _pooled_folds(cells: Sequence[Cell], done: Sequence[Record]) -> list[dict[str, float]]:
    """Scores of all folds together, for each seed that has them all."""
    found = {cell_of(record).key: record["confusion"] for record in done if record["confusion"]}
    parts = []
    for seed in sorted({cell.seed for cell in cells}):
        keys = [cell.key for cell in cells if cell.seed == seed]
        if all(key in found for key in keys):
            parts.append(pooled_confusion([found[key] for key in keys]))
    return parts


def _pooled_subjects(done: Sequence[Record], metric: str) -> dict[str, float]:
    """Mean over seeds of each subject's score, for which the folds that tested the subject are put together."""
    counts: dict[tuple[str, int], list[dict]] = {}
    for record in done:
        for who, matrix in record["confusion"].items():
            counts.setdefault((who, record["seed"]), []).append({who: matrix})
    scores: dict[str, list[float]] = {}
    for (who, _), parts in counts.items():
        found = pooled_confusion(parts)
        if metric in found:
            scores.setdefault(who, []).append(found[metric])
    return {who: float(np.mean(part)) for who, part in scores.items()}


def _overlap(results: Results, task: str, name: str) -> Overlap:
    """What plan and records say of it, of which the worse counts; a statement adds to it, or replaces "unknown"."""
    planned = results.plan["estimators"][name]["seen"].get(task, ())
    records = results.of(cells_of(results.plan, task, name))
    subjects = {str(who) for part in (planned, *(record["seen"] for record in records)) for who in part} - {UNKNOWN}
    flags = {record["overlap"] for record in records}
    is_unknown, is_unnamed = UNKNOWN in planned or None in flags, True in flags and not subjects
    if name in results.stated:
        return Overlap(frozenset(subjects | results.stated[name][task]), False, is_unnamed)
    return Overlap(frozenset(subjects), is_unknown, is_unnamed)
