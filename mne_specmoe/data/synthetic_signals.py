"""From what is known of a made-up person to the EEG: sources mixed onto a cap, against a reference, with noise."""

from collections.abc import Sequence

import mne
import numpy as np

from mne_specmoe.data.caps import Cap, channel_sites, make_cap
from mne_specmoe.data.synthetic_labels import Dipole, Event, Rhythm, SyntheticPerson
from mne_specmoe.signal.waveforms import (
    blink,
    coloured_noise,
    damped_oscillator,
    envelope,
    muscle_noise,
    saccade,
    spike_and_wave,
    with_harmonic,
)

_SHARE_UPRIGHT = 0.5  # of the background's variance that stands upright, on gyri
_BORDER = 0.35  # head radii: over which front becomes back
_RAMP_S = 1.0  # between states
_SPREAD = 0.4  # of electrodes' noise, in logarithms
_JITTER = 1e-6  # of a covariance, which the average reference leaves without full rank


def make_signals(person: SyntheticPerson, rng: np.random.Generator) -> np.ndarray:
    """Make the EEG of a person.

    Parameters
    ----------
    person : SyntheticPerson
        All but the noise.
    rng : numpy.random.Generator
        For the noise.

    Returns
    -------
    uv : ndarray, shape (n_channels, n_times)
        In µV.
    """
    cap = make_cap(person.montage)
    reference = reference_matrix(cap, person)
    uv = _background(person, cap, reference, rng)
    courses, fields = _sources(person, cap, rng)
    uv += (reference @ fields) @ courses
    uv += _electrode_noise(person, rng)
    return person.gain * uv


def make_raw(person: SyntheticPerson, rng: np.random.Generator) -> mne.io.RawArray:
    """Make the EEG of a person as a recording in volts, with the places of electrodes."""
    cap, volts = make_cap(person.montage), 1e-6 * make_signals(person, rng)
    info = mne.create_info(list(person.ch_names), person.sfreq, "eeg", verbose="ERROR")
    own = dict(zip(cap.ch_names[: cap.n_channels], cap.places, strict=True))
    places = {name: own[site] for name, site in zip(person.ch_names, channel_sites(cap, person.ch_names), strict=True)}
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="ERROR")
    return mne.io.RawArray(volts, info, verbose="ERROR")


def reference_matrix(cap: Cap, person: SyntheticPerson) -> np.ndarray:
    """What turns potentials at all sites into those of a person's channels: shape (n_channels, n_sites)."""
    rows = [cap.ch_names.index(name) for name in channel_sites(cap, person.ch_names)]
    chosen = np.eye(len(cap.ch_names))[rows]
    if person.reference == "average":
        return chosen - chosen.mean(0)
    sites = ("A1", "A2") if person.reference == "linked ears" else (person.reference,)
    beside = np.eye(len(cap.ch_names))[[len(cap.ch_names) - 1 - cap.ch_names[::-1].index(site) for site in sites]]
    return chosen - beside.mean(0)


def _background(person: SyntheticPerson, cap: Cap, reference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of many small sources, whose spectra differ a little between front and back."""
    at_the_front = 1 / (1 + np.exp(-cap.dipoles[:, 1] / np.linalg.norm(cap.dipoles[0]) / _BORDER))
    weights = (at_the_front, 1 - at_the_front)
    uv = 0.0
    for weight, sign in zip(weights, (0.5, -0.5), strict=True):
        covariance = person.background_uv**2 * _covariance(cap, person.patch_m, weight, reference)
        exponent = max(0.1, person.exponent + sign * person.exponent_difference)
        noise = coloured_noise(
            rng, len(reference), person.n_times, person.sfreq, exponent=exponent, knee_hz=person.knee_hz
        )
        jitter = _JITTER * np.trace(covariance) * np.eye(len(covariance))
        uv = uv + np.linalg.cholesky(covariance + jitter) @ noise
    return uv


def _covariance(cap: Cap, patch_m: float, weight: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Covariance of channels for sources of some weight each; all together have a variance of 1 over the scalp."""
    fields = _patch_fields(cap, patch_m)
    own = fields[: cap.n_channels] - fields[: cap.n_channels].mean(0)
    total = (own**2).sum() / cap.n_channels
    weighted = (reference @ fields) * np.sqrt(np.tile(weight, fields.shape[1] // len(weight)))
    return weighted @ weighted.T / total


def _patch_fields(cap: Cap, patch_m: float) -> np.ndarray:
    """Potentials of independent patches of cortex: upright ones that are wide, and lying ones of all directions."""
    upright = cap.dipoles / np.linalg.norm(cap.dipoles, axis=1, keepdims=True)
    distance = np.linalg.norm(cap.dipoles[:, None] - cap.dipoles[None], axis=-1)
    along = (cap.leadfield * upright).sum(-1)  # sites, dipoles
    standing = along @ np.exp(-distance / patch_m)
    lying = np.concatenate([cap.leadfield[..., axis] - along * upright[:, axis] for axis in range(3)], 1)
    size = [np.sqrt((part**2).sum()) for part in (standing, lying)]
    shares = np.sqrt([_SHARE_UPRIGHT, 1 - _SHARE_UPRIGHT]) / size
    return np.concatenate([shares[0] * standing, shares[1] * lying], 1)


def _sources(person: SyntheticPerson, cap: Cap, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Courses (n_sources, n_times) in µV of everything that has a place, and potentials (n_sites, n_sources)."""
    courses, fields = [], []
    for rhythm in person.rhythms:
        courses += _rhythm_courses(rhythm, person, rng)
        fields += [_field(cap, dipole) for dipole in rhythm.dipoles]
    if person.spike_source is not None:
        courses.append(_waves(person.spikes, spike_and_wave, person))
        fields.append(_field(cap, person.spike_source))
    courses += [_waves(person.blinks, blink, person), _waves(person.saccades, saccade, person)]
    fields += [cap.blinks, cap.saccades]
    courses += _muscle_courses(person, rng)
    fields += list(cap.muscles.T)
    return np.array(courses), np.array(fields).T


def _field(cap: Cap, dipole: Dipole) -> np.ndarray:
    """Potentials of a dipole at all sites; 1 where they are largest on the scalp."""
    place = (np.array(dipole.place_m) - cap.middle) / cap.scale
    return cap.topography(cap.nearest_dipole(place), np.array(dipole.orientation))


def _rhythm_courses(rhythm: Rhythm, person: SyntheticPerson, rng: np.random.Generator) -> list[np.ndarray]:
    """What every source of a rhythm does."""
    strength = _strength(rhythm, person)
    lags = [round(dipole.lag_s * person.sfreq) for dipole in rhythm.dipoles]
    wave = {"frequency": rhythm.frequency_hz, "bandwidth": rhythm.bandwidth_hz}
    common = damped_oscillator(rng, person.n_times + max(lags), person.sfreq, **wave)
    courses = []
    for dipole, lag in zip(rhythm.dipoles, lags, strict=True):
        z = np.sqrt(dipole.coupling) * common[max(lags) - lag : max(lags) - lag + person.n_times]
        if dipole.coupling < 1:
            own = damped_oscillator(rng, person.n_times, person.sfreq, **wave)
            z = z + np.sqrt(1 - dipole.coupling) * own
        courses.append(dipole.amplitude_uv * strength * with_harmonic(z, rhythm.harmonic))
    return courses


def _strength(rhythm: Rhythm, person: SyntheticPerson) -> np.ndarray:
    """The envelope of a rhythm: bursts over a base, times what the state makes of it."""
    starts, stops, sizes = _columns(rhythm.bursts)
    bursts = envelope(person.n_times, person.sfreq, starts, stops, sizes, base=rhythm.base)
    starts, stops, factors = _columns(rhythm.states)
    # Constant within a state, straight lines of a second in between.
    times = np.column_stack([starts + _RAMP_S / 2, stops - _RAMP_S / 2]).ravel()
    return bursts * np.interp(np.arange(person.n_times) / person.sfreq, times, np.repeat(factors, 2))


def _columns(events: Sequence[Event]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beginnings, ends and sizes."""
    table = np.array([(event.start_s, event.stop_s, event.size) for event in events], dtype=float).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _waves(events: Sequence[Event], shape, person: SyntheticPerson) -> np.ndarray:
    """Single waves of one shape at their times."""
    course = np.zeros(person.n_times)
    for event in events:
        first, last = round(event.start_s * person.sfreq), round(event.stop_s * person.sfreq)
        wave = event.size * shape(max(last - first, 2))
        course[first:last] += wave[: len(course[first:last])]
    return course


def _muscle_courses(person: SyntheticPerson, rng: np.random.Generator) -> list[np.ndarray]:
    """What every muscle does."""
    noise = muscle_noise(rng, len(person.muscles), person.n_times, person.sfreq)
    return [
        envelope(person.n_times, person.sfreq, *_columns(events)) * each
        for events, each in zip(person.muscles, noise, strict=True)
    ]


def _electrode_noise(person: SyntheticPerson, rng: np.random.Generator) -> np.ndarray:
    """Noise, drift and mains that differ from electrode to electrode."""
    n_channels, n_times = len(person.ch_names), person.n_times
    levels = (person.noise_uv, person.drift_uv, person.line_uv)
    white, drift, line = (level * np.exp(_SPREAD * rng.standard_normal((n_channels, 1))) for level in levels)
    uv = white * rng.standard_normal((n_channels, n_times))
    uv += drift * coloured_noise(rng, n_channels, n_times, person.sfreq, exponent=2.5)
    phase = 2 * np.pi * (person.line_hz * np.arange(n_times) / person.sfreq + rng.random((n_channels, 1)))
    return uv + line * np.sin(phase)
