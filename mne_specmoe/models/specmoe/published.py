"""Names of tensors in published checkpoints, and ours for the same tensors."""

from torch import nn

from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetDecoder, SpecHiNetEncoder
from mne_specmoe.nn.layers import ConvNormAct

_STAGES = {
    "encoder": {"down1": "Down1", "down2": "Down2", "down3": "Down3"},
    "decoder": {"up1": "Up1", "up2": "Up2", "up3": "Up3"},
}
_BOTTOMS = {"bottom1": "Bottom1", "bottom2": "Bottom2"}
_ATTENTIONS = {"encoder": (1, 2), "decoder": (3,)}
_BRANCHES = {"short": "features1", "long": "features3"}
_ATTENTION_PARTS = {
    "query": "lin_1",
    "key": "MultiH_Attn.k_proj",
    "value": "MultiH_Attn.v_proj",
    "out": "MultiH_Attn.out_proj",
    "expand": "feed_forward.w_1",
    "contract": "feed_forward.w_2",
}
_ATTENTION_NORMS = {
    "attention_norm": "sublayer_output.0.norm",
    "feed_forward_norm": "sublayer_output.1.norm",
}
_NORM_LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _branch_keys(branch: nn.Sequential, ours: str, theirs: str) -> dict[str, str]:
    """Keys of one branch: theirs counts convolution, normalisation and activation as three layers."""
    keys, index = {}, 0
    for i, layer in enumerate(branch):
        if isinstance(layer, ConvNormAct):
            for leaf, _ in layer.conv.named_parameters():
                keys[f"{ours}.{i}.conv.{leaf}"] = f"{theirs}.{index}.{leaf}"
            for leaf in _NORM_LEAVES:
                keys[f"{ours}.{i}.norm.{leaf}"] = f"{theirs}.{index + 1}.{leaf}"
            index += 3
        else:
            for leaf, _ in layer.named_parameters():
                keys[f"{ours}.{i}.{leaf}"] = f"{theirs}.{index}.{leaf}"
            index += 1
    return keys


def _attention_keys(ours: str, theirs: str) -> dict[str, str]:
    """Keys of one attention block."""
    keys = {
        f"{ours}.{part}.{leaf}": f"{theirs}.{name}.{leaf}"
        for part, name in _ATTENTION_PARTS.items()
        for leaf in ("weight", "bias")
    }
    for part, name in _ATTENTION_NORMS.items():
        keys[f"{ours}.{part}.weight"] = f"{theirs}.{name}.a_2"
        keys[f"{ours}.{part}.bias"] = f"{theirs}.{name}.b_2"
    return keys


def encoder_keys() -> dict[str, str]:
    """Our names of an encoder's tensors → published names."""
    return _half_keys(SpecHiNetEncoder(SpecHiNetConfig("published")), "encoder") | _attention_half("encoder")


def expert_keys() -> dict[str, str]:
    """Our names of a `SpecHiNet`'s tensors → published names (334 of them)."""
    network = SpecHiNet("published")
    keys = {}
    for half in ("encoder", "decoder"):
        part = _half_keys(getattr(network, half), half) | _attention_half(half)
        keys |= {f"{half}.{ours}": theirs for ours, theirs in part.items()}
    for aux in ("aux_up1", "aux_up2"):
        for leaf in ("weight", "bias"):
            keys[f"decoder.{aux}.{leaf}"] = f"{aux.replace('aux', 'aux_head')}.0.{leaf}"
    return keys


def _half_keys(module: SpecHiNetEncoder | SpecHiNetDecoder, half: str) -> dict[str, str]:
    """Keys of the convolutional stages of one half."""
    keys = {}
    for ours, theirs in _STAGES[half].items():
        stage = getattr(module, ours)
        for branch, name in _BRANCHES.items():
            keys |= _branch_keys(getattr(stage, branch), f"{ours}.{branch}", f"{theirs}.{name}")
    if half == "encoder":
        for ours, theirs in _BOTTOMS.items():
            keys |= _branch_keys(getattr(module, ours), ours, f"{theirs}.features")
    return keys


def _attention_half(half: str) -> dict[str, str]:
    """Keys of the attention blocks of one half."""
    keys = {}
    for i in _ATTENTIONS[half]:
        keys |= _attention_keys(f"attention{i}", f"TransformerEnc{i}")
    return keys


def readout_keys(n_experts: int) -> dict[str, str]:
    """Our names of a `SpecMoE`'s gate and head → names in a published fine-tuned model."""
    keys = {}
    for leaf in ("weight", "bias"):
        for i in range(n_experts):
            keys[f"readout.gate.linears.{i}.{leaf}"] = f"gate_LinearT_{i + 1}.{leaf}"
        for ours, theirs in (("norm", "0"), ("hidden", "1"), ("output", "4")):
            keys[f"readout.final_layer.{ours}.{leaf}"] = f"classifier.net.{theirs}.{leaf}"
    return keys
