"""Architecture names, as they stand in checkpoints, and how to build each."""

from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

from torch import nn

from mne_specmoe.models.specmoe.mixture import ExpertSet, ExpertSetConfig, SpecMoE, SpecMoEConfig
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetConfig


class Architecture(NamedTuple):
    """One kind of network.

    Attributes
    ----------
    network : type
        Its class.
    config : type
        The dataclass that describes it.
    build : callable
        Makes an untrained network from a config.
    """

    network: type[nn.Module]
    config: type
    build: Callable[[object], nn.Module]


def _build(network: type[nn.Module]) -> Callable[[object], nn.Module]:
    """Build by keyword from the fields of a config."""
    return lambda config: network(**asdict(config))


ARCHITECTURES: dict[str, Architecture] = {
    "specmoe-expert": Architecture(SpecHiNet, SpecHiNetConfig, _build(SpecHiNet)),
    "specmoe-experts": Architecture(ExpertSet, ExpertSetConfig, _build(ExpertSet)),
    "specmoe": Architecture(SpecMoE, SpecMoEConfig, _build(SpecMoE)),
}

BUNDLED: dict[str, str] = {"starter": "starter.safetensors"}
"""Names of weights that come with the package, and their files in ``mne_specmoe/weights``."""


def architecture_of(network: nn.Module) -> str:
    """Name under which a network is stored; raise a TypeError if it is none of ours."""
    for name, architecture in ARCHITECTURES.items():
        if type(network) is architecture.network:
            return name
    kinds = ", ".join(a.network.__name__ for a in ARCHITECTURES.values())
    raise TypeError(f"{type(network).__name__} cannot be stored; expected one of: {kinds}.")
