"""Covariances have tangent vectors whatever the signal, and centring takes out what subjects differ by."""

from dataclasses import replace

import numpy as np
import pytest
from planted import noise, oscillating
from pyriemann.estimation import Covariances
from pyriemann.tangentspace import TangentSpace

from mne_specmoe.benchmark.spectra import band_pass
from mne_specmoe.benchmark.tangent import (
    SIX_BANDS,
    band_covariances,
    centred_covariances,
    shrunk,
    six_band_vectors,
    tangent_vectors,
)


def scaled(data, gains):
    """The same with a gain of each subject and channel."""
    place = np.unique(data.subjects, return_inverse=True)[1]
    return data.with_signals((data.X * np.asarray(gains)[place][..., None]).astype(np.float32))


def test_band_covariances_are_those_of_the_library_but_for_the_shrinkage():
    data = noise(8)
    expected = Covariances("scm", assume_centered=False).transform(band_pass(data.X, (8.0, 13.0), 200.0))
    mean = np.trace(expected, axis1=1, axis2=2)[:, None, None] / 3
    np.testing.assert_allclose(
        band_covariances(data, (8.0, 13.0)), 0.95 * expected + 0.05 * mean * np.eye(3), rtol=1e-4
    )


def test_six_bands_stand_side_by_side_and_are_the_librarys_tangent_space():
    training, test = noise(16), oscillating(8, seed=3)
    found = six_band_vectors(training)(test)
    assert found.shape == (8, 6 * 6)
    space = TangentSpace().fit(band_covariances(training, SIX_BANDS[2]))
    np.testing.assert_allclose(found[:, 12:18], space.transform(band_covariances(test, SIX_BANDS[2])), rtol=1e-6)


@pytest.mark.parametrize("change", ["one flat", "all flat", "copies", "few samples"])
def test_signals_without_a_logarithm_have_one_after_shrinking(change):
    data = noise(12, n_channels=12, n_times=400)
    X = data.X.copy()
    if change == "one flat":
        X[:, 3] = 1e-5
    elif change == "all flat":
        X[2] = 0
    elif change == "copies":
        X[:, 1:] = X[:, :1]
    else:
        data, X = noise(12, n_channels=12, n_times=60), X[..., :60]
    found = six_band_vectors(data.with_signals(X))(data.with_signals(X))
    assert found.shape == (12, 6 * 78)
    assert np.isfinite(found).all()


def test_shrinking_keeps_the_sum_of_variances():
    matrices = np.array([[[4.0, 2.0], [2.0, 2.0]]])
    found = shrunk(matrices, 0.5)
    np.testing.assert_allclose(found[0], [[3.5, 1.0], [1.0, 2.5]], rtol=1e-5)


def test_centring_takes_out_what_subjects_differ_by_and_keeps_what_their_windows_do():
    data = oscillating(40)
    gains = np.exp(np.random.default_rng(0).standard_normal((4, 3)))
    kinds = [lambda data: band_covariances(data, (8.0, 13.0))]
    # Shrinkage depends on gains, so that vectors agree nearly.
    one, other = (tangent_vectors(each, kinds, centred=True)(each) for each in (data, scaled(data, gains)))
    assert np.abs(one - other).mean() < 0.3 * one.std()
    plain = tangent_vectors(data, kinds)
    assert np.abs(plain(data) - plain(scaled(data, gains))).mean() > 3 * np.abs(one - other).mean()
    exact = [lambda data: data.X.astype(float) @ data.X.astype(float).swapaxes(1, 2) * 1e12]
    one, other = (tangent_vectors(each, exact, centred=True)(each) for each in (data, scaled(data, gains)))
    spread = [np.linalg.norm(each, axis=1) for each in (one, other)]
    np.testing.assert_allclose(*spread, rtol=1e-3)  # whitening leaves a rotation open


def test_the_mean_of_each_subject_becomes_the_identity():
    covariances = band_covariances(oscillating(24), (4.0, 30.0))
    subjects = np.repeat(["a", "b"], 12)
    found = centred_covariances(covariances, subjects)
    for who in "ab":
        logs = TangentSpace(metric="riemann").fit(found[subjects == who])
        np.testing.assert_allclose(logs.reference_, np.eye(3), atol=1e-4)


def test_a_subject_with_one_window_is_left_alone_with_a_warning():
    covariances = band_covariances(noise(5), (4.0, 30.0))
    subjects = np.array(["a", "a", "b", "a", "a"])
    with pytest.warns(UserWarning, match="'b' have one window"):
        found = centred_covariances(covariances, subjects)
    np.testing.assert_array_equal(found[2], covariances[2])
    assert not np.allclose(found[0], covariances[0])


def test_labels_are_not_looked_at():
    data = oscillating(16)
    np.testing.assert_array_equal(
        six_band_vectors(data, centred=True)(data), six_band_vectors(replace(data, y=1 - data.y), centred=True)(data)
    )
