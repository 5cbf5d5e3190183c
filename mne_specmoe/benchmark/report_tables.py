"""The numbers of a benchmark's report, from its results file alone."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.entries import ROLES
from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.benchmark.plan import Plan, all_cells, cells_of, controls_of
from mne_specmoe.benchmark.records import Cell, Key, Record, cell_of, subject_means
from mne_specmoe.benchmark.results import ResultsFile
from mne_specmoe.benchmark.scoring import CLASSIFICATION_METRICS, REGRESSION_METRICS, pooled_confusion
from mne_specmoe.benchmark.statistics import (
    Difference,
    Gates,
    Ranking,
    Rows,
    Scores,
    chance_normalised,
    four_gates,
    paired_difference,
    ranking,
)

UNKNOWN = "unknown"  # in the plan, in the place of subjects that weights were pretrained on
_SMALLER_IS_BETTER = ("rmse",)
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
    """

    path: Path
    header: Mapping[str, object] = field(repr=False)
    records: Mapping[Key, Record] = field(repr=False)

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

    def main(self, metric: str) -> Spread | None:
        """The score that the row is sorted by: folds pooled, where that is needed."""
        return self.folds.get(metric, self.cells.get(metric))


@dataclass(frozen=True)
class Comparison:
    """All estimators of a task on the same subjects.

    Attributes
    ----------
    subjects : frozenset of str
        On whom.
    means : dict of str to float | None
        Estimator → mean score over subjects; None if it may not be compared.
    strongest : str | None
        The classical estimator with the highest mean; None where one lacks scores, since that might be it.
    differences : dict of str to Difference or str
        Estimator → difference to that one, corrected for the estimators of its role, or why there is none.
    gates : dict of str to Gates
        Pretrained estimator → four gates.
    """

    subjects: frozenset[str]
    means: Mapping[str, float | None]
    strongest: str | None
    differences: Mapping[str, Difference | str]
    gates: Mapping[str, Gates]

    @property
    def best_pretrained(self) -> str | None:
        """The pretrained estimator with the highest mean."""
        found = [name for name in self.gates if self.means[name] is not None]
        return max(found, key=self.means.get) if found else None

    @property
    def helped(self) -> list[str]:
        """The estimators that pass all four gates."""
        return [name for name, gates in self.gates.items() if gates.passed]


@dataclass(frozen=True)
class TaskNumbers:
    """All numbers of one task.

    Attributes
    ----------
    name : str
        Of the task.
    facts : mapping
        What the plan says of it.
    rows : dict of str to Row
        By roles, then scores, the best first; those that may not be compared are last.
    subjects : frozenset of str
        All that have a score.
    n_lacking : int
        Folds whose test part lacks a class.
    everyone : Comparison
        On all subjects.
    unseen : Comparison | None
        On those whom no weights saw, where weights saw some.
    left_out : list of str
        Estimators whose weights saw all subjects. For them nobody is unseen, so they do not count in `unseen`.
    """

    name: str
    facts: Mapping[str, object]
    rows: Mapping[str, Row]
    subjects: frozenset[str]
    n_lacking: int
    everyone: Comparison
    unseen: Comparison | None
    left_out: Sequence[str]

    @property
    def metric(self) -> str:
        """The task's metric."""
        return self.facts["metric"]

    def of_role(self, role: str) -> list[Row]:
        """The rows of one role."""
        return [row for row in self.rows.values() if row.role == role]


def read_results(path: str | os.PathLike) -> Results:
    """Read a results file, finished or not.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    results : Results

    Raises
    ------
    ValueError
        If it is no results file, is damaged, or was not written by a run of the benchmark.
    OSError
        If it cannot be read.
    """
    file = ResultsFile(path)
    header, records = file.header(), file.records()
    _check_plan(file.path, header["plan"])
    planned = {cell.key for cell in all_cells(header["plan"])}
    if foreign := [str(cell_of(record)) for record in records if cell_of(record).key not in planned]:
        raise ValueError(f"{file.path} has records of cells that its plan does not hold: {listed(foreign, at_most=3)}.")
    return Results(file.path, header, {cell_of(record).key: record for record in records})


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


def task_numbers(results: Results, task: str) -> TaskNumbers:
    """Compute all numbers of one task.

    Parameters
    ----------
    results : Results
        The file.
    task : str
        Name of the task.

    Returns
    -------
    numbers : TaskNumbers
    """
    facts = results.plan["tasks"][task]
    n_lacking = len(_folds_that_lack_a_class(results, task))
    estimators = [name for name in results.plan["estimators"] if cells_of(results.plan, task, name)]
    rows = _sorted([_row(results, task, name, n_lacking > 0) for name in estimators], facts["metric"])
    subjects = frozenset(who for row in rows.values() for who in row.means or ())
    unseen, left_out = _unseen(rows, subjects)
    return TaskNumbers(
        task,
        facts,
        rows,
        subjects,
        n_lacking,
        compare(results.plan, rows, subjects),
        compare(results.plan, rows, unseen) if unseen else None,
        left_out,
    )


def compare(plan: Plan, rows: Mapping[str, Row], subjects: frozenset[str]) -> Comparison:
    """Compare all estimators of a task with the strongest classical one, on some subjects.

    Parameters
    ----------
    plan : Plan
        What was to be run.
    rows : mapping of str to Row
        Estimators of one task.
    subjects : frozenset of str
        On whom.

    Returns
    -------
    comparison : Comparison
    """
    scores = {name: _restricted(row.means, subjects) for name, row in rows.items()}
    means = {name: float(np.mean(list(part.values()))) if part else None for name, part in scores.items()}
    classical = {name: scores[name] for name, row in rows.items() if row.role == "classical"}
    known = classical and all(means[name] is not None for name in classical)
    strongest = max(classical, key=means.get) if known else None
    rivals = {rows[name].title: part for name, part in classical.items()}
    gates, differences = {}, {}
    for role in ROLES:
        asked = {
            name: Rows(
                scores[name],
                _control(plan, rows, scores, name, "random"),
                _control(plan, rows, scores, name, "permuted"),
                row.overlap.among(subjects),
            )
            for name, row in rows.items()
            if row.role == role and name != strongest
        }
        found = four_gates(asked, rivals)
        differences |= {name: _difference(rows[name], each, subjects) for name, each in found.items()}
        if role == "pretrained":
            gates = found
    return Comparison(subjects, means, strongest, differences, gates)


def over_chance(row: Row, facts: Mapping[str, object]) -> float | None:
    """The main score where 0 is chance and 1 is perfect; None where the row may not be compared, or has no chance."""
    score = row.main(facts["metric"])
    if row.problem or score is None or facts["chance"] is None or facts["metric"] in _SMALLER_IS_BETTER:
        return None
    return float(chance_normalised(score.mean, facts["chance"]))


def against_chance(results: Results, numbers: TaskNumbers, name: str) -> Difference | None:
    """Compare an estimator's scores with those of a guess, over subjects.

    Where each subject has one label, subjects are weighted so that each class counts the same, as in balanced
    accuracy: else a majority that is always guessed would be better than chance.

    Parameters
    ----------
    results : Results
        The file.
    numbers : TaskNumbers
        Of the task.
    name : str
        Of the estimator.

    Returns
    -------
    difference : Difference | None
        None with fewer than two subjects, or if the estimator may not be compared.
    """
    means, chance = numbers.rows[name].means, numbers.facts["chance"]
    if means is None or len(means) < 2 or chance is None:
        return None
    weights = dict.fromkeys(means, 1.0)
    if numbers.facts["per_subject"] and numbers.facts["classes"]:
        weights = _class_weights(results, numbers.name, name)
    return paired_difference({who: weights[who] * mean for who, mean in means.items()}, dict.fromkeys(means, chance))


def mean_over_subjects(row: Row) -> Interval | None:
    """Mean of the subjects' scores and its interval; None with fewer than two, or if it may not be compared."""
    return bootstrap(list(row.means.values())) if row.means and len(row.means) > 1 else None


def rank(results: Results, numbers: Sequence[TaskNumbers]) -> Ranking | str:
    """Rank the estimators that have all scores of all tasks.

    Controls with permuted labels or a flattened spectrum are left out: they are no alternatives, and each estimator
    more makes it harder to tell the others apart.

    Parameters
    ----------
    results : Results
        The file.
    numbers : sequence of TaskNumbers
        Of all tasks.

    Returns
    -------
    ranking : Ranking | str
        Names are those of the plan; a text says why there is none.
    """
    if len(numbers) < 2:
        return "Ranks over tasks need two tasks or more"
    if any(each.metric in _SMALLER_IS_BETTER for each in numbers):
        return "Ranks over tasks need metrics of which more is better"
    scores = {}
    for name, entry in results.plan["estimators"].items():
        found = {each.name: _comparable_score(each, name) for each in numbers}
        if entry["control"] in (None, "random") and None not in found.values():
            scores[name] = found
    if len(scores) < 2:
        return "Fewer than two estimators have all scores of all tasks"
    return ranking(scores)


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


def _row(results: Results, task: str, name: str, lacks_a_class: bool) -> Row:
    """The numbers of one estimator on one task."""
    plan, metric = results.plan, results.plan["tasks"][task]["metric"]
    cells = cells_of(plan, task, name)
    state, done = progress(results, cells), results.done(cells)
    means, problem = None, state.problem
    if not problem and metric in _SMALLER_IS_BETTER:
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
    )


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


def _folds_that_lack_a_class(results: Results, task: str) -> set[int]:
    """Folds in whose test part, which is the same for all estimators, a class does not occur."""
    lacking = set()
    for record in results.records.values():
        if record["task"] == task and record["confusion"]:
            counts = np.sum([np.sum(matrix, 1) for matrix in record["confusion"].values()], 0)
            if not counts.all():
                lacking.add(record["fold"])
    return lacking


def _overlap(results: Results, task: str, name: str) -> Overlap:
    """What plan and records say of it; of two that differ, the worse counts."""
    planned = results.plan["estimators"][name]["seen"].get(task, ())
    records = results.of(cells_of(results.plan, task, name))
    subjects = {str(who) for part in (planned, *(record["seen"] for record in records)) for who in part} - {UNKNOWN}
    flags = {record["overlap"] for record in records}
    return Overlap(frozenset(subjects), UNKNOWN in planned or None in flags, True in flags and not subjects)


def _sorted(rows: Sequence[Row], metric: str) -> dict[str, Row]:
    """By roles, then those that can be compared before those that cannot, then by scores."""
    sign = 1 if metric in _SMALLER_IS_BETTER else -1

    def place(row: Row) -> tuple[int, bool, float]:
        score = row.main(metric)
        return ROLES.index(row.role), bool(row.progress.problem), np.inf if score is None else sign * score.mean

    return {row.name: row for row in sorted(rows, key=place)}


def _unseen(rows: Mapping[str, Row], subjects: frozenset[str]) -> tuple[frozenset[str], list[str]]:
    """Subjects whom no weights saw, if weights saw some, and the estimators that saw all and do not count here."""
    seen = {name: row.overlap.subjects & subjects for name, row in rows.items()}
    some = [part for part in seen.values() if part and part != subjects]
    everyone = [name for name, part in seen.items() if part and part == subjects]
    return (subjects.difference(*some), everyone) if some else (frozenset(), [])


def _restricted(means: Scores | None, subjects: frozenset[str]) -> dict[str, float] | None:
    """The scores of some subjects."""
    return None if means is None else {who: score for who, score in means.items() if who in subjects}


def _control(
    plan: Plan, rows: Mapping[str, Row], scores: Mapping[str, Scores | None], name: str, control: str
) -> Scores | None:
    """Scores of an estimator's control; of several the strongest, if all have scores."""
    found = [scores[other] for other in controls_of(plan, name, control) if other in rows]
    if not found or not all(found):
        return None
    return max(found, key=lambda part: np.mean(list(part.values())))


def _difference(row: Row, gates: Gates, subjects: frozenset[str]) -> Difference | str:
    """The corrected difference that the second gate rests on, or why there is none."""
    for difference in gates.significant.differences.values():
        return difference
    return row.problem or ("one subject" if len(subjects) == 1 else gates.significant.reason)


def _class_weights(results: Results, task: str, name: str) -> dict[str, float]:
    """Weight of each subject that makes the mean of subjects a mean of classes; the weights' mean is 1."""
    label = {}
    for record in results.done(cells_of(results.plan, task, name)):
        label |= {who: int(np.argmax(np.sum(matrix, 1))) for who, matrix in record["confusion"].items()}
    labels = list(label.values())
    return {who: len(labels) / (len(set(labels)) * labels.count(each)) for who, each in label.items()}


def _comparable_score(numbers: TaskNumbers, name: str) -> float | None:
    """The main score of an estimator that has all its cells."""
    row = numbers.rows.get(name)
    score = None if row is None or row.progress.problem else row.main(numbers.metric)
    return None if score is None else score.mean
