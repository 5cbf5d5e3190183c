from functools import cache

import pytest
import torch
from golden_data import expert_state
from torch import nn

from mne_specmoe.models.interface import Backbone
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetConfig, SpecHiNetEncoder

LAYOUTS = ["channelwise", "published"]


golden_state = cache(expert_state)


def lively(layout: str, **options: object) -> SpecHiNet:
    """An expert with golden weights, which keep the signal alive; evaluation mode."""
    torch.manual_seed(0)
    expert = SpecHiNet(layout, **options).eval()
    shapes = {name: tensor.shape for name, tensor in expert.state_dict().items()}
    state = {name: tensor for name, tensor in golden_state(1).items() if tensor.shape == shapes[name]}
    missing, _ = expert.load_state_dict(state, strict=False)
    assert all(name.startswith("decoder.aux_") for name in missing)
    return expert


def eeg(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Noise of 100 µV, in network units."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).abs().max().item()


# Channels


@torch.no_grad()
def test_permuting_channels_permutes_channelwise_embeddings():
    encoder, x = lively("channelwise").encoder, eeg(2, 5, 480)
    order = torch.tensor([3, 0, 4, 1, 2])
    embedding = encoder.per_channel(encoder(x), 5)
    permuted = encoder.per_channel(encoder(x[:, order]), 5)
    assert distance(permuted, embedding[:, order]) < 1e-5
    assert distance(permuted, embedding) > 1e-2
    assert distance(permuted.mean((1, 3)), embedding.mean((1, 3))) < 1e-5
    assert distance(permuted.amax((1, 3)), embedding.amax((1, 3))) < 1e-5


@torch.no_grad()
def test_permuting_channels_changes_published_embeddings():
    encoder, x = lively("published").encoder, eeg(2, 5, 480)
    order = torch.tensor([3, 0, 4, 1, 2])
    embedding = encoder.per_channel(encoder(x), 5)
    permuted = encoder.per_channel(encoder(x[:, order]), 5)
    assert distance(permuted.mean((1, 3)), embedding.mean((1, 3))) > 1e-3


@torch.no_grad()
def test_permuting_channels_permutes_channelwise_reconstructions():
    expert, x = lively("channelwise"), eeg(1, 3, 480)
    order = torch.tensor([2, 0, 1])
    for permuted, output in zip(expert(x[:, order]), expert(x), strict=True):
        assert distance(permuted, output[:, order]) < 1e-5
        assert distance(permuted, output) > 1e-3


def channels_reached(layout: str, n_channels: int, impulse: tuple[int, int]) -> set[int]:
    """Channels whose features, just before the first attention block, an impulse (channel, sample) changes."""
    encoder = lively(layout).encoder
    seen = []
    encoder.attention1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = eeg(1, n_channels, 480)
    struck = x.clone()
    struck[(0, *impulse)] += 3.0
    with torch.no_grad():
        encoder(x)
        encoder(struck)
    changed = (seen[0] - seen[1])[0]  # [C·L1, 64]
    if layout == "published":  # the buffer of [64, C, L1]
        changed = changed.reshape(64, n_channels, -1).transpose(0, 1)
    else:
        changed = changed.reshape(n_channels, -1, 64)
    return {c for c in range(n_channels) if changed[c].abs().max() > 0}


@pytest.mark.parametrize("sample", [0, 240, 479])
def test_an_impulse_reaches_no_other_channel_before_attention(sample):
    assert channels_reached("channelwise", 4, (1, sample)) == {1}


@pytest.mark.parametrize("sample", [0, 240, 479])
def test_an_impulse_reaches_the_neighbours_as_published(sample):
    assert channels_reached("published", 4, (1, sample)) >= {0, 1, 2}


@torch.no_grad()
def test_attention_lets_channels_see_each_other():
    encoder, x = lively("channelwise").encoder, eeg(1, 3, 480)
    struck = x.clone()
    struck[0, 1] *= -2
    changed = encoder.per_channel(encoder(x) - encoder(struck), 3)
    assert changed[0, 0].abs().max() > 1e-3


@torch.no_grad()
def test_tokens_come_in_order_channel_then_time():
    encoder = lively("channelwise").encoder
    x = eeg(1, 3, 1200)
    embedding = encoder(x)
    per_channel = encoder.per_channel(embedding, 3)
    assert per_channel.shape == (1, 3, 128, 20)
    for channel in range(3):
        assert torch.equal(per_channel[:, channel], embedding[..., 20 * channel : 20 * (channel + 1)])


# Shapes


SHAPES = [(1, 1), (1, 360), (1, 361), (3, 120), (2, 130), (19, 200), (5, 600), (40, 7)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n_channels", "n_times"), SHAPES)
@torch.no_grad()
def test_any_number_of_channels_and_samples_works(layout, n_channels, n_times):
    expert, x = lively(layout), eeg(2, n_channels, n_times)
    n_padded = -(-n_times // 120) * 120
    while n_padded * (n_channels if layout == "published" else 1) < 360:
        n_padded += 120
    embedding, output = expert.encode(x), expert(x)
    assert embedding.shape == (2, 128, n_channels * n_padded // 60)
    assert output.short.shape == output.long.shape == x.shape
    coarse, fine = n_padded // 30, 2 * n_padded // 15
    if layout == "published":
        assert output.aux_up1.shape == (2, 19, n_channels * coarse)
        assert output.aux_up2.shape == (2, 19, n_channels * fine)
    else:
        assert output.aux_up1.shape == (2, n_channels, coarse)
        assert output.aux_up2.shape == (2, n_channels, fine)
    assert all(tensor.isfinite().all() for tensor in (embedding, *output))


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_padding_by_hand_changes_nothing(layout):
    expert, x = lively(layout), eeg(2, 4, 500)
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
    assert all(p.grad.isfinite().all() for p in expert.encoder.parameters())


# Positions


@torch.no_grad()
def test_channelwise_embeddings_depend_on_differences_of_positions_only():
    encoder = lively("channelwise").double().encoder
    x = eeg(2, 3, 480, dtype=torch.float64)
    positions = torch.linspace(1, 10, 480, dtype=torch.float64).expand(2, -1)
    embedding = encoder(x, positions)
    assert distance(encoder(x, positions + 170.5), embedding) < 1e-9
    assert distance(encoder(x, 3 * positions), embedding) > 1e-4  # they do depend on the differences


@torch.no_grad()
def test_published_embeddings_depend_on_absolute_positions():
    encoder = lively("published").double().encoder
    x = eeg(2, 3, 480, dtype=torch.float64)
    positions = torch.linspace(1, 10, 480, dtype=torch.float64).expand(2, -1)
    assert distance(encoder(x, positions + 170.5), encoder(x, positions)) > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_positions_default_to_those_of_inference(layout):
    encoder, x = lively(layout).encoder, eeg(2, 3, 480)
    given = encoder(x, torch.linspace(0.1, 1.1, 480).expand(2, -1))
    assert torch.equal(encoder(x), given)


# Modes, types, training


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_dropout_acts_in_training_only(layout):
    expert, x = lively(layout), eeg(2, 2, 480)
    assert all(torch.equal(a, b) for a, b in zip(expert(x), expert(x), strict=True))
    expert.train()
    assert not torch.equal(expert.encode(x), expert.encode(x))
    without = lively(layout, dropout=0.0).train()
    assert torch.equal(without.encode(x), without.encode(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_double_precision_is_double_all_the_way(layout):
    expert, x = lively(layout), eeg(2, 3, 480)
    single = expert(x), expert.encode(x)
    expert.double()
    double = expert(x.double()), expert.encode(x.double())
    for a, b in zip((*single[0], single[1]), (*double[0], double[1]), strict=True):
        assert a.dtype == torch.float32
        assert b.dtype == torch.float64
        assert distance(a, b) < 1e-4
    nudged = x.double()
    nudged[0, 0, 100] += 1e-10  # lost in any step that is taken in float32
    change = distance(expert.encode(nudged), double[1])
    assert 0 < change < 1e-8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("training", [True, False])
def test_every_parameter_of_the_encoder_gets_a_gradient(layout, training):
    encoder = lively(layout).encoder.train(training)
    embedding = encoder(eeg(2, 3, 480))
    (embedding * torch.cos(torch.arange(embedding.numel())).view_as(embedding)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reconstruction_error_reaches_every_parameter(layout):
    expert = lively(layout)
    output = expert(eeg(2, 3, 480))
    sum(part.square().mean() for part in output).backward()
    for name, parameter in expert.named_parameters():
        assert parameter.grad.abs().max() > 0, name


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
    expert, x = lively("channelwise"), eeg(1, 2, 480)
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


# Relative amplitudes


def relative() -> SpecHiNet:
    """Golden weights, amplitudes divided out."""
    return lively("channelwise", amplitude="relative")


@torch.no_grad()
def test_relative_embeddings_do_not_depend_on_the_gain_of_a_segment():
    x = eeg(2, 3, 720)
    gains = torch.tensor([0.1, 7.0])[:, None, None]
    torch.testing.assert_close(relative().encode(gains * x), relative().encode(x), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_absolute_embeddings_do():
    x, expert = eeg(2, 3, 720), lively("channelwise")
    assert distance(expert.encode(7 * x), expert.encode(x)) > 0.01


@torch.no_grad()
def test_what_a_relative_expert_rebuilds_has_the_gain_of_its_input():
    x = eeg(1, 3, 720)
    for loud, soft in zip(relative()(7 * x), relative()(x), strict=True):
        torch.testing.assert_close(loud, 7 * soft, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_relative_amplitudes_between_channels_stay():
    x, expert = eeg(1, 2, 720), relative()
    louder = x * torch.tensor([1.0, 3.0])[:, None]
    assert distance(expert.encode(louder), expert.encode(x)) > 1e-3


@torch.no_grad()
def test_padding_does_not_count_in_the_amplitude():
    x = eeg(1, 2, 500)  # padded to 600
    torch.testing.assert_close(relative().encode(3 * x), relative().encode(x), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_flat_segment_has_finite_relative_embeddings():
    assert relative().encode(torch.zeros(1, 2, 720)).isfinite().all()


@pytest.mark.parametrize("options", [{"amplitude": "relative"}, {"decoder": "gains"}])
def test_the_published_layout_is_as_published(options):
    with pytest.raises(ValueError, match="amplitude='absolute' and decoder='signal'"):
        SpecHiNet("published", **options)
