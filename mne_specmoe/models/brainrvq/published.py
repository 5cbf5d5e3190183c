"""Names of tensors in published BrainRVQ checkpoints, and ours for the same tensors."""

from collections.abc import Sequence

from mne_specmoe.models.brainrvq.network import TransformerConfig

_BLOCK_LAYERS = {
    "attention_norm": "norm1",
    "attention.out": "attn.proj",
    "feed_forward_norm": "norm2",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}
_TABLES = {"cls_token": "cls_token", "channel_embedding": "pos_embed", "time_embedding": "time_embed"}
_CODEBOOK = {"codes": "embedding.weight", "ready": "embedding.initted", "usage": "cluster_size"}
_LEAVES = ("weight", "bias")


def _leaves(ours: str, theirs: str) -> dict[str, str]:
    """Keys of a layer with a weight and a bias."""
    return {f"{ours}.{leaf}": f"{theirs}.{leaf}" for leaf in _LEAVES}


def _block_keys(config: TransformerConfig, ours: str, theirs: str) -> dict[str, str]:
    """Keys of one block of a transformer."""
    keys = {f"{ours}.attention.qkv.weight": f"{theirs}.attn.qkv.weight"}
    for name, published in _BLOCK_LAYERS.items():
        keys |= _leaves(f"{ours}.{name}", f"{theirs}.{published}")
    if config.qv_bias:
        keys |= {f"{ours}.attention.{name}": f"{theirs}.attn.{name}" for name in ("q_bias", "v_bias")}
    if config.qk_norm:
        for name in ("q_norm", "k_norm"):
            keys |= _leaves(f"{ours}.attention.{name}", f"{theirs}.attn.{name}")
    if config.layer_scale is not None:
        keys |= {f"{ours}.attention_scale": f"{theirs}.gamma_1", f"{ours}.feed_forward_scale": f"{theirs}.gamma_2"}
    return keys


def trunk_keys(config: TransformerConfig, ours: str, theirs: str) -> dict[str, str]:
    """Our names of a trunk's tensors → the published ones; both prefixes end with a dot, or are empty."""
    keys = {f"{ours}{name}": f"{theirs}{published}" for name, published in _TABLES.items()}
    for i in range(config.depth):
        keys |= _block_keys(config, f"{ours}blocks.{i}", f"{theirs}blocks.{i}")
    return keys


def encoder_keys(config: TransformerConfig, ours: str, theirs: str, *, norm: str) -> dict[str, str]:
    """Our names of an encoder's tensors → the published ones; `norm` is what they call its last layer."""
    keys = trunk_keys(config, f"{ours}trunk.", theirs)
    for i in range(3):
        keys |= _leaves(f"{ours}patch_embedding.convs.{i}", f"{theirs}patch_embed.conv{i + 1}")
        keys |= _leaves(f"{ours}patch_embedding.norms.{i}", f"{theirs}patch_embed.norm{i + 1}")
    return keys | _leaves(f"{ours}norm", f"{theirs}{norm}")


def published_shape(published: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of a published tensor of which ours has another: they convolve images of height 1, and count to 1."""
    if published.endswith("patch_embed.proj.weight"):
        return (*shape, 1, 1)
    if "patch_embed.conv" in published and published.endswith(".weight"):
        return (*shape[:2], 1, *shape[2:])
    return (1,) if published.endswith(".initted") else tuple(shape)


def tokenizer_keys(encoder: TransformerConfig, decoder: TransformerConfig, n_levels: int) -> dict[str, str]:
    """Our names of a tokenizer's tensors → the published ones.

    Published codebooks hold two more tensors per level, of no use (`unused_tokenizer_keys`); ours count uses besides.
    """
    keys = encoder_keys(encoder, "encoder.", "encoder.", norm="fc_norm")
    for domain, letter in (("time", "t"), ("frequency", "f")):
        ours, theirs = f"decode_{domain}.", f"decoder_{letter}."
        keys |= trunk_keys(decoder, f"{ours}trunk.", theirs)
        keys |= _leaves(f"{ours}embedding", f"{theirs}patch_embed.proj") | _leaves(f"{ours}norm", f"{theirs}fc_norm")
        for level in range(n_levels):
            ours, theirs = f"quantize_{domain}.levels.{level}.codebook.", f"quantize_{letter}.layers.{level}."
            keys |= {f"{ours}{name}": f"{theirs}{published}" for name, published in _CODEBOOK.items()}
    tasks = {"to_code": "encode_task_layer", "time_head": "decode_task_layer_time"}
    tasks |= {"amplitude_head": "decode_task_layer_amp", "angle_head": "decode_task_layer_angle"}
    for name, published in tasks.items():
        for i in (0, 2):
            keys |= _leaves(f"{name}.{i}", f"{published}.{i}")
    return keys


def unused_tokenizer_keys(n_levels: int) -> set[str]:
    """Tensors of published tokenizers that nothing ever reads."""
    return {
        f"quantize_{letter}.layers.{level}.embedding.{name}"
        for letter in "tf"
        for level in range(n_levels)
        for name in ("cluster_size", "embed_avg")
    }


def pretraining_keys(encoder: TransformerConfig, n_levels: int) -> dict[str, str]:
    """Our names of a pretraining network's tensors → the published ones, which have unused ones, too."""
    keys = encoder_keys(encoder, "encoder.", "student.", norm="norm") | {"mask_token": "student.mask_token"}
    for domain, letter in (("time", "t"), ("frequency", "f")):
        for level in range(n_levels):
            keys |= _leaves(f"predict_{domain}.heads.{level}", f"lm_heads_{letter}.{level}")
        for level in range(n_levels - 1):
            keys |= {f"predict_{domain}.embeddings.{level}.weight": f"token_embed_{letter}.{level}.weight"}
            keys |= _leaves(f"predict_{domain}.norms.{level}", f"fusion_norm_{letter}.{level + 1}")
    return keys


def fine_tuned_keys(encoder: TransformerConfig, *, norm: str, head: Sequence[str]) -> dict[str, str]:
    """Our names of a fine-tuned model's tensors → the published ones.

    `norm` is what they call the last norm, `head` are the names of the head's layers, "" for a single one.
    """
    keys = encoder_keys(encoder, "encoder.", "", norm=norm)
    keys = {name.replace("encoder.norm.", "readout.norm."): published for name, published in keys.items()}
    for layer in head:
        keys |= _leaves(f"readout.head{layer}", f"head{layer}")
    return keys


def unused_pretraining_keys(n_levels: int) -> set[str]:
    """Tensors of published pretraining networks that never get a gradient."""
    return {"student.lm_head.weight", "student.lm_head.bias"} | {
        f"token_embed_{letter}.{n_levels - 1}.weight" for letter in "tf"
    }
