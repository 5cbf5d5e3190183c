"""Differences between estimators, in the form in which pages quote them."""

from collections.abc import Mapping

from mne_specmoe.benchmark.report_tables import Comparison, TaskNumbers
from mne_specmoe.benchmark.report_words import GAP, difference_text
from mne_specmoe.benchmark.statistics import paired_difference

_FEWEST = 6  # people for an interval: with fewer, no difference can be told from chance


def difference(numbers: TaskNumbers, comparison: Comparison, name: str, other: str) -> str:
    """By how much one estimator is better than another."""
    pair = numbers.rows[name].means, numbers.rows[other].means
    return difference_of(*({who: part[who] for who in part if who in comparison.subjects} for part in pair))


def difference_of(first: Mapping[str, float], second: Mapping[str, float]) -> str:
    """By how much some scores of people are better than others, with the interval where there are people enough."""
    if len(first) < _FEWEST:
        return _unbroken(f"{sum(first[who] - second[who] for who in first) / len(first):+.3f}")
    return _unbroken(difference_text(paired_difference(first, second)))


def _unbroken(text: str) -> str:
    """Minus signs and gaps at which no browser breaks a number or an interval."""
    return text.replace("-", "\N{MINUS SIGN}").replace(", ", f",{GAP}")
