"""Intervals hold the truth as often as they say, and pairing makes them shorter."""

import numpy as np
import pytest
from scipy import stats

from mne_specmoe.benchmark.intervals import Interval, bootstrap


def test_about_95_percent_of_intervals_hold_the_mean_of_normal_numbers():
    rng = np.random.default_rng(0)
    samples = rng.normal(2.0, 3.0, size=(1000, 100))
    intervals = [bootstrap(sample, n_draws=400, random_state=i) for i, sample in enumerate(samples)]
    inside = np.mean([interval.low <= 2.0 <= interval.high for interval in intervals])
    assert 0.92 < inside < 0.97
    below, above = (np.mean([getattr(i, end) * sign > 2 * sign for i in intervals]) for end, sign in
                    (("low", 1), ("high", -1)))  # fmt: skip
    assert below > 0.01  # misses lie on both sides
    assert above > 0.01


def test_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).exponential(size=30)
    ours = bootstrap(values, n_draws=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=3).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours[1:] == pytest.approx(tuple(theirs), abs=0.02)


def test_paired_differences_show_what_two_intervals_hide():
    rng = np.random.default_rng(2)
    subjects = rng.normal(0.0, 1.0, size=20)
    first = subjects + rng.normal(0.0, 0.05, size=20)
    second = subjects + 0.1 + rng.normal(0.0, 0.05, size=20)
    assert bootstrap(first).high > bootstrap(second).low
    assert bootstrap(second - first).low > 0
    assert bootstrap(rng.permutation(second) - first).low < 0  # it was the pairing


def test_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=10)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, random_state=1)


def test_is_shown_with_three_digits():
    assert str(Interval(0.12345, -1.0, 2.0)) == "0.123 [-1.000, 2.000]"


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]], 1.0])
def test_refuses_what_has_no_interval(values):
    with pytest.raises(ValueError, match="two or more finite numbers"):
        bootstrap(values)


@pytest.mark.parametrize(("n_draws", "error"), [(99, ValueError), (1e3, TypeError)])
def test_refuses_a_number_of_draws_that_is_none(n_draws, error):
    with pytest.raises(error, match="n_draws"):
        bootstrap([1.0, 2.0], n_draws=n_draws)
