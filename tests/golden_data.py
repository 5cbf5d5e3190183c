"""Weights and arrays of the golden data, which reproduce the published system."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from mne_specmoe.models.specmoe.published import expert_keys

GOLDEN_DIR = Path(__file__).parent / "golden"


def load_cases() -> dict[str, dict[str, np.ndarray]]:
    """Read the golden file as case → array name → array."""
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(GOLDEN_DIR / "specmoe_public.npz") as archive:
        for name in archive.files:
            case, array = name.split("/")
            cases.setdefault(case, {})[array] = archive[name]
    return cases


def published_shapes() -> dict[str, list[int]]:
    """Names and shapes of the 334 tensors of a published expert."""
    return json.loads((GOLDEN_DIR / "published_expert_keys.json").read_text())


def draw(key: str, shape: list[int], salt: int) -> torch.Tensor:
    """Draw the tensor that the golden data was made with, from its published name."""
    generator = np.random.RandomState(zlib.crc32(f"{salt}/{key}".encode()))
    z = generator.standard_normal(shape)
    leaf = key.split(".")[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(100)
    if leaf == "running_var":
        z = 1 + 0.2 * np.abs(z)
    elif leaf == "running_mean":
        z = 0.1 * z
    elif leaf == "a_2" or (leaf == "weight" and len(shape) == 1):
        z = 1 + 0.1 * z
    elif leaf in ("b_2", "bias"):
        z = 0.05 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def published_state(salt: int, attention_gain: float = 1.0) -> dict[str, torch.Tensor]:
    """A published expert's state dict for one salt."""
    state = {key: draw(key, shape, salt) for key, shape in published_shapes().items()}
    for i in (1, 2, 3):
        for part in ("lin_1", "MultiH_Attn.k_proj"):
            state[f"TransformerEnc{i}.{part}.weight"] *= attention_gain
    return state


def expert_state(salt: int, attention_gain: float = 1.0) -> dict[str, torch.Tensor]:
    """The same under our names."""
    state = published_state(salt, attention_gain)
    return {ours: state[theirs] for ours, theirs in expert_keys().items()}


def encoder_state(salt: int) -> dict[str, torch.Tensor]:
    """The encoder's part of it; its shapes are those of both layouts."""
    prefix = "encoder."
    return {key.removeprefix(prefix): t for key, t in expert_state(salt).items() if key.startswith(prefix)}
