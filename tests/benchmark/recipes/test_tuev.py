"""TUEV: one window per marked channel as published, each once when clean; splits by subject."""

import mne
import numpy as np
import pytest
from edf_files import noise_uv, write_edf

from mne_specmoe._validation import SpecMoEWarning
from mne_specmoe.benchmark.recipes.tuev import CLASSES, RECIPES, TUH_LEADS

PUBLISHED, CLEAN = RECIPES
ELECTRODES = sorted({name for lead in TUH_LEADS for name in lead.split("-")})
NAMES = [f"EEG {name}-REF" for name in ("A1", *ELECTRODES)]
SUBJECTS = ("aaaaaaaa", "aaaaaaab", "aaaaaaac", "aaaaaaad", "aaaaaaae", "aaaaaaaf")
SECONDS = 40
ROWS = (  # channel, onset, end, kind
    "1,0.5,1.5,1", "2,0.5,1.5,1", "0,6.0,7.0,6", "3,6.0,7.0,4", "4,10.1,11.1,2", "5,15.0,16.0,3",
    "6,20.0,21.0,4", "7,25.0,26.0,5", "8,30.0,31.0,6", "9,38.9,39.9,6",
)  # fmt: skip


def paths(folder):
    train = [f"train/{name}/{name}_0000000{place}.edf" for name in SUBJECTS for place in (1, 2)]
    return [folder / "edf" / name for name in (*train, "eval/000/bckg_000_a_.edf", "eval/001/pled_001_a_.edf")]


def signals(place):
    return noise_uv(len(NAMES), SECONDS, 250.0, seed=place)


def write(path, place, rows=ROWS):
    write_edf(path, signals(place), 250.0, NAMES)
    path.with_suffix(".rec").write_text("\n".join(rows) + "\n")


@pytest.fixture
def root(tmp_path):
    for place, path in enumerate(paths(tmp_path / "tuev")):
        write(path, place)
    return tmp_path


def test_published_windows_are_one_per_row(root):
    data = PUBLISHED.load(root)
    assert data.X.shape == (14 * len(ROWS), 16, 1000)
    assert data.y[:10].tolist() == [0, 0, 5, 3, 1, 2, 3, 4, 5, 5]
    assert (data.starts[:10] / 200).tolist() == [-1.5, -1.5, 4, 4, 8.1, 13, 18, 23, 28, 36.9]
    assert data.classes == CLASSES
    first, *_, last = PUBLISHED.split(data).folds[0].parts()
    assert set(data.subjects[first[1]]) == set(SUBJECTS[:4])
    assert set(data.subjects[PUBLISHED.split(data).folds[0].validation]) == set(SUBJECTS[4:])
    assert set(data.subjects[last[1]]) == {"eval-000", "eval-001"}


def test_windows_hold_filtered_leads_and_go_round(root):
    data = PUBLISHED.load(root)
    place = 3  # of the recordings in order
    raw = mne.io.RawArray(signals(place) * 1e-6, mne.create_info(NAMES, 250.0, "eeg"), verbose="ERROR")
    raw.resample(200, verbose="ERROR").filter(0.3, 75, verbose="ERROR").notch_filter(60, verbose="ERROR")
    volts = dict(zip(["A1", *ELECTRODES], raw.get_data(), strict=True))
    recording = np.flatnonzero(data.recordings == paths(root / "tuev")[place].stem)
    for row, lead in ((0, "FP1-F7"), (6, "T4-T6"), (15, "P4-O2")):
        first, second = lead.split("-")
        expected = volts[first] - volts[second]
        assert TUH_LEADS[row] == lead
        np.testing.assert_allclose(data.X[recording[4], row], expected[1620:2620], atol=2e-8)
        around = np.concatenate([expected[-300:], expected[:700]])
        np.testing.assert_allclose(data.X[recording[0], row], around, atol=2e-8)


def with_every_kind(root):
    """Add an event of the first kind, as no other of it is within the recording."""
    for path in paths(root / "tuev"):
        path.with_suffix(".rec").write_text("\n".join([*ROWS, "1,12.0,13.0,1"]) + "\n")


def test_clean_windows_occur_once_with_one_label_within_the_recording(root):
    with_every_kind(root)
    data = CLEAN.load(root)
    own = data.recordings == "bckg_000_a_"
    assert (data.starts[own] / 200).tolist() == [8.1, 10, 13, 18, 23, 28]
    assert data.y[own].tolist() == [1, 0, 2, 3, 4, 5]


def test_a_recording_of_a_test_subject_in_training_is_found_out(root):
    with_every_kind(root)
    assert len(CLEAN.load(root)) == 14 * 6
    copied = root / "tuev/edf/train/aaaaaaaa/aaaaaaaa_00000001.edf"
    copied.write_bytes((root / "tuev/edf/eval/000/bckg_000_a_.edf").read_bytes())
    for recipe in RECIPES:
        with pytest.raises(ValueError, match="same window is in different parts"):
            recipe.load(root)


def test_missing_files_are_named(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    (root / "tuev/edf/eval/001/pled_001_a_.rec").unlink()
    assert "'edf/eval/001/pled_001_a_.edf'" not in PUBLISHED.available(root)[1]
    assert "'edf/eval/001/pled_001_a_.rec'" in PUBLISHED.available(root)[1]
    (tmp_path / "other/tuev").mkdir(parents=True)
    available, instruction = CLEAN.available(tmp_path / "other")
    assert not available
    assert "'edf/train', 'edf/eval'" in instruction


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,5.0,7.0,1", "has an event from 5 to 7 s, but events must last 1 s"),
        ("1,39.5,40.5,1", "has an event from 39.5 to 40.5 s"),
        ("1,-0.5,0.5,1", "has an event from -0.5 to 0.5 s"),
        ("1,5.0,6.0,7", r"has events of the kinds \[7.0\]"),
        ("1,5.0,6.0", "must have four numbers per line"),
        ("1;5.0;6.0;1", "must have four numbers per line"),
    ],
)
def test_wrong_events_are_refused(root, row, message):
    (root / "tuev/edf/eval/001/pled_001_a_.rec").write_text(f"{ROWS[0]}\n{row}\n")
    with pytest.raises(ValueError, match=rf"pled_001_a_\.rec {message}"):
        PUBLISHED.load(root)


def test_recordings_without_all_electrodes_or_without_events_are_left_out(root):
    path = root / "tuev/edf/train/aaaaaaab/aaaaaaab_00000001.edf"
    write_edf(path, signals(2)[:-1], 250.0, NAMES[:-1])
    (root / "tuev/edf/train/aaaaaaab/aaaaaaab_00000002.rec").write_text("")
    with pytest.warns(SpecMoEWarning, match=r"1 recordings.*'aaaaaaab_00000001\.edf'"):
        data = PUBLISHED.load(root)
    assert len(data) == 12 * len(ROWS)
    assert "aaaaaaab" not in data.subjects
