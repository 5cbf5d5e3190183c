import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mne_specmoe.nn.distributed import CrossProcessBatchNorm1d, join_batch_norms
from mne_specmoe.nn.layers import (
    ConvNormAct,
    Dropout,
    MaxPool1d,
    PhaseConvTranspose1d,
    SameConv1d,
    SampleStdLayerNorm,
    add_masked_norms,
    seeing_masked,
)

CONVOLUTIONS = {
    "strided and dilated": lambda: nn.Conv1d(3, 5, 7, stride=3, dilation=2, padding=4, bias=False),
    "with bias": lambda: nn.Conv1d(3, 5, 4, padding=2),
    "same": lambda: SameConv1d(3, 5, 4, bias=False),
    "transposed": lambda: nn.ConvTranspose1d(3, 5, 8, stride=2, padding=4, output_padding=1),
    "by phases": lambda: PhaseConvTranspose1d(3, 5, 8, stride=2, padding=4, output_padding=1),
    "by phases, without bias": lambda: PhaseConvTranspose1d(3, 5, 5, stride=3, bias=False),
}


def plain(layer: ConvNormAct) -> nn.Sequential:
    """Torch's own layers with the same parameters and statistics."""
    conv, norm = copy.deepcopy(layer.conv), copy.deepcopy(layer.norm)
    if isinstance(conv, PhaseConvTranspose1d):
        torchs = nn.ConvTranspose1d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
            conv.output_padding, bias=conv.bias is not None, dtype=torch.float64,
        )  # fmt: skip
        torchs.load_state_dict(conv.state_dict())
        conv = torchs
    return nn.Sequential(conv, norm, nn.GELU()).train(layer.training)


def lively(name: str) -> ConvNormAct:
    """A layer in float64 whose normalisation does something."""
    layer = ConvNormAct(CONVOLUTIONS[name]()).double()
    for tensor in (layer.norm.weight, layer.norm.running_var):
        nn.init.uniform_(tensor, 0.3, 2.0)
    for tensor in (layer.norm.bias, layer.norm.running_mean):
        nn.init.normal_(tensor)
    return layer


def run(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradient of the input, and those of every parameter in order."""
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view(y.shape)).sum().backward()
    return [y, x.grad, *(p.grad for p in module.parameters())]


def assert_same(actual, expected):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_evaluation_folds_the_normalisation_without_changing_anything(name):
    layer = lively(name).eval()
    reference = plain(layer)
    statistics = copy.deepcopy(dict(layer.norm.named_buffers()))
    x = torch.randn(4, 3, 30, dtype=torch.float64)
    assert_same(run(layer, x), run(reference, x))
    for buffer, value in statistics.items():
        assert torch.equal(getattr(layer.norm, buffer), value)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_training_is_the_plain_sequence_running_statistics_included(name):
    layer = lively(name).train()
    reference = plain(layer)
    x = torch.randn(4, 3, 30, dtype=torch.float64)
    before = layer.norm.running_mean.clone()
    assert_same(run(layer, x), run(reference, x))
    assert (layer.norm.running_mean - before).abs().max() > 1e-3
    assert_same(list(layer.norm.buffers()), list(reference[1].buffers()))
    assert layer.norm.num_batches_tracked == 1


def test_training_and_evaluation_differ():
    layer, x = lively("same"), torch.randn(4, 3, 30, dtype=torch.float64)
    assert (layer.eval()(x) - layer.train()(x)).abs().max() > 0.1


def test_dropout_keeps_the_mean_zeroes_its_share_and_leaves_evaluation_alone():
    torch.manual_seed(0)
    dropout, x = Dropout(0.3), torch.ones(100_000, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    torch.testing.assert_close(y.detach().unique(), torch.tensor([0.0, 1 / 0.7]))
    assert abs((y == 0).float().mean().item() - 0.3) < 0.01
    torch.testing.assert_close(x.grad, y.detach())
    assert dropout(x.detach().bfloat16()).dtype == torch.bfloat16
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 6),
    padding=st.integers(0, 4),
    n_times=st.integers(1, 40),
    levels=st.sampled_from([2, 1000]),  # few: ties, of which the first counts
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_pooling_is_torchs_with_and_without_a_gradient(kernel, stride, padding, n_times, levels, dtype):
    assume(padding <= kernel // 2)
    assume(n_times + 2 * padding >= kernel)
    actual, expected = MaxPool1d(kernel, stride, padding), nn.MaxPool1d(kernel, stride, padding)
    x = torch.randint(-levels, levels, (2, 3, n_times)).to(dtype)
    for a, e in zip(run(actual, x), run(expected, x), strict=True):
        assert torch.equal(a, e)
        assert a.is_contiguous()
    assert torch.equal(actual(x), expected(x))


def test_pooling_keeps_nan():
    x = torch.tensor([[[0.0, 1.0, float("nan"), 2.0, 3.0]]], requires_grad=True)
    assert MaxPool1d(2, 1)(x).isnan().flatten().tolist() == [False, True, True, False]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 6),
    padding=st.integers(0, 9),
    dilation=st.integers(1, 4),
    output_padding=st.integers(0, 5),
    n_times=st.integers(1, 12),
    bias=st.booleans(),
)
def test_transposed_convolution_by_phases_is_torchs(kernel, stride, padding, dilation, output_padding, n_times, bias):
    assume(output_padding < max(stride, dilation))
    assume((n_times - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1 >= 1)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation,
        "output_padding": output_padding, "bias": bias, "dtype": torch.float64,
    }  # fmt: skip
    expected = nn.ConvTranspose1d(2, 3, kernel, **options)
    actual = PhaseConvTranspose1d(2, 3, kernel, **options)
    actual.load_state_dict(expected.state_dict())
    x = torch.randn(2, 2, n_times, dtype=torch.float64)
    assert_same(run(actual, x), run(expected, x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", range(1, 9))
@pytest.mark.parametrize("bias", [True, False])
def test_same_convolution_is_torchs_and_keeps_the_length(kernel, bias):
    actual = SameConv1d(2, 3, kernel, bias=bias).double()
    expected = nn.Conv1d(2, 3, kernel, bias=bias, padding="same").double()
    expected.load_state_dict(actual.state_dict())
    x = torch.randn(2, 2, 11, dtype=torch.float64)
    assert actual(x).shape == (2, 3, 11)
    assert_same(run(actual, x), run(expected, x))


def test_layer_norm_divides_by_the_unbiased_deviation_plus_eps():
    norm = SampleStdLayerNorm(6, eps=0.5).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    centred = x - x.sum(-1, keepdim=True) / 6
    deviation = (centred.square().sum(-1, keepdim=True) / 5).sqrt()
    expected = norm.weight * centred / (deviation + 0.5) + norm.bias
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


def test_layer_norm_of_a_constant_is_its_bias_with_finite_gradient():
    norm = SampleStdLayerNorm(4)
    nn.init.normal_(norm.bias)
    x = torch.full((2, 4), 3.0, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    torch.testing.assert_close(y, norm.bias.expand(2, 4))
    assert x.grad.isfinite().all()


# Normalisations of their own for masked signals


def two_sets() -> nn.Sequential:
    """Two layers, the statistics of whose normalisations differ between clean and masked signals."""
    torch.manual_seed(0)
    layers = nn.Sequential(lively("same"), ConvNormAct(nn.Conv1d(5, 3, 3)).double())
    add_masked_norms(layers)
    for layer in layers:
        nn.init.uniform_(layer.masked_norm.running_var, 0.3, 2.0)
        nn.init.normal_(layer.masked_norm.bias)
    return layers


def test_a_masked_normalisation_begins_as_a_copy():
    layer = lively("same")
    add_masked_norms(layer)
    assert layer.masked_norm is not layer.norm
    for (name, copied), value in zip(
        layer.masked_norm.state_dict().items(), layer.norm.state_dict().values(), strict=True
    ):
        assert torch.equal(copied, value), name
        assert copied.data_ptr() != value.data_ptr()


@pytest.mark.parametrize("training", [True, False])
def test_each_view_is_normalised_by_its_own_set(training):
    layers, x = two_sets().train(training), torch.randn(4, 3, 30, dtype=torch.float64)
    swapped = copy.deepcopy(layers)
    for layer in swapped:
        layer.norm, layer.masked_norm = layer.masked_norm, layer.norm
    clean = layers(x)
    with seeing_masked(layers):
        masked = layers(x)
    assert (clean - masked).abs().max() > 0.1
    torch.testing.assert_close(swapped(x), masked)
    with seeing_masked(swapped):
        torch.testing.assert_close(swapped(x), clean)


def test_the_view_is_the_clean_one_again_after_an_error():
    layers, x = two_sets().eval(), torch.randn(4, 3, 30, dtype=torch.float64)
    clean = layers(x)
    with pytest.raises(RuntimeError, match="stop"), seeing_masked(layers):
        raise RuntimeError("stop")
    assert torch.equal(layers(x), clean)


def test_a_layer_without_a_masked_normalisation_has_one_for_all():
    layer, x = lively("same").eval(), torch.randn(4, 3, 30, dtype=torch.float64)
    with seeing_masked(layer):
        assert torch.equal(layer(x), layer(x))
    assert layer.masked_norm is None
    assert not any("masked" in name for name in layer.state_dict())


def test_pooling_comes_between_normalisation_and_activation():
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    layer = ConvNormAct(SameConv1d(3, 5, 4, bias=False), pool=MaxPool1d(4, 2, 1)).double()
    for training in (True, False):
        layer.train(training)
        expected = nn.functional.gelu(nn.MaxPool1d(4, 2, 1)(copy.deepcopy(layer.norm)(layer.conv(x))))
        torch.testing.assert_close(layer(x), expected)


def test_joining_normalisations_finds_both_sets():
    layers = join_batch_norms(two_sets())
    for layer in layers:
        assert type(layer.norm) is type(layer.masked_norm) is CrossProcessBatchNorm1d
        assert layer.norm is not layer.masked_norm
