"""The data door: Epochs, lists of Epochs and arrays to volts."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import mne
import numpy as np
import torch
from sklearn.utils import check_array

from mne_specmoe._validation import (
    AmplitudeWarning,
    SpecMoEWarning,
    check_number,
    check_option,
    listed,
)
from mne_specmoe.signal.canonical import SFREQ

UNITS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6}  # both micro signs
"""Volts in one of each unit that arrays may come in."""

SHORTEST_SECONDS = 0.2
"""Shortest epochs that are taken: time courses of responses to events are longer."""

_LARGEST_VOLTS = 1e30  # times 1e4 still fits float32
_SCAN_VALUES = 2**20  # values looked at in one go by the checks
PLAUSIBLE_UV = (0.2, 1000.0)  # see check_amplitude
_AMPLITUDE_EPOCHS = 64
Block = np.ndarray | torch.Tensor | mne.BaseEpochs


@dataclass(frozen=True)
class EpochsReader:
    """Epochs from any container, read in volts a batch at a time. Made by :func:`open_epochs`.

    Attributes
    ----------
    n_epochs, n_channels, n_times : int
        The shape of the data.
    sfreq : float or None
        Sampling rate in Hz; None for an array that came without one.
    ch_names : tuple of str or None
        Channel names; None for an array that came without them.
    volts_per_unit : float
        What one of the container's numbers is worth.
    blocks : tuple
        The containers: arrays (n, n_channels, n_times), tensors, or Epochs that are read lazily.
    picks : tuple of (ndarray or None)
        Per block, the places of its channels; None for all in their order.
    starts : ndarray of int
        Number of the first epoch of every block.
    """

    n_epochs: int
    n_channels: int
    n_times: int
    sfreq: float | None
    ch_names: tuple[str, ...] | None
    volts_per_unit: float
    blocks: tuple[Block, ...]
    picks: tuple[np.ndarray | None, ...]
    starts: np.ndarray

    def volts(self, index: slice | np.ndarray) -> np.ndarray:
        """Read some epochs.

        Parameters
        ----------
        index : slice or ndarray of int or bool
            Which epochs; any order, repeats allowed.

        Returns
        -------
        volts : ndarray, shape (n, n_channels, n_times)
            float32 or float64. May be a view of the caller's data: do not write into it.
        """
        which = np.arange(self.n_epochs)[index]
        if len(self.blocks) == 1:
            contiguous = isinstance(index, slice) and index.step in (None, 1)
            volts = self._read(0, index if contiguous else which)
        else:
            volts = self._gather(which)
        return volts if self.volts_per_unit == 1.0 else volts * volts.dtype.type(self.volts_per_unit)

    def batches(self, size: int | None = None) -> Iterator[slice]:
        """Yield slices over all epochs, of `size` epochs or of a size that keeps memory small."""
        size = size or max(1, _SCAN_VALUES // (self.n_channels * self.n_times))
        for start in range(0, self.n_epochs, size):
            yield slice(start, min(start + size, self.n_epochs))

    def with_channels(self, order: Sequence[int]) -> "EpochsReader":
        """Return a reader that yields the channels at the places `order`, in that order."""
        order = np.asarray(order, dtype=int)
        names = None if self.ch_names is None else tuple(self.ch_names[place] for place in order)
        if np.array_equal(order, np.arange(self.n_channels)):
            return self
        picks = tuple(order if pick is None else pick[order] for pick in self.picks)
        return replace(self, n_channels=len(order), ch_names=names, picks=picks)

    def pick(self, names: Sequence[str]) -> "EpochsReader":
        """Return a reader that yields the channels called `names`, in that order."""
        if self.ch_names is None:
            raise ValueError(
                f"The channels {listed(names)} were asked for, but X has no channel names; pass "
                "mne.Epochs, or name the channels of the array with ch_names."
            )
        return self.with_channels(match_channels(names, self.ch_names))

    def _read(self, block: int, index: slice | np.ndarray) -> np.ndarray:
        """Epochs `index` of one block as floats, channels picked, in the container's unit."""
        source, picks = self.blocks[block], self.picks[block]
        if isinstance(source, mne.BaseEpochs):
            return source.get_data(picks=picks, item=index, verbose="WARNING")
        if isinstance(source, torch.Tensor):
            return _tensor_to_numpy(source[_torch_index(index)], picks)
        part = source[index]
        return _as_float(part if picks is None else part[:, picks])

    def _gather(self, which: np.ndarray) -> np.ndarray:
        """Epochs `which` from wherever they lie, each block touched once."""
        if not len(which):
            return np.empty((0, self.n_channels, self.n_times))
        block_of = np.searchsorted(self.starts, which, side="right") - 1
        order = np.argsort(block_of, kind="stable")
        touched, first = np.unique(block_of[order], return_index=True)
        parts = [
            self._read(block, which[places] - self.starts[block])
            for block, places in zip(touched, np.split(order, first[1:]), strict=True)
        ]
        data = np.concatenate(parts)
        return data if np.all(order[1:] > order[:-1]) else data[np.argsort(order)]


def open_epochs(
    X: object,
    *,
    sfreq: float | None = None,
    unit: str = "V",
    ch_names: Sequence[str] | None = None,
) -> EpochsReader:
    """Open epochs of any kind for reading in volts, and check them before anything is computed.

    All kinds of container give the same numbers. Nothing is copied that need not be, and the
    caller's objects are not changed: lazy Epochs are read from disk batch by batch, and where bad
    epochs have not been dropped yet, they are dropped on a copy that shares the recording.

    Parameters
    ----------
    X : mne.Epochs, list of mne.Epochs, array-like or torch.Tensor
        - ``mne.Epochs``, preloaded or lazy. All channels of type EEG are used, those marked bad
          included, so that the set of channels does not depend on ``info["bads"]``; interpolate or
          drop bad channels beforehand. Epochs are in volts, know their rate and their names.
        - A list, tuple or object array of Epochs (what scikit-learn's splitters make of Epochs),
          joined. All must have one rate, one length and the same channels, in any order: the first
          item's order holds.
        - Array-like of shape (n_epochs, n_channels, n_times), or (n_epochs, n_times) of one
          channel; also a list of arrays (n_channels, n_times). Any real number type.
        - ``torch.Tensor`` of either shape, on any device, with or without gradient.
    sfreq : float, optional
        Sampling rate of an array in Hz. None leaves it open, which estimators take as 200 Hz. For
        Epochs it is not needed; given, it must agree with theirs (to 0.1 %).
    unit : {"V", "mV", "uV", "µV"}, default="V"
        Unit of an array. Epochs are always in volts: for them it is not used.
    ch_names : sequence of str, optional
        Names of the channels of an array. For Epochs, the EEG channels to use, in this order.

    Returns
    -------
    reader : EpochsReader
        Shape, rate and names of the data, and ``reader.volts(index)``.

    Raises
    ------
    ValueError
        For data that are empty, ragged, complex, not numbers, not finite (the first such epoch,
        channel and sample are named), of another number of dimensions, or shorter than 0.2 s
        where the rate is known; for Epochs without EEG channels or that contradict one another or
        the parameters; for parameters out of range.
    TypeError
        For sparse matrices and for objects that hold no epochs, such as ``mne.io.Raw``.

    Warns
    -----
    SpecMoEWarning
        An array without a rate is shorter than 0.2 s at 200 Hz.
    """
    _check_parameters(sfreq, unit, ch_names)
    epochs = _as_epochs(X)
    if epochs is not None:
        reader = _open_mne(epochs, sfreq)
        reader = reader if ch_names is None else reader.pick(ch_names)
    else:
        reader = _open_arrays(X, sfreq, UNITS[unit], ch_names)
    _check_length(reader)
    _check_finite(reader)
    return reader


def amplitude_uv(reader: EpochsReader) -> float:
    """Typical amplitude in µV: the median standard deviation of one second of one channel.

    The mean of every second is removed, so that offsets and drifts count little; seconds in which a
    channel is constant are left out. At most 64 epochs, evenly spread, are looked at.

    Parameters
    ----------
    reader : EpochsReader
        The data.

    Returns
    -------
    amplitude : float
        In µV; 0 when every channel is constant.
    """
    second = min(reader.n_times, round(reader.sfreq or SFREQ))
    whole = reader.n_times // second * second
    deviations = []
    n_looked_at = min(reader.n_epochs, _AMPLITUDE_EPOCHS)
    for epoch in np.linspace(0, reader.n_epochs - 1, n_looked_at).astype(int):
        volts = reader.volts(slice(epoch, epoch + 1))[0, :, :whole].astype(np.float64, copy=False)
        seconds = volts.reshape(len(volts), -1, second)  # n_channels, n_seconds, samples
        deviations.append(seconds.std(axis=-1)[np.ptp(seconds, axis=-1) > 0])
    deviations = np.concatenate(deviations)
    return float(np.median(deviations)) * 1e6 if len(deviations) else 0.0


def check_amplitude(reader: EpochsReader) -> None:
    """Warn when the amplitude cannot be that of EEG in the unit stated.

    The plausible range of :func:`amplitude_uv` is 0.2 to 1000 µV. Of the recordings it was chosen
    on, clean scalp EEG measures 6 to 15 µV, raw EEG 11 to 120 µV even where electrodes drift, and
    EEG of a mouse up to 460 µV; a factor of 1000 between units takes scalp EEG out of it.

    Parameters
    ----------
    reader : EpochsReader
        The data.

    Warns
    -----
    AmplitudeWarning
        The amplitude is outside that range, or every channel is constant.
    """
    amplitude = amplitude_uv(reader)
    low, high = PLAUSIBLE_UV
    if low <= amplitude <= high:
        return
    if amplitude == 0:
        message = (
            "Every channel of X is constant in the epochs looked at, so there is no signal: check "
            "how the recording was read and its channels picked."
        )
    else:
        message = (
            f"The typical amplitude of X is {amplitude:.3g} µV (median standard deviation of one "
            f"second), implausible for EEG ({low:g} to {high:g} µV expected); the networks expect "
            'the true one. If X is an array, state its unit, as in unit="uV"; if it is mne.Epochs, '
            "bring them to volts, e.g. epochs.apply_function(lambda x: x * 1e-6)."
        )
    warnings.warn(message, AmplitudeWarning, stacklevel=3)


def match_channels(fitted_names: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Find the channels of a fitted model among those given.

    Parameters
    ----------
    fitted_names : sequence of str
        The channels wanted, in the order wanted.
    names : sequence of str
        The channels present.

    Returns
    -------
    order : ndarray of int, shape (len(fitted_names),)
        Places in ``names``. Channels that are not wanted are left out.

    Raises
    ------
    ValueError
        If some are missing; all missing ones are named.
    """
    place = {name: index for index, name in enumerate(names)}
    missing = [name for name in fitted_names if name not in place]
    if missing:
        raise ValueError(
            f"X lacks {len(missing)} of the {len(fitted_names)} channels that are needed: "
            f"{listed(missing)}. X has {listed(names)}. Rename its channels, or interpolate the "
            "missing ones."
        )
    return np.array([place[name] for name in fitted_names], dtype=int)


def align_channels(reader: EpochsReader, *, n_channels: int, ch_names: Sequence[str] | None) -> EpochsReader:
    """Bring the channels of new data into the order that a model was fitted on.

    With names on both sides the channels are matched by name (:func:`match_channels`: extra ones
    are left out). If either side has none, only their number can be checked.

    Parameters
    ----------
    reader : EpochsReader
        The new data.
    n_channels : int
        Number of channels that the model was fitted on.
    ch_names : sequence of str or None
        Their names.

    Returns
    -------
    reader : EpochsReader
        The new data, with the fitted channels in the fitted order.

    Raises
    ------
    ValueError
        If a channel is missing, or if without names the number differs.
    """
    if ch_names is not None and reader.ch_names is not None:
        return reader.pick(ch_names)
    if reader.n_channels != n_channels:
        raise ValueError(
            f"X has {reader.n_channels} channels, but {n_channels} are expected, as in fit. "
            "Without channel names on both sides they cannot be matched: pass the same channels in "
            "the same order, or use mne.Epochs or ch_names in both."
        )
    return reader


def event_labels(X: object) -> np.ndarray | None:
    """Event codes of epochs, in the order in which :func:`open_epochs` reads them.

    Parameters
    ----------
    X : mne.Epochs, list of mne.Epochs, or array-like
        The data.

    Returns
    -------
    labels : ndarray of int, shape (n_epochs,), or None
        ``epochs.events[:, 2]``; None for arrays, which carry no events.
    """
    epochs = _as_epochs(X)
    return None if epochs is None else np.concatenate([item.events[:, 2] for item in epochs])


def metadata_column(X: object, name: str) -> np.ndarray:
    """One column of the epochs' metadata, in the order in which :func:`open_epochs` reads them.

    Parameters
    ----------
    X : mne.Epochs or list of mne.Epochs
        The data.
    name : str
        The column, such as ``"subject"``.

    Returns
    -------
    values : ndarray, shape (n_epochs,)
        Its values.

    Raises
    ------
    ValueError
        If X is an array, has no metadata, or lacks the column (those present are listed).
    """
    epochs = _as_epochs(X)
    if epochs is None:
        raise ValueError(
            f"The metadata column {name!r} was asked for, but X is an array, which has none; pass "
            "mne.Epochs with metadata, or give the values themselves."
        )
    return np.concatenate([_column(item, name) for item in epochs])


def _check_parameters(sfreq: float | None, unit: str, ch_names: Sequence[str] | None) -> None:
    """Raise unless the parameters of open_epochs make sense by themselves."""
    if sfreq is not None:
        check_number("sfreq", sfreq, minimum=0, strict=True)
    check_option("unit", unit, tuple(UNITS))
    if ch_names is None:
        return
    if isinstance(ch_names, str) or not all(isinstance(name, str) for name in ch_names):
        raise TypeError(f"ch_names must be a sequence of str, got {ch_names!r}.")
    twice = sorted({name for name in ch_names if list(ch_names).count(name) > 1})
    if twice:
        raise ValueError(f"ch_names must differ from one another, but {listed(twice)} come twice.")


def _as_epochs(X: object) -> list[mne.BaseEpochs] | None:
    """The Epochs in `X`, bad ones dropped (on copies), or None if `X` holds no Epochs."""
    if isinstance(X, mne.BaseEpochs):
        items = [X]
    elif _is_list(X) and any(isinstance(item, mne.BaseEpochs) for item in X):
        items = list(X)
    else:
        return None
    for place, item in enumerate(items):
        if not isinstance(item, mne.BaseEpochs):
            raise TypeError(
                f"X holds mne.Epochs, but its item {place} is of type {type(item).__name__}; pass "
                "only Epochs, or only arrays."
            )
    return [_without_bads(item) for item in items]


def _is_list(X: object) -> bool:
    """Whether `X` is a list, a tuple, or NumPy's object array standing for one."""
    return isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1)


def _without_bads(epochs: mne.BaseEpochs) -> mne.BaseEpochs:
    """`epochs`, or a copy of it (sharing the recording) if its bad epochs are not dropped yet."""
    try:
        len(epochs)
    except RuntimeError:  # MNE's way of saying so
        return epochs.copy().drop_bad(verbose="ERROR")
    return epochs


def _open_mne(epochs: list[mne.BaseEpochs], sfreq: float | None) -> EpochsReader:
    """Open Epochs, which must agree with one another and with `sfreq`."""
    first = epochs[0]
    own_sfreq, n_times = float(first.info["sfreq"]), len(first.times)
    if sfreq is not None and not math.isclose(sfreq, own_sfreq, rel_tol=1e-3):
        raise ValueError(
            f"sfreq={sfreq:g} Hz was given, but the Epochs have {own_sfreq:g} Hz; leave sfreq=None "
            "for Epochs, or resample them."
        )
    names = _eeg_names(first)
    picks = [_picks_of(item, names, place, own_sfreq, n_times) for place, item in enumerate(epochs)]
    return _make_reader(
        [item.get_data(copy=False) if item.preload and len(item) else item for item in epochs],
        picks,
        [len(item) for item in epochs],
        (len(names), n_times),
        sfreq=own_sfreq,
        ch_names=names,
    )


def _eeg_names(epochs: mne.BaseEpochs) -> tuple[str, ...]:
    """Names of the EEG channels, bad ones included."""
    picks = mne.pick_types(epochs.info, eeg=True, exclude=[])
    if not len(picks):
        kinds = sorted(set(epochs.get_channel_types()))
        raise ValueError(
            f"The Epochs have no EEG channels, only channels of type {listed(kinds)}. If they are "
            'EEG, say so: epochs.set_channel_types({name: "eeg", ...}).'
        )
    return tuple(epochs.ch_names[pick] for pick in picks)


def _picks_of(epochs: mne.BaseEpochs, names: tuple[str, ...], place: int, sfreq: float, n_times: int) -> np.ndarray:
    """Places of the channels `names` in one item of a list, which must agree with the first."""
    if not math.isclose(epochs.info["sfreq"], sfreq, rel_tol=1e-6):
        raise ValueError(
            f"All Epochs must have one sampling rate: item 0 has {sfreq:g} Hz, item {place} "
            f"{epochs.info['sfreq']:g} Hz. Resample them first."
        )
    if len(epochs.times) != n_times:
        raise ValueError(
            f"All Epochs must have one length: item 0 has {n_times} samples, item {place} "
            f"{len(epochs.times)}. Crop them first."
        )
    own = _eeg_names(epochs) if place else names
    if set(own) != set(names):
        lacking = [name for name in names if name not in own]
        extra = [name for name in own if name not in names]
        raise ValueError(
            f"All Epochs must have the same EEG channels: compared with item 0, item {place} lacks "
            f"{listed(lacking)} and has besides {listed(extra)}. Pick common channels first."
        )
    return match_channels(names, epochs.ch_names)


def _open_arrays(X: object, sfreq: float | None, volts_per_unit: float, ch_names: Sequence[str] | None) -> EpochsReader:
    """Open an array, a tensor, or a list of 2-D arrays."""
    blocks = _array_blocks(X)
    _, n_channels, n_times = blocks[0].shape
    if n_channels == 0 or n_times == 0:
        raise ValueError(
            f"X has {n_channels} channel(s) of {n_times} sample(s), while a minimum of 1 is required of each."
        )
    if ch_names is not None and len(ch_names) != n_channels:
        raise ValueError(
            f"ch_names has {len(ch_names)} names, but X has {n_channels} channels (shape "
            "(n_epochs, n_channels, n_times), or (n_epochs, n_times) of one channel)."
        )
    return _make_reader(
        blocks,
        [None] * len(blocks),
        [len(block) for block in blocks],
        (n_channels, n_times),
        sfreq=None if sfreq is None else float(sfreq),
        ch_names=None if ch_names is None else tuple(ch_names),
        volts_per_unit=volts_per_unit,
    )


def _array_blocks(X: object) -> list[np.ndarray | torch.Tensor]:
    """Arrays (n, n_channels, n_times) that hold the numbers of `X`, without copying them."""
    if isinstance(X, mne.io.BaseRaw | mne.Evoked):
        raise TypeError(
            f"X is of type {type(X).__name__}, which holds no epochs; cut it first, e.g. with "
            "mne.make_fixed_length_epochs or mne.Epochs."
        )
    if _is_list(X) and not len(X):
        raise ValueError("Found X with 0 sample(s) (an empty list) while a minimum of 1 is required.")
    if _is_list(X) and all(_ndim(item) == 2 for item in X):
        return _list_blocks(X)
    array = _check_tensor(X) if isinstance(X, torch.Tensor) else _check_array(X)
    if array.ndim == 2:
        return [array[:, None, :]]
    if array.ndim != 3:
        raise ValueError(
            f"X has {array.ndim} dimensions (shape {tuple(array.shape)}), but must be (n_epochs, "
            "n_channels, n_times), or (n_epochs, n_times) of one channel."
        )
    return [array]


def _ndim(item: object) -> int | None:
    """Number of dimensions of an array, a tensor or a data frame; None for anything else."""
    return getattr(item, "ndim", None)


def _list_blocks(X: Sequence) -> list[np.ndarray | torch.Tensor]:
    """One block of one epoch per array (n_channels, n_times) of a list."""
    shapes = [tuple(item.shape) for item in X]
    odd = next((place for place, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is not None:
        raise ValueError(
            f"X is ragged: its item 0 is of shape {shapes[0]}, item {odd} of shape {shapes[odd]}; "
            "all must be of one shape (n_channels, n_times)."
        )
    if 0 in shapes[0]:
        return [np.empty((1, *shapes[0]))]
    return [(_check_tensor(item) if isinstance(item, torch.Tensor) else _check_array(item))[None] for item in X]


def _check_array(X: object) -> np.ndarray:
    """Turn an array-like into a numeric ndarray of two or more dimensions; scikit-learn's words."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            "X is a masked array with masked values, which would be taken for data; fill them in, "
            "or leave those epochs out."
        )
    try:
        return check_array(X, dtype="numeric", allow_nd=True, ensure_all_finite=False, input_name="X")
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            "X is ragged: its epochs or channels differ in length; all must be of one shape "
            f"(n_channels, n_times). ({error})"
        ) from error


def _check_tensor(X: torch.Tensor) -> torch.Tensor:
    """Raise unless a tensor is dense, real, not empty, and of two or three dimensions."""
    if X.layout != torch.strided:
        raise TypeError("Sparse data was passed for X, but dense data is required: X.to_dense().")
    if X.is_complex():
        raise ValueError("Complex data not supported: X is a complex tensor.")
    if X.ndim not in (2, 3):
        raise ValueError(
            f"X is a tensor of shape {tuple(X.shape)}, but must be (n_epochs, n_channels, "
            "n_times), or (n_epochs, n_times) of one channel. Reshape your data."
        )
    if len(X) == 0:
        raise ValueError(f"Found a tensor with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of 1 is required.")
    return X.detach()


def _make_reader(
    blocks: list[Block],
    picks: list[np.ndarray | None],
    lengths: list[int],
    shape: tuple[int, int],
    *,
    sfreq: float | None,
    ch_names: tuple[str, ...] | None,
    volts_per_unit: float = 1.0,
) -> EpochsReader:
    """Put blocks together, empty ones left out."""
    if not sum(lengths):
        raise ValueError(
            f"Found X with 0 sample(s) (shape=(0, {shape[0]}, {shape[1]})) while a minimum of 1 is "
            "required: no epochs are left. Look at epochs.drop_log if X is mne.Epochs."
        )
    kept = [place for place, length in enumerate(lengths) if length]
    starts = np.cumsum([0] + [lengths[place] for place in kept[:-1]])
    for place in kept:
        block = blocks[place]
        if isinstance(block, np.ndarray) and block.dtype.kind == "c":
            raise ValueError("Complex data not supported: X holds complex numbers.")
    return EpochsReader(
        n_epochs=sum(lengths),
        n_channels=shape[0],
        n_times=shape[1],
        sfreq=sfreq,
        ch_names=ch_names,
        volts_per_unit=volts_per_unit,
        blocks=tuple(blocks[place] for place in kept),
        picks=tuple(_none_if_all(picks[place], blocks[place]) for place in kept),
        starts=starts,
    )


def _none_if_all(picks: np.ndarray | None, block: Block) -> np.ndarray | None:
    """None where `picks` are all channels of the block in their order, which saves a copy."""
    if picks is None or isinstance(block, mne.BaseEpochs):
        return picks
    return None if np.array_equal(picks, np.arange(block.shape[1])) else picks


def _check_length(reader: EpochsReader) -> None:
    """Raise for epochs under a fifth of a second; warn only where the rate is not known."""
    sfreq = SFREQ if reader.sfreq is None else reader.sfreq
    if round(reader.n_times * SFREQ / sfreq) >= SHORTEST_SECONDS * SFREQ:
        return
    if reader.sfreq is not None:
        raise ValueError(
            f"The epochs last {reader.n_times / sfreq:.3g} s ({reader.n_times} samples at "
            f"{sfreq:g} Hz), but at least {SHORTEST_SECONDS:g} s is needed; cut longer epochs."
        )
    warnings.warn(
        f"The epochs have {reader.n_times} samples, less than the {SHORTEST_SECONDS * SFREQ:.0f} of "
        f"{SHORTEST_SECONDS:g} s at 200 Hz: they are padded with zeros. If X has another sampling rate, state it "
        "with sfreq.",
        SpecMoEWarning,
        stacklevel=3,
    )


def _check_finite(reader: EpochsReader) -> None:
    """Raise at the first value that is NaN, infinite, or too large for float32."""
    for batch in reader.batches():
        volts = reader.volts(batch)
        if -_LARGEST_VOLTS < volts.min() and volts.max() < _LARGEST_VOLTS:  # False for NaN
            continue
        bad = ~(np.abs(volts) < _LARGEST_VOLTS)
        epoch, channel, sample = np.argwhere(bad)[0]
        is_nan = np.isnan(volts[epoch, channel, sample])
        name = "" if reader.ch_names is None else f" ({reader.ch_names[channel]!r})"
        raise ValueError(
            f"Input X contains {'NaN' if is_nan else 'infinity or a value too large for float32'}: "
            f"first in epoch {batch.start + epoch}, channel {channel}{name}, sample {sample}. Drop "
            "such epochs, or interpolate the channel or the gap."
        )


def _as_float(array: np.ndarray) -> np.ndarray:
    """float32 and float64 as they are, half precision as float32, everything else as float64."""
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _tensor_to_numpy(part: torch.Tensor, picks: np.ndarray | None) -> np.ndarray:
    """A batch of a tensor, from wherever it lives."""
    if picks is not None:
        part = part[:, _torch_index(picks)]
    if part.dtype == torch.bfloat16:
        part = part.float()
    return _as_float(part.cpu().numpy())


def _torch_index(index: slice | np.ndarray) -> slice | torch.Tensor:
    """An index that tensors take."""
    return index if isinstance(index, slice) else torch.from_numpy(np.ascontiguousarray(index))


def _column(epochs: mne.BaseEpochs, name: str) -> np.ndarray:
    """One metadata column of one Epochs; MNE keeps a list of dicts where pandas is missing."""
    metadata = epochs.metadata
    if metadata is None:
        raise ValueError(
            f"The metadata column {name!r} was asked for, but the Epochs have no metadata; set "
            "epochs.metadata, or give the values themselves."
        )
    if isinstance(metadata, list):
        columns = list(metadata[0]) if metadata else []
    else:
        columns = list(metadata.columns)
    if name not in columns:
        raise ValueError(f"The epochs' metadata have no column {name!r}; they have {listed(columns)}.")
    if isinstance(metadata, list):
        return np.asarray([row[name] for row in metadata])
    return metadata[name].to_numpy()
