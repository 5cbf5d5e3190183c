"""
A mouse: one channel, stages of sleep
=====================================

The experts that come with the package were trained on people's EEG. They take any number of channels, and places on the
head may be unknown, so one electrode on a mouse is input like any other. Do their features tell its stages of sleep?

By default the featurizer gives the spectrum of the channel as well. Here the experts are asked alone
(``parts=("experts",)``). Two controls say what an answer is worth: random experts, and the band power of the same
channel. (People who score sleep look at the muscles too, which nothing here does.)
"""

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from scipy.signal import lfilter, welch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe import SpecMoEFeaturizer, UntrainedWarning, untrained

# %%
# The recording
# -------------
# One mouse, one session of 22 minutes at 200 Hz, a stage for each 4 s. It is read from the folder that
# ``MNE_SPECMOE_DATA`` names. Its gain is not documented, so amplitudes in µV are a guess. Where it is missing, a
# made-up mouse stands in for it: noise of three colours, in stretches, which is far easier to tell apart than sleep.

STAGES = ("Wake", "NREM", "REM")
SFREQ, SECONDS = 200.0, 4


def read_mouse(path):
    """Epochs of one channel in µV, (n_epochs, 1, n_times), and their stages."""
    with np.load(path) as file:
        microvolts = file["data"][0] * file["scale_uv_per_bit"][0]
        stages = file["label_names"][file["labels"]]
    epochs = microvolts[: len(stages) * 800].reshape(len(stages), 1, 800)
    return epochs, np.array([STAGES.index(stage) for stage in stages])


def make_up_mouse(n_epochs=120, seed=0):
    """Noise with poles at the rhythm of a stage, which lasts eight epochs."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.permutation(np.arange(n_epochs // 8) % 3), 8)
    hertz, radius, gain = np.array([(6, 0.8, 10), (2, 0.97, 3), (7, 0.97, 2)])[stages].T
    epochs = [
        g * lfilter([1], [1, -2 * r * np.cos(2 * np.pi * f / SFREQ), r**2], rng.standard_normal(1000))[200:]
        for f, r, g in zip(hertz, radius, gain, strict=True)
    ]
    return np.array(epochs)[:, None], stages


path = Path(os.environ.get("MNE_SPECMOE_DATA", "")) / "mouse_sleep" / "mouse005_acq4.npz"
if path.exists():
    epochs, stages = read_mouse(path)
    source = "one mouse, one session"
else:
    epochs, stages = make_up_mouse()
    source = "A MADE-UP MOUSE, no recording"
    print("There is no recording here. WHAT FOLLOWS IS A MADE-UP MOUSE. Its scores say nothing about brains.")
counts = ", ".join(f"{np.sum(stages == code)} {name}" for code, name in enumerate(STAGES))
print(f"{source}: {len(epochs)} epochs of {SECONDS} s ({counts})")

# %%
# Features, and folds of whole stretches
# --------------------------------------
# Arrays carry neither rate nor unit, so both are said. Stages last for minutes: were single epochs dealt out to the
# folds, each would have its neighbours in the training part. So stretches of 64 s stay together. (Their ends still have
# neighbours, and it is one animal on one day: the scores are not those of another mouse.)

BANDS = ((0.5, 4), (4, 6), (6, 9), (9, 15), (15, 30), (30, 50))


def band_power(epochs):
    """Log power in six bands."""
    freqs, power = welch(epochs[:, 0], SFREQ, nperseg=400)
    return np.log10(np.column_stack([power[:, (low <= freqs) & (freqs < high)].mean(1) for low, high in BANDS]))


warnings.simplefilter("ignore", UntrainedWarning)  # the random experts are meant to be random
options = {"parts": ("experts",), "sfreq": SFREQ, "unit": "uV", "random_state": 0}
features = {
    "starter experts (people's EEG)": SpecMoEFeaturizer(**options).fit_transform(epochs),
    "random experts": SpecMoEFeaturizer(untrained("starter"), **options).fit_transform(epochs),
    "band power": band_power(epochs),
}
stretches = np.arange(len(epochs)) // 16
cv = StratifiedGroupKFold(4, shuffle=True, random_state=0)
classifier = make_pipeline(
    StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000, random_state=0)
)
predicted = {name: cross_val_predict(classifier, X, stages, groups=stretches, cv=cv) for name, X in features.items()}

print("Balanced accuracy (chance 33 %), and the share of each stage that was found")
for name, values in predicted.items():
    found = recall_score(stages, values, labels=range(3), average=None)
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in zip(STAGES, found, strict=True))
    print(f"  {name:<32}{balanced_accuracy_score(stages, values):.0%}   ({shares})")
print(f"There are {np.sum(stages == 2)} epochs of REM: its share moves in large steps.")

# %%
# The hypnogram
# -------------
# The spectrum of every epoch, the stages as scored by hand (or made up), and as predicted.

freqs, power = welch(epochs[:, 0], SFREQ, nperseg=400)
shown = freqs <= 25
minutes = np.arange(len(epochs) + 1) * SECONDS / 60
rows = {"scored" if path.exists() else "made up": stages, **predicted}

figure, (top, bottom) = plt.subplots(2, 1, figsize=(10, 5), sharex=True, height_ratios=(3, 2), layout="constrained")
image = top.pcolormesh(
    minutes, np.append(freqs[shown], freqs[shown][-1] + 0.5), 10 * np.log10(power[:, shown].T), cmap="magma"
)
top.set(ylabel="Hz", title=source)
figure.colorbar(image, ax=top, label="dB")
colours = ListedColormap(["#E69F00", "#0072B2", "#009E73"])
image = bottom.pcolormesh(
    minutes, np.arange(len(rows) + 1), np.array(list(rows.values())), cmap=colours, vmin=0, vmax=2
)
bottom.set_yticks(np.arange(len(rows)) + 0.5, rows)
bottom.invert_yaxis()
bottom.set_xlabel("minutes")
bar = figure.colorbar(image, ax=bottom, ticks=[1 / 3, 1, 5 / 3])
bar.ax.set_yticklabels(STAGES)
figure.suptitle("Stages of sleep from one channel", fontweight="bold", color="black" if path.exists() else "red")
plt.show()
