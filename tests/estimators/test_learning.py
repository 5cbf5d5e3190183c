"""A classifier can learn real epochs by heart."""

import numpy as np
import pytest
from estimator_families import CLASSIFIERS, RANDOM

from mne_specmoe import SpecMoEClassifier
from mne_specmoe.estimators.brainrvq import BrainRVQClassifier

CERTAIN = {
    SpecMoEClassifier: {"head": "mlp", "dropout": 0.0},
    BrainRVQClassifier: {"head": "trained", "label_smoothing": 0.0, "lr": 5e-3},
}
pytestmark = [pytest.mark.real_data, pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_sixteen_real_epochs_are_learned_by_heart_on_random_frozen_experts(kind, eegbci_epochs):
    epochs = eegbci_epochs[:16]
    y = epochs.events[:, 2]
    assert min(np.bincount(y)[np.unique(y)]) >= 6
    classifier = kind(**RANDOM[kind], **CERTAIN[kind], validation_fraction=None, max_epochs=60, random_state=0)
    assert classifier.fit(epochs, y).score(epochs, y) == 1.0
    assert classifier.history_[-1]["train_loss"] < 0.05 < 0.5 < classifier.history_[0]["train_loss"]
    assert all(row["experts_frozen"] for row in classifier.history_)
