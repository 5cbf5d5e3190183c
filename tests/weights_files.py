"""What tests of weights files share: comparing networks, and damaging files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def same_state(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rewrite(path: Path, change) -> Path:
    """Change tensors and header of a file of ours."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["mne_specmoe"])
    state = load_file(path)
    change(state, header)
    save_file(state, path, metadata={"mne_specmoe": json.dumps(header)})
    return path


def without(state, name):
    del state[name]


def with_extra(state, name):
    state[name + "_more"] = torch.zeros(3)


def misshapen(state, name):
    state[name] = state[name][..., None].repeat_interleave(2, -1)


def not_a_number(state, name):
    state[name] = state[name].clone()
    state[name].view(-1)[-1] = torch.nan


def infinite(state, name):
    state[name] = torch.full_like(state[name], -torch.inf)


DAMAGES = [
    (without, "1 tensors are missing: '{}'"),
    (with_extra, "1 tensors are not part of this network: '{}_more'"),
    (misshapen, r"tensor '{}' has shape \(.*\), expected"),
    (not_a_number, "tensor '{}' holds NaN or infinity"),
    (infinite, "tensor '{}' holds NaN or infinity"),
]


def damages(*names: str):
    """Every damage, each to one of the names in turn."""
    cases = [(*DAMAGES[i], names[i % len(names)]) for i in range(len(DAMAGES))]
    return pytest.mark.parametrize(("damage", "message", "name"), cases)
