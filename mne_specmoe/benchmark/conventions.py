"""What networks of others want to be given: units, scales, rates, lengths and channels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.names import NEWER_NAMES

Convention = Callable[[TaskData], Callable[[TaskData], np.ndarray]]
"""Takes the training part; returns what makes a network's input, float32, of windows in volts."""

LEAST_VOLTS = 1e-9
"""Nothing is divided by less: a flat channel stays flat."""

BENDR_SITES = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8"),
    *("P7", "P3", "Pz", "P4", "P8", "O1", "O2"),
)
"""Order of BENDR's channels; a twentieth says how large the amplitude is."""

BIOT_DERIVATIONS = (
    *("Fp1-F7", "F7-T7", "T7-P7", "P7-O1", "Fp2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("Fp1-F3", "F3-C3", "C3-P3", "P3-O1", "Fp2-F4", "F4-C4", "C4-P4", "P4-O2"),
    *("C3-A2", "C4-A1"),
)
"""Channels that BIOT was trained on, in its order (Yang et al. 2023); its smallest weights lack the last two."""

_BENDR_SFREQ = 256


def standardised_windows(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """Mean 0 and standard deviation 1 of every channel in every window."""

    def prepare(data: TaskData) -> np.ndarray:
        centred = data.X - data.X.mean(-1, keepdims=True)
        return _as_input(centred / np.maximum(centred.std(-1, keepdims=True), LEAST_VOLTS))

    return prepare


def standardised_channels(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """Mean 0 and standard deviation 1 of every channel over the training part, so that amplitudes still differ."""
    volts = training.X.astype(np.float64)
    mean = volts.mean((0, 2))[:, None]
    deviation = np.maximum(volts.std((0, 2)), LEAST_VOLTS)[:, None]
    return lambda data: _as_input((data.X - mean) / deviation)


def tenths_of_millivolts(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """Hundreds of microvolts, as many whole seconds as there are."""
    return lambda data: _as_input(1e4 * data.X[..., : _whole_seconds(data)])


def by_95th_percentile(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """Every channel of every window divided by the 95th percentile of its absolute values."""

    def prepare(data: TaskData) -> np.ndarray:
        large = np.quantile(np.abs(data.X), 0.95, axis=-1, keepdims=True)
        return _as_input(data.X / np.maximum(large, LEAST_VOLTS))

    return prepare


def for_bendr(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """BENDR's 20 channels at 256 Hz (Kostas et al. 2021, section 2.5).

    Every window is scaled to lie between −1 and 1, all channels alike. The last channel is constant: the range of the
    window as a share of the largest of the training part, scaled to −1 to 1. Sites that no channel stands for are 0.
    """
    largest = max(float(np.ptp(training.X, axis=(1, 2)).max()), LEAST_VOLTS)

    def prepare(data: TaskData) -> np.ndarray:
        ratio = Fraction(_BENDR_SFREQ / data.sfreq).limit_denominator(1000)
        volts = resample_poly(data.X.astype(np.float64), ratio.numerator, ratio.denominator, axis=-1)
        low, high = volts.min((1, 2), keepdims=True), volts.max((1, 2), keepdims=True)
        scaled = 2 * (volts - low) / np.maximum(high - low, LEAST_VOLTS) - 1
        x = np.zeros((len(data), len(BENDR_SITES) + 1, volts.shape[-1]))
        for channel, site in enumerate(places(data.ch_names, BENDR_SITES)):
            if site is not None:
                x[:, site] = scaled[:, channel]
        x[:, -1] = np.clip(2 * (high - low)[..., 0] / largest - 1, -1, 1)
        return _as_input(x)

    return prepare


def only_known(
    training: TaskData, *, convention: Convention, sites: Callable[[], Sequence[str]]
) -> Callable[[TaskData], np.ndarray]:
    """Another convention, for the channels alone that a trained network knows by name, in their order.

    Parameters
    ----------
    training : TaskData
        The training part.
    convention : callable
        The other one.
    sites : callable
        Returns the channels of the network.
    """

    def known(data: TaskData) -> TaskData:
        chosen = [channel for channel, place in enumerate(known_places(data.ch_names, sites())) if place is not None]
        return replace(data, X=data.X[:, chosen], ch_names=tuple(data.ch_names[channel] for channel in chosen))

    prepare = convention(known(training))
    return lambda data: prepare(known(data))


def only_derived(
    training: TaskData, *, convention: Convention, derivations: Sequence[str]
) -> Callable[[TaskData], np.ndarray]:
    """Another convention, for bipolar channels: those that are there, or differences of two that are there.

    Parameters
    ----------
    training : TaskData
        The training part.
    convention : callable
        The other one.
    derivations : sequence of str
        Channels of the network, such as ``"Fp1-F7"``; those that cannot be made are left out.
    """

    def derived(data: TaskData) -> TaskData:
        names = derivable(data.ch_names, derivations)
        X = np.zeros((len(data), len(names), data.n_times), data.X.dtype)
        channels = [_poles(name) for name in data.ch_names]
        for place, poles in enumerate(map(_poles, names)):
            parts = [poles] if poles in channels else [(pole,) for pole in poles]
            X[:, place] = data.X[:, channels.index(parts[0])]
            for part in parts[1:]:
                X[:, place] -= data.X[:, channels.index(part)]
        return replace(data, X=X, ch_names=names)

    prepare = convention(derived(training))
    return lambda data: prepare(derived(data))


def derivable(ch_names: Sequence[str], derivations: Sequence[str]) -> tuple[str, ...]:
    """Tell which bipolar channels are there, or can be made of two that are.

    Parameters
    ----------
    ch_names : sequence of str
        Channels of the windows.
    derivations : sequence of str
        Bipolar channels, such as ``"Fp1-F7"``.

    Returns
    -------
    names : tuple of str
        Of the derivations, in their order.
    """
    there = {_poles(name) for name in ch_names}
    return tuple(name for name in derivations if _poles(name) in there or {(pole,) for pole in _poles(name)} <= there)


def known_places(ch_names: Sequence[str], sites: Sequence[str]) -> list[int | None]:
    """Tell which of a network's sites each channel has by its name.

    Parameters
    ----------
    ch_names : sequence of str
        Channels of the windows.
    sites : sequence of str
        Channels of the network.

    Returns
    -------
    places : list of int or None
        Place among the sites; None for channels that the network does not know, and for the second of one site.
    """
    known = {_current(site): place for place, site in reversed(list(enumerate(sites)))}
    found: list[int | None] = []
    for name in ch_names:
        place = known.get(_current(name))
        found.append(None if place in found else place)
    return found


def places(ch_names: Sequence[str], sites: Sequence[str]) -> list[int | None]:
    """Tell which of a network's sites each channel stands for.

    A channel that the network knows by name has that site. The others take sites that are left, in order: to a network
    that was not trained, one is as good as another.

    Parameters
    ----------
    ch_names : sequence of str
        Channels of the windows.
    sites : sequence of str
        Channels of the network.

    Returns
    -------
    places : list of int or None
        Place among the sites; None for channels that find no site.
    """
    found = known_places(ch_names, sites)
    free = (place for place in range(len(sites)) if place not in set(found))
    return [next(free, None) if place is None else place for place in found]


def _current(name: str) -> str:
    """A name in capitals, as the 10-10 system has it."""
    return NEWER_NAMES.get(name.upper(), name.upper())


def _poles(name: str) -> tuple[str, ...]:
    """Both electrodes of a bipolar channel, or the one of another."""
    return tuple(map(_current, name.split("-")))


def _whole_seconds(data: TaskData) -> int:
    """Samples of the whole seconds in a window."""
    n_second = round(data.sfreq)
    return data.n_times // n_second * n_second


def _as_input(x: np.ndarray) -> np.ndarray:
    """What torch takes."""
    return np.ascontiguousarray(x, dtype=np.float32)
