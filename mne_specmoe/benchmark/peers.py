"""The estimators that SpecMoE is measured against."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import mne
import torch
from torch import Tensor, nn

from mne_specmoe.benchmark.classical import CENTRED, CLASSICAL, CLASSICAL_FEATURES
from mne_specmoe.benchmark.conventions import (
    BENDR_SITES,
    BIOT_DERIVATIONS,
    Convention,
    by_95th_percentile,
    derivable,
    for_bendr,
    known_places,
    only_derived,
    only_known,
    places,
    standardised_channels,
    standardised_windows,
    tenths_of_millivolts,
)
from mne_specmoe.benchmark.defaults import SIGNAL
from mne_specmoe.benchmark.entries import Entry, TaskFacts, suits_classification
from mne_specmoe.benchmark.frozen_peers import FrozenNetwork
from mne_specmoe.benchmark.hub_weights import HubWeights, find_weights, load_published, read_config
from mne_specmoe.benchmark.networks import NetworkRecipe, fit_network, import_braindecode
from mne_specmoe.benchmark.specialists import SPECIALISTS
from mne_specmoe.benchmark.st_transformer import STTransformer
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.checkpoint import CheckpointError

_SFREQ = 200.0
_RANDOM, _PUBLISHED = "(random initialisation)", "(published weights)"


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


def _labram_sites() -> Sequence[str]:
    """Channels that LaBraM has embeddings for."""
    import_braindecode()
    from braindecode.models.labram import LABRAM_CHANNEL_ORDER

    return LABRAM_CHANNEL_ORDER


def _bendr_sites() -> Sequence[str]:
    """Channels that BENDR takes."""
    return BENDR_SITES


def _published(
    training: TaskData, shape: tuple[int, int], n_outputs: int, *, weights: HubWeights, name: str
) -> nn.Module:
    """A network of braindecode's as it was published, with a new head."""
    return load_published(weights, name, n_chans=shape[0], n_times=shape[1], n_outputs=n_outputs)


def _published_biot(training: TaskData, shape: tuple[int, int], n_outputs: int, *, weights: HubWeights) -> nn.Module:
    """BIOT as it was published; channels that it lacks are left out."""
    known = _derivations(weights)
    names = derivable(training.ch_names, known)
    network = load_published(
        weights, "BIOT", n_chans=len(known), n_times=shape[1], n_outputs=n_outputs, sfreq=_SFREQ
    )  # fmt: skip
    network.encoder.index = torch.tensor([known.index(name) for name in names])  # which token each channel has
    return network


def _published_labram(training: TaskData, shape: tuple[int, int], n_outputs: int, *, weights: HubWeights) -> nn.Module:
    """LaBraM as it was published, told the names of the channels that it knows."""
    network = load_published(
        weights,
        "Labram",
        n_chans=shape[0],
        n_times=shape[1],
        n_outputs=n_outputs,
        may_be_longer=("temporal_embedding",),  # one row per second
    )
    sites = _labram_sites()
    found = known_places(training.ch_names, sites)
    return ChannelNamed(network, [sites[place] for place in found if place is not None])


def _derivations(weights: HubWeights) -> tuple[str, ...]:
    """Channels of one of BIOT's networks."""
    return BIOT_DERIVATIONS[: _BIOT_CHANNELS[weights.repo]]


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


def _suits_known(
    facts: TaskFacts,
    weights: HubWeights,
    *,
    trained: Callable[[TaskFacts], str],
    n_known: Callable[[TaskFacts, HubWeights], int],
) -> str:
    """For what suits the network, and has a channel that its published weights know."""
    if why := trained(facts):
        return why
    try:
        return "" if n_known(facts, weights) else "its published weights know none of the channels"
    except ImportError:
        return ""  # whoever trains it says what to do


def _suits_labram(facts: TaskFacts, weights: HubWeights, *, trained: Callable[[TaskFacts], str]) -> str:
    """Windows may not be longer than those of LaBraM's time embedding either."""
    if why := _suits_known(facts, weights, trained=trained, n_known=_n_labram):
        return why
    try:
        n_most = read_config(weights).get("n_times")
    except CheckpointError:
        return ""  # whoever loads it says what is wrong
    if not isinstance(n_most, int) or facts.n_times // facts.sfreq <= n_most // _SFREQ:
        return ""
    return f"its published weights take windows of {n_most / _SFREQ:g} s at most"


def _n_bendr(facts: TaskFacts, weights: HubWeights) -> int:
    """Channels that BENDR knows."""
    return len(facts.ch_names) - known_places(facts.ch_names, BENDR_SITES).count(None)


def _n_biot(facts: TaskFacts, weights: HubWeights) -> int:
    """Bipolar channels that BIOT knows."""
    return len(derivable(facts.ch_names, _derivations(weights)))


def _n_labram(facts: TaskFacts, weights: HubWeights) -> int:
    """Channels that LaBraM knows."""
    return len(facts.ch_names) - known_places(facts.ch_names, _labram_sites()).count(None)


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
    """The same network as it is before training, read by a logistic regression."""
    fit = FrozenNetwork(entry.name, entry.fit.keywords["recipe"])
    parameters = {name: entry.parameters[name] for name in ("input", "weights") if name in entry.parameters}

    return replace(
        entry,
        name=f"{entry.name}-logistic",
        title=f"{entry.title}, frozen, logistic",
        fit=fit,
        parameters=parameters,
        stochastic=entry.weights_hash is None,
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
        f"BENDR {_RANDOM}",
        NetworkRecipe(partial(_library, name="BENDR"), for_bendr, lr=1e-5),  # at 1e-4 all outputs swing together
        "256 Hz, each window scaled to -1 to 1; 19 sites by name, other channels at sites that are left, rest 0; "
        "the 20th channel is the relative amplitude",
        is_heavy=True,
    ),
    _entry(
        "biot",
        f"BIOT {_RANDOM}",
        NetworkRecipe(partial(_library, name="BIOT", sfreq=_SFREQ), by_95th_percentile, lr=5e-4),
        "200 Hz, over the 95th percentile of absolute values per window and channel",
        is_heavy=True,
        unsuited=partial(_suits_200_hz, n_most=256),
    ),
    _entry(
        "labram",
        f"LaBraM {_RANDOM}",
        NetworkRecipe(_labram, tenths_of_millivolts, lr=5e-4, weight_decay=0.05),
        "200 Hz, hundreds of microvolts, whole seconds; sites by name, other channels at sites that are left",
        is_heavy=True,
        unsuited=partial(_suits_200_hz, n_most=128),
    ),
    _entry(
        "cbramod",
        f"CBraMod {_RANDOM}",
        NetworkRecipe(partial(_library, name="CBraMod"), tenths_of_millivolts, lr=1e-4, weight_decay=0.05),
        "200 Hz, hundreds of microvolts, whole seconds",
        is_heavy=True,
        unsuited=_suits_200_hz,
    ),
)


@dataclass(frozen=True)
class _Hub:
    """How published weights are used.

    Attributes
    ----------
    repos : tuple of str
        That braindecode names in its documentation; the first that is there is taken.
    build : callable
        Makes the network of them, given the keyword ``weights``.
    told : str
        What is said of the input.
    convention : callable | None
        Makes the input of the weights. None: as without weights.
    unsuited : callable | None
        Takes facts, weights and the keyword ``trained``, what says it without weights. None: just that.
    """

    repos: tuple[str, ...]
    build: Callable[..., nn.Module]
    told: str
    convention: Callable[[HubWeights], Convention] | None = None
    unsuited: Callable[..., str] | None = None


_BIOT_CHANNELS = {
    "braindecode/biot-pretrained-six-datasets-18chs": 18,
    "braindecode/biot-pretrained-shhs-prest-18chs": 18,
    "braindecode/biot-pretrained-prest-16chs": 16,
}
_HUB: Mapping[str, _Hub] = {
    "bendr": _Hub(
        ("braindecode/braindecode-bendr",),
        partial(_published, name="BENDR"),
        "256 Hz, each window scaled to -1 to 1; 19 sites by name, other channels left out, rest 0; the 20th channel is "
        "the relative amplitude",
        lambda weights: partial(only_known, convention=for_bendr, sites=_bendr_sites),
        partial(_suits_known, n_known=_n_bendr),
    ),
    "biot": _Hub(
        tuple(_BIOT_CHANNELS),
        _published_biot,
        "200 Hz, the bipolar channels that it knows and that can be made, over the 95th percentile of absolute values "
        "per window and channel",
        lambda weights: partial(only_derived, convention=by_95th_percentile, derivations=_derivations(weights)),
        partial(_suits_known, n_known=_n_biot),
    ),
    "labram": _Hub(
        ("braindecode/labram-pretrained",),
        _published_labram,
        "200 Hz, hundreds of microvolts, whole seconds; sites by name, other channels left out",
        lambda weights: partial(only_known, convention=tenths_of_millivolts, sites=_labram_sites),
        _suits_labram,
    ),
    "cbramod": _Hub(
        ("braindecode/cbramod-pretrained",),
        partial(_published, name="CBraMod"),
        "200 Hz, hundreds of microvolts, whole seconds; all channels, in the order of the recording",
    ),
}  # CBraMod is told no names: it was made for any channels


def _with_published(entry: Entry, cache_dir: str | os.PathLike | None) -> Entry:
    """The same network with published weights, if they are in the cache."""
    hub = _HUB[entry.name]
    weights = find_weights(hub.repos, cache_dir)
    if weights is None:
        return entry
    recipe = replace(entry.fit.keywords["recipe"], build=partial(hub.build, weights=weights))
    if hub.convention is not None:
        recipe = replace(recipe, convention=hub.convention(weights))
    unsuited = entry.unsuited
    if hub.unsuited is not None:
        unsuited = partial(hub.unsuited, weights=weights, trained=entry.unsuited)
    return replace(
        entry,
        title=entry.title.replace(_RANDOM, _PUBLISHED),
        fit=partial(fit_network, recipe=recipe),
        unsuited=unsuited,
        parameters={**entry.parameters, "input": hub.told, "weights": f"{weights.repo}, revision {weights.revision}"},
        training={"note": f"published as {weights.repo}; it is not known here which recordings they were trained on"},
        weights_hash=weights.sha256,
    )


PEERS: tuple[Entry, ...] = (
    *CLASSICAL,
    *SPECIALISTS,
    *CENTRED,
    CLASSICAL_FEATURES,
    *SIGNAL,
    *_SMALL,
    *_FOUNDATION,
    *map(_frozen, _FOUNDATION),
)
"""In the order of tables. No network has weights from other recordings; see `peers`."""


def peers(cache_dir: str | os.PathLike | None = None) -> tuple[Entry, ...]:
    """`PEERS`, with published weights for those networks for which this machine has them. Nothing is downloaded.

    Parameters
    ----------
    cache_dir : str | path-like | None
        Cache of Hugging Face's hub. None: where huggingface_hub has it (``HF_HUB_CACHE``).

    Returns
    -------
    entries : tuple of Entry
        Those with published weights have the same names, say so in their titles and parameters, and have a
        `weights_hash`. Files that are damaged or do not fit are an error when they are loaded, never random weights.
    """
    foundation = [_with_published(entry, cache_dir) for entry in _FOUNDATION]
    found = {entry.name: entry for entry in (*foundation, *map(_frozen, foundation))}
    return tuple(found.get(entry.name, entry) for entry in PEERS)
