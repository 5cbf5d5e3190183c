"""The shells: featurizer, classifier and regressor over any network that pools, reads out and freezes."""

import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from tqdm.auto import tqdm

from mne_specmoe._validation import AmplitudeWarning, check_device, check_number, check_option, check_seed
from mne_specmoe.data.recordings import event_labels, metadata_column
from mne_specmoe.estimators._door import CanonicalEpochs, EpochsInputMixin
from mne_specmoe.estimators._training import Run, Schedule, check_callbacks, inner_split, train
from mne_specmoe.models.interface import Downstream, Standardising

PRECISIONS = ("float32", "bf16")
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
    """Frozen networks as a transformer. A family provides ``_make_experts`` and ``_embed``."""

    def fit(self, X, y=None):
        """Load or make the pretrained networks; nothing is learnt from X but its channels and length.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        self : object
        """
        self._check_run_parameters()
        self._check_parameters()
        seed = check_seed(self.random_state)
        with _fitting(self):
            self._open(X, reset=True)
            self._look_at_channels(X)
            with _seeded(seed):
                networks = self._make_experts().to(check_device(self.device)).eval()
            setattr(self, f"{self._pretrained}_", networks)
        return self

    def fit_transform(self, X, y=None) -> np.ndarray:
        """Fit, and compute features of the same epochs; what `fit` warned of is not said twice.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        features : ndarray of float32, shape (n_epochs, n_features)
        """
        self.fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AmplitudeWarning)
            return self.transform(X)

    def transform(self, X) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs of the length and with the channels of fit.

        Returns
        -------
        features : ndarray of float32, shape (n_epochs, n_features)
        """
        check_is_fitted(self)
        self._check_run_parameters()
        self._check_parameters()
        epochs = self._open(X, reset=False)
        features = np.empty((len(epochs), len(self.get_feature_names_out())), np.float32)
        start = 0
        with torch.inference_mode(), self._autocast():
            for x, n_rows in self._passes(epochs):
                features[start : start + n_rows] = self._embed(x).float().cpu().numpy()[:n_rows]
                start += n_rows
        return features

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
            self._look_at_channels(X)
            target, labels, n_outputs = self._encode_target(_check_length(y, len(epochs)))
            groups = self._find_groups(X, groups, len(epochs))
            criterion = self._criterion(target)
            with _seeded(seed):
                split = self._inner_split(len(epochs), labels, groups, seed)
                network = self._make_network(n_outputs, epochs.n_times)
                self._train(network, epochs, target, split, criterion)
            self.validation_indices_ = split[1]
        return self

    def _inner_split(
        self, n_epochs: int, labels: np.ndarray | None, groups: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Which epochs train, and which choose the best weights."""
        return inner_split(n_epochs, fraction=self.validation_fraction, labels=labels, groups=groups, seed=seed)

    def _train(
        self, network: Downstream, epochs: CanonicalEpochs, target: Tensor, split: tuple, criterion: Callable
    ) -> None:
        """Run the schedule on a fresh network and keep what came out."""
        device = check_device(self.device)
        network.to(device).freeze_experts().eval()
        schedule = self._schedule()
        pooled = self._pool_once(network, epochs, split[0], frozen=schedule.n_frozen > 0)
        run = Run(device, self.precision == "bf16", tuple(self.callbacks or ()), self.verbose)
        net, self.history_ = train(
            network,
            schedule,
            run,
            pooled=pooled,
            signals=lambda: torch.cat(list(epochs.batches(256))),
            target=target,
            split=split,
            criterion=criterion,
            rates=self._learning_rates(network, schedule),
        )
        self.net_, self.network_ = net, network
        self.n_iter_ = len(self.history_)

    def _pool_once(
        self, network: Downstream, epochs: CanonicalEpochs, index: np.ndarray, *, frozen: bool
    ) -> tuple[Tensor, ...]:
        """What frozen networks say, which is the same in every training epoch; statistics are of the epochs `index`."""
        learns = isinstance(network, Standardising)
        if not (frozen or learns):
            return ()
        pooled = self._map(network.pool if frozen else network.spectra, epochs)
        if learns:
            network.standardise(pooled[-1][index])
        return pooled

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

    @torch.no_grad()  # not inference mode: the readout is trained on these tensors
    def _map(self, function: Callable[[Tensor], tuple], epochs: CanonicalEpochs) -> tuple[Tensor, ...]:
        """Apply a function of canonical epochs that returns a tuple of tensors; results on the CPU."""
        parts = []
        with self._autocast():
            for x, n_rows in self._passes(epochs):
                parts.append([part[:n_rows].float().cpu() for part in function(x)])
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def _readout(self, X: object, function: Callable[..., Tensor]) -> np.ndarray:
        """Apply a function of the pooled epochs, in chunks of one fixed size."""
        check_is_fitted(self)
        self._check_run_parameters()
        epochs = self._open(X, reset=False)
        pooled = self._map(self.network_.pool, epochs)
        device, outputs = check_device(self.device), []
        with torch.inference_mode():
            for start in range(0, len(epochs), _READOUT_ROWS):
                chunk = [part[start : start + _READOUT_ROWS] for part in pooled]
                n_rows = len(chunk[0])
                filled = (_filled(part, _READOUT_ROWS).to(device) for part in chunk)
                outputs.append(function(*filled)[:n_rows].cpu())
        return torch.cat(outputs).numpy()

    def _outputs(self, X: object) -> np.ndarray:
        """The network's outputs, (n_epochs, n_outputs)."""
        check_is_fitted(self)
        return self._readout(X, self.network_.readout).astype(np.float64)


class Classifier(ClassifierMixin, _Predictor):
    """A network with a softmax."""

    def predict_proba(self, X) -> np.ndarray:
        """Probability of every class.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs of the length and with the channels of fit.

        Returns
        -------
        probabilities : ndarray, shape (n_epochs, n_classes)
            In the order of ``classes_``.
        """
        logits = self._outputs(X)
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        """Predict the most probable class of every epoch.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs of the length and with the channels of fit.

        Returns
        -------
        y : ndarray, shape (n_epochs,)
            Labels, as they were in the y of fit.
        """
        winners = self._outputs(X).argmax(1)
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

    def _check_training_parameters(self) -> None:
        super()._check_training_parameters()
        if not isinstance(self.class_weight, dict):
            check_option("class_weight", self.class_weight, ("balanced", None))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Scikit-learn asks for 0.83 of the training data right, which are epochs of 2 samples, blobs in a plane. Random
        # experts reach 0.9 and more; experts that were trained on EEG, which this is not, 0.7 to 0.98 in a few trials.
        tags.classifier_tags.poor_score = self.weights is not None
        return tags


class Regressor(RegressorMixin, _Predictor):
    """A network with one output, trained on the standardised target."""

    def predict(self, X) -> np.ndarray:
        """Predicted value of every epoch.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs of the length and with the channels of fit.

        Returns
        -------
        y : ndarray, shape (n_epochs,)
            In the units of the y of fit.
        """
        outputs = self._outputs(X)[:, 0]
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Scikit-learn asks for a training R² of 0.5 on 200 epochs of 10 samples of white noise. Training that stops
        # where validation says so reaches 0.1 to 0.7 with random experts; without a validation part it reaches 0.99.
        # Experts that were trained on EEG make less of noise: in a few trials 0.0 to 0.2 with such a part, 0.3 to 0.5
        # without.
        tags.regressor_tags.poor_score = self.weights is not None or bool(self.validation_fraction)
        return tags


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
