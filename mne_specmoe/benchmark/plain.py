"""An expert as one would first write it: the yardstick for speed, and an oracle for tests."""

import copy
import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from mne_specmoe.models.specmoe.network import (
    AttentionBlock,
    SpecHiNet,
    SpecHiNetEncoder,
    _published_heads,
    _split_heads,
)
from mne_specmoe.nn.attention import rotate
from mne_specmoe.nn.layers import ConvNormAct, Dropout, MaxPool1d, PhaseConvTranspose1d


def plain_expert(expert: SpecHiNet | SpecHiNetEncoder) -> SpecHiNet | SpecHiNetEncoder:
    """Copy an expert into a form that computes the same the obvious way.

    Attention stores its map of scores, batch normalisation is a layer of its own in evaluation mode too; transposed
    convolutions, pooling and dropout are torch's.

    Parameters
    ----------
    expert : SpecHiNet or SpecHiNetEncoder
        Not changed.

    Returns
    -------
    plain : SpecHiNet or SpecHiNetEncoder
        A copy with the same state dict.
    """
    plain = copy.deepcopy(expert)
    for parent in list(plain.modules()):
        if isinstance(parent, AttentionBlock):
            parent.attention = PLAIN_ATTENTIONS[expert.config.layout]
        for name, child in parent.named_children():
            replacement = _plain_layer(child)
            if replacement is not child:
                setattr(parent, name, replacement.train(child.training))
    return plain


def plain_published_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Attention normalised over the queries, with its map of scores: [B, N, D] → [B, heads, N, D/heads]."""
    query, key, value = (rotate(_published_heads(x), factors) for x in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    diagonal = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(diagonal, 0.0).softmax(-2) @ value


def plain_channelwise_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Standard rotary attention with its map of scores: [B, N, D] → [B, heads, N, D/heads]."""
    query, key = (rotate(_split_heads(x), factors) for x in (query, key))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.softmax(-1) @ _split_heads(value)


PLAIN_ATTENTIONS = {
    "channelwise": plain_channelwise_attention,
    "published": plain_published_attention,
}


def _plain_layer(layer: nn.Module) -> nn.Module:
    """The same layer without our shortcuts; parameters keep their names."""
    if isinstance(layer, ConvNormAct):
        return nn.Sequential(OrderedDict(conv=_plain_layer(layer.conv), norm=layer.norm, activation=nn.GELU()))
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    if isinstance(layer, MaxPool1d):
        return nn.MaxPool1d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, PhaseConvTranspose1d):
        return _plain_transposed(layer)
    return layer


def _plain_transposed(layer: PhaseConvTranspose1d) -> nn.ConvTranspose1d:
    """torch's transposed convolution with the same parameters."""
    plain = nn.ConvTranspose1d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        bias=layer.bias is not None,
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain
