"""Training with skorch: inner validation split, phases with frozen and with free experts."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partialmethod

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from mne_specmoe._validation import warn_caller
from mne_specmoe.models.interface import Downstream


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    max_epochs : int
        Passes over the training part, both phases together.
    unfreeze_epoch : int | None
        After how many of them the experts train too (None: never).
    lr, expert_lr, weight_decay : float
        Adam's.
    patience : int | None
        Epochs without a better validation loss before training stops (None: never stop early).
    batch_size : int
        Epochs of EEG per step.
    """

    max_epochs: int
    unfreeze_epoch: int | None
    lr: float
    expert_lr: float
    weight_decay: float
    patience: int | None
    batch_size: int

    @property
    def n_frozen(self) -> int:
        """Training epochs with frozen experts."""
        return self.max_epochs if self.unfreeze_epoch is None else min(self.unfreeze_epoch, self.max_epochs)


@dataclass(frozen=True)
class Run:
    """Where and how to run: what does not change the model.

    Attributes
    ----------
    device : torch.device
        Where the networks are.
    autocast : bool
        Whether to compute in bfloat16.
    callbacks : sequence
        skorch callbacks of the user.
    verbose : int
        Whether to show a progress bar.
    """

    device: torch.device
    autocast: bool = False
    callbacks: Sequence = field(default_factory=tuple)
    verbose: int = 0


class Batches(Dataset):
    """Tensors by name and a target, indexed a whole batch at a time."""

    def __init__(self, inputs: dict[str, Tensor], target: Tensor):
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: x[index] for name, x in self.inputs.items()}, self.target[index]

    def __getitems__(self, index: list[int]) -> tuple[dict[str, Tensor], Tensor]:
        return self[torch.as_tensor(index)]

    def subset(self, index: np.ndarray) -> "Batches":
        """Some of the rows."""
        index = torch.as_tensor(index)
        return Batches({name: x[index] for name, x in self.inputs.items()}, self.target[index])


def _as_it_is(batch: object) -> object:
    """Collate nothing: `Batches` hands over whole batches."""
    return batch


class Autocast(nn.Module):
    """Runs a module in bfloat16 where asked to, and returns float32."""

    def __init__(self, module: nn.Module, run: Run):
        super().__init__()
        self.module = module
        self.device_type, self.enabled = run.device.type, run.autocast

    def forward(self, **inputs: Tensor) -> Tensor:
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.enabled):
            return self.module(**inputs).float()


class StopTraining(Exception):
    """A callback has seen enough. skorch says so by KeyboardInterrupt, which we keep for Ctrl-C."""


class BestWeights(EarlyStopping):
    """Early stopping that keeps the best weights and does not raise KeyboardInterrupt."""

    def __init__(self, monitor: str, patience: int):
        super().__init__(monitor, patience=patience, load_best=True, sink=_silent)

    def on_epoch_end(self, net, **kwargs):
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt:
            if self.misses_ < self.patience:  # not ours: the user's Ctrl-C
                raise
            raise StopTraining from None


class UserCallback(Callback):
    """Hands every event to a user's callback; a KeyboardInterrupt from it means "stop here"."""

    def __init__(self, callback: Callback):
        self.callback = callback

    def initialize(self):
        self.callback.initialize()
        return self

    def _hand_on(self, event: str, net: NeuralNet, *args, **kwargs) -> None:
        try:
            getattr(self.callback, event)(net, *args, **kwargs)
        except KeyboardInterrupt:
            raise StopTraining from None

    on_train_begin = partialmethod(_hand_on, "on_train_begin")
    on_train_end = partialmethod(_hand_on, "on_train_end")
    on_epoch_begin = partialmethod(_hand_on, "on_epoch_begin")
    on_epoch_end = partialmethod(_hand_on, "on_epoch_end")
    on_batch_begin = partialmethod(_hand_on, "on_batch_begin")
    on_batch_end = partialmethod(_hand_on, "on_batch_end")
    on_grad_computed = partialmethod(_hand_on, "on_grad_computed")


def check_callbacks(callbacks: object) -> None:
    """Raise a TypeError unless these are skorch callbacks, or None."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple) or not all(isinstance(item, Callback) for item in callbacks):
        raise TypeError(f"callbacks must be a list of skorch callbacks (instances), or None, got {callbacks!r}.")


class EpochProgress(Callback):
    """A progress bar over training epochs, with the losses beside it."""

    def __init__(self, total: int, description: str):
        self.total, self.description = total, description

    def on_train_begin(self, net, **kwargs):
        self._bar = tqdm(total=self.total, desc=self.description, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        losses = {name: net.history[-1].get(name) for name in ("train_loss", "valid_loss")}
        self._bar.set_postfix({name: f"{loss:.4f}" for name, loss in losses.items() if loss is not None})
        self._bar.update()

    def on_train_end(self, net, **kwargs):
        self._bar.close()


def inner_split(
    n_epochs: int,
    *,
    fraction: float | None,
    labels: np.ndarray | None,
    groups: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices to train on and to validate on (None: no validation).

    Parameters
    ----------
    n_epochs : int
        How many there are.
    fraction : float | None
        Share of the validation part; None or 0 for none.
    labels : ndarray | None
        Classes, kept in proportion where possible (None in regression).
    groups : ndarray | None
        No group is on both sides.
    seed : int
        Of the shuffling.
    """
    everything = np.arange(n_epochs)
    if not fraction:
        return everything, None
    train = valid = None
    if groups is not None:
        if len(np.unique(groups)) > 1:
            train, valid = _grouped_split(everything, fraction, labels, groups, seed)
    else:
        train, valid = _plain_split(everything, fraction, labels, seed)
    if train is None or (labels is not None and len(np.unique(labels[train])) < len(np.unique(labels))):
        what = "groups" if groups is not None else "epochs"
        warn_caller(
            f"There are too few {what} to set validation_fraction={fraction} of them aside with every class left to "
            "train on: training uses all epochs and cannot stop early. Pass validation_fraction=None to ask for that."
        )
        return everything, None
    return np.sort(train), np.sort(valid)


def _grouped_split(
    index: np.ndarray, fraction: float, labels: np.ndarray | None, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whole groups to either side, classes in proportion as far as groups allow."""
    n_groups = len(np.unique(groups))
    n_splits = int(np.clip(round(1 / fraction), 2, n_groups))
    if labels is not None and _enough(labels, n_splits):
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # rare classes: dealt with by the caller
            warnings.simplefilter("ignore", UserWarning)
            return next(splitter.split(index, labels, groups))
    n_valid = int(np.clip(round(fraction * n_groups), 1, n_groups - 1))
    splitter = GroupShuffleSplit(1, test_size=n_valid, random_state=seed)
    return next(splitter.split(index, groups=groups))


def _enough(labels: np.ndarray, n_splits: int) -> bool:
    """Whether StratifiedGroupKFold accepts the class counts."""
    return np.bincount(labels).max() >= n_splits


def _plain_split(
    index: np.ndarray, fraction: float, labels: np.ndarray | None, seed: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Shuffled split, stratified; (None, None) if there are too few epochs."""
    n_valid = max(1, round(fraction * len(index)))
    if labels is not None:
        counts = np.bincount(labels)
        n_valid = max(n_valid, len(counts))
        if counts.min() < 2 or len(index) - n_valid < len(counts):
            return None, None
    elif len(index) < 3:
        return None, None
    return train_test_split(index, test_size=n_valid, random_state=seed, stratify=labels)


def train(
    network: Downstream,
    schedule: Schedule,
    run: Run,
    *,
    pooled: tuple[Tensor, ...],
    signals: Callable[[], Tensor],
    target: Tensor,
    split: tuple[np.ndarray, np.ndarray | None],
    criterion: Callable[[], nn.Module],
    rates: Mapping[str, float],
    history: Sequence[dict] = (),
) -> tuple[NeuralNet, list[dict]]:
    """Train readout, then readout and experts, of a network; the best weights stay in it.

    Parameters
    ----------
    network : Downstream
        The network.
    schedule : Schedule
        How long and how fast.
    run : Run
        Where.
    pooled : tuple of Tensor
        Inputs of ``network.readout`` for all epochs; not used if no epoch is frozen.
    signals : callable
        Returns canonical signals, which training experts needs.
    target : Tensor
        One row per epoch.
    split : tuple
        Of `inner_split`.
    criterion : callable
        Makes the loss.
    rates : mapping
        Patterns of parameter names → learning rates, once the experts train: the readout's first, which is the one in
        the history. Of several that match, the first holds.
    history : sequence of dict
        Entries of what has trained the readout already; it is not trained alone then.

    Returns
    -------
    net : NeuralNet
        The last phase's net.
    history : list of dict
        One entry per training epoch: epoch, train_loss, valid_loss (None without validation), lr, experts_frozen.

    Raises
    ------
    ValueError
        If training diverged, so that no usable weights came out.
    """
    net, history = None, list(history)
    best = _best_loss(history)
    if schedule.n_frozen > 0 and not history:
        network.freeze_experts()
        data = Batches(dict(zip(network.pooled_names, pooled, strict=True)), target)
        net = _phase(network.readout, data, schedule, run, split, criterion, schedule.n_frozen, [])
        history += _entries(net, 0, frozen=True)
        best = _best_loss(history)
    if schedule.n_frozen < schedule.max_epochs:
        state = copy.deepcopy(network.state_dict())
        network.freeze_experts(False)
        data = Batches({"x": signals()}, target)
        groups = [(f"module.{pattern}", {"lr": rate}) for pattern, rate in rates.items()]
        n_left = schedule.max_epochs - schedule.n_frozen
        net = _phase(network, data, schedule, run, split, criterion, n_left, groups)
        free = _entries(net, len(history), frozen=False)
        history += free
        if split[1] is not None and _best_loss(free) > best:
            network.load_state_dict(state)
    _check_converged(network, history, schedule.lr)
    network.eval()
    return net, history


def _phase(
    module: nn.Module,
    data: Batches,
    schedule: Schedule,
    run: Run,
    split: tuple[np.ndarray, np.ndarray | None],
    criterion: Callable[[], nn.Module],
    max_epochs: int,
    param_groups: list,
) -> NeuralNet:
    """Train one module for so many epochs, and put its best weights back."""
    train_index, valid_index = split
    monitor = "train_loss" if valid_index is None else "valid_loss"
    callbacks = [("plateau", LRScheduler("ReduceLROnPlateau", monitor=monitor, factor=0.5, patience=10))]
    if valid_index is not None:
        patience = max_epochs + 1 if schedule.patience is None else schedule.patience
        callbacks.append(("stopping", BestWeights(monitor, patience)))
    if run.verbose:
        callbacks.append(("progress", EpochProgress(max_epochs, "training")))
    net = NeuralNet(
        Autocast(module, run),
        criterion=criterion(),
        optimizer=torch.optim.Adam,
        optimizer__amsgrad=True,
        optimizer__weight_decay=schedule.weight_decay,
        optimizer__param_groups=param_groups,
        lr=schedule.lr,
        max_epochs=max_epochs,
        batch_size=schedule.batch_size,
        iterator_train__shuffle=True,
        iterator_train__collate_fn=_as_it_is,
        iterator_valid__collate_fn=_as_it_is,
        train_split=None if valid_index is None else predefined_split(data.subset(valid_index)),
        callbacks=[*callbacks, *map(UserCallback, run.callbacks)],
        callbacks__print_log=None,
        device=run.device,
        verbose=0,
    )
    _fit(net, data.subset(train_index) if valid_index is not None else data)
    net.train_split = None  # it holds the validation data, which a pickled estimator should not
    return net


def _fit(net: NeuralNet, data: Batches) -> None:
    """What NeuralNet.fit does, except that Ctrl-C ends it: there, a half-trained net passes for a trained one."""
    net.initialize()
    net.notify("on_train_begin", X=data, y=None)
    try:
        net.fit_loop(data, None)
    except StopTraining:
        pass
    finally:
        net.notify("on_train_end", X=data, y=None)


def _silent(message: str) -> None:
    """Early stopping is no news."""


def _entries(net: NeuralNet, n_before: int, *, frozen: bool) -> list[dict]:
    """One plain dict per training epoch."""
    return [
        {
            "epoch": n_before + i + 1,
            "train_loss": float(row["train_loss"]),
            "valid_loss": float(row["valid_loss"]) if "valid_loss" in row else None,
            "lr": row.get("event_lr", net.lr),
            "experts_frozen": frozen,
        }
        for i, row in enumerate(net.history)
    ]


def _check_converged(network: nn.Module, history: list[dict], lr: float) -> None:
    """Raise if the weights that are kept predict nothing."""
    losses = [row["valid_loss"] for row in history if row["valid_loss"] is not None] or [history[-1]["train_loss"]]
    weights_are_finite = all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())
    if not (weights_are_finite and np.isfinite(losses).any()):
        raise ValueError(
            f"Training diverged: after {len(history)} epochs with lr={lr:g} no loss or not all weights are finite. "
            "Use a smaller learning rate, and check the amplitude of X."
        )


def _best_loss(history: list[dict]) -> float:
    """Smallest validation loss."""
    losses = [row["valid_loss"] for row in history if row["valid_loss"] is not None]
    return min(losses, default=np.inf)
