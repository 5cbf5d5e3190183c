"""Weights on disk: one safetensors file with a JSON header, and safe reading of what others published.

This is the format, whatever the network; `mne_specmoe.loaders` has the functions for each family.
"""

import argparse
import json
import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mne_specmoe._files import replacing
from mne_specmoe._validation import CheckpointError, check_option, listed
from mne_specmoe.models.registry import ARCHITECTURES, BUNDLED, PUBLISHED, PublishedKind, architecture_of

FORMAT_VERSION = 1
_WEIGHTS = Path(__file__).parent / "weights"
_PARALLEL = "module."  # what data-parallel training puts before the names of tensors
# What published checkpoints hold beside tensors: numpy numbers and arrays (losses, random states) and the options of
# a command line: nothing that runs code.
_SAFE_GLOBALS = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    np._core.multiarray.scalar,
    np._core.multiarray._reconstruct,
    *{type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "u4", "u8", "u1", "?")},
]


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint of ours says of itself.

    Parameters
    ----------
    architecture : str
        Key of `mne_specmoe.models.registry.ARCHITECTURES`.
    config : dict
        Fields of the architecture's config.
    training : dict
        Free summary of how the weights came about (data, steps, licence).
    package_version : str
        Version of mne-specmoe that wrote the file.
    format_version : int
        Version of this format.
    """

    architecture: str
    config: dict
    training: dict
    package_version: str
    format_version: int = FORMAT_VERSION


def save_network(
    network: nn.Module, path: str | os.PathLike, *, training: Mapping | None = None, precision: str = "float32"
) -> Path:
    """Write a network of a known architecture as safetensors.

    Parameters
    ----------
    network : nn.Module
        One of the classes in `mne_specmoe.models.registry.ARCHITECTURES`.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters. Half as large a file costs them the fourth digit; buffers (running statistics,
        codebooks) stay as they are, and computations with what is read back are in float32.

    Returns
    -------
    path : Path

    Raises
    ------
    TypeError
        If the network is of no known architecture, or `training` is no JSON.
    """
    path = Path(path).expanduser()
    header = CheckpointHeader(
        architecture=architecture_of(network),
        config=asdict(network.config),
        training=dict(training or {}),
        package_version=_package_version(),
    )
    check_option("precision", precision, ("float32", "float16"))
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    if precision == "float16":
        tensors |= {name: tensors[name].half() for name, _ in network.named_parameters()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"mne_specmoe": json.dumps(asdict(header), default=_plain)})
    return path


def load_network(path: str | os.PathLike, *architectures: str) -> nn.Module:
    """Read a network from a file of ours.

    Parameters
    ----------
    path : path-like
        The file, or the name of weights that come with the package.
    *architectures : str
        Keys of `mne_specmoe.models.registry.ARCHITECTURES`, one of which the file must hold.

    Returns
    -------
    network : nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        If the file cannot be read or holds another architecture, or a tensor is missing, superfluous or misshapen.
    FileNotFoundError
        If there is no such file.
    """
    path = weights_path(path)
    header = read_header(path)
    _check_architecture(path, header.architecture, architectures)
    network = ARCHITECTURES[header.architecture].build(_config(path, header))
    return fill(network, _tensors(path), path)


def load_part(path: str | os.PathLike, architecture: str, part: str, build: Callable[[object], nn.Module]) -> nn.Module:
    """Read one part of a network from a file of ours, and neither read nor build the rest.

    Parameters
    ----------
    path : path-like
        The file, or the name of weights that come with the package.
    architecture : str
        Key of `mne_specmoe.models.registry.ARCHITECTURES` that the file must hold.
    part : str
        Name of the part: an attribute of the network.
    build : callable
        Makes the part, untrained, from the network's config.

    Returns
    -------
    part : nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError, FileNotFoundError
        As in `load_network`.
    """
    path = weights_path(path)
    header = read_header(path)
    _check_architecture(path, header.architecture, [architecture])
    network = build(_config(path, header))
    names = {name: f"{part}.{name}" for name in network.state_dict()}
    return fill(network, renamed(path, _tensors(path, f"{part}."), names), path, stored_names=names)


def _config(path: Path, header: CheckpointHeader) -> object:
    """The config of a known architecture."""
    kind = ARCHITECTURES[header.architecture].config
    try:
        return kind(**header.config)
    except (TypeError, ValueError) as error:
        known = sorted(field.name for field in fields(kind))
        raise CheckpointError(f"{path} has a config that is not understood ({error}); known: {known}.") from error


def _tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of a file of ours whose names begin so."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def tensor_names(path: str | os.PathLike) -> list[str]:
    """Names of the tensors of a file of ours, which are not read."""
    with safe_open(weights_path(path), framework="pt") as file:
        return list(file.keys())


def _check_architecture(path: Path, found: str, wanted: Sequence[str]) -> None:
    """Raise a CheckpointError that says which function reads what was found."""
    if found not in wanted:
        hint = f"; use {ARCHITECTURES[found].loader}" if found in ARCHITECTURES else ""
        if hint and found != "brainrvq-tokenizer":
            hint += f", or the estimators of {'BrainRVQ' if found.startswith('brainrvq') else 'SpecMoE'}"
        expected = " or ".join(map(repr, wanted))
        raise CheckpointError(f"{path} holds the architecture {found!r}, expected {expected}{hint}.")


def read_header(path: str | os.PathLike) -> CheckpointHeader:
    """Read what a checkpoint of ours says of itself, without its tensors.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint of ours.
    """
    path = weights_path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}.") from error
    try:
        header = json.loads(metadata["mne_specmoe"])
        format_version = int(header["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no mne-specmoe header; it was written by another program.") from error
    if format_version > FORMAT_VERSION:  # before the fields are read, which a later version may have changed
        raise CheckpointError(
            f"{path} has format version {format_version}, this package reads up to {FORMAT_VERSION}; "
            "upgrade mne-specmoe."
        )
    try:
        return CheckpointHeader(**header)
    except TypeError as error:
        raise CheckpointError(f"{path} has a header that is not understood: {error}.") from error


def is_ours(path: str | os.PathLike) -> bool:
    """Tell a file of ours from a published pickle; raise a CheckpointError for anything else."""
    return _is_safetensors(weights_path(path))


def family_of(path: str | os.PathLike) -> str:
    """Tell the family of what a file holds, ours or published: ``"specmoe"`` or ``"brainrvq"``."""
    return family_of_kind(read_header(path).architecture if is_ours(path) else published_kind(path))


def family_of_kind(kind: str) -> str:
    """Tell the family of an architecture of ours or of a published kind, by its name."""
    return "brainrvq" if kind.lower().startswith("brainrvq") else "specmoe"


def _plain(value: object) -> object:
    """A numpy number as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON.")


def _package_version() -> str:
    """Version of the installed package."""
    try:
        return version("mne-specmoe")
    except PackageNotFoundError:
        return "unknown"


def weights_path(path: str | os.PathLike) -> Path:
    """Path of a weights file that is there; a name of bundled weights stands for their file."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"Expected a path, got {path!r} of type {type(path).__name__}.")
    path = _WEIGHTS / BUNDLED[path] if path in BUNDLED else Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"There is no weights file {path}. Weights of the package are named by a str: {listed(BUNDLED)}."
        )
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the weights file in it.")
    return path


def _is_safetensors(path: Path) -> bool:
    """Tell our format from a pickle by the first bytes; refuse what is neither."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise CheckpointError(f"{path} is empty.")
    if start[8:9] == b"{":  # asked first: the length before it may begin with a pickle's \x80
        return True
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        return False
    if start.lstrip().startswith(b"<"):
        raise CheckpointError(f"{path} is a web page, not weights; download the file behind the link.")
    raise CheckpointError(f"{path} is neither safetensors nor a torch checkpoint.")


def published_kind(path: str | os.PathLike) -> str:
    """Say what a published file holds: a key of `mne_specmoe.models.registry.PUBLISHED`."""
    path = weights_path(path)
    content = _read_published(path)
    for name, kind in PUBLISHED.items():
        if _entry(content, kind) is not None:
            return name
    raise CheckpointError(f"{path} is no published file of a known kind: it has only {_some(content)}.")


def published_state(path: Path, *kinds: str) -> tuple[str, dict[str, Tensor]]:
    """Read the tensors of a published file with torch's restricted reader.

    Parameters
    ----------
    path : Path
        The file.
    *kinds : str
        Keys of `mne_specmoe.models.registry.PUBLISHED`, one of which the file must be.

    Returns
    -------
    kind : str
        Which of `kinds` it is.
    state : dict of str to Tensor
        Tensors by their published names, without the prefix of data-parallel training.

    Raises
    ------
    CheckpointError
        If the file cannot be read, holds what could run code, or is of another kind, which is named.
    """
    content = _read_published(path)
    for name in kinds:
        entry = _entry(content, PUBLISHED[name])
        if entry is not None:
            return name, _published_tensors(path, content[entry])
    hints = [f"It looks {kind.looks}: use {kind.loader}." for kind in PUBLISHED.values() if _entry(content, kind)]
    absent = " or ".join(_what_tells(PUBLISHED[name]) for name in kinds)
    raise CheckpointError(
        " ".join(
            [f"{path} is not a published {' or '.join(kinds)}: it has no {absent}, only {_some(content)}.", *hints]
        )
    )


def _entry(content: Mapping, kind: PublishedKind) -> str | None:
    """Key under which a file has the tensors of a kind, if it has."""
    for entry in kind.entries:
        if entry in content and (not kind.mark or _has_mark(content[entry], kind.mark)):
            return entry
    return None


def _has_mark(state: object, mark: str) -> bool:
    """Whether some name of a state begins with the mark."""
    return isinstance(state, Mapping) and any(str(name).removeprefix(_PARALLEL).startswith(mark) for name in state)


def _what_tells(kind: PublishedKind) -> str:
    """What a file of a kind has to have."""
    return repr(kind.entries[0]) + (f" with tensors '{kind.mark}*'" if kind.mark else "")


def _read_published(path: Path) -> dict:
    """Unpickle with torch's restricted reader."""
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own messages go on to recommend weights_only=False, which we do not pass on.
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds more than tensors and numbers"
            + (f" ({culprit[1]})" if culprit else "")
            + ", and reading that could run foreign code."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        if "weights_only" in str(error):
            raise CheckpointError(f"{path} was refused: it is no checkpoint but a program (TorchScript).") from None
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict.")
    return content


def _published_tensors(path: Path, state: object) -> dict[str, Tensor]:
    """The tensors of a published state dict, without the prefix of data-parallel training."""
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: the state is not a mapping of names to tensors.")
    return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}


def renamed(path: Path, state: Mapping[str, Tensor], keys: Mapping[str, str]) -> dict[str, Tensor]:
    """Translate names of a file by `keys`, ours → those stored; every name must be known and present."""
    check_names(path, set(keys.values()), set(state))
    return {ours: state[theirs] for ours, theirs in keys.items()}


def fill(
    network: nn.Module, state: Mapping[str, Tensor], path: Path, *, stored_names: Mapping[str, str] | None = None
) -> nn.Module:
    """Load a state dict strictly: every tensor there, none left over, all finite and of the right shape.

    Parameters
    ----------
    network : nn.Module
        What is filled, in place.
    state : mapping of str to Tensor
        Tensors by our names.
    path : Path
        Where they are from, for messages.
    stored_names : mapping of str to str | None
        Our names → the names in the file, for messages.

    Returns
    -------
    network : nn.Module
        The same, in evaluation mode.

    Raises
    ------
    CheckpointError
        If a tensor is missing, superfluous, misshapen or not finite.
    """
    stored_names = stored_names or {}
    wanted = network.state_dict()
    check_names(path, set(wanted), set(state))
    for name, tensor in wanted.items():
        stored_name = stored_names.get(name, name)
        check_shape(path, stored_name, state[name], tensor.shape)
        if not torch.isfinite(state[name]).all():
            raise CheckpointError(f"{path}: tensor {stored_name!r} holds NaN or infinity.")
    network.load_state_dict(state)
    return network.eval()


def check_shape(path: Path, name: str, tensor: Tensor, wanted: Sequence[int]) -> None:
    """Raise a CheckpointError if a tensor of a file has another shape."""
    if tuple(tensor.shape) != tuple(wanted):
        raise CheckpointError(f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, expected {tuple(wanted)}.")


def check_names(path: Path, wanted: set[str], found: set[str]) -> None:
    """Raise a CheckpointError that names missing and superfluous tensors."""
    if missing := wanted - found:
        raise CheckpointError(f"{path}: {len(missing)} tensors are missing: {_some(missing)}.")
    if extra := found - wanted:
        raise CheckpointError(f"{path}: {len(extra)} tensors are not part of this network: {_some(extra)}.")


def _some(names: Iterable[str]) -> str:
    """The first few of many names."""
    return listed(sorted(map(str, names)), at_most=5)
