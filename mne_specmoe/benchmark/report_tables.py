"""How the estimators of a task compare, from what a results file says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from mne_specmoe.benchmark.entries import ROLES
from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.benchmark.plan import Plan, cells_of, controls_of
from mne_specmoe.benchmark.report_rows import (
    SMALLER_IS_BETTER,
    Kind,
    Results,
    Row,
    folds_that_lack_a_class,
    in_order,
    row_of,
)
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
        The classical estimator with the highest mean, of those that do not centre subjects; None where one lacks
        scores, since that might be it.
    differences : dict of str to Difference or str
        Estimator → difference to that one, or for those that centre subjects to the strongest that does, corrected for
        the estimators of its role and kind; or why there is none.
    gates : dict of str to Gates
        Pretrained estimator → four gates.
    strongest_centred : str | None
        The same as `strongest`, of those that centre subjects.
    kinds : dict of str to Kind
        Estimator → with which others it is compared.
    """

    subjects: frozenset[str]
    means: Mapping[str, float | None]
    strongest: str | None
    differences: Mapping[str, Difference | str]
    gates: Mapping[str, Gates]
    strongest_centred: str | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    @property
    def best_pretrained(self) -> str | None:
        """The pretrained estimator with the highest mean, of those that neither centre subjects nor leave data out."""
        return self.best_of(Kind())

    def best_of(self, kind: Kind) -> str | None:
        """The pretrained estimator of one kind with the highest mean."""
        names = [name for name in self.gates if self.kinds.get(name, Kind()) == kind]
        found = [name for name in names if self.means[name] is not None]
        return max(found, key=self.means.get) if found else None

    def strongest_of(self, kind: Kind) -> str | None:
        """The classical estimator that those of a kind are compared with."""
        return self.strongest_centred if kind.is_centred else self.strongest

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
    n_lacking = len(folds_that_lack_a_class(results, task))
    estimators = [name for name in results.plan["estimators"] if cells_of(results.plan, task, name)]
    rows = in_order([row_of(results, task, name, n_lacking > 0) for name in estimators], facts["metric"])
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

    Those that centre subjects are compared with classical ones that do, and those that do not with those that do not.
    p-values are corrected for the estimators of one role and kind.

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
    gates, differences = {}, {}
    strongest = {centred: _strongest(rows, means, centred) for centred in (False, True)}
    for role, kind in product(ROLES, sorted({row.kind for row in rows.values()})):
        asked = {
            name: Rows(
                scores[name],
                _control(plan, rows, scores, name, "random"),
                _control(plan, rows, scores, name, "permuted"),
                row.overlap.among(subjects),
            )
            for name, row in rows.items()
            if row.role == role and row.kind == kind and name != strongest[kind.is_centred]
        }
        rivals = {rows[name].title: scores[name] for name in _classical(rows, kind.is_centred)}
        found = four_gates(asked, rivals)
        differences |= {name: _difference(rows[name], each, subjects) for name, each in found.items()}
        if role == "pretrained":
            gates |= found
    kinds = {name: row.kind for name, row in rows.items()}
    return Comparison(subjects, means, strongest[False], differences, gates, strongest[True], kinds)


def _classical(rows: Mapping[str, Row], is_centred: bool) -> list[str]:
    """The classical estimators that centre subjects, or those that do not."""
    return [name for name, row in rows.items() if row.role == "classical" and row.kind.is_centred == is_centred]


def _strongest(
    rows: Mapping[str, Row],
    means: Mapping[str, float | None],
    is_centred: bool,
) -> str | None:
    """The one of these with the highest mean; None if there is none, or if one lacks scores."""
    classical = _classical(rows, is_centred)
    known = classical and all(means[name] is not None for name in classical)
    return max(classical, key=means.get) if known else None


def over_chance(row: Row, facts: Mapping[str, object]) -> float | None:
    """The main score where 0 is chance and 1 is perfect; None where the row may not be compared, or has no chance."""
    score = row.main(facts["metric"])
    if row.problem or score is None or facts["chance"] is None or facts["metric"] in SMALLER_IS_BETTER:
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
    more makes it harder to tell the others apart. Those that centre subjects are, since they see more.

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
    if any(each.metric in SMALLER_IS_BETTER for each in numbers):
        return "Ranks over tasks need metrics of which more is better"
    scores = {}
    for name, entry in results.plan["estimators"].items():
        found = {each.name: _comparable_score(each, name) for each in numbers}
        is_alternative = entry["control"] in (None, "random") and not entry.get("is_centred")
        if is_alternative and None not in found.values():
            scores[name] = found
    if len(scores) < 2:
        return "Fewer than two estimators have all scores of all tasks"
    return ranking(scores)


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
