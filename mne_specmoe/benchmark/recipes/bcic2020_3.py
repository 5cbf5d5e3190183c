"""BCIC2020-3: imagined speech, track 3 of the 2020 International BCI Competition."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.recipes.cutting import (
    MICROVOLT,
    Cut,
    collect,
    one_fold,
    resample_windows,
)
from mne_specmoe.benchmark.recipes.matlab import entry, open_hdf5, read_classic, structure, texts
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import PARTS, Split, by_subject
from mne_specmoe.benchmark.task_data import TaskData

CHANNELS = tuple(
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 TP9 CP5 CP1 CP2 CP6 TP10 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10 "
    "AF7 AF3 AF4 AF8 F5 F1 F2 F6 FT9 FT7 FC3 FC4 FT8 FT10 C5 C1 C2 C6 TP7 CP3 CPz CP4 TP8 P5 P1 P2 P6 PO7 PO3 POz PO4 "
    "PO8".split()
)
WORDS = ("hello", "help_me", "stop", "thank_you", "yes")
SUBJECTS = tuple(f"{number:02d}" for number in range(1, 16))
ANSWERS = "Track3_Answer Sheet_Test.xlsx"
_FOLDERS = dict(zip(PARTS, ("Training set", "Validation set", "Test set"), strict=True))
_STRUCTS = dict(zip(PARTS, ("epo_train", "epo_validation", "epo_test"), strict=True))
_STORED_HZ = 256
_N_STORED = 3 * _STORED_HZ
_N_TIMES = 600
_FIRST_ROW = 4  # of answers, below the header and two more rows; counted from 1 as in a sheet
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def missing_of_bcic2020_3(folder: Path) -> list[str]:
    """Say what lacks of the folders, and the sheet of answers."""
    absent = []
    for name in _FOLDERS.values():
        if lacking := len(SUBJECTS) - len(list((folder / name).glob("*.mat"))):
            absent.append(f"{lacking} of {len(SUBJECTS)} files {name}/*.mat")
    return absent + [ANSWERS] * (not any(folder.rglob(ANSWERS)))


def read_bcic2020_3(folder: Path) -> TaskData:
    """Read the trials of all subjects.

    Parameters
    ----------
    folder : Path
        Has the three folders of the competition, with one file per subject each, and the sheet of answers in one of
        them or beside them.

    Returns
    -------
    data : TaskData
        Sessions are the official parts: "training", "validation", "test". Trials are apart in the files, and start one
        after another here.

    Raises
    ------
    ImportError
        If h5py is missing.
    ValueError
        If files are damaged, not of the subjects in turn, or hold other channels or other numbers of trials per word.
    """
    digests: dict[str, str] = {}
    answers = _answers(next(iter(sorted(folder.rglob(ANSWERS)))))
    return collect(_cuts(folder, answers, digests), ch_names=CHANNELS, classes=WORDS, digests=digests)


def _cuts(folder: Path, answers: Mapping[str, np.ndarray], digests: dict[str, str]) -> Iterator[Cut]:
    """Trials of every file, whose digests are noted down."""
    for part, name in _FOLDERS.items():
        paths = sorted((folder / name).glob("*.mat"), key=lambda path: path.name)
        for subject, path in zip(SUBJECTS, paths, strict=True):
            numbers = re.findall(r"\d+", path.stem)
            if numbers and int(numbers[-1]) != int(subject):
                raise ValueError(f"{path} is not the file of subject {subject}, as its place says; restore all names.")
            trials, labels = _test_trials(path) if part == "test" else _trials(path, _STRUCTS[part])
            labels = answers[subject] if labels is None else labels
            _check(path, trials, labels)
            digests[f"{name}/{path.stem}"] = file_digest(path)
            windows = resample_windows(MICROVOLT * trials[..., -_N_STORED:], _N_TIMES)
            yield Cut(subject, part, f"{subject} {part}", windows, labels, _N_TIMES * np.arange(len(trials)))


def _trials(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Trials (n_trials, n_channels, n_samples) and labels of a classic file."""
    struct = structure(read_classic(path), name, path)
    if "clab" in struct.dtype.names:
        _check_channels(path, [str(np.squeeze(each)) for each in struct["clab"].ravel()])
    _check_rate(path, struct["fs"] if "fs" in struct.dtype.names else _STORED_HZ)
    one_hot = entry(struct, "y", path)
    if not ((one_hot == 0) | (one_hot == 1)).all() or not (one_hot.sum(0) == 1).all():
        raise ValueError(f"{path} has labels that are not one-hot; get the original file.")
    return entry(struct, "x", path).transpose(2, 1, 0), one_hot.argmax(0)


def _test_trials(path: Path) -> tuple[np.ndarray, None]:
    """Trials of an HDF5 file, whose axes are the reverse of MATLAB's; its labels are elsewhere."""
    with open_hdf5(path) as file:
        struct = entry(file, _STRUCTS["test"], path)
        if "clab" in struct:
            _check_channels(path, texts(file, struct["clab"]))
        _check_rate(path, struct["fs"][()] if "fs" in struct else _STORED_HZ)
        return entry(struct, "x", path)[()], None


def _check_channels(path: Path, names: Sequence[str]) -> None:
    """Raise unless the channels are those that are expected."""
    if [name.upper() for name in names] != [name.upper() for name in CHANNELS]:
        raise ValueError(f"{path} has other channels, or another order, than the protocol: {', '.join(names)}.")


def _check_rate(path: Path, sfreq) -> None:
    """Raise unless the sampling rate is that of the original."""
    if (sfreq := float(np.squeeze(sfreq))) != _STORED_HZ:
        raise ValueError(f"{path} is sampled at {sfreq:g} Hz, not {_STORED_HZ}; get the original file.")


def _check(path: Path, trials: np.ndarray, labels: np.ndarray) -> None:
    """Raise unless shapes fit, and every word was imagined as often as the others."""
    if trials.ndim != 3 or trials.shape[1] != len(CHANNELS) or trials.shape[2] < _N_STORED:
        raise ValueError(
            f"{path} holds {trials.shape} (trials, channels, samples), but {len(CHANNELS)} channels and {_N_STORED} "
            "samples or more are needed."
        )
    counts = np.bincount(labels, minlength=len(WORDS))
    if len(labels) != len(trials) or len(set(counts.tolist())) != 1:
        raise ValueError(
            f"{path} has {len(trials)} trials and {len(labels)} labels, {counts.tolist()} of the words, but must have "
            "as many of each: the file, or the sheet of answers, is not the original."
        )


def _answers(path: Path) -> dict[str, np.ndarray]:
    """Labels of the test trials by subject: every second column of the sheet from the third on, from the fourth row."""
    cells = _cells(path)
    answers = {}
    for place, subject in enumerate(SUBJECTS):
        column = 3 + 2 * place
        rows = sorted(row for row, each in cells if each == column and row >= _FIRST_ROW)[:50]
        values = np.array([cells[row, column] for row in rows])
        if (
            not len(rows)
            or rows != list(range(_FIRST_ROW, _FIRST_ROW + len(rows)))
            or not np.isin(values, range(1, 6)).all()
        ):
            raise ValueError(f"{path} has no answers from 1 to 5 in column {column} for subject {subject}.")
        answers[subject] = values.astype(int) - 1
    return answers


def _cells(path: Path) -> dict[tuple[int, int], float]:
    """Numbers of the first sheet of an .xlsx, by row and column, counted from 1."""
    try:
        with ZipFile(path) as archive:
            root = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    except (BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} cannot be read as .xlsx ({error}); download it anew.") from error
    cells = {}
    for cell in root.iter(f"{_SHEET}c"):
        value = cell.find(f"{_SHEET}v")
        if value is not None and cell.get("t", "n") == "n":  # others are texts
            letters, row = re.fullmatch(r"([A-Z]+)(\d+)", cell.get("r")).groups()
            column = 0
            for letter in letters:
                column = 26 * column + ord(letter) - ord("A") + 1
            cells[int(row), column] = float(value.text)
    return cells


def _published_split(data: TaskData) -> Split:
    """The official parts."""
    return one_fold("official parts", data.sessions.tolist(), "block")


_CONFOUNDS = (
    "outside re-runs that select on validation reach a balanced accuracy of 0.24 to 0.49: distrust 0.60 and more",
    "every trial is resampled by FFT on its own, without any filter, so its edges ring",
    "the unit of the files is taken for µV",
)
_FACTS: Mapping = {
    "title": "Imagined speech: hello, help me, stop, thank you or yes",
    "citation": 'Jeong et al. (2022), "2020 International brain-computer interface competition: a review", Front. Hum. '
    "Neurosci. 16, doi:10.3389/fnhum.2022.898300",
    "licence": "unclear: read what comes with the data",
    "obtain": "Download track 3 of the 2020 International BCI Competition from the Open Science Framework into the "
    "folder bcic2020_3, so that it holds the folders 'Training set', 'Validation set' and 'Test set' with 15 .mat "
    f"files each, and {ANSWERS!r}.",
    "classes": WORDS,
    "window_seconds": 3.0,
    "folder": "bcic2020_3",
    "missing": missing_of_bcic2020_3,
    "read": read_bcic2020_3,
    "subjects": SUBJECTS,
}

RECIPES = (
    Recipe(
        name="bcic2020_3_published",
        protocol="published",
        rule=_published_split,
        confounds=(
            *_CONFOUNDS,
            "all 15 subjects are in training, validation and test, by design: a score is of people that training knows",
            "750 trials test, so balanced accuracy has a standard error of about 1.7 points",
        ),
        **_FACTS,
    ),
    Recipe(
        name="bcic2020_3_clean",
        protocol="clean",
        rule=by_subject([SUBJECTS], 3),
        confounds=(*_CONFOUNDS, "subjects are left out, five at a time, with their trials of all official parts"),
        **_FACTS,
    ),
)
