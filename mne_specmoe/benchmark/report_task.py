"""The section of a report about one task: scores, comparisons, costs."""

from mne_specmoe.benchmark.document import Bullets, Heading, Paragraph, Part, Table
from mne_specmoe.benchmark.report_rows import Row, metrics_of, n_of
from mne_specmoe.benchmark.report_tables import Comparison, TaskNumbers, over_chance
from mne_specmoe.benchmark.report_words import (
    CENTRED,
    DASH,
    MAYBE_SEEN,
    SEEN,
    Book,
    by_roles,
    difference_text,
    ended,
    marked_table,
    metric_name,
    number_text,
    optional_text,
    text_or_dash,
    texts_of,
)
from mne_specmoe.benchmark.statistics import Difference


def task_section(book: Book, numbers: TaskNumbers) -> list[Part]:
    """Section 3, for one task."""
    facts = numbers.facts
    lines = [
        f"Data set: {text_or_dash(facts.get('dataset'))}. {ended(facts.get('citation'))} "
        f"Licence: {ended(facts.get('licence'))}",
        f"Classes: {', '.join(map(str, facts['classes'])) or 'none, a regression'}. "
        f"Metric: {metric_name(numbers.metric)}"
        + (", of subjects, each of whom has one label." if facts["per_subject"] else ".")
        + ("" if facts["chance"] is None else f" Chance: {facts['chance']:.3f}."),
        *[f"Confound: {ended(text)}" for text in texts_of(facts.get("confounds"))],
        *[f"Known leak: {ended(text)}" for text in texts_of(facts.get("known_leaks"))],
        *_not_run(book, numbers),
    ]
    if not texts_of(facts.get("known_leaks")):
        lines.append(f"Known leaks: {'none' if 'known_leaks' in facts else 'not stated'}.")
    parts: list[Part] = [Heading(f"Task: {book.titles[numbers.name]}"), Bullets(lines)]
    if not any(row.progress.n_done for row in numbers.rows.values()):
        return [*parts, Paragraph("No cell of this task is done.", "warning")]
    parts += [_score_table(book, numbers), _metric_table(book, numbers), _cost_table(book, numbers)]
    return [*parts, *_unseen_table(book, numbers)]


def _not_run(book: Book, numbers: TaskNumbers) -> list[str]:
    """Which estimators are not run on a task, and why."""
    entries = book.results.plan["estimators"]
    reasons: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if numbers.name in entry["unsuited"]:
            reasons.setdefault(entry["unsuited"][numbers.name], []).append(book.estimators[name])
    return [f"Not run here: {', '.join(names)} ({why})." for why, names in reasons.items()]


def _score_table(book: Book, numbers: TaskNumbers) -> Table:
    """The task's metric, and comparisons with the strongest classical method."""
    metric, unit = metric_name(numbers.metric), "seeds" if numbers.n_lacking else "cells"
    everyone = numbers.everyone
    columns = (
        "estimator",
        f"{metric}, mean ± SD over {unit}",
        "over chance",
        "mean of subjects",
        "difference to the strongest classical [95 % CI]",
        "p (Holm)",
    )
    groups = by_roles(
        numbers,
        lambda row: [
            book.label(numbers, row.name),
            main_score(row, numbers),
            optional_text(over_chance(row, numbers.facts), "{:.3f}"),
            optional_text(everyone.means[row.name], "{:.3f}"),
            *_compared(row, everyone),
        ],
    )
    return Table(
        f"Scores on {book.titles[numbers.name]}. {of_what(numbers)} Differences are paired over "
        f"{n_of(len(numbers.subjects), 'subject')}.",
        columns,
        groups,
        _notes(book, numbers),
    )


def of_what(numbers: TaskNumbers) -> str:
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


def main_score(row: Row, numbers: TaskNumbers) -> str:
    """The main score; of an estimator that lacks cells, marked as of some of them."""
    score, state = row.main(numbers.metric), row.progress
    if score is None:
        return DASH
    return f"{score} ({state.n_done} of {state.n_planned} cells)" if state.problem else str(score)


def _compared(row: Row, comparison: Comparison) -> list[str]:
    """Difference and p-value, or why there is none."""
    if row.name == comparison.strongest_of(row.kind):
        return [f"strongest classical{' that centres' * row.kind.is_centred}", DASH]
    difference = comparison.differences[row.name]
    return [
        difference_text(difference),
        f"{difference.p_corrected:.3g}" if isinstance(difference, Difference) else DASH,
    ]


def _metric_table(book: Book, numbers: TaskNumbers) -> Table:
    """All other metrics; where folds are pooled, also the metric of the folds one by one."""
    metrics = metrics_of(numbers.rows.values(), numbers.metric)
    pooled = [m for m in metrics if any(m in row.folds for row in numbers.rows.values())]
    shown = [(metric, True) for metric in pooled if metric != numbers.metric]
    shown += [(metric, False) for metric in metrics if (metric == numbers.metric) == (metric in pooled)]

    def cells(row: Row) -> list[str]:
        return [book.label(numbers, row.name), *(_metric_cell(row, *each) for each in shown)]

    names = [f"{metric_name(m)}{', folds pooled' if p else ', per test part' if pooled else ''}" for m, p in shown]
    caption = f"Other metrics on {book.titles[numbers.name]}, mean ± SD over seeds × folds"
    caption += ", or over seeds where folds are pooled." if pooled else "."
    note = "In parentheses: how many scores, where the metric is not defined for all cells or cells are missing."
    return marked_table(caption, ("estimator", *names), by_roles(numbers, cells), [note])


def _metric_cell(row: Row, metric: str, is_pooled: bool) -> str:
    """A metric of a row, with the number of scores where some are missing."""
    score = (row.folds if is_pooled else row.cells).get(metric)
    if score is None:
        return DASH
    is_partial = row.progress.problem or (not is_pooled and score.n < row.progress.n_planned)
    return f"{score} ({score.n})" if is_partial else str(score)


def _cost_table(book: Book, numbers: TaskNumbers) -> Table:
    """Parameters, time, memory."""

    def cells(row: Row) -> list[str]:
        sizes = row.n_parameters
        size = DASH if sizes is None else " to ".join(f"{n:,}" for n in dict.fromkeys(sizes))
        memory = optional_text(row.peak_memory_mib, "{:,.0f}")
        return [book.label(numbers, row.name), size, optional_text(row.seconds, number_text), memory]

    columns = ("estimator", "parameters", "seconds per cell", "peak memory, MiB")
    caption = f"Cost on {book.titles[numbers.name]}: mean time of a cell, and the largest memory of all cells."
    return marked_table(caption, columns, by_roles(numbers, cells))


def _unseen_table(book: Book, numbers: TaskNumbers) -> list[Part]:
    """The same comparisons on subjects that no weights saw, where weights saw some."""
    unseen = numbers.unseen
    if unseen is None:
        return []
    columns = ("estimator", "mean of subjects", "difference to the strongest classical [95 % CI]", "p (Holm)")
    groups = by_roles(
        numbers,
        lambda row: [
            book.label(numbers, row.name, unseen),
            optional_text(unseen.means[row.name], "{:.3f}"),
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
    return [marked_table(caption, columns, groups, notes)]


def _notes(book: Book, numbers: TaskNumbers) -> list[str]:
    """Below the table of scores: what the marks mean here."""
    notes = ["Rows without a difference say why; p-values are corrected for the estimators of the same group."]
    if any(row.kind.is_centred for row in numbers.rows.values()):
        notes.append(
            f"{CENTRED} Transductive: every subject is centred by all windows that are asked about, without labels, "
            "which flatters where each person has as many windows of each class. Compared with the strongest classical "
            "method that does so too, and corrected apart from the others."
        )
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
