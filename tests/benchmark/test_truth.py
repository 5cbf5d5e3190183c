"""From signals to verdict on a task whose truth is known: useful pretraining passes the four gates, useless fails."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tiny_tasks import noise_data

from mne_specmoe.benchmark.entries import Entry, fit_best
from mne_specmoe.benchmark.ours import Permuted
from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.run import run
from mne_specmoe.benchmark.splits import by_subject
from mne_specmoe.benchmark.tasks import TASKS

SUBJECTS = tuple(f"P{number:02d}" for number in range(12))
N_FEATURES = 4
SEEN_BY_STARTERS = {"data": {"corpus": "fe49a211c1ba86ddac4a21e7189143f9"}}  # none of these subjects


def pattern():
    """What tells the classes apart, and what useful pretraining knows."""
    return np.random.default_rng(7).standard_normal(600)


def planted():
    """The pattern, weak in noise, with the sign of the label."""
    data = noise_data(n_per_subject=20, subjects=SUBJECTS)
    signs = (2 * data.y - 1)[:, None, None]
    return data.with_signals((data.X + 1.6e-6 * signs * pattern().reshape(3, 200)).astype(np.float32))


@dataclass(frozen=True)
class Filters:
    """Features through filters: with the pattern among them, or all of them random."""

    knows: bool
    of_seed: bool = False

    def __call__(self, training, validation, setting):
        rng = np.random.default_rng(100 + setting.seed if self.of_seed else 5)
        filters = rng.standard_normal((N_FEATURES, 600))
        if self.knows and not self.of_seed:
            filters[0] = pattern()

        def features(data):
            return 1e4 * data.X.reshape(len(data), -1) @ filters.T

        return fit_best([({}, LogisticRegression)], training, validation, setting, features=features)


def power(training, validation, setting):
    """A classical method that sees no phase, and so nothing."""

    def features(data):
        return np.log(data.X.var(-1))

    return fit_best([({}, LogisticRegression)], training, validation, setting, features=features)


def entries():
    known = {"training": SEEN_BY_STARTERS, "weights_hash": "1"}
    found = [Entry("power", "Power", "classical", power)]
    for name, fit in (("useful", Filters(True)), ("useless", Filters(False))):
        main = Entry(name, name, "pretrained", fit, **known)
        control = {"role": "control", "control_of": name, "stochastic": True}
        found += [
            main,
            replace(main, name=f"{name}@random", control="random", fit=replace(fit, of_seed=True), training=None,
                    weights_hash=None, **control),
            replace(main, name=f"{name}@permuted", control="permuted", fit=Permuted(fit), **control),
        ]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    root = tmp_path_factory.mktemp("truth")
    data = planted()
    task = replace(TASKS["eegmat"], subjects=SUBJECTS, rule=by_subject([SUBJECTS], 4), frozen=None)
    object.__setattr__(task, "available", lambda root: (True, ""))
    object.__setattr__(task, "load", lambda root: data)
    run([task], entries(), root, root / "r.jsonl", budget="full", n_seeds=5, progress=False, controls=False)
    return task_numbers(read_results(root / "r.jsonl"), "eegmat")


def test_useful_pretraining_passes_all_four_gates(numbers):
    gates = numbers.everyone.gates["useful"]
    assert gates.passed, gates


def test_useless_pretraining_fails(numbers):
    gates = numbers.everyone.gates["useless"]
    assert not gates.passed
    assert gates.significant.passed is False
    assert gates.controlled.passed is False
    assert gates.unseen.passed is True
