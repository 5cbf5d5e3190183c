"""SpecMoE: several experts on one signal, and a head that reads them and what the signal itself says.

Source: arXiv:2603.16739. Shapes in the comments: B batch, C channels, E experts, F frequencies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.specmoe.config import EMBED_DIM, LAYOUTS, SpecHiNetConfig
from mne_specmoe.models.specmoe.network import STAGES, SpecHiNet, SpecHiNetEncoder
from mne_specmoe.nn.activations import ActivationStatistics, check_readout
from mne_specmoe.nn.heads import POOLINGS, LinearHead, PredictionHead, Standardiser
from mne_specmoe.nn.parts import SIGNAL_PARTS, check_parts, part_features, signal_parts
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.cross_spectrum import BANDS
from mne_specmoe.signal.spectral import welch_psd

GATE_SCALES = ("log", "power", "none")
HEADS = ("mlp", "linear")
PARTS = ("experts", *SIGNAL_PARTS)
"""Parts of what a head can read, in the order of their features."""

_PSD_FLOOR = 1e-10  # (100 µV)²/Hz, far below any amplifier's noise: keeps the logarithm of a flat channel finite


@dataclass(frozen=True)
class SpecMoEConfig:
    """Everything that defines the architecture of a `SpecMoE`.

    Parameters
    ----------
    n_outputs : int
        Number of classes, or 1 for regression.
    n_times : int
        Samples per epoch at 200 Hz, before padding. It sets the resolution of the gate's spectrum: 0.5 Hz from 400
        samples on, 1 Hz below.
    n_experts : int
        Number of experts.
    layout : {"channelwise", "published"}
        See `SpecHiNetConfig`.
    time_pooling, channel_pooling : {"mean", "max"}
        How an expert's tokens become one vector per channel, and channels one vector per epoch.
    gate_scale : {"log", "power", "none"}
        What the gate reads: log10 of the power spectrum, standardised per frequency; the spectrum as it is, as
        published; or nothing (every gate is 1).
    hidden : int | None
        Width of the prediction head (None: 128 per expert).
    dropout : float
        Dropout probability of head and experts.
    amplitude : {"absolute", "relative"} | None
        Of the experts, see `SpecHiNetConfig`.
    head : {"mlp", "linear"}
        What reads the parts. ``"mlp"``: gates weigh the experts' embeddings, as published, and a network of one hidden
        layer reads them and the other parts. ``"linear"``: one linear layer on statistics of the experts' stages and
        on the other parts, all standardised; there is no gate.
    parts : tuple of str
        What the head reads, of `PARTS`.
    readout : tuple of str
        What is taken of the experts where the head is linear, see `mne_specmoe.nn.activations.ActivationStatistics`.
    n_components : int | None
        How many principal components stand for what is taken of the experts where the head is linear; None: none do.
    n_chans : int | None
        Number of channels; needed unless the head reads nothing but experts whose channels are pooled.
    bands : tuple of (float, float)
        Frequency bands of covariances in Hz.
    locations : tuple of (float, float, float) | None
        Where the channels are, in metres in head coordinates; None where a channel's place is not known.
    expert : SpecHiNetConfig | mapping | None
        Architecture of the experts; a mapping of its fields, as it stands in files, becomes one. None: the default one
        of this layout, dropout and amplitude, which are the given one's otherwise.
    """

    n_outputs: int
    n_times: int
    n_experts: int = 3
    layout: str = "channelwise"
    time_pooling: str = "mean"
    channel_pooling: str | None = "mean"
    gate_scale: str = "log"
    hidden: int | None = None
    dropout: float = 0.2
    amplitude: str | None = None
    head: str = "mlp"
    parts: tuple[str, ...] = ("experts",)
    readout: tuple[str, ...] = ("embedding.mean",)
    n_components: int | None = None
    n_chans: int | None = None
    bands: tuple[tuple[float, float], ...] = BANDS
    locations: tuple[tuple[float, float, float] | None, ...] | None = None
    expert: SpecHiNetConfig | None = None

    def __post_init__(self):
        for name in ("parts", "readout", "bands", "locations"):  # JSON has lists only
            object.__setattr__(self, name, _as_tuples(getattr(self, name)))
        for name in ("n_outputs", "n_times", "n_experts"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        if self.hidden is not None:
            check_number("hidden", self.hidden, minimum=1, integer=True)
        if self.n_components is not None:
            check_number("n_components", self.n_components, minimum=1, integer=True)
        check_option("layout", self.layout, LAYOUTS)
        check_option("time_pooling", self.time_pooling, tuple(POOLINGS))
        check_option("head", self.head, HEADS)
        unpooled = (None,) if self.head == "linear" else ()
        check_option("channel_pooling", self.channel_pooling, (*POOLINGS, *unpooled))
        check_option("gate_scale", self.gate_scale, GATE_SCALES)
        self._set_expert()
        check_parts(self.parts, PARTS)
        check_readout(self.readout, STAGES)
        if set(self.parts) - {"experts"} and self.n_chans is None:
            raise ValueError(f"parts={self.parts!r} need n_chans, since they keep channels apart.")

    def _set_expert(self) -> None:
        """Make the architecture of the experts and its shorthands agree."""
        expert = self.expert
        if expert is None:
            expert = SpecHiNetConfig(self.layout, self.dropout, self.amplitude)
        elif isinstance(expert, Mapping):
            expert = SpecHiNetConfig(**expert)
        for name, value in {"expert": expert, "layout": expert.layout, "amplitude": expert.amplitude}.items():
            object.__setattr__(self, name, value)

    @property
    def n_per_segment(self) -> int:
        """Length of the segments of the gate's spectrum, in samples."""
        return 400 if self.n_times >= 400 else 200

    @property
    def n_freqs(self) -> int:
        """Number of frequencies that the gate reads."""
        return self.n_per_segment // 2 + 1


def _as_tuples(value: object) -> object:
    """Lists as tuples, all the way down."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


class Pooled(NamedTuple):
    """What gate and head need of an epoch; with frozen experts it never changes.

    Attributes
    ----------
    embedding : Tensor, shape (n_epochs, n_experts, n_channels, 128)
        Embeddings, pooled over time.
    psd : Tensor, shape (n_epochs, n_channels, n_freqs)
        Power spectral density in (100 µV)²/Hz.
    """

    embedding: Tensor
    psd: Tensor


class SpectralGate(nn.Module):
    """One gate in (0, 1) per expert, channel and feature, from the channel's power spectrum.

    Parameters
    ----------
    n_freqs : int
        Number of frequencies.
    n_experts : int
        Number of experts.
    scale : {"log", "power", "none"}
        See `SpecMoEConfig`.
    """

    def __init__(self, n_freqs: int, n_experts: int, *, scale: str = "log"):
        super().__init__()
        check_option("scale", scale, GATE_SCALES)
        self.scale = scale
        self.linears = nn.ModuleList(nn.Linear(n_freqs, EMBED_DIM) for _ in range(n_experts))
        self.register_buffer("log_mean", torch.zeros(n_freqs))
        self.register_buffer("log_std", torch.ones(n_freqs))

    @torch.no_grad()
    def standardise(self, psd: Tensor) -> None:
        """Take the mean and deviation of log10(psd), per frequency, from training epochs [n, C, F]."""
        log_psd = psd.double().clamp_min(_PSD_FLOOR).log10().flatten(0, -2)
        self.log_mean.copy_(log_psd.mean(0))
        std = log_psd.std(0, correction=0)
        self.log_std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, psd: Tensor) -> Tensor:
        """Map spectra [B, C, F] to gates [B, E, C, 128]."""
        if self.scale == "none":
            return psd.new_ones(len(psd), len(self.linears), psd.shape[1], EMBED_DIM)
        if self.scale == "log":
            psd = (psd.clamp_min(_PSD_FLOOR).log10() - self.log_mean) / self.log_std
        return torch.stack([torch.sigmoid(linear(psd)) for linear in self.linears], 1)


class Readout(nn.Module):
    """Gate and prediction head: all that is trained while the experts are frozen.

    Parameters
    ----------
    config : SpecMoEConfig
        The architecture.
    n_features : int
        Number of features of other parts than the experts.
    """

    def __init__(self, config: SpecMoEConfig, n_features: int = 0):
        super().__init__()
        self.config = config
        self.n_features = n_features
        self.gate = SpectralGate(config.n_freqs, config.n_experts, scale=config.gate_scale)
        if n_features:
            self.standardiser = Standardiser(n_features)
        self.final_layer = self.new_head(config.n_outputs)

    def new_head(self, n_outputs: int) -> PredictionHead:
        """An untrained head."""
        n_gated = EMBED_DIM * self.config.n_experts
        # Covariances of many channels are tens of thousands of features, too many for a hidden unit each.
        hidden = n_gated if self.config.hidden is None else self.config.hidden
        return PredictionHead(n_gated + self.n_features, n_outputs, hidden=hidden, dropout=self.config.dropout)

    def features(self, embedding: Tensor, psd: Tensor, features: Tensor | None = None) -> Tensor:
        """Gated embeddings, pooled over channels, and what other parts say: [B, E·128 + n_features]."""
        gated = embedding * self.gate(psd)  # [B, E, C, 128]
        pooled = POOLINGS[self.config.channel_pooling](gated, 2).flatten(1)
        return torch.cat([pooled, self.standardiser(features)], 1) if self.n_features else pooled

    def forward(self, embedding: Tensor, psd: Tensor, features: Tensor | None = None) -> Tensor:
        """Map `Pooled` epochs, and features [B, n_features] of other parts, to outputs [B, n_outputs]."""
        return self.final_layer(self.features(embedding, psd, features))


class LinearReadout(nn.Module):
    """One linear layer on the standardised features of all parts.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of the input and of the output.
    """

    def __init__(self, n_features: int, n_outputs: int):
        super().__init__()
        self.n_features = n_features
        self.final_layer = self.new_head(n_outputs)

    def new_head(self, n_outputs: int) -> LinearHead:
        """An untrained head."""
        return LinearHead(self.n_features, n_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, n_features] to outputs [B, n_outputs]."""
        return self.final_layer(features)


def stage_widths(layout: str) -> dict[str, int]:
    """Features of every stage of an encoder, by name; where channels are on their own, those of both branches."""
    n_branches = 2 if layout == "channelwise" else 1
    early = STAGES[: STAGES.index("down3")]
    return {stage: n_branches * (EMBED_DIM // 2 if stage in early else EMBED_DIM) for stage in STAGES}


def make_parts(config: SpecMoEConfig) -> nn.ModuleDict:
    """The parts of a config, in the order of `PARTS`; without the experts where gates read these."""
    parts = {}
    if "experts" in config.parts and config.head == "linear":
        parts["experts"] = ActivationStatistics(
            "experts",
            [f"expert{i + 1}" for i in range(config.n_experts)],
            stage_widths(config.layout),
            config.readout,
            n_channels=config.n_chans,
            channel_pooling=config.channel_pooling,
            n_components=config.n_components,
        )
    options = {"n_channels": config.n_chans, "n_times": config.n_times, "bands": config.bands}
    return nn.ModuleDict(parts | signal_parts(config.parts, **options))


class SpecMoE(nn.Module):
    """Spectral mixture of experts: pretrained encoders, a gate that reads the spectrum, a head.

    Parameters
    ----------
    n_outputs : int
        Number of classes, or 1 for regression.
    n_chans : int | None
        Number of channels. Kept for braindecode; any number works.
    n_times : int | None
        Samples per epoch at 200 Hz; None: from `input_window_seconds`.
    chs_info : list | None
        Kept for braindecode; only its length is compared with `n_chans`.
    input_window_seconds : float | None
        Length of an epoch, if `n_times` is not given.
    sfreq : float
        Sampling rate of the input; the network works at 200 Hz and refuses any other.
    n_experts, layout, time_pooling, channel_pooling, gate_scale, hidden, dropout, amplitude, head, parts, readout, \
n_components, bands, locations, expert
        See `SpecMoEConfig`.
    experts : sequence of SpecHiNetEncoder | None
        Experts to use, all of one architecture; it is theirs then. None: untrained ones.

    Notes
    -----
    Input is [B, C, T] at 200 Hz in units of 100 µV (volts × 1e4), not padded. braindecode's own estimators hand over
    Epochs in µV: divide them by 100 first, or use `mne_specmoe.SpecMoEClassifier`. Source: arXiv:2603.16739.

    Examples
    --------
    >>> import torch
    >>> network = SpecMoE(n_outputs=2, n_times=800).eval()
    >>> network(torch.randn(4, 3, 800)).shape
    torch.Size([4, 2])
    """

    embed_dim = EMBED_DIM

    def __init__(
        self,
        n_outputs: int,
        n_chans: int | None = None,
        n_times: int | None = None,
        *,
        chs_info: Sequence | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = SFREQ,
        n_experts: int = 3,
        layout: str = "channelwise",
        time_pooling: str = "mean",
        channel_pooling: str = "mean",
        gate_scale: str = "log",
        hidden: int | None = None,
        dropout: float = 0.2,
        amplitude: str | None = None,
        head: str = "mlp",
        parts: Sequence[str] = ("experts",),
        readout: Sequence[str] = ("embedding.mean",),
        n_components: int | None = None,
        bands: Sequence[tuple[float, float]] = BANDS,
        locations: Sequence[tuple[float, float, float] | None] | None = None,
        expert: SpecHiNetConfig | Mapping | None = None,
        experts: Sequence[SpecHiNetEncoder] | None = None,
    ):
        super().__init__()
        if experts is not None:
            n_experts, expert = len(experts), shared_config(experts)
        if sfreq is not None and sfreq != SFREQ:
            raise ValueError(
                f"SpecMoE works at {SFREQ:g} Hz, got sfreq={sfreq:g}; resample the signals, "
                "or use SpecMoEClassifier, which does it."
            )
        if n_chans is not None and chs_info is not None and len(chs_info) != n_chans:
            raise ValueError(f"n_chans={n_chans}, but chs_info describes {len(chs_info)} channels.")
        if n_times is None:
            if input_window_seconds is None:
                raise ValueError("Give n_times, or input_window_seconds.")
            n_times = round(input_window_seconds * SFREQ)
        if n_chans is None and chs_info is not None:
            n_chans = len(chs_info)
        self.config = SpecMoEConfig(
            n_outputs=n_outputs,
            n_times=n_times,
            n_experts=n_experts,
            layout=layout,
            time_pooling=time_pooling,
            channel_pooling=channel_pooling,
            gate_scale=gate_scale,
            hidden=hidden,
            dropout=dropout,
            amplitude=amplitude,
            head=head,
            parts=parts,
            readout=readout,
            n_components=n_components,
            n_chans=n_chans,
            bands=bands,
            locations=locations,
            expert=expert,
        )
        self.n_outputs, self.n_times, self.sfreq = n_outputs, n_times, SFREQ
        self.n_chans, self.chs_info = n_chans, chs_info
        if experts is None:
            experts = [SpecHiNetEncoder(self.config.expert) for _ in range(n_experts)]
        self.experts = nn.ModuleList(experts)
        self.parts = make_parts(self.config)
        n_features = sum(part.n_features for part in self.parts.values())
        is_linear = head == "linear"
        self.readout = LinearReadout(n_features, n_outputs) if is_linear else Readout(self.config, n_features)
        self.register_buffer("locations", _locations(self.config.locations), persistent=False)
        self.experts_frozen = False

    @property
    def measured_names(self) -> tuple[str, ...]:
        """Names of what `measure` returns."""
        return (*(() if self.config.head == "linear" else Pooled._fields), *self.parts)

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """Names of what `pool` returns."""
        if self.config.head == "linear":
            return ("features",)
        return (*Pooled._fields, "features") if len(self.parts) else Pooled._fields

    @property
    def final_layer(self) -> nn.Module:
        """The prediction head."""
        return self.readout.final_layer

    @property
    def input_window_seconds(self) -> float:
        """Length of an epoch in seconds."""
        return self.n_times / SFREQ

    def reset_head(self, n_outputs: int) -> None:
        """Replace the prediction head by an untrained one.

        Parameters
        ----------
        n_outputs : int
            How many outputs it gets.
        """
        old = self.readout.final_layer
        self.config = replace(self.config, n_outputs=n_outputs)
        self.n_outputs = n_outputs
        self.readout.config = self.config
        head = self.readout.new_head(n_outputs).to(next(old.parameters()))
        self.readout.final_layer = head.train(old.training)

    def freeze_experts(self, frozen: bool = True) -> "SpecMoE":
        """Keep the experts' parameters and running statistics as they are (or let them train).

        Parameters
        ----------
        frozen : bool
            Whether to keep them; False lets them train.

        Returns
        -------
        network : SpecMoE
            The network itself.
        """
        self.experts_frozen = frozen
        self.experts.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> "SpecMoE":
        """Set training mode; frozen experts stay in evaluation mode.

        So do batch normalisations under a linear head, which was solved for with their running statistics.

        Parameters
        ----------
        mode : bool
            Whether to train; False is evaluation mode.

        Returns
        -------
        network : SpecMoE
            The network itself.
        """
        super().train(mode)
        if self.experts_frozen:
            self.experts.eval()
        elif self.config.head == "linear":
            for module in self.experts.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()
        return self

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Names of what `measure_signals` returns."""
        return tuple(name for name in self.measured_names if name not in ("embedding", "experts"))

    @property
    def standardised(self) -> tuple[str, ...]:
        """Names of what `standardise` needs; a linear head is solved for, with its standardisation."""
        return () if self.config.head == "linear" else self.pooled_names[1:]

    def measure(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the experts, and measure all that depends on the epoch alone.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        kept : Tensor of int64, shape (n_channels,) | None
            Places of the channels among those of the network, which knows where these are; None for all.

        Returns
        -------
        measured : tuple of Tensor
            One row per epoch; `measured_names` says what they are.
        """
        locations = self.locations if self.locations is None or kept is None else self.locations[kept]
        if self.config.head == "mlp":
            embedding = pooled_embeddings(self.experts, x, self.config.time_pooling, locations)
            return (embedding, *self.measure_signals(x))
        if "experts" not in self.parts:
            return self.measure_signals(x)
        activations = [expert.activations(x, locations=locations) for expert in self.experts]
        return (self.parts["experts"].measure(x, activations), *self.measure_signals(x))

    def measure_signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Measure what needs no experts.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        measured : tuple of Tensor
            One row per epoch; `signal_names` says what they are.
        """
        spectra = self.spectra(x) if self.config.head == "mlp" else ()
        return (*spectra, *(part.measure(x) for name, part in self.parts.items() if name != "experts"))

    def from_measured(self, *measured: Tensor, whiteners: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Turn what was measured into what the readout reads.

        Parameters
        ----------
        *measured : Tensor
            What `measure` returns.
        whiteners : mapping of str to Tensor | None
            Names of parts → inverse square roots of the references to see each epoch's covariances from, shape
            (n_batch, n_sets, size, size). None: the network's own.

        Returns
        -------
        pooled : tuple of Tensor
            One row per epoch; `pooled_names` says what they are.
        """
        return part_features(self.parts, measured, whiteners)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the experts and compute all that the readout reads.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        pooled : Pooled | tuple of Tensor
            One row per epoch; `pooled_names` says what they are.
        """
        pooled = self.from_measured(*self.measure(x))
        return Pooled(*pooled) if self.pooled_names == Pooled._fields else pooled

    def spectra(self, x: Tensor) -> tuple[Tensor]:
        """Compute the power spectrum of the padded input.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.

        Returns
        -------
        psd : tuple of Tensor, length 1
            Power spectral density in (100 µV)²/Hz, shape (n_batch, n_channels, n_freqs).
        """
        n_per_segment = self.config.n_per_segment
        padded, _ = self.experts[0].pad(x)
        n_overlap = 200 if n_per_segment == 400 else 0
        padded = padded.to(torch.promote_types(padded.dtype, torch.float32))
        return (welch_psd(padded, n_per_segment=n_per_segment, n_overlap=n_overlap),)

    def standardise(self, psd: Tensor, features: Tensor | None = None) -> None:
        """Let the gate learn the mean and deviation of training spectra, and the head those of other parts' features.

        Parameters
        ----------
        psd : Tensor, shape (n_epochs, n_channels, n_freqs)
            What `spectra` says of the epochs to train on.
        features : Tensor, shape (n_epochs, n_features) | None
            What the other parts say of them, if there are other parts.
        """
        self.readout.gate.standardise(psd)
        if features is not None:
            self.readout.standardiser.standardise(features)

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor | dict[str, Tensor | None]:
        """Predict.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        return_features : bool
            Return ``{"features": (n_batch, n_features), "cls_token": None}`` instead, as braindecode's models do.

        Returns
        -------
        outputs : Tensor, shape (n_batch, n_outputs)
        """
        pooled = self.pool(x)
        if return_features:
            features = pooled[0] if self.config.head == "linear" else self.readout.features(*pooled)
            return {"features": features, "cls_token": None}
        return self.readout(*pooled)


@dataclass(frozen=True)
class ExpertSetConfig:
    """Everything that defines the architecture of an `ExpertSet`.

    Parameters
    ----------
    n_experts : int
        Number of experts.
    expert : SpecHiNetConfig | mapping
        Of every one of them; a mapping of its fields, as it stands in files, becomes one.
    """

    n_experts: int = 3
    expert: SpecHiNetConfig = field(default_factory=SpecHiNetConfig)

    def __post_init__(self):
        check_number("n_experts", self.n_experts, minimum=1, integer=True)
        if isinstance(self.expert, Mapping):
            object.__setattr__(self, "expert", SpecHiNetConfig(**self.expert))


class ExpertSet(nn.Module):
    """Whole pretrained experts, decoders included, before any task: what pretraining hands to the estimators.

    Parameters
    ----------
    n_experts, expert
        See `ExpertSetConfig`. None: the default expert.
    experts : sequence of SpecHiNet | None
        Experts to use, all of one architecture, but for dropout; the rest is theirs then. None: untrained ones.

    Attributes
    ----------
    experts : nn.ModuleList
        The `SpecHiNet`.
    """

    embed_dim = EMBED_DIM

    def __init__(
        self,
        n_experts: int = 3,
        expert: SpecHiNetConfig | Mapping | None = None,
        *,
        experts: Sequence[SpecHiNet] | None = None,
    ):
        super().__init__()
        if experts is not None:
            n_experts, expert = len(experts), shared_config(experts)
        self.config = ExpertSetConfig(n_experts, expert or SpecHiNetConfig())
        if experts is None:
            experts = [SpecHiNet(**asdict(self.config.expert)) for _ in range(n_experts)]
        self.experts = nn.ModuleList(experts)


def shared_config(experts: Sequence[SpecHiNet | SpecHiNetEncoder]) -> SpecHiNetConfig:
    """The architecture of all experts, dropout being that of the first; raise a ValueError where they differ."""
    for setting in fields(SpecHiNetConfig):
        if setting.name != "dropout":
            shared_setting(setting.name, experts)
    return experts[0].config


def shared_setting(name: str, experts: Sequence[SpecHiNet | SpecHiNetEncoder]) -> str | bool:
    """The one layout, or amplitude, or other setting, of all experts."""
    values = {getattr(expert.config, name) for expert in experts}
    if len(values) != 1:
        raise ValueError(f"experts must have one {name}, got {', '.join(sorted(map(str, values))) or 'no expert'}.")
    return values.pop()


def _locations(places: Sequence[tuple[float, float, float] | None] | None) -> Tensor | None:
    """Places as a tensor, NaN where a channel's is unknown."""
    if places is None:
        return None
    return torch.tensor([(torch.nan,) * 3 if place is None else place for place in places], dtype=torch.float32)


def pooled_embeddings(
    experts: Sequence[SpecHiNetEncoder], x: Tensor, time_pooling: str, locations: Tensor | None = None
) -> Tensor:
    """Embed x [B, C, T] with every expert and pool over time: [B, E, C, 128]."""
    pool, n_channels = POOLINGS[time_pooling], x.shape[1]
    pooled = [pool(e.per_channel(e(x, locations=locations), n_channels), -1) for e in experts]
    return torch.stack(pooled, 1)
