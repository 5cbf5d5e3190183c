"""
Reading a benchmark report
==========================

Does pretraining help on a task, and had pretraining anything to do with it? The benchmark answers by four gates, and an
estimator has to pass them all:

1. better than the strongest classical method;
2. by more than chance would give, over people;
3. with weights that saw none of the people it is tested on;
4. better than the same network with random weights, and than itself with permuted labels.

This page runs a benchmark of the smallest size on **made-up people**, and reads what comes out. **The numbers say
nothing about brains or models**: made-up EEG is 1/f noise with a rhythm that names its class. The page is about how to
read them.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_specmoe import make_epochs
from mne_specmoe.benchmark.choice import all_entries, choose_entries, choose_tasks
from mne_specmoe.benchmark.report import write_report
from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.run import run

mne.set_log_level("ERROR")

# %%
# Recordings where the benchmark looks for them
# ---------------------------------------------
# The task ``openbci_mi`` wants a folder with one ``.npz`` for each of ten people: the recording in 16-bit numbers with
# their scale, and when its trials began. Real recordings are frozen by a hash, so that a run on anything else is
# refused; made-up ones need ``frozen=None``.

SFREQ, CHANNELS, TRIALS = 125.0, 5, 6
folder = tempfile.TemporaryDirectory()
root = Path(folder.name)
task = replace(choose_tasks(["openbci_mi"])[0], frozen=None, title="MADE-UP people: rhythm or none")


def write_person(name, seed):
    """Trials of 4 s, one after the other; in half of them, 11 Hz of 5 µV on top of the background."""
    epochs, y, _ = make_epochs(TRIALS, n_channels=CHANNELS, sfreq=SFREQ, effect=0, n_subjects=1, random_state=seed)
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (TRIALS, 1, 1))
    rhythm = 5 * np.sin(2 * np.pi * 11 * epochs.times + phase) * (y == 2)[:, None, None]
    microvolts = np.concatenate(1e6 * epochs.get_data() + rhythm, axis=1)
    np.savez(
        root / "openbci_mi" / f"{name}.npz",
        data=np.round(microvolts / 0.05).astype(np.int16),
        scale_uv_per_bit=np.full(CHANNELS, 0.05),
        offset_uv=np.zeros(CHANNELS),
        sfreq=SFREQ,
        ch_names=np.array(epochs.ch_names),
        event_onset_s=4.0 * np.arange(TRIALS),
        labels=y - 1,
        label_names=np.array(task.classes),
        meta=json.dumps({"source": "made up"}),
    )


(root / "openbci_mi").mkdir()
for seed, name in enumerate(task.subjects):
    write_person(name, seed)
print(f"{len(task.subjects)} made-up people with {TRIALS} trials each")

# %%
# A run
# -----
# On the command line this is ``mne-specmoe benchmark run``. Controls come along whatever is asked for: random weights,
# permuted labels, spectra without their slope, and chance. ``budget="tiny"`` and one seed are for trying things out.

entries = choose_entries(["specmoe-logistic", "bandpower-lr", "csp-lda"], all_entries())
file = run(
    [task], entries, root, root / "results.jsonl", budget="tiny", n_seeds=1, controls=False, progress=False, tell=print
)
print(f"{len(file.records())} cells: folds x estimators")

# %%
# The table
# ---------
# One row per estimator, by role. Scores are means over people.

results = read_results(root / "results.jsonl")
numbers = task_numbers(results, task.name)
everyone = numbers.everyone
print(f"{'estimator':<58}{'role':<12}{numbers.metric}")
for row in numbers.rows.values():
    mean = everyone.means[row.name]
    print(f"{row.title:<58}{row.role:<12}{'-' if mean is None else f'{mean:.3f}'}")
print(f"Strongest classical method: {numbers.rows[everyone.strongest].title}")

# %%
# The gates, in words. A gate that could not be evaluated is not passed.

pretrained = everyone.best_pretrained
for name, verdict in zip(("better", "significant", "unseen", "controlled"), everyone.gates[pretrained], strict=True):
    print(f"{name:<13}{verdict}")
print(f"All four gates passed: {everyone.gates[pretrained].passed}")

# %%
# Person by person
# ----------------
# A mean over people hides who they are. On the left, each dot is one person, with the best pretrained estimator upwards
# and the strongest classical one to the right: dots above the line are in favour of pretraining. On the right, everyone
# has a line from control to estimator: where pretraining has to do with it, lines rise.

own, rival = numbers.rows[pretrained].means, numbers.rows[everyone.strongest].means
controls = {
    entry["control"]: numbers.rows[name].means
    for name, entry in results.plan["estimators"].items()
    if entry["control_of"] == pretrained and entry["control"] in ("random", "permuted")
}
people = sorted(own)
jitter = np.random.default_rng(0).uniform(-0.012, 0.012, (2, len(people)))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
left.scatter([rival[who] for who in people] + jitter[0], [own[who] for who in people] + jitter[1], alpha=0.8)
left.axline((0.5, 0.5), slope=1, color="gray", linewidth=0.8)
left.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", title="One dot per person, moved a little apart")
left.set(xlabel=numbers.rows[everyone.strongest].title, ylabel=numbers.rows[pretrained].title)
columns = {"permuted\nlabels": controls["permuted"], "random\nweights": controls["random"], "pretrained": own}
for number, who in enumerate(people):
    right.plot([column[who] + jitter[0, number] for column in columns.values()], "o-", color="C0", alpha=0.35)
right.plot([np.mean(list(column.values())) for column in columns.values()], "ks-", linewidth=2, label="mean")
right.axhline(0.5, color="gray", linestyle="--", label="chance")
right.set_xticks(range(3), columns)
right.set(ylabel=numbers.metric.replace("_", " "), ylim=(-0.05, 1.05), title="The same people, with the controls")
right.legend(loc="lower left")
figure.suptitle("MADE-UP people: a report in two pictures", fontweight="bold", color="red")
plt.show()

# %%
# The whole report
# ----------------
# ``write_report`` (``mne-specmoe benchmark report``) writes all of this, with intervals, confounds, costs and the plan,
# as Markdown and as one HTML page. How it begins:

written = write_report(root / "results.jsonl", root / "report")
text = next(path for path in written if path.suffix == ".md").read_text(encoding="utf-8")
print("\n".join(line[:110] for line in text.splitlines()[:12]))

folder.cleanup()
