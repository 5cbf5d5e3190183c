"""Where electrodes are, as networks see it.

Shapes in the comments: B batch, C channels, T samples, D features, K mixtures.
"""

import math

import torch
from torch import Tensor, nn

_SCALE = 0.1  # metres: about the radius of a head
_N_OCTAVES = 4  # waves 40, 20, 10 and 5 cm long


class PlaceEncoding(nn.Module):
    """Features of electrode positions: their coordinates, and sines and cosines of them, through one linear layer.

    Channels of unknown place share one learned vector. Fourier features of coordinates let one network take any cap
    (REVE, arXiv:2510.21585).

    Parameters
    ----------
    dim : int
        Number of features.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(3 + 6 * _N_OCTAVES, dim)
        self.unknown = nn.Parameter(torch.empty(dim).normal_(0.0, 0.5))
        waves = 0.5 * math.pi * 2.0 ** torch.arange(_N_OCTAVES)
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, locations: Tensor) -> Tensor:
        """Map head coordinates [C, 3] in metres, NaN where unknown, to features [C, D]."""
        known = locations.isfinite().all(-1, keepdim=True)
        xyz = torch.where(known, locations, 0.0).to(self.waves) / _SCALE
        angles = (xyz[..., None] * self.waves).flatten(-2)  # [C, 3·octaves]
        features = self.linear(torch.cat([xyz, angles.sin(), angles.cos()], -1))
        return torch.where(known, features, self.unknown)


class SpatialMixtures(nn.Module):
    """Weighted means over all channels, one set of weights per channel, from where the electrodes are.

    Differences to such means are what re-referenced and local (Laplacian) derivations are; later layers see how much
    of a rhythm neighbours share, which is lost once every channel has been reduced to amplitudes.

    Parameters
    ----------
    n_mixtures : int
        Means per channel.
    dim : int
        Features of a place, per mean.
    """

    def __init__(self, n_mixtures: int, dim: int = 16):
        super().__init__()
        self.n_mixtures = n_mixtures
        self.places = PlaceEncoding(n_mixtures * dim)
        self.query = nn.Linear(n_mixtures * dim, n_mixtures * dim, bias=False)

    def forward(self, x: Tensor, locations: Tensor) -> Tensor:
        """Signals x [B, C, T] → the same and their means [B, C, 1 + K, T]."""
        places = self.places(locations)
        query, key = (p.unflatten(-1, (self.n_mixtures, -1)).transpose(0, 1) for p in (self.query(places), places))
        weights = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(key.shape[-1]), -1)  # [K, C, C]
        means = torch.einsum("kij,bjt->bikt", weights.to(x.dtype), x)
        return torch.cat([x[:, :, None], means], 2)
