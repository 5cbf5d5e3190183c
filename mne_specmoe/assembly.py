"""Weights files put together, converted from published ones, and described."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mne_specmoe._files import file_digest
from mne_specmoe._validation import CheckpointError, listed
from mne_specmoe.checkpoint import family_of_kind, is_ours, published_kind, read_header, save_network, weights_path
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_downstream, load_tokenizer, unused_tensors
from mne_specmoe.loaders.specmoe import load_expert, load_specmoe, save_experts
from mne_specmoe.models.specmoe.mixture import shared_config
from mne_specmoe.models.specmoe.network import SpecHiNet

PUBLISHED_LICENCE = "Converted from weights published by SpecMoE's authors: for non-commercial research only."
BRAINRVQ_LICENCE = "Converted from weights of BrainRVQ's authors, published without a licence: ask its authors."
_RUN_WEIGHTS = ("expert.safetensors", "tokenizer.safetensors", "brainrvq.safetensors")
_ALONE = {"brainrvq-tokenizer": load_tokenizer, "brainrvq": load_brainrvq}
_FINE_TUNED_BRAINRVQ = "BrainRVQ fine-tuned model"
_LOADERS = {
    "expert": load_expert,
    "fine-tuned model": load_specmoe,
    "BrainRVQ tokenizer": load_tokenizer,
    "BrainRVQ pretraining network": load_brainrvq,
}


def assemble(
    runs: Sequence[str | os.PathLike], out: str | os.PathLike, *, precision: str = "float32", licence: str | None = None
) -> Path:
    """Put experts together into one file that the estimators take as ``weights``.

    A network of BrainRVQ is taken alone, and stored anew with another precision or a licence.

    Parameters
    ----------
    runs : sequence of path-like
        Folders of finished runs of `mne_specmoe.pretrain`, or files with one expert each (ours or published); or one
        folder, or file of ours, of `mne_specmoe.pretrain_tokenizer` or `mne_specmoe.pretrain_brainrvq`.
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
        If the experts have different architectures (dropout apart), or two are the same; or if there are others
        beside a network of BrainRVQ.
    """
    if not runs:
        raise ValueError("There is nothing to assemble; give at least one run.")
    paths = [_weights_of(Path(run).expanduser()) for run in runs]
    if alone := [path for path in paths if is_ours(path) and read_header(path).architecture in _ALONE]:
        if len(paths) > 1:
            raise ValueError(f"{alone[0]} holds a network of BrainRVQ, which goes with no other; give it alone.")
        return _store_again(paths[0], out, precision, licence)
    experts = [load_expert(path) for path in paths]
    _check_distinct(paths, experts)
    training = {"experts": [_training_of(path) for path in paths]}
    if any(not is_ours(path) for path in paths):
        licence = licence or PUBLISHED_LICENCE
    if licence:
        training["licence"] = licence
    return save_experts(experts, out, training=training, precision=precision)


def convert(
    path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    precision: str = "float32",
    ch_names: Sequence[str] | None = None,
) -> Path:
    """Turn published weights, of SpecMoE or of BrainRVQ, into our format.

    Parameters
    ----------
    path : path-like
        The published file (``.pth``), read with ``weights_only=True``: one expert, a fine-tuned SpecMoE, or a
        tokenizer, a pretraining network or a fine-tuned model of BrainRVQ.
    out : path-like
        The file to write.
    precision : {"float32", "float16"}
        See `mne_specmoe.save_expert`; a fine-tuned SpecMoE is stored as float32 all the same.

    ch_names : sequence of str | None
        Channels that a fine-tuned BrainRVQ was trained on, in order: its file does not say. Without meaning for others.

    Returns
    -------
    path : Path

    Raises
    ------
    CheckpointError
        If the file is no published one.
    ValueError
        If it is a fine-tuned BrainRVQ, and there are no `ch_names`.
    """
    path = Path(path).expanduser()
    if is_ours(path):
        raise CheckpointError(f"{path} is in our format already ({read_header(path).architecture}).")
    kind = published_kind(path)
    licence = BRAINRVQ_LICENCE if family_of_kind(kind) == "brainrvq" else PUBLISHED_LICENCE
    training = {"source": path.name, "source_sha256": file_digest(path), "licence": licence}
    if kind == "fine-tuned model":
        precision = "float32"
    network = load_downstream(path, ch_names=ch_names) if kind == _FINE_TUNED_BRAINRVQ else _LOADERS[kind](path)
    return save_network(network, out, training=training, precision=precision)


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
        return _describe_published(path)
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
        "sha256": file_digest(path),
    }


def _describe_published(path: Path) -> dict[str, object]:
    """Say what a file holds that the authors of a system published."""
    kind = published_kind(path)
    description = {"file": str(path), "format": f"published {kind}"}
    if family_of_kind(kind) == "brainrvq":
        description["licence"] = "published without a licence: ask its authors"
        description["unused_tensors"] = unused_tensors(path)
    else:
        description["licence"] = "as its authors say; SpecMoE's published weights are for non-commercial research only"
    return description | {"sha256": file_digest(path)}


def _weights_of(run: Path) -> Path:
    """The weights of a run's folder, or the file itself."""
    if not run.is_dir():
        return run
    found = [run / name for name in _RUN_WEIGHTS if (run / name).exists()]
    if not found and (run / "corpus.json").exists():
        raise CheckpointError(f"{run} is a corpus; pretrain on it, and give the folder of that run.")
    if not found:
        raise CheckpointError(
            f"The run in {run} is not finished: it has no {listed(_RUN_WEIGHTS)}. Go on with it: mne-specmoe "
            f"pretrain ... --out {run} --resume."
        )
    return found[0]


def _store_again(path: Path, out: str | os.PathLike, precision: str, licence: str | None) -> Path:
    """Write one network once more."""
    training = _training_of(path) | ({"licence": licence} if licence else {})
    network = _ALONE[read_header(path).architecture](path)
    return save_network(network, out, training=training, precision=precision)


def _check_distinct(paths: Sequence[Path], experts: Sequence[SpecHiNet]) -> None:
    """Raise unless the experts are of one kind and differ from one another."""
    shared_config(experts)
    for i, first in enumerate(experts):
        for j in range(i):
            pairs = zip(first.parameters(), experts[j].parameters(), strict=True)
            if all(torch.equal(a, b) for a, b in pairs):
                raise ValueError(f"{paths[j]} and {paths[i]} hold the same expert; give each once.")


def _training_of(path: Path) -> dict[str, object]:
    """How one expert came about, and the hash of its file."""
    training = read_header(path).training if is_ours(path) else {"source": path.name}
    return {**json.loads(json.dumps(training)), "sha256": file_digest(path)}
