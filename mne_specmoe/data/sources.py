"""Recordings to build a corpus from: finding them, reading them, and telling whose they are."""

import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import mne
import numpy as np
from mne.io._read_raw import _get_supported, split_name_ext

from mne_specmoe._validation import check_number, check_option, listed
from mne_specmoe.data.recordings import UNITS

# Belongs to another file, is not EEG (NIRS, MEG, eye tracking), or is anything (.txt): only read when named.
_NOT_SEARCHED_FOR = frozenset(
    {".txt", ".mat", ".bin", ".asc", ".hdr", ".snirf", ".sqd", ".con", ".rs3", ".dap", ".cef", ".cdt.dpa", ".cdt.cef"}
)
_HEADERS = (".vhdr", ".ahdr", ".lay")  # beside these, .eeg and .dat hold their samples
_SAMPLES = (".fdt", ".eeg", ".dat")  # where headers of the same name keep the samples
_OTHER_FIF = re.compile(
    r"([-_](epo|ave|evoked|cov|eve|trans|ica|src|fwd|inv|proj|sol|bem|annot|dip|csd|tfr|psd)"
    r"|[-_](raw|raw_t?sss|meg|eeg)-\d+|[-_]split-(?!01)\d+.*)"
    r"\.fif(\.gz)?$"
)  # MNE's names of what is not raw data, and of the later parts of split recordings

_SUBJECT_PATTERNS = (
    re.compile(r"(?:^|.*[/\\])(sub-[0-9A-Za-z]+)"),  # BIDS
    re.compile(r".*[/\\]?(S\d{3})R\d{2}(?=\.|$)"),  # EEGBCI
    re.compile(r"(?:^|.*[/\\])([a-z]{8})_s\d{3}_t\d{3}(?=\.|$)"),  # TUEG
    re.compile(r"(?:^|.*[/\\])((?:sub|subj|subject)_?\d+)", re.IGNORECASE),  # Subject00_1.edf
)
_NO_ID = frozenset({"unknown", "anonymous", "anonymized", "anonymised", "none", "na", "xx", "xxx", "xxxx", "test"})


@dataclass(frozen=True, eq=False)
class ArrayRecording:
    """A continuous recording held in an array.

    Parameters
    ----------
    name : str
        What to call it; a corpus knows its recordings by their names.
    data : ndarray, shape (n_channels, n_times)
        The signals.
    sfreq : float
        Their sampling rate in Hz.
    ch_names : sequence of str
        Names of the channels.
    subject : str, optional
        Whose recording it is; by default found from ``name``, as from that of a file.
    unit : {"V", "mV", "uV", "µV"}, default="V"
        Unit of ``data``.

    Raises
    ------
    ValueError
        If shape, names and unit do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> recording = ArrayRecording("mouse 1", np.zeros((2, 6000)), 200.0, ["EEG", "EEG2"], unit="uV")
    """

    name: str
    data: np.ndarray
    sfreq: float
    ch_names: Sequence[str]
    subject: str | None = None
    unit: str = "V"

    def __post_init__(self):
        check_option("unit", self.unit, tuple(UNITS))
        check_number("sfreq", self.sfreq, minimum=0, strict=True)
        if np.ndim(self.data) != 2 or len(self.data) != len(self.ch_names):
            raise ValueError(
                f"data of the recording {self.name!r} must be (n_channels, n_times) with one row for each of the "
                f"{len(self.ch_names)} ch_names, got shape {np.shape(self.data)}."
            )


RecordingLike = str | os.PathLike | mne.io.BaseRaw | ArrayRecording
"""What can be given as a recording, or as a folder of them."""


class MadeRecording(Protocol):
    """A recording that is made when it is read."""

    subject: str

    def make_raw(self) -> mne.io.BaseRaw:
        """Make it."""


@dataclass(frozen=True)
class Source:
    """A recording to read.

    Attributes
    ----------
    name : str
        What it is called in a corpus: the path of a file, or the name of a recording in memory.
    signature : int or str
        What changes when its content does: the size of its files, or a hash.
    item : Path, mne.io.Raw, ArrayRecording or MadeRecording
        What to read.
    is_bids : bool
        True for a file of a BIDS tree, beside which its channels are described.
    """

    name: str
    signature: int | str
    item: Path | mne.io.BaseRaw | ArrayRecording | MadeRecording
    is_bids: bool = False

    @property
    def label(self) -> str:
        """The path of a file, or a name."""
        return self.name.rsplit("#", 1)[0] if isinstance(self.item, mne.io.BaseRaw) else self.name


def find_sources(recordings: RecordingLike | Sequence[RecordingLike]) -> list[Source]:
    """Find all recordings, each once, in a fixed order.

    Parameters
    ----------
    recordings : path-like, mne.io.Raw, ArrayRecording, or a sequence of these
        Files, folders, BIDS trees, recordings in memory, as for :func:`~mne_specmoe.data.build.build_corpus`.

    Returns
    -------
    sources : list of Source
        In the order given; those of a folder in alphabetical order.

    Raises
    ------
    TypeError
        If something other than recordings is given.
    ValueError
        If there are none, or if two that differ have the same name.
    FileNotFoundError
        If a file or folder does not exist.
    ImportError
        If mne-bids is needed and missing.
    """
    if isinstance(recordings, str | os.PathLike | mne.io.BaseRaw | ArrayRecording):
        recordings = [recordings]
    if not isinstance(recordings, Sequence):
        recordings = list(recordings)
    sources: dict[str, Source] = {}
    for item in recordings:
        for source in _sources_of(item):
            same = sources.setdefault(source.name, source)
            if same.signature != source.signature:
                raise ValueError(f"Two recordings have the name {source.name!r}; give them different names.")
    if not sources:
        given = listed([each for each in recordings if isinstance(each, str | os.PathLike)], at_most=5)
        raise ValueError(
            f"No recordings were found in {given}. MNE reads, among others, .edf, .bdf, .gdf, .set, .fif and .vhdr; "
            "other files can be given by name, or as arrays: ArrayRecording."
        )
    return list(sources.values())


def _sources_of(item: RecordingLike) -> Iterator[Source]:
    """The recordings that one argument stands for."""
    if isinstance(item, ArrayRecording):
        yield Source(item.name, _digest(item.data, item.sfreq, item.ch_names, item.unit, item.subject), item)
    elif isinstance(item, mne.io.BaseRaw):
        yield _source_of_raw(item)
    elif isinstance(item, str | os.PathLike):
        yield from _sources_at(Path(os.path.abspath(item)))
    else:
        raise TypeError(
            "recordings must be paths, mne.io.Raw or ArrayRecording (for arrays: ArrayRecording(name, data, sfreq, "
            f"ch_names)), got {type(item).__name__}."
        )


def _source_of_raw(raw: mne.io.BaseRaw) -> Source:
    """A Raw; the digest of its content tells it from others of the same file."""
    files = [str(name) for name in raw.filenames if name is not None]
    content = raw.get_data() if raw.preload else np.empty(0)
    bad = [f"{each['onset']} {each['duration']} {each['description']}" for each in raw.annotations]
    digest = _digest(
        content, raw.info["sfreq"], raw.ch_names, files, raw.first_samp, raw.last_samp, raw.info["bads"], bad
    )
    return Source(f"{files[0] if files else 'raw'}#{digest}", digest, raw)


def _digest(data: np.ndarray, *others: object) -> str:
    """A short hash of an array and of what belongs to it."""
    digest = blake2b(repr((np.shape(data), np.asarray(data).dtype.str, others)).encode(), digest_size=8)
    for row in np.atleast_2d(data):
        digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()


def _sources_at(path: Path) -> Iterator[Source]:
    """The recordings in a file or folder."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if path.is_file() or _extension(path) is not None:
        yield _source_of_file(path)
    else:
        yield from _search(path)


def _search(folder: Path) -> Iterator[Source]:
    """The recordings below a folder, in alphabetical order."""
    if (folder / "dataset_description.json").exists():
        yield from _search_bids(folder)
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if _is_recording(path):
            yield _source_of_file(path)
        elif path.is_dir():
            yield from _search(path)


def _search_bids(root: Path) -> Iterator[Source]:
    """The EEG recordings of a BIDS tree; not those of other trees within, as in derivatives/."""
    if importlib.util.find_spec("mne_bids") is None:
        raise ImportError(
            f"{root} is a BIDS tree, and mne-bids is needed to read its channels' types and which of them are bad: "
            "pip install 'mne-specmoe[bids]'. To do without, name the files instead of the folder."
        )
    for path in sorted(root.glob("sub-*/**/eeg/*_eeg.*")):
        if _is_recording(path):
            yield _source_of_file(path, is_bids=True)


def _extension(path: Path) -> str | None:
    """The extension if it is one that MNE knows."""
    return split_name_ext(path)[1] if path.suffix.lower() in _known_suffixes() else None


@lru_cache(maxsize=1)
def _known_suffixes() -> frozenset[str]:
    """Last suffixes of the extensions that MNE reads."""
    return frozenset(Path(f"a{extension}").suffix for extension in _get_supported())


def _is_recording(path: Path) -> bool:
    """Tell if a file found in a folder is the one to read a recording by."""
    extension = _extension(path)
    if extension is None or extension in _NOT_SEARCHED_FOR:
        return False
    if extension in (".eeg", ".dat") and any(path.with_suffix(header).exists() for header in _HEADERS):
        return False
    return not (extension.startswith(".fif") and _OTHER_FIF.search(path.name))


def _source_of_file(path: Path, *, is_bids: bool = False) -> Source:
    """A recording by its file, with the size of all that belongs to it."""
    parts = [path, *(path.with_suffix(suffix) for suffix in _SAMPLES if suffix != path.suffix)]
    if path.is_dir():
        parts = sorted(path.rglob("*"))
    # A link into nowhere (an annex without its content) is found out when the file is read.
    size = sum(part.stat().st_size for part in parts if part.is_file())
    return Source(str(path), size, path, is_bids)


def read_recording(source: Source, *, verbose: bool | str | int | None = None) -> mne.io.BaseRaw:
    """Open a recording.

    Parameters
    ----------
    source : Source
        Which one.
    verbose : bool, str, int or None
        As in MNE.

    Returns
    -------
    raw : mne.io.Raw
        The recording as it is stored, in volts; data are loaded only where they were in memory.

    Raises
    ------
    ValueError
        If the file holds epochs. Whatever else MNE raises comes through.
    """
    item = source.item
    if isinstance(item, mne.io.BaseRaw):
        return item
    if isinstance(item, ArrayRecording):
        info = mne.create_info(list(item.ch_names), float(item.sfreq), "eeg", verbose=verbose)
        return mne.io.RawArray(np.asarray(item.data, dtype=float) * UNITS[item.unit], info, verbose=verbose)
    if hasattr(item, "make_raw"):
        return item.make_raw()
    if source.is_bids:
        from mne_bids import get_bids_path_from_fname, read_raw_bids

        return read_raw_bids(get_bids_path_from_fname(item), verbose=verbose)
    try:
        return mne.io.read_raw(item, verbose=verbose)
    except TypeError as error:
        if "number of trials" in str(error):
            raise ValueError("The file holds epochs; a corpus is made from continuous recordings.") from error
        raise


def check_subject_pattern(pattern: str | None) -> None:
    """Raise a ValueError unless `pattern` is None or a regular expression with one group."""
    if pattern is not None and _n_groups(pattern) != 1:
        raise ValueError(
            f"subject_pattern must be a regular expression with one group, such as r'(S\\d+)_rest', got {pattern!r}."
        )


def _n_groups(pattern: str) -> int:
    """Number of groups in a regular expression, -1 if it is none."""
    try:
        return re.compile(pattern).groups
    except (re.error, TypeError):
        return -1


def subject_of(source: Source, raw: mne.io.BaseRaw, pattern: str | None = None) -> str:
    """Tell whose recording it is.

    Parameters
    ----------
    source : Source
        Where the recording comes from.
    raw : mne.io.Raw
        The recording.
    pattern : str, optional
        Regular expression with one group, the subject, searched for in the path or name. The default is to use known
        schemes of naming files, then what the recording states, then the name of the file: see ``subject_pattern`` of
        :func:`~mne_specmoe.data.build.build_corpus`.

    Returns
    -------
    subject : str
        The subject that an :class:`ArrayRecording` was given, else what was found.

    Raises
    ------
    ValueError
        If ``pattern`` does not match.
    """
    given = getattr(source.item, "subject", None)
    name = source.label
    if given is not None:
        return str(given)
    if pattern is not None:
        if not (match := re.search(pattern, name)) or not match.group(1):
            raise ValueError(f"subject_pattern={pattern!r} does not match the path.")
        return match.group(1)
    for known in _SUBJECT_PATTERNS:
        if match := known.match(name):
            return match.group(1)
    stated = str((raw.info["subject_info"] or {}).get("his_id") or "")
    letters = re.sub(r"[\W_]", "", stated).lower()
    return stated if len(letters) > 1 and letters not in _NO_ID else Path(name).stem
