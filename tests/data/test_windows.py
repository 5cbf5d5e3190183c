"""Windows of files: what is refused."""

import pytest

from mne_specmoe.data.windows import read_windows


def test_a_folder_of_recordings_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder; give the recordings in it, such as .*\*\.edf"):
        read_windows(tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.edf"):
        read_windows(tmp_path / "nowhere.edf")
