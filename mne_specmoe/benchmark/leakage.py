"""Guards against test data in training: of a split, and of a pretrained checkpoint."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.splits import FoldIndices, Split
from mne_specmoe.benchmark.task_data import TaskData

UNKNOWN = "unknown"
"""What `overlap` returns for a checkpoint of which it is not known what it saw."""

_BATCH = 256  # windows at a time
_N_PROJECTIONS = 16
_CLOSE = 0.1  # between projections of windows that are worth comparing
_SAME = 1e-4  # 1 - correlation, below which two signals are one: noise of 1.4 %, as of another rounding

_STARTER_SAW = {
    "eegmat": frozenset(f"Subject{number:02d}" for number in range(24)),
    "guinea_bissau": frozenset(
        f"sub-{number:03d}" for number in (*range(1, 34), 35, 43, 49, 57, 58, 59, 62, 63, 68, 69, 71)
    ),
    "ssvep_exo": frozenset(f"S{number:02d}" for number in range(1, 7)),
}  # those too that only validated, or whose segments were all rejected
_MUSE_SEEN = (
    "0001 0002 0003 0004 0005 0010 0011 0102 0103 0104 0105 0106 0108 0109 0111 0112 0202 0203 0204 0205 0207 0209 "
    "0210 0211 0301 0302 0303 0304 0305 0306 0307 0308 0309 1101 1102 1103 1105 1106 1107 1108 1109 1110 1201 1203 "
    "1205 1206 1209 1210 1211 1215 1302 1308 1313"
)
_WITH_MUSE_SAW = _STARTER_SAW | {"muse": frozenset(f"NTX{number}" for number in _MUSE_SEEN.split())}


def _without(dataset: str) -> dict[str, frozenset[str]]:
    """What weights saw that left a data set out."""
    return {name: subjects for name, subjects in _WITH_MUSE_SAW.items() if name != dataset}


_SEEN_BY_CORPUS = {
    "fe49a211c1ba86ddac4a21e7189143f9": _STARTER_SAW,
    # Of the ablation of layouts in docs/benchmark.
    "f5b4541922dd7897e63376b3538aabe4": {"eegmat": _STARTER_SAW["eegmat"]},
    "51820f77b6a88547b56d9068af59a1d9": _WITH_MUSE_SAW,
    "c0c674be93b5c36e8fa769b3a9294f5e": _without("eegmat"),
    "17f2994485927b7fd16b5ff1ca328365": _without("guinea_bissau"),
    "07c933c43af5d2d626ab59b2ae27e121": _without("muse"),
    "bf32982508a7f5baad680174b88f0022": _without("ssvep_exo"),
}
_SEEN_BY_TOKENIZER = {"f1f1467d9dd90065707c7630e65c6f5caeada25b108a81ddcca6294d61e4ce51": _STARTER_SAW}


class TaskLike(Protocol):
    """What `overlap` needs to know of a task."""

    dataset: str
    subjects: tuple[str, ...]


def check_split(data: TaskData, split: Split) -> None:
    """Raise if anything of one part of a fold can be known from another.

    Parameters
    ----------
    data : TaskData
        The windows.
    split : Split
        Their folds.

    Raises
    ------
    ValueError
        If a label is not among the classes, a part is empty, a window or what the split keeps whole (subject, session;
        of runs those that are tested) is in two parts, a class is missing from training, windows of different parts
        overlap or are closer than the split's gap, or if a window occurs in two parts, exactly or with another gain,
        sign or offset of its channels. The message names the culprits. Repeated windows that were also shifted in time
        or filtered are not found.
    """
    check_labels(data, split)
    twins = _twins(data.X)
    for fold in split.folds:
        _check_whole(data, split, fold)
        part_of = _part_of(data, fold)
        _check_time(data, split, fold.name, part_of)
        _check_twins(data, twins, fold.name, part_of)


def check_labels(data: TaskData, split: Split) -> None:
    """Raise for what makes a split unusable even where leaks are known: see `check_split`.

    Parameters
    ----------
    data : TaskData
        The windows.
    split : Split
        Their folds.

    Raises
    ------
    ValueError
        If a label is not among the classes (for a regression: not finite), a part is empty, a window is in two parts,
        or a class is missing from training.
    """
    _check_labels(data)
    for fold in split.folds:
        _check_places(data, fold)
        _check_classes(data, fold)


def overlap(task: TaskLike, header_training: Mapping | None) -> tuple[str, ...]:
    """Name the subjects of a task that a checkpoint was pretrained on.

    Parameters
    ----------
    task : Task
        What is to be measured.
    header_training : mapping or None
        The entry ``"training"`` of the checkpoint's header, as `mne_specmoe.assembly.describe` returns it.

    Returns
    -------
    subjects : tuple of str
        In alphabetical order. ``("unknown",)`` if the header does not name a corpus that is in the registry, for any of
        its experts or for its tokenizer: then an overlap is not excluded.
    """
    registries = list(_registries(header_training or {}))
    if not registries or None in registries:
        return (UNKNOWN,)
    seen = set().union(*(registry.get(task.dataset, frozenset()) for registry in registries))
    return tuple(sorted(seen & set(task.subjects)))


def held_by(digest: str | None) -> frozenset[str] | None:
    """Name the data sets of a corpus, or of what a tokenizer was trained on, that is in the registry.

    Parameters
    ----------
    digest : str | None
        Of the corpus, or of the tokenizer's weights.

    Returns
    -------
    datasets : frozenset of str | None
        None if the registry does not know it.
    """
    found = (_SEEN_BY_CORPUS | _SEEN_BY_TOKENIZER).get(digest)
    return None if found is None else frozenset(found)


def parts_of(training: Mapping) -> list[Mapping]:
    """What a checkpoint's header says of the training of each of its parts."""
    return list(training.get("experts", [training]))


def digests_of(training: Mapping) -> list[str | None]:
    """Digests of all corpora, and of all tokenizers, that a checkpoint's parts were trained with.

    Parameters
    ----------
    training : mapping
        As in `overlap`.

    Returns
    -------
    digests : list of str or None
        None for each that the header does not state.
    """
    found = []
    for part in parts_of(training):
        found.append((part.get("data") or {}).get("corpus"))
        if "tokenizer" in part:
            found.append((part["tokenizer"] or {}).get("sha256"))
    return list(dict.fromkeys(found))


def _registries(training: Mapping) -> Iterable[Mapping[str, frozenset[str]] | None]:
    """What each of a checkpoint's parts saw; None where it is not known."""
    for part in parts_of(training):
        yield _SEEN_BY_CORPUS.get((part.get("data") or {}).get("corpus"))
        if "tokenizer" in part:
            yield _SEEN_BY_TOKENIZER.get((part["tokenizer"] or {}).get("sha256"))


def _check_labels(data: TaskData) -> None:
    """Raise for labels that are no places in the classes, or no numbers where there are none."""
    if not data.classes:
        if not np.isfinite(data.y).all():
            raise ValueError(f"The target of {data.where(np.flatnonzero(~np.isfinite(data.y))[0])} is not finite.")
        return
    wrong = np.flatnonzero((data.y < 0) | (data.y >= len(data.classes)))
    if len(wrong):
        labels = sorted(set(data.y[wrong].tolist()))
        raise ValueError(
            f"Labels {labels} are not among the task's {len(data.classes)} classes {listed(data.classes)}; the first "
            f"is of {data.where(wrong[0])}."
        )


def _check_places(data: TaskData, fold: FoldIndices) -> None:
    """Raise for empty parts, and for windows that are in two or do not exist."""
    for part, places in fold.parts():
        if not len(places):
            raise ValueError(f"The {part} part of {fold.name!r} is empty.")
        if places.min() < 0 or places.max() >= len(data):
            raise ValueError(f"The {part} part of {fold.name!r} has places outside of the {len(data)} windows.")
    places, times = np.unique(np.concatenate([places for _, places in fold.parts()]), return_counts=True)
    if (times > 1).any():
        raise ValueError(f"{fold.name!r} uses windows more than once: {_named(data, places[times > 1])}.")


def _check_classes(data: TaskData, fold: FoldIndices) -> None:
    """Raise for classes that training lacks."""
    present = set(data.y[fold.training].tolist())
    missing = [name for label, name in enumerate(data.classes) if label not in present]
    if missing:
        raise ValueError(f"The training part of {fold.name!r} has no window of {listed(missing)}.")


def _check_whole(data: TaskData, split: Split, fold: FoldIndices) -> None:
    """Raise for subjects, sessions and recordings in two parts, as far as the split keeps them whole."""
    kept = {
        "subject": {"subjects": data.subjects, "recordings": data.recordings},
        "session": {
            "sessions": np.char.add(np.char.add(data.subjects, " "), data.sessions),
            "recordings": data.recordings,
        },
        "block": {},
        "run": {"runs": data.recordings},
    }
    parts = list(fold.parts())
    if split.by == "run":
        parts = [("training or validation", np.concatenate([fold.training, fold.validation])), ("test", fold.test)]
    for what, names in kept[split.by].items():
        parts_of = defaultdict(list)
        for part, places in parts:
            for name in sorted(set(names[places].tolist())):
                parts_of[name].append(part)
        shared = [f"{name} ({' and '.join(parts)})" for name, parts in parts_of.items() if len(parts) > 1]
        if shared:
            raise ValueError(f"{fold.name!r} has {what} in two parts: {listed(shared)}.")


def _part_of(data: TaskData, fold: FoldIndices) -> np.ndarray:
    """The part of every window as a number, -1 for those not used."""
    part_of = np.full(len(data), -1)
    for number, (_, places) in enumerate(fold.parts()):
        part_of[places] = number
    return part_of


def _check_time(data: TaskData, split: Split, fold: str, part_of: np.ndarray) -> None:
    """Raise for windows of one recording in different parts that overlap, or are closer than the gap."""
    nearest = data.n_times + round(split.gap_seconds * data.sfreq)
    used = np.flatnonzero(part_of >= 0)
    order = used[np.lexsort((data.starts[used], data.recordings[used]))]
    # Windows are equally long: if any two of different parts are too near, two neighbours are.
    first, second = order[:-1], order[1:]
    near = (data.recordings[first] == data.recordings[second]) & (data.starts[second] - data.starts[first] < nearest)
    wrong = near & (part_of[first] != part_of[second])
    if wrong.any():
        pairs = _pairs(data, first[wrong], second[wrong])
        gap = f" or are closer than {split.gap_seconds:g} s" if split.gap_seconds else ""
        raise ValueError(f"Windows in different parts of {fold!r} overlap{gap}: {pairs}.")


def _check_twins(data: TaskData, twins: np.ndarray, fold: str, part_of: np.ndarray) -> None:
    """Raise for windows that are the same in different parts."""
    first, second = twins.T
    wrong = (part_of[first] >= 0) & (part_of[second] >= 0) & (part_of[first] != part_of[second])
    if wrong.any():
        pairs = _pairs(data, first[wrong], second[wrong])
        raise ValueError(f"The same window is in different parts of {fold!r}, maybe with another gain: {pairs}.")


def _named(data: TaskData, places: Iterable[int]) -> str:
    """Windows for a message."""
    return listed([data.where(place) for place in places], at_most=5)


def _pairs(data: TaskData, first: np.ndarray, second: np.ndarray) -> str:
    """Pairs of windows for a message."""
    return listed([f"{data.where(i)} / {data.where(j)}" for i, j in zip(first, second, strict=True)], at_most=5)


def _twins(X: np.ndarray) -> np.ndarray:
    """Pairs of windows whose channels agree but for gain, sign and offset, [n_pairs, 2].

    Hashes of rounded values would miss twins that fall on either side of a rounding step. So windows are projected on
    a few random directions, regardless of gain and sign, and those that come close are compared in full.
    """
    signatures = _signatures(X)
    some = np.flatnonzero(signatures.any(1))  # flat windows tell nothing, and are all alike
    close = cKDTree(signatures[some]).query_pairs(_CLOSE, output_type="ndarray")
    pairs = np.sort(some[close].reshape(-1, 2), 1)
    same = [_is_twin(X[i], X[j]) for i, j in pairs]
    return pairs[np.array(same, dtype=bool)]


def _signatures(X: np.ndarray) -> np.ndarray:
    """Mean size, over channels, of the projections of every window, [n_windows, n_projections]."""
    directions = np.random.default_rng(0).standard_normal((X.shape[2], _N_PROJECTIONS))
    batches = (X[start : start + _BATCH] for start in range(0, len(X), _BATCH))
    return np.concatenate([np.abs(_normalised(batch) @ directions).mean(1) for batch in batches])


def _normalised(x: np.ndarray) -> np.ndarray:
    """Channels without mean and of norm 1; constant ones are 0."""
    x = x.astype(float)
    size = np.abs(x).max(-1, keepdims=True)
    x = x - x.mean(-1, keepdims=True)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    varies = norm > 1e-5 * size * np.sqrt(x.shape[-1])  # else it is what rounding leaves of a constant
    return np.where(varies, x / np.where(varies, norm, 1), 0)


def _is_twin(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether all channels that vary agree but for gain, sign and offset."""
    first, second = _normalised(first), _normalised(second)
    alike = np.abs((first * second).sum(-1)) > 1 - _SAME
    both_flat = ~first.any(-1) & ~second.any(-1)
    return bool((alike | both_flat).all())
