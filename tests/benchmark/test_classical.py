from dataclasses import replace

import mne
import numpy as np
import pytest
from planted import TINY, noise, oscillating
from scipy.signal import butter, sosfiltfilt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mne_specmoe.benchmark.classical import CENTRED, CLASSICAL, MarginSVC
from mne_specmoe.benchmark.entries import BUDGETS
from mne_specmoe.benchmark.spectra import band_pass, band_powers, mean_log_psd

FULL = replace(TINY, budget=BUDGETS["full"])
ENTRIES = {entry.name: entry for entry in (*CLASSICAL, *CENTRED)}


@pytest.mark.parametrize("name", ["csp-lda", "tangent-lr", "tangent6-lr", "bandpower-svm", "bandpower-lr", "psd-lr"])
@pytest.mark.parametrize("n_channels", [1, 3, 12])
def test_grids_fill_the_budget_but_do_not_exceed_it(name, n_channels):
    data = oscillating(16, n_channels=n_channels)
    n_looks = ENTRIES[name].fit(data, data, FULL).choice["n_looks"]
    assert n_looks == 20 or (name == "csp-lda" and n_looks == 4 * {1: 1, 3: 2}[n_channels])


def test_csp_lda_is_that_of_the_libraries():
    training, validation, test = (oscillating(40, n_channels=6, seed=seed) for seed in (0, 10, 20))
    selected = ENTRIES["csp-lda"].fit(training, validation, FULL)
    chosen = selected.choice["settings"]

    def filtered(volts):
        sos = butter(4, chosen["band_hz"], "bandpass", fs=200, output="sos")
        return sosfiltfilt(sos, volts.astype(float) * 1e6)

    csp = mne.decoding.CSP(n_components=chosen["n_components"], reg=chosen["reg"])
    direct = make_pipeline(csp, LinearDiscriminantAnalysis()).fit(filtered(training.X), training.y)
    found = selected.predict(test)
    np.testing.assert_array_equal(found.labels, direct.predict(filtered(test.X)))
    np.testing.assert_allclose(found.probabilities, direct.predict_proba(filtered(test.X)), atol=1e-6)
    assert selected.choice["validation_score"] == pytest.approx(
        direct.score(filtered(validation.X), validation.y), abs=1e-6
    )


def people(n_windows, seed):
    """An oscillation of 10 Hz, in people in whom it differs far more than their windows do."""
    quiet, loud = noise(n_windows, seed=seed), oscillating(n_windows, frequencies=(10, 10), seed=seed)
    place = np.unique(quiet.subjects, return_inverse=True)[1]
    size = np.array([0.7, 1.5, 3.0, 6.0])[np.random.default_rng(seed).permutation(4)][place] * (1 + 0.5 * quiet.y)
    return quiet.with_signals((quiet.X + size[:, None, None] * (loud.X - quiet.X)).astype(np.float32))


@pytest.mark.parametrize("entry", [entry for entry in CENTRED if not entry.name.startswith("psd")])
def test_centring_tells_what_differs_within_people_from_what_differs_between_them(entry):
    assert entry.is_centred
    training, validation, test = (people(160, seed=seed) for seed in (0, 10, 20))
    right = [
        (ENTRIES[name].fit(training, validation, TINY).predict(test).labels == test.y).mean()
        for name in (entry.name, entry.name.removesuffix("-centred"))
    ]
    assert right[0] > max(0.7, right[1] + 0.03), right


@pytest.mark.parametrize("name", [name for name in ENTRIES if "tangent" in name])
def test_a_flat_channel_or_window_stops_no_tangent_space(name):
    data = noise(16)
    data.X[:, 1] = 0
    data.X[3] = 1e-5
    assert np.isfinite(ENTRIES[name].fit(data, data, TINY).predict(data).probabilities).all()


def test_chance_is_the_most_frequent_class_and_the_shares_of_all():
    data = noise(12, 2)
    data.y[:] = [0] * 9 + [1] * 3
    found = ENTRIES["dummy"].fit(data, data, TINY).predict(noise(4))
    assert found.labels.tolist() == [0] * 4
    np.testing.assert_allclose(found.probabilities, [[0.75, 0.25]] * 4)


def test_classes_count_alike_however_many_windows_they_have():
    training = noise(200, 2, n_channels=1)
    training.y[:] = np.arange(200) % 10 == 0
    training.X[training.y == 1] *= 1.02
    found = ENTRIES["bandpower-lr"].fit(training, training, TINY).predict(noise(200, n_channels=1, seed=1))
    assert 0.2 < found.labels.mean() < 0.8


def test_margins_pass_as_probabilities_that_rank_alike():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2))
    for y in (X[:, 0] > 0, np.digitize(X[:, 0], [-0.5, 0.5])):
        machine = MarginSVC(break_ties=True).fit(X, y)
        probabilities = machine.predict_proba(X)
        np.testing.assert_allclose(probabilities.sum(1), 1)
        np.testing.assert_array_equal(machine.classes_[probabilities.argmax(1)], machine.predict(X))
        margins = SVC(break_ties=True).fit(X, y).decision_function(X)
        last = margins if margins.ndim == 1 else margins[:, -1] - np.log(np.exp(margins).sum(1))
        np.testing.assert_array_equal(np.argsort(last), np.argsort(probabilities[:, -1]))


def test_band_power_is_in_the_channel_and_band_of_the_oscillation():
    rise = band_powers(oscillating(8, frequencies=(10, 10))) - band_powers(noise(8))
    assert np.unravel_index(rise.mean(0).argmax(), (3, 5)) == (1, 2)


def test_the_spectrum_peaks_at_the_oscillation():
    spectrum = mean_log_psd(oscillating(8, frequencies=(20, 20)))
    assert np.arange(1, 45.5, 0.5)[spectrum.mean(0).argmax()] == 20


def test_a_flat_channel_has_finite_features():
    data = noise(4)
    data.X[:, 0] = 0
    assert np.isfinite(band_powers(data)).all()
    assert np.isfinite(mean_log_psd(data)).all()


def test_the_filter_gives_microvolts_and_keeps_its_band():
    data = oscillating(4, frequencies=(10, 10))
    data.X[:] = oscillating(4, frequencies=(10, 10)).X - noise(4).X  # the oscillation alone, 10 µV
    inside, outside = (band_pass(data.X, band, 200.0)[:, 1, 100:300] for band in ((8, 12), (20, 30)))
    assert np.abs(inside).max() == pytest.approx(10, rel=0.05)
    assert np.abs(outside).max() < 0.5
