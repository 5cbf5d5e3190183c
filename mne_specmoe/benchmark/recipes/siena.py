"""Siena: windows with seizures, and without, of the scalp EEG of patients with epilepsy."""

import datetime
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.recipes.cutting import (
    Cut,
    Seizure,
    collect,
    cut_resampled,
    filtered,
    natural_key,
    one_fold,
    open_edf,
    overlap_labels,
    pick,
    regular_starts,
    seizure_windows,
    to_200_hz,
)
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData

CHANNELS = tuple(
    "Fp1 F3 C3 P3 O1 F7 T3 T5 Fc1 Fc5 Cp1 Cp5 F9 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6 Fc2 Fc6 Cp2 Cp6 F10".split()
)
PATIENTS = tuple(f"PN{number:02d}" for number in (0, 1, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 16, 17))
_STORED_HZ = 512
_WINDOW_SECONDS = 10
_N_TIMES = 2000  # of a window at 200 Hz

Clock = str
"""Time of the day, hh.mm.ss."""
Seizures = Mapping[str, tuple[Clock, tuple[tuple[Clock, Clock], ...]]]
"""Recording → when it began, and the onset and end of every seizure."""

_TABLE = """
PN00-1 19.39.33 19.58.36-19.59.46
PN00-2 02.18.17 02.38.37-02.39.31
PN00-3 18.15.44 18.28.29-18.29.29
PN00-4 20.51.43 21.08.29-21.09.43
PN00-5 22.22.04 22.37.08-22.38.15
PN01-1 19.00.44 21.51.02-21.51.56 07.53.17-07.54.31
PN03-1 22.44.37 09.29.10-09.31.01
PN03-2 21.31.04 07.13.05-07.15.18
PN05-2 06.46.02 08.45.25-08.46.00
PN05-3 06.01.23 07.55.19-07.55.49
PN05-4 06.38.35 07.38.43-07.39.22
PN06-1 04.21.22 05.54.25-05.55.29
PN06-2 21.11.29 23.39.09-23.40.18
PN06-3 06.25.51 08.10.26-08.11.08
PN06-4 11.16.09 12.55.08-12.56.11
PN06-5 13.24.41 14.44.24-14.45.08
PN07-1 23.18.10 05.25.49-05.26.51
PN09-1 14.08.54 16.09.43-16.11.03
PN09-2 15.02.09 17.00.56-17.01.55
PN09-3 14.20.23 16.20.44-16.21.48
PN10-1 05.40.05 07.45.50-07.46.59
PN10-2 09.30.15 11.40.13-11.41.04
PN10-3 13.33.18 15.43.53-15.45.02
PN10-4.5.6 12.11.21 12.49.50-12.49.55 14.00.25-14.00.44 15.18.26-15.19.23
PN10-7.8.9 16.49.25 17.35.13-17.36.01 18.20.24-18.20.42 20.24.48-20.25.03
PN10-10 08.45.22 10.58.19-10.58.33
PN11-1 11.31.25 13.37.19-13.38.14
PN12-1.2 15.51.31 16.13.23-16.14.26 18.31.01-18.32.09
PN12-3 08.42.35 08.55.27-08.57.03
PN12-4 15.59.19 18.42.51-18.43.54
PN13-1 08.24.28 10.22.10-10.22.58
PN13-2 06.55.02 08.55.51-08.56.56
PN13-3 12.00.01 14.05.54-14.08.25
PN14-1 11.44.58 13.46.00-13.46.27
PN14-2 15.50.13 17.54.52-17.55.04
PN14-3 16.17.45 21.10.05-21.10.46
PN14-4 14.18.30 15.49.33-15.50.56
PN16-1 20.45.21 22.45.05-22.47.08
PN16-2 00.53.55 03.16.49-03.18.36
PN17-1 20.14.28 22.34.48-22.35.58
PN17-2 13.52.18 16.01.09-16.02.32
"""
_NEVER_MATCHED = ("PN00-3", "PN06-1", "PN06-2", "PN06-4")  # absent, or under a name with the letter O


def _parse(table: str) -> Seizures:
    """The table by recordings."""
    rows = [line.split() for line in table.split("\n") if line]
    return {name: (begin, tuple(tuple(each.split("-")) for each in spans)) for name, begin, *spans in rows}


SEIZURES: Seizures = _parse(_TABLE)
"""All 41 recordings and 47 seizures, corrected but for the begin of recordings, which the files tell."""


def missing_of_siena(folder: Path, *, table: Seizures = SEIZURES) -> list[str]:
    """Name the recordings that are not there."""
    paths = [_path(folder, name) for name in table]
    return [str(path.relative_to(folder)) for path in paths if not path.is_file()]


def read_published(folder: Path, *, table: Seizures = SEIZURES, unknown: Sequence[str] = _NEVER_MATCHED) -> TaskData:
    """Read regular and extra windows, labelled by the published rules and from the published begin of recordings.

    Parameters
    ----------
    folder : Path
        The data set as PhysioNet distributes it.
    table : mapping
        Recordings, when they began, and their seizures.
    unknown : sequence of str
        Recordings whose seizures the published table does not find.

    Returns
    -------
    data : TaskData
        The files in natural order; of each, the regular windows and then the extra ones.
    """
    table = {name: (begin, () if name in unknown else spans) for name, (begin, spans) in table.items()}
    return _read(folder, table, _published_windows)


def read_clean(folder: Path, *, table: Seizures = SEIZURES) -> TaskData:
    """Read windows side by side, with label 1 where half of one or more is seizure; recordings begin as they state."""
    return _read(folder, table, _clean_windows)


def _read(folder: Path, table: Seizures, windows_of) -> TaskData:
    """Read all recordings of the table."""
    names = sorted(table, key=natural_key)
    return collect(
        (_cut(_path(folder, name), *table[name], windows_of) for name in names),
        ch_names=CHANNELS,
        classes=("background", "seizure"),
        digests={name: file_digest(_path(folder, name)) for name in names},
    )


def _path(folder: Path, name: str) -> Path:
    """File of a recording."""
    return folder / name.split("-")[0] / f"{name}.edf"


def _cut(path: Path, begin: Clock, spans: Sequence[tuple[Clock, Clock]], windows_of) -> Cut:
    """The windows of one recording."""
    raw = pick(open_edf(path, _STORED_HZ), CHANNELS, path)
    volts = filtered(raw, 0.1, 75, notch=50).get_data()
    stated = raw.info["meas_date"]
    starts, labels = windows_of(begin, stated.time() if stated else None, spans, volts.shape[1], path)
    windows = cut_resampled(volts, starts, _WINDOW_SECONDS * _STORED_HZ, _N_TIMES)
    return Cut(path.stem.split("-")[0], path.stem, path.stem, windows, labels, to_200_hz(starts, _STORED_HZ))


def _published_windows(begin, _stated, spans, n_samples, _path) -> tuple[np.ndarray, np.ndarray]:
    """Windows by the published rules, from the begin that the table gives."""
    return seizure_windows(_samples(begin, spans), n_samples, _STORED_HZ, _WINDOW_SECONDS)


def _clean_windows(_begin, stated: datetime.time | None, spans, n_samples, path) -> tuple[np.ndarray, np.ndarray]:
    """Windows side by side, labelled by overlap, from the begin that the file states."""
    if stated is None:
        raise ValueError(f"{path} does not state when it began; get the original file.")
    seizures = _samples(stated.strftime("%H.%M.%S"), spans)
    if outside := [
        span for span, (onset, end) in zip(spans, seizures, strict=True) if not 0 <= onset < end <= n_samples
    ]:
        raise ValueError(
            f"{path} begins at {stated} and lasts {n_samples / _STORED_HZ:g} s, but has seizures at {outside}: it is "
            "cut short, or its header was changed; download it anew."
        )
    starts = regular_starts(n_samples, _WINDOW_SECONDS * _STORED_HZ)
    return starts, overlap_labels(starts, _WINDOW_SECONDS * _STORED_HZ, seizures)


def _samples(begin: Clock, spans: Sequence[tuple[Clock, Clock]]) -> list[Seizure]:
    """Onsets and ends of seizures in samples."""
    return [tuple(_seconds_after(begin, each) * _STORED_HZ for each in span) for span in spans]


def _seconds_after(begin: Clock, clock: Clock) -> int:
    """Seconds since the recording began; an hour before that of the begin is of the next day."""
    first, then = ([int(part) for part in each.split(".")] for each in (begin, clock))
    days = int(then[0] < first[0])
    return 24 * 3600 * days + sum(
        unit * (later - earlier) for unit, later, earlier in zip((3600, 60, 1), then, first, strict=True)
    )


def _published_split(data: TaskData) -> Split:
    """Patients above 12 test; of every other patient, and of each label, four windows in five train.

    Like the published split, and unlike others, it looks at labels. The kind of generator is not known: this is
    Python's.
    """
    generator = random.Random(42)
    numbers = np.array([int(name[2:]) for name in data.subjects])
    parts = np.where(numbers > 12, "test", "validation").astype("<U10")
    for patient in sorted(set(numbers[numbers <= 12].tolist())):
        own = np.flatnonzero(numbers == patient)
        for label in dict.fromkeys(data.y[own].tolist()):  # in order of first appearance
            places = own[data.y[own] == label].tolist()
            generator.shuffle(places)
            parts[places[: int(0.8 * len(places))]] = "training"
    return one_fold("patients above 12", parts.tolist())


_CONFOUNDS = (
    "seizures are rare, so give the area under the precision-recall curve with the share of seizure windows, the "
    "sensitivity to events and false alarms per hour as well",
    "test patients are four, with ten recordings in all; the filters see the whole recording, without labels",
    "every window is resampled by FFT on its own, so its edges ring",
    "a missing channel is an error here; the published code goes on with fewer rows",
)
_FACTS: Mapping = {
    "title": "Seizure or not",
    "citation": "Detti (2020), Siena Scalp EEG Database 1.0.0, PhysioNet, doi:10.13026/5d4a-j060",
    "licence": "CC BY 4.0, as far as known: read the licence file that comes with the data",
    "obtain": "Download the Siena Scalp EEG Database 1.0.0 from PhysioNet (siena-scalp-eeg) into the folder siena, so "
    "that it holds siena/PN00/PN00-1.edf. Reading needs 12 GB in the folder of temporary files, and 20 GB of memory "
    "for the longest recording.",
    "classes": ("background", "seizure"),
    "window_seconds": float(_WINDOW_SECONDS),
    "folder": "siena",
    "missing": missing_of_siena,
    "subjects": PATIENTS,
}

RECIPES = (
    Recipe(
        name="siena_published",
        protocol="published",
        read=read_published,
        rule=_published_split,
        confounds=(
            *_CONFOUNDS,
            "windows that lie within a seizure as a whole are labelled background among the regular windows, and "
            "seizure among the extra ones: the same seconds have both labels, in the test part too",
            "four recordings' seizures (PN00-3, PN06-1, PN06-2, PN06-4) are labelled background, as the published "
            "table does not find them",
            "the published table lets PN14-3, a test recording, begin three hours too early, and PN05-3 ten seconds "
            "too late, so their labels are wrong",
            "extra windows overlap each other and the regular ones, and may begin after the end of the seizure; those "
            "that the end of the recording cuts short are left out here",
            "the published split is drawn with seed 42, by a generator that is not known: which windows validate "
            "differs from the original, how many does not; it looks at labels",
        ),
        known_leaks=(
            "Validation windows are of the patients and recordings that train, drawn at random; extra windows overlap "
            "regular ones, so training and validation share the same seconds. Test patients are others.",
        ),
        **_FACTS,
    ),
    Recipe(
        name="siena_clean",
        protocol="clean",
        read=read_clean,
        rule=fixed_subjects(PATIENTS[:7], PATIENTS[7:10], PATIENTS[10:]),
        confounds=(
            *_CONFOUNDS,
            "a window is a seizure where half of it or more is; all 47 seizures, recordings begin when they state",
            "three patients validate",
        ),
        **_FACTS,
    ),
)
