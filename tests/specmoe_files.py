"""Files as SpecMoE's authors publish them, filled with the golden weights, and small networks of ours."""

from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from golden_data import draw, published_state

from mne_specmoe.loaders.specmoe import save_experts
from mne_specmoe.models.specmoe.mixture import SpecMoE
from mne_specmoe.models.specmoe.network import SpecHiNet, untrained_like
from mne_specmoe.models.specmoe.published import encoder_keys, readout_keys

golden_state = cache(published_state)


def expert(layout: str = "channelwise", **options) -> SpecHiNet:
    torch.manual_seed(0)
    return SpecHiNet(layout, **options).eval()


def specmoe(**options) -> SpecMoE:
    torch.manual_seed(0)
    return SpecMoE(**{"n_outputs": 3, "n_times": 600, "n_experts": 1} | options).eval()


def random_experts(path: Path, layout: str = "channelwise") -> Path:
    """Write a file of two untrained experts whose encoders keep the signal alive."""
    with torch.random.fork_rng():
        pattern = expert(layout)
        return save_experts([untrained_like(pattern) for _ in range(2)], path)


def published_expert(salt: int = 1, *, prefix: str = "module.") -> dict:
    """What a published expert's file holds, training states included."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.05)
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-6)
    return {
        "model_state": OrderedDict((prefix + name, tensor) for name, tensor in golden_state(salt).items()),
        "epoch": 49,
        "optimizer_state": optimizer.state_dict(),
        "scheduler_state": scheduler.state_dict(),
        "best_loss": np.float64(0.125),
        "params": {"lr": 1e-3, "clip_value": 5, "mask": ("freq", 0.5), "resume": None, "parallel": True},
        "rng_state": {"torch": torch.get_rng_state(), "numpy": np.random.RandomState(41).get_state()},
        "cuda_rng_state": [torch.get_rng_state()],
    }


@cache
def readout_shapes(n_times: int) -> dict[str, list[int]]:
    """Published names and shapes of the gate and head of a model of five classes."""
    state = SpecMoE(5, n_times=n_times, layout="published").state_dict()
    return {theirs: list(state[ours].shape) for ours, theirs in readout_keys(3).items()}


encoder_names = cache(lambda: set(encoder_keys().values()))


def fine_tuned(*, n_times: int = 1200, decoders: bool = False, prefix: str = "") -> dict:
    """What a published fine-tuned model's file holds: the golden mixtures."""
    state = {name: draw(name, shape, 9) for name, shape in readout_shapes(n_times).items()}
    for i in range(3):
        whole = golden_state(i + 1)
        state |= {f"experts.{i}.{name}": t for name, t in whole.items() if decoders or name in encoder_names()}
    return {"state_dict": {prefix + name: tensor for name, tensor in state.items()}}


def write(path: Path, content: object, **options) -> Path:
    torch.save(content, path, **options)
    return path
