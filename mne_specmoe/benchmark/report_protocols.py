"""The sections of a report about data sets that were left out, and about what features add to classical ones."""

from collections.abc import Callable, Mapping

from mne_specmoe.benchmark.document import Heading, Paragraph, Part, Table
from mne_specmoe.benchmark.plan import controls_of
from mne_specmoe.benchmark.report_rows import Row, n_of
from mne_specmoe.benchmark.report_tables import TaskNumbers
from mne_specmoe.benchmark.report_words import DASH, Book, difference_text, marked_table, optional_text
from mne_specmoe.benchmark.statistics import Difference, paired_difference


def left_out_section(book: Book) -> list[Part]:
    """Whether pretraining helps where weights saw nothing of the data set; nothing where none were run so."""
    text = (
        "Here every task is scored with weights that were pretrained without any recording of its data set, so that "
        "all people count and gate 3 holds by construction. What the weights saw was read from their headers, as the "
        "benchmark or the file that names them states it, and checked before the run. The control is the same network "
        "with random weights; p-values of differences to it are not corrected, those of gates are."
    )
    return _section("Leave a data set out", text, _left_out_table, book)


def added_section(book: Book) -> list[Part]:
    """Whether features of networks add to classical ones; nothing where that was not asked."""
    text = (
        "The same logistic regression on classical features (tangent space of six bands, and band power), alone and "
        "with the features of a frozen network added: same folds, same strengths of regularisation to choose from, and "
        "validation may choose that the network's features count for nothing. Differences are paired over subjects. "
        "Only what trained weights add and random ones do not is due to pretraining. p-values are not corrected."
    )
    return _section("What networks add to classical features", text, _added_table, book)


def _section(title: str, text: str, table_of: Callable[[Book, TaskNumbers], Table | None], book: Book) -> list[Part]:
    """A table for each task that has one, under a heading; nothing where none has."""
    tables = [table for numbers in book.tasks if (table := table_of(book, numbers)) is not None]
    return [Heading(title), Paragraph(text), *tables] if tables else []


def _left_out_table(book: Book, numbers: TaskNumbers) -> Table | None:
    """One task; None if no such weights were run on it."""
    entries = book.results.plan["estimators"]
    asked = [row for row in numbers.of_role("pretrained") if row.kind.leaves_out]
    if not asked:
        return None
    cells = []
    for row in asked:
        digest = entries[row.name]["left_out"].get(numbers.facts["dataset"]) or DASH
        random = _control(book, numbers, row.name)
        difference = _paired(row, random)
        cells.append(
            [
                book.label(numbers, row.name),
                digest[:12],
                optional_text(numbers.everyone.means[row.name], "{:.3f}"),
                optional_text(random and numbers.everyone.means[random.name], "{:.3f}"),
                difference_text(difference),
                _p(difference),
                difference_text(numbers.everyone.differences[row.name]),
            ]
        )
    columns = (
        "estimator",
        "weights (SHA-256)",
        "mean of subjects",
        "random weights",
        "trained less random [95 % CI]",
        "p",
        "difference to the strongest classical [95 % CI]",
    )
    caption = f"{book.titles[numbers.name]}, {n_of(len(numbers.subjects), 'subject')}."
    return marked_table(caption, columns, [("", cells)])


def _added_table(book: Book, numbers: TaskNumbers) -> Table | None:
    """One task; None if nothing was added on it."""
    entries = book.results.plan["estimators"]
    asked = [row for row in numbers.of_role("combined") if entries[row.name].get("adds_to")]
    if not asked:
        return None
    cells = []
    for row in asked:
        base = numbers.rows.get(entries[row.name]["adds_to"])
        random = _control(book, numbers, row.name)
        trained, drawn = _paired(row, base), _paired(random, base)
        cells.append(
            [
                book.label(numbers, row.name),
                optional_text(base and numbers.everyone.means[base.name], "{:.3f}"),
                optional_text(numbers.everyone.means[row.name], "{:.3f}"),
                difference_text(trained),
                _p(trained),
                difference_text(drawn),
                difference_text(_paired(row, random)),
            ]
        )
    columns = (
        "estimator",
        "classical alone",
        "with the network",
        "adds to classical [95 % CI]",
        "p",
        "random weights add [95 % CI]",
        "trained less random [95 % CI]",
    )
    caption = f"{book.titles[numbers.name]}, {n_of(len(numbers.subjects), 'subject')}."
    return marked_table(caption, columns, [("", cells)])


def _control(book: Book, numbers: TaskNumbers, name: str) -> Row | None:
    """The row of an estimator's control with random weights."""
    rows: Mapping[str, Row] = numbers.rows
    found = [rows[other] for other in controls_of(book.results.plan, name, "random") if other in rows]
    return found[0] if found else None


def _paired(first: Row | None, second: Row | None) -> Difference | str:
    """The difference of two rows over subjects, or why there is none."""
    for row in (first, second):
        if row is None:
            return "it was not run"
        if row.means is None:
            return row.problem
    if set(first.means) != set(second.means):
        return "not the same subjects have scores"
    return paired_difference(first.means, second.means) if len(first.means) > 1 else "one subject"


def _p(difference: Difference | str) -> str:
    """The p-value, if there is a difference."""
    return DASH if isinstance(difference, str) else f"{difference.p:.3g}"
