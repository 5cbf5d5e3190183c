"""Our entries are our estimators, trained as a user would, and their controls take away what they say."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from specmoe_files import random_experts
from tiny_tasks import eeg_data, noise_data

from mne_specmoe import BrainRVQClassifier, SpecMoEClassifier, SpecMoEFeaturizer
from mne_specmoe.benchmark.centring import centred_features
from mne_specmoe.benchmark.classical import CLASSICAL_FEATURES
from mne_specmoe.benchmark.entries import BUDGETS, Setting, TaskFacts
from mne_specmoe.benchmark.features import embed
from mne_specmoe.benchmark.ours import Head, entries_of, permuted, starters
from mne_specmoe.loaders.specmoe import load_encoders

STARTERS = {entry.name: entry for entry in starters()}
NAMES = ["Fz", "Cz", "Pz"]
PARTS = (("P0", "P1", "P2"), ("P3", "P4"), ("P5",))


@pytest.fixture(scope="module")
def parts():
    return tuple(eeg_data(subjects, seed) for seed, subjects in enumerate(PARTS))


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return Setting(0, BUDGETS["tiny"], joblib.Memory(folder, verbose=0).cache, folder)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A file of two untrained experts."""
    return str(random_experts(tmp_path_factory.mktemp("experts") / "experts.safetensors"))


@pytest.fixture(scope="module")
def entries(experts):
    """Entries by name, of these experts and of a trained encoder."""
    both = [*entries_of(experts, "specmoe", "SpecMoE"), *entries_of("brainrvq-starter", "brainrvq", "BrainRVQ")]
    return {entry.name: entry for entry in both}


def featurizer_of(experts, **options):
    return SpecMoEFeaturizer(experts, parts=("experts",), n_components=None, ch_names=NAMES, **options)


def test_a_probe_is_a_featurizer_and_a_linear_model(parts, setting, entries, experts):
    training, validation, test = parts
    selected = entries["specmoe-logistic"].fit(training, validation, setting)
    featurizer = featurizer_of(experts)
    model = LogisticRegression(C=selected.choice["settings"]["C"], class_weight="balanced", max_iter=1000)
    pipeline = make_pipeline(featurizer, StandardScaler(), model).fit(training.X, training.y)
    np.testing.assert_allclose(selected.predict(test).probabilities, pipeline.predict_proba(test.X), atol=1e-5)


# Where fine-tuning has its best epoch: here with frozen experts for one family, and with trained ones for the other.
@pytest.mark.parametrize(
    ("name", "epoch"),
    [("specmoe-head", None), ("specmoe-finetuned", 2), ("brainrvq-head", None), ("brainrvq-finetuned", 3)],
)
def test_what_is_remembered_of_frozen_networks_changes_nothing(parts, setting, entries, name, epoch, monkeypatch):
    training, validation, test = parts
    selected = entries[name].fit(training, validation, setting)
    assert epoch in (None, selected.choice["settings"]["epoch"])
    fast = selected.predict(test).probabilities
    monkeypatch.setattr(Head, "_known", lambda self, data, setting: None)
    slow = entries[name].fit(training, validation, setting).predict(test).probabilities
    np.testing.assert_allclose(fast, slow, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("specmoe-head", SpecMoEClassifier, {"head": "mlp", "parts": ("experts",)}),
        ("brainrvq-head", BrainRVQClassifier, {"head": "trained", "parts": ("encoder",)}),
    ],
)
def test_a_head_is_our_classifier_with_the_validation_part_of_the_fold(
    parts, setting, entries, experts, name, make, options
):
    training, validation, test = parts
    selected = entries[name].fit(training, validation, setting)
    both = training.joined(validation)

    class Given(make):
        def _inner_split(self, n_epochs, labels, groups, seed):
            return np.arange(len(training)), np.arange(len(training), n_epochs)

    weights = experts if make is SpecMoEClassifier else "brainrvq-starter"
    options |= {"max_epochs": 3, "patience": None, "batch_size": 16, "random_state": 0}
    estimator = Given(weights)
    estimator.__dict__.update(options, ch_names=NAMES)  # it has no parameters of its own that set_params could see
    expected = estimator.fit(both.X, both.y).predict_proba(test.X)
    np.testing.assert_allclose(selected.predict(test).probabilities, expected, atol=2e-5)
    assert selected.choice["n_looks"] == 3


def test_what_is_added_stands_beside_the_classical_features_and_may_count_for_nothing(parts, setting, entries):
    training, validation, test = parts
    added, drawn = entries["specmoe-added"], entries["specmoe-added@random"]
    assert added.adds_to == drawn.adds_to == CLASSICAL_FEATURES.name
    full = replace(setting, budget=BUDGETS["full"])
    alone = CLASSICAL_FEATURES.fit(training, validation, full)
    for entry in (added, drawn):
        assert entry.fit(training, validation, full).choice["n_looks"] == 20
    without = replace(added.fit, weights_of_added=(0.0,))(training, validation, full)
    assert without.choice["settings"]["C"] == alone.choice["settings"]["C"]
    np.testing.assert_allclose(without.predict(test).probabilities, alone.predict(test).probabilities, atol=1e-4)


def test_a_centred_probe_is_the_probe_on_features_that_are_centred(parts, setting, entries, experts):
    training, validation, test = parts
    entry = entries["specmoe-centred"]
    assert entry.is_centred
    assert {"specmoe-centred@random", "specmoe-centred@permuted"} <= set(entries)
    selected = entry.fit(training, validation, setting)
    featurizer = featurizer_of(experts)
    fitted, asked = (centred_features(featurizer.fit_transform(d.X), d.subjects) for d in (training, test))
    model = LogisticRegression(C=selected.choice["settings"]["C"], class_weight="balanced", max_iter=1000)
    pipeline = make_pipeline(StandardScaler(), model).fit(fitted, training.y)
    np.testing.assert_allclose(selected.predict(test).probabilities, pipeline.predict_proba(asked), atol=1e-4)


def test_fine_tuning_is_of_all_experts(parts, setting, entries, experts):
    training, validation, test = parts
    head, tuned = (entries[f"specmoe-{kind}"].fit(training, validation, setting) for kind in ("head", "finetuned"))
    assert tuned.choice["n_looks"] == 3
    assert tuned.choice["settings"]["epoch"] in (1, 2, 3)
    n_pretrained = sum(each.numel() for expert in load_encoders(experts) for each in expert.parameters())
    assert head.n_parameters == tuned.n_parameters > n_pretrained


def test_fine_tuning_changes_what_is_said(parts, setting, entries):
    training, validation, test = parts
    head, tuned = (entries[f"brainrvq-{kind}"].fit(training, validation, setting) for kind in ("head", "finetuned"))
    assert tuned.choice["settings"]["epoch"] == 3  # the one with a training encoder
    assert np.abs(head.predict(test).probabilities - tuned.predict(test).probabilities).max() > 1e-4


def test_the_power_spectrum_alone_says_nothing_of_the_experts(parts, setting, entries):
    training, validation, test = parts
    blind = entries["specmoe-head@psd-alone"]
    one = blind.fit(training, validation, setting).predict(test)
    other = replace(blind.fit, weights=replace(blind.fit.weights, is_random=True))
    np.testing.assert_array_equal(one.probabilities, other(training, validation, setting).predict(test).probabilities)


@pytest.mark.parametrize(
    ("name", "options", "n_experts"),
    [
        ("", {}, 2),
        ("@max-time", {"readout": ("embedding.max", "down1.log_std")}, 2),
        ("@max-channel", {"channel_pooling": "max"}, 2),
        ("@one-expert", {}, 1),
    ],
)
def test_probes_and_their_variants_pick_what_they_say(parts, setting, entries, experts, name, options, n_experts):
    fit = entries[f"specmoe-logistic{name}"].fit
    found = fit.pick(embed(parts[0], fit.weights, setting), **dict(fit.options))
    assert found.shape[1] == n_experts * (256 + 128)
    expected = featurizer_of(experts, **options).fit_transform(parts[0].X)
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], rtol=1e-5, atol=1e-6)


def test_permuted_labels_are_those_of_training_only(parts, setting, entries):
    training, validation, test = parts

    def right(name, seed):
        selected = entries[name].fit(training, validation, replace(setting, seed=seed))
        return (selected.predict(test).labels == test.y).mean()

    assert right("specmoe-logistic", 0) == 1
    assert np.mean([right("specmoe-logistic@permuted", seed) for seed in range(8)]) < 0.8


def test_permuting_keeps_counts_and_structure():
    data = noise_data(n_per_subject=20)
    found = permuted(data, np.random.default_rng(0))
    assert (found.y != data.y).mean() > 0.3
    for who in set(data.subjects.tolist()):
        own = data.subjects == who
        assert sorted(found.y[own]) == sorted(data.y[own])
    diagnosis = data.with_labels((data.subjects > "P2").astype(int))
    found = permuted(diagnosis, np.random.default_rng(1))
    labels = {who: set(found.y[data.subjects == who].tolist()) for who in set(data.subjects.tolist())}
    assert all(len(each) == 1 for each in labels.values())
    assert sorted(label for each in labels.values() for label in each) == [0, 0, 0, 1, 1, 1]


def test_random_and_permuted_differ_from_seed_to_seed(parts, setting, entries):
    training, validation, test = parts
    for name in ("brainrvq-ridge@random", "brainrvq-ridge@permuted"):
        one, two = (
            entries[name].fit(training, validation, replace(setting, seed=seed)).predict(test).labels for seed in (0, 0)
        )
        np.testing.assert_array_equal(one, two)


def test_every_pretrained_entry_has_its_controls_and_says_what_it_saw():
    mains = [entry for entry in STARTERS.values() if entry.role == "pretrained"]
    assert len(mains) == 10
    for entry in mains:
        assert {f"{entry.name}@random", f"{entry.name}@permuted"} <= set(STARTERS)
        assert STARTERS[f"{entry.name}@random"].weights_hash is None
        assert STARTERS[f"{entry.name}@random"].stochastic
        assert entry.training
    assert {entry.control for entry in STARTERS.values()} == {None, "random", "permuted", "flattened", "variant"}


def test_logistic_probes_leave_regressions_to_the_others():
    facts = TaskFacts("seed_vig", (), ("Cz",), 200, 200.0)
    assert STARTERS["specmoe-logistic"].unsuited(facts)
    for name in ("specmoe-ridge", "specmoe-head", "brainrvq-finetuned"):
        assert not STARTERS[name].unsuited(facts)


@pytest.mark.parametrize("name", ["specmoe-ridge", "specmoe-head", "brainrvq-ridge", "brainrvq-head"])
def test_numbers_can_be_predicted(parts, setting, entries, name):
    training, validation, test = (part.with_labels(part.y + 0.5, ()) for part in parts)
    prediction = entries[name].fit(training, validation, setting).predict(test)
    assert prediction.probabilities is None
    assert prediction.labels.shape == (len(test),)


def test_a_users_weights_have_entries_of_their_own():
    names = [entry.name for entry in entries_of("brainrvq-starter", "mine", "Mine")]
    assert names[0] == "mine-ridge"
    assert "mine-finetuned@random" in names


def test_seconds_of_frozen_networks_are_counted_once_per_window(parts, setting, entries):
    training, validation, test = parts
    counted = {}
    for name in ("specmoe-logistic", "specmoe-head"):
        own = replace(setting, remembered=[])
        entries[name].fit(training, validation, own).predict(test)
        counted[name] = len(own.remembered)
    assert counted == dict.fromkeys(counted, 6)  # recordings
