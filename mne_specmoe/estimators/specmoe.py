"""SpecMoE as scikit-learn estimators."""

from collections.abc import Sequence

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.data.locations import channel_locations
from mne_specmoe.estimators._base import Classifier, Featurizer, Regressor
from mne_specmoe.estimators.weights import Weights, check_weights, specmoe_experts
from mne_specmoe.models.specmoe.config import LAYOUTS
from mne_specmoe.models.specmoe.mixture import GATE_SCALES, PARTS, SpecMoE
from mne_specmoe.models.specmoe.network import STAGES
from mne_specmoe.nn.activations import check_readout
from mne_specmoe.nn.heads import POOLINGS
from mne_specmoe.nn.parts import check_parts

READOUT = ("embedding.mean", "down1.log_std")
"""What is taken of the experts unless told otherwise."""

N_COMPONENTS = 16
"""Principal components that stand for it. More drown the other parts in a plain linear model of few epochs."""

DEFAULT_PARTS = ("experts", "amplitude", "spectrum", "covariance", "evoked")
"""Parts that are used unless told otherwise; powers of single channels did not help in selection."""


class _SpecMoE:
    """What the estimators add to the shells of `_base`: experts, and where the channels are."""

    def _check_experts_parameters(self) -> None:
        """Parameters that choose experts and parts."""
        check_weights(self.weights)
        check_number("n_experts", self.n_experts, minimum=1, integer=True)
        check_option("layout", self.layout, (*LAYOUTS, None))
        check_parts(self.parts, PARTS)
        check_readout(self.readout, STAGES)
        if self.n_components is not None:
            check_number("n_components", self.n_components, minimum=1, integer=True)

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
            n_components=self.n_components,
            channel_pooling=self.channel_pooling,
            locations=None if self.locations_ is None else _plain_places(self.locations_),
            **options,
        )


def _plain_places(locations: np.ndarray) -> tuple[tuple[float, ...] | None, ...]:
    """Places as numbers of Python, None where they are not known."""
    return tuple(tuple(map(float, place)) if np.isfinite(place).all() else None for place in locations)


class SpecMoEFeaturizer(_SpecMoE, Featurizer):
    """Features of EEG epochs: statistics of frozen SpecMoE experts, and what the signal itself says.

    Parameters
    ----------
    weights : "starter" | path-like | list of path-like | untrained(...) | None
        ``"starter"``: the three small experts that come with the package. Or files: a SpecMoE, experts, or one expert
        per file; ours (``.safetensors``) or published (``.pth``). ``untrained(...)`` of these: random experts of their
        architecture; None: random experts of the starter's, both with an `UntrainedWarning`.
    n_experts : int
        Number of random experts. Without effect unless ``weights=None``: others bring their own number.
    layout : {"channelwise", "published"} | None
        Arithmetic of random experts, see `mne_specmoe.models.specmoe.network.SpecHiNetConfig`; None is that of the
        starter. Trained ones bring their own (``"starter"``: ``"channelwise"``), and another is an error.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    parts : sequence of str
        What features are made of. ``"experts"``: statistics of the experts, see `readout`; ``"amplitude"``: log root
        mean square per channel; ``"power"``: log power per channel in 21 bands, relative to all; ``"spectrum"``: log
        power spectrum from 1 to 45 Hz, averaged over channels; ``"covariance"``: covariances between channels in eight
        bands, in the tangent space at the mean of the training epochs, which is what tells left from right;
        ``"evoked"``: slow time courses of the channels, in epochs of up to 2 s. Parts that the epochs are too short or
        too long for step aside: `left_out_` says why.
    readout : sequence of str
        What is taken of the experts: stage and statistic, such as ``"down1.log_std"``. Stages, in order of depth:
        ``down1``, ``down2``, ``attention1``, ``down3``, ``bottom1``, ``attention2``, ``embedding``. Statistics over
        time: ``mean``, ``max``, ``log_std``; and ``covariance``, between channels, in the tangent space.
    n_components : int | None
        How many principal components of the training epochs, each statistic standardised, stand for what is taken of
        the experts, which says the same many times over; None takes the statistics themselves. Without effect on
        ``covariance``.
    channel_pooling : {"mean", "max"} | None
        How channels become one in statistics of the experts; None keeps them apart.
    center_by : str | True | None
        Column of the epochs' metadata that says whom an epoch is of, such as ``"subject"``: every person is centred by
        their own mean, without labels, covariances by their Riemannian mean; or True for the groups that methods are
        given. This is transductive: it uses the unlabelled epochs to be predicted, so give all of a person at once.
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
    parts_ : tuple of str
        The parts that there are.
    left_out_ : dict of str to str
        Parts that were asked for and could not be had, and why.
    experts_ : torch.nn.ModuleList
        The encoders.
    network_ : SpecMoE
        What computes the parts; its readout is not trained.
    locations_ : ndarray, shape (n_channels, 3) | None
        Where the channels are (m, head coordinates), NaN where that is not known; None for arrays without names.
    is_centered_ : bool
        Whether people are centred.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it. Epochs of another length, or of some of the channels, are taken
        where all parts can do with them: ``parts=("experts",)`` with pooled channels, and ``"spectrum"``, can.

    Examples
    --------
    >>> from mne_specmoe import SpecMoEFeaturizer
    >>> from mne_specmoe.data.synthetic import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=8)
    >>> featurizer = SpecMoEFeaturizer(parts=("spectrum", "covariance"))
    >>> featurizer.fit_transform(epochs).shape
    (8, 1609)
    >>> featurizer.get_feature_names_out()[-1]
    'covariance_30-45Hz_Pz_Pz'
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
        parts: Sequence[str] = DEFAULT_PARTS,
        readout: Sequence[str] = READOUT,
        n_components: int | None = N_COMPONENTS,
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
        self.n_components = n_components
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

    @property
    def _learns_toys(self) -> bool:
        return super()._learns_toys and self.layout == "published"  # others see signals relative to their amplitude

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
    weights : "starter" | path-like | list of path-like | untrained(...) | None
        ``"starter"``: the three small experts that come with the package. Or files: a SpecMoE, of which only the
        experts are taken, experts, or one expert per file; ours (``.safetensors``) or published (``.pth``).
        ``untrained(...)`` of these: random experts of their architecture; None: random experts of the starter's, both
        with an `UntrainedWarning`.
    n_experts : int
        Number of random experts. Without effect unless ``weights=None``: others bring their own number.
    layout : {"channelwise", "published"} | None
        Arithmetic of random experts; None is that of the starter. Trained ones bring their own (``"starter"``:
        ``"channelwise"``), and another is an error.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    parts : sequence of str
        What the head reads. ``"experts"``: what the experts say; ``"amplitude"``: log root mean square per channel;
        ``"power"``: log power per channel in 21 bands, relative to all; ``"spectrum"``: log power spectrum from 1 to 45
        Hz, averaged over channels; ``"covariance"``: covariances between channels in eight bands, in the tangent space
        at the mean of the training epochs, which is what tells left from right; ``"evoked"``: slow time courses of the
        channels, in epochs of up to 2 s. Parts that the epochs are too short or too long for step aside: `left_out_`
        says why.
    readout : sequence of str
        What a solved head takes of the experts: stage and statistic, such as ``"down1.log_std"``. Stages, in order of
        depth: ``down1``, ``down2``, ``attention1``, ``down3``, ``bottom1``, ``attention2``, ``embedding``. Statistics
        over time: ``mean``, ``max``, ``log_std``; and ``covariance``, between channels, in the tangent space.
    n_components : int | None
        How many principal components of the training epochs, each statistic standardised, stand for what is taken of
        the experts, which says the same many times over; None takes the statistics themselves. Without effect on
        ``covariance`` and with ``head="mlp"``.
    channel_pooling : {"mean", "max"} | None
        How channels become one in statistics of the experts; None keeps
        them apart, which only a solved head can.
    center_by : str | True | None
        Column of the epochs' metadata that says whom an epoch is of, such as ``"subject"``: every person is centred by
        their own mean, without labels, covariances by their Riemannian mean; or True for the groups that methods are
        given. This is transductive: it uses the unlabelled epochs to be predicted, so give all of a person at once.
    head : {"{solved}", "mlp"}
        ``"{solved}"``: {solution} of the standardised features of each part by itself, whose penalty is chosen by five
        inner folds (of whole groups, if there are groups; else of neighbouring epochs); what the parts say of epochs
        that they have not seen then decides how much each counts. All of it together is one linear layer. ``"mlp"``: a
        gate per expert, which reads the spectrum of a channel, weighs the embedding of that channel, and a layer of
        hidden units reads the weighed experts and the other parts; both are trained by Adam.
    time_pooling : {"mean", "max"}
        With ``head="mlp"``: how the tokens of an expert become one vector per channel.
    gate_scale : {"log", "power", "none"}
        With ``head="mlp"``: what the gate reads, log power standardised per frequency on the training part, power as
        published, or nothing.
    hidden : int | None
        With ``head="mlp"``: its hidden units (None: 128 per expert, as published).
    dropout : float
        With ``head="mlp"``: dropout probability.
    unfreeze_epoch : int | None
        Training epoch from which the experts train too; a solved head is there from the start, and is trained with
        them. None: they stay frozen, and run only once.
    max_epochs : int
        Most passes over the training part; a solved head stands for the first `unfreeze_epoch` of them.
    lr, expert_lr : float
        Learning rates of gate and head, and of the experts (None: the same).
    weight_decay : float
        Of Adam.{extra}
    validation_fraction : float | None
        Share of the training data that is set aside to choose the best weights. None: train on everything, for
        `max_epochs`. Nothing is set aside for a solved head with frozen experts.
    patience : int | None
        Training stops after so many epochs without a better validation loss. None: it does not stop early.
    group_column : str | None
        Column of the epochs' metadata whose values, such as subjects, validation split and inner folds keep together.
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
    parts_ : tuple of str
        The parts that there are.
    left_out_ : dict of str to str
        Parts that were asked for and could not be had, and why.
    shares_, strengths_ : dict of str to float
        Of a solved head: how much of its outputs is of each part (in the inner folds; they add up to 1), and how much
        the epochs counted against its penalty.
    history_ : list of dict
        Per training epoch: epoch, train_loss, valid_loss, lr, experts_frozen. A solved head is one entry, whose
        valid_loss is that of the inner folds if nothing was set aside, and whose lr is None.
    network_ : SpecMoE
        The trained network, with the best weights: complete, so it can be stored (`mne_specmoe.save_specmoe`).
    net_ : skorch.NeuralNet | None
        The net of the last training phase; None if nothing was trained.
    locations_ : ndarray, shape (n_channels, 3) | None
        Where the channels are (m, head coordinates), NaN where that is not known; None for arrays without names.
    is_centered_ : bool
        Whether people are centred.
    validation_indices_ : ndarray | None
        Which epochs of `fit` were set aside.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it.
"""


class SpecMoEClassifier(_SpecMoEPredictor, Classifier):
    _solved_head = "logistic"
    __doc__ = (
        """Classify EEG epochs by SpecMoE experts and by what the signal itself says; classes are weighed.
"""
        + _PREDICTOR_PARAMETERS.replace("{solved}", "logistic")
        .replace("{solution}", "logistic regressions")
        .replace(
            "{extra}",
            """
    class_weight : "balanced" | dict | None
        Weights of the classes in the loss; a dict maps labels to weights.""",
        )
        .replace(
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
    >>> SpecMoEClassifier().fit(epochs, y).predict(epochs).shape
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
        parts: Sequence[str] = DEFAULT_PARTS,
        readout: Sequence[str] = READOUT,
        n_components: int | None = N_COMPONENTS,
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
        self.n_components = n_components
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
    __doc__ = """Predict a number from EEG epochs, by SpecMoE experts and by what the signal itself says.

    The target is standardised for training, and predictions come in its own units.
""" + _PREDICTOR_PARAMETERS.replace("{solved}", "ridge").replace("{solution}", "ridge regressions").replace(
        "{extra}", ""
    ).replace("{attributes}", "")

    def __init__(
        self,
        weights: Weights = "starter",
        *,
        n_experts: int = 3,
        layout: str | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        parts: Sequence[str] = DEFAULT_PARTS,
        readout: Sequence[str] = READOUT,
        n_components: int | None = N_COMPONENTS,
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
        self.n_components = n_components
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
