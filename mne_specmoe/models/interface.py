"""What the rest of the package expects of a model family."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Batch(NamedTuple):
    """Segments of one montage, as a pretraining objective gets them.

    Attributes
    ----------
    x : Tensor, shape (n_segments, n_channels, n_times)
        The clean signals: 200 Hz, units of 100 µV.
    positions : Tensor, shape (n_segments, n_times)
        Position of every sample in its recording.
    seeds : Tensor of int64, shape (n_segments,)
        One number per segment and pass over the data. Whatever an objective draws for a segment comes from its seed,
        so that it depends neither on the batch nor on the process that the segment falls into.
    ch_names : tuple of str
        Names of the channels.
    locations : Tensor, shape (n_channels, 3)
        Where the electrodes are, in metres (head coordinates); NaN where that is not known.
    """

    x: Tensor
    positions: Tensor
    seeds: Tensor
    ch_names: tuple[str, ...]
    locations: Tensor


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
    """A pretraining loss that owns its network.

    Attributes
    ----------
    network : nn.Module
        What is trained and stored.
    """

    network: object

    def forward(self, batch: Batch, *, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss (a mean over segments) and its named terms; ``progress`` in [0, 1] serves curricula."""
