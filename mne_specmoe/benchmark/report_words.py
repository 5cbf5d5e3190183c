"""Words, numbers and marks of a report, and what all its sections need."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mne_specmoe.benchmark.document import Table
from mne_specmoe.benchmark.entries import ROLES
from mne_specmoe.benchmark.report_rows import Results, Row
from mne_specmoe.benchmark.report_tables import Comparison, TaskNumbers
from mne_specmoe.benchmark.statistics import Difference, Verdict

SEEN, MAYBE_SEEN, SEEN_OTHERS = "⚠", "⚠?", "(⚠)"
"""Behind the title of an estimator whose weights were pretrained on scored subjects, on nobody knows whom, and, where
only unseen subjects are scored, on other subjects of the task."""
CENTRED = "†"
"""Behind the title of an estimator that centres subjects by the windows that it is asked about."""
DASH = "–"
GAP = "\N{NO-BREAK SPACE}"
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
ROLE_NAMES = {
    "pretrained": "Pretrained weights",
    "peer": "Networks of others",
    "classical": "Classical methods",
    "control": "Controls",
    "chance": "Guesses",
    "combined": "Classical features, alone and with others added",
}
CONTROL_NAMES = {"random": "random weights", "permuted": "permuted labels", "flattened": "flattened spectrum"}
GATE_NAMES = {
    "better": "1 better",
    "significant": "2 significant",
    "unseen": "3 unseen",
    "controlled": "4 controlled",
}
_MEANINGS = {
    r"(?<!\()⚠(?!\?)": f"{SEEN} The weights were pretrained on subjects that are scored here.",
    r"\(⚠\)": f"{SEEN_OTHERS} The weights were pretrained on other subjects of the task, who are left out here.",
    CENTRED: f"{CENTRED} Transductive: every subject is centred by all windows that are asked about, without labels.",
    r"⚠\?": f"{MAYBE_SEEN} It is not known what the weights were pretrained on.",
}
_Groups = Sequence[tuple[str, Sequence[Sequence[str]]]]


@dataclass(frozen=True, eq=False)
class Book:
    """What all sections need."""

    results: Results
    tasks: Sequence[TaskNumbers]
    estimators: dict[str, str] = field(repr=False)  # name → title
    titles: dict[str, str] = field(repr=False)  # of tasks

    def label(self, numbers: TaskNumbers, name: str, comparison: Comparison | None = None) -> str:
        """Title of an estimator, with the marks of centring and of overlap between its weights and scored subjects."""
        overlap = numbers.rows[name].overlap
        subjects = numbers.everyone.subjects if comparison is None else comparison.subjects
        is_seen = overlap.among(subjects or overlap.subjects)
        mark = {True: SEEN, None: MAYBE_SEEN, False: SEEN_OTHERS if overlap.subjects else ""}[is_seen]
        marks = [CENTRED] * numbers.rows[name].kind.is_centred + [mark] * bool(mark)
        return GAP.join([self.estimators[name], *marks])


def by_roles(numbers: TaskNumbers, cells: Callable[[Row], list[str]]) -> list[tuple[str, list[list[str]]]]:
    """Rows of a table by role."""
    groups = [(ROLE_NAMES[role], [cells(row) for row in numbers.of_role(role)]) for role in ROLES]
    return [(title, rows) for title, rows in groups if rows]


def marked_table(caption: str, columns: Sequence[str], groups: _Groups, notes: Sequence[str] = ()) -> Table:
    """A table that explains the marks that occur in it."""
    text = " ".join(cell for title, rows in groups for cell in (title, *(cell for row in rows for cell in row)))
    return Table(caption, columns, groups, [*notes, *marks_of(text)])


def marks_of(text: str) -> list[str]:
    """What the marks that occur in a text mean."""
    return [meaning for pattern, meaning in _MEANINGS.items() if re.search(pattern, text)]


def difference_text(difference: Difference | str) -> str:
    """A difference with its interval, or why there is none."""
    if isinstance(difference, str):
        return f"not evaluated: {difference}"
    mean, low, high = difference.interval
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def verdict_sign(verdict: Verdict) -> str:
    """A verdict as one character."""
    return {True: "✓", False: "✗", None: DASH}[verdict.passed]


def metric_name(name: str) -> str:
    """A metric in the field's words."""
    return _METRICS.get(name, name)


def optional_text(value: object, form: str | Callable[[object], str]) -> str:
    """A value in a format, or by a function; a dash where there is none."""
    if value is None:
        return DASH
    return form.format(value) if isinstance(form, str) else form(value)


def number_text(value: float | None) -> str:
    """A number to three digits, or in full where it is an integer."""
    if value is None:
        return DASH
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def limit_text(value: object) -> str:
    """A part of the budget."""
    if value is None:
        return "all"
    return number_text(value) if isinstance(value, int | float) else str(value)


def text_or_dash(value: object) -> str:
    """A text, or several."""
    return " ".join(texts_of(value)) or "not stated"


def texts_of(value: object) -> list[str]:
    """Texts, of which there may be one or none."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(each) for each in value]


def ended(value: object) -> str:
    """Text that ends with a full stop."""
    text = text_or_dash(value)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def slug(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)
