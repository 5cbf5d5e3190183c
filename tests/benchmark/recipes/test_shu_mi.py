"""SHU: trials, labels and split of the files."""

import numpy as np
import pytest
from scipy.io import savemat
from scipy.signal import resample

from mne_specmoe.benchmark.recipes.shu_mi import CHANNELS, RECIPES, SESSIONS, SUBJECTS

PUBLISHED, CLEAN = RECIPES
N_TRIALS = 2


def microvolts(subject, session):
    seed = 100 * SUBJECTS.index(subject) + SESSIONS.index(session)
    return 20 * np.random.default_rng(seed).standard_normal((N_TRIALS, 32, 1000), dtype=np.float32)


def name(subject, session):
    return f"{subject}_{session}_task_motorimagery_eeg.mat"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shu_mi"
    folder.mkdir()
    for subject in SUBJECTS:
        for session in SESSIONS:
            content = {"data": microvolts(subject, session), "labels": np.array([[2, 1]])}
            savemat(folder / name(subject, session), content)
    return tmp_path


def test_loads_trials_labels_and_split_as_published(root):
    data = PUBLISHED.load(root)
    assert data.X.shape == (25 * 5 * N_TRIALS, 32, 800)
    assert data.y.tolist() == [1, 0] * 125
    place = np.flatnonzero((data.subjects == "sub-012") & (data.sessions == "ses-04"))[1]
    expected = resample(microvolts("sub-012", "ses-04")[1, 26].astype(float), 800) * 1e-6
    np.testing.assert_allclose(data.X[place, CHANNELS.index("T6")], expected, atol=1e-9)
    (fold,) = PUBLISHED.split(data).folds
    parts = {part: sorted(set(data.subjects[places])) for part, places in fold.parts()}
    assert parts == {
        "training": list(SUBJECTS[:15]), "validation": list(SUBJECTS[15:20]), "test": list(SUBJECTS[20:])
    }  # fmt: skip
    assert not PUBLISHED.known_leaks
    folds = CLEAN.split(CLEAN.load(root)).folds
    tested = [subject for each in folds for subject in sorted(set(data.subjects[each.test]))]
    assert sorted(tested) == list(SUBJECTS)


def test_missing_and_wrong_files_are_named(root):
    path = root / "shu_mi" / name("sub-001", "ses-01")
    wrong = {
        "has labels [3]": {"data": microvolts("sub-001", "ses-01"), "labels": np.array([[3, 1]])},
        "one label for each": {"data": microvolts("sub-001", "ses-01")[:, :, ::2], "labels": np.array([[2, 1]])},
        "has no 'labels'": {"data": microvolts("sub-001", "ses-01")},
    }
    for message, content in wrong.items():
        savemat(path, content)
        with pytest.raises(ValueError, match="sub-001_ses-01") as error:
            PUBLISHED.load(root)
        assert message in str(error.value)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"sub-001_ses-01.*cannot be read"):
        PUBLISHED.load(root)
    path.unlink()
    available, instruction = PUBLISHED.available(root)
    assert not available
    assert name("sub-001", "ses-01") in instruction
    with pytest.raises(FileNotFoundError, match="figshare"):
        PUBLISHED.load(root)


def test_a_session_under_another_subject_is_found_out(root):
    content = {"data": 3 * microvolts("sub-001", "ses-01"), "labels": np.array([[2, 1]])}
    savemat(root / "shu_mi" / name("sub-025", "ses-05"), content)
    for recipe in RECIPES:
        with pytest.raises(ValueError, match="same window is in different parts"):
            recipe.load(root)
