"""`untrained`: random networks of the same architecture as weights."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mne_specmoe import (
    BrainRVQFeaturizer,
    SpecHiNet,
    SpecMoEFeaturizer,
    UntrainedWarning,
    save_expert,
    save_experts,
    untrained,
)

ALONE = {"parts": ("experts",), "readout": ("embedding.mean",)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files with one expert and with two, neither of the default architecture."""
    folder = tmp_path_factory.mktemp("experts")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        experts = [SpecHiNet("channelwise", amplitude="absolute", n_mixtures=1) for _ in range(2)]
    return {
        "one": save_expert(experts[0], folder / "one.safetensors"),
        "two": save_experts(experts, folder / "two.safetensors"),
    }


@pytest.mark.parametrize(("name", "n_experts"), [("one", 1), ("two", 2)])
def test_experts_are_as_many_and_as_built_as_those_of_the_file_but_know_nothing(name, n_experts, files, epochs):
    trained = SpecMoEFeaturizer(files[name], **ALONE).fit(epochs)
    with pytest.warns(UntrainedWarning, match=r"untrained\(.*random, of that architecture"):
        random = SpecMoEFeaturizer(untrained(files[name]), random_state=0, **ALONE).fit(epochs)
    assert len(random.experts_) == n_experts
    assert [each.config for each in random.experts_] == [each.config for each in trained.experts_]
    for one, other in zip(random.experts_.parameters(), trained.experts_.parameters(), strict=True):
        assert one.shape == other.shape
    assert np.abs(random.transform(epochs) - trained.transform(epochs)).max() > 1e-3


@pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")
def test_the_random_state_draws_them(files, epochs):
    first, again, other = (
        SpecMoEFeaturizer(untrained([files["one"]]), random_state=seed, **ALONE).fit_transform(epochs)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")
def test_encoders_of_brainrvq_have_their_control_too(epochs):
    trained = BrainRVQFeaturizer(parts=("encoder",)).fit(epochs)
    random = BrainRVQFeaturizer(untrained("brainrvq-starter"), parts=("encoder",), random_state=0).fit(epochs)
    assert random.encoder_.config == trained.encoder_.config
    assert np.abs(random.transform(epochs) - trained.transform(epochs)).max() > 1e-3


def test_it_is_a_parameter_like_others(files):
    weights = untrained(files["one"])
    assert weights == untrained(files["one"]) != untrained(files["two"])
    assert repr(untrained("starter")) == "untrained('starter')"
    assert clone(SpecMoEFeaturizer(weights)).weights == weights
    assert copy.deepcopy(weights) == weights


@pytest.mark.parametrize("weights", [None, 3, untrained("starter")])
def test_it_needs_weights_to_be_like(weights):
    with pytest.raises(TypeError, match="weights"):
        untrained(weights)


def test_a_file_that_is_missing_is_said_to_be(epochs):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        SpecMoEFeaturizer(untrained("none.safetensors")).fit(epochs)


def test_brainrvq_has_one_file(epochs):
    with pytest.raises(TypeError, match="one file"):
        BrainRVQFeaturizer(untrained(["a", "b"])).fit(epochs)
