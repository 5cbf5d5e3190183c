"""BCI Competition IV 2a: windows, filters, labels and splits, from the original files and through MOABB."""

import os
import sys
from functools import partial

import numpy as np
import pytest
from scipy.io import savemat
from scipy.signal import butter, filtfilt, lfilter, resample

from mne_specmoe.benchmark.recipes import bcic_iv_2a, bcic_iv_2a_moabb
from mne_specmoe.benchmark.recipes.bcic_iv_2a import CHANNELS, RECIPES, SUBJECTS, Run, cut_as_published, cut_clean

PUBLISHED, CLEAN = RECIPES
TRIALS = np.array([301, 2301, 4401, 6501])  # as MATLAB counts
N_TIMES = 8600


def microvolts(name):
    """One run: noise without fast parts, which filters treat alike at the edges of the band."""
    rng = np.random.default_rng(sum(map(ord, name)) * 7 + int(name[2]))
    return 20 * filtfilt(*butter(3, [2, 12], "bandpass", fs=250), rng.standard_normal((25, N_TIMES))).T


def a_run(name, **changes):
    return {
        "X": microvolts(name), "trial": TRIALS[:, None], "y": np.array([[4], [3], [2], [1]]),
        "fs": 250.0, "classes": np.array(["left hand", "right hand", "feet", "tongue"], dtype=object),
        "artifacts": np.zeros((4, 1)), "gender": "male", "age": 22.0,
    } | changes  # fmt: skip


def write(path, *runs):
    calibration = a_run(path.stem, X=np.zeros((10, 25)), trial=np.zeros((0, 0)), y=np.zeros((0, 0)))
    cells = np.empty((1, 1 + len(runs)), dtype=object)
    cells[0, 0] = calibration
    cells[0, 1:] = runs
    savemat(path, {"data": cells})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    (root / "bcic_iv_2a").mkdir()
    for name in bcic_iv_2a.file_names(SUBJECTS):
        write(root / "bcic_iv_2a" / name, a_run(name[:-4]))
    return root


def test_published_windows_are_filtered_trial_by_trial_and_begin_one_sample_late(root):
    data = PUBLISHED.load(root)
    assert data.X.shape == (9 * 2 * 4, 22, 800)
    assert data.ch_names == CHANNELS
    signal = microvolts("A08E")[:, :22]
    b, a = butter(5, [0.3, 40], "bandpass", fs=250)
    for number, (begin, end) in enumerate(zip(TRIALS, [*TRIALS[1:], N_TIMES], strict=True)):
        trial = signal[begin:end] - signal[begin:end].mean(1, keepdims=True)
        expected = resample(lfilter(b, a, trial, axis=0)[500:1500], 800) * 1e-6
        place = np.flatnonzero(data.recordings == "A08E-0")[number]
        np.testing.assert_allclose(data.X[place].T, expected, atol=1e-9)
        assert data.starts[place] == round((begin + 500) * 0.8)
        assert data.y[place] == 3 - number


def test_a_fifth_of_a_step_is_left_at_the_cue_as_published_and_nothing_in_the_clean_protocol():
    volts = np.zeros((22, 4000))
    volts[0] = 1.0  # the common average takes a 22nd of it
    run = Run("A01", "T", "A01T-0", volts, np.array([1000]), np.array([0]))
    assert cut_as_published(run).X[0, 0, 20] == pytest.approx(0.19 * 21 / 22, abs=0.02)
    assert np.abs(cut_clean(run).X[0, 0]).max() < 0.02


def test_clean_windows_begin_at_the_cue_and_are_not_shifted(root):
    data = CLEAN.load(root)
    signal = microvolts("A03T")[:, :22]
    signal = (signal - signal.mean(1, keepdims=True))[TRIALS[1] - 1 + 500 :][:1000]
    place = np.flatnonzero(data.recordings == "A03T-0")[1]
    assert data.starts[place] == (TRIALS[1] - 1 + 500) * 0.8
    expected = resample(signal, 800) * 1e-6
    error = np.abs(data.X[place].T - expected)[50:-50].max()
    assert error < 0.02 * np.abs(expected).max()


def test_splits_are_of_subjects(root):
    data = PUBLISHED.load(root)
    (fold,) = PUBLISHED.split(data).folds
    parts = {part: sorted(set(data.subjects[places])) for part, places in fold.parts()}
    assert parts == {"training": list(SUBJECTS[:5]), "validation": ["A06", "A07"], "test": ["A08", "A09"]}
    assert set(data.sessions) == {"T", "E"}
    folds = CLEAN.split(data).folds
    assert [set(data.subjects[each.test]) for each in folds] == [{subject} for subject in SUBJECTS]
    assert not PUBLISHED.known_leaks


def a_subject(tmp_path, **changes):
    """Load one subject whose second file is changed."""
    write(tmp_path / "A01T.mat", a_run("A01T"))
    write(tmp_path / "A01E.mat", a_run("A01E", **changes))
    return bcic_iv_2a.read(["A01"], cut_clean, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": 200.0}, r"A01E\.mat must have 22 EEG channels and more, at 250 Hz, got 25 at 200 Hz"),
        ({"X": np.zeros((N_TIMES, 3))}, r"A01E\.mat must have 22 EEG channels.*got 3"),
        ({"X": np.zeros((7000, 25))}, "A01E-0 has trials that do not fit it, so it is cut short"),
        ({"y": np.array([[1], [2], [3], [783]])}, r"A01E\.mat has trials of the classes \[783\]"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        a_subject(tmp_path, **changes)
    assert len(a_subject(tmp_path).y) == 8


def test_a_cut_off_last_trial_is_refused_as_published(tmp_path):
    run = Run("A01", "T", "A01T-0", np.ones((22, 2000)), np.array([700]), np.array([0]))
    with pytest.raises(ValueError, match="A01T-0 has trials that do not fit"):
        bcic_iv_2a.put_together([run], cut_as_published, {})


def test_missing_files_are_named(tmp_path):
    for recipe in (*RECIPES, *bcic_iv_2a_moabb.RECIPES):
        available, instruction = recipe.available(tmp_path)
        assert not available
        assert recipe.obtain in instruction
    (tmp_path / "bcic_iv_2a").mkdir()
    write(tmp_path / "bcic_iv_2a/A01T.mat", a_run("A01T"))
    available, instruction = PUBLISHED.available(tmp_path)
    assert not available
    assert "'A01E.mat'" in instruction
    assert "'A01T.mat'" not in instruction


def moabb_root(tmp_path, monkeypatch):
    """A data root with one subject as MOABB downloads it."""
    pytest.importorskip("moabb")
    monkeypatch.setenv("MNE_DATASETS_BNCI_PATH", "nowhere")
    monkeypatch.delenv("MOABB_DOWNLOAD_PROVIDER", raising=False)
    folder = tmp_path / bcic_iv_2a_moabb.FOLDER / "~bci/database/001-2014"
    folder.mkdir(parents=True)
    for name in bcic_iv_2a.file_names(["A02"]):
        write(folder / name, a_run(name[:-4]), a_run(name[:-4], X=microvolts(name[:-4])[::-1]))
    return folder


@pytest.mark.parametrize("cut", [cut_as_published, cut_clean])
def test_moabb_gives_the_same_windows_as_the_original_files(tmp_path, monkeypatch, cut):
    folder = moabb_root(tmp_path, monkeypatch)
    ours = bcic_iv_2a.read(["A02"], cut, folder)
    data = bcic_iv_2a_moabb.read(["A02"], cut, tmp_path / bcic_iv_2a_moabb.FOLDER)
    assert len(data) == 16
    np.testing.assert_allclose(data.X, ours.X, atol=1e-11)
    for name in ("y", "subjects", "sessions", "recordings", "starts"):
        assert getattr(data, name).tolist() == getattr(ours, name).tolist()
    assert sorted(data.digests.values()) == sorted(ours.digests.values())
    assert os.environ["MNE_DATASETS_BNCI_PATH"] == "nowhere"
    assert "MOABB_DOWNLOAD_PROVIDER" not in os.environ


def test_missing_files_of_moabb_are_named(tmp_path, monkeypatch):
    moabb_root(tmp_path, monkeypatch)
    missing = partial(bcic_iv_2a_moabb.missing, folder=tmp_path / bcic_iv_2a_moabb.FOLDER)
    assert missing(["A02"]) == []
    assert missing(["A02", "A03"]) == ["A03T.mat", "A03E.mat"]


def test_without_moabb_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moabb.datasets", None)
    with pytest.raises(ImportError, match=r"mne-specmoe\[benchmark\]"):
        bcic_iv_2a_moabb.read(["A02"], cut_clean, tmp_path)
