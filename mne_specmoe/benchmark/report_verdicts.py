"""The sections of a report about gates and controls."""

from collections.abc import Iterable, Sequence

from mne_specmoe.benchmark.document import Heading, Paragraph, Part, Table
from mne_specmoe.benchmark.report_rows import Row, n_of
from mne_specmoe.benchmark.report_tables import Comparison, TaskNumbers, against_chance, mean_over_subjects, over_chance
from mne_specmoe.benchmark.report_task import main_score, of_what
from mne_specmoe.benchmark.report_words import (
    CONTROL_NAMES,
    DASH,
    GATE_NAMES,
    ROLE_NAMES,
    Book,
    by_roles,
    difference_text,
    marked_table,
    metric_name,
    optional_text,
    verdict_sign,
)
from mne_specmoe.benchmark.statistics import Difference, Verdict


def gates_section(book: Book) -> list[Part]:
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


def _task_gates(book: Book, numbers: TaskNumbers, comparison: Comparison, whom: str) -> list[Part]:
    """The gates on one task: a group of four rows per estimator."""
    if not comparison.gates:
        return []
    groups = []
    for name, gates in comparison.gates.items():
        problem = numbers.rows[name].problem
        verdict = "all four passed" if gates.passed else "not all four passed"
        rows = [[GATE_NAMES[gate], *_verdict(getattr(gates, gate), gate, problem)] for gate in gates._fields]
        groups.append((f"{book.label(numbers, name, comparison)}: {verdict}", rows))
    caption = f"{book.titles[numbers.name]}, {whom} (n = {len(comparison.subjects)})."
    return [marked_table(caption, ("gate", "verdict", "numbers"), groups)]


def _verdict(verdict: Verdict, gate: str, problem: str) -> list[str]:
    """Verdict and reason; of an estimator that may not be compared, what is the matter with it."""
    word = {True: "passed", False: "failed", None: "not evaluated"}[verdict.passed]
    reason = problem if problem and verdict.passed is None and gate != "unseen" else verdict.reason
    reason = "; ".join(dict.fromkeys(reason.split("; ")))  # of two controls, the same
    return [f"{verdict_sign(verdict)} {word}" if verdict.passed is not None else word, reason]


def controls_section(book: Book, identities: Sequence[TaskNumbers]) -> list[Part]:
    """Section 5."""
    parts: list[Part] = [Heading("Controls")]
    for numbers in book.tasks:
        if rows := [row for row in numbers.rows.values() if row.role in ("control", "chance")]:
            parts.append(_control_table(book, numbers, rows))
    parts += _permuted_sentence(book)
    return [*parts, *_identity(book, identities)]


def _control_table(book: Book, numbers: TaskNumbers, rows: Iterable[Row]) -> Table:
    """Guesses and controls of one task, against chance."""
    entries = book.results.plan["estimators"]
    cells = []
    for row in rows:
        entry = entries[row.name]
        kind = CONTROL_NAMES.get(entry["control"], entry["control"] or ROLE_NAMES[row.role].lower())
        what = f"{kind} of {book.estimators[entry['control_of']]}" if entry["control_of"] in book.estimators else kind
        difference = against_chance(book.results, numbers, row.name)
        main = main_score(row, numbers)
        cells.append([book.label(numbers, row.name), main, *_chance_cells(row, numbers, difference), what])
    metric = metric_name(numbers.metric)
    columns = ("estimator", metric, "less chance [95 % CI]", "p", "verdict", "what it is")
    notes = ["Less chance: subjects are weighted so that each class counts the same."] * numbers.facts["per_subject"]
    caption = f"Controls on {book.titles[numbers.name]}, {n_of(len(numbers.subjects), 'subject')}."
    return marked_table(caption, columns, [("", cells)], notes)


def _chance_cells(row: Row, numbers: TaskNumbers, difference: Difference | None) -> list[str]:
    """Difference to chance, and in words."""
    if difference is None:
        one = "one subject" if len(numbers.subjects) == 1 else "there is no chance level to compare with"
        return [f"not evaluated: {row.problem or one}", DASH, DASH]
    return [difference_text(difference), f"{difference.p:.3g}", _at(difference)]


def _at(difference: Difference) -> str:
    """Where a score lies, as far as the subjects can tell."""
    if difference.above_zero:
        return "above chance"
    if difference.interval.high < 0 and difference.p <= 0.05:
        return "below chance"
    return "at chance"


def _permuted_sentence(book: Book) -> list[Part]:
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


def _identity(book: Book, identities: Sequence[TaskNumbers]) -> list[Part]:
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
        groups = by_roles(
            numbers,
            lambda row, numbers=numbers: [
                book.label(numbers, row.name),
                main_score(row, numbers),
                optional_text(over_chance(row, numbers.facts), "{:.3f}"),
                optional_text(mean_over_subjects(row), "{}"),
                row.problem or DASH,
            ],
        )
        chance = "" if numbers.facts["chance"] is None else f" Chance is {numbers.facts['chance']:.3f}."
        columns = ("estimator", metric_name(numbers.metric), "over chance", "mean of subjects [95 % CI]", "remark")
        caption = f"{book.titles[numbers.name]}.{chance} {of_what(numbers)}"
        parts.append(marked_table(caption, columns, groups))
    return parts
