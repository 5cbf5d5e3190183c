"""Building a corpus, from synthetic recordings and from real ones."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mne
import numpy as np
import pytest
from noise_recordings import NAMES, noise, save

from mne_specmoe._validation import AmplitudeWarning, SpecMoEWarning
from mne_specmoe.data import build
from mne_specmoe.data.build import build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.preprocessing import TEN_TWENTY_19, prepare_raw
from mne_specmoe.data.sources import ArrayRecording

SMALL = {
    "segment_seconds": 2.0,
    "edge_seconds": 1.0,
    "min_seconds": 4.0,
    "reject_uv": None,
    "channels": "all",
    "progress": False,
}


@pytest.fixture
def folder(tmp_path):
    """Three recordings in a folder."""
    for number in range(3):
        save(noise(7.0 + 2 * number, seed=number), tmp_path / f"in/S00{number}R01_raw.fif")
    return tmp_path / "in"


def microvolts(corpus, indices=None):
    """Segments in µV."""
    values, scale_uv = corpus.read(np.arange(len(corpus)) if indices is None else indices)
    return values * scale_uv[..., None].astype(float)


def reasons(corpus):
    """Why recordings were left out, by the name of the file."""
    return {Path(each.source).name: (each.status, each.reason) for each in corpus.problems}


def test_the_defaults_are_the_papers(tmp_path):
    raw = noise(330.0, names=TEN_TWENTY_19, amplitude_uv=10.0)
    raw._data[3, round(100 * 200)] = 5e-3  # in the second segment
    short = noise(290.0, names=TEN_TWENTY_19)
    corpus = build_corpus([raw, short], tmp_path / "corpus", progress=False)
    assert corpus.montages == (TEN_TWENTY_19,)
    assert (corpus.n_times, corpus.sfreq) == (6000, 200.0)
    assert corpus.slot_of.tolist() == [0, 2, 3, 4, 5, 6]
    assert corpus.start_of.tolist() == [60.0, 120.0, 150.0, 180.0, 210.0, 240.0]
    assert corpus.summary().dropped == {"amplitude": 1}
    assert [each.reason for each in corpus.problems] == ["Shorter than min_seconds=300."]


def test_subjects_can_be_told_by_a_pattern(folder, tmp_path):
    corpus = build_corpus(folder, tmp_path / "a", subject_pattern=r"S00(\d)R", **SMALL)
    assert np.unique(corpus.subject_of).tolist() == ["0", "1", "2"]
    with pytest.raises(ValueError, match="No recording has a segment.*subject_pattern='P(.*)' does not match"):
        build_corpus(folder, tmp_path / "b", subject_pattern="P(.*)", **SMALL)
    for wrong in ("S00.", "(a)(b)", "(", 3):
        with pytest.raises(ValueError, match="subject_pattern must be a regular expression with one group"):
            build_corpus(folder, tmp_path / "b", subject_pattern=wrong, **SMALL)


def test_raw_objects_and_arrays_can_be_given(tmp_path):
    rng = np.random.default_rng(0)
    array = ArrayRecording("mouse 1", rng.standard_normal((1, 1800)) * 50, 200.0, ["EEG"], subject="m1", unit="uV")
    raws = [noise(seed=1), noise(seed=2), noise(seed=1)]  # the last one is the first again
    corpus = build_corpus([*raws, array], tmp_path / "corpus", **SMALL)
    assert len(corpus.recordings) == 3
    assert corpus.subject_of[-1] == "m1"
    assert corpus.montages == (NAMES, ("EEG",))
    assert 30 < microvolts(corpus, [len(corpus) - 1]).std() < 60
    again = build_corpus([*raws, array], tmp_path / "corpus", **SMALL)
    assert again.hash == corpus.hash
    assert len((tmp_path / "corpus/recordings.jsonl").read_text().splitlines()) == 3


def test_montages_of_any_size_live_in_one_corpus(tmp_path):
    recordings = [noise(seed=1), noise(names=["EEG"], seed=2), noise(seed=3), noise(names=["left", "right"], seed=4)]
    corpus = build_corpus(recordings, tmp_path / "corpus", **SMALL)
    assert corpus.montages == (NAMES, ("EEG",), ("left", "right"))
    assert [count for _, count in corpus.summary().montages] == [6, 3, 3]
    assert np.isfinite(corpus.locations(0)).all()
    assert np.isnan(corpus.locations(1)).all()
    with pytest.raises(ValueError, match=r"2 different montages \(3 channels: Fp1, Cz, O2; 1 channel: EEG\)"):
        corpus.read([0, 3])


def test_channels_can_be_named_and_a_recording_that_lacks_one_fails(tmp_path):
    recordings = [noise(seed=1), noise(names=["Fp1", "Cz"], seed=2)]
    with pytest.warns(SpecMoEWarning, match="1 recording.*could not be used.*lacks 1 of the 2 channels wanted: 'O2'"):
        corpus = build_corpus(recordings, tmp_path / "corpus", **SMALL | {"channels": ["O2", "Fp1"]})
    assert corpus.montages == (("O2", "Fp1"),)
    assert [each.status for each in corpus.problems] == ["failed"]


def test_a_wrong_unit_is_pointed_out(tmp_path):
    raw = noise(amplitude_uv=0.02, seed=1)
    with pytest.raises(ValueError, match=r"dropped \(flat\). The amplitude is implausible for EEG \(0.018 µV\)"):
        build_corpus(raw, tmp_path / "corpus", **SMALL)
    with pytest.warns(AmplitudeWarning, match="amplitude of 1 recording.*unit is probably wrong"):
        build_corpus(noise(amplitude_uv=20e3), tmp_path / "corpus", **SMALL)


def test_files_that_cannot_be_read_are_named_and_tried_again(folder, tmp_path):
    good = (folder / "S001R01_raw.fif").read_bytes()
    (folder / "S001R01_raw.fif").write_bytes(b"nonsense")
    with pytest.warns(SpecMoEWarning, match="1 recording.*S001R01_raw.fif"):
        corpus = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert list(reasons(corpus)) == ["S001R01_raw.fif"]
    assert len(corpus) == 6
    (folder / "S001R01_raw.fif").write_bytes(good)
    corpus = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert corpus.problems == ()
    assert len(corpus) == 9


def test_nothing_to_read_leaves_nothing_behind(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="No recordings were found in .*in'. MNE reads"):
        build_corpus(tmp_path / "in", tmp_path / "corpus", **SMALL)
    (tmp_path / "in/a.edf").write_text("nonsense")
    for place in ("corpus", "mine"):
        with pytest.raises(ValueError, match="No recording has a segment to keep, so there is no corpus. .*a.edf: "):
            build_corpus(tmp_path / "in", tmp_path / place, **SMALL)
    with pytest.raises(FileNotFoundError, match="no file or folder .*absent"):
        build_corpus(tmp_path / "absent", tmp_path / "corpus", **SMALL)
    with pytest.raises(TypeError, match="recordings must be paths.*got ndarray"):
        build_corpus([np.zeros((2, 100))], tmp_path / "corpus", **SMALL)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "mine"]
    assert not list((tmp_path / "mine").iterdir())


def test_a_folder_with_something_else_is_left_alone(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="holds other files and is no corpus"):
        build_corpus(folder, folder, **SMALL)
    with pytest.raises(ValueError, match="is a file"):
        build_corpus(folder, tmp_path / "file", **SMALL)
    assert len(list(folder.iterdir())) == 3


def test_other_settings_are_named(folder, tmp_path):
    build_corpus(folder, tmp_path / "corpus", **SMALL)
    with pytest.raises(ValueError, match=r"other settings: h_freq=75.0 there, 60 now; notch=\[60.0\] there, None now"):
        build_corpus(folder, tmp_path / "corpus", h_freq=60, notch=None, **SMALL)
    build_corpus(folder, tmp_path / "corpus", h_freq=75, notch=[60], sfreq=np.float64(200), **SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"h_freq": 120.0}, "h_freq=120 Hz is above half of sfreq=200"),
        ({"l_freq": 80.0}, "l_freq must be below h_freq"),
        ({"l_freq": -1.0}, "l_freq must be > 0"),
        ({"notch": [50.0, 0.0]}, "notch must be > 0"),
        ({"segment_seconds": 0.0}, "segment_seconds must be > 0"),
        ({"segment_seconds": 0.001}, "shorter than one sample"),
        ({"edge_seconds": -1.0}, "edge_seconds must be >= 0"),
        ({"channels": "none"}, "channels='none' is not known; allowed: 'paper', 'all', .*1020"),
        ({"channels": []}, "one or more different names"),
        ({"channels": ["Cz", "Cz"]}, "one or more different names"),
        ({"channels": None}, "channels must be 'paper', 'all'"),
        ({"channels": [1]}, "channels must be 'paper', 'all'"),
        ({"reject_uv": "100"}, "reject_uv must be a number"),
        ({"n_jobs": 1.5}, "n_jobs must be an integer"),
    ],
)
def test_parameters_out_of_range_are_refused_before_anything_is_read(tmp_path, wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build_corpus(tmp_path / "absent", tmp_path / "corpus", **SMALL | wrong)
    assert not (tmp_path / "corpus").exists()


def test_copies_are_found_by_content(folder, tmp_path):
    shutil.copy(folder / "S001R01_raw.fif", folder / "copy_raw.fif")  # after the capitals
    corpus = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert reasons(corpus)["copy_raw.fif"][0] == "duplicate"
    assert "S001R01_raw.fif" in reasons(corpus)["copy_raw.fif"][1]
    assert len(corpus) == 9
    assert len(list((tmp_path / "corpus/shards").iterdir())) == 6
    assert corpus.summary().dropped == {"duplicate": 3}


def test_parts_seen_before_are_left_out(tmp_path):
    unfiltered = {"l_freq": None, "h_freq": None, "notch": None}
    raw = noise(9.0)
    longer = mne.io.RawArray(np.hstack([raw.get_data(), noise(2.0, seed=5).get_data()]), raw.info, verbose="ERROR")
    corpus = build_corpus([raw, longer], tmp_path / "corpus", **unfiltered, **SMALL)
    assert corpus.recording_of.tolist() == [0, 0, 0, 1]
    assert corpus.slot_of.tolist() == [0, 1, 2, 3]
    expected = longer.get_data()[:, 1400:1800] * 1e6
    assert np.abs(microvolts(corpus, [3])[0] - expected).max() < 0.01
    assert len(corpus.read(range(4)).values) == 4


def test_a_file_that_has_changed_is_read_again_and_so_are_its_copies(folder, tmp_path):
    shutil.copy(folder / "S001R01_raw.fif", folder / "T_raw.fif")
    before = build_corpus(folder, tmp_path / "corpus", **SMALL)
    save(noise(13.0, seed=9), folder / "S001R01_raw.fif")
    after = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert len(after) == len(before) + 5
    assert after.problems == ()
    assert len(list((tmp_path / "corpus/shards").iterdir())) == 8


def test_a_corpus_can_grow(folder, tmp_path):
    build_corpus(folder / "S000R01_raw.fif", tmp_path / "corpus", **SMALL)
    grown = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert grown.hash == build_corpus(folder, tmp_path / "other", **SMALL).hash


def test_lost_segments_are_made_again(folder, tmp_path):
    corpus = build_corpus(folder, tmp_path / "corpus", **SMALL)
    (tmp_path / "corpus/shards" / f"{corpus.recordings[2].shard}.npy").unlink()
    with pytest.raises(ValueError, match="is damaged: the segments of .*S002R01_raw.fif.*Call build_corpus again"):
        corpus.read([len(corpus) - 1])
    assert build_corpus(folder, tmp_path / "corpus", **SMALL).hash == corpus.hash
    assert corpus.read([len(corpus) - 1]).values.shape == (1, 3, 400)


def test_the_number_of_processes_makes_no_difference(folder, tmp_path):
    big = noise(300.0, seed=8)  # large enough for joblib to hand it over in a memory map
    one, two = (build_corpus([folder, big], tmp_path / f"{n}", n_jobs=n, **SMALL) for n in (1, 2))
    assert one.hash == two.hash
    index = [(tmp_path / f"{n}/recordings.jsonl").read_bytes() for n in (1, 2)]
    assert index[0] == index[1]
    np.testing.assert_array_equal(one.read([0, 5, 20]).values, two.read([0, 5, 20]).values)


KILLED = """
import os, sys
import mne_specmoe.data.build as build
original = build._Index.add
def add(index, entry):
    original(index, entry)
    print("stored", flush=True)
build._Index.add = add
build.build_corpus(sys.argv[1], sys.argv[2], n_jobs=int(sys.argv[3]), segment_seconds=2.0, edge_seconds=1.0,
                   min_seconds=4.0, reject_uv=None, channels="all", progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_build_goes_on_to_the_same_corpus(tmp_path):
    for number in range(12):
        save(noise(60.0, seed=number), tmp_path / f"in/{number:02d}_raw.fif")
    expected = build_corpus(tmp_path / "in", tmp_path / "whole", **SMALL).hash
    path = tmp_path / "corpus"
    for n_jobs in (1, 2):
        command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(path), str(n_jobs)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(4):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        assert not Corpus(path).summary().finished
        assert len(Corpus(path).read([0]).values) == 1
        time.sleep(0.1)
    (path / "shards/.half.npy.abc").write_bytes(b"half")
    with open(path / "recordings.jsonl", "ab") as index:
        index.write(b'{"source": "/data/ha')
    assert 4 <= len(Corpus(path).recordings) < 12
    corpus = build_corpus(tmp_path / "in", path, **SMALL)
    assert corpus.hash == expected
    assert corpus.summary().finished
    assert len(corpus.recordings) == 12
    assert len(list((path / "shards").iterdir())) == 24


def test_a_build_killed_before_its_first_line_can_start_over(folder, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/building.lock").touch()
    (tmp_path / "corpus/.corpus.json.abc").write_text("{")
    assert len(build_corpus(folder, tmp_path / "corpus", **SMALL)) == 9
    assert sorted(each.name for each in (tmp_path / "corpus").iterdir()) == [
        "corpus.json",
        "recordings.jsonl",
        "shards",
    ]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("3 requested and 1 written")]
)
def test_a_full_disk_is_one_clear_line_and_the_build_goes_on_later(folder, tmp_path, monkeypatch, error):
    save, calls = np.save, []

    def full(*args):
        calls.append(args)
        if len(calls) > 3:  # in the second recording
            args[0].write(b"half")
            raise error
        save(*args)

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(
            OSError, match="cannot be written: .*(No space left|full).*It holds 1 recordings, all whole. Make space"
        ):
            build_corpus(folder, tmp_path / "corpus", **SMALL)
    corpus = Corpus(tmp_path / "corpus")
    assert len(corpus.recordings) == 1
    assert not corpus.summary().finished
    assert not [each for each in (tmp_path / "corpus/shards").iterdir() if each.name.startswith(".")]
    corpus = build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert corpus.hash == build_corpus(folder, tmp_path / "other", **SMALL).hash


def test_control_c_stops_the_build_and_it_goes_on_later(folder, tmp_path, monkeypatch):
    add = build._Index.add

    def interrupted(index, entry):
        if index.n_done:
            raise KeyboardInterrupt
        add(index, entry)

    with monkeypatch.context() as patched:
        patched.setattr(build._Index, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_corpus(folder, tmp_path / "corpus", **SMALL)
    assert len(Corpus(tmp_path / "corpus").recordings) == 1
    assert len(build_corpus(folder, tmp_path / "corpus", **SMALL).recordings) == 3


@pytest.mark.skipif(build.fcntl is None, reason="no file locks here")
def test_two_builds_at_once_are_refused(folder, tmp_path):
    build_corpus(folder, tmp_path / "corpus", **SMALL)
    with (
        build._building(tmp_path / "corpus"),
        pytest.raises(RuntimeError, match="Another process is building the corpus"),
    ):
        build_corpus(folder, tmp_path / "corpus", **SMALL)


def test_a_corpus_of_another_format_is_not_gone_on_with(folder, tmp_path):
    build_corpus(folder, tmp_path / "corpus", **SMALL)
    file = tmp_path / "corpus/corpus.json"
    for version, advice in ((0, "Build the corpus again in a new folder"), (99, "Update mne-specmoe")):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": version}))
        with pytest.raises(ValueError, match=f"format version {version}, but .* reads version 1. {advice}"):
            build_corpus(folder, tmp_path / "corpus", **SMALL)


def test_a_progress_bar_counts_the_recordings(folder, tmp_path, capsys):
    build_corpus(folder, tmp_path / "corpus", **SMALL | {"progress": True})
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert shown.out == ""


@pytest.mark.real_data
def test_real_files_of_every_format_become_one_corpus(data_root, tmp_path):
    options = SMALL | {"segment_seconds": 10.0, "edge_seconds": 0.0, "min_seconds": 0.0}
    with pytest.warns(SpecMoEWarning, match="2 recording"):
        corpus = build_corpus([data_root / "formats", data_root / "MNE-eegbci-data"], tmp_path / "corpus", **options)
    counts = {Path(each.source).name: each.n_segments for each in corpus.recordings}
    runs = {name: counts.pop(name) for name in sorted(counts) if name.startswith("S001R")}
    assert runs == {f"S001R{run:02d}.edf": 12 for run in range(3, 15)}
    assert counts == {
        "eeglab_test.bdf": 6,
        "testbva.vhdr": 1,
        "Subject00_1.edf": 18,
        "Subject00_2.edf": 6,
        "data_resting_EO_200Hz_raw.fif": 36,
    }
    found = reasons(corpus)
    assert {name: status for name, (status, _) in found.items()} == {
        "mne_test.bdf": "rejected",
        "test.vhdr": "rejected",
        "eeglab_test.edf": "rejected",
        "mne_test.edf": "rejected",
        "S05_2012.07.19-11.24.02.gdf": "rejected",
        "eeglab_data.set": "failed",
        "eeglab_data_epochs_ica.set": "failed",
    }
    assert "h_freq=64" in found["eeglab_data.set"][1]
    assert "holds epochs" in found["eeglab_data_epochs_ica.set"][1]
    assert "is the unit right?" in found["S05_2012.07.19-11.24.02.gdf"][1]
    assert set(corpus.subject_of) >= {"S001", "Subject00"}
    assert sorted(map(len, corpus.montages)) == [2, 16, 21, 29, 64]
    assert np.isfinite(corpus.locations(corpus.montage_of[-1])).all()  # EEGBCI


@pytest.mark.real_data
def test_eegbci_becomes_the_papers_channels(data_root, tmp_path):
    files = sorted((data_root / "MNE-eegbci-data").rglob("S001R0[34].edf"))
    options = SMALL | {"channels": "paper", "segment_seconds": 30.0, "edge_seconds": 10.0}
    corpus = build_corpus(files, tmp_path / "corpus", **options)
    assert corpus.montages == (TEN_TWENTY_19,)
    raw = mne.io.read_raw_edf(files[1], verbose="ERROR")
    expected = prepare_raw(raw, crop_edges=10.0).get_data(start=6000, stop=12000) * 1e6
    values, scale_uv = corpus.read([4])
    assert np.all(np.abs(values[0] * scale_uv[0][:, None] - expected) <= 0.501 * scale_uv[0][:, None])
