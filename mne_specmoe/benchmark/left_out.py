"""Weights that saw nothing of a data set, for each data set that estimators are measured on."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mne_specmoe._validation import listed
from mne_specmoe.assembly import describe
from mne_specmoe.benchmark.entries import Entry, Selected, Setting
from mne_specmoe.benchmark.leakage import digests_of, held_by, parts_of
from mne_specmoe.benchmark.ours import entries_of
from mne_specmoe.benchmark.records import json_hash
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.checkpoint import BUNDLED

_FIELDS = {"weights", "holds", "title"}


@dataclass(frozen=True)
class LeftOut:
    """Which weights are used on which data set, checked.

    Attributes
    ----------
    title : str
        For tables.
    weights : mapping of str to str
        Data set → file of weights that saw nothing of it.
    saw : mapping of str to tuple of str
        Data set → what those weights saw instead.
    """

    title: str
    weights: Mapping[str, str] = field(repr=False)
    saw: Mapping[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True)
class ByDataset:
    """What a left-out entry is made of; on a task, the entry that stands in for it runs.

    Attributes
    ----------
    fits : tuple of (str, callable)
        Data set, and what runs there.
    """

    fits: tuple[tuple[str, object], ...]

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        """Raise, since the data set is not known here."""
        raise TypeError("Which weights to use depends on the data set: ask for the entry with Entry.on first.")


def read_left_out(path: str | os.PathLike, datasets: Collection[str]) -> LeftOut:
    """Read which weights saw nothing of which data set, and check it against what the weights say of themselves.

    The file is JSON with up to three keys. ``"weights"``: data set → file of weights, absolute or beside this file,
    or the name of weights that come with the package.
    ``"holds"``: digest of a corpus (or of a tokenizer's weights), as ``mne-specmoe info`` shows it → names of the data
    sets in it; may be missing where the benchmark knows all of them. ``"title"``: for tables.

    Parameters
    ----------
    path : path-like
        The file.
    datasets : collection of str
        All data sets that there are tasks of.

    Returns
    -------
    left_out : LeftOut

    Raises
    ------
    ValueError
        If the file is not as described, if a data set is unknown, if weights saw what they are to leave out, if nothing
        says what a corpus of theirs holds, or if the file and the benchmark say different things of a corpus.
    OSError
        If this file or one of weights cannot be read.

    Examples
    --------
    >>> read_left_out("left_out.json", {"eegmat", "ssvep_exo"})  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    content = _content(path)
    if unknown := sorted(set(content["weights"]) - set(datasets)):
        raise ValueError(f"{path}: there is no data set {listed(unknown)}; there are {listed(sorted(datasets))}.")
    holds = {digest: frozenset(names) for digest, names in content.get("holds", {}).items()}
    for digest, names in holds.items():
        if (known := held_by(digest)) is not None and known != names:
            raise ValueError(
                f"{path} says that {digest} holds {listed(sorted(names))}, but it holds {listed(sorted(known))}."
            )
    files = {dataset: _file(path.parent, name) for dataset, name in content["weights"].items()}
    saw = {dataset: _checked(file, dataset, holds, path) for dataset, file in files.items()}
    return LeftOut(content.get("title", path.stem), files, saw)


def left_out_entries(left_out: LeftOut, name: str) -> list[Entry]:
    """Make the entries of weights that leave data sets out: those of any weights, with a stand-in for each data set.

    Parameters
    ----------
    left_out : LeftOut
        Which weights run where.
    name : str
        For the names of the entries.

    Returns
    -------
    entries : list of Entry
        As `entries_of` makes them, controls included.

    Raises
    ------
    ValueError
        If the weights are not all of one model.
    """
    of = {dataset: entries_of(file, name, left_out.title) for dataset, file in left_out.weights.items()}
    names = {dataset: [entry.name for entry in entries] for dataset, entries in of.items()}
    first = next(iter(of))
    if other := [dataset for dataset in of if names[dataset] != names[first]]:
        raise ValueError(
            f"The weights of {name} must be of one model, but those for {listed(other)} are of another than those for "
            f"{first!r}; give each model a file and a name of its own."
        )
    return [_joined({dataset: entries[place] for dataset, entries in of.items()}) for place in range(len(of[first]))]


def _joined(stand_ins: Mapping[str, Entry]) -> Entry:
    """The entry that others stand in for."""
    first = next(iter(stand_ins.values()))
    hashes = {dataset: entry.weights_hash for dataset, entry in stand_ins.items()}
    weights_hash = None if first.weights_hash is None else json_hash(hashes)
    fit = ByDataset(tuple((dataset, entry.fit) for dataset, entry in stand_ins.items()))
    return replace(first, fit=fit, training=None, weights_hash=weights_hash, stand_ins=dict(stand_ins))


def _content(path: Path) -> dict:
    """What the file says, if it is of the right form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    form = '{"weights": {"DATA SET": "FILE", ...}, "holds": {"DIGEST": ["DATA SET", ...], ...}, "title": "..."}'
    if not isinstance(content, dict) or set(content) - _FIELDS or not _is_texts(content.get("weights")):
        raise ValueError(f"{path} must be {form}, with at least one data set.")
    holds = content.get("holds", {})
    lists = isinstance(holds, dict) and all(isinstance(names, list) for names in holds.values())
    if not lists or not all(isinstance(name, str) for names in holds.values() for name in names):
        raise ValueError(f'"holds" of {path} must be {{"DIGEST": ["DATA SET", ...], ...}}.')
    return content


def _file(folder: Path, name: str) -> str:
    """A file of weights, or the name of weights that come with the package."""
    return name if name in BUNDLED else str(folder / Path(name).expanduser())


def _is_texts(value: object) -> bool:
    """Whether it is a mapping of texts that is not empty."""
    return isinstance(value, dict) and bool(value) and all(isinstance(each, str) for each in value.values())


def _checked(file: str, dataset: str, holds: Mapping[str, Collection[str]], path: Path) -> tuple[str, ...]:
    """The data sets that weights saw, among which the one that is left out must not be."""
    training = describe(file).get("training", {})
    seen: set[str] = set()
    for digest in digests_of(training) or [None]:
        found = holds.get(digest, held_by(digest)) if digest else None
        if found is None:
            what = f"the corpus or tokenizer {digest} holds" if digest else "they were trained on"
            raise ValueError(
                f"{file} cannot stand for {dataset!r}: nothing says what {what}. Name its data sets under "
                f'"holds" in {path}, or use weights whose header states their corpus.'
            )
        seen |= set(found)
    validated = {
        str(who) for part in parts_of(training) for who in (part.get("data") or {}).get("validation_subjects", ())
    }
    if dataset in seen or any(who.startswith(f"{dataset}-") for who in validated):
        raise ValueError(
            f"{file} saw {dataset!r}, which it is to leave out; it saw {listed(sorted(seen))}. Give weights that were "
            "pretrained without it."
        )
    return tuple(sorted(seen))
