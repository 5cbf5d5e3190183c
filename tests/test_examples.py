"""Examples of the gallery run to their end where there is no recording to be had."""

import runpy
import sys
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def nothing_to_be_had(tmp_path, monkeypatch):
    """An empty folder of recordings, and no network."""

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNE_DATASETS_EEGBCI_PATH", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.delitem(sys.modules, "sphinx_gallery", raising=False)
    level = mne.set_log_level(return_old_level=True)
    plt.switch_backend("Agg")
    yield
    mne.set_log_level(level)
    plt.close("all")


@pytest.mark.usefixtures("nothing_to_be_had")
def test_codes_of_made_up_eeg_are_drawn(tmp_path, capsys):
    runpy.run_path(str(EXAMPLES / "plot_10_brainrvq_codes.py"))
    told = capsys.readouterr().out
    assert "MADE-UP EEG" in told
    assert "3 levels x 14 channels x 20 s" in told
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "brainrvq_codes.png",
        "brainrvq_levels.png",
        "brainrvq_importance.png",
    }
