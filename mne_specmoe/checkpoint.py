"""Weights on disk: one safetensors file with a JSON header, and safe readers of what others published."""

import json
import os
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
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
from mne_specmoe.models.registry import ARCHITECTURES, BUNDLED, architecture_of
from mne_specmoe.models.specmoe.mixture import ExpertSet, SpecMoE, shared_setting
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder
from mne_specmoe.models.specmoe.published import encoder_keys, expert_keys, readout_keys

FORMAT_VERSION = 1
_WEIGHTS = Path(__file__).parent / "weights"
# Where published files keep their tensors: what such a file is, and what to tell who asked for the other kind.
_PUBLISHED_ENTRIES = {
    "model_state": ("expert", "It looks like one expert: use load_expert."),
    "state_dict": ("fine-tuned model", "It looks fine-tuned: use load_specmoe."),
}
# What published checkpoints hold beside tensors: numpy numbers and arrays (losses, random states), nothing that runs
# code.
_SAFE_GLOBALS = [
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


def save_expert(
    expert: SpecHiNet, path: str | os.PathLike, *, training: Mapping | None = None, precision: str = "float32"
) -> Path:
    """Write one expert, encoder and decoder, as safetensors.

    Parameters
    ----------
    expert : SpecHiNet
        The network.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters. Half as large a file costs them the fourth digit; running statistics stay float32,
        and so do all computations with what is read back.

    Returns
    -------
    path : Path
    """
    return _save(expert, SpecHiNet, path, training, precision)


def save_experts(
    experts: Sequence[SpecHiNet],
    path: str | os.PathLike,
    *,
    training: Mapping | None = None,
    precision: str = "float32",
) -> Path:
    """Write several whole experts of one layout into one file; see `save_expert`.

    The estimators take the file as ``weights``, `load_expert` picks one expert out.
    """
    return _save(ExpertSet(experts=experts), ExpertSet, path, training, precision)


def save_specmoe(network: SpecMoE, path: str | os.PathLike, *, training: Mapping | None = None) -> Path:
    """Write a SpecMoE, experts' encoders, gate and head, as safetensors; see `save_expert`."""
    return _save(network, SpecMoE, path, training)


def load_expert(path: str | os.PathLike, *, number: int | None = None) -> SpecHiNet:
    """Read one expert, ours (``.safetensors``) or a published one (``.pth``).

    Published pickles are read with ``weights_only=True``: nothing in them can run.

    Parameters
    ----------
    path : path-like
        The file; its format is told by its content, not by its name. ``"starter"`` is the file that comes with the
        package; a file of that name is given as a `pathlib.Path`.
    number : int | None
        Which expert, from 1, where the file holds several.

    Returns
    -------
    expert : SpecHiNet
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is no expert, or a tensor is missing, superfluous or misshapen (it is named).
    FileNotFoundError
        If there is no such file.
    """
    experts = load_experts(path)
    if number is None and len(experts) > 1:
        raise ValueError(f"{path} holds {len(experts)} experts; say which one with number=1 to {len(experts)}.")
    if number is not None and not 1 <= number <= len(experts):
        raise ValueError(f"number={number}, but {path} holds experts 1 to {len(experts)}.")
    return experts[(number or 1) - 1]


def load_experts(path: str | os.PathLike) -> list[SpecHiNet]:
    """Read all experts of a file, with their decoders; see `load_expert`."""
    path = weights_path(path)
    if _is_safetensors(path):
        if read_header(path).architecture == "specmoe-experts":
            return list(_load_ours(path, "specmoe-experts").experts)
        return [_load_ours(path, "specmoe-expert")]
    state = _published_state(path, "model_state")
    expert, keys = SpecHiNet("published"), expert_keys()
    return [_fill(expert, _renamed(path, state, keys), path, stored_names=keys)]


def load_specmoe(
    path: str | os.PathLike,
    *,
    time_pooling: str | None = None,
    channel_pooling: str | None = None,
    n_times: int | None = None,
) -> SpecMoE:
    """Read a SpecMoE, ours (``.safetensors``) or a published fine-tuned one (``.pth``).

    Parameters
    ----------
    path : path-like
        The file.
    time_pooling, channel_pooling : {"mean", "max"} | None
        Our files know these, and another value is an error. Published ones do not: None means "mean" there.
    n_times : int | None
        Samples per epoch at 200 Hz. Our files know it. For published ones None means the shortest epoch with the
        spectral resolution that the gate was trained on; a number that contradicts that resolution is an error.

    Returns
    -------
    network : SpecMoE
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        As in `load_expert`.
    """
    path = weights_path(path)
    if _is_safetensors(path):
        network = _load_ours(path, "specmoe")
        wanted = {"time_pooling": time_pooling, "channel_pooling": channel_pooling, "n_times": n_times}
        for name, value in wanted.items():
            if value is not None and value != getattr(network.config, name):
                raise CheckpointError(
                    f"{path} holds a SpecMoE with {name}={getattr(network.config, name)!r}, "
                    f"but {name}={value!r} was asked for; leave it out, or train with the other value."
                )
        return network
    state = _published_state(path, "state_dict")
    return _published_specmoe(path, state, time_pooling or "mean", channel_pooling or "mean", n_times)


def load_encoders(weights: str | os.PathLike | Sequence[str | os.PathLike]) -> list[SpecHiNetEncoder]:
    """Read the encoders of a SpecMoE file, of an expert file, or of a list of expert files.

    Parameters
    ----------
    weights : path-like | sequence of path-like
        One file or ``"starter"``, see `load_expert`, or one file per expert.

    Returns
    -------
    encoders : list of SpecHiNetEncoder
        All of one layout.
    """
    if isinstance(weights, str | os.PathLike):
        path = weights_path(weights)
        if _holds_experts(path):
            return [expert.encoder for expert in load_experts(path)]
        return list(load_specmoe(path).experts)
    encoders = [load_expert(path).encoder for path in weights]
    if not encoders:
        raise ValueError("weights is an empty list; give at least one expert, or None.")
    for name in ("layout", "amplitude"):
        try:
            shared_setting(name, encoders)
        except ValueError as error:
            raise CheckpointError(f"The files do not go together: {error}") from None
    return encoders


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


def published_kind(path: str | os.PathLike) -> str:
    """Say what a published file holds: ``"expert"`` or ``"fine-tuned model"``."""
    path = weights_path(path)
    content = _read_published(path)
    for entry, (kind, _) in _PUBLISHED_ENTRIES.items():
        if entry in content:
            return kind
    raise CheckpointError(f"{path} is no published SpecMoE file: it has only {_some(content)}.")


def _save(
    network: nn.Module, kind: type, path: str | os.PathLike, training: Mapping | None, precision: str = "float32"
) -> Path:
    """Write header and tensors in one step, so that no reader sees half a file."""
    if not isinstance(network, kind):
        raise TypeError(f"Expected a {kind.__name__}, got {type(network).__name__}.")
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


def _holds_experts(path: Path) -> bool:
    """Whether a file holds whole experts rather than a SpecMoE."""
    if _is_safetensors(path):
        return read_header(path).architecture in ("specmoe-expert", "specmoe-experts")
    return "model_state" in _read_published(path)


def _load_ours(path: Path, wanted: str) -> nn.Module:
    """Read a safetensors file of ours that must hold the architecture `wanted`."""
    header = read_header(path)
    if header.architecture != wanted:
        raise CheckpointError(f"{path} holds the architecture {header.architecture!r}, expected {wanted!r}.")
    architecture = ARCHITECTURES[wanted]
    known = {field.name for field in fields(architecture.config)}
    try:
        config = architecture.config(**header.config)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a config that is not understood ({error}); known: {sorted(known)}."
        ) from error
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return _fill(architecture.build(config), state, path)


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


def _published_state(path: Path, entry: str) -> dict[str, Tensor]:
    """The tensors under one entry of a published file; if it is absent, say what the file looks like instead."""
    content = _read_published(path)
    if entry not in content:
        hints = [hint for other, (_, hint) in _PUBLISHED_ENTRIES.items() if other in content]
        what, _ = _PUBLISHED_ENTRIES[entry]
        raise CheckpointError(
            " ".join([f"{path} is not a published {what}: it has no {entry!r}, only {_some(content)}.", *hints])
        )
    return _published_tensors(path, content[entry])


def _published_tensors(path: Path, state: object) -> dict[str, Tensor]:
    """The tensors of a published state dict, without the prefix of data-parallel training."""
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: the state is not a mapping of names to tensors.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _renamed(path: Path, state: dict[str, Tensor], keys: dict[str, str]) -> dict[str, Tensor]:
    """Translate published names; every name must be known and present."""
    _check_names(path, set(keys.values()), set(state))
    return {ours: state[theirs] for ours, theirs in keys.items()}


def _published_specmoe(
    path: Path,
    state: dict[str, Tensor],
    time_pooling: str,
    channel_pooling: str,
    n_times: int | None,
) -> SpecMoE:
    """Build a SpecMoE from a fine-tuned published state dict; the experts' decoders, if stored, are left out."""
    n_experts = len({name.split(".")[1] for name in state if name.startswith("experts.")})
    if not n_experts:
        raise CheckpointError(f"{path} is not a published fine-tuned model: it has no tensors 'experts.*'.")
    keys, names_of_encoder, names_of_expert = readout_keys(n_experts), encoder_keys(), expert_keys()
    for i in range(n_experts):
        encoder = {f"experts.{i}.{ours}": f"experts.{i}.{theirs}" for ours, theirs in names_of_encoder.items()}
        whole = {f"experts.{i}.{name}" for name in names_of_expert.values()}
        decoder = whole - set(encoder.values())
        if decoder & set(state):
            _check_names(path, whole, {n for n in state if n.startswith(f"experts.{i}.")})
        keys |= encoder
        state = {name: tensor for name, tensor in state.items() if name not in decoder}
    tensors = _renamed(path, state, keys)
    for name in ("readout.gate.linears.0.weight", "readout.final_layer.output.weight"):  # these tell the sizes
        if tensors[name].ndim != 2:
            raise CheckpointError(
                f"{path}: tensor {keys[name]!r} has shape {tuple(tensors[name].shape)}, expected a matrix."
            )
    n_freqs = tensors["readout.gate.linears.0.weight"].shape[1]
    shortest = {201: 400, 101: 200}.get(n_freqs)
    if shortest is None:
        raise CheckpointError(f"{path}: gate_LinearT_1.weight reads {n_freqs} frequencies, expected 201 or 101.")
    n_outputs, hidden = tensors["readout.final_layer.output.weight"].shape
    network = SpecMoE(
        n_outputs,
        n_times=shortest if n_times is None else n_times,
        n_experts=n_experts,
        layout="published",
        time_pooling=time_pooling,
        channel_pooling=channel_pooling,
        gate_scale="power",
        hidden=hidden,
    )
    if network.config.n_freqs != n_freqs:
        raise CheckpointError(
            f"{path} was trained with {n_freqs} frequencies in its gate, but epochs of n_times={n_times} have "
            f"{network.config.n_freqs}."
        )
    for name in ("log_mean", "log_std"):  # ours only; unused where the gate reads the power itself
        tensors[f"readout.gate.{name}"] = network.state_dict()[f"readout.gate.{name}"]
    return _fill(network, tensors, path, stored_names=keys)


def _fill(
    network: nn.Module, state: dict[str, Tensor], path: Path, *, stored_names: Mapping[str, str] | None = None
) -> nn.Module:
    """Load a state dict strictly: every tensor there, none left over, all of the right shape."""
    stored_names = stored_names or {}
    wanted = network.state_dict()
    _check_names(path, set(wanted), set(state))
    for name, tensor in wanted.items():
        found, stored_name = state[name], stored_names.get(name, name)
        if found.shape != tensor.shape:
            raise CheckpointError(
                f"{path}: tensor {stored_name!r} has shape {tuple(found.shape)}, expected {tuple(tensor.shape)}."
            )
        if not torch.isfinite(found).all():
            raise CheckpointError(f"{path}: tensor {stored_name!r} holds NaN or infinity.")
    network.load_state_dict(state)
    return network.eval()


def _check_names(path: Path, wanted: set[str], found: set[str]) -> None:
    """Raise a CheckpointError that names missing and superfluous tensors."""
    if missing := wanted - found:
        raise CheckpointError(f"{path}: {len(missing)} tensors are missing: {_some(missing)}.")
    if extra := found - wanted:
        raise CheckpointError(f"{path}: {len(extra)} tensors are not part of this network: {_some(extra)}.")


def _some(names: Iterable[str]) -> str:
    """The first few of many names."""
    return listed(sorted(map(str, names)), at_most=5)
