"""Planted leaks of each kind are found and named; clean splits pass; checkpoints own up to what they saw."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_tasks import SUBJECTS, noise_data

from mne_specmoe.assembly import describe
from mne_specmoe.benchmark.leakage import check_split, held_by, overlap
from mne_specmoe.benchmark.recordings import HELD_OUT
from mne_specmoe.benchmark.splits import FoldIndices, Split, by_block, by_session, by_subject, within_subject
from mne_specmoe.benchmark.tasks import TASKS

CORPUS = {"corpus": "fe49a211c1ba86ddac4a21e7189143f9"}


@pytest.fixture
def data():
    return noise_data()


@pytest.fixture
def split(data):
    return by_subject([SUBJECTS], 3)(data)


def with_parts(split, **parts) -> Split:
    """The split with other parts in its first fold."""
    return replace(split, folds=(replace(split.folds[0], **parts), *split.folds[1:]))


def with_window(data, place, window):
    """The data with another signal in one window."""
    X = data.X.copy()
    X[place] = window
    return replace(data, X=X)


def test_clean_splits_pass(data, split):
    check_split(data, split)
    one = noise_data(subjects=("mouse",), n_per_subject=60)
    check_split(one, by_block(5, 7, 2)(one))
    one = replace(one, sessions=np.repeat(["a", "b", "c"], 20), recordings=np.repeat(["a", "b", "c"], 20))
    check_split(one, by_session([("a",), ("b",), ("c",)])(one))


def test_a_subject_in_two_parts_is_named(data, split):
    moved = np.append(split.folds[0].validation, split.folds[0].test[-1])
    with pytest.raises(ValueError, match=r"subjects in two parts: 'P3 \(validation and test\)'"):
        check_split(data, with_parts(split, test=split.folds[0].test[:-1], validation=moved))


def test_only_the_fold_that_leaks_is_blamed(data, split):
    first, second = split.folds[:2]
    leaking = replace(second, test=second.test[:-1], training=np.append(second.training, second.test[-1]))
    with pytest.raises(ValueError, match=second.name):
        check_split(data, replace(split, folds=(first, leaking)))


def test_a_session_in_two_parts_is_named():
    data = noise_data(subjects=("P0",), n_per_subject=12)
    data = replace(data, sessions=np.repeat(["a", "b", "c"], 4), recordings=np.repeat(["a", "b", "c"], 4))
    split = by_session([("a",), ("b",), ("c",)])(data)
    fold = split.folds[0]
    with pytest.raises(ValueError, match=r"sessions in two parts: 'P0 a \(training and test\)'"):
        check_split(data, with_parts(split, test=fold.test[1:], training=np.append(fold.training, fold.test[0])))


def test_a_run_that_is_tested_and_trained_with_is_named():
    data = noise_data(subjects=("P0",), n_per_subject=36)
    data = replace(data, recordings=np.repeat(["P0-a", "P0-b"], 18), starts=200 * np.tile(np.arange(18), 2))
    split = within_subject(3, 1)(data)
    check_split(data, split)  # of one run come training and validation
    fold = split.folds[0]
    moved = with_parts(split, test=fold.test[:-1], training=np.append(fold.training, fold.test[-1]))
    with pytest.raises(ValueError, match=r"runs in two parts: 'P0-a \(training or validation and test\)'"):
        check_split(data, moved)


def test_a_recording_of_two_subjects_is_named(data, split):
    recordings = data.recordings.copy()
    recordings[data.subjects == "P1"] = "P0-0"
    with pytest.raises(ValueError, match="recordings in two parts: 'P0-0"):
        check_split(replace(data, recordings=recordings), split)


@pytest.mark.parametrize("change", [
    lambda x: x,
    lambda x: 3.7 * x,
    lambda x: -x,
    lambda x: 1e-4 - 0.01 * x,
    lambda x: np.array([[2.0], [-0.3], [50.0]]) * x,
    lambda x: x + 0.01 * np.roll(x, 50, axis=-1),
], ids=["exact", "gain", "sign", "offset", "gains of channels", "almost"])  # fmt: skip
def test_the_same_window_in_two_parts_is_named(data, split, change):
    first, second = split.folds[0].test[2], split.folds[0].training[1]
    leaking = with_window(data, second, change(data.X[first]))
    with pytest.raises(ValueError, match="same window") as error:
        check_split(leaking, split)
    assert leaking.where(first) in str(error.value)
    assert leaking.where(second) in str(error.value)


def test_windows_that_are_merely_alike_pass(data, split):
    first, second = split.folds[0].test[2], split.folds[0].training[1]
    noise = np.roll(data.X[first], 50, axis=-1)
    check_split(with_window(data, second, data.X[first] + 0.03 * noise), split)
    one_channel = data.X[second].copy()
    one_channel[0] = data.X[first][0]  # the others differ
    check_split(with_window(data, second, one_channel), split)


def test_the_same_window_within_a_part_passes(data, split):
    first, second = np.flatnonzero(data.subjects == "P0")[:2]
    check_split(with_window(data, second, data.X[first]), split)


def test_the_same_window_where_one_is_not_used_passes():
    data = noise_data(subjects=("mouse",), n_per_subject=60)
    split = by_block(5, 6, 2)(data)
    assert 4 not in np.concatenate([places for _, places in split.folds[0].parts()])
    check_split(with_window(data, 4, data.X[0]), split)


def test_flat_windows_are_not_taken_for_the_same(data, split):
    flat = with_window(data, split.folds[0].test[0], 0.004)
    check_split(with_window(flat, split.folds[0].training[0], 0.1), split)


def test_a_twin_with_a_flat_channel_is_found(data, split):
    window = data.X[split.folds[0].test[0]].copy()
    window[1] = 0.004
    leaking = with_window(with_window(data, split.folds[0].test[0], window), split.folds[0].training[0], 2 * window)
    with pytest.raises(ValueError, match="same window"):
        check_split(leaking, split)


@pytest.mark.parametrize("fold", range(5))
def test_windows_that_overlap_across_parts_are_named(fold):
    data = noise_data(subjects=("mouse",), n_per_subject=60)
    split = replace(by_block(5, 6, 2)(data), gap_seconds=0.0)
    split = replace(split, folds=split.folds[fold : fold + 1])
    starts = data.starts.copy()
    starts[12] = starts[9] + 199  # one sample is shared
    if fold == 3:  # where both windows train
        check_split(replace(data, starts=starts), split)
        return
    with pytest.raises(ValueError, match="overlap: 'mouse-0 at 9 s / mouse-0 at 9.995 s'"):
        check_split(replace(data, starts=starts), split)
    starts[12] = starts[9] + 200
    check_split(replace(data, starts=starts), split)


def test_windows_closer_than_the_gap_are_named():
    data = noise_data(subjects=("mouse",), n_per_subject=60)
    split = replace(by_block(5, 6, 2)(data), gap_seconds=2.5)
    with pytest.raises(ValueError, match="closer than 2.5 s: 'mouse-0 at 3 s / mouse-0 at 6 s'"):
        check_split(data, split)


def test_windows_at_the_same_time_of_other_recordings_do_not_overlap():
    data = noise_data(subjects=("mouse",), n_per_subject=60)
    starts = data.starts.copy()
    starts[6] = starts[3]
    recordings = data.recordings.astype("<U9")
    split = by_block(5, 6, 2)(data)
    recordings[6] = "mouse-1"
    check_split(replace(data, starts=starts, recordings=recordings), split)


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_an_empty_part_is_named(data, split, part):
    with pytest.raises(ValueError, match=f"{part} part of '{split.folds[0].name}' is empty"):
        check_split(data, with_parts(split, **{part: np.array([], int)}))


def test_a_class_that_training_lacks_is_named(data, split):
    training = split.folds[0].training
    with pytest.raises(ValueError, match="no window of 'task'"):
        check_split(data, with_parts(split, training=training[data.y[training] == 0]))


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_is_no_class_is_named(data, split, label):
    y = data.y.copy()
    y[5] = label
    with pytest.raises(ValueError, match=rf"\[{label}\].*'rest', 'task'.*P1-0 at 1 s"):
        check_split(replace(data, y=y), split)


def test_a_window_in_two_parts_is_named(data, split):
    fold = split.folds[0]
    with pytest.raises(ValueError, match=f"more than once: '{data.where(fold.test[0])}'"):
        check_split(data, with_parts(split, training=np.append(fold.training, fold.test[0])))


def test_places_that_do_not_exist_are_refused(data):
    with pytest.raises(ValueError, match="outside of the 24 windows"):
        check_split(data, Split((FoldIndices("one", np.array([0]), np.array([24]), np.array([9])),)))


@pytest.mark.parametrize("name", ["starter", "brainrvq-starter", "brainrvq-starter-tokenizer"])
def test_bundled_weights_saw_all_but_those_held_out(name):
    training = describe(name)["training"]
    for task in (TASKS["eegmat"], TASKS["guinea_bissau"], TASKS["guinea_bissau_eyes"], TASKS["ssvep_exo"]):
        seen = overlap(task, training)
        assert set(seen) == set(task.subjects) - set(HELD_OUT[task.dataset])
        assert list(seen) == sorted(seen)
    for task in (TASKS["openbci_mi"], TASKS["mouse_sleep"], TASKS["eegbci"]):
        assert overlap(task, training) == ()
    assert "Subject32" not in overlap(TASKS["eegmat_fixed"], training)


@pytest.mark.parametrize("training", [
    None,
    {},
    {"data": {"corpus": "0123"}},
    {"experts": []},
    {"experts": [{"data": CORPUS}, {"data": {"corpus": "0123"}}]},
    {"experts": [{"data": CORPUS}, {}]},
    {"data": CORPUS, "tokenizer": {"sha256": "0123"}},
    {"data": CORPUS, "tokenizer": None},
    {"data": None},
])  # fmt: skip
def test_what_is_not_in_the_registry_is_unknown(training):
    assert overlap(TASKS["openbci_mi"], training) == ("unknown",)


def test_the_weights_of_the_ablations_are_in_the_registry():
    training = {"data": {"corpus": "f5b4541922dd7897e63376b3538aabe4"}}
    assert len(overlap(TASKS["eegmat"], training)) == 24
    assert overlap(TASKS["guinea_bissau"], training) == ()


@pytest.mark.parametrize(
    ("corpus", "left_out"),
    [
        ("51820f77b6a88547b56d9068af59a1d9", None),
        ("c0c674be93b5c36e8fa769b3a9294f5e", "eegmat"),
        ("17f2994485927b7fd16b5ff1ca328365", "guinea_bissau"),
        ("07c933c43af5d2d626ab59b2ae27e121", "muse"),
        ("bf32982508a7f5baad680174b88f0022", "ssvep_exo"),
    ],
)
def test_corpora_that_leave_a_data_set_out_are_in_the_registry(corpus, left_out):
    training = {"data": {"corpus": corpus}}
    for name in ("eegmat", "guinea_bissau", "ssvep_exo"):
        expected = set(TASKS[name].subjects) - set(HELD_OUT[name]) if name != left_out else set()
        assert set(overlap(TASKS[name], training)) == expected
    for name in ("muse_p300", "muse_n170"):  # the same people as in other sets of the collection
        assert set(overlap(TASKS[name], training)) == (set(TASKS[name].subjects) if left_out != "muse" else set())
    assert overlap(TASKS["eegmmidb_fists"], training) == ()
    assert held_by(corpus) == {"eegmat", "guinea_bissau", "ssvep_exo", "muse"} - {left_out}
