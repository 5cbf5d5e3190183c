"""Speed, memory and FLOPs of our networks and of the peers, side by side.

Every network gets the same windows, two outputs and the same number of windows at a time; its input is what its
convention makes of them, which is done beforehand and not timed. In a training step, all parameters train: forward
pass, cross-entropy, backward pass, AdamW.
"""

import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mne_specmoe.benchmark.conventions import BENDR_SITES, Convention
from mne_specmoe.benchmark.entries import Entry, TaskFacts, suits_all
from mne_specmoe.benchmark.flops import count_flops
from mne_specmoe.benchmark.gauges import MIB, Figure, PeakMemory, in_fresh_process, shortest_seconds
from mne_specmoe.benchmark.networks import Build
from mne_specmoe.benchmark.peers import PEERS
from mne_specmoe.benchmark.sizes import Sizes
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.loaders.brainrvq import load_encoder
from mne_specmoe.loaders.specmoe import load_encoders
from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream
from mne_specmoe.models.specmoe.mixture import SpecMoE
from mne_specmoe.signal.canonical import SFREQ

REFERENCE = "SpecMoE (three experts)"
"""The network that the others are compared with."""

TASKS = ("inference", "training step")

_CLASSES = ("one", "other")
_N_COUNTED = 2  # windows whose FLOPs are counted; one alone would not do for every batch normalisation


class LeftOut(NamedTuple):
    """What could not be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network and its input.

    Attributes
    ----------
    build : callable
        Makes the network; see `mne_specmoe.benchmark.networks.Build`.
    convention : callable
        Makes its input.
    unsuited : callable
        Takes `TaskFacts`, and says why the network cannot take such windows; an empty text if it can.
    """

    build: Build
    convention: Convention
    unsuited: Callable[[TaskFacts], str] = suits_all


def _hundreds_of_microvolts(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """What ours take, of any length."""
    return lambda data: 1e4 * data.X


def _specmoe(training: TaskData, shape: tuple[int, int], n_outputs: int, *, n_experts: int) -> nn.Module:
    """The starter, or some of its experts, with gate and head."""
    return SpecMoE(n_outputs, n_times=shape[1], experts=load_encoders("starter")[:n_experts])


def _brainrvq_starter(training: TaskData, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    """The starter's encoder with a head."""
    encoder = load_encoder("brainrvq-starter")
    return BrainRVQDownstream(n_outputs, shape[0], ch_names=training.ch_names, encoder=encoder)


def _brainrvq(training: TaskData, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    """An untrained encoder of the published depth with a head."""
    return BrainRVQDownstream(n_outputs, shape[0], ch_names=training.ch_names, depth=12)


def _networks_of(entries: Collection[Entry]) -> Iterator[tuple[str, MeasuredNetwork]]:
    """Networks among the peers that are trained, by their titles without what is said of their weights."""
    for entry in entries:
        recipe = entry.fit.keywords.get("recipe") if isinstance(entry.fit, partial) else None
        if recipe is not None:
            title = entry.title.removesuffix(" (random initialisation)")
            yield title, MeasuredNetwork(recipe.build, recipe.convention, entry.unsuited)


NETWORKS: dict[str, MeasuredNetwork] = {
    REFERENCE: MeasuredNetwork(partial(_specmoe, n_experts=3), _hundreds_of_microvolts),
    "SpecMoE (one expert)": MeasuredNetwork(partial(_specmoe, n_experts=1), _hundreds_of_microvolts),
    "BrainRVQ (starter)": MeasuredNetwork(_brainrvq_starter, _hundreds_of_microvolts),
    "BrainRVQ (depth 12)": MeasuredNetwork(_brainrvq, _hundreds_of_microvolts),
    **dict(_networks_of(PEERS)),
}
"""By title, in the order of tables."""


def figure_name(what: str, title: str, window: tuple[int, int], n_threads: int | None = None) -> str:
    """Name of a figure.

    Parameters
    ----------
    what : str
        What is measured, such as ``"inference"``.
    title : str
        The network.
    window : tuple of int
        Channels and samples at 200 Hz.
    n_threads : int | None
        Of torch, where it matters.

    Returns
    -------
    name : str
    """
    n_channels, n_times = window
    threads = [] if n_threads is None else [f"{n_threads} thread{'s' if n_threads > 1 else ''}"]
    return ", ".join([what, title, f"{n_channels} × {n_times}", *threads])


def comparisons(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pair speeds with that of `REFERENCE` for the same task, windows and threads.

    Parameters
    ----------
    names : collection of str
        Of figures.

    Yields
    ------
    name, reference : str
        Names of figures.
    """
    for name in names:
        task, _, rest = name.partition(", ")
        title, _, circumstances = rest.partition(", ")
        reference = f"{task}, {REFERENCE}, {circumstances}"
        if task in TASKS and title in NETWORKS and title != REFERENCE and reference in names:
            yield name, reference


class Work:
    """A network at work on a batch.

    Parameters
    ----------
    title : str
        Of `NETWORKS`.
    window : tuple of int
        Channels and samples at 200 Hz.
    n_windows : int
        How many of them.

    Raises
    ------
    ValueError
        If the network cannot take such windows.
    ImportError
        If its library is not there.
    """

    def __init__(self, title: str, window: tuple[int, int], n_windows: int):
        measured, data = NETWORKS[title], _windows(n_windows, window)
        if reason := measured.unsuited(TaskFacts("speed", data.classes, data.ch_names, data.n_times, data.sfreq)):
            raise ValueError(reason)
        self.x = torch.from_numpy(measured.convention(data)(data))
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):  # of the libraries
            torch.manual_seed(0)
            self.network = measured.build(data, tuple(self.x.shape[1:]), len(data.classes))
        self.y = torch.from_numpy(data.y)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)

    def infer(self) -> None:
        """Compute outputs."""
        with torch.inference_mode():
            self.network.eval()(self.x)

    def step(self, n_windows: int | None = None) -> None:
        """Take an optimiser step on the first windows, or on all."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.network(self.x[:n_windows]), self.y[:n_windows]).backward()
        self.optimizer.step()

    def n_parameters(self) -> int:
        """Numbers that train."""
        return sum(each.numel() for each in self.network.parameters())

    def n_bytes(self) -> int:
        """Memory of the network itself."""
        return sum(each.nbytes for each in (*self.network.parameters(), *self.network.buffers()))

    def n_flops(self) -> dict[str, float]:
        """Operations per window of each of `TASKS`, see `count_flops`."""
        n = min(_N_COUNTED, len(self.x))
        self.network.eval()
        tasks = (lambda: self.network(self.x[:n]), lambda: self.step(n))
        return {task: count_flops(run) / n for task, run in zip(TASKS, tasks, strict=True)}


def _windows(n_windows: int, window: tuple[int, int]) -> TaskData:
    """EEG-like windows of two classes that mean nothing."""
    n_channels, n_times = window
    ch_names = (*BENDR_SITES, *(f"EEG{number}" for number in range(len(BENDR_SITES) + 1, n_channels + 1)))[:n_channels]
    volts = make_eeg(n_windows, n_channels, n_times, random_state=0).astype(np.float32)
    names, places = np.full(n_windows, "one"), np.arange(n_windows)
    return TaskData(volts, places % 2, names, names, names, n_times * places, SFREQ, ch_names, _CLASSES)


def measure_peers(sizes: Sizes, n_threads: int) -> Iterator[Figure | LeftOut]:
    """Measure every network.

    Speeds are those of turns that networks take with one another. Memory is the peak in a fresh process above what it
    held before network and optimiser were at work, and the network itself: for a training step the peak of
    inference and two steps, of which the second finds the optimiser's moments in place. FLOPs are those
    that `mne_specmoe.benchmark.flops.count_flops` counts: of matrix products, convolutions and attention, not of
    Fourier transforms, pooling, normalisation, activations and the optimiser.

    Parameters
    ----------
    sizes : Sizes
        Windows, how many of them at a time, rounds, threads, networks.
    n_threads : int
        Of torch where memory is measured. Speeds are measured with those in `sizes`.

    Yields
    ------
    figure : Figure | LeftOut
        Of every network and size: parameters in millions, GFLOP per window, windows per second and peak memory in MiB;
        or what could not be measured.
    """
    for window in sizes.peer_windows:
        works = {}
        for title in NETWORKS if sizes.peers is None else sizes.peers:
            try:
                works[title] = Work(title, window, sizes.n_peer_windows)
                yield from _counts(works[title], title, window)
            except Exception as error:  # whatever the network of a library raises is the reason
                works.pop(title, None)
                yield LeftOut(figure_name("all", title, window), f"{error}" or type(error).__name__)
        yield from _speeds(works, window, sizes)
        titles = list(works)
        works.clear()  # gigabytes
        for title in titles:
            yield from _memory(title, window, sizes.n_peer_windows, n_threads)


def _counts(work: Work, title: str, window: tuple[int, int]) -> list[Figure]:
    """What does not depend on the machine."""
    n_flops = work.n_flops()
    return [
        Figure(figure_name("parameters", title, window), work.n_parameters() / 1e6, "million"),
        *(Figure(figure_name(f"{task} FLOPs", title, window), n / 1e9, "GFLOP") for task, n in n_flops.items()),
    ]


def _speeds(works: dict[str, Work], window: tuple[int, int], sizes: Sizes) -> Iterator[Figure]:
    """Windows per second of both tasks, with every number of threads."""
    n_before = torch.get_num_threads()
    turns = (
        {title: work.infer for title, work in works.items()},
        {title: work.step for title, work in works.items()},
    )
    try:
        for n_threads in sizes.peer_threads:
            torch.set_num_threads(n_threads)
            for task, each in zip(TASKS, turns, strict=True):
                for title, seconds in shortest_seconds(each, sizes.n_peer_rounds, n_threads).items():
                    rate = sizes.n_peer_windows / seconds
                    yield Figure(figure_name(task, title, window, n_threads), rate, "windows/s")
    finally:
        torch.set_num_threads(n_before)


def _memory(title: str, window: tuple[int, int], n_windows: int, n_threads: int) -> Iterator[Figure | LeftOut]:
    """Peak memory of both tasks."""
    try:
        peaks = in_fresh_process(_peaks, title, window, n_windows, n_threads)
    except BrokenProcessPool:
        reason = "its process was ended from outside, perhaps for want of memory"
        yield LeftOut(figure_name("memory", title, window), reason)
        return
    for task, peak in zip(TASKS, peaks, strict=True):
        yield Figure(figure_name(f"{task} memory", title, window), peak / MIB, "MiB")


def _peaks(title: str, window: tuple[int, int], n_windows: int, n_threads: int) -> tuple[int, int]:
    """Peak memory of inference, and of training steps, network included."""
    torch.set_num_threads(n_threads)
    work = Work(title, window, n_windows)
    held, peak = work.n_bytes(), PeakMemory()
    work.infer()
    inference = peak.growth()
    for _ in range(2):
        work.step()
    return held + inference, held + peak.growth()


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure | LeftOut]]] = {"peers": measure_peers}
