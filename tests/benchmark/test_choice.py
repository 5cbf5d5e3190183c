"""Names, groups and files are found; controls come with what they are controls of."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tiny_tasks import noise_data

from mne_specmoe.benchmark.choice import ALL_TASKS, all_entries, choose_entries, choose_tasks, entry_of
from mne_specmoe.benchmark.entries import BUDGETS, Setting


@pytest.fixture(scope="module")
def entries():
    return all_entries()


def names(chosen):
    return [entry.name for entry in chosen]


def test_tasks_are_found_by_name_and_all_at_once():
    assert [task.name for task in choose_tasks(["eegmat", "openbci_mi", "eegmat"])] == ["eegmat", "openbci_mi"]
    assert len(choose_tasks(["all"])) == len(ALL_TASKS) > 30
    with pytest.raises(ValueError, match="no task 'eegmatt'; there are 'eegmat'"):
        choose_tasks(["eegmatt"])


def test_controls_that_are_always_on_come_along(entries):
    chosen = names(choose_entries(["specmoe-logistic"], entries))
    assert chosen == ["dummy", "specmoe-logistic"] + [
        f"specmoe-logistic@{c}" for c in ("random", "permuted", "flattened")
    ]
    more = names(choose_entries(["specmoe-logistic"], entries, variants=True))
    assert "specmoe-logistic@one-expert" in more


def test_groups_are_found(entries):
    chosen = choose_entries(["classical"], entries)
    assert {entry.role for entry in chosen} == {"classical", "chance"}
    assert "csp-lda" in names(chosen)
    assert set(names(choose_entries(["brainrvq"], entries))) >= {"brainrvq-ridge", "brainrvq-finetuned@permuted"}
    assert set(names(choose_entries(["all"], entries))) == set(entries)


def test_a_control_alone_can_be_asked_for(entries):
    assert names(choose_entries(["specmoe-logistic@flattened"], entries)) == ["dummy", "specmoe-logistic@flattened"]


def test_an_unknown_name_is_answered_with_what_there_is(entries):
    with pytest.raises(ValueError, match="no estimator 'labrador'.*csp-lda.*file.py:name"):
        choose_entries(["labrador"], entries)


def test_users_weights_are_all_taken_unless_some_are_named(entries):
    mine = all_entries({"mine": "brainrvq-starter"})
    found = names(choose_entries(["dummy"], mine, weights=["mine"]))
    assert {"mine-ridge", "mine-finetuned", "mine-logistic@permuted"} <= set(found)
    assert {name.split("@")[0] for name in names(choose_entries(["mine-ridge"], mine, weights=["mine"]))} == {
        "dummy", "mine-ridge",
    }  # fmt: skip


def test_an_estimator_of_a_file_takes_part(tmp_path, entries):
    path = tmp_path / "own.py"
    path.write_text("from sklearn.dummy import DummyClassifier\nmodel = DummyClassifier(strategy='uniform')\n")
    chosen = choose_entries([f"{path}:model"], entries)
    assert names(chosen) == ["dummy", "model"]
    assert chosen[1].stochastic
    with pytest.raises(ValueError, match="has no modle"):
        choose_entries([f"{path}:modle"], entries)
    with pytest.raises(FileNotFoundError, match="no file"):
        choose_entries([f"{tmp_path}/other.py:model"], entries)


def test_a_users_estimator_sees_volts_and_gets_its_seeds():
    flat = FunctionTransformer(lambda X: 1e5 * X.mean(-1))
    entry = entry_of("mine", make_pipeline(flat, LogisticRegression()))
    data = noise_data(n_per_subject=8)
    X = data.X + (1e-5 * data.y)[:, None, None]
    data = data.with_signals(X.astype(np.float32))
    selected = entry.fit(data, data, Setting(3, BUDGETS["tiny"]))
    assert entry.stochastic  # the regression's random_state is open
    assert (selected.predict(data).labels == data.y).mean() > 0.9
    assert selected.choice["n_looks"] == 0


def test_what_cannot_predict_is_refused():
    with pytest.raises(TypeError, match="no predict"):
        entry_of("mine", FunctionTransformer())
