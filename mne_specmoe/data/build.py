"""Building a pretraining corpus from recordings, so that it can be interrupted and gone on with at any time."""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path

import mne
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from mne_specmoe._files import replacing
from mne_specmoe._validation import AmplitudeWarning, SpecMoEWarning, check_number, listed
from mne_specmoe.data.corpus import (
    LABELS_NAME,
    LOCK_NAME,
    Corpus,
    read_index,
    read_settings,
    shard_files,
    write_settings,
)
from mne_specmoe.data.segments import Segments, SegmentSettings, cut_segments, is_plausible
from mne_specmoe.data.sources import (
    ArrayRecording,
    RecordingLike,
    Source,
    check_subject_pattern,
    find_sources,
    read_recording,
    subject_of,
)
from mne_specmoe.signal.canonical import SFREQ

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["ArrayRecording", "build_corpus"]  # the one with the other, which takes it

_N_SHOWN = 5  # failures named in a warning or an error


def build_corpus(
    recordings: RecordingLike | Sequence[RecordingLike],
    path: str | os.PathLike,
    *,
    l_freq: float | None = 0.3,
    h_freq: float | None = 75.0,
    notch: float | Sequence[float] | None = 60.0,
    sfreq: float = SFREQ,
    segment_seconds: float = 30.0,
    edge_seconds: float = 60.0,
    min_seconds: float = 300.0,
    reject_uv: float | None = 100.0,
    channels: str | Sequence[str] = "paper",
    subject_pattern: str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> Corpus:
    """Turn recordings into a corpus for pretraining, preprocessed as in SpecMoE's paper by default.

    Recordings that cannot be used are left out; the corpus keeps the reasons (`Corpus.problems`, and
    ``print(corpus.summary())``), and a warning counts those that failed. Segments that are exactly equal to earlier
    ones, by content, are left out. An interrupted build, also by ``kill -9`` or by a full disk, goes on when it is
    called again, and gives the same corpus. More recordings can be added to a corpus in the same way; those
    that are in it already are skipped, unless the size of their file has changed, and those that failed are tried
    again.

    Each recording is filtered, resampled and cut at both ends by :func:`~mne_specmoe.data.preprocessing.prepare_raw`,
    and divided into segments that do not overlap. A segment is dropped, and counted under the first reason that
    applies, if

    - ``annotated``: an annotation that begins with "bad" overlaps it;
    - ``non-finite``: it has NaN or infinite samples in any channel of the recording;
    - ``flat``: any channel is constant as recorded, or has a standard deviation below 0.05 µV after preprocessing;
    - ``clipped``: in any channel, 10 % of the recorded samples or more equal the channel's largest value in the whole
      recording, or its smallest;
    - ``amplitude``: any sample reaches ``reject_uv`` after preprocessing.

    Parameters
    ----------
    recordings : path-like, mne.io.Raw, ArrayRecording, or a sequence of these
        Files; folders, which are searched, with all folders inside them, for continuous recordings in the formats that
        MNE reads; BIDS trees (folders with a ``dataset_description.json``; the package ``mne-bids`` is needed);
        recordings in memory.
    path : path-like
        Folder of the corpus: a new or empty one, or a corpus to go on with.
    l_freq, h_freq : float or None
        Band-pass edges in Hz. A recording whose sampling rate is below twice ``h_freq`` fails.
    notch : float, sequence of float, or None
        Mains frequencies to remove, in Hz.
    sfreq : float, default=200
        Sampling rate of the corpus in Hz.
    segment_seconds : float, default=30
        Length of a segment.
    edge_seconds : float, default=60
        Seconds cut from both ends of a recording.
    min_seconds : float, default=300
        Recordings shorter than this, before the ends are cut, are left out.
    reject_uv : float or None, default=100
        Segments with a sample of this absolute value or more, in µV, are dropped. None keeps them.
    channels : str or sequence of str, default="paper"
        ``"paper"``: the 19 channels of `~mne_specmoe.data.preprocessing.TEN_TWENTY_19`. A sequence: these
        channels, in this order. A recording that lacks any of them fails. The name of a montage that MNE knows, such
        as ``"standard_1020"``: those EEG channels of each recording that are in it, in its order. ``"all"``: all EEG
        channels of each recording. Names are matched as :func:`~mne_specmoe.data.preprocessing.prepare_raw` does.
        Channels marked as bad are treated as absent.
    subject_pattern : str, optional
        Regular expression with one group, searched for in the path of a file (or the name of a recording in memory):
        the group is the subject. By default, the first of these: ``sub-…`` of BIDS, ``S001`` of ``S001R03``,
        ``aaaaaaaa`` of ``aaaaaaaa_s001_t000``, ``Subject00`` of ``Subject00_1``, the identity that the file states if
        it has two letters or digits and is not a placeholder, the name of the file.
    n_jobs : int, default=1
        Processes that work at the same time; -1 takes one per core. The corpus does not depend on it.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    corpus : Corpus
        The corpus, opened.

    Raises
    ------
    TypeError
        If something other than recordings is given.
    ValueError
        If a parameter is out of range, if there are no recordings or no segment of any is left (a new folder is then
        removed again), or if ``path`` holds something else, or a corpus with other settings (they are named).
    FileNotFoundError
        If a file or folder does not exist.
    ImportError
        If mne-bids is needed and missing.
    OSError
        If the corpus cannot be written, as when the disk is full. Call again to go on when there is space.
    RuntimeError
        If another process is building the same corpus.

    References
    ----------
    Darankoum et al., "SpecMoE: Spectral Mixture-of-Experts Foundation Model for Cross-Species EEG Decoding",
    arXiv:2603.16739: the preprocessing, and the defaults of its parameters.

    Examples
    --------
    Folders and files, in four processes:

    >>> corpus = build_corpus(["recordings/", "more.edf"], "corpus", notch=50, n_jobs=4)  # doctest: +SKIP
    >>> print(corpus.summary())  # doctest: +SKIP

    An array: 330 s, of which 60 s at both ends are cut, in segments of 30 s:

    >>> import tempfile
    >>> import numpy as np
    >>> from mne_specmoe.data.sources import ArrayRecording
    >>> noise = 10 * np.random.default_rng(0).standard_normal((2, 330 * 200))
    >>> mouse = ArrayRecording("mouse 1", noise, 200.0, ["left", "right"], unit="uV")
    >>> with tempfile.TemporaryDirectory() as path:
    ...     corpus = build_corpus(mouse, path, channels="all", progress=False)
    >>> len(corpus), corpus.montages
    (7, (('left', 'right'),))
    """
    path = Path(path)
    check_number("n_jobs", n_jobs, integer=True)
    settings = SegmentSettings(
        l_freq=l_freq,
        h_freq=h_freq,
        notch=as_list(notch),
        sfreq=sfreq,
        segment_seconds=segment_seconds,
        edge_seconds=edge_seconds,
        min_seconds=min_seconds,
        reject_uv=reject_uv,
        channels=channels if isinstance(channels, str) else as_list(channels),
    )
    check_subject_pattern(subject_pattern)
    described = describe_settings(settings, subject_pattern)
    sources = find_sources(recordings)
    return fill_corpus(sources, path, settings, described, n_jobs=n_jobs, progress=progress)


def fill_corpus(
    sources: Sequence[Source],
    path: Path,
    settings: SegmentSettings,
    described: Mapping,
    *,
    beside: Callable[[Path], None] = lambda path: None,
    n_jobs: int,
    progress: bool,
) -> Corpus:
    """Make a corpus of recordings that were found, or go on with it; see `build_corpus`.

    Parameters
    ----------
    sources : sequence of Source
        The recordings.
    path : Path
        The folder.
    settings : SegmentSettings
        How they are cut.
    described : mapping
        What must be the same to go on, as it comes back from a file of JSON: `describe_settings` and more.
    beside : callable
        Called with the folder before recordings are read, to put something beside the corpus.
    n_jobs, progress
        As of `build_corpus`.

    Returns
    -------
    corpus : Corpus
    """
    subject_pattern = described["subject_pattern"]
    _check_folder(path, described)
    existed = path.exists()
    with _building(path):
        is_new = _check_folder(path, described)  # another process may have been here
        index = _start(path, described, is_new)
        beside(path)
        store = partial(_store, settings=settings, subject_pattern=subject_pattern, path=path)
        _store_all(index, sources, store, n_jobs, progress)
    if not index.n_done:
        if is_new:
            _remove(path, existed)
        raise ValueError(f"No recording has a segment to keep, so there is no corpus. {_told(index.problems)}")
    _warn_of_failures(index.added)
    _warn_of_amplitudes(index.added)
    return Corpus(path)


def as_list(values: object) -> list | None:
    """A list of one or more values; None as it is."""
    if values is None:
        return None
    return np.atleast_1d(values).tolist()


def describe_settings(settings: SegmentSettings, subject_pattern: str | None, **others: object) -> dict:
    """The settings of a corpus as they come back from its file, and what else there is to say."""
    content = asdict(settings) | {"subject_pattern": subject_pattern, "n_times": settings.n_times} | others
    return json.loads(json.dumps(content, default=float))


def _check_folder(path: Path, settings: Mapping) -> bool:
    """Tell if a corpus is to be made here; raise unless one can be made or gone on with."""
    if (path / "corpus.json").exists():
        _check_same(path, read_settings(path), settings)
        return False
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; give a folder for the corpus, new or empty.")
    if path.exists() and not all(_is_ours(each) for each in path.iterdir()):
        raise ValueError(f"{path} holds other files and is no corpus; give a new or empty folder.")
    return True


def _is_ours(path: Path) -> bool:
    """Tell if a file can be what is left of a build that was killed before it wrote corpus.json."""
    return path.name == LOCK_NAME or path.name.startswith(".corpus.json.")


def _check_same(path: Path, theirs: Mapping, ours: Mapping) -> None:
    """Raise if a corpus was built with other settings."""
    names = [name for name in ours | theirs if theirs.get(name) != ours.get(name)]
    if names:
        differences = "; ".join(f"{name}={theirs.get(name)!r} there, {ours.get(name)!r} now" for name in names)
        raise ValueError(
            f"The corpus {path} was built with other settings: {differences}. Use the same settings, or another folder."
        )


@contextmanager
def _building(path: Path) -> Iterator[None]:
    """Hold the lock of the folder; its file stays behind if the build is interrupted."""
    path.mkdir(parents=True, exist_ok=True)
    lock_path = path / LOCK_NAME
    with open(lock_path, "a") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RuntimeError(f"Another process is building the corpus {path}; wait for its end.") from error
        yield
    lock_path.unlink(missing_ok=True)


def _start(path: Path, settings: Mapping, is_new: bool) -> "_Index":
    """Write the settings of a new corpus; clear what a killed build has left."""
    if is_new:
        write_settings(path, settings)
    (path / "shards").mkdir(exist_ok=True)
    for stale in path.glob(".corpus.json.*"):
        stale.unlink(missing_ok=True)
    index = _Index(path)
    for stray in index.stray_files():
        stray.unlink(missing_ok=True)
    return index


class _Index:
    """The index of a corpus that is being built; knows all segments so far."""

    def __init__(self, path: Path):
        self.path = path
        self.added: list[dict] = []
        self._file = path / "recordings.jsonl"
        entries, n_bytes = read_index(path)
        if self._file.exists():
            os.truncate(self._file, n_bytes)  # a line cut off
        self._entries = {entry["source"]: entry for entry in entries}
        self._owner_of: dict[str, str] = {}  # hash of a segment -> the source it was taken from

    @property
    def n_done(self) -> int:
        """Recordings that have segments."""
        return sum(entry["status"] == "done" for entry in self._entries.values())

    @property
    def problems(self) -> list[dict]:
        """Recordings that do not."""
        return [entry for entry in self._entries.values() if entry["status"] != "done"]

    def stray_files(self) -> list[Path]:
        """Files of segments that no line of the index speaks of."""
        shards = [entry["shard"] for entry in self._entries.values() if entry["status"] == "done"]
        known = {file for shard in shards for file in shard_files(self.path, shard)}
        return [file for file in (self.path / "shards").iterdir() if file not in known]

    def plan(self, sources: Sequence[Source]) -> list[Source]:
        """The sources that have to be read (again); what the others hold is known from here on."""
        changed = {source.name for source in sources if self._is_outdated(source)}
        again = [
            source
            for source in sources
            if source.name in changed
            or source.name not in self._entries
            or self._entries[source.name]["status"] == "failed"
            or changed & set(self._entries[source.name].get("duplicate_of", ()))
        ]
        names = {source.name for source in again}
        for entry in self._entries.values():
            if entry["status"] == "done" and entry["source"] not in names:
                self._claim(entry)
        return again

    def _is_outdated(self, source: Source) -> bool:
        """Tell if a recording has changed since, or has lost its files."""
        entry = self._entries.get(source.name)
        if entry is None:
            return False
        if entry["status"] != "done":
            return entry["signature"] != source.signature
        files = shard_files(self.path, entry["shard"])
        return entry["signature"] != source.signature or not all(file.exists() for file in files)

    def _claim(self, entry: Mapping) -> None:
        """Note whose segments these are."""
        for digest, kept in zip(entry["hashes"], entry["kept"], strict=True):
            if kept:
                self._owner_of.setdefault(digest, entry["source"])

    def add(self, entry: dict) -> None:
        """Take a recording in, less the segments seen before; its files are on disk already."""
        if entry["status"] == "done":
            self._drop_duplicates(entry)
        self._append(entry)
        self.added.append(entry)
        before = self._entries.pop(entry["source"], {})
        self._entries[entry["source"]] = entry
        if before.get("status") == "done" and before["shard"] != entry.get("shard"):
            _unlink_shard(self.path, before["shard"])

    def _drop_duplicates(self, entry: dict) -> None:
        """Mark segments that were seen before; a recording of nothing else loses its files."""
        entry["kept"] = []
        owners = []
        for digest in entry["hashes"]:
            owner = self._owner_of.get(digest)
            entry["kept"].append(owner is None)
            owners += [] if owner is None else [owner]
            self._owner_of.setdefault(digest, entry["source"])
        entry["duplicate_of"] = list(dict.fromkeys(owners))
        if owners:
            entry["dropped"]["duplicate"] = len(owners)
        if not any(entry["kept"]):
            entry |= {"status": "duplicate", "reason": f"All of it is in {listed(entry['duplicate_of'])} already."}
            _unlink_shard(self.path, entry["shard"])

    def _append(self, entry: Mapping) -> None:
        """Write a line, and force it to disk."""
        line = json.dumps(entry, allow_nan=False) + "\n"
        with open(self._file, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _unlink_shard(path: Path, shard: str) -> None:
    """Delete the files of a recording."""
    for file in shard_files(path, shard):
        file.unlink(missing_ok=True)


def _store_all(
    index: _Index, sources: Sequence[Source], store: Callable[[Source], dict], n_jobs: int, progress: bool
) -> None:
    """Read, preprocess and store what is not in the corpus yet."""
    todo = index.plan(sources)
    # max_nbytes=None: a Raw must not come out of a memory map that cannot be written
    parallel = Parallel(n_jobs=n_jobs, return_as="generator", max_nbytes=None)
    entries = parallel(delayed(store)(source) for source in todo)
    bar = tqdm(total=len(sources), initial=len(sources) - len(todo), unit="recording", disable=not progress)
    n_failed = 0
    try:
        with bar:
            for entry in entries:
                index.add(entry)
                n_failed += entry["status"] == "failed"
                bar.set_postfix(failed=n_failed, refresh=False)
                bar.update()
    except OSError as error:  # of writing: those of reading are reasons for leaving a recording out
        raise _not_writable(index, error) from error


def _not_writable(index: _Index, error: OSError) -> OSError:
    """The error of a build that cannot write, with what to do."""
    why = f"{error.strerror}." if error.errno else f"{error}. Is the disk full?"  # NumPy gives no errno
    message = (
        f"The corpus {index.path} cannot be written: {why} It holds {index.n_done} "
        "recordings, all whole. Make space, and call build_corpus again with the same arguments to go on."
    )
    return OSError(*([error.errno] if error.errno else []), message)


def _store(source: Source, *, settings: SegmentSettings, subject_pattern: str | None, path: Path) -> dict:
    """Preprocess one recording and write its segments; returns its line of the index."""
    entry = {"source": source.name, "signature": source.signature}
    try:
        with warnings.catch_warnings(), mne.use_log_level("ERROR"):
            warnings.simplefilter("ignore")
            raw = read_recording(source)
            subject = subject_of(source, raw, subject_pattern)
            segments = cut_segments(raw, settings)
    except Exception as error:
        return entry | {"status": "failed", "reason": _reason(error)}
    entry |= {"subject": subject, "dropped": segments.dropped, "amplitude_uv": segments.amplitude_uv}
    if segments.why_none:
        return entry | {"status": "rejected", "reason": segments.why_none}
    return entry | {"status": "done"} | _write_shard(source, segments, path)


def _write_shard(source: Source, segments: Segments, path: Path) -> dict:
    """Write the segments of a recording, each file whole or not at all; returns what the index says of them."""
    hashes = [
        _hash(values.tobytes() + scale.tobytes())
        for values, scale in zip(segments.values, segments.scale_uv, strict=True)
    ]
    whole = _hash("".join(hashes).encode())
    shard = _shard_name(source, whole)
    for file, array in zip(shard_files(path, shard), (segments.values, segments.scale_uv), strict=True):
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.save(stream, array)
    return {
        "shard": shard,
        "ch_names": segments.ch_names,
        "locations": segments.locations,
        "slots": segments.slots.tolist(),
        "starts": segments.starts.tolist(),
        "hashes": hashes,
        "hash": whole,
    }


def _hash(content: bytes) -> str:
    """A hash by which segments of the same content are found."""
    return blake2b(content, digest_size=16).hexdigest()


def _shard_name(source: Source, content: str) -> str:
    """A name that only this content of this source has."""
    stem = re.sub(r"[^0-9A-Za-z_-]+", "_", Path(source.label).stem)[:60]
    return f"{stem}-{blake2b(f'{source.name} {content}'.encode(), digest_size=8).hexdigest()}"


def _reason(error: Exception) -> str:
    """What an error says, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 500 else f"{said[:497]}..."


def _remove(path: Path, existed: bool) -> None:
    """Take away a corpus that came to nothing; a folder of the user's stays."""
    for name in ("shards", LABELS_NAME):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in ("recordings.jsonl", "corpus.json", LOCK_NAME):
        (path / name).unlink(missing_ok=True)
    if not existed:
        path.rmdir()


def _told(problems: Sequence[Mapping]) -> str:
    """A few recordings with the reasons why they were left out."""
    told = "; ".join(f"{entry['source']}: {entry['reason'].rstrip('.')}" for entry in problems[:_N_SHOWN])
    n_more = len(problems) - _N_SHOWN
    return told + (f"; and {n_more} more" if n_more > 0 else "")


def _warn_of_failures(entries: Sequence[Mapping]) -> None:
    """One warning for all recordings that could not be used in this call."""
    failed = [entry for entry in entries if entry["status"] == "failed"]
    if failed:
        warnings.warn(
            f"{len(failed)} recording(s) could not be used and were left out (all: corpus.problems, or "
            f"mne-specmoe corpus info --problems). {_told(failed)}",
            SpecMoEWarning,
            stacklevel=3,
        )


def _warn_of_amplitudes(entries: Sequence[Mapping]) -> None:
    """One warning for all recordings that cannot be EEG in the unit they state."""
    odd = [entry for entry in entries if entry["status"] == "done" and not is_plausible(entry["amplitude_uv"])]
    if odd:
        told = ", ".join(f"{entry['source']} ({entry['amplitude_uv']:.3g} µV)" for entry in odd[:_N_SHOWN])
        warnings.warn(
            f"The amplitude of {len(odd)} recording(s) is implausible for EEG, so the unit is probably wrong: {told}"
            f"{', ...' if len(odd) > _N_SHOWN else ''}. Correct it (ArrayRecording takes a unit, a Raw has "
            "apply_function), and build the corpus anew.",
            AmplitudeWarning,
            stacklevel=3,
        )
