"""SEED-VIG: share of time with closed eyes (PERCLOS) while driving, a regression."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe._validation import listed
from mne_specmoe.benchmark.recipes.cutting import MICROVOLT, Cut, collect, natural_key
from mne_specmoe.benchmark.recipes.matlab import entry, read_classic, structure
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData

CHANNELS = tuple("FT7 FT8 T7 T8 TP7 TP8 CP1 CP2 P1 PZ P2 PO3 POZ PO4 O1 OZ O2".split())
SUBJECTS = tuple(str(number) for number in range(1, 22))
N_RECORDINGS: Mapping[str, int] = dict.fromkeys(SUBJECTS, 1) | {"4": 2, "5": 2}
N_WINDOWS = 885  # of a recording
_WINDOW = 1600  # 8 s at 200 Hz, as it is stored
_TRAINING = ("10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "1", "20", "21", "2", "3")
_VALIDATION = ("4", "5")
_TEST = ("6", "7", "8", "9")


def missing_of_seed_vig(folder: Path) -> list[str]:
    """Name recordings and labels that are not there."""
    paths = _recordings(folder)
    there = Counter(_subject(path) for path in paths)
    absent = [f"Raw_Data/{name}_*.mat" for name, number in N_RECORDINGS.items() if there[name] < number]
    return absent + [f"perclos_labels/{path.name}" for path in paths if not _labels(path).is_file()]


def read_seed_vig(folder: Path, *, n_windows: int = N_WINDOWS) -> TaskData:
    """Read the windows of all recordings, which are stored at 200 Hz and taken as they are.

    Parameters
    ----------
    folder : Path
        Has ``Raw_Data`` and ``perclos_labels`` with one file of the same name per recording.
    n_windows : int
        How many windows a recording must have.

    Returns
    -------
    data : TaskData
        With PERCLOS from 0 to 1 as numbers.

    Raises
    ------
    ValueError
        If there are other recordings than the protocol has, or if one is damaged.
    """
    paths = _recordings(folder)
    there = Counter(_subject(path) for path in paths)
    if others := sorted(name for name in there if there[name] != N_RECORDINGS.get(name)):
        raise ValueError(
            f"{folder / 'Raw_Data'} has other recordings of {listed(others)} than the 23 of 21 subjects that the "
            "protocol has; move what is not of the original data set elsewhere."
        )
    return collect(
        (_cut(path, n_windows) for path in paths),
        ch_names=CHANNELS,
        classes=(),
        digests={path.stem: file_digest(path) for path in paths},
    )


def _recordings(folder: Path) -> list[Path]:
    """All recordings in natural order."""
    return sorted((folder / "Raw_Data").glob("*.mat"), key=lambda path: natural_key(path.name))


def _labels(path: Path) -> Path:
    """The file of labels of a recording."""
    return path.parents[1] / "perclos_labels" / path.name


def _subject(path: Path) -> str:
    """The subject, by which the name of a recording begins."""
    return path.stem.split("_")[0]


def _cut(path: Path, n_windows: int) -> Cut:
    """The windows of one recording."""
    struct = structure(read_classic(path), "EEG", path)
    samples = np.asarray(struct[struct.dtype.names[0]])
    if samples.shape != (n_windows * _WINDOW, len(CHANNELS)):
        raise ValueError(
            f"{path} holds {samples.shape} (samples, channels), but the protocol needs {n_windows} windows of 8 s at "
            f"200 Hz and {len(CHANNELS)} channels: {(n_windows * _WINDOW, len(CHANNELS))}; get the original file."
        )
    windows = samples.reshape(n_windows, _WINDOW, len(CHANNELS)).swapaxes(1, 2)
    starts = _WINDOW * np.arange(n_windows)
    return Cut(_subject(path), path.stem, path.stem, MICROVOLT * windows, _perclos(_labels(path), n_windows), starts)


def _perclos(path: Path, n_windows: int) -> np.ndarray:
    """The target of every window."""
    values = np.asarray(entry(read_classic(path), "perclos", path), float)
    if values.ndim != 2 or len(values) != n_windows or not ((values[:, 0] >= 0) & (values[:, 0] <= 1)).all():
        raise ValueError(
            f"{path} must hold a column of {n_windows} numbers from 0 to 1, but is {values.shape} and begins with "
            f"{values.ravel()[:5].tolist()}; get the original file."
        )
    return values[:, 0]


_CONFOUNDS = (
    "neighbouring windows share most of the label, so a recording is worth far less than its 885 windows",
    "the error depends on the mean level of the people tested: give Pearson's r, R² and the root mean square error, "
    "and that of predicting the training mean",
    "nothing is filtered, and the unit of the files is taken for µV, which is not verified",
)
_FACTS: Mapping = {
    "title": "Vigilance: share of time with closed eyes (PERCLOS)",
    "citation": 'Zheng & Lu (2017), "A multimodal approach to estimating vigilance using EEG and forehead EOG", J. '
    "Neural Eng. 14(2), doi:10.1088/1741-2552/aa5a98",
    "licence": "academic use only, on a signed application, no redistribution: read the terms that come with the data",
    "obtain": "Apply to the BCMI laboratory of Shanghai Jiao Tong University for SEED-VIG, and copy its folders "
    "Raw_Data and perclos_labels into the folder seed_vig. Reading needs 3 GB in the folder of temporary files.",
    "classes": (),
    "window_seconds": 8.0,
    "folder": "seed_vig",
    "missing": missing_of_seed_vig,
    "read": read_seed_vig,
    "subjects": SUBJECTS,
    "metric": "r2",
}

RECIPES = (
    Recipe(
        name="seed_vig_published",
        protocol="published",
        rule=fixed_subjects(_TRAINING, _VALIDATION, _TEST),
        confounds=(
            *_CONFOUNDS,
            "the split is sound, but four subjects test and two validate; it is given by name here, as the original is "
            "by the order of the files",
            "SpecMoE's published error of 0.1522 cannot come from the published code, which keeps the worst epoch",
        ),
        **_FACTS,
    ),
    Recipe(
        name="seed_vig_clean",
        protocol="clean",
        rule=by_subject([SUBJECTS], len(SUBJECTS)),
        confounds=(*_CONFOUNDS, "every subject tests once, and the next one validates"),
        **_FACTS,
    ),
)
