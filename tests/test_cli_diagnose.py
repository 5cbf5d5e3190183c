"""The health check on the command line, as somebody types it."""

import json

import mne
import numpy as np
import pytest
from specmoe_files import expert

from mne_specmoe import make_epochs, save_expert
from mne_specmoe.cli import main
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.diagnosis.files import read_people


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An expert; epochs of two people in a file each, and of both in one; a recording."""
    folder = tmp_path_factory.mktemp("diagnose")
    save_expert(expert(), folder / "expert.safetensors")
    epochs = make_epochs(8, n_channels=2, duration=1.8, n_subjects=2)[0]
    epochs.save(folder / "both-epo.fif")
    for name in ("S01", "S02"):
        epochs[epochs.metadata["subject"] == name].save(folder / f"{name}_rest-epo.fif")
    info = mne.create_info(["C3", "C4"], 200.0, "eeg")
    mne.io.RawArray(make_eeg(1, 2, 200 * 10, random_state=0)[0], info).save(folder / "S03_rest_raw.fif")
    return folder


def run(*arguments: object) -> int:
    return main(["diagnose", *map(str, arguments), "--no-progress"])


def test_files_lead_to_a_verdict_numbers_and_a_figure(folder, tmp_path, capsys):
    files = [folder / f"{name}_rest-epo.fif" for name in ("S01", "S02")]
    options = ["--subject-pattern", r"(S\d+)_rest", "--n-random", 0, "--seed", 3]
    out = ["--json", tmp_path / "found.json", "--figure", tmp_path / "found.png"]
    assert run(folder / "expert.safetensors", "--data", *files, *options, *out) == 0
    text = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (found["n_epochs"], found["n_people"], found["healthy"]) == (8, 2, False)
    assert text.rstrip().endswith(f": {found['summary']}.")
    assert (tmp_path / "found.png").stat().st_size > 10_000


def test_people_come_from_names_of_files_or_metadata(folder):
    files = [folder / "S01_rest-epo.fif", folder / "S02_rest-epo.fif"]
    assert np.unique(read_people(files).groups).tolist() == ["S01_rest-epo", "S02_rest-epo"]
    assert np.unique(read_people(files, subject_pattern=r"(S\d+)_").groups).tolist() == ["S01", "S02"]
    people = read_people([folder / "both-epo.fif"], subject_column="subject")
    assert people.groups.tolist() == ["S01"] * 4 + ["S02"] * 4
    assert len(people.epochs) == 1


def test_recordings_are_cut_into_windows(folder):
    people = read_people([folder / "S03_rest_raw.fif"], window_seconds=2, notch=None, channels=["C4"])
    assert len(people.epochs[0]) == len(people.groups) == 5
    assert people.epochs[0].ch_names == ["C4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "absent_raw.fif"}, "no recording"),
        ({"weights": "startr"}, "named by a str: 'starter'"),
        ({"weights": "brainrvq-starter-tokenizer"}, "holds a tokenizer"),
        ({"--subject-pattern": "S0"}, "one group"),
        ({"--subject-pattern": "(X+)"}, "S01_rest-epo.fif: subject_pattern='(X+)' does not match"),
        ({"--subject-column": "person"}, "S01_rest-epo.fif: The epochs' metadata have no column 'person'"),
        ({"--max-epochs": "1"}, "max_epochs must be >= 2"),
        ({"--json": "absent/found.json"}, "no folder"),
        ({"--figure": "absent/found.png"}, "no folder"),
    ],
)
def test_a_mistake_is_one_line(folder, monkeypatch, capsys, change, message):
    monkeypatch.chdir(folder)
    use = {"weights": "expert.safetensors", "data": "S01_rest-epo.fif"} | change
    options = [part for name, value in use.items() if name.startswith("--") for part in (name, value)]
    assert run(use["weights"], "--data", use["data"], *options) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("mne-specmoe: error: ")
    assert message in line
