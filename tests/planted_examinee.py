"""Networks for the health check whose features are known: of the signal, of the mask, of neither."""

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.diagnosis.examinee import Losses
from mne_specmoe.signal.spectral import welch_psd


class PlantedExaminee:
    """Features of the signal's spectrum times `signal`, and of the mask's seed times `mask`."""

    family, no_mask, no_exchange = "specmoe", None, None
    loss, baseline = "error", "the masked signal"

    def __init__(self, signal: float = 1.0, mask: float = 0.0, relative: bool = True, copies: int = 1):
        self.signal, self.mask, self.relative, self.copies = signal, mask, relative, copies
        self.stages = ("first", "embedding")

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        return self._stages(x, torch.zeros(len(x), dtype=torch.int64))

    def masked_activations(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        return self._stages(x, seeds)

    def exchange(self, x: Tensor, strangers: Tensor, seeds: Tensor, other_seeds: Tensor) -> Losses:
        """What is rebuilt is wrong by 0.9 if nothing is known, less by what features of the signal and mask give."""
        n = len(x)
        knows = np.array([torch.equal(a, b) for a, b in zip(x, strangers, strict=True)], float)
        own = np.full(n, 0.9 - 0.2 * self.signal - 0.2 * self.mask)
        return Losses(np.ones(n), np.full(n, 0.9), own, own + 0.2 * self.signal * (1 - knows), own + 0.4 * self.mask)

    def untrained(self, seed: int) -> "PlantedExaminee":
        return PlantedExaminee(copies=self.copies)

    def _stages(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """Two halves of time, [B, C, F, 2]."""
        halves = [self._features(half, seeds) for half in x.chunk(2, -1)]
        found = torch.stack(halves, -1).repeat(1, 1, self.copies, 1)
        return {"first": found, "embedding": found}

    def _features(self, x: Tensor, seeds: Tensor) -> Tensor:
        """[B, C, F]: the logarithmic spectrum up to 45 Hz, and numbers drawn from the seed."""
        power = welch_psd(x, n_per_segment=200, n_overlap=100)[..., 1:45]
        power = (power / power.sum(-1, keepdim=True) if self.relative else power).clamp_min(1e-9).log10()
        drawn = [torch.randn(44, generator=torch.Generator().manual_seed(int(seed) % 2**32)) for seed in seeds]
        return self.signal * power + self.mask * torch.stack(drawn)[:, None]
