import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from mne_specmoe.benchmark.cca import largest_correlations, references, stimulus_frequencies


def test_frequencies_are_read_from_the_names_of_classes():
    assert stimulus_frequencies(("rest", "13 Hz", "17.5Hz", "left", "60 Hz flicker")) == (13.0, 17.5)


def test_references_are_sines_and_cosines_of_multiples_below_half_the_rate():
    found = references(30.0, 4, 200, 200.0)
    assert found.shape == (6, 200)
    spectrum = np.abs(np.fft.rfft(found))
    assert sorted(spectrum.argmax(1).tolist()) == [30, 30, 60, 60, 90, 90]


def test_correlation_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 4, 300)), references(7.0, 2, 300, 100.0)
    X[1, 2] += 0.5 * y[1]
    expected = []
    for window in X:
        u, v = CCA(1, max_iter=5000, tol=1e-12).fit_transform(window.T, y.T)
        expected.append(np.corrcoef(u[:, 0], v[:, 0])[0, 1])
    np.testing.assert_allclose(largest_correlations(X, y), expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_correlation_does_not_depend_on_channels_that_say_nothing_new(scale):
    rng = np.random.default_rng(0)
    X, y = scale * rng.standard_normal((2, 3, 300)), references(7.0, 2, 300, 100.0)
    average = np.concatenate([X - X.mean(1, keepdims=True), np.zeros((2, 1, 300))], 1)
    np.testing.assert_allclose(largest_correlations(average, y), largest_correlations(average[:, :2], y))


def test_a_flat_window_correlates_with_nothing():
    assert largest_correlations(np.ones((1, 2, 300)), references(7.0, 1, 300, 100.0)).tolist() == [0.0]
