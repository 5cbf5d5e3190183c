"""A classifier can learn real epochs by heart."""

import numpy as np
import pytest

from mne_specmoe import SpecMoEClassifier

pytestmark = [pytest.mark.real_data, pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")]


def test_sixteen_real_epochs_are_learned_by_heart_on_random_frozen_experts(eegbci_epochs):
    epochs = eegbci_epochs[:16]
    y = epochs.events[:, 2]
    assert min(np.bincount(y)[np.unique(y)]) >= 6
    classifier = SpecMoEClassifier(
        weights=None, n_experts=1, dropout=0.0, validation_fraction=None, max_epochs=60, random_state=0
    )
    assert classifier.fit(epochs, y).score(epochs, y) == 1.0
    assert classifier.history_[-1]["train_loss"] < 0.05 < 0.5 < classifier.history_[0]["train_loss"]
    assert all(row["experts_frozen"] for row in classifier.history_)
