"""SpecMoE's experts under the health check: what their stages hold, and what their decoders make of it.

Shapes in the comments: B batch, C channels, T samples, F features, L steps.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.diagnosis.bands import RANGE
from mne_specmoe.diagnosis.examinee import Losses, passes
from mne_specmoe.models.specmoe.masking import GaussianStftMask, Masked
from mne_specmoe.models.specmoe.network import STAGES, SpecHiNet, SpecHiNetEncoder, untrained_like
from mne_specmoe.nn.layers import seeing_masked
from mne_specmoe.signal.canonical import SFREQ, segment_positions


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
        parts = [encoder.activations(x, locations=self.locations) for encoder in self.encoders]
        return {name: torch.cat([part[name] for part in parts], 2) for name in STAGES}

    def masked_activations(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """The same of masked signals, as pretraining shows them; masks come from the seeds [B] alone."""
        masked = self._masked(x, seeds).signal
        parts = []
        for encoder in self.encoders:
            with seeing_masked(encoder):
                parts.append(encoder.activations(masked, locations=self.locations))
        return {name: torch.cat([part[name] for part in parts], 2) for name in STAGES}

    def exchange(self, x: Tensor, strangers: Tensor, seeds: Tensor, other_seeds: Tensor) -> Losses:
        """Errors of what decoders rebuild of masked signals, with features of those and of others.

        What a decoder sees, and what it is told of the mask, stays the segment's own.
        """
        parts = []
        for index in passes(x):
            seen = self._masked(x[index], seeds[index])
            features_of = {
                "own": seen.signal,
                "other_person": self._masked(strangers[index], seeds[index]).signal,
                "other_mask": self._masked(x[index], other_seeds[index]).signal,
            }
            rebuilt = {name: self._rebuilt(seen, of) for name, of in features_of.items()}
            missed = {name: power_between(signal - x[index], RANGE) for name, signal in rebuilt.items()}
            clean, baseline = power_between(x[index], RANGE), power_between(seen.signal - x[index], RANGE)
            parts.append(Losses(clean, baseline, **missed))
        return Losses(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def untrained(self, seed: int) -> "SpecMoEExaminee":
        """Experts of the same architecture with random weights, their normalisations settled."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            experts = [untrained_like(each) for each in self.experts]
        return SpecMoEExaminee(experts, self.mask, self.locations)

    def _masked(self, x: Tensor, seeds: Tensor) -> Masked:
        """What the mask leaves of signals."""
        return self.mask(x, seeds, locations=self.locations)

    def _rebuilt(self, seen: Masked, features_of: Tensor) -> Tensor:
        """What experts make of the signals seen, given the features of others: the mean of all branches."""
        options = {"locations": self.locations, "kept": seen.map}
        return torch.stack([decoded(expert, seen.signal, features_of, **options) for expert in self.experts]).mean(0)


def decoded(
    expert: SpecHiNet,
    seen: Tensor,
    features_of: Tensor,
    *,
    locations: Tensor | None = None,
    kept: Tensor | None = None,
) -> Tensor:
    """What an expert rebuilds of the signals seen [B, C, T] with the features of others; the mean of both branches."""
    n_times = seen.shape[-1]
    amplitude, positions = expert.encoder.amplitude(seen), segment_positions(0, n_times, device=seen.device)
    with seeing_masked(expert.encoder):
        made = expert.encoder.stages(features_of, positions, locations=locations)
    padded, _ = expert.encoder.pad(seen / amplitude)
    output = expert.decoder(made, padded, locations=locations, kept=kept)
    if expert.config.amplitude == "relative":
        output = output.scaled(amplitude)
    return (output.short + output.long)[..., :n_times] / 2


def power_between(x: Tensor, edges: tuple[float, float]) -> np.ndarray:
    """Power of signals [B, C, T] between two frequencies in Hz, added up over channels: (B,).

    Signals are weighted by a Hann window, so that a band holds little of what its neighbours have.
    """
    window = torch.hann_window(x.shape[-1], device=x.device)
    frequencies = torch.fft.rfftfreq(x.shape[-1], 1 / SFREQ)
    inside = (frequencies >= edges[0]) & (frequencies < edges[1])
    power = torch.fft.rfft(x * window).abs().square()[..., inside.to(x.device)]
    return power.sum((1, 2)).double().cpu().numpy()
