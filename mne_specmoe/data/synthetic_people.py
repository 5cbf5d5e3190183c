"""Drawing made-up people: spectra, rhythms with their sources and bursts, spikes, artefacts, reference and gain."""

from dataclasses import dataclass

import numpy as np

from mne_specmoe.data.caps import MUSCLE_SITES, REFERENCE_SITES, Cap, CapChoice, channel_sites, site_direction
from mne_specmoe.data.synthetic_labels import Dipole, Event, Rhythm, SyntheticPerson

# Chances of a person's having them.
_HAS_SPIKES, _HAS_KNEE, _IS_TENSE = 0.1, 0.4, 0.35
_REFERENCES = {"average": 3, "linked ears": 3, "A1": 1, "Cz": 1, "FCz": 1, "Fpz": 1, "nose": 1}  # how common each is
_SAME_PLACE = 0.985  # cosine of an angle: a reference so near to a channel would silence it
_HEAD = ("F3", "F4", "C3", "C4", "P3", "P4", "T7", "T8", "O1", "O2", "Fz", "Pz")


@dataclass(frozen=True)
class _Kind:
    """How rhythms of one kind are drawn; (middle, spread) of logarithms where nothing else is said.

    Attributes
    ----------
    name : str
        See `Rhythm`.
    chance : float
        Of a person's having it.
    frequency : tuple of float
        Mean and standard deviation in Hz; lowest and highest.
    sites : tuple of str
        Its sources are below some of these.
    n_sources : tuple of int
        How many, from and to.
    amplitude_uv, burst_s : tuple of float
        Median and spread of a source's amplitude, and of the length of bursts.
    bursts_per_minute : float
        How many there are on average.
    base : tuple of float
        Range of the envelope between bursts, where a burst has about 1.
    state_spread : float
        How much the strength changes between states.
    harmonic : float
        Largest share of the second harmonic.
    """

    name: str
    chance: float
    frequency: tuple[float, float, float, float]
    sites: tuple[str, ...]
    n_sources: tuple[int, int]
    amplitude_uv: tuple[float, float]
    burst_s: tuple[float, float]
    bursts_per_minute: float
    base: tuple[float, float]
    state_spread: float
    harmonic: float


_MU = {
    "chance": 0.6,
    "frequency": (10.5, 1.0, 8.0, 13.0),
    "n_sources": (1, 2),
    "amplitude_uv": (4.0, 0.5),
    "burst_s": (1.0, 0.5),
    "bursts_per_minute": 15,
    "base": (0.1, 0.5),
    "state_spread": 0.5,
    "harmonic": 0.5,
}
_KINDS = (
    _Kind("theta", 0.5, (6.0, 0.8, 4.0, 7.8), ("Fz", "FCz", "AFz"), (1, 2), (4.0, 0.5), (1.0, 0.4), 8, (0.0, 0.3),
          0.3, 0.1),
    _Kind("alpha", 0.9, (10.0, 1.0, 7.5, 13.0), ("O1", "O2", "POz", "PO7", "PO8", "P3", "P4", "Pz"), (3, 5),
          (3.5, 0.7), (1.5, 0.5), 20, (0.1, 0.5), 0.6, 0.3),
    _Kind("mu", sites=("C3", "CP3"), **_MU),
    _Kind("mu", sites=("C4", "CP4"), **_MU),
    _Kind("beta", 0.8, (20.0, 4.0, 14.0, 30.0), ("C3", "C4", "FCz", "F3", "F4"), (1, 3), (2.5, 0.4), (0.4, 0.5), 40,
          (0.1, 0.5), 0.3, 0.0),
    _Kind("pair", 0.8, (14.0, 8.0, 4.0, 32.0), _HEAD, (2, 2), (3.5, 0.5), (1.5, 0.5), 10, (0.1, 0.4), 0.3, 0.1),
    _Kind("pair", 0.5, (14.0, 8.0, 4.0, 32.0), _HEAD, (2, 2), (3.5, 0.5), (1.5, 0.5), 10, (0.1, 0.4), 0.3, 0.1),
    _Kind("spindle", 0.15, (13.0, 1.0, 11.0, 16.0), ("Cz", "CPz", "FCz", "Fz"), (1, 3), (12.0, 0.4), (0.9, 0.25), 4,
          (0.0, 0.0), 0.1, 0.0),
)  # fmt: skip


def draw_person(
    rng: np.random.Generator, subject: str, cap: Cap, choice: CapChoice, *, n_times: int, sfreq: float
) -> SyntheticPerson:
    """Draw a person.

    Parameters
    ----------
    rng : numpy.random.Generator
    subject : str
        The name.
    cap : Cap
        On the person's head.
    choice : CapChoice
        The channels that are recorded.
    n_times : int
        Samples of the recording.
    sfreq : float
        In Hz.

    Returns
    -------
    person : SyntheticPerson
    """
    seconds = n_times / sfreq
    is_tense = rng.random() < _IS_TENSE
    has_knee, has_spikes = rng.random() < _HAS_KNEE, rng.random() < _HAS_SPIKES
    states = _states(rng, seconds)
    return SyntheticPerson(
        subject=subject,
        montage=choice.montage,
        ch_names=choice.channels,
        n_times=n_times,
        sfreq=sfreq,
        exponent=_rounded(np.clip(rng.normal(1.45, 0.4), 0.5, 2.4)),
        knee_hz=_rounded(rng.uniform(1.0, 6.0)) if has_knee else 0.0,
        exponent_difference=_rounded(rng.normal(0.0, 0.15)),
        background_uv=_rounded(_lognormal(rng, 7.0, 0.3)),
        patch_m=_rounded(rng.uniform(0.002, 0.015)),
        rhythms=tuple(_rhythm(rng, kind, cap, states, n_times, sfreq) for kind in _KINDS if rng.random() < kind.chance),
        spike_source=_dipole(rng, cap, str(rng.choice(_HEAD)), 1.0) if has_spikes else None,
        spikes=_events(rng, seconds, rng.uniform(1, 12), (0.32, 0.15), (80.0, 0.3)) if has_spikes else (),
        blinks=_events(rng, seconds, _lognormal(rng, 8.0, 1.2), (0.32, 0.2), (80.0, 0.4)),
        saccades=_events(rng, seconds, _lognormal(rng, 4.0, 1.0), (0.6, 0.5), (25.0, 0.5), two_sided=True),
        muscles=tuple(
            _events(rng, seconds, _lognormal(rng, 4.0 if is_tense else 0.5, 0.8), (1.5, 0.9), (8.0, 0.8))
            for _ in MUSCLE_SITES
        ),
        muscle_sites=MUSCLE_SITES,
        line_hz=float(rng.choice([50.0, 60.0])),
        line_uv=_rounded(_lognormal(rng, 1.0, 1.0)),
        noise_uv=_rounded(_lognormal(rng, 0.9, 0.6)),
        drift_uv=_rounded(_lognormal(rng, 2.0, 1.0)),
        reference=_reference(rng, cap, choice),
        gain=_rounded(_lognormal(rng, 1.0, 0.3)),
    )


def _rhythm(rng: np.random.Generator, kind: _Kind, cap: Cap, states: np.ndarray, n_times: int, sfreq: float) -> Rhythm:
    """Draw a rhythm of a kind; states are the times at which it can change, in seconds."""
    middle, spread, lowest, highest = kind.frequency
    n_sources = int(rng.integers(kind.n_sources[0], kind.n_sources[1] + 1))
    sites = rng.choice(kind.sites, n_sources, replace=False)
    factors = np.exp(kind.state_spread * rng.standard_normal(len(states) - 1))
    return Rhythm(
        kind=kind.name,
        frequency_hz=_rounded(np.clip(rng.normal(middle, spread), lowest, highest)),
        bandwidth_hz=_rounded(rng.uniform(0.4, 1.6) * (2 if middle > 13 else 1)),
        harmonic=_rounded(rng.uniform(0, kind.harmonic)),
        base=_rounded(rng.uniform(*kind.base)),
        dipoles=tuple(
            _dipole(rng, cap, str(site), _rounded(_lognormal(rng, *kind.amplitude_uv)), place > 0, sfreq)
            for place, site in enumerate(sites)
        ),
        bursts=_events(rng, n_times / sfreq, kind.bursts_per_minute, kind.burst_s, (1.0, 0.4)),
        states=tuple(
            Event(_rounded(start), _rounded(stop), _rounded(factor))
            for start, stop, factor in zip(states[:-1], states[1:], factors, strict=True)
        ),
    )


def _dipole(
    rng: np.random.Generator, cap: Cap, site: str, amplitude_uv: float, is_coupled: bool = False, sfreq: float = 200.0
) -> Dipole:
    """Draw a source near an electrode; the first of a rhythm is the oscillator itself, others follow it."""
    number = cap.nearest_dipole(site_direction(site) + 0.15 * rng.standard_normal(3))
    upright = cap.dipoles[number] / np.linalg.norm(cap.dipoles[number])
    orientation = upright + rng.uniform(0, 0.8) * rng.standard_normal(3)
    coupling, lag = rng.uniform(0.2, 0.95), int(rng.integers(0, round(0.04 * sfreq) + 1)) / sfreq
    return Dipole(
        place_m=tuple(_rounded(x, 5) for x in cap.place_of(number)),
        orientation=tuple(_rounded(x) for x in orientation / np.linalg.norm(orientation)),
        amplitude_uv=amplitude_uv,
        coupling=_rounded(coupling) if is_coupled else 1.0,
        lag_s=lag if is_coupled else 0.0,
    )


def _events(
    rng: np.random.Generator,
    seconds: float,
    per_minute: float,
    length_s: tuple[float, float],
    size: tuple[float, float],
    *,
    two_sided: bool = False,
) -> tuple[Event, ...]:
    """Draw events at random times, in their order; lengths and sizes by median and spread."""
    starts = np.sort(rng.uniform(0, seconds, rng.poisson(per_minute * seconds / 60)))
    lengths = _lognormal(rng, *length_s, len(starts))
    sizes = _lognormal(rng, *size, len(starts)) * (rng.choice([-1, 1], len(starts)) if two_sided else 1)
    return tuple(
        Event(_rounded(start), _rounded(start + max(length, 0.05)), _rounded(size))
        for start, length, size in zip(starts, lengths, sizes, strict=True)
    )


def _states(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Draw the times at which rhythms change their strength: every 15 to 60 s, from 0 to the end."""
    lengths = rng.uniform(15, 60, int(seconds / 15) + 1)
    inner = np.cumsum(lengths)
    return np.concatenate([[0.0], inner[inner < seconds - 5], [seconds]])


def _reference(rng: np.random.Generator, cap: Cap, choice: CapChoice) -> str:
    """Draw a reference at which no channel is."""
    directions = cap.directions[[cap.ch_names.index(name) for name in channel_sites(cap, choice.channels)]]
    usual = {
        name: weight
        for name, weight in _REFERENCES.items()
        if name not in REFERENCE_SITES or (directions @ site_direction(name)).max() < _SAME_PLACE
    }
    if len(choice.channels) < 4:
        del usual["average"]  # takes out what there is
    weights = np.array(list(usual.values()), dtype=float)
    return str(rng.choice(list(usual), p=weights / weights.sum()))


def _lognormal(rng: np.random.Generator, median: float, spread: float, size: int | None = None) -> np.ndarray | float:
    """Draw from a log-normal distribution."""
    return median * np.exp(spread * rng.standard_normal(size))


def _rounded(value: float, digits: int = 4) -> float:
    """A number as a file holds it; the signals are made of the rounded ones."""
    return round(float(value), digits)
