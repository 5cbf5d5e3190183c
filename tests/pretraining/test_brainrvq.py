"""From a corpus to a tokenizer and an encoder: bad input before anything is written, resuming, two processes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kill_and_resume import kill_and_resume, make_corpus
from two_processes import assert_same_losses, log, on_two_processes

from mne_specmoe import CheckpointError
from mne_specmoe._files import file_digest
from mne_specmoe.checkpoint import read_header
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_tokenizer, save_tokenizer
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.masking import PatchMaskConfig
from mne_specmoe.models.brainrvq.prediction import BrainRVQConfig
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, BrainRVQTokenizerConfig
from mne_specmoe.pretraining.brainrvq import pretrain_brainrvq, pretrain_tokenizer
from mne_specmoe.pretraining.specmoe import pretrain
from mne_specmoe.training import Housekeeping

QUIET = Housekeeping(device="cpu", progress=False, log_every=1)
SHORT = {"max_steps": 2, "batch_size": 2}
# Codes at random: those of k-means on so few vectors come close to one another, and rounding decides between them.
TINY = {"n_codes": 16, "depth": 1, "decoder_depth": 1, "init": "random"}
LEVELS = [f"{domain}_{level}" for domain in ("time", "frequency") for level in (1, 2, 3)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Four subjects, two montages, 24 segments of 3 s."""
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))


@pytest.fixture(scope="module")
def tokenizer(corpus, tmp_path_factory) -> Path:
    """Weights of a tokenizer after two steps."""
    run = tmp_path_factory.mktemp("tokenizer") / "run"
    return pretrain_tokenizer(corpus, run, network=TINY, validation=["S3"], training=SHORT, housekeeping=QUIET).path


def corpus_of(folder: Path, *, names=("C3", "C4"), sfreq: float = 200.0, seconds: float = 2.0) -> Corpus:
    """One recording of one subject."""
    data = make_eeg(1, len(names), int(sfreq * 2 * seconds) + 10, sfreq=sfreq, random_state=0)[0]
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "notch": None, "reject_uv": None}
    recording = ArrayRecording("only", data, sfreq, list(names))
    return build_corpus([recording], folder, segment_seconds=seconds, sfreq=sfreq, **options, progress=False)


def test_a_tokenizer_and_then_an_encoder_come_from_a_corpus(tmp_path, corpus, tokenizer):
    result = pretrain_brainrvq(
        corpus, tmp_path / "run", tokenizer, network={"depth": 1}, training=SHORT, housekeeping=QUIET
    )
    assert result.outcome.finished
    assert result.path == tmp_path / "run/brainrvq.safetensors"
    network = load_brainrvq(result.path)
    assert network.config == BrainRVQConfig(depth=1, n_codes=16)
    trained = set(network.encoder.trunk.trained_rows.nonzero().flatten().tolist())
    assert (
        set(channel_rows(["C3", "C4"]).rows.tolist()) <= trained <= set(channel_rows(["C3", "C4", "Cz"]).rows.tolist())
    )
    codes = load_tokenizer(tokenizer).encode(torch.randn(1, 2, 600), ["C3", "C4"])
    assert codes.time.shape == (3, 1, 2, 3)


def test_the_weights_say_what_they_were_trained_on(tmp_path, corpus, tokenizer):
    mask = PatchMaskConfig(ratio=0.4)
    result = pretrain_brainrvq(
        corpus, tmp_path / "run", tokenizer, network={"depth": 1}, mask=mask, training=SHORT, housekeeping=QUIET
    )
    training = read_header(result.path).training
    assert training["tokenizer"] == {"sha256": file_digest(tokenizer)}
    assert training["mask"]["ratio"] == 0.4
    assert training["data"]["corpus"] == corpus.hash
    assert training["steps"] == 2
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["tokenizer"] == training["tokenizer"]
    tokenizer_training = read_header(tokenizer).training
    assert tokenizer_training["data"]["validation_subjects"] == ["S3"]
    assert tokenizer_training["aliases"] == "10-20"


def test_without_options_networks_and_masks_are_the_corrected_ones(tmp_path, corpus, tokenizer, monkeypatch):
    seen = {}

    def note(plan, objective, path, settings, **options):
        seen[settings["architecture"]] = settings

    monkeypatch.setattr("mne_specmoe.pretraining.brainrvq.carry_out", note)
    pretrain_tokenizer(corpus, tmp_path / "tokenizer", housekeeping=QUIET)
    pretrain_brainrvq(corpus, tmp_path / "encoder", tokenizer, housekeeping=QUIET)
    assert BrainRVQTokenizerConfig(**seen["brainrvq-tokenizer"]["model"]) == BrainRVQTokenizerConfig()
    assert BrainRVQConfig(**seen["brainrvq"]["model"]) == BrainRVQConfig(n_codes=16)
    assert PatchMaskConfig(**seen["brainrvq"]["mask"]) == PatchMaskConfig(published=False)


def test_use_of_the_codes_is_logged_in_training(tokenizer):
    line = log(tokenizer.parent)[0]
    for level in LEVELS:
        assert 1 <= line[f"perplexity_{level}"] <= 16
        assert line[f"dead_{level}"] == 0  # not in so few steps
    assert not [name for name in log(tokenizer.parent)[-1] if "perplexity" in name or "dead" in name]


def test_losses_with_true_and_with_predicted_codes_are_logged_apart(tmp_path, corpus, tokenizer):
    options = {"network": {"depth": 1}, "validation": ["S3"], "training": SHORT, "housekeeping": QUIET}
    pretrain_brainrvq(corpus, tmp_path / "run", tokenizer, **options)
    training, _, validation = log(tmp_path / "run")
    assert training["loss"] == training["teacher_forced"]
    assert not [name for name in training if "free_running" in name]
    assert validation["validation_loss"] == validation["validation_free_running"]
    assert validation["validation_teacher_forced"] != validation["validation_free_running"]
    for way in ("teacher_forced", "free_running"):
        assert {f"validation_{way}_{name}_{level}" for name in ("cross_entropy", "accuracy") for level in LEVELS} < {
            *validation
        }


def test_few_channels_are_a_setting_of_a_run(tmp_path, corpus):
    result = pretrain_tokenizer(
        corpus, tmp_path, network=TINY, max_channels=1, validation=0, training=SHORT, housekeeping=QUIET
    )
    assert result.settings["max_channels"] == 1
    with pytest.raises(ValueError, match="max_channels was 1, now None"):
        pretrain_tokenizer(
            corpus, tmp_path, network=TINY, validation=0, training=SHORT, housekeeping=QUIET, resume=True
        )


def test_bfloat16_trains_and_codebooks_stay_float32(tmp_path, corpus, tokenizer):
    training = {**SHORT, "precision": "bf16"}
    first = pretrain_tokenizer(corpus, tmp_path / "one", network=TINY, training=training, housekeeping=QUIET)
    options = {"network": {"depth": 1}, "training": training, "housekeeping": QUIET}
    second = pretrain_brainrvq(corpus, tmp_path / "two", first.path, **options)
    assert load_tokenizer(first.path).quantize_time.levels[0].codebook.codes.dtype == torch.float32
    for result in (first, second):
        assert np.isfinite(list(result.outcome.terms.values())).all()


def test_a_step_without_a_finite_loss_leaves_codebooks_and_counts_as_they_were(tmp_path, corpus, monkeypatch):
    """The first step, which the codes come from, and the third; nothing of them is left."""
    read = CorpusBatches.__getitem__

    def poisoned(self, number):
        batch, weight = read(self, number)
        return batch._replace(x=batch.x * torch.nan) if number in (0, 2) else batch, weight

    monkeypatch.setattr(CorpusBatches, "__getitem__", poisoned)
    housekeeping = replace(QUIET, checkpoint_every=1, keep=10)
    network = {**TINY, "init": "kmeans", "revive_after": 1}
    options = {"network": network, "training": {**SHORT, "max_steps": 4}, "validation": 0}
    result = pretrain_tokenizer(corpus, tmp_path, **options, housekeeping=housekeeping)
    assert result.outcome.n_skipped == 2
    buffers = {name for name, _ in BrainRVQTokenizer(**network).named_buffers(prefix="network")}
    states = [torch.load(tmp_path / f"checkpoints/step-{step:09d}.pt")["objective"] for step in (1, 2, 3, 4)]
    book = "network.quantize_time.levels.0.codebook."
    assert [bool(state[f"{book}ready"]) for state in states] == [False, True, True, True]
    assert all(torch.equal(states[1][name], states[2][name]) for name in buffers)
    uses = [int(state[f"{book}n_uses"].sum()) for state in states]
    assert uses[0] == 0 < uses[1] == uses[2] < uses[3]
    assert all(tensor.isfinite().all() for tensor in states[3].values())


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sfreq": 250.0}, "250 Hz.*BrainRVQ.*200 Hz"),
        ({"seconds": 31.0}, "segments of 31 s, but BrainRVQ takes 1 to 30 s"),
        ({"seconds": 0.5}, r"segments of 0\.5 s, but BrainRVQ takes 1 to 30 s"),
        ({"names": ("C3", "X1", "Y2")}, "2 of the 3 channels: 'X1'.*'Y2'"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, tokenizer, options, message):
    corpus = corpus_of(tmp_path / "corpus", **options)
    common = {"validation": 0, "training": SHORT, "housekeeping": QUIET}
    with pytest.raises(ValueError, match=message):
        pretrain_tokenizer(corpus, tmp_path / "run", network=TINY, **common)
    with pytest.raises(ValueError, match=message):
        pretrain_brainrvq(corpus, tmp_path / "run", tokenizer, **common)
    assert not (tmp_path / "run").exists()


def test_segments_of_one_second_and_one_channel_train(tmp_path, corpus, tokenizer):
    """A single patch: half of it, rounded down, is nothing to hide in the first pass."""
    small = corpus_of(tmp_path / "corpus", names=("C3",), seconds=1.0)
    options = {"validation": 0, "training": SHORT, "housekeeping": QUIET}
    pretrain_tokenizer(small, tmp_path / "one", network=TINY, **options)
    result = pretrain_brainrvq(small, tmp_path / "two", tokenizer, network={"depth": 1}, **options)
    assert result.outcome.n_skipped == 0
    assert np.isfinite(list(result.outcome.terms.values())).all()


def test_a_tokenizer_of_another_size_is_refused(tmp_path, corpus, tokenizer):
    with pytest.raises(ValueError, match="n_codes=32, the tokenizer 16"):
        pretrain_brainrvq(corpus, tmp_path / "run", tokenizer, network={"n_codes": 32}, housekeeping=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_file_without_a_trained_tokenizer_is_refused(tmp_path, corpus):
    empty = save_tokenizer(BrainRVQTokenizer(**{**TINY, "init": "kmeans"}), tmp_path / "empty.safetensors")
    with pytest.raises(ValueError, match="never trained"):
        pretrain_brainrvq(corpus, tmp_path / "run", empty, network={"depth": 1}, housekeeping=QUIET)
    expert = pretrain(corpus, tmp_path / "expert", training=SHORT, housekeeping=QUIET).path
    with pytest.raises(CheckpointError, match="specmoe-expert"):
        pretrain_brainrvq(corpus, tmp_path / "run", expert, housekeeping=QUIET)
    assert not (tmp_path / "run").exists()


def test_names_that_the_tokenizer_was_not_trained_with_are_refused(tmp_path, corpus, tokenizer):
    with pytest.raises(ValueError, match="aliases='10-20'.*aliases='none'"):
        pretrain_brainrvq(corpus, tmp_path / "run", tokenizer, aliases="none", housekeeping=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_with_its_tokenizer_only(tmp_path, corpus, tokenizer):
    options = {"network": {"depth": 1}, "training": SHORT, "housekeeping": QUIET}
    pretrain_brainrvq(corpus, tmp_path / "run", tokenizer, **options)
    other = pretrain_tokenizer(
        corpus, tmp_path / "other", network=TINY, training={**SHORT, "seed": 1}, housekeeping=QUIET
    )
    with pytest.raises(ValueError, match=r"tokenizer\.sha256 was"):
        pretrain_brainrvq(corpus, tmp_path / "run", other.path, **options, resume=True)


# Interruption and several processes


@pytest.mark.parametrize("model", ["brainrvq-tokenizer", "brainrvq"])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, model):
    """Few kills; by hand, ``python tests/kill_and_resume.py --model brainrvq --kills 20``."""
    assert kill_and_resume(tmp_path, model, n_kills=2, n_steps=40, longest=0.3)


def test_a_tokenizer_trains_on_two_processes_as_on_one(tmp_path, corpus):
    """Shares of one and of two segments; sums over processes are rounded otherwise, by some 1e-7 in a step."""
    training = {"max_steps": 6, "batch_size": 3, "lr": 1e-3, "accumulation": 2}
    settings = {"network": TINY, "validation": ["S3"], "training": training}
    pretrain_tokenizer(corpus, tmp_path / "one", **settings, housekeeping=QUIET)
    two, hashes = on_two_processes("brainrvq", corpus.path, tmp_path, settings)
    assert_same_losses(log(tmp_path / "one"), two, rtol=1e-5)
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == len(hashes[0]) == 12


def test_codebooks_of_two_processes_are_the_same_bit_by_bit_where_codes_are_drawn(tmp_path, corpus):
    """K-means at the start, and codes drawn anew, take vectors of the first process."""
    network = {**TINY, "n_codes": 32, "init": "kmeans", "revive_after": 2}
    training = {"max_steps": 6, "batch_size": 4, "lr": 1e-3}
    settings = {"network": network, "validation": ["S3"], "training": training}
    _, hashes = on_two_processes("brainrvq", corpus.path, tmp_path, settings)
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == len(hashes[0]) == 6


def test_an_encoder_trains_on_two_processes_as_on_one(tmp_path, corpus, tokenizer):
    training = {"max_steps": 6, "batch_size": 3, "lr": 1e-3}
    settings = {"network": {"depth": 1, "drop_path": 0.0}, "validation": ["S3"], "training": training}
    pretrain_brainrvq(corpus, tmp_path / "one", tokenizer, **settings, housekeeping=QUIET)
    two, hashes = on_two_processes("brainrvq", corpus.path, tmp_path, settings, tokenizer)
    assert_same_losses(log(tmp_path / "one"), two, rtol=1e-5)
    assert hashes[0] == hashes[1]
