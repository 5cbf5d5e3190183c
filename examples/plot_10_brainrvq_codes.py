"""
EEG as codes: what a BrainRVQ tokenizer sees
============================================

A tokenizer turns every second of every channel into a few numbers, and these into EEG again. BrainRVQ's has two sets of
them, one for the waveform and one for the spectrum, of three levels each: every level describes what the levels before
have left over. Its encoder is then pretrained by predicting the codes of seconds that it is not shown.

Three pictures of one recording (PhysioNet's EEGMMIDB, subject 1, run 4):

- the codes themselves, levels × channels × seconds;
- the signal that they stand for, with one level, two and three;
- the importance score by which pretraining chooses what to hide.

**The starter tokenizer is small**, trained on about three hours of other people's EEG: expect the gist of a waveform,
and no more.
"""

import sys
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.datasets import eegbci

from mne_specmoe import make_epochs, prepare_raw, tokenize

mne.set_log_level("ERROR")

# %%
# The recording
# -------------
# MNE downloads it once (3 MB), or finds it where ``MNE_DATASETS_EEGBCI_PATH`` says. Where there is none to be had, we
# go on with made-up EEG, and say so.

RUN = 4
CHANNELS = ["Fp1", "Fp2", "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "Oz", "O2"]
SECONDS = 20


def find_recording():
    """Path of the run. A download retries for minutes, so first see whether anybody answers."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    if not list(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/S001R{RUN:02d}.edf")):
        urllib.request.urlopen("https://physionet.org", timeout=5).close()
    return eegbci.load_data(1, RUN, update_path=False)[0]


try:
    raw = prepare_raw(mne.io.read_raw_edf(find_recording()), channels=CHANNELS)
    epochs = mne.make_fixed_length_epochs(raw, duration=SECONDS, preload=True)[1:3]
    source = f"EEGMMIDB, subject 1, run {RUN}"
except Exception as error:  # no network, no such folder, half a download: whatever it is, go on
    print(f"There is no recording to be had: {error!r}")
    print("WHAT FOLLOWS IS MADE-UP EEG. It says nothing about brains.\n")
    made_up, _, _ = make_epochs(4, n_channels=len(CHANNELS), duration=SECONDS, random_state=0)
    epochs = made_up[:2]
    source = "MADE-UP EEG, no recording"

# %%
# The codes
# ---------
# Colours are numbers of codes, which have no order: equal colours are equal codes, and no more. What to look for are
# runs of one colour, along time or down the head.

tokens = tokenize(epochs)
ch_names = list(tokens.ch_names)
print(f"{source}: {tokens.n_levels} levels x {len(ch_names)} channels x {tokens.time.shape[-1]} s")

figure_codes, axes = plt.subplots(2, tokens.n_levels, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
for row, domain in zip(axes, ("time", "frequency"), strict=True):
    codes = getattr(tokens, domain)[:, -1]  # of the last epoch: (n_levels, n_channels, n_patches)
    for level, (axis, numbers) in enumerate(zip(row, codes, strict=True), start=1):
        axis.imshow(numbers, aspect="auto", cmap="prism", interpolation="nearest")
        axis.set_title(f"{domain}, level {level}: {len(np.unique(numbers))} different codes")
    row[0].set_yticks(range(len(ch_names)), ch_names, fontsize=7)
for axis in axes[-1]:
    axis.set_xlabel("second")
figure_codes.suptitle(f"{source}: codes of {SECONDS} s")

# %%
# Coarse to fine
# --------------
# Codes hold the shape of a second, neither its mean nor its amplitude, which are those of the original here. The errors
# are mean squares over both epochs, as shares of the variance: 1 is what knowing nothing would give.

errors = tokens.errors()
print("Error left, as a share of the variance, by number of levels:")
for domain, values in errors.items():
    print(f"  {domain:<10}" + "  ".join(f"{value:.3f}" for value in values))

channel, shown = ch_names.index("Pz"), slice(0, 5 * 200)
time = np.arange(tokens.original.shape[-1])[shown] / tokens.sfreq
figure_levels, axes = plt.subplots(tokens.n_levels, 1, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
for level, axis in enumerate(axes, start=1):
    axis.plot(time, 1e6 * tokens.original[-1, channel, shown], color="0.7", label="original")
    axis.plot(time, 1e6 * tokens.waveform(level)[-1, channel, shown], color="C0", label="from codes")
    axis.set(ylabel="µV", title=f"{level} level{'s' if level > 1 else ''}: error {errors['time'][level - 1]:.3f}")
axes[0].legend(loc="upper right")
axes[-1].set_xlabel("s")
figure_levels.suptitle(f"{source}, Pz: what the codes stand for")

# %%
# What pretraining hides
# ----------------------
# Half of the seconds are hidden from the encoder, and those of high score more and more often as training goes on. The
# score favours 4-30 Hz and a rugged waveform over drifts and line noise. It is no measure of quality: muscles are
# rugged as well.

figure_scores, axes = plt.subplots(2, 1, figsize=(11, 5), sharex=True, layout="constrained")
for axis, trace, scores in zip(axes, tokens.original[:, channel], tokens.importance[:, channel], strict=True):
    colours = axis.imshow(
        scores[None],
        aspect="auto",
        extent=(0, len(scores), 1e6 * trace.min(), 1e6 * trace.max()),
        cmap="Oranges",
        vmin=0,
        vmax=1,
    )
    axis.plot(np.arange(len(trace)) / tokens.sfreq, 1e6 * trace, color="black", linewidth=0.6)
    for second, score in enumerate(scores):
        axis.text(second + 0.5, 1e6 * trace.min(), f"{score:.2f}", ha="center", va="bottom", fontsize=7)
    axis.set(ylabel="µV")
axes[-1].set_xlabel("s")
figure_scores.colorbar(colours, ax=axes, label="importance score")
figure_scores.suptitle(f"{source}, Pz: two windows of {SECONDS} s")

if "sphinx_gallery" in sys.modules:
    plt.show()
else:
    folder = Path("figures")
    folder.mkdir(exist_ok=True)
    for name, figure in (("codes", figure_codes), ("levels", figure_levels), ("importance", figure_scores)):
        figure.savefig(folder / f"brainrvq_{name}.png", dpi=150)
        print(f"Figure: {(folder / f'brainrvq_{name}.png').resolve()}")
