"""How fast this package is, and how much memory it takes, against plain forms in the same run.

``python -m mne_specmoe.benchmark.speed --help`` lists what it can measure. Seconds depend on the machine and, with
more than one thread, on what else runs there; ratios of two things that took turns in one run do much less. With one
thread, seconds are of processor time. Peak memory is measured in a fresh process each.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from mne_specmoe._validation import UntrainedWarning
from mne_specmoe.benchmark import brainrvq_parts, estimator_parts, peer_speed, speed_parts
from mne_specmoe.benchmark.gauges import MIB, Figure, values_by_name
from mne_specmoe.benchmark.sizes import FULL, QUICK, Sizes

DEFAULT_PARTS = (*speed_parts.PARTS, *estimator_parts.PARTS, *brainrvq_parts.PARTS)
"""What is measured unless something is asked for: the peers take ten minutes, and need the extra of the benchmark."""

PARTS = speed_parts.PARTS | estimator_parts.PARTS | brainrvq_parts.PARTS | peer_speed.PARTS
_PACKAGES = ("braindecode", "mne", "numpy", "scipy", "torch")


class Ratio(NamedTuple):
    """Two figures compared, and the goal; `holds` is None where none is set."""

    name: str
    value: float
    unit: str
    goal: str
    holds: bool | None


def _faster(name: str, slow: str, fast: str, goal: float | None) -> tuple:
    """How many times faster; at least `goal`."""
    return (name, slow, fast, lambda a, b: a / b, "×", "≥", goal)


def _times(name: str, ours: str, theirs: str, goal: float | None) -> tuple:
    """How many times another; at least `goal`."""
    return (name, ours, theirs, lambda a, b: a / b, "×", "≥", goal)


def _share(name: str, ours: str, theirs: str, goal: float | None) -> tuple:
    """What share of another; at most `goal` %."""
    return (name, ours, theirs, lambda a, b: 100 * a / b, "%", "≤", goal)


def _of_brainrvq() -> Iterator[tuple]:
    """Every task of BrainRVQ against its own plain form."""
    for task, (_, variants) in brainrvq_parts.TASKS.items():
        for variant, plain in zip(variants[::2], variants[1::2], strict=True):
            yield _faster(f"{task}, {variant}", f"{task}, {plain}", f"{task}, {variant}", None)
            yield _share(f"{task} memory, {variant}", f"{task} memory, {variant}", f"{task} memory, {plain}", None)


_COMPARISONS = (
    _faster("published forward", "forward, published plain", "forward, published", 4.0),
    _faster("published training step", "training step, published plain", "training step, published", 4.5),
    _faster("channelwise forward", "forward, published plain", "forward, channelwise", 6.0),
    _faster("channelwise training step", "training step, published plain", "training step, channelwise", None),
    _faster("channelwise forward, its own plain form", "forward, channelwise plain", "forward, channelwise", None),
    _faster(
        "channelwise training step, its own plain form",
        "training step, channelwise plain",
        "training step, channelwise",
        None,
    ),
    _share("published forward memory", "forward memory, published", "forward memory, published plain", 40.0),
    _share(
        "published training step memory",
        "training step memory, published",
        "training step memory, published plain",
        40.0,
    ),
    _share("channelwise forward memory", "forward memory, channelwise", "forward memory, published plain", None),
    _share(
        "channelwise training step memory",
        "training step memory, channelwise",
        "training step memory, published plain",
        None,
    ),
    (
        "frozen fit, 50 epochs against 2",
        "fit frozen, max_epochs=50",
        "fit frozen, max_epochs=2",
        lambda many, few: many / few,
        "×",
        "≤",
        1.5,
    ),
    _faster("frozen fit against unfrozen", "fit unfrozen, small", "fit frozen, small", None),
    (
        "transform of more epochs, extra memory",
        "transform memory, many",
        "transform memory, few",
        lambda many, few: (many - few) * MIB / 1e6,
        "MB",
        "≤",
        300.0,
    ),
    _faster("mask against SciPy, channel by channel", "mask, plain", "mask", 10.0),
    *(
        _times(f"loader against pretraining, {variant}", "loader", f"pretraining, {variant}", 5.0)
        for variant in speed_parts.PRETRAINING
    ),
    *(_times(name, name, estimator_parts.REFERENCE, None) for name in estimator_parts.SETTINGS),
    *_of_brainrvq(),
)


def compare(figures: Sequence[Figure], *, judge: bool = True) -> list[Ratio]:
    """Compare those figures that were measured.

    Parameters
    ----------
    figures : sequence of Figure
        Any of those that the parts yield.
    judge : bool
        Whether the sizes are those that the goals are set for.

    Returns
    -------
    ratios : list of Ratio
    """
    values = values_by_name(figures)
    of_peers = (_times(name, name, reference, None) for name, reference in peer_speed.comparisons(values))
    ratios = []
    for name, first, second, function, unit, sign, goal in (*_COMPARISONS, *of_peers):
        if first not in values or second not in values:
            continue
        value = function(values[first], values[second])
        holds = None
        if judge and goal is not None:
            holds = value >= goal if sign == "≥" else value <= goal
        ratios.append(Ratio(name, value, unit, "" if goal is None else f"{sign} {goal:g}", holds))
    return ratios


def measure(
    parts: Sequence[str] = DEFAULT_PARTS,
    *,
    sizes: Sizes = FULL,
    n_threads: int = 1,
    progress: Callable[[str], object] | None = None,
) -> dict:
    """Measure, and compare what was measured.

    Parameters
    ----------
    parts : sequence of str
        What to measure, of `PARTS`.
    sizes : Sizes
        How much.
    n_threads : int
        Of torch, here and in the processes started; torch's setting is put back afterwards.
    progress : callable | None
        Gets one line of text per part.

    Returns
    -------
    report : dict
        ``machine``, ``sizes``, ``figures``, ``ratios`` and ``left_out``, of numbers, strings, lists and dicts only.
    """
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            for part in parts:
                if progress is not None:
                    progress(f"measuring: {part}")
                found += PARTS[part](sizes, n_threads)
    finally:
        torch.set_num_threads(n_before)
    figures = [each for each in found if isinstance(each, Figure)]
    ratios = compare(figures, judge=sizes == FULL)
    return {
        "machine": {**_machine(), "n_threads": n_threads},
        "sizes": asdict(sizes),
        "figures": [figure._asdict() for figure in figures],
        "ratios": [ratio._asdict() for ratio in ratios],
        "left_out": [each._asdict() for each in found if isinstance(each, peer_speed.LeftOut)],
    }


def _machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "processor": _processor(),
        "n_cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Packages that the numbers depend on, those that are there."""
    from mne_specmoe import __version__

    found = {"mne-specmoe": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Name of the processor."""
    try:
        return re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def table(report: dict) -> str:
    """Lay a report of `measure` out as text."""
    machine = report["machine"]
    width = max([50, *(len(each["name"]) + 1 for each in report["figures"])])
    lines = [
        f"{machine['processor']}, {machine['n_cores']} cores, {machine['instructions']}; "
        f"torch {machine['torch']}, threads: {machine['n_threads']}",
        "",
    ]
    lines += [f"{f['name']:<{width}}{f['value']:>10.3g} {f['unit']}" for f in report["figures"]]
    lines += ["", f"{'compared with the plain form, SpecMoE, or features':<{width}}{'':>10}    goal"]
    for ratio in report["ratios"]:
        verdict = {None: "", True: "holds", False: "MISSED"}[ratio["holds"]]
        line = f"{ratio['name']:<{width}}{ratio['value']:>10.3g} {ratio['unit']:<3}{ratio['goal']:<8}{verdict}"
        lines.append(line.rstrip())
    if report["left_out"]:
        lines += ["", "left out", *(f"{each['name']}: {each['reason']}" for each in report["left_out"])]
    return "\n".join(lines) + "\n"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for which no goal is set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=list(DEFAULT_PARTS),
        help="what to measure (default: all but peers)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write JSON."""
    arguments = _arguments(argv)
    sizes = QUICK if arguments.quick else FULL
    report = measure(
        arguments.parts,
        sizes=sizes,
        n_threads=arguments.threads,
        progress=lambda line: sys.stderr.write(line + "\n"),
    )
    sys.stdout.write(table(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
