"""The tokenizer gives the published codes and patches in parity mode, and sound ones otherwise."""

import numpy as np
import pytest
import torch
from brainrvq_golden import CHANNELS, fill, load_golden

from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.published import tokenizer_keys
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes

SMALL = {"n_codes": 32, "depth": 2, "decoder_depth": 1, "init": "random"}
PUBLISHED = {"norm_scope": "recording", "residual": "published", "init": "random"}


@pytest.fixture(scope="module")
def golden():
    return load_golden()


@pytest.fixture(scope="module")
def published():
    tokenizer = BrainRVQTokenizer(**PUBLISHED).eval()
    configs = tokenizer.encoder.config, tokenizer.decode_time.trunk.config
    fill(tokenizer, tokenizer_keys(*configs, tokenizer.config.n_levels))
    return tokenizer


def small(**options) -> BrainRVQTokenizer:
    torch.manual_seed(0)
    return BrainRVQTokenizer(**SMALL | options).eval()


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_tokens_and_codes_are_the_published_ones(golden, published):
    x = torch.from_numpy(golden["tok_x"])
    rows = channel_rows(CHANNELS).rows
    assert rows.tolist() == [0, 1, 40, 42, 83]
    close(published.encoder(to_patches(x), rows)[:, 1:], golden["tok_enc"])
    hidden = published.hidden(to_patches(x), rows)
    close(hidden.flatten(2).transpose(1, 2), golden["tok_h"])
    codes = published.encode(x, CHANNELS)
    assert codes.time.shape == (3, 2, 4, 3)
    np.testing.assert_array_equal(codes.time.flatten(2), golden["tok_codes_t"])
    np.testing.assert_array_equal(codes.frequency.flatten(2), golden["tok_codes_f"])


@torch.no_grad()
def test_patches_are_rebuilt_as_published(golden, published):
    output = published(to_patches(torch.from_numpy(golden["tok_x"])), channel_rows(CHANNELS).rows)
    close(output.time.quantized, golden["tok_q_t"])
    close(output.frequency.quantized, golden["tok_q_f"])
    for name, expected in (("time", "tok_rec_time"), ("amplitude", "tok_rec_amp"), ("angle", "tok_rec_angle")):
        close(getattr(output.rebuilt, name).flatten(1, 2), golden[expected])
    close(torch.stack([output.time.loss, output.frequency.loss]), golden["tok_losses"][:2])


def test_parameters_are_counted_as_published():
    tokenizer = BrainRVQTokenizer()
    assert sum(p.numel() for p in tokenizer.parameters()) == 9_101_240
    assert sum(p.numel() for p in tokenizer.encoder.parameters()) == 5_821_776
    assert sum(p.numel() for p in tokenizer.decode_time.parameters()) == 1_492_600


@torch.no_grad()
@pytest.mark.parametrize("residual", ["plain", "published"])
def test_decoding_codes_is_what_forward_does(residual):
    tokenizer, x = small(residual=residual), torch.randn(2, 3, 800)
    codes = tokenizer.encode(x, ["C3", "Cz", "C4"])
    decoded = tokenizer.decode(codes, ["C3", "Cz", "C4"])
    forward = tokenizer(to_patches(x), channel_rows(["C3", "Cz", "C4"]).rows)
    for name in decoded._fields:
        assert torch.equal(getattr(decoded, name), getattr(forward.rebuilt, name)), name
    assert torch.equal(codes.time, forward.time.codes)


@torch.no_grad()
def test_codes_of_a_patch_depend_on_other_patches_in_parity_mode_only():
    x = torch.randn(1, 2, 1000)
    other = x.clone()
    other[..., 400:] += 3 * torch.randn(1, 2, 600)
    for scope, same in (("token", True), ("recording", False)):
        embedding = small(norm_scope=scope).encoder.patch_embedding
        first, second = (embedding(to_patches(each)).unflatten(1, (2, 5))[:, :, :2] for each in (x, other))
        assert torch.equal(first, second) is same


@torch.no_grad()
def test_codes_do_not_depend_on_the_batch():
    tokenizer, x = small(), torch.randn(3, 2, 600)
    alone = torch.cat([tokenizer.encode(part, ["C3", "C4"]).time for part in x.split(1)], 1)
    assert torch.equal(tokenizer.encode(x, ["C3", "C4"]).time, alone)


@torch.no_grad()
def test_one_patch_per_channel_and_one_channel_work():
    tokenizer = small()
    for names, n_times in ((["C3", "C4", "Cz"], 200), (["Cz"], 200), (["Cz"], 600)):
        codes = tokenizer.encode(torch.randn(2, len(names), n_times), names)
        rebuilt = tokenizer.decode(codes, names)
        assert rebuilt.time.shape == (2, len(names), n_times // 200, 200)


@torch.no_grad()
def test_flat_input_has_finite_patches():
    tokenizer = small()
    output = tokenizer(torch.zeros(1, 2, 3, 200), channel_rows(["C3", "C4"]).rows)
    assert all(part.isfinite().all() for part in output.rebuilt)


@torch.no_grad()
def test_fewer_levels_can_be_decoded():
    tokenizer, x = small(), torch.randn(1, 2, 400)
    codes = tokenizer.encode(x, ["C3", "C4"])
    coarse = tokenizer.decode(Codes(codes.time[:1], codes.frequency[:1]), ["C3", "C4"])
    assert not torch.equal(coarse.time, tokenizer.decode(codes, ["C3", "C4"]).time)


@torch.no_grad()
def test_using_a_tokenizer_changes_nothing_in_it():
    tokenizer, x = small(), torch.randn(1, 2, 400)
    before = {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}
    tokenizer.decode(tokenizer.encode(x, ["C3", "C4"]), ["C3", "C4"])
    tokenizer(to_patches(x), channel_rows(["C3", "C4"]).rows)
    assert all(torch.equal(before[name], tensor) for name, tensor in tokenizer.state_dict().items())


def test_an_untrained_tokenizer_says_so():
    with pytest.raises(RuntimeError, match="no codes yet"):
        small(init="kmeans").encode(torch.randn(1, 1, 200), ["Cz"])


@pytest.mark.parametrize("shape", [(1, 2, 300), (1, 2, 0), (2, 400), (1, 2, 6200)])
def test_lengths_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="patches"):
        small().encode(torch.zeros(shape), ["C3", "C4"])
