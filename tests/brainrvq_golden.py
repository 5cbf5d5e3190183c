"""Weights and arrays of BrainRVQ's golden data, which reproduce the published system."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

CHANNELS = ["FP1", "C3", "CZ", "O2"]
_TABLES = ("pos_embed", "time_embed", "cls_token", "mask_token")


def load_golden() -> dict[str, np.ndarray]:
    """Read all arrays."""
    with np.load(Path(__file__).parent / "golden" / "brainrvq_public.npz") as archive:
        return {name: archive[name] for name in archive.files}


def draw(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw the tensor that the golden data was made with, from its published name."""
    r = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    leaf = key.split(".")[-1]
    if leaf == "initted":
        r = np.ones(shape)
    elif leaf in ("cluster_size", "embed_avg"):
        r = np.zeros(shape)
    elif key.endswith(".embedding.weight"):
        r = r / np.linalg.norm(r, axis=1, keepdims=True)
    elif leaf.startswith("gamma_"):
        r = 0.3 + 0.05 * r
    elif leaf in _TABLES or key.startswith("token_embed_"):
        r = 0.3 * r
    elif leaf == "weight" and len(shape) == 1:
        r = 1 + 0.1 * r
    elif leaf == "weight":
        r = r / np.sqrt(np.prod(shape[1:]))
    else:
        r = 0.05 * r
    return torch.from_numpy(np.asarray(r, dtype=np.float32))


def published_shape(published: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a tensor in a published file, which has convolutions over images where we have series."""
    if "patch_embed.conv" in published and published.endswith("weight"):
        return (*shape[:2], 1, shape[2])
    if published.endswith("patch_embed.proj.weight"):
        return (*shape, 1, 1)
    return (1,) if published.endswith("initted") else shape


def fill(module: torch.nn.Module, keys: Mapping[str, str]) -> None:
    """Give a module the golden weights; what has no published name stays."""
    state = module.state_dict()
    for ours, published in keys.items():
        value = draw(published, published_shape(published, tuple(state[ours].shape)))
        state[ours] = value.reshape(state[ours].shape).to(state[ours].dtype)
    module.load_state_dict(state)
