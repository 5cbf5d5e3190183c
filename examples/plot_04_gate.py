"""
What the gate chooses
=====================

The paper's SpecMoE weighs its experts' features by a gate, for each channel by itself. The gate reads the channel's
power spectrum. Here that is ``head="mlp"``; the default head is one linear layer, without a gate. Three questions can
be put to a fitted one: which frequencies open it, for which expert; over which channels it is open; and whether that
has anything to do with the classes.

The last one needs a control: a second classifier that was fitted to **shuffled labels**. What both show is not
about the classes.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_specmoe import SpecMoEClassifier, make_epochs, plot_gate, prepare_raw

mne.set_log_level("ERROR")

# %%
# A fitted classifier, and its control
# ------------------------------------
# PhysioNet's EEGMMIDB, subject 1, runs 4 and 8: rest, or imagining to close a fist, 2 s per epoch.
# ``mne.datasets.eegbci.load_data(1, [4, 8])`` downloads them. Where they are not on this machine, made-up EEG stands in
# for them.

RUNS = (4, 8)
CHANNELS = ["F3", "Fz", "F4", "FC3", "FC4", "C3", "Cz", "C4", "CP3", "CP4", "P3", "Pz", "P4", "O1", "Oz", "O2"]


def find_runs(runs):
    """Paths of these runs of subject 1, as MNE stores them; None where one is missing."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    found = [sorted(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/S001R{run:02d}.edf")) for run in runs]
    return [paths[0] for paths in found] if all(found) else None


def cut_epochs(path):
    """2 s of rest and of imagination, in turn."""
    raw = prepare_raw(mne.io.read_raw_edf(path), channels=CHANNELS).set_montage("biosemi64")
    events, _ = mne.events_from_annotations(raw, {"T0": 1, "T1": 2, "T2": 2})
    return mne.Epochs(raw, events, {"rest": 1, "imagination": 2}, 0.5, 2.5 - 1 / 200, baseline=None, preload=True)


if paths := find_runs(RUNS):
    epochs, source = mne.concatenate_epochs([cut_epochs(path) for path in paths]), "EEGMMIDB, subject 1"
else:
    epochs, _, _ = make_epochs(24, n_channels=12, duration=2, random_state=0)
    source = "MADE-UP EEG, no recording"
    print("There is no recording here. WHAT FOLLOWS IS MADE-UP EEG. It says nothing about brains.")
y = epochs.events[:, 2]
print(f"{source}: {len(epochs)} epochs, {len(epochs.ch_names)} channels")

shuffled = np.random.default_rng(0).permutation(y)
options = {"parts": ("experts",), "head": "mlp", "max_epochs": 30, "validation_fraction": None, "random_state": 0}
classifier = SpecMoEClassifier(**options).fit(epochs, y)
control = SpecMoEClassifier(**options).fit(epochs, shuffled)

# %%
# Expert and frequency, expert and channel
# ----------------------------------------
# ``plot_gate`` draws how much a gate opens when the power at a frequency rises by one standard deviation, for each
# expert, and the mean gate over the head. Mind the range of the colours: gates start near one half.

figure = plot_gate(classifier, epochs)
figure.suptitle(source, fontweight="bold", color="black" if paths else "red")
plt.show()

# %%
# Is it about the classes?
# ------------------------
# The same map for the classifier and for its control, which began with the same initial weights. Only what stands out
# on the left against the right could be about the classes. How far gates differ between the two classes, on average
# over channels, is a number:

gates = classifier.gate_weights(epochs)  # (n_epochs, n_channels, n_experts)
control_gates = control.gate_weights(epochs)
print("Difference of the mean gate between the classes, for each expert:")
for name, values in (("true labels", gates), ("shuffled", control_gates)):
    by_class = [values[y == label].mean((0, 1)) for label in np.unique(y)]
    print(f"  {name:<12}" + "  ".join(f"{each:+.4f}" for each in by_class[1] - by_class[0]))
print(f"Gates of single epochs and channels lie between {gates.min():.2f} and {gates.max():.2f}.")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for axis, model, title in zip(axes, (classifier, control), ("true labels", "shuffled labels"), strict=True):
    plot_gate(model, axes=axis, statistic="absolute")
    axis.set_title(title, pad=16)
images = [axis.collections[0] for axis in axes]
largest = max(image.get_clim()[1] for image in images)
for image in images:
    image.set_clim(0, largest)
figure.suptitle(f"{source}: sensitivity without sign", fontweight="bold", color="black" if paths else "red")
plt.show()
