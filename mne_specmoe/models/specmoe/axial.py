"""Attention over the times of a channel, then over the channels of a time.

Shapes in the comments: B batch, C channels, N tokens of a channel, D features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe.places import PlaceEncoding
from mne_specmoe.nn.attention import rotary_factors, rotate
from mne_specmoe.nn.layers import Dropout

_N_HEADS = 4
_SECONDS_PER_UNIT = 0.3  # of rotary positions: one of the finer tokens


class Attention(nn.Module):
    """Standard self-attention with several heads, over the second axis.

    Parameters
    ----------
    dim : int
        Features per token.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query_key = nn.Linear(dim, 2 * dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.attention = F.scaled_dot_product_attention

    def forward(self, x: Tensor, places: Tensor | None = None, factors: Tensor | None = None) -> Tensor:
        """Map x [G, N, D] to the same shape; places are added where tokens look for each other, factors rotate them."""
        asked = self.query_key(x if places is None else x + places)
        query, key = (_heads(part) for part in asked.chunk(2, -1))
        if factors is not None:
            query, key = rotate(query, factors), rotate(key, factors)
        value = _heads(self.value(x)).to(query.dtype)
        attended = self.attention(query, key, value.contiguous())
        return self.out(attended.transpose(1, 2).flatten(2))


class AxialBlock(nn.Module):
    """Attention over times, attention over channels, and a feed-forward layer, each added to its input.

    The cost grows with N² C + N C², not with (N C)².

    Parameters
    ----------
    dim : int
        Features per token.
    p_drop : float
        Dropout inside the feed-forward layer.
    """

    def __init__(self, dim: int, p_drop: float):
        super().__init__()
        self.places = PlaceEncoding(dim)
        self.time_norm, self.time = nn.LayerNorm(dim), Attention(dim)
        self.channel_norm, self.channels = nn.LayerNorm(dim), Attention(dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.expand, self.contract = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.dropout = Dropout(p_drop)

    def forward(self, x: Tensor, seconds: Tensor, locations: Tensor) -> Tensor:
        """Map tokens x [B, C, N, D] at times [N] and places [C, 3] to the same shape."""
        n_batch, n_channels, n_tokens, dim = x.shape
        factors = rotary_factors(seconds[None] / _SECONDS_PER_UNIT, dim // _N_HEADS)
        series = x.flatten(0, 1)  # [B·C, N, D]
        series = series + self.time(self.time_norm(series), factors=factors)
        moments = series.unflatten(0, (n_batch, -1)).transpose(1, 2).flatten(0, 1)  # [B·N, C, D]
        moments = moments + self.channels(self.channel_norm(moments), self.places(locations).to(moments.dtype))
        x = moments.unflatten(0, (n_batch, -1)).transpose(1, 2)
        return x + self.contract(self.dropout(F.gelu(self.expand(self.feed_norm(x)))))


def _heads(x: Tensor) -> Tensor:
    """[G, N, D] → [G, heads, N, D/heads]."""
    return x.unflatten(-1, (_N_HEADS, -1)).transpose(1, 2)


def token_seconds(n_tokens: int, step: float, like: Tensor) -> Tensor:
    """Middle of every token in seconds from the start of the segment, tokens `step` seconds long."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return (torch.arange(n_tokens, device=like.device, dtype=dtype) + 0.5) * step
