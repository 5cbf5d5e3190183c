"""Imagined movement of the left or right hand, from the trials of SHU."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mne_specmoe.benchmark.recipes.cutting import MICROVOLT, Cut, collect, resample_windows
from mne_specmoe.benchmark.recipes.files import absent, digests_of
from mne_specmoe.benchmark.recipes.matlab import entry, read_classic
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData

SUBJECTS = tuple(f"sub-{number:03d}" for number in range(1, 26))
SESSIONS = tuple(f"ses-{number:02d}" for number in range(1, 6))
CHANNELS = tuple(
    "Fp1 Fp2 Fz F3 F4 F7 F8 FC1 FC2 FC5 FC6 Cz C3 C4 T3 T4 A1 A2 CP1 CP2 CP5 CP6 Pz P3 P4 T5 T6 PO3 PO4 Oz O1 O2"
    "".split()
)
"""In the order of the files, which do not name them."""
CLASSES = ("left_hand", "right_hand")
SECONDS = 4.0

_TIMES_FILES, _TIMES = 1000, 800  # of a trial, at 250 and at 200 Hz


def missing(subjects: Sequence[str], folder: Path) -> list[str]:
    """Files of the subjects that are not there."""
    return absent([path.name for path in _files(subjects, folder)], folder)


def read(subjects: Sequence[str], folder: Path) -> TaskData:
    """All trials, in the order of their files."""
    paths = _files(subjects, folder)
    return collect(map(_cut, paths), ch_names=CHANNELS, classes=CLASSES, digests=digests_of(folder, paths))


def _files(subjects: Sequence[str], folder: Path) -> list[Path]:
    """The five sessions of every subject."""
    return [folder / f"{subject}_{session}_task_motorimagery_eeg.mat" for subject in subjects for session in SESSIONS]


def _cut(path: Path) -> Cut:
    """All trials of one session; they were cut by the authors, so `starts` only counts them."""
    content = read_classic(path)
    microvolts, codes = entry(content, "data", path), entry(content, "labels", path).ravel()
    if microvolts.shape != (len(codes), len(CHANNELS), _TIMES_FILES):
        raise ValueError(
            f"{path} must hold trials of {len(CHANNELS)} channels and {_TIMES_FILES} samples (4 s at 250 Hz) and one "
            f"label for each, got data of shape {microvolts.shape} and {len(codes)} labels: it is another version. Get "
            "the original .mat files."
        )
    if unknown := sorted(set(codes.tolist()) - {1, 2}):
        raise ValueError(f"{path} has labels {unknown}, but they must be 1 (left hand) or 2 (right hand).")
    subject, session = path.name.split("_")[:2]
    X = resample_windows(microvolts.astype(float) * MICROVOLT, _TIMES)
    return Cut(subject, session, f"{subject}_{session}", X, codes.astype(int) - 1, np.arange(len(codes)) * _TIMES)


_CONFOUNDS = (
    "the names of the channels are not in the files; the order is that of the data set's description",
    "T3, T4, T5 and T6 are today's T7, T8, P7 and P8; A1 and A2 are ear lobes",
    "the published files were filtered and cut by their authors; each trial is resampled on its own, so its edges ring",
    "that 1 is the left and 2 the right hand is from the data set's description, not from the files",
    "the published results of BrainRVQ gave the model names of channels of which 27 of 32 were wrong",
)
_FACTS: Mapping = {
    "citation": 'Ma et al. (2022), "A large EEG dataset for studying cross-session variability in motor imagery '
    'brain-computer interface", Sci. Data 9, doi:10.1038/s41597-022-01647-1; figshare 19228725',
    "licence": "CC BY 4.0, as far as known; see the licence that comes with the files",
    "obtain": "Get the .mat files from figshare, record 19228725, and put all 125 into the folder shu_mi of the data "
    "root. The windows take 1.3 GB of disk while they are used.",
    "classes": CLASSES,
    "window_seconds": SECONDS,
    "folder": "shu_mi",
    "missing": partial(missing, SUBJECTS),
    "read": partial(read, SUBJECTS),
    "subjects": SUBJECTS,
}

RECIPES = (
    Recipe(
        name="shu_mi_published",
        title="Imagined movement: left hand or right hand, the published split",
        protocol="published",
        rule=fixed_subjects(SUBJECTS[:15], SUBJECTS[15:20], SUBJECTS[20:]),
        confounds=(*_CONFOUNDS, "five subjects validate and five test"),
        **_FACTS,
    ),
    Recipe(
        name="shu_mi_clean",
        title="Imagined movement: left hand or right hand, every subject tested once",
        protocol="clean",
        rule=by_subject([SUBJECTS], 5),
        confounds=_CONFOUNDS,
        **_FACTS,
    ),
)
