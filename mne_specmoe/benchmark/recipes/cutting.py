"""What recipes share: opening recordings, finding channels, cutting windows, and putting them together."""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np
from scipy.signal import resample

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.splits import PARTS, FoldIndices, Split, SplitRule
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.names import NEWER_NAMES, OLDER_NAMES

MICROVOLT = 1e-6
_OTHER_NAMES = NEWER_NAMES | OLDER_NAMES
_AROUND_NAMES = re.compile(r"^EEG[ _]|[-_](REF|LE|AR)(?=$|-)|\.+$|-\d+$")

TUH_LEADS = tuple(
    "FP1-F7 F7-T3 T3-T5 T5-O1 FP2-F8 F8-T4 T4-T6 T6-O2 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2".split()
)
"""The 16 bipolar leads of the Temple University corpora, in the order of the papers."""


class Cut(NamedTuple):
    """Windows of one recording.

    Attributes
    ----------
    subject, session, recording : str
        Whose, when, and a name of its own.
    X : ndarray, shape (n_windows, n_channels, n_times)
        Volts at 200 Hz.
    y : ndarray, shape (n_windows,)
        Places in the classes, or numbers for a regression.
    starts : ndarray of int, shape (n_windows,)
        First samples in the recording, at 200 Hz.
    """

    subject: str
    session: str
    recording: str
    X: np.ndarray
    y: np.ndarray
    starts: np.ndarray


def collect(
    cuts: Iterable[Cut], *, ch_names: Sequence[str], classes: Sequence[str], digests: Mapping[str, str]
) -> TaskData:
    """Put the windows of all recordings together, in order.

    The signals are kept in a temporary file that is mapped into memory, as some data sets are larger than that. The
    file vanishes with the data.

    Parameters
    ----------
    cuts : iterable of Cut
        Windows of one recording at a time; those without windows leave no trace.
    ch_names, classes : sequence of str
        Names of channels and labels; no classes for a regression.
    digests : mapping of str to str
        File → SHA-256. It is read last, so it may be filled while `cuts` are made.

    Returns
    -------
    data : TaskData

    Raises
    ------
    ValueError
        If there are no windows, or if recordings differ in channels or length of windows.
    """
    kept, shape = [], None
    with tempfile.TemporaryFile() as file:
        for cut in cuts:
            if not len(cut.X):
                continue
            shape = shape or cut.X.shape[1:]
            if cut.X.shape[1:] != shape:
                raise ValueError(f"The windows of {cut.recording} are {cut.X.shape[1:]}, but those before are {shape}.")
            file.write(np.ascontiguousarray(cut.X, dtype=np.float32).data)
            kept.append(cut._replace(X=None))
        if not kept:
            raise ValueError("The recordings hold no windows; look into files and labels.")
        file.flush()
        n_windows = sum(len(cut.y) for cut in kept)
        X = np.asarray(np.memmap(file, dtype=np.float32, mode="r", shape=(n_windows, *shape)))
    names = {
        name: np.repeat([getattr(cut, name) for cut in kept], [len(cut.y) for cut in kept])
        for name in ("subject", "session", "recording")
    }
    return TaskData(
        X=X,
        y=np.concatenate([cut.y for cut in kept]).astype(int if classes else float),
        **{f"{name}s": each for name, each in names.items()},
        starts=np.concatenate([cut.starts for cut in kept]).astype(int),
        sfreq=float(SFREQ),
        ch_names=tuple(ch_names),
        classes=tuple(classes),
        digests=dict(digests),
    )


def natural_key(name: str | Path) -> tuple:
    """Key to sort names by that puts 2 before 10."""
    parts = re.split(r"(\d+)", str(name))  # text and digits in turn, text first
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))


def open_edf(path: Path, sfreq: float | None = None) -> mne.io.BaseRaw:
    """Open an EDF file, without its samples.

    Parameters
    ----------
    path : Path
        The file.
    sfreq : float, optional
        What its sampling rate must be.

    Returns
    -------
    raw : mne.io.Raw

    Raises
    ------
    ValueError
        If it cannot be read, is cut short, or has another sampling rate. The message names the file.
    """
    try:
        raw = mne.io.read_raw_edf(path, verbose="ERROR")
    except Exception as error:  # whatever MNE raises does not name the file
        raise ValueError(f"{path} cannot be read as EDF ({error}); download it anew.") from error
    check_whole(path)
    check_sfreq(raw, path, sfreq)
    return raw


def check_whole(path: Path) -> None:
    """Raise a ValueError if an EDF file is shorter than its header says, of which MNE only warns."""
    try:
        lacking = _bytes_lacking(path)
    except (ValueError, IndexError) as error:  # of numbers that are none
        raise ValueError(f"{path} cannot be read as EDF: it has no such header; download it anew.") from error
    if lacking > 0:
        raise ValueError(f"{path} is cut short, by {lacking} bytes; download it anew.")


def _bytes_lacking(path: Path) -> int:
    """By how much an EDF file is shorter than its header says; 0 where that does not say how long it is."""
    with open(path, "rb") as file:
        header = file.read(256)
        n_header, n_records, n_signals = (int(header[place : place + 8].split()[0]) for place in (184, 236, 252))
        file.seek(256 + 216 * n_signals)
        n_samples = sum(int(file.read(8)) for _ in range(n_signals))
    return n_header + 2 * n_records * n_samples - path.stat().st_size if n_records >= 0 else 0


def check_sfreq(raw: mne.io.BaseRaw, path: Path, sfreq: float | None) -> None:
    """Raise a ValueError that names the file unless it has this sampling rate; None allows any."""
    if sfreq is not None and raw.info["sfreq"] != sfreq:
        raise ValueError(
            f"{path} is sampled at {raw.info['sfreq']:g} Hz, but the protocol needs {sfreq:g} Hz; get the original "
            "file."
        )


def find_channels(ch_names: Sequence[str], wanted: Sequence[str], where: object) -> list[str]:
    """Find channels by tolerant names.

    Case, the prefix "EEG ", the suffixes "-REF" and "-LE", dots at the end and the numbers that MNE gives to repeated
    leads do not matter. T3, T4, T5, T6 also stand for T7, T8, P7, P8, and the reverse, where the name itself is absent.
    Of repeated names the first counts.

    Parameters
    ----------
    ch_names : sequence of str
        What there is.
    wanted : sequence of str
        What is needed, electrodes or leads.
    where : object
        The file, for the message.

    Returns
    -------
    found : list of str
        Names in `ch_names`, in the order of `wanted`.

    Raises
    ------
    ValueError
        If channels are missing; the message names them and the file.
    """
    there: dict[str, str] = {}
    for name in ch_names:
        there.setdefault(_plain(name), name)
    found = [there.get(_plain(name)) or there.get(_renamed(_plain(name))) for name in wanted]
    if missing := [name for name, each in zip(wanted, found, strict=True) if each is None]:
        raise ValueError(f"{where} lacks the channels {listed(missing)}; it has {listed(ch_names, at_most=80)}.")
    return found


def _plain(name: str) -> str:
    """A channel's name without what differs between files."""
    name = name.strip().upper()
    while (shorter := _AROUND_NAMES.sub("", name).strip()) != name:
        name = shorter
    return name


def _renamed(name: str) -> str:
    """The same electrode or lead by its other name."""
    return "-".join(_OTHER_NAMES.get(part, part) for part in name.split("-"))


def pick(raw: mne.io.BaseRaw, wanted: Sequence[str], where: object) -> mne.io.BaseRaw:
    """Load the wanted channels, in their order, under the names of the file; see `find_channels`."""
    found = find_channels(raw.ch_names, wanted, where)
    return raw.pick(found, verbose="ERROR").load_data(verbose="ERROR")


def filtered(raw: mne.io.BaseRaw, l_freq: float, h_freq: float, notch: float | None = None) -> mne.io.BaseRaw:
    """Filter all channels in place by MNE's defaults: a zero-phase band-pass, then a notch, both FIR."""
    raw.filter(l_freq, h_freq, picks="all", verbose="ERROR")
    return raw if notch is None else raw.notch_filter(notch, picks="all", verbose="ERROR")


def electrodes(leads: Sequence[str]) -> list[str]:
    """Electrodes of bipolar leads such as "FP1-F7", each once, in order of first appearance."""
    return list(dict.fromkeys(name for lead in leads for name in lead.split("-")))


def bipolar(raw: mne.io.BaseRaw, leads: Sequence[str], where: object = "The recording") -> np.ndarray:
    """Differences between electrodes.

    Parameters
    ----------
    raw : mne.io.Raw
        A recording against one reference.
    leads : sequence of str
        Such as "FP1-F7", which is FP1 minus F7; the names are found as by `find_channels`.
    where : object
        The file, for the message.

    Returns
    -------
    volts : ndarray, shape (n_leads, n_times)

    Raises
    ------
    ValueError
        If electrodes are missing.
    """
    first, second = zip(*(lead.split("-") for lead in leads), strict=True)
    volts = raw.get_data(picks=find_channels(raw.ch_names, first, where))
    return volts - raw.get_data(picks=find_channels(raw.ch_names, second, where))


def side_by_side(x: np.ndarray, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut into windows without overlap, and drop the remainder.

    Parameters
    ----------
    x : ndarray, shape (n_channels, n_samples)
        A recording.
    n_times : int
        Samples of a window.

    Returns
    -------
    windows : ndarray, shape (n_windows, n_channels, n_times)
    starts : ndarray of int, shape (n_windows,)
        Their first samples.
    """
    starts = regular_starts(x.shape[1], n_times)
    return cut_at(x, starts, n_times), starts


def regular_starts(n_samples: int, n_times: int) -> np.ndarray:
    """First samples of windows side by side."""
    return np.arange(n_samples // n_times) * n_times


def cut_at(x: np.ndarray, starts: np.ndarray, n_times: int) -> np.ndarray:
    """Windows (n_windows, n_channels, n_times) that start at given samples of x (n_channels, n_samples)."""
    starts = np.asarray(starts, int)
    if len(starts) and (starts.min() < 0 or starts.max() + n_times > x.shape[1]):
        raise ValueError(
            f"Windows of {n_times} samples from {starts.min()} to {starts.max()} do not fit {x.shape[1]} samples."
        )
    return x[:, starts[:, None] + np.arange(n_times)].swapaxes(0, 1)


def resample_windows(x: np.ndarray, n_times: int) -> np.ndarray:
    """Resample each window by FFT, as if it were one period of a periodic signal: the edges ring.

    Parameters
    ----------
    x : ndarray, shape (n_windows, n_channels, n_samples)
        Windows.
    n_times : int
        Samples of each afterwards.

    Returns
    -------
    windows : ndarray of float32, shape (n_windows, n_channels, n_times)
    """
    windows = np.empty((*x.shape[:-1], n_times), np.float32)
    for place, window in enumerate(x):  # one at a time: the transforms of all would not fit into memory
        windows[place] = resample(window, n_times, axis=-1)
    return windows


def cut_resampled(x: np.ndarray, starts: np.ndarray, n_times: int, n_resampled: int) -> np.ndarray:
    """Windows as of `cut_at`, each resampled as by `resample_windows`, one at a time for the sake of memory."""
    windows = np.empty((len(starts), len(x), n_resampled), np.float32)
    for place, start in enumerate(starts):
        windows[place] = resample_windows(cut_at(x, [start], n_times), n_resampled)[0]
    return windows


def to_200_hz(starts: np.ndarray, sfreq: float) -> np.ndarray:
    """First samples, counted at 200 Hz."""
    return np.rint(np.asarray(starts) * SFREQ / sfreq).astype(int)


Seizure = tuple[int, int]
"""First and last sample of a seizure."""


def border_labels(starts: np.ndarray, n_times: int, seizures: Sequence[Seizure]) -> np.ndarray:
    """Label windows by the published rule for Siena and CHB-MIT: 1 where a seizure begins or ends strictly inside.

    Windows that lie within a seizure as a whole have the label 0: this is a fault of the rule.

    Parameters
    ----------
    starts : ndarray of int
        First samples of the windows.
    n_times : int
        Samples of a window.
    seizures : sequence of (int, int)
        Onset and end of each.

    Returns
    -------
    labels : ndarray of int
    """
    starts = np.asarray(starts)
    labels = np.zeros(len(starts), int)
    for border in (each for seizure in seizures for each in seizure):
        labels[(starts < border) & (border < starts + n_times)] = 1
    return labels


def extra_starts(seizures: Sequence[Seizure], sfreq: int, n_times: int, n_samples: int) -> np.ndarray:
    """First samples of the published extra windows of seizures, which overlap each other and the regular ones.

    They start every 5 s from a second before the onset up to, not including, a second after the end. Windows that do
    not fit the recording, which the published code stores short, are left out.
    """
    starts = [start for onset, end in seizures for start in range(onset - sfreq, end + sfreq, 5 * sfreq)]
    return np.array([start for start in starts if 0 <= start <= n_samples - n_times], int)


def seizure_windows(
    seizures: Sequence[Seizure], n_samples: int, sfreq: int, window_seconds: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the published protocol for Siena and CHB-MIT.

    Parameters
    ----------
    seizures : sequence of (int, int)
        Onset and end of each, in samples.
    n_samples : int
        Length of the recording.
    sfreq : int
        Its sampling rate in Hz.
    window_seconds : int
        Length of a window.

    Returns
    -------
    starts, labels : ndarray of int
        Windows side by side first, labelled by `border_labels`; then those of `extra_starts`, whose label is 1.
    """
    n_times = window_seconds * sfreq
    regular = regular_starts(n_samples, n_times)
    extra = extra_starts(seizures, sfreq, n_times, n_samples)
    labels = np.concatenate([border_labels(regular, n_times, seizures), np.ones(len(extra), int)])
    return np.concatenate([regular, extra]), labels


def overlap_labels(starts: np.ndarray, n_times: int, seizures: Sequence[Seizure], least: float = 0.5) -> np.ndarray:
    """Label windows 1 where seizures cover at least this share of them, else 0."""
    starts = np.asarray(starts)
    covered = np.zeros(len(starts))
    for onset, end in seizures:
        covered += np.clip(np.minimum(starts + n_times, end) - np.maximum(starts, onset), 0, None)
    return (covered >= max(least * n_times, 1)).astype(int)


def make_fold(name: str, parts: Sequence[str | None]) -> FoldIndices:
    """A fold by the part of every window, "training", "validation" or "test"; None for those that are not used."""
    named = np.array([part or "" for part in parts])
    return FoldIndices(name, *(np.flatnonzero(named == part) for part in PARTS))


def one_fold(name: str, parts: Sequence[str | None], by: str = "subject") -> Split:
    """A split of one fold; see `make_fold` and `mne_specmoe.benchmark.splits.Split`."""
    return Split((make_fold(name, parts),), by)


def subjects_in_order(n_training: int, n_validation: int) -> SplitRule:
    """The rule by which the first subjects in natural order train, the next validate, and the rest test."""
    return partial(_split_in_order, n_training, n_validation)


def _split_in_order(n_training: int, n_validation: int, data: TaskData) -> Split:
    """See `subjects_in_order`."""
    ordered = sorted(set(data.subjects.tolist()), key=natural_key)
    part_of = dict.fromkeys(ordered, "test")
    part_of |= dict.fromkeys(ordered[: n_training + n_validation], "validation")
    part_of |= dict.fromkeys(ordered[:n_training], "training")
    return one_fold("subjects in order", [part_of[name] for name in data.subjects.tolist()])
