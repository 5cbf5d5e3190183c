"""Measures of how like real EEG a corpus is find what was put in."""

import numpy as np
import pytest
from tiny_data import eeg_uv, make_corpus

from mne_specmoe.benchmark.realism import corpus_measures, main, person_measures, table
from mne_specmoe.signal.waveforms import coloured_noise, damped_oscillator

SFREQ = 200.0
NOWHERE = np.full((2, 3), np.nan)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def noise(rng, exponent: float = 1.5, n_segments: int = 8) -> np.ndarray:
    whole = coloured_noise(rng, 2, n_segments * 2000, SFREQ, exponent=exponent)
    return whole.reshape(2, n_segments, 2000).swapaxes(0, 1)


def test_the_exponent_and_the_amplitude_are_those_of_the_noise(rng):
    found = person_measures(10 * noise(rng), SFREQ, NOWHERE)
    assert found["exponent, 2-40 Hz without 7-13.5"] == pytest.approx(1.5, abs=0.1)
    white = person_measures(10 * rng.standard_normal((4, 2, 2000)), SFREQ, NOWHERE)
    assert white["amplitude, µV rms of a channel"] == pytest.approx(10, rel=0.05)
    assert found["alpha peak over the fit, dB"] < 1.5
    assert found["variation of the alpha envelope"] == pytest.approx(0.52, abs=0.06)
    assert found["excess kurtosis"] == pytest.approx(0, abs=0.5)


def test_an_alpha_peak_is_found_at_its_place(rng):
    alpha = damped_oscillator(rng, 16000, SFREQ, frequency=9.0, bandwidth=0.5).real.reshape(8, 1, 2000)
    found = person_measures(noise(rng) + alpha, SFREQ, NOWHERE)
    assert found["alpha peak, Hz"] == pytest.approx(9, abs=0.5)
    assert found["alpha peak over the fit, dB"] > 8


def test_correlations_are_sorted_by_distance(rng):
    shared, own = noise(rng)[:, :1], noise(rng)
    uv = np.concatenate([shared, shared + 0.5 * own[:, :1], own[:, 1:]], 1)
    places = np.array([[0.0, 0, 0], [0.06, 0, 0], [0.18, 0, 0]])
    found = person_measures(uv, SFREQ, places)
    assert found["correlation, 5-8 cm"] == pytest.approx(1 / np.sqrt(1.25), abs=0.1)
    assert found["correlation, 16-30 cm"] == pytest.approx(0, abs=0.3)
    assert np.isnan(found["correlation, 0-5 cm"])


def test_the_command_shows_a_column_per_corpus(tmp_path, capsys):
    names = {"one": "AB", "two": "C"}
    for folder, subjects in names.items():
        make_corpus(tmp_path / folder, {name: eeg_uv(2, 2, ord(name)) for name in subjects})
    main([str(tmp_path / folder) for folder in names])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | one | two |"
    assert lines[2] == "| people | 2 | 1 |"
    assert any(line.startswith("| excess kurtosis |") for line in lines)


def test_whoever_has_two_montages_counts_for_each(tmp_path):
    signals = {"A": eeg_uv(2, 2, 0), "B": eeg_uv(3, 2, 1)}
    corpus = make_corpus(tmp_path / "corpus", signals, {"A": "S", "B": "S"})
    assert len(corpus_measures(corpus)["excess kurtosis"]) == 2


def test_what_cannot_be_measured_is_a_dash():
    text = table({"some": {"correlation": np.array([np.nan, np.nan])}})
    assert text.splitlines()[-1] == "| correlation | – |"
