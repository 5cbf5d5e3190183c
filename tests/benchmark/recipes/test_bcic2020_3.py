"""Tests of the recipe for BCIC2020-3, on five or ten trials per file."""

import zipfile
from itertools import product

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat
from scipy.signal import resample

from mne_specmoe.benchmark.recipes import bcic2020_3 as recipe

PUBLISHED, CLEAN = recipe.RECIPES
N_TRIALS = {"Training set": 10, "Validation set": 5, "Test set": 5}
STRUCTS = {"Training set": "epo_train", "Validation set": "epo_validation", "Test set": "epo_test"}


def trials_of(name, number):
    """Trials (n_trials, 64, 795) in µV, and labels."""
    n = N_TRIALS[name]
    x = np.random.default_rng([list(N_TRIALS).index(name), number]).normal(size=(n, 64, 795), scale=30)
    return x, (np.arange(n) + number) % 5


def write_file(root, name, number, *, clab=recipe.CHANNELS, fs=256, last=None):
    path = root / "bcic2020_3" / name / f"Data_Sample{number:02d}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    x, labels = trials_of(name, number)
    x = x[..., :last]
    if name != "Test set":
        one_hot = np.eye(5)[labels].T
        content = {"x": x.transpose(2, 1, 0).astype(np.float32), "y": one_hot, "fs": fs}
        savemat(path, {STRUCTS[name]: content | {"clab": np.array(clab, object)}})
        return path
    with h5py.File(path, "w") as file:
        group = file.create_group("epo_test")
        group["x"] = x.astype(np.float32)
        group["fs"] = np.array([[float(fs)]])
        references = [file.create_dataset(f"#refs#/{k}", data=[[ord(c)] for c in s]).ref for k, s in enumerate(clab)]
        group.create_dataset("clab", data=np.array(references, h5py.ref_dtype)[None])
    return path


def write_answers(root, shift=0):
    """A header, two rows of texts, and pairs of columns from the second on: number of trial, answer."""
    rows = []
    for row, number in product(range(1, 9), range(1, 16)):
        answers = trials_of("Test set", number)[1] + 1
        for column, value in ((2 * number, row - 3), (2 * number + 1, answers[row - 4] if row > 3 else None)):
            letter = ("A" if column > 26 else "") + "ZABCDEFGHIJKLMNOPQRSTUVWXY"[column % 26]
            if row > 3:
                rows.append((row, f'<c r="{letter}{row + shift}"><v>{value}</v></c>'))
            else:
                rows.append((row, f'<c r="{letter}{row + shift}" t="s"><v>0</v></c>'))
    cells = "".join(
        f'<row r="{row + shift}">' + "".join(cell for own, cell in rows if own == row) + "</row>" for row in range(1, 9)
    )
    sheet = f'<worksheet xmlns="{recipe._SHEET[1:-1]}"><sheetData>{cells}</sheetData></worksheet>'
    path = root / "bcic2020_3" / "Test set" / recipe.ANSWERS
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for name, number in product(N_TRIALS, range(1, 16)):
        write_file(root, name, number)
    write_answers(root)
    return root


@pytest.fixture(scope="module")
def data(root):
    return PUBLISHED.load(root)


@pytest.mark.parametrize("name", N_TRIALS)
def test_windows_are_the_last_three_seconds_in_volts_with_their_labels(data, name):
    part = name.split()[0].lower()
    own = np.flatnonzero((data.subjects == "12") & (data.sessions == part))
    x, labels = trials_of(name, 12)
    assert_array_equal(data.y[own], labels)
    expected = 1e-6 * resample(x[:, :, 27:].astype(np.float32).astype(float), 600, axis=-1)
    assert_allclose(data.X[own], expected, atol=1e-10)


def test_published_parts_are_the_official_ones(data):
    split = PUBLISHED.split(data)
    parts = dict(split.folds[0].parts())
    assert split.by == "block"
    assert {part: len(places) for part, places in parts.items()} == {"training": 150, "validation": 75, "test": 75}
    assert all(set(data.subjects[places]) == set(recipe.SUBJECTS) for places in parts.values())


def test_clean_folds_leave_five_subjects_out(root):
    data = CLEAN.load(root)
    folds = CLEAN.split(data).folds
    tested = [set(data.subjects[fold.test].tolist()) for fold in folds]
    assert [len(each) for each in tested] == [5, 5, 5]
    assert set.union(*tested) == set(recipe.SUBJECTS)
    assert not tested[0] & set(data.subjects[folds[0].training]) | tested[0] & set(data.subjects[folds[0].validation])


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    write_file(tmp_path, "Training set", 1)
    available, why = PUBLISHED.available(tmp_path)
    assert not available
    for text in ("14 of 15 files Training set/*.mat", "15 of 15 files Test set/*.mat", recipe.ANSWERS):
        assert text in why


def read(path, name):
    trials, labels = recipe._test_trials(path) if name == "Test set" else recipe._trials(path, STRUCTS[name])
    recipe._check(path, trials, labels)


@pytest.mark.parametrize("name", ["Training set", "Test set"])
@pytest.mark.parametrize(
    ("faults", "message"),
    [({"clab": recipe.CHANNELS[::-1]}, "other channels"), ({"fs": 250}, "250 Hz"), ({"last": 700}, "768")],
)
def test_refuses_other_files_by_name(tmp_path, name, faults, message):
    path = write_file(tmp_path, name, 1, **faults)
    with pytest.raises(ValueError, match=message) as error:
        read(path, name)
    assert "Data_Sample01.mat" in str(error.value)


def test_refuses_damaged_files_and_exchanged_formats(tmp_path):
    classic, hdf5 = write_file(tmp_path, "Training set", 1), write_file(tmp_path, "Test set", 1)
    with pytest.raises(ValueError, match="Training set.*HDF5"):
        recipe._test_trials(classic)
    with pytest.raises(ValueError, match="Test set"):
        recipe._trials(hdf5, "epo_train")
    with pytest.raises(ValueError, match="epo_validation"):
        recipe._trials(classic, "epo_validation")


def test_refuses_answers_at_another_place(root, tmp_path):
    (tmp_path / "bcic2020_3" / "Test set").mkdir(parents=True)
    write_answers(tmp_path, shift=1)
    with pytest.raises(ValueError, match="Answer Sheet"):
        recipe._answers(tmp_path / "bcic2020_3" / "Test set" / recipe.ANSWERS)


def test_refuses_answers_that_are_not_balanced(tmp_path):
    path = write_file(tmp_path, "Test set", 1)
    with pytest.raises(ValueError, match="sheet of answers"):
        recipe._check(path, recipe._test_trials(path)[0], np.array([0, 0, 1, 2, 3]))


def test_refuses_files_that_are_not_in_turn(tmp_path):
    folder = tmp_path / "bcic2020_3"
    (folder / "Test set").mkdir(parents=True)
    (folder / "Training set").mkdir()
    for number in range(2, 17):
        (folder / "Training set" / f"Data_Sample{number:02d}.mat").touch()
    write_answers(tmp_path)
    with pytest.raises(ValueError, match=r"Data_Sample02\.mat is not the file of subject 01"):
        recipe.read_bcic2020_3(folder)
