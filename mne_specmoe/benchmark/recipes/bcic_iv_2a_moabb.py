"""BCI Competition IV 2a, as MOABB's BNCI2014_001 downloads and reads it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import mne

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.recipes.bcic_iv_2a import (
    CHANNELS,
    SFREQ_FILES,
    SUBJECTS,
    Cutter,
    Run,
    file_names,
    places,
    protocols,
    put_together,
)
from mne_specmoe.benchmark.recipes.files import digests_of
from mne_specmoe.benchmark.task_data import TaskData

FOLDER = "MNE-bnci-data"
"""Where MOABB puts the files, below what its variable names."""

_PROVIDER = {"MOABB_DOWNLOAD_PROVIDER": "upstream"}  # else it asks online even for files that are there
_SESSIONS = {"0train": "T", "1test": "E"}


def missing(subjects: Sequence[str], folder: Path) -> list[str]:
    """Files of the subjects that MOABB has not downloaded yet."""
    there = {path.name for path in folder.rglob("*.mat")}
    return [name for name in file_names(subjects) if name not in there]


def read(subjects: Sequence[str], cut: Cutter, folder: Path) -> TaskData:
    """All trials of both sessions, those with artifacts too."""
    try:
        from moabb.datasets import BNCI2014_001
    except ImportError as error:
        raise ImportError(
            "This recipe is read by MOABB, which is not installed: pip install 'mne-specmoe[benchmark]', or use the "
            "recipes bcic_iv_2a_published and bcic_iv_2a_clean, which read the original files."
        ) from error
    with _moabb_below(folder.parent):
        recorded = BNCI2014_001().get_data([int(subject[1:]) for subject in subjects])
    names = file_names(subjects)
    digests = digests_of(folder, sorted(path for path in folder.rglob("*.mat") if path.name in names))
    return put_together((run for number in recorded for run in _runs(f"A{number:02d}", recorded[number])), cut, digests)


@contextmanager
def _moabb_below(root: Path) -> Iterator[None]:
    """Let MOABB look for its files below the data root; it knows no other way to be told."""
    told = {"MNE_DATASETS_BNCI_PATH": str(root), **_PROVIDER}
    before = {name: os.environ[name] for name in told if name in os.environ}
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]
        os.environ.update(before)


def _runs(subject: str, sessions: Mapping[str, Mapping[str, mne.io.BaseRaw]]) -> Iterator[Run]:
    """The runs of one subject."""
    if set(sessions) != set(_SESSIONS):
        raise ValueError(
            f"MOABB gives the sessions {listed(sessions)} of {subject}, but this recipe knows {listed(_SESSIONS)}; use "
            "MOABB 1.7, or the recipes that read the original files."
        )
    for session, own in _SESSIONS.items():
        for number, raw in enumerate(sessions[session].values()):
            if raw.info["sfreq"] != SFREQ_FILES:
                raise ValueError(f"MOABB gives {subject} at {raw.info['sfreq']:g} Hz, but it must be {SFREQ_FILES} Hz.")
            events = mne.find_events(raw, shortest_event=1, verbose="ERROR")
            labels = places(events[:, 2], f"{subject}{own} in MOABB")
            volts = raw.get_data(picks=list(CHANNELS))
            yield Run(subject, own, f"{subject}{own}-{number}", volts, events[:, 0] - raw.first_samp, labels)


RECIPES = protocols(
    "bcic_iv_2a_moabb",
    "Imagined movement: left hand, right hand, feet or tongue, through MOABB",
    read,
    {
        "folder": FOLDER,
        "missing": partial(missing, SUBJECTS),
        "obtain": "Install mne-specmoe[benchmark], set the environment variables MNE_DATASETS_BNCI_PATH to the data "
        "root and MOABB_DOWNLOAD_PROVIDER to upstream, and call moabb.datasets.BNCI2014_001().download(); the files "
        "are then in the folder MNE-bnci-data.",
    },
)
