"""BrainRVQ for a task: the pretrained encoder, its tokens pooled, a norm and a head.

Source: arXiv:2602.16951. Shapes in the comments: B batch, C channels, A seconds, L = C·A tokens in order (channel,
second), D = 200 features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.brainrvq.channels import channel_rows, unnamed_rows
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH
from mne_specmoe.models.brainrvq.network import MAX_PATCHES, WIDTH, BrainRVQEncoder, TransformerConfig, initialise

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
"""What a `BrainRVQDownstream` can read."""


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
    pooling : {"mean", "cls", "flatten"}
        What the head reads: the mean over all seconds of all channels, normalised; the class token, normalised; or all
        tokens, class token included, each normalised.
    depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope
        Of the encoder, see `mne_specmoe.models.brainrvq.network.TransformerConfig`.
    hidden : int | None
        First width of the head of ``"flatten"`` (None: 200 per second, at least 800, as published). Other heads are one
        linear layer.
    dropouts : tuple of float, length 2
        Dropout probabilities of the head of ``"flatten"``, after its first and its second layer.
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

    def __post_init__(self):
        for name in ("n_outputs", "n_channels"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        for name in ("n_patches", "hidden"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=1, integer=True)
        check_option("pooling", self.pooling, POOLINGS)
        check_dropouts(self.dropouts)
        object.__setattr__(self, "dropouts", tuple(self.dropouts))  # JSON has lists only
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
    """

    def __init__(self, config: BrainRVQDownstreamConfig):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        if config.pooling == "flatten":
            self.head = _flatten_head(config)
            initialise(self.head, std=_INIT_STD)
        else:
            self.head = nn.Linear(WIDTH, config.n_outputs)
            initialise(self.head, std=_INIT_STD)
            self.head.weight.data.mul_(_HEAD_SCALE)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `Pooled` epochs to outputs [B, n_outputs]."""
        return self.head(self.norm(tokens))


def _flatten_head(config: BrainRVQDownstreamConfig) -> nn.Sequential:
    """Three layers on all tokens."""
    n_features = (1 + config.n_channels * config.n_patches) * WIDTH
    hidden = max(4, config.n_patches) * 200 if config.hidden is None else config.hidden
    first, second = config.dropouts
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_features, hidden),
        nn.ELU(),
        nn.Dropout(first),
        nn.Linear(hidden, _LAST_HIDDEN),
        nn.ELU(),
        nn.Dropout(second),
        nn.Linear(_LAST_HIDDEN, config.n_outputs),
    )


class BrainRVQDownstream(nn.Module):
    """BrainRVQ's encoder with a head for classes or numbers.

    Parameters
    ----------
    n_outputs, n_channels, n_patches, pooling, depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope, hidden, \
dropouts
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
    pooled_names = Pooled._fields

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
            **{name: getattr(encoder.config, name) for name in _TRANSFORMER},
        )
        self.encoder = encoder
        self.readout = Readout(self.config)
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

    def pool(self, x: Tensor) -> Pooled:
        """Run the encoder and keep what the readout reads.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        pooled : Pooled
            What the readout reads.

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
        return Pooled(pooled_tokens(self.encoder, x, self.rows, config.pooling))

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
