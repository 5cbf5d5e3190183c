"""Importing is cheap, and networks come without MNE, skorch and scikit-learn."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mne_specmoe

ROOT = Path(mne_specmoe.__file__).parent
HEAVY = ("mne", "skorch", "sklearn")
NETWORK_ROOMS = (
    *("signal", "nn", "models", "loaders", "checkpoint.py", "training.py", "pretraining", "assembly.py"),
    *("data/corpus.py", "data/batches.py"),
)


def run(code: str, *args: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def seconds(code: str) -> float:
    """Measure a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    run(code)
    return time.perf_counter() - start


def network_modules() -> list[str]:
    """Return the modules that must run on a machine with neither mne nor skorch."""
    paths = [
        path
        for room in NETWORK_ROOMS
        for path in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
        if path.is_file() and path.name != "__init__.py"
    ]
    names = [path.relative_to(ROOT.parent).with_suffix("").parts for path in paths]
    return sorted(".".join(parts) for parts in names)


def test_importing_the_package_takes_less_than_300_ms():
    # In turns, so that a busy machine slows both alike.
    pairs = [(seconds("pass"), seconds("import mne_specmoe")) for _ in range(5)]
    nothing, package = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert package - nothing < 0.3


def test_importing_the_package_loads_no_heavy_package():
    code = "import sys, json, mne_specmoe; print(json.dumps(list(sys.modules)))"
    loaded = set(json.loads(run(code)))
    assert "mne_specmoe" in loaded
    assert not loaded & {*HEAVY, "torch", "numpy", "scipy", "matplotlib"}


def test_importing_every_network_module_leaves_mne_and_skorch_out():
    code = (
        "import importlib, json, sys\n"
        "heavy, *modules = map(json.loads, sys.argv[1:])\n"
        "brought = {}\n"
        "for module in modules[0]:\n"
        "    importlib.import_module(module)\n"
        "    new = [name for name in heavy if name in sys.modules and name not in brought]\n"
        "    brought.update(dict.fromkeys(new, module))\n"
        "print(json.dumps(brought))\n"
    )
    modules = network_modules()
    assert modules
    assert json.loads(run(code, json.dumps(HEAVY), json.dumps(modules))) == {}


@pytest.mark.parametrize("name", mne_specmoe.__all__)
def test_public_name_can_be_loaded(name):
    assert getattr(mne_specmoe, name).__name__ == name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="SpecMoo"):
        mne_specmoe.SpecMoo  # noqa: B018


def test_dir_lists_the_public_names():
    assert set(dir(mne_specmoe)) >= set(mne_specmoe.__all__)


def test_without_accelerate_all_names_can_be_imported_and_pretraining_says_what_to_install():
    code = (
        "import sys; sys.modules['accelerate'] = None\n"
        "from mne_specmoe import *\n"
        "from mne_specmoe.training import make_accelerator\n"
        "print(TrainingConfig(1).max_steps == 1)\n"
        "try:\n"
        "    make_accelerator('cpu')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert run(code).splitlines() == ["True", "Pretraining needs accelerate: pip install 'mne-specmoe[pretrain]'."]
