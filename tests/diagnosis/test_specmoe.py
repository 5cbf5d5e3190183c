"""Experts under the health check: stages are where they belong, and decoders get what they are given."""

import numpy as np
import pytest
import torch
from specmoe_files import expert
from tiny_data import eeg_uv, make_corpus

from mne_specmoe.benchmark.rebuilding import expert_rebuilds, leave_masked, measure
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.diagnosis.bands import RANGE
from mne_specmoe.diagnosis.examinee import Examinee
from mne_specmoe.diagnosis.specmoe import SpecMoEExaminee, decoded, power_between
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import STAGES, untrained_like
from mne_specmoe.nn.layers import seeing_masked
from mne_specmoe.signal.canonical import segment_positions

KINDS = [
    {"layout": "published"},
    {"layout": "channelwise"},
    {"layout": "channelwise", "amplitude": "absolute", "decoder": "signal"},
    {"layout": "channelwise", "decoder": "gains"},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))


@pytest.fixture
def x() -> torch.Tensor:
    return 0.2 * torch.randn(2, 3, 600, generator=torch.Generator().manual_seed(0))


def settled(**kind) -> torch.nn.Module:
    """An expert in which signals do not fade, and whose decoder does something."""
    network = untrained_like(expert(**kind))
    for name, module in network.decoder.named_modules():
        if isinstance(module, torch.nn.Linear) and ("gains" in name or "envelope" in name):
            torch.nn.init.normal_(module.weight, 0.0, 0.1)
    return network


@kinds
@torch.inference_mode()
def test_stages_of_all_experts_stand_side_by_side(x, kind):
    one, two = settled(**kind), settled(**kind)
    found = SpecMoEExaminee([one, two], GaussianStftMask()).activations(x)
    assert tuple(found) == STAGES
    for name, stage in one.encoder.activations(x).items():
        n_features = stage.shape[2]
        torch.testing.assert_close(found[name][:, :, :n_features], stage)
        torch.testing.assert_close(found[name][:, :, n_features:], two.encoder.activations(x)[name])


@torch.inference_mode()
def test_masked_signals_are_seen_as_in_pretraining(x):
    network, seeds = settled(), torch.tensor([1, 2])
    network.encoder.short[0].masked_norm.bias.add_(1.0)
    masked = GaussianStftMask()(x, seeds).signal
    found = SpecMoEExaminee([network], GaussianStftMask()).masked_activations(x, seeds)["down1"]
    with seeing_masked(network.encoder):
        torch.testing.assert_close(found, network.encoder.activations(masked)["down1"])
    assert not torch.allclose(found, network.encoder.activations(masked)["down1"])


@torch.inference_mode()
def test_places_of_channels_reach_the_network(x):
    network, places = settled(), torch.tensor([[-0.1, 0, 0], [0, 0, 0.1], [0.1, 0, 0]])
    with_places = SpecMoEExaminee([network], GaussianStftMask(), places)
    found = with_places.activations(x)["embedding"]
    torch.testing.assert_close(found, network.encoder.activations(x, locations=places)["embedding"])
    assert not torch.allclose(found, network.encoder.activations(x)["embedding"])
    assert with_places.untrained(0).locations is places


@kinds
@torch.inference_mode()
def test_a_decoder_with_its_own_features_is_the_expert(x, kind):
    network = settled(**kind)
    output = network(x, segment_positions(0, x.shape[-1]))
    torch.testing.assert_close(decoded(network, x, x), (output.short + output.long) / 2)


@kinds
@torch.inference_mode()
def test_a_decoder_with_features_of_others_makes_something_else(x, kind):
    network = settled(**kind)
    assert not torch.allclose(decoded(network, x, x.flip(-1)), decoded(network, x, x), rtol=1e-3, atol=1e-6)


@torch.inference_mode()
def test_amplitudes_of_others_do_not_come_through_where_amplitude_is_relative(x):
    network = settled(layout="channelwise", amplitude="relative")
    torch.testing.assert_close(decoded(network, x, 8 * x), decoded(network, x, x), rtol=1e-4, atol=1e-6)


def test_power_is_that_of_a_wave_in_the_band():
    wave = torch.sin(2 * torch.pi * 10 * torch.arange(800) / 200).expand(2, 3, -1)
    inside = power_between(wave, (1.0, 45.0))
    assert inside.shape == (2,)
    np.testing.assert_allclose(power_between(wave, (8.0, 12.0)), inside, rtol=1e-3)
    assert (power_between(wave, (20.0, 45.0)) < 1e-4 * inside).all()


@torch.inference_mode()
def test_errors_are_those_of_the_benchmark(tmp_path):
    network, mask = settled(decoder="gains", told_mask=False), GaussianStftMask()
    corpus = make_corpus(tmp_path / "corpus", {"S1": eeg_uv(2, 3, 1)})
    batch = CorpusBatches(corpus, np.arange(3), batch_size=8, shuffle=False)[0][0]
    methods = {"own": expert_rebuilds(network), "baseline": leave_masked}
    expected = {name: float(bands["all"][0]) for name, bands in measure(corpus, methods, mask).by_method.items()}
    losses = SpecMoEExaminee([network], mask).exchange(batch.x, batch.x.flip(0), batch.seeds, batch.seeds + 1)
    for name, error in expected.items():
        assert getattr(losses, name).sum() / losses.clean.sum() == pytest.approx(error, rel=1e-4)


@torch.inference_mode()
def test_everything_but_the_features_stays_the_segments_own(x):
    """The mask that the decoder is told, too."""
    network, seeds = settled(), (torch.tensor([1, 2]), torch.tensor([3, 4]))
    losses = SpecMoEExaminee([network], GaussianStftMask()).exchange(x, x.flip(0), *seeds)
    masked, kept = GaussianStftMask()(x, seeds[0])
    others = GaussianStftMask()(x.flip(0), seeds[0]).signal, GaussianStftMask()(x, seeds[1]).signal
    for other, found in zip(others, (losses.other_person, losses.other_mask), strict=True):
        rebuilt = decoded(network, masked, other, kept=kept)
        np.testing.assert_allclose(found, power_between(rebuilt - x, RANGE), rtol=1e-5)


@torch.inference_mode()
def test_what_several_experts_rebuild_is_the_mean(x):
    one, two = settled(), settled()
    both = SpecMoEExaminee([one, two], GaussianStftMask())
    assert isinstance(both, Examinee)
    seeds = torch.tensor([1, 2]), torch.tensor([3, 4])
    losses = both.exchange(x, x.flip(0), *seeds)
    masked, kept = GaussianStftMask()(x, seeds[0])
    mean = (decoded(one, masked, masked, kept=kept) + decoded(two, masked, masked, kept=kept)) / 2
    np.testing.assert_allclose(losses.own, power_between(mean - x, RANGE), rtol=1e-5)


@torch.inference_mode()
def test_an_untrained_copy_has_the_architecture_and_other_weights_and_leaves_the_seed_alone(x):
    examinee = SpecMoEExaminee([settled(layout="channelwise", amplitude="relative")], GaussianStftMask())
    state = torch.get_rng_state()
    first, again, other = (examinee.untrained(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.experts[0].config == examinee.experts[0].config
    found = [each.activations(x)["embedding"] for each in (first, again, other, examinee)]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    assert found[0].std() > 1e-3  # signals do not fade


def test_encoders_alone_say_that_they_cannot_rebuild():
    examinee = SpecMoEExaminee([expert().encoder], GaussianStftMask())
    assert "without decoders" in examinee.no_exchange
    assert "without decoders" in examinee.untrained(0).no_exchange
