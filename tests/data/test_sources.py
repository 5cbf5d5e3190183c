"""Finding recordings, reading them, and telling whose they are."""

import importlib.util
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
from noise_recordings import NAMES, noise, save

from mne_specmoe.data.sources import (
    ArrayRecording,
    Source,
    check_subject_pattern,
    find_sources,
    read_recording,
    subject_of,
)


def found_in(*recordings):
    """File names of the sources found."""
    return [source.item.name for source in find_sources(recordings)]


def test_every_recording_in_a_folder_is_found_once_and_in_order(tmp_path):
    for name in ("S002R01_raw.fif", "S000R01_raw.fif", "deeper/still/b_raw.fif", "S001R01_raw.fif"):
        save(noise(1.0), tmp_path / name)
    (tmp_path / "notes.txt").write_text("not EEG")
    (tmp_path / "average-ave.fif").write_text("not raw")
    (tmp_path / ".hidden_raw.fif").write_text("not to be seen")
    expected = ["S000R01_raw.fif", "S001R01_raw.fif", "S002R01_raw.fif", "b_raw.fif"]
    assert found_in(tmp_path) == expected
    assert found_in(tmp_path / "S001R01_raw.fif", tmp_path, str(tmp_path)) == [expected[1], expected[0], *expected[2:]]


def test_companions_and_other_files_of_mne_are_not_taken_for_recordings(tmp_path):
    names = ("a.vhdr", "a.eeg", "a.vmrk", "b.eeg", "c.set", "c.fdt", "d-epo.fif", "e_raw.fif", "e_raw-1.fif",
             "f_split-01_raw.fif", "f_split-02_raw.fif", "g.txt", "h.EDF", "rec-2.fif")  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    assert found_in(tmp_path) == ["a.vhdr", "b.eeg", "c.set", "e_raw.fif", "f_split-01_raw.fif", "h.EDF", "rec-2.fif"]


def test_a_file_has_another_signature_when_its_size_or_that_of_its_samples_changes(tmp_path):
    for name in ("c.set", "c.fdt"):
        (tmp_path / name).write_bytes(b"12345")
    signatures = [find_sources(tmp_path)[0].signature]
    for name in ("c.set", "c.fdt"):
        (tmp_path / name).write_bytes(b"123")
        signatures.append(find_sources(tmp_path)[0].signature)
    assert len(set(signatures)) == 3


def test_recordings_in_memory_are_told_apart_by_their_content():
    raws = [noise(seed=1), noise(seed=2), noise(seed=1)]  # the last one is the first again
    marked = noise(seed=1)
    marked.info["bads"] = ["Cz"]
    sources = find_sources([*raws, marked])
    assert [source.item for source in sources] == [raws[0], raws[1], marked]
    assert {source.label for source in sources} == {"raw"}
    assert read_recording(sources[0]) is raws[0]


def test_arrays_are_read_in_their_unit():
    data = np.arange(20.0).reshape(2, 10)
    for unit, volts in (("V", 1.0), ("mV", 1e-3), ("uV", 1e-6), ("µV", 1e-6)):
        raw = read_recording(find_sources(ArrayRecording("a", data, 100.0, ["left", "right"], unit=unit))[0])
        np.testing.assert_allclose(raw.get_data(), data * volts)
        assert (raw.ch_names, raw.info["sfreq"], set(raw.get_channel_types())) == (["left", "right"], 100.0, {"eeg"})


def test_arrays_of_one_name_must_be_the_same_and_fit_their_names():
    one, same, other = (ArrayRecording("a", np.full((1, 10), value), 200.0, ["x"]) for value in (0.0, 0.0, 1.0))
    assert len(find_sources([one, same])) == 1
    with pytest.raises(ValueError, match="Two recordings have the name 'a'"):
        find_sources([one, other])
    with pytest.raises(ValueError, match=r"one row for each of the 2 ch_names, got shape \(1, 10\)"):
        ArrayRecording("a", np.zeros((1, 10)), 200.0, ["x", "y"])
    with pytest.raises(ValueError, match="unit='kV' is not known"):
        ArrayRecording("a", np.zeros((1, 10)), 200.0, ["x"], unit="kV")


def test_what_is_no_recording_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No recordings were found in .*MNE reads, among others"):
        find_sources(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file or folder .*absent"):
        find_sources([tmp_path / "absent"])
    with pytest.raises(TypeError, match=r"recordings must be paths.*ArrayRecording\(name.*got ndarray"):
        find_sources([np.zeros((2, 100))])


def test_epoched_eeglab_files_say_so(monkeypatch, tmp_path):
    def read_raw(path, verbose=None):
        raise TypeError("The number of trials is 80. It must be 1 for raw files.")

    monkeypatch.setattr(mne.io, "read_raw", read_raw)
    (tmp_path / "a.set").touch()
    with pytest.raises(ValueError, match="The file holds epochs; a corpus is made from continuous recordings"):
        read_recording(find_sources(tmp_path / "a.set")[0])


@pytest.mark.parametrize(
    ("path", "his_id", "subject"),
    [
        ("/data/S001/S001R03.edf", "X", "S001"),
        ("/tueg/edf/000/aaaaaaaa/s001_2015/aaaaaaaa_s001_t000.edf", "", "aaaaaaaa"),
        ("/bids/sub-01/ses-2/eeg/sub-01_ses-2_task-rest_eeg.vhdr", "", "sub-01"),
        ("/eegmat/Subject00_1.edf", "0", "Subject00"),
        ("/data/sub07/rest.edf", None, "sub07"),
        ("/data/night.edf", "P-17", "P-17"),
        ("/data/night.edf", "X", "night"),
        ("/data/night.edf", "J.", "night"),
        ("/data/night.edf", "anonymous", "night"),
        ("/data/night#2.edf", None, "night#2"),
    ],
)
def test_subjects_are_told_by_path_then_by_the_file_itself(path, his_id, subject):
    raw = noise(1.0)
    if his_id is not None:
        raw.info["subject_info"] = {"his_id": his_id}
    assert subject_of(Source(path, 0, Path(path)), raw) == subject


def test_subjects_can_be_told_by_a_pattern_or_with_an_array():
    source = Source("/data/P7/S001R03.edf", 0, Path("/data/P7/S001R03.edf"))
    assert subject_of(source, noise(1.0), r"/(P\d)/") == "P7"
    with pytest.raises(ValueError, match=r"subject_pattern='Q\(.\)' does not match the path"):
        subject_of(source, noise(1.0), "Q(.)")
    array = ArrayRecording("S001R03", np.zeros((1, 10)), 200.0, ["x"], subject="m1")
    assert subject_of(find_sources(array)[0], noise(1.0), "Q(.)") == "m1"


@pytest.mark.parametrize("wrong", ["S00.", "(a)(b)", "(", 3])
def test_a_pattern_must_have_one_group(wrong):
    with pytest.raises(ValueError, match="subject_pattern must be a regular expression with one group"):
        check_subject_pattern(wrong)


def bids_tree(root):
    """A BIDS tree of two subjects, a channel of the first being bad."""
    mne_bids = pytest.importorskip("mne_bids")
    pytest.importorskip("pybv")
    for subject in ("01", "02"):
        raw = noise(9.0, seed=int(subject))
        raw.info["line_freq"] = 50
        raw.info["bads"] = ["Cz"] if subject == "01" else []
        path = mne_bids.BIDSPath(subject=subject, task="rest", root=root, datatype="eeg")
        mne_bids.write_raw_bids(raw, path, allow_preload=True, format="BrainVision", verbose="ERROR")
    return root


def test_a_bids_tree_is_read_with_its_bad_channels(tmp_path):
    root = bids_tree(tmp_path / "tree")
    shutil.copytree(root / "sub-02", root / "derivatives/clean/sub-02")
    sources = find_sources(root)
    raws = [read_recording(source) for source in sources]
    assert [subject_of(*each) for each in zip(sources, raws, strict=True)] == ["sub-01", "sub-02"]
    assert [raw.info["bads"] for raw in raws] == [["Cz"], []]
    assert [tuple(raw.ch_names) for raw in raws] == [NAMES, NAMES]


def test_a_bids_tree_without_mne_bids_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "dataset_description.json").write_text("{}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"mne-bids is needed.*pip install 'mne-specmoe\[bids\]'"):
        find_sources(tmp_path)
