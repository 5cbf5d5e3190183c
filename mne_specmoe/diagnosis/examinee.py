"""What the health check asks of a network, whatever its family."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

READ_STAGE = "embedding"
"""The stage that estimators read: the last one of every network."""

_VALUES_PER_PASS = 2**18  # 17 segments of 19 channels and 4 s: under 1 GB of activations


def passes(x: Tensor) -> tuple[Tensor, ...]:
    """Split segments [B, C, T] into as many as go through a network in one pass: their numbers, pass by pass."""
    size = max(1, _VALUES_PER_PASS // (x.shape[1] * x.shape[2]))
    return torch.arange(len(x)).split(size)


@contextmanager
def noting(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Note, under their names, what parts of a network put out last."""
    noted = {}
    hooks = [
        part.register_forward_hook(lambda module, x, y, name=name: noted.__setitem__(name, y))
        for name, part in parts.items()
    ]
    try:
        yield noted
    finally:
        for hook in hooks:
            hook.remove()


class Losses(NamedTuple):
    """What a network loses if it gets features of other signals: one number per segment each.

    The error of a condition is the sum of its losses over the sum of `clean`.

    Attributes
    ----------
    clean : ndarray, shape (n_segments,)
        What losses are relative to.
    baseline : ndarray, shape (n_segments,)
        Without any features.
    own : ndarray, shape (n_segments,)
        With the features of the segment itself.
    other_person : ndarray, shape (n_segments,)
        With those of another person's segment under the same mask.
    other_mask : ndarray, shape (n_segments,) | None
        With those of the segment itself under another mask; None where that cannot be asked.
    """

    clean: np.ndarray
    baseline: np.ndarray
    own: np.ndarray
    other_person: np.ndarray
    other_mask: np.ndarray | None


@runtime_checkable
class Examinee(Protocol):
    """A network under examination.

    Attributes
    ----------
    family : {"specmoe", "brainrvq"}
        What it is.
    stages : tuple of str
        Names of its stages in order of depth; the last is `READ_STAGE`.
    no_mask : str | None
        Why it cannot see masked signals, if it cannot.
    no_exchange : str | None
        Why it cannot be given features of others, if it cannot.
    loss : str
        What `exchange` measures, and against what, in words.
    baseline : str
        What it does without features, in words.
    """

    family: str
    stages: tuple[str, ...]
    no_mask: str | None
    no_exchange: str | None
    loss: str
    baseline: str

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Map signals [B, C, T] to what every stage makes of them, [B, C, n_features, n_steps]."""

    def masked_activations(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """The same of masked signals; masks come from the seeds [B] alone."""

    def exchange(self, x: Tensor, strangers: Tensor, seeds: Tensor, other_seeds: Tensor) -> Losses:
        """Losses with features of the signals [B, C, T], of other people's, and under other masks."""

    def untrained(self, seed: int) -> "Examinee":
        """A network of the same architecture with random weights, its normalisations settled."""
