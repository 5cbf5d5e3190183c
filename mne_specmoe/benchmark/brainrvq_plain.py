"""BrainRVQ as one would first write it: the yardstick for speed, and an oracle for tests."""

import copy
import math
from types import MethodType
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe.models.brainrvq.network import N_HEADS, Attention
from mne_specmoe.nn.quantize import Codebook

Network = TypeVar("Network", bound=nn.Module)


def plain_network(network: Network) -> Network:
    """Copy a network of BrainRVQ's into a form that computes the same the obvious way.

    Attention stores its map of scores, and codebooks compare all vectors with all codes at once.

    Parameters
    ----------
    network : nn.Module
        A tokenizer, a pretraining network or a part of one. Not changed.

    Returns
    -------
    plain : nn.Module
        A copy with the same state dict.
    """
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_attend, module)
        elif isinstance(module, Codebook):
            module.encode = MethodType(_encode, module)
    return plain


def _attend(attention: Attention, x: Tensor) -> Tensor:
    """Attention with its map of scores: [B, T, D] → [B, T, D]."""
    parts = F.linear(x, attention.qkv.weight)
    query, key, value = parts.chunk(3, dim=-1)
    if attention.q_bias is not None:
        query, value = query + attention.q_bias, value + attention.v_bias
    query, key, value = (each.unflatten(-1, (N_HEADS, -1)).transpose(1, 2) for each in (query, key, value))
    query, key = attention.q_norm(query), attention.k_norm(key)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [B, heads, T, T]
    return attention.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


def _encode(book: Codebook, x: Tensor) -> Tensor:
    """Numbers of the nearest codes, from all distances."""
    return plain_nearest_codes(x, book.codes)


@torch.no_grad()
def plain_nearest_codes(x: Tensor, codes: Tensor) -> Tensor:
    """Number of the code nearest to each vector, from the matrix of all distances.

    Parameters
    ----------
    x : Tensor, shape (n_vectors, width)
        Vectors.
    codes : Tensor, shape (n_codes, width)
        Codes.

    Returns
    -------
    numbers : int64 Tensor, shape (n_vectors,)
    """
    distances = x.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * x @ codes.T
    return distances.argmin(1)
