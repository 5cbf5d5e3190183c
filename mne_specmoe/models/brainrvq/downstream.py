"""BrainRVQ for a task: the pretrained encoder, its tokens pooled, a norm and a head.

Source: arXiv:2602.16951. Shapes in the comments: B batch, C channels, A seconds, L = C·A tokens in order (channel,
second), D = 200 features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.brainrvq.channels import channel_rows, unnamed_rows
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH
from mne_specmoe.models.brainrvq.network import MAX_PATCHES, WIDTH, BrainRVQEncoder, TransformerConfig, initialise
from mne_specmoe.nn.heads import LinearHead, RowwiseLinear, Standardiser
from mne_specmoe.nn.parts import SIGNAL_PARTS, Part, check_parts, part_features, signal_parts
from mne_specmoe.signal.cross_spectrum import BANDS

HEADS = ("trained", "linear")
PARTS = ("encoder", *SIGNAL_PARTS)
"""Parts of what a head can read, in the order of their features."""

NORM_STARTS = ("pretrained", "fresh")
_INIT_STD = 0.02
_HEAD_SCALE = 0.001  # a linear head starts near zero, so that its first steps hardly disturb the encoder
_LAST_HIDDEN = 200
_TRANSFORMER = ("depth", "qv_bias", "qk_norm", "layer_scale", "drop_path", "norm_scope")


def _patch_mean(tokens: Tensor, n_channels: int) -> Tensor:
    return tokens[:, 1:].mean(1)


def _class_token(tokens: Tensor, n_channels: int) -> Tensor:
    return tokens[:, 0]


def _all_tokens(tokens: Tensor, n_channels: int) -> Tensor:
    return tokens


def _channel_means(tokens: Tensor, n_channels: int) -> Tensor:
    return tokens[:, 1:].unflatten(1, (n_channels, -1)).mean(2)


TOKEN_POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "mean": _patch_mean,
    "cls": _class_token,
    "flatten": _all_tokens,
    "channels": _channel_means,
}
"""Tokens [B, 1 + L, D] → what is kept of them, given the number of channels."""

POOLINGS = ("mean", "cls", "flatten")
"""What a trained head of a `BrainRVQDownstream` can read."""

LINEAR_POOLINGS = ("mean", "cls", "channels")
"""What a linear one can read."""


@dataclass(frozen=True)
class BrainRVQDownstreamConfig:
    """Everything that defines a `BrainRVQDownstream`.

    Parameters
    ----------
    n_outputs : int
        Number of classes, or 1 for regression.
    n_channels : int
        Number of channels.
    n_patches : int | None
        Seconds per epoch. Needed with ``pooling="flatten"``, where it is 30 at most; any number works otherwise.
    pooling : {"mean", "cls", "flatten", "channels"}
        What the head reads: the mean over all seconds of all channels, normalised; the class token, normalised; all
        tokens, class token included, each normalised; or, only where the head is linear, the mean over seconds of each
        channel, normalised.
    depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope
        Of the encoder, see `mne_specmoe.models.brainrvq.network.TransformerConfig`.
    hidden : int | None
        First width of the head of ``"flatten"`` (None: 200 per second, at least 800, as published). Other heads are one
        linear layer.
    dropouts : tuple of float, length 2
        Dropout probabilities of the head of ``"flatten"``, after its first and its second layer.
    head : {"trained", "linear"}
        A norm and a head that are trained on tokens, as published, and on the other parts; or one linear layer on all
        parts, standardised, that is solved for.
    parts : tuple of str
        What the head reads, of `PARTS`. A trained head always reads the encoder.
    n_times : int | None
        Samples per epoch at 200 Hz; needed by the evoked part.
    bands : tuple of (float, float)
        Frequency bands of covariances in Hz.
    """

    n_outputs: int
    n_channels: int
    n_patches: int | None = None
    pooling: str = "mean"
    depth: int = 12
    qv_bias: bool = False
    qk_norm: bool = True
    layer_scale: float | None = 0.1
    drop_path: float = 0.1
    norm_scope: str = "token"
    hidden: int | None = None
    dropouts: tuple[float, float] = (0.1, 0.1)
    head: str = "trained"
    parts: tuple[str, ...] = ("encoder",)
    n_times: int | None = None
    bands: tuple[tuple[float, float], ...] = BANDS

    def __post_init__(self):
        for name in ("n_outputs", "n_channels"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        for name in ("n_patches", "hidden"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=1, integer=True)
        check_option("head", self.head, HEADS)
        check_option("pooling", self.pooling, LINEAR_POOLINGS if self.head == "linear" else POOLINGS)
        check_dropouts(self.dropouts)
        check_parts(self.parts, PARTS)
        for name in ("dropouts", "parts"):  # JSON has lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "bands", tuple(map(tuple, self.bands)))
        if "evoked" in self.parts and self.n_times is None:
            raise ValueError("The part 'evoked' needs n_times.")
        self.transformer()
        if self.pooling == "flatten":
            self._check_flatten()

    def transformer(self) -> TransformerConfig:
        """What concerns the encoder. The class token has a row of its own, as published for tasks."""
        return TransformerConfig(**{name: getattr(self, name) for name in _TRANSFORMER}, cls_row="own")

    def _check_flatten(self) -> None:
        """The head of all tokens needs their number."""
        if self.n_patches is None:
            raise ValueError("pooling='flatten' needs n_patches, the seconds per epoch, since its head has that size.")
        if self.n_patches > MAX_PATCHES:
            raise ValueError(
                f"pooling='flatten' takes epochs of up to {MAX_PATCHES} s, got {self.n_patches} s: there is one time "
                "embedding per second, and a head cannot read several windows. Use pooling='mean' or 'cls', which "
                "average over windows, or cut the epochs."
            )


def check_dropouts(dropouts: Sequence[float]) -> None:
    """Raise unless these are two probabilities."""
    if not isinstance(dropouts, tuple | list) or len(dropouts) != 2:
        raise TypeError(f"dropouts must be two numbers, such as (0.1, 0.1), got {dropouts!r}.")
    for value in dropouts:
        check_number("dropouts", value, minimum=0.0, maximum=0.999)


class Pooled(NamedTuple):
    """What the readout needs of an epoch; with a frozen encoder it never changes.

    Attributes
    ----------
    tokens : Tensor, shape (n_epochs, 200) or (n_epochs, 1 + n_channels * n_patches, 200)
        Pooled tokens, or all of them, before the norm.
    """

    tokens: Tensor


class Readout(nn.Module):
    """Norm and head: all that is trained while the encoder is frozen.

    Parameters
    ----------
    config : BrainRVQDownstreamConfig
        The architecture.
    n_features : int
        Number of features of other parts than the encoder.
    """

    def __init__(self, config: BrainRVQDownstreamConfig, n_features: int = 0):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.n_features = n_features
        if n_features:
            self.standardiser = Standardiser(n_features)
        if config.pooling == "flatten":
            self.head = _flatten_head(config, n_features)
            initialise(self.head, std=_INIT_STD)
        else:
            self.head = RowwiseLinear(WIDTH + n_features, config.n_outputs)
            initialise(self.head, std=_INIT_STD)
            self.head.weight.data.mul_(_HEAD_SCALE)

    def forward(self, tokens: Tensor, features: Tensor | None = None) -> Tensor:
        """Map `Pooled` epochs, and features [B, n_features] of other parts, to outputs [B, n_outputs]."""
        x = self.norm(tokens)
        if self.n_features:
            x = torch.cat([x.flatten(1), self.standardiser(features)], 1)
        return self.head(x)


class LinearReadout(nn.Module):
    """One linear layer on the standardised features of all parts, and the norm of the tokens.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of the input and of the output.
    """

    def __init__(self, n_features: int, n_outputs: int):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.final_layer = LinearHead(n_features, n_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, n_features] to outputs [B, n_outputs]."""
        return self.final_layer(features)


class Tokens(Part):
    """Pooled tokens of the encoder, as a part.

    Parameters
    ----------
    n_rows : int | None
        Number of channels that are kept apart; None if they are pooled.
    """

    def __init__(self, n_rows: int | None = None):
        super().__init__((n_rows or 1) * WIDTH)
        self.keeps_channels = n_rows is not None

    def measure(self, x: Tensor, activations: Tensor) -> Tensor:
        """See `Part`; `activations` are the tokens, pooled and normalised."""
        return activations.flatten(1)

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``encoder_007``, or ``encoder_Cz_007`` with channels kept apart."""
        rows = [f"{name}_" for name in ch_names] if self.keeps_channels else [""]
        return [f"encoder_{row}{i:03d}" for row in rows for i in range(WIDTH)]


def make_parts(config: BrainRVQDownstreamConfig) -> nn.ModuleDict:
    """The parts of a config, in the order of `PARTS`; without the encoder where a head is trained on its tokens."""
    parts = {}
    if "encoder" in config.parts and config.head == "linear":
        parts["encoder"] = Tokens(config.n_channels if config.pooling == "channels" else None)
    options = {"n_channels": config.n_channels, "n_times": config.n_times, "bands": config.bands}
    return nn.ModuleDict(parts | signal_parts(config.parts, **options))


def _flatten_head(config: BrainRVQDownstreamConfig, n_others: int) -> nn.Sequential:
    """Three layers on all tokens, and on so many other features."""
    n_features = (1 + config.n_channels * config.n_patches) * WIDTH + n_others
    hidden = max(4, config.n_patches) * 200 if config.hidden is None else config.hidden
    first, second = config.dropouts
    return nn.Sequential(
        nn.Flatten(),
        RowwiseLinear(n_features, hidden),
        nn.ELU(),
        nn.Dropout(first),
        RowwiseLinear(hidden, _LAST_HIDDEN),
        nn.ELU(),
        nn.Dropout(second),
        RowwiseLinear(_LAST_HIDDEN, config.n_outputs),
    )


class BrainRVQDownstream(nn.Module):
    """BrainRVQ's encoder with a head for classes or numbers.

    Parameters
    ----------
    n_outputs, n_channels, n_patches, pooling, depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope, hidden, \
dropouts, head, parts, n_times, bands
        See `BrainRVQDownstreamConfig`.
    ch_names : sequence of str | Tensor of int64, shape (1 + n_channels,) | None
        Names of the channels, or rows, see `mne_specmoe.models.brainrvq.channels.channel_rows`. None: unknown, which
        leaves channels without an embedding of their place.
    encoder : BrainRVQEncoder | None
        Encoder to use; `depth` to `norm_scope` are its own then. It becomes a part of this network and loses its last
        norm to the readout. None: an untrained one.
    norm_start : {"pretrained", "fresh"}
        Whether the readout's norm begins as the encoder's last one, or afresh, as published.

    Attributes
    ----------
    config : BrainRVQDownstreamConfig
        The architecture.
    rows : Tensor of int64, shape (1 + n_channels,)
        Rows of the channel embeddings.

    Notes
    -----
    5,823,540 parameters for 4 classes. Input is [B, C, T] at 200 Hz in units of 100 µV (volts × 1e4). Epochs are
    rounded to whole seconds, at least one: less than half a second at the end is cut off, a longer rest is filled up
    with zeros. Epochs of more than 30 s are cut into the fewest windows of nearly equal length, whose results are
    averaged, weighted by length. Source: arXiv:2602.16951.

    Examples
    --------
    >>> import torch
    >>> network = BrainRVQDownstream(2, 3, depth=1, ch_names=["C3", "Cz", "C4"]).eval()
    >>> network(torch.randn(4, 3, 800)).shape
    torch.Size([4, 2])
    """

    embed_dim = WIDTH

    def __init__(
        self,
        n_outputs: int,
        n_channels: int,
        n_patches: int | None = None,
        *,
        pooling: str = "mean",
        depth: int = 12,
        qv_bias: bool = False,
        qk_norm: bool = True,
        layer_scale: float | None = 0.1,
        drop_path: float = 0.1,
        norm_scope: str = "token",
        hidden: int | None = None,
        dropouts: tuple[float, float] = (0.1, 0.1),
        head: str = "trained",
        parts: Sequence[str] = ("encoder",),
        n_times: int | None = None,
        bands: Sequence[tuple[float, float]] = BANDS,
        ch_names: Sequence[str] | Tensor | None = None,
        encoder: BrainRVQEncoder | None = None,
        norm_start: str = "pretrained",
    ):
        super().__init__()
        check_option("norm_start", norm_start, NORM_STARTS)
        transformer = TransformerConfig(depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope)
        encoder = random_encoder(transformer) if encoder is None else with_own_row(encoder)
        self.config = BrainRVQDownstreamConfig(
            n_outputs=n_outputs,
            n_channels=n_channels,
            n_patches=n_patches,
            pooling=pooling,
            hidden=hidden,
            dropouts=dropouts,
            head=head,
            parts=parts,
            n_times=n_times,
            bands=bands,
            **{name: getattr(encoder.config, name) for name in _TRANSFORMER},
        )
        self.encoder = encoder
        self.parts = make_parts(self.config)
        n_features = sum(part.n_features for part in self.parts.values())
        is_linear = head == "linear"
        self.readout = LinearReadout(n_features, n_outputs) if is_linear else Readout(self.config, n_features)
        if norm_start == "pretrained" and isinstance(encoder.norm, nn.LayerNorm):
            self.readout.norm.load_state_dict(encoder.norm.state_dict())
        encoder.norm = nn.Identity()
        self.register_buffer("rows", _rows(ch_names, n_channels))
        self.experts_frozen = False

    def freeze_experts(self, frozen: bool = True) -> "BrainRVQDownstream":
        """Keep the encoder's parameters as they are (or let them train).

        Parameters
        ----------
        frozen : bool
            Whether to keep them; False lets them train.

        Returns
        -------
        network : BrainRVQDownstream
            The network itself.
        """
        self.experts_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> "BrainRVQDownstream":
        """Set training mode; a frozen encoder stays in evaluation mode.

        Parameters
        ----------
        mode : bool
            Whether to train; False is evaluation mode.

        Returns
        -------
        network : BrainRVQDownstream
            The network itself.
        """
        super().train(mode)
        if self.experts_frozen:
            self.encoder.eval()
        return self

    @property
    def measured_names(self) -> tuple[str, ...]:
        """Names of what `measure` returns."""
        return (*(() if self.config.head == "linear" else Pooled._fields), *self.parts)

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Names of what `measure_signals` returns."""
        return tuple(name for name in self.parts if name != "encoder")

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """Names of what `pool` returns."""
        if self.config.head == "linear":
            return ("features",)
        return (*Pooled._fields, "features") if len(self.parts) else Pooled._fields

    @property
    def standardised(self) -> tuple[str, ...]:
        """Names of what `standardise` needs; a linear head is solved for, with its standardisation."""
        return () if self.config.head == "linear" else self.pooled_names[1:]

    def measure(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the encoder, and measure all that depends on the epoch alone.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        kept : Tensor of int64, shape (n_channels,) | None
            Places of the channels among those of the network, which knows where these are; None for all.

        Returns
        -------
        measured : tuple of Tensor
            One row per epoch; `measured_names` says what they are.

        Raises
        ------
        ValueError
            If the head reads epochs of another length.
        """
        config = self.config
        if config.pooling == "flatten" and n_whole_seconds(x.shape[-1]) != config.n_patches:
            raise ValueError(
                f"This head reads epochs of {config.n_patches} s, got {x.shape[-1]} samples at 200 Hz, which are "
                f"{n_whole_seconds(x.shape[-1])} s; cut them to that length, or use pooling='mean'."
            )
        if config.head == "linear" and "encoder" not in self.parts:
            return self.measure_signals(x)
        rows = self.rows if kept is None else self.rows[torch.cat([kept.new_zeros(1), kept + 1]).to(self.rows.device)]
        tokens = pooled_tokens(self.encoder, x, rows, config.pooling)
        if config.head == "linear":
            tokens = self.parts["encoder"].measure(x, self.readout.norm(tokens))
        return (tokens, *self.measure_signals(x))

    def measure_signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Measure what needs no encoder.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        measured : tuple of Tensor
            One row per epoch; `signal_names` says what they are.
        """
        return tuple(self.parts[name].measure(x) for name in self.signal_names)

    def from_measured(self, *measured: Tensor, whiteners: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Turn what was measured into what the readout reads.

        Parameters
        ----------
        *measured : Tensor
            What `measure` returns, or `measure_signals`.
        whiteners : mapping of str to Tensor | None
            Names of parts → inverse square roots of the references to see each epoch's covariances from, shape
            (n_batch, n_sets, size, size). None: the network's own.

        Returns
        -------
        pooled : tuple of Tensor
            One row per epoch; `pooled_names` says what they are.
        """
        return part_features(self.parts, measured, whiteners)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the encoder and compute all that the readout reads.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        pooled : Pooled | tuple of Tensor
            One row per epoch; `pooled_names` says what they are.

        Raises
        ------
        ValueError
            If the head reads epochs of another length.
        """
        pooled = self.from_measured(*self.measure(x))
        return Pooled(*pooled) if self.pooled_names == Pooled._fields else pooled

    def standardise(self, features: Tensor) -> None:
        """Let the head learn the mean and deviation of other parts' features.

        Parameters
        ----------
        features : Tensor, shape (n_epochs, n_features)
            What the parts say of the epochs to train on.
        """
        self.readout.standardiser.standardise(features)

    def layer_scales(self, decay: float) -> dict[str, float]:
        """Factors of the encoder's learning rate, smaller from the last block to the first and to the embeddings.

        Parameters
        ----------
        decay : float
            From one block to the one before. Block i of `depth` gets decay^(depth - i), embeddings of patch, channel
            and time decay^(depth + 1).

        Returns
        -------
        scales : dict
            Shell-like patterns of parameter names → factors; the first that matches holds.
        """
        depth = self.config.depth
        blocks = {f"encoder.trunk.blocks.{i}.*": decay ** (depth - i) for i in range(depth)}
        return blocks | {"encoder.*": decay ** (depth + 1)}

    def forward(self, x: Tensor) -> Tensor:
        """Predict.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        outputs : Tensor, shape (n_batch, n_outputs)
        """
        return self.readout(*self.pool(x))


def pooled_tokens(encoder: BrainRVQEncoder, x: Tensor, rows: Tensor, pooling: str) -> Tensor:
    """Encode epochs of any length and pool their tokens, before the last norm.

    Parameters
    ----------
    encoder : BrainRVQEncoder
        The encoder.
    x : Tensor, shape (n_batch, n_channels, n_times)
        200 Hz, units of 100 µV; see `BrainRVQDownstream` for lengths.
    rows : Tensor of int64, shape (1 + n_channels,)
        Rows of the channel embeddings.
    pooling : str
        Key of `TOKEN_POOLINGS`.

    Returns
    -------
    pooled : Tensor, shape (n_batch, ..., 200)
        With ``"flatten"`` of the only window.
    """
    patches = whole_seconds(x).unflatten(-1, (-1, PATCH_LENGTH))  # [B, C, A, 200]
    lengths, pool = window_lengths(patches.shape[2]), TOKEN_POOLINGS[pooling]
    windows = patches.split(lengths, 2)
    pooled = [pool(encoder.raw_tokens(window, rows), patches.shape[1]) for window in windows]
    if len(pooled) == 1:
        return pooled[0]
    return sum(part * (length / sum(lengths)) for part, length in zip(pooled, lengths, strict=True))


def n_whole_seconds(n_times: int) -> int:
    """Seconds, at least one, that samples at 200 Hz are rounded to."""
    return max(1, (n_times + PATCH_LENGTH // 2) // PATCH_LENGTH)


def whole_seconds(x: Tensor) -> Tensor:
    """Cut off the rest of a second, or fill it up with zeros: [B, C, T] → [B, C, A·200]."""
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x must be (n_batch, n_channels, n_times) and not empty, got shape {tuple(x.shape)}.")
    missing = n_whole_seconds(x.shape[-1]) * PATCH_LENGTH - x.shape[-1]
    return F.pad(x, (0, missing))  # cuts where it is negative


def window_lengths(n_patches: int) -> list[int]:
    """Lengths in seconds, the longer ones first, of the fewest windows that the encoder takes."""
    n_windows = -(-n_patches // MAX_PATCHES)
    shorter, n_longer = divmod(n_patches, n_windows)
    return [shorter + 1] * n_longer + [shorter] * (n_windows - n_longer)


def random_encoder(config: TransformerConfig) -> BrainRVQEncoder:
    """An untrained encoder, drawn as for pretraining."""
    encoder = BrainRVQEncoder(config)
    initialise(encoder, std=_INIT_STD, bound=_INIT_STD)
    return encoder


def with_own_row(encoder: BrainRVQEncoder) -> BrainRVQEncoder:
    """The same encoder, its class token at its own row, as tasks have it whatever pretraining did."""
    encoder.config = encoder.trunk.config = replace(encoder.config, cls_row="own")
    return encoder


def _rows(ch_names: Sequence[str] | Tensor | None, n_channels: int) -> Tensor:
    """Rows of channels that are given by name, by row, or by number only."""
    if ch_names is None:
        return unnamed_rows(n_channels)
    rows = ch_names if isinstance(ch_names, Tensor) else channel_rows(ch_names).rows
    if rows.shape != (1 + n_channels,):
        raise ValueError(f"ch_names must be of {n_channels} channels, as n_channels says, got {len(rows) - 1}.")
    return rows.clone()
