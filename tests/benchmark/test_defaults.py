"""The benchmark's defaults are the estimators that users get."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from specmoe_files import random_experts
from tiny_tasks import eeg_data

from mne_specmoe import SpecMoEClassifier, SpecMoEFeaturizer
from mne_specmoe.benchmark.defaults import SIGNAL, default_entries
from mne_specmoe.benchmark.entries import BUDGETS, DEFAULTS, Setting
from mne_specmoe.benchmark.features import Weights
from mne_specmoe.benchmark.stated import weights_of
from mne_specmoe.estimators.specmoe import DEFAULT_PARTS

NAMES = ["Fz", "Cz", "Pz"]


@pytest.fixture(scope="module")
def training():
    return eeg_data(("P0", "P1"), 0)


@pytest.fixture(scope="module")
def validation():
    return eeg_data(("P2",), 1)


@pytest.fixture(scope="module")
def test():
    return eeg_data(("P3", "P4"), 2)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting(0, BUDGETS["tiny"], folder=tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return str(random_experts(tmp_path_factory.mktemp("experts") / "experts.safetensors"))


@pytest.fixture(scope="module")
def entries(experts):
    made = default_entries(Weights.of(experts), "mine", "Mine")
    return {entry.name: entry for entry in (*made, *SIGNAL)}


@pytest.mark.parametrize("is_centred", [False, True])
@pytest.mark.parametrize("name", ["mine", "signal"])
def test_a_default_is_the_classifier_on_all_it_is_given(
    entries, experts, training, validation, test, setting, name, is_centred
):
    entry = entries[f"{name}-default" + "_centred" * is_centred]
    found = entry.fit(training, validation, setting).predict(test).probabilities
    both = training.joined(validation)
    parts = DEFAULT_PARTS if name == "mine" else DEFAULT_PARTS[1:]
    own = SpecMoEClassifier(experts, parts=parts, ch_names=NAMES, center_by=is_centred or None, random_state=0)
    own.fit(both.X, both.y, groups=both.subjects)
    expected = own.predict_proba(test.X, groups=test.subjects if is_centred else None)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_centred", [False, True])
def test_features_are_the_featurizers_under_a_plain_model(
    entries, experts, training, validation, test, setting, is_centred
):
    entry = entries["mine-features" + "_centred" * is_centred]
    found = entry.fit(training, validation, setting).predict(test).probabilities
    both = training.joined(validation)
    featurizer = SpecMoEFeaturizer(experts, ch_names=NAMES, random_state=0)
    own, other = ({"groups": data.subjects} if is_centred else {} for data in (both, test))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(featurizer.fit_transform(both.X, **own), both.y)
    expected = model.predict_proba(featurizer.transform(test.X, **other))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_every_default_has_a_control_and_the_same_without_experts(entries):
    for name in DEFAULTS:
        entry = entries[f"mine-{name}"]
        assert entry.adds_to in entries
        assert entry.is_centred == entries[entry.adds_to].is_centred == name.endswith("centred")
        assert entries[f"mine-{name}@random"].control_of == entry.name
        assert weights_of(entry.name) == "mine"


def test_other_random_experts_say_something_else(entries, training, validation, test, setting):
    fit = entries["mine-features@random"].fit
    once, again, other = (
        fit(training, validation, Setting(seed, BUDGETS["tiny"], folder=setting.folder)).predict(test).probabilities
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
