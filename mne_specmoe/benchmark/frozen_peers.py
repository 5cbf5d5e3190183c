"""What foundation models of others say while they are frozen, read by a logistic regression, as ours are."""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from mne_specmoe.benchmark.entries import Selected, Setting, fit_best, spread
from mne_specmoe.benchmark.features import by_recording
from mne_specmoe.benchmark.gauges import clock
from mne_specmoe.benchmark.linear import LOGISTIC_STRENGTHS, logistic
from mne_specmoe.benchmark.networks import NetworkRecipe
from mne_specmoe.benchmark.task_data import TaskData

_BATCH = 16
_REFERENCE_VOLTS = 1e-3  # the largest window, for inputs that say how large a window is among those of training


@dataclass(frozen=True)
class FrozenNetwork:
    """Logistic regression on the features of a network before any training of ours; 20 strengths are tried.

    Attributes
    ----------
    name : str
        Of the network.
    recipe : NetworkRecipe
        Makes the network and its input.
    """

    name: str
    recipe: NetworkRecipe

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        candidates = [({"C": C}, partial(logistic, C)) for C in spread(LOGISTIC_STRENGTHS, setting.budget.n_looks)]

        def features(data: TaskData) -> np.ndarray:
            return by_recording(data, setting, _features, self.recipe, setting.seed)["features"]

        return fit_best(candidates, training, validation, setting, features=features)


def _features(
    X: np.ndarray, ch_names: tuple[str, ...], sfreq: float, recipe: NetworkRecipe, seed: int
) -> tuple[dict[str, np.ndarray], float]:
    """Features of windows, means over channels and time, and the seconds that they took."""
    start = clock()
    data = _unlabelled(X, ch_names, sfreq)
    x = torch.from_numpy(recipe.convention(_reference(data))(data))
    network = _network(recipe, ch_names, sfreq, X.shape[-1], tuple(x.shape[1:]), seed)
    with torch.inference_mode():
        parts = [_tokens(network, part) for part in x.split(_BATCH)]
    features = torch.cat([part.flatten(1, -2).mean(1) if part.ndim > 2 else part for part in parts])
    return {"features": features.numpy()}, clock() - start


@lru_cache(maxsize=1)  # one can have 157 million parameters
def _network(
    recipe: NetworkRecipe, ch_names: tuple[str, ...], sfreq: float, n_times: int, shape: tuple[int, int], seed: int
) -> nn.Module:
    """A network as it is before training, for windows of one kind."""
    window = _unlabelled(np.zeros((1, len(ch_names), n_times), np.float32), ch_names, sfreq)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.build(window, shape, 2).eval()


def _tokens(network: nn.Module, x: Tensor) -> Tensor:
    """What a network of braindecode's hands to its head."""
    if hasattr(network, "ch_names"):
        return network.network(x, ch_names=network.ch_names, return_features=True)["features"]
    return network(x, return_features=True)["features"]


def _unlabelled(X: np.ndarray, ch_names: tuple[str, ...], sfreq: float) -> TaskData:
    """Windows of one recording."""
    names = np.full(len(X), "one")
    zeros = np.zeros(len(X), dtype=int)
    return TaskData(X, zeros, names, names, names, zeros, sfreq, ch_names, ("any",))


def _reference(data: TaskData) -> TaskData:
    """Instead of a training part: features must not depend on it, or no two folds could share them."""
    X = np.zeros_like(data.X[:1])
    X[..., 0] = _REFERENCE_VOLTS
    return data.take(np.zeros(1, dtype=int)).with_signals(X)
