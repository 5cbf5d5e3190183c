"""EEGMAT from EDF files: channels, windows and labels of the files; subjects in one part each."""

import mne
import numpy as np
import pytest
from edf_files import noise_uv, write_edf

from mne_specmoe.benchmark.leakage import overlap
from mne_specmoe.benchmark.recipes.eegmat_edf import CHANNELS, RECIPES, SUBJECTS

PUBLISHED, CLEAN = RECIPES
NAMES = [*(f"EEG {name}" for name in reversed(CHANNELS)), "ECG ECG"]
SECONDS = {1: 17, 2: 12}
CORPUS = {"data": {"corpus": "fe49a211c1ba86ddac4a21e7189143f9"}}


def signals(subject, place):
    return noise_uv(len(NAMES), SECONDS[place], 500.0, seed=10 * int(subject[7:]) + place)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for subject in SUBJECTS:
        for place in (1, 2):
            write_edf(root / PUBLISHED.folder / f"{subject}_{place}.edf", signals(subject, place), 500.0, NAMES)
    return root


@pytest.fixture(scope="module")
def data(root):
    return PUBLISHED.load(root)


def test_windows_lie_side_by_side_and_the_rest_is_dropped(data):
    assert data.X.shape == (36 * 5, 20, 1000)
    assert data.ch_names == (*CHANNELS[:-1], "A2")
    own = data.subjects == "Subject35"
    assert data.recordings[own].tolist() == ["Subject35_1"] * 3 + ["Subject35_2"] * 2
    assert data.starts[own].tolist() == [0, 1000, 2000, 0, 1000]
    assert data.y[own].tolist() == [0, 0, 0, 1, 1]


def test_windows_hold_the_signal_in_volts_in_the_order_of_the_protocol(data):
    fz = 1e-6 * signals("Subject07", 1)[NAMES.index("EEG Fz")]
    expected = mne.filter.resample(fz, down=2.5, npad="auto", method="fft")[1000:2000]
    place = np.flatnonzero(data.recordings == "Subject07_1")[1]
    np.testing.assert_allclose(data.X[place, CHANNELS.index("Fz")], expected, atol=1e-8)


def test_the_published_split_is_of_subjects(data):
    (fold,) = PUBLISHED.split(data).folds
    parts = {name: sorted(set(data.subjects[places])) for name, places in fold.parts()}
    assert parts["training"] == list(SUBJECTS[:28])
    assert parts["validation"] == list(SUBJECTS[28:32])
    assert parts["test"] == list(SUBJECTS[32:])
    assert not PUBLISHED.known_leaks


def test_the_clean_split_tests_everyone_once(root):
    data = CLEAN.load(root)
    folds = CLEAN.split(data).folds
    tested = [subject for fold in folds for subject in set(data.subjects[fold.test])]
    assert len(folds) == 9
    assert sorted(tested) == list(SUBJECTS)


def test_checkpoints_that_saw_the_stored_recordings_saw_these():
    for recipe in RECIPES:
        assert overlap(recipe, CORPUS) == SUBJECTS[:24]


def test_missing_files_are_named(root, tmp_path):
    available, instruction = PUBLISHED.available(tmp_path)
    assert not available
    assert PUBLISHED.obtain in instruction
    folder = tmp_path / PUBLISHED.folder
    folder.parent.mkdir()
    folder.symlink_to(root / PUBLISHED.folder)
    assert PUBLISHED.available(tmp_path) == (True, "")


@pytest.fixture
def copy(root, tmp_path):
    """The folder of a data root of links, in which files can be replaced."""
    folder = tmp_path / PUBLISHED.folder
    folder.mkdir(parents=True)
    for path in (root / PUBLISHED.folder).iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def test_one_missing_file_is_named(copy, tmp_path):
    (copy / "Subject03_2.edf").unlink()
    available, instruction = CLEAN.available(tmp_path)
    assert not available
    assert "'Subject03_2.edf'" in instruction


def replaced(path, content):
    path.unlink()
    path.write_bytes(content)


def test_damaged_files_are_named(copy, tmp_path):
    path = copy / "Subject00_1.edf"
    whole = path.read_bytes()
    replaced(path, whole[:-5000])
    with pytest.raises(ValueError, match=r"Subject00_1\.edf is cut short"):
        PUBLISHED.load(tmp_path)
    replaced(path, b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"Subject00_1\.edf cannot be read as EDF"):
        PUBLISHED.load(tmp_path)


def test_other_rates_and_channels_are_refused(copy, tmp_path):
    path = copy / "Subject00_1.edf"
    path.unlink()
    write_edf(path, noise_uv(21, 10, 250.0, 0), 250.0, NAMES)
    with pytest.raises(ValueError, match=r"Subject00_1\.edf is sampled at 250 Hz"):
        PUBLISHED.load(tmp_path)
    write_edf(path, noise_uv(20, 10, 500.0, 0), 500.0, NAMES[1:])
    with pytest.raises(ValueError, match=r"Subject00_1\.edf lacks the channels 'A2-A1'"):
        PUBLISHED.load(tmp_path)


def test_a_recording_under_two_names_is_found_out(copy, tmp_path):
    replaced(copy / "Subject35_1.edf", (copy / "Subject00_1.edf").read_bytes())
    with pytest.raises(ValueError, match="same window is in different parts"):
        PUBLISHED.load(tmp_path)
