"""
Features in a pipeline, cross-validated
=======================================

``SpecMoEFeaturizer`` is a transformer as scikit-learn knows them: Epochs go in, a matrix comes out, and what follows is
yours. By default it gives what pretrained experts say **and** the classical features of the field, part by part. Here
it is the first step of a pipeline that tells imagining a movement from rest, and three others do the same:

- the **starter experts** alone;
- the same with **random experts**, which have learnt nothing;
- **band power**, which needs no network at all.

Pretrained experts are worth their price only where they beat the last two.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.time_frequency import psd_array_welch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mne_specmoe import SpecMoEFeaturizer, UntrainedWarning, as_sklearn, make_epochs, prepare_raw, untrained

mne.set_log_level("ERROR")

# %%
# The epochs
# ----------
# PhysioNet's EEGMMIDB, subject 1: in three runs the person rested and imagined closing a fist in turn, 4 s each. We
# take 2 s from half a second after the cue. ``mne.datasets.eegbci.load_data(1, [4, 8, 12])`` downloads the recording.
# Where it is not on this machine, made-up EEG stands in for it.

RUNS = (4, 8, 12)
CHANNELS = ["C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "Oz", "O2"]


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
    y, names = epochs.events[:, 2], ("rest", "imagination")
    source, group_name = "EEGMMIDB, subject 1", "run"
else:
    epochs, y, groups = make_epochs(36, n_channels=5, duration=2, n_subjects=3, random_state=0)
    names, source, group_name = ("left hand", "right hand"), "MADE-UP EEG, no recording", "made-up person"
    print("There is no recording here. WHAT FOLLOWS IS MADE-UP EEG. Its scores say nothing about brains.")

epochs = as_sklearn(epochs)  # the same epochs, which cross-validation slices as it does arrays
print(f"{source}: {len(epochs)} epochs of 2 s, {len(epochs.ch_names)} channels")

# %%
# The pipelines
# -------------
# ``parts`` says what features are made of; the default has experts, amplitude, spectrum, covariances, and slow time
# courses in epochs of up to 2 s. Of the experts, two stages are read (``readout``), averaged over channels.

BANDS = ((1, 4), (4, 8), (8, 13), (13, 30))


def band_power(epochs):
    """Log power in four bands of every channel."""
    power, freqs = psd_array_welch(epochs.get_data(), epochs.info["sfreq"], fmin=1, fmax=30, n_fft=200)
    bands = [power[..., (low <= freqs) & (freqs < high)].mean(-1) for low, high in BANDS]
    return np.log10(np.concatenate(bands, axis=1))


def classify(first_step):
    """Any features, with a regularised linear classifier on top."""
    return make_pipeline(first_step, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


pipelines = {
    "default": classify(SpecMoEFeaturizer()),
    "starter experts": classify(SpecMoEFeaturizer(parts=("experts",))),
    "random experts": classify(SpecMoEFeaturizer(untrained("starter"), parts=("experts",), random_state=0)),
    "band power": classify(FunctionTransformer(band_power)),
}
pipelines["default"]

# %%
# The scores
# ----------
# Each run is predicted by a pipeline that was trained on the other two: epochs of one run share the fit of the cap,
# drifts and mood. Nothing was tuned on these scores.
#
# ``untrained`` warns that the experts are random. That is what we want here, so the warning is turned off.

warnings.simplefilter("ignore", UntrainedWarning)
scores = {
    name: cross_val_score(
        pipeline, epochs, y, groups=groups, cv=LeaveOneGroupOut(), scoring="balanced_accuracy", error_score="raise"
    )
    for name, pipeline in pipelines.items()
}
print(f"Balanced accuracy, one {group_name} left out at a time; chance is 50 %")
for name, folds in scores.items():
    print(f"  {name:<16} mean {folds.mean():4.0%}   folds " + "  ".join(f"{fold:.0%}" for fold in folds))
best = max(scores, key=lambda name: scores[name].mean())
print(f"The highest mean is that of {best}. Three folds do not settle which method is better.")

# %%
# What the features look like
# ---------------------------
# On the left, the score of every fold. On the right, all features, standardised: one row per epoch, sorted by class,
# and one column per feature; names of features begin with their part. A feature that told the classes apart would
# change its colour at the line across. Where a row stands out in a part as a whole, its features move together.

featurizer = SpecMoEFeaturizer()
features = StandardScaler().fit_transform(featurizer.fit_transform(epochs))
part_of = np.array([name.split("_")[0] for name in featurizer.get_feature_names_out()])
print({part: int(np.sum(part_of == part)) for part in featurizer.parts_}, "features")
order = np.argsort(y, kind="stable")
n_first = np.sum(y == y.min())

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for place, folds in enumerate(scores.values()):
    left.plot([place] * len(folds), folds, "o", color=f"C{place}", alpha=0.5, markersize=8)
    left.plot([place - 0.2, place + 0.2], [folds.mean()] * 2, color=f"C{place}", linewidth=3)
left.axhline(0.5, color="gray", linestyle="--")
left.set(xticks=range(len(scores)), xticklabels=scores, xlim=(-0.5, len(scores) - 0.5), ylim=(0, 1))
left.set(ylabel="balanced accuracy", title=f"One {group_name} left out, and the mean")
image = right.imshow(features[order], cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", interpolation="nearest")
right.axhline(n_first - 0.5, color="black")
columns = {part: np.flatnonzero(part_of == part) for part in featurizer.parts_}
for own in columns.values():
    right.axvline(own[0] - 0.5, color="black", linewidth=0.8)
right.set_xticks([own.mean() for own in columns.values()], columns, rotation=30, ha="right")
right.set_yticks((n_first / 2, (n_first + len(y)) / 2), names, rotation=90, va="center")
right.tick_params(length=0)
right.set_title("Features of every epoch")
figure.colorbar(image, ax=right, label="standard deviations")
figure.suptitle(source, fontweight="bold", color="black" if paths else "red")
plt.show()
