"""Seconds and peak memory of a piece of work, as figures."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

MIB = 2**20


class Figure(NamedTuple):
    """One measured number."""

    name: str
    value: float
    unit: str


def values_by_name(figures: Iterable[Figure]) -> dict[str, float]:
    """Name → value, whatever the size that stands in parentheses behind some names."""
    return {re.sub(r" \(\d+\)$", "", figure.name): figure.value for figure in figures}


def shortest_seconds(tasks: Mapping[str, Callable[[], object]], n_rounds: int, n_threads: int) -> dict[str, float]:
    """Shortest duration of every task; they take turns of two runs.

    The second run is what a loop sees: the first also asks the system for memory that another task's turn gave back.
    Whatever else the machine does only ever adds. With one thread, processor time counts, into which less of that
    enters.

    Parameters
    ----------
    tasks : mapping of str to callable
        What to run.
    n_rounds : int
        Turns of every task.
    n_threads : int
        Of torch, in this process.

    Returns
    -------
    seconds : dict of str to float
        One number per task.
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


def clock() -> float:
    """Seconds of this process's processor time, into which other work on the machine hardly enters.

    Where there is a GPU, on which a process waits, seconds on the wall.
    """
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


class PeakMemory:
    """Growth of this process's resident memory at its peak, in bytes, since this object was made.

    Linux keeps the highest level, and can be told to forget it. Elsewhere, only the highest since the start is known.
    """

    def __init__(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self._before = self.highest()

    def growth(self) -> int:
        """Bytes above the level at the start."""
        return self.highest() - self._before

    @staticmethod
    def highest() -> int:
        """Bytes at the peak, with all that was there before."""
        try:
            status = Path("/proc/self/status").read_text()
            return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        except (OSError, TypeError):
            import resource  # not on Windows

            unit = 1 if sys.platform == "darwin" else 1024
            return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_fresh_process(function: Callable, *args: object) -> object:
    """Call a function of a module in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
