"""Tasks and entries by name, as a user asks for them."""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.base import BaseEstimator, clone

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.entries import Entry, Selected, Setting, predict_with, suits_all
from mne_specmoe.benchmark.left_out import left_out_entries, read_left_out
from mne_specmoe.benchmark.ours import entries_of, starters
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.recipes.registry import RECIPES
from mne_specmoe.benchmark.scoring import selection_score
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.benchmark.tasks import TASKS, Task

ALL_TASKS: Mapping[str, Task | Recipe] = {**TASKS, **RECIPES}
"""Every task that there is."""

RUNNABLE_GROUPS = ("all", "pretrained", "classical", "peer", "combined", "specmoe", "brainrvq")
"""Names for several estimators at once."""

_ALWAYS = ("random", "permuted", "flattened")  # controls that come with what they are controls of
_CHANCE = "chance"


def choose_tasks(names: Sequence[str]) -> list[Task | Recipe]:
    """Look tasks up; "all" is every one.

    Parameters
    ----------
    names : sequence of str
        Names of tasks.

    Returns
    -------
    tasks : list of Task or Recipe

    Raises
    ------
    ValueError
        If there is no such task.
    """
    if list(names) == ["all"]:
        return list(ALL_TASKS.values())
    if unknown := [name for name in names if name not in ALL_TASKS]:
        raise ValueError(f"There is no task {listed(unknown)}; there are {listed(list(ALL_TASKS))}, or all.")
    return [ALL_TASKS[name] for name in dict.fromkeys(names)]


def all_entries(
    weights: Mapping[str, str] | None = None, left_out: Mapping[str, str] | None = None
) -> dict[str, Entry]:
    """Every entry that there is, by name.

    Parameters
    ----------
    weights : mapping of str to str | None
        Name → file of further pretrained weights, ours or published.
    left_out : mapping of str to str | None
        Name → file that says which weights saw nothing of which data set; see `read_left_out`.

    Returns
    -------
    entries : dict of str to Entry

    Raises
    ------
    ValueError
        If a file of `left_out` is not as it should be, or if weights saw, or may have seen, what they are to leave out.
    """
    from mne_specmoe.benchmark.peers import peers

    entries = [*peers(), *starters()]
    for name, path in (weights or {}).items():
        entries += entries_of(path, name, name)
    datasets = {task.dataset for task in ALL_TASKS.values()}
    for name, path in (left_out or {}).items():
        entries += left_out_entries(read_left_out(path, datasets), name)
    return {entry.name: entry for entry in entries}


def choose_entries(
    names: Sequence[str], entries: Mapping[str, Entry], *, weights: Iterable[str] = (), variants: bool = False
) -> list[Entry]:
    """Look entries up, with the controls that are always on.

    Parameters
    ----------
    names : sequence of str
        Names of entries, groups (`RUNNABLE_GROUPS`), or ``file.py:name`` and ``module:name`` of an estimator of the
        user's, with fit and predict.
    entries : mapping of str to Entry
        Of `all_entries`.
    weights : iterable of str
        Names of the user's weights: all their entries are taken, unless `names` has some of them.
    variants : bool
        Whether also to take what was only changed, such as other poolings and gates; "all" does.

    Returns
    -------
    chosen : list of Entry
        Dummies and controls included, and what features are added to.

    Raises
    ------
    ValueError
        If there is no such entry.
    """
    chosen: dict[str, Entry] = {}
    unmentioned = [each for each in weights if not any(name.startswith(f"{each}-") for name in names)]
    for name in [*names, *unmentioned]:
        for entry in _found(name, entries):
            chosen[entry.name] = entry
    for entry in [entry for entry in chosen.values() if entry.adds_to in entries]:
        chosen[entry.adds_to] = entries[entry.adds_to]
    wanted = {*_ALWAYS, *(["variant"] if variants or "all" in names else [])}
    for entry in entries.values():
        if entry.role == _CHANCE or (entry.control_of in chosen and entry.control in wanted):
            chosen[entry.name] = entry
    order = {name: number for number, name in enumerate(entries)}
    return sorted(chosen.values(), key=lambda entry: order.get(entry.name, len(order)))


def entry_of(name: str, estimator: BaseEstimator) -> Entry:
    """Make an entry of anything with fit and predict.

    It is fitted once, to signals in volts at 200 Hz (n_windows, n_channels, n_times), with nothing to choose. Where it
    has parameters ``random_state`` that are None, it is run with several seeds.

    Parameters
    ----------
    name : str
        For the command line and tables.
    estimator : object
        Not fitted; cloned for every cell.

    Returns
    -------
    entry : Entry
    """
    for method in ("fit", "predict", "get_params"):
        if not hasattr(estimator, method):
            raise TypeError(f"{name} must be a scikit-learn estimator, but it has no {method}.")
    seeds = tuple(key for key, value in estimator.get_params().items() if _is_open_seed(key, value))
    return Entry(name, name, "classical", _Fixed(estimator, seeds), stochastic=bool(seeds), unsuited=suits_all)


@dataclass(frozen=True)
class _Fixed:
    """An estimator as it is."""

    estimator: BaseEstimator
    seeds: tuple[str, ...]

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        estimator = clone(self.estimator).set_params(**dict.fromkeys(self.seeds, setting.seed))
        estimator.fit(training.X, training.y)
        n_classes = len(training.classes)
        validated = selection_score(predict_with(estimator, validation.X, n_classes), validation)
        choice = {"settings": {}, "n_looks": 0, "validation_score": round(validated, 6)}
        return Selected(lambda data: predict_with(estimator, data.X, n_classes), choice)


def _is_open_seed(key: str, value: object) -> bool:
    """Whether a parameter is a seed that was left open."""
    return value is None and key.split("__")[-1] == "random_state"


def _found(name: str, entries: Mapping[str, Entry]) -> list[Entry]:
    """The entries of one name or group."""
    mains = [entry for entry in entries.values() if entry.control_of is None]
    if name == "all":
        return mains
    if name in entries:
        return [entries[name]]
    if ":" in name:
        return [entry_of(name.rpartition(":")[2], _imported(name))]
    found = [entry for entry in mains if entry.role == name or entry.name.startswith(f"{name}-")]
    if not found:
        raise ValueError(
            f"There is no estimator {name!r}; there are {listed([entry.name for entry in mains])}, the groups "
            f"{listed(RUNNABLE_GROUPS)}, their controls such as specmoe-logistic@random, or yours as file.py:name."
        )
    return found


def _imported(name: str) -> BaseEstimator:
    """An estimator of the user's; a class is called without arguments."""
    where, _, attribute = name.rpartition(":")
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise FileNotFoundError(f"There is no file {where}.")
        spec = importlib.util.spec_from_file_location(Path(where).stem, where)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    if not hasattr(module, attribute):
        raise ValueError(f"{where} has no {attribute}.")
    found = getattr(module, attribute)
    return found() if callable(found) else found
