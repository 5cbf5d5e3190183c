"""Networks trained from their initial weights by braindecode's estimators, the best checkpoint kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from mne_specmoe.benchmark.conventions import Convention
from mne_specmoe.benchmark.entries import Budget, Selected, Setting
from mne_specmoe.benchmark.scoring import Prediction, selection_score
from mne_specmoe.benchmark.task_data import TaskData

HEAVY = 2_000_000
"""Networks of more parameters are heavy."""

MOST_EPOCHS = 100

Build = Callable[[TaskData, tuple[int, int], int], nn.Module]
"""Takes the training part, channels and samples of the network's input, and the number of outputs."""


@dataclass(frozen=True)
class NetworkRecipe:
    """A network, its input, and how it is trained.

    Attributes
    ----------
    build : callable
        Makes the network.
    convention : callable
        Makes its input.
    lr, weight_decay : float
        Of AdamW.
    batch_size : int
        Windows of a step.
    is_medium : bool
        Whether a step costs several times as much as one of a small network.
    """

    build: Build
    convention: Convention
    lr: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 32
    is_medium: bool = False


class Plan(NamedTuple):
    """How much a network is trained, and when it is looked at.

    Attributes
    ----------
    n_training : int
        Windows of a pass.
    n_epochs : int
        Passes.
    looks : tuple of int
        Epochs, counted from 1, after which it is scored on validation data; the last of them is one.
    """

    n_training: int
    n_epochs: int
    looks: tuple[int, ...]


def plan_training(n_training: int, n_parameters: int, budget: Budget, *, is_medium: bool = False) -> Plan:
    """Plan the training of a network within a budget.

    It makes as many passes as come nearest to the budget's windows, at most 100. If not even one fits, it makes one
    over a part of the windows.

    Parameters
    ----------
    n_training : int
        Windows that there are.
    n_parameters : int
        Of the network.
    budget : Budget
        Its windows and looks.
    is_medium : bool
        Whether the network is of medium cost.

    Returns
    -------
    plan : Plan
    """
    n_windows = budget.n_medium_windows if is_medium else budget.n_windows
    if n_parameters > HEAVY:
        n_windows = budget.n_heavy_windows
    n_epochs = min(MOST_EPOCHS, max(1, round(n_windows / n_training)))
    n_looks = min(budget.n_looks, n_epochs)
    looks = tuple(math.ceil(n_epochs * (place + 1) / n_looks) for place in range(n_looks))
    return Plan(min(n_training, n_windows), n_epochs, looks)


class Looks(Callback):
    """Score a network after some epochs, and go back to the best at the end, the first of equals.

    Parameters
    ----------
    epochs : tuple of int
        After which of them, counted from 1.
    score : callable
        Takes the estimator; the larger the better.

    Attributes
    ----------
    best_score : float or None
        Of all looks.
    best_epoch : int
        Where that was.
    """

    def __init__(self, epochs: tuple[int, ...], score: Callable[[object], float]):
        self.epochs = epochs
        self.score = score

    def on_train_begin(self, net: object, X: object = None, y: object = None, **kwargs: object) -> None:
        """Forget earlier looks."""
        self.best_score: float | None = None
        self.best_epoch = 0
        self._weights: dict[str, Tensor] = {}

    def on_epoch_end(self, net: object, **kwargs: object) -> None:
        """Look, and remember the weights if they are better."""
        epoch = len(net.history)
        if epoch not in self.epochs:
            return
        # Or training would depend on how often it is looked at: going through data draws random numbers.
        with torch.random.fork_rng():
            score = self.score(net)
        if self.best_score is None or score > self.best_score:
            self.best_score, self.best_epoch = score, epoch
            self._weights = {name: value.detach().clone() for name, value in net.module_.state_dict().items()}

    def on_train_end(self, net: object, X: object = None, y: object = None, **kwargs: object) -> None:
        """Go back to the best."""
        net.module_.load_state_dict(self._weights)
        self._weights = {}


def fit_network(training: TaskData, validation: TaskData, setting: Setting, *, recipe: NetworkRecipe) -> Selected:
    """Train a network with class-balanced cross-entropy (or squared error of standardised targets).

    The result depends on the data, the setting and the recipe alone, and the state of torch's generators is left as it
    was.

    Parameters
    ----------
    training, validation : TaskData
        The windows.
    setting : Setting
        Of the cell.
    recipe : Recipe
        What is trained.

    Returns
    -------
    selected : Selected

    Raises
    ------
    ImportError
        If braindecode cannot be imported.
    ValueError
        If there is one training window only.
    """
    if len(training) < 2:
        raise ValueError(f"A network needs two training windows or more, got {len(training)}.")
    prepare = recipe.convention(training)
    with torch.random.fork_rng():
        torch.manual_seed(setting.seed)
        shape = prepare(training.take(np.arange(1))).shape[1:]
        network = recipe.build(training, shape, len(training.classes) or 1)
        n_parameters = sum(value.numel() for value in network.parameters() if value.requires_grad)
        plan = plan_training(len(training), n_parameters, setting.budget, is_medium=recipe.is_medium)
        chosen = np.random.default_rng(setting.seed).permutation(len(training))[: plan.n_training]
        part = training.take(np.sort(chosen))
        X_validation, targets = prepare(validation), _Targets(training)
        looks = Looks(plan.looks, lambda net: selection_score(targets.read(net, X_validation), validation))
        net = _estimator(network, recipe, part, looks)
        net.fit(prepare(part), targets.of(part))
    seen = len(part) - _is_left_alone(len(part), recipe.batch_size)
    choice = {
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "batch_size": recipe.batch_size,
        "n_epochs": plan.n_epochs,
        "n_windows_seen": plan.n_epochs * seen,
        "n_looks": len(plan.looks),
        "best_epoch": looks.best_epoch,
        "validation_score": round(looks.best_score, 6),
    }
    return Selected(lambda data: _predict(net, prepare(data), targets), choice, n_parameters)


class _Targets:
    """Labels or numbers, as networks learn them, and back."""

    def __init__(self, training: TaskData):
        self._is_classification = bool(training.classes)
        if not self._is_classification:
            self._mean, self._deviation = training.y.mean(), max(float(training.y.std()), 1e-12)

    def of(self, data: TaskData) -> np.ndarray:
        """What the loss sees."""
        if self._is_classification:
            return data.y.astype(np.int64)
        return ((data.y - self._mean) / self._deviation).astype(np.float32)[:, None]

    def read(self, net: object, X: np.ndarray) -> Prediction:
        """What a trained network says of its input."""
        if self._is_classification:
            probabilities = net.predict_proba(X).astype(np.float64)
            return Prediction(probabilities.argmax(1), probabilities)
        return Prediction(self._mean + self._deviation * net.predict(X).ravel().astype(np.float64), None)


def _predict(net: object, X: np.ndarray, targets: _Targets) -> Prediction:
    """Read a network without a trace in torch's generators."""
    with torch.random.fork_rng():
        return targets.read(net, X)


def _estimator(network: nn.Module, recipe: NetworkRecipe, part: TaskData, looks: Looks) -> object:
    """Braindecode's estimator around a network."""
    braindecode = import_braindecode()
    settings = {
        "optimizer": torch.optim.AdamW,
        "lr": recipe.lr,
        "optimizer__weight_decay": recipe.weight_decay,
        "batch_size": recipe.batch_size,
        "max_epochs": looks.epochs[-1],
        "callbacks": [("looks", looks)],
        "train_split": None,
        "iterator_train__drop_last": _is_left_alone(len(part), recipe.batch_size),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "verbose": 0,
    }
    if not part.classes:
        return braindecode.EEGRegressor(network, **settings)
    weights = class_weights(part)
    return braindecode.EEGClassifier(network, criterion=nn.CrossEntropyLoss, criterion__weight=weights, **settings)


def class_weights(data: TaskData) -> Tensor:
    """Weights of the classes, by which each counts alike; 1 for classes that do not occur.

    Parameters
    ----------
    data : TaskData
        The training part.

    Returns
    -------
    weights : Tensor, shape (n_classes,)
        Number of windows over number of classes that occur and number of windows of the class.
    """
    counts = np.bincount(data.y, minlength=len(data.classes))
    weights = len(data) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.as_tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)


def _is_left_alone(n_windows: int, batch_size: int) -> bool:
    """Tell if the last batch would be one window, which batch normalisation cannot do; it is left out then."""
    return n_windows % batch_size == 1


def import_braindecode() -> ModuleType:
    """Import braindecode, or say what to do.

    Returns
    -------
    braindecode : module
        With its estimators and ``models``.

    Raises
    ------
    ImportError
        If it is not there, or if a package that it needs does not work.
    """
    try:
        import braindecode
        import braindecode.models
    except (ImportError, OSError, RuntimeError) as error:
        raise ImportError(
            f"This network needs braindecode, which cannot be imported ({error}). Install the extra of the benchmark: "
            "pip install 'mne-specmoe[benchmark]'. If it is torchaudio that fails, install the build of torchaudio "
            "that was made for your torch: the same release, and the same CUDA version or none."
        ) from error
    return braindecode
