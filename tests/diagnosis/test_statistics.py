"""Dimensions, shares of variance and distances of views: known answers, and what cannot be measured."""

import numpy as np
import pytest

from mne_specmoe.diagnosis.statistics import FACTORS, participation_ratio, variance_shares, view_distance


def test_independent_features_of_one_variance_fill_as_many_dimensions():
    features = np.random.default_rng(0).standard_normal((20_000, 7))
    assert participation_ratio(features) == pytest.approx(7, rel=0.01)


def test_copies_of_one_feature_fill_one_dimension():
    one = np.random.default_rng(0).standard_normal((50, 1))
    assert participation_ratio(one * np.arange(1, 90) + 5.0) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(9, 40), (40, 9)])
def test_dimensions_are_those_of_the_covariance(shape):
    features = np.random.default_rng(0).standard_normal(shape) * np.arange(1, shape[1] + 1)
    values = np.linalg.eigvalsh(np.cov(features.T))
    assert participation_ratio(features) == pytest.approx(values.sum() ** 2 / np.square(values).sum())


def test_a_small_deviation_on_a_large_mean_is_not_lost_in_rounding():
    features = np.float32(1000) + np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    expected = participation_ratio(features.astype(float) - 1000)
    assert participation_ratio(features) == pytest.approx(expected)


def test_features_that_do_not_vary_have_no_dimensions():
    assert np.isnan(participation_ratio(np.full((10, 3), 2.5)))


SIZES = {"person": 40, "segment": 10, "mask": 30, "amplitude": 3}
PLANTED = {"mask": 4.0, "person": 3.0, "segment": 2.0, "amplitude": 1.0, "rest": 2.0}


def planted_grid(variances: dict[str, float], n_features: int = 400, **sizes: int) -> np.ndarray:
    """A grid whose effects have given variances."""
    rng = np.random.default_rng(0)
    n = {**SIZES, **sizes}
    persons, segments, masks, gains = (n[name] for name in ("person", "segment", "mask", "amplitude"))
    shapes = {
        "person": (persons, 1, 1, 1),
        "segment": (persons, segments, 1, 1),
        "mask": (1, 1, masks, 1),
        "amplitude": (1, 1, 1, gains),
        "rest": (persons, segments, masks, gains),
    }
    grid = sum(v**0.5 * rng.standard_normal((*shapes[name], n_features)) for name, v in variances.items())
    return np.broadcast_to(grid, (persons, segments, masks, gains, n_features))


def test_planted_components_are_found():
    shares = variance_shares(planted_grid(PLANTED, 100))
    assert tuple(shares) == FACTORS
    assert sum(shares.values()) == pytest.approx(1)
    for name, variance in PLANTED.items():
        assert shares[name] == pytest.approx(variance / 12, abs=0.04), name


def test_segments_do_not_count_for_the_person():
    """With two segments of a person, the mean of the person varies with them alone."""
    shares = variance_shares(planted_grid({"segment": 1.0, "rest": 0.01}, person=8, segment=2, mask=2))
    assert shares["segment"] > 0.9
    assert shares["person"] < 0.1  # naive sums of squares say 0.47


@pytest.mark.parametrize("name", ["mask", "person", "segment", "amplitude"])
def test_a_feature_that_follows_one_factor_alone_is_explained_by_it(name):
    shares = variance_shares(planted_grid({name: 1.0}, person=5, segment=3, mask=4))
    assert shares[name] == pytest.approx(1, abs=0.05)


def test_every_feature_counts_alike_whatever_its_scale():
    grid = np.concatenate([1e2 * planted_grid({"mask": 1.0}, 30), planted_grid({"segment": 1.0}, 30)], -1)
    assert variance_shares(grid)["mask"] == pytest.approx(0.5, abs=0.02)


def test_constant_features_do_not_count():
    grid = np.concatenate([planted_grid({"mask": 1.0}, 1), np.ones((40, 10, 30, 3, 5))], -1)
    assert variance_shares(grid)["mask"] == pytest.approx(1)


def test_one_person_and_one_gain_explain_nothing():
    shares = variance_shares(planted_grid({"mask": 1.0, "segment": 1.0}, person=1, amplitude=1))
    assert shares["person"] == shares["amplitude"] == 0
    assert sum(shares.values()) == pytest.approx(1)


def test_a_grid_that_does_not_vary_has_no_shares():
    assert np.isnan(list(variance_shares(np.ones((2, 2, 2, 2, 3))).values())).all()


def test_views_that_differ_by_a_shift_are_as_many_deviations_apart():
    rng = np.random.default_rng(0)
    masked = 3.0 * rng.standard_normal((500, 6, 4))
    clean = 3.0 * rng.standard_normal((500, 4)) + 6.0
    assert view_distance(clean, masked) == pytest.approx(2, abs=0.1)
    assert view_distance(masked[:, 0] * 0 + masked.mean((0, 1)), masked) == pytest.approx(0, abs=1e-9)


def test_views_are_compared_where_masked_ones_vary():
    masked = np.random.default_rng(0).standard_normal((20, 6, 2))
    masked[..., 1] = 7.0
    clean = np.stack([masked[:, 0, 0], np.full(20, 1e6)], 1)
    assert view_distance(clean, masked) < 1
    assert np.isnan(view_distance(clean, np.ones((20, 6, 2))))
