"""Tests of the recipe for DA-Pharmaco, on two minutes of each recording."""

from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recipe_files import waves

from mne_specmoe.benchmark.recipes import da_pharmaco as recipe

PUBLISHED, CLEAN = (replace(each, read=partial(each.read, skip_minutes=0.05, minutes=2)) for each in recipe.RECIPES)
INJECTION = 401  # as MATLAB counts


def names_of(animal):
    """Six channels, in another order for every second animal."""
    names = ["EMG", "vHCx", "MD", "dHC", "CA3", "PFCx"]
    prefrontal, ventral = recipe._ELECTRODES[animal]
    names = [{"vHCx": ventral, "PFCx": prefrontal}.get(name, name) for name in names]
    return names[::-1] if int(animal) % 2 else names


def signals(animal, drug, n_samples=INJECTION + 3000 + 120_000):
    seed = 7 * recipe.ANIMALS.index(animal) + list(recipe.TREATMENTS).index(drug)
    return 1e6 * waves(6, n_samples, 1000, seed=seed)


def write(root, animal, drug, *, names=None, sfreq=1000, n_samples=INJECTION + 3000 + 120_000, stem=None):
    path = root / "da_pharmaco" / f"{stem or f'{animal}_2019_05_{drug}'}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        ephys = file.create_group("Ephys")
        ephys["RawData"] = signals(animal, drug, n_samples).astype(np.float32)
        ephys["srate"] = [[float(sfreq)]]
        ephys["TimeStamps/Post_Inj_Start"] = [[float(INJECTION)]]
        codes = [np.array([[ord(letter)] for letter in name], np.uint16) for name in names or names_of(animal)]
        references = [file.create_dataset(f"#refs#/{place}", data=code).ref for place, code in enumerate(codes)]
        ephys.create_dataset("ChnList", data=np.array(references, h5py.ref_dtype)[:, None])
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for animal in recipe.ANIMALS:
        for drug in recipe.TREATMENTS:
            write(root, animal, drug)
    return root


@pytest.fixture(scope="module")
def published(root):
    return PUBLISHED.load(root)


@pytest.fixture(scope="module")
def clean(root):
    return CLEAN.load(root)


def expected(animal, drug, first):
    """The second block of a minute at 200 Hz, all channels of the file."""
    return 1e-6 * signals(animal, drug)[:, first + 60_000 : first + 120_000 : 5]


@pytest.mark.parametrize("animal", ["303", "304"])
def test_published_windows_keep_the_order_of_the_file_and_start_a_sample_late(published, animal):
    place = np.flatnonzero((published.subjects == animal) & (published.sessions == "CLZ3"))[1]
    rows = [row for row, name in enumerate(names_of(animal)) if name != "EMG"]
    wave = expected(animal, "CLZ3", INJECTION + 3000)[rows]
    assert published.X.shape == (140, 5, 12000)
    assert_allclose(published.X[place][:, 200:-800], wave[:, 200:-800], atol=1e-6)
    assert published.ch_names == ("LFP1", "LFP2", "LFP3", "LFP4", "LFP5")


@pytest.mark.parametrize("animal", ["303", "304", "340"])
def test_clean_windows_have_sites_in_one_order_and_start_at_the_injection(clean, animal):
    place = np.flatnonzero((clean.subjects == animal) & (clean.sessions == "Sal"))[1]
    names = [name[:3] if name[:3] in ("PFC", "vHC") else name for name in names_of(animal)]
    wave = expected(animal, "Sal", INJECTION - 1 + 3000)[[names.index(site) for site in recipe.SITES]]
    assert_allclose(clean.X[place][:, 200:-800], wave[:, 200:-800], atol=1e-6)
    assert clean.ch_names == recipe.SITES


def test_the_notch_takes_mains_out():
    t = np.arange(120_000) / 1000
    mains = np.sin(2 * np.pi * 50 * t)[None]
    kept = recipe._prepared(mains + np.sin(2 * np.pi * 12 * t), 2)
    assert_allclose(kept[0, 2000:-2000], np.sin(2 * np.pi * 12 * np.arange(24_000) / 200)[2000:-2000], atol=0.01)


def test_labels_are_drugs(clean):
    labels = {str(session): int(label) for session, label in zip(clean.sessions, clean.y, strict=True)}
    assert labels == {"Sal": 0, "SalT": 0, "Amph": 1, "CLZ1": 2, "CLZ3": 2, "SCH": 3, "Raclo": 4}
    assert_array_equal(np.bincount(clean.y), [40, 20, 40, 20, 20])


def test_the_published_split_is_by_animal(published):
    parts = dict(PUBLISHED.split(published).folds[0].parts())
    assert {part: len(places) for part, places in parts.items()} == {"training": 84, "validation": 28, "test": 28}
    assert set(published.subjects[parts["test"]]) == {"305", "530"}
    assert set(published.subjects[parts["validation"]]) == {"336", "574"}
    assert not PUBLISHED.known_leaks


def test_clean_leaves_five_pairs_out_and_begins_with_the_published_one(clean):
    folds = CLEAN.split(clean).folds
    tested = [set(clean.subjects[fold.test].tolist()) for fold in folds]
    assert [len(each) for each in tested] == [2] * 5
    assert set.union(*tested) == set(recipe.ANIMALS)
    assert tested[0] == {"305", "530"}
    assert set(clean.subjects[folds[0].validation].tolist()) == {"336", "574"}


def test_says_what_is_missing(root, tmp_path):
    assert PUBLISHED.available(root) == (True, "")
    write(tmp_path, "303", "Sal")
    available, why = PUBLISHED.available(tmp_path)
    assert not available
    assert "'303_*_SalT.mat'" in why
    assert "'303_*_Sal.mat'" not in why
    assert "69 in all" in why


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"sfreq": 500}, "500 Hz"),
        ({"n_samples": 100_000}, "cut short"),
        ({"names": ["EMG", "vHCd", "MD", "dHC", "CA1", "PFCd"]}, "CA3"),
        ({"names": ["MD", "vHCd", "MD", "dHC", "CA3", "PFCd"]}, "once"),
    ],
)
def test_refuses_other_files_by_name(tmp_path, faults, message):
    path = write(tmp_path, "303", "Sal", **faults)
    with pytest.raises(ValueError, match=message) as error:
        recipe._cut(path, True, 0.05, 2)
    assert path.name in str(error.value)


@pytest.mark.parametrize(("stem", "message"), [("999_a_Sal", "999"), ("303_a_Ket", "303_a_Ket"), ("303", "303")])
def test_refuses_unknown_animals_and_treatments(tmp_path, stem, message):
    (tmp_path / f"{stem}.mat").touch()
    with pytest.raises(ValueError, match=message):
        recipe.read_da_pharmaco(tmp_path, by_name=True)


def test_refuses_two_files_of_one_recording_and_damaged_ones(tmp_path):
    for name in ("303_a_Sal", "303_b_Sal"):
        (tmp_path / f"{name}.mat").write_bytes(b"x")
    with pytest.raises(ValueError, match="303_b_Sal"):
        recipe.read_da_pharmaco(tmp_path, by_name=True)
    (tmp_path / "303_b_Sal.mat").unlink()
    with pytest.raises(ValueError, match=r"303_a_Sal\.mat cannot be read"):
        recipe.read_da_pharmaco(tmp_path, by_name=True)


def test_says_what_a_file_lacks(tmp_path):
    path = write(tmp_path, "303", "Sal")
    with h5py.File(path, "a") as file:
        del file["Ephys/TimeStamps/Post_Inj_Start"]
    with pytest.raises(ValueError, match=r"303_2019_05_Sal\.mat has no 'Post_Inj_Start'"):
        recipe._cut(path, True, 0.05, 2)
