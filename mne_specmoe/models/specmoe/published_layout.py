"""The published layout of SpecHi-Net: the arithmetic that the published checkpoints were trained with.

Its oddities are kept: buffers that are re-read under another shape, attention normalised over the queries, positions
that repeat. Source: arXiv:2603.16739. Shapes in the comments: B batch, C channels, T samples, n = T/15, L1 = T/30,
L2 = T/60. A *grid* is [B, features, C, time], which convolutions see as one long series.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe import stages
from mne_specmoe.models.specmoe.config import EMBED_DIM, N_HEADS, Reconstruction, SpecHiNetConfig
from mne_specmoe.nn.attention import query_normalised_attention, rotary_factors, rotate
from mne_specmoe.nn.layers import Dropout, SampleStdLayerNorm

_N_AUX = 19
"""Outputs of the auxiliary heads, which stand for the channels."""


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to its input and normalised.

    Parameters
    ----------
    embed_dim : int
        Features per token.
    p_drop : float
        Dropout inside the feed-forward layer.
    """

    def __init__(self, embed_dim: int, p_drop: float):
        super().__init__()
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.attention_norm = SampleStdLayerNorm(embed_dim)
        self.expand = nn.Linear(embed_dim, 2 * embed_dim)
        self.contract = nn.Linear(2 * embed_dim, embed_dim)
        self.dropout = Dropout(p_drop)
        self.feed_forward_norm = SampleStdLayerNorm(embed_dim)
        self.attention = published_attention

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map tokens x [B, N, D] at positions [B, N] to tokens of the same shape."""
        query = self.query(x)
        positions = positions.to(torch.promote_types(x.dtype, torch.float32))
        factors = rotary_factors(positions, query.shape[-1] // N_HEADS)
        attended = self.attention(query, self.key(x), self.value(x), factors)
        attended = attended.transpose(1, 2).flatten(2)  # [B, N, D]
        # The residual is the projected query, not x.
        hidden = self.attention_norm(query + self.out(attended))
        fed = self.contract(self.dropout(F.relu(self.expand(hidden))))
        return self.feed_forward_norm(hidden + fed)


def published_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Heads re-read; query, key and value rotated; softmax over queries: [B, N, D] → [B, heads, N, D/heads]."""
    query, key, value = (rotate(published_heads(x), factors) for x in (query, key, value))
    return query_normalised_attention(query, key, value)


class Stages(NamedTuple):
    """What the encoder computes, in order of depth, and the positions that its decoder needs."""

    down1: Tensor  # both branches after one another, grid [B, 64, C, 2n]
    down2: Tensor  # as its tokens were read, grid [B, 64, C, L1]
    attention1: Tensor  # the same
    down3: Tensor  # grid [B, 128, C, L2]
    bottom1: Tensor  # the same
    attention2: Tensor  # the same
    embedding: Tensor  # Bottom2, the same
    positions: Tensor  # of the tokens of a grid with L1 steps, [B, C·L1]


def encoder_modules(config: SpecHiNetConfig) -> dict[str, nn.Module]:
    """Modules of an encoder by name, untrained."""
    p_drop = config.dropout
    modules = {
        "down1": stages.down1(p_drop),
        "down2": stages.down2(p_drop),
        "attention1": AttentionBlock(64, p_drop),
        "down3": stages.down3(p_drop),
        "bottom1": stages.bottom(p_drop),
        "attention2": AttentionBlock(EMBED_DIM, p_drop),
        "bottom2": stages.bottom(p_drop),
        "dropout": Dropout(p_drop),
    }
    return _initialised(modules)


def encode(encoder: nn.Module, x: Tensor, positions: Tensor) -> Stages:
    """Every stage for a padded x [B, C, T] at positions [B, T]."""
    n_batch, n_channels, _ = x.shape
    fine, coarse = _token_positions(positions, n_channels)
    series = x.reshape(n_batch, 1, -1)  # [B, 1, C·T]
    short1, long1 = (encoder.dropout(branch(series)) for branch in (encoder.down1.short, encoder.down1.long))
    first = torch.cat([short1, long1], -1).unflatten(-1, (n_channels, -1))  # [B, 64, C, 2n]
    second = encoder.dropout(_join(encoder.down2.short(short1), encoder.down2.long(long1), n_channels))
    tokens = second.reshape(n_batch, -1, second.shape[1])  # its buffer re-read: [B, C·L1, 64]
    second = _grid(tokens, n_channels)
    attended1 = _grid(encoder.attention1(tokens, fine), n_channels)
    third = encoder.dropout(_join(*encoder.down3.halves(attended1), n_channels))  # [B, 128, C, L2]
    bottom1 = encoder.bottom1(third.flatten(2)).unflatten(-1, (n_channels, -1))
    attended2 = _grid(encoder.attention2(_tokens(bottom1), coarse), n_channels)
    embedding = encoder.bottom2(attended2.flatten(2)).unflatten(-1, (n_channels, -1))
    return Stages(first, second, attended1, third, bottom1, attended2, embedding, fine)


def activations(made: Stages) -> dict[str, Tensor]:
    """Stages by name, every channel's own features where they are not mixed yet: [B, C, features, time]."""
    n_channels = made.down1.shape[2]
    branches = made.down1.flatten(2).chunk(2, -1)  # each [B, 64, C·n]: the grid that the decoder sees mixes channels
    second = _tokens(made.down2)  # [B, C·L1, 64]: the buffer of [B, 64, C, L1]
    grids = made._asdict() | {
        "down1": _join(*branches, n_channels),
        "down2": second.reshape(len(second), -1, n_channels, second.shape[1] // n_channels),
    }
    del grids["positions"]
    return {name: grid.transpose(1, 2) for name, grid in grids.items()}


def decoder_modules(config: SpecHiNetConfig) -> dict[str, nn.Module]:
    """Modules of a decoder by name, untrained."""
    p_drop = config.dropout
    modules = {
        "up1": stages.up1(p_drop),
        "attention3": AttentionBlock(64, p_drop),
        "up2": stages.up2(p_drop),
        "up3": stages.up3(p_drop),
        "aux_up1": nn.Linear(64, _N_AUX),
        "aux_up2": nn.Linear(64, _N_AUX),
    }
    return _initialised(modules)


def decode(decoder: nn.Module, made: Stages, x: Tensor) -> Reconstruction:
    """Rebuild the padded x [B, C, T] from what the encoder made of it."""
    n_batch, n_channels, _ = x.shape
    up1 = _join(*decoder.up1.halves(torch.cat([made.embedding, made.down3], 1)), n_channels)  # [B, 64, C, L1]
    tokens = decoder.attention3(_tokens(up1), made.positions)  # [B, C·L1, 64]
    up2 = torch.cat([_grid(tokens, n_channels), made.down2], 1)
    up2 = _join(*decoder.up2.halves(up2), n_channels)  # [B, 64, C, 2n]
    rebuilt = decoder.up3.halves(torch.cat([up2, made.down1], 1))
    short, long = (part.view(n_batch, n_channels, -1) for part in rebuilt)
    aux_up1, aux_up2 = decoder.aux_up1(tokens), decoder.aux_up2(_tokens(up2))  # [B, C·length, 19]
    return Reconstruction(short, long, aux_up1.transpose(1, 2), aux_up2.transpose(1, 2))


def _initialised(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The same modules with the published initial weights."""
    for module in modules.values():
        module.apply(stages.initialise)
    return modules


def published_heads(x: Tensor) -> Tensor:
    """[B, N, D] re-read as [B, heads, N, D/heads]."""
    return x.reshape(x.shape[0], N_HEADS, x.shape[1], -1)


def _tokens(grid: Tensor) -> Tensor:
    """Grid [B, F, C, L] → tokens [B, C·L, F], in order (channel, time)."""
    return grid.permute(0, 2, 3, 1).flatten(1, 2)


def _grid(tokens: Tensor, n_channels: int) -> Tensor:
    """Tokens [B, C·L, F] → grid [B, F, C, L]."""
    return tokens.unflatten(1, (n_channels, -1)).permute(0, 3, 1, 2)


def _join(short: Tensor, long: Tensor, n_channels: int) -> Tensor:
    """Two series [B, F, C·L] → one grid [B, F, C, 2L], the short branch first."""
    return torch.cat([x.unflatten(-1, (n_channels, -1)) for x in (short, long)], -1)


def _token_positions(positions: Tensor, n_channels: int) -> tuple[Tensor, Tensor]:
    """Pooled with the padding counted, every value C times in a row: [B, C·L1] and [B, C·L2]."""
    fine = F.avg_pool1d(positions[:, None], 8, 5, 4)
    pooled = (F.avg_pool1d(fine, 16, 6, 6), F.avg_pool1d(fine, 32, 12, 12))
    return tuple(p[:, 0].repeat_interleave(n_channels, dim=1) for p in pooled)
