"""A pretraining corpus on disk: reading its segments, and dividing them among experts.

:func:`mne_specmoe.data.build.build_corpus` writes a corpus; nothing here needs MNE. The folder holds

- ``corpus.json``: the version of the format and the settings of the preprocessing;
- ``recordings.jsonl``: one line of JSON per recording, appended once all its segments are safely on disk;
- ``shards/<name>.npy``: its segments, int16 of shape (n_segments, n_channels, n_times), and
  ``shards/<name>.scale.npy``: what one step is worth in µV, float32 of shape (n_segments, n_channels);
- ``partitions/``: the divisions of the corpus that :func:`partition_corpus` has made;
- ``labels/``: of made-up people, what is known of them, see :mod:`mne_specmoe.data.synthetic_labels`.
"""

import json
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2, vq
from scipy.signal import welch

from mne_specmoe._files import write_text
from mne_specmoe._validation import check_number, check_option

FORMAT_VERSION = 1
"""Version of the folder's format that this package writes and reads."""

LOCK_NAME = "building.lock"
"""File in the folder while a build is running; it stays behind where one was interrupted."""

LABELS_NAME = "labels"
"""Folder within the folder, of labels of made-up people."""

_N_OPEN = 64  # recordings kept mapped into memory; each takes one file handle
_N_AT_ONCE = 64  # segments looked at in one go
_LONGEST_LIST = 10  # of reasons, in a summary


@dataclass(frozen=True)
class Recording:
    """A recording of a corpus that has segments to train on.

    Attributes
    ----------
    source : str
        The file it was read from, or the name it was given.
    subject : str
        Whose recording it is.
    ch_names : tuple of str
        Its channels.
    montage : int
        Place of these channels in `Corpus.montages`.
    n_segments : int
        How many segments it contributes.
    hash : str
        Hash of the content of all its segments.
    shard : str
        Name of its files in the corpus.
    """

    source: str
    subject: str
    ch_names: tuple[str, ...]
    montage: int
    n_segments: int
    hash: str
    shard: str


@dataclass(frozen=True)
class Problem:
    """A recording that contributes nothing, and why.

    Attributes
    ----------
    source : str
        The file, or the name it was given.
    status : {"failed", "rejected", "duplicate"}
        It could not be used; nothing of it passed the criteria; all of it is in the corpus already.
    reason : str
        The reason, in a sentence.
    """

    source: str
    status: str
    reason: str


class StoredSegments(NamedTuple):
    """Segments as they are stored: µV = values · scale_uv.

    Attributes
    ----------
    values : ndarray of int16, shape (n_segments, n_channels, n_times)
    scale_uv : ndarray of float32, shape (n_segments, n_channels)
        µV per step.
    """

    values: np.ndarray
    scale_uv: np.ndarray


@dataclass(frozen=True)
class CorpusSummary:
    """What a corpus holds, and what was left out of it; ``print`` shows it in full.

    Attributes
    ----------
    path : str
        The folder.
    sfreq, segment_seconds : float
        Sampling rate in Hz, and length of a segment.
    hours : float
        Of all segments together.
    n_recordings, n_subjects, n_segments : int
        How many there are.
    montages : tuple of (tuple of str, int)
        Every set of channels, with the number of its segments.
    dropped : dict of str to int
        Number of segments left out, by reason.
    problems : dict of str to int
        Number of recordings left out, by reason.
    finished : bool
        False while a build is going on, or after one was interrupted.
    """

    path: str
    sfreq: float
    segment_seconds: float
    hours: float
    n_recordings: int
    n_subjects: int
    n_segments: int
    montages: tuple[tuple[tuple[str, ...], int], ...]
    dropped: Mapping[str, int]
    problems: Mapping[str, int]
    finished: bool

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.n_segments:,} segments of {self.segment_seconds:g} s at {self.sfreq:g} Hz, "
            f"{self.hours:,.2f} hours",
            f"{_counted(self.n_recordings, 'recording')} of {_counted(self.n_subjects, 'subject')}",
            *_itemised("Montages", {_abridged(names): count for names, count in self.montages}),
            *_itemised("Segments left out", self.dropped),
            *_itemised("Recordings left out", self.problems),
        ]
        if not self.finished:
            lines.append("The build of this corpus is not finished; call build_corpus again to go on with it.")
        return "\n".join(lines)


class Corpus:
    """The segments of a corpus, numbered through in the order of its recordings.

    Corpora can be pickled and sent to other processes: files are opened when segments are read.

    Parameters
    ----------
    path : path-like
        The folder that :func:`~mne_specmoe.data.build.build_corpus` wrote. While a build is going on, those
        recordings are seen that were complete when the corpus was opened.

    Attributes
    ----------
    path : Path
        The folder.
    settings : dict
        How the recordings were preprocessed: the arguments of ``build_corpus``.
    sfreq : float
        Sampling rate of the segments in Hz.
    n_times : int
        Samples per segment.
    recordings : tuple of Recording
        Those that have segments.
    problems : tuple of Problem
        Those that do not.
    montages : tuple of tuple of str
        The different sets of channels, in the order of their first appearance.
    recording_of, montage_of, slot_of : ndarray of int, shape (n_segments,)
        Per segment: its recording and its montage (places in the tuples above), and its place k in the recording's
        time, counted from 0 before any segment was dropped.
    start_of : ndarray of float, shape (n_segments,)
        Where the segment begins in its recording, in seconds.
    subject_of : ndarray of str, shape (n_segments,)
        Whose segment it is.
    hash : str
        Hash of the content of all segments, in their order.

    Raises
    ------
    ValueError
        If the folder is no corpus, was written in another version of the format, is damaged, or has no segments.

    Examples
    --------
    >>> corpus = Corpus("corpus")  # doctest: +SKIP
    >>> values, scale_uv = corpus.read([0, 1, 2])  # doctest: +SKIP
    >>> microvolts = values * scale_uv[..., None]  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.settings = read_settings(self.path)
        self.sfreq = float(self.settings["sfreq"])
        self.n_times = int(self.settings["n_times"])
        entries, _ = read_index(self.path)
        done = [entry for entry in entries if entry["status"] == "done"]
        self.problems = tuple(_problem(entry) for entry in entries if entry["status"] != "done")
        if not done:
            raise ValueError(
                f"The corpus {self.path} has no segments: its build was interrupted before the first recording was "
                "stored. Call build_corpus again with the same arguments."
            )
        self.montages = tuple(dict.fromkeys(tuple(entry["ch_names"]) for entry in done))
        place = {ch_names: number for number, ch_names in enumerate(self.montages)}
        self.recordings = tuple(_recording(entry, place) for entry in done)
        self._dropped = _sum_counts(entry.get("dropped", {}) for entry in entries)
        self._locations = [np.asarray(entry["locations"], dtype=np.float32) for entry in done]  # null becomes NaN
        self._index_segments(done)
        self._open: OrderedDict[int, StoredSegments] = OrderedDict()

    def _index_segments(self, entries: Sequence[Mapping]) -> None:
        """Number all segments through."""
        kept = [np.flatnonzero(entry["kept"]) for entry in entries]
        self._row_of = np.concatenate(kept)
        self.recording_of = np.repeat(np.arange(len(entries)), [len(rows) for rows in kept])
        self.montage_of = np.asarray([each.montage for each in self.recordings])[self.recording_of]
        self.subject_of = np.asarray([each.subject for each in self.recordings])[self.recording_of]
        pairs = list(zip(entries, kept, strict=True))
        self.slot_of = np.concatenate([np.asarray(entry["slots"], dtype=np.int64)[rows] for entry, rows in pairs])
        self.start_of = np.concatenate([np.asarray(entry["starts"], dtype=float)[rows] for entry, rows in pairs])
        hashes = (entry["hashes"][row] for entry, rows in pairs for row in rows)
        self.hash = blake2b("".join(hashes).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self._row_of)

    def __repr__(self) -> str:
        return f"Corpus({str(self.path)!r}): {len(self)} segments, {len(self.recordings)} recordings"

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": OrderedDict()}  # other processes map the files themselves

    def read(self, indices: Sequence[int] | np.ndarray) -> StoredSegments:
        """Read segments of one montage.

        Parameters
        ----------
        indices : sequence of int
            Numbers of the segments, in any order, repeated or not.

        Returns
        -------
        segments : StoredSegments
            ``values``, int16 of shape (n_segments, n_channels, n_times), and ``scale_uv``, float32 of shape
            (n_segments, n_channels).

        Raises
        ------
        IndexError
            If a number is not one of the corpus's.
        ValueError
            If the segments are not all of one montage, if none are asked for, or if a file is damaged.
        """
        indices = self._check_indices(indices)
        recordings, rows = self.recording_of[indices], self._row_of[indices]
        n_channels = len(self.montages[self.montage_of[indices[0]]])
        values = np.empty((len(indices), n_channels, self.n_times), dtype=np.int16)
        scale_uv = np.empty((len(indices), n_channels), dtype=np.float32)
        for recording in np.unique(recordings):
            places = np.flatnonzero(recordings == recording)
            stored = self._stored(int(recording))
            values[places] = stored.values[rows[places]]
            scale_uv[places] = stored.scale_uv[rows[places]]
        return StoredSegments(values, scale_uv)

    def locations(self, montage: int) -> np.ndarray:
        """Positions of a montage's electrodes: the median of what its recordings say.

        Parameters
        ----------
        montage : int
            Place in `montages`.

        Returns
        -------
        locations : ndarray of float32, shape (n_channels, 3)
            In metres, in MNE's head coordinates; NaN where no recording knows better.

        Raises
        ------
        ValueError
            If there is no such montage.
        """
        check_number("montage", montage, minimum=0, maximum=len(self.montages) - 1, integer=True)
        known = np.stack(
            [xyz for xyz, each in zip(self._locations, self.recordings, strict=True) if each.montage == montage]
        )
        result = np.full(known.shape[1:], np.nan, dtype=np.float32)
        has_any = np.isfinite(known).any(axis=0)
        result[has_any] = np.nanmedian(known[:, has_any], axis=0)
        return result

    def summary(self) -> CorpusSummary:
        """Count what the corpus holds, and what was left out.

        Returns
        -------
        summary : CorpusSummary
            ``print`` shows it as text.
        """
        n_segments = np.bincount(self.montage_of, minlength=len(self.montages)).tolist()
        seconds = self.n_times / self.sfreq
        problems = Counter(
            each.status if each.status == "duplicate" else f"{each.status}: {each.reason}" for each in self.problems
        )
        return CorpusSummary(
            path=str(self.path),
            sfreq=self.sfreq,
            segment_seconds=seconds,
            hours=len(self) * seconds / 3600,
            n_recordings=len(self.recordings),
            n_subjects=len(np.unique(self.subject_of)),
            n_segments=len(self),
            montages=tuple(zip(self.montages, n_segments, strict=True)),
            dropped=dict(self._dropped),
            problems=dict(problems.most_common()),
            finished=not (self.path / LOCK_NAME).exists(),
        )

    def _check_indices(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Numbers of segments as an array, all of one montage."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
            raise ValueError(
                "indices must be a sequence of at least one integer, got "
                f"{indices.dtype} of shape {indices.shape}; ask for corpus.read([index]) to read a single segment."
            )
        wrong = indices[(indices < 0) | (indices >= len(self))]
        if len(wrong):
            raise IndexError(f"There is no segment {wrong[0]}; the corpus {self.path} has 0 to {len(self) - 1}.")
        montages = np.unique(self.montage_of[indices])
        if len(montages) > 1:
            raise ValueError(
                f"The segments are of {len(montages)} different montages ({_listed_montages(self, montages)}), which "
                "do not fit into one array; read those of each montage on their own: see corpus.montage_of."
            )
        return indices

    def _stored(self, recording: int) -> StoredSegments:
        """All segments of a recording; those used last stay open."""
        if recording not in self._open:
            self._open[recording] = self._open_shard(self.recordings[recording])
            if len(self._open) > _N_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(recording)
        return self._open[recording]

    def _open_shard(self, recording: Recording) -> StoredSegments:
        """Map a recording's segments into memory."""
        values_path, scale_path = shard_files(self.path, recording.shard)
        try:
            stored = StoredSegments(np.load(values_path, mmap_mode="r"), np.load(scale_path))
        except (OSError, ValueError) as error:
            raise ValueError(_damaged(self.path, recording.source, f"{error}")) from error
        shape = (stored.values.shape[0], len(recording.ch_names), self.n_times)
        if stored.values.shape != shape or stored.scale_uv.shape != shape[:2]:
            shapes = f"shapes {stored.values.shape} and {stored.scale_uv.shape}"
            raise ValueError(_damaged(self.path, recording.source, f"{values_path.name} and its scale have {shapes}"))
        return stored


def write_settings(path: Path, settings: Mapping) -> None:
    """Write what `read_settings` reads into the folder of a corpus."""
    content = {"format_version": FORMAT_VERSION, "settings": settings}
    write_text(path / "corpus.json", json.dumps(content, indent=2))


def read_settings(path: Path) -> dict:
    """Read the settings of a corpus, after looking at the version of its format.

    Parameters
    ----------
    path : Path
        Folder of the corpus.

    Returns
    -------
    settings : dict
        The arguments of ``build_corpus``, and ``n_times``.

    Raises
    ------
    ValueError
        If the folder is no corpus, or one of another version.
    """
    try:
        content = json.loads((path / "corpus.json").read_text(encoding="utf-8"))
        version, settings = content["format_version"], content["settings"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{path} is no corpus: it has no file corpus.json. Build one with build_corpus(recordings, path)."
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no corpus of this package: its corpus.json has no format_version and settings. Build one with "
            "build_corpus(recordings, path) in another folder."
        ) from error
    if version != FORMAT_VERSION:
        what = "Build the corpus again in a new folder" if version < FORMAT_VERSION else "Update mne-specmoe"
        raise ValueError(
            f"The corpus {path} is of format version {version}, but this mne-specmoe reads version {FORMAT_VERSION}. "
            f"{what}."
        )
    return settings


def read_index(path: Path) -> tuple[list[dict], int]:
    """Read the index of a corpus; of several lines about one source, the last one counts.

    Parameters
    ----------
    path : Path
        Folder of the corpus.

    Returns
    -------
    entries : list of dict
        What is known of each source, in the order in which the lines were written.
    n_bytes : int
        Length of the index without a last line that was not written to its end.

    Raises
    ------
    ValueError
        If a line other than the last one cannot be read.
    """
    index = path / "recordings.jsonl"
    lines = index.read_bytes().split(b"\n") if index.exists() else [b""]
    del lines[-1]  # empty, or cut off
    entries: dict[str, dict] = {}
    n_bytes = 0
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            entries.pop(entry["source"], None)
            entries[entry["source"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # a crash of the machine leaves zeros
                break
            raise ValueError(
                f"Line {number} of {index} cannot be read: the corpus is damaged. Delete that line, and call "
                "build_corpus again with the same arguments."
            ) from error
        n_bytes += len(line) + 1
    return list(entries.values()), n_bytes


def shard_files(path: Path, shard: str) -> tuple[Path, Path]:
    """Files that hold the segments of one recording.

    Parameters
    ----------
    path : Path
        Folder of the corpus.
    shard : str
        The recording's name in it.

    Returns
    -------
    values, scale : Path
        int16 samples, and µV per step.
    """
    return path / "shards" / f"{shard}.npy", path / "shards" / f"{shard}.scale.npy"


def _problem(entry: Mapping) -> Problem:
    """A line of the index about a recording without segments."""
    return Problem(source=entry["source"], status=entry["status"], reason=entry["reason"])


def _recording(entry: Mapping, montages: Mapping[tuple[str, ...], int]) -> Recording:
    """A line of the index about a recording with segments."""
    ch_names = tuple(entry["ch_names"])
    return Recording(
        source=entry["source"],
        subject=entry["subject"],
        ch_names=ch_names,
        montage=montages[ch_names],
        n_segments=sum(entry["kept"]),
        hash=entry["hash"],
        shard=entry["shard"],
    )


def _damaged(path: Path, source: str, what: str) -> str:
    """The message about a shard that cannot be read."""
    return (
        f"The corpus {path} is damaged: the segments of {source} cannot be read ({what}). Call build_corpus again with "
        "the same arguments: it replaces what is missing."
    )


def _sum_counts(counts: Iterator[Mapping[str, int]]) -> Counter:
    """Add up counts by name, the largest first."""
    total = Counter()
    for each in counts:
        total.update(each)
    return Counter(dict(total.most_common()))


def _listed_montages(corpus: Corpus, montages: np.ndarray) -> str:
    """A few montages, abridged."""
    names = [_abridged(corpus.montages[montage]) for montage in montages[:3]]
    return "; ".join(names + ["..."] * (len(montages) > 3))


def _abridged(ch_names: Sequence[str]) -> str:
    """Number and first names of some channels."""
    shown = ", ".join(ch_names[:6]) + (", ..." if len(ch_names) > 6 else "")
    return f"{_counted(len(ch_names), 'channel')}: {shown}"


def _counted(number: int, what: str) -> str:
    """A number and a noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _itemised(title: str, counts: Mapping[str, int]) -> list[str]:
    """Lines of a summary: a title, and each count with what it is of."""
    if not counts:
        return []
    lines = [f"  {count:,} x {what}" for what, count in list(counts.items())[:_LONGEST_LIST]]
    n_more = len(counts) - len(lines)
    more = [f"  ... and {_counted(n_more, 'other kind')}"] if n_more else []
    return [f"{title} ({sum(counts.values()):,}):", *lines, *more]


@dataclass(frozen=True)
class Partition:
    """A division of a corpus into subsets, one for each expert. Made by :func:`partition_corpus`.

    Every segment belongs to exactly one subset.

    Attributes
    ----------
    by : str
        What the segments were divided by.
    n_subsets : int
        Number of subsets.
    random_state : int or None
        Seed of the division; None where nothing was drawn.
    corpus_hash : str
        Hash of the corpus that was divided.
    subset_of : ndarray of int8, shape (n_segments,)
        Number of each segment's subset, counted from 1.
    """

    by: str
    n_subsets: int
    random_state: int | None
    corpus_hash: str
    subset_of: np.ndarray = field(repr=False, compare=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of segments in each subset."""
        return tuple(np.bincount(self.subset_of, minlength=self.n_subsets + 1)[1:].tolist())

    def segments(self, subset: int) -> np.ndarray:
        """Numbers of the segments in one subset.

        Parameters
        ----------
        subset : int
            Which one: 1 to ``n_subsets``.

        Returns
        -------
        segments : ndarray of int
            In ascending order.

        Raises
        ------
        ValueError
            If there is no such subset.
        """
        check_number("subset", subset, integer=True)
        if not 1 <= subset <= self.n_subsets:
            raise ValueError(
                f"There is no subset {subset} of {self.n_subsets}: subsets are counted from 1 to {self.n_subsets}."
            )
        return np.flatnonzero(self.subset_of == subset)


def partition_corpus(
    corpus: Corpus,
    n_subsets: int = 3,
    *,
    by: str = "index",
    random_state: int = 0,
    overwrite: bool = False,
) -> Partition:
    """Divide a corpus into subsets, on each of which one expert is trained.

    The division is written to ``partitions/`` in the corpus, and read from there the next time.

    Parameters
    ----------
    corpus : Corpus
        What to divide.
    n_subsets : int, default=3
        Number of subsets, at most 127.
    by : {"index", "subject", "spectrum"}, default="index"
        ``"index"``: equal ranges of the corpus in its order, as in the paper. ``"subject"``: every subject goes as a
        whole to the subset that is the smallest so far, the largest subject first. ``"spectrum"``: k-means clusters
        of the shape of the segments' spectra, so that experts differ on purpose; the first subset has the lowest mean
        frequency, and sizes may differ much. The shape is the log power in eight bands (Welch, mean over channels)
        less its mean over the bands, so that amplifier gain does not matter, each band standardised over the corpus.
        It reads all data once.
    random_state : int, default=0
        Seed of the clustering; without effect otherwise.
    overwrite : bool, default=False
        Divide anew, and replace what was written before.

    Returns
    -------
    partition : Partition
        The division.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there are fewer segments, subjects or different spectra than subsets, or if
        the corpus has changed since it was divided.

    References
    ----------
    Darankoum et al., "SpecMoE: Spectral Mixture-of-Experts Foundation Model for Cross-Species EEG Decoding",
    arXiv:2603.16739, for ``"index"``.
    """
    check_option("by", by, tuple(_DIVISIONS))
    check_number("n_subsets", n_subsets, minimum=1, maximum=127, integer=True)
    check_number("random_state", random_state, minimum=0, integer=True)
    if n_subsets > len(corpus):
        raise ValueError(f"The corpus has {len(corpus)} segments, too few for {n_subsets} subsets; choose fewer.")
    seed = int(random_state) if by == "spectrum" else None
    name = f"{n_subsets}-{by}" + ("" if seed is None else f"-seed{seed}")
    path = corpus.path / "partitions" / f"{name}.json"
    if path.exists() and not overwrite:
        return _read_partition(path, corpus)
    subset_of = _DIVISIONS[by](corpus, int(n_subsets), seed) + 1
    partition = Partition(by, int(n_subsets), seed, corpus.hash, subset_of.astype(np.int8))
    _write_partition(path, partition)
    return partition


def _write_partition(path: Path, partition: Partition) -> None:
    """Write a division beside the corpus, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    content = {
        "by": partition.by,
        "n_subsets": partition.n_subsets,
        "random_state": partition.random_state,
        "corpus_hash": partition.corpus_hash,
        "sizes": partition.sizes,
        "subset_of": partition.subset_of.tolist(),
    }
    write_text(path, json.dumps(content))


def _read_partition(path: Path, corpus: Corpus) -> Partition:
    """Read a division, which must be of this corpus as it is now."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        subset_of = np.asarray(content.pop("subset_of"), dtype=np.int8)
        del content["sizes"]
        partition = Partition(**content, subset_of=subset_of)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read; delete it, or pass overwrite=True to divide anew.") from error
    if partition.corpus_hash != corpus.hash:
        raise ValueError(
            f"The corpus {corpus.path} has changed since {path.name} was written, so the division no longer fits it. "
            "To divide anew, delete that file or pass overwrite=True; experts already trained saw the old subsets."
        )
    return partition


def _by_index(corpus: Corpus, n_subsets: int, seed: None) -> np.ndarray:
    """Equal ranges in the corpus's order."""
    return np.arange(len(corpus)) * n_subsets // len(corpus)


def _by_subject(corpus: Corpus, n_subsets: int, seed: None) -> np.ndarray:
    """Whole subjects, the largest first, each to the smallest subset."""
    subjects, number_of, counts = np.unique(corpus.subject_of, return_inverse=True, return_counts=True)
    if n_subsets > len(subjects):
        raise ValueError(
            f"The corpus has {_counted(len(subjects), 'subject')}, too few for {n_subsets} subsets by subject; choose "
            "fewer subsets, or by='index'."
        )
    subset_of_subject = np.zeros(len(subjects), dtype=np.int64)
    sizes = np.zeros(n_subsets, dtype=np.int64)
    for subject in np.argsort(-counts, kind="stable"):
        subset_of_subject[subject] = np.argmin(sizes)
        sizes[subset_of_subject[subject]] += counts[subject]
    return subset_of_subject[number_of]


def _by_spectrum(corpus: Corpus, n_subsets: int, seed: int) -> np.ndarray:
    """Clusters of spectra, in the order of their mean frequency."""
    shapes, centres_hz = _spectral_shapes(corpus)
    deviation = shapes.std(axis=0)
    features = (shapes - shapes.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    labels = _clusters(features, n_subsets, np.random.default_rng(seed))
    power = np.stack([10 ** shapes[labels == label].mean(axis=0) for label in range(n_subsets)])
    order = np.argsort(power @ centres_hz / power.sum(axis=1))
    return np.argsort(order)[labels]


_DIVISIONS: dict[str, Callable[[Corpus, int, int | None], np.ndarray]] = {
    "index": _by_index,
    "subject": _by_subject,
    "spectrum": _by_spectrum,
}


def _spectral_shapes(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Log power in bands less its mean, (n_segments, n_bands); and the bands' centres in Hz."""
    settings = corpus.settings
    upper = min(settings["h_freq"] or np.inf, corpus.sfreq / 2)
    window = min(corpus.n_times, round(4 * corpus.sfreq))
    lower = max(settings["l_freq"] or 0, 2 * corpus.sfreq / window)  # two bins or more in the lowest band
    edges = np.geomspace(lower, upper, 9)
    shapes = np.empty((len(corpus), len(edges) - 1))
    for segments in _runs(corpus):
        stored = corpus.read(segments)
        signals = stored.values * stored.scale_uv[..., None]
        freqs, power = welch(signals, corpus.sfreq, nperseg=window, axis=-1)
        shapes[segments] = _band_log_power(freqs, power.mean(axis=1), edges)
    return shapes - shapes.mean(axis=1, keepdims=True), np.sqrt(edges[1:] * edges[:-1])


def _band_log_power(freqs: np.ndarray, power: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Log10 of the mean power density between edges, (n_segments, n_bands)."""
    # read off the integral, so that bands narrower than a bin are fine too
    integral = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1) * freqs[1]
    bounds = (np.arange(len(freqs) + 1) - 0.5) * freqs[1]
    at_edges = np.stack([np.interp(edges, bounds, row) for row in integral])
    return np.log10(np.maximum(np.diff(at_edges, axis=1) / np.diff(edges), 1e-12))


def _runs(corpus: Corpus) -> Iterator[np.ndarray]:
    """All segments, in runs that lie in one recording."""
    borders = np.flatnonzero(np.diff(corpus.recording_of)) + 1
    for run in np.split(np.arange(len(corpus)), borders):
        yield from np.split(run, range(_N_AT_ONCE, len(run), _N_AT_ONCE))


def _clusters(features: np.ndarray, n_clusters: int, rng: np.random.Generator, n_starts: int = 10) -> np.ndarray:
    """k-means labels, of the best of several starts in which no cluster stayed empty."""
    best, labels = np.inf, None
    for _ in range(n_starts):
        centres = _spread_out(features, n_clusters, rng)
        if centres is None:
            break
        try:
            centres, _ = kmeans2(features, centres, iter=100, minit="matrix", missing="raise", check_finite=False)
        except ClusterError:  # one lost all its points
            continue
        found, distances = vq(features, centres, check_finite=False)
        if (inertia := np.sum(distances**2)) < best and len(np.unique(found)) == n_clusters:
            best, labels = inertia, found
    if labels is None:
        raise ValueError(
            f"The spectra of the corpus do not fall into {n_clusters} clusters; choose fewer subsets, or by='index'."
        )
    return labels


def _spread_out(features: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray | None:
    """Starting centres of k-means++ (Arthur & Vassilvitskii, 2007); None where points are too few or equal."""
    centres = [features[rng.integers(len(features))]]
    distances = np.full(len(features), np.inf)
    for _ in range(1, n_clusters):
        distances = np.minimum(distances, np.sum((features - centres[-1]) ** 2, axis=1))
        if not distances.any():
            return None
        centres.append(features[rng.choice(len(features), p=distances / distances.sum())])
    return np.stack(centres)
