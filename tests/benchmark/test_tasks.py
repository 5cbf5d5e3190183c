"""Tasks are frozen, say what they need and what is wrong with them, and load what they did before."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import periodogram
from tiny_data import write_recording
from tiny_tasks import write_eegmat, write_mouse, write_openbci

from mne_specmoe.benchmark.fingerprints import fingerprint
from mne_specmoe.benchmark.leakage import check_split
from mne_specmoe.benchmark.tasks import TASKS

THREE = ("A", "B", "C")
HERE = {  # subjects, windows
    "eegmat": (32, 768),
    "guinea_bissau": (60, 3582),
    "guinea_bissau_eyes": (60, 3462),
    "openbci_mi": (10, 100),
    "ssvep_exo": (8, 512),
    "mouse_sleep": (1, 338),
    "eegbci": (1, 90),
    "eegmmidb_fists": (1, 90),
    "muse_p300": (4, 8550),
    "muse_n170": (3, 2361),
}
ELSEWHERE = ("eegmat_fixed", "eegbci_fixed")


def frozen(task, root):
    """The task as it is now."""
    data = task.load(root)
    return replace(task, frozen=fingerprint(data, task.split(data)))


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_states_source_terms_confounds_and_chance(task):
    assert all(len(text) > 2 for text in (task.title, task.citation, task.licence, task.obtain))
    assert task.confounds
    assert all(len(text) > 20 for text in task.confounds)
    assert task.chance * len(task.classes) == 1
    assert task.metric == "balanced_accuracy"
    assert len(set(task.subjects)) == len(task.subjects)
    assert not set(task.subjects) & set(task.ignored)
    assert pickle.loads(pickle.dumps(task)).name == task.name


def test_tasks_are_frozen_but_those_whose_data_was_not_at_hand():
    assert set(TASKS) == {*HERE, *ELSEWHERE}
    assert {name for name, task in TASKS.items() if task.frozen is None} == set(ELSEWHERE)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_absent_data_is_told_with_how_to_obtain_it(task, tmp_path):
    available, instruction = task.available(tmp_path)
    assert not available
    assert f"{len(task.subjects)} of {len(task.subjects)} subjects are missing" in instruction
    assert task.obtain in instruction
    with pytest.raises(FileNotFoundError) as error:
        task.load(tmp_path)
    assert str(error.value) == instruction


def test_missing_subjects_are_named(tmp_path):
    task = write_eegmat(tmp_path, THREE)
    assert task.available(tmp_path) == (True, "")
    (tmp_path / "eegmat/B.npz").unlink()
    available, instruction = task.available(tmp_path)
    assert not available
    assert "1 of 3" in instruction
    assert "'B'" in instruction


def test_loading_twice_gives_the_same(tmp_path):
    task = write_eegmat(tmp_path, THREE)
    first, second = task.load(tmp_path), task.load(tmp_path)
    for name in ("X", "y", "subjects", "sessions", "recordings", "starts"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.X.dtype == np.float32


def test_loaded_data_cannot_be_written_to(tmp_path):
    data = write_eegmat(tmp_path, THREE).load(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        data.X[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        data.y[0] = 1


def test_a_frozen_task_loads_what_it_was_frozen_with(tmp_path):
    task = frozen(write_openbci(tmp_path, THREE), tmp_path)
    write_openbci(tmp_path, THREE)
    assert len(task.load(tmp_path)) == 6


def test_more_subjects_are_an_error_unless_they_are_known_not_to_be_used(tmp_path):
    task = frozen(write_openbci(tmp_path, THREE), tmp_path)
    write_openbci(tmp_path, ["D"])
    with pytest.raises(ValueError, match="frozen with 3 subjects, but there are more subjects.*'D'"):
        task.load(tmp_path)
    assert len(replace(task, ignored=("D",)).load(tmp_path)) == 6
    assert len(write_mouse(tmp_path, 20).load(tmp_path)) == 60  # beside a recording without stages


def test_fewer_windows_are_an_error(tmp_path):
    task = frozen(write_openbci(tmp_path, THREE, onsets=(1.0, 4.0, 8.0)), tmp_path)
    write_openbci(tmp_path, ["B"], onsets=(1.0, 4.0))
    with pytest.raises(ValueError, match=r"fewer windows of 'rest' \(5, not 6\)"):
        task.load(tmp_path)


def test_other_labels_are_an_error(tmp_path):
    task = frozen(write_openbci(tmp_path, THREE), tmp_path)
    write_openbci(tmp_path, ["A"], labels=np.array([1, 0]))
    with pytest.raises(ValueError, match="as many subjects and windows, but other"):
        task.load(tmp_path)


@pytest.mark.parametrize("name", ["data", "scale_uv_per_bit", "offset_uv"])
def test_other_signals_are_an_error(tmp_path, name):
    task = frozen(write_openbci(tmp_path, THREE), tmp_path)
    path = tmp_path / "openbci_mi/C.npz"
    content = dict(np.load(path))
    content[name] = content[name] + 1
    np.savez(path, **content)
    with pytest.raises(ValueError, match="the files hold other signals"):
        task.load(tmp_path)


def test_a_person_under_two_names_is_found_out(tmp_path):
    task = write_eegmat(tmp_path, THREE)
    content = dict(np.load(tmp_path / "eegmat/A.npz"))
    content["scale_uv_per_bit"] = 2 * content["scale_uv_per_bit"]
    np.savez(tmp_path / "eegmat/C.npz", **content)
    with pytest.raises(ValueError, match="same window.*A-0 at 0 s / C-0 at 0 s"):
        task.load(tmp_path)


def test_folds_lock_their_test_parts_anew_for_every_run(tmp_path):
    task = write_eegmat(tmp_path, THREE)
    data = task.load(tmp_path)
    for _ in range(2):
        fold = task.folds(data)[0]
        assert set(fold.training().subjects) == {"C"}
        assert set(fold.validation().subjects) == {"B"}
        with pytest.raises(ValueError, match="shut"):
            fold.test("")
        assert set(fold.test(fold.close_selection({"seed": 0})).subjects) == {"A"}


def test_files_of_other_kinds_are_no_subjects(tmp_path):
    task = write_openbci(tmp_path, THREE)
    (tmp_path / "openbci_mi/README.md").touch()
    (tmp_path / "openbci_mi/more").mkdir()
    write_recording(tmp_path / "openbci_mi/more/E.npz", ("Cz",), 125.0)
    assert task.files.subjects(tmp_path) == set(THREE)


def test_subjects_of_runs_are_named_by_their_folder(tmp_path):
    task = TASKS["eegbci_fixed"]
    for path in (*task.files.of(tmp_path, "S007"), *task.files.of(tmp_path, "S019")[:1]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert task.files.subjects(tmp_path) == {"S007", "S019"}
    assert "108 of 109" in task.available(tmp_path)[1]  # S019 lacks runs


def test_fixed_splits_are_the_published_ones():
    cases = {"eegmat_fixed": ("Subject{:02d}", 0, (28, 4, 4)), "eegbci_fixed": ("S{:03d}", 1, (70, 19, 20))}
    for name, (pattern, first, sizes) in cases.items():
        (parts,) = TASKS[name].rule.args[1].values()
        ends = first + np.cumsum(sizes)
        expected = {}
        for part, size, end in zip(("training", "validation", "test"), sizes, ends, strict=True):
            expected |= {pattern.format(number): part for number in range(end - size, end)}
        assert parts == expected


@pytest.mark.real_data
@pytest.mark.parametrize("name", HERE)
def test_real_data_is_what_was_frozen_and_does_not_leak(data_root, name):
    task = TASKS[name]
    assert task.available(data_root) == (True, "")
    data = task.load(data_root)
    assert (len(set(data.subjects.tolist())), len(data)) == HERE[name]
    assert data.n_times == task.window_seconds * data.sfreq
    assert task.frozen == fingerprint(data, task.split(data))
    check_split(data, task.split(data))
    for fold in task.split(data).folds:
        shared = set(data.subjects[fold.training]) & set(data.subjects[fold.test])
        assert bool(shared) == (HERE[name][0] == 1 or task.is_event_related)
        assert not task.is_event_related or not set(data.recordings[fold.training]) & set(data.recordings[fold.test])
        assert set(data.y[fold.training].tolist()) == set(range(len(task.classes)))
        if name != "mouse_sleep":  # whose one REM episode is in two of five test parts
            assert set(data.y[fold.test].tolist()) == set(range(len(task.classes)))


@pytest.mark.real_data
def test_what_is_not_here_is_said_with_its_subjects(data_root):
    available, instruction = TASKS["eegmat_fixed"].available(data_root)
    assert not available
    assert "'Subject32', 'Subject33', 'Subject34', 'Subject35'" in instruction
    assert "108 of 109" in TASKS["eegbci_fixed"].available(data_root)[1]


@pytest.mark.real_data
def test_real_windows_flicker_as_labelled(data_root):
    data = TASKS["ssvep_exo"].load(data_root)
    frequencies, power = periodogram(data.X[:, data.ch_names.index("Oz")], data.sfreq)
    for label, hertz in enumerate((13, 17, 21), 1):
        here = np.log(power[:, frequencies == hertz]).ravel()
        assert here[data.y == label].mean() > here[data.y != label].mean() + 0.5


@pytest.mark.real_data
def test_real_windows_with_eyes_closed_have_more_alpha(data_root):
    data = TASKS["guinea_bissau_eyes"].load(data_root)
    frequencies, power = periodogram(data.X[:, data.ch_names.index("O1")], data.sfreq)
    alpha = np.log(power[:, (frequencies >= 8) & (frequencies <= 12)].sum(1))
    more = [
        alpha[(data.subjects == name) & (data.y == 0)].mean() - alpha[(data.subjects == name) & (data.y == 1)].mean()
        for name in TASKS["guinea_bissau_eyes"].subjects
    ]
    assert np.mean(np.array(more) > 0) > 0.75
