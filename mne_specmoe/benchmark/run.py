"""Runs tasks × estimators × folds × seeds, one line of results each; goes on where it was stopped."""

import importlib.metadata
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import joblib
import torch
from joblib.externals.loky import process_executor
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from mne_specmoe._files import check_folder_of
from mne_specmoe._validation import check_number, check_option, listed
from mne_specmoe.benchmark.entries import BUDGETS, Budget, Entry, Setting
from mne_specmoe.benchmark.gauges import MIB, PeakMemory, clock
from mne_specmoe.benchmark.leakage import UNKNOWN, overlap
from mne_specmoe.benchmark.loaded import LoadedTask, dataset_identity, load, subject_identity
from mne_specmoe.benchmark.plan import Plan, all_cells
from mne_specmoe.benchmark.recipes.recipe import Recipe
from mne_specmoe.benchmark.records import Cell, Circumstances, Record, done_record, failed_record, json_hash
from mne_specmoe.benchmark.results import ResultsFile
from mne_specmoe.benchmark.scoring import score
from mne_specmoe.benchmark.stated import weights_of
from mne_specmoe.benchmark.tasks import Task

_PACKAGES = ("mne-specmoe", "numpy", "scipy", "scikit-learn", "torch", "mne", "skorch", "braindecode", "pyriemann")
_MOST_GROWTH = 4 * 2**30  # bytes of a worker between its first cell and any other
_MOST_WARNINGS = 3  # of a cell, in its record
_CELLS_PER_WORKER = 4  # at a time, where results come at the end of a call: a kill costs no more


@dataclass(frozen=True, eq=False)
class Work:
    """All that a cell needs; it goes to another process with it.

    Attributes
    ----------
    task : LoadedTask
        Its task.
    entry : Entry
        Its estimator.
    cell : Cell
        Fold and seed.
    budget : Budget
        What may be tried.
    cache : Path
        Folder of what is remembered.
    circumstances : Circumstances
        What is written beside the scores.
    """

    task: LoadedTask
    entry: Entry
    cell: Cell
    budget: Budget
    cache: Path
    circumstances: Circumstances = field(repr=False)


def run(
    tasks: Sequence[Task | Recipe],
    entries: Sequence[Entry],
    data_root: str | os.PathLike,
    out: str | os.PathLike,
    *,
    budget: str | Budget = "small",
    n_seeds: int = 5,
    n_jobs: int | None = 1,
    cache: str | os.PathLike | None = None,
    retry_failed: bool = False,
    controls: bool = True,
    progress: bool = True,
    command: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> ResultsFile:
    """Run a benchmark, or go on with it.

    Every cell trains one entry on the training part of one fold with one seed, chooses on the validation part, states
    its choice, and is then tested once. A cell that raises an error is recorded as failed, and the others go on.

    Parameters
    ----------
    tasks : sequence of Task or Recipe
        What to run; those whose data is not there are listed through `tell` and left out.
    entries : sequence of Entry
        What takes part.
    data_root : path-like
        Folder of the data sets.
    out : path-like
        The results file, ``.jsonl``. If it exists, it must be of the same plan; cells that are in it do not run again.
    budget : str | Budget
        One of `mne_specmoe.benchmark.entries.BUDGETS`, or one of its own.
    n_seeds : int
        How often entries that are random run, on every fold.
    n_jobs : int | None
        Cells at a time, each on one thread. Another backend of joblib (Dask, Ray), for many machines, is chosen by
        ``with joblib.parallel_config(backend=...)`` around this call, and None then takes its number of workers. The
        backend has to run processes, since torch's random numbers are those of a process. Results do not depend on it.
    cache : path-like | None
        Folder for what frozen networks say of windows, which many cells share. None: beside `out`.
    retry_failed : bool
        Whether cells that failed before run again.
    controls : bool
        Whether probes are also asked whose windows they are, and from which data set.
    progress : bool
        Whether to show a progress bar.
    command : str | None
        What makes the same results elsewhere, for the report.
    tell : callable
        Takes lines for the user.

    Returns
    -------
    results : ResultsFile

    Raises
    ------
    FileNotFoundError
        If the data root is not there, or if the data of no task is.
    ValueError
        If a split leaks, data is not what a task was frozen with, or `out` is of another plan or no results file.
    """
    if isinstance(budget, str):
        check_option("budget", budget, tuple(BUDGETS))
        budget = BUDGETS[budget]
    check_number("n_seeds", n_seeds, minimum=1, integer=True)
    _check_names(tasks, entries)
    out, root = Path(out).expanduser(), Path(data_root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"There is no data root {root}; it is the folder that holds the data sets' folders.")
    check_folder_of(out)
    cache = out.with_name(f"{out.name}.cache") if cache is None else Path(cache).expanduser()
    loaded = _load_all(tasks, root, budget, controls, tell)
    plan = make_plan(loaded, entries, budget, n_seeds) | ({"command": command} if command else {})
    results = ResultsFile(out)
    results.open(plan, {task.name: task.split_hash for task in loaded})
    if unknown := _of_unknown_origin(plan):
        tell(
            f"Nobody knows whom the weights {listed(unknown)} were pretrained on, so their third gate stays open "
            f"unless the report is told: --pretrained-on {unknown[0]}=none, or {unknown[0]}=TASK:SUBJECT,SUBJECT."
        )
    for note in results.notes:
        tell(note)
    work = _work(loaded, entries, plan, budget, cache)
    finished = results.finished(retry_failed=retry_failed)
    todo = [each for each in work if each.cell.key not in finished]
    if len(todo) < len(work):
        tell(f"{len(work) - len(todo)} of {len(work)} cells are in {out} already.")
    cache.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(work), initial=len(work) - len(todo), unit="cell", disable=not progress) as bar:
        for record in _records(todo, n_jobs):
            results.append(record)
            bar.update()
            if record["status"] == "failed":
                tell(f"failed: {record['task']}, {record['estimator']}: {record['error']}")
    return results


def make_plan(loaded: Sequence[LoadedTask], entries: Sequence[Entry], budget: Budget, n_seeds: int) -> dict:
    """Put together what is to be run, see `mne_specmoe.benchmark.plan`."""
    return {
        "tasks": {task.name: task.plan() for task in loaded},
        "estimators": {entry.name: _about(entry, loaded, budget) for entry in entries},
        "budget": asdict(budget),
        "n_seeds": n_seeds,
    }


def run_cell(work: Work) -> Record:
    """Run one cell: train, choose, close the selection, test once. Errors become a failed record.

    Parameters
    ----------
    work : Work
        What to run.

    Returns
    -------
    record : dict
    """
    setting = Setting(work.cell.seed, work.budget, joblib.Memory(work.cache, verbose=0).cache, work.cache)
    _keep_this_process()
    memory, start = PeakMemory(), clock()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other last digits
    try:
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            outcome = _tested(work, setting)
    except Exception as error:
        return failed_record(work.cell, work.circumstances, error, seconds=clock() - start)
    finally:
        torch.set_num_threads(n_threads)
    seconds = clock() - start + sum(setting.remembered)
    if said := list(dict.fromkeys(f"{each.category.__name__}: {each.message}" for each in caught)):
        outcome["selection"]["warnings"] = [text[:200] for text in said[:_MOST_WARNINGS]]
    return done_record(
        work.cell, work.circumstances, seconds=max(seconds, 0.0), peak_memory_mib=memory.highest() / MIB, **outcome
    )


def _keep_this_process() -> None:
    """Keep loky from renewing workers that grew by 300 MB, as one network makes them: a new one takes seconds."""
    process_executor._MAX_MEMORY_LEAK_SIZE = _MOST_GROWTH


def _tested(work: Work, setting: Setting) -> dict[str, object]:
    """The outcome of a cell."""
    fold = work.task.folds()[work.cell.fold]
    selected = work.entry.fit(fold.training(), fold.validation(), setting)
    token = fold.close_selection({**selected.choice, "seed": work.cell.seed, "estimator": work.entry.name})
    test = fold.test(token)
    about = work.task.about
    # Estimators get windows without labels.
    prediction = selected.predict(test.with_labels(test.y * 0))
    scored = score(prediction, test, per_subject=about["per_subject"], metric=about["metric"])
    selection = {**selected.choice, "closed": token}
    return {**scored._asdict(), "selection": selection, "n_parameters": selected.n_parameters}


def _records(todo: Sequence[Work], n_jobs: int | None) -> Iterator[Record]:
    """Records in the order in which cells end."""
    cells = [joblib.delayed(run_cell)(each) for each in todo]
    try:
        with warnings.catch_warnings():
            # Workers are renewed when they have grown, which is nothing to do about.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
            for part, parallel in _calls(cells, n_jobs):
                yield from parallel(part)
    except process_executor.TerminatedWorkerError as error:
        raise OSError(
            "A process that ran a cell was killed, most likely for want of memory. All cells that ended are stored: "
            "run the same command again, with fewer jobs."
        ) from error


def _calls(cells: Sequence[tuple], n_jobs: int | None) -> Iterator[tuple[Sequence[tuple], joblib.Parallel]]:
    """All cells in one call of joblib; some at a time where a backend hands results over only when a call ends."""
    plain = joblib.Parallel(n_jobs=n_jobs, batch_size=1)
    if getattr(plain._backend, "uses_threads", False) and plain.n_jobs != 1:
        raise ValueError(
            "The benchmark needs a backend of joblib that runs processes: in threads, the random numbers of one cell "
            "would be those of another. Choose loky, dask or ray, or n_jobs=1."
        )
    if getattr(plain._backend, "supports_return_generator", False) or plain.n_jobs == 1:
        yield cells, joblib.Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator_unordered")
        return
    size = _CELLS_PER_WORKER * max(1, plain._backend.effective_n_jobs(plain.n_jobs))
    for start in range(0, len(cells), size):
        yield cells[start : start + size], plain


def _work(
    loaded: Sequence[LoadedTask], entries: Sequence[Entry], plan: Plan, budget: Budget, cache: Path
) -> list[Work]:
    """All cells with what they need."""
    tasks, by_name = {task.name: task for task in loaded}, {entry.name: entry for entry in entries}
    versions = _versions()
    hashes = {task.name: task.split_hash for task in loaded}
    parameters = {name: plan["estimators"][name]["parameter_hash"] for name in by_name}
    work = []
    for cell in all_cells(plan):
        task = tasks[cell.task]
        entry = by_name[cell.estimator].on(task.dataset)
        seen = plan["estimators"][cell.estimator]["seen"].get(cell.task, [])
        tested = set(task.data.subjects[task.split.folds[cell.fold].test].tolist())
        known = UNKNOWN not in seen
        circumstances = Circumstances(
            versions=versions,
            parameter_hash=parameters[cell.estimator],
            weights_hash=entry.weights_hash,
            split_hash=hashes[cell.task],
            overlap=bool(seen) if known else None,
            seen=tuple(sorted(tested & set(seen))),
        )
        work.append(Work(task, entry, cell, budget, cache, circumstances))
    return work


def _about(entry: Entry, loaded: Sequence[LoadedTask], budget: Budget) -> dict[str, object]:
    """What the plan says of an entry."""
    unsuited = {task.name: why for task in loaded if (why := _why_not(entry, task, budget))}
    seen = {}
    for task in loaded:
        if entry.weights_hash is not None and task.name not in unsuited and (found := _seen(entry, task)):
            seen[task.name] = list(found)
    fit = re.sub(r" at 0x[0-9a-f]+", "", repr(entry.fit))
    return {
        "title": entry.title,
        "role": entry.role,
        "control_of": entry.control_of,
        "control": entry.control,
        "stochastic": entry.stochastic,
        "parameters": dict(entry.parameters),
        "parameter_hash": json_hash([entry.name, dict(entry.parameters), fit]),
        "weights_hash": entry.weights_hash,
        "unsuited": unsuited,
        "seen": seen,
    } | _about_kind(entry, loaded)


def _about_kind(entry: Entry, loaded: Sequence[LoadedTask]) -> dict[str, object]:
    """What the plan says only of some entries."""
    about: dict[str, object] = {}
    if entry.is_centred:
        about["is_centred"] = True
    if entry.adds_to:
        about["adds_to"] = entry.adds_to
    if entry.stand_ins:
        used = {task.dataset for task in loaded} & set(entry.stand_ins)
        about["left_out"] = {dataset: entry.stand_ins[dataset].weights_hash for dataset in sorted(used)}
    return about


def _of_unknown_origin(plan: Plan) -> list[str]:
    """Names of weights that may have seen anybody."""
    entries = plan["estimators"].items()
    return list(dict.fromkeys(weights_of(name) for name, entry in entries if [UNKNOWN] in entry["seen"].values()))


def _seen(entry: Entry, task: LoadedTask) -> tuple[str, ...]:
    """Subjects of a task that an entry was pretrained on; those of a derived task by the data set that they are of."""
    if entry.stand_ins:
        return ()  # which was checked when the file was read that says so
    return overlap(task, entry.training)


def _why_not(entry: Entry, task: LoadedTask, budget: Budget) -> str:
    """Why an entry is not run on a task; empty if it is."""
    if entry.is_heavy and budget.n_heavy_windows == 0:
        return f"the budget {budget.name!r} does not train networks of this size"
    if task.kind == "identity" and not entry.is_probe:
        return "only probes are asked whose windows they are"
    if entry.stand_ins and task.dataset not in entry.stand_ins:
        return "there are no weights that left this data set out"
    return entry.unsuited(task.facts)


def _load_all(
    tasks: Sequence[Task | Recipe], root: Path, budget: Budget, controls: bool, tell: Callable[[str], None]
) -> list[LoadedTask]:
    """All tasks whose data is there, and the identity tasks that go with them."""
    loaded, missing = [], []
    for task in tasks:
        available, instruction = task.available(root)
        if available:
            loaded.append(load(task, root, budget.max_windows))
        else:
            missing.append(instruction)
            tell(f"not available: {instruction}")
    if not loaded:
        raise FileNotFoundError(f"No task can be run from {root}. {' '.join(missing)}")
    if controls:
        identities = [subject_identity(task) for task in _one_per_dataset(loaded)] + [dataset_identity(loaded)]
        loaded += [task for task in identities if task is not None]
    return loaded


def _one_per_dataset(loaded: Sequence[LoadedTask]) -> list[LoadedTask]:
    """The first task of each data set."""
    found: dict[str, LoadedTask] = {}
    for task in loaded:
        found.setdefault(task.dataset, task)
    return list(found.values())


def _check_names(tasks: Sequence[Task | Recipe], entries: Sequence[Entry]) -> None:
    """Raise unless there are tasks and entries, each with a name of its own."""
    for what, things in (("task", tasks), ("estimator", entries)):
        names = [each.name for each in things]
        if not names:
            raise ValueError(f"There is no {what} to run.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Each {what} needs a name of its own; these occur twice: {listed(twice)}.")


def _versions() -> Mapping[str, str]:
    """Versions of what results may depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
