"""Seeded signals that look like EEG, with as much class information as is asked for."""

import mne
import numpy as np

from mne_specmoe._validation import check_number, check_seed
from mne_specmoe.data.preprocessing import TEN_TWENTY_19

_CLASSES = ("left_hand", "right_hand", "feet", "rest")
_SITES = ("C3", "C4", "Cz", "Pz")  # where the mu rhythm of each class is strong
_FIRST_NAMES = (*_SITES, "O1", "O2", "Fz", "P3", "P4", "F3", "F4")  # kept when channels are few

_BACKGROUND_VOLTS = 12e-6
_ALPHA_VOLTS = 8e-6
_MU_VOLTS = 8e-6
_LOWEST_HZ = 0.5
_CORRELATION_LENGTH = 0.6  # in head radii


def make_eeg(
    n_epochs: int,
    n_channels: int,
    n_times: int,
    *,
    sfreq: float = 200.0,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> np.ndarray:
    """Draw background EEG: 1/f noise that neighbours share, and an alpha rhythm at the back.

    The channels lie on the upper half of a sphere, from the front (first) to the back (last).

    Parameters
    ----------
    n_epochs, n_channels, n_times : int
        The shape wanted.
    sfreq : float, default=200
        Sampling rate in Hz.
    random_state : int, RandomState, Generator or None
        Seed of the draw.

    Returns
    -------
    volts : ndarray, shape (n_epochs, n_channels, n_times)
        The signals in volts; the standard deviation is about 12 to 15 µV.

    Examples
    --------
    >>> from mne_specmoe.data.synthetic import make_eeg
    >>> make_eeg(5, 2, 400, random_state=0).shape
    (5, 2, 400)
    """
    for name, value in {"n_epochs": n_epochs, "n_channels": n_channels, "n_times": n_times}.items():
        check_number(name, value, minimum=1, integer=True)
    check_number("sfreq", sfreq, minimum=0, strict=True)
    rng = np.random.default_rng(check_seed(random_state))
    positions = _half_sphere(n_channels)
    return _background(rng, n_epochs, positions, n_times, sfreq) + _alpha(rng, n_epochs, positions, n_times, sfreq)


def make_epochs(
    n_epochs: int = 40,
    *,
    n_channels: int = 19,
    duration: float = 4.0,
    sfreq: float = 200.0,
    n_classes: int = 2,
    effect: float = 1.0,
    n_subjects: int = 4,
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
) -> tuple[mne.EpochsArray, np.ndarray, np.ndarray]:
    """Draw Epochs of an imagined-movement experiment.

    On top of the background of `make_eeg`, a mu rhythm (11 Hz) is stronger over C3, C4, Cz
    and Pz in turn for the classes ``left_hand``, ``right_hand``, ``feet`` and ``rest``. Subjects
    differ in amplitude and in the frequency of their rhythms.

    Parameters
    ----------
    n_epochs : int, default=40
        Number of epochs, of all subjects together; subjects and classes get equal shares, as far as
        they divide, in random order within a subject.
    n_channels : int, default=19
        Number of channels, at least `n_classes`, at most 19: of the 10-20 system, with positions.
    duration : float, default=4
        Length of an epoch in seconds.
    sfreq : float, default=200
        Sampling rate in Hz.
    n_classes : {2, 3, 4}, default=2
        Number of classes.
    effect : float, default=1
        Amplitude of the class's mu rhythm, relative to 8 µV. With 0 the epochs hold no information
        on the class.
    n_subjects : int, default=4
        Number of subjects.
    random_state : int, RandomState, Generator or None, default=0
        Seed of the draw.

    Returns
    -------
    epochs : mne.EpochsArray
        The epochs, with a montage, event names and a metadata column ``"subject"``.
    y : ndarray of int, shape (n_epochs,)
        The classes, 1 to `n_classes`: ``epochs.events[:, 2]``.
    groups : ndarray of str, shape (n_epochs,)
        The subjects: ``epochs.metadata["subject"]``.

    Examples
    --------
    >>> from mne_specmoe import make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=12, n_subjects=3, random_state=0)
    >>> len(epochs), sorted(epochs.event_id)
    (12, ['left_hand', 'right_hand'])
    """
    check_number("n_classes", n_classes, minimum=2, maximum=len(_CLASSES), integer=True)
    check_number("n_channels", n_channels, minimum=n_classes, maximum=19, integer=True)
    check_number("n_subjects", n_subjects, minimum=1, integer=True)
    check_number("n_epochs", n_epochs, minimum=n_subjects, integer=True)
    check_number("duration", duration, minimum=0, strict=True)
    check_number("sfreq", sfreq, minimum=0, strict=True)
    check_number("effect", effect, minimum=0)
    rng = np.random.default_rng(check_seed(random_state))
    n_times = max(1, round(duration * sfreq))
    info = _info(n_channels, sfreq)
    positions = _positions(info)
    subject = np.arange(n_epochs) * n_subjects // n_epochs
    y = np.concatenate([_shuffled_classes(rng, n, n_classes) for n in np.bincount(subject)])
    data = np.empty((n_epochs, n_channels, n_times))
    for number in range(n_subjects):
        own = np.flatnonzero(subject == number)
        gain, shift = rng.uniform(0.8, 1.25), rng.uniform(-0.7, 0.7)
        data[own] = gain * (
            _background(rng, len(own), positions, n_times, sfreq)
            + _alpha(rng, len(own), positions, n_times, sfreq, frequency=10 + shift)
            + effect * _mu(rng, y[own], info.ch_names, positions, n_times, sfreq, 11 + shift)
        )
    groups = np.array([f"S{number + 1:02d}" for number in subject])
    epochs = mne.EpochsArray(
        data,
        info,
        events=np.column_stack([np.arange(n_epochs) * n_times, np.zeros(n_epochs, int), y]),
        event_id={_CLASSES[code - 1]: code for code in np.unique(y)},
        metadata=_subject_metadata(groups),
        verbose="WARNING",
    )
    return epochs, y, groups


def _shuffled_classes(rng: np.random.Generator, n: int, n_classes: int) -> np.ndarray:
    """`n` class codes from 1, in equal shares as far as they divide, in random order."""
    return rng.permutation(np.arange(n) % n_classes) + 1


def _info(n_channels: int, sfreq: float) -> mne.Info:
    """Channels of the 10-20 system with their positions; the useful ones first to be kept."""
    by_use = (*_FIRST_NAMES, *(name for name in TEN_TWENTY_19 if name not in _FIRST_NAMES))
    names = [name for name in TEN_TWENTY_19 if name in by_use[:n_channels]]
    info = mne.create_info(names, sfreq, "eeg", verbose="WARNING")
    montages = mne.channels.get_builtin_montages()
    name = "colin27_1020" if "colin27_1020" in montages else "standard_1020"  # MNE >= 1.13, older
    return info.set_montage(name, verbose="WARNING")


def _subject_metadata(groups: np.ndarray):
    """A metadata table; MNE takes a list of dicts where pandas is missing."""
    try:
        import pandas as pd
    except ImportError:
        return [{"subject": str(group)} for group in groups]
    return pd.DataFrame({"subject": groups})


def _positions(info: mne.Info) -> np.ndarray:
    """Positions of the channels on the unit sphere: x to the right, y to the front."""
    xyz = np.array([channel["loc"][:3] for channel in info["chs"]])
    return xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def _half_sphere(n_channels: int) -> np.ndarray:
    """Points spread over the upper half of the unit sphere, from the front to the back."""
    step = np.arange(n_channels) + 0.5
    height, angle = step / n_channels, step * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return points[np.argsort(-points[:, 1])]


def _background(
    rng: np.random.Generator, n_epochs: int, positions: np.ndarray, n_times: int, sfreq: float
) -> np.ndarray:
    """Noise with power 1/f (flat below 0.5 Hz), correlated between neighbouring channels."""
    n_channels = len(positions)
    frequencies = np.fft.rfftfreq(n_times, 1 / sfreq)
    amplitude = 1 / np.sqrt(np.maximum(frequencies, _LOWEST_HZ))
    spectrum = amplitude * np.fft.rfft(rng.standard_normal((n_epochs, n_channels, n_times)))
    noise = np.fft.irfft(spectrum, n_times)
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    mixing = np.linalg.cholesky(np.exp(-distance / _CORRELATION_LENGTH))
    scale = _BACKGROUND_VOLTS / np.sqrt(np.mean(amplitude**2))
    return scale * np.einsum("cd,edt->ect", mixing, noise, optimize=True)


def _alpha(
    rng: np.random.Generator,
    n_epochs: int,
    positions: np.ndarray,
    n_times: int,
    sfreq: float,
    *,
    frequency: float = 10.0,
) -> np.ndarray:
    """An alpha rhythm, strongest at the back of the head."""
    at_the_back = 1 / (1 + np.exp(8 * (positions[:, 1] + 0.4)))
    rhythm = _rhythm(rng, n_epochs, n_times, sfreq, frequency)
    return _ALPHA_VOLTS * at_the_back[:, None] * rhythm[:, None]


def _mu(
    rng: np.random.Generator,
    y: np.ndarray,
    ch_names: list[str],
    positions: np.ndarray,
    n_times: int,
    sfreq: float,
    frequency: float,
) -> np.ndarray:
    """A mu rhythm around the site of each epoch's class."""
    sites = positions[[ch_names.index(_SITES[code - 1]) for code in y]]
    distance = np.linalg.norm(positions[None] - sites[:, None], axis=-1)  # epochs, channels
    rhythm = _rhythm(rng, len(y), n_times, sfreq, frequency)
    return _MU_VOLTS * np.exp(-((distance / 0.5) ** 2))[:, :, None] * rhythm[:, None]


def _rhythm(rng: np.random.Generator, n_epochs: int, n_times: int, sfreq: float, frequency: float) -> np.ndarray:
    """A wave of random phase and slowly changing strength per epoch; its variance is about 1."""
    times = np.arange(n_times) / sfreq
    phase, start = rng.uniform(0, 2 * np.pi, (2, n_epochs, 1))
    strength = 1 + 0.5 * np.sin(2 * np.pi * 0.3 * times + start)
    return strength * np.sqrt(2 / 1.125) * np.sin(2 * np.pi * frequency * times + phase)
