"""Unless told otherwise, the estimators take the weights that come with the package."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from estimator_families import BRAINRVQ, ESTIMATORS, FEATURIZERS, SPECMOE
from sklearn.base import clone

import mne_specmoe
from mne_specmoe import BrainRVQFeaturizer, SpecMoEFeaturizer
from mne_specmoe.loaders.brainrvq import load_encoder
from mne_specmoe.loaders.specmoe import load_encoders

WEIGHTS = Path(mne_specmoe.__file__).parent / "weights"
FILES = {
    SpecMoEFeaturizer: WEIGHTS / "starter.safetensors",
    BrainRVQFeaturizer: WEIGHTS / "brainrvq-starter.safetensors",
}
pytestmark = pytest.mark.filterwarnings("error::mne_specmoe.UntrainedWarning")


def make_default(kind, **parameters):
    """An estimator that is told nothing of experts, and trains only a little."""
    return kind(**({} if kind in FEATURIZERS else {"max_epochs": 1, "hidden": 8}), random_state=0, **parameters)


@pytest.fixture(scope="module")
def default_fits(epochs, y):
    return {kind: make_default(kind).fit(epochs, y) for kind in ESTIMATORS}


@pytest.mark.parametrize("kind", SPECMOE)
def test_default_experts_are_those_of_the_package(kind, default_fits):
    estimator = default_fits[kind]
    assert kind().get_params()["weights"] == "starter"
    experts = estimator.experts_ if kind is SpecMoEFeaturizer else estimator.network_.experts
    for expert, stored in zip(experts, load_encoders("starter"), strict=True):
        assert expert.config == stored.config
        found = expert.state_dict()
        for name, tensor in stored.state_dict().items():
            np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_the_default_encoder_is_that_of_the_package(kind, default_fits):
    estimator = default_fits[kind]
    assert kind().get_params()["weights"] == "brainrvq-starter"
    encoder = estimator.encoder_ if kind is BrainRVQFeaturizer else estimator.network_.encoder
    found, stored = encoder.state_dict(), load_encoder("brainrvq-starter").state_dict()
    for name, tensor in stored.items():
        if not name.startswith("norm."):  # the readout's, where there is one
            np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize("as_weights", [Path, str])
@pytest.mark.parametrize("kind", FEATURIZERS)
def test_name_and_file_give_the_same_features(kind, as_weights, default_fits, epochs):
    expected = default_fits[kind].transform(epochs)
    np.testing.assert_array_equal(kind(as_weights(FILES[kind])).fit_transform(epochs), expected)
    assert expected.std(0).max() > 1e-5  # epochs differ


def test_default_features_do_not_depend_on_what_concerns_random_experts(default_fits, epochs):
    other = SpecMoEFeaturizer(n_experts=7, layout="channelwise", random_state=5).fit_transform(epochs)
    np.testing.assert_array_equal(other, default_fits[SpecMoEFeaturizer].transform(epochs))


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", SPECMOE)
def test_the_published_layout_needs_other_weights_than_the_default(kind, epochs, y):
    match = "layout='published', but.*weights='starter'.*'channelwise'.*published files.*random experts .weights=None."
    with pytest.raises(ValueError, match=match):
        make_default(kind, layout="published").fit(epochs, y)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_default_estimators_survive_pickling_and_cloning(kind, default_fits, outputs, epochs, y):
    estimator = default_fits[kind]
    expected = outputs(estimator, epochs)
    np.testing.assert_array_equal(outputs(pickle.loads(pickle.dumps(estimator)), epochs), expected)
    again = clone(estimator)
    assert again.get_params() == estimator.get_params()
    np.testing.assert_array_equal(outputs(again.fit(epochs, y), epochs), expected)
