"""CHB-MIT: files, leads, windows and labels by the published rules and mended; the leak of the published split."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from edf_files import noise_uv, write_edf
from scipy.signal import resample

from mne_specmoe._validation import SpecMoEWarning
from mne_specmoe.benchmark.leakage import check_split
from mne_specmoe.benchmark.recipes import chb_mit
from mne_specmoe.benchmark.recipes.chb_mit import CASES, LEADS, RECIPES

PUBLISHED, CLEAN = RECIPES
FEW = {case: range(1, 3) for case in ("chb01", "chb20", "chb21", "chb22", "chb23", "chb24")}
NAMES = ("-", *reversed(LEADS), "T8-P8", "-")  # as in many files, T8-P8 is there twice
SECONDS = 64
SEIZURE = (18, 52)  # s, in the second file of each case


def signals(name):
    return noise_uv(len(NAMES), SECONDS, 256.0, seed=int(name[3:5]) * 100 + int(name[6:8]))


def summary(case, names, numbered=""):
    lines = ["Data Sampling Rate: 256 Hz", "Channels in EDF Files:", "Channel 1: FP1-F7"]
    for name in names:
        lines += [f"\nFile Name: {name}", "File Start Time: 11:42:54", f"Number of Seizures in File: {name[7]}"]
        if name.endswith("02.edf"):
            lines += [f"Seizure {numbered}Start Time: {SEIZURE[0]} seconds", f"Seizure {numbered}End Time: 52 seconds"]
    return "\n".join(lines)


def write_root(root):
    folder = root / PUBLISHED.folder
    index = ["chb01/chb01_03.edf", "chb02/chb02_16+.edf", "chb13/chb13_02.edf"]  # of files that are not used
    for place, case in enumerate(FEW):
        names = [f"{case}_01.edf", f"{case}_02.edf"]
        for name in names:
            write_edf(folder / case / name, signals(name), 256.0, NAMES)
        (folder / case / f"{case}-summary.txt").write_text(summary(case, names, "1 " if place % 2 else ""))
        index += [f"{case}/{name}" for name in names]
    (folder / "RECORDS").write_text("\n".join(index) + "\n")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("root"))


def few(recipe, cases=FEW):
    """The recipe for some cases."""
    _, *how = recipe.read.args
    return replace(recipe, read=partial(chb_mit.read, cases, *how), missing=partial(chb_mit.missing, cases))


@pytest.fixture(scope="module")
def published(root):
    return few(PUBLISHED).load(root)


@pytest.fixture(scope="module")
def clean(root):
    return few(CLEAN).load(root)


def test_published_windows_and_labels_follow_both_rules(published):
    own = published.recordings == "chb24_02"
    regular, extra = published.starts[own][:6] / 200, published.starts[own][6:] / 200
    assert regular.tolist() == [0, 10, 20, 30, 40, 50]
    assert published.y[own][:6].tolist() == [0, 1, 0, 0, 0, 1]  # those within the seizure have the wrong label
    assert extra.tolist() == pytest.approx([17, 22, 27, 32, 37, 42, 47, 52], abs=0.01)
    assert set(published.y[own][6:]) == {1}
    assert len(published) == 6 * (6 + 14)


def test_clean_windows_are_labelled_by_what_they_mostly_are(clean):
    own = clean.recordings == "chb24_02"
    assert clean.y[own].tolist() == [0, 0, 1, 1, 1, 0]
    assert len(clean) == 6 * 12


def test_windows_hold_the_leads_in_volts(published):
    place = np.flatnonzero(published.recordings == "chb20_01")[2]
    stored = signals("chb20_01")[:, 5120:7680]
    for lead in LEADS:
        expected = resample(stored[NAMES.index(lead)], 2000) * 1e-6
        np.testing.assert_allclose(published.X[place, LEADS.index(lead)], expected, atol=2e-8)


def test_the_published_split_has_the_leak_that_it_states(published):
    split = PUBLISHED.split(published)
    (fold,) = split.folds
    cases = {part: sorted(set(published.sessions[places])) for part, places in fold.parts()}
    assert cases == {"training": ["chb01", "chb20"], "validation": ["chb21", "chb22"], "test": ["chb23", "chb24"]}
    with pytest.raises(ValueError, match=r"subjects in two parts: 'chb01 \(training and validation\)'"):
        check_split(published, split)
    assert "chb21" in PUBLISHED.known_leaks[0]


def test_the_clean_split_is_of_persons(clean):
    (fold,) = CLEAN.split(clean).folds
    cases = {part: sorted(set(clean.sessions[places])) for part, places in fold.parts()}
    assert cases == {"training": ["chb01", "chb21"], "validation": ["chb20", "chb22"], "test": ["chb23", "chb24"]}
    assert not CLEAN.known_leaks
    assert len(CASES) == 21
    assert len(CLEAN.subjects) == 20


def test_a_missing_lead_is_zero_as_published_and_leaves_the_file_out_when_clean(tmp_path):
    root = write_root(tmp_path)
    path = root / PUBLISHED.folder / "chb22/chb22_01.edf"
    write_edf(path, signals("chb22_01")[:-3], 256.0, NAMES[:-3])
    data = few(PUBLISHED).load(root)
    own = data.X[data.recordings == "chb22_01"]
    assert [lead for lead, row in zip(LEADS, own[0], strict=True) if not row.any()] == ["FP1-F7"]
    with pytest.warns(SpecMoEWarning, match=r"1 recordings.*'chb22_01\.edf'"):
        data = few(CLEAN).load(root)
    assert "chb22_01" not in data.recordings
    write_edf(path, signals("chb22_01"), 256.0, [f"EKG {place}" for place in range(len(NAMES))])
    with pytest.raises(ValueError, match=r"chb22_01\.edf lacks the channels"):
        few(PUBLISHED).load(root)


def test_missing_files_are_named(tmp_path):
    (tmp_path / PUBLISHED.folder).mkdir(parents=True)
    available, instruction = PUBLISHED.available(tmp_path)
    assert not available
    assert "'RECORDS'" in instruction
    root = write_root(tmp_path)
    assert few(PUBLISHED).available(root) == (True, "")
    for name in ("chb22/chb22_01.edf", "chb23/chb23-summary.txt"):
        (root / PUBLISHED.folder / name).unlink()
    _, instruction = few(PUBLISHED).available(root)
    assert "'chb22/chb22_01.edf', 'chb23/chb23-summary.txt'" in instruction
    more = few(PUBLISHED, FEW | {"chb01": range(1, 4)})
    assert "'chb01/chb01_03.edf'" in more.available(root)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "chb20-summary.txt lists no files"),
        ("File Name: chb20_02.edf\nSeizure Start Time: 5 seconds", "seizures of chb20_02.edf without an end"),
        (
            "File Name: chb20_02.edf\nSeizure Start Time: 50 seconds\nSeizure End Time: 70 seconds",
            "chb20_02.edf ends before its last seizure does",
        ),
    ],
)
def test_wrong_summaries_are_refused(tmp_path, text, message):
    root = write_root(tmp_path)
    (root / PUBLISHED.folder / "chb20/chb20-summary.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        few(CLEAN).load(root)


def test_other_rates_are_refused(tmp_path):
    root = write_root(tmp_path)
    write_edf(root / PUBLISHED.folder / "chb01/chb01_01.edf", noise_uv(19, 10, 200.0, 0), 200.0, NAMES)
    with pytest.raises(ValueError, match=r"chb01_01\.edf is sampled at 200 Hz"):
        few(CLEAN).load(root)
