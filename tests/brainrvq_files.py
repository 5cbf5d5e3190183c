"""Files as BrainRVQ's published training code writes them, filled with the golden weights."""

import argparse
from pathlib import Path

import torch
from brainrvq_golden import draw

Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *shape: int) -> Shapes:
    """A weight, and a bias as long as its first axis."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def trunk(prefix: str, depth: int, *, student: bool, qv_bias: bool) -> Shapes:
    """Tables and blocks; a student's have scales and norms of queries and keys."""
    shapes = {f"{prefix}cls_token": (1, 1, 200), f"{prefix}pos_embed": (1, 129, 200)}
    shapes[f"{prefix}time_embed"] = (1, 30, 200)
    for i in range(depth):
        block = f"{prefix}blocks.{i}."
        shapes |= layer(f"{block}norm1", 200) | layer(f"{block}norm2", 200)
        shapes |= {f"{block}attn.qkv.weight": (600, 200)} | layer(f"{block}attn.proj", 200, 200)
        shapes |= layer(f"{block}mlp.fc1", 800, 200) | layer(f"{block}mlp.fc2", 200, 800)
        if qv_bias:
            shapes |= {f"{block}attn.q_bias": (200,), f"{block}attn.v_bias": (200,)}
        if student:
            shapes |= {f"{block}gamma_1": (200,), f"{block}gamma_2": (200,)}
            shapes |= layer(f"{block}attn.q_norm", 20) | layer(f"{block}attn.k_norm", 20)
    return shapes


def patch_embedding(prefix: str) -> Shapes:
    """Temporal convolutions, as over images of height 1."""
    shapes = layer(f"{prefix}patch_embed.conv1", 8, 1, 1, 15)
    for i in (2, 3):
        shapes |= layer(f"{prefix}patch_embed.conv{i}", 8, 8, 1, 3)
    for i in (1, 2, 3):
        shapes |= layer(f"{prefix}patch_embed.norm{i}", 8)
    return shapes


def tokenizer_shapes(
    *, n_levels: int = 3, n_codes: int = 8192, code_width: int = 64, depth: int = 12, decoder_depth: int = 3
) -> Shapes:
    """Names and shapes of a tokenizer's tensors."""
    shapes = trunk("encoder.", depth, student=False, qv_bias=True) | patch_embedding("encoder.")
    shapes |= layer("encoder.fc_norm", 200)
    for letter in "tf":
        decoder = f"decoder_{letter}."
        shapes |= trunk(decoder, decoder_depth, student=False, qv_bias=True) | layer(f"{decoder}fc_norm", 200)
        shapes |= layer(f"{decoder}patch_embed.proj", 200, code_width, 1, 1)
        for level in range(n_levels):
            book = f"quantize_{letter}.layers.{level}."
            shapes |= {f"{book}cluster_size": (n_codes,), f"{book}embedding.cluster_size": (n_codes,)}
            shapes |= {f"{book}embedding.{name}": (n_codes, code_width) for name in ("weight", "embed_avg")}
            shapes[f"{book}embedding.initted"] = (1,)
    shapes |= layer("encode_task_layer.0", 200, 200) | layer("encode_task_layer.2", code_width, 200)
    for task in ("time", "amp", "angle"):
        shapes |= layer(f"decode_task_layer_{task}.0", 200, 200) | layer(f"decode_task_layer_{task}.2", 200, 200)
    return shapes


def pretraining_shapes(*, n_levels: int = 3, n_codes: int = 8192, depth: int = 12, qv_bias: bool = False) -> Shapes:
    """Names and shapes of a pretraining network's tensors."""
    shapes = trunk("student.", depth, student=True, qv_bias=qv_bias) | patch_embedding("student.")
    shapes |= {"student.mask_token": (1, 1, 200)} | layer("student.norm", 200)
    shapes |= layer("student.lm_head", 8192, 200)
    for letter in "tf":
        for level in range(n_levels):
            shapes[f"token_embed_{letter}.{level}.weight"] = (n_codes, 200)
            shapes |= layer(f"lm_heads_{letter}.{level}", n_codes, 200)
        for level in range(1, n_levels):
            shapes |= layer(f"fusion_norm_{letter}.{level}", 200)
    return shapes


def fine_tuned_shapes(
    *, n_outputs: int = 4, depth: int = 12, qv_bias: bool = False, flat: tuple[int, int] | None = None
) -> Shapes:
    """Names and shapes of a fine-tuned model's tensors; `flat`: tokens and hidden width of a flatten head."""
    shapes = trunk("", depth, student=True, qv_bias=qv_bias) | patch_embedding("") | layer("fc_norm", 200)
    if flat is None:
        return shapes | layer("head", n_outputs, 200)
    n_tokens, hidden = flat
    return (
        shapes
        | layer("head.1", hidden, n_tokens * 200)
        | layer("head.4", 200, hidden)
        | layer("head.7", n_outputs, 200)
    )


def golden_tensors(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Tensors drawn by their names."""
    return {name: draw(name, shape) for name, shape in shapes.items()}


def write(path: Path, state: dict[str, torch.Tensor], **entries: object) -> Path:
    """Write a file as after an epoch of training: with options of the command line, which are no tensors."""
    args = argparse.Namespace(lr=5e-4, model="brainrvq", resume="", layer_decay=None, betas=(0.9, 0.999))
    torch.save(
        {"model": state, "optimizer": {"param_groups": []}, "epoch": 3, "scaler": {}, "args": args, **entries}, path
    )
    return path
