"""What the rest of the package expects of a model family."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Backbone(Protocol):
    """A network that turns windows of EEG into features.

    Attributes
    ----------
    config : dataclass
        Everything needed to build the network again.
    embed_dim : int
        Number of features per token.
    """

    config: object
    embed_dim: int

    def encode(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Map x (n_batch, n_channels, n_times) to features (n_batch, embed_dim, n_tokens)."""


@runtime_checkable
class Objective(Protocol):
    """A pretraining loss that owns its network."""

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None,
        progress: float,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its named terms; ``progress`` in [0, 1] serves curricula."""
