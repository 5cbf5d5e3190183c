"""Weights of BrainRVQ: tokenizers, pretraining networks and fine-tuned ones, ours and published.

Source of the published ones: arXiv:2602.16951. No weights are linked there; the format is that of its training code.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mne_specmoe._validation import CheckpointError
from mne_specmoe.checkpoint import (
    check_names,
    check_shape,
    fill,
    is_ours,
    load_network,
    load_part,
    published_state,
    read_header,
    save_network,
    weights_path,
)
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream
from mne_specmoe.models.brainrvq.network import MAX_PATCHES, WIDTH, BrainRVQEncoder, TransformerConfig
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.published import (
    encoder_keys,
    fine_tuned_keys,
    pretraining_keys,
    published_shape,
    tokenizer_keys,
    unused_pretraining_keys,
    unused_tokenizer_keys,
)
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer

_TOKENIZER, _PRETRAINING, _FINE_TUNED = (
    "BrainRVQ tokenizer",
    "BrainRVQ pretraining network",
    "BrainRVQ fine-tuned model",
)
# What a switch changes without touching a tensor, and so can be chosen for published weights.
_ARITHMETIC = {
    True: {"norm_scope": "recording", "cls_row": "first_channel"},
    False: {"norm_scope": "token", "cls_row": "own"},
}
# Published training starts from numbers cut at ±0.02: a row that stayed within was never trained.
_LARGEST_UNTRAINED = 0.0201


def save_tokenizer(
    tokenizer: BrainRVQTokenizer,
    path: str | os.PathLike,
    *,
    training: Mapping | None = None,
    precision: str = "float32",
) -> Path:
    """Write a tokenizer, codebooks and counts of their use included, as safetensors.

    Parameters
    ----------
    tokenizer : BrainRVQTokenizer
        The network.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters; codebooks stay float32. With "float16", a few codes of a recording may change.

    Returns
    -------
    path : Path
    """
    return _save(tokenizer, BrainRVQTokenizer, path, training, precision)


def save_brainrvq(
    network: BrainRVQ, path: str | os.PathLike, *, training: Mapping | None = None, precision: str = "float32"
) -> Path:
    """Write a pretraining network, encoder and predictors of codes, as safetensors.

    Parameters
    ----------
    network : BrainRVQ
        The network.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters.

    Returns
    -------
    path : Path

    Raises
    ------
    TypeError
        If the network is of another class.
    """
    return _save(network, BrainRVQ, path, training, precision)


def save_downstream(
    network: BrainRVQDownstream,
    path: str | os.PathLike,
    *,
    training: Mapping | None = None,
    precision: str = "float32",
) -> Path:
    """Write a network for a task, encoder, head and rows of its channels, as safetensors.

    Parameters
    ----------
    network : BrainRVQDownstream
        The network.
    path : path-like
        Where to; replaced in one step if it exists, so that no reader sees half a file.
    training : mapping | None
        Summary of the training that goes into the header; must be JSON.
    precision : {"float32", "float16"}
        Of the stored parameters.

    Returns
    -------
    path : Path

    Raises
    ------
    TypeError
        If the network is of another class.
    """
    return _save(network, BrainRVQDownstream, path, training, precision)


def load_tokenizer(path: str | os.PathLike, *, parity: bool | None = None) -> BrainRVQTokenizer:
    """Read a tokenizer, ours (``.safetensors``) or a published one (``.pth``).

    Published pickles are read with ``weights_only=True``: nothing in them can run.

    Parameters
    ----------
    path : path-like
        The file; its format is told by its content, not by its name. A str may be the name of weights that come with
        the package.
    parity : bool | None
        Whether to compute as published. None: as the file says, and published files as published. True: published
        arithmetic, an error for a file of ours that was trained with another. False: for published files, the sound
        variant, in which every patch is normalised by itself (``norm_scope="token"``); their codebooks hold unit
        vectors and keep ``residual="published"``. An error for a file of ours that was trained as published.

    Returns
    -------
    tokenizer : BrainRVQTokenizer
        In evaluation mode, on the CPU. If the file's codebooks were never filled, `encode` raises.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is no tokenizer, or a tensor is missing, superfluous or misshapen (it is named).
    FileNotFoundError
        If there is no such file.
    """
    path = weights_path(path)
    if is_ours(path):
        return _agreeing(load_network(path, "brainrvq-tokenizer"), path, parity)
    _, state = published_state(path, _TOKENIZER)
    return _published_tokenizer(path, state, parity is not False)


def load_brainrvq(path: str | os.PathLike, *, parity: bool | None = None) -> BrainRVQ:
    """Read a pretraining network, ours (``.safetensors``) or a published one (``.pth``).

    Parameters
    ----------
    path : path-like
        See `load_tokenizer`.
    parity : bool | None
        See `load_tokenizer`. The published arithmetic also gives the class token the row of the first channel
        (``cls_row="first_channel"``), the sound one a row of its own.

    Returns
    -------
    network : BrainRVQ
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        As in `load_tokenizer`.
    """
    path = weights_path(path)
    if is_ours(path):
        return _agreeing(load_network(path, "brainrvq"), path, parity)
    _, state = published_state(path, _PRETRAINING)
    return _published_pretraining(path, state, parity is not False)


def load_encoder(path: str | os.PathLike, *, parity: bool | None = None) -> BrainRVQEncoder:
    """Read the encoder of a pretraining network or of a fine-tuned one, ours or published.

    Parameters
    ----------
    path : path-like
        See `load_tokenizer`.
    parity : bool | None
        See `load_brainrvq`. In published fine-tuning, the class token always has its own row.

    Returns
    -------
    encoder : BrainRVQEncoder
        In evaluation mode, on the CPU. Its norm is that of the file: of all tokens in pretraining, and in published
        fine-tuning what follows the pooling (``fc_norm``).

    Raises
    ------
    CheckpointError
        As in `load_tokenizer`.
    """
    path = weights_path(path)
    if is_ours(path):
        return _encoder_of_ours(path, parity)
    kind, state = published_state(path, _PRETRAINING, _FINE_TUNED)
    return _published_encoder(path, kind, state, parity is not False)


def load_downstream(
    path: str | os.PathLike, *, ch_names: Sequence[str] | Tensor | None = None, parity: bool | None = None
) -> BrainRVQDownstream:
    """Read a network for a task, ours (``.safetensors``) or a published fine-tuned one (``.pth``).

    Parameters
    ----------
    path : path-like
        See `load_tokenizer`.
    ch_names : sequence of str | Tensor of int64, shape (1 + n_channels,) | None
        Names of the channels that it was trained on, in that order, or rows, see
        `mne_specmoe.models.brainrvq.channels.channel_rows`. Our files know them, and others are an error. Published
        ones do not.
    parity : bool | None
        See `load_tokenizer`. The class token always has its own row, as published.

    Returns
    -------
    network : BrainRVQDownstream
        In evaluation mode, on the CPU. Dropout probabilities are not in published files; those of the head are 0.1.

    Raises
    ------
    CheckpointError
        As in `load_tokenizer`; or if the head does not fit the channels, or the file was trained on others.
    ValueError
        If the file is a published one, and there are no `ch_names`, or unknown ones.
    """
    path = weights_path(path)
    if is_ours(path):
        network = _agreeing(load_network(path, "brainrvq-downstream"), path, parity)
        if ch_names is not None and not torch.equal(_rows(ch_names), network.rows):
            raise CheckpointError(f"{path} was trained on other channels than ch_names; leave ch_names out.")
        return network
    _, state = published_state(path, _FINE_TUNED)
    if ch_names is None:
        raise ValueError(f"{path} does not say which channels it was trained on; give them as ch_names, in order.")
    return _published_downstream(path, state, _rows(ch_names), parity is not False)


def unused_tensors(path: str | os.PathLike) -> list[str]:
    """Names of what a published file holds but nothing uses: it is left out on loading.

    Parameters
    ----------
    path : path-like
        A published file, or one of ours, which has no such tensors.

    Returns
    -------
    names : list of str
        As in the file.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or is none of BrainRVQ's.
    """
    path = weights_path(path)
    if is_ours(path):
        return []
    kind, state = published_state(path, _TOKENIZER, _PRETRAINING, _FINE_TUNED)
    return sorted(_unused(kind, state) & set(state))


def _save(network: nn.Module, kind: type, path: str | os.PathLike, training: Mapping | None, precision: str) -> Path:
    """Write a network that must be of one class."""
    if not isinstance(network, kind):
        raise TypeError(f"Expected a {kind.__name__}, got {type(network).__name__}.")
    return save_network(network, path, training=training, precision=precision)


def _agreeing(network: nn.Module, path: Path, parity: bool | None) -> nn.Module:
    """A network of ours, unless it computes otherwise than it is asked to."""
    if parity is None:
        return network
    wanted = _ARITHMETIC[parity] | ({"residual": "published"} if parity else {})
    for name, value in wanted.items():
        found = getattr(network.config, name, value)
        if found != value:
            raise CheckpointError(
                f"{path} was trained with {name}={found!r}, but parity={parity} asks for {name}={value!r}; leave "
                "parity out, or train with the other value."
            )
    return network


def _published_tokenizer(path: Path, state: Mapping[str, Tensor], parity: bool) -> BrainRVQTokenizer:
    """Build a tokenizer from published tensors, which tell its sizes."""
    n_codes, code_width = _matrix_shape(path, state, "quantize_t.layers.0.embedding.weight")
    tokenizer = BrainRVQTokenizer(
        _count(state, "quantize_t.layers."),
        n_codes,
        code_width,
        depth=_count(state, "encoder.blocks."),
        decoder_depth=_count(state, "decoder_t.blocks."),
        norm_scope=_ARITHMETIC[parity]["norm_scope"],
        residual="published",
    )
    configs = tokenizer.encoder.config, tokenizer.decode_time.trunk.config
    keys = tokenizer_keys(*configs, tokenizer.config.n_levels)
    # Their first tables were not cut, and so do not tell.
    return _filled(tokenizer, path, state, keys, _unused(_TOKENIZER, state), largest_untrained=-1.0)


def _published_pretraining(path: Path, state: Mapping[str, Tensor], parity: bool) -> BrainRVQ:
    """Build a pretraining network from published tensors, which tell its sizes."""
    n_codes, _ = _matrix_shape(path, state, "lm_heads_t.0.weight")
    network = BrainRVQ(
        n_levels=_count(state, "lm_heads_t."), n_codes=n_codes, **_transformer(state, "student."), **_ARITHMETIC[parity]
    )
    keys = pretraining_keys(network.encoder.config, network.config.n_levels)
    return _filled(network, path, state, keys, _unused(_PRETRAINING, state))


def _encoder_of_ours(path: Path, parity: bool | None) -> BrainRVQEncoder:
    """The encoder alone of a pretraining network; that of a task, with the norm that its readout has."""
    if read_header(path).architecture == "brainrvq-downstream":
        network = load_downstream(path, parity=parity)
        network.encoder.norm = network.readout.norm
        return network.encoder
    encoder = load_part(path, "brainrvq", "encoder", lambda config: BrainRVQEncoder(config.transformer()))
    return _agreeing(encoder, path, parity)


def _published_encoder(path: Path, kind: str, state: Mapping[str, Tensor], parity: bool) -> BrainRVQEncoder:
    """Build an encoder from published tensors, and leave out what is beside it."""
    if kind == _PRETRAINING:
        prefix, norm, cls_row = "student.", "norm", _ARITHMETIC[parity]["cls_row"]
        beside = {name for name in state if not name.startswith(prefix)} | {"student.mask_token"}
    else:
        prefix, norm, cls_row = "", _norm_name(state), "own"
        beside = {name for name in state if name.startswith("head.")}
    options = _transformer(state, prefix) | {"norm_scope": _ARITHMETIC[parity]["norm_scope"], "cls_row": cls_row}
    encoder = BrainRVQEncoder(TransformerConfig(**options))
    keys = encoder_keys(encoder.config, "", prefix, norm=norm)
    return _filled(encoder, path, state, keys, beside | _unused(kind, state))


def _published_downstream(path: Path, state: Mapping[str, Tensor], rows: Tensor, parity: bool) -> BrainRVQDownstream:
    """Build a network for a task from published tensors; its head tells the pooling."""
    n_channels, flat = len(rows) - 1, "head.1.weight" in state
    n_outputs, _ = _matrix_shape(path, state, "head.7.weight" if flat else "head.weight")
    size = _flatten_size(path, state, n_channels) if flat else {}
    norm = _norm_name(state)
    network = BrainRVQDownstream(
        n_outputs,
        n_channels,
        pooling="flatten" if flat else "cls" if norm == "norm" else "mean",
        **size,
        **_transformer(state, ""),
        norm_scope=_ARITHMETIC[parity]["norm_scope"],
        ch_names=rows,
    )
    keys = fine_tuned_keys(network.encoder.config, norm=norm, head=(".1", ".4", ".7") if flat else ("",))
    return _filled(network, path, state, keys, ())


def _flatten_size(path: Path, state: Mapping[str, Tensor], n_channels: int) -> dict[str, int]:
    """Seconds that a head of all tokens reads, and its width."""
    hidden, n_features = _matrix_shape(path, state, "head.1.weight")
    n_tokens, rest = divmod(n_features, WIDTH)
    n_patches, left_over = divmod(n_tokens - 1, n_channels)
    if rest or left_over or not 1 <= n_patches <= MAX_PATCHES:
        raise CheckpointError(
            f"{path}: tensor 'head.1.weight' reads {n_features} features, expected (1 + {n_channels} * seconds) * "
            f"{WIDTH} with 1 to {MAX_PATCHES} seconds, since ch_names has {n_channels} channels; give the channels "
            "that the file was trained on."
        )
    return {"n_patches": n_patches, "hidden": hidden}


def _rows(ch_names: Sequence[str] | Tensor) -> Tensor:
    """Rows of channels."""
    return ch_names if isinstance(ch_names, Tensor) else channel_rows(ch_names).rows


def _norm_name(state: Collection[str]) -> str:
    """Name of the last norm: models that read the class token alone keep that of pretraining."""
    return "norm" if "norm.weight" in state else "fc_norm"


def _transformer(state: Collection[str], prefix: str) -> dict[str, object]:
    """Options of a published encoder that its tensors tell."""
    first = f"{prefix}blocks.0."
    return {
        "depth": _count(state, f"{prefix}blocks."),
        "qv_bias": f"{first}attn.q_bias" in state,
        "qk_norm": f"{first}attn.q_norm.weight" in state,
        "layer_scale": 0.1 if f"{first}gamma_1" in state else None,
        "drop_path": 0.1,
    }


def _count(state: Collection[str], prefix: str) -> int:
    """How many numbers follow a prefix; at least 1, so that what is absent is named later."""
    numbers = {name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)}
    return max(1, len(numbers))


def _matrix_shape(path: Path, state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Shape of a tensor that tells sizes of the network."""
    if name not in state:
        raise CheckpointError(f"{path}: tensor {name!r} is missing.")
    shape = tuple(state[name].shape)
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(f"{path}: tensor {name!r} has shape {shape}, expected a matrix.")
    return shape


def _unused(kind: str, state: Collection[str]) -> set[str]:
    """Names that a kind of published file may have, but nothing uses."""
    if kind == _TOKENIZER:
        return unused_tokenizer_keys(_count(state, "quantize_t.layers."))
    if kind == _PRETRAINING:
        return unused_pretraining_keys(_count(state, "lm_heads_t."))
    return set()


def _filled(
    network: nn.Module,
    path: Path,
    state: Mapping[str, Tensor],
    keys: Mapping[str, str],
    unused: Collection[str],
    *,
    largest_untrained: float = _LARGEST_UNTRAINED,
) -> nn.Module:
    """Load published tensors strictly; buffers that count (`Codebook`) have no published name and stay at zero."""
    check_names(path, set(keys.values()), set(state) - set(unused))
    tensors = network.state_dict()
    for ours, theirs in keys.items():
        shape = tensors[ours].shape
        check_shape(path, theirs, state[theirs], published_shape(theirs, shape))
        tensors[ours] = state[theirs].reshape(shape)
    return fill(network, _with_trained_rows(tensors, largest_untrained), path, stored_names=keys)


def _with_trained_rows(tensors: Mapping[str, Tensor], largest_untrained: float) -> dict[str, Tensor]:
    """Tensors by our names, with a note of which rows of the channel embeddings have left their first values."""
    tables = {name: t for name, t in tensors.items() if name.endswith("channel_embedding")}
    rows = {
        name.replace("channel_embedding", "trained_rows"): table[0].abs().amax(-1) > largest_untrained
        for name, table in tables.items()
    }
    return {**tensors, **{name: trained for name, trained in rows.items() if name in tensors}}
