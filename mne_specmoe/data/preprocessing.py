"""Preprocessing of continuous recordings, as for SpecMoE's pretraining."""

from collections.abc import Sequence

import mne
import numpy as np

from mne_specmoe._validation import check_number, check_option, listed
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.signal.names import plain_name, site_name

TEN_TWENTY_19 = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
    *("F7", "F8", "T3", "T4", "T5", "T6", "Fz", "Cz", "Pz"),
)
"""The 19 channels of the 10-20 system that SpecMoE was pretrained on, in its order."""

_NOTCH_MARGIN = 1.0  # Hz that a notch needs below the Nyquist frequency


def prepare_raw(
    raw: mne.io.BaseRaw,
    *,
    l_freq: float | None = 0.3,
    h_freq: float | None = 75.0,
    notch: float | Sequence[float] | None = 60.0,
    sfreq: float = SFREQ,
    channels: str | Sequence[str] | None = "paper",
    crop_edges: float = 0.0,
    verbose: bool | str | int | None = None,
) -> mne.io.BaseRaw:
    """Preprocess a recording as for SpecMoE's pretraining; the recording itself is not changed.

    Channels picked, band-pass, notch, resampled, edges cut, in this order. Annotations are kept; a
    stimulus channel is not: turn its events into annotations first.

    Parameters
    ----------
    raw : mne.io.Raw
        The recording, in volts.
    l_freq, h_freq : float or None
        Band-pass edges in Hz. No low-pass is applied where ``h_freq`` is at or above the Nyquist
        frequency of the recording, as there is nothing to remove; None leaves either out.
    notch : float, sequence of float, or None
        Mains frequencies to remove, in Hz: 60 in the Americas, 50 in most other places. Those not
        below the recording's Nyquist frequency (by 1 Hz) are skipped.
    sfreq : float, default=200
        Sampling rate of the result in Hz.
    channels : "paper", sequence of str, or None
        ``"paper"`` takes the 19 channels of `TEN_TWENTY_19`. A sequence takes those, in its
        order. The result bears the names asked for; in the recording they may be in any case and
        carry what EDF files add (``"EEG Fp1-REF"``, ``"Fp1."``); T7, T8, P7, P8 stand for T3, T4,
        T5, T6 and the reverse. None takes all EEG channels as they are.
    crop_edges : float, default=0
        Seconds cut from both ends, after filtering. The paper cuts 60.
    verbose : bool, str, int or None
        As in MNE.

    Returns
    -------
    raw : mne.io.Raw
        The preprocessed copy, with data loaded.

    Raises
    ------
    TypeError
        If ``raw`` is not a Raw.
    ValueError
        If channels are missing (all are named) or match twice, if the recording is too short for
        ``crop_edges``, or if a parameter is out of range.

    References
    ----------
    Darankoum et al., "SpecMoE: Spectral Mixture-of-Experts Foundation Model for Cross-Species EEG
    Decoding", arXiv:2603.16739.
    """
    if not isinstance(raw, mne.io.BaseRaw):
        raise TypeError(f"raw must be an mne.io.Raw, got {type(raw).__name__}.")
    notches = np.atleast_1d([] if notch is None else np.asarray(notch, dtype=float)).ravel()
    _check_filters(l_freq, h_freq, notches, sfreq, crop_edges)
    if raw.duration <= 2 * crop_edges:
        raise ValueError(
            f"The recording lasts {raw.duration:g} s, so nothing is left after cutting crop_edges="
            f"{crop_edges:g} s from both ends; use a smaller value, or leave this recording out."
        )
    nyquist = raw.info["sfreq"] / 2
    h_freq = None if h_freq is None or h_freq >= nyquist else float(h_freq)
    notches = [float(freq) for freq in notches if freq < nyquist - _NOTCH_MARGIN]
    prepared = _pick_channels(raw, channels).load_data(verbose=verbose)
    if l_freq is not None or h_freq is not None:
        prepared.filter(l_freq, h_freq, picks="all", verbose=verbose)
    if notches:
        prepared.notch_filter(notches, picks="all", verbose=verbose)
    if prepared.info["sfreq"] != sfreq:
        prepared.resample(sfreq, verbose=verbose)
    if crop_edges > 0:
        prepared.crop(crop_edges, prepared.times[-1] - crop_edges, verbose=verbose)
    return prepared


def _check_filters(
    l_freq: float | None,
    h_freq: float | None,
    notches: np.ndarray,
    sfreq: float,
    crop_edges: float,
) -> None:
    """Raise unless the parameters of prepare_raw are in range."""
    for name, value in {"l_freq": l_freq, "h_freq": h_freq}.items():
        if value is not None:
            check_number(name, value, minimum=0, strict=True)
    if l_freq is not None and h_freq is not None and l_freq >= h_freq:
        raise ValueError(f"l_freq must be below h_freq, got {l_freq:g} and {h_freq:g} Hz.")
    for freq in notches:
        check_number("notch", float(freq), minimum=0, strict=True)
    check_number("sfreq", sfreq, minimum=0, strict=True)
    check_number("crop_edges", crop_edges, minimum=0)


def _pick_channels(raw: mne.io.BaseRaw, channels: str | Sequence[str] | None) -> mne.io.BaseRaw:
    """A copy of `raw` with the channels wanted, under the names and in the order wanted."""
    if channels is None:
        return raw.copy().pick("eeg", exclude=[])
    if isinstance(channels, str):
        check_option("channels", channels, ("paper",))
        channels = TEN_TWENTY_19
    present = _names_by_site(raw.ch_names)
    found, missing = {}, []
    for wanted in channels:
        candidates = present.get(site_name(wanted), [])
        exact = [name for name in candidates if name == wanted]
        exact = exact or [name for name in candidates if plain_name(name) == plain_name(wanted)]
        candidates = exact or candidates
        if len(candidates) > 1:
            raise ValueError(
                f"The channel {wanted!r} matches more than one of the recording: "
                f"{listed(candidates)}; drop or rename the others."
            )
        if candidates:
            found[wanted] = candidates[0]
        else:
            missing.append(wanted)
    if missing:
        raise ValueError(
            f"The recording lacks {len(missing)} of the {len(channels)} channels wanted: "
            f"{listed(missing)}. It has {listed(raw.ch_names)}. Rename its channels, or choose "
            "others with channels=[...] (or all EEG channels with channels=None)."
        )
    picked = raw.copy().pick(list(found.values()))
    picked.reorder_channels(list(found.values()))
    return picked.rename_channels({old: new for new, old in found.items() if old != new})


def _names_by_site(names: Sequence[str]) -> dict[str, list[str]]:
    """Channel names of a recording by the site they stand for."""
    by_site: dict[str, list[str]] = {}
    for name in names:
        by_site.setdefault(site_name(name), []).append(name)
    return by_site
