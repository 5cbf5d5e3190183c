"""Weights that leave a data set out are used there alone, and are believed only after a look at their headers."""

import json
import pickle
from dataclasses import replace

import pytest
from tiny_tasks import write_eegmat, write_openbci
from weights_files import rewrite

from mne_specmoe.benchmark.choice import all_entries, choose_entries
from mne_specmoe.benchmark.left_out import left_out_entries, read_left_out
from mne_specmoe.benchmark.report import make_report
from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.run import run
from mne_specmoe.checkpoint import weights_path

DATASETS = ("eegmat", "openbci_mi", "muse")
STARTERS = "fe49a211c1ba86ddac4a21e7189143f9"
CORPUS, TOKENIZER = "c0" * 16, "70" * 32
THREE = ("S02", "S03", "S04")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Weights of another corpus and tokenizer, which nobody knows."""
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    path.write_bytes(weights_path("brainrvq-starter").read_bytes())

    def change(state, header):
        header["training"]["data"] |= {"corpus": CORPUS, "validation_subjects": ["ssvep_exo-S06"]}
        header["training"]["tokenizer"] = {"sha256": TOKENIZER}

    return rewrite(path, change)


def written(folder, **content):
    path = folder / "left_out.json"
    path.write_text(json.dumps(content))
    return path


def holds(*datasets):
    return {CORPUS: list(datasets), TOKENIZER: list(datasets)}


def test_weights_of_the_package_are_known_by_their_corpus(tmp_path):
    found = read_left_out(written(tmp_path, weights={"openbci_mi": "starter"}, title="Mine"), DATASETS)
    assert found.title == "Mine"
    assert found.weights == {"openbci_mi": "starter"}
    assert found.saw == {"openbci_mi": ("eegmat", "guinea_bissau", "muse", "ssvep_exo")}


def test_files_beside_it_are_known_by_what_it_says_their_corpora_hold(own):
    path = written(own.parent, weights={"eegmat": own.name, "muse": str(own)}, holds=holds("openbci_mi"))
    found = read_left_out(path, DATASETS)
    assert found.title == "left_out"
    assert found.saw == dict.fromkeys(("eegmat", "muse"), ("openbci_mi",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": {"eegmat": "starter"}}, "starter saw 'eegmat', which it is to leave out"),
        ({"weights": {"eegmat": "own.safetensors"}}, f"nothing says what the corpus or tokenizer {CORPUS} holds"),
        ({"weights": {"eegmat": "own.safetensors"}, "holds": {CORPUS: []}}, f"nothing says .*{TOKENIZER} holds"),
        ({"weights": {"eegmat": "own.safetensors"}, "holds": holds("eegmat")}, "saw 'eegmat'.*without it"),
        ({"weights": {"ssvep_exo": "own.safetensors"}, "holds": holds("eegmat")}, "saw 'ssvep_exo'"),  # it validated
        ({"weights": {"eegmatt": "starter"}}, "no data set 'eegmatt'; there are 'eegmat'"),
        ({"weights": {"openbci_mi": "starter"}, "holds": {STARTERS: ["muse"]}}, "but it holds"),
        ({"weights": {}}, "at least one data set"),
        ({"weights": ["starter"]}, "must be {"),
        ({"weights": {"eegmat": "starter"}, "more": 1}, "must be {"),
        ({"weights": {"eegmat": "starter"}, "holds": {"a": "eegmat"}}, '"holds" of'),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_refused(own, content, message):
    with pytest.raises(ValueError, match=message):
        read_left_out(written(own.parent, **content), {*DATASETS, "ssvep_exo"})


def test_no_json_and_no_file_are_said(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_left_out(tmp_path / "a.json", DATASETS)
    with pytest.raises(FileNotFoundError, match="no weights file .*gone.safetensors"):
        read_left_out(written(tmp_path, weights={"eegmat": "gone.safetensors"}), DATASETS)


def test_models_are_not_mixed(own):
    weights = {"openbci_mi": "starter", "eegmat": own.name}
    found = read_left_out(written(own.parent, weights=weights, holds=holds("muse")), DATASETS)
    with pytest.raises(ValueError, match="of one model, but those for 'eegmat'"):
        left_out_entries(found, "lodo")


@pytest.fixture
def entries(own):
    path = written(own.parent, weights={"openbci_mi": "brainrvq-starter", "eegmat": own.name}, holds=holds("muse"))
    return all_entries(left_out={"lodo": str(path)})


def test_each_data_set_has_its_weights_and_its_controls(entries):
    entry = entries["lodo-logistic"]
    assert entry.role == "pretrained"
    assert entry.weights_hash != entries["brainrvq-logistic"].weights_hash
    assert entry.on("openbci_mi").weights_hash == entries["brainrvq-logistic"].weights_hash
    assert entry.on("eegmat").weights_hash not in (entry.weights_hash, entry.on("openbci_mi").weights_hash)
    assert entries["lodo-logistic@random"].weights_hash is None
    assert entries["lodo-logistic@random"].on("eegmat").fit.weights.is_random
    assert entries["brainrvq-logistic"].on("eegmat") is entries["brainrvq-logistic"]
    with pytest.raises(TypeError, match=r"Entry\.on"):
        entry.fit(None, None, None)
    pickle.loads(pickle.dumps(entry.on("eegmat").fit))
    chosen = [each.name for each in choose_entries(["lodo-added"], entries)]
    assert {"lodo-added", "lodo-added@random", "tangent6-bandpower-lr"} <= set(chosen)


def test_a_run_uses_them_and_the_report_has_a_section_of_its_own(tmp_path, entries):
    onsets = (1.0, 3.0, 5.0, 7.0)
    tasks = [write_openbci(tmp_path, THREE, onsets=onsets), write_eegmat(tmp_path, THREE)]
    other = replace(write_eegmat(tmp_path, THREE), name="other", files=replace(tasks[1].files, folder="muse"))
    for subject in THREE:
        (tmp_path / "muse").mkdir(exist_ok=True)
        (tmp_path / f"muse/{subject}.npz").write_bytes((tmp_path / f"eegmat/{subject}.npz").read_bytes())
    names = ("dummy", "bandpower-lr", "lodo-ridge", "lodo-ridge@random", "lodo-ridge@permuted")
    path = tmp_path / "r.jsonl"
    options = {"n_seeds": 1, "budget": "tiny", "progress": False, "controls": False}
    results = run([*tasks, other], [entries[name] for name in names], tmp_path, path, **options)
    plan = results.header()["plan"]["estimators"]
    assert set(plan["lodo-ridge"]["left_out"]) == {"eegmat", "openbci_mi"}
    assert plan["lodo-ridge"]["unsuited"] == {"other": "there are no weights that left this data set out"}
    assert plan["lodo-ridge"]["seen"] == {}
    records = [r for r in results.records() if r["estimator"] == "lodo-ridge"]
    assert {r["status"] for r in records} == {"done"}
    assert {r["task"]: r["weights_hash"] for r in records} == {
        name: entries["lodo-ridge"].on(name).weights_hash for name in ("openbci_mi", "eegmat")
    }
    assert {r["overlap"] for r in records} == {False}
    read = read_results(path)
    comparison = task_numbers(read, "eegmat").everyone
    assert comparison.gates["lodo-ridge"].unseen.passed
    assert comparison.best_pretrained is None  # it has another protocol
    words = " ".join(str(part) for part in make_report(read).parts)
    assert "Leave a data set out" in words
    assert "All subjects, weights that saw nothing of the data set" in words
    assert plan["lodo-ridge"]["left_out"]["eegmat"][:12] in words
