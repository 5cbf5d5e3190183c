"""Band powers, and how well they are read in other people."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from mne_specmoe.diagnosis.bands import _Ridge, cross_person_r2, log_relative_power, log_relative_spectrum


def test_a_wave_has_its_power_in_its_band():
    t = np.arange(800) / 200
    x = np.sin(2 * np.pi * 10 * t) + 0.01 * np.random.default_rng(0).standard_normal((2, 3, 800))
    power = 10 ** log_relative_power(x)
    assert power.shape == (2, 4)
    assert (power[:, 2] > 0.95).all()
    assert (power[:, [0, 1, 3]] < 0.05).all()


def test_amplitude_does_not_change_relative_power():
    x = np.random.default_rng(0).standard_normal((3, 2, 600))
    np.testing.assert_allclose(log_relative_power(x), log_relative_power(1e3 * x))


def test_flat_channels_are_left_out_and_flat_epochs_have_no_power():
    x = np.random.default_rng(0).standard_normal((2, 3, 400))
    with_flat = np.concatenate([x, np.zeros((2, 1, 400))], 1)
    np.testing.assert_allclose(log_relative_power(with_flat), log_relative_power(x))
    assert np.isnan(log_relative_power(np.zeros((1, 2, 400)))).all()


def test_the_spectrum_adds_up_to_the_bands():
    x = np.random.default_rng(0).standard_normal((2, 1, 800))
    spectrum = 10 ** log_relative_spectrum(x)  # from 1 Hz, 0.5 Hz apart
    assert spectrum.shape == (2, 88)
    np.testing.assert_allclose(spectrum.sum(1), 1)
    np.testing.assert_allclose(spectrum[:, 14:22].sum(1), 10 ** log_relative_power(x)[:, 2])


def people(n_people: int = 6, n_each: int = 15) -> np.ndarray:
    return np.repeat(np.arange(n_people), n_each)


def test_targets_in_the_features_are_read_and_noise_is_not():
    rng, groups = np.random.default_rng(0), people()
    features = rng.standard_normal((len(groups), 200))
    targets = np.stack([features[:, 0] - 2 * features[:, 1], rng.standard_normal(len(groups))], 1)
    read, noise = cross_person_r2(features[:, :5], targets, groups)
    assert read > 0.99
    assert noise < 0.1
    assert cross_person_r2(features, targets, groups)[0] < read  # the others are in the way, not a crash


def test_features_that_only_tell_who_it_is_say_nothing_of_other_people():
    """Within people they would: the target is a property of the person."""
    groups = people(8)
    who = np.eye(8)[groups] + 0.01 * np.random.default_rng(0).standard_normal((len(groups), 8))
    targets = np.random.default_rng(1).standard_normal(8)[groups][:, None]
    assert cross_person_r2(who, targets, groups)[0] < 0.1


def test_units_and_constant_features_do_not_matter():
    rng, groups = np.random.default_rng(0), people()
    features = rng.standard_normal((len(groups), 4))
    targets = features @ rng.standard_normal((4, 2)) + rng.standard_normal((len(groups), 2))
    other = np.concatenate([features * [1, 100, 0.01, 5], np.full((len(groups), 1), 3.0)], 1)
    np.testing.assert_allclose(cross_person_r2(other, targets, groups), cross_person_r2(features, targets, groups))


def test_a_constant_target_cannot_be_read():
    groups = people()
    features = np.random.default_rng(0).standard_normal((len(groups), 3))
    assert np.isnan(cross_person_r2(features, np.ones((len(groups), 1)), groups)[0])


@pytest.mark.parametrize("n_features", [3, 60])
def test_ridge_is_that_of_scikit_learn(n_features):
    rng = np.random.default_rng(0)
    features, targets = rng.standard_normal((30, n_features)), rng.standard_normal((30, 2))
    scaler = StandardScaler().fit(features)
    expected = Ridge(alpha=[2.0, 50.0]).fit(scaler.transform(features), targets)
    ridge, new = _Ridge(features, targets), rng.standard_normal((5, n_features))
    found = ridge.predict(ridge.project(new), np.array([2.0, 50.0]))
    np.testing.assert_allclose(found, expected.predict(scaler.transform(new)), rtol=1e-6, atol=1e-8)
