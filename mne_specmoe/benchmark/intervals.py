"""Confidence intervals over the units that were drawn: subjects or recordings, never windows."""

from typing import NamedTuple

import numpy as np

from mne_specmoe._validation import check_number


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval.

    Attributes
    ----------
    mean, low, high : float
        ``str`` shows them as ``mean [low, high]``.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: np.ndarray, *, n_draws: int = 10_000, random_state: int = 0) -> Interval:
    """Bootstrap the mean over units: the 2.5th and 97.5th percentile of the means of resamples.

    With few units the interval is somewhat too short: from 16 normal numbers, about 92 % of intervals hold the true
    mean, from 8 about 89 %.

    Parameters
    ----------
    values : array, shape (n_units,)
        One number per subject or recording; for a paired comparison, the difference.
    n_draws : int
        Number of resamples, 100 or more.
    random_state : int
        Seed of the resamples.

    Returns
    -------
    interval : Interval

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two numbers, if one is not finite, or if `n_draws` is out of range.

    References
    ----------
    Efron, B. (1979), "Bootstrap methods: another look at the jackknife", doi:10.1214/aos/1176344552.

    Examples
    --------
    >>> bootstrap([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be two or more finite numbers, one per subject or recording, got shape {values.shape} with "
            f"{np.size(values) - np.isfinite(values).sum()} of them not finite."
        )
    check_number("n_draws", n_draws, minimum=100, integer=True)
    rng = np.random.default_rng(random_state)
    means = values[rng.integers(len(values), size=(n_draws, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
