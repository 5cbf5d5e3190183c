"""SpecMoE as scikit-learn estimators."""

from collections.abc import Sequence

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.data.locations import channel_locations
from mne_specmoe.estimators._base import Classifier, Featurizer, Regressor
from mne_specmoe.estimators.weights import Weights, check_weights, specmoe_experts
from mne_specmoe.models.specmoe.mixture import GATE_SCALES, PARTS, STAGE_WIDTHS, SpecMoE
from mne_specmoe.models.specmoe.network import LAYOUTS
from mne_specmoe.nn.activations import check_readout
from mne_specmoe.nn.heads import POOLINGS
from mne_specmoe.nn.parts import check_parts

READOUT = ("embedding.mean", "down1.log_std")
"""What is taken of the experts unless told otherwise."""

ALL_PARTS = PARTS
"""Parts that are used unless told otherwise."""


class _SpecMoE:
    """What the estimators add to the shells of `_base`: experts, and where the channels are."""

    def _check_experts_parameters(self) -> None:
        """Parameters that choose experts and parts."""
        check_weights(self.weights)
        check_number("n_experts", self.n_experts, minimum=1, integer=True)
        check_option("layout", self.layout, (*LAYOUTS, None))
        check_parts(self.parts, PARTS)
        check_readout(self.readout, tuple(STAGE_WIDTHS))

    def _look_at_channels(self, X: object) -> None:
        """Find out where channels are; nowhere if they have no names."""
        self.locations_ = None if self.ch_names_ is None else channel_locations(X, self.ch_names_)

    def _network(self, n_outputs: int, n_times: int, **options) -> SpecMoE:
        """A network with the parts that were chosen."""
        return SpecMoE(
            n_outputs,
            self.n_channels_,
            n_times,
            experts=specmoe_experts(self.weights, self.n_experts, self.layout),
            parts=self.parts_,
            readout=tuple(self.readout),
            channel_pooling=self.channel_pooling,
            n_evoked=self.n_evoked_,
            locations=None if self.locations_ is None else _plain_places(self.locations_),
            **options,
        )


def _plain_places(locations: np.ndarray) -> tuple[tuple[float, ...] | None, ...]:
    """Places as numbers of Python, None where they are not known."""
    return tuple(tuple(map(float, place)) if np.isfinite(place).all() else None for place in locations)


class SpecMoEFeaturizer(_SpecMoE, Featurizer):
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
        parts: Sequence[str] = ALL_PARTS,
        readout: Sequence[str] = READOUT,
        channel_pooling: str | None = "mean",
        center_by: str | bool | None = None,
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
        self.parts = parts
        self.readout = readout
        self.channel_pooling = channel_pooling
        self.center_by = center_by
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        self._check_experts_parameters()
        check_option("channel_pooling", self.channel_pooling, (*POOLINGS, None))

    def _make_network(self, n_outputs: int, n_times: int) -> SpecMoE:
        return self._network(n_outputs, n_times, head="linear")

    @property
    def experts_(self) -> nn.ModuleList:
        """The encoders."""
        return self.network_.experts


class _SpecMoEPredictor(_SpecMoE):
    """What classifier and regressor add to the shells of `_base`: gates, parameters and network of SpecMoE."""

    def gate_weights(self, X, groups=None) -> np.ndarray:
        """How far the gate opens, on average over an expert's 128 features.

        Parameters
        ----------
        X : mne.Epochs | list of mne.Epochs | array-like
            Epochs with the channels of fit.
        groups : array-like of shape (n_epochs,) | str | None
            Whom each epoch is of, if people are centred; gates do not depend on it.

        Returns
        -------
        weights : ndarray, shape (n_epochs, n_channels, n_experts)
            In (0, 1). Channels in the order of ``ch_names_``.
        """
        check_is_fitted(self)
        if self.network_.config.head == "linear":
            raise ValueError(
                f"head={self.head!r} has no gate: one linear layer reads all parts. Fit with head='mlp' for one."
            )

        def mean_gate(embedding: Tensor, psd: Tensor, features: Tensor | None = None) -> Tensor:
            return self.network_.readout.gate(psd).mean(-1).transpose(1, 2)

        return self._readout(X, mean_gate, groups)

    def _check_parameters(self) -> None:
        self._check_experts_parameters()
        check_option("head", self.head, (self._solved_head, "mlp"))
        unpooled = () if self.head == "mlp" else (None,)
        check_option("channel_pooling", self.channel_pooling, (*POOLINGS, *unpooled))
        check_option("time_pooling", self.time_pooling, tuple(POOLINGS))
        check_option("gate_scale", self.gate_scale, GATE_SCALES)
        check_number("dropout", self.dropout, minimum=0.0, maximum=0.999)
        if self.hidden is not None:
            check_number("hidden", self.hidden, minimum=1, integer=True)
        if self.head == "mlp" and "experts" not in self.parts:
            raise ValueError(f"head='mlp' weighs experts, so parts needs 'experts', got {tuple(self.parts)!r}.")
        if self.center_by is not None and self._fine_tunes:
            raise ValueError(
                "Experts cannot train while people are centred: leave unfreeze_epoch or center_by at None."
            )

    def _make_network(self, n_outputs: int, n_times: int) -> SpecMoE:
        return self._network(
            n_outputs,
            n_times,
            head="mlp" if self.head == "mlp" else "linear",
            time_pooling=self.time_pooling,
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
    _solved_head = "logistic"
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
        parts: Sequence[str] = ALL_PARTS,
        readout: Sequence[str] = READOUT,
        channel_pooling: str | None = "mean",
        center_by: str | bool | None = None,
        head: str = "logistic",
        time_pooling: str = "mean",
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
        self.parts = parts
        self.readout = readout
        self.channel_pooling = channel_pooling
        self.center_by = center_by
        self.head = head
        self.time_pooling = time_pooling
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
    _solved_head = "ridge"
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
        parts: Sequence[str] = ALL_PARTS,
        readout: Sequence[str] = READOUT,
        channel_pooling: str | None = "mean",
        center_by: str | bool | None = None,
        head: str = "ridge",
        time_pooling: str = "mean",
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
        self.parts = parts
        self.readout = readout
        self.channel_pooling = channel_pooling
        self.center_by = center_by
        self.head = head
        self.time_pooling = time_pooling
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
