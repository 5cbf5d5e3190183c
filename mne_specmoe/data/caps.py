"""Caps on a spherical head: where electrodes are, and what dipoles and muscles bring about there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import mne
import numpy as np

from mne_specmoe._validation import check_number, listed
from mne_specmoe.data.preprocessing import TEN_TWENTY_19
from mne_specmoe.data.segments import montage_name
from mne_specmoe.signal.names import site_name

HEAD_RADIUS = 0.09
"""Radius of the spherical head in metres."""

REFERENCE_SITES = ("A1", "A2", "Fpz", "Cz", "FCz", "nose")
"""Places beside a cap's own that can be a reference: ears, three electrodes, tip of the nose."""

MUSCLE_SITES = ("T7", "T8", "F7", "F8", "PO9", "PO10", "AF7", "AF8")
"""Electrodes over muscles: of the temples, the neck, the forehead."""

_PLACE_BESIDE = 1e-3  # m: electrodes nearer than this are one, under two names
_N_DIPOLES = 420
_LOWEST = -0.35  # of dipoles, in head radii above the middle
_DEPTHS = (0.68, 0.86)  # radii of dipoles, in head radii: in the brain, 13 to 29 mm below the scalp
_EYES = np.array([[-0.033, 0.078, -0.045], [0.033, 0.078, -0.045]])  # m; outside of the spherical brain
_EYE_SIZE = 0.03  # m: within it, the field grows no more
_NOSE = np.array([0.0, 0.87, -0.5])
_DENSE = "biosemi128"  # electrodes all over the scalp
_MUSCLE_WIDTH = 0.35  # rad: how far a muscle is seen on the scalp


@dataclass(frozen=True, eq=False)
class Cap:
    """Electrodes of a montage and what sources in and on a spherical head bring about there, before any reference.

    Attributes
    ----------
    montage : str
        Name of the montage.
    ch_names : tuple of str
        Electrodes, then those of `REFERENCE_SITES` that are places for references only.
    n_channels : int
        So many of them are the montage's own.
    places : ndarray, shape (n_channels, 3)
        Of the montage's own electrodes, in metres, head coordinates.
    directions : ndarray, shape (n_sites, 3)
        Of all, from the middle of the head, of length 1.
    dipoles : ndarray, shape (n_dipoles, 3)
        Places of dipoles, in metres, from the middle of the head.
    leadfield : ndarray, shape (n_sites, n_dipoles, 3)
        Potentials of dipoles along x, y and z, in V per A·m, against a place far away.
    blinks, saccades : ndarray, shape (n_sites,)
        Potentials of eyes that turn up (1 at Fp1) and to the right (1 at F8).
    muscles : ndarray, shape (n_sites, n_muscles)
        Potentials of muscles; largest 1.
    middle : ndarray, shape (3,)
        The middle of the head in head coordinates, in metres.
    scale : float
        Radius of the montage's head over `HEAD_RADIUS`.
    """

    montage: str
    ch_names: tuple[str, ...]
    n_channels: int
    places: np.ndarray
    directions: np.ndarray
    dipoles: np.ndarray
    leadfield: np.ndarray
    blinks: np.ndarray
    saccades: np.ndarray
    muscles: np.ndarray
    middle: np.ndarray
    scale: float

    def nearest_dipole(self, direction: np.ndarray) -> int:
        """Number of the dipole that is nearest to a direction from the middle of the head."""
        return int(np.argmax(self.dipoles @ direction / np.linalg.norm(self.dipoles, axis=1)))

    def topography(self, dipole: int, orientation: np.ndarray) -> np.ndarray:
        """Potentials of one dipole at all sites, shape (n_sites,), scaled so that the largest over the scalp is 1."""
        field = _dense_leadfield()[:, dipole] @ orientation
        largest = np.abs(field - field.mean()).max()
        return self.leadfield[:, dipole] @ orientation / largest

    def place_of(self, dipole: int) -> np.ndarray:
        """Place of a dipole in metres, head coordinates of the montage, shape (3,)."""
        return self.middle + self.scale * self.dipoles[dipole]


@dataclass(frozen=True)
class CapChoice:
    """A montage and which of its channels, as :func:`~mne_specmoe.synthesize_corpus` takes them as text.

    Attributes
    ----------
    montage : str
        Name of the montage.
    channels : tuple of str
        Names of the channels, in their order.
    """

    montage: str
    channels: tuple[str, ...]


def choose_channels(text: str, rng: np.random.Generator) -> CapChoice:
    """Read which montage is meant, and which of its channels.

    Parameters
    ----------
    text : str
        ``"paper"``: the 19 channels of SpecMoE's paper. The name of a montage that MNE knows, such as
        ``"standard_1020"``: all its electrodes. ``"biosemi64:24"``: 24 of them at random.
        ``"standard_1005:TP9,AF7,AF8,TP10"``: these.
    rng : numpy.random.Generator
        For a random subset.

    Returns
    -------
    choice : CapChoice

    Raises
    ------
    ValueError
        If there is no such montage, or no such channels in it.
    """
    montage, _, wanted = text.partition(":")
    if montage == "paper":
        if wanted:
            raise ValueError(f"{text!r}: 'paper' is a set of channels already; take standard_1020:{wanted}.")
        return CapChoice("standard_1020", TEN_TWENTY_19)
    names = tuple(electrodes(montage))
    if not wanted:
        return CapChoice(montage, names)
    if wanted.isdigit():
        check_number(f"the number of channels of {text!r}", int(wanted), minimum=1, maximum=len(names), integer=True)
        chosen = np.sort(rng.permutation(len(names))[: int(wanted)])
        return CapChoice(montage, tuple(names[place] for place in chosen))
    channels = tuple(name.strip() for name in wanted.split(",") if name.strip())
    _check_channels(channels, names, montage)
    return CapChoice(montage, channels)


def _check_channels(channels: Sequence[str], names: Sequence[str], montage: str) -> None:
    """Raise unless a montage has the channels, each once."""
    sites = {site_name(name) for name in names}
    if missing := [name for name in channels if site_name(name) not in sites]:
        raise ValueError(f"The montage {montage!r} has no channels {listed(missing)}. It has {listed(names)}.")
    if len({site_name(name) for name in channels}) < len(channels) or not channels:
        raise ValueError(f"Channels of {montage!r} must be one or more different ones, got {listed(channels)}.")


def electrodes(montage: str) -> dict[str, np.ndarray]:
    """Places (3,) in metres, head coordinates, of a montage's electrodes by name; of several at one place, the first.

    Raises
    ------
    ValueError
        If MNE knows no such montage of electrodes.
    """
    known = [name for name in mne.channels.get_builtin_montages() if not name.startswith("artinis")]  # NIRS
    name = montage_name(montage)
    if name not in known:
        raise ValueError(f"There is no montage {montage!r}; there are 'paper', {listed(known)}.")
    layout = mne.channels.make_standard_montage(name)
    info = mne.create_info(layout.ch_names, 100.0, "eeg", verbose="ERROR").set_montage(layout, verbose="ERROR")
    found: dict[str, np.ndarray] = {}
    for channel in info["chs"]:
        place = channel["loc"][:3]
        if np.isfinite(place).all() and all(np.linalg.norm(place - other) > _PLACE_BESIDE for other in found.values()):
            found[channel["ch_name"]] = place
    return found


@lru_cache(maxsize=8)
def make_cap(montage: str) -> Cap:
    """Put a montage on the spherical head; a second call for one montage takes no time.

    Parameters
    ----------
    montage : str
        A name that `electrodes` takes.

    Returns
    -------
    cap : Cap
    """
    own = electrodes(montage)
    places = np.array(list(own.values()))
    middle, radius = _sphere_through(places)
    beside = {name: site_direction(name) for name in REFERENCE_SITES}
    directions = np.concatenate([_unit(places - middle), np.array(list(beside.values()))])
    blinks, saccades = _eye_fields(directions)
    return Cap(
        montage=montage,
        ch_names=(*own, *beside),
        n_channels=len(own),
        places=places,
        directions=directions,
        dipoles=_dipoles(),
        leadfield=_leadfield(directions),
        blinks=blinks,
        saccades=saccades,
        muscles=_muscle_fields(directions),
        middle=middle,
        scale=radius / HEAD_RADIUS,
    )


def channel_sites(cap: Cap, channels: Sequence[str]) -> list[str]:
    """Names that a cap has for channels, as T7 for T3."""
    by_site = {site_name(name): name for name in reversed(cap.ch_names[: cap.n_channels])}
    exact = set(cap.ch_names[: cap.n_channels])
    return [name if name in exact else by_site[site_name(name)] for name in channels]


def site_direction(name: str) -> np.ndarray:
    """Direction (3,) of an electrode of the 10-05 system, or of the tip of the nose, from the middle of the head."""
    return _unit(_NOSE) if name == "nose" else _standard_directions()[name]


@lru_cache(maxsize=1)
def _standard_directions() -> dict[str, np.ndarray]:
    """Directions of the electrodes of the 10-05 system by name."""
    places = electrodes("standard_1005")
    middle, _ = _sphere_through(np.array(list(places.values())))
    return {name: _unit(place - middle) for name, place in places.items()}


def _sphere_through(places: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and radius of the sphere that is nearest to points, by least squares: |p|² = 2 p·c + r² − |c|²."""
    columns = np.column_stack([2 * places, np.ones(len(places))])
    (*middle, rest), *_ = np.linalg.lstsq(columns, (places**2).sum(1), rcond=None)
    middle = np.array(middle)
    return middle, float(np.sqrt(rest + middle @ middle))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@lru_cache(maxsize=1)
def _dipoles() -> np.ndarray:
    """Places (n_dipoles, 3) all over the upper part of the brain, by the golden angle, at several depths."""
    step = np.arange(_N_DIPOLES) + 0.5
    height = 1 - step / _N_DIPOLES * (1 - _LOWEST)
    angle = step * np.pi * (3 - np.sqrt(5))
    around = np.sqrt(1 - height**2)
    depth = _DEPTHS[0] + (_DEPTHS[1] - _DEPTHS[0]) * (step * np.sqrt(2) % 1)
    ways = np.column_stack([around * np.cos(angle), around * np.sin(angle), height])
    return HEAD_RADIUS * depth[:, None] * ways


@lru_cache(maxsize=1)
def _dense_leadfield() -> np.ndarray:
    """Potentials at places all over the scalp, as `_leadfield`."""
    places = np.array(list(electrodes(_DENSE).values()))
    return _leadfield(_unit(places - _sphere_through(places)[0]))


def _leadfield(directions: np.ndarray) -> np.ndarray:
    """Potentials of all dipoles along x, y and z at places on the scalp, by MNE's spherical head of four layers."""
    names = [f"E{number}" for number in range(len(directions))]
    places = dict(zip(names, HEAD_RADIUS * directions, strict=True))
    info = mne.create_info(names, 100.0, "eeg", verbose="ERROR")
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="ERROR")
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), HEAD_RADIUS, verbose="ERROR")
    grid = {"rr": _dipoles(), "nn": _unit(_dipoles())}
    sources = mne.setup_volume_source_space(pos=grid, sphere=sphere, sphere_units="m", mindist=0.0, verbose="ERROR")
    forward = mne.make_forward_solution(info, None, sources, sphere, meg=False, mindist=0.0, verbose="ERROR")
    return forward["sol"]["data"].reshape(len(directions), -1, 3)


def _eye_fields(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potentials of the eyes' dipoles that turn up (1 at Fp1) and to the right (1 at F8)."""
    here, there = (_eye_field(each) for each in (directions, np.array([site_direction("Fp1"), site_direction("F8")])))
    return here[:, 2] / there[0, 2], here[:, 0] / there[1, 0]


def _eye_field(directions: np.ndarray) -> np.ndarray:
    """Potentials (n_sites, 3) of both eyes along x, y and z, of some size, in a conductor without borders."""
    away = HEAD_RADIUS * directions[:, None] - _EYES  # sites, eyes, xyz
    distance = np.sqrt((away**2).sum(-1, keepdims=True) + _EYE_SIZE**2)
    return (away / distance**3).sum(1)


def _muscle_fields(directions: np.ndarray) -> np.ndarray:
    """Potentials of muscles, which fall off with the angle."""
    muscles = np.array([site_direction(name) for name in MUSCLE_SITES])
    angles = np.arccos(np.clip(directions @ muscles.T, -1, 1))
    return np.exp(-0.5 * (angles / _MUSCLE_WIDTH) ** 2)
