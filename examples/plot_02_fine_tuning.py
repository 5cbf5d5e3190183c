"""
Fine-tuning a classifier, with groups kept together
===================================================

By default ``SpecMoEClassifier`` solves for one linear layer on what frozen experts and the signal itself say. With
``head="mlp"`` it trains a gate and a head on top of the experts, as in the paper; and with either head the experts too,
if told from when on. To know when to stop, it sets a part of the training data aside. If that part holds neighbours of
what it trains on, it promises too much; so runs, or people, have to stay together there, as in cross-validation
outside. ``groups`` is for that.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

from mne_specmoe import SpecMoEClassifier, as_sklearn, make_epochs, prepare_raw

mne.set_log_level("ERROR")

# %%
# The epochs
# ----------
# PhysioNet's EEGMMIDB, subject 1: rest, or imagining a movement of fists or feet, in four runs, 2 s per epoch. Three
# channels keep this page fast. ``mne.datasets.eegbci.load_data(1, [4, 6, 8, 10])`` downloads the recording. Where it is
# not on this machine, made-up EEG stands in for it.

RUNS = (4, 6, 8, 10)
CHANNELS = ["C3", "Cz", "C4"]


def find_runs(runs):
    """Paths of these runs of subject 1, as MNE stores them; None where one is missing."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    found = [sorted(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/S001R{run:02d}.edf")) for run in runs]
    return [paths[0] for paths in found] if all(found) else None


def cut_epochs(path):
    """2 s of rest and of imagination, in turn."""
    raw = prepare_raw(mne.io.read_raw_edf(path), channels=CHANNELS)
    events, _ = mne.events_from_annotations(raw, {"T0": 1, "T1": 2, "T2": 2})
    return mne.Epochs(raw, events, {"rest": 1, "imagination": 2}, 0.5, 2.5 - 1 / 200, baseline=None, preload=True)


if paths := find_runs(RUNS):
    parts = [cut_epochs(path) for path in paths]
    epochs, groups = mne.concatenate_epochs(parts), np.repeat(RUNS, [len(part) for part in parts])
    y = epochs.events[:, 2]
    source, group_name = "EEGMMIDB, subject 1", "run"
else:
    epochs, y, groups = make_epochs(32, n_channels=3, duration=2, n_subjects=4, random_state=0)
    source, group_name = "MADE-UP EEG, no recording", "made-up person"
    print("There is no recording here. WHAT FOLLOWS IS MADE-UP EEG. Its scores say nothing about brains.")

epochs = as_sklearn(epochs)
print(f"{source}: {len(epochs)} epochs, {len(np.unique(groups))} {group_name}s")

# %%
# Frozen experts, cross-validated
# -------------------------------
# Groups are needed twice. ``groups=`` tells the folds apart. ``params=`` goes on to ``fit``, which keeps the same
# groups together when it sets its validation part aside. (Epochs with metadata need no ``params``: with
# ``group_column="subject"`` the classifier looks them up itself.)
#
# The experts stay frozen by default. They run once per fold, and only the gate and the head are trained. By default the
# classifier would read more than the experts; on this page it reads them alone (``parts``), so that what fine-tuning
# changes is not drowned by the rest.

PARTS = ("experts",)
frozen = SpecMoEClassifier(parts=PARTS, head="mlp", max_epochs=30, patience=10, random_state=0)
frozen_scores = cross_val_score(
    frozen,
    epochs,
    y,
    groups=groups,
    params={"groups": groups},
    cv=LeaveOneGroupOut(),
    scoring="balanced_accuracy",
    error_score="raise",
)
for group, score in zip(np.unique(groups), frozen_scores, strict=True):
    print(f"{group_name} {group} left out: balanced accuracy {score:.0%} (chance 50 %)")

# %%
# Fine-tuning
# -----------
# Now the experts train too in the last five of twenty passes, at a tenth of the learning rate. This costs far more than
# frozen experts do, so it is done for one fold only: the last group is the test part, and of the others one is set
# aside.

last = groups == np.unique(groups)[-1]
tuned = SpecMoEClassifier(
    parts=PARTS, head="mlp", max_epochs=20, unfreeze_epoch=15, expert_lr=1e-4, patience=None, random_state=0
)
tuned.fit(epochs[~last], y[~last], groups=groups[~last])
tuned_score = balanced_accuracy_score(y[last], tuned.predict(epochs[last]))

aside = np.unique(groups[~last][tuned.validation_indices_])
print(f"Trained with {group_name} {', '.join(map(str, aside))} set aside for validation")
print(f"Tested on {group_name} {np.unique(groups)[-1]}: {tuned_score:.0%} fine-tuned, {frozen_scores[-1]:.0%} frozen")
doubt = 98 / np.sqrt(last.sum())  # half of a 95 % interval, in points
print(f"With {last.sum()} epochs to test on, each score is uncertain by about {doubt:.0f} points either way.")

# %%
# The history
# -----------
# ``history_`` holds one entry per pass. The weights kept are those with the lowest validation loss, wherever that was.
# Where the training loss falls and the validation loss does not, more training does not help. The training loss may
# jump where the experts begin to train: frozen ones run with fixed batch normalisation, and without dropout.

passes = [entry["epoch"] for entry in tuned.history_]
train_loss = [entry["train_loss"] for entry in tuned.history_]
valid_loss = [entry["valid_loss"] for entry in tuned.history_]
unfrozen = [entry["epoch"] for entry in tuned.history_ if not entry["experts_frozen"]]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
left.plot(passes, train_loss, label="training")
left.plot(passes, valid_loss, label="validation")
left.plot(passes[np.argmin(valid_loss)], min(valid_loss), "k*", markersize=12, label="weights that are kept")
left.axvspan(min(unfrozen) - 0.5, max(unfrozen) + 0.5, color="C2", alpha=0.15, label="experts train too")
left.set(xlabel="pass over the training part", ylabel="loss", title="Fine-tuning")
left.xaxis.get_major_locator().set_params(integer=True)
left.legend()
right.plot(range(len(frozen_scores)), frozen_scores, "o", markersize=9, label="frozen experts")
right.plot(len(frozen_scores) - 1, tuned_score, "C2*", markersize=14, label="fine-tuned")
right.axhline(0.5, color="gray", linestyle="--")
right.set(xticks=range(len(frozen_scores)), xticklabels=np.unique(groups), ylim=(0, 1))
right.set(xlabel=f"{group_name} left out", ylabel="balanced accuracy", title="Dashed: chance")
right.legend(loc="lower right")
figure.suptitle(source, fontweight="bold", color="black" if paths else "red")
plt.show()
