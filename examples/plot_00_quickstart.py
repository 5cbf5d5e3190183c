"""
Left or right fist? A first cross-validation
============================================

One person imagined closing the left or the right fist, 45 times in three runs of two minutes (PhysioNet's EEGMMIDB,
subject 1, runs 4, 8 and 12). Three methods are to tell which fist it was:

- ``SpecMoEClassifier()`` as it comes: the starter experts, beside spectrum and covariances of the signal;
- the same with random experts, as a control;
- common spatial patterns (CSP) with linear discriminant analysis, the field's standard.

**What to expect.** The classifier reads the classical features too, so it should not be worse than a classical method.
What it owes to pretrained experts, the control says: it differs in nothing else. The starter experts are small, and
this recording was not part of their training. With one person and 45 trials, **no claim follows** from the scores,
whichever is higher.
"""

import sys
import urllib.request
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.datasets import eegbci
from mne.decoding import CSP
from scipy.stats import binom, binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from mne_specmoe import (
    SpecMoEClassifier,
    UntrainedWarning,
    as_sklearn,
    diagnose,
    make_epochs,
    prepare_raw,
    untrained,
)

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
    epochs, y, groups = make_epochs(60, n_subjects=3, random_state=0)
    source, group_name = "MADE-UP EEG, no recording", "made-up person"

epochs = as_sklearn(epochs)  # the same epochs, which cross-validation now slices as it does arrays
print(f"{source}: {len(epochs)} trials, {len(epochs.ch_names)} channels, {epochs.info['sfreq']:g} Hz")

# %%
# The methods
# -----------
# Left and right differ in *where* on the head a rhythm fades. One of the classifier's parts holds that: covariances
# between channels, in eight bands of frequency. One linear layer reads all parts, experts included; how strongly each
# is regularised and how much it counts is found by folds within the training trials. Trials of one run stay together
# in these, too, since ``fit`` is given the runs.
#
# ``untrained("starter")`` asks for the starter's networks with random weights. It warns that they are random, which is
# what the control is for, so the warning is turned off. CSP gets 8–30 Hz, from 0.5 to 3.5 s. Nothing was tuned on the
# scores below.

warnings.simplefilter("ignore", UntrainedWarning)
mu_and_beta = as_sklearn(epochs.copy().filter(8, 30).crop(0.5, 3.5))
classifier = SpecMoEClassifier(random_state=0)
control = SpecMoEClassifier(untrained("starter"), random_state=0)
csp = make_pipeline(CSP(4, reg="ledoit_wolf"), LinearDiscriminantAnalysis())
methods = {  # name → estimator, its epochs, and what its fit is given besides
    "SpecMoEClassifier,\nstarter experts": (classifier, epochs, {"groups": groups}),
    "SpecMoEClassifier,\nrandom experts": (control, epochs, {"groups": groups}),
    "CSP + LDA": (csp, mu_and_beta, None),
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
for name, (model, X, params) in methods.items():
    predicted = cross_val_predict(model, X, y, groups=groups, params=params, cv=LeaveOneGroupOut())
    scores[name] = balanced_accuracy(y, predicted)

lucky = binom.ppf(0.95, len(y), 0.5) / len(y)
print(f"\nBalanced accuracy, leaving one {group_name} out (95 % confidence interval); chance is 50 %")
for name, (score, low, high) in scores.items():
    print(f"  {name.replace(chr(10), ' '):<37}{score:4.0%}  ({low:.0%} to {high:.0%})")
widest = max(high - low for _, low, high in scores.values())
print(
    f"With {len(y)} trials the intervals are up to {100 * widest:.0f} points wide: only large differences could show. "
    f"A coin gets more than {lucky:.0%} right less than once in twenty times."
)
print("Random experts are the control for the starter experts. One person is no ground for a claim about either.")

# %%
# What the classifier listened to
# -------------------------------
# ``shares_`` says how much of the classifier's outputs comes from each part. The shares add up to 1, and were found
# without a look at the scores above. A part with a small share is one that the others have made superfluous.

shares = classifier.fit(epochs, y, groups=groups).shares_
print("\nShares of the parts: " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
for part, why in classifier.left_out_.items():
    print(f"Left out: {part}, since {why}")

# %%
# Are the experts healthy?
# ------------------------
# ``diagnose`` asks whether the experts' features carry the EEG at all, or only where a mask was: it is
# ``mne-specmoe diagnose`` on the command line. It wants people whom the experts never saw; here are only three, or
# three runs of one person in their place, so that its answer is a rough one. Of made-up EEG, which is like nothing that
# the experts were trained on, it says even less.

diagnosis = diagnose("starter", epochs, groups, max_epochs=30, n_random=1)
print(f"\nHealth check of the starter experts, on {diagnosis.n_epochs} trials: {diagnosis.summary}")

# %%
# The figure
# ----------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
center, low, high = np.array(list(scores.values())).T
rows = np.arange(len(scores))[::-1]
left.errorbar(center, rows, xerr=(center - low, high - center), fmt="o", color="C0", capsize=4, markersize=8)
left.axvline(0.5, color="gray", linestyle="--")
left.text(0.5, len(rows) - 0.55, " chance", color="gray", va="top")
left.set(yticks=rows, yticklabels=scores, ylim=(-0.5, len(rows) - 0.5), xlim=(0, 1.03))
left.set(xlabel="balanced accuracy, 95 % confidence interval", title=f"One {group_name} left out, {len(y)} trials")
places = np.arange(len(shares))[::-1]
right.barh(places, list(shares.values()), color=["C1" if part == "experts" else "C0" for part in shares])
right.set(yticks=places, yticklabels=shares, xlim=(0, 1))
right.set(xlabel="share of the outputs", title="What the classifier listened to")
figure.suptitle(f"{source}: left or right fist?", fontweight="bold", color="black" if paths else "red")

if "sphinx_gallery" in sys.modules:
    plt.show()
else:
    path = Path("figures/quickstart.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"\nFigure: {path.resolve()}")
