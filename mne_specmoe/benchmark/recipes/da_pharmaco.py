"""DA-Pharmaco: which dopaminergic drug a mouse was given, from depth electrodes."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import filtfilt, iirnotch, resample

from mne_specmoe._files import file_digest
from mne_specmoe._validation import listed
from mne_specmoe.benchmark.recipes.cutting import MICROVOLT, Cut, collect, natural_key, side_by_side
from mne_specmoe.benchmark.recipes.matlab import entry, open_hdf5, texts
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject, fixed_subjects
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

CLASSES = ("saline", "amphetamine", "clozapine", "SCH23390", "raclopride")
TREATMENTS: Mapping[str, int] = {"Sal": 0, "SalT": 0, "Amph": 1, "CLZ1": 2, "CLZ3": 2, "SCH": 3, "Raclo": 4}
SITES = ("dHC", "MD", "CA3", "PFC", "vHC")
_ELECTRODES: Mapping[str, tuple[str, str]] = {  # of the prefrontal cortex and the ventral hippocampus
    **dict.fromkeys(("303", "305", "518", "587", "591"), ("PFCd", "vHCd")),
    **dict.fromkeys(("304", "336", "530", "574"), ("PFCu", "vHCd")),
    "340": ("PFCu", "vHCu"),
}
ANIMALS = tuple(sorted(_ELECTRODES))
_TRAINING, _VALIDATION, _TEST = ("303", "304", "340", "518", "587", "591"), ("336", "574"), ("305", "530")
# Dealt out to five folds in turn: the first is the published split, its next validates.
_IN_TURN = ("305", "336", "303", "340", "587", "530", "574", "304", "518", "591")
_STORED_HZ = 1000
_WINDOW = round(60 * SFREQ)


def missing_of_da_pharmaco(folder: Path) -> list[str]:
    """Name the recordings that are not there."""
    there = {_parts(path) for path in _files(folder)}
    return [f"{animal}_*_{drug}.mat" for animal in ANIMALS for drug in TREATMENTS if (animal, drug) not in there]


def read_da_pharmaco(folder: Path, *, by_name: bool, skip_minutes: float = 5, minutes: int = 40) -> TaskData:
    """Read blocks of a minute after the injection.

    Parameters
    ----------
    folder : Path
        Holds the files ``animal_..._treatment.mat``, at any depth.
    by_name : bool
        Bring channels into the order of `SITES`, and count the sample of the injection from 1 as MATLAB does; else keep
        the order of each file, and count from 0, as published.
    skip_minutes, minutes : float, int
        What is left out after the injection, and what is read.

    Returns
    -------
    data : TaskData
        Sessions are treatments.

    Raises
    ------
    ImportError
        If h5py is missing.
    ValueError
        If files are others than the protocol has, or are damaged.
    """
    paths = sorted(_files(folder), key=lambda path: natural_key(path.name))
    _check_names(paths)
    return collect(
        (_cut(path, by_name, skip_minutes, minutes) for path in paths),
        ch_names=SITES if by_name else [f"LFP{number}" for number in range(1, 6)],  # files may differ in their order
        classes=CLASSES,
        digests={path.stem: file_digest(path) for path in paths},
    )


def _files(folder: Path) -> list[Path]:
    """All files of the folder."""
    return list(folder.rglob("*.mat"))


def _parts(path: Path) -> tuple[str, str]:
    """Animal and treatment."""
    parts = path.stem.split("_")
    return parts[0], parts[-1]


def _check_names(paths: Sequence[Path]) -> None:
    """Raise for files of others than the known animals and treatments, and for repeated ones."""
    seen: dict[tuple[str, str], Path] = {}
    for path in paths:
        animal, drug = _parts(path)
        if animal not in ANIMALS or drug not in TREATMENTS:
            raise ValueError(
                f"{path} is not named animal_..._treatment.mat with one of the animals {listed(ANIMALS)} and of the "
                f"treatments {listed(TREATMENTS)}; move it elsewhere."
            )
        if (other := seen.setdefault((animal, drug), path)) != path:
            raise ValueError(f"{other} and {path} are of the same animal and treatment; keep one of them.")


def _cut(path: Path, by_name: bool, skip_minutes: float, minutes: int) -> Cut:
    """The blocks of one recording."""
    animal, drug = _parts(path)
    with open_hdf5(path) as file:
        ephys = entry(file, "Ephys", path)
        sfreq = float(np.squeeze(entry(ephys, "srate", path)[()]))
        if sfreq != _STORED_HZ:
            raise ValueError(f"{path} is sampled at {sfreq:g} Hz, not {_STORED_HZ}; get the original file.")
        injection = int(np.squeeze(entry(entry(ephys, "TimeStamps", path), "Post_Inj_Start", path)[()]))
        start = injection - int(by_name) + round(skip_minutes * 60 * _STORED_HZ)
        stop = start + minutes * 60 * _STORED_HZ
        stored = entry(ephys, "RawData", path)
        if stop > stored.shape[1]:
            raise ValueError(
                f"{path} has {stored.shape[1]} samples, but {stop} are needed to have {minutes} min after the "
                "injection: it is cut short; get it anew."
            )
        rows = _rows(texts(file, entry(ephys, "ChnList", path)), animal, path)
        volts = MICROVOLT * np.stack([stored[row, start:stop] for row in (rows if by_name else sorted(rows))])
    windows, starts = side_by_side(_prepared(volts, minutes), _WINDOW)
    return Cut(animal, drug, path.stem, windows, np.full(len(starts), TREATMENTS[drug]), starts)


def _rows(names: Sequence[str], animal: str, path: Path) -> list[int]:
    """Rows of the five sites, in their order."""
    wanted = (*SITES[:3], *_ELECTRODES[animal])
    if any(names.count(name) != 1 for name in wanted):
        raise ValueError(f"{path} must have each of the channels {listed(wanted)} once, but has {listed(names)}.")
    return [names.index(name) for name in wanted]


def _prepared(volts: np.ndarray, minutes: int) -> np.ndarray:
    """Resample to 200 Hz as one period, then take mains out, forward and backward."""
    resampled = resample(volts, minutes * _WINDOW, axis=-1)
    return filtfilt(*iirnotch(50, 30, fs=SFREQ), resampled, axis=-1)


_CONFOUNDS = (
    "the blocks of one recording share day, impedance and electrode: 70 recordings of ten animals are the sample, so "
    "score by recording as well",
    "the order of drugs over days may go with the time since surgery",
    "the ten minutes before the injection are not used, against which activity could be normalised",
    "the unit of the files is taken for µV, which is not verified",
)
_FACTS: Mapping = {
    "title": "Drug given to a mouse: saline, amphetamine, clozapine, SCH23390 or raclopride",
    "citation": 'Very probably Kapanaiah et al. (2024), "Neural effects of dopaminergic compounds", Front. Pharmacol., '
    "doi:10.3389/fphar.2024.1412725; the published code does not name its source",
    "licence": "not known: read what comes with the data",
    "obtain": "Where the recordings can be had is not known; ask the authors of the article. Copy the 70 files "
    "animal_..._treatment.mat (MATLAB 7.3) into the folder da_pharmaco, at any depth. Reading needs 1 GB of memory.",
    "classes": CLASSES,
    "window_seconds": 60.0,
    "folder": "da_pharmaco",
    "missing": missing_of_da_pharmaco,
    "subjects": ANIMALS,
}

RECIPES = (
    Recipe(
        name="da_pharmaco_published",
        protocol="published",
        read=partial(read_da_pharmaco, by_name=False),
        rule=fixed_subjects(_TRAINING, _VALIDATION, _TEST),
        confounds=(
            *_CONFOUNDS,
            "the split is sound, but two animals test, with 14 recordings",
            "channels keep the order of each file, which may differ between files, so they have numbers for names",
            "the sample of the injection is counted from 0 instead of 1, which is 1 ms",
        ),
        **_FACTS,
    ),
    Recipe(
        name="da_pharmaco_clean",
        protocol="clean",
        read=partial(read_da_pharmaco, by_name=True),
        rule=by_subject([_IN_TURN], 5),
        confounds=(*_CONFOUNDS, "animals are left out in five pairs, the first of which is the published one"),
        **_FACTS,
    ),
)
