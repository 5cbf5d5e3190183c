"""Small networks, small data, and estimators fitted once."""

import copy

import mne
import numpy as np
import pytest
from estimator_families import ESTIMATORS, FEATURIZERS, RANDOM

from mne_specmoe.data.synthetic import make_epochs
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder
from mne_specmoe.models.specmoe.network import SpecHiNetEncoder

# What runs when a pretrained network does: class and name of the method.
RUNS = ((SpecHiNetEncoder, "stages"), (BrainRVQEncoder, "raw_tokens"))
FAST = {"hidden": 8, "max_epochs": 3}


@pytest.fixture(scope="session")
def make():
    """Make an estimator that is quick to fit: one random network, a small head, three training epochs if any."""

    def make(kind, **parameters):
        parameters = RANDOM[kind] | {"random_state": 0} | FAST | parameters
        if kind in FEATURIZERS:
            parameters = {name: value for name, value in parameters.items() if name not in FAST}
        return kind(**parameters)

    return make


@pytest.fixture(scope="session")
def outputs():
    """What an estimator says of epochs, as numbers."""

    def outputs(estimator, X):
        for name in ("transform", "predict_proba", "predict"):
            if hasattr(estimator, name):
                return getattr(estimator, name)(X)
        raise TypeError(estimator)

    return outputs


@pytest.fixture(scope="session")
def epochs() -> mne.EpochsArray:
    """24 epochs of four subjects, two classes: 3 channels, 1 s at 160 Hz. Copy before changing."""
    return make_epochs(24, n_channels=3, duration=1, sfreq=160, n_subjects=4)[0]


@pytest.fixture(scope="session")
def y(epochs) -> np.ndarray:
    """Their labels, 1 and 2."""
    return epochs.events[:, 2]


@pytest.fixture(scope="session")
def X(epochs) -> np.ndarray:
    """Their data in volts; the rate is 160 Hz."""
    return epochs.get_data(copy=True)


@pytest.fixture(scope="session")
def _fitted_once(make, epochs, y):
    with pytest.warns(UserWarning, match="random"):
        return {kind: make(kind).fit(epochs, y) for kind in ESTIMATORS}


@pytest.fixture
def fitted(_fitted_once):
    """A copy of a fitted estimator of the kind asked for."""
    return lambda kind: copy.deepcopy(_fitted_once[kind])


@pytest.fixture
def no_network_runs(monkeypatch):
    """Running a pretrained network fails the test."""

    def run(self, *args, **kwargs):
        raise AssertionError("a network was run")

    for network, method in RUNS:
        monkeypatch.setattr(network, method, run)


@pytest.fixture
def rows_per_run(monkeypatch):
    """A list that grows by the number of rows each time a pretrained network is run."""
    rows = []

    def counted(run):
        def counted(self, x, *args, **kwargs):
            rows.append(len(x))
            return run(self, x, *args, **kwargs)

        return counted

    for network, method in RUNS:
        monkeypatch.setattr(network, method, counted(getattr(network, method)))
    return rows
