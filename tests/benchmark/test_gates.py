"""Gates are compared on subjects that were not trained on, and a gate that can see the difference uses it."""

import numpy as np
import pytest
import torch

from mne_specmoe.benchmark import gates as module
from mne_specmoe.benchmark.gates import gate_scores
from mne_specmoe.benchmark.probe import Windows
from mne_specmoe.models.specmoe.mixture import GATE_SCALES
from mne_specmoe.models.specmoe.network import SpecHiNetConfig, SpecHiNetEncoder, settle_normalisation


@pytest.fixture(scope="module")
def experts():
    torch.manual_seed(0)
    made = [SpecHiNetEncoder(SpecHiNetConfig(amplitude="relative"))]
    settle_normalisation(made[0])
    return made


def make_windows(*, different: bool) -> Windows:
    """Eight subjects, with windows that do or do not have ten times the amplitude where the label is 1."""
    groups = np.repeat([f"S{number}" for number in range(8)], 8)
    y = np.arange(len(groups)) % 2
    volts = np.random.default_rng(0).normal(0, 1e-5, (len(groups), 1, 400))
    return Windows(volts * (1 + 9 * different * y)[:, None, None], y, groups, per_subject=False)


def test_only_a_gate_sees_an_amplitude_that_experts_divide_out(experts):
    scores = gate_scores(make_windows(different=True), experts, n_seeds=1)
    assert set(scores) == set(GATE_SCALES)
    assert scores["log"].shape == (8,)
    assert scores["log"].mean() > 0.9
    assert 0.25 < scores["none"].mean() < 0.75


def test_without_a_difference_scores_are_at_chance(experts):
    scores = gate_scores(make_windows(different=False), experts, n_seeds=1)
    assert all(0.25 < score.mean() < 0.75 for score in scores.values())


def test_no_subject_is_in_training_and_test(experts, monkeypatch):
    folds = []

    def guess(windows, experts, pooled, training, test, **options):
        folds.append((set(windows.groups[training]), set(windows.groups[test])))
        return windows.y[test]

    monkeypatch.setattr(module, "_fit_predict", guess)
    scores = gate_scores(make_windows(different=False), experts, n_seeds=2)
    assert len(folds) == 4 * 2 * len(GATE_SCALES)
    assert all(not training & test for training, test in folds)
    assert all((score == 1).all() for score in scores.values())
