import pytest
import torch
from torch.nn import functional as F

from mne_specmoe.nn.heads import POOLINGS, LinearHead, PredictionHead, RowwiseLinear, Standardiser


def test_poolings_reduce_one_axis_by_mean_and_maximum():
    x = torch.tensor([[1.0, 2.0, 9.0], [-5.0, 0.0, 2.0]])
    assert torch.equal(POOLINGS["mean"](x, 1), torch.tensor([4.0, -1.0]))
    assert torch.equal(POOLINGS["max"](x, 1), torch.tensor([9.0, 2.0]))
    assert torch.equal(POOLINGS["max"](x, 0), torch.tensor([1.0, 2.0, 9.0]))
    assert set(POOLINGS) == {"mean", "max"}


@pytest.mark.parametrize(("hidden", "width"), [(None, 6), (10, 10)])
def test_head_is_norm_linear_gelu_linear(hidden, width):
    head = PredictionHead(6, 3, hidden=hidden).eval()
    assert head.hidden.weight.shape == (width, 6)
    assert head.output.weight.shape == (3, width)
    x = 3 * torch.randn(5, 6) + 1
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    hidden_units = F.gelu(normed @ head.hidden.weight.T + head.hidden.bias)
    expected = hidden_units @ head.output.weight.T + head.output.bias
    torch.testing.assert_close(head(x), expected)


def test_dropout_acts_in_training_only():
    x = torch.randn(4, 6)
    head = PredictionHead(6, 3, dropout=0.5)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))
    none = PredictionHead(6, 3, dropout=0.0)
    assert torch.equal(none(x), none(x))


def test_a_standardiser_takes_mean_and_deviation_and_silences_what_does_not_change():
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 20.0, 0.0]) + 5
    standardiser = Standardiser(3)
    standardiser.standardise(features)
    standard = standardiser(features)
    torch.testing.assert_close(standard[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard[:, :2].std(0, correction=0), torch.ones(2))
    assert (standardiser(features + 100)[:, 2] == 0).all()


def test_a_linear_head_is_linear():
    head = LinearHead(4, 2)
    first, second = torch.randn(2, 3, 4)
    torch.testing.assert_close(head((first + second) / 2), (head(first) + head(second)) / 2)


@pytest.mark.parametrize("n_features", [1, 5, 16, 201, 385])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 4, 33])
def test_rows_are_rounded_in_the_same_way_wherever_they_stand(n_features, n_outputs):
    generator = torch.Generator().manual_seed(0)
    layer = RowwiseLinear(n_features, n_outputs).eval()
    x, order = torch.randn(64, n_features, generator=generator), torch.randperm(64, generator=generator)
    with torch.inference_mode():
        expected = layer(x)
        assert torch.equal(layer(x[order]), expected[order])
        torch.testing.assert_close(expected, F.linear(x, layer.weight, layer.bias))
        torch.testing.assert_close(layer.train()(x), expected)
