import pickle
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from planted import TINY, needs_braindecode, noise, oscillating

from mne_specmoe.benchmark import entries, networks, specialists
from mne_specmoe.benchmark.entries import BUDGETS, Budget, TaskFacts
from mne_specmoe.benchmark.networks import fit_network
from mne_specmoe.benchmark.peers import PEERS
from mne_specmoe.benchmark.scoring import score, selection_score
from mne_specmoe.benchmark.tasks import TASKS

ENTRIES = {entry.name: entry for entry in PEERS}
CLASSES = {2: ("NREM", "REM"), 4: ("rest", "13 Hz", "17 Hz", "21 Hz"), 5: ("W", "N1", "N2", "N3", "R")}
HASTY = replace(TINY, budget=Budget("hasty", n_looks=3, n_windows=12, n_heavy_windows=6))
TINY_BENDR = {"encoder_h": 32, "contextualizer_hidden": 64, "transformer_layers": 1}
LIGHT = ("eegnet", "st-transformer", "labram")


def facts_of(data):
    return TaskFacts("some", data.classes, data.ch_names, data.n_times, data.sfreq)


def fit_of(name):
    """How an entry is fitted; BENDR, which takes many seconds, with fewer parameters."""
    fit = ENTRIES[name].fit
    if not name.startswith("bendr"):
        return fit
    recipe = fit.recipe if name == "bendr-logistic" else fit.keywords["recipe"]
    small = replace(recipe, build=partial(recipe.build, **TINY_BENDR))
    return replace(fit, recipe=small) if name == "bendr-logistic" else partial(fit_network, recipe=small)


def cases():
    """Every entry with some of the classes and channels that suit it."""
    found = []
    for (name, entry), n_classes, n_channels in product(ENTRIES.items(), CLASSES, (1, 12)):
        facts = TaskFacts("some", CLASSES[n_classes], ("Cz",) * n_channels, 400, 200.0, is_event_related=True)
        is_peer = entry.role == "peer"
        if not entry.unsuited(facts) and not (is_peer and n_classes == 5):
            marks = [needs_braindecode] if is_peer else []
            found.append(pytest.param(name, n_classes, n_channels, marks=marks, id=f"{name}-{n_classes}-{n_channels}"))
    return found


@pytest.mark.parametrize(("name", "n_classes", "n_channels"), cases())
def test_every_entry_fits_and_predicts(name, n_classes, n_channels):
    training, test = (
        noise(12, n_classes, n_channels=n_channels, classes=CLASSES[n_classes], seed=seed) for seed in (0, 1)
    )
    selected = fit_of(name)(training, training, HASTY)
    found = selected.predict(test)
    score(found, test, metric="auroc")
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
    least = 0 if name.startswith("signal-") else 1  # as users get them, nothing is chosen
    assert least <= selected.choice["n_looks"] <= 3
    assert ENTRIES[name].role != "peer" or selected.n_parameters > (30 if "logistic" in name else 1000)
    scrambled = replace(test, y=test.y[::-1].copy())
    np.testing.assert_array_equal(selected.predict(scrambled).probabilities, found.probabilities)


@pytest.mark.parametrize(
    "name",
    [
        "dummy",
        "bandpower-lr",
        "psd-lr",
        "tangent-lr",
        "tangent6-lr",
        *(pytest.param(n, marks=needs_braindecode) for n in LIGHT),
    ],
)
def test_entries_predict_numbers_where_there_are_no_classes(name):
    data = replace(oscillating(24), classes=())
    data = replace(data, y=100 + 50.0 * data.y)
    entry = ENTRIES[name]
    assert not entry.unsuited(facts_of(data))
    found = entry.fit(data, data, HASTY).predict(data)
    assert found.probabilities is None
    assert 90 < found.labels.mean() < 160
    assert score(found, data).pooled["rmse"] < 60


@pytest.mark.parametrize("name", ["bandpower-lr", "bandpower-svm", "csp-lda", "tangent-lr", "tangent6-lr"])
def test_a_planted_oscillation_is_found(name):
    training, validation, test = (oscillating(60, seed=seed) for seed in (0, 10, 20))
    found = ENTRIES[name].fit(training, validation, TINY).predict(test)
    assert score(found, test).pooled["balanced_accuracy"] > 0.85


@pytest.mark.parametrize("n_looks", [1, 2, 20])
@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.role != "peer"])
def test_no_entry_looks_more_often_than_it_may(monkeypatch, name, n_looks):
    counts = Counter()

    def counted(prediction, data):
        counts["looks"] += 1
        return selection_score(prediction, data)

    for module in (entries, networks, specialists):
        monkeypatch.setattr(module, "selection_score", counted)
    classes = CLASSES[4] if name == "cca" else CLASSES[5]
    data = noise(20, len(classes), classes=classes)
    choice = ENTRIES[name].fit(data, data, replace(TINY, budget=Budget("some", n_looks=n_looks))).choice
    assert counts["looks"] == choice["n_looks"] <= n_looks


def test_names_are_those_of_the_benchmark():
    assert list(ENTRIES) == [
        *("dummy", "bandpower-lr", "bandpower-svm", "psd-lr", "csp-lda", "tangent-lr", "tangent6-lr", "cca"),
        *(
            "spectral-lda",
            "lda-hmm",
            "xdawn-lr",
            "courses-lda",
            "xdawn-lr-centred",
            "bandpower-lr-centred",
            "psd-lr-centred",
        ),
        *("tangent-lr-centred", "tangent6-lr-centred", "tangent6-bandpower-lr"),
        *("signal-default", "signal-features", "signal-default_centred", "signal-features_centred"),
        *("eegnet", "shallowfbcspnet", "eegconformer", "st-transformer", "bendr", "biot", "labram"),
        *("cbramod", "bendr-logistic", "biot-logistic", "labram-logistic", "cbramod-logistic"),
    ]
    assert len(PEERS) == len(ENTRIES) == len({entry.title for entry in PEERS})


def test_foundation_models_say_that_they_are_not_pretrained():
    for name in ("bendr", "biot", "labram", "cbramod"):
        assert ENTRIES[name].title.endswith("(random initialisation)")
        assert ENTRIES[name].training is None


def test_networks_are_run_with_several_seeds():
    assert {name for name, entry in ENTRIES.items() if entry.stochastic} == set(
        list(ENTRIES)[list(ENTRIES).index("eegnet") :]
    )


@pytest.mark.parametrize("entry", PEERS, ids=lambda entry: entry.name)
def test_entries_travel_to_other_processes(entry):
    pickle.loads(pickle.dumps(entry.fit))
    pickle.loads(pickle.dumps(entry.unsuited))


def test_every_entry_suits_some_of_our_tasks():
    n_channels = {"mouse_sleep": 1, "eegbci": 64}
    for entry in PEERS:
        facts = [
            TaskFacts(
                name,
                task.classes,
                ("Cz",) * n_channels.get(name, 14),
                round(200 * task.window_seconds),
                200.0,
                task.is_event_related,
            )
            for name, task in TASKS.items()
        ]
        assert any(not entry.unsuited(each) for each in facts)


@pytest.mark.parametrize(
    ("name", "facts", "why"),
    [
        ("csp-lda", TaskFacts("some", (), ("Cz",), 800, 200.0), "labels, not numbers"),
        ("labram", TaskFacts("some", ("a", "b"), ("Cz",) * 129, 800, 200.0), "128 channels at most, not 129"),
        ("biot", TaskFacts("some", ("a", "b"), ("Cz",), 800, 100.0), "200 Hz, not 100 Hz"),
        ("eegnet", TaskFacts("some", ("a", "b"), ("Cz",), 150, 200.0), "a second or more"),
    ],
)
def test_entries_say_what_they_cannot_do(name, facts, why):
    assert why in ENTRIES[name].unsuited(facts)


@needs_braindecode
def test_frozen_networks_are_read_by_a_logistic_regression_and_depend_on_their_seed():
    training, test = (oscillating(24, seed=seed) for seed in (0, 1))
    entry = ENTRIES["biot-logistic"]
    one, same, other = (entry.fit(training, test, replace(TINY, seed=seed)).predict(test) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, same.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)


def test_a_small_budget_measures_large_networks_frozen_only():
    heavy = {entry.name for entry in PEERS if entry.is_heavy}
    assert heavy == {"bendr", "biot", "labram", "cbramod"}
    assert BUDGETS["small"].n_heavy_windows == 0
    assert {f"{name}-logistic" for name in heavy} <= set(ENTRIES)
