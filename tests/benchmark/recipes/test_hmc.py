"""Tests of the recipe for HMC, on recordings of 90 s."""

from dataclasses import replace
from functools import partial

import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recipe_files import waves, write_edf

from mne_specmoe.benchmark.recipes import hmc
from mne_specmoe.benchmark.recipes.cutting import subjects_in_order

NAMES = ("EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EEG C3-M2", "EMG chin")
HEADER = "Date, Time, Recording onset, Recording ending, Duration, Annotation, Linked channel\n"
SCORES = {"SN001": "W N1 N2", "SN002": "N3 R W", "SN010": "N2 N2 R", "SN011": "W N3 N2"}


def tiny(recipe, n_recordings=4):
    return replace(
        recipe,
        read=partial(recipe.read, n_recordings=n_recordings),
        missing=partial(recipe.missing, n_recordings=n_recordings),
        rule=subjects_in_order(2, 1),
    )


PUBLISHED, CLEAN = (tiny(recipe) for recipe in hmc.RECIPES)


def write(root, subject, stages, *, sfreq=256, names=NAMES, seconds=92, first=0.5):
    path = root / "hmc" / "recordings" / f"{subject}.edf"
    write_edf(path, names, sfreq, waves(len(names), seconds * sfreq, sfreq, seed=int(subject[2:])))
    lines = [f"x, y, {first + 30 * k}, z, 30, Sleep stage {stage}, \n" for k, stage in enumerate(stages.split())]
    lines.insert(1, "x, y, 12, z, 0, Lights off@@EEG F4-A1, \n")
    path.with_name(f"{subject}_sleepscoring.txt").write_text(HEADER + "".join(lines))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for subject, stages in SCORES.items():
        write(root, subject, stages)
    return root


@pytest.mark.parametrize("recipe", [PUBLISHED, CLEAN], ids=lambda recipe: recipe.name)
def test_windows_are_the_scored_epochs_in_volts_at_200_hz(root, recipe):
    data = recipe.load(root)
    assert data.X.shape == (12, 4, 6000)
    assert [data.classes[label] for label in data.y] == " ".join(SCORES.values()).split()
    assert_array_equal(data.starts[:3], [100, 6100, 12100])
    expected = waves(5, 92 * 200, 200, seed=10)[:4, 6100:12100]
    assert_allclose(data.X[7][:, 500:-500], expected[:, 500:-500], atol=1.5e-6)


@pytest.mark.parametrize("recipe", [PUBLISHED, CLEAN], ids=lambda recipe: recipe.name)
def test_subjects_are_split_in_natural_order(root, recipe):
    data = recipe.load(root)
    fold = recipe.split(data).folds[0]
    assert [sorted(set(data.subjects[places])) for _, places in fold.parts()] == [
        ["SN001", "SN002"],
        ["SN010"],
        ["SN011"],
    ]


def test_the_published_sizes_and_no_known_leaks():
    for recipe in hmc.RECIPES:
        assert recipe.rule.args == (100, 25)
        assert not recipe.known_leaks
    assert hmc.N_RECORDINGS == 151


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    assert "'hmc'" in PUBLISHED.available(tmp_path)[1]
    write(tmp_path, "SN001", "W")
    (tmp_path / "hmc/recordings/SN001_sleepscoring.txt").unlink()
    available, why = PUBLISHED.available(tmp_path)
    assert not available
    assert "SN001_sleepscoring.txt" in why
    assert "3 of 4 files" in why
    assert "1.1" in why


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"sfreq": 128}, "128 Hz"),
        ({"names": ("EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EMG chin")}, "C3-M2"),
        ({"seconds": 80}, "cut short"),
    ],
)
def test_refuses_other_recordings_by_name(tmp_path, faults, message):
    write(tmp_path, "SN001", "W N1 N2", **faults)
    with pytest.raises(ValueError, match=message) as error:
        tiny(hmc.RECIPES[0], 1).load(tmp_path)
    assert "SN001.edf" in str(error.value)


def test_refuses_a_damaged_recording_instead_of_taking_the_one_before(tmp_path):
    write(tmp_path, "SN001", "W")
    (tmp_path / "hmc/recordings/SN001.edf").write_bytes(b"0       ")
    with pytest.raises(ValueError, match=r"SN001\.edf cannot be read"):
        tiny(hmc.RECIPES[0], 1).load(tmp_path)


def test_refuses_another_version(root):
    with pytest.raises(ValueError, match=r"has 4 recordings.*1\.1"):
        tiny(hmc.RECIPES[1], 3).load(root)


def test_refuses_a_recording_without_a_scored_epoch(tmp_path):
    write(tmp_path, "SN001", "")
    with pytest.raises(ValueError, match=r"SN001_sleepscoring\.txt scores no epoch"):
        tiny(hmc.RECIPES[0], 1).load(tmp_path)


def test_refuses_a_scoring_without_its_columns(tmp_path):
    write(tmp_path, "SN001", "W")
    (tmp_path / "hmc/recordings/SN001_sleepscoring.txt").write_text("Onset, Stage\n0, W\n")
    with pytest.raises(ValueError, match="sleepscoring"):
        tiny(hmc.RECIPES[0], 1).load(tmp_path)
