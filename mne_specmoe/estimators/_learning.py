"""What parts learn from training epochs: references of covariances, and spatial filters of evoked responses."""

from collections.abc import Mapping

import numpy as np
import torch
from pyriemann.spatialfilters import Xdawn
from torch import Tensor

from mne_specmoe.estimators.centring import person_whiteners, riemannian_mean
from mne_specmoe.nn.parts import EVOKED_FILTERS, Evoked, Part
from mne_specmoe.signal.cross_spectrum import inverse_square_root, shrunk

_MOST_EPOCHS = 500  # for a reference


@torch.no_grad()
def learn(parts: Mapping[str, Part], measured: Mapping[str, Tensor], labels: np.ndarray | None) -> None:
    """Fill the buffers of parts.

    Parameters
    ----------
    parts : mapping of str to Part
        The parts.
    measured : mapping of str to Tensor
        What each has measured of the training epochs, on the CPU.
    labels : ndarray | None
        Their classes. Only the evoked part looks at them.
    """
    for name, part in parts.items():
        if isinstance(part, Evoked):
            learn_filters(part, measured[name], labels)
        if part.n_sets:
            learn_reference(part, measured[name])


def learn_reference(part: Part, measured: Tensor) -> None:
    """Let a part see covariances from their Riemannian mean."""
    mean = torch.from_numpy(riemannian_mean(_covariances(part, _some(measured))))
    part.whitener.copy_(inverse_square_root(mean))


def learn_filters(part: Evoked, measured: Tensor, labels: np.ndarray) -> None:
    """xDAWN: per class, the filters that make most of its mean response."""
    courses = measured.double().unflatten(1, (part.n_channels, -1))  # [n, C, t]
    joined = courses.transpose(0, 1).flatten(1)
    noise = shrunk(joined @ joined.mT / joined.shape[-1]).numpy()
    n_filters = filters_per_class(part.n_channels)
    xdawn = Xdawn(nfilter=n_filters, estimator="scm", baseline_cov=noise).fit(courses.numpy(), labels)
    part.filters.copy_(torch.from_numpy(np.array(xdawn.filters_)))
    part.responses.copy_(torch.from_numpy(np.array(xdawn.evokeds_)))


def filters_per_class(n_channels: int) -> int:
    """How many spatial filters each class gets."""
    return min(EVOKED_FILTERS, n_channels)


@torch.no_grad()
def whiteners_of_persons(
    parts: Mapping[str, Part], measured: Mapping[str, Tensor], persons: np.ndarray
) -> dict[str, Tensor]:
    """Names of parts → inverse square roots [n, n_sets, …] of the mean covariances of each epoch's person."""
    found = {}
    for name, part in parts.items():
        if part.n_sets:
            average = part.whitener.cpu().double().numpy()
            found[name] = torch.from_numpy(person_whiteners(_covariances(part, measured[name]), persons, average))
    return found


def _covariances(part: Part, measured: Tensor) -> np.ndarray:
    """Covariances (n, n_sets, size, size) in what was measured."""
    return part.covariances(measured).cpu().numpy()


def _some(measured: Tensor) -> Tensor:
    """As many epochs as a reference needs, evenly spread."""
    if len(measured) <= _MOST_EPOCHS:
        return measured
    return measured[torch.linspace(0, len(measured) - 1, _MOST_EPOCHS).round().long()]
