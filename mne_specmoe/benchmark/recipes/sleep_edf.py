"""Sleep stages, from the Sleep Cassette part of Sleep-EDF expanded."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import mne
import numpy as np

from mne_specmoe.benchmark.recipes.cutting import Cut, check_whole, collect, cut_at, make_fold, open_edf, pick
from mne_specmoe.benchmark.recipes.files import digests_of
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split, by_subject
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

_LOST = ("SC4132", "SC4361", "SC4521")
NIGHTS = tuple(
    night
    for subject in range(83)
    if subject not in (39, 68, 69, 78, 79)
    for night in (f"SC4{subject:02d}1", f"SC4{subject:02d}2")
    if night not in _LOST
)
"""The 153 recordings: SC4, the subject in two digits, and its night."""
CHANNELS = ("Fpz-Cz", "Pz-Oz")
CLASSES = ("W", "N1", "N2", "N3", "REM")
SFREQ_FILES = 100.0
EPOCH_SECONDS = 30.0
WAKE_SECONDS = 1800.0
"""How much of the time awake is kept before the first and after the last epoch of sleep."""

_STAGES = {
    "Sleep stage W": 0,
    "Sleep stage 1": 1,
    "Sleep stage 2": 2,
    "Sleep stage 3": 3,
    "Sleep stage 4": 3,
    "Sleep stage R": 4,
}
_NO_STAGE = ("Sleep stage ?", "Movement time")
_TIMES = round(EPOCH_SECONDS * SFREQ)


def missing(nights: Sequence[str], folder: Path) -> list[str]:
    """Files of the nights that are not there."""
    return [name for night in nights for name in _names(night) if len(list(folder.glob(name))) == 0]


def read(nights: Sequence[str], folder: Path) -> TaskData:
    """All epochs with a stage, from 30 min before sleep until 30 min after it."""
    paths = {night: [_only(folder, name) for name in _names(night)] for night in nights}
    cuts = (_cut(night, *pair) for night, pair in paths.items())
    digests = digests_of(folder, (path for pair in paths.values() for path in pair))
    return collect(cuts, ch_names=CHANNELS, classes=CLASSES, digests=digests)


def by_night(n_folds: int, data: TaskData) -> Split:
    """Deal nights out to folds in turn, whosever they are; the next fold's test nights validate."""
    nights = sorted(set(data.recordings.tolist()))
    own = {night: place % n_folds for place, night in enumerate(nights)}
    folds = []
    for fold in range(n_folds):
        part_of = {fold: "test", (fold + 1) % n_folds: "validation"}
        parts = [part_of.get(own[night], "training") for night in data.recordings.tolist()]
        folds.append(make_fold(f"nights {fold + 1} of {n_folds}", parts))
    return Split(tuple(folds), "session")


def _subject(night: str) -> str:
    """Whose night it is."""
    return night[:5]


def _names(night: str) -> tuple[str, str]:
    """Patterns of the two files of a night; of the letters, one stands for the recorder, the other for the scorer."""
    return f"{night}?0-PSG.edf", f"{night}??-Hypnogram.edf"


def _only(folder: Path, pattern: str) -> Path:
    """The one file of a pattern."""
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        raise ValueError(f"There must be one file {pattern} in {folder}, got {[path.name for path in paths]}.")
    return paths[0]


def _cut(night: str, signals: Path, hypnogram: Path) -> Cut:
    """The epochs of one night."""
    raw = pick(open_edf(signals, SFREQ_FILES), CHANNELS, signals).resample(SFREQ, verbose="ERROR")
    starts, labels = map(np.array, zip(*_epochs(hypnogram), strict=True))
    # Stages of the time awake may go on when the recording has ended.
    kept = _near_sleep(starts, labels, hypnogram) & ((starts + _TIMES <= raw.n_times) | (labels > 0))
    try:
        X = cut_at(raw.get_data(), starts[kept], _TIMES)
    except ValueError as error:
        raise ValueError(f"{hypnogram} has stages of sleep when {signals.name} has ended: {error}") from error
    return Cut(_subject(night), night[5], night, X, labels[kept], starts[kept])


def _epochs(hypnogram: Path) -> Iterator[tuple[int, int]]:
    """First sample at 200 Hz and stage of every scored epoch."""
    check_whole(hypnogram)
    marks = mne.read_annotations(hypnogram)
    if unknown := sorted(set(marks.description.tolist()) - {*_STAGES, *_NO_STAGE}):
        raise ValueError(f"{hypnogram} has stages that are not known: {unknown}; known are {[*_STAGES, *_NO_STAGE]}.")
    if not set(marks.description.tolist()) & set(_STAGES):
        raise ValueError(f"{hypnogram} has no sleep stages; it must be the hypnogram of the original data set.")
    for mark in marks:
        if mark["description"] in _STAGES:
            for place in range(int(mark["duration"] // EPOCH_SECONDS)):
                onset = mark["onset"] + place * EPOCH_SECONDS
                yield round(onset * SFREQ), _STAGES[mark["description"]]


def _near_sleep(starts: np.ndarray, labels: np.ndarray, hypnogram: Path) -> np.ndarray:
    """Which epochs lie within half an hour of the time from the first to the last epoch of sleep."""
    asleep = starts[labels > 0]
    if not len(asleep):
        raise ValueError(f"{hypnogram} has no epoch of sleep, so it is not of a night.")
    margin = round(WAKE_SECONDS * SFREQ)
    return (starts >= asleep.min() - margin) & (starts <= asleep.max() + margin)


_CONFOUNDS = (
    "there is no one protocol for this data set: papers differ in nights, channels, folds and in how much of the time "
    "awake they keep (30 min on either side here), so scores compare only where all of these agree",
    "stages 3 and 4 of Rechtschaffen and Kales are N3; epochs of movement or without a stage are left out",
    "no filter was applied after the recorder's; 100 Hz were resampled to 200 Hz, so there is nothing above 50 Hz",
    "each recording was scored once, by one of several scorers, and people agree on about four epochs of five",
    "recordings were made at home on cassettes, of people from 25 to 101 years, older ones mostly with higher numbers",
)
_FACTS: Mapping = {
    "citation": 'Kemp et al. (2000), "Analysis of a sleep-dependent neuronal feedback loop: the slow-wave '
    'microcontinuity of the EEG", IEEE Trans. Biomed. Eng. 47(9), doi:10.1109/10.867928; Sleep-EDF Database Expanded '
    "1.0.0, PhysioNet, doi:10.13026/C2X676",
    "licence": "ODC-By 1.0",
    "obtain": "Get the folder sleep-cassette of Sleep-EDF Database Expanded 1.0.0 from PhysioNet (sleep-edfx), and put "
    "its files into the folder sleep-edfx/1.0.0/sleep-cassette of the data root. The windows take 10 GB of "
    "disk while they are used, and as much memory if all are trained on at once.",
    "classes": CLASSES,
    "window_seconds": EPOCH_SECONDS,
    "folder": "sleep-edfx/1.0.0/sleep-cassette",
    "missing": partial(missing, NIGHTS),
    "read": partial(read, NIGHTS),
    "subjects": tuple(sorted({_subject(night) for night in NIGHTS})),
}

RECIPES = (
    Recipe(
        name="sleep_edf_published",
        title="Sleep stages, nights dealt out regardless of whose they are",
        protocol="published",
        rule=partial(by_night, 10),
        known_leaks=(
            "the two nights of a person are in different parts of most folds, so people who are tested were trained on",
        ),
        confounds=(
            *_CONFOUNDS,
            "this stands for the papers that split recordings instead of people; it is not the list of any one paper",
        ),
        **_FACTS,
    ),
    Recipe(
        name="sleep_edf_clean",
        title="Sleep stages, both nights of a person together",
        protocol="clean",
        rule=by_subject([_FACTS["subjects"]], 10),
        confounds=_CONFOUNDS,
        **_FACTS,
    ),
)
