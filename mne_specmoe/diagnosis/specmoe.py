"""SpecMoE's experts under the health check: what their stages hold, and what their decoders make of it.

Shapes in the comments: B batch, C channels, T samples, F features, L steps.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.diagnosis.bands import RANGE
from mne_specmoe.diagnosis.examinee import READ_STAGE, Losses, noting, passes
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.mixture import settle_normalisation
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder, root_mean_square
from mne_specmoe.signal.canonical import SFREQ, segment_positions

STAGES = ("down1", "down2", "attention1", "down3", "bottom1", "attention2", READ_STAGE)
"""Stages of an expert in order of depth."""


class SpecMoEExaminee:
    """Experts, of which each stage's features are put side by side.

    Parameters
    ----------
    experts : sequence of SpecHiNet | sequence of SpecHiNetEncoder
        In evaluation mode. Encoders alone cannot rebuild, and so skip the exchange of features.
    mask : GaussianStftMask
        What they are shown.
    locations : Tensor, shape (n_channels, 3) | None
        Where the channels are, in metres; NaN where unknown.
    """

    family = "specmoe"
    stages = STAGES
    no_mask = None
    loss = f"error of what is rebuilt, {RANGE[0]:g}–{RANGE[1]:g} Hz (1 is silence)"
    baseline = "the masked signal"

    def __init__(
        self,
        experts: Sequence[SpecHiNet] | Sequence[SpecHiNetEncoder],
        mask: GaussianStftMask,
        locations: Tensor | None = None,
    ):
        self.experts, self.mask, self.locations = list(experts), mask, locations
        self.encoders = [each.encoder if isinstance(each, SpecHiNet) else each for each in self.experts]
        whole = all(isinstance(each, SpecHiNet) for each in self.experts)
        self.no_exchange = None if whole else "the file holds encoders without decoders, which rebuild nothing"

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Map signals [B, C, T] to what every stage makes of them, [B, C, F, L], F over all experts."""
        parts = [encoder_activations(encoder, x) for encoder in self.encoders]
        return {name: torch.cat([part[name] for part in parts], 2) for name in STAGES}

    def masked_activations(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """The same of masked signals; masks come from the seeds [B] alone."""
        return self.activations(self._masked(x, seeds))

    def exchange(self, x: Tensor, strangers: Tensor, seeds: Tensor, other_seeds: Tensor) -> Losses:
        """Errors of what decoders rebuild of masked signals, with features of those and of others.

        The signal that a decoder sees stays the segment's own under its own mask.
        """
        parts = []
        for index in passes(x):
            seen = self._masked(x[index], seeds[index])
            features_of = {
                "own": seen,
                "other_person": self._masked(strangers[index], seeds[index]),
                "other_mask": self._masked(x[index], other_seeds[index]),
            }
            rebuilt = {name: self._rebuilt(seen, of) for name, of in features_of.items()}
            missed = {name: power_between(signal - x[index], RANGE) for name, signal in rebuilt.items()}
            clean, baseline = power_between(x[index], RANGE), power_between(seen - x[index], RANGE)
            parts.append(Losses(clean, baseline, **missed))
        return Losses(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def untrained(self, seed: int) -> "SpecMoEExaminee":
        """Experts of the same architecture with random weights, their normalisations settled."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            experts = [_untrained(each) for each in self.experts]
        return SpecMoEExaminee(experts, self.mask, self.locations)

    def _masked(self, x: Tensor, seeds: Tensor) -> Tensor:
        """What the mask leaves of signals."""
        return self.mask(x, seeds, locations=self.locations).signal

    def _rebuilt(self, seen: Tensor, features_of: Tensor) -> Tensor:
        """What experts make of the signals seen, given the features of others: the mean of all branches."""
        return torch.stack([decoded(expert, seen, features_of) for expert in self.experts]).mean(0)


def encoder_activations(encoder: SpecHiNetEncoder, x: Tensor) -> dict[str, Tensor]:
    """What every stage of an encoder makes of signals [B, C, T]: name → [B, C, F, L]."""
    n_batch, n_channels, _ = x.shape
    if encoder.config.amplitude == "relative":
        x = x / root_mean_square(x)
    padded, positions = encoder.pad(x)
    with noting({name: getattr(encoder, name) for name in ("attention1", "bottom1", "attention2")}) as noted:
        stages = encoder.stages(padded, positions)
    grids = {"down1": stages.first, "down2": stages.second, "down3": stages.third, READ_STAGE: stages.embedding}
    n_rows = stages.first.shape[2]
    grids["bottom1"] = noted["bottom1"].unflatten(-1, (n_rows, -1))
    found = {name: grid.unflatten(0, (n_batch, -1)).transpose(2, 3).flatten(1, 2) for name, grid in grids.items()}
    for name in ("attention1", "attention2"):  # tokens [B, C·L, F]
        found[name] = noted[name].unflatten(1, (n_channels, -1)).transpose(2, 3)
    return {name: found[name] for name in STAGES}


def decoded(expert: SpecHiNet, seen: Tensor, features_of: Tensor) -> Tensor:
    """What an expert rebuilds of the signals seen [B, C, T] with the features of others; the mean of both branches."""
    n_times = seen.shape[-1]
    relative = expert.config.amplitude == "relative"
    amplitude = root_mean_square(seen) if relative else 1.0
    others = features_of / root_mean_square(features_of) if relative else features_of
    positions = segment_positions(0, n_times, device=seen.device)
    others, positions = expert.encoder.pad(others, positions)
    padded, _ = expert.encoder.pad(seen / amplitude)
    output = expert.decoder(expert.encoder.stages(others, positions), padded)
    return (output.short + output.long)[..., :n_times] / 2 * amplitude


def power_between(x: Tensor, edges: tuple[float, float]) -> np.ndarray:
    """Power of signals [B, C, T] between two frequencies in Hz, added up over channels: (B,).

    Signals are weighted by a Hann window, so that a band holds little of what its neighbours have.
    """
    window = torch.hann_window(x.shape[-1], device=x.device)
    frequencies = torch.fft.rfftfreq(x.shape[-1], 1 / SFREQ)
    inside = (frequencies >= edges[0]) & (frequencies < edges[1])
    power = torch.fft.rfft(x * window).abs().square()[..., inside.to(x.device)]
    return power.sum((1, 2)).double().cpu().numpy()


def _untrained(expert: SpecHiNet | SpecHiNetEncoder) -> SpecHiNet | SpecHiNetEncoder:
    """A new expert or encoder like another."""
    if isinstance(expert, SpecHiNet):
        fresh = SpecHiNet(**asdict(expert.config))
        settle_normalisation(fresh.encoder)
    else:
        fresh = SpecHiNetEncoder(expert.config)
        settle_normalisation(fresh)
    return fresh.eval().to(next(expert.parameters()).device)
