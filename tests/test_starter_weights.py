"""The starter weights: what their files say, and what they make of people they never saw."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import mne_specmoe
from mne_specmoe.assembly import describe
from mne_specmoe.benchmark.codes import level_errors
from mne_specmoe.benchmark.rebuilding import (
    expert_rebuilds,
    fit_gains,
    interpolate,
    leave_masked,
    mean_of,
    measure,
    rescale_bands,
)
from mne_specmoe.benchmark.recordings import HELD_OUT, PREPROCESSING, chosen_recordings
from mne_specmoe.data.build import build_corpus
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_tokenizer
from mne_specmoe.loaders.specmoe import load_experts
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.registry import BUNDLED
from mne_specmoe.models.specmoe.masking import GaussianStftMask

WEIGHTS = Path(mne_specmoe.__file__).parent / "weights"
SEGMENTS = {"segment_seconds": 10.0, "edge_seconds": 0.0, "min_seconds": 0.0, "reject_uv": 300.0}


@pytest.fixture(scope="module")
def experts():
    return load_experts("starter")


def test_files_are_small_enough_for_the_wheel():
    sizes = {path.name: path.stat().st_size for path in WEIGHTS.glob("*.safetensors")}
    assert set(sizes) == set(BUNDLED.values())
    assert sizes.pop("starter.safetensors") <= 20e6
    assert sum(sizes.values()) <= 25e6


def test_the_file_says_what_the_experts_were_trained_on():
    description = describe("starter")
    assert "CC BY 4.0" in description["licence"]
    runs = [expert["data"] for expert in description["training"]["experts"]]
    assert [run["subset"] for run in runs] == ["1/3", "2/3", "3/3"]
    assert len({run["corpus"] for run in runs}) == 1
    prepared = runs[0]["preprocessing"]
    assert prepared["l_freq"] == PREPROCESSING["l_freq"]
    assert prepared["h_freq"] == PREPROCESSING["h_freq"]
    assert prepared["notch"] == [50.0, 60.0]


def test_experts_are_finite_and_differ(experts):
    weights = [torch.nn.utils.parameters_to_vector(expert.parameters()).detach() for expert in experts]
    assert len(weights) == 3
    for i, first in enumerate(weights):
        assert first.isfinite().all()
        assert all(not torch.allclose(first, other) for other in weights[:i])


@pytest.mark.parametrize("name", ["brainrvq-starter", "brainrvq-starter-tokenizer"])
def test_brainrvq_was_trained_on_what_its_card_says(name):
    description = describe(name)
    assert "CC BY 4.0" in description["licence"]
    data = description["training"]["data"]
    assert data["corpus"] == describe("brainrvq-starter")["training"]["data"]["corpus"]
    assert data["subset"] is None
    assert data["preprocessing"]["notch"] == [PREPROCESSING["notch"]]
    card = (WEIGHTS / "README-brainrvq.md").read_text(encoding="utf-8")
    n_segments, n_people = data["n_segments"] + data["n_validation_segments"], data["n_subjects"] + 3
    assert f"{n_segments:,} segments of 10 s" in card
    assert re.search(rf"\b{n_people} people", card)
    assert description["config"]["norm_scope"] == "token"  # nothing as published but the paper's plan


def test_the_encoder_was_trained_on_the_codes_of_the_tokenizer():
    encoder, tokenizer = load_brainrvq("brainrvq-starter"), load_tokenizer("brainrvq-starter-tokenizer")
    for name in ("n_levels", "n_codes"):
        assert getattr(encoder.config, name) == getattr(tokenizer.config, name)
    stored = describe("brainrvq-starter-tokenizer")["training"]
    assert describe("brainrvq-starter")["training"]["tokenizer"]["sha256"] == stored["sha256"]
    trained = encoder.encoder.trunk.trained_rows
    assert torch.equal(trained, tokenizer.encoder.trunk.trained_rows)
    assert trained[channel_rows(("Fp1", "T3", "Oz", "AF3")).rows].all()
    assert not trained[channel_rows(("CPz",)).rows[1]]


def test_the_model_card_names_who_was_held_out():
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "@@" not in card
    assert "Subject24–31" in card
    assert "72, 74, 76–81" in card
    assert "34, 36–42" in card
    assert HELD_OUT["guinea_bissau"][:2] == ("sub-072", "sub-074")


def make_corpus(data_root, path, *, held_out, at_most):
    """The first people of every data set."""
    raws = [
        raw
        for dataset in HELD_OUT
        for recording in chosen_recordings(data_root, dataset, held_out=held_out)[:at_most]
        for raw in recording.parts()
    ]
    options = {name: value for name, value in PREPROCESSING.items() if name != "channels"}
    return build_corpus(raws, path, channels="all", **options, **SEGMENTS, progress=False)


@pytest.mark.real_data
def test_held_out_people_are_rebuilt_better_than_without_a_network(data_root, tmp_path, experts):
    training = make_corpus(data_root, tmp_path / "training", held_out=False, at_most=3)
    held_out = make_corpus(data_root, tmp_path / "held_out", held_out=True, at_most=2)
    mask = GaussianStftMask()
    methods = {
        "masked signal": leave_masked,
        "rescaled bands": rescale_bands(fit_gains(training, mask)),
        "interpolation": interpolate,
        "starter": mean_of([expert_rebuilds(expert) for expert in experts]),
    }
    errors = measure(held_out, methods, mask)
    means = {method: bands["all"].mean() for method, bands in errors.by_method.items()}
    assert all(means["starter"] < means[baseline] for baseline in methods if baseline != "starter")


@pytest.mark.real_data
def test_every_level_of_codes_tells_more_of_held_out_people(data_root, tmp_path):
    held_out = make_corpus(data_root, tmp_path / "held_out", held_out=True, at_most=2)
    found = level_errors(held_out, load_tokenizer("brainrvq-starter-tokenizer"))
    for target, errors in found.errors.items():
        assert (np.diff(errors.mean(1)) < 0).all(), target
        assert (errors[-1] < found.strangers[target]).all(), target
