"""The starter experts' recordings are divided by subject, and the command line measures what it says."""

import re

import mne
import numpy as np
import pytest
import torch
from tiny_data import HELD_OUT, TRAINING, eeg_uv, make_corpus, write_root

from mne_specmoe import SpecHiNet, save_expert
from mne_specmoe.benchmark import starter
from mne_specmoe.benchmark.rebuilding import BANDS, measure
from mne_specmoe.benchmark.recordings import chosen_recordings, stored_recordings
from mne_specmoe.benchmark.starter import SUBJECT_PATTERN, export, main
from mne_specmoe.data.build import build_corpus
from mne_specmoe.loaders.specmoe import load_expert, save_experts

N_PARTS = {"eegmat": 2, "guinea_bissau": 1, "ssvep_exo": 2, "muse": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of one random expert, one of two, and one that pretraining would have named."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "run").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, two = SpecHiNet("channelwise"), SpecHiNet("channelwise")
    save_experts([one, two], folder / "pair.safetensors")
    save_expert(two, folder / "run" / "expert.safetensors")
    return (
        save_expert(one, folder / "single.safetensors"),
        folder / "pair.safetensors",
        folder / "run/expert.safetensors",
    )


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    training = make_corpus(folder / "training", {name: eeg_uv(2, 2, ord(name)) for name in "AB"})
    held_out = make_corpus(folder / "held_out", {name: eeg_uv(2, 2, ord(name)) for name in "CDE"})
    return training.path, held_out.path


def expected_names(subjects) -> list[str]:
    return sorted(
        f"{dataset}-{subject}-{part}_raw.fif"
        for dataset, names in subjects.items()
        for subject in names
        for part in range(1, N_PARTS[dataset] + 1)
    )


def chosen(root, *, held_out) -> list:
    """Recordings of all data sets."""
    return [recording for dataset in N_PARTS for recording in chosen_recordings(root, dataset, held_out=held_out)]


def run(capsys, *arguments) -> str:
    """What the command line writes."""
    main([str(each) for each in arguments])
    return capsys.readouterr().out


def test_every_recording_is_for_training_or_held_out(root):
    training, held_out = (chosen(root, held_out=each) for each in (False, True))
    for recordings, subjects in ((training, TRAINING), (held_out, HELD_OUT)):
        expected = {(dataset, name) for dataset, names in subjects.items() for name in names}
        assert {(recording.dataset, recording.subject) for recording in recordings} == expected
    everything = [recording for dataset in N_PARTS for recording in stored_recordings(root, dataset)]
    assert len(training) + len(held_out) == len(everything)


def test_export_writes_the_parts_of_either_side(root, tmp_path):
    main(["export", str(root), "--out", str(tmp_path / "training")])
    main(["export", str(root), "--out", str(tmp_path / "held out"), "--held-out"])
    for folder, subjects in (("training", TRAINING), ("held out", HELD_OUT)):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == expected_names(subjects)
    subjects = [
        {re.search(SUBJECT_PATTERN, str(path))[1] for path in (tmp_path / folder).iterdir()}
        for folder in ("training", "held out")
    ]
    assert [len(each) for each in subjects] == [6, 11]
    assert not subjects[0] & subjects[1]


@pytest.mark.parametrize(("flags", "subjects"), [((), TRAINING), (("--held-out",), HELD_OUT)])
def test_a_data_set_can_be_left_out_with_everybody_in_it(root, tmp_path, flags, subjects):
    main(["export", str(root), "--out", str(tmp_path), "--leave-out", "muse", *flags])
    rest = {dataset: names for dataset, names in subjects.items() if dataset != "muse"}
    assert sorted(path.name for path in tmp_path.iterdir()) == expected_names(rest)


def test_a_data_set_to_leave_out_must_be_known(root, tmp_path):
    with pytest.raises(ValueError, match="leave_out='mouse_sleep'.*'eegmat'.*'muse'"):
        export(root, tmp_path / "out", held_out=False, leave_out="mouse_sleep")
    assert not (tmp_path / "out").exists()


def test_the_parts_of_a_person_count_on_over_experiments(root, tmp_path):
    export(root, tmp_path, held_out=False)
    bad = [mne.io.read_raw_fif(tmp_path / f"muse-NTX0001-{number}_raw.fif").info["bads"] for number in (1, 2, 3)]
    assert bad == [["AF7"], ["AF7"], []]


def test_exported_files_hold_the_signals_in_volts(root, tmp_path):
    paths = export(root, tmp_path, held_out=False)
    parts = [raw for recording in chosen(root, held_out=False) for raw in recording.parts()]
    assert len(paths) == len(parts)
    for path, part in zip(paths, parts, strict=True):
        raw = mne.io.read_raw_fif(path)
        assert raw.ch_names == part.ch_names
        assert raw.info["sfreq"] == part.info["sfreq"]
        np.testing.assert_allclose(raw.get_data(), part.get_data(), rtol=1e-6, atol=1e-12)


def test_a_corpus_of_exported_files_knows_the_subjects(root, tmp_path):
    export(root, tmp_path / "some-folder", held_out=True)
    options = {"edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0, "channels": "all", "progress": False}
    corpus = build_corpus(
        tmp_path / "some-folder", tmp_path / "corpus", l_freq=0.5, h_freq=60.0, notch=50.0,
        subject_pattern=SUBJECT_PATTERN, reject_uv=None, **options,
    )  # fmt: skip
    expected = {f"{dataset}-{name}" for dataset, names in HELD_OUT.items() for name in names}
    assert set(corpus.subject_of) == expected


def test_export_does_not_mix_with_recordings_of_other_subjects(root, tmp_path):
    export(root, tmp_path, held_out=True)
    export(root, tmp_path, held_out=True)  # its own may be written again
    with pytest.raises(ValueError, match="other subjects.*eegmat-Subject24"):
        export(root, tmp_path, held_out=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == expected_names(HELD_OUT)


@pytest.mark.parametrize("scope", ["shared", "local"])
def test_rebuild_shows_all_experts_and_baselines(corpora, weights, capsys, scope):
    text = run(capsys, "rebuild", *corpora, *weights, "--scope", scope)
    assert text.startswith("3 subjects")
    baselines = ("masked signal", "rescaled bands", "interpolation", "of complex values", "mask undone")
    experts = ("single", "pair", "pair, expert 1", "pair, expert 2", "run")
    rows = [re.split(r"  +", line)[0] for line in text.splitlines()]
    assert [row for row in rows[3:10] if row] == [*baselines, *experts[:2]]
    for expert in experts:
        assert expert in rows
        assert rows[rows.index(f"{expert}, difference to") + 1 :][:5] == list(baselines)
    assert all(band in text for band in BANDS)


def test_the_experts_of_a_file_are_measured_one_by_one_and_together(corpora, weights, capsys, monkeypatch):
    measured = []
    monkeypatch.setattr(starter, "measure", lambda *args: measured.append(measure(*args)) or measured[-1])
    run(capsys, "rebuild", *corpora, *weights)
    errors = {name: by_band["all"] for name, by_band in measured[0].by_method.items()}
    assert np.array_equal(errors["single"], errors["pair, expert 1"])
    assert np.array_equal(errors["run"], errors["pair, expert 2"])
    assert not np.array_equal(errors["single"], errors["run"])
    assert (errors["pair"] < (errors["single"] + errors["run"]) / 2).all()  # as for the mean of any two


def test_the_scope_of_the_mask_matters(corpora, weights, capsys):
    shared, local = (run(capsys, "rebuild", *corpora, weights[0], "--scope", each) for each in ("shared", "local"))
    assert shared != local
    assert shared == run(capsys, "rebuild", *corpora, weights[0])


def test_rebuild_refuses_recordings_that_were_trained_on(corpora, weights):
    training, _ = corpora
    with pytest.raises(ValueError, match="not held out: 'A', 'B'"):
        main(["rebuild", str(training), str(training), str(weights[0])])


@pytest.mark.parametrize("verb", ["rebuild", "probe"])
def test_two_files_of_one_name_are_refused(corpora, root, weights, verb, tmp_path):
    same = tmp_path / "single.safetensors"
    same.write_bytes(weights[0].read_bytes())
    data = corpora if verb == "rebuild" else (root,)
    with pytest.raises(ValueError, match="different names"):
        main([verb, *map(str, data), str(weights[0]), str(same)])


def test_probe_shows_every_task_and_kind_of_features(root, weights, capsys, monkeypatch):
    monkeypatch.setattr(starter, "_N_RANDOM", 1)
    text = run(capsys, "probe", root, weights[0])
    tasks = re.findall(r"^(\w+): (\w+) right, (\d+) subjects", text, re.MULTILINE)
    assert tasks == [("eegmat", "windows", "3"), ("guinea_bissau", "subjects", "6")]
    rows = re.findall(r"^  (\S.*?)  +(\d\.\d+) .*?\]  +(-?\d\.\d+)", text, re.MULTILINE)
    assert [name for name, *_ in rows] == ["random experts", "band power", "single"] * 2
    assert all(0 <= float(score) <= 1 for _, score, _ in rows)
    assert [float(difference) for name, _, difference in rows if name == "random experts"] == [0, 0]


def test_probe_can_be_of_one_task_and_of_the_other_subjects(root, weights, capsys, monkeypatch):
    monkeypatch.setattr(starter, "compare", lambda *args: {})
    shown = (run(capsys, "probe", root, weights[0], "--task", "eegmat", *flags) for flags in ((), ("--training",)))
    assert [text.split(" [")[0] for text in shown] == [
        f"eegmat: windows right, {len(subjects['eegmat'])} subjects" for subjects in (HELD_OUT, TRAINING)
    ]


def test_weights_of_the_package_go_by_their_names(root, capsys, monkeypatch):
    measured = []
    monkeypatch.setattr(starter, "measure_probes", lambda root, weights, **options: measured.extend(weights) or [])
    main(["probe", str(root), "starter"])
    assert [path.name for path in measured] == ["starter.safetensors"]
    assert measured[0].is_file()


def test_the_average_of_experts_has_the_mean_of_their_weights(weights, tmp_path, capsys):
    single, _, pretrained = weights
    run(capsys, "average", single, pretrained, "--out", tmp_path / "mean.safetensors")
    files = (single, pretrained, tmp_path / "mean.safetensors")
    first, second, mean = (load_expert(path).state_dict() for path in files)
    for name, tensor in mean.items():
        expected = ((first[name].double() + second[name].double()) / 2).to(tensor.dtype)
        assert torch.equal(tensor, expected), name


def test_features_of_random_experts_depend_on_the_seed_alone(weights):
    volts = np.random.default_rng(0).normal(0, 1e-5, size=(2, 2, 800))
    first, again, other = (starter._features(volts, None, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert first.shape[0] == 2
    assert not np.allclose(starter._features(volts, weights[0])[:, :8], first[:, :8])


@pytest.mark.parametrize("arguments", [[], ["export", "root"], ["rebuild", "corpus", "other"], ["probe", "root"]])
def test_missing_arguments_end_with_an_explanation(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage" in capsys.readouterr().err


@pytest.mark.real_data
def test_no_real_subject_is_on_both_sides(data_root):
    training, held_out = (
        {(recording.dataset, recording.subject) for recording in chosen(data_root, held_out=each)}
        for each in (False, True)
    )
    assert not training & held_out
    assert (len(training), len(held_out)) == (126, 33)
