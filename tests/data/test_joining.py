"""Corpora are put together: all segments, each once, under settings that say where they differ."""

import json

import numpy as np
import pytest
from tiny_data import eeg_uv

from mne_specmoe.data import joining
from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.corpus import LOCK_NAME, Corpus, partition_corpus
from mne_specmoe.data.joining import join_corpora

OPTIONS = {"l_freq": None, "h_freq": None, "notch": None, "edge_seconds": 0.0, "min_seconds": 0.0, "reject_uv": None}


def made(path, names, *, n_channels: int = 2, segment_seconds: float = 3.0, seed: int = 0, **options) -> Corpus:
    """A corpus of recordings of two segments each."""
    recordings = [
        ArrayRecording(name, eeg_uv(n_channels, 2, seed + ord(name[-1])), 200.0, [f"E{i}" for i in range(n_channels)],
                       unit="uV")
        for name in names
    ]  # fmt: skip
    settings = {**OPTIONS, **options, "segment_seconds": segment_seconds, "channels": "all", "progress": False}
    return build_corpus(recordings, path, **settings)


def microvolts(corpus: Corpus, segment: int) -> np.ndarray:
    values, scale_uv = corpus.read([segment])
    return values[0] * scale_uv[0][:, None]


def test_all_segments_come_in_their_order(tmp_path):
    one, other = made(tmp_path / "one", "AB"), made(tmp_path / "other", "C", n_channels=3)
    both = join_corpora([one, tmp_path / "other"], tmp_path / "both")
    assert both.subject_of.tolist() == ["A", "A", "B", "B", "C", "C"]
    assert both.montages == (*one.montages, *other.montages)
    for segment in range(4):
        assert np.array_equal(microvolts(both, segment), microvolts(one, segment))
    for segment in range(2):
        assert np.array_equal(microvolts(both, 4 + segment), microvolts(other, segment))
    assert both.summary().finished


def test_the_parts_may_be_deleted_afterwards(tmp_path):
    one = made(tmp_path / "one", "A")
    expected = microvolts(one, 0)
    both = join_corpora([one], tmp_path / "both")
    for file in (tmp_path / "one/shards").iterdir():
        file.unlink()
    assert np.array_equal(microvolts(both, 0), expected)


def test_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("another file system")

    monkeypatch.setattr(joining.os, "link", refuse)
    one = made(tmp_path / "one", "A")
    both = join_corpora([one], tmp_path / "both")
    assert np.array_equal(microvolts(both, 1), microvolts(one, 1))


def test_segments_that_several_have_come_in_once(tmp_path):
    one, other = made(tmp_path / "one", "AB"), made(tmp_path / "other", "BC")
    both = join_corpora([one, other], tmp_path / "both")
    assert both.subject_of.tolist() == ["A", "A", "B", "B", "C", "C"]


def test_equal_segments_under_another_name_come_in_once(tmp_path):
    one = made(tmp_path / "one", ["1A", "1B"])
    other = made(tmp_path / "other", ["2B", "2C"])
    both = join_corpora([one, other], tmp_path / "both")
    assert both.subject_of.tolist() == ["1A", "1A", "1B", "1B", "2C", "2C"]
    assert [(problem.source, problem.status) for problem in both.problems] == [("2B", "duplicate")]


def test_settings_say_in_what_the_parts_differ(tmp_path):
    one, other = made(tmp_path / "one", "A"), made(tmp_path / "other", "B", reject_uv=500.0)
    settings = join_corpora([one, other], tmp_path / "both").settings
    assert settings["sfreq"] == 200.0
    assert settings["joined"] == [{"reject_uv": None}, {"reject_uv": 500.0}]


def test_a_joined_corpus_is_partitioned_and_not_built_on(tmp_path):
    parts = [made(tmp_path / name, name) for name in "AB"]
    both = join_corpora(parts, tmp_path / "both")
    assert sum(partition_corpus(both, 2, by="subject").sizes) == 4
    with pytest.raises(ValueError, match="other settings: joined="):
        made(tmp_path / "both", "C")


def test_recordings_of_one_name_and_other_content_are_an_error(tmp_path):
    one, other = made(tmp_path / "one", "A"), made(tmp_path / "other", "A", seed=7)
    with pytest.raises(ValueError, match="recording 'A', of different content"):
        join_corpora([one, other], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_segments_of_other_lengths_are_an_error(tmp_path):
    one, other = made(tmp_path / "one", "A"), made(tmp_path / "other", "B", segment_seconds=2.0)
    with pytest.raises(ValueError, match="differ in n_times: 600, 400.*segment_seconds"):
        join_corpora([one, other], tmp_path / "both")


def test_an_unfinished_corpus_is_an_error(tmp_path):
    one = made(tmp_path / "one", "A")
    (one.path / LOCK_NAME).touch()
    with pytest.raises(ValueError, match="not finished"):
        join_corpora([one], tmp_path / "both")


def test_a_folder_that_holds_anything_is_an_error(tmp_path):
    one = made(tmp_path / "one", "A")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="not empty"):
        join_corpora([one], tmp_path)


def test_no_corpora_and_no_corpus_are_errors(tmp_path):
    with pytest.raises(ValueError, match="at least"):
        join_corpora([], tmp_path / "both")
    with pytest.raises(ValueError, match="is no corpus"):
        join_corpora([tmp_path / "nothing"], tmp_path / "both")


def test_a_join_that_breaks_off_leaves_no_corpus(tmp_path, monkeypatch):
    one = made(tmp_path / "one", "A")
    monkeypatch.setattr(joining, "_link_labels", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        join_corpora([one], tmp_path / "both")
    with pytest.raises(ValueError, match="no corpus"):
        Corpus(tmp_path / "both")


def test_the_new_index_is_readable_line_by_line(tmp_path):
    both = join_corpora([made(tmp_path / "one", "AB")], tmp_path / "both")
    lines = (both.path / "recordings.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines] == ["A", "B"]
