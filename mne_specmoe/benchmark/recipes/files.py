"""The files of a data set: which are missing, and their digests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mne_specmoe._files import file_digest


def absent(names: Sequence[str], folder: Path) -> list[str]:
    """Those of the files `names` that are not in `folder`."""
    return [name for name in names if not (folder / name).is_file()]


def digests_of(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """File below `folder` → SHA-256 of its bytes."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}
