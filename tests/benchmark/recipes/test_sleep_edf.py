"""Sleep-EDF: epochs, stages and the time around sleep; nights of a person together, or known not to be."""

from dataclasses import replace
from functools import partial

import edfio
import mne
import numpy as np
import pytest
from edf_files import noise_uv, write_edf

from mne_specmoe.benchmark.leakage import check_split
from mne_specmoe.benchmark.recipes import sleep_edf
from mne_specmoe.benchmark.recipes.sleep_edf import NIGHTS, RECIPES, by_night
from mne_specmoe.benchmark.splits import by_subject

PUBLISHED, CLEAN = RECIPES
FEW = ("SC4001", "SC4002", "SC4011", "SC4012", "SC4021", "SC4022", "SC4131")
SUBJECTS = ("SC400", "SC401", "SC402", "SC413")
CHANNELS = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
STAGES = (  # minutes, and what was scored
    (33, "Sleep stage W"), (1, "Sleep stage 1"), (0.5, "Sleep stage 2"), (0.5, "Movement time"), (1, "Sleep stage 3"),
    (0.5, "Sleep stage 4"), (0.5, "Sleep stage W"), (1, "Sleep stage R"), (0.5, "Sleep stage 2"),
    (32, "Sleep stage W"), (5, "Sleep stage ?"),
)  # fmt: skip
SECONDS = 60 * 69.0  # the recorder stopped before the last stage awake did


def signals(night):
    return noise_uv(3, SECONDS, 100.0, seed=int(night[3:]))


def write_hypnogram(path, stages=STAGES):
    onsets = np.cumsum([0, *(60 * minutes for minutes, _ in stages)])
    marks = [
        edfio.EdfAnnotation(onset, 60 * minutes, name)
        for onset, (minutes, name) in zip(onsets, stages, strict=False)
    ]  # fmt: skip
    edfio.Edf([], annotations=marks).write(path)


def few(recipe, rule):
    """The recipe for few nights."""
    read, missing = partial(sleep_edf.read, FEW), partial(sleep_edf.missing, FEW)
    return replace(recipe, read=read, missing=missing, subjects=SUBJECTS, rule=rule)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for night in FEW:
        folder = root / PUBLISHED.folder
        write_edf(folder / f"{night}E0-PSG.edf", signals(night), 100.0, CHANNELS)
        write_hypnogram(folder / f"{night}EC-Hypnogram.edf")
    return root


@pytest.fixture(scope="module")
def data(root):
    return few(CLEAN, by_subject([SUBJECTS], 4)).load(root)


def test_epochs_have_their_stages_and_half_an_hour_awake_on_either_side(data):
    own = data.recordings == "SC4012"
    expected = [0] * 60 + [1, 1, 2, 3, 3, 3, 0, 4, 4, 2] + [0] * 60
    assert data.y[own].tolist() == expected
    seconds = data.starts[own] / 200
    assert seconds[0] == 60 * 3
    assert seconds[62:64].tolist() == [60 * 34, 60 * 35]  # between them, movement
    assert set(data.subjects[own]) == {"SC401"}
    assert set(data.sessions[own]) == {"2"}


def test_windows_hold_the_two_channels_in_volts(data):
    assert data.X.shape == (7 * 130, 2, 6000)
    assert data.ch_names == ("Fpz-Cz", "Pz-Oz")
    pz = mne.filter.resample(1e-6 * signals("SC4022")[1], up=2.0, npad="auto")
    place = np.flatnonzero(data.recordings == "SC4022")[61]
    start = data.starts[place]
    np.testing.assert_allclose(data.X[place, 1], pz[start : start + 6000], atol=1e-8)


def test_epochs_awake_after_the_end_of_the_recording_are_left_out(tmp_path):
    write_edf(tmp_path / "SC4001E0-PSG.edf", signals("SC4001")[:, : 100 * 60 * 40], 100.0, CHANNELS)
    write_hypnogram(tmp_path / "SC4001EC-Hypnogram.edf")
    assert len(sleep_edf.read(["SC4001"], tmp_path)) == 130 - 60 + 3
    write_edf(tmp_path / "SC4001E0-PSG.edf", signals("SC4001")[:, : 100 * 60 * 37], 100.0, CHANNELS)
    with pytest.raises(ValueError, match=r"SC4001EC-Hypnogram\.edf has stages of sleep when SC4001E0-PSG\.edf has"):
        sleep_edf.read(["SC4001"], tmp_path)


def test_the_clean_split_keeps_nights_of_a_person_together(data):
    split = by_subject([SUBJECTS], 4)(data)
    check_split(data, split)
    folds = CLEAN.split(data).folds
    assert len(folds) == 10
    assert len(CLEAN.subjects) == 78
    assert len(NIGHTS) == 153
    for fold in split.folds:
        parts = [set(data.subjects[places]) for _, places in fold.parts()]
        assert sum(map(len, parts)) == 4


def test_the_published_split_has_the_leak_that_it_states(root):
    recipe = few(PUBLISHED, partial(by_night, 4))
    data = recipe.load(root)
    split = recipe.split(data)
    fold = split.folds[0]
    assert sorted(set(data.recordings[fold.test])) == ["SC4001", "SC4021"]
    assert sorted(set(data.recordings[fold.validation])) == ["SC4002", "SC4022"]
    first = split.folds[1]
    assert "SC400" in set(data.subjects[first.test]) & set(data.subjects[first.training])
    with pytest.raises(ValueError, match="subjects in two parts"):
        check_split(data, replace(split, by="subject"))
    assert "people who are tested were trained on" in recipe.known_leaks[0]
    tested = np.concatenate([each.test for each in split.folds])
    assert sorted(tested) == list(range(len(data)))


def test_missing_files_are_named(tmp_path):
    (tmp_path / CLEAN.folder).mkdir(parents=True)
    available, instruction = CLEAN.available(tmp_path)
    assert not available
    assert "SC4001??-Hypnogram.edf" in instruction
    assert "(306 in all)" in instruction


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (((1, "Sleep stage W"), (1, "Sleep stage ?")), r"Hypnogram\.edf has no epoch of sleep"),
        (((1, "Sleep stage N2"),), r"Hypnogram\.edf has stages that are not known: \['Sleep stage N2'\]"),
        (((1, "Sleep stage ?"),), r"Hypnogram\.edf has no sleep stages"),
    ],
)
def test_hypnograms_of_another_kind_are_refused(tmp_path, stages, message):
    write_edf(tmp_path / "SC4001E0-PSG.edf", noise_uv(3, 60, 100.0, 0), 100.0, CHANNELS)
    write_hypnogram(tmp_path / "SC4001EC-Hypnogram.edf", stages)
    with pytest.raises(ValueError, match=message):
        sleep_edf.read(["SC4001"], tmp_path)


def test_two_hypnograms_of_a_night_are_refused(tmp_path):
    write_edf(tmp_path / "SC4001E0-PSG.edf", noise_uv(3, 60, 100.0, 0), 100.0, CHANNELS)
    for letters in ("EC", "EH"):
        write_hypnogram(tmp_path / f"SC4001{letters}-Hypnogram.edf")
    with pytest.raises(ValueError, match="must be one file SC4001"):
        sleep_edf.read(["SC4001"], tmp_path)
    (tmp_path / "SC4001EH-Hypnogram.edf").unlink()
    path = tmp_path / "SC4001EC-Hypnogram.edf"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"SC4001EC-Hypnogram\.edf is cut short"):
        sleep_edf.read(["SC4001"], tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"SC4001EC-Hypnogram\.edf cannot be read"):
        sleep_edf.read(["SC4001"], tmp_path)
