"""Pooling functions and the prediction head."""

from collections.abc import Callable

from torch import Tensor, nn


def _mean(x: Tensor, dim: int) -> Tensor:
    return x.mean(dim)


def _max(x: Tensor, dim: int) -> Tensor:
    return x.amax(dim)


POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": _mean, "max": _max}


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
        self.hidden = nn.Linear(n_features, hidden)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.activation(self.hidden(self.norm(x)))))
