"""
Using published checkpoints
===========================

SpecMoE's authors publish weights as ``.pth`` files of PyTorch. Wherever the package takes ``weights``, it takes these
too; and ``convert`` turns them into its own format, which loads without pickle and says where it came from.

**Mind the licence.** The published weights are for non-commercial research only. This package does not contain them,
and neither does this page: it writes a file of the same layout with **random numbers**, so that every line below runs
as it would with the real one. What is shown is the plumbing, and not a result.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from mne_specmoe import SpecHiNet, SpecMoEFeaturizer, convert, make_epochs
from mne_specmoe.assembly import describe
from mne_specmoe.models.specmoe.published import expert_keys

# %%
# A stand-in for the published file
# ---------------------------------
# With the real file, skip this step. The tensors get the names that the authors gave them.

folder = tempfile.TemporaryDirectory()
published = Path(folder.name) / "expert_1.pth"
with torch.random.fork_rng():
    torch.manual_seed(0)
    ours = SpecHiNet("published").state_dict()
torch.save({"model_state": {theirs: ours[name] for name, theirs in expert_keys().items()}, "epoch": 49}, published)

# %%
# What is in it?
# --------------
# ``describe`` (on the command line: ``mne-specmoe info FILE``) reads any weights file with PyTorch's restricted reader,
# which runs no code from it.

print(json.dumps(describe(published) | {"file": published.name}, indent=2))

# %%
# Converted
# ---------
# ``precision="float16"`` halves the file. The licence goes along in the header. (Here too, although the numbers are
# random: what counts is the format of the file.)

full = convert(published, Path(folder.name) / "expert_1.safetensors")
half = convert(published, Path(folder.name) / "expert_1_half.safetensors", precision="float16")
for path in (published, full, half):
    print(f"{path.name:<28}{path.stat().st_size / 1e6:6.1f} MB   licence: {describe(path)['licence']}")

# %%
# Used
# ----
# All three are ``weights``. Published experts bring their own arithmetic (``layout="published"``). Three files, one per
# expert, make a mixture: ``weights=["expert_1.pth", "expert_2.pth", "expert_3.pth"]``.
#
# The epochs are made up, and of the features we take what the experts say (``parts``).

epochs, _, _ = make_epochs(8, random_state=0)
features = {
    path.name: SpecMoEFeaturizer(weights=path, parts=("experts",), n_components=None).fit_transform(epochs)
    for path in (published, full, half)
}
reference = features[published.name]
for name, values in features.items():
    print(f"{name:<28}{values.shape}, largest difference to the .pth {np.abs(values - reference).max():.1e}")
print(f"The features themselves spread by {reference.std():.2f}.")

# %%
# The same features?
# ------------------
# On the left, points on the diagonal are features that did not change. On the right, by how much half precision moves
# them, as a share of their spread.

moved = (features[half.name] - reference) / reference.std()

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for path, marker, label in ((half, "s", "float16"), (full, ".", "float32")):
    left.plot(reference.ravel(), features[path.name].ravel(), marker, linestyle="", alpha=0.5, label=label)
left.axline((0, 0), slope=1, color="gray", linewidth=0.8)
left.set(xlabel="feature, from the .pth file", ylabel="feature, from the converted file")
left.legend()
right.hist(100 * moved.ravel(), bins=40, color="C0")
right.set(xlabel="moved by float16 (% of the features' spread)", ylabel="features")
figure.suptitle("RANDOM weights in the published format, MADE-UP EEG", fontweight="bold", color="red")
plt.show()

folder.cleanup()
