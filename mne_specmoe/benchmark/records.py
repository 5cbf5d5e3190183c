"""Records of a benchmark: what one cell came to, and under which circumstances."""

import hashlib
import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mne_specmoe._validation import check_number, check_option, listed

STATUSES = ("done", "failed")

Record = dict[str, object]
Key = tuple[str, str, int, int]

_FIELDS = {
    "task", "estimator", "fold", "seed", "status", "error", "scores", "pooled", "confusion", "selection", "seconds",
    "peak_memory_mib", "n_parameters", "versions", "parameter_hash", "weights_hash", "split_hash", "overlap", "seen",
}  # fmt: skip
_LONGEST_ERROR = 500  # characters


@dataclass(frozen=True)
class Cell:
    """One piece of work: an estimator, trained and tested in one fold of a task with one seed.

    Parameters
    ----------
    task, estimator : str
        Their names.
    fold, seed : int
        Their numbers, 0 or more.

    Attributes
    ----------
    key : tuple
        ``(task, estimator, fold, seed)``.
    """

    task: str
    estimator: str
    fold: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("task", "estimator"):
            _check_text(name, getattr(self, name))
        for name in ("fold", "seed"):
            check_number(name, getattr(self, name), minimum=0, integer=True)
            object.__setattr__(self, name, int(getattr(self, name)))  # numpy's integers are not JSON

    @property
    def key(self) -> Key:
        return self.task, self.estimator, self.fold, self.seed

    def __str__(self) -> str:
        return f"{self.task}, {self.estimator}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Circumstances:
    """What a record says of its cell beside the scores; all of it is known before the cell runs.

    Parameters
    ----------
    versions : mapping of str to str
        Package → version.
    parameter_hash : str
        Of the estimator's parameters, such as `json_hash` makes it.
    weights_hash : str | None
        Of the weights that the estimator begins with; None where there are none.
    split_hash : str
        Of the task's split into folds.
    overlap : bool | None
        Whether the weights were pretrained on recordings of the task; None where nobody knows.
    seen : tuple of str
        Subjects of the test part that the weights were pretrained on.
    """

    versions: Mapping[str, str]
    parameter_hash: str
    weights_hash: str | None
    split_hash: str
    overlap: bool | None
    seen: tuple[str, ...] = ()


def done_record(
    cell: Cell,
    circumstances: Circumstances,
    *,
    scores: Mapping[str, Mapping[str, float]],
    selection: Mapping[str, object],
    seconds: float,
    peak_memory_mib: float | None,
    pooled: Mapping[str, float] | None = None,
    confusion: Mapping[str, Sequence[Sequence[int]]] | None = None,
    n_parameters: int | None = None,
) -> Record:
    """Record a cell that has scores.

    Parameters
    ----------
    cell : Cell
        What was run.
    circumstances : Circumstances
        With what.
    scores : mapping of str to mapping of str to float
        Metric → subject → score. Subjects for whom a metric is not defined are left out.
    selection : mapping
        What was chosen on validation data, and the budget of that choice.
    seconds : float
        Processor time that the cell took; where there is a GPU, time on the wall.
    peak_memory_mib : float | None
        Most memory in use, in MiB; None where it was not measured.
    pooled : mapping of str to float | None
        Metric → score of all predictions of the test part together.
    confusion : mapping of str to matrix | None
        Subject → how often each class (row) was taken for each (column), so that folds can be pooled.
    n_parameters : int | None
        Numbers that the estimator learnt, in training or before; None where that says nothing.

    Returns
    -------
    record : dict
    """
    plain = {metric: {str(who): float(score) for who, score in part.items()} for metric, part in scores.items()}
    counts = {str(who): [[int(n) for n in row] for row in matrix] for who, matrix in (confusion or {}).items()}
    return {
        **_record(cell, circumstances, "done", seconds, peak_memory_mib),
        "scores": plain,
        "pooled": {metric: float(score) for metric, score in (pooled or {}).items()},
        "confusion": counts,
        "selection": dict(selection),
        "n_parameters": n_parameters,
    }


def failed_record(
    cell: Cell,
    circumstances: Circumstances,
    error: BaseException,
    *,
    seconds: float,
    peak_memory_mib: float | None = None,
) -> Record:
    """Record a cell that crashed, so that the report can say so.

    Parameters
    ----------
    cell, circumstances, seconds, peak_memory_mib
        As in `done_record`.
    error : BaseException
        What it crashed with. Its type and message are kept, on one line of 500 characters at most.

    Returns
    -------
    record : dict
    """
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return {**_record(cell, circumstances, "failed", seconds, peak_memory_mib), "error": message[:_LONGEST_ERROR]}


def cell_of(record: Mapping[str, object]) -> Cell:
    """Return the cell that a record belongs to."""
    return Cell(record["task"], record["estimator"], record["fold"], record["seed"])


def subject_means(records: Iterable[Record], cells: Iterable[Cell], metric: str) -> dict[str, float] | None:
    """Average each subject's scores over seeds, as comparisons of estimators need them.

    Parameters
    ----------
    records : iterable of dict
        Of any cells.
    cells : iterable of Cell
        All folds and seeds that were planned of one estimator on one task.
    metric : str
        Which score.

    Returns
    -------
    means : dict of str to float | None
        Subject → mean over the cells that tested it; None if a cell failed or was not run, since a mean of those that
        went well could flatter.

    Raises
    ------
    ValueError
        If a cell that is done has no such metric.
    """
    found = {cell_of(r).key: r["scores"] for r in records if r["status"] == "done"}
    cells = list(cells)
    if not cells or any(cell.key not in found for cell in cells):
        return None
    scores: dict[str, list[float]] = {}
    for cell in cells:
        check_option("metric", metric, list(found[cell.key]))
        for subject, score in found[cell.key][metric].items():
            scores.setdefault(subject, []).append(score)
    return {subject: float(np.mean(part)) for subject, part in scores.items()}


def json_hash(value: object) -> str:
    """Hash what can be written as JSON; the order of keys does not matter.

    Parameters
    ----------
    value : object
        Mappings, sequences, texts, numbers, None.

    Returns
    -------
    digest : str
        64 hexadecimal digits of SHA-256.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _record(
    cell: Cell, circumstances: Circumstances, status: str, seconds: float, peak_memory_mib: float | None
) -> Record:
    """All fields of a record, without an outcome."""
    return {
        **asdict(cell),
        "status": status,
        "error": None,
        "scores": {},
        "pooled": {},
        "confusion": {},
        "selection": {},
        "seconds": float(seconds),
        "peak_memory_mib": None if peak_memory_mib is None else float(peak_memory_mib),
        "n_parameters": None,
        **asdict(circumstances),
        "versions": dict(circumstances.versions),
        "seen": list(circumstances.seen),
    }


def check_record(record: Mapping[str, object], split_hashes: Mapping[str, str]) -> None:
    """Check a record before it is written, or after it was read.

    Parameters
    ----------
    record : mapping
        As `done_record` or `failed_record` makes it.
    split_hashes : mapping of str to str
        Task → hash of the split into folds that the record must be of.

    Raises
    ------
    ValueError, TypeError
        If it has not all fields, each of the right kind, or if it is of another split.
    """
    if not isinstance(record, Mapping) or set(record) != _FIELDS:
        wrong = sorted(_FIELDS ^ set(record)) if isinstance(record, Mapping) else []
        raise ValueError(f"A record must have the fields of done_record; missing or unknown: {listed(wrong)}.")
    cell = cell_of(record)
    check_option("status", record["status"], STATUSES)
    _check_outcome(record)
    check_number("seconds", record["seconds"], minimum=0)
    if record["peak_memory_mib"] is not None:
        check_number("peak_memory_mib", record["peak_memory_mib"], minimum=0)
    _check_text("parameter_hash", record["parameter_hash"])
    if record["weights_hash"] is not None:
        _check_text("weights_hash", record["weights_hash"])
    if not (record["overlap"] is None or isinstance(record["overlap"], bool)):
        raise TypeError(f"overlap must be True, False or None (not known), got {record['overlap']!r}.")
    for name in ("selection", "versions", "confusion"):
        if not isinstance(record[name], Mapping):
            raise TypeError(f"{name} must be a mapping, got {record[name]!r}.")
    check_option("task", cell.task, list(split_hashes))
    if record["split_hash"] != (planned := split_hashes[cell.task]):
        raise ValueError(f"split_hash of {cell} is {record['split_hash']!r}, but the file's split is {planned!r}.")


def _check_outcome(record: Mapping[str, object]) -> None:
    """Raise unless a done record has scores, all of them finite, and a failed one an error instead."""
    scores = record["scores"]
    if record["status"] == "failed":
        _check_text("error", record["error"])
        if scores:
            raise ValueError("A failed record has no scores.")
        return
    if record["error"] is not None:
        raise ValueError(f"A done record has error=None, got {record['error']!r}.")
    if not isinstance(scores, Mapping) or not scores:
        raise ValueError(f"scores must map each metric to the scores of its subjects, got {scores!r}.")
    for metric, part in scores.items():
        right = isinstance(part, Mapping) and part and all(isinstance(who, str) for who in part)
        if not right or not all(map(_is_finite, part.values())):
            raise ValueError(
                f"scores[{metric!r}] must map one subject or more to a finite number, got {part!r}; leave subjects "
                "out for whom the metric is not defined."
            )
    if not isinstance(record["pooled"], Mapping) or not all(map(_is_finite, record["pooled"].values())):
        raise ValueError(f"pooled must map metrics to finite numbers, got {record['pooled']!r}.")


def _is_finite(value: object) -> bool:
    """Tell if a value is a finite number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_text(name: str, value: object) -> None:
    """Raise unless a value is a text that says something."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} must be a text that is not empty, got {value!r}.")
