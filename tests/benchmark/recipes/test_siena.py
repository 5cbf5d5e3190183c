"""Tests of the recipe for Siena, on recordings of 80 to 105 s and a table of their own."""

import datetime
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recipe_files import waves, write_edf

from mne_specmoe.benchmark.recipes import siena
from mne_specmoe.benchmark.splits import fixed_subjects

TABLE = {
    "PN00-1": ("19.39.33", (("19.39.55", "19.40.26"),)),  # 22 to 53 s
    "PN06-1": ("23.59.30", (("00.00.10", "00.00.25"),)),  # 40 to 55 s, on the next day
    "PN06-10": ("10.00.00", ()),
    "PN10-4.5.6": ("10.00.00", (("10.00.21", "10.00.31"), ("10.00.50", "10.01.02"))),
    "PN14-3": ("09.00.00", (("12.00.33", "12.00.47"),)),  # begins at 12.00.00
}
HEADERS = {name: datetime.time(*map(int, begin.split("."))) for name, (begin, _) in TABLE.items()}
HEADERS["PN14-3"] = datetime.time(12)
SEEDS = {name: 7 * place for place, name in enumerate(TABLE)}
NAMES = (*(f"EEG {name.upper() if name == 'Fp1' else name}" for name in reversed(siena.CHANNELS)), "EKG EKG")
PUBLISHED = replace(
    siena.RECIPES[0],
    read=partial(siena.read_published, table=TABLE, unknown=("PN06-1",)),
    missing=partial(siena.missing_of_siena, table=TABLE),
)
CLEAN = replace(
    siena.RECIPES[1],
    read=partial(siena.read_clean, table=TABLE),
    missing=partial(siena.missing_of_siena, table=TABLE),
    rule=fixed_subjects(("PN00", "PN06"), ("PN10",), ("PN14",)),
)


def write(root, name, *, names=NAMES, sfreq=512, seconds=81, begin=None):
    volts = waves(len(names), seconds * sfreq, sfreq, seed=SEEDS[name])
    write_edf(root / "siena" / name[:4] / f"{name}.edf", names, sfreq, volts, begin or HEADERS[name])
    return volts


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for name in TABLE:
        write(root, name)
    return root


@pytest.fixture(scope="module")
def published(root):
    return PUBLISHED.load(root)


@pytest.fixture(scope="module")
def clean(root):
    return CLEAN.load(root)


def of(data, name):
    return data.recordings == name


def test_the_table_has_all_recordings_and_seizures():
    assert len(siena.SEIZURES) == 41
    assert sum(len(spans) for _, spans in siena.SEIZURES.values()) == 47
    assert {name.split("-")[0] for name in siena.SEIZURES} == set(siena.PATIENTS)
    for begin, spans in siena.SEIZURES.values():
        times = [siena._seconds_after(begin, each) for span in spans for each in span]
        assert times == sorted(times)
        assert 0 < times[0] < times[-1] < 14 * 3600


def test_the_published_rules_give_the_450_positives_that_were_calculated():
    positives = 0
    for name, (begin, spans) in siena.SEIZURES.items():
        if int(name[2:4]) > 12 or name in siena._NEVER_MATCHED:
            continue
        seizures = siena._samples(begin, spans)
        _, labels = siena._published_windows(begin, None, spans, 512 * 3600 * 15, name)
        positives += labels.sum()
        assert all(end > onset for onset, end in seizures)
    assert positives == 450


def test_published_windows_contradict_each_other(published):
    own = of(published, "PN00-1")
    assert_array_equal(published.y[own][:8], [0, 0, 1, 0, 0, 1, 0, 0])  # 30 to 50 s is seizure, but not labelled
    assert_array_equal(published.starts[own][8:] / 200, [21, 26, 31, 36, 41, 46, 51])
    assert published.y[own][8:].all()


def test_published_labels_miss_recordings_and_take_wrong_begins(published):
    assert not published.y[of(published, "PN06-1")].any()
    assert not published.y[of(published, "PN14-3")].any()
    assert published.y[of(published, "PN10-4.5.6")].any()


def test_clean_labels_follow_the_overlap_and_the_header(clean):
    assert clean.X.shape == (40, 29, 2000)
    assert_array_equal(clean.y[of(clean, "PN00-1")], [0, 0, 1, 1, 1, 0, 0, 0])
    assert_array_equal(clean.y[of(clean, "PN06-1")], [0, 0, 0, 0, 1, 1, 0, 0])
    assert_array_equal(clean.y[of(clean, "PN10-4.5.6")], [0, 0, 1, 0, 0, 1, 0, 0])
    assert_array_equal(clean.y[of(clean, "PN14-3")], [0, 0, 0, 1, 1, 0, 0, 0])


def test_windows_are_volts_in_the_order_of_the_channels(published):
    place = np.flatnonzero(of(published, "PN00-1"))[9]  # an extra window, from 26 s
    expected = waves(30, 81 * 200, 200, seed=SEEDS["PN00-1"])[:29][::-1][:, 5200:7200]
    assert published.ch_names[:2] == ("Fp1", "F3")
    assert_allclose(published.X[place][:, 300:-300], expected[:, 300:-300], atol=2e-6)


def test_the_published_validation_leaks(root, published):
    split = PUBLISHED.split(published)
    parts = dict(split.folds[0].parts())
    assert set(published.subjects[parts["test"]]) == {"PN14"}
    assert set(published.subjects[parts["training"]]) & set(published.subjects[parts["validation"]]) == {
        "PN00",
        "PN06",
        "PN10",
    }
    for patient in ("PN00", "PN06", "PN10"):
        for label in (0, 1):
            own = np.flatnonzero((published.subjects == patient) & (published.y == label))
            assert np.isin(own, parts["training"]).sum() == int(0.8 * len(own))
    assert_array_equal(PUBLISHED.split(published).folds[0].training, parts["training"])
    assert PUBLISHED.known_leaks
    with pytest.raises(ValueError, match="overlap|two parts"):
        replace(PUBLISHED, known_leaks=()).load(root)


def test_clean_patients_are_in_one_part_each(clean):
    parts = dict(CLEAN.split(clean).folds[0].parts())
    assert [set(clean.subjects[places]) for places in parts.values()] == [{"PN00", "PN06"}, {"PN10"}, {"PN14"}]
    assert not CLEAN.known_leaks


def test_the_real_clean_split_validates_by_patients():
    part_of = siena.RECIPES[1].rule.args[1]["fixed subjects"]
    assert [name for name, part in part_of.items() if part == "validation"] == ["PN10", "PN11", "PN12"]
    assert [name for name, part in part_of.items() if part == "test"] == ["PN13", "PN14", "PN16", "PN17"]
    assert len(part_of) == 14


def test_says_what_is_missing(root):
    assert CLEAN.available(root)[0]
    available, why = siena.RECIPES[1].available(root)
    assert not available
    assert "PN00/PN00-2.edf" in why.replace("\\", "/")
    assert "PhysioNet" in why


@pytest.mark.parametrize(
    ("faults", "message"),
    [({"names": NAMES[1:]}, "F10"), ({"sfreq": 256}, "256 Hz"), ({"seconds": 45}, "cut short")],
)
def test_refuses_other_recordings_by_name(tmp_path, faults, message):
    table = {"PN00-1": TABLE["PN00-1"]}
    write(tmp_path, "PN00-1", **faults)
    with pytest.raises(ValueError, match=message) as error:
        siena.read_clean(tmp_path / "siena", table=table)
    assert "PN00-1.edf" in str(error.value)
