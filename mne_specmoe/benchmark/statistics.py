"""Comparisons of estimators over subjects, corrected for their number, and the four gates of "pretraining helps"."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, studentized_range

from mne_specmoe._validation import check_number, listed
from mne_specmoe.benchmark.intervals import Interval, bootstrap

ALPHA = 0.05

_MOST_EXACT = 16  # subjects: 65,536 ways to flip their signs
_CHUNK = 1000  # draws
_ROUNDING = 1e-12  # relative: sums of the same numbers in another order count as equal

Scores = Mapping[str, float]


class Difference(NamedTuple):
    """By how much one estimator is better than another.

    Attributes
    ----------
    interval : Interval
        Mean over subjects and its 95 % interval.
    p : float
        Of the sign-flip test, two-sided.
    n_subjects : int
        How many subjects have both scores.
    p_corrected : float | None
        `p` corrected for several estimators, where it was.
    """

    interval: Interval
    p: float
    n_subjects: int
    p_corrected: float | None = None

    @property
    def above_zero(self) -> bool:
        """Whether the interval lies above zero and the p-value (the corrected one, if any) is 0.05 or less.

        The bootstrap's interval is too short where subjects are few, which the sign-flip test makes up for: with five
        subjects or fewer its p-value is never that low.
        """
        p = self.p if self.p_corrected is None else self.p_corrected
        return self.interval.low > 0 and p <= ALPHA

    def __str__(self) -> str:
        corrected = "" if self.p_corrected is None else f", corrected {self.p_corrected:.3g}"
        return f"{self.interval}, p = {self.p:.3g}{corrected}, {self.n_subjects} subjects"


class Rows(NamedTuple):
    """Scores of one estimator on one task, the larger the better; subject → score, None where it was not run.

    Attributes
    ----------
    pretrained : mapping of str to float | None
        With pretrained weights.
    random : mapping of str to float | None
        With weights as initialised, all else alike.
    permuted : mapping of str to float | None
        With pretrained weights, trained on permuted labels.
    overlap : bool | None
        Whether the weights were pretrained on recordings of the task; None where nobody knows.
    """

    pretrained: Scores | None
    random: Scores | None = None
    permuted: Scores | None = None
    overlap: bool | None = None


class Verdict(NamedTuple):
    """One gate.

    Attributes
    ----------
    passed : bool | None
        None: it could not be evaluated, which never counts as passed.
    reason : str
        Why, in words.
    differences : dict of str to Difference
        What it was compared with → the numbers.
    """

    passed: bool | None
    reason: str
    differences: dict[str, Difference]

    def __str__(self) -> str:
        return f"{'not evaluated' if self.passed is None else 'passed' if self.passed else 'failed'}: {self.reason}"


class Gates(NamedTuple):
    """The four gates of "pretraining helps", for one estimator on one task.

    Attributes
    ----------
    better : Verdict
        1. The mean score is higher than that of the strongest classical method.
    significant : Verdict
        2. The interval of that difference lies above zero, and so says the p-value, corrected for all estimators.
    unseen : Verdict
        3. No recording of the task was used for pretraining.
    controlled : Verdict
        4. It is better with pretrained than with random weights, and with real than with permuted labels.
    """

    better: Verdict
    significant: Verdict
    unseen: Verdict
    controlled: Verdict

    @property
    def passed(self) -> bool:
        """Whether all four are passed."""
        return all(verdict.passed is True for verdict in self)


class Ranking(NamedTuple):
    """How estimators rank over several tasks.

    Attributes
    ----------
    ranks : dict of str to float
        Estimator → mean rank, the best first; 1 is the best.
    critical_difference : float
        Mean ranks that differ by less are not told apart (Nemenyi, level 0.05).
    n_tasks : int
        Over how many tasks.
    """

    ranks: dict[str, float]
    critical_difference: float
    n_tasks: int


def paired_difference(first: Scores, second: Scores, *, n_draws: int = 10_000, random_state: int = 0) -> Difference:
    """Compare two estimators on the same subjects.

    Parameters
    ----------
    first, second : mapping of str to float
        Subject → score. The difference is `first` less `second`.
    n_draws : int
        Number of resamples of the interval, and of draws of the test where subjects are many.
    random_state : int
        Seed of both.

    Returns
    -------
    difference : Difference

    Raises
    ------
    ValueError
        If the subjects are not the same, fewer than two, or if a score is not finite.

    Examples
    --------
    >>> better = {f"subject {i}": 0.75 for i in range(10)}
    >>> worse = {f"subject {i}": 0.5 for i in range(10)}
    >>> print(paired_difference(better, worse))
    0.250 [0.250, 0.250], p = 0.00195, 10 subjects
    """
    if problem := _unpaired(first, second):
        raise ValueError(f"The scores cannot be paired: {problem}.")
    differences = np.array([first[subject] - second[subject] for subject in sorted(first)], dtype=float)
    interval = bootstrap(differences, n_draws=n_draws, random_state=random_state)
    return Difference(interval, sign_flip(differences, n_draws=n_draws, random_state=random_state), len(differences))


def sign_flip(differences: Sequence[float], *, n_draws: int = 10_000, random_state: int = 0) -> float:
    """Test whether paired differences are symmetric about zero: how many flips of signs give a mean as far from it.

    Up to 16 units all 2^n flips are tried, so that 2 / 2^n is the smallest p-value. With more units they are drawn,
    and the p-value is (1 + number as extreme) / (1 + number of draws), so that the test stays valid.

    Parameters
    ----------
    differences : array, shape (n_units,)
        One number per subject.
    n_draws : int
        Number of draws, 100 or more.
    random_state : int
        Seed of the draws.

    Returns
    -------
    p : float
        Two-sided.

    Raises
    ------
    ValueError, TypeError
        If there is no number, if one is not finite, or if `n_draws` is out of range.

    References
    ----------
    Phipson, B. and Smyth, G. K. (2010), "Permutation p-values should never be zero", doi:10.2202/1544-6115.1585.

    Examples
    --------
    >>> sign_flip([1.0, 2.0, 3.0])
    0.25
    """
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or not len(differences) or not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite numbers, one per subject, got shape {differences.shape}.")
    check_number("n_draws", n_draws, minimum=100, integer=True)
    bound = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    if len(differences) <= _MOST_EXACT:
        return float((np.abs(_all_flips(differences)) >= bound).mean())
    rng = np.random.default_rng(random_state)
    n_extreme = 0
    for start in range(0, n_draws, _CHUNK):
        signs = rng.choice([-1.0, 1.0], size=(min(_CHUNK, n_draws - start), len(differences)))
        n_extreme += int((np.abs(signs @ differences) >= bound).sum())
    return (1 + n_extreme) / (1 + n_draws)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number, so that a false claim among all has at most the probability of one.

    The smallest is multiplied by their number, the next by one less, and so on; none becomes smaller than the one
    before, or more than 1.

    Parameters
    ----------
    p_values : array, shape (n_tests,)
        In any order.

    Returns
    -------
    corrected : ndarray, shape (n_tests,)
        In the same order.

    Raises
    ------
    ValueError
        If one is not in [0, 1].

    References
    ----------
    Holm, S. (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p_values must be numbers in [0, 1], got {p_values}.")
    order = p_values.argsort(kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def chance_normalised(score: float | np.ndarray, chance: float | np.ndarray) -> float | np.ndarray:
    """Put scores of tasks with other chance levels on one scale: 0 is chance, 1 is perfect.

    ``(score - chance) / (1 - chance)``; below chance it is negative.

    Parameters
    ----------
    score : float | array
        Of a metric that is 1 at best.
    chance : float | array
        What guessing scores, in [0, 1).

    Returns
    -------
    normalised : float | array

    Raises
    ------
    ValueError
        If a score is above 1, or if a chance level is not in [0, 1).

    Examples
    --------
    >>> chance_normalised(0.75, 0.5)
    0.5
    """
    if not (np.less_equal(0, chance) & np.less(chance, 1)).all():
        raise ValueError(f"chance must be in [0, 1), got {chance!r}.")
    if not np.less_equal(score, 1).all():
        raise ValueError(f"score must be of a metric that is 1 at best, got {score!r}.")
    return (score - chance) / (1 - chance)


def ranking(scores: Mapping[str, Scores]) -> Ranking:
    """Rank estimators on each task, and take the mean over tasks.

    Parameters
    ----------
    scores : mapping of str to mapping of str to float
        Estimator → task → score, the larger the better; equal scores share their ranks.

    Returns
    -------
    ranking : Ranking

    Raises
    ------
    ValueError
        If there are fewer than two estimators, if they do not have the same tasks, or if a score is not finite.

    References
    ----------
    Demšar, J. (2006), "Statistical comparisons of classifiers over multiple data sets", Journal of Machine Learning
    Research 7, section 3.2.2.
    """
    names = list(scores)
    tasks = sorted({task for part in scores.values() for task in part})
    for name in names:
        if missing := sorted(set(tasks) - set(scores[name])):
            raise ValueError(f"{name!r} has no score of {listed(missing)}; rank those that have all, or leave it out.")
    table = np.array([[scores[name][task] for name in names] for task in tasks], dtype=float)
    if not np.isfinite(table).all():
        raise ValueError("The scores must be finite numbers.")
    distance = critical_difference(len(names), len(tasks))
    means = rankdata(-table, axis=1).mean(0)
    order = means.argsort(kind="stable")
    return Ranking({names[i]: float(means[i]) for i in order}, distance, len(tasks))


def critical_difference(n_estimators: int, n_tasks: int, *, alpha: float = ALPHA) -> float:
    """How far mean ranks must lie apart to be told apart, whatever pair of estimators one looks at (Nemenyi).

    ``q sqrt(k (k + 1) / (6 N))`` for k estimators and N tasks, where q is the studentized range's quantile at
    infinitely many degrees of freedom over the square root of 2.

    Parameters
    ----------
    n_estimators : int
        Two or more.
    n_tasks : int
        One or more.
    alpha : float
        Probability that any pair is told apart wrongly.

    Returns
    -------
    distance : float
        In ranks.
    """
    check_number("n_estimators", n_estimators, minimum=2, integer=True)
    check_number("n_tasks", n_tasks, minimum=1, integer=True)
    check_number("alpha", alpha, minimum=1e-6, maximum=0.5)
    q = studentized_range.ppf(1 - alpha, n_estimators, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_estimators * (n_estimators + 1) / (6 * n_tasks)))


def four_gates(
    estimators: Mapping[str, Rows],
    classical: Mapping[str, Scores | None],
    *,
    n_draws: int = 10_000,
    random_state: int = 0,
) -> dict[str, Gates]:
    """Ask of all estimators on one task whether pretraining helped.

    A gate for which a score is missing, also of one subject, is not evaluated, and so not passed. An estimator
    without scores still counts in the correction for the number of estimators. Nothing is corrected for the number
    of tasks. The second gate can only be passed if 2^n is 40 or more times the number of estimators, where n is that
    of the subjects: 6 for one estimator, 9 for ten.

    Parameters
    ----------
    estimators : mapping of str to Rows
        All that were planned, also those that crashed.
    classical : mapping of str to mapping of str to float
        Method → subject → score, all that were planned; None for one that crashed. The strongest is the one with the
        highest mean. One that lacks scores might have been the strongest, so that the first two gates are not
        evaluated.
    n_draws : int
        As in `paired_difference`.
    random_state : int
        Seed, the same for all comparisons.

    Returns
    -------
    gates : dict of str to Gates
        Estimator → gates.

    Raises
    ------
    ValueError
        If a score is not finite.
    """
    _check_finite(estimators, classical)
    draws = {"n_draws": n_draws, "random_state": random_state}
    found = {name: _compared(rows.pretrained, classical, draws) for name, rows in estimators.items()}
    # What is missing counts as p = 1: leaving an estimator out must not help the others.
    raw = [each.p if isinstance(each, Difference) else 1.0 for _, each in found.values()]
    gates = {}
    for (name, (rival, difference)), corrected in zip(found.items(), holm(raw), strict=True):
        if isinstance(difference, Difference):
            difference = difference._replace(p_corrected=float(corrected))
        rows = estimators[name]
        gates[name] = Gates(
            _better(rival, difference), _significant(rival, difference), _unseen(rows), _controlled(rows, draws)
        )
    return gates


def _compared(
    scores: Scores | None, classical: Mapping[str, Scores | None], draws: Mapping[str, int]
) -> tuple[str, Difference | str]:
    """The strongest classical method and the difference to it, or why there is none."""
    if not classical:
        return "", "there is no classical method"
    for name, rival in classical.items():
        if problem := _unpaired(scores, rival, "the estimator", name):
            return name, problem
    strongest = max(classical, key=lambda name: np.mean(list(classical[name].values())))
    return strongest, paired_difference(scores, classical[strongest], **draws)


def _better(rival: str, difference: Difference | str) -> Verdict:
    """Gate 1."""
    if isinstance(difference, str):
        return Verdict(None, difference, {})
    mean = difference.interval.mean
    return Verdict(mean > 0, f"{mean:+.3f} to {rival}, the strongest classical method", {rival: difference})


def _significant(rival: str, difference: Difference | str) -> Verdict:
    """Gate 2."""
    if isinstance(difference, str):
        return Verdict(None, difference, {})
    return Verdict(difference.above_zero, f"{difference} (to {rival})", {rival: difference})


def _unseen(rows: Rows) -> Verdict:
    """Gate 3."""
    if rows.overlap is None:
        return Verdict(None, "it is not known what the weights were pretrained on", {})
    if rows.overlap:
        return Verdict(False, "the weights were pretrained on recordings of the task", {})
    return Verdict(True, "the weights were pretrained on other recordings", {})


def _controlled(rows: Rows, draws: Mapping[str, int]) -> Verdict:
    """Gate 4; where one control is missing, the other's difference is still stated."""
    differences, problems = {}, []
    for name, control in (("random weights", rows.random), ("permuted labels", rows.permuted)):
        if problem := _unpaired(rows.pretrained, control, "the estimator", name):
            problems.append(problem)
        else:
            differences[name] = paired_difference(rows.pretrained, control, **draws)
    numbers = "; ".join(f"{difference} (to {name})" for name, difference in differences.items())
    if problems:
        return Verdict(None, "; ".join(problems + [numbers] * bool(numbers)), differences)
    return Verdict(all(difference.above_zero for difference in differences.values()), numbers, differences)


def _unpaired(first: Scores | None, second: Scores | None, one: str = "the first", other: str = "the second") -> str:
    """Why two sets of scores cannot be compared subject by subject; empty if they can."""
    for name, scores in ((one, first), (other, second)):
        if not scores:
            return f"there are no scores of {name}"
    for name, lacking in ((one, set(second) - set(first)), (other, set(first) - set(second))):
        if lacking:
            return f"{name} lacks scores of {listed(sorted(lacking), at_most=5)}"
    return "" if len(first) > 1 else "there is one subject, and two or more are needed"


def _all_flips(differences: np.ndarray) -> np.ndarray:
    """The sums for all 2^n choices of signs."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _check_finite(estimators: Mapping[str, Rows], classical: Mapping[str, Scores | None]) -> None:
    """Raise unless all scores are finite."""
    named = dict(classical)
    for name, rows in estimators.items():
        named |= {f"{name}, {kind}": getattr(rows, kind) for kind in ("pretrained", "random", "permuted")}
    for name, scores in named.items():
        if wrong := [subject for subject, score in (scores or {}).items() if not np.isfinite(score)]:
            raise ValueError(
                f"The scores of {name} are not finite for {listed(wrong)}; where a score is not defined, leave it out."
            )
