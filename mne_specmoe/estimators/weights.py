"""What estimators take as `weights`: files, names, nothing, or a file's architecture without what it learned."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from mne_specmoe._validation import UntrainedWarning, listed, warn_caller
from mne_specmoe.loaders.brainrvq import load_encoder
from mne_specmoe.loaders.specmoe import load_encoders
from mne_specmoe.models.brainrvq.downstream import random_encoder
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder, TransformerConfig
from mne_specmoe.models.registry import BUNDLED
from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.network import SpecHiNetEncoder, untrained_like

_DROP_PATH = 0.1  # of fine-tuning, as published; a loaded encoder brings its own

Files = str | os.PathLike | Sequence[str | os.PathLike]


@dataclass(frozen=True)
class Untrained:
    """The architecture of weights, without what they have learned. Made by `untrained`."""

    weights: Files

    def __repr__(self):
        return f"untrained({self.weights!r})"


Weights = Files | Untrained | None


def untrained(weights: Files = "starter") -> Untrained:
    """Random networks of the same architecture as a file's: the control for what pretraining is worth.

    Parameters
    ----------
    weights : name | path-like | list of path-like
        Weights as an estimator takes them.

    Returns
    -------
    weights : Untrained
        For the parameter `weights` of an estimator, which warns with `UntrainedWarning` and draws the networks by its
        `random_state`.

    Examples
    --------
    >>> untrained("starter")
    untrained('starter')
    """
    check_weights(weights)
    if weights is None or isinstance(weights, Untrained):
        raise TypeError(f"untrained() takes the weights to be like, a name or path, got {weights!r}.")
    return Untrained(weights)


def check_weights(weights: object) -> None:
    """Raise unless this may be the parameter `weights` of SpecMoE's estimators."""
    if not (weights is None or isinstance(weights, str | os.PathLike | list | tuple | Untrained)):
        raise TypeError(
            f"weights must be a name ({listed(BUNDLED)}), a path, a list of paths, untrained(...) of one, or None, "
            f"got {weights!r}."
        )


def specmoe_experts(weights: Weights, n_experts: int, layout: str | None) -> list[SpecHiNetEncoder]:
    """Load experts, or make random ones and say so.

    Parameters
    ----------
    weights : Weights
        None: random ones, of the starter's architecture.
    n_experts : int
        How many random ones with None.
    layout : str | None
        That of random ones (None: of the starter); another than files have is an error.

    Returns
    -------
    experts : list of SpecHiNetEncoder
    """
    if weights is None:
        warn_caller(
            "weights=None: the experts are random. They have learnt nothing from other recordings, and results say "
            'nothing about pretraining. Leave weights at "starter" or give files, or take this as a baseline of random '
            "features.",
            UntrainedWarning,
        )
        pattern = SpecHiNetEncoder(SpecHiNetConfig() if layout is None else SpecHiNetConfig(layout))
        return [untrained_like(pattern) for _ in range(n_experts)]
    experts = load_encoders(weights.weights if isinstance(weights, Untrained) else weights)
    found = experts[0].config.layout
    if layout not in (None, found):
        raise ValueError(
            f"layout={layout!r}, but the experts in weights={weights!r} have layout {found!r}; leave layout=None, "
            "or give other weights: published files have layout 'published', random experts (weights=None) either."
        )
    if not isinstance(weights, Untrained):
        return experts
    warn_caller(
        f"weights={weights!r}: the experts are random, of that architecture. Results say nothing about pretraining, "
        "but are what pretrained ones are to be compared with.",
        UntrainedWarning,
    )
    return [untrained_like(expert) for expert in experts]


def check_weight(weights: object) -> None:
    """Raise unless this may be the parameter `weights` of BrainRVQ's estimators."""
    inner = weights.weights if isinstance(weights, Untrained) else weights
    if isinstance(inner, list | tuple):
        raise TypeError(
            f"weights must be one file, since BrainRVQ has one encoder, got {len(inner)} in a list; give one of them."
        )
    if not (inner is None or isinstance(inner, str | os.PathLike)):
        raise TypeError(
            f"weights must be a name ('brainrvq-starter'), a path, untrained(...) of one, or None, got {weights!r}."
        )


def brainrvq_encoder(weights: str | os.PathLike | Untrained | None, depth: int, parity: bool | None) -> BrainRVQEncoder:
    """Load an encoder, or make a random one and say so.

    Parameters
    ----------
    weights : Weights
        None: a random one.
    depth : int
        Its number of blocks.
    parity : bool | None
        See `mne_specmoe.BrainRVQFeaturizer`.

    Returns
    -------
    encoder : BrainRVQEncoder
    """
    if weights is None:
        warn_caller(
            "weights=None: the encoder is random. It has learnt nothing from other recordings, and results say nothing "
            'about pretraining. Leave weights at "brainrvq-starter" or give a file, or take this as a baseline of '
            "random features.",
            UntrainedWarning,
        )
        scope = "recording" if parity else "token"
        return random_encoder(TransformerConfig(depth, drop_path=_DROP_PATH, norm_scope=scope))
    encoder = load_encoder(weights.weights if isinstance(weights, Untrained) else weights, parity=parity)
    if not isinstance(weights, Untrained):
        return encoder
    warn_caller(
        f"weights={weights!r}: the encoder is random, of that architecture. Results say nothing about pretraining, but "
        "are what a pretrained one is to be compared with.",
        UntrainedWarning,
    )
    return random_encoder(encoder.config)
