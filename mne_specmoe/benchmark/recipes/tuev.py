"""Six kinds of events in the hospital EEG of TUEV."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mne_specmoe._validation import SpecMoEWarning, listed
from mne_specmoe.benchmark.recipes.cutting import (
    TUH_LEADS,
    Cut,
    bipolar,
    collect,
    electrodes,
    filtered,
    find_channels,
    one_fold,
    open_edf,
)
from mne_specmoe.benchmark.recipes.files import digests_of
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

CLASSES = ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG")
OFFICIAL_PARTS = ("train", "eval")
WINDOW_SECONDS = 5.0
AROUND_SECONDS = 2.0
"""What a window has before and after its event, which lasts a second."""

_TIMES, _AROUND = round(WINDOW_SECONDS * SFREQ), round(AROUND_SECONDS * SFREQ)


class Events(NamedTuple):
    """Windows of one recording.

    Attributes
    ----------
    starts : ndarray of int, shape (n_events,)
        First samples, which may lie before the recording begins.
    labels : ndarray of int, shape (n_events,)
        Places in the classes.
    """

    starts: np.ndarray
    labels: np.ndarray


Choose = Callable[[Events, int], Events]
"""Takes all events and the length of a recording, and returns those to use."""


def missing(folder: Path) -> list[str]:
    """Folders without recordings, and recordings without events."""
    found = {part: _paths(folder, part) for part in OFFICIAL_PARTS}
    empty = [f"edf/{part}" for part, paths in found.items() if not paths]
    lone = [_events_path(path) for paths in found.values() for path in paths if not _events_path(path).is_file()]
    return empty + [path.relative_to(folder).as_posix() for path in lone]


def read(choose: Choose, folder: Path) -> TaskData:
    """The events of all recordings; a session begins with the official part that it is in."""
    paths = {part: _paths(folder, part) for part in OFFICIAL_PARTS}
    digests = digests_of(
        folder, (each for own in paths.values() for path in own for each in (path, _events_path(path)))
    )
    return collect(_cuts(paths, choose), ch_names=TUH_LEADS, classes=CLASSES, digests=digests)


def _paths(folder: Path, part: str) -> list[Path]:
    """The recordings of an official part."""
    return sorted((folder / "edf" / part).rglob("*.edf"))


def _events_path(path: Path) -> Path:
    """The list of events beside a recording."""
    return path.with_suffix(".rec")


def _cuts(paths: Mapping[str, Sequence[Path]], choose: Choose) -> Iterator[Cut]:
    """Windows of every recording."""
    skipped = []
    for part, own in paths.items():
        for path in own:
            volts = _volts(path)
            if volts is None:
                skipped.append(path.name)
                continue
            starts, labels = choose(events_of(_events_path(path), volts.shape[1]), volts.shape[1])
            yield Cut(_subject(path, part), f"{part}/{path.stem}", path.stem, _around(volts, starts), labels, starts)
    if skipped:
        warnings.warn(
            f"{len(skipped)} recordings of TUEV lack electrodes of the 16 leads and are left out: {listed(skipped)}. "
            "State it with the score.",
            SpecMoEWarning,
            stacklevel=2,
        )


def _subject(path: Path, part: str) -> str:
    """Whose recording it is; those of the evaluation part are named by what they show, in a folder per subject."""
    return path.name.split("_")[0] if part == "train" else f"eval-{path.parent.name}"


def _volts(path: Path) -> np.ndarray | None:
    """The leads at 200 Hz: resampled, filtered, and then bipolar; None where an electrode is missing."""
    raw = open_edf(path)
    try:
        names = find_channels(raw.ch_names, electrodes(TUH_LEADS), path)
    except ValueError:
        return None
    raw = raw.pick(names, verbose="ERROR").load_data(verbose="ERROR").resample(SFREQ, verbose="ERROR")
    return bipolar(filtered(raw, 0.3, 75, notch=60), TUH_LEADS, path)


def events_of(path: Path, n_times: int) -> Events:
    """Read the list of a recording's events: per line channel, onset and end in seconds, and kind."""
    try:
        rows = [[float(each) for each in line.split(",")] for line in path.read_text().splitlines() if line.strip()]
        _, onsets, ends, codes = np.array(rows).reshape(-1, 4).T
    except ValueError as error:  # of text that is no number, and of another number of columns
        raise ValueError(f"{path} must have four numbers per line, separated by commas: {error}.") from error
    if unknown := sorted(set(codes.tolist()) - set(range(1, 1 + len(CLASSES)))):
        raise ValueError(f"{path} has events of the kinds {unknown}, but they must be 1 to {len(CLASSES)}.")
    times = np.arange(n_times) / SFREQ
    first, last = np.searchsorted(times, onsets), np.searchsorted(times, ends)  # the first at or after
    wrong = np.flatnonzero((last - first != _TIMES - 2 * _AROUND) | (onsets < 0))
    if len(wrong):
        onset, end = onsets[wrong[0]], ends[wrong[0]]
        raise ValueError(
            f"{path} has an event from {onset:g} to {end:g} s, but events must last 1 s and lie within the "
            f"{n_times / SFREQ:g} s of the recording; get the original files, version 2.0.0 or 2.0.1."
        )
    return Events(first - _AROUND, codes.astype(int) - 1)


def _around(volts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Windows of a recording whose end is followed by its begin, [n_windows, n_leads, n_times]."""
    return volts[:, (starts[:, None] + np.arange(_TIMES)) % volts.shape[1]].swapaxes(0, 1)


def every_row(events: Events, _n_times: int) -> Events:
    """All, as published: one window for each channel that was marked."""
    return events


def once(events: Events, n_times: int) -> Events:
    """Windows within the recording, each once, but none that was marked as two kinds."""
    kinds = defaultdict(set)
    for start, label in zip(*(each.tolist() for each in events), strict=True):
        kinds[start].add(label)
    kept = sorted(start for start, own in kinds.items() if len(own) == 1 and 0 <= start <= n_times - _TIMES)
    return Events(np.array(kept, dtype=int), np.array([min(kinds[start]) for start in kept], dtype=int))


def official(data: TaskData) -> Split:
    """The first four fifths of the subjects of the official training part train, the rest validate."""
    in_test = np.char.startswith(data.sessions, "eval/")
    subjects = sorted(set(data.subjects[~in_test].tolist()))
    training = set(subjects[: int(0.8 * len(subjects))])
    own = ["training" if subject in training else "validation" for subject in data.subjects.tolist()]
    return one_fold("official parts", np.where(in_test, "test", own).tolist())


_CONFOUNDS = (
    "the corpora that models of this kind are pretrained on are of the same hospital: its evaluation subjects may have "
    "been seen",
    "windows of neighbouring events share up to 4 s within a part, so fewer than they seem are independent",
    "how often each kind occurs differs between parts, as their recordings were chosen in different ways",
    "recordings that lack an electrode are left out, with a warning",
    "results from before June 2025 are of another split",
)
_FACTS: Mapping = {
    "citation": 'Harati et al. (2015), "Improved EEG event classification using differential energy", IEEE SPMB, '
    "doi:10.1109/SPMB.2015.7405421; TUH EEG Events Corpus, Temple University",
    "licence": "free of charge on signed application; not to be passed on",
    "obtain": "Apply for the TUH EEG Events Corpus (TUEV) 2.0.0 or 2.0.1 at Temple University, and put its folder edf "
    "into the folder tuev of the data root. The windows take 7 GB of the disk for temporary files while they are used, "
    "and of memory if all are trained on at once.",
    "classes": CLASSES,
    "window_seconds": WINDOW_SECONDS,
    "folder": "tuev",
    "missing": missing,
    "rule": official,
}

RECIPES = (
    Recipe(
        name="tuev_published",
        title="Six kinds of events, one window per channel that was marked",
        protocol="published",
        read=partial(read, every_row),
        confounds=(
            *_CONFOUNDS,
            "a window occurs once for each channel that was marked, maybe as different kinds, and nothing tells which "
            "channel is meant",
            "windows that reach beyond a recording go on at its other end",
        ),
        **_FACTS,
    ),
    Recipe(
        name="tuev_clean",
        title="Six kinds of events, each window once",
        protocol="clean",
        read=partial(read, once),
        confounds=(
            *_CONFOUNDS,
            "windows that were marked as two kinds, and windows that reach beyond a recording, are left out",
        ),
        **_FACTS,
    ),
)
