"""What weights files may hold: our architectures, how to build each, and the kinds that others publish."""

from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

from torch import nn

from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream, BrainRVQDownstreamConfig
from mne_specmoe.models.brainrvq.prediction import BrainRVQ, BrainRVQConfig
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, BrainRVQTokenizerConfig
from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.mixture import ExpertSet, ExpertSetConfig, SpecMoE, SpecMoEConfig
from mne_specmoe.models.specmoe.network import SpecHiNet


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
    loader : str
        The function that reads it from a file, for messages.
    """

    network: type[nn.Module]
    config: type
    build: Callable[[object], nn.Module]
    loader: str


class PublishedKind(NamedTuple):
    """One kind of file that the authors of a system publish: a pickled dict of states.

    Attributes
    ----------
    entries : tuple of str
        Keys of the dict under which its tensors may stand.
    mark : str
        How names of some of these tensors begin; tells kinds with the same entries apart.
    looks : str
        What such a file looks like, for messages.
    loader : str
        The function that reads it, for messages.
    """

    entries: tuple[str, ...]
    mark: str
    looks: str
    loader: str


def _architecture(network: type[nn.Module], config: type, loader: str) -> Architecture:
    """One that is built by keyword from the fields of its config."""
    return Architecture(network, config, lambda settings: network(**asdict(settings)), loader)


_LOAD_DOWNSTREAM = "mne_specmoe.loaders.brainrvq.load_downstream"
ARCHITECTURES: dict[str, Architecture] = {
    "specmoe-expert": _architecture(SpecHiNet, SpecHiNetConfig, "load_expert"),
    "specmoe-experts": _architecture(ExpertSet, ExpertSetConfig, "load_experts"),
    "specmoe": _architecture(SpecMoE, SpecMoEConfig, "load_specmoe"),
    "brainrvq-tokenizer": _architecture(BrainRVQTokenizer, BrainRVQTokenizerConfig, "load_tokenizer"),
    "brainrvq": _architecture(BrainRVQ, BrainRVQConfig, "load_brainrvq"),
    "brainrvq-downstream": _architecture(BrainRVQDownstream, BrainRVQDownstreamConfig, _LOAD_DOWNSTREAM),
}

_MODEL = ("model", "module")
PUBLISHED: dict[str, PublishedKind] = {
    "expert": PublishedKind(("model_state",), "", "like one expert", "load_expert"),
    "fine-tuned model": PublishedKind(("state_dict",), "", "fine-tuned", "load_specmoe"),
    "BrainRVQ tokenizer": PublishedKind(_MODEL, "quantize_t.", "like BrainRVQ's tokenizer", "load_tokenizer"),
    "BrainRVQ pretraining network": PublishedKind(
        _MODEL, "student.", "like BrainRVQ's pretraining network", "load_brainrvq"
    ),
    "BrainRVQ fine-tuned model": PublishedKind(_MODEL, "blocks.", "like a fine-tuned BrainRVQ", _LOAD_DOWNSTREAM),
}

BUNDLED: dict[str, str] = {
    "starter": "starter.safetensors",
    "brainrvq-starter": "brainrvq-starter.safetensors",
    "brainrvq-starter-tokenizer": "brainrvq-starter-tokenizer.safetensors",
}
"""Names of weights that come with the package, and their files in ``mne_specmoe/weights``."""


def architecture_of(network: nn.Module) -> str:
    """Name under which a network is stored; raise a TypeError if it is none of ours."""
    for name, architecture in ARCHITECTURES.items():
        if type(network) is architecture.network:
            return name
    kinds = ", ".join(a.network.__name__ for a in ARCHITECTURES.values())
    raise TypeError(f"{type(network).__name__} cannot be stored; expected one of: {kinds}.")
