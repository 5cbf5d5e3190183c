"""The transformer gives the published tokens in parity mode; the default puts its oddities right."""

import numpy as np
import pytest
import torch
from brainrvq_golden import CHANNELS, draw, fill, load_golden

from mne_specmoe.models.brainrvq.channels import UNNAMED, channel_rows
from mne_specmoe.models.brainrvq.network import (
    BrainRVQEncoder,
    DropPath,
    TransformerConfig,
    Trunk,
    initialise,
    to_patches,
)
from mne_specmoe.models.brainrvq.published import encoder_keys

ROWS = channel_rows(CHANNELS).rows
STUDENT = TransformerConfig(norm_scope="recording", cls_row="first_channel")
FINE_TUNED = TransformerConfig(norm_scope="recording")


@pytest.fixture(scope="module")
def golden():
    return load_golden()


def filled(config: TransformerConfig, prefix: str, norm: str) -> BrainRVQEncoder:
    encoder = BrainRVQEncoder(config).eval()
    fill(encoder, encoder_keys(config, "", prefix, norm=norm))
    return encoder


def small(**options) -> BrainRVQEncoder:
    torch.manual_seed(0)
    encoder = BrainRVQEncoder(TransformerConfig(depth=2, **options)).eval()
    initialise(encoder, std=0.5)
    return encoder


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_student_gives_the_published_tokens(golden):
    student = filled(STUDENT, "student.", "norm")
    patches, mask = to_patches(torch.from_numpy(golden["tok_x"])), torch.from_numpy(golden["pre_mask"])
    tokens = student(patches, ROWS, mask=mask, mask_token=draw("student.mask_token", (1, 1, 200)))
    close(tokens, golden["pre_student"])


@torch.no_grad()
def test_the_fine_tuned_encoder_gives_the_published_tokens(golden):
    encoder = filled(FINE_TUNED, "", "fc_norm")
    close(encoder(to_patches(torch.from_numpy(golden["tok_x"])), ROWS), golden["ft_all_tokens"])


def test_parameters_are_counted_as_published():
    n_parameters = {
        bias: sum(p.numel() for p in BrainRVQEncoder(TransformerConfig(qv_bias=bias)).parameters())
        for bias in (False, True)
    }
    assert n_parameters[False] == 5_822_736  # without the head; the student has a mask token of 200 besides
    assert n_parameters[True] - n_parameters[False] == 4_800


@torch.no_grad()
def test_the_order_of_channels_does_not_matter():
    encoder, patches = small(), torch.randn(2, 3, 4, 200)
    order = [2, 0, 1]
    rows = channel_rows(["C3", "Cz", "C4"]).rows
    tokens = encoder(patches, rows)
    swapped = encoder(patches[:, order], rows[[0, *(1 + i for i in order)]])
    torch.testing.assert_close(swapped[:, 0], tokens[:, 0], rtol=1e-4, atol=1e-5)
    by_channel = tokens[:, 1:].unflatten(1, (3, 4))[:, order].flatten(1, 2)
    torch.testing.assert_close(swapped[:, 1:], by_channel, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_class_token_has_a_row_of_its_own_unless_as_published():
    patches = torch.randn(1, 2, 2, 200)
    rows = channel_rows(["C3", "C4"]).rows
    for cls_row, depends in (("own", True), ("first_channel", False)):
        encoder = small(cls_row=cls_row)
        before = encoder(patches, rows)[:, 0]
        encoder.trunk.channel_embedding[0, 0] += 1
        assert torch.equal(encoder(patches, rows)[:, 0], before) is not depends


@torch.no_grad()
def test_masked_patches_are_hidden_unless_norms_are_shared():
    x = torch.randn(1, 2, 3, 200)
    other = x.clone()
    other[0, 1, 2] *= 5
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[0, 5] = True
    rows, token = channel_rows(["C3", "C4"]).rows, torch.randn(1, 1, 200)
    for scope, hidden in (("token", True), ("recording", False)):
        encoder = small(norm_scope=scope)
        first, second = (encoder(each, rows, mask=mask, mask_token=token) for each in (x, other))
        assert torch.equal(first, second) is hidden


def test_drop_path_keeps_the_mean_and_rests_in_evaluation():
    layer, x = DropPath(0.25), torch.ones(20_000, 1, 1)
    torch.manual_seed(0)
    dropped = layer.train()(x)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


def test_drop_path_rises_along_the_blocks():
    trunk = Trunk(TransformerConfig(depth=5, drop_path=0.1))
    assert [block.drop_path.p for block in trunk.blocks] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])


@torch.no_grad()
def test_deeper_blocks_start_smaller_and_draws_can_be_cut():
    encoder = BrainRVQEncoder(TransformerConfig(depth=8))
    initialise(encoder, std=0.02, bound=0.02)
    blocks = encoder.trunk.blocks
    assert blocks[0].expand.weight.abs().max() <= 0.02
    assert blocks[0].expand.weight.std() == pytest.approx(0.0108, rel=0.02)
    assert blocks[7].contract.weight.std() / blocks[0].contract.weight.std() == pytest.approx(8**-0.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth"),
        ({"norm_scope": "all"}, "norm_scope"),
        ({"cls_row": "none"}, "cls_row"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"layer_scale": 0.0}, "layer_scale"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**options)


def test_rows_must_fit_the_channels():
    with pytest.raises(ValueError, match="one entry more than the 3 channels"):
        small()(torch.zeros(1, 3, 1, 200), channel_rows(["C3", "C4"]).rows)


# Rows of the table of channels


@torch.no_grad()
def test_a_channel_without_a_name_has_an_embedding_of_zeros():
    encoder, patches = small(), torch.randn(2, 3, 2, 200)
    unnamed = encoder(patches, torch.tensor([0, 40, UNNAMED, 44]))
    named = encoder(patches, torch.tensor([0, 40, 42, 44]))
    assert (unnamed - named).abs().max() > 1e-3
    encoder.trunk.channel_embedding[0, 42] = 0
    torch.testing.assert_close(unnamed, encoder(patches, torch.tensor([0, 40, 42, 44])), rtol=0, atol=0)


def test_no_row_learns_from_a_channel_without_a_name():
    encoder = small()
    encoder(torch.randn(1, 2, 2, 200), torch.tensor([0, 40, UNNAMED])).square().sum().backward()
    learnt = encoder.trunk.channel_embedding.grad[0].abs().amax(1) > 0
    assert learnt.nonzero().flatten().tolist() == [0, 40]


@torch.no_grad()
def test_rows_that_training_used_are_remembered():
    patches, rows = torch.randn(1, 3, 2, 200), torch.tensor([0, 40, UNNAMED, 128])
    for cls_row, used in (("own", [0, 40, 128]), ("first_channel", [40, 128])):
        encoder = small(cls_row=cls_row)
        encoder(patches, rows)
        assert not encoder.trunk.trained_rows.any()  # it was no training
        encoder.train()(patches, rows)
        encoder(patches[:, :1], torch.tensor([0, 7]))
        trained = encoder.trunk.trained_rows
        assert trained.nonzero().flatten().tolist() == sorted([*used, 7])
        again = small(cls_row=cls_row)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again.trunk.trained_rows, trained)
