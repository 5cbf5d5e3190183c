from copy import deepcopy

import pytest
import torch
from lively_experts import LAYOUTS, distance, eeg, lively, parts, places
from torch import nn

from mne_specmoe.models.interface import Backbone
from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.network import (
    STAGES,
    SpecHiNet,
    SpecHiNetEncoder,
    check_locations,
    settle_normalisation,
    untrained_like,
)

# Channels


@torch.no_grad()
def test_permuting_channels_changes_published_embeddings():
    encoder, x = lively("published").encoder, eeg(2, 5, 480)
    order = torch.tensor([3, 0, 4, 1, 2])
    embedding = encoder.per_channel(encoder(x), 5)
    permuted = encoder.per_channel(encoder(x[:, order]), 5)
    assert distance(permuted.mean((1, 3)), embedding.mean((1, 3))) > 1e-3


@pytest.mark.parametrize("sample", [0, 240, 479])
@torch.no_grad()
def test_an_impulse_reaches_the_neighbours_as_published(sample):
    encoder, x = lively("published").encoder, eeg(1, 4, 480)
    struck = x.clone()
    struck[0, 1, sample] += 3.0
    changed = (encoder.activations(x)["down2"] - encoder.activations(struck)["down2"])[0]
    assert {c for c in range(4) if changed[c].any()} >= {0, 1, 2}


@pytest.mark.parametrize("stage", ["down1", "down2"])
@torch.no_grad()
def test_early_published_activations_are_those_of_their_channel(stage):
    encoder, x = lively("published").encoder, eeg(1, 4, 1200)
    for channel in range(4):
        struck = x.clone()
        struck[0, channel, 500:700] += 3.0
        changed = (encoder.activations(x)[stage] - encoder.activations(struck)[stage])[0].square().sum((1, 2))
        assert changed[channel] > 0.9 * changed.sum()


@torch.no_grad()
def test_tokens_come_in_order_channel_then_branch_then_time():
    encoder, x = lively().encoder, eeg(1, 3, 1200)
    embedding, made = encoder(x), encoder.stages(x).embedding
    per_channel = encoder.per_channel(embedding, 3)
    assert per_channel.shape == (1, 3, 128, 20)
    for channel in range(3):
        tokens = embedding[..., 20 * channel : 20 * (channel + 1)]
        assert torch.equal(per_channel[:, channel], tokens)
        assert torch.equal(tokens, torch.cat([made[:, channel, 0], made[:, channel, 1]], -1))


# Shapes


SHAPES = [(1, 1), (1, 360), (1, 361), (3, 120), (2, 130), (19, 200), (5, 600), (40, 7)]


@pytest.mark.parametrize(("n_channels", "n_times"), SHAPES)
@torch.no_grad()
def test_the_published_layout_takes_any_number_of_channels_and_samples(n_channels, n_times):
    expert, x = lively("published"), eeg(2, n_channels, n_times)
    n_padded = -(-n_times // 120) * 120
    while n_padded * n_channels < 360:
        n_padded += 120
    embedding, output = expert.encode(x), expert(x)
    assert embedding.shape == (2, 128, n_channels * n_padded // 60)
    assert output.short.shape == output.long.shape == x.shape
    assert output.aux_up1.shape == (2, 19, n_channels * n_padded // 30)
    assert output.aux_up2.shape == (2, 19, n_channels * 2 * n_padded // 15)
    assert output.envelope is None
    assert all(tensor.isfinite().all() for tensor in (embedding, *parts(output)))


@pytest.mark.parametrize("decoder", ["envelope", "gains", "signal"])
@pytest.mark.parametrize(("n_channels", "n_times"), SHAPES)
@torch.no_grad()
def test_the_channelwise_layout_takes_any_number_of_channels_and_samples(decoder, n_channels, n_times):
    expert, x = lively(decoder=decoder), eeg(2, n_channels, n_times)
    n_padded = max(240, -(-n_times // 120) * 120)
    n_tokens = max(1, round(n_times / 120 + 1e-6))
    embedding, output = expert.encode(x), expert(x, locations=places(n_channels))
    assert embedding.shape == (2, 128, n_channels * 2 * n_tokens)
    assert output.short.shape == output.long.shape == x.shape
    if decoder == "envelope":
        assert output.aux_up1 is output.aux_up2 is None
        assert output.envelope.shape == (2, n_channels, 2, 201, -(-n_padded // 200) + 1)
    else:
        assert output.aux_up1.shape == (2, n_channels, n_padded // 60)
        assert output.aux_up2.shape == (2, n_channels, n_padded // 15)
    assert all(tensor.isfinite().all() for tensor in (embedding, *parts(output)))


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_activations_have_one_shape_and_every_stage(layout):
    encoder, x = lively(layout).encoder, eeg(2, 3, 600)
    activations = encoder.activations(x)
    assert tuple(activations) == STAGES
    widths = [64, 64, 64, 128, 128, 128, 128]
    tokens = {"published": [80, 20, 20, 10, 10, 10, 10], "channelwise": [40, 10, 10, 5, 5, 5, 5]}[layout]
    branches = 2 if layout == "channelwise" else 1
    shapes = [(2, 3, branches * width, n) for width, n in zip(widths, tokens, strict=True)]
    assert [tuple(activation.shape) for activation in activations.values()] == shapes
    assert all(activation.std() > 0 for activation in activations.values())


@torch.no_grad()
def test_the_last_activation_is_the_embedding():
    x, channelwise, published = eeg(2, 3, 600), lively().encoder, lively("published").encoder
    last = channelwise.activations(x)["embedding"].unflatten(2, (2, -1))  # [B, C, branch, 128, n]
    assert torch.equal(last.transpose(2, 3).flatten(3), channelwise.per_channel(channelwise(x), 3))
    last = published.activations(x)["embedding"]  # [B, C, 128, n]
    assert torch.equal(last.transpose(1, 2).flatten(2), published(x))


@torch.no_grad()
def test_padding_by_hand_changes_nothing_as_published():
    expert, x = lively("published"), eeg(2, 4, 500)
    padded = nn.functional.pad(x, (0, 100))
    positions = nn.functional.pad(torch.linspace(0.1, 1.1, 500), (0, 100)).expand(2, -1)
    assert distance(expert.encode(x), expert.encode(padded, positions)) < 1e-6
    assert distance(expert(x).short, expert(padded, positions).short[..., :500]) < 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_samples_of_a_batch_do_not_see_each_other(layout):
    expert, x = lively(layout), eeg(3, 2, 480)
    together = expert.encode(x)
    alone = torch.cat([expert.encode(each[None]) for each in x])
    assert distance(together, alone) < 1e-5
    assert distance(together[0], together[1]) > 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("level", [0.0, 1.5])
def test_flat_signals_have_finite_embeddings_and_gradients(layout, level):
    expert = lively(layout)
    x = torch.full((1, 3, 480), level, requires_grad=True)
    embedding = expert.encode(x)
    embedding.square().mean().backward()
    assert embedding.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for n, p in expert.encoder.named_parameters() if "masked_norm" not in n)


# Positions


@pytest.mark.parametrize("decoder", ["envelope", "signal"])
@torch.no_grad()
def test_the_channelwise_layout_takes_no_notice_of_positions(decoder):
    expert, x = lively(decoder=decoder), eeg(2, 3, 480)
    positions = torch.linspace(1, 10, 480).expand(2, -1)
    assert torch.equal(expert.encode(x, positions), expert.encode(x))
    for given, default in zip(parts(expert(x, positions)), parts(expert(x)), strict=True):
        assert torch.equal(given, default)


@torch.no_grad()
def test_published_embeddings_depend_on_absolute_positions():
    encoder = lively("published").double().encoder
    x = eeg(2, 3, 480, dtype=torch.float64)
    positions = torch.linspace(1, 10, 480, dtype=torch.float64).expand(2, -1)
    assert distance(encoder(x, positions + 170.5), encoder(x, positions)) > 1e-3


@torch.no_grad()
def test_published_positions_default_to_those_of_inference():
    encoder, x = lively("published").encoder, eeg(2, 3, 480)
    given = encoder(x, torch.linspace(0.1, 1.1, 480).expand(2, -1))
    assert torch.equal(encoder(x), given)


# Modes, types, training


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_dropout_acts_in_training_only(layout):
    expert, x = lively(layout, dropout=0.2), eeg(2, 2, 480)
    assert all(torch.equal(a, b) for a, b in zip(parts(expert(x)), parts(expert(x)), strict=True))
    expert.train()
    assert not torch.equal(expert.encode(x), expert.encode(x))
    without = lively(layout, dropout=0.0).train()
    assert torch.equal(without.encode(x), without.encode(x))


KINDS = [
    ("published", {}),
    ("channelwise", {}),
    ("channelwise", {"told_mask": True, "amplitude": "absolute"}),
    ("channelwise", {"decoder": "signal", "bypass": False}),
    ("channelwise", {"decoder": "gains", "n_mixtures": 0}),
]


@pytest.mark.parametrize(("layout", "options"), KINDS)
@torch.no_grad()
def test_double_precision_is_double_all_the_way(layout, options):
    expert, x, where = lively(layout, **options), eeg(2, 3, 480), some_unknown(3)
    single = *parts(expert(x, locations=where)), expert.encode(x, locations=where)
    expert.double()
    double = *parts(expert(x.double(), locations=where)), expert.encode(x.double(), locations=where)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        assert b.dtype == torch.float64
        assert distance(a, b) < 1e-4 * max(1.0, b.abs().max().item())
    nudged = x.double()
    nudged[0, 0, 100] += 1e-10  # lost in any step that is taken in float32
    change = distance(expert.encode(nudged, locations=where), double[-1])
    assert 0 < change < 1e-8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("training", [True, False])
def test_every_parameter_of_the_encoder_gets_a_gradient(layout, training):
    encoder = lively(layout).encoder.train(training)
    embedding = encoder(eeg(2, 3, 480), locations=some_unknown(3))
    (embedding * torch.cos(torch.arange(embedding.numel())).view_as(embedding)).sum().backward()
    for name, parameter in encoder.named_parameters():
        if "masked_norm" in name:
            assert parameter.grad is None, name
            continue
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("layout", "options"), KINDS)
def test_reconstruction_error_reaches_every_parameter(layout, options):
    expert = lively(layout, **options)
    output = expert(eeg(2, 3, 480), locations=some_unknown(3), kept=torch.full((1, 1, 201, 4), 0.5))
    sum(part.square().mean() for part in parts(output)).backward()
    for name, parameter in expert.named_parameters():
        if "masked_norm" in name or not has_masked_norms_for(expert, name):
            assert parameter.grad.abs().max() > 0, name


def has_masked_norms_for(expert: SpecHiNet, name: str) -> bool:
    """Whether a parameter is one of a normalisation for clean signals, beside one for masked ones."""
    return name.replace(".norm.", ".masked_norm.") in dict(expert.named_parameters()) and ".norm." in name


def some_unknown(n_channels: int) -> torch.Tensor:
    """Places, of which the last is unknown."""
    where = places(n_channels)
    where[-1] = torch.nan
    return where


# Construction


def test_weights_are_initialised_as_specified():
    torch.manual_seed(0)
    expert = SpecHiNet("published")
    convolutions = [m.weight.flatten() for m in expert.modules() if isinstance(m, nn.Conv1d)]
    weights = torch.cat(convolutions)
    assert abs(weights.std() / 0.02 - 1) < 0.01
    assert abs(weights.mean()) < 1e-4
    for each in convolutions:  # each of them, not only on average
        assert abs(each.std() / 0.02 - 1) < 5 / (2 * each.numel()) ** 0.5
    norms = [m for m in expert.modules() if isinstance(m, nn.BatchNorm1d)]
    gains = torch.cat([norm.weight for norm in norms])
    assert abs(gains.mean() - 1) < 0.002
    assert abs(gains.std() / 0.02 - 1) < 0.05
    assert all((norm.bias == 0).all() for norm in norms)
    for layer in expert.modules():  # the rest as torch does: uniform within 1/sqrt(fan in)
        if isinstance(layer, nn.Linear | nn.ConvTranspose1d):
            bound = layer.weight[0].numel() ** -0.5
            assert 0.95 * bound < layer.weight.abs().max() <= bound


@pytest.mark.parametrize("layout", LAYOUTS)
def test_expert_and_encoder_are_backbones(layout):
    config = SpecHiNetConfig(layout)
    for network in (SpecHiNet(layout), SpecHiNetEncoder(config)):
        assert isinstance(network, Backbone)
        assert network.config == config
        assert network.eval().encode(eeg(1, 2, 360)).shape[1] == network.embed_dim == 128
    assert not isinstance(nn.Linear(1, 1), Backbone)


@torch.no_grad()
def test_an_encoder_alone_computes_what_the_expert_encodes():
    expert, x = lively(), eeg(1, 2, 480)
    alone = SpecHiNetEncoder(SpecHiNetConfig("channelwise")).eval()
    alone.load_state_dict(expert.encoder.state_dict())
    assert torch.equal(alone(x), expert.encode(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("x", "positions", "message"),
    [
        (torch.zeros(3, 480), None, r"\(n_batch, n_channels, n_times\), got shape \(3, 480\)"),
        (torch.zeros(1, 1, 3, 480), None, r"got shape \(1, 1, 3, 480\)"),
        (torch.zeros(0, 3, 480), None, r"empty: shape \(0, 3, 480\)"),
        (torch.zeros(1, 0, 480), None, "empty"),
        (torch.zeros(1, 3, 0), None, "empty"),
        (torch.zeros(2, 3, 480), torch.zeros(2, 479), r"positions must be \(2, 480\).*got \(2, 479\)"),
        (torch.zeros(2, 3, 480), torch.zeros(3, 480), r"got \(3, 480\)"),
    ],
)
def test_input_of_the_wrong_shape_is_refused(layout, x, positions, message):
    expert = SpecHiNet(layout)
    for method in (expert, expert.encode, expert.encoder):
        with pytest.raises(ValueError, match=message):
            method(x, positions)


def test_an_unknown_layout_is_refused_with_a_list_of_the_known_ones():
    with pytest.raises(ValueError, match="layout='flat'.*'channelwise', 'published'"):
        SpecHiNet("flat")


@pytest.mark.parametrize(("dropout", "error"), [(1.0, ValueError), (-0.1, ValueError), ("0.2", TypeError)])
def test_an_impossible_dropout_is_refused(dropout, error):
    with pytest.raises(error, match="dropout must be"):
        SpecHiNet(dropout=dropout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_locations_of_another_shape_are_refused(layout):
    x = eeg(1, 3, 480)
    for where in (places(4), torch.zeros(3), torch.zeros(1, 3, 3)):
        with pytest.raises(ValueError, match=r"locations must be \(3, 3\) \(n_channels, 3\) as x is \(1, 3, 480\)"):
            check_locations(where, x)
        if layout == "channelwise":
            for method in (lively(layout), lively(layout).encode, lively(layout).encoder.activations):
                with pytest.raises(ValueError, match="locations must be"):
                    method(x, locations=where)


# Untrained networks


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


def spread(expert: SpecHiNetEncoder) -> float:
    """How much embeddings of unlike recordings differ, as a part of their size."""
    times = torch.arange(600) / 200
    x = torch.stack([0.3 * torch.sin(2 * torch.pi * f * times) for f in (3, 10, 25)])[:, None]
    with torch.no_grad():
        embedding = expert.eval()(x).mean(-1)
    return (embedding.std(0).norm() / embedding.mean(0).norm()).item()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_settling_keeps_untrained_embeddings_of_unlike_signals_apart(layout):
    torch.manual_seed(0)
    expert = SpecHiNetEncoder(SpecHiNetConfig(layout))
    before = spread(expert)
    settle_normalisation(expert)
    assert spread(expert) > (100 if layout == "published" else 2) * before  # attention keeps what comes in
    assert spread(expert) > 0.02


def test_settling_is_deterministic_and_touches_running_statistics_only():
    torch.manual_seed(0)
    first = SpecHiNetEncoder(SpecHiNetConfig())
    second, before = deepcopy(first), deepcopy(first.state_dict())
    torch.manual_seed(1)
    settle_normalisation(first)
    torch.manual_seed(2)
    settle_normalisation(second)
    assert not changed(first.state_dict(), second)
    leaves = {name.rsplit(".", 1)[1] for name in changed(before, first)}
    assert leaves == {"running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("training", [True, False])
def test_settling_leaves_modes_momentum_and_random_state_as_they_were(training):
    expert = SpecHiNetEncoder(SpecHiNetConfig()).train(training)
    random_state = torch.get_rng_state()
    settle_normalisation(expert)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training is training for module in expert.modules())
    assert {m.momentum for m in expert.modules() if isinstance(m, nn.BatchNorm1d)} == {0.1}
    assert all(parameter.grad is None for parameter in expert.parameters())


def norms_of(encoder: SpecHiNetEncoder) -> dict[str, nn.BatchNorm1d]:
    return {name: module for name, module in encoder.named_modules() if isinstance(module, nn.BatchNorm1d)}


def test_settling_gives_both_sets_of_normalisations_the_statistics_of_noise():
    torch.manual_seed(0)
    encoder = SpecHiNetEncoder(SpecHiNetConfig()).eval()
    settle_normalisation(encoder)
    norms = norms_of(encoder)
    masked = [name for name in norms if name.endswith("masked_norm")]
    assert len(masked) == len(norms) / 2 > 0
    for name in masked:
        clean = norms[name.replace("masked_norm", "norm")]
        assert torch.equal(norms[name].running_mean, clean.running_mean)
        assert (norms[name].running_var - 1).abs().max() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_untrained_copy_has_the_architecture_and_other_weights(layout):
    options = {} if layout == "published" else {"decoder": "gains", "n_mixtures": 1, "told_mask": True}
    expert = lively(layout, dropout=0.1, **options)
    torch.manual_seed(3)
    copies = untrained_like(expert), untrained_like(expert.encoder)
    for copy, like in zip(copies, (expert, expert.encoder), strict=True):
        assert type(copy) is type(like)
        assert copy.config == like.config
        assert not any(module.training for module in copy.modules())
        theirs, ours = like.state_dict(), copy.state_dict()
        assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in theirs.items()}
        assert copy.encode(eeg(1, 2, 480)).std() > 1e-3
    weights = [e.get_parameter("bottom2.0.conv.weight") for e in (expert.encoder, copies[0].encoder, copies[1])]
    assert not any(torch.equal(a, b) for a, b in ((weights[0], weights[1]), (weights[1], weights[2])))


def test_untrained_copies_are_drawn_from_torchs_generator():
    expert = lively()
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(untrained_like(expert).encoder.state_dict()["attention1.expand.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
