"""Experts under the health check: stages are where they belong, and decoders get what they are given."""

import numpy as np
import pytest
import torch
from specmoe_files import expert
from tiny_data import eeg_uv, make_corpus

from mne_specmoe.benchmark.rebuilding import expert_rebuilds, leave_masked, measure
from mne_specmoe.diagnosis.bands import RANGE
from mne_specmoe.diagnosis.examinee import Examinee
from mne_specmoe.diagnosis.specmoe import STAGES, SpecMoEExaminee, decoded, encoder_activations, power_between
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.mixture import settle_normalisation
from mne_specmoe.nn.heads import POOLINGS
from mne_specmoe.signal.canonical import segment_positions

KINDS = [
    {"layout": "published"},
    {"layout": "channelwise"},
    {"layout": "channelwise", "amplitude": "relative", "decoder": "gains"},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))


@pytest.fixture
def x() -> torch.Tensor:
    return 0.2 * torch.randn(2, 3, 600, generator=torch.Generator().manual_seed(0))


def settled(**kind) -> torch.nn.Module:
    """An expert in which signals do not fade."""
    network = expert(**kind)
    settle_normalisation(network.encoder)
    for gains in (network.decoder.gains_short, network.decoder.gains_long):
        if gains is not None:
            torch.nn.init.normal_(gains.linear.weight, 0.0, 0.1)
    return network.eval()


@kinds
@torch.inference_mode()
def test_every_stage_has_a_place_for_every_channel(x, kind):
    found = encoder_activations(settled(**kind).encoder, x)
    assert tuple(found) == STAGES
    assert {stage: tuple(each.shape[:3]) for stage, each in found.items()} == {
        stage: (2, 3, 64 if stage in ("down1", "down2", "attention1") else 128) for stage in STAGES
    }
    assert all(each.isfinite().all() for each in found.values())


@torch.inference_mode()
def test_the_last_stage_is_what_estimators_read(x):
    encoder = settled(layout="channelwise").encoder
    expected = POOLINGS["mean"](encoder.per_channel(encoder(x), 3), -1)
    torch.testing.assert_close(encoder_activations(encoder, x)["embedding"].mean(-1), expected)


@torch.inference_mode()
def test_stages_before_attention_keep_channels_apart(x):
    encoder, other = settled(layout="channelwise").encoder, x.clone()
    other[:, 1] *= -1
    found, changed = encoder_activations(encoder, x), encoder_activations(encoder, other)
    for stage in ("down1", "down2"):
        assert torch.equal(found[stage][:, [0, 2]], changed[stage][:, [0, 2]])
        assert not torch.allclose(found[stage][:, 1], changed[stage][:, 1])
    for stage in ("attention1", "bottom1", "embedding"):
        assert not torch.equal(found[stage][:, 0], changed[stage][:, 0])


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
    network = settled(layout="channelwise", amplitude="relative", decoder="gains")
    torch.testing.assert_close(decoded(network, x, 7 * x), decoded(network, x, x), rtol=1e-4, atol=1e-6)


def test_power_is_that_of_a_wave_in_the_band():
    wave = torch.sin(2 * torch.pi * 10 * torch.arange(800) / 200).expand(2, 3, -1)
    inside = power_between(wave, (1.0, 45.0))
    assert inside.shape == (2,)
    np.testing.assert_allclose(power_between(wave, (8.0, 12.0)), inside, rtol=1e-3)
    assert (power_between(wave, (20.0, 45.0)) < 1e-4 * inside).all()


@torch.inference_mode()
def test_errors_are_those_of_the_benchmark(tmp_path):
    """One person, whose segments the corpus numbers from 0."""
    network, mask = settled(layout="channelwise"), GaussianStftMask()
    corpus = make_corpus(tmp_path / "corpus", {"S1": eeg_uv(2, 3, 1)})
    methods = {"own": expert_rebuilds(network), "masked": leave_masked}
    expected = {name: float(bands["all"][0]) for name, bands in measure(corpus, methods, mask).by_method.items()}
    from mne_specmoe.data.batches import CorpusBatches

    batch = CorpusBatches(corpus, np.arange(3), batch_size=8, shuffle=False)[0][0]
    masked = mask(batch.x, batch.seeds).signal
    clean = power_between(batch.x, RANGE).sum()
    assert power_between(masked - batch.x, RANGE).sum() / clean == pytest.approx(expected["masked"], rel=1e-4)
    first = batch.x[:1], batch.seeds[:1]
    examinee = SpecMoEExaminee([network], mask)
    losses = examinee.exchange(first[0], batch.x[1:2], first[1], batch.seeds[1:2])
    own = decoded(network, mask(*first).signal, mask(*first).signal)
    assert losses.own[0] == pytest.approx(power_between(own - first[0], RANGE)[0])
    assert losses.baseline[0] == pytest.approx(power_between(masked[:1] - first[0], RANGE)[0])


@torch.inference_mode()
def test_experts_stand_side_by_side_and_rebuild_their_mean(x):
    one, two = settled(layout="channelwise"), settled(layout="channelwise", amplitude="relative")
    both = SpecMoEExaminee([one, two], GaussianStftMask())
    assert isinstance(both, Examinee)
    found = both.activations(x)["down3"]
    torch.testing.assert_close(found[:, :, 128:], encoder_activations(two.encoder, x)["down3"])
    seeds = torch.tensor([1, 2]), torch.tensor([3, 4])
    losses = both.exchange(x, x.flip(0), *seeds)
    masked = GaussianStftMask()(x, seeds[0]).signal
    mean = (decoded(one, masked, masked) + decoded(two, masked, masked)) / 2
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
