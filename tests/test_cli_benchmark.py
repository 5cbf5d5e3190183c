"""The command line's benchmark: run, stop, go on, report, and what it says of mistakes."""

import json

import pytest
from tiny_tasks import write_eegmat

from mne_specmoe.benchmark import choice
from mne_specmoe.cli import main

OWN = "from marking import Marking\nmodel = Marking()\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    task = write_eegmat(tmp_path, [f"Subject{i:02d}" for i in range(6)])
    monkeypatch.setattr(choice, "ALL_TASKS", {**choice.ALL_TASKS, "eegmat": task})
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def arguments(root, *more, tasks=("eegmat",), estimators=None):
    estimators = estimators or [f"{root}/own.py:model", "bandpower-lr"]
    return [
        "benchmark", "run", "--tasks", *tasks, "--estimators", *estimators, "--data-root", str(root),
        "--out", str(root / "r.jsonl"), "--budget", "tiny", "--seeds", "2", "--no-progress", *more,
    ]  # fmt: skip


def test_runs_reports_and_does_not_run_again(root, capsys):
    assert main(arguments(root)) == 0
    out = capsys.readouterr().out
    assert "13 cells, 0 of them failed" in out  # three folds: dummy, own (two seeds), band power; one: whose windows
    assert main(arguments(root)) == 0
    assert "are in" in capsys.readouterr().err
    assert main(["benchmark", "report", str(root / "r.jsonl"), "--out", str(root / "report")]) == 0
    listed = capsys.readouterr().out.split()
    assert f"{root}/report.html" in listed
    assert "Band power" in (root / "report.md").read_text()
    header = json.loads((root / "r.jsonl").read_text().splitlines()[0])
    assert header["plan"]["command"].startswith("mne-specmoe benchmark run --tasks eegmat --estimators")
    assert "n-jobs" not in header["plan"]["command"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("eegmatt",)}, "There is no task 'eegmatt'"),
        ({"estimators": ["labrador"]}, "There is no estimator 'labrador'"),
        ({"tasks": ("ssvep_exo",)}, "8 of 8 subjects are missing"),
    ],
)
def test_mistakes_are_answered_in_one_line(root, capsys, change, message):
    assert main(arguments(root, **change)) == 1
    err = capsys.readouterr().err.strip().splitlines()
    assert message in err[-1]
    assert not (root / "r.jsonl").exists()


def test_whom_weights_saw_can_be_stated_for_a_report(root, capsys):
    assert main(arguments(root, "--weights", "mine=starter", estimators=["bandpower-lr", "mine-ridge"])) == 0
    report = ["benchmark", "report", str(root / "r.jsonl"), "--out", str(root / "report"), "--pretrained-on"]
    assert main([*report, "mine=eegmat:Subject05"]) == 0
    assert "Whom the weights mine were pretrained on was stated" in (root / "report.md").read_text()
    capsys.readouterr()
    for mistake in ("mine", "yours=none", "mine=eegmat:Subject5"):
        assert main([*report, mistake]) == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_root_that_is_not_there(root, capsys):
    wrong = arguments(root)
    wrong[wrong.index("--data-root") + 1] = str(root / "nowhere")
    assert main(wrong) == 1
    assert "There is no data root" in capsys.readouterr().err


def test_weights_are_named(root, capsys):
    assert main(arguments(root, "--weights", "starter")) == 1
    assert "--weights takes NAME=FILE" in capsys.readouterr().err
    assert main(arguments(root, "--weights", "a=starter", "a=starter")) == 1
    assert "twice" in capsys.readouterr().err


def test_weights_that_leave_a_data_set_out_are_checked_and_named(root, capsys):
    path = root / "left_out.json"
    path.write_text(json.dumps({"weights": {"eegmat": "brainrvq-starter"}}))
    assert main(arguments(root, "--left-out", f"lodo={path}", estimators=["lodo-ridge"])) == 1
    assert "brainrvq-starter saw 'eegmat', which it is to leave out" in capsys.readouterr().err.splitlines()[-1]
    assert main(arguments(root, "--left-out", str(path))) == 1
    assert "--left-out takes NAME=FILE" in capsys.readouterr().err
    assert main(arguments(root, "--weights", "a=starter", "--left-out", f"a={path}")) == 1
    assert "both have the name 'a'" in capsys.readouterr().err
    path.write_text(json.dumps({"weights": {"openbci_mi": "brainrvq-starter"}}))
    estimators = ["bandpower-lr", "lodo-ridge"]
    assert main(arguments(root, "--left-out", f"lodo={path}", estimators=estimators)) == 0
    header = json.loads((root / "r.jsonl").read_text().splitlines()[0])
    assert "--left-out lodo=" in header["plan"]["command"]
    assert "no weights that left this data set out" in header["plan"]["estimators"]["lodo-ridge"]["unsuited"]["eegmat"]


def test_a_foreign_results_file_stays_as_it_is(root, capsys):
    (root / "r.jsonl").write_text("something else\n")
    assert main(arguments(root)) == 1
    assert "no header" in capsys.readouterr().err
    assert (root / "r.jsonl").read_text() == "something else\n"
    assert main(["benchmark", "report", str(root / "r.jsonl"), "--out", str(root / "report")]) == 1


def test_ctrl_c_leaves_what_is_done_and_says_how_to_go_on(root, capsys, monkeypatch):
    (root / "own.py").write_text(
        "from marking import Marking\n"
        "class Stopping(Marking):\n"
        "    def fit(self, X, y):\n"
        "        if self.random_state == 1: raise KeyboardInterrupt\n"
        "        return super().fit(X, y)\n"
        "model = Stopping()\n"
    )
    assert main(arguments(root)) == 130
    assert "Cells that ended are in" in capsys.readouterr().err
    assert len((root / "r.jsonl").read_text().splitlines()) > 3


def test_lists_what_there_is(root, capsys):
    assert main(["benchmark", "list", "--data-root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "eegmat" in out
    assert "tuab_published" in out
    assert "specmoe-finetuned" in out
    assert "not available: ssvep_exo" in out
    assert "@random" not in out
