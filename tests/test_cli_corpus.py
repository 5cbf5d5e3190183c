"""The command line ``mne-specmoe corpus build | synthesize | join | info | partition``."""

import errno
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from noise_recordings import NAMES, noise, save

from mne_specmoe import cli
from mne_specmoe.data import build
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.synthesis import synthesize_corpus

SMALL = ("--segment-seconds", "2", "--edge-seconds", "1", "--min-seconds", "4", "--channels", "all", "--no-progress")


@pytest.fixture
def folder(tmp_path):
    """Two recordings of 3 segments each, of the subjects S001 and S002."""
    for number in (1, 2):
        save(noise(seed=number), tmp_path / f"in/S00{number}R01_raw.fif")
    return tmp_path / "in"


@pytest.fixture
def run(capfd):
    """Run a command; returns its exit code and what it has written, by lines."""

    def run_command(*argv):
        capfd.readouterr()
        code = cli.main(["corpus", *map(str, argv)])
        written = capfd.readouterr()
        return code, written.out.splitlines(), written.err.splitlines()

    return run_command


@pytest.fixture
def fails(run):
    """Run a command that has to end with one line; returns that line."""

    def run_command(*argv):
        code, out, err = run(*argv)
        assert (code, out) == (1, [])
        assert len(err) == 1, err
        assert err[0].startswith("mne-specmoe: error: ")
        return err[0]

    return run_command


def test_a_corpus_is_built_and_summed_up(folder, tmp_path, run):
    code, out, err = run("build", folder, "--out", tmp_path / "corpus", *SMALL)
    assert (code, err) == (0, [])
    assert out == [
        f"{tmp_path / 'corpus'}: 6 segments of 2 s at 200 Hz, 0.00 hours",
        "2 recordings of 2 subjects",
        "Montages (6):",
        "  6 x 3 channels: Fp1, Cz, O2",
    ]
    assert run("info", tmp_path / "corpus") == (0, out, [])


def test_without_flags_the_preprocessing_is_that_of_build_corpus(tmp_path, run):
    path = save(noise(330.0, amplitude_uv=10.0), tmp_path / "a_raw.fif")
    assert run("build", path, "--out", tmp_path / "one", "--channels", "all", "--no-progress")[0] == 0
    expected = build.build_corpus(path, tmp_path / "two", channels="all", progress=False)
    corpus = Corpus(tmp_path / "one")
    assert corpus.settings == expected.settings
    assert corpus.hash == expected.hash


def test_every_flag_arrives(folder, tmp_path, run):
    flags = {"l-freq": 1, "h-freq": 40, "notch": "50,60", "sfreq": 100, "segment-seconds": 1.5,
             "edge-seconds": 0.5, "min-seconds": 3, "reject-uv": 500, "channels": "O2,Fp1",
             "subject-pattern": r"S00(\d)", "n-jobs": 2}  # fmt: skip
    argv = [part for name, value in flags.items() for part in (f"--{name}", value)]
    assert run("build", folder, "--out", tmp_path / "corpus", *argv)[0] == 0
    settings = Corpus(tmp_path / "corpus").settings
    assert settings == {
        **{"l_freq": 1.0, "h_freq": 40.0, "notch": [50.0, 60.0], "sfreq": 100.0, "segment_seconds": 1.5},
        **{"edge_seconds": 0.5, "min_seconds": 3.0, "reject_uv": 500.0, "channels": ["O2", "Fp1"]},
        **{"subject_pattern": r"S00(\d)", "n_times": 150},
    }


def test_steps_can_be_left_out(folder, tmp_path, run):
    none = ("--notch", "none", "--reject-uv", "None", "--l-freq", "none", "--h-freq", "none")
    assert run("build", folder, "--out", tmp_path / "corpus", *SMALL, *none)[0] == 0
    settings = Corpus(tmp_path / "corpus").settings
    assert [settings[name] for name in ("notch", "reject_uv", "l_freq", "h_freq")] == [None] * 4


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("all", NAMES),
        ("O2, Fp1", ("O2", "Fp1")),
        ("Cz", ("Cz",)),
        ("Cz,", ("Cz",)),
        ("biosemi16", ("Fp1", "Cz", "O2")),
    ],
)
def test_channels_are_all_or_of_a_montage_or_named(folder, tmp_path, run, channels, expected):
    assert run("build", folder, "--out", tmp_path / "corpus", *SMALL, "--channels", channels)[0] == 0
    assert Corpus(tmp_path / "corpus").montages == (expected,)


def test_the_subject_can_be_told_by_a_pattern(folder, tmp_path, run):
    assert run("build", folder, "--out", tmp_path / "corpus", *SMALL, "--subject-pattern", r"(\d)R01")[0] == 0
    assert np.unique(Corpus(tmp_path / "corpus").subject_of).tolist() == ["1", "2"]


def test_a_corpus_grows_by_the_same_command(folder, tmp_path, run):
    command = ("build", folder, "--out", tmp_path / "corpus", *SMALL)
    run(*command)
    save(noise(seed=3), folder / "S003R01_raw.fif")
    assert run(*command)[1][1] == "3 recordings of 3 subjects"


def test_recordings_left_out_are_told_by_one_line_and_listed_on_demand(folder, tmp_path, run):
    (folder / "x.edf").write_text("nonsense")
    save(noise(3.0), folder / "y_raw.fif")
    code, out, err = run("build", folder, "--out", tmp_path / "corpus", *SMALL)
    assert code == 0
    assert len(err) == 1
    assert err[0].startswith("mne-specmoe: warning: 1 recording(s) could not be used and were left out")
    assert f"{folder / 'x.edf'}: Bad EDF" in err[0]
    assert "Recordings left out (2):" in out
    code, listed, err = run("info", tmp_path / "corpus", "--problems")
    assert (code, listed[: len(out)], err) == (0, out, [])
    failed, rejected = listed[len(out) :]
    assert failed.startswith(f"failed: {folder / 'x.edf'}: Bad EDF")
    assert rejected == f"rejected: {folder / 'y_raw.fif'}: Shorter than min_seconds=4."


def test_a_wrong_unit_is_a_warning_in_one_line(tmp_path, run):
    path = save(noise(amplitude_uv=20e3), tmp_path / "a_raw.fif")
    code, _, err = run("build", path, "--out", tmp_path / "corpus", *SMALL, "--reject-uv", "none")
    assert code == 0
    assert len(err) == 1
    assert err[0].startswith("mne-specmoe: warning: The amplitude of 1 recording(s) is implausible for EEG")


def test_warnings_of_several_lines_become_one_and_afterwards_all_is_as_before(monkeypatch, run):
    def warn(arguments):
        warnings.warn("One line.\n  Another.", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(cli, "_corpus_info", warn)
    show = warnings.showwarning
    assert run("info", "corpus") == (0, [], ["mne-specmoe: warning: One line. Another."])
    assert warnings.showwarning is show


def test_the_progress_bar_is_apart_from_other_lines(folder, tmp_path, run):
    (folder / "x.edf").write_text("nonsense")
    code, out, err = run("build", folder, "--out", tmp_path / "corpus", *SMALL, "--progress")
    assert code == 0
    *bar, warning = err
    assert "3/3" in bar[-1]
    assert all("recording/s" in line or not line for line in bar)
    assert warning.startswith("mne-specmoe: warning: ")
    assert "recording/s" not in "".join(out)


def test_a_corpus_is_divided(tmp_path, run):
    for number in (1, 2, 3):
        save(noise(7.0 + 2 * number, seed=number), tmp_path / f"in/S00{number}R01_raw.fif")
    run("build", tmp_path / "in", "--out", tmp_path / "corpus", *SMALL)
    divide = ("partition", tmp_path / "corpus", "--n-subsets", "3", "--by", "subject")
    expected = (0, ["1/3: 5 segments", "2/3: 4 segments", "3/3: 3 segments"], [])
    assert run(*divide) == expected
    assert [each.name for each in (tmp_path / "corpus/partitions").iterdir()] == ["3-subject.json"]
    assert run(*divide) == expected  # read back
    assert run("partition", tmp_path / "corpus")[1] == [f"{number}/3: 4 segments" for number in (1, 2, 3)]


def test_a_corpus_that_has_grown_is_divided_anew_on_demand_only(folder, tmp_path, run, fails):
    command = ("build", folder, "--out", tmp_path / "corpus", *SMALL)
    run(*command)
    run("partition", tmp_path / "corpus")
    save(noise(seed=3), folder / "S003R01_raw.fif")
    run(*command)
    assert "has changed since 3-index.json was written" in fails("partition", tmp_path / "corpus")
    assert run("partition", tmp_path / "corpus", "--overwrite")[1] == [f"{n}/3: 3 segments" for n in (1, 2, 3)]


def spoiled(how):
    """A recording that cannot be used."""
    if how == "slow":
        return noise(sfreq=128.0)
    raw = noise()
    if how == "flat":
        raw._data[1] = 1e-6
    elif how == "nan":
        raw._data[1, ::50] = np.nan
    elif how == "clipped":
        raw._data[1] = np.clip(raw._data[1] * 20, -80e-6, 80e-6)
    elif how == "unit":
        raw._data *= 1e6
    return raw


@pytest.mark.parametrize(
    ("how", "flags", "message"),
    [
        ("slow", (), "Sampled at 128 Hz, less than twice h_freq=75 Hz"),
        ("flat", (), r"All segments were dropped (flat)"),
        ("nan", (), r"All segments were dropped (non-finite)"),
        ("clipped", (), r"All segments were dropped (clipped)"),
        ("unit", (), r"All segments were dropped (amplitude). The amplitude is implausible for EEG"),
        ("fine", ("--channels", "Cz,Oz"), "lacks 1 of the 2 channels wanted: 'Oz'"),
        ("fine", ("--channels", "standard_1021"), "lacks 1 of the 1 channels wanted: 'standard_1021'"),
        ("fine", ("--channels", "paper"), "lacks 16 of the 19 channels wanted: 'Fp2', "),
        ("fine", ("--min-seconds", "300"), "Shorter than min_seconds=300"),
        ("fine", ("--subject-pattern", "P(.)"), "subject_pattern='P(.)' does not match the path"),
    ],
)
def test_recordings_that_cannot_be_used_leave_no_corpus(tmp_path, fails, how, flags, message):
    path = save(spoiled(how), tmp_path / "a_raw.fif")
    said = fails("build", path, "--out", tmp_path / "corpus", *SMALL, *flags)
    assert f"No recording has a segment to keep, so there is no corpus. {path}: " in said
    assert message in said
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read_leave_no_corpus(tmp_path, fails):
    for name in ("a.edf", "b_raw.fif", "c.set", "d.bdf", "e.vhdr", "f.gdf", "g.edf"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("nonsense")
    said = fails("build", tmp_path / "in", "--out", tmp_path / "corpus", *SMALL)
    assert "No recording has a segment to keep" in said
    assert said.endswith("; and 2 more")
    assert not (tmp_path / "corpus").exists()


def test_nothing_to_read_leaves_no_corpus(tmp_path, fails, monkeypatch):
    (tmp_path / "in").mkdir()
    for what, message in (("in", "No recordings were found in"), ("absent", "There is no file or folder")):
        assert message in fails("build", tmp_path / what, "--out", tmp_path / "corpus", *SMALL)
    (tmp_path / "in/dataset_description.json").write_text("{}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "mne-bids is needed" in fails("build", tmp_path / "in", "--out", tmp_path / "corpus", *SMALL)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--h-freq", "120"), "h_freq=120 Hz is above half of sfreq=200 Hz"),
        (("--l-freq", "80"), "l_freq must be below h_freq"),
        (("--notch", "50,nan"), "notch must be finite"),
        (("--reject-uv", "0"), "reject_uv must be > 0"),
        (("--segment-seconds", "0"), "segment_seconds must be > 0"),
        (("--channels", ","), "channels must be one or more different names"),
        (("--subject-pattern", "S00"), "subject_pattern must be a regular expression with one group"),
    ],
)
def test_parameters_out_of_range_are_refused(folder, tmp_path, fails, flags, message):
    assert message in fails("build", folder, "--out", tmp_path / "corpus", *SMALL, *flags)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--notch", "50;60", "'50;60' is neither a number nor none"),
        ("--reject-uv", "off", "'off' is neither a number nor none"),
        ("--h-freq", "40,75", "'40,75' is more than one number"),
    ],
)
def test_what_is_no_number_is_named(tmp_path, capsys, flag, value, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["corpus", "build", str(tmp_path), "--out", str(tmp_path / "corpus"), flag, value])
    assert stopped.value.code == 2  # as of every command line that is not understood
    assert capsys.readouterr().err.endswith(f"error: argument {flag}: {message}\n")


def test_a_folder_of_something_else_is_left_alone(folder, tmp_path, fails):
    (tmp_path / "file").touch()
    assert "holds other files and is no corpus" in fails("build", folder, "--out", folder, *SMALL)
    assert "is a file" in fails("build", folder, "--out", tmp_path / "file", *SMALL)
    assert "Not a directory" in fails("build", folder, "--out", tmp_path / "file/corpus", *SMALL)
    assert sorted(each.name for each in folder.iterdir()) == ["S001R01_raw.fif", "S002R01_raw.fif"]


def test_other_settings_are_named_and_the_corpus_stays(folder, tmp_path, run, fails):
    corpus = tmp_path / "corpus"
    before = run("build", folder, "--out", corpus, *SMALL)
    said = fails("build", folder, "--out", corpus, *SMALL, "--notch", "none", "--h-freq", "60")
    assert "other settings: h_freq=75.0 there, 60.0 now; notch=[60.0] there, None now" in said
    assert run("info", corpus) == before


def test_a_corpus_of_an_older_format_is_refused_by_every_command(folder, tmp_path, run, fails):
    corpus = tmp_path / "corpus"
    run("build", folder, "--out", corpus, *SMALL)
    file = corpus / "corpus.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 0}))
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    for command in (("build", folder, "--out", corpus, *SMALL), ("info", corpus), ("partition", corpus)):
        assert "is of format version 0, but this mne-specmoe reads version 1" in fails(*command)
    assert {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()} == before


def test_what_is_no_corpus_is_refused(tmp_path, fails):
    for command in ("info", "partition"):
        for path in (tmp_path, tmp_path / "absent"):
            assert "is no corpus: it has no file corpus.json" in fails(command, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--n-subsets", "0"), "n_subsets must be >= 1"),
        (("--n-subsets", "7"), "has 6 segments, too few for 7 subsets"),
        (("--n-subsets", "3", "--by", "subject"), "has 2 subjects, too few for 3 subsets by subject"),
    ],
)
def test_impossible_divisions_are_refused(folder, tmp_path, run, fails, flags, message):
    run("build", folder, "--out", tmp_path / "corpus", *SMALL)
    assert message in fails("partition", tmp_path / "corpus", *flags)
    assert not (tmp_path / "corpus/partitions").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(folder, tmp_path, run, fails, monkeypatch):
    save_array, calls = np.save, []

    def full(stream, array):
        calls.append(array)
        if len(calls) > 2:  # in the second recording
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_array(stream, array)

    command = ("build", folder, "--out", tmp_path / "corpus", *SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        said = fails(*command)
    assert "error: The corpus" in said  # without a number
    assert "cannot be written: No space left on device. It holds 1 recordings, all whole. Make space" in said
    out = run("info", tmp_path / "corpus")[1]
    assert (out[1], "not finished" in out[-1]) == ("1 recording of 1 subject", True)
    assert len(list((tmp_path / "corpus/shards").iterdir())) == 2
    assert run(*command)[1][1] == "2 recordings of 2 subjects"


def test_a_disk_without_space_for_the_first_file_is_one_line(folder, tmp_path, run, fails, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    command = ("build", folder, "--out", tmp_path / "corpus", *SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert "No space left on device" in fails(*command)
    assert "is no corpus" in fails("info", tmp_path / "corpus")
    assert run(*command)[0] == 0


@pytest.mark.skipif(build.fcntl is None, reason="no file locks here")
def test_a_corpus_that_another_process_builds_is_refused(folder, tmp_path, fails):
    with build._building(tmp_path / "corpus"):
        said = fails("build", folder, "--out", tmp_path / "corpus", *SMALL)
    assert "Another process is building the corpus" in said


def test_control_c_is_one_line(folder, tmp_path, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(build._Index, "add", interrupted)
    code, out, err = run("build", folder, "--out", tmp_path / "corpus", *SMALL)
    assert (code, out, err) == (130, [], ["mne-specmoe: stopped."])


MADE = ("--hours", "0.01", "--person-seconds", "18", "--segment-seconds", "3", "--no-progress")


def test_a_corpus_is_made_up_and_summed_up(tmp_path, run):
    caps = ("standard_1005:TP9,AF7,AF8,TP10", "biosemi32:5")
    code, out, err = run("synthesize", "--out", tmp_path / "corpus", "--montage", *caps, *MADE)
    assert (code, err) == (0, [])
    corpus = Corpus(tmp_path / "corpus")
    assert out == str(corpus.summary()).splitlines()
    assert [len(montage) for montage in corpus.montages] == [4, 5]
    assert len(corpus.recordings) == 2


def test_without_flags_what_is_made_up_is_that_of_the_function(tmp_path, run):
    run("synthesize", "--out", tmp_path / "one", "--hours", "0.01", "--no-progress")
    expected = synthesize_corpus(tmp_path / "two", hours=0.01, progress=False)
    corpus = Corpus(tmp_path / "one")
    assert corpus.settings == expected.settings
    assert corpus.hash == expected.hash


def test_settings_of_a_made_up_corpus_reach_it(tmp_path, run):
    flags = ("--seed", "4", "--l-freq", "1", "--h-freq", "40", "--notch", "50", "--reject-uv", "none", "--n-jobs", "1")
    run("synthesize", "--out", tmp_path / "corpus", *flags, *MADE)
    settings = Corpus(tmp_path / "corpus").settings
    names = ("l_freq", "h_freq", "notch", "reject_uv", "segment_seconds")
    assert [settings[name] for name in names] == [1.0, 40.0, [50.0], None, 3.0]
    assert settings["synthesis"]["seed"] == 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [(("--montage", "cap"), "no montage 'cap'"), (("--hours", "0"), "hours must be > 0"), (("--seed", "-1"), "seed")],
)
def test_a_wrong_setting_of_a_made_up_corpus_is_one_line(tmp_path, fails, argv, message):
    assert message in fails("synthesize", "--out", tmp_path / "corpus", *MADE, *argv)
    assert not (tmp_path / "corpus").exists()


def test_corpora_are_joined(folder, tmp_path, run, fails):
    run("build", folder, "--out", tmp_path / "real", *SMALL)
    run("synthesize", "--out", tmp_path / "made", *MADE, "--segment-seconds", "2")
    code, out, err = run("join", tmp_path / "real", tmp_path / "made", "--out", tmp_path / "both")
    assert (code, err) == (0, [])
    assert out == str(Corpus(tmp_path / "both").summary()).splitlines()
    parts = (Corpus(tmp_path / name) for name in ("real", "made"))
    assert len(Corpus(tmp_path / "both")) == sum(map(len, parts))
    assert "not empty" in fails("join", tmp_path / "real", "--out", tmp_path / "both")
