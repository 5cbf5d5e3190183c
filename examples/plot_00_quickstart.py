"""
Left or right fist? A first cross-validation
============================================

One person imagined closing the left or the right fist, 45 times in three runs of two minutes (PhysioNet's EEGMMIDB,
subject 1, runs 4, 8 and 12). Four methods are to tell which fist it was:

- features of SpecMoE's starter experts, with logistic regression on top;
- the same with random experts, as a control;
- SpecMoE as a classifier: the starter experts, with a gate and a head that are trained;
- common spatial patterns (CSP) with linear discriminant analysis, the field's standard.

**The starter experts are small.** They come with the package, trained on about three hours of other people's EEG; this
recording was not part of it. Random experts have learnt nothing: they are the control. With one person and 45 trials,
**no claim follows** from the scores, whichever is higher.
"""

import sys
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.datasets import eegbci
from mne.decoding import CSP
from scipy.stats import binom, binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe import SpecMoEClassifier, SpecMoEFeaturizer, as_sklearn, make_epochs, prepare_raw

mne.set_log_level("ERROR")

# %%
# The trials
# ----------
# MNE downloads the recording once (8 MB), or finds it where ``MNE_DATASETS_EEGBCI_PATH`` says. Where there is none to
# be had, we go on with made-up EEG, and say so.

RUNS = (4, 8, 12)
MOTOR_CORTEX = [f"{row}{site}" for row in ("FC", "C", "CP") for site in "531z246"]


def find_recording():
    """Paths of the three runs. A download retries for minutes, so first see whether anybody answers."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    names = [f"S001R{run:02d}.edf" for run in RUNS]
    if not all(list(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/{name}")) for name in names):
        urllib.request.urlopen("https://physionet.org", timeout=5).close()
    return eegbci.load_data(1, list(RUNS), update_path=False)


def cut_trials(path):
    """The trials of one run: 4 s from the cue on, channels over the motor cortex."""
    raw = prepare_raw(mne.io.read_raw_edf(path), channels=MOTOR_CORTEX).set_montage("biosemi64")
    events, _ = mne.events_from_annotations(raw, {"T1": 1, "T2": 2})
    names = {"left fist": 1, "right fist": 2}
    return mne.Epochs(raw, events, names, tmin=0, tmax=4 - 1 / 200, baseline=None, preload=True)


try:
    paths = find_recording()
except Exception as error:  # no network, no such folder, half a download: whatever it is, go on
    paths = None
    print(f"There is no recording to be had: {error!r}")
    print("WHAT FOLLOWS IS MADE-UP EEG. Its scores say nothing about brains.\n")

if paths:
    runs = [cut_trials(path) for path in paths]
    epochs = mne.concatenate_epochs(runs)
    y, groups = epochs.events[:, 2], np.repeat(RUNS, [len(run) for run in runs])
    source, group_name = "EEGMMIDB, subject 1", "run"
else:
    epochs, y, groups = make_epochs(45, n_subjects=3, random_state=0)
    source, group_name = "MADE-UP EEG, no recording", "made-up person"

epochs = as_sklearn(epochs)  # the same epochs, which cross-validation now slices as it does arrays
print(f"{source}: {len(epochs)} trials, {len(epochs.ch_names)} channels, {epochs.info['sfreq']:g} Hz")

# %%
# The methods
# -----------
# Left and right differ in *where* on the head a rhythm fades. An expert sees each channel by itself, and averaging over
# channels, as both estimators do by default, forgets which channel was which. So the featurizer keeps channels apart
# here (``channel_pooling=None``), and logistic regression, strongly regularised, can set C3 against C4.
# SpecMoEClassifier always pools over channels, and its gate knows a channel only by its spectrum: **on this
# question it has little to go on**, and should do better where the whole head changes, as in sleep.
#
# The featurizer learns nothing from the trials, so it runs once, before cross-validation. (It may as well be the first
# step of the pipeline, and then runs in every fold.) Thirty trials to train on are too few to set some aside, so the
# classifier trains for a fixed time (``validation_fraction=None``). CSP gets 8–30 Hz, from 0.5 to 3.5 s. Nothing
# was tuned on the scores below.
#
# ``weights=None`` asks for random experts, and warns that they are random, which is what the control is for.

features = SpecMoEFeaturizer(channel_pooling=None).fit_transform(epochs)
random_features = SpecMoEFeaturizer(weights=None, channel_pooling=None, random_state=0).fit_transform(epochs)
regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
mu_and_beta = as_sklearn(epochs.copy().filter(8, 30).crop(0.5, 3.5))
classifier = SpecMoEClassifier(max_epochs=30, validation_fraction=None, random_state=0)
methods = {
    "SpecMoE features,\nstarter experts\n+ logistic regression": (regression, features),
    "SpecMoE features,\nrandom experts\n+ logistic regression": (regression, random_features),
    "SpecMoEClassifier,\nstarter experts": (classifier, epochs),
    "CSP + LDA": (
        make_pipeline(CSP(4, reg="ledoit_wolf"), LinearDiscriminantAnalysis()),
        mu_and_beta,
    ),
}

# %%
# The scores
# ----------
# Each run is predicted by a model trained on the other two. Shuffled folds would put neighbouring trials on both sides,
# and these share drifts, drowsiness and the fit of the cap: scores would promise too much for the next run.
#
# The score is the mean of both classes' hit rates. Its confidence interval combines their Wilson intervals (Newcombe's
# square-and-add). It takes trials for independent, and holds for this person only.


def balanced_accuracy(y, predicted):
    """Mean hit rate of the classes, and its 95 % confidence interval."""
    classes = np.unique(y)
    tests = [binomtest(int(np.sum(predicted[y == c] == c)), int(np.sum(y == c))) for c in classes]
    rates = np.array([test.statistic for test in tests])
    bounds = np.array([test.proportion_ci(method="wilson") for test in tests])
    below, above = np.linalg.norm(bounds - rates[:, None], axis=0) / len(classes)
    return rates.mean(), rates.mean() - below, rates.mean() + above


scores = {}
for name, (model, X) in methods.items():
    predicted = cross_val_predict(model, X, y, groups=groups, cv=LeaveOneGroupOut())
    scores[name] = balanced_accuracy(y, predicted)

lucky = binom.ppf(0.95, len(y), 0.5) / len(y)
print(f"\nBalanced accuracy, leaving one {group_name} out (95 % confidence interval); chance is 50 %")
for name, (score, low, high) in scores.items():
    print(f"  {name.replace(chr(10), ' '):<60}{score:4.0%}  ({low:.0%} to {high:.0%})")
widest = max(high - low for _, low, high in scores.values())
print(
    f"With {len(y)} trials the intervals are up to {100 * widest:.0f} points wide: only large differences could show. "
    f"A coin gets more than {lucky:.0%} right less than once in twenty times."
)
print("Random experts are the control for the starter experts. One person is no ground for a claim about either.")

# %%
# Where the gate opens
# --------------------
# For every trial, channel and expert the gate weighs the features by what it reads in the channel's power spectrum.
# The map shows its mean over trials and experts, of a classifier fitted to all trials; mind the narrow range of
# its colours. It shows how the tool works; of one person and 45 trials it says next to nothing about the brain.

gates = classifier.fit(epochs, y).gate_weights(epochs).mean((0, 2))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
center, low, high = np.array(list(scores.values())).T
rows = np.arange(len(scores))[::-1]
left.errorbar(center, rows, xerr=(center - low, high - center), fmt="o", color="C0", capsize=4, markersize=8)
left.axvline(0.5, color="gray", linestyle="--")
left.text(0.5, len(rows) - 0.55, " chance", color="gray", va="top")
left.set(yticks=rows, yticklabels=scores, ylim=(-0.5, len(rows) - 0.5), xlim=(0, 1.03))
left.set(xlabel="balanced accuracy, 95 % confidence interval", title=f"One {group_name} left out, {len(y)} trials")
image, _ = mne.viz.plot_topomap(
    gates,
    epochs.info,
    axes=right,
    names=epochs.ch_names,
    vlim=(gates.min(), gates.max()),
    cmap="viridis",
    extrapolate="local",
    show=False,
)
figure.colorbar(image, ax=right, label="gate, mean over trials and experts", shrink=0.8)
right.set_title("Where the gate opens")
figure.suptitle(f"{source}: left or right fist?", fontweight="bold", color="black" if paths else "red")

if "sphinx_gallery" in sys.modules:
    plt.show()
else:
    path = Path("figures/quickstart.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"\nFigure: {path.resolve()}")
