"""Published weights of braindecode's networks, as far as this machine has them: nothing is downloaded."""

import json
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mne_specmoe._files import file_digest
from mne_specmoe._validation import listed
from mne_specmoe.benchmark.networks import import_braindecode
from mne_specmoe.checkpoint import CheckpointError

_CONFIG = "config.json"
_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that is there, as braindecode has it
_HEAD = "final_layer."
_OF_DATA = ("n_chans", "n_times", "n_outputs", "chs_info", "sfreq", "input_window_seconds")
_OF_HEAD = ("final_layer", "return_encoder_output", "return_feature")  # with which it may have been published without
_NOT_OF_NETWORK = (*_OF_DATA, *_OF_HEAD, "braindecode_version")


@dataclass(frozen=True)
class HubWeights:
    """Weights in the cache of Hugging Face's hub.

    Attributes
    ----------
    repo, revision : str
        Where they were published, and the commit that the cache holds.
    sha256 : str
        Of the file.
    file, config : str
        The weights, and the settings of the network that was trained.
    """

    repo: str
    revision: str
    sha256: str
    file: str = field(repr=False)
    config: str = field(repr=False)


def find_weights(repos: Sequence[str], cache_dir: str | os.PathLike | None = None) -> HubWeights | None:
    """Look for published weights in the cache, without a network.

    Parameters
    ----------
    repos : sequence of str
        Repositories; the first that is there is taken, in the revision that is called main.
    cache_dir : str | path-like | None
        The cache. None: where huggingface_hub has it (``HF_HUB_CACHE``).

    Returns
    -------
    weights : HubWeights or None
        None if no repository is there with weights and settings.
    """
    from huggingface_hub import try_to_load_from_cache

    for repo in repos:
        config, *files = (try_to_load_from_cache(repo, name, cache_dir) for name in (_CONFIG, *_FILES))
        files = [file for file in files if isinstance(file, str)]  # else None, or a mark that there is no such file
        if isinstance(config, str) and files:
            return HubWeights(repo, Path(config).parent.name, file_digest(Path(files[0])), files[0], config)
    return None


def read_config(weights: HubWeights) -> Mapping[str, object]:
    """Read the settings of the network that was trained.

    Parameters
    ----------
    weights : HubWeights
        Of `find_weights`.

    Returns
    -------
    config : mapping
        Arguments of the network's class.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    try:
        config = json.loads(Path(weights.config).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(weights, f"its {_CONFIG} cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise _damaged(weights, f"its {_CONFIG} holds no settings")
    return config


def load_published(
    weights: HubWeights,
    name: str,
    *,
    n_chans: int,
    n_times: int,
    n_outputs: int,
    sfreq: float | None = None,
    may_be_longer: Collection[str] = (),
) -> nn.Module:
    """Make a network with published weights and a new head.

    Parameters
    ----------
    weights : HubWeights
        Of `find_weights`.
    name : str
        Of braindecode's class.
    n_chans, n_times, n_outputs : int
        Of the network.
    sfreq : float | None
        Of its input in Hz.
    may_be_longer : collection of str
        Tensors whose second dimension is cut to the network's where the published one is longer.

    Returns
    -------
    network : Module
        Its head is drawn from torch's generator.

    Raises
    ------
    CheckpointError
        If files are damaged or not of this network: every tensor but those of the head must be there, in its shape and
        finite. The message names those that are not. Tensors for which the network has no place are a warning.
    """
    network = _untrained(
        weights, name, {"n_chans": n_chans, "n_times": n_times, "n_outputs": n_outputs, "sfreq": sfreq}
    )
    tensors = _without_head(network, _read(weights))
    own = network.state_dict()
    try:
        for key in set(may_be_longer) & tensors.keys():
            tensors[key] = tensors[key][:, : own[key].shape[1]]
        found = network.load_state_dict(tensors, strict=False)  # what has no counterpart is judged by ourselves
    except (RuntimeError, IndexError) as error:
        raise _damaged(weights, str(error)) from error
    _check(weights, network, found.missing_keys, found.unexpected_keys)
    return network


def _untrained(weights: HubWeights, name: str, of_data: Mapping[str, object]) -> nn.Module:
    """The network that was trained, for other data."""
    make = getattr(import_braindecode().models, name)
    config = {key: value for key, value in read_config(weights).items() if key not in _NOT_OF_NETWORK}
    try:
        return make.from_config({**config, **of_data})
    except Exception as error:  # whatever a constructor makes of settings that it does not know
        raise _damaged(weights, f"braindecode's {name} cannot be made from its {_CONFIG} ({error})") from error


def _read(weights: HubWeights) -> dict[str, Tensor]:
    """All tensors of a file."""
    from huggingface_hub import load_state_dict_from_file

    try:
        if weights.file.endswith(".safetensors"):
            found = load_state_dict_from_file(weights.file, map_location="cpu")
        else:
            found = torch.load(weights.file, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own
        raise _damaged(weights, f"{Path(weights.file).name} cannot be read ({error})") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise _damaged(weights, f"{Path(weights.file).name} holds other things than tensors")
    return dict(found)


def _without_head(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that do not depend on the task, under the names that they have today."""
    new_names = network.mapping or {}
    tensors = {new_names.get(key, key): value for key, value in tensors.items()}
    return {key: value for key, value in tensors.items() if not key.startswith(_HEAD)}


def _check(weights: HubWeights, network: nn.Module, missing: Sequence[str], unused: Sequence[str]) -> None:
    """Raise unless every tensor of a network was published, and warn of those that it has no place for."""
    name, values = type(network).__name__, _without_head(network, network.state_dict())
    if missing := [key for key in missing if not key.startswith(_HEAD)]:
        raise _damaged(
            weights,
            f"of the {len(values)} tensors of {name} without its head, {len(missing)} are missing "
            f"({listed(missing, at_most=5)}); the network has no place for {listed(unused, at_most=5)}",
        )
    if infinite := [key for key, value in values.items() if not value.isfinite().all()]:
        raise _damaged(weights, f"{listed(infinite, at_most=5)} hold values that are not finite")
    if unused:
        text = f"{name} has no place for {len(unused)} tensors of {weights.repo}: {listed(unused, at_most=5)}."
        warnings.warn(text, stacklevel=4)


def _damaged(weights: HubWeights, what: str) -> CheckpointError:
    """An error that says what to do."""
    return CheckpointError(
        f"The published weights {weights.repo} (revision {weights.revision[:12]}) do not fit: {what}. Download them "
        f"anew, or remove them from the cache, so that the network begins with random weights: {weights.file}"
    )
