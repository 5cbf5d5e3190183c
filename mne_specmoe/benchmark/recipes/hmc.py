"""HMC: sleep stages of patients of the Haaglanden Medisch Centrum."""

import csv
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.recipes.cutting import (
    Cut,
    collect,
    cut_resampled,
    filtered,
    natural_key,
    open_edf,
    subjects_in_order,
    to_200_hz,
)
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

LEADS = ("F4-M1", "C4-M1", "O2-M1", "C3-M2")
STAGES = ("W", "N1", "N2", "N3", "R")
N_RECORDINGS = 151  # of version 1.1; version 1.0.1 had 154
_STORED_HZ = 256
_EPOCH_SECONDS = 30


def missing_of_hmc(folder: Path, *, n_recordings: int = N_RECORDINGS) -> list[str]:
    """Name recordings without scoring, and say how many recordings lack."""
    paths = _recordings(folder)
    absent = [f"recordings/{_scoring(path).name}" for path in paths if not _scoring(path).is_file()]
    if len(paths) < n_recordings:
        absent.append(f"{n_recordings - len(paths)} of {n_recordings} files recordings/SN*.edf")
    return absent


def read_hmc(folder: Path, *, resample_first: bool, n_recordings: int = N_RECORDINGS) -> TaskData:
    """Read the scored epochs.

    Parameters
    ----------
    folder : Path
        The data set as PhysioNet distributes it.
    resample_first : bool
        Resample the recording, then filter and cut; else filter, cut, and resample each epoch by FFT, as published.
    n_recordings : int
        How many there must be: another version of the data set has others, which moves the split.

    Returns
    -------
    data : TaskData

    Raises
    ------
    ValueError
        If the files are not those of version 1.1, or are damaged. Where the published code goes on with the recording
        before, stores an epoch short or assumes the sampling rate, this does not.
    """
    paths = _recordings(folder)
    if len(paths) != n_recordings:
        raise ValueError(
            f"{folder} has {len(paths)} recordings, but version 1.1 of HMC, which the split is of, has {n_recordings}; "
            "get that version, into a folder of its own."
        )
    return collect(
        (_epochs(path, resample_first) for path in paths),
        ch_names=LEADS,
        classes=STAGES,
        digests={path.stem: file_digest(path) for path in paths},
    )


def _recordings(folder: Path) -> list[Path]:
    """The EDF files of signals; those of scorings have longer names."""
    paths = (folder / "recordings").glob("SN*.edf")
    return sorted((path for path in paths if re.fullmatch(r"SN\d+\.edf", path.name)), key=lambda p: natural_key(p.name))


def _scoring(path: Path) -> Path:
    """The text file of scores beside a recording."""
    return path.with_name(f"{path.stem}_sleepscoring.txt")


def _epochs(path: Path, resample_first: bool) -> Cut:
    """The scored epochs of one recording."""
    raw = open_edf(path, _STORED_HZ)
    names = [name for name in raw.ch_names if "EEG" in name]
    if [name.replace("EEG", "").strip() for name in names] != list(LEADS):
        raise ValueError(f"{path} must have the EEG channels {', '.join(LEADS)}, in this order, but has {names}.")
    raw.pick(names, verbose="ERROR").load_data(verbose="ERROR")
    if resample_first:
        raw.resample(SFREQ, verbose="ERROR")
    volts = filtered(raw, 0.1, 75, notch=50).get_data()
    sfreq = raw.info["sfreq"]
    onsets, labels = _scores(_scoring(path))
    starts = np.ceil(np.round(onsets * sfreq, 6)).astype(int)
    n_times = round(_EPOCH_SECONDS * sfreq)
    if starts.max() + n_times > volts.shape[1]:
        raise ValueError(
            f"{path} lasts {volts.shape[1] / sfreq:g} s, but an epoch of 30 s is scored at {onsets.max():g} s: one of "
            "the two files is cut short; download both anew."
        )
    windows = cut_resampled(volts, starts, n_times, round(_EPOCH_SECONDS * SFREQ))
    return Cut(path.stem, "1", path.stem, windows, labels, to_200_hz(starts, sfreq))


def _scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Onsets in seconds, and labels; annotations other than stages are left out."""
    label_of = {f"Sleep stage {stage}": label for label, stage in enumerate(STAGES)}
    found = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            row = {str(key).strip(): str(value).strip() for key, value in row.items()}
            try:
                onset, duration, label = row["Recording onset"], row["Duration"], label_of.get(row["Annotation"])
                if label is None:
                    continue
                found.append((float(onset), label))
                if float(duration) != _EPOCH_SECONDS:
                    raise ValueError(f"an epoch of {duration} s")
            except (KeyError, ValueError) as error:
                raise ValueError(f"{path} is not the scoring that is expected ({error}); download it anew.") from error
    if not found:  # the recording would vanish, and the split move
        raise ValueError(f"{path} scores no epoch; download it anew.")
    onsets, labels = np.array(found, float).T
    return onsets, labels.astype(int)


_CONFOUNDS = (
    "the band-pass and the notch see the whole recording, without labels",
    "patients with different disorders of sleep, one night of each",
    "neighbouring epochs of one night are alike: give scores by subject too",
    "a recording that does not open, an epoch cut short and another sampling rate than 256 Hz are errors here; the "
    "published code goes on",
    "subjects are those of the folder in natural order: the number of recordings tells version 1.1 from others, the "
    "published code does not look",
)
_FACTS: Mapping = {
    "title": "Sleep stages",
    "citation": "Alvarez-Estevez & Rijsman (2021), Haaglanden Medisch Centrum sleep staging database 1.1, PhysioNet",
    "licence": "CC BY 4.0, as far as known: read the licence file that comes with the data",
    "obtain": "Download the Haaglanden Medisch Centrum sleep staging database, version 1.1, from PhysioNet "
    "(hmc-sleep-staging) into the folder hmc, so that it holds hmc/recordings/SN001.edf. Reading needs 14 GB in the "
    "folder of temporary files.",
    "classes": STAGES,
    "window_seconds": float(_EPOCH_SECONDS),
    "folder": "hmc",
    "missing": missing_of_hmc,
    "rule": subjects_in_order(100, 25),
}

RECIPES = (
    Recipe(
        name="hmc_published",
        protocol="published",
        read=partial(read_hmc, resample_first=False),
        confounds=(*_CONFOUNDS, "every epoch is resampled by FFT on its own, so its edges ring"),
        **_FACTS,
    ),
    Recipe(
        name="hmc_clean",
        protocol="clean",
        read=partial(read_hmc, resample_first=True),
        confounds=(
            *_CONFOUNDS,
            "the published split, which is sound; but recordings are resampled before they are filtered and cut",
        ),
        **_FACTS,
    ),
)
