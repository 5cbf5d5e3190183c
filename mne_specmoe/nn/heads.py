"""Pooling functions and prediction heads."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ALIGNED = 16  # numbers of float32 in 64 bytes


def _mean(x: Tensor, dim: int) -> Tensor:
    return x.mean(dim)


def _max(x: Tensor, dim: int) -> Tensor:
    return x.amax(dim)


POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": _mean, "max": _max}


class RowwiseLinear(nn.Linear):
    """A linear layer that, but in training, rounds a row in the same way wherever in a batch it stands.

    How products of matrices are rounded depends on where rows begin in memory, and that differs from row to row unless
    their length is a multiple of 64 bytes. So they are filled up with zeros.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in_features] to [..., out_features]."""
        if self.training:
            return super().forward(x)
        missing = (0, -self.in_features % _ALIGNED)
        return F.linear(F.pad(x, missing), F.pad(self.weight, missing), self.bias)


class PredictionHead(nn.Module):
    """LayerNorm · Linear · GELU · dropout · Linear.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of the input and of the output.
    hidden : int | None
        Width in between (None: `n_features`).
    dropout : float
        Dropout probability before the last layer.
    """

    def __init__(self, n_features: int, n_outputs: int, *, hidden: int | None = None, dropout: float = 0.2):
        super().__init__()
        hidden = n_features if hidden is None else hidden
        self.norm = nn.LayerNorm(n_features)
        self.hidden = RowwiseLinear(n_features, hidden)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.output = RowwiseLinear(hidden, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.activation(self.hidden(self.norm(x)))))


class Standardiser(nn.Module):
    """Features less their mean, times a scale; both are taken from training epochs.

    Parameters
    ----------
    n_features : int
        How many there are.

    Attributes
    ----------
    mean, scale : Tensor, shape (n_features,)
        0 and 1 before they are set.
    """

    def __init__(self, n_features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Take mean and standard deviation of training epochs [n, n_features]; what does not change becomes 0."""
        wide = features.double()
        mean, std = wide.mean(0), wide.std(0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6 * mean.abs().clamp_min(1.0), 1.0 / std, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class LinearHead(nn.Module):
    """Standardised features and one linear layer.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of the input and of the output.
    """

    def __init__(self, n_features: int, n_outputs: int):
        super().__init__()
        self.standardiser = Standardiser(n_features)
        self.output = RowwiseLinear(n_features, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.standardiser(x))
