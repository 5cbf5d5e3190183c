"""Which row of BrainRVQ's table of positions stands for which channel.

Source: arXiv:2602.16951, and the list of names that its published system uses.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe._validation import SpecMoEWarning, check_option, listed, warn_caller
from mne_specmoe.signal.names import NEWER_NAMES, OLDER_NAMES, plain_name

CHANNELS = tuple(
    """
    FP1 FPZ FP2 AF9 AF7 AF5 AF3 AF1 AFZ AF2 AF4 AF6 AF8 AF10 F9 F7 F5 F3 F1 FZ F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1
    FCZ FC2 FC4 FC6 FT8 FT10 T9 T7 C5 C3 C1 CZ C2 C4 C6 T8 T10 TP9 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 TP10 P9 P7
    P5 P3 P1 PZ P2 P4 P6 P8 P10 PO9 PO7 PO5 PO3 PO1 POZ PO2 PO4 PO6 PO8 PO10 O1 OZ O2 O9 CB1 CB2 IZ O10 T3 T5
    T4 T6 M1 M2 A1 A2 CFC1 CFC2 CFC3 CFC4 CFC5 CFC6 CFC7 CFC8 CCP1 CCP2 CCP3 CCP4 CCP5 CCP6 CCP7 CCP8 T1 T2
    FTT9h TTP7h TPP9h FTT10h TPP8h TPP10h
    FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2
    FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2
    """.split()
)
"""The 136 names of the published system. Row i + 1 is that of name i, but the table ends before the last 8."""

N_ROWS = 129
"""Rows of the table: one for the class token, and 128 for channels."""

CLS_ROW = 0
"""Row of the class token."""

UNNAMED = -1
"""Stands for the row of a channel of which nobody knows where it is: it gets an embedding of zeros."""

ALIASES = ("none", "10-20")
ON_UNKNOWN = ("error", "nearest")

_ROWS = {name.upper(): row for row, name in enumerate(CHANNELS[: N_ROWS - 1], start=1)}
# Sites of BioSemi's caps: A1 and C3 are other places there. Of these names, only caps have an A3.
_CAP_SITE = re.compile(r"[A-H]\d+")
_FARTHEST = 0.1  # metres; from no point of a head is the nearest electrode that far away


class UntrainedChannelWarning(SpecMoEWarning):
    """The checkpoint was never trained on these channels: their rows are as random as at the start."""


class ChannelRows(NamedTuple):
    """Rows of the table of positions for the channels of a recording.

    Attributes
    ----------
    rows : Tensor of int64, shape (1 + n_channels,)
        Row 0, that of the class token, and then one row per channel, in the order of the names.
    used : tuple of str
        Whose rows these are: a name of the table for each channel.
    unknown : tuple of str
        Names, as given, that the table lacks. They got the row of the electrode nearest to theirs.
    untrained : tuple of str
        Names, as given, whose rows were never trained, as far as that is known.
    """

    rows: Tensor
    used: tuple[str, ...]
    unknown: tuple[str, ...]
    untrained: tuple[str, ...]


def channel_rows(
    names: Sequence[str],
    *,
    aliases: str = "none",
    on_unknown: str = "error",
    locations: Tensor | np.ndarray | None = None,
    positions: Mapping[str, Sequence[float]] | None = None,
    trained: Tensor | None = None,
) -> ChannelRows:
    """Look up channels in the table of positions.

    Case does not matter, and what recordings add to names is left out: "EEG Fp1-REF", "Fp1-LE" and "Fp1." are FP1.
    Eight bipolar channels, such as FP1-F7, have rows of their own. Sites of BioSemi's caps (A1 to H32, told by an A3)
    are unknown, even if they look like others (C3).

    Parameters
    ----------
    names : sequence of str
        Names of the channels, at least one. Names may occur more than once.
    aliases : {"none", "10-20"}
        With ``"10-20"``, T3 and T7 are the same electrode, and so are T4 and T8, T5 and P7, T6 and P8, alone or as
        parts of a bipolar channel. Both names have the row of the older one (T3), unless `trained` says that only the
        other was trained. With ``"none"``, they are different channels, as published.
    on_unknown : {"error", "nearest"}
        Whether a name that the table lacks is an error, or takes the row of the nearest electrode of the table.
    locations : array, shape (n_channels, 3) | None
        Where the channels are, in metres; NaN where unknown. Needed for ``on_unknown="nearest"``.
    positions : mapping of str to sequence of 3 float | None
        Where electrodes are, in metres and in the same frame, by name. What the table lacks is ignored, so this may be
        a whole montage. Needed for ``on_unknown="nearest"``, where only these electrodes are candidates; if `trained`
        is given, only those of them that were trained (all, if none was).
    trained : Tensor of bool, shape (129,) | None
        Which rows a checkpoint was trained on.

    Returns
    -------
    channels : ChannelRows
        The rows.

    Warns
    -----
    UntrainedChannelWarning
        If a row of a channel was never trained.

    Raises
    ------
    ValueError
        If there are no names, if the table lacks one (or the place that takes to find the nearest), if one is a bipolar
        channel that the table lacks, or if an option, a shape or a type is not as above.
    TypeError
        If `names` is one string.

    Notes
    -----
    The published list has 136 names, but the table only 128 rows for them: FP1-F3, F3-C3, C3-P3, P3-O1, FP2-F4, F4-C4,
    C4-P4 and P4-O2 have none. Source: arXiv:2602.16951.

    Examples
    --------
    >>> channel_rows(["EEG FP1-REF", "C3", "Cz", "T3"]).rows
    tensor([ 0,  1, 40, 42, 89])
    """
    _check_options(names, aliases, on_unknown, locations, positions)
    trained = _checked_trained(trained)
    used = [name and _name_in_table(name, aliases, trained) for name in _electrodes(names)]
    unknown = [i for i, name in enumerate(used) if name is None]
    if unknown:
        _refuse([names[i] for i in unknown], len(names), allowed=on_unknown == "nearest")
        places = _checked_locations(locations, len(names))[unknown]
        nearest = _nearest([names[i] for i in unknown], places, _candidates(positions, trained))
        for i, name in zip(unknown, nearest, strict=True):
            used[i] = _name_in_table(name, aliases, trained)
    rows = [_ROWS[name] for name in used]
    untrained = tuple(name for name, row in zip(names, rows, strict=True) if trained is not None and not trained[row])
    _warn_untrained(untrained, len(names))
    return ChannelRows(
        torch.tensor([CLS_ROW, *rows]),
        tuple(CHANNELS[row - 1] for row in rows),
        tuple(names[i] for i in unknown),
        untrained,
    )


def unnamed_rows(n_channels: int) -> Tensor:
    """Rows for channels without names: that of the class token, then `UNNAMED` for each channel."""
    return torch.tensor([CLS_ROW] + [UNNAMED] * n_channels)


def _electrodes(names: Sequence[str]) -> list[str | None]:
    """Plain names of electrodes; None for sites of a cap with names of its own."""
    plain = [plain_name(name) for name in names]
    is_cap = "A3" in plain
    return [None if is_cap and _CAP_SITE.fullmatch(name) else name for name in plain]


def _name_in_table(plain: str, aliases: str, trained: np.ndarray | None) -> str | None:
    """The name, in capitals, whose row a channel has; None if there is none."""
    spellings = [name for name in _spellings(plain, aliases) if name in _ROWS]
    was_trained = [name for name in spellings if trained is not None and trained[_ROWS[name]]]
    return next(iter(was_trained + spellings), None)


def _spellings(plain: str, aliases: str) -> Iterator[str]:
    """All names of a channel, older ones first; a bipolar channel has two parts."""
    if aliases == "none":
        return iter([plain])
    parts = [OLDER_NAMES.get(part, part) for part in plain.split("-")]
    names = [(part, NEWER_NAMES[part]) if part in NEWER_NAMES else (part,) for part in parts]
    return map("-".join, product(*names))


def _refuse(unknown: Sequence[str], n_channels: int, *, allowed: bool) -> None:
    """Raise about names that the table lacks; if they are allowed, only about differences of two that it has."""
    bipolar = [name for name in unknown if _is_bipolar(plain_name(name))]
    if bipolar:
        raise ValueError(
            f"The table of positions has no row for the bipolar channels {listed(bipolar)}: its rows are for single "
            f"electrodes and for {listed([name for name in _ROWS if '-' in name])}. Use channels with a common "
            "reference, or drop these. Where T7, T8, P7, P8 are named T3, T4, T5, T6, aliases='10-20' finds the row."
        )
    if not allowed:
        raise ValueError(
            f"The table of positions has no row for {len(unknown)} of the {n_channels} channels: "
            f"{', '.join(map(_with_similar, unknown))}. Rename them to names of "
            "mne_specmoe.models.brainrvq.channels.CHANNELS, drop them, or give them the rows of their neighbours with "
            "on_unknown='nearest'."
        )


def _is_bipolar(plain: str) -> bool:
    """Whether a plain name is a pair of electrodes of the table."""
    parts = plain.split("-")
    return len(parts) == 2 and all(part in _ROWS for part in parts)


def _with_similar(name: str) -> str:
    """A name that the table lacks, and the names in the table that are spelt most like it."""
    similar = difflib.get_close_matches(plain_name(name), _ROWS, n=3)
    return f"{name!r} (similar: {listed([CHANNELS[_ROWS[other] - 1] for other in similar])})"


def _candidates(positions: Mapping[str, Sequence[float]], trained: np.ndarray | None) -> dict[str, np.ndarray]:
    """Places (3,) of electrodes of the table by their names in capitals, in the order of the table."""
    places = {name.strip().upper(): np.asarray(place, dtype=float) for name, place in positions.items()}
    known = {name: places[name] for name in _ROWS if name in places}
    wrong = [name for name, place in known.items() if place.shape != (3,)]
    if wrong:
        raise ValueError(f"positions must be three numbers in metres per name; those of {listed(wrong)} are not.")
    known = {name: place for name, place in known.items() if np.isfinite(place).all()}
    if not known:
        raise ValueError("positions has no electrode of the table of positions; pass those of a standard montage.")
    was_trained = {name: place for name, place in known.items() if trained is not None and trained[_ROWS[name]]}
    return was_trained or known


def _nearest(names: Sequence[str], places: np.ndarray, candidates: Mapping[str, np.ndarray]) -> list[str]:
    """The candidates nearest to places (n_names, 3); of several, the first."""
    known = np.array(list(candidates.values()))  # (n_candidates, 3)
    distances = np.linalg.norm(places[:, None] - known, axis=-1)  # (n_names, n_candidates)
    nowhere = [name for name, distance in zip(names, distances.min(1), strict=True) if not distance <= _FARTHEST]
    if nowhere:
        raise ValueError(
            f"The channels {listed(nowhere)} have no row of their own, and no electrode within {_FARTHEST:g} m to take "
            "one from: their locations are unknown, not in metres, or in another frame than positions. Set a montage, "
            "rename the channels, or drop them."
        )
    return [list(candidates)[i] for i in distances.argmin(1)]


def _warn_untrained(untrained: Sequence[str], n_channels: int) -> None:
    """Warn if there are channels that a checkpoint was not trained on."""
    if untrained:
        warn_caller(
            f"The checkpoint was never trained on {len(untrained)} of the {n_channels} channels: {listed(untrained)}. "
            "Their position is random. Drop them, train further, or see aliases and on_unknown.",
            UntrainedChannelWarning,
        )


def _check_options(
    names: Sequence[str], aliases: str, on_unknown: str, locations: object | None, positions: object | None
) -> None:
    """Raise unless there are names, and what the options need."""
    if isinstance(names, str):
        raise TypeError(f"names must be a sequence of names, got the string {names!r}; pass [{names!r}].")
    if len(names) == 0:
        raise ValueError("names must have at least one channel, got none.")
    check_option("aliases", aliases, ALIASES)
    check_option("on_unknown", on_unknown, ON_UNKNOWN)
    if on_unknown == "nearest" and (locations is None or positions is None):
        raise ValueError("on_unknown='nearest' needs the channels' locations and the electrodes' positions; pass both.")


def _checked_locations(locations: Tensor | np.ndarray, n_channels: int) -> np.ndarray:
    """Locations (n_channels, 3) in float64."""
    places = torch.as_tensor(locations).detach().cpu().double().numpy()
    if places.shape != (n_channels, 3):
        raise ValueError(f"locations must be (n_channels, 3) with {n_channels} channels, got {places.shape}.")
    return places


def _checked_trained(trained: Tensor | None) -> np.ndarray | None:
    """Which rows were trained, (129,), or None."""
    if trained is None:
        return None
    flags = torch.as_tensor(trained).cpu()
    if flags.dtype != torch.bool or flags.shape != (N_ROWS,):
        raise ValueError(f"trained must be bool of shape ({N_ROWS},), got {flags.dtype} of shape {tuple(flags.shape)}.")
    return flags.numpy()
