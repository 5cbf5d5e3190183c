"""Weights as networks under the health check: files of both families, ours and published, and networks themselves."""

import os
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from mne_specmoe._validation import CheckpointError
from mne_specmoe.checkpoint import family_of_kind, is_ours, published_kind, read_header
from mne_specmoe.diagnosis.brainrvq import BrainRVQExaminee
from mne_specmoe.diagnosis.examinee import Examinee
from mne_specmoe.diagnosis.specmoe import SpecMoEExaminee
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_encoder, load_tokenizer
from mne_specmoe.loaders.specmoe import load_experts, load_specmoe
from mne_specmoe.models.brainrvq.channels import channel_rows, unnamed_rows
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder

Weights = str | os.PathLike | nn.Module | Sequence[str | os.PathLike | nn.Module] | None
_N_RANDOM = 3  # experts where none are given, as the estimators have
_EXPERTS = ("specmoe-expert", "specmoe-experts", "expert")
_BUNDLED_TOKENIZERS = {"brainrvq-starter": "brainrvq-starter-tokenizer"}


def open_weights(
    weights: Weights,
    *,
    ch_names: Sequence[str] | None,
    n_channels: int,
    locations: np.ndarray | None = None,
    mask: GaussianStftMask | None = None,
    tokenizer: str | os.PathLike | BrainRVQTokenizer | None = None,
) -> Examinee:
    """Open weights for the health check.

    Parameters
    ----------
    weights : path-like | network | sequence of them | None
        See `mne_specmoe.diagnose`.
    ch_names : sequence of str | None
        Names of the channels, which BrainRVQ needs to know their places.
    n_channels : int
        Number of channels.
    locations : ndarray, shape (n_channels, 3) | None
        Where the channels are, in metres; NaN where unknown.
    mask : GaussianStftMask | None
        What SpecMoE's experts are shown; None: the paper's.
    tokenizer : path-like | BrainRVQTokenizer | None
        Whose codes BrainRVQ predicts. None: that of ``"brainrvq-starter"``, if these are the weights.

    Returns
    -------
    examinee : Examinee
        On the CPU; networks given are copied.

    Raises
    ------
    CheckpointError
        If a file holds no network that can be examined.
    TypeError, ValueError
        If `weights` are none of the above, or do not go together.
    """
    networks = _networks(weights)
    if all(isinstance(each, SpecHiNet) for each in networks) or all(isinstance(n, SpecHiNetEncoder) for n in networks):
        places = None if locations is None else torch.as_tensor(locations, dtype=torch.float32)
        return SpecMoEExaminee(networks, GaussianStftMask() if mask is None else mask, places)
    if len(networks) == 1 and isinstance(networks[0], BrainRVQ | BrainRVQEncoder):
        rows = _rows(ch_names, n_channels, networks[0])
        return BrainRVQExaminee(networks[0], rows, _tokenizer(tokenizer, weights))
    kinds = ", ".join(sorted({type(each).__name__ for each in networks}))
    raise ValueError(
        f"weights are examined together if they are experts of SpecMoE, or one network of BrainRVQ, got {kinds}; "
        "examine them one by one."
    )


def _networks(weights: Weights) -> list[nn.Module]:
    """Networks of files, in evaluation mode; copies of those that were given."""
    if weights is None:
        return SpecMoEExaminee([SpecHiNet()] * _N_RANDOM, GaussianStftMask()).untrained(0).experts
    if isinstance(weights, list | tuple):
        if not weights:
            raise ValueError("weights is an empty list; give at least one file.")
        return [network for each in weights for network in _networks_of(each)]
    return _networks_of(weights)


def _networks_of(weights: object) -> list[nn.Module]:
    """Networks of one file, or a copy of one network."""
    if isinstance(weights, str | os.PathLike):
        return _read(weights)
    if isinstance(weights, SpecHiNet | SpecHiNetEncoder | BrainRVQ | BrainRVQEncoder):
        return [deepcopy(weights).eval().float().cpu()]
    raise TypeError(
        "weights must be a file or its name, a SpecHiNet, a BrainRVQ, a list of such, or None, got "
        f"{type(weights).__name__}."
    )


def _read(path: str | os.PathLike) -> list[nn.Module]:
    """Networks of a file: whole ones where it has them, else encoders."""
    kind = read_header(path).architecture if is_ours(path) else published_kind(path)
    if kind.lower() in ("brainrvq-tokenizer", "brainrvq tokenizer"):
        raise CheckpointError(
            f"{path} holds a tokenizer of BrainRVQ, whose features nobody reads; give the network that was pretrained "
            "with it, and this file as tokenizer."
        )
    if family_of_kind(kind) == "brainrvq":
        return [load_brainrvq(path) if kind in ("brainrvq", "BrainRVQ pretraining network") else load_encoder(path)]
    return load_experts(path) if kind in _EXPERTS else list(load_specmoe(path).experts)


def _rows(ch_names: Sequence[str] | None, n_channels: int, network: BrainRVQ | BrainRVQEncoder) -> Tensor:
    """Rows of the channels in BrainRVQ's table."""
    if ch_names is None:
        return unnamed_rows(n_channels)
    encoder = network.encoder if isinstance(network, BrainRVQ) else network
    trained = encoder.trunk.trained_rows
    return channel_rows(ch_names, trained=trained if trained.any() else None).rows


def _tokenizer(tokenizer: object, weights: object) -> BrainRVQTokenizer | None:
    """The tokenizer given, or the one that belongs to bundled weights."""
    if tokenizer is None and isinstance(weights, str):
        tokenizer = _BUNDLED_TOKENIZERS.get(weights)
    if tokenizer is None:
        return None
    if isinstance(tokenizer, BrainRVQTokenizer):
        return deepcopy(tokenizer).eval().float().cpu()
    return load_tokenizer(tokenizer)
