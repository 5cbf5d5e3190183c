"""Spatial-temporal transformer: attention over channels, then over slices of time."""

import math

import torch
from torch import Tensor, nn

_N_KERNELS, _KERNEL, _SLICE = 2, 51, 5


class ChannelAttention(nn.Module):
    """Weigh channels by what they have in common (the paper's spatial transforming).

    Queries, keys and values mix channels; the scores compare their time courses, averaged over short pieces so that
    noise counts less. The input is added to the result.

    Parameters
    ----------
    n_chans : int
        Channels.
    n_pooled : int
        Samples that are averaged for the scores.
    drop_prob : float
        Dropout of the result.
    """

    def __init__(self, n_chans: int, *, n_pooled: int = 4, drop_prob: float = 0.3):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(n_chans, n_chans) for _ in range(3))
        self.pool = nn.AvgPool1d(n_pooled)
        self.dropout = nn.Dropout(drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Transform signals, shape (n_windows, n_chans, n_times)."""
        by_time = x.transpose(1, 2)
        query, key, value = (layer(by_time).transpose(1, 2) for layer in (self.query, self.key, self.value))
        query, key = self.pool(query), self.pool(key)
        scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])  # [n_windows, n_chans, n_chans]
        return x + self.dropout(scores.softmax(-1) @ value)


class STTransformer(nn.Module):
    """Spatial-temporal transformer (Song et al. 2021, "Transformer-based spatial-temporal feature learning for EEG
    decoding", arXiv:2106.11170).

    Attention over channels; a convolution in time, which tells positions apart; a convolution over all channels that
    makes slices of time; transformer layers over the slices; their mean, and a linear layer. The paper puts common
    spatial patterns in front, which are fitted to labels; here the network sees the channels themselves.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, outputs, and samples of a window.
    emb_dim : int
        Size of a slice.
    n_layers, n_heads : int
        Of the transformer over slices.
    drop_prob : float
        Dropout of the transformer, except of its attention weights.
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        *,
        emb_dim: int = 10,
        n_layers: int = 3,
        n_heads: int = 5,
        drop_prob: float = 0.5,
    ):
        super().__init__()
        if n_times < _SLICE:
            raise ValueError(f"A window needs {_SLICE} samples or more, got n_times={n_times}.")
        self.spatial = ChannelAttention(n_chans)
        self.slices = nn.Sequential(
            nn.Conv2d(1, _N_KERNELS, (1, _KERNEL), padding=(0, _KERNEL // 2)),
            nn.BatchNorm2d(_N_KERNELS),
            nn.LeakyReLU(0.2),
            nn.Conv2d(_N_KERNELS, emb_dim, (n_chans, _SLICE), stride=(1, _SLICE)),
            nn.BatchNorm2d(emb_dim),
            nn.LeakyReLU(0.2),
        )
        layer = nn.TransformerEncoderLayer(
            emb_dim, n_heads, 4 * emb_dim, drop_prob, "gelu", batch_first=True, norm_first=True
        )
        layer.self_attn.dropout = 0.0  # of attention weights: on CPUs it takes several times as long as all the rest
        self.temporal = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.final_layer = nn.Sequential(nn.LayerNorm(emb_dim), nn.Linear(emb_dim, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Compute outputs.

        Parameters
        ----------
        x : Tensor, shape (n_windows, n_chans, n_times)
            Standardised signals.

        Returns
        -------
        outputs : Tensor, shape (n_windows, n_outputs)
        """
        slices = self.slices(self.spatial(x)[:, None])  # [n_windows, emb_dim, 1, n_slices]
        tokens = self.temporal(slices.squeeze(2).transpose(1, 2))
        return self.final_layer(torch.mean(tokens, 1))
