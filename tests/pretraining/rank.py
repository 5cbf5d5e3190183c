"""One process of a pretraining run, which notes its buffers after every step.

Started by ``torchrun``: ``rank.py MODEL CORPUS FOLDER SETTINGS [TOKENIZER]``, where MODEL is ``specmoe`` or
``brainrvq``, and SETTINGS is JSON with options of `pretrain`, of `pretrain_tokenizer` or, with a tokenizer, of
`pretrain_brainrvq`. Writes ``FOLDER/run``, and per process
``FOLDER/buffers-RANK.json`` with a hash per forward pass in training.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

from mne_specmoe.pretraining import brainrvq, specmoe
from mne_specmoe.training import Housekeeping

hashes = []


def note(network: nn.Module, *_: object) -> None:
    """Before another forward pass may bring the buffers of the first process."""
    if network.training:
        state = b"".join(buffer.numpy().tobytes() for buffer in network.buffers())
        hashes.append(hashlib.sha256(state).hexdigest())


def noted(kind: type) -> type:
    """An objective whose network is watched."""

    def build(network: nn.Module, *arguments: object, **options: object) -> nn.Module:
        network.register_forward_hook(note)
        return kind(network, *arguments, **options)

    return build


OBJECTIVES = {
    specmoe: ("ReconstructionObjective",),
    brainrvq: ("TokenizerObjective", "CodePredictionObjective"),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    model, corpus, folder, settings, *tokenizer = sys.argv[1:]
    for module, names in OBJECTIVES.items():
        for name in names:
            setattr(module, name, noted(getattr(module, name)))
    run = brainrvq.pretrain_brainrvq if tokenizer else brainrvq.pretrain_tokenizer
    run = specmoe.pretrain if model == "specmoe" else run
    quiet = Housekeeping(device="cpu", progress=False, log_every=1)
    run(corpus, Path(folder) / "run", *tokenizer, housekeeping=quiet, **json.loads(settings))
    Path(folder, f"buffers-{os.environ['RANK']}.json").write_text(json.dumps(hashes))
