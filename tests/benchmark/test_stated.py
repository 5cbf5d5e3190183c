"""Whom weights were pretrained on, as a user states it."""

import pytest
from made_up_results import done, make_plan, write

from mne_specmoe.benchmark.ours import entries_of
from mne_specmoe.benchmark.report import make_report
from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.stated import read_statement, weights_of

UNKNOWN = ["unknown"]


@pytest.fixture
def read(tmp_path):
    """Read results of which nobody knows whom the weights "good" saw, with a statement."""
    plan = make_plan()
    plan["estimators"]["good"] |= {"seen": dict.fromkeys(plan["tasks"], UNKNOWN)}
    path = write(tmp_path / "results.jsonl", plan, change=lambda cell, record: done(plan, cell))
    return lambda *texts: read_results(path, read_statement(texts))


def third_gate(results, task="rest", estimator="good"):
    return task_numbers(results, task).everyone.gates[estimator].unseen.passed


def words_of(results):
    return " ".join(str(part) for part in make_report(results).parts)


@pytest.mark.parametrize(
    ("texts", "statement"),
    [
        ((), {}),
        (("mine=none",), {"mine": {}}),
        (("mine=eegmat:all",), {"mine": {"eegmat": ("all",)}}),
        (("mine=eegmat:a,b", "mine=eegmat: c", "mine=x:d:e"), {"mine": {"eegmat": ("a", "b", "c"), "x": ("d:e",)}}),
    ],
)
def test_a_statement_is_read(texts, statement):
    assert read_statement(texts) == statement


@pytest.mark.parametrize("text", ["mine", "mine=", "=none", "mine=eegmat", "mine=eegmat:", "mine=:a", "mine=eegmat:,"])
def test_what_states_nothing_is_refused(text):
    with pytest.raises(ValueError, match="takes NAME=none, NAME=TASK:SUBJECT"):
        read_statement([text])


def test_nobody_and_somebody_contradict():
    with pytest.raises(ValueError, match="says of 'mine' both none and somebody"):
        read_statement(["mine=none", "lab=none", "mine=eegmat:a"])


@pytest.mark.parametrize(
    "name", ["mine-ridge", "mine-logistic@random", "mine-head@gate-none", "mine-finetuned", "mine"]
)
def test_estimators_are_known_by_their_weights(name):
    assert weights_of(name) == "mine"


@pytest.mark.parametrize("weights", ["starter", "brainrvq-starter"])
def test_all_estimators_of_some_weights_are_known_by_them(weights):
    entries = entries_of(weights, "my-lab-head", "mine")
    assert {weights_of(entry.name) for entry in entries} == {"my-lab-head"}


def test_without_a_statement_the_third_gate_stays_open(read):
    assert third_gate(read()) is None
    assert "--pretrained-on NAME=none" in words_of(read())


def test_who_saw_nobody_passes_the_third_gate_and_the_report_says_on_whose_word(read):
    results = read("good=none")
    assert third_gate(results) is True
    assert task_numbers(results, "rest").everyone.gates["good"].passed
    words = words_of(results)
    assert "Whom the weights good were pretrained on was stated for this report, and not checked." in words
    assert "none of the subjects (stated, not checked)" in words
    assert "--pretrained-on" not in words


def test_who_saw_some_is_compared_on_the_others(read):
    results = read("good=rest:s05,s06")
    assert third_gate(results) is False
    assert third_gate(results, "diagnosis") is True
    unseen = task_numbers(results, "rest").unseen
    assert unseen.subjects.isdisjoint({"s05", "s06"})
    assert unseen.gates["good"].unseen.passed is True


def test_a_data_set_names_all_its_tasks_and_all_means_everybody(read):
    numbers = task_numbers(read("good=Rest or task data:all", "good=rest:s00"), "rest")
    assert numbers.left_out == ["good"]
    assert numbers.rows["good"].overlap.subjects == numbers.subjects


def test_a_statement_cannot_take_back_what_the_file_says(read):
    results = read("familiar=none")
    assert third_gate(results, estimator="familiar") is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("god=none", "No estimator of this run has weights named 'god'; there are 'good', 'useless', 'familiar'"),
        ("riemann=none", "No estimator of this run has weights named 'riemann'"),
        ("good=rets:s00", "This run has no task or data set 'rets'; there are the tasks 'rest', 'diagnosis'"),
        ("good=rest:s0,s01", "rest has no subjects 's0'; it has 's00', 's01'"),
    ],
)
def test_names_that_there_are_not_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)
