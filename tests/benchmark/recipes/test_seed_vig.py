"""Tests of the recipe for SEED-VIG, on recordings of three windows."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat

from mne_specmoe.benchmark.recipes import seed_vig

STEMS = [f"{number}_20150{number % 9 + 1}01_noon" for number in range(1, 22)] + ["4_20151107_noon", "5_20151012_night"]
PUBLISHED, CLEAN = (replace(recipe, read=partial(seed_vig.read_seed_vig, n_windows=3)) for recipe in seed_vig.RECIPES)


def signals(stem):
    return np.random.default_rng(list(stem.encode())).normal(scale=20, size=(4800, 17))


def perclos(stem):
    return np.random.default_rng([1, *stem.encode()]).uniform(size=(3, 1))


def write(root, stem, *, samples=None, values=None):
    folder = root / "seed_vig"
    for name in ("Raw_Data", "perclos_labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    chn = np.array([*seed_vig.CHANNELS[:8], "CPZ", *seed_vig.CHANNELS[8:]], object)
    content = {"data": signals(stem) if samples is None else samples, "chn": chn, "sample_rate": 200}
    savemat(folder / "Raw_Data" / f"{stem}.mat", {"EEG": content})
    savemat(folder / "perclos_labels" / f"{stem}.mat", {"perclos": perclos(stem) if values is None else values})
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for stem in STEMS:
        write(root, stem)
    return root


@pytest.fixture(scope="module")
def data(root):
    return PUBLISHED.load(root)


def test_windows_are_eight_seconds_in_volts_with_their_perclos(data):
    assert data.X.shape == (69, 17, 1600)
    assert data.classes == ()
    assert data.y.dtype == float
    own = np.flatnonzero(data.recordings == "5_20151012_night")
    assert_allclose(data.X[own[1]], 1e-6 * signals("5_20151012_night")[1600:3200].T, rtol=1e-6)
    assert_allclose(data.y[own], perclos("5_20151012_night")[:, 0])
    assert_array_equal(data.starts[own], [0, 1600, 3200])


def test_the_published_split_is_15_4_and_4_recordings(data):
    parts = dict(PUBLISHED.split(data).folds[0].parts())
    recordings = {part: set(data.recordings[places]) for part, places in parts.items()}
    assert {part: len(names) for part, names in recordings.items()} == {"training": 15, "validation": 4, "test": 4}
    assert {name.split("_")[0] for name in recordings["validation"]} == {"4", "5"}
    assert {name.split("_")[0] for name in recordings["test"]} == {"6", "7", "8", "9"}
    assert not PUBLISHED.known_leaks


def test_clean_leaves_each_subject_out_once(root):
    data = CLEAN.load(root)
    folds = CLEAN.split(data).folds
    tested = [set(data.subjects[fold.test].tolist()) for fold in folds]
    assert [len(each) for each in tested] == [1] * 21
    assert set.union(*tested) == set(seed_vig.SUBJECTS)
    assert CLEAN.metric == "r2"
    assert CLEAN.chance == 0


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    folder = write(tmp_path, "4_20151105_noon")
    (folder / "perclos_labels/4_20151105_noon.mat").unlink()
    available, why = PUBLISHED.available(tmp_path)
    assert not available
    assert "'Raw_Data/1_*.mat'" in why
    absent = seed_vig.missing_of_seed_vig(folder)
    assert "Raw_Data/4_*.mat" in absent  # there are two in the original
    assert "perclos_labels/4_20151105_noon.mat" in absent


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"samples": np.zeros((4799, 17))}, r"Raw_Data.*1_a\.mat holds \(4799, 17\)"),
        ({"samples": np.zeros((4800, 18))}, "17 channels"),
        ({"values": np.zeros((2, 1))}, r"perclos_labels.*1_a\.mat"),
        ({"values": np.array([[0.1], [1.2], [0.3]])}, r"\[0.1, 1.2, 0.3\]"),
        ({"values": np.array([[0.1], [np.nan], [0.3]])}, "numbers from 0 to 1"),
    ],
)
def test_refuses_other_files_by_name(tmp_path, faults, message):
    folder = write(tmp_path, "1_a", **faults)
    with pytest.raises(ValueError, match=message):
        seed_vig._cut(folder / "Raw_Data" / "1_a.mat", 3)


def test_refuses_recordings_that_the_protocol_does_not_have(tmp_path):
    folder = write(tmp_path, "22_a")
    with pytest.raises(ValueError, match="'22'"):
        seed_vig.read_seed_vig(folder)


def test_refuses_damaged_files_by_name(tmp_path):
    folder = write(tmp_path, "1_a")
    (folder / "Raw_Data/1_a.mat").write_bytes(b"x" * 200)
    with pytest.raises(ValueError, match=r"1_a\.mat cannot be read"):
        seed_vig._cut(folder / "Raw_Data" / "1_a.mat", 3)
