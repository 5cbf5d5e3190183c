"""The transformer of BrainRVQ: patches of one second, a token each, from all channels at once.

Source: Cui, Chen, Jiao, Wang, Xie, Pan, Mainardi, "BrainRVQ: A High-Fidelity EEG Foundation Model via Dual-Domain
Residual Quantization and Hierarchical Autoregression" (arXiv:2602.16951).

Shapes in the comments: B batch, N channels, A patches per channel, L = N·A tokens in order (channel, patch), D = 200
features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.brainrvq.channels import N_ROWS
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH

WIDTH = 200
"""Features of a token: 25 steps of 8 filters of the patch embedding."""

MAX_PATCHES = 30
"""Rows of the table of time embeddings: 30 s."""

N_HEADS = 10
MLP_RATIO = 4
NORM_SCOPES = ("token", "recording")
CLS_ROWS = ("own", "first_channel")
_EPS = 1e-6
_N_FILTERS = 8
_N_GROUPS = 4


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that defines the architecture of a BrainRVQ transformer.

    Parameters
    ----------
    depth : int
        Number of blocks.
    qv_bias : bool
        Whether queries and values have a bias.
    qk_norm : bool
        Whether queries and keys are normalised, head by head.
    layer_scale : float | None
        Initial factor of what a block adds, learnt per feature; None: no factor.
    drop_path : float
        Probability with which the last block skips a segment in training; it rises from 0 along the blocks.
    norm_scope : {"token", "recording"}
        Over what the patch embedding normalises: each patch by itself; or, as published, all channels and patches of a
        segment together, which lets a patch depend on what else is in the segment.
    cls_row : {"own", "first_channel"}
        Which row of the channel embeddings the class token gets: its own; or, as published in pretraining, that of the
        first channel.
    """

    depth: int = 12
    qv_bias: bool = False
    qk_norm: bool = True
    layer_scale: float | None = 0.1
    drop_path: float = 0.0
    norm_scope: str = "token"
    cls_row: str = "own"

    def __post_init__(self):
        check_number("depth", self.depth, minimum=1, integer=True)
        check_number("drop_path", self.drop_path, minimum=0.0, maximum=0.999)
        if self.layer_scale is not None:
            check_number("layer_scale", self.layer_scale, minimum=0.0, strict=True)
        check_option("norm_scope", self.norm_scope, NORM_SCOPES)
        check_option("cls_row", self.cls_row, CLS_ROWS)


def to_patches(x: Tensor) -> Tensor:
    """Cut signals into patches: [B, N, A·200] → [B, N, A, 200].

    Raises
    ------
    ValueError
        If the signals are no whole number of seconds, or longer than 30 s.
    """
    if x.ndim != 3 or 0 in x.shape or x.shape[-1] % PATCH_LENGTH:
        raise ValueError(
            f"x must be (n_batch, n_channels, n_patches * {PATCH_LENGTH}) and not empty, got shape {tuple(x.shape)}."
        )
    if x.shape[-1] > MAX_PATCHES * PATCH_LENGTH:
        raise ValueError(
            f"BrainRVQ takes up to {MAX_PATCHES} patches of 1 s, got {x.shape[-1] // PATCH_LENGTH}; cut longer "
            "signals into windows."
        )
    return x.unflatten(-1, (-1, PATCH_LENGTH))


class PatchEmbedding(nn.Module):
    """Three temporal convolutions, each with group normalisation and GELU; a patch becomes 25 steps of 8 filters.

    Parameters
    ----------
    norm_scope : {"token", "recording"}
        See `TransformerConfig`.
    """

    def __init__(self, norm_scope: str = "token"):
        super().__init__()
        self.norm_scope = norm_scope
        kernels = ((15, 8, 7), (3, 1, 1), (3, 1, 1))  # kernel, stride, padding
        widths = (1, _N_FILTERS, _N_FILTERS)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, _N_FILTERS, kernel, stride, padding)
            for width, (kernel, stride, padding) in zip(widths, kernels, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_N_GROUPS, _N_FILTERS) for _ in kernels)

    def forward(self, patches: Tensor) -> Tensor:
        """Map [B, N, A, 200] to tokens [B, L, 200], features in order (step, filter)."""
        n_batch = len(patches)
        x = patches.reshape(-1, 1, PATCH_LENGTH)  # [B·L, 1, 200]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.gelu(self._normalise(norm, conv(x), n_batch))
        return x.transpose(1, 2).reshape(n_batch, -1, WIDTH)

    def _normalise(self, norm: nn.GroupNorm, x: Tensor, n_batch: int) -> Tensor:
        """Group normalisation of x [B·L, 8, 25] over each patch, or over all patches of a segment."""
        if self.norm_scope == "token":
            return norm(x)
        whole = x.unflatten(0, (n_batch, -1)).transpose(1, 2)  # [B, 8, L, 25]
        return norm(whole).transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    """Self-attention of all tokens with all.

    Parameters
    ----------
    config : TransformerConfig
        Whether there are biases and norms.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        head_width = WIDTH // N_HEADS
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(WIDTH)) if config.qv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(WIDTH)) if config.qv_bias else None
        self.q_norm = nn.LayerNorm(head_width, eps=_EPS) if config.qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_width, eps=_EPS) if config.qk_norm else nn.Identity()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, 1 + L, D] to tokens of the same shape."""
        bias = None
        if self.q_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        parts = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, N_HEADS, -1))  # [B, T, 3, heads, D/heads]
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(query).to(value.dtype), self.k_norm(key).to(value.dtype)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).flatten(2))


class DropPath(nn.Module):
    """Leaves out what a block adds, for some segments of a batch in training; the others' counts accordingly more.

    Parameters
    ----------
    p : float
        Probability.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device).ge_(self.p).div_(1 - self.p)
        return x * kept.to(x.dtype)


class Block(nn.Module):
    """Attention and a feed-forward layer, each normalised before, and added to its input.

    Parameters
    ----------
    config : TransformerConfig
        The architecture.
    drop_path : float
        Probability with which this block skips a segment.
    """

    def __init__(self, config: TransformerConfig, drop_path: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH, eps=_EPS)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(WIDTH, eps=_EPS)
        self.expand = nn.Linear(WIDTH, MLP_RATIO * WIDTH)
        self.contract = nn.Linear(MLP_RATIO * WIDTH, WIDTH)
        self.drop_path = DropPath(drop_path)
        scales = [None, None]
        if config.layer_scale is not None:
            scales = [nn.Parameter(torch.full((WIDTH,), config.layer_scale)) for _ in scales]
        self.attention_scale, self.feed_forward_scale = scales

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, 1 + L, D] to tokens of the same shape."""
        x = x + self.drop_path(self._scaled(self.attention(self.attention_norm(x)), self.attention_scale))
        fed = self.contract(F.gelu(self.expand(self.feed_forward_norm(x))))
        return x + self.drop_path(self._scaled(fed, self.feed_forward_scale))

    @staticmethod
    def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
        return x if scale is None else scale * x


class Trunk(nn.Module):
    """Class token, embeddings of channel and time, and blocks: what encoders and decoders share.

    Parameters
    ----------
    config : TransformerConfig
        The architecture.

    Attributes
    ----------
    trained_rows : Tensor of bool, shape (129,)
        Which rows of the channel embeddings were in use in training so far.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.channel_embedding = nn.Parameter(torch.zeros(1, N_ROWS, WIDTH))
        self.time_embedding = nn.Parameter(torch.zeros(1, MAX_PATCHES, WIDTH))
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(config, config.drop_path * i / last) for i in range(config.depth))
        self.register_buffer("trained_rows", torch.zeros(N_ROWS, dtype=torch.bool))

    def forward(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Map tokens [B, L, D] of channels in `rows` [1 + N] to [B, 1 + L, D]: the class token first, no last norm."""
        if self.training:
            self._note_training(rows)
        n_patches = tokens.shape[1] // (len(rows) - 1)
        places = F.pad(self.channel_embedding[0], (0, 0, 0, 1))[rows]  # [1 + N, D]; row UNNAMED is the one of zeros
        times = self.time_embedding[0, :n_patches]
        tokens = tokens + (places[1:, None] + times).flatten(0, 1)
        own = 0 if self.config.cls_row == "own" else 1
        cls = (self.cls_token + places[own]).expand(len(tokens), -1, -1)
        x = torch.cat([cls.to(tokens.dtype), tokens], 1)
        for block in self.blocks:
            x = block(x)
        return x

    @torch.no_grad()
    def _note_training(self, rows: Tensor) -> None:
        """Remember which rows are trained. Row UNNAMED is written behind the table and cut off again."""
        used = rows if self.config.cls_row == "own" else rows[1:]
        flags = self.trained_rows.new_zeros(N_ROWS + 1)
        self.trained_rows |= flags.index_fill_(0, used % len(flags), True)[:N_ROWS]


class BrainRVQEncoder(nn.Module):
    """Patches to tokens: patch embedding, trunk and a final norm.

    Parameters
    ----------
    config : TransformerConfig
        The architecture.

    Notes
    -----
    Input is EEG at 200 Hz in units of 100 µV (volts × 1e4), up to 30 s. Source: arXiv:2602.16951.
    """

    embed_dim = WIDTH

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = PatchEmbedding(config.norm_scope)
        self.trunk = Trunk(config)
        self.norm = nn.LayerNorm(WIDTH, eps=_EPS)

    def forward(
        self, patches: Tensor, rows: Tensor, *, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """Encode patches, all tokens normalised.

        Parameters
        ----------
        patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
            The signals, see `to_patches`.
        rows : Tensor of int64, shape (1 + n_channels,)
            Rows of the channel embeddings: 0, then one per channel; -1 for a channel without a name, which gets none.
        mask : Tensor of bool, shape (n_batch, n_channels * n_patches) | None
            Where `mask_token` takes the place of the patch's embedding.
        mask_token : Tensor, shape (1, 1, 200) | None
            Needed with a mask.

        Returns
        -------
        tokens : Tensor, shape (n_batch, 1 + n_channels * n_patches, 200)
            The class token, then tokens in order (channel, patch).
        """
        return self.norm(self.raw_tokens(patches, rows, mask=mask, mask_token=mask_token))

    def raw_tokens(
        self, patches: Tensor, rows: Tensor, *, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """As `forward`, before the final norm."""
        if len(rows) != patches.shape[1] + 1:
            raise ValueError(f"rows must have one entry more than the {patches.shape[1]} channels, got {len(rows)}.")
        tokens = self.patch_embedding(patches)
        if mask is not None:
            tokens = torch.where(mask[..., None], mask_token.to(tokens.dtype), tokens)
        return self.trunk(tokens, rows)


@torch.no_grad()
def initialise(module: nn.Module, *, std: float = 0.02, bound: float | None = None) -> None:
    """Draw weights of linear layers and embeddings from N(0, std), cut at ±bound; biases 0; norms 1 and 0.

    Blocks deeper down start smaller: what block i (from 0) adds is divided by √(2 (i + 1)).

    Parameters
    ----------
    module : nn.Module
        Anything made of the parts above.
    std : float
        Standard deviation before the cut.
    bound : float | None
        None: no cut.
    """

    def draw(table: Tensor) -> None:
        table.normal_(0.0, std) if bound is None else nn.init.trunc_normal_(table, 0.0, std, -bound, bound)

    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            draw(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            part.bias.zero_()
        if isinstance(part, Trunk):
            for table in (part.cls_token, part.channel_embedding, part.time_embedding):
                draw(table)
    for trunk in (part for part in module.modules() if isinstance(part, Trunk)):
        for i, block in enumerate(trunk.blocks):
            for layer in (block.attention.out, block.contract):
                layer.weight.div_((2 * (i + 1)) ** 0.5)
