"""What the rest of the package expects of a model family."""

from collections.abc import Mapping
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


@runtime_checkable
class Downstream(Protocol):
    """A network for a task: a pretrained part, and a readout that is all that trains while the former is frozen.

    The estimators' shells (`mne_specmoe.estimators._base`) ask no more of a network than this.

    Attributes
    ----------
    readout : nn.Module
        Maps what `pool` returns, given by name, to outputs (n_batch, n_outputs).
    parts : nn.ModuleDict
        Of `mne_specmoe.nn.parts.Part`: what the readout reads beside, or instead of, all that is special to a family.
    measured_names, pooled_names : tuple of str
        Names of what `measure` and `pool` return. The last measured ones are those of the parts; pooled names are those
        of the readout's arguments, the last one is ``"features"`` if there are parts.
    signal_names : tuple of str
        Names of what `measure_signals` returns, the last of `measured_names`.
    standardised : tuple of str
        Those of `pooled_names` that `standardise` needs; where there are none, it is not called.
    """

    readout: object
    parts: object
    measured_names: tuple[str, ...]
    signal_names: tuple[str, ...]
    pooled_names: tuple[str, ...]
    standardised: tuple[str, ...]

    def measure(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the pretrained part on x (n_batch, n_channels, n_times): all that depends on an epoch alone.

        `kept` are places of the channels, if they are not all of the network's.
        """

    def measure_signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the last of what `measure` returns, without the pretrained part."""

    def from_measured(self, *measured: Tensor, whiteners: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Turn what was measured into what the readout reads; `whiteners` replace those of the parts."""

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Both, one after the other: a row per epoch."""

    def standardise(self, **pooled: Tensor) -> None:
        """Take statistics from the training part before training."""

    def freeze_experts(self, frozen: bool = True) -> "Downstream":
        """Keep the pretrained part ("experts", if it is only one, too) as it is, to the bit, or let it train."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x to outputs: pool and read out."""


@runtime_checkable
class SparesDecay(Protocol):
    """An objective some of whose parameters get no weight decay; that of others is for all parameters."""

    def spared_decay(self) -> set[str]:
        """Names, as in ``named_parameters()``, of parameters without weight decay."""
