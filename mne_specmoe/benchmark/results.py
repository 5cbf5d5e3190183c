"""The results file of a benchmark: a header, then one line of JSON per cell, which a kill leaves readable."""

import json
import lzma
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mne_specmoe.benchmark.records import Key, Record, cell_of, check_record, json_hash

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

FORMAT = "mne-specmoe benchmark results"
FORMAT_VERSION = 1

_BEGINNING = f'{{"format": "{FORMAT}", '.encode()
_FAR_OFF = 2**62  # the byte that Windows locks: no file is so long


class ResultsFile:
    """A file of records that several processes may write to, and that is whole after a kill at any moment.

    A line is locked, written at once and forced to disk. A kill can leave the last line torn; it is cut off before
    the next line is written. Reading needs no more than the path.

    Parameters
    ----------
    path : path-like
        The file, ``.jsonl``; to read only, also compressed, ``.jsonl.xz``.

    Attributes
    ----------
    path : Path
        The file.
    notes : list of str
        What its user should hear of: lines that were cut off, another version of the package.

    Examples
    --------
    >>> results = ResultsFile("results.jsonl")
    >>> results.open({"seeds": [0, 1]}, {"rest_or_task": "3fa8"})  # doctest: +SKIP
    >>> results.append(record)  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._header: dict[str, object] | None = None
        self._records: dict[Key, Record] = {}
        self._n_lines, self._n_bytes = 0, 0  # that were read already

    def open(self, plan: Mapping[str, object], split_hashes: Mapping[str, str]) -> None:
        """Begin the file, or go on with it if it is of the same plan and splits.

        Parameters
        ----------
        plan : mapping
            All that the results depend on, as JSON can hold it.
        split_hashes : mapping of str to str
            Task → hash of its split into folds.

        Raises
        ------
        ValueError
            If the file is another program's, if a line is damaged (which), or if the plan or a split is another
            (each difference).
        """
        if self.path.suffix == ".xz":
            raise ValueError(f"{self.path} is compressed, and so can only be read; decompress it to go on with it.")
        header = _new_header(plan, split_hashes)
        with _locked(self.path, create=True) as file:
            content = _content(file)
            is_new = b"\n" not in content and _BEGINNING[: len(content)] == content[: len(_BEGINNING)]
            if is_new:  # empty, or a torn header: nothing can be lost
                content = _line(header)
                _replace_tail(file, 0, content)
                _flush_folder(self.path.parent)
            first = content.split(b"\n")[0]
            before = _parsed_header(self.path, first)
            _check_same_plan(self.path, before, header)
            self._header, self._records, self._n_lines, self._n_bytes = before, {}, 1, len(first) + 1
            self._catch_up(file)
        if before["package_version"] != header["package_version"]:
            self.notes.append(
                f"{self.path} was begun by version {before['package_version']}, this is {header['package_version']}."
            )

    def append(self, record: Mapping[str, object]) -> None:
        """Write one record.

        Parameters
        ----------
        record : mapping
            As `done_record` or `failed_record` makes it.

        Raises
        ------
        ValueError, TypeError
            If the file is not open, if the record lacks something or is not of the file's splits, or if its cell is
            done already. Nothing is written then.
        """
        if self._header is None:
            raise ValueError(f"{self.path} must be opened by `open` before records can be written.")
        check_record(record, self._header["split_hashes"])
        line = _line(record)
        with _locked(self.path) as file:
            self._catch_up(file)
            _check_not_done(record, self._records)
            _replace_tail(file, self._n_bytes, line)

    def header(self) -> dict[str, object]:
        """Read what was planned: ``plan``, ``plan_hash``, ``split_hashes``, ``package_version``, ``format_version``."""
        return _parsed(self.path, _uncompressed(self.path))[0]

    def records(self) -> list[Record]:
        """Read the records, in the order of writing; of a cell that failed more than once, the last one.

        Returns
        -------
        records : list of dict
            One per cell.

        Raises
        ------
        ValueError
            If the file is another program's, or if a line is damaged (which).
        """
        return list(_parsed(self.path, _uncompressed(self.path))[1].values())

    def finished(self, *, retry_failed: bool = False) -> set[Key]:
        """Return the keys of the cells that need not run again.

        Parameters
        ----------
        retry_failed : bool
            Whether cells that failed are to run again.

        Returns
        -------
        keys : set of tuple
            Of `Cell.key`.
        """
        return {cell_of(r).key for r in self.records() if not retry_failed or r["status"] == "done"}

    def _catch_up(self, file: int) -> None:
        """Read the lines that were written since, also by other processes, and cut a torn one off."""
        if os.fstat(file).st_size < self._n_bytes:
            raise ValueError(f"{self.path} is shorter than it was; look after its content, then open it again.")
        *lines, torn = _content(file, self._n_bytes).split(b"\n")
        _add_records(self._records, self.path, lines, self._header, after=self._n_lines)
        self._n_lines += len(lines)
        self._n_bytes += sum(len(line) + 1 for line in lines)
        if torn:
            _replace_tail(file, self._n_bytes, b"")
            self.notes.append(
                f"The last line of {self.path} was not written to its end ({len(torn)} bytes) and was cut off; its "
                "cell runs again."
            )


def _check_not_done(record: Mapping[str, object], records: Mapping[Key, Mapping[str, object]]) -> None:
    """Raise if there are scores of the cell, which must not be replaced by others."""
    cell = cell_of(record)
    if records.get(cell.key, {}).get("status") == "done":
        raise ValueError(f"The cell {cell} is done already; its first scores count. Ask `finished` before it runs.")


def _new_header(plan: Mapping[str, object], split_hashes: Mapping[str, str]) -> dict[str, object]:
    """What the first line says; `format` comes first, so that even a torn one can be recognised."""
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": _package_version(),
        "plan": dict(plan),
        "split_hashes": dict(split_hashes),
    }
    try:
        header = json.loads(json.dumps(header, allow_nan=False))  # tuples become lists, as they come back
    except (TypeError, ValueError) as error:
        raise type(error)(f"plan and split_hashes must be what JSON can hold: {error}.") from error
    return {**header, "plan_hash": json_hash(header["plan"])}


def _package_version() -> str:
    """The version of this package."""
    from mne_specmoe import __version__

    return __version__


def _parsed(path: Path, content: bytes) -> tuple[dict[str, object], dict[Key, Record]]:
    """Header and records, the last of each cell, of all whole lines."""
    first, *lines = content.split(b"\n")[:-1] or [b""]  # what follows the last line break is torn
    header, records = _parsed_header(path, first), {}
    _add_records(records, path, lines, header, after=1)
    return header, records


def _add_records(
    records: dict[Key, Record], path: Path, lines: Iterable[bytes], header: Mapping[str, object], *, after: int
) -> None:
    """Add those of lines that follow so many others."""
    for number, line in enumerate(lines, start=after + 1):
        try:
            record = json.loads(line)
            check_record(record, header["split_hashes"])
            _check_not_done(record, records)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"Line {number} of {path} is damaged: {error} Repair it, or remove it and run its cell again."
            ) from error
        key = cell_of(record).key
        records.pop(key, None)  # so that the order is that of writing
        records[key] = record


def _parsed_header(path: Path, line: bytes) -> dict[str, object]:
    """The first line, checked."""
    try:
        header = json.loads(line)
        ours = header["format"] == FORMAT
    except (ValueError, TypeError, KeyError):
        ours = False
    if not ours:
        raise ValueError(f"Line 1 of {path} is no header of {FORMAT}; choose another file, this one stays as it is.")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {header.get('format_version')!r}, this package reads {FORMAT_VERSION}; use "
            "the package that wrote it, or begin another file."
        )
    whole = isinstance(header.get("split_hashes"), dict) and "package_version" in header
    if not whole or header.get("plan_hash") != json_hash(header.get("plan")):
        raise ValueError(f"Line 1 of {path} is damaged: its plan does not have the hash that it states.")
    return header


def _check_same_plan(path: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise, with each difference, unless two headers ask for the same."""
    differences = [part for name in ("plan", "split_hashes") for part in _differences(before[name], now[name], name)]
    if differences:
        raise ValueError(
            f"{path} has results of something else: {'; '.join(differences)}. Go on with its own plan, or begin "
            "another file."
        )


def _differences(before: object, now: object, name: str) -> Iterator[str]:
    """What differs, one phrase each."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield f"{name} was {before!r}, now {now!r}"
        return
    for key in sorted({*before, *now}):
        if key not in before:
            yield f"{name}.{key} is new"
        elif key not in now:
            yield f"{name}.{key} is missing now"
        else:
            yield from _differences(before[key], now[key], f"{name}.{key}")


def _line(record: Mapping[str, object]) -> bytes:
    """A record as it stands in the file: ASCII, so that no text in it can end the line."""
    try:
        return json.dumps(record, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        raise type(error)(f"The record must be what JSON can hold: {error}.") from error


@contextmanager
def _locked(path: Path, *, create: bool = False) -> Iterator[int]:
    """Open a file for this process alone; the lock goes with the process, also where that is killed."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            os.lseek(file, _FAR_OFF, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_LOCK, 1)
        yield file
    finally:
        os.close(file)  # and unlock


def _uncompressed(path: Path) -> bytes:
    """All bytes of a results file, which may be compressed by xz."""
    if path.suffix != ".xz":
        return path.read_bytes()
    try:
        return lzma.decompress(path.read_bytes())
    except lzma.LZMAError as error:
        raise ValueError(f"{path} cannot be decompressed ({error}).") from error


def _content(file: int, start: int = 0) -> bytes:
    """All bytes of an open file from `start` on."""
    with os.fdopen(os.dup(file), "rb") as reader:
        reader.seek(start)
        return reader.read()


def _replace_tail(file: int, start: int, tail: bytes) -> None:
    """Put bytes in the place of all that begins at `start`, and force them to disk; all of them or none."""
    try:
        os.ftruncate(file, start)
        os.lseek(file, start, os.SEEK_SET)
        rest = tail
        while rest:  # a full disk can take a part
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except BaseException:
        os.ftruncate(file, start)
        raise


def _flush_folder(folder: Path) -> None:
    """Force the name of a new file to disk."""
    if os.name != "posix":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
