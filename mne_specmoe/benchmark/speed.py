"""How fast this package is, and how much memory it takes, against plain forms in the same run.

``python -m mne_specmoe.benchmark.speed --help`` lists what it can measure. Seconds depend on the machine and, with
more than one thread, on what else runs there; ratios of two things that took turns in one run do much less. With one
thread, seconds are of processor time. Peak memory is measured in a fresh process each.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe._validation import UntrainedWarning
from mne_specmoe.benchmark.plain import plain_expert
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.estimators.specmoe import SpecMoEClassifier, SpecMoEFeaturizer
from mne_specmoe.models.specmoe.network import SpecHiNet

# Layout and form; each is compared with the plain published expert, which is what one would otherwise run.
VARIANTS = ("published", "published plain", "channelwise", "channelwise plain")
_MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """How much to measure.

    Attributes
    ----------
    n_rounds : int
        How many turns every task gets, of two runs each; the shortest run counts.
    expert : tuple of int
        Channels and samples of the segments that one expert gets.
    windows : tuple of tuple of int
        Channels and samples of the windows that the featurizer gets.
    n_windows : int
        How many of them at a time.
    fit : tuple of int
        Epochs, channels and samples for fits with frozen experts.
    unfrozen : tuple of int
        The same, where experts train.
    transform : tuple of int
        Channels and samples of epochs for the featurizer's memory.
    n_transform : tuple of int
        Two numbers of epochs, whose peaks are compared.
    """

    n_rounds: int = 3
    expert: tuple[int, int] = (19, 6000)
    windows: tuple[tuple[int, int], ...] = ((19, 6000), (64, 800), (4, 6000))
    n_windows: int = 6
    fit: tuple[int, int, int] = (200, 19, 800)
    unfrozen: tuple[int, int, int] = (32, 4, 800)
    transform: tuple[int, int] = (19, 400)
    n_transform: tuple[int, int] = (200, 2000)


FULL = Sizes()
QUICK = Sizes(
    n_rounds=1,
    expert=(19, 1200),
    windows=((19, 1200), (64, 400), (4, 1200)),
    n_windows=2,
    fit=(40, 8, 400),
    unfrozen=(8, 2, 400),
    transform=(8, 400),
    n_transform=(40, 400),
)


class Figure(NamedTuple):
    """One measured number."""

    name: str
    value: float
    unit: str


class Ratio(NamedTuple):
    """Two figures compared, and the goal; `holds` is None where none is set."""

    name: str
    value: float
    unit: str
    goal: str
    holds: bool | None


def _expert(variant: str) -> SpecHiNet:
    """A random expert; every variant of a layout has the same parameters."""
    layout, *form = variant.split()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expert = SpecHiNet(layout)
    return plain_expert(expert) if form else expert


def _segments(n_segments: int, n_channels: int, n_times: int) -> Tensor:
    """EEG-like segments in units of 100 µV."""
    eeg = make_eeg(n_segments, n_channels, n_times, random_state=0)
    return torch.from_numpy(1e4 * eeg).float()


def _forward(expert: SpecHiNet, x: Tensor) -> None:
    """Rebuild one segment."""
    with torch.inference_mode():
        expert.eval()(x[:1])


def _step(expert: SpecHiNet, x: Tensor) -> None:
    """Loss and gradients on two segments."""
    expert.train().zero_grad(set_to_none=True)
    output = expert(x)
    loss = (output.short - x).square().mean() + (output.long - x).square().mean()
    loss = loss + output.aux_up1.square().mean() + output.aux_up2.square().mean()
    loss.backward()


_TASKS: dict[str, Callable[[SpecHiNet, Tensor], None]] = {"forward": _forward, "training step": _step}


def _seconds(tasks: dict[str, Callable[[], object]], n_rounds: int, n_threads: int) -> dict[str, float]:
    """Shortest duration of every task; they take turns of two runs.

    The second run is what a loop sees: the first also asks the system for memory that another task's turn gave back.
    Whatever else the machine does only ever adds. With one thread, processor time counts, into which less of that
    enters.
    """
    clock = time.process_time if n_threads == 1 else time.perf_counter
    durations = {name: [] for name in tasks}
    for _ in range(n_rounds):
        for name, task in tasks.items():
            for _ in range(2):
                start = clock()
                task()
                durations[name].append(clock() - start)
    return {name: min(values) for name, values in durations.items()}


class _PeakMemory:
    """Growth of this process's resident memory at its peak, in bytes, since this object was made.

    Linux keeps the highest level, and can be told to forget it. Elsewhere, only the highest since the start is known.
    """

    def __init__(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self._before = self._highest()

    def growth(self) -> int:
        """Bytes above the level at the start."""
        return self._highest() - self._before

    @staticmethod
    def _highest() -> int:
        try:
            status = Path("/proc/self/status").read_text()
            return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        except (OSError, TypeError):
            import resource  # not on Windows

            unit = 1 if sys.platform == "darwin" else 1024
            return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _in_fresh_process(function: Callable, *args: object) -> object:
    """Call a function of this module in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _expert_growth(variant: str, task: str, shape: tuple[int, int], n_threads: int) -> int:
    """Peak memory of one pass of an expert, above that of the idle process that holds expert and input."""
    torch.set_num_threads(n_threads)
    expert, x = _expert(variant), _segments(2, *shape)
    peak = _PeakMemory()
    _TASKS[task](expert, x)
    return peak.growth()


def _transform_growth(n_epochs: int, shape: tuple[int, int], n_threads: int) -> tuple[int, int]:
    """Peak memory of a transform above that of the process that holds its input, and the output's size."""
    torch.set_num_threads(n_threads)
    volts = _many_epochs(n_epochs, *shape)
    featurizer = _quiet(SpecMoEFeaturizer, random_state=0).fit(volts[:2])
    peak = _PeakMemory()
    features = featurizer.transform(volts)
    return peak.growth(), features.nbytes


def _many_epochs(n_epochs: int, n_channels: int, n_times: int) -> np.ndarray:
    """Epochs in volts, few of them drawn and the rest repeated."""
    drawn = make_eeg(min(n_epochs, 20), n_channels, n_times, random_state=0)
    return np.resize(drawn, (n_epochs, n_channels, n_times))


def _quiet(estimator: type, **parameters: object) -> SpecMoEFeaturizer | SpecMoEClassifier:
    """An estimator with random experts, which is what is wanted here."""
    warnings.simplefilter("ignore", UntrainedWarning)
    return estimator(device="cpu", **parameters)


def _measure_expert(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds per forward pass and training step of every variant."""
    x = _segments(2, *sizes.expert)
    experts = {variant: _expert(variant) for variant in VARIANTS}
    for task, function in _TASKS.items():
        turns = {v: lambda e=expert, f=function: f(e, x) for v, expert in experts.items()}
        for variant, seconds in _seconds(turns, sizes.n_rounds, n_threads).items():
            yield Figure(f"{task}, {variant}", seconds, "s")


def _measure_memory(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Peak memory of every variant's forward pass and training step."""
    for task in _TASKS:
        for variant in VARIANTS:
            growth = _in_fresh_process(_expert_growth, variant, task, sizes.expert, n_threads)
            yield Figure(f"{task} memory, {variant}", growth / _MIB, "MiB")


def _measure_featurizer(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Windows per second through the three experts of the featurizer."""
    turns = {}
    for n_channels, n_times in sizes.windows:
        volts = _many_epochs(sizes.n_windows, n_channels, n_times)
        featurizer = _quiet(SpecMoEFeaturizer, random_state=0).fit(volts)
        name = f"featurizer, {n_channels} × {n_times}"
        turns[name] = lambda f=featurizer, x=volts: f.transform(x)
    for name, seconds in _seconds(turns, sizes.n_rounds, n_threads).items():
        yield Figure(name, sizes.n_windows / seconds, "windows/s")


def _fit(volts: np.ndarray, **parameters: object) -> None:
    """Train a classifier on labels that mean nothing."""
    y = np.arange(len(volts)) % 2
    _quiet(SpecMoEClassifier, random_state=0, patience=None, **parameters).fit(volts, y)


def _measure_fit(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds per fit: many training epochs against few, and frozen experts against training ones."""
    volts, few = _many_epochs(*sizes.fit), _many_epochs(*sizes.unfrozen)
    frozen = {f"fit frozen, max_epochs={n}": lambda n=n: _fit(volts, max_epochs=n) for n in (2, 50)}
    freezing = {
        f"fit {name}, small": lambda u=unfreeze: _fit(few, max_epochs=5, unfreeze_epoch=u)
        for name, unfreeze in {"frozen": None, "unfrozen": 0}.items()
    }
    for turns, n_rounds in ((frozen, 1), (freezing, sizes.n_rounds)):
        for name, seconds in _seconds(turns, n_rounds, n_threads).items():
            yield Figure(name, seconds, "s")


def _measure_transform(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Peak memory of transforming few and many epochs, input and output aside."""
    for size, n_epochs in zip(("few", "many"), sizes.n_transform, strict=True):
        growth, n_output = _in_fresh_process(_transform_growth, n_epochs, sizes.transform, n_threads)
        yield Figure(f"transform memory, {size} ({n_epochs})", (growth - n_output) / _MIB, "MiB")


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure]]] = {
    "expert": _measure_expert,
    "memory": _measure_memory,
    "featurizer": _measure_featurizer,
    "fit": _measure_fit,
    "transform": _measure_transform,
}


def _faster(name: str, slow: str, fast: str, goal: float | None) -> tuple:
    """How many times faster; at least `goal`."""
    return (name, slow, fast, lambda a, b: a / b, "×", "≥", goal)


def _share(name: str, ours: str, theirs: str, goal: float | None) -> tuple:
    """What share of another; at most `goal` %."""
    return (name, ours, theirs, lambda a, b: 100 * a / b, "%", "≤", goal)


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
        lambda many, few: (many - few) * _MIB / 1e6,
        "MB",
        "≤",
        300.0,
    ),
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
    values = {re.sub(r" \(\d+\)$", "", figure.name): figure.value for figure in figures}
    ratios = []
    for name, first, second, function, unit, sign, goal in _COMPARISONS:
        if first not in values or second not in values:
            continue
        value = function(values[first], values[second])
        holds = None
        if judge and goal is not None:
            holds = value >= goal if sign == "≥" else value <= goal
        ratios.append(Ratio(name, value, unit, "" if goal is None else f"{sign} {goal:g}", holds))
    return ratios


def measure(
    parts: Sequence[str] = tuple(PARTS),
    *,
    sizes: Sizes = FULL,
    n_threads: int = 1,
    progress: Callable[[str], object] | None = None,
) -> dict:
    """Measure, and compare what was measured.

    Parameters
    ----------
    parts : sequence of {"expert", "memory", "featurizer", "fit", "transform"}
        What to measure.
    sizes : Sizes
        How much.
    n_threads : int
        Of torch, here and in the processes started; torch's setting is put back afterwards.
    progress : callable | None
        Gets one line of text per part.

    Returns
    -------
    report : dict
        ``machine``, ``sizes``, ``figures`` and ``ratios``, of numbers, strings, lists and dicts only.
    """
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        figures = []
        with warnings.catch_warnings():
            for part in parts:
                if progress is not None:
                    progress(f"measuring: {part}")
                figures += PARTS[part](sizes, n_threads)
    finally:
        torch.set_num_threads(n_before)
    ratios = compare(figures, judge=sizes == FULL)
    return {
        "machine": {**_machine(), "n_threads": n_threads},
        "sizes": asdict(sizes),
        "figures": [figure._asdict() for figure in figures],
        "ratios": [ratio._asdict() for ratio in ratios],
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
    }


def _processor() -> str:
    """Name of the processor."""
    try:
        return re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def table(report: dict) -> str:
    """Lay a report of `measure` out as text."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['n_cores']} cores, {machine['instructions']}; "
        f"torch {machine['torch']}, threads: {machine['n_threads']}",
        "",
    ]
    lines += [f"{f['name']:<50}{f['value']:>10.3g} {f['unit']}" for f in report["figures"]]
    lines += ["", f"{'against the plain published form, or as said':<50}{'':>10}    goal"]
    for ratio in report["ratios"]:
        verdict = {None: "", True: "holds", False: "MISSED"}[ratio["holds"]]
        line = f"{ratio['name']:<50}{ratio['value']:>10.3g} {ratio['unit']:<3}{ratio['goal']:<8}{verdict}"
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for which no goal is set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
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
