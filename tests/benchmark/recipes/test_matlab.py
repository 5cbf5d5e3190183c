"""Tests of reading files of MATLAB."""

import sys

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from mne_specmoe.benchmark.recipes import matlab


def test_reads_a_struct_of_a_classic_file(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"epo": {"x": np.arange(3), "fs": 256}})
    struct = matlab.structure(matlab.read_classic(path), "epo", path)
    assert matlab.entry(struct, "x", path).ravel().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"a\.mat has no 'y'.*'fs', 'x'"):
        matlab.entry(struct, "y", path)


def test_tells_version_7_3_from_damage(tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\0\2IM" + bytes(400))
    with pytest.raises(ValueError, match=r"a\.mat.*version 7\.3"):
        matlab.read_classic(path)
    path.write_bytes(b"x" * 300)
    with pytest.raises(ValueError, match=r"a\.mat cannot be read"):
        matlab.read_classic(path)


def test_reads_strings_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        references = [
            file.create_dataset(name, data=np.array([[ord(letter)] for letter in name], np.uint16)).ref
            for name in ("dHC", "MD")
        ]
        file.create_dataset("names", data=np.array(references, h5py.ref_dtype)[None])
    with matlab.open_hdf5(tmp_path / "a.mat") as file:
        assert matlab.texts(file, matlab.entry(file, "names", tmp_path)) == ["dHC", "MD"]


def test_says_how_to_get_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"mne-specmoe\[benchmark\]"):
        matlab.open_hdf5(tmp_path / "a.mat")
