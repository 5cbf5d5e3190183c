"""Features of each subject have mean 0 and deviation 1, without a look at labels."""

import numpy as np
import pytest

from mne_specmoe.benchmark.centring import centred_features, each_subject

SUBJECTS = np.array(["b", "a", "b", "a", "b"])


def test_each_subject_has_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    features = 100 + 7 * rng.standard_normal((5, 3)) + 50 * (SUBJECTS == "a")[:, None]
    found = centred_features(features, SUBJECTS)
    for who in "ab":
        np.testing.assert_allclose(found[SUBJECTS == who].mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(found[SUBJECTS == who].std(0), 1)


def test_constant_features_become_0():
    found = centred_features(np.full((5, 1), 0.1) + np.array([1e3, 0]), SUBJECTS)
    np.testing.assert_array_equal(found, 0)


def test_the_input_stays_as_it_is():
    features = np.arange(10.0).reshape(5, 2)
    centred_features(features, SUBJECTS)
    np.testing.assert_array_equal(features, np.arange(10.0).reshape(5, 2))


def test_subjects_with_one_window_are_named_and_left_alone():
    with pytest.warns(UserWarning, match="'a', 'c' have one window, so they are not centred; give all"):
        places = list(each_subject(np.array(["b", "a", "b", "c"])))
    assert [place.tolist() for place in places] == [[0, 2]]
