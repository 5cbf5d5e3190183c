"""Imagined movement of left hand, right hand, feet or tongue, from BCI Competition IV 2a."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import butter, lfilter, resample_poly, sosfiltfilt

from mne_specmoe.benchmark.recipes.cutting import MICROVOLT, Cut, collect, cut_at, resample_windows, to_200_hz
from mne_specmoe.benchmark.recipes.files import absent, digests_of
from mne_specmoe.benchmark.recipes.matlab import entry, read_classic
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

SUBJECTS = tuple(f"A{number:02d}" for number in range(1, 10))
CHANNELS = tuple("Fz FC3 FC1 FCz FC2 FC4 C5 C3 C1 Cz C2 C4 C6 CP3 CP1 CPz CP2 CP4 P1 Pz P2 POz".split())
CLASSES = ("left_hand", "right_hand", "feet", "tongue")
SFREQ_FILES = 250
CUE_SECONDS, WINDOW_SECONDS = 2, 4
"""From the beginning of a trial to the cue, and from there to the end of imagery."""

_BAND = (0.3, 40.0)
_ORDER = 5
_CUE, _TIMES_FILES = CUE_SECONDS * SFREQ_FILES, WINDOW_SECONDS * SFREQ_FILES
_TIMES = round(WINDOW_SECONDS * SFREQ)


class Run(NamedTuple):
    """One run of a session.

    Attributes
    ----------
    subject, session, recording : str
        Whose, T (first day) or E (second day), and a name of its own.
    volts : ndarray, shape (22, n_times)
        The EEG channels at 250 Hz.
    begins : ndarray of int, shape (n_trials,)
        First sample of every trial, counted from 0.
    labels : ndarray of int, shape (n_trials,)
        Places in the classes.
    """

    subject: str
    session: str
    recording: str
    volts: np.ndarray
    begins: np.ndarray
    labels: np.ndarray


Cutter = Callable[[Run], Cut]
"""Filters a run, and cuts its windows."""


def cut_as_published(run: Run) -> Cut:
    """Filter each trial on its own, forwards only and beginning at rest; its first sample is one too late."""
    b, a = butter(_ORDER, _BAND, "bandpass", fs=SFREQ_FILES)
    begins = run.begins + 1
    windows = []
    for begin, end in zip(begins, [*begins[1:], run.volts.shape[1]], strict=True):
        trial = run.volts[:, begin:end]
        windows.append(cut_at(lfilter(b, a, trial - trial.mean(0)), np.array([_CUE]), _TIMES_FILES)[0])
    return _cut(run, begins, resample_windows(np.array(windows), _TIMES))


def cut_clean(run: Run) -> Cut:
    """Filter the whole run without a shift in time, resample it, and then cut."""
    sections = butter(_ORDER, _BAND, "bandpass", fs=SFREQ_FILES, output="sos")
    filtered = sosfiltfilt(sections, run.volts - run.volts.mean(0))
    resampled = resample_poly(filtered, round(SFREQ), SFREQ_FILES, axis=-1)
    return _cut(run, run.begins, cut_at(resampled, to_200_hz(run.begins + _CUE, SFREQ_FILES), _TIMES))


def _cut(run: Run, begins: np.ndarray, X: np.ndarray) -> Cut:
    """Windows of a run with their names."""
    return Cut(*run[:3], X, run.labels, to_200_hz(begins + _CUE, SFREQ_FILES))


def put_together(runs: Iterator[Run], cut: Cutter, digests: Mapping[str, str]) -> TaskData:
    """Cut all runs; a ValueError names one that is too short."""
    return collect(_cuts(runs, cut), ch_names=CHANNELS, classes=CLASSES, digests=digests)


def _cuts(runs: Iterator[Run], cut: Cutter) -> Iterator[Cut]:
    """See `put_together`."""
    for run in runs:
        try:
            yield cut(run)
        except ValueError as error:
            raise ValueError(f"{run.recording} has trials that do not fit it, so it is cut short: {error}") from error


def missing(subjects: Sequence[str], folder: Path) -> list[str]:
    """Files of the subjects that are not there."""
    return absent(file_names(subjects), folder)


def read(subjects: Sequence[str], cut: Cutter, folder: Path) -> TaskData:
    """All trials of both sessions, those with artifacts too."""
    paths = [folder / name for name in file_names(subjects)]
    return put_together((run for path in paths for run in _runs(path)), cut, digests_of(folder, paths))


def file_names(subjects: Sequence[str]) -> list[str]:
    """Both sessions of every subject."""
    return [f"{subject}{session}.mat" for subject in subjects for session in "TE"]


def places(codes: np.ndarray, where: object) -> np.ndarray:
    """Labels 1 to 4 as places in the classes."""
    if unknown := sorted(set(codes.tolist()) - {1, 2, 3, 4}):
        raise ValueError(f"{where} has trials of the classes {unknown}, which must be 1, 2, 3 or 4.")
    return codes - 1


def _runs(path: Path) -> Iterator[Run]:
    """The runs that have trials; others are there to calibrate the electrodes at the eyes."""
    stored = [np.ravel(each)[0] for each in entry(read_classic(path), "data", path).ravel()]
    with_trials = (each for each in stored if entry(each, "y", path).size)
    for number, run in enumerate(with_trials):
        signals, sfreq = entry(run, "X", path), entry(run, "fs", path).item()
        if sfreq != SFREQ_FILES or signals.shape[1] < len(CHANNELS):
            raise ValueError(
                f"Run {number} of {path} must have {len(CHANNELS)} EEG channels and more, at {SFREQ_FILES} Hz, got "
                f"{signals.shape[1]} at {sfreq:g} Hz: it is another version. Get the original."
            )
        volts = signals[:, : len(CHANNELS)].T.astype(float) * MICROVOLT
        begins, codes = (entry(run, name, path).ravel().astype(int) for name in ("trial", "y"))
        yield Run(path.stem[:3], path.stem[3:], f"{path.stem}-{number}", volts, begins - 1, places(codes, path))


_CONFOUNDS = (
    "trials that experts marked for artifacts are kept, and whether people looked at the arrow or moved is not known",
    "the common average of the 22 channels is the reference; the recorder filtered from 0.5 to 100 Hz",
)
_AS_PUBLISHED = (
    "the filter starts anew with every trial and has not settled at the cue: of a step, a fifth is left",
    "windows begin 4 ms late, as trials are counted from 1 in the files",
    "two subjects validate and two test",
    "results from before August 2026 are of 96 trials fewer, as three runs of A04T were not used",
)
_AS_CLEAN = ("the filter sees the whole run, and looks ahead",)


def protocols(name: str, title: str, reader: Callable[..., TaskData], facts: Mapping) -> tuple[Recipe, Recipe]:
    """The published and the clean recipe for one way to read the data.

    Parameters
    ----------
    name, title : str
        How the names and the titles of both begin.
    reader : callable
        Takes subjects, a `Cutter`, and the folder.
    facts : mapping
        Folder, what is missing, and how to obtain it.

    Returns
    -------
    published, clean : Recipe
    """
    facts = {
        **facts,
        "citation": 'Tangermann et al. (2012), "Review of the BCI Competition IV", Front. Neurosci. 6, '
        "doi:10.3389/fnins.2012.00055; BNCI Horizon 2020, data set 001-2014",
        "licence": "CC BY-ND 4.0, as far as known; see the licence that comes with the files",
        "classes": CLASSES,
        "window_seconds": float(WINDOW_SECONDS),
        "subjects": SUBJECTS,
    }
    published = Recipe(
        name=f"{name}_published",
        title=f"{title}, the published split",
        protocol="published",
        read=partial(reader, SUBJECTS, cut_as_published),
        rule=fixed_subjects(SUBJECTS[:5], SUBJECTS[5:7], SUBJECTS[7:]),
        confounds=(*_CONFOUNDS, *_AS_PUBLISHED),
        **facts,
    )
    clean = Recipe(
        name=f"{name}_clean",
        title=f"{title}, every subject tested once",
        protocol="clean",
        read=partial(reader, SUBJECTS, cut_clean),
        rule=by_subject([SUBJECTS], len(SUBJECTS)),
        confounds=(*_CONFOUNDS, *_AS_CLEAN),
        **facts,
    )
    return published, clean


RECIPES = protocols(
    "bcic_iv_2a",
    "Imagined movement: left hand, right hand, feet or tongue",
    read,
    {
        "folder": "bcic_iv_2a",
        "missing": partial(missing, SUBJECTS),
        "obtain": "Get the files A01T.mat to A09E.mat of BNCI Horizon 2020, data set 001-2014, and put all 18 into the "
        "folder bcic_iv_2a of the data root.",
    },
)
