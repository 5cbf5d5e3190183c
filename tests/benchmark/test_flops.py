"""FLOPs are those that one works out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mne_specmoe.benchmark.flops import count_flops
from mne_specmoe.nn.attention import query_normalised_attention


def flops_of(module, x):
    """Of a forward pass."""
    return count_flops(lambda: module(x))


def flops_of_gradients(module, x):
    """Of forward and backward pass."""
    return count_flops(lambda: module(x).sum().backward())


def test_linear_layer():
    assert flops_of(nn.Linear(5, 7), torch.randn(3, 5)) == 2 * 3 * 5 * 7


def test_gradients_of_a_linear_layer_cost_twice_as_much():
    x = torch.randn(3, 5, requires_grad=True)
    assert flops_of_gradients(nn.Linear(5, 7), x) == 3 * 2 * 3 * 5 * 7


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(groups):
    convolution = nn.Conv1d(4, 6, 5, stride=2, groups=groups)
    assert flops_of(convolution, torch.randn(3, 4, 21)) == 2 * 3 * 9 * 6 * (4 // groups) * 5


def test_fused_attention_on_cpus():
    query = torch.randn(2, 3, 50, 16, requires_grad=True)
    forward = 2 * (2 * 2 * 3 * 50 * 50 * 16)
    assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == forward
    both = count_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward())
    assert both == forward + 2.5 * forward  # five products, since scores are computed again


def test_attention_in_blocks_adds_products_in_place():
    query = torch.randn(2, 3, 50, 16, requires_grad=True)
    forward = 2 * (2 * 2 * 3 * 50 * 50 * 16)
    assert count_flops(lambda: query_normalised_attention(query, query, query)) == forward


def test_products_added_in_place():
    x, first, second = torch.zeros(3, 5), torch.randn(3, 4), torch.randn(4, 5)
    assert count_flops(lambda: x.addmm_(first, second)) == 2 * 3 * 4 * 5


def test_encoder_layers_in_evaluation_mode():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    projections, products, forward = 4 * 2 * 3 * 10 * 8 * 8, 2 * 2 * 3 * 10 * 10 * 8, 2 * 2 * 3 * 10 * 8 * 16
    assert flops_of(layer, torch.randn(3, 10, 8)) == projections + products + forward


def test_nothing_else_is_counted():
    assert count_flops(lambda: torch.fft.rfft(torch.randn(8)).abs().exp().sum()) == 0
