"""Tasks are thinned evenly and without a look at labels; identity tasks ask whose windows they are."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_tasks import SUBJECTS, noise_data, write_eegmat, write_muse

from mne_specmoe.benchmark.loaded import LoadedTask, dataset_identity, load, subject_identity, thinned
from mne_specmoe.benchmark.splits import by_subject

ABOUT = {"title": "A", "dataset": "a", "citation": "", "licence": "", "confounds": [], "known_leaks": [],
         "is_frozen": False, "metric": "balanced_accuracy", "per_subject": False}  # fmt: skip


def loaded(name="a", **options):
    data = noise_data(**options)
    return LoadedTask(name, "task", {**ABOUT, "dataset": name}, data, by_subject([SUBJECTS], 3)(data), SUBJECTS)


def test_thinning_keeps_every_recording_and_whole_steps():
    data = noise_data(n_per_subject=10)
    places = thinned(data, 4)
    kept = data.take(places)
    assert set(kept.recordings.tolist()) == set(data.recordings.tolist())
    for recording in set(data.recordings.tolist()):
        assert (np.diff(kept.starts[kept.recordings == recording]) == 4 * 200).all()
    assert len(thinned(data, 100)) == 6  # one of each
    np.testing.assert_array_equal(thinned(data.with_labels(1 - data.y), 4), places)


def test_a_thinned_task_says_so_and_has_another_hash(tmp_path):
    task = write_eegmat(tmp_path, [f"Subject{i:02d}" for i in range(6)])
    whole, half = load(task, tmp_path, None), load(task, tmp_path, 12)
    assert (len(whole.data), len(half.data)) == (24, 12)
    assert "one in 2 windows of each recording was used; there are 24" in half.about["confounds"]
    assert whole.split_hash != half.split_hash
    assert half.plan()["n_windows"] == 12
    assert half.plan()["folds"] == ["subjects 1 of 3", "subjects 2 of 3", "subjects 3 of 3"]


def test_where_each_subject_has_a_model_the_limit_is_that_of_a_subject_in_seconds(tmp_path):
    task = write_muse(tmp_path, {"A": 6, "B": 3})
    whole = load(task, tmp_path, None)
    assert whole.about["is_event_related"]
    assert whole.facts.is_event_related
    n = {who: int((whole.data.subjects == who).sum()) for who in "AB"}
    assert n["A"] == 2 * n["B"] == 108
    thinner = load(task, tmp_path, 13)  # as long as 57 windows of 0.9 s
    assert {who: int((thinner.data.subjects == who).sum()) for who in "AB"} == {"A": 54, "B": 54}
    assert thinner.about["confounds"][-1].endswith("were used: A one in 2")
    assert len(load(task, tmp_path, 26).data) == len(whole.data)


def test_subjects_are_told_apart_by_their_later_windows():
    task = subject_identity(loaded(n_per_subject=8))
    assert task.kind == "identity"
    assert task.data.classes == SUBJECTS
    (fold,) = task.split.folds
    for who in SUBJECTS:
        own = [task.data.starts[part][task.data.subjects[part] == who] for _, part in fold.parts()]
        assert own[0].max() < own[1].min() <= own[1].max() < own[2].min()
        assert all(len(part) for part in own)
    assert (task.data.y == [SUBJECTS.index(who) for who in task.data.subjects]).all()


def test_one_subject_cannot_be_told_from_others():
    assert subject_identity(loaded(subjects=("P0",))) is None
    assert subject_identity(loaded(n_per_subject=3)) is None


def test_data_sets_are_told_apart_by_one_channel():
    first, second = loaded("a", n_per_subject=10), loaded("b", n_per_subject=4)
    longer = second.data.with_signals(np.tile(second.data.X, (1, 1, 2)))
    task = dataset_identity([first, replace(second, data=longer), loaded("a")])
    assert task.data.classes == ("a", "b")
    assert task.data.X.shape[1:] == (1, 200)
    assert np.bincount(task.data.y).tolist() == [60, 24]
    (fold,) = task.split.folds
    assert all(set(task.data.y[part]) == {0, 1} for _, part in fold.parts())
    # Each window is that of one channel of the first data set, in turn.
    np.testing.assert_array_equal(task.data.X[1, 0], first.data.X[1, 1])
    assert dataset_identity([first]) is None
    responses = replace(loaded("c"), about={**ABOUT, "dataset": "c", "is_event_related": True})
    assert dataset_identity([first, responses]) is None


def test_a_leak_after_thinning_is_still_refused(tmp_path):
    task = write_eegmat(tmp_path, [f"Subject{i:02d}" for i in range(6)])

    def leaking(data):
        split = by_subject([task.subjects], 3)(data)
        fold = split.folds[0]
        return replace(
            split, folds=(replace(fold, test=fold.test[1:], validation=np.append(fold.validation, fold.test[0])),)
        )

    with pytest.raises(ValueError, match="in two parts"):
        load(replace(task, rule=leaking), tmp_path, 12)
