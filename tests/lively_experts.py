"""Experts whose normalisations keep the signal alive, and signals for them."""

from functools import cache

import torch
from golden_data import expert_state
from torch import nn

from mne_specmoe.models.specmoe.network import SpecHiNet, settle_normalisation

golden_state = cache(expert_state)
LAYOUTS = ["channelwise", "published"]


def lively(layout: str = "channelwise", **options: object) -> SpecHiNet:
    """An expert in evaluation mode: golden weights in the published layout, random ones in the other."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expert = SpecHiNet(layout, **options)
    if layout == "published":
        expert.load_state_dict(golden_state(1))
        return expert.eval()
    settle_normalisation(expert.encoder)
    settle_decoder(expert)
    return expert.eval()


@torch.no_grad()
def settle_decoder(expert: SpecHiNet) -> None:
    """Give the decoder's normalisations the statistics of noise."""
    norms = [module for module in expert.decoder.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
    expert.eval()
    expert.decoder.train()
    expert(eeg(2, 3, 960))
    for norm in norms:
        norm.momentum = 0.1


def eeg(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Noise of 100 µV, in network units."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def places(n_channels: int) -> torch.Tensor:
    """Places on a head of 9 cm, in metres."""
    xyz = torch.randn(n_channels, 3, generator=torch.Generator().manual_seed(n_channels))
    return 0.09 * nn.functional.normalize(xyz, dim=-1)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference."""
    return (a - b).abs().max().item()


def parts(output: tuple) -> list[torch.Tensor]:
    """What there is of a reconstruction."""
    return [part for part in output if part is not None]
