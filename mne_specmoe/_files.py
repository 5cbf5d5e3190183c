"""Files: written whole or not at all, and their digests."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a temporary file beside the target, flush it to disk, rename it.

    Whoever reads the target sees the old content or the new, also after a crash of the machine. If the block raises,
    the temporary file is removed and the target stays as it was.

    Parameters
    ----------
    path : path-like
        The target.

    Yields
    ------
    temporary : Path
        What to write to. Its name begins with a dot.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp ignores the mask
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # Windows cannot open folders
        _flush(path.parent, os.O_RDONLY)


def write_text(path: str | os.PathLike, text: str, *, newline: str | None = None) -> None:
    """Write a text in UTF-8, whole or not at all; `newline` as in `open`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline=newline)


def check_folder_of(path: Path) -> None:
    """Raise a FileNotFoundError unless there is a folder that a file can be written into."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path, flags: int) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
