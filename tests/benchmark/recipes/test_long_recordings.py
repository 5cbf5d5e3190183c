"""Tests of the reader for long recordings of mice, on blocks of 4 s."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import resample

from mne_specmoe.benchmark.recipes.long_recordings import Layout, make_recipe, read_long_recordings

LAYOUT = Layout(classes=("vehicle", "drug"), block_seconds=4, window_seconds=1)
ANIMALS = ("m1", "m2", "m3")


def blocks_of(name, animal, site, n_blocks=4):
    return np.random.default_rng([*name.encode(), *animal.encode(), *site.encode()]).normal(5, 30, (n_blocks, 4096))


def write(root, name, animal, site, *, baseline=1, n_blocks=4, stem=None):
    path = root / "mice" / name / f"{stem or f'{animal}_2020_{site}_a_{baseline}'}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = blocks_of(name, animal, site, n_blocks)
    return path


@pytest.fixture
def root(tmp_path):
    for name in LAYOUT.classes:
        for animal in ANIMALS:
            for site in LAYOUT.sites:
                write(tmp_path, name, animal, site)
    return tmp_path


def recipe(layout=LAYOUT):
    return make_recipe("my_mice", "Drug or vehicle", "mice", layout, ANIMALS, 3)


def test_windows_are_cut_from_the_blocks_after_the_baseline(root):
    data = recipe().load(root)
    assert data.X.shape == (2 * 3 * 3 * 4, 2, 200)
    own = np.flatnonzero(data.recordings == "drug/m2_2020_a_1")
    assert_array_equal(data.starts[own], 200 * np.arange(12))
    assert data.y[own].all()
    for row, site in enumerate(("prefrontal", "parietal")):
        block = resample(blocks_of("drug", "m2", site)[2], 800)  # the second after one of baseline
        assert_allclose(data.X[own[5], row], 1e-6 * block[200:400], atol=1e-10)


def test_z_scores_are_what_a_model_sees(root):
    data = recipe(replace(LAYOUT, z_score=True)).load(root)
    own = np.flatnonzero(data.recordings == "drug/m2_2020_a_1")
    window = resample(blocks_of("drug", "m2", "parietal")[2], 800)[200:400]
    z = (window - window.mean()) / (window.std() + 1e-6)
    assert_allclose(data.X[own[5], 1] / 100e-6, z, atol=1e-5)


def test_uses_as_many_blocks_as_are_asked_for(root):
    data = read_long_recordings(root / "mice", layout=replace(LAYOUT, n_blocks=2))
    assert len(data) == 2 * 3 * 2 * 4
    with pytest.raises(ValueError, match=r"m1_2020_prefrontal_a_1\.h5 holds \(4, 4096\).*must have 5 blocks"):
        read_long_recordings(root / "mice", layout=replace(LAYOUT, n_blocks=4))


def test_animals_are_left_out(root):
    data = recipe().load(root)
    for fold in recipe().split(data).folds:
        names = [set(data.subjects[places].tolist()) for _, places in fold.parts()]
        assert [len(each) for each in names] == [1, 1, 1]
        assert set.union(*names) == set(ANIMALS)


def test_says_what_is_missing(root):
    for path in (root / "mice").glob("*/m3_*"):
        path.unlink()
    for path in (root / "mice" / "drug").glob("*"):
        path.unlink()
    available, why = recipe().available(root)
    assert not available
    assert "'drug/*.h5', '*/m3_*.h5'" in why


def test_refuses_a_recording_without_one_site(root):
    next((root / "mice/drug").glob("m1_*parietal*")).unlink()
    with pytest.raises(ValueError, match="'parietal' for the recording 'm1_2020_a_1'"):
        recipe().load(root)


@pytest.mark.parametrize("stem", ["m1_prefrontal_parietal_1", "m1_hippocampus_1", "m1_prefrontal_x"])
def test_refuses_other_names(root, stem):
    write(root, "drug", "m1", "", stem=stem)
    with pytest.raises(ValueError, match=stem):
        recipe().load(root)


def test_refuses_other_lengths_and_damaged_files_by_name(root):
    path = write(root, "vehicle", "m1", "parietal", n_blocks=3)
    with pytest.raises(ValueError, match="other numbers of blocks"):
        recipe().load(root)
    with pytest.raises(ValueError, match=r"must have 2 blocks or more, 1 of them baseline, of 4000"):
        recipe(replace(LAYOUT, sfreq=1000)).load(root)
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=f"{path.name} cannot be read"):
        recipe().load(root)


def test_refuses_windows_that_are_longer_than_a_block():
    with pytest.raises(ValueError, match="window_seconds"):
        replace(LAYOUT, window_seconds=5)
