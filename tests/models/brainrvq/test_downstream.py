"""The network for tasks gives the published outputs, takes epochs of any length, and freezes what was pretrained."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from brainrvq_golden import CHANNELS, fill, load_golden
from torch import nn

from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.downstream import (
    TOKEN_POOLINGS,
    BrainRVQDownstream,
    BrainRVQDownstreamConfig,
    n_whole_seconds,
    pooled_tokens,
    random_encoder,
    whole_seconds,
    window_lengths,
)
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder, TransformerConfig, initialise, to_patches
from mne_specmoe.models.brainrvq.published import encoder_keys
from mne_specmoe.models.interface import Downstream

NAMES = ["C3", "Cz", "C4"]


@pytest.fixture(scope="module")
def golden():
    return load_golden()


def make(n_outputs=2, n_patches=2, **options) -> BrainRVQDownstream:
    """A network of one block that says something: larger weights, and a norm that is not the first one."""
    torch.manual_seed(0)
    encoder = random_encoder(TransformerConfig(depth=1, **options.pop("transformer", {})))
    initialise(encoder, std=0.5)
    nn.init.normal_(encoder.norm.weight)
    nn.init.normal_(encoder.norm.bias)
    options = {"ch_names": NAMES, "hidden": 16, "encoder": encoder} | options
    return BrainRVQDownstream(n_outputs, 3, n_patches, **options).eval()


def signals(n_times=400, n_epochs=4) -> torch.Tensor:
    return torch.randn(n_epochs, 3, n_times, generator=torch.Generator().manual_seed(1))


# As published


def published_keys(network: BrainRVQDownstream) -> dict[str, str]:
    """Names of a published fine-tuned model with a linear head."""
    keys = encoder_keys(network.config.transformer(), "encoder.", "", norm="fc_norm")
    keys = {ours.replace("encoder.norm", "readout.norm"): theirs for ours, theirs in keys.items()}
    return keys | {f"readout.head.{leaf}": f"head.{leaf}" for leaf in ("weight", "bias")}


@torch.no_grad()
def test_the_fine_tuned_model_gives_the_published_outputs(golden):
    network = BrainRVQDownstream(4, 4, norm_scope="recording", ch_names=CHANNELS).eval()
    fill(network, published_keys(network))
    x = torch.from_numpy(golden["tok_x"])
    np.testing.assert_allclose(network(x).numpy(), golden["ft_logits"], rtol=1e-4, atol=1e-5)
    tokens = network.readout.norm(pooled_tokens(network.encoder, x, network.rows, "flatten"))
    np.testing.assert_allclose(tokens.numpy(), golden["ft_all_tokens"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_student_of_pretraining_reads_the_class_token_at_its_own_row(golden):
    student = BrainRVQEncoder(TransformerConfig(norm_scope="recording", cls_row="first_channel")).eval()
    fill(student, encoder_keys(student.config, "", "", norm="fc_norm"))
    network = BrainRVQDownstream(4, 4, 3, pooling="flatten", ch_names=CHANNELS, hidden=8, encoder=student).eval()
    tokens = network.readout.norm(network.pool(torch.from_numpy(golden["tok_x"])).tokens)
    np.testing.assert_allclose(tokens.numpy(), golden["ft_all_tokens"], rtol=1e-4, atol=1e-5)
    assert student.config.cls_row == "own"


@pytest.mark.parametrize(
    ("shape", "n_parameters"),
    [((4, 64, 4, "mean"), 5_823_540), ((5, 62, 1, "flatten"), 16_064_741), ((6, 16, 5, "flatten"), 22_225_142)],
    ids=["linear", "SEED-V", "TUEV"],
)
def test_parameters_are_counted_as_published(shape, n_parameters):
    *sizes, pooling = shape
    network = BrainRVQDownstream(*sizes, pooling=pooling)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_a_linear_head_starts_near_zero():
    head = make(n_outputs=50).readout.head
    assert head.weight.std().item() == pytest.approx(2e-5, rel=0.05)
    assert not head.bias.any()
    layers = [layer for layer in make(pooling="flatten", hidden=100).readout.head if isinstance(layer, nn.Linear)]
    assert [layer.weight.std().item() for layer in layers] == pytest.approx([0.02] * 3, rel=0.1)


# What the head reads


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls", "flatten"])
def test_the_head_reads_normalised_tokens(pooling):
    network, x = make(pooling=pooling), signals()
    tokens = network.encoder.raw_tokens(to_patches(x), network.rows)
    norm, head = network.readout.norm, network.readout.head
    expected = {
        "mean": lambda: head(norm(tokens[:, 1:].mean(1))),
        "cls": lambda: head(norm(tokens)[:, 0]),
        "flatten": lambda: head(norm(tokens).flatten(1)),
    }
    torch.testing.assert_close(network(x), expected[pooling]())
    assert network.pooled_names == network.pool(x)._fields


def test_the_norm_starts_as_the_encoders_or_afresh():
    pretrained, fresh = make(), make(norm_start="fresh")
    assert pretrained.readout.norm.weight.std() > 0.5
    assert pretrained.readout.norm.bias.std() > 0.5
    assert (fresh.readout.norm.weight == 1).all()
    assert not fresh.readout.norm.bias.any()
    assert not any("encoder.norm" in name for name in pretrained.state_dict())


@torch.no_grad()
def test_channels_by_name_have_their_rows_and_their_order_does_not_matter():
    network, x = make(), signals()
    assert network.rows.tolist() == channel_rows(NAMES).rows.tolist()
    other = make(ch_names=NAMES[::-1])
    torch.testing.assert_close(network.pool(x).tokens, other.pool(x.flip(1)).tokens, rtol=1e-4, atol=1e-5)
    unnamed = make(ch_names=None)
    assert unnamed.rows.tolist() == [0, -1, -1, -1]
    assert (unnamed.pool(x).tokens - network.pool(x).tokens).abs().max() > 1e-3


# Lengths


def test_epochs_are_rounded_to_whole_seconds():
    lengths = {1: 1, 2: 1, 99: 1, 200: 1, 299: 1, 300: 2, 799: 4, 800: 4, 801: 4, 899: 4, 900: 5, 6101: 31}
    assert {n: n_whole_seconds(n) for n in lengths} == lengths
    x = signals(299)
    assert torch.equal(whole_seconds(x), x[..., :200])
    x = signals(370)
    filled = whole_seconds(x)
    assert filled.shape[-1] == 400
    assert torch.equal(filled[..., :370], x)
    assert not filled[..., 370:].any()


@pytest.mark.parametrize(
    ("n_patches", "lengths"),
    [(1, [1]), (30, [30]), (31, [16, 15]), (60, [30, 30]), (61, [21, 20, 20]), (62, [21, 21, 20]), (100, [25] * 4)],
)
def test_long_epochs_are_cut_into_the_fewest_windows_of_nearly_equal_length(n_patches, lengths):
    assert window_lengths(n_patches) == lengths


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls", "channels"])
def test_windows_are_averaged_by_their_length(pooling):
    network, x = make(), signals(31 * 200, n_epochs=2)
    first, second = (pooled_tokens(network.encoder, part, network.rows, pooling) for part in x.split([3200, 3000], -1))
    found = pooled_tokens(network.encoder, x, network.rows, pooling)
    torch.testing.assert_close(found, (16 * first + 15 * second) / 31)
    if pooling == "mean":
        windows = [network.encoder.raw_tokens(to_patches(part), network.rows) for part in x.split([3200, 3000], -1)]
        torch.testing.assert_close(found, torch.cat([tokens[:, 1:] for tokens in windows], 1).mean(1))


@torch.no_grad()
def test_means_per_channel_average_to_the_mean():
    network, x = make(), signals(600)
    apart = pooled_tokens(network.encoder, x, network.rows, "channels")
    assert apart.shape == (4, 3, 200)
    torch.testing.assert_close(apart.mean(1), pooled_tokens(network.encoder, x, network.rows, "mean"))


@torch.no_grad()
@pytest.mark.parametrize("norm_scope", ["token", "recording"])
@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_an_epoch_does_not_depend_on_the_others(pooling, norm_scope):
    network, x = make(transformer={"norm_scope": norm_scope}), signals()
    together = pooled_tokens(network.encoder, x, network.rows, pooling)
    alone = pooled_tokens(network.encoder, x[2:3], network.rows, pooling)
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_flat_epochs_give_numbers():
    for pooling in ("mean", "cls", "flatten"):
        for norm_scope in ("token", "recording"):
            network = make(pooling=pooling, transformer={"norm_scope": norm_scope})
            assert network(torch.zeros(2, 3, 400)).isfinite().all()


# Frozen or free


def test_it_offers_what_the_estimators_ask_for():
    network = make()
    assert isinstance(network, Downstream)
    assert not network.standardised


def test_a_frozen_encoder_stays_and_rests():
    network = make(transformer={"drop_path": 0.9}).freeze_experts().train()
    before = {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        network(signals()).square().sum().backward()
        optimizer.step()
    assert network.readout.training
    assert not network.encoder.training
    after = network.encoder.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    network.freeze_experts(False)
    assert network.encoder.training
    assert all(p.requires_grad for p in network.parameters())


def test_learning_rates_fall_from_the_last_block_to_the_embeddings():
    network = BrainRVQDownstream(2, 3, depth=12)
    scales = network.layer_scales(0.9)
    published = {"encoder.*": 0.25419, "encoder.trunk.blocks.0.*": 0.28243, "encoder.trunk.blocks.11.*": 0.9}
    assert {name: scales[name] for name in published} == pytest.approx(published, rel=1e-4)
    assert list(scales)[-1] == "encoder.*"  # what no block is: embeddings of patches, channels and time
    assert set(network.layer_scales(1.0).values()) == {1.0}


# Stored and built again


def test_a_network_is_built_again_from_its_config_and_state():
    for options in ({}, {"pooling": "flatten", "dropouts": (0.3, 0.1)}):
        network = make(**options)
        config = BrainRVQDownstreamConfig(**json.loads(json.dumps(asdict(network.config))))
        assert config == network.config
        again = BrainRVQDownstream(**asdict(config)).eval()
        again.load_state_dict(network.state_dict())
        assert again.rows.tolist() == network.rows.tolist()
        torch.testing.assert_close(again(signals()), network(signals()), rtol=0, atol=0)


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pooling": "max"}, ValueError, "pooling='max' is not known"),
        ({"pooling": "flatten", "n_patches": None}, ValueError, "needs n_patches"),
        ({"pooling": "flatten", "n_patches": 31}, ValueError, "up to 30 s, got 31 s.*pooling='mean'"),
        ({"norm_start": "zero"}, ValueError, "norm_start='zero' is not known"),
        ({"hidden": 0}, ValueError, "hidden must be >= 1"),
        ({"dropouts": (0.1, 1.0)}, ValueError, "dropouts must be"),
        ({"dropouts": 0.1}, TypeError, "two numbers"),
        ({"n_outputs": 0}, ValueError, "n_outputs must be >= 1"),
        ({"ch_names": ["C3"]}, ValueError, "of 3 channels, as n_channels says, got 1"),
        ({"ch_names": ["C3", "Cz", "X9"]}, ValueError, "no row for 1 of the 3"),
    ],
)
def test_bad_parameters_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_input_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="3 channels|one entry more than the 2 channels"):
        make()(signals()[:, :2])
    with pytest.raises(ValueError, match=r"\(n_batch, n_channels, n_times\)"):
        make()(signals()[0])
    with pytest.raises(ValueError, match="reads epochs of 2 s, got 600 samples"):
        make(pooling="flatten")(signals(600))
