"""Cutting one recording into segments for a corpus: preprocessed, checked and quantised."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mne
import numpy as np

from mne_specmoe._validation import check_number, check_option, listed
from mne_specmoe.data.locations import standard_positions
from mne_specmoe.data.preprocessing import prepare_raw
from mne_specmoe.data.recordings import PLAUSIBLE_UV
from mne_specmoe.signal.names import plain_name, site_name

_LARGEST = 32767  # of an int16
_FLAT_UV = 0.05  # standard deviation of a channel below which a segment of it counts as flat
_CLIPPED_SHARE = 0.1  # of a segment's samples at an extreme of the recording


@dataclass(frozen=True)
class SegmentSettings:
    """How recordings are preprocessed and cut; checked.

    Attributes
    ----------
    l_freq, h_freq : float or None
        Band-pass edges in Hz.
    notch : list of float or None
        Mains frequencies to remove, in Hz.
    sfreq : float
        Sampling rate of the segments in Hz.
    segment_seconds : float
        Length of a segment.
    edge_seconds : float
        Seconds cut from both ends of a recording.
    min_seconds : float
        Length below which recordings have no segments.
    reject_uv : float or None
        Absolute value in µV from which on a sample makes its segment fail.
    channels : str or list of str
        ``"paper"``, ``"all"``, a montage that MNE knows, or names of channels.

    Raises
    ------
    TypeError
        If a value is of the wrong type.
    ValueError
        If a value is out of range, or if values contradict each other.
    """

    l_freq: float | None
    h_freq: float | None
    notch: list[float] | None
    sfreq: float
    segment_seconds: float
    edge_seconds: float
    min_seconds: float
    reject_uv: float | None
    channels: str | list[str]

    def __post_init__(self):
        self._check_numbers()
        self._check_band()
        self._check_channels()
        if self.n_times < 1:
            raise ValueError(
                f"segment_seconds={self.segment_seconds:g} is shorter than one sample at {self.sfreq:g} Hz."
            )

    @property
    def n_times(self) -> int:
        """Samples per segment."""
        return round(self.segment_seconds * self.sfreq)

    def starts(self, slots: np.ndarray) -> np.ndarray:
        """Where segments begin in the recording, in seconds, by their places."""
        return self.edge_seconds + slots * self.n_times / self.sfreq

    def _check_numbers(self) -> None:
        """Raise unless every number is in its range."""
        for name in ("l_freq", "h_freq", "reject_uv"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=0, strict=True)
        for name in ("sfreq", "segment_seconds"):
            check_number(name, getattr(self, name), minimum=0, strict=True)
        for name in ("edge_seconds", "min_seconds"):
            check_number(name, getattr(self, name), minimum=0)
        for frequency in self.notch or ():
            check_number("notch", frequency, minimum=0, strict=True)

    def _check_band(self) -> None:
        """Raise unless the band fits under the new Nyquist frequency."""
        if self.h_freq is not None and self.h_freq > self.sfreq / 2:
            raise ValueError(
                f"h_freq={self.h_freq:g} Hz is above half of sfreq={self.sfreq:g} Hz, so the corpus cannot hold the "
                f"band; choose h_freq of at most {self.sfreq / 2:g}, or a higher sfreq."
            )
        if None not in (self.l_freq, self.h_freq) and self.l_freq >= self.h_freq:
            raise ValueError(f"l_freq must be below h_freq, got {self.l_freq:g} and {self.h_freq:g} Hz.")

    def _check_channels(self) -> None:
        """Raise unless channels are named, or a name that is known."""
        if isinstance(self.channels, str):
            if not is_channel_set(self.channels):
                check_option("channels", self.channels, ("paper", "all", *mne.channels.get_builtin_montages()))
        elif self.channels is None or not all(isinstance(name, str) for name in self.channels):
            raise TypeError(
                f"channels must be 'paper', 'all', the name of a montage or names of channels, got {self.channels!r}."
            )
        elif not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels must be one or more different names, got {listed(self.channels)}.")


def is_channel_set(name: str) -> bool:
    """Tell if a name stands for a set of channels: "paper", "all", or a montage that MNE knows."""
    return name in ("paper", "all") or montage_name(name) in mne.channels.get_builtin_montages()


@dataclass(frozen=True)
class Segments:
    """The segments of one recording; where there are none, why.

    Attributes
    ----------
    dropped : dict of str to int
        Number of segments that did not pass, by reason.
    why_none : str
        The reason if there are no segments; all that follows is then missing, except for the amplitude.
    amplitude_uv : float or None
        Median over channels of the standard deviation after preprocessing, rounded; None if it was not measured.
    values : ndarray of int16, shape (n_segments, n_channels, n_times)
        The signals, in steps.
    scale_uv : ndarray of float32, shape (n_segments, n_channels)
        µV per step.
    slots : ndarray of int, shape (n_segments,)
        Place of each segment in the recording, counted from 0 before any was dropped.
    starts : ndarray of float, shape (n_segments,)
        Where each segment begins in the recording, in seconds.
    ch_names : sequence of str
        Names of the channels.
    locations : sequence of sequence of (float or None), shape (n_channels, 3)
        Where the electrodes are, in metres in MNE's head coordinates; None where that is not known.
    """

    dropped: dict[str, int] = field(default_factory=dict)
    why_none: str = ""
    amplitude_uv: float | None = None
    values: np.ndarray | None = None
    scale_uv: np.ndarray | None = None
    slots: np.ndarray | None = None
    starts: np.ndarray | None = None
    ch_names: Sequence[str] = ()
    locations: Sequence[Sequence[float | None]] = ()


def cut_segments(raw: mne.io.BaseRaw, settings: SegmentSettings) -> Segments:
    """Preprocess a recording, and cut it into the segments that pass.

    What makes a segment fail is described with :func:`~mne_specmoe.data.build.build_corpus`.

    Parameters
    ----------
    raw : mne.io.Raw
        The recording, in volts; it is not changed.
    settings : SegmentSettings
        How.

    Returns
    -------
    segments : Segments
        Quantised to int16 by the largest value of each channel in each segment.

    Raises
    ------
    ValueError
        If the recording is sampled too slowly for the band, or lacks the channels.
    """
    _check_rate(raw.info["sfreq"], settings.h_freq)
    if reason := _too_short(raw.duration, settings):
        return Segments(why_none=reason)
    picked = _pick(raw, settings.channels)
    flaws = _Flaws(picked)
    prepared = _prepared(flaws.without_gaps(), settings)
    uv = prepared.get_data() * 1e6
    verdicts = _verdicts(uv, flaws, settings)
    dropped = dict(Counter(verdict for verdict in verdicts if verdict is not None))
    amplitude_uv = float(f"{np.median(uv.std(axis=1)):.3g}")
    slots = np.flatnonzero([verdict is None for verdict in verdicts])
    if not len(slots):
        return Segments(dropped, _why_none(dropped, amplitude_uv, settings.reject_uv), amplitude_uv)
    values, scale_uv = _quantise(uv, slots, settings.n_times)
    return Segments(
        dropped=dropped,
        amplitude_uv=amplitude_uv,
        values=values,
        scale_uv=scale_uv,
        slots=slots,
        starts=settings.starts(slots),
        ch_names=prepared.ch_names,
        locations=_locations(prepared),
    )


def _prepared(picked: mne.io.BaseRaw, settings: SegmentSettings) -> mne.io.BaseRaw:
    """The recording filtered, resampled, and cut at both ends."""
    return prepare_raw(
        picked,
        l_freq=settings.l_freq,
        h_freq=settings.h_freq,
        notch=settings.notch,
        sfreq=settings.sfreq,
        channels=picked.ch_names,
        crop_edges=settings.edge_seconds,
    )


def _verdicts(uv: np.ndarray, flaws: "_Flaws", settings: SegmentSettings) -> list[str | None]:
    """What is wrong with each segment, before preprocessing or after it; None where nothing is."""
    n_times = settings.n_times
    starts = settings.starts(np.arange(uv.shape[1] // n_times))
    return [
        flaws.between(start, start + n_times / settings.sfreq)
        or _flaw(uv[:, slot * n_times : (slot + 1) * n_times], settings.reject_uv)
        for slot, start in enumerate(starts)
    ]


def _check_rate(sfreq: float, h_freq: float | None) -> None:
    """Raise if a recording does not reach up to the upper band edge."""
    if h_freq is not None and sfreq < 2 * h_freq:
        raise ValueError(
            f"Sampled at {sfreq:g} Hz, less than twice h_freq={h_freq:g} Hz; a corpus with h_freq={sfreq / 2:g} or "
            "less can take it."
        )


def _too_short(duration: float, settings: SegmentSettings) -> str:
    """Why a recording is left out for its length, if it is."""
    needed = 2 * settings.edge_seconds + settings.segment_seconds
    half_sample = 0.5 / settings.sfreq
    if duration + half_sample < settings.min_seconds:
        return f"Shorter than min_seconds={settings.min_seconds:g}."
    if duration + half_sample < needed:
        return f"Shorter than two edges and one segment: {needed:g} s."
    return ""


def _pick(raw: mne.io.BaseRaw, channels: str | Sequence[str]) -> mne.io.BaseRaw:
    """The channels wanted, loaded, otherwise as recorded."""
    bads = list(raw.info["bads"])
    if len(bads) == len(raw.ch_names):
        raise ValueError("All its channels are marked as bad.")
    good = raw.copy().drop_channels(bads) if bads else raw
    if isinstance(channels, str) and channels != "paper":
        channels = _eeg_names(good, channels)
    try:
        return prepare_raw(good, l_freq=None, h_freq=None, notch=None, sfreq=raw.info["sfreq"], channels=channels)
    except ValueError as error:
        marked = f" Marked as bad, so not used: {listed(bads)}." if bads else ""
        raise ValueError(f"{str(error).split(' It has ')[0]}{marked}") from error


def _eeg_names(raw: mne.io.BaseRaw, channels: str) -> list[str]:
    """Names of all EEG channels, or of those of a montage."""
    names = [raw.ch_names[pick] for pick in mne.pick_types(raw.info, eeg=True, exclude=[])]
    if channels != "all":
        names = _in_montage(names, channels)
    if not names:
        where = "" if channels == "all" else f" of the montage {channels!r}"
        raise ValueError(
            f"It has no good EEG channels{where}, only channels of type {listed(raw.get_channel_types(unique=True))}."
        )
    return names


def _in_montage(names: Sequence[str], montage: str) -> list[str]:
    """Names of the montage's channels that a recording has, in the montage's order."""
    sites = mne.channels.make_standard_montage(montage_name(montage)).ch_names
    by_name = {site.upper(): site for site in reversed(sites)}
    by_site = {site_name(site): site for site in reversed(sites)}
    found = {by_name.get(plain_name(name)) or by_site.get(site_name(name)) for name in names}
    return [site for site in sites if site in found]


def montage_name(name: str) -> str:
    """A montage's name as the installed MNE has it: MNE 1.13 has renamed standard_... to colin27_..."""
    known = mne.channels.get_builtin_montages()
    others = (name.replace("standard_", "colin27_"), name.replace("colin27_", "standard_"))
    return next((other for other in others if other in known), name)


class _Flaws:
    """What is wrong with a recording before it is filtered, by time."""

    def __init__(self, raw: mne.io.BaseRaw):
        self._raw = raw
        self._sfreq = raw.info["sfreq"]
        self._annotated = self._bad_times()
        self._is_finite = True
        self._lowest = np.full((len(raw.ch_names), 1), np.nan)
        self._highest = self._lowest.copy()
        for place in range(len(raw.ch_names)):
            signal = raw.get_data(picks=[place])[0]
            finite = signal[np.isfinite(signal)]
            self._is_finite &= len(finite) == len(signal)
            if len(finite):
                self._lowest[place], self._highest[place] = finite.min(), finite.max()

    def _bad_times(self) -> np.ndarray:
        """Per sample: does an annotation call it bad?"""
        signal, blanked = (self._raw.get_data(picks=[0], reject_by_annotation=how)[0] for how in (None, "NaN"))
        return np.isnan(blanked) & ~np.isnan(signal)

    def without_gaps(self) -> mne.io.BaseRaw:
        """The recording with straight lines over samples that are not finite, which filters would spread."""
        if self._is_finite:
            return self._raw
        return self._raw.copy().apply_function(_bridged, picks="all")

    def between(self, start: float, stop: float) -> str | None:
        """What is wrong between two times, in seconds."""
        first, last = round(start * self._sfreq), round(stop * self._sfreq)
        if self._annotated[first:last].any():
            return "annotated"
        signals = self._raw.get_data(start=first, stop=min(last, self._raw.n_times))
        if not np.isfinite(signals).all():
            return "non-finite"
        if (signals == signals[:, :1]).all(axis=1).any():
            return "flat"
        shares = [(signals == extreme).mean(axis=1).max() for extreme in (self._lowest, self._highest)]
        return "clipped" if max(shares) >= _CLIPPED_SHARE else None


def _bridged(signal: np.ndarray) -> np.ndarray:
    """A signal with straight lines over the samples that are not finite."""
    finite = np.isfinite(signal)
    if not finite.any():
        return np.zeros_like(signal)
    times = np.arange(len(signal))
    return np.where(finite, signal, np.interp(times, times[finite], signal[finite]))


def _flaw(uv: np.ndarray, reject_uv: float | None) -> str | None:
    """What is wrong with a preprocessed segment."""
    if uv.std(axis=1).min() < _FLAT_UV:
        return "flat"
    if reject_uv is not None and np.abs(uv).max() >= reject_uv:
        return "amplitude"
    return None


def _why_none(dropped: Mapping[str, int], amplitude_uv: float, reject_uv: float | None) -> str:
    """The reason of a recording without segments."""
    reason = f"All segments were dropped ({', '.join(sorted(dropped))})."
    if not is_plausible(amplitude_uv):
        return f"{reason} The amplitude is implausible for EEG ({amplitude_uv:.2g} µV): is the unit right?"
    return f"{reason} Those of high amplitude reach reject_uv={reject_uv:g}." if "amplitude" in dropped else reason


def is_plausible(amplitude_uv: float) -> bool:
    """Tell if a recording can be EEG in the unit that it states; a constant one can."""
    return amplitude_uv == 0 or PLAUSIBLE_UV[0] <= amplitude_uv <= PLAUSIBLE_UV[1]


def _quantise(uv: np.ndarray, slots: np.ndarray, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Segments as int16, and µV per step."""
    values = np.empty((len(slots), len(uv), n_times), dtype=np.int16)
    scale_uv = np.empty((len(slots), len(uv)), dtype=np.float32)
    for place, slot in enumerate(slots):
        segment = uv[:, slot * n_times : (slot + 1) * n_times]
        steps = np.abs(segment).max(axis=1) / _LARGEST
        scale_uv[place] = np.where(steps > 0, steps, 1.0)
        np.rint(segment / scale_uv[place][:, None], out=values[place], casting="unsafe")
    return values, scale_uv


def _locations(raw: mne.io.BaseRaw) -> list[list[float | None]]:
    """Where the electrodes are: what the recording says, else what their names say, else unknown."""
    template = standard_positions()
    plain = [plain_name(name) for name in raw.ch_names]
    ears = {"A1", "A2"} if "A3" in plain else set()  # BioSemi's names of other places
    result = []
    for channel, name in zip(raw.info["chs"], plain, strict=True):
        own = channel["loc"][:3]
        if not np.isfinite(own).all() or not own.any():
            own = None if name in ears else template.get(name)
        result.append([None] * 3 if own is None else [round(float(x), 5) for x in own])
    return result
