"""A kill loses at most the line being written, writers do not disturb each other, and other files stay as they are."""

import json
import lzma
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from mne_specmoe import __version__
from mne_specmoe.benchmark import results as module
from mne_specmoe.benchmark.records import (
    Cell,
    Circumstances,
    cell_of,
    done_record,
    failed_record,
    json_hash,
    subject_means,
)
from mne_specmoe.benchmark.results import ResultsFile

PLAN = {"tasks": ["rest"], "estimators": ["specmoe", "riemann"], "seeds": (0, 1), "budget": {"max_epochs": 100}}
SPLITS = {"rest": "5p1", "sleep": "5p2"}
CIRCUMSTANCES = Circumstances({"torch": "2.6"}, "pa4", "3e1", "5p1", overlap=False)


def record(fold=0, *, estimator="specmoe", seed=0, task="rest", score=0.75):
    circumstances = CIRCUMSTANCES if task == "rest" else Circumstances({}, "pa4", None, SPLITS[task], None)
    return done_record(
        Cell(task, estimator, fold, seed),
        circumstances,
        scores={"balanced_accuracy": {"s1": score, "s2": 0.5}},
        selection={"lr": 1e-3, "n_tried": 4},
        seconds=1.5,
        peak_memory_mib=100,
    )


def failure(fold=0, error=None):
    return failed_record(Cell("rest", "specmoe", fold, 0), CIRCUMSTANCES, error or RuntimeError("no"), seconds=2)


def opened(path):
    results = ResultsFile(path)
    results.open(PLAN, SPLITS)
    return results


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def test_records_come_back_as_they_were(path):
    results = opened(path)
    written = [record(0), failure(1), record(0, task="sleep", seed=1)]
    for each in written:
        results.append(each)
    assert ResultsFile(path).records() == written
    assert results.notes == []
    assert len(path.read_text(encoding="ascii").splitlines()) == 4  # a header


def test_a_record_says_all_that_the_report_needs():
    assert record(2, seed=1) == {
        "task": "rest", "estimator": "specmoe", "fold": 2, "seed": 1, "status": "done", "error": None,
        "scores": {"balanced_accuracy": {"s1": 0.75, "s2": 0.5}}, "selection": {"lr": 1e-3, "n_tried": 4},
        "seconds": 1.5, "peak_memory_mib": 100.0, "versions": {"torch": "2.6"}, "parameter_hash": "pa4",
        "weights_hash": "3e1", "split_hash": "5p1", "overlap": False, "seen": [], "pooled": {}, "confusion": {},
        "n_parameters": None,
    }  # fmt: skip


def test_the_header_states_plan_splits_and_versions(path):
    opened(path)
    header = ResultsFile(path).header()
    plan = json.loads(json.dumps(PLAN))
    assert header == {
        "format": "mne-specmoe benchmark results", "format_version": 1, "package_version": __version__,
        "plan": plan, "split_hashes": SPLITS, "plan_hash": json_hash(plan),
    }  # fmt: skip


def test_finished_cells_include_failed_ones_unless_these_are_to_run_again(path):
    results = opened(path)
    results.append(record(0))
    results.append(failure(1))
    done, failed = ("rest", "specmoe", 0, 0), ("rest", "specmoe", 1, 0)
    assert results.finished() == {done, failed}
    assert results.finished(retry_failed=True) == {done}
    assert cell_of(results.records()[1]).key == failed


def test_a_failed_cell_can_run_again_and_its_last_record_counts(path):
    results = opened(path)
    for each in (failure(0), failure(0, ValueError("again")), record(1), record(0)):
        results.append(each)
    assert results.records() == [record(1), record(0)]
    assert len(path.read_bytes().splitlines()) == 5  # nothing is removed


def test_scores_are_never_replaced(path):
    results = opened(path)
    results.append(record(0, score=0.6))
    before = path.read_bytes()
    for again in (record(0, score=0.9), failure(0)):
        with pytest.raises(ValueError, match="rest, specmoe, fold 0, seed 0 is done already"):
            results.append(again)
    assert path.read_bytes() == before
    path.write_bytes(before + json.dumps(record(0, score=0.9)).encode() + b"\n")
    with pytest.raises(ValueError, match="Line 3 .*done already"):
        ResultsFile(path).records()


def test_an_error_is_kept_on_one_line():
    error = failure(0, ValueError("first\n  second\r\n" + "x" * 1000))["error"]
    assert error.startswith("ValueError: first second xxx")
    assert len(error) == 500


def test_texts_with_line_breaks_and_other_scripts_stay_on_their_line(path):
    results = opened(path)
    odd = record(0, estimator="naïve\n\u2028\r模型")
    results.append(odd)
    assert ResultsFile(path).records() == [odd]
    assert path.read_bytes().count(b"\n") == 2


def test_a_file_cut_anywhere_in_its_last_line_goes_on_with_all_others(path):
    results = opened(path)
    results.append(record(0))
    whole = path.read_bytes()
    results.append(record(1))
    full = path.read_bytes()
    for end in range(len(whole), len(full)):
        path.write_bytes(full[:end])
        assert ResultsFile(path).records() == [record(0)]  # reading changes nothing
        assert path.stat().st_size == end
        resumed = opened(path)
        assert path.read_bytes() == whole
        assert len(resumed.notes) == (end > len(whole))
        resumed.append(record(1))
        assert path.read_bytes() == full
    path.write_bytes(full[:-1])
    assert "was not written to its end" in opened(path).notes[0]


def test_a_file_cut_anywhere_in_its_header_begins_anew(path):
    opened(path)
    header = path.read_bytes()
    for end in range(len(header)):
        path.write_bytes(header[:end])
        opened(path)
        assert path.read_bytes() == header


def test_a_line_torn_by_another_process_is_cut_before_the_next_is_written(path):
    results = opened(path)
    results.append(record(0))
    with path.open("ab") as file:
        file.write(b'{"task": "rest", "esti')
    results.append(record(1))
    assert ResultsFile(path).records() == [record(0), record(1)]
    assert len(results.notes) == 1


def test_a_full_disk_leaves_the_file_as_it_was(path, monkeypatch):
    results = opened(path)
    results.append(record(0))
    before, calls = path.read_bytes(), []

    def write(file, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError("No space left on device")
        return real(file, data[:10])

    real = os.write
    monkeypatch.setattr(module.os, "write", write)
    with pytest.raises(OSError, match="No space"):
        results.append(record(1))
    monkeypatch.undo()
    assert calls[1] == calls[0] - 10  # a part had been taken
    assert path.read_bytes() == before
    results.append(record(1))
    assert ResultsFile(path).records() == [record(0), record(1)]


def test_each_difference_to_the_plan_of_the_file_is_named(path):
    opened(path)
    before = path.read_bytes()
    plan = {**PLAN, "budget": {"max_epochs": 50, "patience": 5}, "seeds": [0, 1]}
    del plan["tasks"]
    with pytest.raises(ValueError, match="results of something else") as caught:
        ResultsFile(path).open(plan, {"rest": "new", "sleep": "5p2"})
    message = str(caught.value)
    for part in ("plan.budget.max_epochs was 100, now 50", "plan.budget.patience is new", "plan.tasks is missing now",
                 "split_hashes.rest was '5p1', now 'new'"):  # fmt: skip
        assert part in message
    assert "seeds" not in message
    assert "sleep" not in message
    assert path.read_bytes() == before


def test_the_same_plan_in_another_order_goes_on(path):
    opened(path).append(record(0))
    results = ResultsFile(path)
    results.open(dict(reversed(PLAN.items())), dict(reversed(SPLITS.items())))
    assert results.finished() == {("rest", "specmoe", 0, 0)}


def test_another_version_of_the_package_is_noted(path, monkeypatch):
    opened(path)
    monkeypatch.setattr("mne_specmoe.__version__", "99")
    assert opened(path).notes == [f"{path} was begun by version {__version__}, this is 99."]


@pytest.mark.parametrize(
    "content", [b"a;b\n1;2\n", b"notes", b'{"format": "another"}\n', b"[1]\n", b"\x00\xff\n", b"\n"]
)
def test_files_of_other_programs_stay_as_they_are(path, content):
    path.write_bytes(content)
    for attempt in (lambda: opened(path), ResultsFile(path).records):
        with pytest.raises(ValueError, match="Line 1 .* is no header of mne-specmoe benchmark results"):
            attempt()
    assert path.read_bytes() == content


def test_a_header_that_was_changed_or_is_of_another_format_is_refused(path):
    opened(path)
    header = path.read_bytes()
    path.write_bytes(header.replace(b'"max_epochs": 100', b'"max_epochs": 999'))
    with pytest.raises(ValueError, match="Line 1 .* damaged"):
        ResultsFile(path).records()
    path.write_bytes(header.replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ValueError, match="format version 2, this package reads 1"):
        opened(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"fold": 1', b'"fold": -1'), (b'"fold": 1', b'"fold" 1'), (b'"status": "done"', b'"status": "lucky"'),
     (b'"s2": 0.5', b'"s2": NaN'), (b'"s2": 0.5', b'"s2": "0.5"'), (b'"seconds": 1.5, ', b""), (b"{", b"\r{{"),
     (b'"split_hash": "5p1"', b'"split_hash": "x"'), (b'"task": "rest"', b'"task": "other"'), (b'"', b"\xff")],
)  # fmt: skip
def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_changed(path, old, new):
    results = opened(path)
    for fold in range(3):
        results.append(record(fold))
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[2]
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(old, new, 1), lines[3]]))
    damaged = path.read_bytes()
    for attempt in (ResultsFile(path).records, lambda: opened(path)):
        with pytest.raises(ValueError, match="Line 3 of .*results.jsonl is damaged"):
            attempt()
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [({"split_hash": "new"}, ValueError, "the file's split is '5p1'"), ({"task": "other"}, ValueError, "'sleep'"),
     ({"scores": {}}, ValueError, "scores must map"), ({"scores": {"auc": {}}}, ValueError, "one subject or more"),
     ({"scores": {"auc": {"s1": np.nan}}}, ValueError, "not defined"), ({"seconds": -1}, ValueError, "seconds"),
     ({"overlap": 0}, TypeError, "overlap"), ({"status": "failed"}, TypeError, "error"),
     ({"status": "failed", "error": "E"}, ValueError, "has no scores"), ({"error": "E"}, ValueError, "error=None"),
     ({"fold": "0"}, TypeError, "fold"), ({"seed": True}, TypeError, "seed"), ({"extra": 1}, ValueError, "'extra'"),
     ({"selection": {"lr": object()}}, TypeError, "JSON"), ({"selection": {"lr": np.inf}}, ValueError, "JSON"),
     ({"selection": []}, TypeError, "selection"), ({"parameter_hash": ""}, TypeError, "parameter_hash"),
     ({"peak_memory_mib": "1"}, TypeError, "peak_memory_mib"), ({"weights_hash": 1}, TypeError, "weights_hash")],
)  # fmt: skip
def test_refuses_a_record_that_could_not_be_read_again(path, change, error, message):
    results = opened(path)
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        results.append({**record(0), **change})
    assert path.read_bytes() == before


def test_a_damaged_line_of_another_process_is_named_before_the_next_is_written(path):
    results = opened(path)
    results.append(record(0))
    results.append(record(1))
    with path.open("ab") as file:
        file.write(b"[]\n")
    damaged = path.read_bytes()
    with pytest.raises(ValueError, match="Line 4 of .*results.jsonl is damaged"):
        results.append(record(2))
    assert path.read_bytes() == damaged


def test_a_file_that_shrank_under_way_is_left_alone(path):
    results = opened(path)
    results.append(record(0))
    results.append(record(1))
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(ValueError, match="shorter than it was"):
        results.append(record(2))
    assert path.read_bytes().count(b"\n") == 1


def test_refuses_to_write_before_the_plan_is_checked(path):
    opened(path)
    with pytest.raises(ValueError, match="must be opened"):
        ResultsFile(path).append(record(0))


def test_refuses_a_plan_that_json_cannot_hold(path):
    with pytest.raises(TypeError, match="plan and split_hashes"):
        ResultsFile(path).open({"estimator": object()}, SPLITS)
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("", "e", 0, 0), TypeError), (("t", None, 0, 0), TypeError), (("t", "e", -1, 0), ValueError),
     (("t", "e", 0, 0.5), TypeError)],
)  # fmt: skip
def test_refuses_what_is_no_cell(arguments, error):
    with pytest.raises(error):
        Cell(*arguments)


def test_a_cell_takes_numpys_integers(path):
    cell = Cell("rest", "specmoe", np.int64(1), np.int32(0))
    assert cell == Cell("rest", "specmoe", 1, 0)
    opened(path).append({**record(), "fold": cell.fold, "seed": cell.seed})
    assert ResultsFile(path).finished() == {cell.key}


def test_scores_of_subjects_are_means_over_seeds_and_missing_if_a_cell_is():
    records = [record(0, seed=0, score=0.6), record(0, seed=1, score=0.8), failure(1), record(0, estimator="other")]
    cells = [Cell("rest", "specmoe", 0, seed) for seed in range(2)]
    assert subject_means(records, cells, "balanced_accuracy") == pytest.approx({"s1": 0.7, "s2": 0.5})
    for missing in (Cell("rest", "specmoe", 1, 0), Cell("rest", "specmoe", 0, 2)):  # failed, not run
        assert subject_means(records, [*cells, missing], "balanced_accuracy") is None
    assert subject_means(records, [], "balanced_accuracy") is None
    with pytest.raises(ValueError, match="metric='auc' is not known; allowed: 'balanced_accuracy'"):
        subject_means(records, cells, "auc")


def test_hashes_depend_on_values_not_on_the_order_of_keys():
    assert json_hash({"a": 1, "b": (2,)}) == json_hash({"b": [2], "a": 1})
    assert json_hash({"a": 1}) != json_hash({"a": 2})


def test_a_writer_waits_for_the_one_before(path):
    results = opened(path)
    writer = threading.Thread(target=results.append, args=(record(0),))
    with module._locked(path):
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert ResultsFile(path).records() == []
    writer.join(10)
    assert ResultsFile(path).records() == [record(0)]


def write_all(path, folds, estimator, begin, n_written):
    """Append cells in a process of its own, and count those that were not written by another."""
    begin.wait()
    results = opened(path)
    for fold in folds:
        try:
            results.append({**record(fold, estimator=estimator), "selection": {"padding": "x" * 20_000}})
        except ValueError:
            continue
        with n_written.get_lock():
            n_written.value += 1


def processes(arguments):
    """Start `write_all` once per item, at one moment; return the processes and what counts their lines."""
    # A fork has imported torch already; Windows has none.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    begin, n_written = context.Event(), context.Value("i", 0)
    started = [context.Process(target=write_all, args=(*each, begin, n_written)) for each in arguments]
    for process in started:
        process.start()
    begin.set()
    return started, n_written


def test_lines_of_processes_that_write_at_once_stay_whole(path):
    names = ["a", "b", "c", "d"]
    started, n_written = processes([(path, range(15), name) for name in names])
    for process in started:
        process.join(60)
    assert n_written.value == 60
    found = [(r["estimator"], r["fold"]) for r in ResultsFile(path).records()]
    assert sorted(found) == [(name, fold) for name in names for fold in range(15)]


def test_of_processes_that_run_the_same_cells_one_writes_each(path):
    started, n_written = processes([(path, range(15), "specmoe") for _ in range(4)])
    for process in started:
        process.join(60)
    assert n_written.value == 15
    assert len(ResultsFile(path).records()) == 15


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_killed_writers_lose_nothing_that_was_written(path):
    opened(path)
    for attempt in range(5):
        (process,), n_written = processes([(path, range(10_000), f"attempt {attempt}")])
        while n_written.value < 3 + attempt:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        resumed = opened(path)  # the lock went with the process
        n_lines = sum(r["estimator"] == f"attempt {attempt}" for r in resumed.records())
        assert n_lines in (n_written.value, n_written.value + 1)  # it may be killed before it counts
        resumed.append(record(attempt))
    assert len([r for r in ResultsFile(path).records() if r["estimator"] == "specmoe"]) == 5


def test_a_compressed_file_can_be_read_and_not_written(path):
    results = opened(path)
    results.append(record())
    packed = path.with_name("results.jsonl.xz")
    packed.write_bytes(lzma.compress(path.read_bytes()))
    assert ResultsFile(packed).records() == results.records()
    assert ResultsFile(packed).header() == results.header()
    with pytest.raises(ValueError, match="decompress it"):
        opened(packed)
    packed.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be decompressed"):
        ResultsFile(packed).records()
