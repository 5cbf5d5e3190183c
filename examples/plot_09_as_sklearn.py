"""
Epochs inside cross-validation
==============================

scikit-learn does not know Epochs. In cross-validation it takes them for a list, and cuts every fold out of it one epoch
at a time: slow, and most estimators cannot take what comes out. ``as_sklearn`` makes a copy that is sliced like an
array and stays what it is, genuine Epochs with names, positions, events and metadata.

This page measures the difference, and shows what it opens the door for. All EEG on it is made up.
"""

import importlib.util
import time

import matplotlib.pyplot as plt
import mne
from mne.decoding import CSP
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe import SpecMoEFeaturizer, as_sklearn, make_epochs

mne.set_log_level("ERROR")

# %%
# The same epochs, sliced
# -----------------------
# What is sliced stays Epochs, and can be sliced again.

epochs, y, groups = make_epochs(48, n_channels=5, duration=2, n_subjects=4, random_state=0)
sliceable = as_sklearn(epochs)
print(f"MADE-UP EEG. {type(sliceable).__name__} of shape {sliceable.shape}, an mne.EpochsArray like any other:")
print(f"  {isinstance(sliceable, mne.EpochsArray)}, event names {list(sliceable.event_id)}")
print(f"  sliced: {type(sliceable[[0, 5, 7]]).__name__} of shape {sliceable[[0, 5, 7]].shape}")

# %%
# Estimators of the package take both
# -----------------------------------
# They join a list of single epochs again, so the scores are equal. Others cannot: MNE's CSP wants one array, and with
# plain Epochs it gets a list of Epochs.

pipeline = make_pipeline(SpecMoEFeaturizer(), StandardScaler(), LogisticRegression(C=0.01))
csp = make_pipeline(CSP(2, reg="ledoit_wolf"), LinearDiscriminantAnalysis())
cv = GroupKFold(2)


def score(model, X):
    """Mean over folds, or the error."""
    try:
        return f"{cross_val_score(model, X, y, groups=groups, cv=cv, error_score='raise').mean():.3f}"
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:70]}"


for name, model in (("SpecMoE features", pipeline), ("MNE's CSP", csp)):
    print(f"{name:<18}plain Epochs: {score(model, epochs)}\n{'':<18}as_sklearn:   {score(model, sliceable)}")

# %%
# braindecode's networks take Epochs as well, inside cross-validation too. (This part is left out where braindecode is
# not installed.) Two passes teach the network nothing; the point is that it runs.

if importlib.util.find_spec("braindecode"):
    import torch
    from braindecode import EEGClassifier
    from braindecode.models import EEGNet
    from skorch.callbacks import Callback

    class Seed(Callback):
        """Seeds torch whenever a fit begins."""

        def on_train_begin(self, net, **kwargs):
            torch.manual_seed(0)

    network = EEGClassifier(
        EEGNet, max_epochs=2, batch_size=8, train_split=None, classes=[0, 1], callbacks=[Seed()], verbose=0
    )
    found = cross_val_score(network, sliceable, y - 1, groups=groups, cv=cv, error_score="raise")
    print(f"braindecode's EEGNet, two passes: {found.mean():.3f}")
else:
    print("braindecode is not installed here.")

# %%
# How long slicing takes
# ----------------------
# A classifier that does nothing leaves only the slicing, of five folds. Seconds are those of the processor.

sizes, seconds = (40, 80, 160), {"plain Epochs": [], "as_sklearn": []}
more, labels, _ = make_epochs(max(sizes), n_channels=10, duration=2, random_state=0)
wrapped = as_sklearn(more)
for size in sizes:
    for name, X in (("plain Epochs", more[:size]), ("as_sklearn", wrapped[:size])):
        start = time.process_time()
        cross_val_score(DummyClassifier(), X, labels[:size], cv=5, error_score="raise")
        seconds[name].append(time.process_time() - start)
for size, plain, fast in zip(sizes, *seconds.values(), strict=True):
    print(f"{size:>4} epochs: {plain:6.2f} s for plain Epochs, {fast:6.3f} s with as_sklearn, {plain / fast:.0f} times")

figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name, values in seconds.items():
    axis.loglog(sizes, values, "o-", label=name)
axis.set_xticks(sizes, sizes)
axis.minorticks_off()
axis.set(xlabel="epochs", ylabel="processor seconds, five folds", title="MADE-UP EEG: what slicing alone costs")
axis.legend()
axis.grid(axis="y", alpha=0.3)
plt.show()
