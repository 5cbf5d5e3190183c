"""Weights files put together, converted and described."""

import json

import pytest
import torch
from golden_data import published_state

from mne_specmoe._validation import CheckpointError
from mne_specmoe.assembly import PUBLISHED_LICENCE, assemble, convert, describe, sha256
from mne_specmoe.checkpoint import load_encoders, load_expert, load_experts, read_header, save_expert, save_experts
from mne_specmoe.models.specmoe.network import SpecHiNet


def make_expert(seed: int, layout: str = "channelwise") -> SpecHiNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SpecHiNet(layout).eval()


@pytest.fixture(scope="module")
def experts() -> list[SpecHiNet]:
    return [make_expert(seed) for seed in range(3)]


@pytest.fixture
def runs(tmp_path, experts) -> list:
    """Folders as finished runs leave them."""
    folders = [tmp_path / f"run{number}" for number in (1, 2, 3)]
    for folder, expert in zip(folders, experts, strict=True):
        folder.mkdir()
        save_expert(expert, folder / "expert.safetensors", training={"steps": 7, "hours": 0.5})
    return folders


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as the authors publish it."""
    path = tmp_path_factory.mktemp("published") / "Pretrained_Expert_1.pth"
    torch.save({"model_state": published_state(1), "epoch": 3}, path)
    return path


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_three_runs_become_one_file_that_estimators_take(tmp_path, runs, experts):
    path = assemble(runs, tmp_path / "specmoe.safetensors")
    encoders = load_encoders(path)
    assert all(equal(a, b.encoder) for a, b in zip(encoders, experts, strict=True))
    assert all(equal(a, b) for a, b in zip(load_experts(path), experts, strict=True))


def test_the_file_says_how_each_expert_came_about(tmp_path, runs):
    path = assemble(runs, tmp_path / "specmoe.safetensors", licence="CC BY 4.0")
    training = read_header(path).training
    assert [expert["steps"] for expert in training["experts"]] == [7, 7, 7]
    assert training["experts"][0]["sha256"] == sha256(runs[0] / "expert.safetensors")
    assert training["licence"] == "CC BY 4.0"


def test_half_precision_halves_the_file_and_changes_little(tmp_path, runs, experts):
    full = assemble(runs, tmp_path / "full.safetensors")
    half = assemble(runs, tmp_path / "half.safetensors", precision="float16")
    assert half.stat().st_size < 0.52 * full.stat().st_size
    x = torch.randn(1, 2, 720, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, rounded = experts[1].encode(x), load_expert(half, number=2).encode(x)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.01, rtol=0.01)


def test_running_statistics_keep_full_precision(tmp_path, experts):
    expert = make_expert(0)
    expert.encoder.down1.short[0].norm.running_var.fill_(1e-9)  # would be 0 in half precision
    path = save_experts([expert], tmp_path / "half.safetensors", precision="float16")
    assert load_expert(path).encoder.down1.short[0].norm.running_var[0].item() == pytest.approx(1e-9)


def test_an_expert_of_several_is_asked_for_by_number(tmp_path, runs, experts):
    path = assemble(runs, tmp_path / "specmoe.safetensors")
    assert equal(load_expert(path, number=3), experts[2])
    with pytest.raises(ValueError, match="number=1 to 3"):
        load_expert(path)
    with pytest.raises(ValueError, match="experts 1 to 3"):
        load_expert(path, number=4)


def test_nothing_to_assemble_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing to assemble"):
        assemble([], tmp_path / "specmoe.safetensors")


def test_an_unfinished_run_is_named(tmp_path, runs):
    (runs[1] / "expert.safetensors").unlink()
    with pytest.raises(CheckpointError, match="run2 is not finished.*--resume"):
        assemble(runs, tmp_path / "specmoe.safetensors")
    assert not (tmp_path / "specmoe.safetensors").exists()


def test_a_run_given_twice_is_named(tmp_path, runs):
    with pytest.raises(ValueError, match="run1.*run1.*same expert"):
        assemble([runs[0], runs[1], runs[0]], tmp_path / "specmoe.safetensors")


def test_experts_of_different_layouts_are_refused(tmp_path, runs):
    save_expert(make_expert(5, "published"), runs[2] / "expert.safetensors")
    with pytest.raises(ValueError, match="one layout, got channelwise, published"):
        assemble(runs, tmp_path / "specmoe.safetensors")


def test_published_weights_are_converted_with_their_licence(tmp_path, published):
    path = convert(published, tmp_path / "expert.safetensors")
    assert equal(load_expert(path), load_expert(published))
    assert read_header(path).training["licence"] == PUBLISHED_LICENCE


def test_what_is_assembled_from_published_weights_keeps_their_licence(tmp_path, published):
    path = assemble([published], tmp_path / "specmoe.safetensors")
    assert read_header(path).training["licence"] == PUBLISHED_LICENCE


def test_converting_our_own_format_is_refused(tmp_path, runs):
    with pytest.raises(CheckpointError, match="our format already"):
        convert(runs[0] / "expert.safetensors", tmp_path / "other.safetensors")


def test_description_of_our_file(tmp_path, runs):
    path = assemble(runs, tmp_path / "specmoe.safetensors")
    description = describe(path)
    assert description["architecture"] == "specmoe-experts"
    assert description["config"] == {
        "n_experts": 3,
        "layout": "channelwise",
        "dropout": 0.2,
        "amplitude": "absolute",
        "decoder": "signal",
    }
    assert description["sha256"] == sha256(path)
    assert "not stated" in description["licence"]
    json.dumps(description)


def test_description_of_a_published_file(published):
    description = describe(published)
    assert description["format"] == "published expert"
    assert "non-commercial" in description["licence"]


def test_description_of_a_file_that_is_no_weights(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not weights")
    with pytest.raises(CheckpointError, match="neither"):
        describe(path)


def test_the_name_of_weights_that_come_with_the_package_is_described():
    assert describe("starter")["file"].endswith("starter.safetensors")
    assert describe("starter")["architecture"] == "specmoe-experts"
