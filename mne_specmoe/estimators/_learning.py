"""What parts learn from training epochs: references of covariances, principal components. Labels play no part."""

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mne_specmoe.estimators.centring import person_whiteners, riemannian_mean
from mne_specmoe.nn.parts import Part
from mne_specmoe.signal.cross_spectrum import inverse_square_root

_MOST_EPOCHS = 500  # for a reference


@torch.no_grad()
def learn(parts: Mapping[str, Part], measured: Mapping[str, Tensor]) -> None:
    """Let parts see covariances from their Riemannian mean over training epochs, and statistics by their components.

    Parameters
    ----------
    parts : mapping of str to Part
        The parts, whose buffers are filled.
    measured : mapping of str to Tensor
        What each has measured of the training epochs, on the CPU.
    """
    for name, part in parts.items():
        if part.n_sets:
            mean = torch.from_numpy(riemannian_mean(_covariances(part, _some(measured[name]))))
            part.whitener.copy_(inverse_square_root(mean))
        if part.n_components:
            _learn_components(part, part.statistics(_some(measured[name])))


def _learn_components(part: Part, statistics: Tensor) -> None:
    """Let principal components of statistics (n_epochs, n_statistics), scaled to variance 1 in all, stand for these."""
    values = statistics.cpu().double().numpy()
    scaler = StandardScaler().fit(values)
    n_components = min(part.n_components, len(values) - 1, values.shape[1])  # what the epochs span
    components = np.zeros(part.components.shape)
    if n_components and scaler.var_.any():
        found = PCA(n_components, svd_solver="full").fit(scaler.transform(values))
        components[:, :n_components] = found.components_.T / (scaler.scale_ * np.sqrt(values.shape[1]))[:, None]
    part.centre.copy_(torch.from_numpy(scaler.mean_))
    part.components.copy_(torch.from_numpy(components))


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
