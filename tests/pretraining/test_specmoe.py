"""From a corpus to an expert: where weights come from, settings that must not change, and a run killed at random."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from kill_and_resume import kill_and_resume, make_corpus
from two_processes import assert_same_losses, log, on_two_processes

from mne_specmoe._validation import SpecMoEWarning
from mne_specmoe.assembly import assemble
from mne_specmoe.checkpoint import read_header
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.synthetic import make_eeg, make_epochs
from mne_specmoe.estimators.specmoe import SpecMoEFeaturizer
from mne_specmoe.loaders.specmoe import load_expert
from mne_specmoe.models.specmoe.masking import MaskConfig
from mne_specmoe.models.specmoe.targets import N_STATISTICS
from mne_specmoe.pretraining.specmoe import pretrain
from mne_specmoe.training import Housekeeping, TrainingConfig

QUIET = Housekeeping(device="cpu", progress=False, log_every=1)
SHORT = {"max_steps": 2, "batch_size": 2, "accumulation": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Four subjects, two montages, 24 segments of 3 s."""
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))


def test_three_runs_become_weights_that_the_featurizer_takes(tmp_path, corpus):
    runs = []
    for part in (1, 2, 3):
        result = pretrain(
            corpus,
            tmp_path / str(part),
            subset=(part, 3),
            validation=["S3"],
            training={**SHORT, "seed": part},
            housekeeping=QUIET,
        )
        assert result.outcome.finished
        runs.append(tmp_path / str(part))
    weights = assemble(runs, tmp_path / "specmoe.safetensors")
    epochs, *_ = make_epochs(4, n_channels=3, duration=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpecMoEWarning)
        assert np.isfinite(SpecMoEFeaturizer(weights, parts=("experts",)).fit_transform(epochs)).all()


def test_the_weights_say_what_they_were_trained_on(tmp_path, corpus):
    result = pretrain(corpus, tmp_path / "run", subset="2/3", validation=["S3"], training=SHORT, housekeeping=QUIET)
    training = read_header(result.path).training
    assert training["data"]["corpus"] == corpus.hash
    assert training["data"]["subset"] == "2/3"
    assert training["data"]["validation_subjects"] == ["S3"]
    assert training["steps"] == 2
    assert training["losses"]["validation_loss"] > 0


@pytest.mark.parametrize(
    ("subset", "message"),
    [("4/3", "subsets 1 to 3"), ("0/3", "subsets 1 to 3"), ("two", "'I/K'"), ("1/0", "subsets"), ("1/2/3", "'I/K'")],
)
def test_a_subset_that_does_not_exist_is_refused(corpus, tmp_path, subset, message):
    with pytest.raises(ValueError, match=message):
        pretrain(corpus, tmp_path / "run", subset=subset, training=SHORT, housekeeping=QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{}, {"max_channels": 2, "mask": {"group_size": 2}}])
def test_a_local_mask_that_would_be_shared_is_refused(corpus, tmp_path, options):
    mask = MaskConfig(scope="local", **options.get("mask", {}))  # groups of 4, segments of at most 3 channels
    with pytest.raises(ValueError, match=r"group_size=\d gives segments of \d channels one mask for all"):
        pretrain(corpus, tmp_path / "run", mask=mask, max_channels=options.get("max_channels"), training=SHORT)
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_settings_names_the_differences(tmp_path, corpus):
    pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)
    with pytest.raises(ValueError, match=r"training\.lr was 0\.001, now 0\.01") as caught:
        pretrain(
            corpus,
            tmp_path / "run",
            mask=MaskConfig(ratio=0.3),
            training={**SHORT, "lr": 0.01},
            housekeeping=QUIET,
            resume=True,
        )
    assert "mask.ratio was 0.5, now 0.3" in str(caught.value)


def test_resuming_on_another_corpus_is_refused(tmp_path, corpus):
    pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)
    recording = ArrayRecording("more", make_eeg(1, 2, 4000, random_state=9)[0], 200.0, ["C3", "C4"])
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0, "notch": None}
    copy = shutil.copytree(corpus.path, tmp_path / "corpus")
    other = build_corpus([recording], copy, **options, progress=False)
    with pytest.raises(ValueError, match=r"data\.corpus was"):
        pretrain(other, tmp_path / "run", training=SHORT, housekeeping=QUIET, resume=True)


def test_a_run_is_not_overwritten(tmp_path, corpus):
    pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)
    with pytest.raises(FileExistsError, match="--resume"):
        pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)


def test_resuming_where_there_is_no_run_begins_one(tmp_path, corpus):
    assert pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET, resume=True).outcome.step == 2


def test_passes_over_the_data_are_turned_into_steps(tmp_path, corpus):
    training = {"batch_size": 4, "accumulation": 2}
    result = pretrain(corpus, tmp_path, n_epochs=1, validation=0, training=training, housekeeping=QUIET)
    assert result.outcome.step == round(len(corpus) / 8)
    with pytest.raises(ValueError, match="not both"):
        pretrain(corpus, tmp_path / "run", n_epochs=1, training=TrainingConfig(max_steps=3), housekeeping=QUIET)


def test_the_published_layout_needs_nineteen_channels(tmp_path, corpus):
    with pytest.raises(ValueError, match="19 channels.*channelwise"):
        pretrain(corpus, tmp_path / "run", layout="published", training=SHORT, housekeeping=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_corpus_at_another_rate_is_refused(tmp_path):
    recording = ArrayRecording("fast", make_eeg(1, 2, 10_000, sfreq=500.0, random_state=0)[0], 500.0, ["C3", "C4"])
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0, "sfreq": 250.0}
    corpus = build_corpus([recording], tmp_path / "corpus", **options, progress=False)
    with pytest.raises(ValueError, match="250 Hz.*200 Hz"):
        pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)


def test_a_montage_of_one_channel_trains(tmp_path):
    recordings = [
        ArrayRecording(name, make_eeg(1, 1, 4000, random_state=seed)[0], 200.0, ["EEG"], subject=name)
        for seed, name in enumerate(("mouse1", "mouse2"))
    ]
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0}
    corpus = build_corpus(recordings, tmp_path / "corpus", **options, progress=False)
    result = pretrain(corpus, tmp_path / "run", training=SHORT, housekeeping=QUIET)
    assert result.outcome.finished
    assert np.isfinite(list(result.outcome.terms.values())).all()


def test_relative_amplitudes_and_few_channels_are_settings_of_a_run(tmp_path, corpus):
    options = {
        "amplitude": "relative",
        "decoder": "gains",
        "max_channels": 2,
        "max_share": 0.6,
        "augment": True,
        "spectral_weight": 0.002,
    }
    result = pretrain(corpus, tmp_path / "run", **options, training=SHORT, housekeeping=QUIET)
    assert load_expert(result.path).config.amplitude == "relative"
    assert {name: {**result.settings, **result.settings["model"]}[name] for name in options} == options
    with pytest.raises(
        ValueError,
        match=r"max_channels was 2, now None; max_share was 0.6, now None; model.decoder was 'gains', now 'envelope'",
    ):
        pretrain(
            corpus,
            tmp_path / "run",
            amplitude="relative",
            augment=True,
            spectral_weight=0.002,
            training=SHORT,
            housekeeping=QUIET,
            resume=True,
        )


def test_no_montage_has_more_than_its_share_of_the_steps(tmp_path, corpus, monkeypatch):
    seen, read = [], CorpusBatches.segments
    monkeypatch.setattr(
        CorpusBatches, "segments", lambda self, number: seen.append((self, number)) or read(self, number)
    )
    options = {"max_share": 0.5, "validation": ["S1"], "training": {**SHORT, "max_steps": 12, "batch_size": 1}}
    pretrain(corpus, tmp_path / "run", **options, housekeeping=QUIET)
    drawn = [corpus.montage_of[read(batches, number)[0]] for batches, number in seen if batches.shuffle]
    steps = drawn[N_STATISTICS:]  # after what the targets' statistics are taken from
    assert np.bincount(steps).tolist() == [6, 6]  # there are 12 segments of the one, 6 of the other


def test_bfloat16_trains(tmp_path, corpus):
    result = pretrain(corpus, tmp_path / "run", training={**SHORT, "precision": "bf16"}, housekeeping=QUIET)
    expert = load_expert(result.path)
    assert {tensor.dtype for tensor in expert.parameters()} == {torch.float32}
    assert np.isfinite(log(tmp_path / "run")[0]["loss"])


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    """Few kills; by hand, ``python tests/kill_and_resume.py --kills 20``."""
    assert kill_and_resume(tmp_path, "specmoe", n_kills=2, n_steps=16, longest=0.8)


def test_an_expert_trains_on_two_processes_as_on_one(tmp_path, corpus):
    """Shares of one and of two segments; statistics of both views are those of the joined batch.

    Small steps, since rounding decides the direction of Adam's first ones where a gradient is 0.
    """
    training = {"max_steps": 2, "batch_size": 3, "lr": 1e-5, "accumulation": 2}
    settings = {"validation": ["S3"], "training": training, "masked_weight": 1.0}
    pretrain(corpus, tmp_path / "one", **settings, housekeeping=QUIET)
    two, hashes = on_two_processes("specmoe", corpus.path, tmp_path, settings)
    assert_same_losses(log(tmp_path / "one"), two, rtol=1e-5)
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == len(hashes[0]) == 4


def test_every_setting_of_network_and_loss_is_one_of_the_run(tmp_path, corpus):
    options = {
        "decoder": "gains", "bypass": False, "told_mask": True, "n_mixtures": 1, "dropout": 0.1, "clean_share": 0.5,
        "envelope_weight": 0.2, "masked_weight": 2.0, "spectrum_weight": 2.0, "pair_weight": 0.5,
    }  # fmt: skip
    result = pretrain(corpus, tmp_path / "run", **options, training=SHORT, housekeeping=QUIET)
    assert {name: {**result.settings, **result.settings["model"]}[name] for name in options} == options
    config = load_expert(result.path).config
    assert (config.bypass, config.told_mask, config.n_mixtures, config.masked_norms) == (False, True, 1, True)
    assert {"spectrum", "pairs"} <= set(log(tmp_path / "run")[0])


def test_the_papers_loss_has_one_view_and_one_set_of_normalisations(tmp_path, corpus):
    weights = {"spectrum_weight": 0, "pair_weight": 0}
    result = pretrain(corpus, tmp_path / "run", **weights, training=SHORT, housekeeping=QUIET)
    assert not load_expert(result.path).config.masked_norms
    assert not {"spectrum", "pairs"} & set(log(tmp_path / "run")[0])


def test_what_is_read_from_clean_segments_needs_the_channelwise_layout(tmp_path):
    recording = ArrayRecording("S1", make_eeg(1, 19, 4000, random_state=0)[0], 200.0, [f"E{i}" for i in range(19)])
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0}
    corpus = build_corpus([recording], tmp_path / "corpus", **options, progress=False)
    for weights, needed in (({"spectrum_weight": 1.0}, "reconstruction alone"), ({"n_mixtures": 1}, "n_mixtures=0")):
        with pytest.raises(ValueError, match=needed):
            pretrain(corpus, tmp_path / "run", layout="published", validation=0, **weights, training=SHORT)
        assert not (tmp_path / "run").exists()
