"""Putting corpora together."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mne_specmoe._files import replacing, write_text
from mne_specmoe._validation import listed
from mne_specmoe.data.corpus import (
    LABELS_NAME,
    LOCK_NAME,
    Corpus,
    read_index,
    read_settings,
    shard_files,
    write_settings,
)

_SAME = ("sfreq", "n_times")  # what segments of one corpus have in common


def join_corpora(corpora: Sequence[Corpus | str | os.PathLike], path: str | os.PathLike) -> Corpus:
    """Put corpora together, such as one of real and one of synthetic EEG.

    Segments are linked to where the file system can, so that they take no further space, else copied. Segments that are
    in several of the corpora come in once. Settings in which the corpora differ are listed under ``"joined"``.

    Parameters
    ----------
    corpora : sequence of Corpus or path-like
        What to put together; recordings keep their order.
    path : path-like
        Folder of the new corpus; new or empty.

    Returns
    -------
    corpus : Corpus
        The new corpus, opened. :func:`~mne_specmoe.build_corpus` does not go on with it.

    Raises
    ------
    ValueError
        If a corpus is not finished, if segments differ in length or sampling rate, if two recordings of different
        content have one name, or if ``path`` holds anything.

    Examples
    --------
    >>> both = join_corpora(["real", "synthetic"], "both")  # doctest: +SKIP
    """
    folders = [each.path if isinstance(each, Corpus) else Path(each) for each in corpora]
    settings = _common_settings(folders)
    entries = _all_entries(folders)
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is not empty; give a new or empty folder for the corpus.")
    (path / "shards").mkdir(parents=True, exist_ok=True)
    for folder, entry in entries:
        if entry["status"] == "done":
            for old, new in zip(*(shard_files(each, entry["shard"]) for each in (folder, path)), strict=True):
                _link(old, new)
    _link_labels(folders, path)
    lines = "".join(json.dumps(entry, allow_nan=False) + "\n" for _, entry in entries)
    write_text(path / "recordings.jsonl", lines)
    # Last: without it, the folder is no corpus.
    write_settings(path, settings)
    return Corpus(path)


def _common_settings(folders: Sequence[Path]) -> dict:
    """What the corpora agree on, and under "joined" the rest of each."""
    if not folders:
        raise ValueError("corpora must name one corpus at least, got none.")
    if unfinished := [folder for folder in folders if (folder / LOCK_NAME).exists()]:
        raise ValueError(f"{listed(unfinished)} are not finished; go on with their builds first.")
    settings = [read_settings(folder) for folder in folders]
    for name in _SAME:
        if len({each[name] for each in settings}) > 1:
            raise ValueError(
                f"The corpora differ in {name}: {', '.join(f'{each[name]:g}' for each in settings)}; build them with "
                "the same segment_seconds and sfreq."
            )
    shared = {name: value for name, value in settings[0].items() if all(each.get(name) == value for each in settings)}
    rest = [{name: value for name, value in each.items() if name not in shared} for each in settings]
    return shared | {"joined": rest}


def _all_entries(folders: Sequence[Path]) -> list[tuple[Path, dict]]:
    """All lines of the indices, with the folders that their segments are in; what has been seen is marked."""
    found: dict[str, tuple[Path, dict]] = {}
    seen: set[str] = set()
    for folder in folders:
        for entry in read_index(folder)[0]:
            source = entry["source"]
            if source in found:
                _check_same(found[source][1], entry)
                continue
            found[source] = folder, _without(entry, seen)
    return list(found.values())


def _check_same(one: Mapping, other: Mapping) -> None:
    """Raise if two recordings of one name are not the same."""
    if one.get("hash") != other.get("hash"):
        raise ValueError(
            f"Two of the corpora have a recording {one['source']!r}, of different content; build them of recordings "
            "with different names."
        )


def _without(entry: dict, seen: set[str]) -> dict:
    """A line of an index, less the segments that others have; those it has itself are noted."""
    if entry["status"] != "done":
        return entry
    kept = [is_kept and digest not in seen for digest, is_kept in zip(entry["hashes"], entry["kept"], strict=True)]
    seen.update(entry["hashes"])
    if any(kept):
        return entry | {"kept": kept}
    reason = {"status": "duplicate", "reason": "All of it is in another of the corpora that were joined."}
    return {name: entry[name] for name in ("source", "signature", "subject", "dropped")} | reason


def _link_labels(folders: Sequence[Path], path: Path) -> None:
    """Take what is known of made-up people along."""
    for folder in folders:
        for file in sorted((folder / LABELS_NAME).glob("*.json")):
            (path / LABELS_NAME).mkdir(exist_ok=True)
            _link(file, path / LABELS_NAME / file.name)


def _link(old: Path, new: Path) -> None:
    """A second name for a file, or a copy of it."""
    if new.exists():
        return
    try:
        os.link(old, new)
    except OSError:
        with replacing(new) as temporary:
            shutil.copyfile(old, temporary)
