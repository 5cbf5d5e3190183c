"""How each data set of the data root becomes labelled windows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.recordings import StoredRecording
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.data.preprocessing import prepare_raw
from mne_specmoe.data.sources import find_sources, read_recording
from mne_specmoe.signal.canonical import SFREQ

EEGBCI_RUNS = ("R04", "R06", "R08", "R10", "R12", "R14")
"""The runs with imagined movements."""

FIST_RUNS = ("R03", "R04", "R07", "R08", "R11", "R12")
"""The runs with movements of one fist, executed and imagined in turn."""

EEGBCI_CHANNELS = tuple(
    "FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 "
    "F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 TP7 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz"
    "".split()
)
"""The channels of EEGMMIDB, in the order of its files."""

_EEGBCI_LABELS = {  # by run and annotation: the same mark means another movement in other runs
    (run, mark): label
    for runs, labels in ((FIST_RUNS, ("left_fist", "right_fist")), (("R06", "R10", "R14"), ("both_fists", "both_feet")))
    for run in runs
    for mark, label in zip(("T1", "T2"), labels, strict=True)
}
_STORED = ("data", "scale_uv_per_bit", "offset_uv", "sfreq", "ch_names")  # what makes the signal of an .npz
_CHANGE_SECONDS = 4.0  # around the opening of the eyes, whose time is by protocol, not by a mark
_SSVEP_DELAY_SECONDS = 1.0  # the cue is a sound; then four of the five seconds of the trial are left
_BEFORE_EVENT_SECONDS = 0.1  # of a window that holds the response to a stimulus


class Stretch(NamedTuple):
    """An uninterrupted recording at 200 Hz, and the windows to cut from it.

    Attributes
    ----------
    subject, session, recording : str
        Whose, when, and a name of its own.
    volts : ndarray, shape (n_channels, n_times)
        The signals.
    starts : ndarray of int, shape (n_windows,)
        First samples.
    labels : ndarray of int, shape (n_windows,)
        Places in the task's classes, or numbers for a regression.
    """

    subject: str
    session: str
    recording: str
    volts: np.ndarray
    starts: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Preparation:
    """How recordings are filtered, for `prepare_raw`; None leaves a filter out.

    Attributes
    ----------
    l_freq : float or None
        High-pass in Hz.
    notch : float or None
        Mains in Hz.
    channels : tuple of str, or None
        Which, in this order; None is all EEG channels.
    h_freq : float or None
        Low-pass in Hz.
    """

    l_freq: float | None = 0.5
    notch: float | None = 50.0
    channels: tuple[str, ...] | None = None
    h_freq: float | None = None

    def __call__(self, raw) -> np.ndarray:
        """Volts (n_channels, n_times) at 200 Hz."""
        prepared = prepare_raw(
            raw, l_freq=self.l_freq, h_freq=self.h_freq, notch=self.notch, channels=self.channels, verbose="WARNING"
        )
        return prepared.get_data()


class Request(NamedTuple):
    """What a task asks of a reader.

    Attributes
    ----------
    classes : tuple of str
        Names of the labels, as the files have them.
    window_seconds : float
        Length of the windows.
    prepare : Preparation
        How to filter.
    """

    classes: tuple[str, ...]
    window_seconds: float
    prepare: Preparation

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return round(self.window_seconds * SFREQ)


Reader = Callable[[Mapping[str, Sequence[Path]], Request], TaskData]
"""Takes the files of each subject and what is asked, and returns the windows."""

_StoredReader = Callable[[StoredRecording, Request], Iterable[Stretch]]


def read_eegmat(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read EEGMAT: every segment of a recording has one label, and is cut into windows side by side."""
    return _read_stored(files, request, _eegmat)


def read_diagnosis(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read Guinea-Bissau: the windows of a recording, side by side, have the label of its subject."""
    return _read_stored(files, request, _diagnosis)


def read_eyes(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read Guinea-Bissau by eyes open or closed, without the four seconds on either side of the change."""
    return _read_stored(files, request, _eyes)


def read_trials(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read trials that begin at events."""
    return _read_stored(files, request, _trials)


def read_ssvep(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read trials of flickering light in two sessions, from one second after the cue."""
    return _read_stored(files, request, _ssvep)


def read_events(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read responses to stimuli, from 0.1 s before each; those that begin or end outside of their run are left out."""
    return _read_stored(files, request, _events)


def read_stages(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read sleep stages of a mouse; the last of the file's name is the session, the rest the animal."""
    return _read_stored(files, request, _stages)


def read_eegbci(files: Mapping[str, Sequence[Path]], request: Request) -> TaskData:
    """Read movements of EEGMMIDB, executed or imagined: average reference, then filters, then windows from the cue."""
    paths = [path for each in files.values() for path in each]
    digests = {path.stem: file_digest(path) for path in paths}
    return gather((_imagery_run(path, request) for path in paths), request, request.prepare.channels, digests)


def _read_stored(files: Mapping[str, Sequence[Path]], request: Request, read: _StoredReader) -> TaskData:
    """Windows of a data set that is stored as one ``.npz`` per subject."""
    recordings = [
        StoredRecording(path.parent.name, subject, path) for subject, paths in files.items() for path in paths
    ]
    digests = {recording.path.stem: _digest(recording.arrays()) for recording in recordings}
    ch_names = request.prepare.channels or recordings[0].ch_names()
    for recording in recordings:
        if request.prepare.channels is None and recording.ch_names() != ch_names:
            raise ValueError(
                f"{recording.path} has the channels {recording.ch_names()}, but all of the data set must have "
                f"{ch_names}, in this order."
            )
    return gather((each for recording in recordings for each in read(recording, request)), request, ch_names, digests)


def gather(
    stretches: Iterable[Stretch], request: Request, ch_names: Sequence[str], digests: Mapping[str, str]
) -> TaskData:
    """Cut all windows and put them together.

    Parameters
    ----------
    stretches : iterable of Stretch
        Recordings, one or more.
    request : Request
        Classes and length of windows.
    ch_names : sequence of str
        Names of the channels of all.
    digests : mapping of str to str
        File → SHA-256 of what it stores.

    Returns
    -------
    data : TaskData
    """
    X, y, starts, names = [], [], [], []
    for each in stretches:
        X.append(_cut(each, request.n_times))
        y.append(each.labels)
        starts.append(each.starts)
        names += [(each.subject, each.session, each.recording)] * len(each.starts)
    subjects, sessions, recordings = np.array(names).T
    data = TaskData(
        X=np.concatenate(X),
        y=np.concatenate(y).astype(int if request.classes else float),
        subjects=subjects,
        sessions=sessions,
        recordings=recordings,
        starts=np.concatenate(starts).astype(int),
        sfreq=float(SFREQ),
        ch_names=tuple(ch_names),
        classes=request.classes,
        digests=dict(digests),
    )
    return data.read_only()


def _cut(stretch: Stretch, n_times: int) -> np.ndarray:
    """Windows of a stretch, [n_windows, C, n_times]."""
    outside = (stretch.starts < 0) | (stretch.starts + n_times > stretch.volts.shape[1])
    if outside.any():
        raise ValueError(
            f"The window at {stretch.starts[outside][0] / SFREQ:g} s of {stretch.recording} lies outside of the "
            f"recording, which lasts {stretch.volts.shape[1] / SFREQ:g} s: the file is cut short, or its events are "
            "wrong."
        )
    windows = stretch.volts[:, stretch.starts[:, None] + np.arange(n_times)]  # C, n_windows, n_times
    return windows.swapaxes(0, 1).astype(np.float32)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the signal of an ``.npz``, as it is stored."""
    digest = sha256()
    for name in _STORED:
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _codes(arrays: Mapping[str, np.ndarray], classes: Sequence[str], values: str, names: str) -> np.ndarray:
    """Labels of a file as places in `classes`, by their names."""
    said = [str(arrays[names][value]) for value in np.atleast_1d(arrays[values]).astype(int)]
    if unknown := sorted(set(said) - set(classes)):
        raise ValueError(f"The file has labels that the task does not: {unknown}; the task has {list(classes)}.")
    return np.array([classes.index(name) for name in said])


def _side_by_side(begin: float, end: float, n_times: int) -> np.ndarray:
    """First samples of windows that fill the time from `begin` to `end`, in seconds; what is left is not used."""
    first, last = round(begin * SFREQ), round(end * SFREQ)
    return first + np.arange((last - first) // n_times) * n_times


def _eegmat(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    arrays = recording.arrays()
    codes = _codes(arrays, request.classes, "labels", "label_names")
    bounds, begins = arrays["segment_bounds"], arrays["epoch_start_sample"]
    for place, (raw, start, stop) in enumerate(zip(recording.parts(), bounds[:-1], bounds[1:], strict=True)):
        labels = np.unique(codes[(begins >= start) & (begins < stop)])
        if len(labels) != 1:
            raise ValueError(f"Segment {place} of {recording.path} must have one label, got {labels.tolist()}.")
        volts = request.prepare(raw)
        starts = _side_by_side(0, volts.shape[1] / SFREQ, request.n_times)
        name = f"{recording.subject}-{place}"
        yield Stretch(recording.subject, str(place), name, volts, starts, np.repeat(labels, len(starts)))


def _diagnosis(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    label = _codes(recording.arrays(), request.classes, "labels", "label_names")
    for place, raw in enumerate(recording.parts()):
        volts = request.prepare(raw)
        starts = _side_by_side(0, volts.shape[1] / SFREQ, request.n_times)
        name = f"{recording.subject}-{place}"
        yield Stretch(recording.subject, "0", name, volts, starts, np.repeat(label, len(starts)))


def _eyes(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    arrays = recording.arrays()
    begins, ends, _ = arrays["eye_segments"].T
    arrays["eye_codes"] = arrays["eye_segments"][:, 2]
    codes = _codes(arrays, request.classes, "eye_codes", "eye_label_names")
    # The first segment begins, and the last one ends, with the recording.
    begins = begins + _CHANGE_SECONDS * (np.arange(len(begins)) > 0)
    ends = ends - _CHANGE_SECONDS * (np.arange(len(ends)) < len(ends) - 1)
    starts = [_side_by_side(begin, end, request.n_times) for begin, end in zip(begins, ends, strict=True)]
    labels = np.repeat(codes, [len(each) for each in starts])
    (raw,) = recording.parts()
    yield Stretch(
        recording.subject, "0", f"{recording.subject}-0", request.prepare(raw), np.concatenate(starts), labels
    )


def _trials(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    arrays = recording.arrays()
    codes = _codes(arrays, request.classes, "labels", "label_names")
    starts = np.round(arrays["event_onset_s"] * SFREQ).astype(int)
    (raw,) = recording.parts()
    yield Stretch(recording.subject, "0", f"{recording.subject}-0", request.prepare(raw), starts, codes)


def _ssvep(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    arrays = recording.arrays()
    codes = _codes(arrays, request.classes, "event_label", "label_names")
    first = arrays["session_bounds"][:-1] / float(arrays["sfreq"])
    for place, raw in enumerate(recording.parts()):
        own = arrays["event_session"] == place
        seconds = arrays["event_onset_s"][own] - first[place] + _SSVEP_DELAY_SECONDS
        starts = np.round(seconds * SFREQ).astype(int)
        name = f"{recording.subject}-{place}"
        yield Stretch(recording.subject, str(place), name, request.prepare(raw), starts, codes[own])


def _events(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    arrays = recording.arrays()
    numbers, names = zip(*(str(name).split(":", 1) for name in arrays["label_names"]), strict=True)  # as in "1:house"
    arrays |= {"names": np.array(names), "places": np.searchsorted(np.array(numbers, int), arrays["event_label"])}
    codes = _codes(arrays, request.classes, "places", "names")
    first = arrays["run_bounds"][:, 0] / float(arrays["sfreq"])
    for place, raw in enumerate(recording.parts()):
        own = arrays["event_run"] == place
        volts = request.prepare(raw)
        seconds = arrays["event_onset_s"][own] - first[place] - _BEFORE_EVENT_SECONDS
        starts = np.round(seconds * SFREQ).astype(int)
        inside = (starts >= 0) & (starts + request.n_times <= volts.shape[1])
        name = f"{recording.subject}-{place}"
        yield Stretch(recording.subject, str(place), name, volts, starts[inside], codes[own][inside])


def _stages(recording: StoredRecording, request: Request) -> Iterable[Stretch]:
    codes = _codes(recording.arrays(), request.classes, "labels", "label_names")
    animal, _, session = recording.subject.rpartition("_")
    starts = np.arange(len(codes)) * request.n_times
    (raw,) = recording.parts()
    yield Stretch(animal, session, recording.subject, request.prepare(raw), starts, codes)


def _imagery_run(path: Path, request: Request) -> Stretch:
    """One run of EEGMMIDB; rest (T0) is left out."""
    subject, run = path.stem[:4], path.stem[4:]
    raw = read_recording(find_sources(path)[0], verbose="WARNING").load_data(verbose="WARNING")
    marks = [mark for mark in raw.annotations if (run, mark["description"]) in _EEGBCI_LABELS]
    starts = np.array([round(mark["onset"] * SFREQ) for mark in marks], dtype=int)
    names = [_EEGBCI_LABELS[run, mark["description"]] for mark in marks]
    labels = np.array([request.classes.index(name) for name in names], dtype=int)
    referenced = raw.set_eeg_reference("average", verbose="WARNING")
    return Stretch(subject, run, path.stem, request.prepare(referenced), starts, labels)
