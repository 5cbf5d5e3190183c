"""
Masks, and what experts rebuild
===============================

An expert is pretrained by hiding parts of the spectrogram from it and asking for the whole signal back. What is hidden
decides what there is to learn. This page draws some masks, applies one to a recording, and lets the starter experts
rebuild it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import mne

from mne_specmoe import (
    GaussianStftMask,
    band_errors,
    make_epochs,
    plot_mask,
    plot_reconstruction,
    prepare_raw,
    reconstruct,
)

mne.set_log_level("ERROR")

# %%
# A gallery of masks
# ------------------
# The default is that of SpecMoE's paper: Gaussian bumps, most of them bands of frequency, some stretches of time, a few
# both, until half of the map is gone. All options of ``MaskConfig`` can be given to ``GaussianStftMask``. Every
# map here is of 30 s, drawn with the same seed.

masks = {
    "default": GaussianStftMask(),
    "ratio=0.2": GaussianStftMask(ratio=0.2),
    "level=0.5": GaussianStftMask(level=0.5),
    "bands of frequency only": GaussianStftMask(type_probabilities=(1, 0, 0)),
    "stretches of time only": GaussianStftMask(type_probabilities=(0, 1, 0)),
    "both at once only": GaussianStftMask(type_probabilities=(0, 0, 1)),
    "width=0.02": GaussianStftMask(width=0.02),
    "shape='hard'": GaussianStftMask(shape="hard"),
    "band_bias=1, ratio=0.3": GaussianStftMask(ratio=0.3, band_bias=1.0),
}
figure, axes = plt.subplots(3, 3, figsize=(10, 7), layout="constrained")
for axis, (name, mask) in zip(axes.flat, masks.items(), strict=True):
    plot_mask(mask, axes=axis, random_state=3)
    axis.set_title(name)
figure.suptitle("Masks of 30 s: what is kept of each frequency and moment")
plt.show()

# %%
# A mask on a recording
# ---------------------
# PhysioNet's EEGMMIDB, subject 1, run 4: three segments of 30 s, as long as those of pretraining.
# ``mne.datasets.eegbci.load_data(1, [4])`` downloads it. Where it is not on this machine, made-up EEG stands in for it.

CHANNELS = ["C3", "Cz", "C4", "Pz", "O1", "O2"]


def find_run(run):
    """Path of this run of subject 1, as MNE stores it; None where it is missing."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    return next(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/S001R{run:02d}.edf"), None)


if path := find_run(4):
    raw = prepare_raw(mne.io.read_raw_edf(path), channels=CHANNELS)
    epochs = mne.make_fixed_length_epochs(raw, duration=30, preload=True)[:3]
    source = "EEGMMIDB, subject 1, run 4"
else:
    epochs, _, _ = make_epochs(4, n_channels=6, duration=30, n_subjects=2, random_state=0)
    epochs, source = epochs[:3], "MADE-UP EEG, no recording"
    print("There is no recording here. WHAT FOLLOWS IS MADE-UP EEG. It says nothing about brains.")
print(f"{source}: {len(epochs)} segments of 30 s, channels {', '.join(epochs.ch_names)}")

figure = plot_mask(GaussianStftMask(), epochs, pick="Pz", tmin=10, duration=5, f_max=40, random_state=3)
figure.suptitle(source, fontweight="bold", color="black" if path else "red")
plt.show()

# %%
# What the experts make of it
# ---------------------------
# The same seed gives the same masks. The error of a band is the share of its power that is missing or wrong: 0 is
# perfect, 1 is what silence would give. A reconstruction is of use in a band only where it is below what the mask
# took away.

result = reconstruct(epochs, mask=GaussianStftMask(), random_state=3, device="cpu")
before, after = band_errors(result, of="masked"), band_errors(result)
print("Error by band, masked and rebuilt:")
for band, error in before.items():
    print(f"  {band:<8}{error:.2f}  ->  {after[band]:.2f}  {'better' if after[band] < error else 'not better'}")

figure = plot_reconstruction(result, picks=["C3", "Cz", "Pz"], tmin=10)
figure.suptitle(f"{source}, starter experts", fontweight="bold", color="black" if path else "red")
plt.show()
