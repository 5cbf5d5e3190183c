"""BrainRVQ's plain form computes the same, and the benchmark runs what it says."""

import dataclasses
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from mne_specmoe.benchmark import brainrvq_parts
from mne_specmoe.benchmark.brainrvq_parts import SEARCHES, TASKS, VARIANTS, _growth
from mne_specmoe.benchmark.brainrvq_plain import plain_nearest_codes, plain_network
from mne_specmoe.benchmark.gauges import MIB, in_fresh_process
from mne_specmoe.benchmark.sizes import QUICK
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer
from mne_specmoe.nn import quantize
from mne_specmoe.nn.quantize import nearest_codes

NAMES = ["C3", "Cz", "C4"]
TINY = dataclasses.replace(QUICK, brainrvq=(2, 3, 600), n_epochs=5, depth=2, n_codes=512, n_vectors=30)
TOKENIZERS = ({}, {"norm_scope": "recording", "residual": "published"})
NETWORKS = (
    {},
    {"norm_scope": "recording", "cls_row": "first_channel", "qk_norm": False, "qv_bias": True, "layer_scale": None},
)


def signals() -> torch.Tensor:
    """Two segments of three channels and four seconds."""
    return torch.randn(2, 3, 800, generator=torch.Generator().manual_seed(0))


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with parameters none of which is 0 or 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("config", TOKENIZERS)
def test_plain_tokenizer_finds_the_same_codes(config):
    tokenizer = filled(BrainRVQTokenizer(n_codes=512, depth=2, decoder_depth=1, init="random", **config)).eval()
    ours, theirs = tokenizer.encode(signals(), NAMES), plain_network(tokenizer).encode(signals(), NAMES)
    for domain in ("time", "frequency"):
        assert torch.equal(getattr(ours, domain), getattr(theirs, domain))
        assert len(getattr(ours, domain).unique()) > 5


@pytest.mark.parametrize("config", NETWORKS)
def test_plain_network_gives_the_same_logits_and_gradients(config):
    network = filled(BrainRVQ(depth=2, n_codes=512, drop_path=0.0, **config))
    plain = plain_network(network)
    rows, mask = channel_rows(NAMES).rows, torch.arange(24).view(2, 12) % 3 == 0
    predictions = [each(to_patches(signals()), rows, mask) for each in (network, plain)]
    for ours, theirs in zip(*predictions, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for prediction in predictions:
        sum(logits.logsumexp(1).sum() for part in prediction for logits in part).backward()
    for (name, ours), theirs in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_plain_form_has_none_of_the_shortcuts(monkeypatch):
    tokenizer = BrainRVQTokenizer(n_codes=512, depth=1, decoder_depth=1, init="random").eval()
    plain = plain_network(tokenizer)

    def shortcut(*args, **kwargs):
        raise AssertionError("a shortcut")

    for module, name in ((F, "scaled_dot_product_attention"), (quantize, "nearest_codes")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, shortcut)
            plain.encode(signals(), NAMES)
            with pytest.raises(AssertionError, match="a shortcut"):
                tokenizer.encode(signals(), NAMES)


def test_plain_form_is_a_copy_with_the_same_state():
    network = BrainRVQ(depth=1, n_codes=16)
    plain = plain_network(network)
    theirs = plain.state_dict()
    assert list(theirs) == list(network.state_dict())
    for name, value in network.state_dict().items():
        assert torch.equal(theirs[name], value)
        assert theirs[name].data_ptr() != value.data_ptr()


def test_plain_search_finds_the_same_codes():
    generator = torch.Generator().manual_seed(0)
    x, codes = torch.randn(100, 8, generator=generator), torch.randn(512, 8, generator=generator)
    assert torch.equal(plain_nearest_codes(x, codes), nearest_codes(x, codes))


@torch.no_grad()
@pytest.mark.parametrize("task", TASKS)
def test_both_forms_of_a_task_do_the_same_work(task):
    results = []
    for variant in TASKS[task].variants:
        torch.manual_seed(0)  # stochastic depth
        results.append(TASKS[task].build(variant, TINY)())
    for ours, plain in zip(results[::2], results[1::2], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prediction_step_reaches_every_parameter(variant, monkeypatch):
    tokenizer, network = brainrvq_parts._tokenizer(variant, TINY), brainrvq_parts._network(variant, TINY)
    monkeypatch.setattr(brainrvq_parts, "_tokenizer", lambda *_: tokenizer)
    monkeypatch.setattr(brainrvq_parts, "_network", lambda *_: network)
    with torch.no_grad():  # as where memory and seconds are measured
        TASKS["code prediction step"].build(variant, TINY)()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in tokenizer.parameters())


def test_the_settings_are_ours_and_the_published_ones():
    for variant, published in zip(VARIANTS, (False, False, True, True), strict=True):
        tokenizer, network = brainrvq_parts._tokenizer(variant, TINY), brainrvq_parts._network(variant, TINY)
        assert tokenizer.config.residual == ("published" if published else "plain")
        assert tokenizer.config.norm_scope == network.config.norm_scope == ("recording" if published else "token")


def test_memory_is_that_of_one_run(monkeypatch):
    calls = []
    monkeypatch.setitem(TASKS, "nearest codes", brainrvq_parts._Task(lambda *args: partial(calls.append, args), ()))
    assert _growth("nearest codes", "plain", TINY, 1) >= 0
    assert calls == [("plain", TINY)]


def test_a_search_never_holds_all_distances():
    sizes = dataclasses.replace(QUICK, n_vectors=8192, n_codes=4096)  # 128 MiB of distances
    blocked, plain = (in_fresh_process(_growth, "nearest codes", variant, sizes, 1) for variant in SEARCHES)
    assert blocked < 32 * MIB
    assert plain > 128 * MIB
