"""The format of weights files: written in one step, read without running what is in them."""

import argparse
import json
import os
import pickle
import zipfile
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from specmoe_files import expert, published_expert, write
from weights_files import rewrite

from mne_specmoe import checkpoint
from mne_specmoe.checkpoint import FORMAT_VERSION, CheckpointError, load_network, published_kind, save_network
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_downstream, load_encoder, load_tokenizer
from mne_specmoe.loaders.specmoe import load_encoders, load_expert, load_specmoe, save_expert
from mne_specmoe.models.registry import ARCHITECTURES, BUNDLED

LOADERS = [load_expert, load_specmoe, load_encoders, load_tokenizer, load_brainrvq, load_encoder, load_downstream]

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def test_a_network_is_read_as_one_of_several_architectures(tmp_path):
    path = save_network(expert(dropout=0.1), tmp_path / "e")
    assert load_network(path, "specmoe", "specmoe-expert").config == expert(dropout=0.1).config
    with pytest.raises(CheckpointError, match="expected 'specmoe' or 'brainrvq'; use load_expert"):
        load_network(path, "specmoe", "brainrvq")


def test_every_architecture_is_built_from_its_config():
    small = {"specmoe": {"n_outputs": 2, "n_times": 400}}
    small |= {name: {"depth": 1, "n_codes": 8} for name in ("brainrvq", "brainrvq-tokenizer")}
    small["brainrvq-downstream"] = {"n_outputs": 2, "n_channels": 3, "depth": 1}
    for name, architecture in ARCHITECTURES.items():
        config = architecture.config(**small.get(name, {}))
        assert architecture.build(config).config == config, name


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


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], "weights"], ids=["tensor", "list", "str"])
def test_a_checkpoint_of_something_else_is_an_error(tmp_path, content):
    with pytest.raises(CheckpointError, match=f"holds a {type(content).__name__}, expected a dict"):
        load_expert(write(tmp_path / "e.pth", content))


def test_a_checkpoint_without_known_keys_is_an_error(tmp_path):
    path = write(tmp_path / "e.pth", {"weights": torch.zeros(3), 5: 1})
    for load in LOADERS:
        with pytest.raises(CheckpointError, match="only '5', 'weights'"):
            load(path)


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
    content = {"model_state": {}, "state_dict": {}, "model": {"student.a": torch.zeros(1)}, "rng_state": kind(marker)}
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


def test_options_of_a_command_line_are_read_but_not_what_hides_in_them(tmp_path):
    content = published_expert() | {"args": argparse.Namespace(lr=1e-3, resume=None, betas=(0.9, 0.99), name="a")}
    assert published_kind(write(tmp_path / "e.pth", content)) == "expert"
    marker = tmp_path / "marker"
    content["args"].callback = MaliciousCommand(marker)
    with pytest.raises(CheckpointError, match=r"more than tensors and numbers \((posix|nt)\.system\)"):
        load_expert(write(tmp_path / "f.pth", content))
    assert not marker.exists()


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
