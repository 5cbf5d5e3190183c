"""The channelwise layout, second edition: stages of an expert that reads every channel on its own, and attends axially.

Shapes in the comments: B batch, C channels, T samples. A *grid* is [B, C, 2, features, n]: the second but last but one
axis holds the branch of small kernels and that of large ones, whose tokens stand for the same times.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.specmoe import stages
from mne_specmoe.models.specmoe.axial import AxialBlock, token_seconds
from mne_specmoe.models.specmoe.config import EMBED_DIM, Reconstruction, SpecHiNetConfig
from mne_specmoe.models.specmoe.envelope import EnvelopeDecoder
from mne_specmoe.models.specmoe.gains import SpectralGains, frame_weights
from mne_specmoe.models.specmoe.masking import HOP, N_FFT
from mne_specmoe.models.specmoe.places import SpatialMixtures
from mne_specmoe.nn.layers import Dropout, add_masked_norms
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.spectral import n_frames

FINE, COARSE = 60, 120
"""Samples that a token of the first and of the second attention block stands for."""

_FIRST = 15  # samples per token of the first stage
# Stages that decoders of envelopes read: features of a branch, samples per token.
_READ = {"embedding": (EMBED_DIM, COARSE), "attention1": (64, FINE), "down1": (64, _FIRST)}


class Stages(NamedTuple):
    """What the encoder computes, in order of depth; grids of real tokens, those of padding left out."""

    down1: Tensor  # [B, C, 2, 64, T/15]
    down2: Tensor  # [B, C, 2, 64, T/60]
    attention1: Tensor  # the same
    down3: Tensor  # [B, C, 2, 128, T/120]
    bottom1: Tensor  # the same
    attention2: Tensor  # the same
    embedding: Tensor  # the same


def encoder_modules(config: SpecHiNetConfig) -> dict[str, nn.Module]:
    """Modules of an encoder by name, untrained."""
    p_drop, n_inputs = config.dropout, 1 + config.n_mixtures
    modules = {
        "short": stages.first_short(n_inputs, p_drop),
        "long": stages.first_long(n_inputs, p_drop),
        "down2": stages.second(p_drop),
        "attention1": AxialBlock(64, p_drop),
        "down3": stages.third(p_drop),
        "bottom1": stages.bottom(p_drop),
        "attention2": AxialBlock(EMBED_DIM, p_drop),
        "bottom2": stages.bottom(p_drop),
        "dropout": Dropout(p_drop),
    }
    if config.n_mixtures:
        modules = {"mixtures": SpatialMixtures(config.n_mixtures), **modules}
    for module in modules.values():
        module.apply(stages.initialise)
        if config.masked_norms:
            add_masked_norms(module)
    return modules


def encode(encoder: nn.Module, x: Tensor, locations: Tensor, n_times: int) -> Stages:
    """Every stage for a padded x [B, C, T] of which `n_times` samples are real, electrodes at locations [C, 3]."""
    n_batch, n_channels, _ = x.shape
    mixed = encoder.mixtures(x, locations) if encoder.config.n_mixtures else x[:, :, None]
    series = mixed.flatten(0, 1)  # [B·C, 1 + K, T]
    down1 = [encoder.dropout(branch(series)) for branch in (encoder.short, encoder.long)]
    down2 = [encoder.dropout(part) for part in _branches(encoder.down2, down1)]

    def grid(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, 1).unflatten(0, (n_batch, n_channels))

    fine, coarse = (n_tokens(n_times, step) for step in (FINE, COARSE))
    second = grid(down2)[..., :fine]
    attended1 = _attend(encoder.attention1, second, FINE, locations)
    whole = F.pad(attended1, (0, x.shape[-1] // FINE - fine)).flatten(0, 1).unbind(1)
    third = grid([encoder.dropout(part) for part in _branches(encoder.down3, whole)])[..., :coarse]
    bottom1 = _each_branch(encoder.bottom1, third)
    attended2 = _attend(encoder.attention2, bottom1, COARSE, locations)
    embedding = _each_branch(encoder.bottom2, attended2)
    first = grid(down1)[..., : n_tokens(n_times, _FIRST)]
    return Stages(first, second, attended1, third, bottom1, attended2, embedding)


def activations(made: Stages) -> dict[str, Tensor]:
    """Stages by name, features of both branches side by side: [B, C, 2·features, time]."""
    return {name: grid.flatten(2, 3) for name, grid in made._asdict().items()}


def n_tokens(n_times: int, step: int) -> int:
    """Tokens of which half or more are real samples; at least one."""
    return max(1, (n_times + step // 2) // step)


def decoder_modules(config: SpecHiNetConfig) -> dict[str, nn.Module]:
    """Modules of a decoder by name, untrained."""
    modules: dict[str, nn.Module] = {}
    if config.told_mask and config.decoder != "envelope":
        modules["told"] = nn.Linear(N_FFT // 2 + 1, EMBED_DIM)
    if config.decoder == "envelope":
        read = [_READ[name] for name in _read_by_envelopes(config)]
        decoders = (EnvelopeDecoder(read, told_mask=config.told_mask) for _ in range(2))
        return dict(zip(("envelope_short", "envelope_long"), decoders, strict=True))
    p_drop = config.dropout
    modules |= {
        "up1": stages.up1(p_drop),
        "attention3": AxialBlock(64, p_drop),
        "up2": stages.up2(p_drop),
        "up3": stages.up3(p_drop),
        "aux_up1": nn.Linear(64, 1),
        "aux_up2": nn.Linear(64, 1),
    }
    if config.decoder == "gains":
        modules |= {"gains_short": SpectralGains(64), "gains_long": SpectralGains(64)}
    for module in modules.values():
        module.apply(stages.initialise)
    return modules


def decode(decoder: nn.Module, made: Stages, x: Tensor, locations: Tensor, kept: Tensor | None) -> Reconstruction:
    """Rebuild the padded x [B, C, T] from what the encoder made of it, told what the mask kept if it may know."""
    kept = (all_kept(x) if kept is None else kept.to(x)) if decoder.config.told_mask else None
    if decoder.config.decoder == "envelope":
        read = [getattr(made, name) for name in _read_by_envelopes(decoder.config)]
        short, short_envelope = decoder.envelope_short([stage[:, :, 0] for stage in read], x, kept)
        long, long_envelope = decoder.envelope_long([stage[:, :, 1] for stage in read], x, kept)
        return Reconstruction(short, long, None, None, torch.stack([short_envelope, long_envelope], 2))
    if kept is not None:
        made = made._replace(embedding=made.embedding + _told(decoder.told, made.embedding, kept))
    return _draw(decoder, made, x, locations)


def _read_by_envelopes(config: SpecHiNetConfig) -> tuple[str, ...]:
    """Names of the stages that decoders of envelopes read."""
    return tuple(_READ) if config.bypass else ("embedding",)


def all_kept(x: Tensor) -> Tensor:
    """What a mask that hides nothing of x [B, C, T] keeps, [1, 1, F, M]."""
    return x.new_ones(1, 1, N_FFT // 2 + 1, n_frames(x.shape[-1], n_fft=N_FFT, hop=HOP))


def _draw(decoder: nn.Module, made: Stages, x: Tensor, locations: Tensor) -> Reconstruction:
    """Draw a signal from features by transposed convolutions."""
    n_batch, n_channels, n_times = x.shape

    def joined(grid: Tensor, skipped: Tensor, step: int) -> tuple[Tensor, ...]:
        skipped = skipped if decoder.config.bypass else torch.zeros_like(skipped)
        grid, skipped = (F.pad(part, (0, n_times // step - part.shape[-1])) for part in (grid, skipped))
        return torch.cat([grid, skipped], 3).flatten(0, 1).unbind(1)  # each branch: [B·C, features, n]

    def grid(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, 1).unflatten(0, (n_batch, n_channels))

    up1 = grid(_branches(decoder.up1, joined(made.embedding, made.down3, COARSE)))
    up1 = _attend(decoder.attention3, up1, FINE, locations)
    up2 = grid(_branches(decoder.up2, joined(up1, made.down2, FINE)))
    short, long = (part.view(x.shape) for part in _branches(decoder.up3, joined(up2, made.down1, _FIRST)))
    if decoder.config.decoder == "gains":
        both = up2.flatten(0, 1).unbind(1)
        short = x + short + decoder.gains_short(both[0], x)
        long = x + long + decoder.gains_long(both[1], x)
    aux_up1, aux_up2 = (
        head(part.mean(2).transpose(-1, -2)).squeeze(-1)
        for head, part in ((decoder.aux_up1, up1), (decoder.aux_up2, up2))
    )
    return Reconstruction(short, long, aux_up1, aux_up2)


def _branches(stage: stages.TwoBranches, parts: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """Each part through its branch."""
    return [stage.short(parts[0]), stage.long(parts[1])]


def _each_branch(module: nn.Module, grid: Tensor) -> Tensor:
    """One module on both branches."""
    return module(grid.flatten(0, 2)).unflatten(0, grid.shape[:3])


def _attend(block: AxialBlock, grid: Tensor, step: int, locations: Tensor) -> Tensor:
    """Attention over a grid, the tokens of both branches side by side."""
    seconds = token_seconds(grid.shape[-1], step / SFREQ, grid).repeat(2)
    tokens = grid.permute(0, 1, 2, 4, 3).flatten(2, 3)  # [B, C, 2·n, features]
    attended = block(tokens, seconds, locations)
    return attended.unflatten(2, (2, -1)).transpose(-1, -2)


def _told(linear: nn.Linear, embedding: Tensor, kept: Tensor) -> Tensor:
    """What the mask kept [B, 1 or C, F, M] around every token of an embedding [B, C, 2, 128, n], as its features."""
    weights = frame_weights(embedding.shape[-1], kept.shape[-1], COARSE).T  # [M, n]
    around = (kept @ (weights / weights.sum(0)).to(kept)).transpose(-1, -2)  # [B, 1 or C, n, F]
    return linear(around).transpose(-1, -2)[:, :, None]
