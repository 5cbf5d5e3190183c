"""Weights files put together, converted and described."""

import json
from dataclasses import asdict

import pytest
import torch
from brainrvq_files import fine_tuned_shapes, golden_tensors, pretraining_shapes, tokenizer_shapes, write
from golden_data import published_state

from mne_specmoe._files import file_digest
from mne_specmoe._validation import CheckpointError
from mne_specmoe.assembly import BRAINRVQ_LICENCE, PUBLISHED_LICENCE, assemble, convert, describe
from mne_specmoe.checkpoint import read_header, save_network
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_downstream, load_tokenizer, save_tokenizer
from mne_specmoe.loaders.specmoe import load_encoders, load_expert, load_experts, save_expert, save_experts
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer
from mne_specmoe.models.specmoe.config import SpecHiNetConfig
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
    assert training["experts"][0]["sha256"] == file_digest(runs[0] / "expert.safetensors")
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
    expert.encoder.short[0].norm.running_var.fill_(1e-9)  # would be 0 in half precision
    path = save_experts([expert], tmp_path / "half.safetensors", precision="float16")
    assert load_expert(path).encoder.short[0].norm.running_var[0].item() == pytest.approx(1e-9)


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
    assert description["config"] == {"n_experts": 3, "expert": asdict(SpecHiNetConfig())}
    assert description["sha256"] == file_digest(path)
    assert "not stated" in description["licence"]
    json.dumps(description)


def test_description_of_a_published_file(published):
    description = describe(published)
    assert description["format"] == "published expert"
    assert "non-commercial" in description["licence"]


SMALL = {"n_codes": 8, "depth": 1}
BRAINRVQ = {
    "BrainRVQ tokenizer": (tokenizer_shapes(**SMALL, code_width=4, decoder_depth=1), load_tokenizer, 12),
    "BrainRVQ pretraining network": (pretraining_shapes(**SMALL), load_brainrvq, 4),
    "BrainRVQ fine-tuned model": (
        fine_tuned_shapes(depth=1),
        lambda path: load_downstream(path, ch_names=["C3", "C4"]),
        0,
    ),
}


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_published_weights_of_brainrvq_are_described_and_converted(tmp_path, kind):
    shapes, load, n_unused = BRAINRVQ[kind]
    path = write(tmp_path / "published.pth", golden_tensors(shapes))
    description = describe(path)
    assert description["format"] == f"published {kind}"
    assert description["licence"] == "published without a licence: ask its authors"
    assert len(description["unused_tensors"]) == n_unused
    json.dumps(description)
    converted = convert(path, tmp_path / "ours.safetensors", ch_names=["C3", "C4"])
    assert equal(load(converted), load(path))
    assert load(converted).config == load(path).config
    training = read_header(converted).training
    assert training["licence"] == describe(converted)["licence"] == BRAINRVQ_LICENCE
    assert "without a licence" in BRAINRVQ_LICENCE
    assert "SpecMoE" not in BRAINRVQ_LICENCE
    assert training["source_sha256"] == file_digest(path)


def test_conversion_stores_half_precision_if_asked_to(tmp_path):
    path = write(tmp_path / "published.pth", golden_tensors(BRAINRVQ["BrainRVQ pretraining network"][0]))
    full, half = (convert(path, tmp_path / precision, precision=precision) for precision in ("float32", "float16"))
    assert half.stat().st_size < 0.52 * full.stat().st_size


def test_a_fine_tuned_brainrvq_is_converted_with_its_channels_only(tmp_path):
    path = write(tmp_path / "published.pth", golden_tensors(fine_tuned_shapes(depth=1)))
    with pytest.raises(ValueError, match="does not say which channels"):
        convert(path, tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()


def test_networks_of_another_family_are_not_put_together_with_experts(tmp_path, runs):
    tokenizer = BrainRVQTokenizer(**SMALL, code_width=4, decoder_depth=1, init="random")
    path = save_tokenizer(tokenizer, tmp_path / "tokenizer.safetensors")
    with pytest.raises(ValueError, match="goes with no other"):
        assemble([*runs, path], tmp_path / "specmoe.safetensors")
    assert not (tmp_path / "specmoe.safetensors").exists()


def test_description_of_a_file_that_is_no_weights(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not weights")
    with pytest.raises(CheckpointError, match="neither"):
        describe(path)


def test_the_name_of_weights_that_come_with_the_package_is_described():
    assert describe("starter")["file"].endswith("starter.safetensors")
    assert describe("starter")["architecture"] == "specmoe-experts"


@pytest.mark.parametrize("name", ["tokenizer", "brainrvq"])
def test_networks_of_brainrvq_are_stored_again_alone(name, tmp_path):
    network = {
        "tokenizer": lambda: BrainRVQTokenizer(n_codes=8, depth=1, decoder_depth=1, init="random"),
        "brainrvq": lambda: BrainRVQ(depth=1, n_codes=8),
    }[name]()
    run = tmp_path / "run"
    run.mkdir()
    save_network(network, run / f"{name}.safetensors", training={"steps": 7})
    out = assemble([run], tmp_path / "out.safetensors", precision="float16", licence="CC0")
    training = read_header(out).training
    assert (training["steps"], training["licence"]) == (7, "CC0")
    again = {"tokenizer": load_tokenizer, "brainrvq": load_brainrvq}[name](out)
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], tensor, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="goes with no other"):
        assemble([run, run], tmp_path / "two.safetensors")


def test_a_corpus_is_no_run(tmp_path):
    (tmp_path / "corpus.json").touch()
    with pytest.raises(CheckpointError, match="is a corpus; pretrain on it"):
        assemble([tmp_path], tmp_path / "out.safetensors")
