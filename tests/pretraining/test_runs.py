"""What all runs share: held-out subjects, subsets, and recipes that settings are worked out from."""

import numpy as np
import pytest
from kill_and_resume import make_corpus

from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.pretraining import brainrvq, specmoe
from mne_specmoe.pretraining.runs import choose_segments, held_out_subjects, parse_subset, training_config
from mne_specmoe.training import TrainingConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Four subjects, two montages, 24 segments of 3 s."""
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))


def test_held_out_subjects_are_in_no_subset(corpus):
    for part in (1, 2, 3):
        segments = choose_segments(corpus, (part, 3), "index", 0.25)
        assert segments.validation_subjects == choose_segments(corpus, None, "index", 0.25).validation_subjects
        assert not set(corpus.subject_of[segments.training]) & set(segments.validation_subjects)
        assert set(corpus.subject_of[segments.validation]) == set(segments.validation_subjects)


def test_subsets_and_held_out_segments_make_up_the_corpus(corpus):
    parts = [choose_segments(corpus, (part, 3), "index", 0.25) for part in (1, 2, 3)]
    joined = np.concatenate([*(part.training for part in parts), parts[0].validation])
    assert sorted(joined) == list(range(len(corpus)))


def test_a_share_of_the_subjects_is_at_least_one(corpus):
    assert len(held_out_subjects(corpus, 0.01)) == 1
    assert len(held_out_subjects(corpus, 0.5)) == 2
    assert held_out_subjects(corpus, 0) == []
    assert held_out_subjects(corpus, 0.5) == held_out_subjects(corpus, 0.5)


def test_unknown_subjects_to_hold_out_are_named(corpus):
    with pytest.raises(ValueError, match="'S9'.*It has 'S0', 'S1'"):
        held_out_subjects(corpus, ["S1", "S9"])


def test_one_subject_alone_cannot_be_held_out(tmp_path):
    recording = ArrayRecording("only", make_eeg(1, 2, 4000, random_state=0)[0], 200.0, ["C3", "C4"])
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0}
    corpus = build_corpus([recording], tmp_path / "corpus", **options, progress=False)
    with pytest.raises(ValueError, match="one subject.*validation=0"):
        held_out_subjects(corpus, 0.1)


def test_subsets_are_counted_from_one():
    assert parse_subset("1/3") == (1, 3)
    assert parse_subset((3, 3)) == (3, 3)


def test_the_recipe_of_specmoe_is_the_default_of_the_config():
    assert training_config(None, None, 2560, specmoe.RECIPE) == TrainingConfig(max_steps=500)


def test_the_recipe_of_the_tokenizer_is_the_published_one():
    config = training_config(None, None, 1280, brainrvq.TOKENIZER_RECIPE)
    assert config == TrainingConfig(
        max_steps=200,
        batch_size=128,
        accumulation=1,
        lr=5e-5,
        final_lr=1e-5,
        warmup_steps=50,
        weight_decay=1e-4,
        max_grad_norm=None,
    )


def test_the_recipe_of_the_encoder_is_the_published_one():
    config = training_config(None, None, 640, brainrvq.RECIPE)
    assert config == TrainingConfig(
        max_steps=200,
        batch_size=64,
        accumulation=1,
        lr=5e-4,
        final_lr=1e-5,
        warmup_steps=50,
        weight_decay=0.05,
        max_grad_norm=None,
    )


def test_the_learning_rate_of_the_tokenizer_grows_with_the_segments_per_step():
    def lr(**asked):
        return training_config({"max_steps": 8, **asked}, None, 100, brainrvq.TOKENIZER_RECIPE).lr

    assert lr(batch_size=256) == pytest.approx(1e-4)
    assert lr(batch_size=64, accumulation=2) == pytest.approx(5e-5)
    assert lr(batch_size=256, lr=3e-4) == 3e-4


def test_the_learning_rate_does_not_rise_at_the_end_where_batches_are_small():
    recipe = brainrvq.TOKENIZER_RECIPE
    config = training_config({"max_steps": 8, "batch_size": 8}, None, 100, recipe)
    assert config.final_lr == config.lr == pytest.approx(5e-5 / 16)
    assert training_config({"max_steps": 8, "batch_size": 8, "final_lr": 1e-5}, None, 100, recipe).final_lr == 1e-5


def test_what_is_asked_for_goes_before_the_recipe():
    asked = {"max_steps": 10, "warmup_steps": 0, "lr": 1e-3, "max_grad_norm": 1.0, "weight_decay": 0.0, "batch_size": 4}
    config = training_config(asked, None, 100, brainrvq.RECIPE)
    assert {name: getattr(config, name) for name in asked} == asked


def test_none_stands_for_what_is_worked_out():
    asked = {"max_steps": None, "warmup_steps": None, "lr": None}
    for recipe in (specmoe.RECIPE, brainrvq.RECIPE, brainrvq.TOKENIZER_RECIPE):
        assert training_config(asked, 4, 1000, recipe) == training_config(None, 4, 1000, recipe)
