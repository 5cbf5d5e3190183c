"""Corpora of synthetic EEG, of which everything is known."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mne
import numpy as np

from mne_specmoe._validation import check_number
from mne_specmoe.data.build import as_list, describe_settings, fill_corpus
from mne_specmoe.data.caps import CapChoice, choose_channels, make_cap
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.segments import SegmentSettings
from mne_specmoe.data.sources import Source
from mne_specmoe.data.synthetic_labels import SyntheticPerson, write_synthetic_labels
from mne_specmoe.data.synthetic_people import draw_person
from mne_specmoe.data.synthetic_signals import make_raw
from mne_specmoe.signal.canonical import SFREQ

VERSION = 1
"""Of the way in which people are made; the same seed gives the same people within one version."""

_EDGE_SECONDS = 2.0  # at both ends, in which filters settle
_CHANNELS, _TRAITS, _NOISE = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True)
class SyntheticRecording:
    """A recording of a made-up person, which is made when it is read.

    Attributes
    ----------
    number : int
        Of the person, from 0.
    seed : int
        Of the corpus.
    choice : CapChoice
        The channels.
    n_times : int
        Samples, edges included.
    """

    number: int
    seed: int
    choice: CapChoice
    n_times: int

    @property
    def subject(self) -> str:
        """The person's name, which is that of the recording."""
        return f"synthetic-{self.seed}-{self.number + 1:05d}"

    def draw_person(self) -> SyntheticPerson:
        """Draw the person, the same one every time."""
        rng = np.random.default_rng([self.seed, _TRAITS, self.number])
        cap = make_cap(self.choice.montage)
        return draw_person(rng, self.subject, cap, self.choice, n_times=self.n_times, sfreq=SFREQ)

    def make_raw(self) -> mne.io.RawArray:
        """Make the recording, the same one every time."""
        return make_raw(self.draw_person(), np.random.default_rng([self.seed, _NOISE, self.number]))


def synthesize_corpus(
    path: str | os.PathLike,
    *,
    hours: float,
    montages: str | Sequence[str] = "paper",
    seed: int = 0,
    person_seconds: float = 120.0,
    segment_seconds: float = 10.0,
    l_freq: float | None = 0.5,
    h_freq: float | None = 60.0,
    notch: float | Sequence[float] | None = (50.0, 60.0),
    reject_uv: float | None = 300.0,
    n_jobs: int = 1,
    progress: bool = True,
) -> Corpus:
    """Make up a corpus for pretraining: EEG of people who do not exist, of which everything is known.

    A person has a background with a power of 1 / (knee^exponent + f^exponent), from small sources all over the cortex;
    rhythms (theta, alpha, mu on either side, beta, pairs of distant places, sleep spindles), damped oscillators driven
    by noise that come in bursts, change between states, and have several sources that are coupled with a lag; in some
    people, spikes with slow waves; blinks, saccades, muscle activity, mains, noise and drift of electrodes. Sources in
    the brain are dipoles in MNE's spherical head of four layers. Exponent, knee, frequencies, places, amplitudes,
    reference and gain are drawn per person. What was drawn is written beside the corpus, see
    :func:`~mne_specmoe.read_synthetic_labels`.

    Recordings are preprocessed and cut as :func:`~mne_specmoe.build_corpus` does with real ones. A call that was
    interrupted, also by ``kill -9``, goes on when it is repeated with the same arguments, and the corpus is the same;
    until then its summary says that it is not finished. The same seed gives the same corpus.

    Parameters
    ----------
    path : path-like
        Folder of the corpus: a new or empty one, or one to go on with.
    hours : float
        How much, of all people together. Segments that reach ``reject_uv`` are dropped, so a little less is kept.
    montages : str or sequence of str, default="paper"
        Caps, which people wear in turn. ``"paper"``: the 19 channels of SpecMoE's paper. The name of a montage that MNE
        knows, such as ``"standard_1020"`` or ``"biosemi64"``: all its electrodes (of two names for one place, the
        first). With a number, ``"standard_1005:24"``: so many of its electrodes, drawn once per entry. With names,
        ``"standard_1005:TP9,AF7,AF8,TP10"``: these.
    seed : int, default=0
        Of everything.
    person_seconds : float, default=120
        How much EEG of one person there is, about: all people have whole segments, and equally many.
    segment_seconds : float, default=10
        Length of a segment.
    l_freq, h_freq, notch, reject_uv
        As of :func:`~mne_specmoe.build_corpus`. The defaults are those of the corpus of the starter experts.
    n_jobs : int, default=1
        Processes that work at the same time; -1 takes one per core. The corpus does not depend on it.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    corpus : Corpus
        The corpus, opened. Amplitudes are in µV as in real EEG.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there is no such montage (all are named) or channel, or if ``path`` holds
        something else, or a corpus with other settings (they are named).
    OSError
        If the corpus cannot be written, as when the disk is full. Call again to go on when there is space.
    RuntimeError
        If another process is making the same corpus.

    Examples
    --------
    >>> import tempfile
    >>> from mne_specmoe import synthesize_corpus
    >>> with tempfile.TemporaryDirectory() as path:
    ...     corpus = synthesize_corpus(path, hours=0.02, montages=["paper", "standard_1005:TP9,AF7,AF8,TP10"],
    ...                                person_seconds=40, progress=False)
    >>> [len(montage) for montage in corpus.montages]
    [19, 4]
    """
    path, montages = Path(path), [montages] if isinstance(montages, str) else list(montages)
    settings = SegmentSettings(
        l_freq=l_freq,
        h_freq=h_freq,
        notch=as_list(notch),
        sfreq=SFREQ,
        segment_seconds=segment_seconds,
        edge_seconds=_EDGE_SECONDS,
        min_seconds=0.0,
        reject_uv=reject_uv,
        channels="all",
    )
    for name, value in {"hours": hours, "person_seconds": person_seconds}.items():
        check_number(name, value, minimum=0, strict=True)
    check_number("seed", seed, minimum=0, integer=True)
    check_number("n_jobs", n_jobs, integer=True)
    n_people, n_each = _amounts(3600 * hours, person_seconds, settings.n_times / SFREQ)
    choices = _choices(montages, seed)
    n_times = n_each * settings.n_times + 2 * round(_EDGE_SECONDS * SFREQ)
    made = [
        SyntheticRecording(number, int(seed), choices[number % len(choices)], n_times) for number in range(n_people)
    ]
    synthesis = {"version": VERSION, "seed": int(seed), "n_people": n_people, "n_each": n_each, "montages": montages}
    described = describe_settings(settings, None, synthesis=synthesis)
    return fill_corpus(
        [Source(recording.subject, f"version {VERSION}", recording) for recording in made],
        path,
        settings,
        described,
        beside=partial(write_synthetic_labels, people={recording.subject: recording.draw_person for recording in made}),
        n_jobs=n_jobs,
        progress=progress,
    )


def _amounts(seconds: float, person_seconds: float, segment_seconds: float) -> tuple[int, int]:
    """How many people there are, and how many segments each has."""
    n_people = max(1, round(seconds / person_seconds))
    return n_people, max(1, round(seconds / n_people / segment_seconds))


def _choices(montages: Sequence[str], seed: int) -> list[CapChoice]:
    """The caps that people wear in turn."""
    if not montages:
        raise ValueError("montages must name one montage at least, such as 'standard_1020'; got none.")
    return [
        choose_channels(text, np.random.default_rng([seed, _CHANNELS, place])) for place, text in enumerate(montages)
    ]
