"""The windows of one task: signals, labels, and where each comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

_PER_WINDOW = ("X", "y", "subjects", "sessions", "recordings", "starts")


@dataclass(frozen=True, eq=False)
class TaskData:
    """Labelled windows of equal length.

    Attributes
    ----------
    X : ndarray of float32, shape (n_windows, n_channels, n_times)
        Signals in volts.
    y : ndarray of int or float, shape (n_windows,)
        Places in `classes`; for a regression, which has no classes, numbers.
    subjects, sessions, recordings : ndarray of str, shape (n_windows,)
        Whose window it is, when it was recorded, and the uninterrupted recording that it was cut from.
    starts : ndarray of int, shape (n_windows,)
        First sample in that recording, at `sfreq`.
    sfreq : float
        Sampling rate in Hz.
    ch_names, classes : tuple of str
        Names of channels and labels; no classes for a regression.
    digests : mapping of str to str
        File → SHA-256 of what it stores, before any filter.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """

    X: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    subjects: np.ndarray = field(repr=False)
    sessions: np.ndarray = field(repr=False)
    recordings: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    sfreq: float
    ch_names: tuple[str, ...]
    classes: tuple[str, ...]
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        lengths = {name: len(getattr(self, name)) for name in _PER_WINDOW}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"Every window needs one entry in each array, got lengths {lengths}.")
        if self.X.ndim != 3 or self.X.shape[1] != len(self.ch_names):
            raise ValueError(
                f"X must be (n_windows, {len(self.ch_names)} channels, n_times) to fit ch_names, got {self.X.shape}."
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return self.X.shape[2]

    def take(self, places: np.ndarray) -> "TaskData":
        """Copy some of the windows, in the order given."""
        return replace(self, **{name: getattr(self, name)[places] for name in _PER_WINDOW})

    def joined(self, other: "TaskData") -> "TaskData":
        """These windows, followed by others of the same kind."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _PER_WINDOW}
        return replace(self, **{name: np.concatenate(pair) for name, pair in pairs.items()})

    def with_signals(self, X: np.ndarray) -> "TaskData":
        """The same windows with other signals."""
        return replace(self, X=X)

    def with_labels(self, y: np.ndarray, classes: tuple[str, ...] | None = None) -> "TaskData":
        """The same windows with other labels, and maybe other classes."""
        return replace(self, y=y, classes=self.classes if classes is None else classes)

    def where(self, place: int) -> str:
        """Name one window, for messages."""
        return f"{self.recordings[place]} at {self.starts[place] / self.sfreq:g} s"

    def read_only(self) -> "TaskData":
        """The same arrays, which cannot be written to any more."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        return self
