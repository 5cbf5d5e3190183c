"""Splits follow from names and times alone, and keep whole what they promise to."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_tasks import SUBJECTS, noise_data

from mne_specmoe.benchmark.splits import Split, by_block, by_session, by_subject, fixed_subjects, within_subject


def names_of(names, split) -> list[dict[str, list[str]]]:
    """The names in every part of every fold."""
    return [{part: sorted(set(names[places].tolist())) for part, places in fold.parts()} for fold in split.folds]


def test_subjects_are_dealt_out_in_turn():
    data = noise_data()
    folds = names_of(data.subjects, by_subject([SUBJECTS], 3)(data))
    assert folds[0] == {"test": ["P0", "P3"], "validation": ["P1", "P4"], "training": ["P2", "P5"]}
    assert folds[1] == {"test": ["P1", "P4"], "validation": ["P2", "P5"], "training": ["P0", "P3"]}
    assert folds[2] == {"test": ["P2", "P5"], "validation": ["P0", "P3"], "training": ["P1", "P4"]}


def test_each_stratum_is_spread_over_the_folds():
    data = noise_data()
    folds = names_of(data.subjects, by_subject([SUBJECTS[:3], SUBJECTS[3:]], 3)(data))
    assert [fold["test"] for fold in folds] == [["P0", "P3"], ["P1", "P4"], ["P2", "P5"]]


def test_every_window_is_tested_once_by_subject():
    data = noise_data()
    split = by_subject([SUBJECTS], 4)(data)
    assert sorted(np.concatenate([fold.test for fold in split.folds])) == list(range(len(data)))


def test_the_part_of_a_subject_does_not_depend_on_who_else_is_there_nor_on_labels_or_signals():
    rule, data = by_subject([SUBJECTS], 3), noise_data()
    whole = names_of(data.subjects, rule(data))
    few = data.take(np.flatnonzero(np.isin(data.subjects, ["P1", "P2", "P3"])))
    few = replace(few, y=1 - few.y, X=few.X[::-1])
    for before, after in zip(whole, names_of(few.subjects, rule(few)), strict=True):
        assert after == {part: [name for name in names if name in "P1 P2 P3"] for part, names in before.items()}


@pytest.mark.parametrize("rule", [by_subject([SUBJECTS[:5]], 3), fixed_subjects(["P0", "P1", "P2"], ["P3"], ["P4"])])
def test_a_subject_that_the_split_does_not_know_is_named(rule):
    with pytest.raises(ValueError, match="1 subjects.*'P5'"):
        rule(noise_data())


def test_fixed_subjects_make_one_fold():
    data = noise_data()
    (fold,) = names_of(data.subjects, fixed_subjects(SUBJECTS[:3], SUBJECTS[3:5], SUBJECTS[5:])(data))
    assert fold == {"training": ["P0", "P1", "P2"], "validation": ["P3", "P4"], "test": ["P5"]}


def test_sessions_are_left_out_group_by_group():
    data = noise_data(subjects=("P0",), n_per_subject=6)
    data = replace(data, sessions=np.array(list("aabbcc")))
    split = by_session([("a",), ("b",), ("c",)])(data)
    assert split.by == "session"
    assert names_of(data.sessions, split)[1] == {"test": ["b"], "validation": ["c"], "training": ["a"]}
    assert [fold.name for fold in split.folds] == ["a", "b", "c"]


def test_blocks_leave_a_gap_between_parts_and_never_validate_beside_the_test():
    data = noise_data(subjects=("mouse",), n_per_subject=60)
    split = by_block(5, block_seconds=6, gap_seconds=2)(data)
    assert (split.by, split.gap_seconds) == ("block", 2)
    for number, fold in enumerate(split.folds):
        used = np.concatenate([fold.training, fold.validation, fold.test])
        assert sorted(used) == [i for i in range(60) if i % 6 < 4]
        assert set(fold.test // 6 % 5) == {number}
        assert set(fold.validation // 6 % 5) == {(number + 2) % 5}
        apart = np.abs(fold.test[:, None] - np.concatenate([fold.training, fold.validation]))
        assert apart.min() == 3  # windows of 1 s: 2 s lie between


def runs(n_runs, n_per_run=12):
    """Windows of 1 s in so many runs of each subject."""
    parts = []
    for subject, n in n_runs.items():
        part = noise_data(subjects=(subject,), n_per_subject=n * n_per_run)
        run = np.arange(len(part)) // n_per_run
        parts.append(replace(part, recordings=np.char.add(f"{subject}-", run.astype(str)),
                             starts=200 * (np.arange(len(part)) % n_per_run)))  # fmt: skip
    return parts[0].joined(parts[1]) if len(parts) > 1 else parts[0]


def test_each_subject_has_folds_of_its_own_that_leave_runs_out():
    data = runs({"A": 5, "B": 3})
    split = within_subject(4, gap_seconds=2)(data)
    assert (split.by, split.gap_seconds) == ("run", 2)
    assert [fold.name for fold in split.folds] == [
        *(f"A, runs {number} of 4" for number in range(1, 5)), *(f"B, runs {number} of 3" for number in range(1, 4)),
    ]  # fmt: skip
    folds = names_of(data.recordings, split)
    assert folds[0] == {"test": ["A-0", "A-4"], "validation": ["A-1"], "training": ["A-2", "A-3"]}
    assert folds[3] == {"test": ["A-3"], "validation": ["A-0", "A-4"], "training": ["A-1", "A-2"]}
    assert folds[4] == {"test": ["B-0"], "validation": ["B-1"], "training": ["B-2"]}
    assert sorted(np.concatenate([fold.test for fold in split.folds])) == list(range(len(data)))


def test_of_two_runs_one_is_tested_and_the_last_third_of_the_other_validates_after_a_gap():
    data = runs({"A": 2})
    first, second = within_subject(4, gap_seconds=2)(data).folds
    assert names_of(data.recordings, within_subject(4, 2)(data))[0] == {
        "test": ["A-0"], "validation": ["A-1"], "training": ["A-1"],
    }  # fmt: skip
    assert data.starts[first.training].max() == 5 * 200
    assert data.starts[first.validation].tolist() == [200 * second for second in (8, 9, 10, 11)]
    assert set(data.recordings[second.test]) == {"A-1"}


def test_a_subject_with_one_run_has_none_to_leave_out():
    with pytest.raises(ValueError, match="B has one run"):
        within_subject(4, 2)(runs({"A": 3, "B": 1}))


@pytest.mark.parametrize("make", [lambda: by_subject([SUBJECTS], 2), lambda: by_session([("a",), ("b",)]),
                                  lambda: by_block(2, 6, 2), lambda: within_subject(2, 1)])  # fmt: skip
def test_two_folds_are_too_few(make):
    with pytest.raises(ValueError, match="Three folds.*got 2"):
        make()


def test_a_gap_as_long_as_a_block_is_refused():
    with pytest.raises(ValueError, match="shorter than a block"):
        by_block(3, 6, 6)


def test_a_split_has_folds_and_says_what_it_keeps_whole():
    with pytest.raises(ValueError, match="one fold or more"):
        Split(())
    with pytest.raises(ValueError, match="by='window'"):
        Split(by_subject([SUBJECTS], 3)(noise_data()).folds, by="window")
