"""The report of a benchmark, in Markdown and as one HTML page, from its results file alone."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mne_specmoe._files import replacing
from mne_specmoe.benchmark.document import (
    Bullets,
    Code,
    Document,
    Heading,
    Image,
    Paragraph,
    Part,
    Table,
    to_html,
    to_markdown,
)
from mne_specmoe.benchmark.entries import ROLES
from mne_specmoe.benchmark.plan import all_cells, cells_of
from mne_specmoe.benchmark.report_figures import Point, compute_figure, rank_figure, subjects_figure
from mne_specmoe.benchmark.report_tables import (
    UNKNOWN,
    Comparison,
    Progress,
    Results,
    Row,
    TaskNumbers,
    against_chance,
    mean_over_subjects,
    metrics_of,
    n_of,
    over_chance,
    progress,
    rank,
    read_results,
    task_numbers,
    titles_of,
    versions_of,
)
from mne_specmoe.benchmark.results import cell_of
from mne_specmoe.benchmark.statistics import Difference, Verdict

SEEN, MAYBE_SEEN, SEEN_OTHERS = "⚠", "⚠?", "(⚠)"
"""Behind the title of an estimator whose weights were pretrained on scored subjects, on nobody knows whom, and, where
only unseen subjects are scored, on other subjects of the task."""

_NONE = "–"
_GAP = "\N{NO-BREAK SPACE}"
_METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "cohen_kappa": "Cohen's κ",
    "weighted_f1": "weighted F1",
    "auroc": "AUROC",
    "auc_pr": "AUC-PR",
    "r2": "R²",
    "pearson_r": "Pearson's r",
    "rmse": "RMSE",
}
_ROLES = {
    "pretrained": "Pretrained weights",
    "peer": "Networks of others",
    "classical": "Classical methods",
    "control": "Controls",
    "chance": "Guesses",
}
_CONTROLS = {"random": "random weights", "permuted": "permuted labels", "flattened": "flattened spectrum"}
_BUDGET = {
    "n_looks": "looks at validation data (candidate settings, or checkpoints of a network), at most",
    "max_windows": "windows of a task, at most",
    "n_windows": "training windows that a small network sees, all passes together",
    "n_medium_windows": "training windows that a network of medium cost sees",
    "n_heavy_windows": "training windows that a network of more than two million untrained parameters sees",
    "n_unfrozen": "passes over the training windows in which pretrained weights train too, where they are fine-tuned",
    "max_channels": "channels of a window, drawn anew for every step, on which experts are fine-tuned",
}
_GATES = {
    "better": "1 better",
    "significant": "2 significant",
    "unseen": "3 unseen",
    "controlled": "4 controlled",
}
_MEANINGS = {
    r"(?<!\()⚠(?!\?)": f"{SEEN} The weights were pretrained on subjects that are scored here.",
    r"\(⚠\)": f"{SEEN_OTHERS} The weights were pretrained on other subjects of the task, who are left out here.",
    r"⚠\?": f"{MAYBE_SEEN} It is not known what the weights were pretrained on.",
}
_Groups = Sequence[tuple[str, Sequence[Sequence[str]]]]
_SUFFIXES = (".md", ".html")
_MOST_MISSING = 200  # rows of a table


def write_report(results: str | os.PathLike, out: str | os.PathLike) -> list[Path]:
    """Write the report of a results file, finished or not.

    Parameters
    ----------
    results : path-like
        The file that ``mne-specmoe benchmark run`` wrote.
    out : path-like
        Name of the report without suffix; ``.md`` and ``.html`` are left away. In a folder that is there, the report
        is called ``report``. Folders that are missing are made, and older reports of the name are replaced.

    Returns
    -------
    paths : list of Path
        ``<out>.md``, ``<out>.html``, which needs no other file, and the figures of the former in ``<out>_figures``.

    Raises
    ------
    ValueError
        If the file is no results file of a benchmark, or is damaged.
    OSError
        If the file cannot be read, or the report not be written.

    Examples
    --------
    >>> write_report("results.jsonl", "docs/benchmark/report")  # doctest: +SKIP
    """
    document = make_report(read_results(results))
    base = _base(out)
    base.parent.mkdir(parents=True, exist_ok=True)
    figures = base.with_name(f"{base.name}_figures")
    texts = {
        base.with_name(f"{base.name}.md"): to_markdown(document, figures.name),
        base.with_name(f"{base.name}.html"): to_html(document),
    }
    texts |= {figures / part.name: part.svg for part in document.parts if isinstance(part, Image)}
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


def make_report(results: Results) -> Document:
    """Put the report together.

    Parameters
    ----------
    results : Results
        As `read_results` reads them.

    Returns
    -------
    document : Document
    """
    tasks = [task_numbers(results, name) for name in results.tasks()]
    identities = [task_numbers(results, name) for name in results.tasks("identity")]
    book = _Book(results, tasks, titles_of(results.plan["estimators"]), titles_of(results.plan["tasks"]))
    parts = [
        *_what_was_run(book, [*tasks, *identities]),
        *_summary(book),
        *[part for numbers in tasks for part in _task(book, numbers)],
        *_all_gates(book),
        *_controls(book, identities),
        *_figures(book),
        *_failures(book),
        *_overlaps(book, [*tasks, *identities]),
        *_how_to_read(),
        *_how_to_reproduce(book),
    ]
    return Document("Does pretraining help? A benchmark of EEG foundation models", parts)


@dataclass(frozen=True, eq=False)
class _Book:
    """What all sections need."""

    results: Results
    tasks: Sequence[TaskNumbers]
    estimators: dict[str, str] = field(repr=False)  # name → title
    titles: dict[str, str] = field(repr=False)  # of tasks

    def label(self, numbers: TaskNumbers, name: str, comparison: Comparison | None = None) -> str:
        """Title of an estimator, with the mark of overlap between its weights and the scored subjects."""
        overlap = numbers.rows[name].overlap
        subjects = numbers.everyone.subjects if comparison is None else comparison.subjects
        is_seen = overlap.among(subjects or overlap.subjects)
        mark = {True: SEEN, None: MAYBE_SEEN, False: SEEN_OTHERS if overlap.subjects else ""}[is_seen]
        return f"{self.estimators[name]}{_GAP}{mark}" if mark else self.estimators[name]


def _base(out: str | os.PathLike) -> Path:
    """The path of the report, without suffix."""
    path = Path(out)
    if path.is_dir():
        return path / "report"
    return path.with_suffix("") if path.suffix in _SUFFIXES else path


def _what_was_run(book: _Book, numbers: Sequence[TaskNumbers]) -> list[Part]:
    """Section 1."""
    results, plan = book.results, book.results.plan
    state = progress(results, all_cells(plan))
    hours = sum(record["seconds"] for record in results.records.values()) / 3600
    identities = len(plan["tasks"]) - len(book.tasks)
    asks = "asks" if identities == 1 else "ask"
    also = f", and {identities} more that {asks} whose windows they are" if identities else ""
    parts: list[Part] = [Heading("What was run"), *_warnings(state)]
    parts.append(
        Paragraph(
            f"{n_of(len(book.tasks), 'task')}{also}; {n_of(len(plan['estimators']), 'estimator')}; "
            f"{n_of(plan['n_seeds'], 'seed')} for each estimator that depends on chance, one for the others. A cell is "
            f"one estimator in one fold of a task with one seed. {n_of(state.n_planned, 'cell')} planned: "
            f"{state.n_done:,} done, {state.n_failed:,} failed, {state.n_missing:,} not run. All cells together took "
            f"{_number(hours)} hours."
        )
    )
    columns = ("task", "data set", "subjects", "windows", "channels", "seconds", "classes", "folds", "cells")
    rows = [_task_facts(book, each) for each in numbers]
    note = "Cells: done + failed + not run. Seconds: length of a window."
    parts.append(Table("Tasks.", columns, [("", rows)], [note]))
    return [*parts, *_budget(book), *_versions(book)]


def _warnings(state: Progress) -> list[Part]:
    """What has to be known before a number is read."""
    if not state.n_planned:
        return [Paragraph("Nothing was planned: the results file names no cells.", "warning")]
    parts: list[Part] = []
    if state.n_missing:
        parts.append(
            Paragraph(
                f"This run is not finished: {state.n_missing:,} of {n_of(state.n_planned, 'cell')} were not run. What "
                "follows can change. Estimators that lack a cell are not compared with others.",
                "warning",
            )
        )
    if state.n_failed:
        parts.append(
            Paragraph(
                f"{n_of(state.n_failed, 'cell')} failed. Their estimators are not compared with others on these "
                "tasks; the errors are listed below.",
                "warning",
            )
        )
    return parts


def _task_facts(book: _Book, numbers: TaskNumbers) -> list[str]:
    """One line of the table of tasks."""
    facts, plan = numbers.facts, book.results.plan
    cells = [cell for name in plan["estimators"] for cell in cells_of(plan, numbers.name, name)]
    state = progress(book.results, cells)
    return [
        book.titles[numbers.name],
        _text(facts.get("dataset")),
        _number(facts.get("n_subjects")),
        _number(facts.get("n_windows")),
        _number(facts.get("n_channels")),
        _number(facts.get("window_seconds")),
        str(len(facts["classes"]) or facts.get("n_classes") or "regression"),
        str(len(facts["folds"])),
        f"{state.n_done} + {state.n_failed} + {state.n_missing}",
    ]


def _budget(book: _Book) -> list[Part]:
    """How much every estimator could try."""
    budget = book.results.plan["budget"]
    lines = [f"{_BUDGET.get(name, name)}: {_limit(value)}" for name, value in budget.items() if name != "name"]
    name = f" “{budget['name']}”" if "name" in budget else ""
    text = f"All estimators have the same budget{name} for choosing settings, and choose on validation data only:"
    return [Paragraph(text), Bullets(lines)]


def _versions(book: _Book) -> list[Part]:
    """The packages."""
    versions = versions_of(book.results)
    parts: list[Part] = [
        Paragraph(f"The results file was begun by mne-specmoe {book.results.header['package_version']}.")
    ]
    if versions:
        said = ", ".join(f"{package} {' and '.join(found)}" for package, found in versions.items())
        parts.append(Paragraph(f"Versions that cells were run with: {said}."))
    if several := [package for package, found in versions.items() if len(found) > 1]:
        parts.append(Paragraph(f"Cells were run with different versions of {', '.join(several)}.", "warning"))
    return parts


def _summary(book: _Book) -> list[Part]:
    """Section 2."""
    rows = [_summary_row(book, numbers, numbers.everyone) for numbers in book.tasks]
    rows_unseen = [_summary_row(book, numbers, numbers.unseen) for numbers in book.tasks if numbers.unseen]
    columns = ("task", "strongest classical method", "best pretrained weights", "difference [95 % CI]", "four gates")
    groups = [("All subjects", rows)] + [("Subjects that no weights saw", rows_unseen)] * bool(rows_unseen)
    caption = (
        "The strongest classical method and the best pretrained weights of each task, with their mean scores over "
        "subjects. Gates: ✓ passed, ✗ failed, – not evaluated."
    )
    parts: list[Part] = [Heading("Summary")]
    if rows:
        parts.append(_marked(caption, columns, groups))
    return [*parts, Paragraph(verdict_sentence(book.results, book.tasks), "result")]


def _summary_row(book: _Book, numbers: TaskNumbers, comparison: Comparison) -> list[str]:
    """One task."""
    title, best, strongest = book.titles[numbers.name], comparison.best_pretrained, comparison.strongest
    classical = "not known: one lacks scores" if numbers.of_role("classical") else "none was planned"
    if strongest is not None:
        classical = f"{book.label(numbers, strongest, comparison)}: {comparison.means[strongest]:.3f}"
    if best is None:
        planned = "none has all scores" if numbers.of_role("pretrained") else "none was planned"
        return [title, classical, planned, _NONE, _NONE]
    score = f"{book.label(numbers, best, comparison)}: {comparison.means[best]:.3f}"
    signs = [f"{i} {_sign(verdict)}" for i, verdict in enumerate(comparison.gates[best], start=1)]
    return [title, classical, score, _difference(comparison.differences[best]), " · ".join(signs)]


def verdict_sentence(results: Results, tasks: Sequence[TaskNumbers]) -> str:
    """Say on how many tasks pretraining helps.

    Parameters
    ----------
    results : Results
        The file.
    tasks : sequence of TaskNumbers
        Those of kind "task".

    Returns
    -------
    text : str
        One or more sentences.
    """
    asked = [numbers for numbers in tasks if numbers.of_role("pretrained")]
    if not asked:
        return "No pretrained weights were planned for any task, so whether pretraining helps was not asked."
    state = progress(results, all_cells(results.plan))
    if not state.n_done:
        return "No cell is done yet, so nothing can be said."
    so_far = f"So far, with {state.n_done:,} of {n_of(state.n_planned, 'cell')} done: " if state.n_missing else ""
    estimators = titles_of(results.plan["estimators"])
    titles = titles_of(results.plan["tasks"])
    helped = {numbers.name: _helped(numbers) for numbers in asked}
    found = {name: names for name, names in helped.items() if names}
    n, of_tasks = len(found), f"the {n_of(len(asked), 'task')}"
    if len(asked) == 1:
        where = f"On the one task, {titles[asked[0].name]},"
        text = f"{where} pretraining {'helps' if found else 'does not help'} by all four gates"
    else:
        where = f"On {n or 'none'} of {of_tasks}"
        text = f"{where} {'pretraining helps' if n else 'does pretraining help'} by all four gates"
    if found:
        who = [f"{titles[task]} ({_named(names, estimators)})" for task, names in found.items()]
        text += f": {', '.join(who)}"
    return f"{so_far}{text}.{_open_questions(asked, titles)}"


def _helped(numbers: TaskNumbers) -> dict[str, bool]:
    """Estimators that pass all gates, and whether only on the subjects that no weights saw."""
    unseen = numbers.unseen.helped if numbers.unseen else []
    return dict.fromkeys(unseen, True) | dict.fromkeys(numbers.everyone.helped, False)


def _named(helped: dict[str, bool], titles: dict[str, str]) -> str:
    """Titles of estimators that pass, with that reservation."""
    return "; ".join(f"{titles[name]}{' on unseen subjects only' * partly}" for name, partly in helped.items())


def _open_questions(asked: Sequence[TaskNumbers], titles: dict[str, str]) -> str:
    """On which tasks this says little, since for some weights no gate failed but not all were evaluated."""
    open_ = []
    for numbers in asked:
        gates = [*numbers.everyone.gates.values(), *(numbers.unseen.gates.values() if numbers.unseen else ())]
        if not _helped(numbers) and any(all(verdict.passed is not False for verdict in each) for each in gates):
            open_.append(titles[numbers.name])
    if not open_:
        return ""
    return (
        f" On {' and '.join(open_)} the question stays open for some weights: they fail no gate, but not all gates "
        "could be evaluated, which never counts as passed."
    )


def _task(book: _Book, numbers: TaskNumbers) -> list[Part]:
    """Section 3, for one task."""
    facts = numbers.facts
    lines = [
        f"Data set: {_text(facts.get('dataset'))}. {_ended(facts.get('citation'))} "
        f"Licence: {_ended(facts.get('licence'))}",
        f"Classes: {', '.join(map(str, facts['classes'])) or 'none, a regression'}. Metric: {_metric(numbers.metric)}"
        + (", of subjects, each of whom has one label." if facts["per_subject"] else ".")
        + ("" if facts["chance"] is None else f" Chance: {facts['chance']:.3f}."),
        *[f"Confound: {_ended(text)}" for text in _texts(facts.get("confounds"))],
        *[f"Known leak: {_ended(text)}" for text in _texts(facts.get("known_leaks"))],
        *_not_run(book, numbers),
    ]
    if not _texts(facts.get("known_leaks")):
        lines.append(f"Known leaks: {'none' if 'known_leaks' in facts else 'not stated'}.")
    parts: list[Part] = [Heading(f"Task: {book.titles[numbers.name]}"), Bullets(lines)]
    if not any(row.progress.n_done for row in numbers.rows.values()):
        return [*parts, Paragraph("No cell of this task is done.", "warning")]
    parts += [_score_table(book, numbers), _metric_table(book, numbers), _cost_table(book, numbers)]
    return [*parts, *_unseen_table(book, numbers)]


def _not_run(book: _Book, numbers: TaskNumbers) -> list[str]:
    """Which estimators are not run on a task, and why."""
    entries = book.results.plan["estimators"]
    reasons: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if numbers.name in entry["unsuited"]:
            reasons.setdefault(entry["unsuited"][numbers.name], []).append(book.estimators[name])
    return [f"Not run here: {', '.join(names)} ({why})." for why, names in reasons.items()]


def _score_table(book: _Book, numbers: TaskNumbers) -> Table:
    """The task's metric, and comparisons with the strongest classical method."""
    metric, unit = _metric(numbers.metric), "seeds" if numbers.n_lacking else "cells"
    everyone = numbers.everyone
    columns = (
        "estimator",
        f"{metric}, mean ± SD over {unit}",
        "over chance",
        "mean of subjects",
        "difference to the strongest classical [95 % CI]",
        "p (Holm)",
    )
    groups = _grouped(
        numbers,
        lambda row: [
            book.label(numbers, row.name),
            _main(row, numbers),
            _optional(over_chance(row, numbers.facts), "{:.3f}"),
            _optional(everyone.means[row.name], "{:.3f}"),
            *_compared(row, everyone),
        ],
    )
    return Table(
        f"Scores on {book.titles[numbers.name]}. {_of_what(numbers)} Differences are paired over "
        f"{n_of(len(numbers.subjects), 'subject')}.",
        columns,
        groups,
        _notes(book, numbers),
    )


def _of_what(numbers: TaskNumbers) -> str:
    """What one score is of: a test part, or all folds, and why."""
    what = "subjects" if numbers.facts["per_subject"] else "windows"
    if not numbers.n_lacking:
        return f"Each score is of all {what} of one test part; mean and SD are over seeds × folds."
    n_folds = len(numbers.facts["folds"])
    return (
        f"In {numbers.n_lacking} of {n_of(n_folds, 'test part')} a class does not occur, so that their scores mean "
        f"little one by one. Each score is therefore of the {what} of all test parts together (their confusion "
        "matrices are added up), and mean and SD are over seeds."
    )


def _main(row: Row, numbers: TaskNumbers) -> str:
    """The main score; of an estimator that lacks cells, marked as of some of them."""
    score, state = row.main(numbers.metric), row.progress
    if score is None:
        return _NONE
    return f"{score} ({state.n_done} of {state.n_planned} cells)" if state.problem else str(score)


def _compared(row: Row, comparison: Comparison) -> list[str]:
    """Difference and p-value, or why there is none."""
    if row.name == comparison.strongest:
        return ["strongest classical", _NONE]
    difference = comparison.differences[row.name]
    return [_difference(difference), f"{difference.p_corrected:.3g}" if isinstance(difference, Difference) else _NONE]


def _metric_table(book: _Book, numbers: TaskNumbers) -> Table:
    """All other metrics; where folds are pooled, also the metric of the folds one by one."""
    metrics = metrics_of(numbers.rows.values(), numbers.metric)
    pooled = [m for m in metrics if any(m in row.folds for row in numbers.rows.values())]
    shown = [(metric, True) for metric in pooled if metric != numbers.metric]
    shown += [(metric, False) for metric in metrics if (metric == numbers.metric) == (metric in pooled)]

    def cells(row: Row) -> list[str]:
        return [book.label(numbers, row.name), *(_metric_cell(row, *each) for each in shown)]

    names = [f"{_metric(m)}{', folds pooled' if p else ', per test part' if pooled else ''}" for m, p in shown]
    caption = f"Other metrics on {book.titles[numbers.name]}, mean ± SD over seeds × folds"
    caption += ", or over seeds where folds are pooled." if pooled else "."
    note = "In parentheses: how many scores, where the metric is not defined for all cells or cells are missing."
    return _marked(caption, ("estimator", *names), _grouped(numbers, cells), [note])


def _metric_cell(row: Row, metric: str, is_pooled: bool) -> str:
    """A metric of a row, with the number of scores where some are missing."""
    score = (row.folds if is_pooled else row.cells).get(metric)
    if score is None:
        return _NONE
    is_partial = row.progress.problem or (not is_pooled and score.n < row.progress.n_planned)
    return f"{score} ({score.n})" if is_partial else str(score)


def _cost_table(book: _Book, numbers: TaskNumbers) -> Table:
    """Parameters, time, memory."""

    def cells(row: Row) -> list[str]:
        sizes = row.n_parameters
        size = _NONE if sizes is None else " to ".join(f"{n:,}" for n in dict.fromkeys(sizes))
        memory = _optional(row.peak_memory_mib, "{:,.0f}")
        return [book.label(numbers, row.name), size, _optional(row.seconds, _number), memory]

    columns = ("estimator", "parameters", "seconds per cell", "peak memory, MiB")
    caption = f"Cost on {book.titles[numbers.name]}: mean time of a cell, and the largest memory of all cells."
    return _marked(caption, columns, _grouped(numbers, cells))


def _unseen_table(book: _Book, numbers: TaskNumbers) -> list[Part]:
    """The same comparisons on subjects that no weights saw, where weights saw some."""
    unseen = numbers.unseen
    if unseen is None:
        return []
    columns = ("estimator", "mean of subjects", "difference to the strongest classical [95 % CI]", "p (Holm)")
    groups = _grouped(
        numbers,
        lambda row: [
            book.label(numbers, row.name, unseen),
            _optional(unseen.means[row.name], "{:.3f}"),
            *_compared(row, unseen),
        ],
    )
    caption = (
        f"Scores on {book.titles[numbers.name]}, only of the {n_of(len(unseen.subjects), 'subject')} (of "
        f"{len(numbers.subjects)}) that no weights were pretrained on. Comparisons are made anew on them."
    )
    notes = []
    if numbers.left_out:
        names = ", ".join(book.estimators[name] for name in numbers.left_out)
        notes.append(f"{SEEN} The weights of {names} saw all subjects of the task, so none is unseen for them.")
    return [_marked(caption, columns, groups, notes)]


def _grouped(numbers: TaskNumbers, cells: Callable[[Row], list[str]]) -> list[tuple[str, list[list[str]]]]:
    """Rows of a table by role."""
    groups = [(_ROLES[role], [cells(row) for row in numbers.of_role(role)]) for role in ROLES]
    return [(title, rows) for title, rows in groups if rows]


def _notes(book: _Book, numbers: TaskNumbers) -> list[str]:
    """Below the table of scores: what the marks mean here."""
    notes = ["Rows without a difference say why; p-values are corrected for the estimators of the same group."]
    for row in numbers.rows.values():
        seen = row.overlap.subjects & numbers.subjects
        if seen:
            n = f"{len(seen)} of {n_of(len(numbers.subjects), 'test subject')}"
            notes.append(f"{SEEN} {row.title}: {n} were seen by the weights in pretraining.")
        elif row.overlap.is_unnamed:
            notes.append(f"{SEEN} {row.title}: the weights saw recordings of this task; it is not known of whom.")
        elif row.overlap.is_unknown:
            notes.append(f"{MAYBE_SEEN} {row.title}: it is not known what the weights were pretrained on.")
    return notes


def _marked(caption: str, columns: Sequence[str], groups: _Groups, notes: Sequence[str] = ()) -> Table:
    """A table that explains the marks that occur in it."""
    text = " ".join(cell for title, rows in groups for cell in (title, *(cell for row in rows for cell in row)))
    return Table(caption, columns, groups, [*notes, *_marks(text)])


def _marks(text: str) -> list[str]:
    """What the marks that occur in a text mean."""
    return [meaning for pattern, meaning in _MEANINGS.items() if re.search(pattern, text)]


def _all_gates(book: _Book) -> list[Part]:
    """Section 4."""
    parts: list[Part] = [
        Heading("The four gates of “pretraining helps”"),
        Paragraph(
            "Pretraining is said to help on a task if all four gates are passed: (1, better) the mean score over "
            "subjects is higher than that of the strongest classical method; (2, significant) the 95 % interval of the "
            "paired difference lies above zero, and the p-value, corrected for the number of pretrained estimators, is "
            "0.05 or less; (3, unseen) no scored subject was used for pretraining; (4, controlled) pretrained weights "
            "are better than random ones, and real labels better than permuted ones, by interval and p-value. A gate "
            "that cannot be evaluated is not passed. "
            "Nothing is corrected for the number of tasks."
        ),
    ]
    for numbers in book.tasks:
        parts += _task_gates(book, numbers, numbers.everyone, "all subjects")
        if numbers.unseen:
            parts += _task_gates(book, numbers, numbers.unseen, "subjects that no weights saw")
    return parts


def _task_gates(book: _Book, numbers: TaskNumbers, comparison: Comparison, whom: str) -> list[Part]:
    """The gates on one task: a group of four rows per estimator."""
    if not comparison.gates:
        return []
    groups = []
    for name, gates in comparison.gates.items():
        problem = numbers.rows[name].problem
        verdict = "all four passed" if gates.passed else "not all four passed"
        rows = [[_GATES[gate], *_verdict(getattr(gates, gate), gate, problem)] for gate in gates._fields]
        groups.append((f"{book.label(numbers, name, comparison)}: {verdict}", rows))
    caption = f"{book.titles[numbers.name]}, {whom} (n = {len(comparison.subjects)})."
    return [_marked(caption, ("gate", "verdict", "numbers"), groups)]


def _verdict(verdict: Verdict, gate: str, problem: str) -> list[str]:
    """Verdict and reason; of an estimator that may not be compared, what is the matter with it."""
    word = {True: "passed", False: "failed", None: "not evaluated"}[verdict.passed]
    reason = problem if problem and verdict.passed is None and gate != "unseen" else verdict.reason
    reason = "; ".join(dict.fromkeys(reason.split("; ")))  # of two controls, the same
    return [f"{_sign(verdict)} {word}" if verdict.passed is not None else word, reason]


def _controls(book: _Book, identities: Sequence[TaskNumbers]) -> list[Part]:
    """Section 5."""
    parts: list[Part] = [Heading("Controls")]
    for numbers in book.tasks:
        if rows := [row for row in numbers.rows.values() if row.role in ("control", "chance")]:
            parts.append(_control_table(book, numbers, rows))
    parts += _permuted_sentence(book)
    return [*parts, *_identity(book, identities)]


def _control_table(book: _Book, numbers: TaskNumbers, rows: Iterable[Row]) -> Table:
    """Guesses and controls of one task, against chance."""
    entries = book.results.plan["estimators"]
    cells = []
    for row in rows:
        entry = entries[row.name]
        kind = _CONTROLS.get(entry["control"], entry["control"] or _ROLES[row.role].lower())
        what = f"{kind} of {book.estimators[entry['control_of']]}" if entry["control_of"] in book.estimators else kind
        difference = against_chance(book.results, numbers, row.name)
        main = _main(row, numbers)
        cells.append([book.label(numbers, row.name), main, *_chance_cells(row, numbers, difference), what])
    metric = _metric(numbers.metric)
    columns = ("estimator", metric, "less chance [95 % CI]", "p", "verdict", "what it is")
    notes = ["Less chance: subjects are weighted so that each class counts the same."] * numbers.facts["per_subject"]
    caption = f"Controls on {book.titles[numbers.name]}, {n_of(len(numbers.subjects), 'subject')}."
    return _marked(caption, columns, [("", cells)], notes)


def _chance_cells(row: Row, numbers: TaskNumbers, difference: Difference | None) -> list[str]:
    """Difference to chance, and in words."""
    if difference is None:
        one = "one subject" if len(numbers.subjects) == 1 else "there is no chance level to compare with"
        return [f"not evaluated: {row.problem or one}", _NONE, _NONE]
    return [_difference(difference), f"{difference.p:.3g}", _at(difference)]


def _at(difference: Difference) -> str:
    """Where a score lies, as far as the subjects can tell."""
    if difference.above_zero:
        return "above chance"
    if difference.interval.high < 0 and difference.p <= 0.05:
        return "below chance"
    return "at chance"


def _permuted_sentence(book: _Book) -> list[Part]:
    """Whether estimators that are trained on permuted labels are at chance."""
    entries, found = book.results.plan["estimators"], {}
    for numbers in book.tasks:
        for name in numbers.rows:
            if entries[name]["control"] == "permuted":
                difference = against_chance(book.results, numbers, name)
                where = "not evaluated" if difference is None else _at(difference)
                found.setdefault(where, []).append(f"{book.label(numbers, name)} on {book.titles[numbers.name]}")
    if not found:
        return [Paragraph("No estimator was trained on permuted labels.")]
    counts = ", ".join(f"{where}: {len(names)}" for where, names in found.items())
    text = (
        f"Estimators that are trained on permuted labels should be at chance ({counts}). At chance means that interval "
        "and p-value (which is not corrected here) do not tell the score from that of a guess; with few subjects they "
        "seldom do."
    )
    parts: list[Part] = [Paragraph(text)]
    if above := found.get("above chance"):
        parts.append(
            Paragraph(
                f"Above chance in spite of permuted labels: {'; '.join(above)}. By accident this happens to one in "
                "forty; if it happens more often, something tells test labels.",
                "warning",
            )
        )
    return parts


def _identity(book: _Book, identities: Sequence[TaskNumbers]) -> list[Part]:
    """How well features tell people or data sets."""
    parts: list[Part] = [Heading("Whose windows are these?", 3)]
    if not identities:
        return [*parts, Paragraph("No task of this run asks whose windows they are.")]
    parts.append(
        Paragraph(
            "Here the same features are asked for the subject, or the data set, instead of the state of the brain. "
            "Features that identify people, or amplifiers, are no fault in themselves. But a classifier that knows a "
            "subject from training can use it instead of what it is asked for. Scores are therefore to be believed "
            "only where no subject is in both training and test, and where a class is not the same as a person, a day "
            "or a data set."
        )
    )
    for numbers in identities:
        groups = _grouped(
            numbers,
            lambda row, numbers=numbers: [
                book.label(numbers, row.name),
                _main(row, numbers),
                _optional(over_chance(row, numbers.facts), "{:.3f}"),
                _optional(mean_over_subjects(row), "{}"),
                row.problem or _NONE,
            ],
        )
        chance = "" if numbers.facts["chance"] is None else f" Chance is {numbers.facts['chance']:.3f}."
        columns = ("estimator", _metric(numbers.metric), "over chance", "mean of subjects [95 % CI]", "remark")
        caption = f"{book.titles[numbers.name]}.{chance} {_of_what(numbers)}"
        parts.append(_marked(caption, columns, groups))
    return parts


def _figures(book: _Book) -> list[Part]:
    """Section 6."""
    parts: list[Part] = [Heading("Figures"), *_rank_part(book)]
    for number, numbers in enumerate(book.tasks, start=1):
        parts += [*_subjects_part(book, numbers, number), *_compute_part(book, numbers, number)]
    return parts


def _rank_part(book: _Book) -> list[Part]:
    """The critical-difference plot."""
    found = rank(book.results, book.tasks)
    if isinstance(found, str):
        return [Paragraph(f"There is no critical-difference plot. {found}.")]
    roles = {name: book.results.plan["estimators"][name]["role"] for name in found.ranks}
    titles = {name: _worst_label(book, name) for name in found.ranks}
    ranks = ", ".join(f"{titles[name]} {mean:.2f}" for name, mean in found.ranks.items())
    caption = (
        f"Critical-difference plot: mean ranks over {n_of(found.n_tasks, 'task')} of the estimators that have all "
        "scores of all of them (controls with permuted labels or a flattened spectrum left out). A thick line joins "
        "estimators that cannot be told apart, by Nemenyi's test at the level of 0.05."
    )
    image = Image("ranks.svg", rank_figure(found, titles, roles), f"Mean ranks: {ranks}.", caption)
    return [Heading("Ranks over tasks", 3), image, *map(Paragraph, _marks(ranks))]


def _worst_label(book: _Book, name: str) -> str:
    """Title of an estimator, with the worst of its marks on any task."""
    labels = {book.label(numbers, name) for numbers in book.tasks}
    title = book.estimators[name]
    marked = [f"{title}{_GAP}{mark}" for mark in (SEEN, MAYBE_SEEN)]
    return next((label for label in marked if label in labels), title)


def _subjects_part(book: _Book, numbers: TaskNumbers, number: int) -> list[Part]:
    """Subject by subject, the best pretrained weights against the strongest classical method."""
    everyone = numbers.everyone
    title, best, strongest = book.titles[numbers.name], everyone.best_pretrained, everyone.strongest
    parts: list[Part] = [Heading(title, 3)]
    if best is None or strongest is None:
        why = "there are no pretrained weights and classical methods that have all scores"
        return [*parts, Paragraph(f"Subjects are not shown one by one: {why}.")]
    if len(numbers.subjects) == 1:
        return [*parts, Paragraph("Subjects are not shown one by one: there is one.")]
    first, second = numbers.rows[best], numbers.rows[strongest]
    labels = book.label(numbers, best), book.label(numbers, strongest)
    seen = numbers.subjects if first.overlap.is_unnamed else first.overlap.subjects
    svg = subjects_figure(first.means, second.means, labels, seen, _metric(numbers.metric))
    paired = first.means.keys() & second.means.keys()
    higher = sum(first.means[who] > second.means[who] for who in paired)
    lower = sum(first.means[who] < second.means[who] for who in paired)
    caption = (
        f"{title}: {labels[0]} against {labels[1]}, one dot per subject (of several subjects, one with their number). "
        f"Above the line the pretrained weights are better: {higher} of {n_of(len(paired), 'subject')}; below it: "
        f"{lower}."
    )
    caption += " Hollow dots are subjects that the weights were pretrained on." if seen & paired else ""
    return [*parts, Image(f"{number}-{_slug(numbers.name)}-subjects.svg", svg, caption, caption)]


def _compute_part(book: _Book, numbers: TaskNumbers, number: int) -> list[Part]:
    """Score against compute."""
    named = {numbers.everyone.best_pretrained, numbers.everyone.strongest}
    points = [
        Point(book.label(numbers, row.name), row.role, row.seconds, row.main(numbers.metric).mean, row.name in named)
        for row in numbers.rows.values()
        if not row.progress.problem and row.seconds and row.main(numbers.metric) is not None
    ]
    if not points:
        return [Paragraph("Score against compute is not shown: no estimator has all its cells.")]
    title = book.titles[numbers.name]
    caption = (
        f"{title}: score against the mean time of a cell, of {n_of(len(points), 'estimator')} that have all their "
        "cells. The best pretrained weights and the strongest classical method are named."
    )
    svg = compute_figure(points, numbers.facts["chance"], _metric(numbers.metric))
    return [Image(f"{number}-{_slug(numbers.name)}-compute.svg", svg, caption, caption)]


def _failures(book: _Book) -> list[Part]:
    """Section 7: cells without scores."""
    results = book.results
    failed = [record for record in results.records.values() if record["status"] == "failed"]
    parts: list[Part] = [Heading("Failed and missing cells")]
    if failed:
        rows = [
            [book.estimators[r["estimator"]], book.titles[r["task"]], str(r["fold"]), str(r["seed"]), r["error"]]
            for r in sorted(failed, key=lambda record: cell_of(record).key)
        ]
        columns = ("estimator", "task", "fold", "seed", "error")
        parts.append(Table(f"{n_of(len(failed), 'cell')} failed.", columns, [("", rows)]))
    else:
        parts.append(Paragraph("No cell failed."))
    return [*parts, *_missing(book)]


def _missing(book: _Book) -> list[Part]:
    """Which estimators lack cells that were not run."""
    results, rows = book.results, []
    for task in results.plan["tasks"]:
        for name in results.plan["estimators"]:
            state = progress(results, cells_of(results.plan, task, name))
            if state.n_missing:
                rows.append([book.estimators[name], book.titles[task], f"{state.n_missing} of {state.n_planned}"])
    if not rows:
        return [Paragraph("No cell is missing.")]
    more = [f"And {len(rows) - _MOST_MISSING:,} more."] * (len(rows) > _MOST_MISSING)
    table = Table("Cells that were not run.", ("estimator", "task", "not run"), [("", rows[:_MOST_MISSING])], more)
    return [table]


def _overlaps(book: _Book, numbers: Sequence[TaskNumbers]) -> list[Part]:
    """Section 7: what weights were pretrained on."""
    parts: list[Part] = [Heading("What the weights were pretrained on")]
    rows = []
    for name, entry in book.results.plan["estimators"].items():
        found = [(each, each.rows[name].overlap) for each in numbers if name in each.rows]
        lines = [(each, overlap) for each, overlap in found if overlap.among(overlap.subjects) is not False]
        if not lines and entry.get("weights_hash") is None:
            continue
        digest = (entry.get("weights_hash") or _NONE)[:12]
        rows += [[book.label(each, name), digest, book.titles[each.name], _who(book, each, name)] for each, _ in lines]
        if not lines:
            rows.append([book.estimators[name], digest, "all", "none of the subjects"])
    if not rows:
        return [*parts, Paragraph("No estimator of this run begins with weights.")]
    columns = ("estimator", "weights (SHA-256)", "task", "seen in pretraining")
    caption = "Overlap of pretraining and evaluation: estimators that begin with weights, and tasks with overlap."
    return [*parts, _marked(caption, columns, [("", rows)])]


def _who(book: _Book, numbers: TaskNumbers, name: str) -> str:
    """Whom of a task the weights saw."""
    overlap = numbers.rows[name].overlap
    said = [UNKNOWN] * (overlap.is_unknown and not overlap.subjects)
    if overlap.is_unnamed:
        said = ["some, not known who"]
    if overlap.subjects:
        of = f" of {numbers.facts['n_subjects']:,}" if "n_subjects" in numbers.facts else ""
        said.append(f"{len(overlap.subjects)}{of}: {', '.join(sorted(overlap.subjects))}")
    return "; ".join(said)


def _how_to_read() -> list[Part]:
    """Section 7: what the numbers are, and are not."""
    return [
        Heading("How to read this"),
        Bullets(
            [
                "Subjects, not windows, are what comparisons are made over: windows of one person are not independent. "
                "A difference is the mean over subjects of the score with one estimator less that with another, each "
                "averaged over seeds first.",
                "Intervals are bootstraps over subjects (somewhat too short where subjects are few), and p-values "
                "come from flipping the signs of the subjects' differences. With five subjects or fewer no p-value can "
                "be 0.05 or less.",
                "Mean ± SD is of scores of whole test parts over seeds × folds, not an error of the mean. The mean of "
                "subjects can differ from it, since there each subject counts the same.",
                "Over chance: 0 is what a guess scores, 1 is perfect.",
                "p-values are Holm-corrected for the number of estimators of the same group on the task, not for the "
                "number of tasks. Estimators without scores count in that number.",
                "If a classical method lacks scores, nothing on that task is compared, since it might have been the "
                "strongest.",
                "The test part is scored once, after all choices were made on validation data.",
                "Read the confounds of a task before its scores.",
            ]
        ),
    ]


def _how_to_reproduce(book: _Book) -> list[Part]:
    """Section 7: commands and hashes."""
    header, plan = book.results.header, book.results.plan
    parts: list[Part] = [Heading("How to reproduce this")]
    if command := plan.get("command"):
        parts += [Paragraph("The results were made by"), Code(_text(command))]
    parts += [
        Paragraph("This report was made, from the results file alone, by"),
        Code(f"mne-specmoe benchmark report {book.results.path.name} --out report"),
    ]
    hashes = [f"Plan: {header['plan_hash']}"]
    hashes += [f"Split of {book.titles.get(task, task)}: {digest}" for task, digest in header["split_hashes"].items()]
    return [
        *parts,
        Paragraph("Hashes of the plan, and of the splits into training, validation and test:"),
        Bullets(hashes),
    ]


def _difference(difference: Difference | str) -> str:
    """A difference with its interval, or why there is none."""
    if isinstance(difference, str):
        return f"not evaluated: {difference}"
    mean, low, high = difference.interval
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _sign(verdict: Verdict) -> str:
    """A verdict as one character."""
    return {True: "✓", False: "✗", None: _NONE}[verdict.passed]


def _metric(name: str) -> str:
    """A metric in the field's words."""
    return _METRICS.get(name, name)


def _optional(value: object, form: str | Callable[[object], str]) -> str:
    """A value in a format, or by a function; a dash where there is none."""
    if value is None:
        return _NONE
    return form.format(value) if isinstance(form, str) else form(value)


def _number(value: float | None) -> str:
    """A number to three digits, or in full where it is an integer."""
    if value is None:
        return _NONE
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _limit(value: object) -> str:
    """A part of the budget."""
    if value is None:
        return "all"
    return _number(value) if isinstance(value, int | float) else str(value)


def _text(value: object) -> str:
    """A text, or several."""
    return " ".join(_texts(value)) or "not stated"


def _texts(value: object) -> list[str]:
    """Texts, of which there may be one or none."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _ended(value: object) -> str:
    """Text that ends with a full stop."""
    text = _text(value)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _slug(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)
