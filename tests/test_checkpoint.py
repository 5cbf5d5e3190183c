import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_data import draw, load_cases, published_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mne_specmoe import checkpoint
from mne_specmoe.checkpoint import (
    FORMAT_VERSION,
    CheckpointError,
    load_encoders,
    load_expert,
    load_experts,
    load_specmoe,
    read_header,
    save_expert,
    save_specmoe,
)
from mne_specmoe.models.registry import BUNDLED
from mne_specmoe.models.specmoe.mixture import SpecMoE
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.published import encoder_keys, readout_keys

golden_state = cache(published_state)


def expert(layout: str = "channelwise", **options) -> SpecHiNet:
    torch.manual_seed(0)
    return SpecHiNet(layout, **options).eval()


def specmoe(**options) -> SpecMoE:
    torch.manual_seed(0)
    return SpecMoE(**{"n_outputs": 3, "n_times": 600, "n_experts": 1} | options).eval()


def eeg(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def published_expert(salt: int = 1, *, prefix: str = "module.") -> dict:
    """What a published expert's file holds, training states included."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.05)
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-6)
    return {
        "model_state": OrderedDict((prefix + name, tensor) for name, tensor in golden_state(salt).items()),
        "epoch": 49,
        "optimizer_state": optimizer.state_dict(),
        "scheduler_state": scheduler.state_dict(),
        "best_loss": np.float64(0.125),
        "params": {"lr": 1e-3, "clip_value": 5, "mask": ("freq", 0.5), "resume": None, "parallel": True},
        "rng_state": {"torch": torch.get_rng_state(), "numpy": np.random.RandomState(41).get_state()},
        "cuda_rng_state": [torch.get_rng_state()],
    }


@cache
def readout_shapes(n_times: int) -> dict[str, list[int]]:
    """Published names and shapes of the gate and head of a model of five classes."""
    state = SpecMoE(5, n_times=n_times, layout="published").state_dict()
    return {theirs: list(state[ours].shape) for ours, theirs in readout_keys(3).items()}


encoder_names = cache(lambda: set(encoder_keys().values()))


def fine_tuned(*, n_times: int = 1200, decoders: bool = False, prefix: str = "") -> dict:
    """What a published fine-tuned model's file holds: the golden mixtures."""
    state = {name: draw(name, shape, 9) for name, shape in readout_shapes(n_times).items()}
    for i in range(3):
        whole = golden_state(i + 1)
        state |= {f"experts.{i}.{name}": t for name, t in whole.items() if decoders or name in encoder_names()}
    return {"state_dict": {prefix + name: tensor for name, tensor in state.items()}}


def write(path: Path, content: object, **options) -> Path:
    torch.save(content, path, **options)
    return path


def same_state(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Ours


@pytest.mark.parametrize("layout", ["channelwise", "published"])
def test_an_expert_comes_back_as_it_was_saved(tmp_path, layout):
    saved = expert(layout, dropout=0.1)
    path = save_expert(saved, tmp_path / "expert.safetensors", training={"steps": 7, "data": ["a", "b"]})
    assert path == tmp_path / "expert.safetensors"
    loaded = load_expert(path)
    assert loaded.config == saved.config
    assert not loaded.training
    assert same_state(loaded, saved)
    x = eeg(1, 2, 480)
    assert all(torch.equal(a, b) for a, b in zip(loaded(x), saved(x), strict=True))


def test_experts_of_different_amplitudes_do_not_mix(tmp_path):
    paths = [save_expert(expert(amplitude=a), tmp_path / a) for a in ("absolute", "relative")]
    with pytest.raises(CheckpointError, match="one amplitude, got absolute, relative"):
        load_encoders(paths)


def test_the_header_says_what_the_file_holds(tmp_path):
    path = save_expert(expert(dropout=0.1), tmp_path / "e", training={"steps": 7})
    header = read_header(str(path))
    assert header.architecture == "specmoe-expert"
    assert header.config == {"layout": "channelwise", "dropout": 0.1, "amplitude": "absolute", "decoder": "signal"}
    assert header.training == {"steps": 7}
    assert header.format_version == FORMAT_VERSION
    assert header.package_version
    assert read_header(save_expert(expert(), tmp_path / "f")).training == {}


def test_a_specmoe_comes_back_as_it_was_saved(tmp_path):
    options = {"n_experts": 2, "time_pooling": "max", "channel_pooling": "max", "hidden": 8, "dropout": 0.0}
    saved, x = specmoe(**options), eeg(3, 2, 600)
    saved.standardise(saved.pool(x).psd)
    saved.reset_head(4)
    path = save_specmoe(saved, tmp_path / "moe.safetensors")
    assert read_header(path).architecture == "specmoe"
    loaded = load_specmoe(path)
    assert asdict(loaded.config) == asdict(saved.config) == asdict(loaded.config) | options | {"n_outputs": 4}
    assert same_state(loaded, saved)
    assert torch.equal(loaded(x), saved(x))


def test_saving_keeps_the_network_as_it_is(tmp_path):
    network = specmoe().freeze_experts().train()
    save_specmoe(network, tmp_path / "moe")
    assert network.training
    assert network.experts_frozen
    assert not any(parameter.requires_grad for parameter in network.experts.parameters())
    assert not load_specmoe(tmp_path / "moe").training


def test_numpy_numbers_can_be_stored(tmp_path):
    network = specmoe(n_outputs=np.int64(3))
    path = save_specmoe(network, tmp_path / "moe", training={"loss": np.float32(0.5), "best": np.float64(0.25)})
    assert read_header(path).training == {"loss": 0.5, "best": 0.25}
    assert load_specmoe(path).n_outputs == 3


def test_wanted_poolings_and_length_must_be_those_of_the_file(tmp_path):
    path = save_specmoe(specmoe(time_pooling="max"), tmp_path / "moe")
    assert load_specmoe(path, time_pooling="max", channel_pooling="mean", n_times=600).n_times == 600
    for option, value in [("time_pooling", "mean"), ("channel_pooling", "max"), ("n_times", 601)]:
        with pytest.raises(CheckpointError, match=f"{option}=.* but {option}={value!r} was asked for"):
            load_specmoe(path, **{option: value})


def test_only_the_right_kind_of_network_is_saved(tmp_path):
    with pytest.raises(TypeError, match="Expected a SpecHiNet, got SpecMoE"):
        save_expert(specmoe(), tmp_path / "x")
    with pytest.raises(TypeError, match="Expected a SpecMoE, got SpecHiNet"):
        save_specmoe(expert(), tmp_path / "x")

    class Changed(SpecHiNet):
        pass

    with pytest.raises(TypeError, match="Changed cannot be stored"):
        save_expert(Changed(), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_the_home_folder_is_understood_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert save_expert(expert(), "~/e") == tmp_path / "e"
    assert load_expert("~/e").config.layout == "channelwise"


# Writing in one step


def half_written(tensors, path, **options):
    Path(path).write_bytes(b"half")
    raise OSError("No space left on device")


def refuse(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "name", "failure", "error"),
    [(checkpoint, "save_file", half_written, OSError), (os, "replace", refuse, KeyboardInterrupt)],
)
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, place, name, failure, error
):
    path = save_expert(expert(dropout=0.1), tmp_path / "e")
    before = path.read_bytes()
    monkeypatch.setattr(place, name, failure)
    with pytest.raises(error):
        save_expert(expert(dropout=0.3), path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    save_expert(expert(dropout=0.3), path)
    assert list(tmp_path.iterdir()) == [path]
    assert load_expert(path).config.dropout == 0.3


def test_a_training_summary_that_is_no_json_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        save_expert(expert(), tmp_path / "e", training={"network": expert()})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file modes")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_has_the_mode_that_other_new_files_have(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = save_expert(expert(), tmp_path / "e")
        left = os.umask(mask)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert left == mask


# Published


@pytest.mark.parametrize(("prefix", "zipped"), [("", True), ("module.", True), ("module.", False)])
def test_a_published_expert_is_read(tmp_path, prefix, zipped):
    arrays = load_cases()["expert_a"]
    content = published_expert(int(arrays["salt"]), prefix=prefix)
    loaded = load_expert(write(tmp_path / "expert.pth", content, _use_new_zipfile_serialization=zipped))
    assert loaded.config.layout == "published"
    assert not loaded.training
    with torch.no_grad():
        embedding = loaded.encode(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["positions"]))
    assert np.abs(embedding.numpy() - arrays["bottleneck"]).max() < 1e-5


def test_files_that_an_older_numpy_wrote_are_read(tmp_path):
    new, old = write(tmp_path / "new.pth", published_expert()), tmp_path / "old.pth"
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(entry.filename, data)
    assert same_state(load_expert(old), load_expert(new))


@pytest.mark.parametrize("case", ["moe_a", "moe_b"])
@pytest.mark.parametrize(("decoders", "prefix"), [(False, ""), (True, "module.")])
def test_a_published_fine_tuned_model_gives_the_golden_outputs(tmp_path, case, decoders, prefix):
    arrays = load_cases()[case]
    seconds, _, time_pooling, channel_pooling = arrays["meta"].tolist()
    content = fine_tuned(n_times=200 * seconds, decoders=decoders, prefix=prefix)
    network = load_specmoe(
        write(tmp_path / "tuned.pth", content),
        time_pooling=["mean", "max"][time_pooling],
        channel_pooling=["mean", "max"][channel_pooling],
        n_times=200 * seconds,
    )
    assert not network.training
    assert network.config.gate_scale == "power"
    with torch.no_grad():
        logits = network(torch.from_numpy(arrays["x"])).numpy()
    assert logits.shape == arrays["logits"].shape
    assert np.abs(logits - arrays["logits"]).max() < 1e-5


@pytest.mark.parametrize(("trained_on", "assumed"), [(200, 200), (1200, 400)])
def test_length_and_poolings_of_a_published_model_have_defaults(tmp_path, trained_on, assumed):
    path = write(tmp_path / "tuned.pth", fine_tuned(n_times=trained_on))
    config = load_specmoe(path).config
    assert (config.n_times, config.time_pooling, config.channel_pooling) == (assumed, "mean", "mean")
    with pytest.raises(CheckpointError, match="frequencies in its gate, but epochs of n_times="):
        load_specmoe(path, n_times=1400 - trained_on)
    with pytest.raises(ValueError, match="time_pooling='median'"):
        load_specmoe(path, time_pooling="median")


# Tensors that are not as they should be


def without(state, name):
    del state[name]


def with_extra(state, name):
    state[name + "_more"] = torch.zeros(3)


def misshapen(state, name):
    state[name] = state[name][..., None].repeat_interleave(2, -1)


def not_a_number(state, name):
    state[name] = state[name].clone()
    state[name].view(-1)[-1] = torch.nan


def infinite(state, name):
    state[name] = torch.full_like(state[name], -torch.inf)


DAMAGES = [
    (without, "1 tensors are missing: '{}'"),
    (with_extra, "1 tensors are not part of this network: '{}_more'"),
    (misshapen, r"tensor '{}' has shape \(.*\), expected"),
    (not_a_number, "tensor '{}' holds NaN or infinity"),
    (infinite, "tensor '{}' holds NaN or infinity"),
]


def damages(*names: str):
    """Every damage, each to one of the names in turn."""
    cases = [(*DAMAGES[i], names[i % len(names)]) for i in range(len(DAMAGES))]
    return pytest.mark.parametrize(("damage", "message", "name"), cases)


@damages("Down1.features3.0.weight", "aux_head_up1.0.bias", "Bottom2.features.1.running_var")
def test_a_wrong_tensor_of_a_published_expert_is_named(tmp_path, damage, message, name):
    content = published_expert(prefix="")
    damage(content["model_state"], name)
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_expert(write(tmp_path / "e.pth", content))


@damages("encoder.attention1.query.weight", "decoder.up3.long.5.bias")
def test_a_wrong_tensor_of_an_expert_of_ours_is_named(tmp_path, damage, message, name):
    path = save_expert(expert(), tmp_path / "e")
    rewrite(path, lambda state, header: damage(state, name))
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_expert(path)


@damages("gate_LinearT_2.weight", "classifier.net.1.bias", "experts.1.TransformerEnc2.lin_1.weight")
def test_a_wrong_tensor_of_a_published_fine_tuned_model_is_named(tmp_path, damage, message, name):
    content = fine_tuned()
    damage(content["state_dict"], name)
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_specmoe(write(tmp_path / "m.pth", content))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("gate_LinearT_1.weight", (128,)),
        ("gate_LinearT_1.weight", (128, 77)),
        ("gate_LinearT_1.weight", (64, 201)),
        ("classifier.net.4.weight", (5,)),
        ("classifier.net.4.weight", (5, 384, 1)),
        ("classifier.net.4.weight", ()),
    ],
)
def test_tensors_that_tell_the_size_of_a_model_are_checked_too(tmp_path, name, shape):
    content = fine_tuned()
    content["state_dict"][name] = torch.zeros(shape)
    with pytest.raises(CheckpointError, match=re.escape(name)):
        load_specmoe(write(tmp_path / "m.pth", content))


def test_half_a_decoder_is_an_error_that_names_what_is_missing(tmp_path):
    content = fine_tuned(decoders=True)
    del content["state_dict"]["experts.2.Up3.features1.0.weight"]
    with pytest.raises(CheckpointError, match=re.escape("'experts.2.Up3.features1.0.weight'")):
        load_specmoe(write(tmp_path / "m.pth", content))


def test_a_missing_expert_is_an_error(tmp_path):
    content = fine_tuned()
    kept = {name: t for name, t in content["state_dict"].items() if not name.startswith("experts.1.")}
    with pytest.raises(CheckpointError, match=r"missing: 'experts\.1\."):
        load_specmoe(write(tmp_path / "m.pth", {"state_dict": kept}))
    kept = {name: t for name, t in kept.items() if not name.startswith("experts.")}
    with pytest.raises(CheckpointError, match="no tensors 'experts"):
        load_specmoe(write(tmp_path / "m.pth", {"state_dict": kept}))


@pytest.mark.parametrize(
    "state", [None, [1, 2], {"a": 1.0}, {3: torch.zeros(1)}, {}, torch.zeros(3)], ids=lambda s: type(s).__name__
)
def test_a_state_that_holds_no_tensors_by_name_is_an_error(tmp_path, state):
    with pytest.raises(CheckpointError):
        load_expert(write(tmp_path / "e.pth", {"model_state": state}))
    with pytest.raises(CheckpointError):
        load_specmoe(write(tmp_path / "m.pth", {"state_dict": state}))


# Other architectures, other files


def test_an_expert_is_no_specmoe_and_the_other_way_round(tmp_path):
    ours = save_expert(expert(), tmp_path / "e.safetensors")
    with pytest.raises(CheckpointError, match="architecture 'specmoe-expert', expected 'specmoe'"):
        load_specmoe(ours)
    ours = save_specmoe(specmoe(), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="architecture 'specmoe', expected 'specmoe-expert'"):
        load_expert(ours)
    with pytest.raises(CheckpointError, match="no 'state_dict', only .*'model_state'.*use load_expert"):
        load_specmoe(write(tmp_path / "e.pth", published_expert()))
    with pytest.raises(CheckpointError, match="no 'model_state', only 'state_dict'.*use load_specmoe"):
        load_expert(write(tmp_path / "m.pth", fine_tuned()))


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], "weights"], ids=["tensor", "list", "str"])
def test_a_checkpoint_of_something_else_is_an_error(tmp_path, content):
    with pytest.raises(CheckpointError, match=f"holds a {type(content).__name__}, expected a dict"):
        load_expert(write(tmp_path / "e.pth", content))


def test_a_checkpoint_without_known_keys_is_an_error(tmp_path):
    path = write(tmp_path / "e.pth", {"weights": torch.zeros(3), 5: 1})
    for load in (load_expert, load_specmoe, load_encoders):
        with pytest.raises(CheckpointError, match="only '5', 'weights'"):
            load(path)


LOADERS = [load_expert, load_specmoe, load_encoders]

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "neither safetensors nor a torch checkpoint"),
        (b'{"error": "not found"}', "neither safetensors nor a torch checkpoint"),
        (b"x", "neither safetensors nor a torch checkpoint"),
        (b"PK\x03\x04 and then nothing", "truncated or damaged"),
        (b"\x80\x02", "truncated|damaged"),
        (b"\x80", "truncated|damaged"),
        (b"\x80\x04\x95\xff\xff\xff", "truncated|damaged"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "no mne-specmoe header"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{", "truncated or damaged"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{\xff\xff\xff\xff\xff\xff\xff", "truncated or damaged"),
    ],
)
def test_a_file_that_holds_no_weights_is_an_error_that_says_what_it_is(tmp_path, load, content, message):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("load", LOADERS)
def test_a_folder_and_a_missing_file_are_told_apart(tmp_path, load):
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights file .*absent"):
        load(tmp_path / "absent.pth")


# Weights that come with the package


@pytest.mark.parametrize("name", BUNDLED)
def test_weights_with_a_name_are_in_the_package_and_small(name):
    file = resources.files("mne_specmoe") / "weights" / BUNDLED[name]
    assert file.is_file()
    assert len(file.read_bytes()) <= 20e6


@pytest.mark.parametrize("name", BUNDLED)
def test_a_name_stands_for_the_file_in_the_package(name):
    path = Path(str(resources.files("mne_specmoe") / "weights" / BUNDLED[name]))
    named, read = load_experts(name), load_experts(path)
    assert read_header(name) == read_header(path)
    assert len(named) == len(read) > 0
    assert all(same_state(*pair) for pair in zip(named, read, strict=True))
    assert same_state(load_expert(name, number=1), read[0])
    assert all(same_state(*pair) for pair in zip(load_encoders(name), [e.encoder for e in read], strict=True))


def test_a_file_of_the_same_name_is_reached_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (name, *_) = BUNDLED
    saved = expert(dropout=0.1)
    save_expert(saved, tmp_path / name)
    assert same_state(load_expert(Path(name)), saved)
    assert not same_state(load_expert(name, number=1), saved)


@pytest.mark.parametrize("load", LOADERS)
def test_a_misspelt_name_is_an_error_that_gives_the_names_there_are(load):
    with pytest.raises(FileNotFoundError, match="no weights file startr.*'starter'"):
        load("startr")


@pytest.mark.parametrize("path", [None, 3, b"bytes"])
def test_what_is_no_path_is_a_type_error(path):
    with pytest.raises(TypeError, match="Expected a path"):
        load_expert(path)


@pytest.mark.parametrize("kind", ["ours", "zip", "pickle"])
def test_a_truncated_file_is_an_error(tmp_path, kind):
    path = tmp_path / "e"
    if kind == "ours":
        save_expert(expert(), path)
    else:
        write(path, published_expert(), _use_new_zipfile_serialization=kind == "zip")
    load_expert(path)
    n_bytes = path.stat().st_size
    for kept in (n_bytes - 1, round(0.999 * n_bytes), n_bytes // 2, 3000, 40, 9, 4):
        os.truncate(path, kept)
        with pytest.raises(CheckpointError) as caught:
            load_expert(path)
        assert "weights_only" not in str(caught.value)


# Files that would run code


class Malicious:
    """Touches a file when it is unpickled without care."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


class MaliciousCommand(Malicious):
    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("kind", [Malicious, MaliciousCommand])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, load, kind, form):
    marker, path = tmp_path / "marker", tmp_path / "e.pth"
    content = {"model_state": {}, "state_dict": {}, "rng_state": kind(marker)}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        write(path, content, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="was refused|damaged") as caught:
        load(path)
    assert not marker.exists()
    message = "".join(str(e) for e in (caught.value, caught.value.__cause__) if e is not None)
    assert "weights_only" not in message
    if form != "plain pickle":
        torch.load(path, weights_only=False)
        assert marker.exists()  # it is malicious indeed


def test_what_is_not_on_the_list_is_named(tmp_path):
    path = write(tmp_path / "e.pth", {"model_state": {}, "params": MaliciousCommand(tmp_path / "x")})
    with pytest.raises(CheckpointError, match=r"more than tensors and numbers \((posix|nt)\.system\)"):
        load_expert(path)


def test_torchscript_is_refused_without_bad_advice(tmp_path):
    path = write(tmp_path / "e.pth", published_expert())
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{folder}/constants.pkl", b"")
    with (
        pytest.warns(UserWarning, match="TorchScript"),
        pytest.raises(CheckpointError, match="was refused.*TorchScript") as caught,
    ):
        load_expert(path)
    assert "weights_only" not in str(caught.value)


def test_reading_leaves_torchs_list_of_safe_classes_alone(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    load_expert(write(tmp_path / "e.pth", published_expert()))
    assert set(torch.serialization.get_safe_globals()) == before


# The header of our files


def rewrite(path: Path, change) -> Path:
    """Change tensors and header of a file of ours."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["mne_specmoe"])
    state = load_file(path)
    change(state, header)
    save_file(state, path, metadata={"mne_specmoe": json.dumps(header)})
    return path


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"mne_specmoe": "no json"}, {"mne_specmoe": "[1]"}])
@pytest.mark.parametrize("load", LOADERS)
def test_safetensors_of_other_programs_are_refused(tmp_path, load, metadata):
    save_file(expert().state_dict(), tmp_path / "e", metadata=metadata)
    with pytest.raises(CheckpointError, match="written by another program"):
        load(tmp_path / "e")


@pytest.mark.parametrize("new_field", [False, True])
def test_a_newer_format_asks_for_an_upgrade(tmp_path, new_field):
    def change(state, header):
        header["format_version"] = FORMAT_VERSION + 1
        if new_field:
            header["licence"] = "CC0"

    path = rewrite(save_expert(expert(), tmp_path / "e"), change)
    message = f"format version {FORMAT_VERSION + 1}, this package reads up to {FORMAT_VERSION}; upgrade"
    with pytest.raises(CheckpointError, match=message):
        load_expert(path)


@pytest.mark.parametrize("n_more", range(0, 256, 8))
def test_our_files_are_told_from_pickles_whatever_the_length_of_the_header(tmp_path, n_more):
    header = {"architecture": "specmoe", "config": {}, "training": {"note": "x" * n_more}, "package_version": "1"}
    header["format_version"] = FORMAT_VERSION
    save_file({"a": torch.zeros(1)}, tmp_path / "e", metadata={"mne_specmoe": json.dumps(header)})
    with pytest.raises(CheckpointError, match="architecture 'specmoe', expected 'specmoe-expert'"):
        load_expert(tmp_path / "e")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header["config"].update(layout="flat"), "config that is not understood.*layout='flat'"),
        (lambda header: header["config"].update(depth=3), "config that is not understood.*depth.*dropout"),
        (lambda header: header.update(config=[1]), "not understood"),
        (lambda header: header.update(licence="CC0"), "not understood.*licence"),
        (lambda header: header.pop("config"), "not understood.*config"),
        (lambda header: header.update(format_version="new"), "another program"),
        (lambda header: header.update(architecture="transformer"), "'transformer', expected 'specmoe-expert'"),
    ],
)
def test_a_header_that_is_not_understood_is_an_error(tmp_path, change, message):
    path = rewrite(save_expert(expert(), tmp_path / "e"), lambda state, header: change(header))
    with pytest.raises(CheckpointError, match=message):
        load_expert(path)


# Encoders


def test_encoders_come_from_an_expert_a_list_of_experts_or_a_specmoe(tmp_path):
    first = save_expert(expert(), tmp_path / "1.safetensors")
    second = save_expert(SpecHiNet(), tmp_path / "2.safetensors")
    mixture = specmoe(n_experts=2)
    third = save_specmoe(mixture, tmp_path / "3.safetensors")
    (alone,) = load_encoders(first)
    assert same_state(alone, expert().encoder)
    pair = load_encoders([str(first), second])
    assert same_state(pair[0], alone)
    assert same_state(pair[1], load_expert(second).encoder)
    assert not same_state(*pair)
    parts = load_encoders(str(third))
    assert len(parts) == 2
    assert all(same_state(a, b) for a, b in zip(parts, mixture.experts, strict=True))


def test_encoders_come_from_published_files(tmp_path):
    one = write(tmp_path / "1.pth", published_expert(1))
    two = write(tmp_path / "2.pth", published_expert(2))
    tuned = load_encoders(write(tmp_path / "m.pth", fine_tuned(decoders=True)))
    assert len(tuned) == 3
    assert {encoder.config.layout for encoder in tuned} == {"published"}
    (alone,) = load_encoders(one)
    assert same_state(alone, tuned[0])
    assert all(same_state(a, b) for a, b in zip(load_encoders((one, two)), tuned[:2], strict=True))


def test_experts_of_different_layouts_do_not_mix(tmp_path):
    paths = [save_expert(expert(layout), tmp_path / layout) for layout in ("published", "channelwise")]
    with pytest.raises(CheckpointError, match="one layout, got channelwise, published"):
        load_encoders(paths)


def test_an_empty_list_and_a_specmoe_in_a_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match="empty list"):
        load_encoders([])
    path = save_specmoe(specmoe(), tmp_path / "m")
    with pytest.raises(CheckpointError, match="architecture 'specmoe'"):
        load_encoders([path])
