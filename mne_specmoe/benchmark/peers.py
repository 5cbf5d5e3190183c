"""The estimators that SpecMoE is measured against."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import mne
from torch import Tensor, nn

from mne_specmoe.benchmark.classical import CLASSICAL
from mne_specmoe.benchmark.conventions import (
    by_95th_percentile,
    for_bendr,
    places,
    standardised_channels,
    standardised_windows,
    tenths_of_millivolts,
)
from mne_specmoe.benchmark.entries import Entry, TaskFacts, suits_classification
from mne_specmoe.benchmark.frozen_peers import FrozenNetwork
from mne_specmoe.benchmark.networks import NetworkRecipe, fit_network, import_braindecode
from mne_specmoe.benchmark.specialists import SPECIALISTS
from mne_specmoe.benchmark.st_transformer import STTransformer
from mne_specmoe.benchmark.task_data import TaskData

_SFREQ = 200.0


class ChannelNamed(nn.Module):
    """A network that is told the names of its channels with every input.

    Parameters
    ----------
    network : Module
        Its forward takes ``ch_names``.
    ch_names : list of str
        What it is told.
    """

    def __init__(self, network: nn.Module, ch_names: list[str]):
        super().__init__()
        self.network = network
        self.ch_names = ch_names

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, shape (n_windows, n_outputs), of signals, shape (n_windows, n_chans, n_times)."""
        return self.network(x, ch_names=self.ch_names)


class ChannelDoubled(nn.Module):
    """A network of two channels that is given one channel twice.

    Parameters
    ----------
    network : Module
        For two channels.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, shape (n_windows, n_outputs), of signals, shape (n_windows, 1, n_times)."""
        return self.network(x.expand(-1, 2, -1))


def _library(training: TaskData, shape: tuple[int, int], n_outputs: int, *, name: str, **settings: object) -> nn.Module:
    """A network of braindecode's."""
    make = getattr(import_braindecode().models, name)
    with mne.use_log_level("ERROR"):  # EEGNet's own defaults are deprecated, and it says so each time
        return make(n_chans=shape[0], n_times=shape[1], n_outputs=n_outputs, **settings)


def _shallow(training: TaskData, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    """ShallowFBCSPNet; that of braindecode 1.8 fails with one channel, to which a copy adds nothing."""
    if shape[0] > 1:
        return _library(training, shape, n_outputs, name="ShallowFBCSPNet")
    return ChannelDoubled(_library(training, (2, shape[1]), n_outputs, name="ShallowFBCSPNet"))


def _labram(training: TaskData, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    """LaBraM, which has an embedding for each of 128 sites."""
    from braindecode.models.labram import LABRAM_CHANNEL_ORDER

    network = _library(training, shape, n_outputs, name="Labram")
    sites = places(training.ch_names, LABRAM_CHANNEL_ORDER)
    return ChannelNamed(network, [LABRAM_CHANNEL_ORDER[place] for place in sites])


def _st_transformer(training: TaskData, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    """The one that is not in braindecode."""
    return STTransformer(shape[0], n_outputs, shape[1])


def _suits_seconds(facts: TaskFacts) -> str:
    """For windows of a second or more."""
    return "" if facts.n_times >= facts.sfreq else "it needs windows of a second or more"


def _suits_200_hz(facts: TaskFacts, *, n_most: float = math.inf) -> str:
    """For windows at the rate that the foundation models know, and not too many channels."""
    if facts.sfreq != _SFREQ:
        return f"it needs signals at 200 Hz, not {facts.sfreq:g} Hz"
    if len(facts.ch_names) > n_most:
        return f"it takes {n_most} channels at most, not {len(facts.ch_names)}"
    return _suits_seconds(facts)


def _entry(
    name: str,
    title: str,
    recipe: NetworkRecipe,
    told: str,
    *,
    unsuited: Callable[[TaskFacts], str] = _suits_seconds,
    is_heavy: bool = False,
) -> Entry:
    """A network of the benchmark, and what is said of its input."""
    parameters: Mapping[str, object] = {
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "batch_size": recipe.batch_size,
        "input": told,
    }
    fit = partial(fit_network, recipe=recipe)
    return Entry(
        name, title, "peer", fit, stochastic=True, unsuited=unsuited, parameters=parameters, is_heavy=is_heavy
    )  # fmt: skip


def _suits_frozen(facts: TaskFacts, *, trained: Callable[[TaskFacts], str]) -> str:
    """For what suits the network, and a logistic regression."""
    return suits_classification(facts) or trained(facts)


def _frozen(entry: Entry) -> Entry:
    """The same network as it was initialised, read by a logistic regression."""
    fit = FrozenNetwork(entry.name, entry.fit.keywords["recipe"])
    parameters = {"input": entry.parameters["input"]}

    return replace(
        entry,
        name=f"{entry.name}-logistic",
        title=f"{entry.title}, frozen, logistic",
        fit=fit,
        parameters=parameters,
        unsuited=partial(_suits_frozen, trained=entry.unsuited),
        is_heavy=False,
    )


_EACH_WINDOW = "z-scored per window and channel"  # near to the moving standardisation that braindecode's authors use
_ALL_WINDOWS = "z-scored per channel, over the training part"
_SMALL: tuple[Entry, ...] = (
    _entry("eegnet", "EEGNet", NetworkRecipe(partial(_library, name="EEGNet"), standardised_windows), _EACH_WINDOW),
    _entry(
        "shallowfbcspnet",
        "ShallowFBCSPNet",
        NetworkRecipe(_shallow, standardised_windows),
        _EACH_WINDOW,
    ),
    _entry(
        "eegconformer",
        "EEGConformer",
        NetworkRecipe(partial(_library, name="EEGConformer"), standardised_channels, lr=2e-4, is_medium=True),
        _ALL_WINDOWS,
    ),
    _entry(
        "st-transformer",
        "ST-Transformer",
        NetworkRecipe(_st_transformer, standardised_channels, is_medium=True),
        _ALL_WINDOWS,
    ),
)
_FOUNDATION: tuple[Entry, ...] = (
    _entry(
        "bendr",
        "BENDR (random initialisation)",
        NetworkRecipe(partial(_library, name="BENDR"), for_bendr, lr=1e-5),  # at 1e-4 all outputs swing together
        "256 Hz, each window scaled to -1 to 1; 19 sites by name, other channels at sites that are left, rest 0; "
        "the 20th channel is the relative amplitude",
        is_heavy=True,
    ),
    _entry(
        "biot",
        "BIOT (random initialisation)",
        NetworkRecipe(partial(_library, name="BIOT", sfreq=_SFREQ), by_95th_percentile, lr=5e-4),
        "200 Hz, over the 95th percentile of absolute values per window and channel",
        is_heavy=True,
        unsuited=partial(_suits_200_hz, n_most=256),
    ),
    _entry(
        "labram",
        "LaBraM (random initialisation)",
        NetworkRecipe(_labram, tenths_of_millivolts, lr=5e-4, weight_decay=0.05),
        "200 Hz, hundreds of microvolts, whole seconds; sites by name, other channels at sites that are left",
        is_heavy=True,
        unsuited=partial(_suits_200_hz, n_most=128),
    ),
    _entry(
        "cbramod",
        "CBraMod (random initialisation)",
        NetworkRecipe(partial(_library, name="CBraMod"), tenths_of_millivolts, lr=1e-4, weight_decay=0.05),
        "200 Hz, hundreds of microvolts, whole seconds",
        is_heavy=True,
        unsuited=_suits_200_hz,
    ),
)

PEERS: tuple[Entry, ...] = (*CLASSICAL, *SPECIALISTS, *_SMALL, *_FOUNDATION, *map(_frozen, _FOUNDATION))
"""In the order of tables. No network has weights from other recordings."""
