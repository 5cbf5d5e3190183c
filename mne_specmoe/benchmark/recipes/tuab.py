"""TUAB: normal or abnormal recordings of a hospital."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mne_specmoe._files import file_digest
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
    side_by_side,
)
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

CLASSES = ("normal", "abnormal")
OFFICIAL_PARTS = ("train", "eval")
_WINDOW_SECONDS = 10


def missing_of_tuab(folder: Path) -> list[str]:
    """Name the folders without recordings."""
    places = [_folder(part, label) for part in OFFICIAL_PARTS for label in CLASSES]
    return [f"{place}/*.edf" for place in places if not any((folder / place).glob("*.edf"))]


def read_tuab(folder: Path) -> TaskData:
    """Read windows side by side of all recordings.

    Parameters
    ----------
    folder : Path
        The corpus, version 3.0.1, as its authors distribute it.

    Returns
    -------
    data : TaskData
        Sessions are named by official part, label and session, such as "train/normal/s001_t000".

    Raises
    ------
    ValueError
        If a file is damaged.

    Warns
    -----
    SpecMoEWarning
        If recordings lack an electrode; they are skipped, as published.
    """
    digests: dict[str, str] = {}
    return collect(_cuts(folder, digests), ch_names=TUH_LEADS, classes=CLASSES, digests=digests)


def _folder(part: str, label: str) -> str:
    """Folder of the recordings of one official part and label."""
    return f"edf/{part}/{label}/01_tcp_ar"


def _cuts(folder: Path, digests: dict[str, str]) -> Iterator[Cut]:
    """Windows of every recording, whose digests are noted down."""
    skipped = []
    for part in OFFICIAL_PARTS:
        for label, name in enumerate(CLASSES):
            for path in sorted((folder / _folder(part, name)).glob("*.edf"), key=lambda path: path.name):
                raw = open_edf(path)
                try:
                    picks = find_channels(raw.ch_names, electrodes(TUH_LEADS), path)
                except ValueError:
                    skipped.append(path.name)
                    continue
                digests[path.stem] = file_digest(path)
                windows, starts = _windows(raw.pick(picks, verbose="ERROR"), path)
                subject, _, session = path.stem.partition("_")
                yield Cut(subject, f"{part}/{name}/{session}", path.stem, windows, np.full(len(starts), label), starts)
    if skipped:
        warnings.warn(
            f"{len(skipped)} recordings of TUAB lack electrodes of the 16 leads and are skipped, as published: "
            f"{listed(skipped)}. State it with the score.",
            SpecMoEWarning,
            stacklevel=2,
        )


def _windows(raw, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Windows and starts of one recording: resampled, filtered, and only then bipolar."""
    raw.load_data(verbose="ERROR")
    raw.resample(SFREQ, verbose="ERROR")
    return side_by_side(bipolar(filtered(raw, 0.3, 75, notch=60), TUH_LEADS, path), round(_WINDOW_SECONDS * SFREQ))


def _published_split(data: TaskData) -> Split:
    """The first 80 % of the official training part's subjects of each label train, the rest validate."""
    return _split(data, CLASSES)


def _clean_split(data: TaskData) -> Split:
    """The first 80 % of the official training part's subjects train, the rest validate, whatever their labels."""
    return _split(data, ("",))


def _split(data: TaskData, groups: Sequence[str]) -> Split:
    """Cut each group's sorted subjects of the official training part in two; the official evaluation part tests."""
    official, labels, _ = np.array([name.split("/") for name in data.sessions.tolist()]).T
    parts = np.where(official == "eval", "test", "validation").astype("<U10")
    for group in groups:
        own = (official == "train") & ((labels == group) | (not group))
        subjects = np.unique(data.subjects[own])  # sorted
        parts[own & np.isin(data.subjects, subjects[: int(0.8 * len(subjects))])] = "training"
    return one_fold("official evaluation part", parts.tolist())


_CONFOUNDS = (
    "labels are of recordings, copied to every window: score by recording, with the mean of its windows' "
    "probabilities, as well as by window",
    "the corpora that published models of this kind were pretrained on come from the same hospital, and evaluation "
    "subjects were not left out of them",
    "SpecMoE's published number is of 50,000 windows each to train and to validate, chosen at random; here are all",
    "numbers of CBraMod printed before June 2025 are of other splits",
    "stated counts for version 3.0.1 are 297,103 windows to train, 75,407 to validate, 36,945 to test",
    "recordings that lack an electrode are skipped, with a warning",
)
_FACTS: Mapping = {
    "title": "Normal or abnormal recording",
    "citation": "López et al. (2015), TUH Abnormal EEG Corpus 3.0.1, Temple University, Neural Engineering Data "
    "Consortium",
    "licence": "free on a signed agreement, no redistribution: read the terms that come with the data",
    "obtain": "Ask the Neural Engineering Data Consortium for TUH Abnormal EEG, version 3.0.1, and copy it into the "
    "folder tuab, so that it holds tuab/edf/train/normal/01_tcp_ar. Reading needs 53 GB in the folder of temporary "
    "files.",
    "classes": CLASSES,
    "window_seconds": float(_WINDOW_SECONDS),
    "folder": "tuab",
    "missing": missing_of_tuab,
    "read": read_tuab,
}

RECIPES = (
    Recipe(
        name="tuab_published",
        protocol="published",
        rule=_published_split,
        confounds=_CONFOUNDS,
        known_leaks=(
            "Training and validation are cut apart within each label, so a subject with normal and abnormal recordings "
            "can be in both. Test subjects are others.",
        ),
        **_FACTS,
    ),
    Recipe(
        name="tuab_clean",
        protocol="clean",
        rule=_clean_split,
        confounds=(*_CONFOUNDS, "every subject of the official training part either trains or validates"),
        **_FACTS,
    ),
)
