"""Windows with seizures, and without, of CHB-MIT's bipolar scalp EEG of children with epilepsy."""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import mne
import numpy as np

from mne_specmoe._validation import SpecMoEWarning, listed
from mne_specmoe.benchmark.recipes.cutting import (
    Cut,
    Seizure,
    collect,
    cut_resampled,
    find_channels,
    one_fold,
    open_edf,
    overlap_labels,
    pick,
    regular_starts,
    seizure_windows,
    to_200_hz,
)
from mne_specmoe.benchmark.recipes.files import absent, digests_of
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

LEADS = tuple(
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2".split()
)
CLASSES = ("background", "seizure")
SFREQ_FILES = 256
WINDOW_SECONDS = 10
INDEX = "RECORDS"
"""PhysioNet's list of all recordings."""

_LAST = {1: 46, 2: 35, 3: 38, 4: 43, 5: 39, 6: 24, 7: 19, 8: 29, 9: 19, 10: 89, 11: 99, 14: 42, 15: 63, 16: 19, 18: 36}
_LAST |= {19: 30, 20: 68, 21: 33, 22: 77, 23: 20}
_FIRST = {8: 2, 23: 6}  # else 1
CASES = {f"chb{case:02d}": range(_FIRST.get(case, 1), last + 1) for case, last in _LAST.items()}
CASES["chb24"] = (1, *range(3, 22))
"""Case → numbers that its files may have: those of the published protocol."""
_SAME_PERSON = {"chb21": "chb01"}

_TIMES_FILES = WINDOW_SECONDS * SFREQ_FILES
_TIMES = round(WINDOW_SECONDS * SFREQ)
_RECORDING = re.compile(r"(chb\d\d)/chb\d\d_(\d\d)\.edf")
_FILE = re.compile(r"File Name:\s*(\S+)")
_BORDER = re.compile(r"Seizure(?:\s+\d+)? (?:Start|End) Time:\s*(\d+)")

Cases = Mapping[str, Collection[int]]
Leads = Callable[[mne.io.BaseRaw, Path], np.ndarray | None]
"""Takes a recording, and returns its leads, or None if it is not used."""
Windows = Callable[[Sequence[Seizure], int], tuple[np.ndarray, np.ndarray]]
"""Takes seizures and length of a recording, and returns starts and labels of windows."""


def missing(cases: Cases, folder: Path) -> list[str]:
    """Files of the cases that are not there."""
    if not (folder / INDEX).is_file():
        return [INDEX]
    return absent([*_recordings(cases, folder), *(_summary(case) for case in cases)], folder)


def read(cases: Cases, leads: Leads, windows: Windows, folder: Path) -> TaskData:
    """Windows of all recordings; a subject is a person, and a session is a case."""
    names = _recordings(cases, folder)
    digests = digests_of(folder, (folder / name for name in [*names, *map(_summary, cases)]))
    seizures = {name: found for case in cases for name, found in seizures_of(folder / _summary(case)).items()}
    cuts = _cuts([folder / name for name in names], seizures, leads, windows)
    return collect(cuts, ch_names=LEADS, classes=CLASSES, digests=digests)


def _recordings(cases: Cases, folder: Path) -> list[str]:
    """The recordings of the index that the protocol uses; names with a letter or a plus are never among them."""
    found = map(_RECORDING.fullmatch, (folder / INDEX).read_text().split())
    return sorted(each[0] for each in found if each and int(each[2]) in cases.get(each[1], ()))


def _summary(case: str) -> str:
    """The file in which a case's seizures are listed."""
    return f"{case}/{case}-summary.txt"


def seizures_of(path: Path) -> dict[str, list[Seizure]]:
    """Read the list of a case's seizures: file name → onset and end of each, in samples as published."""
    _, *parts = _FILE.split(path.read_text(encoding="latin-1"))
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        borders = [int(seconds) * SFREQ_FILES - 1 for seconds in _BORDER.findall(text)]
        if len(borders) % 2 or any(end <= onset for onset, end in zip(borders[::2], borders[1::2], strict=True)):
            raise ValueError(f"{path} lists seizures of {name} without an end after the onset; download it anew.")
        found[name] = list(zip(borders[::2], borders[1::2], strict=True))
    if not found:
        raise ValueError(f"{path} lists no files, so it is not the summary of a case; download it anew.")
    return found


def _cuts(
    paths: Sequence[Path], seizures: Mapping[str, Sequence[Seizure]], leads: Leads, windows: Windows
) -> Iterator[Cut]:
    """Windows of every recording that is used."""
    skipped = []
    for path in paths:
        volts = leads(open_edf(path, SFREQ_FILES), path)
        if volts is None:
            skipped.append(path.name)
            continue
        own, n_times = seizures.get(path.name, ()), volts.shape[1]
        if own and own[-1][1] > n_times:
            raise ValueError(f"{path} ends before its last seizure does; it is another file. Download it anew.")
        starts, labels = windows(own, n_times)
        X, case = cut_resampled(volts, starts, _TIMES_FILES, _TIMES), path.stem[:5]
        yield Cut(_SAME_PERSON.get(case, case), case, path.stem, X, labels, to_200_hz(starts, SFREQ_FILES))
    if skipped:
        warnings.warn(
            f"{len(skipped)} recordings of CHB-MIT lack some of the 16 leads and are left out: {listed(skipped)}. "
            "State it with the score.",
            SpecMoEWarning,
            stacklevel=2,
        )


def _lead(raw: mne.io.BaseRaw, lead: str, path: Path) -> str | None:
    """Name of a lead in a file, where it is there."""
    try:
        return find_channels(raw.ch_names, [lead], path)[0]
    except ValueError:
        return None


def leads_or_zeros(raw: mne.io.BaseRaw, path: Path) -> np.ndarray:
    """All leads in volts, zeros where a lead is missing; a file with none is an error."""
    there = [place for place, lead in enumerate(LEADS) if _lead(raw, lead, path)]
    volts = np.zeros((len(LEADS), raw.n_times))
    volts[there] = pick(raw, [LEADS[place] for place in there] or LEADS, path).get_data()
    return volts


def leads_or_nothing(raw: mne.io.BaseRaw, path: Path) -> np.ndarray | None:
    """All leads in volts, or None where one is missing."""
    return pick(raw, LEADS, path).get_data() if all(_lead(raw, lead, path) for lead in LEADS) else None


def windows_as_published(seizures: Sequence[Seizure], n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows side by side, labelled by the borders of seizures, and extra ones of seizures."""
    return seizure_windows(seizures, n_times, SFREQ_FILES, WINDOW_SECONDS)


def windows_clean(seizures: Sequence[Seizure], n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows side by side, labelled 1 where half or more is a seizure."""
    starts = regular_starts(n_times, _TIMES_FILES)
    return starts, overlap_labels(starts, _TIMES_FILES, seizures)


def by_case(validation: Sequence[str], test: Sequence[str], data: TaskData) -> Split:
    """These cases validate and test, the others train."""
    part_of = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    return one_fold("fixed cases", [part_of.get(case, "training") for case in data.sessions.tolist()])


_CONFOUNDS = (
    "seizures are rare: give the area under the precision-recall curve with its base rate, the share of seizures that "
    "are found, and false alarms per hour",
    "two cases validate and two test, and cases 12, 13 and 17 and files whose names have a letter or a plus are not "
    "used, as published",
    "the channels are bipolar leads, so a row has no site of its own; BrainRVQ's published results named the rows "
    "after electrodes, nine of them wrongly",
    "each window is resampled on its own, so its edges ring; nothing is filtered",
)
_AS_PUBLISHED = (
    "windows that lie within a seizure as a whole are labelled as background where they are cut side by side",
    "extra windows of seizures are added in every part, so seizures are more frequent than they were",
    "leads that a file lacks are filled with zeros, which may tell the case",
)
_AS_CLEAN = (
    "a window is one of a seizure if at least half of it is",
    "files that lack one of the leads are left out, with a warning",
)
_FACTS: Mapping = {
    "citation": 'Shoeb (2009), "Application of machine learning to epileptic seizure onset detection and treatment", '
    "PhD thesis, MIT; CHB-MIT Scalp EEG Database 1.0.0, PhysioNet, doi:10.13026/C2K01R",
    "licence": "ODC-By 1.0, as far as known; see the licence that comes with the files",
    "obtain": "Get CHB-MIT Scalp EEG Database 1.0.0 from PhysioNet (chbmit), all of it with its file RECORDS (43 GB), "
    "and put it into the folder chbmit/1.0.0 of the data root. The windows take about as much of the disk for "
    "temporary files while they are used, and of memory if all are trained on at once.",
    "classes": CLASSES,
    "window_seconds": float(WINDOW_SECONDS),
    "folder": "chbmit/1.0.0",
    "missing": partial(missing, CASES),
    "subjects": tuple(case for case in CASES if case not in _SAME_PERSON),
}

RECIPES = (
    Recipe(
        name="chb_mit_published",
        title="Seizure or not, the published split and labels",
        protocol="published",
        read=partial(read, CASES, leads_or_zeros, windows_as_published),
        rule=partial(by_case, ("chb21", "chb22"), ("chb23", "chb24")),
        known_leaks=("case chb21, which validates, is the same person as chb01, which trains",),
        confounds=(*_CONFOUNDS, *_AS_PUBLISHED),
        **_FACTS,
    ),
    Recipe(
        name="chb_mit_clean",
        title="Seizure or not, by person, with labels mended",
        protocol="clean",
        read=partial(read, CASES, leads_or_nothing, windows_clean),
        rule=partial(by_case, ("chb20", "chb22"), ("chb23", "chb24")),
        confounds=(*_CONFOUNDS, *_AS_CLEAN),
        **_FACTS,
    ),
)
