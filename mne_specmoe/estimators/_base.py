"""The shells: featurizer, classifier and regressor over any network that measures, reads out and freezes."""

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from tqdm.auto import tqdm

from mne_specmoe._validation import check_device, check_number, check_option, check_seed
from mne_specmoe.data.recordings import event_labels, metadata_column
from mne_specmoe.estimators import _linear
from mne_specmoe.estimators._door import CanonicalEpochs, EpochsInputMixin
from mne_specmoe.estimators._learning import learn, whiteners_of_persons
from mne_specmoe.estimators._training import Run, Schedule, check_callbacks, inner_split, train
from mne_specmoe.estimators.centring import center_features, check_persons, mean_and_std
from mne_specmoe.models.interface import Downstream
from mne_specmoe.nn.parts import obstacle

PRECISIONS = ("float32", "bf16")
SOLVED_HEADS = ("logistic", "ridge")
# Samples per pass on a CPU. Passes have one fixed size, the last one filled up, so that an epoch's result does not
# depend on the others, to the last digit; small enough that an epoch alone does not cost many times its share.
_PASS_SAMPLES = {"cpu": 2**14, "cuda": 2**22}
_READOUT_ROWS = 64


class _NetworkEstimator(EpochsInputMixin, BaseEstimator):
    """What the three shells share: device, precision and passes over epochs."""

    # What a family calls its pretrained part: in the progress bar, as a featurizer's attribute (with "_" behind).
    _pretrained = "experts"
    # Scikit-learn's HTML representation then links to our pages, not to its own.
    _doc_link_module = "mne_specmoe"

    @property
    def _doc_link_template(self) -> str:
        """Address of an estimator's page; empty, which means no link, where the documentation is not published."""
        url = _documentation_url()
        return f"{url.rstrip('/')}/api/generated/mne_specmoe.{{estimator_name}}.html" if url else ""

    def _look_at_channels(self, X: object) -> None:
        """For families that care where channels are: called by fit, once their names are known."""

    def _check_run_parameters(self) -> None:
        """Parameters of every shell."""
        check_number("batch_size", self.batch_size, minimum=1, integer=True)
        check_option("precision", self.precision, PRECISIONS)
        check_device(self.device)
        if not (self.center_by is None or self.center_by is True or isinstance(self.center_by, str)):
            raise TypeError(
                "center_by must be a column of the metadata, such as 'subject', True for the groups that are given, "
                f"or None, got {self.center_by!r}."
            )

    def _choose_parts(self, n_times: int) -> None:
        """Take the parts that these epochs have, and note why others are left out."""
        reasons = {name: obstacle(name, n_times) for name in self.parts}
        self.left_out_ = {name: reason for name, reason in reasons.items() if reason}
        self.parts_ = tuple(name for name in self.parts if name not in self.left_out_)
        if not self.parts_:
            said = "; ".join(f"{name!r}: {reason}" for name, reason in self.left_out_.items())
            raise ValueError(f"None of the parts asked for can be had of these epochs ({said}). Ask for others, too.")

    def _needs_channels(self) -> str | None:
        return _said([name for name, part in self.network_.parts.items() if part.keeps_channels])

    def _needs_length(self, n_times: int) -> str | None:
        parts = self.network_.parts.items()
        return _said([name for name, part in parts if part.keeps_length or part.min_times > n_times])

    def _find_persons(self, X: object, groups: object, n_epochs: int, *, groups_first: bool) -> np.ndarray | None:
        """Whom each epoch is of, if they are centred: as the column says, or the groups."""
        is_array = event_labels(X) is None
        has_column = isinstance(self.center_by, str) and not is_array
        if has_column and (groups is None or not groups_first):
            return check_persons(metadata_column(X, self.center_by), n_epochs)
        if groups is None:
            raise ValueError(
                f"{type(self).__name__} centres every person, and needs to know whose the epochs are: give groups, or "
                "name a column of the epochs' metadata with center_by."
            )
        return check_persons(metadata_column(X, groups) if isinstance(groups, str) else groups, n_epochs)

    def _later_persons(self, X: object, groups: object, n_epochs: int) -> np.ndarray | None:
        """The same for epochs that fit has not seen."""
        if self.is_centered_:
            return self._find_persons(X, groups, n_epochs, groups_first=True)
        if groups is not None:
            raise ValueError(
                f"groups were given, but this {type(self).__name__} was fitted without centring; leave them out, or "
                "fit with center_by."
            )
        return None

    def _measured(self, network: nn.Module, epochs: CanonicalEpochs) -> dict[str, Tensor]:
        """What of each epoch does not depend on others."""
        kept = None if epochs.kept is None else torch.from_numpy(epochs.kept)
        return dict(zip(network.measured_names, self._map(partial(network.measure, kept=kept), epochs), strict=True))

    @torch.no_grad()  # not inference mode: the readout is trained on these tensors
    def _map(self, function: Callable[[Tensor], tuple], epochs: CanonicalEpochs) -> tuple[Tensor, ...]:
        """Apply a function of canonical epochs that returns a tuple of tensors; results on the CPU."""
        parts = []
        with self._autocast():
            for x, n_rows in self._passes(epochs):
                parts.append([part[:n_rows].float().cpu() for part in function(x)])
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    @torch.no_grad()
    def _pooled(
        self,
        network: nn.Module,
        measured: Mapping[str, Tensor],
        persons: np.ndarray | None = None,
        *,
        fitting: bool = False,
    ) -> dict[str, Tensor]:
        """What was measured as the readout reads it; people centred, if they are given."""
        whiteners = {} if persons is None else whiteners_of_persons(network.parts, measured, persons)

        def pool(*tensors: Tensor) -> tuple[Tensor, ...]:
            own = dict(zip(whiteners, tensors[len(measured) :], strict=True))
            return network.from_measured(*tensors[: len(measured)], whiteners=own)

        values = self._by_chunks(pool, (*measured.values(), *whiteners.values()))
        pooled = dict(zip(network.pooled_names[-len(values) :], values, strict=True))
        if persons is not None and "features" in pooled:
            pooled["features"] = self._centred(network, pooled["features"], persons, fitting)
        return pooled

    def _centred(self, network: nn.Module, features: Tensor, persons: np.ndarray, fitting: bool) -> Tensor:
        """Features of each person's epochs with mean 0 and variance 1, but for what was whitened."""
        plain = np.flatnonzero(np.concatenate([np.arange(p.n_features) < p.n_plain for p in network.parts.values()]))
        values = features.numpy()[:, plain]
        if fitting:
            self.average_ = mean_and_std(values)
        centred = features.numpy().copy()
        centred[:, plain] = center_features(values, persons, self.average_)
        return torch.from_numpy(centred)

    def _by_chunks(self, function: Callable[..., tuple], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Apply a function of rows in chunks of one fixed size, on the device; results on the CPU."""
        device, parts = check_device(self.device), []
        for start in range(0, len(tensors[0]), _READOUT_ROWS):
            chunk = [tensor[start : start + _READOUT_ROWS] for tensor in tensors]
            n_rows = len(chunk[0])
            results = function(*(_filled(part, _READOUT_ROWS).to(device) for part in chunk))
            parts.append([result[:n_rows].cpu() for result in results])
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def _passes(self, epochs: CanonicalEpochs) -> Iterator[tuple[Tensor, int]]:
        """Batches of one fixed size on the device, and how many of their rows are epochs."""
        device = check_device(self.device)
        budget = _PASS_SAMPLES.get(device.type, _PASS_SAMPLES["cuda"])
        size = int(np.clip(budget // (epochs.n_channels * epochs.n_times), 1, self.batch_size))
        bar = tqdm(total=len(epochs), desc=self._pretrained, unit="epoch", disable=not self.verbose)
        with bar:
            for x in epochs.batches(size):
                n_rows = len(x)
                yield torch.nn.functional.pad(x, (0, 0, 0, 0, 0, size - n_rows)).to(device), n_rows
                bar.update(n_rows)

    def _autocast(self) -> torch.autocast:
        """Context of the chosen precision."""
        device = check_device(self.device)
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        return tags


class Featurizer(TransformerMixin, _NetworkEstimator):
    """Parts of epochs as a transformer. A family provides ``_make_network`` and ``_check_parameters``."""

    def fit(self, X, y=None, groups=None):
        """Load or make the pretrained networks, and learn the references of covariances from X.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.
        y : ignored
            Present for scikit-learn's sake.
        groups : array-like of shape (n_epochs,) | str | None
            Whom each epoch is of, or a column of the metadata that says so: every person is centred then, see
            `center_by`.

        Returns
        -------
        self : object
        """
        self._fit(X, groups, everything=False)
        return self

    def fit_transform(self, X, y=None, groups=None) -> np.ndarray:
        """Fit, and compute features of the same epochs; networks run once.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.
        y : ignored
            Present for scikit-learn's sake.
        groups
            As in `fit`.

        Returns
        -------
        features : ndarray of float32, shape (n_epochs, n_features)
        """
        return self._fit(X, groups, everything=True)

    def _fit(self, X, groups, *, everything: bool) -> np.ndarray | None:
        """Fit, and return features if everything is to be computed."""
        self._check_run_parameters()
        self._check_parameters()
        seed = check_seed(self.random_state)
        with _fitting(self):
            epochs = self._open(X, reset=True)
            self.is_centered_ = self.center_by is not None or groups is not None
            persons = self._find_persons(X, groups, len(epochs), groups_first=True) if self.is_centered_ else None
            self._look_at_channels(X)
            self._choose_parts(epochs.n_times)
            with _seeded(seed):
                network = self._make_network(1, epochs.n_times).to(check_device(self.device)).eval()
            self.network_ = network
            everything = everything or self.is_centered_
            if not (everything or any(part.learns for part in network.parts.values())):
                return None
            measured = self._measured(network, epochs)
            learn(network.parts, measured)
            return self._pooled(network, measured, persons, fitting=True)["features"].numpy() if everything else None

    def transform(self, X, groups=None) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs with the channels of fit; of its length, unless all parts can do with another.
        groups : array-like of shape (n_epochs,) | str | None
            Whom each epoch is of, or a column of the metadata that says so, if people are centred. All epochs of a
            person count, so give them at once; people may be new.

        Returns
        -------
        features : ndarray of float32, shape (n_epochs, n_features)
        """
        check_is_fitted(self)
        self._check_run_parameters()
        epochs = self._open(X, reset=False)
        persons = self._later_persons(X, groups, len(epochs))
        measured = self._measured(self.network_, epochs)
        return self._pooled(self.network_, measured, persons)["features"].numpy()

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the features, which begin with their part: ``covariance_8-13Hz_C3_C4``.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        names : ndarray of str, shape (n_features,)
        """
        check_is_fitted(self)
        channels = self.ch_names_ or [f"channel{c + 1}" for c in range(self.n_channels_)]
        names = [name for part in self.network_.parts.values() for name in part.feature_names(channels)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        return tags


class _Predictor(_NetworkEstimator):
    """What classifier and regressor share. A family provides ``_make_network`` and ``_check_parameters``."""

    # The parameter with the learning rate of the pretrained part.
    _pretrained_lr = "expert_lr"

    def fit(self, X, y=None, groups=None):
        """Train the readout, and the pretrained networks from `unfreeze_epoch` on.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.
        y : array-like of shape (n_epochs,) | None
            Targets. None takes ``epochs.events[:, 2]``.
        groups : array-like of shape (n_epochs,) | str | None
            Groups, such as subjects, that the inner validation split must not tear apart; a str names a column of the
            epochs' metadata. None: the column named by the parameter `group_column`, if that is given.

        Returns
        -------
        self : object
        """
        self._check_run_parameters()
        self._check_training_parameters()
        self._check_parameters()
        seed = check_seed(self.random_state)
        y = event_labels(X) if y is None else y
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None, and X has no events."
            )
        with _fitting(self):
            epochs = self._open(X, reset=True)
            target, labels, n_outputs = self._encode_target(_check_length(y, len(epochs)))
            self.is_centered_ = self.center_by is not None
            persons = self._find_persons(X, groups, len(epochs), groups_first=False) if self.is_centered_ else None
            self._look_at_channels(X)
            self._choose_parts(epochs.n_times)
            groups = self._find_groups(X, groups, len(epochs))
            criterion = self._criterion(target)
            with _seeded(seed):
                split = self._inner_split(len(epochs), labels, groups, seed)
                network = self._make_network(n_outputs, epochs.n_times)
                data = _Training(epochs, persons, target, labels, groups, split)
                self._train(network, data, criterion)
            self.validation_indices_ = split[1]
        return self

    @property
    def _is_solved(self) -> bool:
        """Whether the head is a linear one that is solved for, not trained."""
        return self.head in SOLVED_HEADS

    @property
    def _learns_toys(self) -> bool:
        """Whether what scikit-learn's checks are made of, which is no EEG, is learned as well as they ask."""
        return self.weights is None and not self._is_solved

    def _inner_split(
        self, n_epochs: int, labels: np.ndarray | None, groups: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Which epochs train, and which choose the best weights; a head that is solved for needs none of these."""
        if self._is_solved and not self._fine_tunes:
            return np.arange(n_epochs), None
        return inner_split(n_epochs, fraction=self.validation_fraction, labels=labels, groups=groups, seed=seed)

    @property
    def _fine_tunes(self) -> bool:
        """Whether the pretrained part trains in the end."""
        return self.unfreeze_epoch is not None and self.unfreeze_epoch < self.max_epochs

    def _check_no_centred_training(self) -> None:
        """What the pretrained part says cannot be centred while it changes."""
        if self.center_by is not None and self._fine_tunes:
            raise ValueError(
                f"The pretrained part cannot train while people are centred, got unfreeze_epoch={self.unfreeze_epoch} "
                f"and center_by={self.center_by!r}; leave one of them at None."
            )

    def _train(self, network: Downstream, data: "_Training", criterion: Callable) -> None:
        """Learn, solve or run the schedule on a fresh network, and keep what came out."""
        device = check_device(self.device)
        network.to(device).freeze_experts().eval()
        schedule = self._schedule()
        pooled = self._pool_once(network, data, frozen=self._is_solved or schedule.n_frozen > 0)
        history = [self._solve(network, pooled["features"], data, criterion)] if self._is_solved else []
        self.net_ = None
        if not history or self._fine_tunes:
            self.net_, history = train(
                network,
                schedule,
                Run(device, self.precision == "bf16", tuple(self.callbacks or ()), self.verbose),
                pooled=tuple(pooled.values()),
                signals=lambda: torch.cat(list(data.epochs.batches(256))),
                target=data.target,
                split=data.split,
                criterion=criterion,
                rates=self._learning_rates(network, schedule),
                history=history,
            )
        self.history_, self.network_ = history, network.eval()
        self.n_iter_ = len(self.history_)

    def _pool_once(self, network: Downstream, data: "_Training", *, frozen: bool) -> dict[str, Tensor]:
        """What the readout reads of all epochs; the training part is what is learned from.

        Where nothing is frozen, the pretrained part does not run, and what it says is missing.
        """
        if frozen:
            measured = self._measured(network, data.epochs)
        elif network.signal_names:
            values = self._map(network.measure_signals, data.epochs)
            measured = dict(zip(network.signal_names, values, strict=True))
        else:
            return {}
        index = data.split[0]
        learn(network.parts, {name: measured[name][index] for name in network.parts})
        pooled = self._pooled(network, measured, data.persons, fitting=True)
        if network.standardised:
            network.standardise(**{name: pooled[name][index] for name in network.standardised})
        return pooled

    def _solve(self, network: Downstream, features: Tensor, data: "_Training", criterion: Callable) -> dict:
        """Put the penalised solution into the head; an entry of the history."""
        train_index, valid_index = data.split
        blocks = [_Block.of(values[train_index].numpy()) for values in features.split(_widths(network), 1)]
        problem = self._problem(data.target[train_index], criterion)
        groups = None if data.groups is None else data.groups[train_index]
        labels = None if data.labels is None else data.labels[train_index]
        folds = _linear.inner_folds(len(train_index), labels, groups)
        solution = _linear.solve([block.standard for block in blocks], problem, folds)
        _fill_head(network.readout.final_layer, blocks, solution)
        names = list(network.parts)
        self.strengths_ = dict(zip(names, solution.strengths, strict=True))
        self.shares_ = dict(zip(names, solution.shares, strict=True))
        valid_loss = solution.loss
        if valid_index is not None:
            valid_loss = _loss(network, features[valid_index], data.target[valid_index], criterion)
        train_loss = _loss(network, features[train_index], data.target[train_index], criterion)
        return {"epoch": 1, "train_loss": train_loss, "valid_loss": valid_loss, "lr": None, "experts_frozen": True}

    def _learning_rates(self, network: Downstream, schedule: Schedule) -> dict[str, float]:
        """Patterns of parameter names → learning rates, once all train; the first that matches holds."""
        return {"readout.*": schedule.lr, "experts.*": schedule.expert_lr}

    def _schedule(self) -> Schedule:
        """The parameters that concern training time."""
        expert_lr = getattr(self, self._pretrained_lr)
        return Schedule(
            max_epochs=self.max_epochs,
            unfreeze_epoch=self.unfreeze_epoch,
            lr=self.lr,
            expert_lr=self.lr if expert_lr is None else expert_lr,
            weight_decay=self.weight_decay,
            patience=self.patience,
            batch_size=self.batch_size,
        )

    def _check_training_parameters(self) -> None:
        """Parameters of training."""
        check_number("max_epochs", self.max_epochs, minimum=1, integer=True)
        check_number("lr", self.lr, minimum=0.0, strict=True)
        check_number("weight_decay", self.weight_decay, minimum=0.0)
        if getattr(self, self._pretrained_lr) is not None:
            check_number(self._pretrained_lr, getattr(self, self._pretrained_lr), minimum=0.0, strict=True)
        if self.unfreeze_epoch is not None:
            check_number("unfreeze_epoch", self.unfreeze_epoch, minimum=0, integer=True)
        if self.patience is not None:
            check_number("patience", self.patience, minimum=1, integer=True)
        if self.validation_fraction is not None:
            check_number("validation_fraction", self.validation_fraction, minimum=0.0, maximum=0.9)
        check_callbacks(self.callbacks)

    def _find_groups(self, X: object, groups: object, n_epochs: int) -> np.ndarray | None:
        """Groups as given, or from the metadata."""
        if groups is None:
            groups = self.group_column
        if isinstance(groups, str):
            groups = metadata_column(X, groups)
        if groups is None:
            return None
        groups = np.asarray(groups)
        if groups.shape != (n_epochs,):
            raise ValueError(
                "groups must be a column of the metadata, or have one entry per epoch: X has "
                f"{n_epochs} epochs, groups has shape {groups.shape}."
            )
        return groups

    def _readout(self, X: object, function: Callable[..., Tensor], groups: object = None) -> np.ndarray:
        """Apply a function of the pooled epochs, in chunks of one fixed size."""
        check_is_fitted(self)
        self._check_run_parameters()
        epochs = self._open(X, reset=False)
        persons = self._later_persons(X, groups, len(epochs))
        pooled = self._pooled(self.network_, self._measured(self.network_, epochs), persons)
        with torch.inference_mode():
            return self._by_chunks(lambda *chunk: (function(*chunk),), tuple(pooled.values()))[0].numpy()

    def _outputs(self, X: object, groups: object = None) -> np.ndarray:
        """The network's outputs, (n_epochs, n_outputs)."""
        check_is_fitted(self)
        return self._readout(X, self.network_.readout, groups).astype(np.float64)


class Classifier(ClassifierMixin, _Predictor):
    """A network with a softmax."""

    def predict_proba(self, X, groups=None) -> np.ndarray:
        """Probability of every class.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs with the channels of fit; of its length, unless all parts can do with another.
        groups : array-like of shape (n_epochs,) | str | None
            If people are centred: whom each epoch is of, or a column of the metadata that says so; None is that of
            `center_by`. All epochs of a person count, so give them at once; people may be new.

        Returns
        -------
        probabilities : ndarray, shape (n_epochs, n_classes)
            In the order of ``classes_``.
        """
        logits = self._outputs(X, groups)
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def predict(self, X, groups=None) -> np.ndarray:
        """Predict the most probable class of every epoch.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs with the channels of fit; of its length, unless all parts can do with another.
        groups : array-like of shape (n_epochs,) | str | None
            If people are centred: whom each epoch is of, or a column of the metadata that says so; None is that of
            `center_by`. All epochs of a person count, so give them at once; people may be new.

        Returns
        -------
        y : ndarray, shape (n_epochs,)
            Labels, as they were in the y of fit.
        """
        winners = self._outputs(X, groups).argmax(1)
        return self.classes_[winners]

    def _encode_target(self, y: np.ndarray) -> tuple[Tensor, np.ndarray, int]:
        """Labels of any kind → 0, 1, …"""
        try:
            check_classification_targets(y)
            classes, labels = np.unique(y, return_inverse=True)
        except TypeError as error:  # what cannot be sorted
            raise TypeError(f"The labels in y must be of one kind, such as all str or all int ({error}).") from error
        if len(classes) < 2:
            (only,) = classes.tolist()
            raise ValueError(f"{type(self).__name__} needs at least two classes in y, got one class: {only!r}.")
        self.classes_ = classes
        return torch.from_numpy(labels.astype(np.int64)), labels, len(classes)

    def _criterion(self, target: Tensor) -> Callable[[], nn.Module]:
        """Class-weighted cross-entropy."""
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[target.numpy()])
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
            raise ValueError(f"class_weight must hold finite numbers >= 0, not all 0, got {self.class_weight!r}.")
        return partial(nn.CrossEntropyLoss, torch.tensor(weights / weights.sum(), dtype=torch.float32))

    def _problem(self, target: Tensor, criterion: Callable) -> _linear.Problem:
        """Classes, weighed as in the loss."""
        weights = criterion().weight.double()[target]
        return _linear.Problem(target.numpy(), (weights / weights.mean()).numpy(), len(self.classes_))

    def _check_training_parameters(self) -> None:
        super()._check_training_parameters()
        if not isinstance(self.class_weight, dict):
            check_option("class_weight", self.class_weight, ("balanced", None))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Scikit-learn asks for 0.83 of the training data right, which are epochs of 2 samples, blobs in a plane. Random
        # networks reach 0.9 and more, if they see amplitudes; those that were trained on EEG, which this is not, 0.7 to
        # 0.98 in a few trials. A solved head holds back where inner folds find nothing.
        tags.classifier_tags.poor_score = not self._learns_toys
        return tags


class Regressor(RegressorMixin, _Predictor):
    """A network with one output, trained on the standardised target."""

    def predict(self, X, groups=None) -> np.ndarray:
        """Predicted value of every epoch.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs with the channels of fit; of its length, unless all parts can do with another.
        groups : array-like of shape (n_epochs,) | str | None
            If people are centred: whom each epoch is of, or a column of the metadata that says so; None is that of
            `center_by`. All epochs of a person count, so give them at once; people may be new.

        Returns
        -------
        y : ndarray, shape (n_epochs,)
            In the units of the y of fit.
        """
        outputs = self._outputs(X, groups)[:, 0]
        return outputs * self.y_scale_ + self.y_mean_

    def _encode_target(self, y: np.ndarray) -> tuple[Tensor, None, int]:
        """Standardise."""
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(self).__name__} needs numbers in y, got dtype {y.dtype}.") from error
        self.y_mean_ = float(y.mean())
        self.y_scale_ = float(y.std()) or 1.0
        standard = (y - self.y_mean_) / self.y_scale_
        return torch.from_numpy(standard.astype(np.float32))[:, None], None, 1

    def _criterion(self, target: Tensor) -> Callable[[], nn.Module]:
        """Mean squared error."""
        return nn.MSELoss

    def _problem(self, target: Tensor, criterion: Callable) -> _linear.Problem:
        """Standardised numbers."""
        return _linear.Problem(target[:, 0].double().numpy(), np.ones(len(target)), None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Scikit-learn asks for a training R² of 0.5 on 200 epochs of 10 samples of white noise. Training that stops
        # where validation says so reaches 0.0 to 0.5 with random networks; without a validation part it reaches 0.5 to
        # 0.9, if they see amplitudes. Those that were trained on EEG make less of noise: in a few trials 0.0 to 0.2
        # with such a part, 0.3 to 0.5 without.
        tags.regressor_tags.poor_score = bool(self.validation_fraction) or not self._learns_toys
        return tags


class _Training(NamedTuple):
    """What a predictor is fitted on."""

    epochs: CanonicalEpochs
    persons: np.ndarray | None  # whom each epoch is of, if people are centred
    target: Tensor
    labels: np.ndarray | None  # classes 0, 1, …; None in regression
    groups: np.ndarray | None
    split: tuple[np.ndarray, np.ndarray | None]


class _Block(NamedTuple):
    """Features of one part, standardised."""

    standard: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "_Block":
        """Standardise features of training epochs."""
        mean, std = mean_and_std(features)
        scale = _linear.standard_scale(std)
        return cls((features - mean) * scale, mean, scale)


def _widths(network: Downstream) -> list[int]:
    """Number of features of every part."""
    return [part.n_features for part in network.parts.values()]


@torch.no_grad()
def _fill_head(head: nn.Module, blocks: list[_Block], solution: _linear.Solution) -> None:
    """Copy a solution into a linear head."""
    head.standardiser.mean.copy_(torch.from_numpy(np.concatenate([block.mean for block in blocks])))
    head.standardiser.scale.copy_(torch.from_numpy(np.concatenate([block.scale for block in blocks])))
    head.output.weight.copy_(torch.from_numpy(solution.weights))
    head.output.bias.copy_(torch.from_numpy(solution.intercepts))


@torch.no_grad()
def _loss(network: Downstream, features: Tensor, target: Tensor, criterion: Callable) -> float:
    """Loss of the readout."""
    device = next(network.readout.parameters()).device
    return float(criterion()(network.readout(features.to(device)).cpu(), target))


def _said(parts: list[str]) -> str | None:
    """Parts as the subject of a sentence; None if there are none."""
    if not parts:
        return None
    return ("the part " if len(parts) == 1 else "each of the parts ") + ", ".join(map(repr, parts))


def _documentation_url() -> str | None:
    """Where the installed package's documentation is published, if its metadata names a place."""
    try:
        urls = importlib.metadata.metadata("mne-specmoe").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that was never installed
        return None
    return dict(url.split(", ", 1) for url in urls).get("Documentation")


def _check_length(y: object, n_epochs: int) -> np.ndarray:
    """A finite 1-D y with one entry per epoch."""
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    if len(y) != n_epochs:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_epochs} epochs, y has {len(y)} "
            "entries."
        )
    return y


def _filled(x: Tensor, n_rows: int) -> Tensor:
    """Append rows of zeros up to so many."""
    return torch.cat([x, x.new_zeros(n_rows - len(x), *x.shape[1:])]) if len(x) < n_rows else x


@contextmanager
def _fitting(estimator: BaseEstimator) -> Iterator[None]:
    """Forget an earlier fit; if this one fails, or is interrupted, put everything back as it was."""
    before = dict(vars(estimator))
    try:
        for name in before:
            if name.endswith("_"):
                delattr(estimator, name)
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators, and put them back as they were afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
