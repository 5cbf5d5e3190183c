"""Folders of long recordings of mice, such as those of MACO, which are not public: a reader for one's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe._validation import check_number, listed
from mne_specmoe.benchmark.recipes.cutting import (
    MICROVOLT,
    Cut,
    collect,
    natural_key,
    resample_windows,
    side_by_side,
)
from mne_specmoe.benchmark.recipes.matlab import entry, open_hdf5
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.splits import by_subject
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ

_MODEL_UNIT = 100 * MICROVOLT  # what enters a model as 1


@dataclass(frozen=True)
class Layout:
    """How a folder of long recordings is laid out, and what to make of them.

    There is one folder per class, with files ``animal_..._site_..._baseline.h5``, one per recording and site. The last
    part of the name is the number of blocks before the drug was given. The dataset ``dataset`` of a file has one row
    per block.

    Attributes
    ----------
    classes : tuple of str
        Names of the folders, in the order of labels.
    sites : tuple of str
        The parts of file names that tell the site; these are the channels.
    sfreq : int
        Sampling rate in Hz.
    block_seconds : int
        Length of a block.
    window_seconds : int
        Length of a window.
    n_blocks : int or None
        How many blocks after the baseline are used; None is all.
    z_score : bool
        Whether every window and channel is brought to mean 0 and standard deviation 1, as in the paper, instead of
        keeping its amplitude. A deviation of 1 then counts as 100 µV, so that models see the z-scores themselves.
    volts_per_unit : float
        What 1 is in the files, for those that are not z-scored.
    """

    classes: tuple[str, ...]
    sites: tuple[str, ...] = ("prefrontal", "parietal")
    sfreq: int = 1024
    block_seconds: int = 600
    window_seconds: int = 60
    n_blocks: int | None = None
    z_score: bool = False
    volts_per_unit: float = MICROVOLT

    def __post_init__(self):
        check_number("window_seconds", self.window_seconds, minimum=1, maximum=self.block_seconds, integer=True)


def make_recipe(name: str, title: str, folder: str, layout: Layout, animals: Sequence[str], n_folds: int) -> Recipe:
    """Make a task of a folder of one's own, in which animals are left out in turn.

    Parameters
    ----------
    name, title, folder : str
        Name of the task and of the folder below the data root, and what is told from what.
    layout : Layout
        How the folder is laid out.
    animals : sequence of str
        All animals of the folder.
    n_folds : int
        Three or more.

    Returns
    -------
    recipe : Recipe
    """
    return Recipe(
        name=name,
        title=title,
        protocol="clean",
        citation="recordings of one's own",
        licence="one's own",
        obtain="See mne_specmoe.benchmark.recipes.long_recordings.Layout for how folders and files have to be named.",
        confounds=(
            "the windows of one recording share day, impedance and electrode: animals are the sample, so score by "
            "recording as well",
            "MACO's published split shares animals and recordings between training and validation, so scores do not "
            "compare with it",
            "every window is z-scored, which hides its amplitude" if layout.z_score else "windows keep their amplitude",
        ),
        classes=layout.classes,
        window_seconds=float(layout.window_seconds),
        folder=folder,
        missing=partial(missing_of_long_recordings, layout=layout, animals=animals),
        read=partial(read_long_recordings, layout=layout),
        rule=by_subject([animals], n_folds),
        subjects=tuple(animals),
    )


def missing_of_long_recordings(folder: Path, *, layout: Layout, animals: Sequence[str]) -> list[str]:
    """Name classes without files, and animals."""
    absent = [f"{name}/*.h5" for name in layout.classes if not any((folder / name).glob("*.h5"))]
    there = {path.stem.split("_")[0] for name in layout.classes for path in (folder / name).glob("*.h5")}
    return absent + [f"*/{animal}_*.h5" for animal in animals if animal not in there]


def read_long_recordings(folder: Path, *, layout: Layout) -> TaskData:
    """Read the windows after the baseline, blocks resampled to 200 Hz by FFT.

    Parameters
    ----------
    folder : Path
        Has one folder per class; see `Layout`.
    layout : Layout
        How it is laid out.

    Returns
    -------
    data : TaskData
        Sessions are classes; windows start from the begin of the first block after the baseline.

    Raises
    ------
    ImportError
        If h5py is missing.
    ValueError
        If files are named otherwise, damaged or of another length, or if a site of a recording is missing.
    """
    digests: dict[str, str] = {}
    return collect(_cuts(folder, layout, digests), ch_names=layout.sites, classes=layout.classes, digests=digests)


def _cuts(folder: Path, layout: Layout, digests: dict[str, str]) -> Iterator[Cut]:
    """Windows of every recording, whose digests are noted down."""
    for label, name in enumerate(layout.classes):
        for recording, paths in _recordings(folder / name, layout.sites).items():
            digests.update({f"{name}/{path.stem}": file_digest(path) for path in paths})
            blocks = [_blocks(path, layout) for path in paths]
            if len({len(rows) for rows in blocks}) > 1:
                raise ValueError(f"The files {listed(paths)} have other numbers of blocks, but are of one recording.")
            windows, starts = _windows(np.stack(blocks, axis=1), layout)
            yield Cut(
                recording.split("_")[0], name, f"{name}/{recording}", windows, np.full(len(starts), label), starts
            )


def _recordings(folder: Path, sites: Sequence[str]) -> dict[str, list[Path]]:
    """Name of a recording → its files, in the order of sites."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.h5"), key=lambda path: natural_key(path.name)):
        parts = path.stem.split("_")
        own = [site for site in sites if site in parts]
        if len(own) != 1 or not parts[-1].isdigit():
            raise ValueError(
                f"{path} must be named animal_..._site_..._baseline.h5, with one of the sites {listed(sites)} and a "
                "number of blocks; rename it, or move it elsewhere."
            )
        recording = "_".join(part for part in parts if part != own[0])
        found.setdefault(recording, {})[own[0]] = path
    for recording, paths in found.items():
        if lacking := [site for site in sites if site not in paths]:
            raise ValueError(f"{folder} has no file of {listed(lacking)} for the recording {recording!r}; add it.")
    return {recording: [paths[site] for site in sites] for recording, paths in found.items()}


def _blocks(path: Path, layout: Layout) -> np.ndarray:
    """The blocks after the baseline, [n_blocks, n_samples]."""
    baseline = int(path.stem.rsplit("_", 1)[1])
    n_samples = layout.sfreq * layout.block_seconds
    with open_hdf5(path) as file:
        stored = entry(file, "dataset", path)
        stop = stored.shape[0] if layout.n_blocks is None else baseline + layout.n_blocks
        if stored.ndim != 2 or stored.shape[1] != n_samples or not baseline < stop <= stored.shape[0]:
            raise ValueError(
                f"{path} holds {stored.shape}, but must have {baseline + (layout.n_blocks or 1)} blocks or more, "
                f"{baseline} of them baseline, of {n_samples} samples ({layout.block_seconds} s at {layout.sfreq} Hz)."
            )
        return stored[baseline:stop]


def _windows(blocks: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Windows in volts at 200 Hz, and where they start."""
    n_block, n_times = round(layout.block_seconds * SFREQ), round(layout.window_seconds * SFREQ)
    cut = [side_by_side(block, n_times) for block in resample_windows(blocks, n_block)]
    windows = np.concatenate([each for each, _ in cut]).astype(float)
    starts = np.concatenate([each + place * n_block for place, (_, each) in enumerate(cut)])
    if not layout.z_score:
        return windows * layout.volts_per_unit, starts
    windows -= windows.mean(-1, keepdims=True)
    return _MODEL_UNIT * windows / (windows.std(-1, keepdims=True) + 1e-6), starts
