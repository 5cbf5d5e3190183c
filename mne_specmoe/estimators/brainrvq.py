"""BrainRVQ as scikit-learn estimators."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mne_specmoe._validation import check_number, check_option, warn_caller
from mne_specmoe.data.locations import channel_locations, standard_positions
from mne_specmoe.estimators._base import Classifier, Featurizer, Regressor
from mne_specmoe.estimators._training import Schedule
from mne_specmoe.estimators.weights import Weights, brainrvq_encoder, check_weight
from mne_specmoe.models.brainrvq.channels import ALIASES, ON_UNKNOWN, channel_rows, unnamed_rows
from mne_specmoe.models.brainrvq.downstream import (
    NORM_STARTS,
    PARTS,
    POOLINGS,
    BrainRVQDownstream,
    check_dropouts,
    n_whole_seconds,
    with_own_row,
)
from mne_specmoe.models.brainrvq.network import BrainRVQEncoder
from mne_specmoe.nn.parts import check_parts

DEFAULT_PARTS = ("encoder", "amplitude", "spectrum", "covariance", "evoked")
"""Parts that are used unless told otherwise; powers of single channels did not help in selection."""

_LINEAR_POOLINGS = ("mean", "cls", None)


class _BrainRVQ:
    """What the estimators add to the shells of `_base`: an encoder, and the rows of its table for the channels."""

    _pretrained = "encoder"

    def _check_encoder_parameters(self) -> None:
        """Parameters that choose encoder and rows."""
        check_weight(self.weights)
        check_parts(self.parts, PARTS)
        check_number("depth", self.depth, minimum=1, integer=True)
        check_option("parity", self.parity, (True, False, None))
        check_option("aliases", self.aliases, ALIASES)
        check_option("on_unknown", self.on_unknown, ON_UNKNOWN)

    def _look_at_channels(self, X: object) -> None:
        """Find out where channels are if their names may not tell; say so if nothing does."""
        self.locations_ = None
        is_table = hasattr(self, "n_features_in_")  # 2-D, so one channel: it is nowhere in relation to others
        if self.ch_names_ is None and not is_table:
            _warn_unnamed()
        elif self.ch_names_ is not None and self.on_unknown == "nearest":
            self.locations_ = channel_locations(X, self.ch_names_)

    def _get_encoder(self) -> BrainRVQEncoder:
        """Load the encoder, or make a random one and say so, and look up the channels in its table."""
        encoder = brainrvq_encoder(self.weights, self.depth, self.parity)
        self.rows_ = self._find_rows(encoder.trunk.trained_rows).numpy()
        return with_own_row(encoder)

    def _network(self, n_outputs: int, n_times: int, **options) -> BrainRVQDownstream:
        """A network with the parts that were chosen."""
        encoder = self._get_encoder()
        return BrainRVQDownstream(
            n_outputs,
            self.n_channels_,
            n_whole_seconds(n_times),
            pooling=self.pooling or "channels",
            parts=self.parts_,
            n_times=n_times,
            ch_names=torch.as_tensor(self.rows_),
            encoder=encoder,
            **options,
        )

    def _find_rows(self, trained: Tensor) -> Tensor:
        """Rows of the channels, (1 + n_channels,)."""
        if self.ch_names_ is None:
            return unnamed_rows(self.n_channels_)
        found = channel_rows(
            self.ch_names_,
            aliases=self.aliases,
            on_unknown=self.on_unknown,
            locations=self.locations_,
            positions=None if self.locations_ is None else standard_positions(),
            trained=trained if trained.any() else None,
        )
        return found.rows


def _warn_unnamed() -> None:
    """Say that places are unknown."""
    warn_caller(
        "X has no channel names, so the encoder cannot know where its channels are: to it, they are all at one place. "
        "Name them with ch_names, or pass mne.Epochs."
    )


class BrainRVQFeaturizer(_BrainRVQ, Featurizer):
    """Features of EEG epochs: tokens of a frozen BrainRVQ encoder, and what the signal itself says.

    Parameters
    ----------
    weights : "brainrvq-starter" | path-like | untrained(...) | None
        ``"brainrvq-starter"``: the small encoder that comes with the package. Or a file, of a pretraining network or a
        fine-tuned one, of which only the encoder is taken; ours (``.safetensors``) or published (``.pth``).
        ``untrained(...)`` of these: a random encoder of their architecture; None: a random one of `depth` blocks, both
        with an `UntrainedWarning`.
    depth : int
        Blocks of a random encoder. Without effect unless ``weights=None``: a trained one brings its own.
    parity : bool | None
        Whether to compute as published, where normalisation lets a patch depend on all others of its epoch. None: as
        the file was trained, and random encoders False. See `mne_specmoe.loaders.brainrvq.load_encoder`.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use. Arrays without names are taken with a warning:
        the encoder does not know where their channels are.
    parts : sequence of str
        What features are made of. ``"encoder"``: pooled tokens of the encoder; ``"amplitude"``: log root mean square
        per channel; ``"power"``: log power per channel in 21 bands, relative to all; ``"spectrum"``: log power spectrum
        from 1 to 45 Hz, averaged over channels; ``"covariance"``: covariances between channels in eight bands, in the
        tangent space at the mean of the training epochs, which is what tells left from right; ``"evoked"``: slow time
        courses of the channels, in epochs of up to 2 s. Parts that the epochs are too short or too long for step aside:
        `left_out_` says why.
    pooling : {"mean", "cls", None}
        What becomes of the tokens: the mean over all seconds of all channels, or the class token (200 features each);
        or None, which keeps channels apart, each the mean over its seconds (200 features per channel). The encoder's
        last norm follows.
    center_by : str | True | None
        Column of the epochs' metadata that says whom an epoch is of, such as ``"subject"``: every person is centred by
        their own mean, without labels, covariances by their Riemannian mean; or True for the groups that methods are
        given. This is transductive: it uses the unlabelled epochs to be predicted, so give all of a person at once.
    aliases : {"10-20", "none"}
        Whether T3 and T7 are one electrode, and so T4 and T8, T5 and P7, T6 and P8, or, as published, different ones.
    on_unknown : {"error", "nearest"}
        Whether a channel that the encoder has no row for is an error, or takes that of the nearest electrode. Places
        are those of the Epochs' montage, else of the channels' names in the 10-05 system.
    batch_size : int
        Most epochs in one pass through the encoder.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision : {"float32", "bf16"}
        Precision of the encoder.
    verbose : int
        1 shows a progress bar.
    random_state : int | RandomState | Generator | None
        Seed of a random encoder.

    Attributes
    ----------
    parts_ : tuple of str
        The parts that there are.
    left_out_ : dict of str to str
        Parts that were asked for and could not be had, and why.
    encoder_ : BrainRVQEncoder
        The encoder.
    network_ : BrainRVQDownstream
        What computes the parts; its readout is not trained.
    is_centered_ : bool
        Whether people are centred.
    rows_ : ndarray of int, shape (1 + n_channels,)
        Rows of the encoder's table of places: that of the class token, then the channels'; -1 where it is unknown.
    locations_ : ndarray, shape (n_channels, 3) | None
        Where the channels are (m, head coordinates), if `on_unknown` is ``"nearest"``.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it.

    Notes
    -----
    Epochs or arrays are (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel; features are float32,
    (n_epochs, n_features).

    The encoder reads whole seconds, at least one: less than half a second at the end of epochs is cut off (epochs of
    MNE hold their last time point, and 801 samples are 4 s), a longer rest is filled up with zeros. Longer ones than
    30 s are cut into the fewest windows of nearly equal length, and what is pooled of these is averaged, weighted by
    length. Other parts read all samples as they are.

    Unless `parity` is True, each second of each channel is normalised by itself, which leaves little of its amplitude.

    Source: Cui, Chen, Jiao, Wang, Xie, Pan, Mainardi, arXiv:2602.16951.

    Examples
    --------
    >>> import warnings
    >>> from mne_specmoe.data.synthetic import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=8)
    >>> with warnings.catch_warnings(action="ignore"):  # that the encoder is random
    ...     featurizer = BrainRVQFeaturizer(weights=None, depth=1, parts=("encoder",), random_state=0).fit(epochs)
    >>> featurizer.transform(epochs).shape
    (8, 200)
    """

    def __init__(
        self,
        weights: Weights = "brainrvq-starter",
        *,
        depth: int = 12,
        parity: bool | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        parts: Sequence[str] = DEFAULT_PARTS,
        pooling: str | None = "mean",
        center_by: str | bool | None = None,
        aliases: str = "10-20",
        on_unknown: str = "error",
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        verbose: int = 0,
        random_state=None,
    ):
        self.weights = weights
        self.depth = depth
        self.parity = parity
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.parts = parts
        self.pooling = pooling
        self.center_by = center_by
        self.aliases = aliases
        self.on_unknown = on_unknown
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        self._check_encoder_parameters()
        check_option("pooling", self.pooling, _LINEAR_POOLINGS)

    def _make_network(self, n_outputs: int, n_times: int) -> BrainRVQDownstream:
        return self._network(n_outputs, n_times, head="linear")

    @property
    def encoder_(self) -> BrainRVQEncoder:
        """The encoder; its last norm is that of ``network_.readout``."""
        return self.network_.encoder


class _BrainRVQPredictor(_BrainRVQ):
    """What classifier and regressor add to the shells of `_base`: parameters and network of BrainRVQ."""

    _pretrained_lr = "encoder_lr"

    def _check_parameters(self) -> None:
        self._check_encoder_parameters()
        check_option("head", self.head, (self._solved_head, "trained"))
        check_option("pooling", self.pooling, POOLINGS if self.head == "trained" else _LINEAR_POOLINGS)
        self._check_no_centred_training()
        check_option("norm_start", self.norm_start, NORM_STARTS)
        check_dropouts(self.dropouts)
        check_number("layer_decay", self.layer_decay, minimum=0.0, maximum=1.0, strict=True)
        if self.hidden is not None:
            check_number("hidden", self.hidden, minimum=1, integer=True)

    def _make_network(self, n_outputs: int, n_times: int) -> BrainRVQDownstream:
        return self._network(
            n_outputs,
            n_times,
            head="trained" if self.head == "trained" else "linear",
            hidden=self.hidden,
            dropouts=self.dropouts,
            norm_start=self.norm_start,
        )

    def _needs_channels(self) -> str | None:
        if self.network_.config.pooling == "flatten":
            return "the head of all tokens"
        return super()._needs_channels()

    def _needs_length(self, n_times: int) -> str | None:
        if self.network_.config.pooling == "flatten":
            return "the head of all tokens"
        return super()._needs_length(n_times)

    def _learning_rates(self, network: BrainRVQDownstream, schedule: Schedule) -> dict[str, float]:
        scales = network.layer_scales(self.layer_decay)
        encoder = {pattern: schedule.expert_lr * scale for pattern, scale in scales.items()}
        return {"readout.*": schedule.lr} | encoder


class _SmoothedCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy whose labels are smooth in training alone, so that validation compares with the true ones."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        smoothing = self.label_smoothing if self.training else 0.0
        return nn.functional.cross_entropy(logits, target, weight=self.weight, label_smoothing=smoothing)


_PREDICTOR_PARAMETERS = """
    Parameters
    ----------
    weights : "brainrvq-starter" | path-like | untrained(...) | None
        ``"brainrvq-starter"``: the small encoder that comes with the package. Or a file, of a pretraining network or a
        fine-tuned one, of which only the encoder is taken; ours (``.safetensors``) or published (``.pth``).
        ``untrained(...)`` of these: a random encoder of their architecture; None: a random one of `depth` blocks, both
        with an `UntrainedWarning`.
    depth : int
        Blocks of a random encoder. Without effect unless ``weights=None``: a trained one brings its own.
    parity : bool | None
        Whether to compute as published, where normalisation lets a patch depend on all others of its epoch. None: as
        the file was trained, and random encoders False. See `mne_specmoe.loaders.brainrvq.load_encoder`.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs. Everything is resampled to 200 Hz.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : list of str | None
        Names of the channels of arrays; for Epochs, the channels to use. Arrays without names are taken with a warning:
        the encoder does not know where their channels are.
    parts : sequence of str
        What the head reads. ``"encoder"``: pooled tokens of the encoder; ``"amplitude"``: log root mean square per
        channel; ``"power"``: log power per channel in 21 bands, relative to all; ``"spectrum"``: log power spectrum
        from 1 to 45 Hz, averaged over channels; ``"covariance"``: covariances between channels in eight bands, in the
        tangent space at the mean of the training epochs, which is what tells left from right; ``"evoked"``: slow time
        courses of the channels, in epochs of up to 2 s. Parts that the epochs are too short or too long for step aside:
        `left_out_` says why.
    pooling : {"mean", "cls", None, "flatten"}
        What becomes of the tokens: the mean over all seconds of all channels; the class token; only with a solved
        head, None, which keeps channels apart; or, only with a trained one, all tokens, which binds it to 30 s at most.
    center_by : str | True | None
        Column of the epochs' metadata that says whom an epoch is of, such as ``"subject"``: every person is centred by
        their own mean, without labels, covariances by their Riemannian mean; or True for the groups that methods are
        given. This is transductive: it uses the unlabelled epochs to be predicted, so give all of a person at once.
    head : {"{solved}", "trained"}
        ``"{solved}"``: {solution} of the standardised features of each part by itself, whose penalty is chosen by five
        inner folds (of whole groups, if there are groups; else of neighbouring epochs); what the parts say of epochs
        that they have not seen then decides how much each counts. All of it together is one linear layer.
        ``"trained"``: a norm and a head on the tokens, as published, and on the other parts; trained by Adam.
    aliases : {"10-20", "none"}
        Whether T3 and T7 are one electrode, and so T4 and T8, T5 and P7, T6 and P8, or, as published, different ones.
    on_unknown : {"error", "nearest"}
        Whether a channel that the encoder has no row for is an error, or takes that of the nearest electrode. Places
        are those of the Epochs' montage, else of the channels' names in the 10-05 system.
    hidden : int | None
        First width of the head of ``"flatten"`` (None: 200 per second, at least 800). The others are linear.
    dropouts : tuple of float, length 2
        Dropout probabilities of the head of ``"flatten"``.
    norm_start : {"pretrained", "fresh"}
        Whether the norm before the head begins as the encoder's last one, or afresh, as published.
    unfreeze_epoch : int | None
        Training epoch from which the encoder trains too; a solved head is there from the start, and is trained with it.
        None: it stays frozen, and runs only once.
    max_epochs : int
        Most passes over the training part; a solved head stands for the first `unfreeze_epoch` of them.
    lr, encoder_lr : float
        Learning rates of norm and head, and of the encoder (None: the same).
    layer_decay : float
        Factor of the encoder's learning rate from one block to the one before, in (0, 1]: block i of `depth` learns
        with ``encoder_lr * layer_decay ** (depth - i)``, embeddings with ``encoder_lr * layer_decay ** (depth + 1)``.
    weight_decay : float
        Of Adam.{extra}
    validation_fraction : float | None
        Share of the training data that is set aside to choose the best weights. None: train on everything, for
        `max_epochs`. Nothing is set aside for a solved head with a frozen encoder.
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
        Seed of a random encoder, validation split, initial head, dropout and shuffling.

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
        Per training epoch: epoch, train_loss, valid_loss, lr, experts_frozen (here: the encoder). A solved head is one
        entry, whose valid_loss is that of the inner folds if nothing was set aside, and whose lr is None.
    network_ : BrainRVQDownstream
        The trained network, with the best weights: complete, so it can be stored (`mne_specmoe.save_downstream`).
    net_ : skorch.NeuralNet | None
        The net of the last training phase; None if nothing was trained.
    is_centered_ : bool
        Whether people are centred.
    validation_indices_ : ndarray | None
        Which epochs of `fit` were set aside.
    rows_ : ndarray of int, shape (1 + n_channels,)
        Rows of the encoder's table of places: that of the class token, then the channels'; -1 where it is unknown.
    locations_ : ndarray, shape (n_channels, 3) | None
        Where the channels are (m, head coordinates), if `on_unknown` is ``"nearest"``.
    sfreq_, n_times_, n_channels_, ch_names_
        What `fit` saw; later data is matched with it.

    Notes
    -----
    Epochs or arrays are (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel.

    The encoder reads whole seconds, at least one: less than half a second at the end of epochs is cut off (epochs of
    MNE hold their last time point, and 801 samples are 4 s), a longer rest is filled up with zeros. Longer ones than
    30 s are cut into the fewest windows of nearly equal length, and what is pooled of these is averaged, weighted by
    length. Other parts read all samples as they are.

    Unless `parity` is True, each second of each channel is normalised by itself, which leaves little of its amplitude.

    Source: Cui, Chen, Jiao, Wang, Xie, Pan, Mainardi, arXiv:2602.16951.
"""


class BrainRVQClassifier(_BrainRVQPredictor, Classifier):
    _solved_head = "logistic"
    __doc__ = (
        """Classify EEG epochs by BrainRVQ's encoder and by what the signal itself says; classes are weighed.
"""
        + _PREDICTOR_PARAMETERS.replace("{solved}", "logistic")
        .replace("{solution}", "logistic regressions")
        .replace(
            "{extra}",
            """
    class_weight : "balanced" | dict | None
        Weights of the classes in the loss; a dict maps labels to weights.
    label_smoothing : float
        How much of every label is spread over all classes in training, in [0, 1). Neither in validation nor in a head
        that is solved for.""",
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
    >>> import warnings
    >>> from mne_specmoe.data.synthetic import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=12)
    >>> with warnings.catch_warnings(action="ignore"):  # that the encoder is random
    ...     classifier = BrainRVQClassifier(weights=None, depth=1, random_state=0).fit(epochs, y)
    >>> classifier.predict(epochs).shape
    (12,)
    """
    )

    def __init__(
        self,
        weights: Weights = "brainrvq-starter",
        *,
        depth: int = 12,
        parity: bool | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        parts: Sequence[str] = DEFAULT_PARTS,
        pooling: str | None = "mean",
        center_by: str | bool | None = None,
        head: str = "logistic",
        aliases: str = "10-20",
        on_unknown: str = "error",
        hidden: int | None = None,
        dropouts: tuple[float, float] = (0.1, 0.1),
        norm_start: str = "pretrained",
        unfreeze_epoch: int | None = None,
        max_epochs: int = 100,
        lr: float = 1e-3,
        encoder_lr: float | None = None,
        layer_decay: float = 0.9,
        weight_decay: float = 0.0,
        class_weight: str | dict | None = "balanced",
        label_smoothing: float = 0.1,
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
        self.depth = depth
        self.parity = parity
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.parts = parts
        self.pooling = pooling
        self.center_by = center_by
        self.head = head
        self.aliases = aliases
        self.on_unknown = on_unknown
        self.hidden = hidden
        self.dropouts = dropouts
        self.norm_start = norm_start
        self.unfreeze_epoch = unfreeze_epoch
        self.max_epochs = max_epochs
        self.lr = lr
        self.encoder_lr = encoder_lr
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.group_column = group_column
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    def _check_training_parameters(self) -> None:
        super()._check_training_parameters()
        check_number("label_smoothing", self.label_smoothing, minimum=0.0, maximum=0.999)

    def _criterion(self, target: Tensor) -> Callable[[], nn.Module]:
        weights = super()._criterion(target)().weight
        return lambda: _SmoothedCrossEntropy(weights, label_smoothing=self.label_smoothing)


class BrainRVQRegressor(_BrainRVQPredictor, Regressor):
    _solved_head = "ridge"
    __doc__ = """Predict a number from EEG epochs, by BrainRVQ's encoder and by what the signal itself says.

    The target is standardised for training, and predictions come in its own units.
""" + _PREDICTOR_PARAMETERS.replace("{solved}", "ridge").replace("{solution}", "ridge regressions").replace(
        "{extra}", ""
    ).replace("{attributes}", "")

    def __init__(
        self,
        weights: Weights = "brainrvq-starter",
        *,
        depth: int = 12,
        parity: bool | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        ch_names: Sequence[str] | None = None,
        parts: Sequence[str] = DEFAULT_PARTS,
        pooling: str | None = "mean",
        center_by: str | bool | None = None,
        head: str = "ridge",
        aliases: str = "10-20",
        on_unknown: str = "error",
        hidden: int | None = None,
        dropouts: tuple[float, float] = (0.1, 0.1),
        norm_start: str = "pretrained",
        unfreeze_epoch: int | None = None,
        max_epochs: int = 100,
        lr: float = 1e-3,
        encoder_lr: float | None = None,
        layer_decay: float = 0.9,
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
        self.depth = depth
        self.parity = parity
        self.sfreq = sfreq
        self.unit = unit
        self.ch_names = ch_names
        self.parts = parts
        self.pooling = pooling
        self.center_by = center_by
        self.head = head
        self.aliases = aliases
        self.on_unknown = on_unknown
        self.hidden = hidden
        self.dropouts = dropouts
        self.norm_start = norm_start
        self.unfreeze_epoch = unfreeze_epoch
        self.max_epochs = max_epochs
        self.lr = lr
        self.encoder_lr = encoder_lr
        self.layer_decay = layer_decay
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
