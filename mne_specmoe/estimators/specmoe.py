"""SpecMoE as scikit-learn estimators."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mne_specmoe._validation import UntrainedWarning, check_number, check_option, listed
from mne_specmoe.estimators._base import Classifier, Featurizer, Regressor
from mne_specmoe.loaders.specmoe import load_encoders
from mne_specmoe.models.registry import BUNDLED
from mne_specmoe.models.specmoe.config import EMBED_DIM, LAYOUTS, SpecHiNetConfig
from mne_specmoe.models.specmoe.mixture import GATE_SCALES, SpecMoE, pooled_embeddings
from mne_specmoe.models.specmoe.network import SpecHiNetEncoder, settle_normalisation
from mne_specmoe.nn.heads import POOLINGS

Weights = str | os.PathLike | Sequence[str | os.PathLike] | None


def _check_experts_parameters(estimator: object) -> None:
    """Parameters that choose experts and pooling over time."""
    weights = estimator.weights
    if not (weights is None or isinstance(weights, str | os.PathLike | list | tuple)):
        raise TypeError(
            f"weights must be a name ({listed(BUNDLED)}), a path, a list of paths, or None, got {weights!r}."
        )
    check_number("n_experts", estimator.n_experts, minimum=1, integer=True)
    check_option("layout", estimator.layout, (*LAYOUTS, None))
    check_option("time_pooling", estimator.time_pooling, tuple(POOLINGS))


def _experts(weights: Weights, n_experts: int, layout: str | None) -> list[SpecHiNetEncoder]:
    """Load experts, or make random ones and say so."""
    if weights is not None:
        experts = load_encoders(weights)
        found = experts[0].config.layout
        if layout not in (None, found):
            raise ValueError(
                f"layout={layout!r}, but the experts in weights={weights!r} have layout {found!r}; leave layout=None, "
                "or give other weights: published files have layout 'published', random experts (weights=None) either."
            )
        return experts
    warnings.warn(
        "weights=None: the experts are random. They have learnt nothing from other recordings, and results say nothing "
        'about pretraining. Leave weights at "starter" or give files, or take this as a baseline of random features.',
        UntrainedWarning,
        stacklevel=5,
    )
    experts = [SpecHiNetEncoder(SpecHiNetConfig(layout or LAYOUTS[0])) for _ in range(n_experts)]
    for expert in experts:
        settle_normalisation(expert)
    return experts


class SpecMoEFeaturizer(Featurizer):
    """Features of EEG epochs from frozen SpecMoE experts.

    Parameters
    ----------
    weights : "starter" | path-like | list of path-like | None
        ``"starter"``: the three small experts that come with the package. Or files: a SpecMoE, experts, or one expert
        per file; ours (``.safetensors``) or published (``.pth``). None: random experts, with an `UntrainedWarning`.
    n_experts : int
        Number of random experts. Without effect unless ``weights=None``: trained ones bring their own number.
    layout : {"channelwise", "published"} | None
        Arithmetic of random experts, see `mne_specmoe.models.specmoe.network.SpecHiNetConfig`; None is
        ``"channelwise"``. Trained ones bring their own (``"starter"``: ``"channelwise"``), and another is an error.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    time_pooling : {"mean", "max"}
        How the tokens of a channel become one vector.
    channel_pooling : {"mean", "max"} | None
        How channels become one vector; None keeps every channel's features.
    batch_size : int
        Most epochs in one pass through the experts.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision : {"float32", "bf16"}
        Precision of the experts.
    verbose : int
        1 shows a progress bar.
    random_state : int | RandomState | Generator | None
        Seed of random experts.

    Attributes
    ----------
    experts_ : torch.nn.ModuleList
        The encoders.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it.

    Examples
    --------
    >>> from mne_specmoe import SpecMoEFeaturizer
    >>> from mne_specmoe.data.synthetic import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=8)
    >>> SpecMoEFeaturizer(random_state=0).fit_transform(epochs).shape
    (8, 384)
    """

    def __init__(
        self,
        weights: Weights = "starter",
        *,
        n_experts: int = 3,
        layout: str | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        time_pooling: str = "mean",
        channel_pooling: str | None = "mean",
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        verbose: int = 0,
        random_state=None,
    ):
        self.weights = weights
        self.n_experts = n_experts
        self.layout = layout
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.time_pooling = time_pooling
        self.channel_pooling = channel_pooling
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the features, such as ``expert1_007``, or ``Cz_expert1_007`` with channels kept apart.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        names : ndarray of str, shape (n_features,)
        """
        check_is_fitted(self)
        names = [f"expert{e + 1}_{i:03d}" for e in range(len(self.experts_)) for i in range(EMBED_DIM)]
        if self.channel_pooling is None:
            channels = self.ch_names_ or [f"channel{c + 1}" for c in range(self.n_channels_)]
            names = [f"{channel}_{name}" for channel in channels for name in names]
        return np.asarray(names, dtype=object)

    def _check_parameters(self) -> None:
        _check_experts_parameters(self)
        check_option("channel_pooling", self.channel_pooling, (*POOLINGS, None))

    def _make_experts(self) -> nn.ModuleList:
        return nn.ModuleList(_experts(self.weights, self.n_experts, self.layout))

    def _embed(self, x: Tensor) -> Tensor:
        embedding = pooled_embeddings(self.experts_, x, self.time_pooling)  # [B, E, C, 128]
        if self.channel_pooling is None:
            return embedding.transpose(1, 2).flatten(1)
        return POOLINGS[self.channel_pooling](embedding, 2).flatten(1)


class _SpecMoEPredictor:
    """What classifier and regressor add to the shells of `_base`: gates, parameters and network of SpecMoE."""

    def gate_weights(self, X) -> np.ndarray:
        """How far the gate opens, on average over an expert's 128 features.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs of the length and with the channels of fit.

        Returns
        -------
        weights : ndarray, shape (n_epochs, n_channels, n_experts)
            In (0, 1). Channels in the order of ``ch_names_``.
        """
        check_is_fitted(self)

        def mean_gate(embedding: Tensor, psd: Tensor) -> Tensor:
            return self.network_.readout.gate(psd).mean(-1).transpose(1, 2)

        return self._readout(X, mean_gate)

    def _check_parameters(self) -> None:
        _check_experts_parameters(self)
        check_option("channel_pooling", self.channel_pooling, tuple(POOLINGS))
        check_option("gate_scale", self.gate_scale, GATE_SCALES)
        check_number("dropout", self.dropout, minimum=0.0, maximum=0.999)
        if self.hidden is not None:
            check_number("hidden", self.hidden, minimum=1, integer=True)

    def _make_network(self, n_outputs: int, n_times: int) -> SpecMoE:
        return SpecMoE(
            n_outputs,
            n_times=n_times,
            experts=_experts(self.weights, self.n_experts, self.layout),
            time_pooling=self.time_pooling,
            channel_pooling=self.channel_pooling,
            gate_scale=self.gate_scale,
            hidden=self.hidden,
            dropout=self.dropout,
        )


_PREDICTOR_PARAMETERS = """
    Parameters
    ----------
    weights : "starter" | path-like | list of path-like | None
        ``"starter"``: the three small experts that come with the package. Or files: a SpecMoE, of which only the
        experts are taken, experts, or one expert per file; ours (``.safetensors``) or published (``.pth``). None:
        random experts, with an `UntrainedWarning`.
    n_experts : int
        Number of random experts. Without effect unless ``weights=None``: trained ones bring their own number.
    layout : {"channelwise", "published"} | None
        Arithmetic of random experts; None is ``"channelwise"``. Trained ones bring their own (``"starter"``:
        ``"channelwise"``), and another is an error.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    time_pooling, channel_pooling : {"mean", "max"}
        How tokens become one vector per channel, and channels one vector per epoch.
    gate_scale : {"log", "power", "none"}
        What the gate reads: log power standardised per frequency on the training part, power as published, or nothing.
    hidden : int | None
        Width of the prediction head (None: 128 per expert).
    dropout : float
        Dropout probability in the head.
    unfreeze_epoch : int | None
        Training epoch from which the experts train too. None: they stay frozen, and run only once.
    max_epochs : int
        Most passes over the training part.
    lr, expert_lr : float
        Learning rates of gate and head, and of the experts (None: the same).
    weight_decay : float
        Of Adam.{extra}
    validation_fraction : float | None
        Share of the training data that is set aside to choose the best weights. None: train on everything, for
        `max_epochs`.
    patience : int | None
        Training stops after so many epochs without a better validation loss. None: it does not stop early.
    group_column : str | None
        Column of the epochs' metadata whose values, such as subjects, the validation split keeps together.
    batch_size : int
        Epochs of EEG per training step.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision : {"float32", "bf16"}
        Precision of the networks.
    callbacks : list of skorch callbacks | None
        Added to our own.
    verbose : int
        1 shows a progress bar.
    random_state : int | RandomState | Generator | None
        Seed of random experts, validation split, initial head, dropout and shuffling.

    Attributes
    ----------{attributes}
    history_ : list of dict
        Per training epoch: epoch, train_loss, valid_loss, lr, experts_frozen.
    network_ : SpecMoE
        The trained network, with the best weights.
    net_ : skorch.NeuralNet
        The net of the last training phase.
    validation_indices_ : ndarray | None
        Which epochs of `fit` were set aside.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it.
"""


class SpecMoEClassifier(_SpecMoEPredictor, Classifier):
    __doc__ = (
        """Classify EEG epochs with SpecMoE experts, spectral gate and a head, by class-weighted cross-entropy.
"""
        + _PREDICTOR_PARAMETERS.replace(
            "{extra}",
            """
    class_weight : "balanced" | dict | None
        Weights of the classes in the loss; a dict maps labels to weights.""",
        ).replace(
            "{attributes}",
            """
    classes_ : ndarray
        The labels.""",
        )
        + """
    Examples
    --------
    >>> from mne_specmoe import SpecMoEClassifier
    >>> from mne_specmoe.data.synthetic import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=12)
    >>> SpecMoEClassifier(max_epochs=2, random_state=0).fit(epochs, y).predict(epochs).shape
    (12,)
    """
    )

    def __init__(
        self,
        weights: Weights = "starter",
        *,
        n_experts: int = 3,
        layout: str | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        time_pooling: str = "mean",
        channel_pooling: str = "mean",
        gate_scale: str = "log",
        hidden: int | None = None,
        dropout: float = 0.2,
        unfreeze_epoch: int | None = None,
        max_epochs: int = 100,
        lr: float = 1e-3,
        expert_lr: float | None = None,
        weight_decay: float = 0.0,
        class_weight: str | dict | None = "balanced",
        validation_fraction: float | None = 0.2,
        patience: int | None = 20,
        group_column: str | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        callbacks: list | None = None,
        verbose: int = 0,
        random_state=None,
    ):
        self.weights = weights
        self.n_experts = n_experts
        self.layout = layout
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.time_pooling = time_pooling
        self.channel_pooling = channel_pooling
        self.gate_scale = gate_scale
        self.hidden = hidden
        self.dropout = dropout
        self.unfreeze_epoch = unfreeze_epoch
        self.max_epochs = max_epochs
        self.lr = lr
        self.expert_lr = expert_lr
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.group_column = group_column
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state


class SpecMoERegressor(_SpecMoEPredictor, Regressor):
    __doc__ = """Predict a number from EEG epochs: experts, spectral gate, and a head trained with the squared error.

    The target is standardised for training, and predictions come in its own units.
""" + _PREDICTOR_PARAMETERS.replace("{extra}", "").replace("{attributes}", "")

    def __init__(
        self,
        weights: Weights = "starter",
        *,
        n_experts: int = 3,
        layout: str | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        time_pooling: str = "mean",
        channel_pooling: str = "mean",
        gate_scale: str = "log",
        hidden: int | None = None,
        dropout: float = 0.2,
        unfreeze_epoch: int | None = None,
        max_epochs: int = 100,
        lr: float = 1e-3,
        expert_lr: float | None = None,
        weight_decay: float = 0.0,
        validation_fraction: float | None = 0.2,
        patience: int | None = 20,
        group_column: str | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        callbacks: list | None = None,
        verbose: int = 0,
        random_state=None,
    ):
        self.weights = weights
        self.n_experts = n_experts
        self.layout = layout
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.time_pooling = time_pooling
        self.channel_pooling = channel_pooling
        self.gate_scale = gate_scale
        self.hidden = hidden
        self.dropout = dropout
        self.unfreeze_epoch = unfreeze_epoch
        self.max_epochs = max_epochs
        self.lr = lr
        self.expert_lr = expert_lr
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.group_column = group_column
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
