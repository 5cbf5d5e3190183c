"""BrainRVQ's networks come back as they were saved, and published files give the golden codes and logits."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from brainrvq_files import (
    fine_tuned_shapes,
    golden_tensors,
    pretraining_shapes,
    tokenizer_shapes,
    write,
)
from brainrvq_golden import CHANNELS, load_golden
from specmoe_files import expert, fine_tuned, published_expert, specmoe
from specmoe_files import write as write_pickle
from torch.nn import functional as F
from weights_files import damages, rewrite, same_state

from mne_specmoe import checkpoint
from mne_specmoe.checkpoint import CheckpointError, read_header
from mne_specmoe.loaders.brainrvq import (
    load_brainrvq,
    load_downstream,
    load_encoder,
    load_tokenizer,
    save_brainrvq,
    save_downstream,
    save_tokenizer,
    unused_tensors,
)
from mne_specmoe.loaders.specmoe import load_encoders, load_expert, load_specmoe, save_expert, save_specmoe
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes
from mne_specmoe.models.registry import BUNDLED

ROWS = channel_rows(CHANNELS).rows
NAMES = ["C3", "Cz", "C4"]
SMALL = {"n_levels": 2, "n_codes": 16, "depth": 2}
SMALL_TOKENIZER = SMALL | {"code_width": 8, "decoder_depth": 1}


class Kind(NamedTuple):
    """One kind of published file, small."""

    shapes: Callable[..., dict[str, tuple[int, ...]]]
    options: dict[str, int]
    load: Callable


KINDS = {
    "tokenizer": Kind(tokenizer_shapes, SMALL_TOKENIZER, load_tokenizer),
    "pretraining": Kind(pretraining_shapes, SMALL, load_brainrvq),
    "fine-tuned": Kind(fine_tuned_shapes, {"depth": 2}, load_encoder),
}


def tensors(kind: str, **options) -> dict[str, torch.Tensor]:
    """Golden tensors of a small network."""
    return golden_tensors(KINDS[kind].shapes(**KINDS[kind].options | options))


def published(folder: Path, kind: str, **options) -> Path:
    """A small published file."""
    return write(folder / f"{kind}.pth", tensors(kind, **options))


def tokenizer(**options) -> BrainRVQTokenizer:
    """A small one of ours."""
    torch.manual_seed(0)
    return BrainRVQTokenizer(**SMALL_TOKENIZER | {"init": "random"} | options).eval()


def network(**options) -> BrainRVQ:
    """A small one of ours."""
    torch.manual_seed(0)
    return BrainRVQ(**SMALL | options).eval()


def downstream(**options) -> BrainRVQDownstream:
    """A small one of ours."""
    torch.manual_seed(0)
    return BrainRVQDownstream(2, 3, **{"n_patches": 2, "depth": 2, "ch_names": NAMES} | options).eval()


def eeg(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def golden():
    return load_golden()


@pytest.fixture(scope="module")
def whole_tokenizer(tmp_path_factory):
    """A published tokenizer of full size."""
    return write(tmp_path_factory.mktemp("published") / "tokenizer.pth", golden_tensors(tokenizer_shapes()))


@pytest.fixture(scope="module")
def whole_pretraining(tmp_path_factory):
    """A published pretraining network of full size."""
    return write(tmp_path_factory.mktemp("published") / "pretraining.pth", golden_tensors(pretraining_shapes()))


# Ours


@torch.no_grad()
@pytest.mark.parametrize("residual", ["plain", "published"])
def test_a_tokenizer_comes_back_as_it_was_saved(tmp_path, residual):
    saved = tokenizer(residual=residual, init="kmeans", decay=0.9, revive_after=7).train()
    saved(to_patches(eeg(2, 3, 800)), channel_rows(NAMES).rows)  # fills codebooks and counts
    path = save_tokenizer(saved.eval(), tmp_path / "t.safetensors", training={"steps": 1})
    assert read_header(path).architecture == "brainrvq-tokenizer"
    assert read_header(path).training == {"steps": 1}
    loaded = load_tokenizer(path)
    assert loaded.config == saved.config
    assert not loaded.training
    assert same_state(loaded, saved)
    x = eeg(1, 3, 600)
    assert all(torch.equal(a, b) for a, b in zip(loaded.encode(x, NAMES), saved.encode(x, NAMES), strict=True))


@torch.no_grad()
def test_a_pretraining_network_comes_back_as_it_was_saved(tmp_path):
    saved = network(qv_bias=True, layer_scale=0.2, drop_path=0.0, norm_scope="recording", cls_row="first_channel")
    path = save_brainrvq(saved, tmp_path / "n.safetensors")
    assert read_header(path).architecture == "brainrvq"
    loaded = load_brainrvq(path)
    assert loaded.config == saved.config
    assert same_state(loaded, saved)
    encoder = load_encoder(path)
    assert not encoder.training
    assert same_state(encoder, saved.encoder)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tokenizer", "network"])
def test_half_precision_halves_parameters_and_keeps_codebooks(tmp_path, kind):
    make, save, load = {
        "tokenizer": (tokenizer, save_tokenizer, load_tokenizer),
        "network": (network, save_brainrvq, load_brainrvq),
    }[kind]
    saved = make()
    full, half = (save(saved, tmp_path / precision, precision=precision) for precision in ("float32", "float16"))
    assert half.stat().st_size < 0.55 * full.stat().st_size
    loaded = load(half)
    for (name, exact), rounded in zip(saved.named_parameters(), loaded.parameters(), strict=True):
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(rounded, exact, atol=1e-4, rtol=1e-3, msg=name)
    assert all(torch.equal(a, b) for a, b in zip(saved.buffers(), loaded.buffers(), strict=True))


def test_a_tokenizer_without_codes_stays_without(tmp_path):
    loaded = load_tokenizer(save_tokenizer(tokenizer(init="kmeans"), tmp_path / "t"))
    with pytest.raises(RuntimeError, match="no codes yet"):
        loaded.encode(eeg(1, 3, 400), NAMES)


def test_only_the_right_kind_of_network_is_saved(tmp_path):
    with pytest.raises(TypeError, match="Expected a BrainRVQTokenizer, got BrainRVQ"):
        save_tokenizer(network(), tmp_path / "x")
    with pytest.raises(TypeError, match="Expected a BrainRVQ, got BrainRVQTokenizer"):
        save_brainrvq(tokenizer(), tmp_path / "x")
    with pytest.raises(TypeError, match="Expected a BrainRVQDownstream, got BrainRVQ"):
        save_downstream(network(), tmp_path / "x")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls", "flatten"])
def test_a_network_for_a_task_comes_back_as_it_was_saved(tmp_path, pooling):
    saved, x = downstream(pooling=pooling, hidden=8, dropouts=(0.3, 0.2), norm_scope="recording"), eeg(2, 3, 400)
    path = save_downstream(saved, tmp_path / "d.safetensors")
    assert read_header(path).architecture == "brainrvq-downstream"
    loaded = load_downstream(path, ch_names=NAMES)
    assert loaded.config == saved.config
    assert same_state(loaded, saved)
    assert torch.equal(loaded(x), saved(x))
    with pytest.raises(CheckpointError, match="other channels than ch_names"):
        load_downstream(path, ch_names=["C3", "C4", "Cz"])
    with pytest.raises(CheckpointError, match="norm_scope='recording', but parity=False"):
        load_downstream(path, parity=False)


@torch.no_grad()
def test_the_encoder_of_a_network_for_a_task_has_its_norm(tmp_path):
    saved = downstream()
    saved.readout.norm.weight.fill_(3.0)
    encoder = load_encoder(save_downstream(saved, tmp_path / "d"))
    patches, rows = to_patches(eeg(1, 3, 400)), saved.rows
    assert torch.equal(encoder(patches, rows), saved.readout.norm(saved.encoder.raw_tokens(patches, rows)))


# Published


@torch.no_grad()
def test_a_published_tokenizer_gives_the_golden_codes_and_patches(golden, whole_tokenizer):
    loaded = load_tokenizer(whole_tokenizer)
    x = torch.from_numpy(golden["tok_x"])
    codes = loaded.encode(x, CHANNELS)
    np.testing.assert_array_equal(codes.time.flatten(2), golden["tok_codes_t"])
    np.testing.assert_array_equal(codes.frequency.flatten(2), golden["tok_codes_f"])
    rebuilt = loaded.decode(codes, CHANNELS)
    for part, expected in zip(rebuilt, ("tok_rec_time", "tok_rec_amp", "tok_rec_angle"), strict=True):
        close(part.flatten(1, 2), golden[expected])
    assert sum(p.numel() for p in loaded.parameters()) == 9_101_240
    assert not loaded.training


@torch.no_grad()
def test_a_published_pretraining_network_gives_the_golden_logits(golden, whole_pretraining):
    loaded = load_brainrvq(whole_pretraining)
    assert not loaded.training
    assert sum(p.numel() for p in loaded.parameters()) == 27_181_080 - 8192 * 200 - 8192 - 2 * 8192 * 200
    codes = Codes(*(torch.from_numpy(golden[f"tok_codes_{letter}"]).unflatten(2, (4, 3)) for letter in "tf"))
    patches, mask = to_patches(torch.from_numpy(golden["tok_x"])), torch.from_numpy(golden["pre_mask"])
    names = {"time": "t", "time_rest": "t_sym", "frequency": "f", "frequency_rest": "f_sym"}
    for mode, told in (("eval", None), ("train", codes)):
        predictions = loaded(patches, ROWS, mask, told)
        for name, letter in names.items():
            for level, logits in enumerate(getattr(predictions, name)):
                close(logits[:, :16], golden[f"pre_{mode}_{letter}_L{level}"])
                np.testing.assert_array_equal(logits.argmax(1), golden[f"pre_{mode}_{letter}_L{level}_argmax"])


@torch.no_grad()
def test_the_encoder_of_a_published_pretraining_network_gives_the_golden_tokens(golden, whole_pretraining):
    encoder = load_encoder(whole_pretraining)
    token = torch.load(whole_pretraining, weights_only=False)["model"]["student.mask_token"]
    patches, mask = to_patches(torch.from_numpy(golden["tok_x"])), torch.from_numpy(golden["pre_mask"])
    close(encoder(patches, ROWS, mask=mask, mask_token=token), golden["pre_student"])


@torch.no_grad()
@pytest.mark.parametrize(("entry", "prefix"), [("model", ""), ("model", "module."), ("module", "")])
def test_the_encoder_of_a_published_fine_tuned_model_gives_the_golden_tokens(golden, tmp_path, entry, prefix):
    state = {prefix + name: tensor for name, tensor in golden_tensors(fine_tuned_shapes()).items()}
    path = tmp_path / "tuned.pth"
    torch.save({entry: state, "epoch": 3}, path)
    encoder = load_encoder(path)
    close(encoder(to_patches(torch.from_numpy(golden["tok_x"])), ROWS), golden["ft_all_tokens"])


@torch.no_grad()
@pytest.mark.parametrize("ch_names", [CHANNELS, ROWS])
def test_a_published_fine_tuned_model_gives_the_golden_logits(golden, tmp_path, ch_names):
    path = write(tmp_path / "tuned.pth", golden_tensors(fine_tuned_shapes()))
    loaded = load_downstream(path, ch_names=ch_names)
    assert not loaded.training
    assert sum(p.numel() for p in loaded.parameters()) == 5_823_540
    close(loaded(torch.from_numpy(golden["tok_x"])), golden["ft_logits"])
    sound = load_downstream(path, ch_names=ch_names, parity=False)
    assert not np.allclose(sound(torch.from_numpy(golden["tok_x"])), golden["ft_logits"], atol=1e-2)


@torch.no_grad()
def test_a_published_head_of_all_tokens_is_read(tmp_path):
    path = published(tmp_path, "fine-tuned", flat=(1 + 3 * 2, 5), n_outputs=1)
    state, x = tensors("fine-tuned", flat=(7, 5), n_outputs=1), eeg(2, 3, 400)
    loaded = load_downstream(path, ch_names=NAMES)
    config = loaded.config
    assert (config.pooling, config.n_patches, config.hidden, config.n_outputs) == ("flatten", 2, 5, 1)
    features = load_encoder(path)(to_patches(x), channel_rows(NAMES).rows).flatten(1)
    for layer in (1, 4):
        features = F.elu(F.linear(features, state[f"head.{layer}.weight"], state[f"head.{layer}.bias"]))
    expected = F.linear(features, state["head.7.weight"], state["head.7.bias"])
    torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-5)
    for names in (["C3", "C4"] * 2, NAMES * 3):
        with pytest.raises(CheckpointError, match=f"'head.1.weight' reads 1400 features.*{len(names)} channels"):
            load_downstream(path, ch_names=names)


@torch.no_grad()
def test_a_published_head_of_the_class_token_is_read(tmp_path):
    state = {name.replace("fc_norm", "norm"): t for name, t in tensors("fine-tuned").items()}
    path, x = write(tmp_path / "cls.pth", state), eeg(2, 3, 400)
    loaded = load_downstream(path, ch_names=NAMES)
    assert loaded.config.pooling == "cls"
    token = load_encoder(path)(to_patches(x), channel_rows(NAMES).rows)[:, 0]
    expected = F.linear(token, state["head.weight"], state["head.bias"])
    torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-5)


def test_a_published_fine_tuned_model_needs_its_channels(tmp_path):
    path = published(tmp_path, "fine-tuned")
    with pytest.raises(ValueError, match="does not say which channels.*give them as ch_names"):
        load_downstream(path)
    with pytest.raises(ValueError, match="no row for 1 of the 2 channels"):
        load_downstream(path, ch_names=["C3", "nowhere"])


@pytest.mark.parametrize("head", ["head.weight", "head.bias", "head.4.bias", "head.7.weight"])
def test_a_missing_part_of_a_head_is_named(tmp_path, head):
    state = tensors("fine-tuned", flat=(7, 5) if head.count(".") == 2 else None)
    del state[head]
    with pytest.raises(CheckpointError, match=f"missing.*{head}|{head}.*missing"):
        load_downstream(write(tmp_path / "n.pth", state), ch_names=NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_of_a_published_file_are_read_from_its_tensors(tmp_path, kind):
    config = KINDS[kind].load(published(tmp_path, kind)).config
    assert {name: getattr(config, name) for name in KINDS[kind].options} == KINDS[kind].options


@pytest.mark.parametrize("kind", ["pretraining", "fine-tuned"])
def test_biases_and_norms_of_a_published_encoder_are_there_if_the_file_has_them(tmp_path, kind):
    load = KINDS[kind].load
    assert not load(published(tmp_path, kind)).config.qv_bias
    state = tensors(kind, qv_bias=True)
    loaded = load(write(tmp_path / "biased.pth", state))
    assert loaded.config.qv_bias
    encoder = getattr(loaded, "encoder", loaded)
    (bias,) = (tensor for name, tensor in state.items() if name.endswith("blocks.1.attn.v_bias"))
    assert torch.equal(encoder.trunk.blocks[1].attention.v_bias, bias)
    bare = {name: t for name, t in state.items() if not re.search(r"gamma_|[qk]_norm", name)}
    config = load(write(tmp_path / "bare.pth", bare)).config
    assert (config.qk_norm, config.layer_scale) == (False, None)


def test_the_norm_of_a_model_that_reads_the_class_token_is_found(tmp_path):
    state = {name.replace("fc_norm", "norm"): t for name, t in tensors("fine-tuned").items()}
    encoder = load_encoder(write(tmp_path / "cls.pth", state))
    assert torch.equal(encoder.norm.weight, state["norm.weight"])


@pytest.mark.parametrize("head", ["linear", "flatten"])
def test_the_head_of_a_fine_tuned_model_does_not_matter_to_its_encoder(tmp_path, head):
    flat = (7, 5) if head == "flatten" else None
    path = published(tmp_path, "fine-tuned", flat=flat)
    assert torch.equal(load_encoder(path).norm.bias, tensors("fine-tuned")["fc_norm.bias"])


# Codebooks and rows of channels


def test_a_published_codebook_keeps_its_usage_and_starts_to_count_anew(tmp_path):
    state = tensors("tokenizer")
    state["quantize_f.layers.1.cluster_size"] += torch.arange(16.0)
    loaded = load_tokenizer(write(tmp_path / "t.pth", state))
    book = loaded.quantize_frequency.levels[1].codebook
    assert torch.equal(book.codes, state["quantize_f.layers.1.embedding.weight"])
    assert torch.equal(book.usage, torch.arange(16.0))
    assert book.ready
    assert not book.n_uses.any()
    assert not book.idle.any()


def test_a_published_codebook_that_was_never_filled_loads_and_raises_on_use(tmp_path):
    state = tensors("tokenizer")
    for letter in "tf":
        state[f"quantize_{letter}.layers.1.embedding.initted"].zero_()
    loaded = load_tokenizer(write(tmp_path / "t.pth", state))
    with pytest.raises(RuntimeError, match="no codes yet"):
        loaded.encode(eeg(1, 3, 400), NAMES)


@pytest.mark.parametrize(("kind", "table"), [("pretraining", "student.pos_embed"), ("fine-tuned", "pos_embed")])
def test_rows_that_training_never_moved_are_told_from_trained_ones(tmp_path, kind, table):
    state = tensors(kind)
    state[table] = torch.empty(1, 129, 200).uniform_(-0.02, 0.02, generator=torch.Generator().manual_seed(0))
    state[table][0, [3, 42], 7] = torch.tensor([0.0202, -0.3])
    loaded = KINDS[kind].load(write(tmp_path / "n.pth", state))
    trunk = getattr(loaded, "encoder", loaded).trunk
    assert trunk.trained_rows.nonzero().flatten().tolist() == [3, 42]
    if kind == "fine-tuned":
        whole = load_downstream(tmp_path / "n.pth", ch_names=["FP2"])
        assert torch.equal(whole.encoder.trunk.trained_rows, trunk.trained_rows)


def test_all_rows_of_a_published_tokenizer_count_as_trained(tmp_path):
    state = tensors("tokenizer")
    state["encoder.pos_embed"].zero_()
    loaded = load_tokenizer(write(tmp_path / "t.pth", state))
    for part in (loaded.encoder, loaded.decode_time, loaded.decode_frequency):
        assert part.trunk.trained_rows.all()


# As published, or not


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_parity_of_a_published_file_can_be_switched_off(tmp_path, kind):
    load, path = KINDS[kind].load, published(tmp_path, kind)
    assert load(path).config == load(path, parity=True).config
    exact, sound = load(path, parity=True), load(path, parity=False)
    assert (exact.config.norm_scope, sound.config.norm_scope) == ("recording", "token")
    encoders = [getattr(each, "encoder", each) for each in (exact, sound)]
    first, second = (encoder(to_patches(eeg(1, 4, 600)), ROWS) for encoder in encoders)
    assert not torch.allclose(first, second, atol=1e-3)
    assert same_state(*encoders)
    rows = [encoder.trunk.config.cls_row for encoder in encoders]
    assert rows == (["first_channel", "own"] if kind == "pretraining" else ["own", "own"])
    if kind == "tokenizer":
        assert exact.config.residual == sound.config.residual == "published"
        assert {part.trunk.config.norm_scope for part in (sound.decode_time, sound.encoder)} == {"token"}


@pytest.mark.parametrize(
    ("options", "parity", "setting"),
    [
        ({"norm_scope": "token", "cls_row": "first_channel"}, True, "norm_scope='token'"),
        ({"norm_scope": "recording", "cls_row": "own"}, True, "cls_row='own'"),
        ({"norm_scope": "recording", "cls_row": "own"}, False, "norm_scope='recording'"),
        ({"norm_scope": "token", "cls_row": "first_channel"}, False, "cls_row='first_channel'"),
    ],
)
def test_a_network_of_ours_computes_as_it_was_trained(tmp_path, options, parity, setting):
    path = save_brainrvq(network(**options), tmp_path / "n")
    assert load_brainrvq(path).config.cls_row == options["cls_row"]
    for load in (load_brainrvq, load_encoder):
        with pytest.raises(CheckpointError, match=f"trained with {setting}, but parity={parity}.*leave parity out"):
            load(path, parity=parity)


def test_a_tokenizer_of_ours_computes_as_it_was_trained(tmp_path):
    path = save_tokenizer(tokenizer(norm_scope="recording", residual="plain"), tmp_path / "a")
    with pytest.raises(CheckpointError, match="residual='plain', but parity=True asks for residual='published'"):
        load_tokenizer(path, parity=True)
    path = save_tokenizer(tokenizer(norm_scope="recording", residual="published"), tmp_path / "b")
    assert load_tokenizer(path, parity=True).config.residual == "published"


# What is not used


def test_tensors_without_use_are_listed(whole_tokenizer, whole_pretraining, tmp_path):
    assert unused_tensors(whole_pretraining) == [
        "student.lm_head.bias",
        "student.lm_head.weight",
        "token_embed_f.2.weight",
        "token_embed_t.2.weight",
    ]
    assert len(unused_tensors(whole_tokenizer)) == 12
    assert {name.split(".", 3)[3] for name in unused_tensors(whole_tokenizer)} == {
        "embedding.cluster_size",
        "embedding.embed_avg",
    }
    assert unused_tensors(published(tmp_path, "fine-tuned")) == []
    assert unused_tensors(save_brainrvq(network(), tmp_path / "ours")) == []


@pytest.mark.parametrize("kind", ["tokenizer", "pretraining"])
def test_tensors_without_use_may_be_absent(tmp_path, kind):
    path = published(tmp_path, kind)
    state = tensors(kind)
    for name in unused_tensors(path):
        del state[name]
    lean = write(tmp_path / "lean.pth", state)
    assert unused_tensors(lean) == []
    assert same_state(KINDS[kind].load(lean), KINDS[kind].load(path))


# Weights that come with the package


def test_names_of_weights_that_come_with_the_package_are_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WEIGHTS", tmp_path)
    for name in ("some-encoder", "some-tokenizer"):
        monkeypatch.setitem(BUNDLED, name, f"{name}.safetensors")
    save_brainrvq(network(), tmp_path / BUNDLED["some-encoder"])
    save_tokenizer(tokenizer(), tmp_path / BUNDLED["some-tokenizer"])
    assert same_state(load_encoder("some-encoder"), network().encoder)
    assert same_state(load_brainrvq("some-encoder"), network())
    assert same_state(load_tokenizer("some-tokenizer"), tokenizer())
    assert unused_tensors("some-tokenizer") == []
    with pytest.raises(CheckpointError, match="use load_tokenizer"):
        load_encoder("some-tokenizer")


# Damaged and foreign files


def test_the_encoder_is_read_whatever_is_with_the_predictors(tmp_path):
    path = save_brainrvq(network(), tmp_path / "n")
    rewrite(path, lambda state, header: state.pop("predict_time.heads.0.weight"))
    assert same_state(load_encoder(path), network().encoder)
    with pytest.raises(CheckpointError, match="missing: 'predict_time.heads.0.weight'"):
        load_brainrvq(path)


@pytest.mark.parametrize("kind", KINDS)
@damages("blocks.1.attn.qkv.weight", "patch_embed.conv2.bias", "time_embed")
def test_a_wrong_tensor_of_a_published_file_is_named(tmp_path, kind, damage, message, name):
    prefix = {"tokenizer": "encoder.", "pretraining": "student.", "fine-tuned": ""}[kind]
    state = tensors(kind)
    damage(state, prefix + name)
    with pytest.raises(CheckpointError, match=message.format(re.escape(prefix + name))):
        KINDS[kind].load(write(tmp_path / "n.pth", state))


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("tokenizer", "quantize_t.layers.0.embedding.weight", (16,)),
        ("tokenizer", "quantize_t.layers.0.embedding.weight", (0, 8)),
        ("tokenizer", "quantize_f.layers.1.embedding.weight", (17, 8)),
        ("tokenizer", "quantize_f.layers.1.embedding.initted", ()),
        ("tokenizer", "encoder.patch_embed.conv1.weight", (8, 1, 15)),
        ("tokenizer", "encoder.patch_embed.conv2.weight", (8, 8, 3, 1)),
        ("tokenizer", "decoder_f.patch_embed.proj.weight", (200, 8)),
        ("pretraining", "lm_heads_t.0.weight", (16,)),
        ("pretraining", "lm_heads_f.1.weight", (17, 200)),
    ],
)
def test_misshapen_tensors_are_named_with_their_published_shape(tmp_path, kind, name, shape):
    state = tensors(kind)
    before = tuple(state[name].shape)
    state[name] = torch.zeros(shape)
    expected = "a matrix" if name.endswith(("t.layers.0.embedding.weight", "heads_t.0.weight")) else str(before)
    message = f"tensor {name!r} has shape {shape}, expected {expected}"
    with pytest.raises(CheckpointError, match=re.escape(message)):
        KINDS[kind].load(write(tmp_path / "n.pth", state))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("tokenizer", "quantize_t.layers.0."),
        ("tokenizer", "encoder.blocks.0."),
        ("tokenizer", "decoder_f."),
        ("pretraining", "student.blocks."),
        ("pretraining", "lm_heads_t.0."),
        ("pretraining", "lm_heads_f."),
        ("fine-tuned", "fc_norm."),
    ],
)
def test_whole_parts_that_are_missing_are_named(tmp_path, kind, name):
    state = {key: tensor for key, tensor in tensors(kind).items() if not key.startswith(name)}
    with pytest.raises(CheckpointError, match=f"missing.*'{re.escape(name)}|'{re.escape(name)}.*missing"):
        KINDS[kind].load(write(tmp_path / "n.pth", state))


@damages("encoder.trunk.blocks.1.expand.weight", "encoder.norm.bias")
def test_a_wrong_tensor_of_an_encoder_of_ours_is_named(tmp_path, damage, message, name):
    path = save_brainrvq(network(), tmp_path / "n")
    rewrite(path, lambda state, header: damage(state, name))
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_encoder(path)


@damages("encoder.trunk.blocks.0.expand.weight", "quantize_time.levels.1.codebook.codes")
def test_a_wrong_tensor_of_a_tokenizer_of_ours_is_named(tmp_path, damage, message, name):
    path = save_tokenizer(tokenizer(), tmp_path / "t")
    rewrite(path, lambda state, header: damage(state, name))
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_tokenizer(path)


@pytest.mark.parametrize("kind", ["ours", "published"])
def test_a_truncated_file_is_an_error(tmp_path, kind):
    path = save_tokenizer(tokenizer(), tmp_path / "t") if kind == "ours" else published(tmp_path, "tokenizer")
    load_tokenizer(path)
    n_bytes = path.stat().st_size
    for kept in (n_bytes - 1, n_bytes // 2, 3000, 9):
        os.truncate(path, kept)
        with pytest.raises(CheckpointError, match="truncated|damaged|neither"):
            load_tokenizer(path)


def test_each_kind_of_file_says_which_function_reads_it(tmp_path):
    files = {
        "load_expert": [save_expert(expert(), tmp_path / "1"), write_pickle(tmp_path / "2", published_expert())],
        "load_specmoe": [save_specmoe(specmoe(), tmp_path / "3"), write_pickle(tmp_path / "4", fine_tuned())],
        "load_tokenizer": [save_tokenizer(tokenizer(), tmp_path / "5"), published(tmp_path, "tokenizer")],
        "load_brainrvq": [save_brainrvq(network(), tmp_path / "6"), published(tmp_path, "pretraining")],
        "load_downstream": [save_downstream(downstream(), tmp_path / "7"), published(tmp_path, "fine-tuned")],
    }
    can_read = {
        load_expert: {"load_expert"},
        load_specmoe: {"load_specmoe"},
        load_encoders: {"load_expert", "load_specmoe"},
        load_tokenizer: {"load_tokenizer"},
        load_brainrvq: {"load_brainrvq"},
        load_encoder: {"load_brainrvq", "load_downstream"},
        load_downstream: {"load_downstream"},
    }
    for load, own in can_read.items():
        for right, paths in files.items():
            for path in paths if right not in own else ():
                with pytest.raises(CheckpointError, match=rf"use (mne_specmoe\.loaders\.brainrvq\.)?{right}(\.|, or)"):
                    load(path)


def test_a_file_that_is_no_network_of_brainrvq_is_an_error(tmp_path):
    path = tmp_path / "n.pth"
    for content in ({"weights": torch.zeros(3)}, {"model": [1, 2]}, {"model": {"weight": torch.zeros(3)}}):
        torch.save(content, path)
        for load in (load_tokenizer, load_brainrvq, load_encoder, load_downstream, unused_tensors):
            with pytest.raises(CheckpointError, match=f"is not a published BrainRVQ.*only '{next(iter(content))}'"):
                load(path)
    torch.save({"model": {"student.a": 1.0}}, path)
    with pytest.raises(CheckpointError, match="not a mapping of names to tensors"):
        load_brainrvq(path)
