"""Rest or mental arithmetic, from the original EDF files of EEGMAT."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mne_specmoe.benchmark.recipes.cutting import Cut, collect, open_edf, pick, side_by_side
from mne_specmoe.benchmark.recipes.files import absent, digests_of
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

SUBJECTS = tuple(f"Subject{number:02d}" for number in range(36))
CHANNELS = tuple("Fp1 Fp2 F3 F4 F7 F8 T3 T4 C3 C4 T5 T6 P3 P4 O1 O2 Fz Cz Pz A2-A1".split())
CLASSES = ("rest", "mental_arithmetic")
SFREQ_FILES = 500.0
WINDOW_SECONDS = 5.0

_NAMES = (*CHANNELS[:-1], "A2")  # models know no A2-A1


def missing(subjects: Sequence[str], folder: Path) -> list[str]:
    """Files of the subjects that are not there."""
    return absent([path.name for path in _files(subjects, folder)], folder)


def read(subjects: Sequence[str], folder: Path) -> TaskData:
    """Windows side by side, 0 for those of the first recording of a subject, 1 for those of the second."""
    paths = _files(subjects, folder)
    return collect(map(_cut, paths), ch_names=_NAMES, classes=CLASSES, digests=digests_of(folder, paths))


def _files(subjects: Sequence[str], folder: Path) -> list[Path]:
    """Rest and arithmetic of every subject."""
    return [folder / f"{subject}_{place}.edf" for subject in subjects for place in (1, 2)]


def _cut(path: Path) -> Cut:
    """All windows of one file."""
    subject, session = path.stem.split("_")
    raw = pick(open_edf(path, SFREQ_FILES), CHANNELS, path).resample(SFREQ, verbose="ERROR")
    X, starts = side_by_side(raw.get_data(), round(WINDOW_SECONDS * SFREQ))
    return Cut(subject, session, path.stem, X, np.full(len(X), int(session) - 1), starts)


_CONFOUNDS = (
    "rest always precedes arithmetic, and each is one recording: a score may be about time or about the recording",
    "about three times as many windows of rest as of arithmetic: state the share of arithmetic beside an AUC-PR",
    "the recordings are already filtered and cleaned by ICA",
    "the 20th channel, called A2 here, is A2-A1: it lies between the references and is no EEG site",
)
_FACTS: Mapping = {
    "citation": 'Zyma et al. (2019), "Electroencephalograms during mental arithmetic task performance", Data 4(1):14, '
    "doi:10.3390/data4010014; PhysioNet, doi:10.13026/C2JQ1P",
    "licence": "ODC-By 1.0",
    "obtain": "Get EEG During Mental Arithmetic Tasks 1.0.0 from PhysioNet (eegmat), and put its 72 EDF files into the "
    "folder eegmat/1.0.0 of the data root.",
    "classes": CLASSES,
    "window_seconds": WINDOW_SECONDS,
    # The data set is called eegmat, as that of the stored .npz: checkpoints that saw those saw these.
    "folder": "eegmat/1.0.0",
    "missing": partial(missing, SUBJECTS),
    "read": partial(read, SUBJECTS),
    "subjects": SUBJECTS,
}

RECIPES = (
    Recipe(
        name="eegmat_edf_published",
        title="Rest or mental arithmetic, the published split",
        protocol="published",
        rule=fixed_subjects(SUBJECTS[:28], SUBJECTS[28:32], SUBJECTS[32:]),
        confounds=(*_CONFOUNDS, "four subjects validate and four test: seeds differ by more than models do"),
        **_FACTS,
    ),
    Recipe(
        name="eegmat_edf_clean",
        title="Rest or mental arithmetic, every subject tested once",
        protocol="clean",
        rule=by_subject([SUBJECTS], 9),
        confounds=_CONFOUNDS,
        **_FACTS,
    ),
)
