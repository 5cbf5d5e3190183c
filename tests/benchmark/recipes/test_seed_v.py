"""Tests of the recipe for SEED-V, on recordings of 34 s with clips of 1 or 2 s."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recipe_files import waves, write_cnt

from mne_specmoe.benchmark.recipes import seed_v
from mne_specmoe.benchmark.recipes.seed_v import Clip
from mne_specmoe.benchmark.splits import by_subject

CLIPS = {
    "1": [Clip(1 + 2 * k, 2 + 2 * k, k % 5) for k in range(15)],
    "2": [Clip(1 + 2 * k, 3 + 2 * k if k < 5 else 2 + 2 * k, 4 - k % 5) for k in range(15)],
}
SUBJECTS = ("1", "2", "10")
NAMES = ("M1", *seed_v.CHANNELS[:30], "M2", *seed_v.CHANNELS[30:], "HEO", "VEO")


def tiny(recipe):
    return replace(
        recipe,
        read=partial(seed_v.read_seed_v, clips=CLIPS),
        missing=partial(seed_v.missing_of_seed_v, subjects=SUBJECTS, clips=CLIPS),
    )


PUBLISHED, CLEAN = (tiny(recipe) for recipe in seed_v.RECIPES)
CLEAN = replace(CLEAN, rule=by_subject([SUBJECTS], 3))


def write(root, stem, *, names=NAMES, sfreq=1000, seconds=34, seed=0):
    path = root / "seed_v" / "EEG_raw" / f"{stem}.cnt"
    # Six samples more: resampling pads to a power of two, and so shifts by up to half a sample, here by almost none.
    write_cnt(path, names, sfreq, waves(len(names), seconds * sfreq + 6, sfreq, seed=seed))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for number, subject in enumerate(SUBJECTS):
        for session in CLIPS:
            write(root, f"{subject}_{session}_2018041{session}", seed=10 * number + int(session))
    return root


@pytest.fixture(scope="module")
def data(root):
    return PUBLISHED.load(root)


def test_the_real_clips_give_the_calculated_numbers_of_windows():
    by_part = np.zeros((3, 5), int)
    for clips in seed_v.CLIPS.values():
        assert len(clips) == 15
        assert all(first.end < second.begin for first, second in zip(clips[:-1], clips[1:], strict=True))
        for number, clip in enumerate(clips):
            by_part[number // 5, clip.label] += 16 * (clip.end - clip.begin)
    assert by_part.tolist() == [
        [5824, 5600, 11440, 7488, 4080],
        [7440, 10896, 9792, 5936, 8896],
        [6544, 7584, 9440, 10256, 6528],
    ]


def test_windows_are_seconds_of_clips(data):
    assert data.X.shape == (3 * (15 + 20), 62, 200)
    own = np.flatnonzero(data.recordings == "1_2_20180412 clip 3")
    assert_array_equal(data.starts[own], [1400, 1600])
    assert_array_equal(data.y[own], [1, 1])
    assert set(data.sessions[own]) == {"2"}
    kept = [place for place, name in enumerate(NAMES) if name in seed_v.CHANNELS]
    expected = waves(66, 34 * 200, 200, seed=2)[kept]
    assert_allclose(data.X[own[1]], expected[:, 1600:1800], atol=4e-6)


def test_published_parts_are_by_clip_and_share_subjects(data):
    split = PUBLISHED.split(data)
    parts = dict(split.folds[0].parts())
    assert split.by == "block"
    for number, places in enumerate(parts.values()):
        clips = {int(name.split()[-1]) for name in data.recordings[places]}
        assert clips == set(range(5 * number, 5 * number + 5))
        assert set(data.subjects[places]) == set(SUBJECTS)
    assert len(parts["training"]) == 3 * 15
    assert "every subject" in " ".join(PUBLISHED.confounds)


def test_clean_folds_share_no_subject(root):
    data = CLEAN.load(root)
    for fold in CLEAN.split(data).folds:
        subjects = [set(data.subjects[places]) for _, places in fold.parts()]
        assert not subjects[0] & subjects[1] | subjects[0] & subjects[2] | subjects[1] & subjects[2]
    assert len(seed_v.RECIPES[1].rule.args[1]) == 4


def test_takes_the_repaired_recording_only(root, tmp_path, data):
    (tmp_path / "seed_v").symlink_to(root / "seed_v")
    path = write(root, "1_1_20180411_repaired", seed=77)
    try:
        repaired = PUBLISHED.load(tmp_path)
    finally:
        path.unlink()
    assert len(repaired) == len(data)
    assert "1_1_20180411" not in repaired.digests
    expected = waves(66, 34 * 200, 200, seed=77)[1, 3000:3200]
    assert_allclose(repaired.X[repaired.recordings == "1_1_20180411_repaired clip 7"][0, 0], expected, atol=2e-6)


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    write(tmp_path, "1_1_20180411", seconds=1)
    available, why = PUBLISHED.available(tmp_path)
    assert not available
    assert "'1_2_*.cnt'" in why
    assert "'1_1_*.cnt'" not in why


@pytest.mark.parametrize(
    ("faults", "message"),
    [({"seconds": 20}, "cut short"), ({"sfreq": 500}, "500 Hz"), ({"names": (*NAMES[:-3], "X")}, "CB2")],
)
def test_refuses_other_recordings_by_name(tmp_path, faults, message):
    write(tmp_path, "1_1_20180411", **faults)
    with pytest.raises(ValueError, match=message) as error:
        seed_v.read_seed_v(tmp_path / "seed_v", clips=CLIPS)
    assert "1_1_20180411.cnt" in str(error.value)


def test_refuses_two_recordings_of_a_session_and_other_names(tmp_path):
    write(tmp_path, "1_1_20180411", seconds=1)
    path = write(tmp_path, "1_1_20180412", seconds=1)
    with pytest.raises(ValueError, match="1_1_20180412"):
        seed_v.read_seed_v(tmp_path / "seed_v", clips=CLIPS)
    path.rename(path.with_name("practice.cnt"))
    with pytest.raises(ValueError, match="practice"):
        seed_v.read_seed_v(tmp_path / "seed_v", clips=CLIPS)


def test_refuses_a_damaged_file_by_name(tmp_path):
    write(tmp_path, "1_1_20180411", seconds=1).write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match=r"1_1_20180411\.cnt cannot be read"):
        seed_v.read_seed_v(tmp_path / "seed_v", clips=CLIPS)
