"""The files of a data set: which are missing, which are cut short, and their digests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import mne

from mne_specmoe.benchmark.recipes.cutting import file_digest, open_edf

_FIXED_HEADER = 256  # bytes, then as many for each signal
_SAMPLES_PER_RECORD = 216  # bytes per signal that come before this entry


def absent(names: Sequence[str], folder: Path) -> list[str]:
    """Those of the files `names` that are not in `folder`."""
    return [name for name in names if not (folder / name).is_file()]


def digests_of(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """File below `folder` → SHA-256 of its bytes."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def open_whole_edf(path: Path, sfreq: float | None = None) -> mne.io.BaseRaw:
    """Open an EDF file, without its samples; raises what `open_edf` and `check_whole` do."""
    check_whole(path)
    return open_edf(path, sfreq)


def check_whole(path: Path) -> None:
    """Raise a ValueError if an EDF file is shorter than its header says, of which MNE only warns."""
    try:
        expected = _size_by_header(path)
    except ValueError as error:  # of numbers that are none
        raise ValueError(f"{path} cannot be read as EDF: it has no such header; download it anew.") from error
    if (size := path.stat().st_size) < expected:
        raise ValueError(
            f"{path} is cut short: {size} bytes instead of the {expected} of its header; download it anew."
        )


def _size_by_header(path: Path) -> int:
    """Bytes that the header of an EDF file promises; none for the samples where it leaves their number open."""
    with path.open("rb") as file:
        fixed = file.read(_FIXED_HEADER)
        n_records, n_signals = int(fixed[236:244]), int(fixed[252:256])
        file.seek(_FIXED_HEADER + n_signals * _SAMPLES_PER_RECORD)
        per_record = sum(int(file.read(8)) for _ in range(n_signals))
    return _FIXED_HEADER * (1 + n_signals) + 2 * max(n_records, 0) * per_record
