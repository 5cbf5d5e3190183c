"""Weights files put together, converted from published ones, and described."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mne_specmoe._validation import CheckpointError
from mne_specmoe.checkpoint import (
    is_ours,
    load_expert,
    load_specmoe,
    published_kind,
    read_header,
    save_expert,
    save_experts,
    save_specmoe,
    weights_path,
)
from mne_specmoe.models.specmoe.mixture import shared_setting
from mne_specmoe.models.specmoe.network import SpecHiNet

PUBLISHED_LICENCE = "Converted from weights published by SpecMoE's authors: for non-commercial research only."
_EXPERT = "expert.safetensors"


def assemble(
    runs: Sequence[str | os.PathLike], out: str | os.PathLike, *, precision: str = "float32", licence: str | None = None
) -> Path:
    """Put experts together into one file that the estimators take as ``weights``.

    Parameters
    ----------
    runs : sequence of path-like
        Folders of finished runs of `mne_specmoe.pretrain`, or files with one expert each (ours or published).
    out : path-like
        The file to write.
    precision : {"float32", "float16"}
        See `mne_specmoe.save_expert`.
    licence : str | None
        Licence of the weights, for the header.

    Returns
    -------
    path : Path

    Raises
    ------
    CheckpointError
        If a run is not finished, or a file holds no single expert.
    ValueError
        If the experts have different layouts, amplitudes or decoders, or two are the same.
    """
    if not runs:
        raise ValueError("There is nothing to assemble; give at least one run.")
    paths = [_weights_of(Path(run).expanduser()) for run in runs]
    experts = [load_expert(path) for path in paths]
    _check_distinct(paths, experts)
    training = {"experts": [_training_of(path) for path in paths]}
    if any(not is_ours(path) for path in paths):
        licence = licence or PUBLISHED_LICENCE
    if licence:
        training["licence"] = licence
    return save_experts(experts, out, training=training, precision=precision)


def convert(path: str | os.PathLike, out: str | os.PathLike, *, precision: str = "float32") -> Path:
    """Turn published weights, one expert or a fine-tuned SpecMoE, into our format.

    Parameters
    ----------
    path : path-like
        The published file (``.pth``), read with ``weights_only=True``.
    out : path-like
        The file to write.
    precision : {"float32", "float16"}
        See `mne_specmoe.save_expert`; of experts only.

    Returns
    -------
    path : Path

    Raises
    ------
    CheckpointError
        If the file is no published one.
    """
    path = Path(path).expanduser()
    if is_ours(path):
        raise CheckpointError(f"{path} is in our format already ({read_header(path).architecture}).")
    training = {"source": path.name, "source_sha256": sha256(path), "licence": PUBLISHED_LICENCE}
    if published_kind(path) == "expert":
        return save_expert(load_expert(path), out, training=training, precision=precision)
    return save_specmoe(load_specmoe(path), out, training=training)


def describe(path: str | os.PathLike) -> dict[str, object]:
    """Say what a weights file holds: architecture, training, hashes, licence.

    Parameters
    ----------
    path : path-like
        Our file, or a published one; ``"starter"`` is the one that comes with the package.

    Returns
    -------
    description : dict
        Of strings, numbers, lists and dicts.
    """
    path = weights_path(path)
    if not is_ours(path):
        return {
            "file": str(path),
            "format": f"published {published_kind(path)}",
            "licence": "as its authors say; SpecMoE's published weights are for non-commercial research only",
            "sha256": sha256(path),
        }
    header = read_header(path)
    licence = header.training.get("licence", "not stated in the file: ask whoever made it")
    return {
        "file": str(path),
        "format": f"mne-specmoe {header.format_version}, written by version {header.package_version}",
        "architecture": header.architecture,
        "config": header.config,
        "training": header.training,
        "licence": licence,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
    }


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_of(run: Path) -> Path:
    """The weights of a run's folder, or the file itself."""
    if not run.is_dir():
        return run
    path = run / _EXPERT
    if not path.exists():
        raise CheckpointError(
            f"The run in {run} is not finished: it has no {_EXPERT}. Go on with it: mne-specmoe pretrain ... "
            f"--out {run} --resume."
        )
    return path


def _check_distinct(paths: Sequence[Path], experts: Sequence[SpecHiNet]) -> None:
    """Raise unless the experts are of one kind and differ from one another."""
    for name in ("layout", "amplitude", "decoder"):
        shared_setting(name, experts)
    for i, first in enumerate(experts):
        for j in range(i):
            pairs = zip(first.parameters(), experts[j].parameters(), strict=True)
            if all(torch.equal(a, b) for a, b in pairs):
                raise ValueError(f"{paths[j]} and {paths[i]} hold the same expert; give each once.")


def _training_of(path: Path) -> dict[str, object]:
    """How one expert came about, and the hash of its file."""
    training = read_header(path).training if is_ours(path) else {"source": path.name}
    return {**json.loads(json.dumps(training)), "sha256": sha256(path)}
