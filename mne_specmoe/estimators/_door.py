"""What estimators do with X before a network sees it: open, compare with fit, batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from mne_specmoe._validation import listed
from mne_specmoe.data.recordings import (
    SHORTEST_SECONDS,
    EpochsReader,
    align_channels,
    check_amplitude,
    event_labels,
    open_epochs,
)
from mne_specmoe.signal.canonical import SFREQ, to_network

# Rates that do not divide each other round the number of samples differently; more than this is another length.
_TOLERATED_SAMPLES = 2


@dataclass(frozen=True)
class CanonicalEpochs:
    """Epochs as the networks take them, read in batches.

    Attributes
    ----------
    reader : EpochsReader
        Where they come from.
    sfreq : float
        Its sampling rate in Hz.
    n_times : int
        Samples per epoch at 200 Hz.
    kept : ndarray of int | None
        Which of the channels of fit these are; None for all.
    """

    reader: EpochsReader
    sfreq: float
    n_times: int
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        return self.reader.n_epochs

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.reader.n_channels

    def batch(self, index: slice) -> Tensor:
        """Some epochs, [n, C, T] float32 at 200 Hz in units of 100 µV."""
        x = to_network(self.reader.volts(index), self.sfreq)
        missing = self.n_times - x.shape[-1]
        return x[..., : self.n_times] if missing <= 0 else torch.nn.functional.pad(x, (0, missing))

    def batches(self, size: int) -> Iterator[Tensor]:
        """All epochs in order."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, min(start + size, len(self))))


class EpochsInputMixin:
    """Opens X for an estimator with parameters `sfreq`, `unit` and `ch_names`.

    Fitted attributes: ``sfreq_`` (Hz, before resampling), ``n_times_`` (samples at that rate), ``n_channels_``,
    ``ch_names_`` (None for arrays without names).
    """

    def _open(self, X: object, *, reset: bool) -> CanonicalEpochs:
        """Check X, against what fit saw unless ``reset``, and open it."""
        is_array = event_labels(X) is None
        if is_array and _ndim(X) in (None, 2):  # scikit-learn's own rules for tables
            _validate_table(self, X, reset=reset)
        # Epochs of another rate than in fit are welcome later on, so `sfreq` need only agree with those of fit.
        sfreq = self.sfreq if is_array or reset else None
        if is_array and not reset and sfreq is None and self.n_times_ >= SHORTEST_SECONDS * self.sfreq_:
            sfreq = self.sfreq_  # the rate of fit; where fit saw next to nothing it was a guess
        reader = open_epochs(X, sfreq=sfreq, unit=self.unit, ch_names=self.ch_names)
        if reset:
            canonical = self._remember(reader)
        else:
            canonical = self._compare(reader)
        check_amplitude(canonical.reader)
        return canonical

    def _remember(self, reader: EpochsReader) -> CanonicalEpochs:
        """Store what later data is compared with."""
        self.sfreq_ = SFREQ if reader.sfreq is None else float(reader.sfreq)
        self.n_times_, self.n_channels_ = reader.n_times, reader.n_channels
        self.ch_names_ = None if reader.ch_names is None else list(reader.ch_names)
        return CanonicalEpochs(reader, self.sfreq_, _n_times_200(reader.n_times, self.sfreq_))

    def _needs_channels(self) -> str | None:
        """What needs all channels of fit, for messages; None if some of them will do."""
        return type(self).__name__

    def _needs_length(self, n_times: int) -> str | None:
        """What cannot do with epochs of so many samples at 200 Hz, which fit has not seen; None if all can."""
        return type(self).__name__

    def _compare(self, reader: EpochsReader) -> CanonicalEpochs:
        """Bring channels into the order of fit; refuse epochs of another number of channels or length than will do."""
        reader, kept = self._compare_channels(reader)
        sfreq = self.sfreq_ if reader.sfreq is None else float(reader.sfreq)
        n_times = _n_times_200(reader.n_times, sfreq)
        n_fitted = _n_times_200(self.n_times_, self.sfreq_)
        tolerated = 0 if sfreq == self.sfreq_ else _TOLERATED_SAMPLES
        same = reader.n_times == self.n_times_ if tolerated == 0 else abs(n_times - n_fitted) <= tolerated
        if same:
            return CanonicalEpochs(reader, sfreq, n_fitted, kept)
        if obstacle := self._needs_length(n_times):
            raise ValueError(
                f"X has epochs of {reader.n_times} samples at {sfreq:g} Hz ({reader.n_times / sfreq:.3f} s), but "
                f"{type(self).__name__} was fitted on {self.n_times_} samples at {self.sfreq_:g} Hz "
                f"({self.n_times_ / self.sfreq_:.3f} s), and {obstacle} cannot do with another length; cut the epochs "
                "to that length, or fit again."
            )
        return CanonicalEpochs(reader, sfreq, n_times, kept)

    def _compare_channels(self, reader: EpochsReader) -> tuple[EpochsReader, np.ndarray | None]:
        """The channels of fit in their order, and which they are if some are missing."""
        if self.ch_names_ is None or reader.ch_names is None:
            return align_channels(reader, n_channels=self.n_channels_, ch_names=self.ch_names_), None
        present = set(reader.ch_names)
        kept = np.array([i for i, name in enumerate(self.ch_names_) if name in present], dtype=int)
        if len(kept) == len(self.ch_names_):
            return reader.pick(self.ch_names_), None
        if (obstacle := self._needs_channels()) or not len(kept):
            missing = [name for name in self.ch_names_ if name not in present]
            raise ValueError(
                f"X lacks {len(missing)} of the {len(self.ch_names_)} channels that {obstacle or 'all parts'} needs: "
                f"{listed(missing)}. X has {listed(reader.ch_names)}. Rename its channels, or interpolate the missing "
                "ones."
            )
        return reader.pick([self.ch_names_[i] for i in kept]), kept


def _n_times_200(n_times: int, sfreq: float) -> int:
    """Samples per epoch after resampling."""
    return max(1, round(n_times * SFREQ / sfreq))


def _ndim(X: object) -> int | None:
    """Number of dimensions, where X says so."""
    shape = getattr(X, "shape", None)
    return None if shape is None else len(shape)


def _validate_table(estimator: object, X: object, *, reset: bool) -> None:
    """Number and names of features of a 2-D X, by scikit-learn's rules."""
    if _ndim(X) is None:
        try:
            X = np.asarray(X)
        except ValueError:  # ragged: the door explains it
            return
        if X.ndim != 2 or X.dtype == object:
            return
    validate_data(estimator, X, reset=reset, skip_check_array=True)
