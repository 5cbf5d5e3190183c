"""
Predicting a number: a regressor
================================

``SpecMoERegressor`` predicts a number from each epoch. **All EEG on this page is made up**, so that we know the number:
an alpha rhythm over the back of the head whose amplitude differs from epoch to epoch, in people who differ too. The
task is to tell that amplitude in people who were not trained on.

For this, the logarithm of alpha power is the method to beat. It was made for the question.
"""

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.time_frequency import psd_array_welch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mne_specmoe import SpecMoEFeaturizer, SpecMoERegressor, as_sklearn, make_epochs

mne.set_log_level("ERROR")

# %%
# Epochs with a known amplitude
# -----------------------------
# ``make_epochs`` draws background EEG of six people, with an alpha rhythm of its own and no difference between classes
# (``effect=0``). We add 10 Hz of random phase over the back, with an amplitude between 0 and 20 µV.

SITES = ["Pz", "O1", "O2"]
background, _, subjects = make_epochs(120, n_channels=7, duration=2, effect=0, n_subjects=6, random_state=0)
background.pick(SITES)
rng = np.random.default_rng(0)
amplitude_uv = rng.uniform(0, 20, len(background))
phase = rng.uniform(0, 2 * np.pi, (len(background), 1))
rhythm = 1e-6 * amplitude_uv[:, None] * np.sin(2 * np.pi * 10 * background.times + phase)
epochs = as_sklearn(mne.EpochsArray(background.get_data() + rhythm[:, None], background.info))
print(f"MADE-UP EEG: {len(epochs)} epochs, {len(np.unique(subjects))} people, channels {', '.join(epochs.ch_names)}")

# %%
# Three methods
# -------------
# The regressor standardises the target by itself, and predicts in its units. How strongly to regularise, it finds by
# folds of whole people: that is what it needs ``groups`` for. It reads the spectrum of the signal beside the experts.
# The other two are ridge regressions: on the same frozen experts alone, and on alpha power alone.


def alpha_power(epochs):
    """Log power from 8 to 12 Hz of every channel."""
    power, _ = psd_array_welch(epochs.get_data(), epochs.info["sfreq"], fmin=8, fmax=12, n_fft=400)
    return np.log10(power.mean(-1))


ridge = RidgeCV(np.logspace(-2, 4, 13))
methods = {
    "SpecMoERegressor": SpecMoERegressor(random_state=0),
    "experts alone + ridge": make_pipeline(SpecMoEFeaturizer(parts=("experts",)), StandardScaler(), ridge),
    "log alpha power + ridge": make_pipeline(FunctionTransformer(alpha_power), StandardScaler(), ridge),
}
cv = GroupKFold(3)  # four people to train on, two to predict
predicted = {
    name: cross_val_predict(
        method,
        epochs,
        amplitude_uv,
        groups=subjects,
        params={"groups": subjects} if isinstance(method, SpecMoERegressor) else None,
        cv=cv,
    )
    for name, method in methods.items()
}
for name, values in predicted.items():
    error = np.abs(values - amplitude_uv).mean()
    print(f"{name:<26}R² {r2_score(amplitude_uv, values):5.2f}, mean absolute error {error:.1f} µV")
print("R² is 1 for a perfect prediction, and 0 for always saying the mean.")

# %%
# Prediction against truth
# ------------------------
# Colours are people. Each was predicted by a model that had not seen them.

figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), sharex=True, sharey=True, layout="constrained")
for axis, (name, values) in zip(axes, predicted.items(), strict=True):
    for subject in np.unique(subjects):
        own = subjects == subject
        axis.scatter(amplitude_uv[own], values[own], s=18, alpha=0.7, label=subject)
    axis.plot([0, 20], [0, 20], color="gray", linestyle="--")
    axis.set(title=f"{name}\nR² = {r2_score(amplitude_uv, values):.2f}", xlabel="alpha amplitude added (µV)")
axes[0].set_ylabel("predicted (µV)")
axes[-1].legend(title="made-up person", fontsize=7, title_fontsize=7)
figure.suptitle("MADE-UP EEG: amplitude of an alpha rhythm", fontweight="bold", color="red")
plt.show()
