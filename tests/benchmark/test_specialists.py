from dataclasses import replace

import numpy as np
import pytest
from planted import TINY, noise, oscillating

from mne_specmoe.benchmark.entries import TaskFacts
from mne_specmoe.benchmark.specialists import SPECIALISTS

ENTRIES = {entry.name: entry for entry in SPECIALISTS}
FLICKER = ("rest", "13 Hz", "17 Hz", "21 Hz")
STAGES = ("Wake", "NREM", "REM")


def accuracy(found, data):
    return (found.labels == data.y).mean()


@pytest.mark.parametrize("n_channels", [1, 4])
def test_cca_finds_the_flicker_and_its_absence(n_channels):
    flicker = {"frequencies": (0, 13, 17, 21), "classes": FLICKER, "n_channels": n_channels}
    training, validation, test = (oscillating(48, 4, seed=seed, **flicker) for seed in (0, 10, 20))
    found = ENTRIES["cca"].fit(training, validation, TINY).predict(test)
    assert accuracy(found, test) > 0.9
    assert accuracy(found, test) == (found.probabilities.argmax(1) == test.y).mean()


def test_cca_finds_frequencies_in_classes_of_any_order():
    flicker = {"frequencies": (21, 13), "classes": ("21 Hz", "13 Hz")}
    training, test = (oscillating(24, 2, seed=seed, **flicker) for seed in (0, 20))
    assert accuracy(ENTRIES["cca"].fit(training, training, TINY).predict(test), test) > 0.9


def responses(n_windows, seed, n_channels=4):
    """Windows of 0.9 s; after 0.3 s, every fifth has a slow wave of one sign."""
    data = noise(n_windows, n_channels=n_channels, n_times=180, classes=("nontarget", "target"), seed=seed)
    data = replace(data, y=(np.arange(n_windows) % 5 == 0).astype(int))
    wave = np.exp(-0.5 * ((np.arange(180) / 200 - 0.4) / 0.05) ** 2)
    pattern = np.linspace(1, 0.3, n_channels)[:, None] * wave
    return data.with_signals((data.X + 1.2e-5 * data.y[:, None, None] * pattern).astype(np.float32))


@pytest.mark.parametrize("n_channels", [1, 4])
@pytest.mark.parametrize("name", ["xdawn-lr", "xdawn-lr-centred", "courses-lda"])
def test_responses_are_found(name, n_channels):
    training, validation, test = (responses(120, seed, n_channels) for seed in (0, 10, 20))
    selected = ENTRIES[name].fit(training, validation, TINY)
    found = selected.predict(test)
    recalls = [(found.labels[test.y == label] == label).mean() for label in (0, 1)]
    assert np.mean(recalls) > 0.8
    assert selected.choice["n_looks"] == 3


@pytest.mark.parametrize("name", ["xdawn-lr", "courses-lda"])
def test_a_flat_channel_or_window_stops_nobody(name):
    data = responses(60, 0)
    data.X[:, 2] = 0
    data.X[7] = 0
    assert np.isfinite(ENTRIES[name].fit(data, data, TINY).predict(data).probabilities).all()


def sleep(seed):
    """Stages of eight windows each, and so little of an oscillation that single windows are uncertain."""
    data = noise(192, 3, n_channels=1, classes=STAGES, seed=seed)
    stages = np.arange(192) // 8 % 3
    loud = oscillating(192, 3, frequencies=(2, 6, 10), n_channels=1, classes=STAGES, seed=seed)
    loud = replace(loud, y=stages)
    time = np.arange(400) / 200
    waves = 3e-6 * np.sin(2 * np.pi * np.array([2, 6, 10])[stages][:, None] * time)
    return replace(data, y=stages, X=data.X + waves[:, None].astype(np.float32))


def test_neighbours_in_time_help_the_hidden_markov_model():
    training, validation, test = (sleep(seed) for seed in (0, 10, 20))
    alone = accuracy(ENTRIES["spectral-lda"].fit(training, validation, TINY).predict(test), test)
    model = ENTRIES["lda-hmm"].fit(training, validation, TINY)
    assert 0.5 < alone < 0.9
    assert accuracy(model.predict(test), test) > alone + 0.1


def test_the_hidden_markov_model_begins_anew_after_a_gap():
    training, test = sleep(0), sleep(20)
    model = ENTRIES["lda-hmm"].fit(training, training, TINY)
    apart = replace(test, starts=10 * test.starts)
    one_by_one = [model.predict(test.take(np.array([place]))).probabilities[0] for place in range(12)]
    np.testing.assert_allclose(model.predict(apart).probabilities[:12], one_by_one)


def test_the_hidden_markov_model_does_not_mind_the_order_of_windows():
    training, test = sleep(0), sleep(20)
    model = ENTRIES["lda-hmm"].fit(training, training, TINY)
    order = np.random.default_rng(0).permutation(len(test))
    np.testing.assert_allclose(model.predict(test.take(order)).probabilities, model.predict(test).probabilities[order])


@pytest.mark.parametrize(
    ("classes", "suited"),
    [
        (FLICKER, {"cca"}),
        (STAGES, {"spectral-lda", "lda-hmm"}),
        (("W", "N1", "N2", "N3", "R"), {"spectral-lda", "lda-hmm"}),
        (("L", "R"), set()),
        ((), set()),
    ],
)
def test_specialists_are_for_their_kind_of_task(classes, suited):
    facts = TaskFacts("some", classes, ("Cz",), 800, 200.0)
    assert {name for name, entry in ENTRIES.items() if not entry.unsuited(facts)} == suited
    both = {"xdawn-lr", "xdawn-lr-centred", "courses-lda"} if classes else set()
    assert {name for name, entry in ENTRIES.items() if not entry.unsuited(facts._replace(is_event_related=True))} == (
        suited | both
    )
