"""Examples of the gallery run to their end where there is no recording to be had."""

import runpy
import sys
import tempfile
import urllib.request
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
MADE_UP = {  # example → what it must have told
    "plot_01_features": ("MADE-UP EEG", "one made-up person left out", "band power"),
    "plot_02_fine_tuning": ("MADE-UP EEG", "set aside for validation", "fine-tuned"),
    "plot_03_regression": ("MADE-UP EEG", "log alpha power"),
    "plot_04_gate": ("MADE-UP EEG", "true labels", "shuffled"),
    "plot_05_masks": ("MADE-UP EEG", "masked and rebuilt", "alpha"),
    "plot_06_pretraining": ("MADE-UP EEG", "expert 2/2: 24 steps", "licence CC BY 4.0", "(6, 512)"),
    "plot_07_published_checkpoints": ("non-commercial research only", "expert_1_half.safetensors"),
    "plot_08_mouse_sleep": ("MADE-UP MOUSE", "REM", "band power"),
    "plot_09_as_sklearn": ("MADE-UP EEG", "MNE's CSP", "with as_sklearn"),
    "plot_11_benchmark_report": ("made-up people", "35 cells", "All four gates passed"),
}
"""Beside these there are the quickstart, which ``make demo`` runs, and the codes of BrainRVQ, below."""


@pytest.fixture
def nothing_to_be_had(tmp_path, monkeypatch):
    """An empty folder of recordings, and no network."""

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("MNE_DATASETS_EEGBCI_PATH", str(tmp_path))
    monkeypatch.delenv("MNE_SPECMOE_DATA", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.delitem(sys.modules, "sphinx_gallery", raising=False)
    level = mne.set_log_level(return_old_level=True)
    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: None)
    with warnings.catch_warnings():
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


@pytest.mark.usefixtures("nothing_to_be_had")
@pytest.mark.parametrize("name", MADE_UP)
def test_an_example_runs_on_made_up_eeg_says_so_and_leaves_nothing_behind(name, tmp_path, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    told = capsys.readouterr().out
    assert [words for words in MADE_UP[name] if words not in told] == []
    assert plt.get_fignums()
    left = {path.name for path in tmp_path.iterdir()}
    assert not {name for name in left if not name.startswith("torchinductor")}  # torch's own, once per process


def test_every_example_is_run_somewhere():
    elsewhere = {"plot_00_quickstart", "plot_10_brainrvq_codes"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == MADE_UP.keys() | elsewhere
