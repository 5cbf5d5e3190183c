"""
From recordings to weights: pretraining a small expert
======================================================

The whole way, in a few lines: recordings become a corpus on disk, two experts are pretrained on disjoint halves of it,
and one file comes out that every estimator takes as ``weights``.

**This is a rehearsal.** It takes a few minutes of EEG and two dozen steps, where the paper takes a large
corpus and fifty passes. The experts that come out are worth nothing but the proof that the way is open.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch

from mne_specmoe import (
    ArrayRecording,
    Housekeeping,
    SpecMoEFeaturizer,
    assemble,
    band_errors,
    build_corpus,
    load_expert,
    make_epochs,
    pretrain,
    reconstruct,
)
from mne_specmoe.assembly import describe
from mne_specmoe.models.specmoe.network import untrained_like

mne.set_log_level("ERROR")

# %%
# A corpus
# --------
# PhysioNet's EEGMMIDB, subject 1, four runs of two minutes; ``mne.datasets.eegbci.load_data(1, [3, 4, 5, 6])``
# downloads them. Where they are not on this machine, made-up EEG stands in for them. ``build_corpus`` also takes
# folders, and arrays with ``ArrayRecording``, as here.
#
# Validation needs somebody who is held out. With a single person it has to be a run, so each run is called a subject.
# Errors on it will look better than those on a stranger.

CHANNELS = ["C3", "C4", "Pz"]
RUNS = (3, 4, 5, 6)


def find_runs(runs):
    """Paths of these runs of subject 1, as MNE stores them; None where one is missing."""
    folder = mne.get_config("MNE_DATASETS_EEGBCI_PATH", mne.get_config("MNE_DATA", "~/mne_data"))
    found = [sorted(Path(folder).expanduser().glob(f"MNE-eegbci-data/**/S001R{run:02d}.edf")) for run in runs]
    return [paths[0] for paths in found] if all(found) else None


def make_up(number):
    """Two minutes of made-up EEG."""
    epochs, _, _ = make_epochs(4, n_channels=19, duration=30, n_subjects=1, random_state=number)
    data = np.concatenate(epochs.get_data(picks=CHANNELS), axis=1)
    return ArrayRecording(f"made-up {number}", data, 200.0, CHANNELS, subject=f"made-up {number}")


if paths := find_runs(RUNS):
    recordings, source = paths, "EEGMMIDB, subject 1"
else:
    recordings, source = [make_up(number) for number in range(4)], "MADE-UP EEG, no recording"
    print("There is no recording here. WHAT FOLLOWS IS MADE-UP EEG. It says nothing about brains.")

folder = tempfile.TemporaryDirectory()  # a real corpus would stay
work = Path(folder.name)
corpus = build_corpus(
    recordings,
    work / "corpus",
    channels=CHANNELS,
    segment_seconds=4.0,
    edge_seconds=0.0,
    min_seconds=60.0,
    reject_uv=None,
    subject_pattern=r"(S001R\d\d)" if paths else None,
    progress=False,
)
held_out = str(corpus.subject_of[-1])
print(f"{source}: {len(corpus)} segments of 4 s from {len(set(map(str, corpus.subject_of)))} recordings")

# %%
# Two experts
# -----------
# Each gets one half of the segments. In every step the network rebuilds masked segments, and says of clean ones how
# strong each band is and how channels go together. A run can be stopped at any moment and gone on with by
# ``resume=True``.

N_STEPS = 24
HOUSEKEEPING = Housekeeping(device="cpu", log_every=2, validate_every=5, progress=False)
STEPS = {"max_steps": N_STEPS, "batch_size": 6, "accumulation": 1, "lr": 2e-3, "warmup_steps": 4}

runs = []
for subset in ("1/2", "2/2"):
    out = work / f"expert-{subset[0]}"
    pretrained = pretrain(
        corpus,
        out,
        subset=subset,
        max_channels=2,
        validation=[held_out],
        training=STEPS | {"seed": int(subset[0])},
        housekeeping=HOUSEKEEPING,
    )
    step, terms = pretrained.outcome.step, pretrained.outcome.terms
    print(f"expert {subset}: {step} steps, validation loss {terms['validation_loss']:.2f}")
    runs.append(out)

# %%
# One file of weights
# -------------------
# ``assemble`` puts the experts together. The header says how each came about, and can name a licence. ``describe``
# reads it, here and on the command line (``mne-specmoe info``).

weights = assemble(runs, work / "experts.safetensors", licence="CC BY 4.0")
about = describe(weights)
print(f"{weights.name}: {about['bytes'] / 1e6:.1f} MB, {about['architecture']}, licence {about['licence']}")

epochs, _, _ = make_epochs(6, n_channels=4, duration=4, random_state=0)
features = SpecMoEFeaturizer(weights, parts=("experts",), readout=("embedding.mean",), n_components=None).fit_transform(
    epochs
)
print(f"What these experts say of {len(epochs)} made-up epochs: {features.shape}")

# %%
# What was learnt
# ---------------
# On the left, the loss along the way, which each run writes into ``log.jsonl``. On the right, the error in bands of the
# segments held out: what the mask took, what an untrained network of the same kind makes of it, and what the two
# experts do. So few steps teach little; whether it is anything, the bars show.


def read_log(run):
    """Steps and losses, of training and of validation."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [[(line["step"], line[key]) for line in lines if key in line] for key in ("loss", "validation_loss")]


stored = corpus.read([place for place, subject in enumerate(corpus.subject_of) if subject == held_out])
segments = stored.values * stored.scale_uv[..., None]
with torch.random.fork_rng():
    torch.manual_seed(0)
    untrained = untrained_like(load_expert(runs[0] / "expert.safetensors"))
candidates = {
    "untrained": untrained,
    "expert 1": runs[0] / "expert.safetensors",
    "expert 2": runs[1] / "expert.safetensors",
}
rebuilt = {name: reconstruct(segments, each, unit="uV", device="cpu") for name, each in candidates.items()}
errors = {"masked": band_errors(rebuilt["untrained"], of="masked")}
errors |= {name: band_errors(result) for name, result in rebuilt.items()}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for number, run in enumerate(runs):
    losses, validation = read_log(run)
    left.plot(*zip(*losses, strict=True), color=f"C{number}", alpha=0.3, label=f"expert {number + 1}, training")
    left.plot(*zip(*validation, strict=True), "o--", color=f"C{number}", label=f"expert {number + 1}, validation")
left.set(xlabel="step", ylabel="loss", title="Pretraining")
left.legend()
width = 0.8 / len(errors)
for place, (name, by_band) in enumerate(errors.items()):
    right.bar(np.arange(len(by_band)) + place * width, by_band.values(), width, label=name)
right.set(ylim=(0, 1.3), ylabel="share of power missed", title=f"{len(segments)} segments held out")
right.set_xticks(np.arange(len(by_band)) + 0.4 - width / 2, by_band)
right.legend(ncols=2)
figure.suptitle(source, fontweight="bold", color="black" if paths else "red")
plt.show()

folder.cleanup()
