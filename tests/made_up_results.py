"""A results file whose truth is known: made-up confusion matrices of made-up estimators on made-up tasks."""

import hashlib
from pathlib import Path

import numpy as np

from mne_specmoe.benchmark.plan import all_cells
from mne_specmoe.benchmark.records import Circumstances, done_record, failed_record
from mne_specmoe.benchmark.results import ResultsFile

N_WINDOWS = 20  # per class and subject
# Task, estimator → share of windows (or, where subjects have one label, of subjects) that is right.
SKILL = {"good": 0.9, "good_random": 0.65, "good_permuted": 0.5, "useless": 0.6, "useless_random": 0.6,
         "useless_permuted": 0.5, "familiar": 0.85, "familiar_random": 0.6, "familiar_permuted": 0.5,
         "eegnet": 0.68, "riemann": 0.7, "bands": 0.66, "dummy": 0.5, "good_flat": 0.6}  # fmt: skip


def task(title, n_subjects, n_folds, *, classes=("left", "right"), kind="task", per_subject=False, **more):
    return {
        "title": title, "dataset": f"{title} data", "citation": "Nobody, N. (2020)", "licence": "CC0",
        "confounds": ["Sessions differ."], "known_leaks": [], "classes": list(classes), "metric": "balanced_accuracy",
        "chance": 1 / len(classes), "per_subject": per_subject, "n_subjects": n_subjects,
        "n_windows": n_subjects * N_WINDOWS * len(classes), "n_channels": 8, "window_seconds": 2.0,
        "folds": [f"part {i}" for i in range(n_folds)], "kind": kind, **more,
    }  # fmt: skip


def estimator(title, role, *, of=None, control=None, stochastic=False, seen=None, weights=None, unsuited=None):
    return {
        "title": title, "role": role, "control_of": of, "control": control, "stochastic": stochastic, "parameters": {},
        "weights_hash": weights, "unsuited": unsuited or {}, "seen": seen or {},
    }  # fmt: skip


def make_plan():
    """Two tasks of many subjects, one of one subject, and one that asks whose windows they are."""
    tasks = {
        "rest": task("Rest or task", 12, 2),
        "diagnosis": task("Diagnosis", 20, 2, per_subject=True),
        "sleep": task("Sleep", 1, 2, classes=("wake", "NREM", "REM"), known_leaks=["Neighbours in time."]),
        "whose": task("Whose windows", 4, 1, classes=("a", "b", "c", "d"), kind="identity"),
    }
    no_identity = {"whose": "it is no probe"}
    seen = {"rest": ["s00", "s01", "s02", "s03"]}
    estimators = {}
    for name, part in {"good": {}, "useless": {}, "familiar": seen}.items():
        more = {"stochastic": True, "unsuited": {} if name == "good" else no_identity}
        estimators[name] = estimator(f"{name} probe", "pretrained", seen=part, weights=name * 10, **more)
        for control, known in {"random": {}, "permuted": part}.items():
            estimators[f"{name}_{control}"] = estimator(
                f"{name}, {control}", "control", of=name, control=control, seen=known, **more
            )
    estimators["good_flat"] = estimator("good, flat", "control", of="good", control="flattened", unsuited=no_identity)
    estimators["eegnet"] = estimator("EEGNet", "peer", stochastic=True, unsuited=no_identity)
    estimators["riemann"] = estimator("Tangent space", "classical", unsuited=no_identity)
    estimators["bands"] = estimator("Band power", "classical", unsuited=no_identity)
    estimators["dummy"] = estimator("Dummy", "chance", unsuited=no_identity)
    budget = {"name": "tiny", "n_looks": 3, "max_windows": None, "n_windows": 64, "n_heavy_windows": 32}
    return {"tasks": tasks, "estimators": estimators, "n_seeds": 2, "budget": budget, "command": "mne-specmoe go"}


def split_hashes(plan):
    return {name: hashlib.sha256(name.encode()).hexdigest() for name in plan["tasks"]}


def subjects_of(plan, cell):
    """The test part: folds divide the subjects, but of one subject they divide its windows."""
    n = plan["tasks"][cell.task]["n_subjects"]
    return [f"s{i:02}" for i in range(n) if n == 1 or i % len(plan["tasks"][cell.task]["folds"]) == cell.fold]


def circumstances(plan, cell):
    seen = plan["estimators"][cell.estimator]["seen"].get(cell.task, [])
    tested = tuple(who for who in subjects_of(plan, cell) if who in seen)
    overlap = None if "unknown" in seen else bool(seen)
    weights = plan["estimators"][cell.estimator]["weights_hash"]
    return Circumstances({"numpy": "2.1"}, "p", weights, split_hashes(plan)[cell.task], overlap, tested)


def scores_of(matrix):
    """The metrics of counts, by their textbook formulas."""
    counts = np.array(matrix, dtype=float)
    right, true, said = np.diag(counts), counts.sum(1), counts.sum(0)
    present, n = true > 0, counts.sum()
    found = {
        "balanced_accuracy": (right[present] / true[present]).mean(),
        "weighted_f1": (true[present] * 2 * right[present] / (true + said)[present]).sum() / n,
    }
    if present.sum() > 1:
        by_chance = (true * said).sum() / n**2
        found["cohen_kappa"] = (right.sum() / n - by_chance) / (1 - by_chance)
    return found


def done(plan, cell, *, skill=None, seconds=3.0):
    """A record with counts that are drawn with the estimator's skill, the same whenever they are drawn."""
    facts = plan["tasks"][cell.task]
    skill = SKILL.get(cell.estimator, 0.6) if skill is None else skill
    rng = np.random.default_rng(list(repr(cell).encode()))
    n_classes, confusion = len(facts["classes"]) or 2, {}
    for place, who in enumerate(subjects_of(plan, cell)):
        present = [place % n_classes] if facts["per_subject"] else list(range(n_classes))
        if cell.task == "sleep" and cell.fold == 1:
            present = present[:-1]  # REM does not occur
        matrix = np.zeros((n_classes, n_classes), dtype=int)
        for label in present:
            n = 1 if facts["per_subject"] else N_WINDOWS
            right = rng.binomial(n, skill)
            matrix[label, label] += right
            matrix[label, (label + 1) % n_classes] += n - right
        confusion[who] = matrix.tolist()
    each = {who: scores_of(matrix) for who, matrix in confusion.items()}
    metrics = {metric for found in each.values() for metric in found}
    return done_record(
        cell,
        circumstances(plan, cell),
        scores={m: {who: found[m] for who, found in each.items() if m in found} for m in sorted(metrics)},
        pooled=scores_of(sum(map(np.array, confusion.values()))),
        confusion=confusion,
        selection={"n_looks": 3},
        seconds=seconds + sum(map(ord, cell.estimator)) % 50,
        peak_memory_mib=500.0,
        n_parameters=1234,
    )


def failed(plan, cell, message="<script>alert(1)</script> | no"):
    return failed_record(cell, circumstances(plan, cell), RuntimeError(message), seconds=1.0)


def write(path: Path, plan, *, change=lambda cell, record: record):
    """Write the file; `change` gives another record for a cell, or None for a cell that was not run."""
    file = ResultsFile(path)
    file.open(plan, split_hashes(plan))
    for cell in all_cells(plan):
        if (record := change(cell, done(plan, cell))) is not None:
            file.append(record)
    return path
