"""What an embedding of clean EEG has to say, in pretraining: spectra of channels, and what pairs of channels share.

Targets are whitened, so that the band with the most variance does not drown the others (as in FAME, arXiv:2608.01898).
Shapes in the comments: B segments, C channels, T samples, P pairs of channels, K bands.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number
from mne_specmoe.models.specmoe.config import EMBED_DIM
from mne_specmoe.signal.canonical import SFREQ

SPECTRUM_EDGES = (*range(1, 14), 15, 17, 20, 23, 26, 30, 35, 40, 45)
"""Edges of 21 bands of the spectrum target, in Hz: 1 Hz wide up to 13 Hz, then wider."""

PAIR_EDGES = (1, 4, 8, 13, 20, 30, 45)
"""Edges of the six bands in which pairs of channels are compared, in Hz."""

N_STATISTICS = 60
"""Batches from which means and whiteners of the targets are taken."""

_N_PER_SEGMENT = 400  # samples: 0.5 Hz
_SHRINKAGE = 0.05  # added to eigenvalues of standardised targets, of mean 1
_MOST_PAIRS = 64  # per segment: with more channels pairs are drawn
_LEAST_POWER = 1e-8  # of a segment whose root mean square is 1


class WhitenedTarget(nn.Module):
    """Standardise and whiten targets by statistics that are learnt once and stored.

    With the standardised targets' covariance :math:`U \\Lambda U^T`, they are multiplied by
    :math:`U (\\Lambda + 0.05)^{-1/2}`.

    Parameters
    ----------
    n_targets : int
        How many numbers a target has.
    """

    def __init__(self, n_targets: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_targets))
        self.register_buffer("whitener", torch.eye(n_targets))

    @torch.no_grad()
    def learn(self, targets: Tensor) -> None:
        """Take the statistics of targets (n, n_targets); fewer than two leave everything as it was."""
        if len(targets) < 2:
            return
        targets = targets.double()
        std, mean = torch.std_mean(targets, 0)
        std = torch.where(std > 0, std, 1.0)
        values, vectors = torch.linalg.eigh(torch.cov(((targets - mean) / std).T).reshape(len(mean), -1))
        whitener = vectors / (values.clamp_min(0) + _SHRINKAGE).sqrt()
        self.mean.copy_(mean)
        self.whitener.copy_(whitener / std[:, None])

    def forward(self, targets: Tensor) -> Tensor:
        """Map targets (..., n_targets) to whitened ones."""
        return (targets - self.mean) @ self.whitener


class FeatureLoss(nn.Module):
    """Distance of what linear layers read from the embedding of clean EEG from what is true of it.

    Two targets, each whitened (`WhitenedTarget`) and compared by the mean squared error, which is about 1 for an
    embedding that says nothing:

    - *spectrum*, per channel: log10 of the power in the bands of `SPECTRUM_EDGES`, the segment divided by its root mean
      square, from the mean over time of the channel's embedding;
    - *pairs*, per pair of channels: the inverse hyperbolic tangent of the correlation of the two channels in the bands
      of `PAIR_EDGES`, :math:`\\mathrm{Re}\\, S_{ij} / \\sqrt{S_{ii} S_{jj}}` with the cross-spectrum S, from a small
      network on sum, product and distance of their embeddings.

    The layers that read are discarded after pretraining.

    Parameters
    ----------
    spectrum_weight, pair_weight : float
        Weights of the two.
    """

    def __init__(self, *, spectrum_weight: float = 3.0, pair_weight: float = 1.0):
        super().__init__()
        check_number("spectrum_weight", spectrum_weight, minimum=0.0)
        check_number("pair_weight", pair_weight, minimum=0.0)
        self.spectrum_weight, self.pair_weight = spectrum_weight, pair_weight
        n_features, n_bands, n_pair_bands = 2 * EMBED_DIM, len(SPECTRUM_EDGES) - 1, len(PAIR_EDGES) - 1
        self.spectrum = nn.Linear(n_features, n_bands)
        self.pairs = nn.Sequential(nn.Linear(3 * n_features, EMBED_DIM), nn.GELU(), nn.Linear(EMBED_DIM, n_pair_bands))
        self.spectrum_target, self.pair_target = WhitenedTarget(n_bands), WhitenedTarget(n_pair_bands)

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics of the targets from clean signals [B, C, T]."""
        spectra, pairs = [], []
        for x in batches:
            cross = cross_spectrum(x)
            spectra.append(log_bands(cross).flatten(0, 1))
            pairs.append(pair_correlations(cross, pair_index(x)).flatten(0, 1))
        self.spectrum_target.learn(torch.cat(spectra))
        self.pair_target.learn(torch.cat(pairs))

    def forward(self, embedding: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Compare the embedding [B, C, 2, 128, n] of x [B, C, T] with what is true of x: terms, weights included."""
        with torch.autocast(x.device.type, enabled=False):
            pooled = embedding.float().mean(-1).flatten(2)  # [B, C, 256]
            cross, index = cross_spectrum(x.float()), pair_index(x)
            spectrum = F.mse_loss(self.spectrum(pooled), self.spectrum_target(log_bands(cross)))
            first, second = pooled[:, index[0]], pooled[:, index[1]]
            read = self.pairs(torch.cat([first + second, first * second, (first - second).abs()], -1))
            error = (read - self.pair_target(pair_correlations(cross, index))).square()
            pairs = error.sum() / max(error.numel(), 1)  # 0 for a single channel, which has no pairs
            return {"spectrum": self.spectrum_weight * spectrum, "pairs": self.pair_weight * pairs}


def cross_spectrum(x: Tensor) -> Tensor:
    """Cross-spectra of x [B, C, T], segments divided by their root mean square: [B, C, C, F], 0.5 Hz apart, float32.

    Hann windows of 2 s that overlap by half; means are removed. Shorter signals are padded with zeros.
    """
    x = x / x.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-7)
    x = F.pad(x, (0, max(0, _N_PER_SEGMENT - x.shape[-1])))
    frames = x.unfold(-1, _N_PER_SEGMENT, _N_PER_SEGMENT // 2)
    window = torch.hann_window(_N_PER_SEGMENT, dtype=x.dtype, device=x.device)
    spectrum = torch.fft.rfft((frames - frames.mean(-1, keepdim=True)) * window)[..., : _highest()]  # [B, C, n, F]
    spectrum = spectrum.movedim(-1, 1)  # [B, F, C, n]
    scale = SFREQ * window.square().sum() * frames.shape[-2]
    return (spectrum @ spectrum.mH / scale).movedim(1, -1)


def log_bands(cross: Tensor) -> Tensor:
    """Log10 of the mean power in bands, from cross-spectra [B, C, C, F]: [B, C, K]."""
    power = cross.diagonal(dim1=1, dim2=2).real.transpose(1, 2)  # [B, C, F]
    return torch.stack([p.mean(-1) for p in _in_bands(power, SPECTRUM_EDGES)], -1).clamp_min(_LEAST_POWER).log10()


def pair_correlations(cross: Tensor, index: Tensor) -> Tensor:
    """Inverse hyperbolic tangents of correlations in bands, of pairs index [2, P]: [B, P, K]."""
    bands = torch.stack([p.real.sum(-1) for p in _in_bands(cross, PAIR_EDGES)], -1)  # [B, C, C, K]
    power = bands.diagonal(dim1=1, dim2=2).transpose(1, 2).clamp_min(_LEAST_POWER)  # [B, C, K]
    shared = bands[:, index[0], index[1]] / (power[:, index[0]] * power[:, index[1]]).sqrt()
    return shared.clamp(-0.99, 0.99).atanh()


def pair_index(x: Tensor) -> Tensor:
    """Pairs of channels of x [B, C, T]: [2, P]. Of many channels a part, spread evenly over how far numbers differ."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)
    order = (second - first).argsort(stable=True)
    chosen = torch.linspace(0, max(len(order) - 1, 0), min(len(order), _MOST_PAIRS), device=x.device).round().long()
    return torch.stack([first[order[chosen]], second[order[chosen]]])


def _in_bands(values: Tensor, edges: tuple[float, ...]) -> Iterable[Tensor]:
    """Parts of values [..., F] between edges in Hz, the lower one included."""
    per_hz = _N_PER_SEGMENT / SFREQ
    return (
        values[..., round(low * per_hz) : round(high * per_hz)] for low, high in zip(edges, edges[1:], strict=False)
    )


def _highest() -> int:
    """Number of frequencies below the last edge."""
    return round(max(SPECTRUM_EDGES[-1], PAIR_EDGES[-1]) * _N_PER_SEGMENT / SFREQ)
