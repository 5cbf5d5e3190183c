"""Tests of the recipe for TUAB, on recordings of 25 s."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recipe_files import waves, write_edf

from mne_specmoe._validation import SpecMoEWarning
from mne_specmoe.benchmark.recipes import tuab
from mne_specmoe.benchmark.recipes.cutting import electrodes

PUBLISHED, CLEAN = tuab.RECIPES
NAMES = ("EEG A1-REF", *(f"EEG {name}-REF" for name in electrodes(tuab.TUH_LEADS)), "ECG EKG-REF")
SUBJECTS = {
    "train/normal": "aaaa aaab aaac aaad aaah",
    "train/abnormal": "aaaa aaae aaaf aaag aaah",  # aaaa and aaah have both
    "eval/normal": "baaa",
    "eval/abnormal": "baab",
}


def write(root, part, subject, *, sfreq=250, seconds=25, names=NAMES):
    seed = 20 * list(SUBJECTS).index(part) + ord(subject[3]) - ord("a")
    path = root / "tuab" / "edf" / part / "01_tcp_ar" / f"{subject}_s001_t00{len(part) % 10}.edf"
    write_edf(path, names, sfreq, waves(len(names), seconds * sfreq, sfreq, seed=seed))
    return path, seed


def write_all(root):
    for part, subjects in SUBJECTS.items():
        for subject in subjects.split():
            write(root, part, subject)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def data(root):
    return PUBLISHED.load(root)


def test_windows_are_bipolar_leads_in_volts(root, data):
    assert data.X.shape == (24, 16, 2000)
    assert_array_equal(data.starts[:2], [0, 2000])
    path, seed = write(root, "train/normal", "aaac")
    there = dict(zip(NAMES, waves(len(NAMES), 25 * 200, 200, seed=seed), strict=True))
    place = np.flatnonzero(data.recordings == path.stem)[1]
    for row, lead in enumerate(tuab.TUH_LEADS):
        first, second = lead.split("-")
        expected = there[f"EEG {first}-REF"] - there[f"EEG {second}-REF"]
        assert_allclose(data.X[place, row, :1800], expected[2000:3800], atol=2.5e-6)


def test_labels_are_those_of_the_recording(data):
    assert_array_equal(data.y, [session.split("/")[1] == "abnormal" for session in data.sessions])
    assert (data.y == 1).sum() == 12


def parts_of(recipe, data):
    parts = dict(recipe.split(data).folds[0].parts())
    return {part: sorted(set(data.subjects[places].tolist())) for part, places in parts.items()}


def test_the_published_split_leaks_subjects_with_both_labels(root, data):
    parts = parts_of(PUBLISHED, data)
    # Normal: aaaa aaab aaac aaad | aaah. Abnormal: aaaa aaae aaaf aaag | aaah.
    assert parts == {
        "training": "aaaa aaab aaac aaad aaae aaaf aaag".split(),
        "validation": ["aaah"],
        "test": ["baaa", "baab"],
    }
    assert PUBLISHED.known_leaks


def test_published_training_and_validation_can_share_a_subject_and_clean_cannot(tmp_path):
    write_all(tmp_path)
    for path in (tmp_path / "tuab/edf/train/normal/01_tcp_ar").glob("aaah*"):
        path.rename(path.with_name(path.name.replace("aaah", "aaae")))
    data = PUBLISHED.load(tmp_path)  # normal: aaaa aaab aaac aaad | aaae, which trains among the abnormal
    parts = parts_of(PUBLISHED, data)
    assert set(parts["training"]) & set(parts["validation"]) == {"aaae"}
    with pytest.raises(ValueError, match="aaae"):
        replace(PUBLISHED, known_leaks=()).load(tmp_path)
    parts = parts_of(CLEAN, CLEAN.load(tmp_path))
    assert parts["training"] == "aaaa aaab aaac aaad aaae aaaf".split()
    assert parts["validation"] == "aaag aaah".split()
    assert not CLEAN.known_leaks


def test_skips_recordings_without_an_electrode_and_says_so(tmp_path):
    write_all(tmp_path)
    write(tmp_path, "train/normal", "aaad", names=NAMES[:-2])
    with pytest.warns(SpecMoEWarning, match="aaad_s001_t002.edf"):
        data = PUBLISHED.load(tmp_path)
    assert "aaad" not in data.subjects
    assert len(data.digests) == 11


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    write(tmp_path, "train/normal", "aaaa")
    available, why = CLEAN.available(tmp_path)
    assert not available
    assert "edf/eval/abnormal/01_tcp_ar/*.edf" in why
    assert "edf/train/normal" not in why.split(". ")[0]


def test_refuses_a_damaged_recording_by_name(tmp_path):
    path, _ = write(tmp_path, "train/normal", "aaaa")
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=path.name):
        tuab.read_tuab(tmp_path / "tuab")
