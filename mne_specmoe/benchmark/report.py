"""The report of a benchmark, in Markdown and as one HTML page, from its results file alone."""

import os
from collections.abc import Sequence
from pathlib import Path

from mne_specmoe._files import write_text
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
from mne_specmoe.benchmark.leakage import UNKNOWN
from mne_specmoe.benchmark.plan import all_cells, cells_of
from mne_specmoe.benchmark.records import cell_of
from mne_specmoe.benchmark.report_figures import Point, compute_figure, rank_figure, subjects_figure
from mne_specmoe.benchmark.report_protocols import added_section, left_out_section
from mne_specmoe.benchmark.report_rows import (
    Kind,
    Progress,
    Results,
    n_of,
    progress,
    read_results,
    titles_of,
    versions_of,
)
from mne_specmoe.benchmark.report_tables import Comparison, TaskNumbers, rank, task_numbers
from mne_specmoe.benchmark.report_task import task_section
from mne_specmoe.benchmark.report_verdicts import controls_section, gates_section
from mne_specmoe.benchmark.report_words import (
    DASH,
    GAP,
    MAYBE_SEEN,
    SEEN,
    Book,
    difference_text,
    limit_text,
    marked_table,
    marks_of,
    metric_name,
    number_text,
    slug,
    text_or_dash,
    verdict_sign,
)
from mne_specmoe.benchmark.stated import Statement, weights_of

_BUDGET = {
    "n_looks": "looks at validation data (candidate settings, or checkpoints of a network), at most",
    "max_windows": "windows of a task, at most",
    "n_windows": "training windows that a small network sees, all passes together",
    "n_medium_windows": "training windows that a network of medium cost sees",
    "n_heavy_windows": "training windows that a network of more than two million untrained parameters sees",
    "n_unfrozen": "passes over the training windows in which pretrained weights train too, where they are fine-tuned",
    "max_channels": "channels of a window, drawn anew for every step, on which experts are fine-tuned",
}
_HOW_TO_STATE = (
    "Unknown: the file of the weights does not say whose recordings they were pretrained on, so the third gate stays "
    "open. Who knows can state it, by mne-specmoe benchmark report with --pretrained-on NAME=none or "
    "NAME=TASK:SUBJECT,SUBJECT, where NAME is that of the weights, such as mine of mine-ridge."
)
_SUFFIXES = (".md", ".html")
_PLAIN = Kind()
_OTHER_KINDS = {
    "All subjects, weights that saw nothing of the data set": Kind(leaves_out=True),
    "All subjects, each centred without labels (transductive)": Kind(is_centred=True),
}
_MOST_MISSING = 200  # rows of a table


def write_report(
    results: str | os.PathLike, out: str | os.PathLike, *, pretrained_on: Statement | None = None
) -> list[Path]:
    """Write the report of a results file, finished or not.

    Parameters
    ----------
    results : path-like
        The file that ``mne-specmoe benchmark run`` wrote.
    out : path-like
        Name of the report without suffix; ``.md`` and ``.html`` are left away. In a folder that is there, the report
        is called ``report``. Folders that are missing are made, and older reports of the name are replaced.
    pretrained_on : mapping of str to mapping | None
        Whom weights were pretrained on, where their files do not say: name of weights → task → subjects, or
        ``("all",)``. ``{"mine": {}}`` states that those named "mine" saw nobody. Nothing checks it, and the report says
        so.

    Returns
    -------
    paths : list of Path
        ``<out>.md``, ``<out>.html``, which needs no other file, and the figures of the former in ``<out>_figures``.

    Raises
    ------
    ValueError
        If the file is no results file of a benchmark, or is damaged; or if `pretrained_on` names weights, tasks or
        subjects that it does not have.
    OSError
        If the file cannot be read, or the report not be written.

    Examples
    --------
    >>> write_report("results.jsonl", "docs/benchmark/report")  # doctest: +SKIP
    """
    document = make_report(read_results(results, pretrained_on))
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
        write_text(path, text, newline="\n")
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
    book = Book(results, tasks, titles_of(results.plan["estimators"]), titles_of(results.plan["tasks"]))
    parts = [
        *_what_was_run(book, [*tasks, *identities]),
        *_summary(book),
        *[part for numbers in tasks for part in task_section(book, numbers)],
        *left_out_section(book),
        *added_section(book),
        *gates_section(book),
        *controls_section(book, identities),
        *_figures(book),
        *_failures(book),
        *_overlaps(book, [*tasks, *identities]),
        *_how_to_read(),
        *_how_to_reproduce(book),
    ]
    return Document("Does pretraining help? A benchmark of EEG foundation models", parts)


def _base(out: str | os.PathLike) -> Path:
    """The path of the report, without suffix."""
    path = Path(out)
    if path.is_dir():
        return path / "report"
    return path.with_suffix("") if path.suffix in _SUFFIXES else path


def _what_was_run(book: Book, numbers: Sequence[TaskNumbers]) -> list[Part]:
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
            f"{state.n_done:,} done, {state.n_failed:,} failed, {state.n_missing:,} not run. Those that ended would "
            f"take {number_text(hours)} hours if each ran its frozen networks by itself; a run needs less, since cells "
            "share what frozen networks say."
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


def _task_facts(book: Book, numbers: TaskNumbers) -> list[str]:
    """One line of the table of tasks."""
    facts, plan = numbers.facts, book.results.plan
    cells = [cell for name in plan["estimators"] for cell in cells_of(plan, numbers.name, name)]
    state = progress(book.results, cells)
    return [
        book.titles[numbers.name],
        text_or_dash(facts.get("dataset")),
        number_text(facts.get("n_subjects")),
        number_text(facts.get("n_windows")),
        number_text(facts.get("n_channels")),
        number_text(facts.get("window_seconds")),
        str(len(facts["classes"]) or facts.get("n_classes") or "regression"),
        str(len(facts["folds"])),
        f"{state.n_done} + {state.n_failed} + {state.n_missing}",
    ]


def _budget(book: Book) -> list[Part]:
    """How much every estimator could try."""
    budget = book.results.plan["budget"]
    lines = [f"{_BUDGET.get(name, name)}: {limit_text(value)}" for name, value in budget.items() if name != "name"]
    name = f" “{budget['name']}”" if "name" in budget else ""
    text = f"All estimators have the same budget{name} for choosing settings, and choose on validation data only:"
    return [Paragraph(text), Bullets(lines)]


def _versions(book: Book) -> list[Part]:
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


def _summary(book: Book) -> list[Part]:
    """Section 2."""
    rows = [_summary_row(book, numbers, numbers.everyone) for numbers in book.tasks]
    rows_unseen = [_summary_row(book, numbers, numbers.unseen) for numbers in book.tasks if numbers.unseen]
    columns = ("task", "strongest classical method", "best pretrained weights", "difference [95 % CI]", "four gates")
    groups = [("All subjects", rows)] + [("Subjects that no weights saw", rows_unseen)] * bool(rows_unseen)
    for title, kind in _OTHER_KINDS.items():
        found = [numbers for numbers in book.tasks if any(row.kind == kind for row in numbers.rows.values())]
        groups += [(title, [_summary_row(book, each, each.everyone, kind) for each in found])] * bool(found)
    caption = (
        "The strongest classical method and the best pretrained weights of each task, with their mean scores over "
        "subjects. Gates: ✓ passed, ✗ failed, – not evaluated."
    )
    parts: list[Part] = [Heading("Summary")]
    if rows:
        parts.append(marked_table(caption, columns, groups))
    return [*parts, Paragraph(verdict_sentence(book.results, book.tasks), "result")]


def _summary_row(book: Book, numbers: TaskNumbers, comparison: Comparison, kind: Kind = _PLAIN) -> list[str]:
    """One task, by the estimators of one kind."""
    title, best, strongest = book.titles[numbers.name], comparison.best_of(kind), comparison.strongest_of(kind)
    of_kind = [row for row in numbers.of_role("classical") if row.kind.is_centred == kind.is_centred]
    classical = "not known: one lacks scores" if of_kind else "none was planned"
    if strongest is not None:
        classical = f"{book.label(numbers, strongest, comparison)}: {comparison.means[strongest]:.3f}"
    if best is None:
        asked = any(row.kind == kind for row in numbers.of_role("pretrained"))
        planned = "none has all scores" if asked else "none was planned"
        return [title, classical, planned, DASH, DASH]
    score = f"{book.label(numbers, best, comparison)}: {comparison.means[best]:.3f}"
    signs = [f"{i} {verdict_sign(verdict)}" for i, verdict in enumerate(comparison.gates[best], start=1)]
    return [title, classical, score, difference_text(comparison.differences[best]), " · ".join(signs)]


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
    return f"{so_far}{text}.{_open_questions(asked, titles)}{_stated(results)}"


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


def _stated(results: Results) -> str:
    """Of which weights the third gate rests on a statement."""
    names = list(dict.fromkeys(weights_of(name) for name in results.stated))
    if not names:
        return ""
    return f" Whom the weights {', '.join(names)} were pretrained on was stated for this report, and not checked."


def _figures(book: Book) -> list[Part]:
    """Section 6."""
    parts: list[Part] = [Heading("Figures"), *_rank_part(book)]
    for number, numbers in enumerate(book.tasks, start=1):
        parts += [*_subjects_part(book, numbers, number), *_compute_part(book, numbers, number)]
    return parts


def _rank_part(book: Book) -> list[Part]:
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
    return [Heading("Ranks over tasks", 3), image, *map(Paragraph, marks_of(ranks))]


def _worst_label(book: Book, name: str) -> str:
    """Title of an estimator, with the worst of its marks on any task."""
    labels = {book.label(numbers, name) for numbers in book.tasks}
    title = book.estimators[name]
    marked = [f"{title}{GAP}{mark}" for mark in (SEEN, MAYBE_SEEN)]
    return next((label for label in marked if label in labels), title)


def _subjects_part(book: Book, numbers: TaskNumbers, number: int) -> list[Part]:
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
    svg = subjects_figure(first.means, second.means, labels, seen, metric_name(numbers.metric))
    paired = first.means.keys() & second.means.keys()
    higher = sum(first.means[who] > second.means[who] for who in paired)
    lower = sum(first.means[who] < second.means[who] for who in paired)
    caption = (
        f"{title}: {labels[0]} against {labels[1]}, one dot per subject (of several subjects, one with their number). "
        f"Above the line the pretrained weights are better: {higher} of {n_of(len(paired), 'subject')}; below it: "
        f"{lower}."
    )
    caption += " Hollow dots are subjects that the weights were pretrained on." if seen & paired else ""
    return [*parts, Image(f"{number}-{slug(numbers.name)}-subjects.svg", svg, caption, caption)]


def _compute_part(book: Book, numbers: TaskNumbers, number: int) -> list[Part]:
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
    svg = compute_figure(points, numbers.facts["chance"], metric_name(numbers.metric))
    return [Image(f"{number}-{slug(numbers.name)}-compute.svg", svg, caption, caption)]


def _failures(book: Book) -> list[Part]:
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


def _missing(book: Book) -> list[Part]:
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


def _overlaps(book: Book, numbers: Sequence[TaskNumbers]) -> list[Part]:
    """Section 7: what weights were pretrained on."""
    parts: list[Part] = [Heading("What the weights were pretrained on")]
    rows = []
    for name, entry in book.results.plan["estimators"].items():
        found = [(each, each.rows[name].overlap) for each in numbers if name in each.rows]
        lines = [(each, overlap) for each, overlap in found if overlap.among(overlap.subjects) is not False]
        if not lines and entry.get("weights_hash") is None:
            continue
        digest = (entry.get("weights_hash") or DASH)[:12]
        stated = " (stated, not checked)" if name in book.results.stated else ""
        rows += [
            [book.label(each, name), digest, book.titles[each.name], _who(book, each, name) + stated]
            for each, _ in lines
        ]
        if not lines:
            rows.append([book.estimators[name], digest, "all", f"none of the subjects{stated}"])
    if not rows:
        return [*parts, Paragraph("No estimator of this run begins with weights.")]
    columns = ("estimator", "weights (SHA-256)", "task", "seen in pretraining")
    caption = "Overlap of pretraining and evaluation: estimators that begin with weights, and tasks with overlap."
    parts.append(marked_table(caption, columns, [("", rows)]))
    if any(row[-1] == UNKNOWN for row in rows):
        parts.append(Paragraph(_HOW_TO_STATE))
    return parts


def _who(book: Book, numbers: TaskNumbers, name: str) -> str:
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


def _how_to_reproduce(book: Book) -> list[Part]:
    """Section 7: commands and hashes."""
    header, plan = book.results.header, book.results.plan
    parts: list[Part] = [Heading("How to reproduce this")]
    if command := plan.get("command"):
        parts += [Paragraph("The results were made by"), Code(text_or_dash(command))]
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
