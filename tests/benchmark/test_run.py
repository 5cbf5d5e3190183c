"""Every cell runs once and is recorded once, whatever stops the run, and nothing sees test labels before its time."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from marking import Marking, WithoutProbabilities
from sklearn.metrics import balanced_accuracy_score
from tiny_tasks import write_eegmat, write_mouse, write_muse, write_openbci

from mne_specmoe.benchmark.choice import entry_of
from mne_specmoe.benchmark.entries import BUDGETS, Entry, Selected
from mne_specmoe.benchmark.plan import all_cells
from mne_specmoe.benchmark.records import cell_of
from mne_specmoe.benchmark.results import ResultsFile
from mne_specmoe.benchmark.run import run
from mne_specmoe.benchmark.scoring import Prediction
from mne_specmoe.benchmark.specialists import SPECIALISTS
from mne_specmoe.benchmark.tasks import TASKS

SUBJECTS = tuple(f"Subject{number:02d}" for number in range(6))
SEVERAL_SEEDS = {"n_seeds": 2, "budget": "tiny", "progress": False}


@pytest.fixture
def eegmat(tmp_path):
    return write_eegmat(tmp_path, SUBJECTS)


def without_time(record):
    return {name: value for name, value in record.items() if name not in ("seconds", "peak_memory_mib")}


def by_cell(results):
    return {cell_of(record).key: without_time(record) for record in results.records()}


def guess_true_labels(training, validation, setting):
    """What would have a perfect score if it were given the labels that it is tested on."""
    return Selected(lambda data: Prediction(data.y, None), {"settings": {}})


def test_every_planned_cell_is_recorded_with_the_scores_of_a_direct_computation(tmp_path, eegmat):
    entries = [entry_of("marking", Marking()), entry_of("labels", WithoutProbabilities())]
    results = run([eegmat], entries, tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS)
    records = results.records()
    planned = all_cells(results.header()["plan"])
    assert sorted(cell.key for cell in planned) == sorted(cell_of(record).key for record in records)
    assert len(planned) == 3 * 2 + 3  # the first is random
    data = eegmat.load(tmp_path)
    fold = eegmat.split(data).folds[0]
    test = data.take(fold.test)
    training = data.take(fold.training)
    model = Marking().fit(training.X, training.y)
    record = next(r for r in records if r["estimator"] == "marking" and r["fold"] == 0)
    assert record["status"] == "done"
    assert record["pooled"]["balanced_accuracy"] == balanced_accuracy_score(test.y, model.predict(test.X))
    assert set(record["scores"]["balanced_accuracy"]) == set(test.subjects.tolist())
    assert "auroc" not in next(r for r in records if r["estimator"] == "labels")["scores"]


def test_as_many_jobs_as_one_likes_give_the_same_table(tmp_path, eegmat):
    entries = [entry_of("marking", Marking())]
    one, two = (run([eegmat], entries, tmp_path, tmp_path / f"{n}.jsonl", n_jobs=n, **SEVERAL_SEEDS) for n in (1, 2))
    assert by_cell(one) == by_cell(two)


def test_backends_of_threads_are_refused(tmp_path, eegmat):
    with joblib.parallel_config(backend="threading"), pytest.raises(ValueError, match="runs processes"):
        run([eegmat], [entry_of("m", Marking())], tmp_path, tmp_path / "r.jsonl", n_jobs=2, **SEVERAL_SEEDS)


def test_backends_that_give_results_at_the_end_of_a_call_are_called_several_times(tmp_path, eegmat):
    entries = [entry_of("marking", Marking())]
    expected = run([eegmat], entries, tmp_path, tmp_path / "1.jsonl", **SEVERAL_SEEDS)
    with joblib.parallel_config(backend="multiprocessing"):
        found = run([eegmat], entries, tmp_path, tmp_path / "2.jsonl", n_jobs=2, **SEVERAL_SEEDS)
    assert by_cell(found) == by_cell(expected)


def test_a_crash_is_a_recorded_cell_and_runs_again_if_asked(tmp_path, eegmat):
    said = []
    options = {**SEVERAL_SEEDS, "tell": said.append}
    marks = tmp_path / "marks"
    marks.mkdir()
    broken = replace(entry_of("marking", Marking(str(marks), fails_on=1)), parameters={})
    results = run([eegmat], [broken], tmp_path, tmp_path / "r.jsonl", **options)
    failed = [record for record in results.records() if record["status"] == "failed"]
    assert [record["seed"] for record in failed] == [1, 1, 1]
    assert failed[0]["error"] == "RuntimeError: the random state is wrong"
    assert sum("the random state is wrong" in text for text in said) == 3
    n_fits = sum(len(path.read_text().splitlines()) for path in marks.iterdir())
    run([eegmat], [broken], tmp_path, tmp_path / "r.jsonl", **options)
    assert sum(len(path.read_text().splitlines()) for path in marks.iterdir()) == n_fits
    run([eegmat], [broken], tmp_path, tmp_path / "r.jsonl", retry_failed=True, **options)
    assert sum(len(path.read_text().splitlines()) for path in marks.iterdir()) == n_fits + 3


def test_labels_of_the_test_part_are_out_of_reach(tmp_path, eegmat):
    cheat = Entry("cheat", "Cheat", "peer", guess_true_labels)
    results = run([eegmat], [cheat], tmp_path, tmp_path / "r.jsonl", controls=False, **SEVERAL_SEEDS)
    assert all(record["pooled"]["balanced_accuracy"] == 0.5 for record in results.records())


def test_a_metric_of_areas_needs_probabilities(tmp_path, eegmat):
    task = replace(eegmat, metric="auroc")
    entries = [entry_of("labels", WithoutProbabilities()), entry_of("marking", Marking(random_state=3))]
    results = run([task], entries, tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS)
    status = {record["estimator"]: record["status"] for record in results.records()}
    assert status == {"labels": "failed", "marking": "done"}
    error = next(record["error"] for record in results.records() if record["error"])
    assert error.startswith("ValueError: There is no auroc: the estimator has no predict_proba.")


def test_predictions_that_are_no_classes_are_a_failed_cell(tmp_path, eegmat):
    def fit(training, validation, setting):
        return Selected(lambda data: Prediction(np.full(len(data), 7), None), {"settings": {}})

    results = run(
        [eegmat],
        [Entry("seven", "Seven", "peer", fit)],
        tmp_path,
        tmp_path / "r.jsonl",
        controls=False,
        **SEVERAL_SEEDS,
    )
    assert "not among the task's 2 classes" in results.records()[0]["error"]


def test_what_a_test_part_shares_with_pretraining_is_written_beside_its_scores(tmp_path, eegmat):
    training = {"data": {"corpus": "fe49a211c1ba86ddac4a21e7189143f9"}}
    entries = [
        replace(entry_of("seen", WithoutProbabilities()), weights_hash="1", training=training),
        replace(entry_of("unknown", WithoutProbabilities()), weights_hash="2", training={}),
        entry_of("none", WithoutProbabilities()),
    ]
    said = []
    results = run([eegmat], entries, tmp_path, tmp_path / "r.jsonl", controls=False, tell=said.append, **SEVERAL_SEEDS)
    assert [text for text in said if "Nobody knows whom the weights 'unknown' were" in text] == said
    assert len(said) == 1
    found = {record["estimator"]: (record["overlap"], record["seen"]) for record in results.records()}
    assert found["none"] == (False, [])
    assert found["unknown"] == (None, [])
    overlapping, seen = found["seen"]
    assert overlapping is True
    assert set(seen) <= set(SUBJECTS)
    assert len(seen) == 2


def test_an_unavailable_task_is_told_with_what_to_do_and_the_others_run(tmp_path, eegmat):
    said = []
    entries = [entry_of("labels", WithoutProbabilities())]
    results = run(
        [eegmat, TASKS["ssvep_exo"]], entries, tmp_path, tmp_path / "r.jsonl", tell=said.append, **SEVERAL_SEEDS
    )
    assert any("ssvep_exo" in text and "Kalunga2016" in text for text in said)
    assert "ssvep_exo" not in results.header()["plan"]["tasks"]


def test_says_what_is_missing_if_no_task_can_run_or_there_is_no_root(tmp_path):
    entries = [entry_of("labels", WithoutProbabilities())]
    with pytest.raises(FileNotFoundError, match="Kalunga2016"):
        run([TASKS["ssvep_exo"]], entries, tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS)
    with pytest.raises(FileNotFoundError, match="no data root"):
        run([TASKS["ssvep_exo"]], entries, tmp_path / "nowhere", tmp_path / "r.jsonl", **SEVERAL_SEEDS)
    assert not (tmp_path / "r.jsonl").exists()


def test_a_file_of_another_plan_or_program_is_left_alone(tmp_path, eegmat):
    path, entries = tmp_path / "r.jsonl", [entry_of("labels", WithoutProbabilities())]
    run([eegmat], entries, tmp_path, path, **SEVERAL_SEEDS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="plan.n_seeds was 2, now 3"):
        run([eegmat], entries, tmp_path, path, **{**SEVERAL_SEEDS, "n_seeds": 3})
    assert path.read_bytes() == before
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no header"):
        run([eegmat], entries, tmp_path, path, **SEVERAL_SEEDS)
    assert path.read_text() == "a,b\n1,2\n"


def test_names_must_be_there_and_differ(tmp_path, eegmat):
    entry = entry_of("labels", WithoutProbabilities())
    for tasks, entries, message in (
        ([], [entry], "no task"),
        ([eegmat], [], "no estimator"),
        ([eegmat], [entry, entry], "'labels'"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tasks, entries, tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS)


def test_probes_are_asked_whose_windows_they_are(tmp_path, eegmat):
    openbci = write_openbci(tmp_path, ("S02", "S03", "S04"), onsets=(1.0, 3.0, 5.0, 7.0))
    probe = replace(entry_of("probe", WithoutProbabilities()), is_probe=True)
    other = entry_of("other", WithoutProbabilities())
    results = run([eegmat, openbci], [probe, other], tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS)
    plan = results.header()["plan"]
    kinds = {name: task["kind"] for name, task in plan["tasks"].items()}
    assert kinds == {
        "eegmat": "task", "openbci_mi": "task", "eegmat/subjects": "identity", "openbci_mi/subjects": "identity",
        "datasets": "identity",
    }  # fmt: skip
    asked = {record["estimator"] for record in results.records() if plan["tasks"][record["task"]]["kind"] == "identity"}
    assert asked == {"probe"}
    assert plan["tasks"]["eegmat/subjects"]["chance"] == pytest.approx(1 / 6)
    assert plan["tasks"]["datasets"]["chance"] == 0.5


def test_the_plan_says_of_which_kind_an_estimator_is_and_nothing_of_others(tmp_path, eegmat):
    entry = entry_of("labels", WithoutProbabilities())
    entries = [entry, replace(entry, name="centred", is_centred=True), replace(entry, name="more", adds_to="labels")]
    results = run([eegmat], entries, tmp_path, tmp_path / "r.jsonl", controls=False, **SEVERAL_SEEDS)
    plan = results.header()["plan"]["estimators"]
    assert plan["centred"]["is_centred"] is True
    assert plan["more"]["adds_to"] == "labels"
    assert not {"is_centred", "adds_to", "left_out"} & set(plan["labels"])
    assert "is_event_related" not in results.header()["plan"]["tasks"]["eegmat"]


def test_each_person_of_a_task_within_people_has_cells_of_their_own(tmp_path):
    task = write_muse(tmp_path, {"A": 3, "B": 2})
    xdawn = next(entry for entry in SPECIALISTS if entry.name == "xdawn-lr")
    results = run([task], [xdawn], tmp_path, tmp_path / "r.jsonl", controls=False, **SEVERAL_SEEDS)
    records = sorted(results.records(), key=lambda record: record["fold"])
    assert [list(record["confusion"]) for record in records] == [["A"], ["A"], ["A"], ["B"], ["B"]]
    assert results.header()["plan"]["tasks"]["muse_n170"]["is_event_related"] is True


def test_a_task_of_one_animal_runs(tmp_path):
    mouse = write_mouse(tmp_path, n_blocks=20)
    results = run(
        [mouse], [entry_of("labels", WithoutProbabilities())], tmp_path, tmp_path / "r.jsonl", **SEVERAL_SEEDS
    )
    assert {record["status"] for record in results.records()} == {"done"}
    assert results.records()[0]["confusion"].keys() == {"mouse005"}


def test_warnings_of_a_cell_are_written_down(tmp_path, eegmat):
    def fit(training, validation, setting):
        import warnings

        warnings.warn("it did not converge", stacklevel=1)
        return Selected(lambda data: Prediction(np.zeros(len(data), int), None), {"settings": {}})

    results = run(
        [eegmat], [Entry("w", "W", "peer", fit)], tmp_path, tmp_path / "r.jsonl", controls=False, **SEVERAL_SEEDS
    )
    assert results.records()[0]["selection"]["warnings"] == ["UserWarning: it did not converge"]


SCRIPT = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from marking import Marking
from tiny_tasks import tiny

from mne_specmoe.benchmark.choice import entry_of
from mne_specmoe.benchmark.run import run

if __name__ == "__main__":
    root = Path({root!r})
    entries = [entry_of("marking", Marking(str(root / "marks"), seconds=0.05))]
    run([tiny("eegmat", {subjects!r})], entries, root, root / "r.jsonl", n_seeds=8, budget="tiny", progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_after_kills_no_finished_cell_runs_again_and_none_is_lost(tmp_path, eegmat):
    (tmp_path / "marks").mkdir()
    script = tmp_path / "go.py"
    script.write_text(
        textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parents[1]), root=str(tmp_path), subjects=SUBJECTS)
    )
    path, rng, n_kills = tmp_path / "r.jsonl", np.random.default_rng(0), 0

    def n_lines():
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def n_fits():
        return sum(len(mark.read_text().splitlines()) for mark in (tmp_path / "marks").iterdir())

    for _ in range(40):
        process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
        before, deadline = n_lines(), time.monotonic() + 60
        while process.poll() is None and n_lines() < before + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None:
            assert process.wait() == 0, process.stderr.read().decode()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_kills += 1
        whole = [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]
        assert all(record["status"] == "done" for record in whole)
    records = ResultsFile(path).records()
    assert n_kills > 3
    assert len(records) == 3 * 8
    assert len({cell_of(record).key for record in records}) == 3 * 8
    # A kill can cost the cell that was running, and no other.
    assert n_fits() <= len(records) + n_kills


def test_budgets_say_how_much_may_be_tried():
    assert set(BUDGETS) == {"small", "full", "tiny"}
    assert {budget.n_looks for budget in BUDGETS.values()} == {20, 3}
