"""Experts and mixtures come back as they were saved, and published ones give the golden outputs."""

import re
import zipfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_data import load_cases
from lively_experts import parts
from specmoe_files import expert, fine_tuned, published_expert, specmoe, write
from weights_files import damages, rewrite, same_state

from mne_specmoe.assembly import describe
from mne_specmoe.checkpoint import FORMAT_VERSION, CheckpointError, read_header
from mne_specmoe.loaders.specmoe import (
    load_encoders,
    load_expert,
    load_experts,
    load_specmoe,
    save_expert,
    save_experts,
    save_specmoe,
)
from mne_specmoe.models.registry import BUNDLED
from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.network import SpecHiNet

EXPERTS = [name for name in BUNDLED if read_header(name).architecture.startswith("specmoe")]


def eeg(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


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
    assert all(torch.equal(a, b) for a, b in zip(parts(loaded(x)), parts(saved(x)), strict=True))


def test_experts_of_different_amplitudes_do_not_mix(tmp_path):
    paths = [save_expert(expert(amplitude=a), tmp_path / a) for a in ("absolute", "relative")]
    with pytest.raises(CheckpointError, match="one amplitude, got absolute, relative"):
        load_encoders(paths)


def test_the_header_says_what_the_file_holds(tmp_path):
    path = save_expert(expert(dropout=0.1), tmp_path / "e", training={"steps": 7})
    header = read_header(str(path))
    assert header.architecture == "specmoe-expert"
    assert header.config == asdict(SpecHiNetConfig(dropout=0.1))
    assert header.config["edition"] == 2
    assert header.training == {"steps": 7}
    assert header.format_version == FORMAT_VERSION
    assert header.package_version
    assert read_header(save_expert(expert(), tmp_path / "f")).training == {}


@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "gains", "bypass": False, "told_mask": True, "n_mixtures": 0, "masked_norms": False},
        {"decoder": "envelope", "amplitude": "absolute", "dropout": 0.3, "n_mixtures": 3},
        {"layout": "published"},
    ],
)
def test_a_set_of_experts_comes_back_as_it_was_saved(tmp_path, options):
    saved = [expert(**options), SpecHiNet(**options)]
    path = save_experts(saved, tmp_path / "experts", precision="float32")
    assert read_header(path).config == {"n_experts": 2, "expert": asdict(saved[0].config)}
    loaded = load_experts(path)
    assert len(loaded) == 2
    for ours, theirs in zip(loaded, saved, strict=True):
        assert ours.config == theirs.config
        assert same_state(ours, theirs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("decoder", ("gains", "envelope")),
        ("n_mixtures", (1, 2)),
        ("masked_norms", (True, False)),
        ("told_mask", (True, False)),
    ],
)
def test_a_set_holds_experts_of_one_architecture(tmp_path, name, values):
    with pytest.raises(ValueError, match=f"experts must have one {name}, got"):
        save_experts([expert(**{name: value}) for value in values], tmp_path / "experts")


def of_first_edition(state: dict, header: dict) -> None:
    """What the first edition's files look like: other names of tensors, and no edition."""
    for name in [name for name in state if ".short." in name and ".down" not in name and ".up" not in name]:
        state[name.replace("short.", "down1.short.")] = state.pop(name)
    if header["architecture"] == "specmoe-experts":
        header["config"] |= header["config"].pop("expert")
    for name in ("bypass", "told_mask", "masked_norms", "n_mixtures", "edition"):
        header["config"].pop(name, None)


@pytest.mark.parametrize("kind", ["expert", "experts", "specmoe"])
def test_a_file_of_the_first_edition_ends_in_one_clear_line(tmp_path, kind):
    path = tmp_path / "old.safetensors"
    if kind == "specmoe":
        save_specmoe(specmoe(), path)
    else:
        save_expert(expert(), path) if kind == "expert" else save_experts([expert()], path)
    rewrite(path, of_first_edition)
    message = 'first edition, which this version cannot read.*Pretrain again, or take weights="starter"'
    for load in (load_specmoe,) if kind == "specmoe" else (load_expert, load_experts, load_encoders):
        with pytest.raises(CheckpointError, match=message) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    assert describe(path)["architecture"].startswith("specmoe")  # what it says of itself can still be read


def test_a_file_of_a_later_edition_says_which_are_known(tmp_path):
    path = save_expert(expert(), tmp_path / "new")
    rewrite(path, lambda state, header: header["config"].update(edition=3))
    with pytest.raises(CheckpointError, match="edition must be 2, got 3"):
        load_expert(path)


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


@damages("Down1.features3.0.weight", "aux_head_up1.0.bias", "Bottom2.features.1.running_var")
def test_a_wrong_tensor_of_a_published_expert_is_named(tmp_path, damage, message, name):
    content = published_expert(prefix="")
    damage(content["model_state"], name)
    with pytest.raises(CheckpointError, match=message.format(re.escape(name))):
        load_expert(write(tmp_path / "e.pth", content))


@damages("encoder.attention1.time.value.weight", "decoder.envelope_long.contract.bias")
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


# Weights that come with the package


@pytest.mark.parametrize("name", EXPERTS)
def test_weights_with_a_name_are_in_the_package_and_small(name):
    file = resources.files("mne_specmoe") / "weights" / BUNDLED[name]
    assert file.is_file()
    assert len(file.read_bytes()) <= 20e6


@pytest.mark.parametrize("name", EXPERTS)
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
    (name, *_) = EXPERTS
    saved = expert(dropout=0.1)
    save_expert(saved, tmp_path / name)
    assert same_state(load_expert(Path(name)), saved)
    assert not same_state(load_expert(name, number=1), saved)


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
