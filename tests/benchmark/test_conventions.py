from dataclasses import replace

import numpy as np
import pytest
from planted import noise, oscillating

from mne_specmoe.benchmark.conventions import (
    BENDR_SITES,
    by_95th_percentile,
    derivable,
    for_bendr,
    known_places,
    places,
    standardised_channels,
    standardised_windows,
    tenths_of_millivolts,
)

ALL = (standardised_windows, standardised_channels, tenths_of_millivolts, by_95th_percentile, for_bendr)


@pytest.mark.parametrize("convention", ALL)
@pytest.mark.parametrize("n_channels", [1, 12])
def test_input_is_finite_float32_also_of_flat_channels(convention, n_channels):
    data = noise(n_channels=n_channels)
    data.X[:3] = 0
    x = convention(data)(data)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert np.isfinite(x).all()


@pytest.mark.parametrize("convention", ALL)
def test_input_of_a_window_does_not_depend_on_others_that_are_predicted(convention):
    training, data = noise(seed=1), noise(seed=2)
    prepare = convention(training)
    np.testing.assert_array_equal(prepare(data)[3:5], prepare(data.take(np.array([3, 4]))))


def test_standardised_windows_have_mean_0_and_deviation_1():
    x = standardised_windows(noise())(noise(seed=1))
    np.testing.assert_allclose(x.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(-1), 1, rtol=1e-5)


def test_standardised_channels_use_the_training_part():
    training = noise(200)
    louder = replace(training, X=3 * training.X)
    np.testing.assert_allclose(standardised_channels(training)(louder).std((0, 2)), 3, rtol=1e-5)


def test_100_microvolts_are_1_and_whole_seconds_are_kept():
    data = noise(n_times=450)
    x = tenths_of_millivolts(data)(data)
    assert x.shape[-1] == 400
    np.testing.assert_allclose(x, data.X[..., :400] / 1e-4, rtol=1e-6)


def test_the_95th_percentile_becomes_1():
    x = by_95th_percentile(noise())(noise(seed=1))
    np.testing.assert_allclose(np.quantile(np.abs(x), 0.95, axis=-1), 1, rtol=1e-5)


def test_channels_have_their_sites_and_others_those_that_are_left():
    assert places(("cz", "T3", "A", "Fp1", "B"), ("Fp1", "T7", "X", "Cz", "Y")) == [3, 1, 2, 0, 4]


def test_channels_beyond_the_sites_are_left_out():
    assert places(("A", "B", "C"), ("B", "X")) == [1, 0, None]


def test_a_site_is_given_to_the_first_of_two_that_claim_it():
    assert places(("T7", "T3"), ("X", "T7")) == [1, 0]


def test_bendr_gets_20_channels_at_256_hz_between_minus_1_and_1():
    data = oscillating(8, frequencies=(10, 10), n_channels=2)  # Fz and Cz
    x = for_bendr(data)(data)
    assert x.shape == (8, 20, 512)
    assert x.min() >= -1
    assert x.max() <= 1
    assert [row for row in range(19) if x[0, row].any()] == [BENDR_SITES.index("Fz"), BENDR_SITES.index("Cz")]
    peak = np.abs(np.fft.rfft(x[0, BENDR_SITES.index("Cz")])).argmax()
    assert peak * 256 / 512 in (0, 10)  # 0: the window's middle is not at 0
    assert np.ptp(x[:, -1], axis=-1).max() == 0


def test_bendrs_last_channel_is_the_relative_amplitude():
    training = noise(seed=1)
    largest = np.ptp(training.X, axis=(1, 2)).argmax()
    half = replace(training, X=training.X / 2)
    prepare = for_bendr(training)
    assert prepare(training)[largest, -1, 0] == pytest.approx(1, abs=0.15)  # resampling moves peaks a little
    assert prepare(half)[largest, -1, 0] == pytest.approx(0, abs=0.15)


def test_bipolar_channels_are_known_by_their_electrodes_under_old_names_too():
    names = ("T3", "t7-T5", "F7", "O1")
    assert derivable(names, ("F7-T7", "T7-P7", "P7-O1", "O1")) == ("F7-T7", "T7-P7", "O1")


def test_channels_that_a_network_does_not_know_have_no_place():
    assert known_places(("T3", "Fp1", "x", "T7"), BENDR_SITES) == [BENDR_SITES.index("T7"), 0, None, None]
