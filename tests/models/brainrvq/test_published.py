"""Every published tensor has a name of ours, or is known to be of no use."""

import math

import pytest
import torch
from brainrvq_files import fine_tuned_shapes, pretraining_shapes, tokenizer_shapes

from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder, TransformerConfig
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.published import (
    encoder_keys,
    fine_tuned_keys,
    pretraining_keys,
    published_shape,
    tokenizer_keys,
    unused_pretraining_keys,
    unused_tokenizer_keys,
)
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer

# Ours alone: counts, which rows of channels were trained, and which are those of a task's channels.
OURS = ("n_uses", "idle", "trained_rows", "rows")


def n_numbers(shapes) -> int:
    return sum(map(math.prod, shapes.values()))


def check(network, keys, unused, shapes) -> None:
    """Names and shapes are those of the file, and nothing of ours is left without a name."""
    state = network.state_dict()
    assert not set(keys.values()) & set(unused)
    assert set(keys.values()) | set(unused) == set(shapes)
    for ours, theirs in keys.items():
        assert published_shape(theirs, state[ours].shape) == shapes[theirs], theirs
    left = set(state) - set(keys)
    assert {name.split(".")[-1] for name in left} <= set(OURS), left


def test_a_tokenizer_has_the_published_tensors():
    shapes = tokenizer_shapes()
    assert len(shapes) == 311
    assert n_numbers(shapes) == 9_101_240 + 6_340_608 + 49_158
    with torch.device("meta"):
        tokenizer = BrainRVQTokenizer(residual="published")
    keys = tokenizer_keys(tokenizer.encoder.config, tokenizer.decode_time.trunk.config, 3)
    check(tokenizer, keys, unused_tokenizer_keys(3), shapes)


def test_a_pretraining_network_has_the_published_tensors():
    shapes = pretraining_shapes()
    assert len(shapes) == 250
    assert n_numbers(shapes) == 27_181_080
    with torch.device("meta"):  # names and shapes without drawing 20 million numbers
        network = BrainRVQ()
    check(network, pretraining_keys(network.encoder.config, 3), unused_pretraining_keys(3), shapes)


@pytest.mark.parametrize(("qv_bias", "n_tensors", "n_parameters"), [(False, 223, 5_823_540), (True, 247, 5_828_340)])
def test_a_fine_tuned_encoder_has_the_published_tensors(qv_bias, n_tensors, n_parameters):
    shapes = fine_tuned_shapes(qv_bias=qv_bias)
    assert len(shapes) == n_tensors
    assert n_numbers(shapes) == n_parameters
    encoder = BrainRVQEncoder(TransformerConfig(qv_bias=qv_bias))
    keys = encoder_keys(encoder.config, "", "", norm="fc_norm")
    check(encoder, keys, {"head.weight", "head.bias"}, shapes)


@pytest.mark.parametrize(
    ("flat", "head", "n_parameters"), [(None, [""], 5_823_540), ((89, 800), [".1", ".4", ".7"], 20_224_540)]
)
def test_a_fine_tuned_model_has_the_published_tensors(flat, head, n_parameters):
    shapes = fine_tuned_shapes(flat=flat)  # 22 channels, 4 s
    assert n_numbers(shapes) == n_parameters
    with torch.device("meta"):
        network = BrainRVQDownstream(4, 22, 4, pooling="mean" if flat is None else "flatten")
    check(network, fine_tuned_keys(network.encoder.config, norm="fc_norm", head=head), (), shapes)


@pytest.mark.parametrize(("n_levels", "n_codes"), [(1, 8), (2, 8), (5, 8)])
def test_names_follow_the_number_of_levels(n_levels, n_codes):
    sizes = {"n_levels": n_levels, "n_codes": n_codes, "depth": 1}
    tokenizer = BrainRVQTokenizer(**sizes, code_width=4, decoder_depth=2, residual="published")
    keys = tokenizer_keys(tokenizer.encoder.config, tokenizer.decode_time.trunk.config, n_levels)
    check(tokenizer, keys, unused_tokenizer_keys(n_levels), tokenizer_shapes(**sizes, code_width=4, decoder_depth=2))
    network = BrainRVQ(**sizes)
    keys = pretraining_keys(network.encoder.config, n_levels)
    check(network, keys, unused_pretraining_keys(n_levels), pretraining_shapes(**sizes))
