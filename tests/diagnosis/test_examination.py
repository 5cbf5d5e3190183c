"""The passes of the health check: who is chosen, and what comes out for networks whose features are known."""

import numpy as np
import pytest
import torch
from planted_examinee import PlantedExaminee

from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.diagnosis.bands import log_relative_power
from mne_specmoe.diagnosis.examination import GAINS, N_MASKS, Sample, examine, examine_spectrum, pooled, spread
from mne_specmoe.diagnosis.examinee import passes


def sample(n_people: int = 4, n_each: int = 8, seed: int = 0) -> Sample:
    """Background EEG; alpha differs between epochs."""
    n, t = n_people * n_each, np.arange(800) / 200
    strength = np.random.default_rng(seed).uniform(0, 3, (n, 1, 1))
    volts = make_eeg(n, 3, 800, random_state=seed) + 1e-5 * strength * np.sin(2 * np.pi * 10 * t)
    x = torch.from_numpy((1e4 * volts).astype(np.float32))
    return Sample(x, np.repeat(np.arange(n_people), n_each), log_relative_power(x.numpy()), seed)


def test_people_get_equal_shares_evenly_over_their_recordings():
    groups = np.repeat([0, 1, 2], [100, 10, 3])
    chosen = spread(groups, 15)
    assert np.bincount(groups[chosen]).tolist() == [5, 5, 3]
    assert chosen[:5].tolist() == [0, 24, 49, 74, 99]
    assert len(set(chosen)) == len(chosen)


def test_some_people_are_chosen_and_those_with_too_few_epochs_left_out():
    groups = np.repeat(np.arange(10), [1, *[4] * 9])
    chosen = spread(groups, 6, n_people=3, least=2)
    assert np.unique(groups[chosen]).tolist() == [1, 5, 9]
    assert len(chosen) == 6
    assert not len(spread(np.arange(5), 4, least=2))


def test_features_are_pooled_over_time_then_channels():
    x = torch.randn(2, 3, 4, 5)
    means, deviations = pooled({"a": x})["a"]
    np.testing.assert_allclose(means, x.mean((1, 3)).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviations, x.std(-1, correction=0).log().mean(1).numpy(), rtol=1e-5, atol=1e-6)
    one_step = pooled({"a": x[..., :1]})["a"][1]
    assert np.isfinite(one_step).all()


def test_features_of_the_signal_are_told_from_features_of_the_mask():
    of_signal, of_mask = (examine(PlantedExaminee(*kind), sample()) for kind in ((1, 0), (0.05, 1)))
    signal, mask = of_signal.stages["embedding"], of_mask.stages["embedding"]
    assert signal.shares["mask"] < 0.05 < 0.9 < mask.shares["mask"]
    assert signal.shares["person"] + signal.shares["segment"] > 0.9
    assert signal.r2["alpha"] > 0.9
    assert signal.participation_ratio == pytest.approx(examine_spectrum(sample()).participation_ratio, rel=0.2)
    assert signal.distance < 0.2 < mask.distance
    assert of_signal.exchange.lost == pytest.approx(1)
    assert of_mask.exchange.lost == pytest.approx(0.05 / 1.05)
    assert of_signal.r2["alpha"] > 0.7


def test_absolute_amplitude_shows_as_amplitude():
    found = examine(PlantedExaminee(relative=False), sample())
    assert found.stages["embedding"].shares["amplitude"] > 0.5
    assert examine(PlantedExaminee(), sample()).stages["embedding"].shares["amplitude"] < 1e-6


def test_copies_of_features_change_nothing():
    once, thrice = (examine(PlantedExaminee(copies=n), sample()).stages["first"] for n in (1, 3))
    assert thrice.n_features == 3 * once.n_features
    assert thrice.participation_ratio == pytest.approx(once.participation_ratio, rel=1e-4)
    assert thrice.shares == pytest.approx(once.shares)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_other_masks():
    first, again = (examine(PlantedExaminee(1, 1), sample()).stages["first"] for _ in range(2))
    assert first == again
    other = Sample(**{**vars(sample()), "seed": 1})
    assert examine(PlantedExaminee(1, 1), other).stages["first"].shares != first.shares


def test_clean_epochs_alone_leave_the_rest_open():
    found = examine(PlantedExaminee(), sample(), clean_only=True)
    stage = found.stages["first"]
    assert np.isfinite(stage.participation_ratio)
    assert np.isnan(stage.distance)
    assert np.isnan(list(stage.shares.values())).all()
    assert found.exchange is None


def test_strangers_are_other_people_under_the_same_mask(monkeypatch):
    asked, kept = [], sample()
    exchange = PlantedExaminee.exchange

    def note(self, x, strangers, seeds, other_seeds):
        asked.append((x, strangers, seeds, other_seeds))
        return exchange(self, x, strangers, seeds, other_seeds)

    monkeypatch.setattr(PlantedExaminee, "exchange", note)
    examine(PlantedExaminee(), kept)
    ((x, strangers, seeds, others),) = asked
    whose = {each.numpy().tobytes(): person for each, person in zip(kept.x, kept.groups, strict=True)}
    assert all(whose[a.numpy().tobytes()] != whose[b.numpy().tobytes()] for a, b in zip(x, strangers, strict=True))
    assert len(set(seeds.tolist()) | set(others.tolist())) == 2 * len(x)


def test_the_grid_shows_the_same_segments_under_the_same_masks_at_all_gains(monkeypatch):
    asked = []
    masked = PlantedExaminee.masked_activations
    monkeypatch.setattr(
        PlantedExaminee,
        "masked_activations",
        lambda self, x, seeds: asked.append((x, seeds)) or masked(self, x, seeds),
    )
    examine(PlantedExaminee(), sample())
    assert len(asked) == N_MASKS * len(GAINS)
    assert len({int(seeds[0]) for _, seeds in asked}) == N_MASKS
    assert all((seeds == seeds[0]).all() for _, seeds in asked)
    first = asked[0][0]
    for (x, _), gain in zip(asked, GAINS * N_MASKS, strict=True):
        torch.testing.assert_close(x, gain * first)


def test_long_segments_go_through_few_at_a_time_and_each_once():
    short, long = torch.zeros(40, 19, 800), torch.zeros(5, 19, 60_000)
    assert [len(index) for index in passes(short)] == [17, 17, 6]
    assert [len(index) for index in passes(long)] == [1] * 5
    assert torch.equal(torch.cat(passes(short)), torch.arange(40))
