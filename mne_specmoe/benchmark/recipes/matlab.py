"""Files of MATLAB: classic ones, and those of version 7.3, which are HDF5."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat


def read_classic(path: Path) -> dict[str, np.ndarray]:
    """Read a ``.mat`` file up to version 7.2.

    Raises
    ------
    ValueError
        If it cannot be read; the message names the file.
    """
    try:
        return loadmat(path)
    except NotImplementedError as error:
        raise ValueError(
            f"{path} was saved by MATLAB as version 7.3, but the original is classic; get that."
        ) from error
    except Exception as error:  # scipy raises many kinds, none with the file's name
        raise ValueError(f"{path} cannot be read as a .mat file ({error}); download it anew.") from error


def entry(holder, name: str, path: Path):
    """An entry of a file, a struct or an HDF5 group; a ValueError says what the file lacks."""
    names = holder.dtype.names or () if isinstance(holder, np.ndarray | np.void) else holder.keys()
    if name not in names:
        raise ValueError(f"{path} has no {name!r} where the protocol expects it, only {sorted(map(str, names))}.")
    return holder[name]


def structure(content: dict[str, np.ndarray], name: str, path: Path) -> np.void:
    """A struct of a classic file."""
    return entry(content, name, path).ravel()[0]


def open_hdf5(path: Path):
    """Open an HDF5 file for reading, to be closed by the caller.

    Raises
    ------
    ImportError
        If h5py is missing.
    ValueError
        If the file cannot be read; the message names it.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"h5py is needed to read {path}; it comes with the benchmark's packages: pip install "
            "'mne-specmoe[benchmark]'."
        ) from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as HDF5 ({error}); download it anew.") from error


def texts(file, references) -> list[str]:
    """Strings of a cell array of an HDF5 file, which holds references to UTF-16 codes."""
    return ["".join(chr(code) for code in np.ravel(file[each])) for each in np.ravel(references)]
