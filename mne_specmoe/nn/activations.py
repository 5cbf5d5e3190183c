"""Statistics of what the stages of frozen networks say of an epoch, as a part of what a classifier reads.

Shapes in the comments: B batch, C channels, F features of a stage, L tokens of a channel.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mne_specmoe._validation import listed
from mne_specmoe.nn.heads import POOLINGS
from mne_specmoe.nn.parts import Part, pair_names
from mne_specmoe.signal.cross_spectrum import packed, shrunk, unpacked, wide

COVARIANCE = "covariance"
_SMALLEST_VARIANCE = 1e-6  # of activations: a feature that hardly moves says no more than that


def _mean(x: Tensor) -> Tensor:
    return x.mean(-1)


def _max(x: Tensor) -> Tensor:
    return x.amax(-1)


def _log_std(x: Tensor) -> Tensor:
    return 0.5 * (x.var(-1, correction=0) + _SMALLEST_VARIANCE).log()


STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "max": _max, "log_std": _log_std}
"""Activations [B, C, F, L] to one number per channel and feature."""


class ActivationStatistics(Part):
    """Statistics over time of stages of several networks.

    Parameters
    ----------
    name : str
        What feature names begin with.
    networks : sequence of str
        What the networks are called.
    widths : mapping of str to int
        Stages of a network and their number of features.
    readout : sequence of str
        What is taken, such as ``"embedding.mean"``: stage and statistic, which is ``mean``, ``max`` or ``log_std`` over
        the tokens of a channel, or ``covariance``, of the channels over all features and tokens, in the tangent space
        at the mean of the training epochs.
    n_channels : int | None
        Number of channels; None if nothing depends on it.
    channel_pooling : {"mean", "max"} | None
        How channels become one; None keeps them apart. Without meaning for ``covariance``.
    n_components : int | None
        How many principal components of training epochs stand for the statistics; None takes the statistics themselves.
        Without meaning for ``covariance``.

    Attributes
    ----------
    centre : Tensor, shape (n_statistics,)
        Mean of the statistics over training epochs.
    components : Tensor, shape (n_statistics, n_components)
        What the centred statistics are multiplied by. Zero until learned, and beyond what training epochs span.
    """

    def __init__(
        self,
        name: str,
        networks: Sequence[str],
        widths: Mapping[str, int],
        readout: Sequence[str],
        *,
        n_channels: int | None = None,
        channel_pooling: str | None = None,
        n_components: int | None = None,
    ):
        pairs = check_readout(readout, tuple(widths))
        self_readout = [pair for pair in pairs if pair[1] != COVARIANCE]
        stages = [stage for stage, statistic in pairs if statistic == COVARIANCE]
        if n_channels is None and (stages or channel_pooling is None):
            raise ValueError("What keeps channels apart needs n_channels.")
        n_rows = 1 if channel_pooling else n_channels
        n_statistics = len(networks) * n_rows * sum(widths[stage] for stage, _ in self_readout)
        n_components = n_components if n_statistics else None
        n_pairs = n_channels * (n_channels + 1) // 2 if stages else 0
        n_sets = len(networks) * len(stages)
        super().__init__((n_components or n_statistics) + n_sets * n_pairs, n_sets=n_sets, size=n_channels or 0)
        self.name, self.networks, self.widths = name, tuple(networks), dict(widths)
        self.readout, self.stages, self.channel_pooling = self_readout, stages, channel_pooling
        self._n_statistics, self.n_components = n_statistics, n_components
        if n_components:
            self.register_buffer("centre", torch.zeros(n_statistics))
            self.register_buffer("components", torch.zeros(n_statistics, n_components))

    @property
    def keeps_channels(self) -> bool:
        """See `Part`."""
        return bool(self.stages) or self.channel_pooling is None

    @property
    def n_plain(self) -> int:
        """See `Part`."""
        return self.n_components or self._n_statistics

    def measure(self, x: Tensor, activations: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """See `Part`; `activations` are those of each network, by stage [B, C, F, L]."""
        rows = [self._rows(STATISTICS[s](each[stage].float())) for each in activations for stage, s in self.readout]
        triangles = [packed(_between(each[stage])) for each in activations for stage in self.stages]
        return torch.cat([part.flatten(1).to(x.device, torch.float32) for part in (*rows, *triangles)], 1)

    def _rows(self, values: Tensor) -> Tensor:
        """Pool channels [B, C, F] if asked to."""
        return values if self.channel_pooling is None else POOLINGS[self.channel_pooling](values, 1)

    def statistics(self, measured: Tensor) -> Tensor:
        """Statistics [B, n_statistics] in what was measured."""
        return measured[:, : self._n_statistics]

    def plain(self, measured: Tensor) -> Tensor:
        """See `Part`."""
        statistics = self.statistics(measured)
        return (statistics - self.centre) @ self.components if self.n_components else statistics

    def covariances(self, measured: Tensor) -> Tensor | None:
        """See `Part`."""
        if not self.n_sets:
            return None
        return shrunk(unpacked(measured[:, self._n_statistics :].double().unflatten(1, (self.n_sets, -1))))

    def feature_names(self, ch_names: Sequence[str]) -> list[str]:
        """``experts_Cz_expert1_down1.log_std_007`` or ``experts_component_07``; those of pairs ``experts_C3_C4_…``."""
        channels = [""] if self.channel_pooling else [f"{name}_" for name in ch_names]
        plain = [
            f"{self.name}_{channel}{network}_{stage}.{statistic}_{i:03d}"
            for network in self.networks
            for stage, statistic in self.readout
            for channel in channels
            for i in range(self.widths[stage])
        ]
        if self.n_components:
            plain = [f"{self.name}_component_{i + 1:02d}" for i in range(self.n_components)]
        return plain + [
            f"{self.name}_{pair}_{network}_{stage}.{COVARIANCE}"
            for network in self.networks
            for stage in self.stages
            for pair in pair_names(ch_names)
        ]


def check_readout(readout: object, stages: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of stage and statistic; raise an error that lists what there is if one is unknown."""
    if isinstance(readout, str) or not isinstance(readout, list | tuple) or not readout:
        raise TypeError(
            f"readout must be a list or tuple of 'stage.statistic', such as ('embedding.mean',), got {readout!r}."
        )
    known = (*STATISTICS, COVARIANCE)
    pairs = []
    for entry in readout:
        stage, _, statistic = entry.rpartition(".") if isinstance(entry, str) else ("", "", "")
        if stage not in stages or statistic not in known:
            raise ValueError(
                f"readout has {entry!r}, which is not a stage and a statistic of it, as in '{stages[-1]}.mean'; "
                f"stages: {listed(stages)}; statistics: {listed(known)}."
            )
        pairs.append((stage, statistic))
    if len(set(pairs)) < len(pairs):
        raise ValueError(f"readout names something twice: {', '.join(map(repr, readout))}.")
    return pairs


def _between(activations: Tensor) -> Tensor:
    """Covariances of the channels over features and tokens: [B, C, F, L] to [B, C, C]."""
    centred = wide(activations - activations.mean(-1, keepdim=True)).flatten(2)
    return centred @ centred.mT / centred.shape[-1]
