"""Weights of SpecMoE: experts and mixtures, ours and published ones."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from mne_specmoe._validation import CheckpointError
from mne_specmoe.checkpoint import (
    check_names,
    fill,
    is_ours,
    load_network,
    published_kind,
    published_state,
    read_header,
    renamed,
    save_network,
    tensor_names,
    weights_path,
)
from mne_specmoe.models.specmoe.mixture import ExpertSet, SpecMoE, shared_setting
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder
from mne_specmoe.models.specmoe.published import encoder_keys, expert_keys, readout_keys

_FIRST_EDITION = "down1."
"""Part of names of tensors that the second edition of the channelwise layout has not."""


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
    """Write several whole experts of one architecture into one file.

    The estimators take the file as ``weights``, `load_expert` picks one expert out.

    Parameters
    ----------
    experts : sequence of SpecHiNet
        The networks.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters, see `save_expert`.

    Returns
    -------
    path : Path
    """
    return _save(ExpertSet(experts=experts), ExpertSet, path, training, precision)


def save_specmoe(network: SpecMoE, path: str | os.PathLike, *, training: Mapping | None = None) -> Path:
    """Write a SpecMoE, experts' encoders, gate and head, as safetensors.

    Parameters
    ----------
    network : SpecMoE
        The network.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.

    Returns
    -------
    path : Path

    Raises
    ------
    TypeError
        If the network is of another class.
    """
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
    """Read all experts of a file, with their decoders.

    Parameters
    ----------
    path : path-like
        The file, or ``"starter"``, as in `load_expert`.

    Returns
    -------
    experts : list of SpecHiNet
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        If the file cannot be read, holds no experts, or a tensor is missing, superfluous or misshapen.
    FileNotFoundError
        If there is no such file.
    """
    path = weights_path(path)
    if is_ours(path):
        if read_header(path).architecture == "specmoe-experts":
            return list(_load_ours(path, "specmoe-experts").experts)
        return [_load_ours(path, "specmoe-expert")]
    _, state = published_state(path, "expert")
    expert, keys = SpecHiNet("published"), expert_keys()
    return [fill(expert, renamed(path, state, keys), path, stored_names=keys)]


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
    if is_ours(path):
        network = _load_ours(path, "specmoe")
        wanted = {"time_pooling": time_pooling, "channel_pooling": channel_pooling, "n_times": n_times}
        for name, value in wanted.items():
            if value is not None and value != getattr(network.config, name):
                raise CheckpointError(
                    f"{path} holds a SpecMoE with {name}={getattr(network.config, name)!r}, "
                    f"but {name}={value!r} was asked for; leave it out, or train with the other value."
                )
        return network
    _, state = published_state(path, "fine-tuned model")
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
    for name in ("layout", "amplitude", "n_mixtures", "masked_norms"):
        try:
            shared_setting(name, encoders)
        except ValueError as error:
            raise CheckpointError(f"The files do not go together: {error}") from None
    return encoders


def _load_ours(path: Path, architecture: str) -> nn.Module:
    """Read a network of ours, unless its experts are of the first edition."""
    config = read_header(path).config
    is_channelwise = isinstance(config, Mapping) and config.get("layout") == "channelwise"
    if is_channelwise and any(_FIRST_EDITION in name for name in tensor_names(path)):
        raise CheckpointError(
            f"{path} holds experts of the channelwise layout's first edition, which this version cannot read: its "
            "networks attend along time and across channels in turn and know where electrodes are. Pretrain again, or "
            'take weights="starter".'
        )
    return load_network(path, architecture)


def _save(
    network: nn.Module, kind: type, path: str | os.PathLike, training: Mapping | None, precision: str = "float32"
) -> Path:
    """Write a network that must be of one class."""
    if not isinstance(network, kind):
        raise TypeError(f"Expected a {kind.__name__}, got {type(network).__name__}.")
    return save_network(network, path, training=training, precision=precision)


def _holds_experts(path: Path) -> bool:
    """Whether a file holds whole experts rather than a SpecMoE."""
    if is_ours(path):
        return read_header(path).architecture in ("specmoe-expert", "specmoe-experts")
    return published_kind(path) == "expert"


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
            check_names(path, whole, {n for n in state if n.startswith(f"experts.{i}.")})
        keys |= encoder
        state = {name: tensor for name, tensor in state.items() if name not in decoder}
    tensors = renamed(path, state, keys)
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
    return fill(network, tensors, path, stored_names=keys)
