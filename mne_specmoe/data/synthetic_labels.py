"""What is known of made-up people: their traits and all that happens in their EEG, to the sample."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

from mne_specmoe._files import write_text
from mne_specmoe.data.corpus import LABELS_NAME, Corpus


@dataclass(frozen=True)
class Event:
    """Something that has a beginning and an end.

    Attributes
    ----------
    start_s, stop_s : float
        In seconds from the beginning of the recording, of which the corpus leaves out the edges (`Corpus.start_of`
        counts in the same way).
    size : float
        Of bursts of a rhythm: what its envelope has in the middle, beside the base; of spikes and artefacts: µV, see
        there; of states: a factor. All before the person's gain.
    """

    start_s: float
    stop_s: float
    size: float


@dataclass(frozen=True)
class Dipole:
    """A source in the brain.

    Attributes
    ----------
    place_m : tuple of float
        x, y, z in metres, head coordinates of the montage, as those of the electrodes.
    orientation : tuple of float
        Of length 1.
    amplitude_uv : float
        Root mean square (of spikes: 1) where its potential on the scalp is largest, against the mean of the scalp,
        while the envelope is 1.
    coupling : float
        Share of its variance that comes from the oscillator common to all sources of the rhythm.
    lag_s : float
        How much later than the common oscillator.
    """

    place_m: tuple[float, float, float]
    orientation: tuple[float, float, float]
    amplitude_uv: float
    coupling: float
    lag_s: float


@dataclass(frozen=True)
class Rhythm:
    """A peak in the spectrum.

    Two sources i and j have the coherence (in its peak) c_i · c_j of their couplings, times what others add, and a lag
    of ``lag_s`` of j − that of i.

    Attributes
    ----------
    kind : {"theta", "alpha", "mu", "beta", "pair", "spindle"}
        Which rhythm; a pair is two places far from each other at any frequency.
    frequency_hz, bandwidth_hz : float
        Of the damped oscillator.
    harmonic : float
        Amplitude of the second harmonic over that of the first.
    base : float
        The envelope between bursts.
    dipoles : tuple of Dipole
        Where it comes from.
    bursts : tuple of Event
        When it is strong.
    states : tuple of Event
        Stretches of time without gaps, with the factor of the envelope.
    """

    kind: str
    frequency_hz: float
    bandwidth_hz: float
    harmonic: float
    base: float
    dipoles: tuple[Dipole, ...]
    bursts: tuple[Event, ...]
    states: tuple[Event, ...]


@dataclass(frozen=True)
class SyntheticPerson:
    """Everything that was drawn for one made-up person, but for the noise itself.

    Attributes
    ----------
    subject : str
        The name in the corpus.
    montage : str
        Name of the montage.
    ch_names : tuple of str
        The channels.
    n_times : int
        Samples of the recording, edges included.
    sfreq : float
        In Hz.
    exponent, knee_hz : float
        Of the background: its power is 1 / (knee^exponent + f^exponent).
    exponent_difference : float
        Exponent at the front minus that at the back.
    background_uv : float
        Root mean square over the scalp, above 0.5 Hz, against its mean.
    patch_m : float
        Distance over which the background's sources fall to 1/e of their correlation.
    rhythms : tuple of Rhythm
        The peaks.
    spike_source : Dipole or None
        Where spikes come from, if there are any.
    spikes : tuple of Event
        Spike and slow wave; size: µV at the top where the potential is largest.
    blinks, saccades : tuple of Event
        Size: µV at Fp1, and at F8.
    muscles : tuple of tuple of Event
        Of each muscle; size: µV, root mean square over the muscle.
    muscle_sites : tuple of str
        Electrodes over the muscles.
    line_hz, line_uv : float
        Mains, before they are filtered out.
    noise_uv, drift_uv : float
        White noise and slow drift of each electrode.
    reference : str
        ``"average"`` of the channels, ``"linked ears"``, or the name of a place.
    gain : float
        All is multiplied by it.
    """

    subject: str
    montage: str
    ch_names: tuple[str, ...]
    n_times: int
    sfreq: float
    exponent: float
    knee_hz: float
    exponent_difference: float
    background_uv: float
    patch_m: float
    rhythms: tuple[Rhythm, ...]
    spike_source: Dipole | None
    spikes: tuple[Event, ...]
    blinks: tuple[Event, ...]
    saccades: tuple[Event, ...]
    muscles: tuple[tuple[Event, ...], ...]
    muscle_sites: tuple[str, ...]
    line_hz: float
    line_uv: float
    noise_uv: float
    drift_uv: float
    reference: str
    gain: float

    def events(self, start_s: float, stop_s: float) -> Iterator[tuple[str, Event]]:
        """Yield what happens between two times, in seconds from the beginning of the recording.

        Yields
        ------
        kind : str
            A rhythm's kind and number, such as ``"alpha 1"``; ``"spike"``, ``"blink"``, ``"saccade"``, ``"muscle T7"``.
        event : Event
        """
        named = [(f"{rhythm.kind} {number}", rhythm.bursts) for number, rhythm in enumerate(self.rhythms)]
        named += [("spike", self.spikes), ("blink", self.blinks), ("saccade", self.saccades)]
        named += [(f"muscle {site}", events) for site, events in zip(self.muscle_sites, self.muscles, strict=True)]
        for kind, events in named:
            for event in events:
                if event.start_s < stop_s and event.stop_s > start_s:
                    yield kind, event


def read_synthetic_labels(corpus: Corpus) -> dict[str, SyntheticPerson]:
    """Read what is known of the people of a corpus that :func:`~mne_specmoe.synthesize_corpus` made.

    Parameters
    ----------
    corpus : Corpus
        The corpus; it may hold other people as well, see :func:`~mne_specmoe.join_corpora`.

    Returns
    -------
    people : dict of str to SyntheticPerson
        By subject, in alphabetical order; those of whom nothing was kept are left out.

    Raises
    ------
    ValueError
        If the corpus has no labels.

    Examples
    --------
    >>> people = read_synthetic_labels(corpus)  # doctest: +SKIP
    >>> person, start = people[corpus.subject_of[7]], corpus.start_of[7]  # doctest: +SKIP
    >>> list(person.events(start, start + 10))  # in segment 7 of 10 s  # doctest: +SKIP
    """
    known = sorted((corpus.path / LABELS_NAME).glob("*.json"))
    subjects = set(map(str, corpus.subject_of))
    people = {path.stem: _read(path) for path in known if path.stem in subjects}
    if not people:
        raise ValueError(
            f"The corpus {corpus.path} has no labels ({LABELS_NAME}/<subject>.json): it was not made by "
            "synthesize_corpus (mne-specmoe corpus synthesize)."
        )
    return people


def write_synthetic_labels(path: Path, people: Mapping[str, Callable[[], SyntheticPerson]]) -> None:
    """Write a file per person into the folder of a corpus, each whole or not at all; those that are there stay.

    Parameters
    ----------
    path : Path
        Folder of the corpus.
    people : mapping of str to callable
        Subject → what draws the person.
    """
    folder = path / LABELS_NAME
    folder.mkdir(exist_ok=True)
    for subject, draw in people.items():
        file = folder / f"{subject}.json"
        if not file.exists():
            write_text(file, json.dumps(asdict(draw()), allow_nan=False))


def _read(path: Path) -> SyntheticPerson:
    """One person's file."""
    return _restored(SyntheticPerson, json.loads(path.read_text(encoding="utf-8")))


def _restored(hint: object, value: object) -> object:
    """What `asdict` and JSON have made of a value of some type, as it was."""
    if value is None or not (is_dataclass(hint) or get_args(hint)):
        return value
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{field.name: _restored(hints[field.name], value[field.name]) for field in fields(hint)})
    inner = get_args(hint)[0]  # of tuples of one type, and of what may be None
    return tuple(_restored(inner, each) for each in value) if isinstance(value, list) else _restored(inner, value)
