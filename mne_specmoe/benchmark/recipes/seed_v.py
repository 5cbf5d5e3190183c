"""SEED-V: emotions while watching film clips."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe._validation import listed
from mne_specmoe.benchmark.recipes.cutting import (
    Cut,
    check_sfreq,
    collect,
    filtered,
    natural_key,
    one_fold,
    pick,
    side_by_side,
)
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import Split, by_subject
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

CHANNELS = tuple(
    "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 T7 C5 C3 C1 CZ C2 C4 C6 T8 "
    "TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2"
    "".split()
)
EMOTIONS = ("disgust", "fear", "sad", "neutral", "happy")
SUBJECTS = tuple(str(number) for number in range(1, 17))
_STORED_HZ = 1000
_WINDOW = round(SFREQ)  # 1 s
_NAME = re.compile(r"(\d+)_(\d+)_(\d+)(_repaired)?")


class Clip(NamedTuple):
    """A film clip of a session: begin and end in seconds from the begin of the recording, and label."""

    begin: int
    end: int
    label: int


def _clips(begins: str, ends: str, labels: str) -> tuple[Clip, ...]:
    """The clips of a session."""
    columns = ([int(each) for each in column.split()] for column in (begins, ends, labels))
    return tuple(Clip(*row) for row in zip(*columns, strict=True))


CLIPS: Mapping[str, Sequence[Clip]] = {
    "1": _clips(
        "30 132 287 555 773 982 1271 1628 1730 2025 2227 2435 2667 2932 3204",
        "102 228 524 742 920 1240 1568 1697 1994 2166 2401 2607 2901 3172 3359",
        "4 1 3 2 0 4 1 3 2 0 4 1 3 2 0",
    ),
    "2": _clips(
        "30 299 548 646 836 1000 1091 1392 1657 1809 1966 2186 2333 2490 2741",
        "267 488 614 773 967 1059 1331 1622 1777 1908 2153 2302 2428 2709 2817",
        "2 1 3 0 4 4 0 3 2 1 3 4 1 2 0",
    ),
    "3": _clips(
        "30 353 478 674 825 908 1200 1346 1451 1711 2055 2307 2457 2726 2888",
        "321 418 643 764 877 1147 1284 1418 1679 1996 2275 2425 2664 2857 3066",
        "2 1 3 0 4 4 0 3 2 1 3 4 1 2 0",
    ),
}
"""Session → its clips."""


def missing_of_seed_v(
    folder: Path, *, subjects: Sequence[str] = SUBJECTS, clips: Mapping[str, Sequence[Clip]] = CLIPS
) -> list[str]:
    """Name the recordings that are not there."""
    there = {match.group(1, 2) for path in folder.rglob("*.cnt") if (match := _NAME.fullmatch(path.stem))}
    return [f"{name}_{session}_*.cnt" for name in subjects for session in clips if (name, session) not in there]


def read_seed_v(folder: Path, *, clips: Mapping[str, Sequence[Clip]] = CLIPS) -> TaskData:
    """Read the windows of all clips.

    Parameters
    ----------
    folder : Path
        Holds the Neuroscan files, at any depth. Of a session whose file exists repaired too, that one is read.
    clips : mapping
        Session → its clips.

    Returns
    -------
    data : TaskData
        Every clip is a recording of its own, such as "1_2_20180416 clip 14"; windows start from the begin of the file.

    Raises
    ------
    ValueError
        If a file is damaged, too short, lacks channels, or is there twice.
    """
    paths = _recordings(folder)
    return collect(
        (cut for path in paths for cut in _cuts(path, clips)),
        ch_names=CHANNELS,
        classes=EMOTIONS,
        digests={path.stem: file_digest(path) for path in paths},
    )


def _recordings(folder: Path) -> list[Path]:
    """One file per subject and session."""
    of_session: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(folder.rglob("*.cnt"), key=lambda path: natural_key(path.name)):
        match = _NAME.fullmatch(path.stem)
        if not match:
            raise ValueError(f"{path} is not named subject_session_date.cnt; move it elsewhere.")
        of_session.setdefault(match.group(1, 2), []).append(path)
    return [_one_of(paths) for paths in of_session.values()]


def _one_of(paths: Sequence[Path]) -> Path:
    """The only file of a session, or the repaired one."""
    if len(paths) == 1:
        return paths[0]
    repaired = [path for path in paths if path.stem.endswith("_repaired")]
    if len(repaired) != 1:
        raise ValueError(f"One session has the recordings {listed(paths)}; keep one of them in the folder.")
    return repaired[0]


def _cuts(path: Path, clips: Mapping[str, Sequence[Clip]]) -> Iterator[Cut]:
    """Windows of every clip of one recording."""
    subject, session = _NAME.fullmatch(path.stem).group(1, 2)
    if session not in clips:
        raise ValueError(f"{path} is of session {session!r}, but the sessions are {listed(clips)}; move it elsewhere.")
    volts = _prepared(path)
    if (end := max(clip.end for clip in clips[session]) * _WINDOW) > volts.shape[1]:
        raise ValueError(
            f"{path} lasts {volts.shape[1] / SFREQ:g} s, but its last clip ends at {end / SFREQ:g} s: it is cut short; "
            "get it anew."
        )
    for number, clip in enumerate(clips[session]):
        windows, starts = side_by_side(volts[:, clip.begin * _WINDOW : clip.end * _WINDOW], _WINDOW)
        yield Cut(
            subject,
            session,
            f"{path.stem} clip {number}",
            windows,
            np.full(len(starts), clip.label),
            starts + clip.begin * _WINDOW,
        )


def _prepared(path: Path) -> np.ndarray:
    """One recording, resampled and then filtered."""
    try:
        raw = mne.io.read_raw_cnt(path, verbose="ERROR")
    except Exception as error:  # whatever MNE raises does not name the file
        raise ValueError(f"{path} cannot be read as Neuroscan .cnt ({error}); get it anew.") from error
    check_sfreq(raw, path, _STORED_HZ)
    raw = pick(raw, CHANNELS, path).resample(SFREQ, verbose="ERROR")
    return filtered(raw, 0.3, 75).get_data()


def _published_split(data: TaskData) -> Split:
    """The first five clips of every session train, the next five validate, the last five test."""
    clips = [int(name.rsplit(" ", 1)[1]) for name in data.recordings.tolist()]
    return one_fold("five clips each", [("training", "validation", "test")[clip // 5] for clip in clips], "block")


_CONFOUNDS = (
    "windows of 1 s of one film clip are near-duplicates, and there are 45 clips in all: score by clip as well, which "
    "is what a recording is here",
    "classes are not balanced, although the published training weights them equally",
    "of a session that is there as recorded and as repaired, the repaired recording is taken; the published code takes "
    "both, and so counts the session twice",
    "the filter sees the whole recording, without labels",
)
_FACTS: Mapping = {
    "title": "Emotion: disgust, fear, sad, neutral or happy",
    "citation": 'Liu et al. (2022), "Comparing recognition performance and robustness of multimodal deep learning '
    'models for multimodal emotion recognition", IEEE Trans. Cogn. Dev. Syst. 14(2), doi:10.1109/TCDS.2021.3071170',
    "licence": "academic use only, on a signed application, no redistribution: read the terms that come with the data",
    "obtain": "Apply to the BCMI laboratory of Shanghai Jiao Tong University for SEED-V, and copy its 48 files "
    "subject_session_date.cnt into the folder seed_v, at any depth. Reading needs 6 GB in the folder of temporary "
    "files and 6 GB of memory.",
    "classes": EMOTIONS,
    "window_seconds": 1.0,
    "folder": "seed_v",
    "missing": missing_of_seed_v,
    "read": read_seed_v,
    "subjects": SUBJECTS,
}

RECIPES = (
    Recipe(
        name="seed_v_published",
        protocol="published",
        rule=_published_split,
        confounds=(
            *_CONFOUNDS,
            "every subject and session is in training, validation and test, by design: a score is of people and days "
            "that training has seen",
            "parts are early, middle and late clips of a session, so a score may be about time",
        ),
        **_FACTS,
    ),
    Recipe(
        name="seed_v_clean",
        protocol="clean",
        rule=by_subject([SUBJECTS], 4),
        confounds=(
            *_CONFOUNDS,
            "subjects are left out, four at a time, but all watched the same clips: what a clip does to the signal may "
            "be learnt instead of the emotion",
        ),
        **_FACTS,
    ),
)
