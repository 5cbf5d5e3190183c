import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from planted import TINY, needs_braindecode, noise, oscillating
from torch import nn

from mne_specmoe.benchmark import networks
from mne_specmoe.benchmark.conventions import standardised_windows
from mne_specmoe.benchmark.entries import Budget
from mne_specmoe.benchmark.networks import NetworkRecipe, class_weights, fit_network, plan_training
from mne_specmoe.benchmark.peers import PEERS
from mne_specmoe.benchmark.scoring import score, selection_score

ENTRIES = {entry.name: entry for entry in PEERS}


def allowing(n_windows, n_looks=3, seed=0):
    return replace(TINY, seed=seed, budget=Budget("some", n_looks=n_looks, n_windows=n_windows, n_heavy_windows=32))


class Means(nn.Module):
    """Linear in the mean square of each channel, with batch normalisation, which cannot do a batch of one."""

    def __init__(self, n_chans, n_outputs):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_chans)
        self.final_layer = nn.Linear(n_chans, n_outputs)

    def forward(self, x):
        return self.final_layer(self.norm(x.square().mean(-1)))


def volts_in_ten_microvolts(training):
    return lambda data: 1e5 * data.X


SMALL = NetworkRecipe(lambda training, shape, n_outputs: Means(shape[0], n_outputs), volts_in_ten_microvolts)
fit_small = partial(fit_network, recipe=SMALL)


@pytest.mark.parametrize(
    ("n_training", "n_parameters", "expected"),
    [
        (100, 10, (100, 60, 20)),
        (6, 10, (6, 100, 20)),
        (400, 10, (400, 15, 15)),
        (5_000, 10, (5_000, 1, 1)),
        (9_000, 10, (6_000, 1, 1)),
        (100, 3_000_000, (100, 6, 6)),
        (700, 3_000_000, (600, 1, 1)),
    ],
)
def test_passes_come_near_to_the_budget(n_training, n_parameters, expected):
    budget = Budget("some", n_windows=6_000, n_heavy_windows=600)
    plan = plan_training(n_training, n_parameters, budget)
    assert (plan.n_training, plan.n_epochs, len(plan.looks)) == expected
    assert plan.looks[-1] == plan.n_epochs
    gaps = np.diff((0, *plan.looks))
    assert gaps.min() >= 1
    assert np.ptp(gaps) <= 1


def test_classes_that_are_rare_weigh_more():
    data = noise(12, 3)
    data.y[:] = [0] * 9 + [1] * 3
    assert class_weights(data).tolist() == pytest.approx([12 / 18, 2, 1])


@needs_braindecode
class TestTraining:
    def test_eegnet_is_what_braindecode_gives(self):
        from braindecode import EEGClassifier
        from braindecode.models import EEGNet

        training, validation, test = (oscillating(40, seed=seed) for seed in (0, 10, 20))
        selected = ENTRIES["eegnet"].fit(training, validation, allowing(40 * 9, seed=7))
        choice = selected.choice
        assert (choice["n_epochs"], choice["n_looks"], choice["n_windows_seen"]) == (9, 3, 360)

        def z_scored(X):
            return (X - X.mean(-1, keepdims=True)) / X.std(-1, keepdims=True)

        with torch.random.fork_rng():
            torch.manual_seed(7)
            direct = EEGClassifier(
                EEGNet,
                optimizer=torch.optim.AdamW,
                lr=1e-3,
                batch_size=32,
                max_epochs=choice["best_epoch"],
                train_split=None,
                iterator_train__drop_last=False,
                verbose=0,
            ).fit(z_scored(training.X), training.y)
            expected = direct.predict_proba(z_scored(test.X))
        found = selected.predict(test).probabilities
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.ptp(expected[:, 0]) > 1e-3
        assert selected.n_parameters == sum(value.numel() for value in direct.module_.parameters())

    def test_eegnet_finds_a_planted_oscillation(self):
        training, validation, test = (oscillating(96, n_channels=2, seed=seed) for seed in (0, 10, 20))
        found = ENTRIES["eegnet"].fit(training, validation, allowing(2000)).predict(test)
        assert score(found, test).pooled["balanced_accuracy"] > 0.8

    @pytest.mark.parametrize("name", ["eegnet", "shallowfbcspnet", "st-transformer", "biot", "labram", "cbramod"])
    def test_the_seed_decides_and_nothing_else(self, name):
        data = noise(8, n_times=200)
        fit = partial(ENTRIES[name].fit, data, data)
        first = fit(allowing(8)).predict(data).probabilities
        torch.rand(7)
        np.random.default_rng().random(3)
        state = torch.get_rng_state()
        again = fit(allowing(8))
        np.testing.assert_array_equal(again.predict(data).probabilities, first)
        assert torch.equal(torch.get_rng_state(), state)
        other = fit(allowing(8, seed=1)).predict(data).probabilities
        assert np.abs(other - first).max() > 1e-4

    def test_looking_more_often_does_not_change_training(self, monkeypatch):
        epochs = iter(range(10))
        monkeypatch.setattr(networks, "selection_score", lambda prediction, data: next(epochs))
        training, test = noise(40), noise(8, seed=2)
        often = ENTRIES["eegnet"].fit(training, training, allowing(400, n_looks=10))  # has dropout
        monkeypatch.undo()
        rarely = ENTRIES["eegnet"].fit(training, training, allowing(400, n_looks=1))
        assert often.choice["best_epoch"] == rarely.choice["best_epoch"] == 10
        np.testing.assert_array_equal(often.predict(test).probabilities, rarely.predict(test).probabilities)

    def test_the_first_of_the_best_checkpoints_is_kept(self, monkeypatch):
        given = iter([0.5, 0.7, 0.6, 0.7, 0.1])
        monkeypatch.setattr(networks, "selection_score", lambda prediction, data: next(given))
        training, test = noise(32), noise(8, seed=1)
        chosen = fit_small(training, training, allowing(160, n_looks=5))
        assert (chosen.choice["best_epoch"], chosen.choice["validation_score"]) == (2, 0.7)
        monkeypatch.undo()
        until_then = fit_small(training, training, allowing(64, n_looks=1))
        np.testing.assert_array_equal(chosen.predict(test).probabilities, until_then.predict(test).probabilities)

    def test_looks_do_not_exceed_the_budget(self, monkeypatch):
        looks = []

        def counted(prediction, data):
            looks.append(len(data))
            return selection_score(prediction, data)

        monkeypatch.setattr(networks, "selection_score", counted)
        fit_small(noise(32), noise(12), allowing(32 * 50, n_looks=4))
        assert looks == [12] * 4

    def test_a_last_batch_of_one_window_is_left_out(self):
        training = noise(33)
        assert fit_small(training, training, allowing(66)).choice["n_windows_seen"] == 64

    def test_few_windows_are_trained_on_though_they_fill_no_batch(self):
        training = noise(8)
        training.X[training.y == 1] *= 2
        recipe = NetworkRecipe(SMALL.build, SMALL.convention, lr=0.05)
        found = fit_network(training, training, allowing(800), recipe=recipe)
        assert found.choice["validation_score"] == 1

    def test_of_too_many_windows_a_part_is_seen_once(self):
        training = noise(100)
        choices = fit_small(training, training, allowing(40)).choice
        assert (choices["n_epochs"], choices["n_windows_seen"]) == (1, 40)

    def test_classes_that_are_rare_are_found(self):
        # By two standard deviations: without weights, nine windows in ten being of one class, few would be called rare.
        parts = [noise(400, n_channels=1, n_times=200, seed=seed) for seed in (0, 1)]
        for part in parts:
            part.y[:] = np.arange(400) % 10 == 0
            part.X[part.y == 1] *= 1.1
        recipe = NetworkRecipe(SMALL.build, SMALL.convention, lr=0.02)
        found = fit_network(parts[0], parts[0], allowing(8000, n_looks=1), recipe=recipe).predict(parts[1])
        assert 0.15 < found.labels.mean() < 0.6
        assert score(found, parts[1]).pooled["balanced_accuracy"] > 0.7

    def test_numbers_are_learnt_on_their_own_scale(self):
        data = noise(64, n_channels=1)
        data.X[:] *= np.linspace(0.5, 1.5, 64, dtype=np.float32)[:, None, None]
        numbers = replace(data, y=1000 + 1e5 * data.X.std((1, 2)).astype(float), classes=())
        recipe = NetworkRecipe(SMALL.build, SMALL.convention, lr=0.05)
        found = fit_network(numbers, numbers, allowing(3200), recipe=recipe)
        assert found.predict(numbers).probabilities is None
        assert found.choice["validation_score"] > 0.8

    def test_one_window_is_refused(self):
        with pytest.raises(ValueError, match="two training windows or more, got 1"):
            fit_small(noise(1), noise(4), TINY)


def test_without_braindecode_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode", None)
    data = noise(8)
    recipe = NetworkRecipe(SMALL.build, standardised_windows)
    with pytest.raises(ImportError, match=r"mne-specmoe\[benchmark\].*torchaudio"):
        fit_network(data, data, TINY, recipe=recipe)


def test_without_pyriemann_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyriemann.estimation", None)
    data = noise(8)
    with pytest.raises(ImportError, match=r"mne-specmoe\[benchmark\]"):
        ENTRIES["tangent-lr"].fit(data, data, TINY)
