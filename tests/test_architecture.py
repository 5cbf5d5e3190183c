"""The rules of the tree: who may import whom, and what no file may say.

Nothing here imports the package. The modules are read with :mod:`ast`, so imports inside functions
count too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "mne_specmoe"
ROOT = Path(__file__).resolve().parents[1]

# A module imports from the lines above its own only. A new module goes on the highest line it can.
LAYERS = (
    ("_validation", "_files"),
    ("signal.canonical", "signal.names", "signal.spectral", "signal.waveforms", "nn.extremes"),
    (
        "signal.cross_spectrum",
        "nn.attention",
        "nn.layers",
        "nn.quantize",
        "nn.heads",
        "nn.distributed",
        "models.interface",
    ),
    ("nn.parts",),
    ("nn.activations",),
    ("data.recordings", "data.preprocessing", "data.corpus"),
    ("data.locations",),
    ("data.sliceable", "data.synthetic", "data.sources", "data.segments", "data.batches", "data.windows"),
    ("data.build", "data.caps", "data.joining", "data.synthetic_labels"),
    ("data.synthetic_people",),
    ("data.synthetic_signals",),
    ("data.synthesis",),
    (
        "models.specmoe.masking",
        "models.specmoe.config",
        "models.specmoe.emphasis",
        "models.specmoe.stages",
        "models.specmoe.places",
        "models.brainrvq.masking",
        "models.brainrvq.channels",
    ),
    ("models.specmoe.axial", "models.specmoe.gains", "models.specmoe.targets", "models.specmoe.published_layout"),
    ("models.specmoe.envelope",),
    ("models.specmoe.channelwise",),
    ("models.specmoe.network", "models.brainrvq.network"),
    ("models.brainrvq.tokenizer", "models.brainrvq.downstream"),
    ("models.brainrvq.prediction",),
    ("models.specmoe.mixture",),
    ("models.specmoe.published", "models.brainrvq.published"),
    ("models.specmoe.objective", "models.brainrvq.objective"),
    ("models.registry",),
    ("checkpoint",),
    ("loaders.specmoe", "loaders.brainrvq"),
    (
        "training",
        "assembly",
        "reconstruction",
        "tokenization",
        "estimators._door",
        "estimators._linear",
        "estimators._training",
        "estimators.centring",
        "estimators.weights",
    ),
    ("estimators._learning",),
    ("pretraining.runs", "estimators._base"),
    ("pretraining.specmoe", "pretraining.brainrvq"),
    ("estimators.specmoe", "estimators.brainrvq"),
    ("features", "benchmark.records", "benchmark.task_data", "benchmark.document", "benchmark.linear"),
    ("benchmark.results", "benchmark.splits", "benchmark.plain", "benchmark.recordings", "benchmark.intervals"),
    ("benchmark.realism",),
    ("diagnosis.statistics", "diagnosis.bands", "diagnosis.examinee", "diagnosis.findings", "diagnosis.files"),
    ("diagnosis.specmoe", "diagnosis.brainrvq", "diagnosis.verdicts", "diagnosis.table"),
    ("diagnosis.weights", "diagnosis.examination"),
    ("diagnosis.health", "viz"),
    ("benchmark.brainrvq_plain", "benchmark.sizes", "benchmark.statistics", "benchmark.flops", "benchmark.gauges"),
    ("benchmark.plan", "benchmark.folds", "benchmark.fingerprints", "benchmark.leakage", "benchmark.readers"),
    (
        "benchmark.speed_parts",
        "benchmark.brainrvq_parts",
        "benchmark.estimator_parts",
        "benchmark.rebuilding",
        "benchmark.probe",
    ),
    ("benchmark.tasks", "benchmark.recipes.recipe"),
    ("benchmark.recipes.cutting", "benchmark.recipes.matlab"),
    ("benchmark.recipes.files",),
    (
        "benchmark.recipes.bcic2020_3",
        "benchmark.recipes.bcic_iv_2a",
        "benchmark.recipes.chb_mit",
        "benchmark.recipes.da_pharmaco",
        "benchmark.recipes.eegmat_edf",
        "benchmark.recipes.hmc",
        "benchmark.recipes.long_recordings",
        "benchmark.recipes.seed_v",
        "benchmark.recipes.seed_vig",
        "benchmark.recipes.shu_mi",
        "benchmark.recipes.siena",
        "benchmark.recipes.sleep_edf",
        "benchmark.recipes.tuab",
        "benchmark.recipes.tuev",
    ),
    ("benchmark.recipes.bcic_iv_2a_moabb",),  # what the original files give, in another way
    ("benchmark.recipes.registry",),
    ("benchmark.scoring",),
    ("benchmark.entries",),
    (
        "benchmark.stated",
        "benchmark.hmm",
        "benchmark.cca",
        "benchmark.spectra",
        "benchmark.centring",
        "benchmark.conventions",
        "benchmark.st_transformer",
    ),
    ("benchmark.tangent",),
    ("benchmark.networks", "benchmark.features", "benchmark.classical", "benchmark.frozen", "benchmark.loaded"),
    ("benchmark.specialists", "benchmark.frozen_peers", "benchmark.hub_weights", "benchmark.defaults"),
    ("benchmark.peers", "benchmark.ours"),
    ("benchmark.peer_speed", "benchmark.report_rows", "benchmark.left_out"),
    ("benchmark.run", "benchmark.gates", "benchmark.codes", "benchmark.report_tables", "benchmark.report_figures"),
    ("benchmark.report_words",),
    ("benchmark.report_task", "benchmark.report_protocols"),
    ("benchmark.report_verdicts",),
    ("benchmark.report", "benchmark.choice", "benchmark.speed_page"),
    ("benchmark.speed", "benchmark.starter", "benchmark.starter_brainrvq"),
    ("cli_benchmark",),
    ("cli",),
)
LEVELS = {module: level for level, line in enumerate(LAYERS) for module in line}

# Third-party package -> the only modules that import it; "data." stands for the whole folder.
DOORS = {
    "mne": ("data.", "viz", "benchmark.recordings", "benchmark.recipes.", "benchmark.classical", "benchmark.peers"),
    "mne_bids": ("data.",),
    "skorch": (
        "estimators._training",
        "benchmark.networks",
        "benchmark.frozen",
    ),  # there, under braindecode's estimators
    "safetensors": ("checkpoint",),
    "matplotlib": ("viz", "benchmark.report_figures"),
    "braindecode": ("benchmark.",),
    "moabb": ("benchmark.",),
    "pyriemann": ("estimators.centring", "benchmark."),
}

# What trains and runs networks has to work on a machine that holds little else.
PORTABLE = (
    "_validation",
    "_files",
    "signal.",
    "nn.",
    "models.",
    "data.corpus",
    "data.batches",
    "checkpoint",
    "loaders.",
    "training",
    "assembly",
    "pretraining.",
)
PORTABLE_NEEDS = {"accelerate", "huggingface_hub", "numpy", "safetensors", "scipy", "torch", "tqdm"}


class Import(NamedTuple):
    """One imported name: the module it comes from, and where the statement stands."""

    target: str
    line: int
    in_function: bool


def module_files(root: Path) -> dict[str, Path]:
    """Map every module below `root` to its file; packages are named by their folder."""
    files = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = module_files(ROOT / PACKAGE)
MODULES = [name for name, path in FILES.items() if path.name != "__init__.py"]
SUBPACKAGES = [name for name, path in FILES.items() if path.name == "__init__.py" and name]


def imports(source: str, package: str, known: set[str]) -> Iterator[Import]:
    """Yield every import of `source`, a module of `package`, under absolute names.

    ``from a import b`` is an import of ``a.b`` where that is one of the `known` modules, else of
    ``a``.
    """
    tree = ast.parse(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    deferred = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        in_function = id(node) in deferred
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield Import(name if name in known else base, node.lineno, in_function)


def imports_of(module: str) -> list[Import]:
    """Return the imports of one of our modules."""
    path = FILES[module]
    package = ".".join([PACKAGE, *path.parent.relative_to(ROOT / PACKAGE).parts])
    known = {f"{PACKAGE}.{name}".rstrip(".") for name in FILES}
    return list(imports(path.read_text(encoding="utf-8"), package, known))


def own(module: str) -> list[tuple[str, Import]]:
    """Return what a module imports of this package: short name ("" is the root) and import."""
    return [
        (found.target.removeprefix(PACKAGE).removeprefix("."), found)
        for found in imports_of(module)
        if found.target.split(".")[0] == PACKAGE
    ]


def foreign(module: str) -> set[str]:
    """Return the top-level packages that a module imports from outside this package."""
    names = {found.target.split(".")[0] for found in imports_of(module)}
    return names - {PACKAGE} - sys.stdlib_module_names


def is_among(module: str, places: tuple[str, ...]) -> bool:
    """Tell if a module is one of `places`; a place that ends with a dot is a folder."""
    return any(module.startswith(place) if place.endswith(".") else module == place for place in places)


def test_reads_every_form_of_import():
    source = (
        "import torch.nn as nn\n"
        "from scipy import signal\n"
        "from mne_specmoe._validation import check_seed\n"
        "from .. import checkpoint\n"
        "from . import masking\n"
        "from ...nn.heads import Head\n"
        "def f():\n"
        "    import mne\n"
    )
    known = {"mne_specmoe.models.specmoe.masking"}
    found = list(imports(source, "mne_specmoe.models.specmoe", known))
    assert [each.target for each in found] == [
        "torch.nn",
        "scipy",
        "mne_specmoe._validation",
        "mne_specmoe.models",
        "mne_specmoe.models.specmoe.masking",
        "mne_specmoe.nn.heads",
        "mne",
    ]
    assert [each.in_function for each in found] == [False] * 6 + [True]


def test_every_module_has_its_place_in_the_table():
    assert MODULES
    assert not set(MODULES) - set(LEVELS), "put these into LAYERS"


def test_no_module_has_two_places():
    assert len(LEVELS) == sum(len(line) for line in LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_from_lower_layers(module):
    level = LEVELS.get(module, -1)
    wrong = [
        f"line {found.line}: {target}"
        for target, found in own(module)
        if target and LEVELS.get(target, len(LAYERS)) >= level
    ]
    assert not wrong, f"{module} (layer {level}) imports what is not below it"


@pytest.mark.parametrize("module", MODULES)
def test_imports_the_package_root_only_inside_functions(module):
    wrong = [found.line for target, found in own(module) if not target and not found.in_function]
    assert not wrong, f"{module} imports {PACKAGE} itself in these lines"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("models.")])
def test_model_families_do_not_import_each_other(module):
    def family(name: str) -> str | None:
        parts = name.split(".")
        return parts[1] if parts[0] == "models" and len(parts) > 2 else None

    others = {family(target) for target, _ in own(module)} - {None, family(module)}
    assert family(module) is None or not others


@pytest.mark.parametrize("module", MODULES)
def test_third_party_packages_come_in_through_their_door(module):
    wrong = {name for name in foreign(module) & DOORS.keys() if not is_among(module, DOORS[name])}
    assert not wrong, f"{module} is not the door of these packages"


@pytest.mark.parametrize("module", [name for name in MODULES if is_among(name, PORTABLE)])
def test_networks_and_training_need_few_packages(module):
    assert not foreign(module) - PORTABLE_NEEDS


@pytest.mark.parametrize("package", SUBPACKAGES)
def test_subpackages_hold_a_docstring_and_nothing_else(package):
    tree = ast.parse(FILES[package].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_package_root_imports_nothing_but_the_lazy_loader():
    assert {found.target for found in imports_of("")} == {"lazy_loader"}


def test_there_is_no_drawer_for_leftovers():
    drawers = {"utils", "_utils", "helpers", "misc", "common"}
    assert not [name for name in FILES if drawers & set(name.split("."))]


def repository_files() -> list[Path]:
    """Return the files that git tracks, or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Put together from parts, so that this file does not say them either.
UNSAID = ("/wo" "rk/", "/opt/" "wheels", "/tmp/" "env", "py" "pi.org", "files.python" "hosted",
          "download.py" "torch")  # fmt: skip


def test_no_file_names_a_package_host_or_a_path_of_one_machine():
    files = repository_files()
    if not files:
        pytest.skip("not a git checkout")
    unsaid = re.compile("|".join(map(re.escape, UNSAID)).encode())
    binary = {".safetensors", ".npz", ".npy", ".png", ".fif"}
    wrong = {
        str(path.relative_to(ROOT)): found.group().decode()
        for path in files
        if path.suffix not in binary and (found := unsaid.search(path.read_bytes()))
    }
    assert not wrong
