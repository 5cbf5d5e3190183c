"""The command line's ``benchmark run | report | list``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path


def add_benchmark(verbs, make_verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs.

    Parameters
    ----------
    verbs : object
        Of the command line's parser.
    make_verb : callable
        Adds one, given where, a name, what runs it, and a text.
    """
    benchmark = verbs.add_parser("benchmark", help="measure estimators on real recordings, and report")
    verbs = benchmark.add_subparsers(metavar="COMMAND", required=True)
    _add_run(make_verb(verbs, "run", _run, "run tasks x estimators x folds x seeds; goes on where it was stopped"))
    report = make_verb(verbs, "report", _report, "report on a results file, as Markdown and as one HTML page")
    report.add_argument("results", type=Path, metavar="RESULTS", help="a .jsonl of benchmark run, finished or not")
    report.add_argument("--out", type=Path, required=True, metavar="NAME", help="path of the report without suffix")
    text = "whom weights saw, where their file does not say: NAME=none, NAME=TASK:SUBJECT,SUBJECT or NAME=TASK:all"
    report.add_argument("--pretrained-on", nargs="+", default=[], metavar="NAME=WHOM", help=text)
    listing = make_verb(verbs, "list", _list, "say which tasks and estimators there are")
    listing.add_argument("--data-root", type=Path, metavar="DIR", help="also say which tasks have their data there")
    _add_weights(listing)


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Flags of ``run``."""
    add = parser.add_argument
    add("--tasks", nargs="+", required=True, metavar="TASK", help="names of tasks, or all; see benchmark list")
    text = "names, groups (all, pretrained, classical, peer, specmoe, brainrvq), or file.py:name of an estimator"
    add("--estimators", nargs="+", default=["all"], metavar="NAME", help=text)
    _add_weights(parser)
    add("--data-root", type=Path, required=True, metavar="DIR", help="folder of the data sets")
    add("--out", type=Path, required=True, metavar="FILE", help="results, .jsonl; goes on with it if it is there")
    text = "how much each estimator may try and train: small (two cores, hours), full (a GPU), tiny (a trial)"
    add("--budget", default="small", choices=("small", "full", "tiny"), help=text)
    add("--seeds", type=int, default=5, help="runs of what is random, on every fold")
    add("--n-jobs", type=int, default=1, help="cells at a time, each on one thread; -1 for one per core")
    add("--backend", help="of joblib, such as dask or ray, whose workers must be processes; set it up by its own means")
    add("--cache", type=Path, metavar="DIR", help="what frozen networks say of windows (beside --out; can be deleted)")
    add("--variants", action="store_true", help="also other poolings, gates and numbers of experts; all includes them")
    add("--retry-failed", action="store_true", help="run cells again that failed before")
    add("--progress", action=argparse.BooleanOptionalAction, default=True, help="show a progress bar")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    """Weights of the user's."""
    text = "pretrained weights to measure too, with a name for tables: mine=expert.safetensors"
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help=text)
    text = "weights that each leave a data set out, and are used there: lodo=left_out.json, see the documentation"
    parser.add_argument("--left-out", nargs="+", default=[], metavar="NAME=FILE", help=text)


def _run(arguments: argparse.Namespace) -> int:
    import joblib

    from mne_specmoe.benchmark.choice import all_entries, choose_entries, choose_tasks
    from mne_specmoe.benchmark.run import run

    tasks, (weights, left_out) = choose_tasks(arguments.tasks), _all_weights(arguments)
    entries = choose_entries(
        arguments.estimators,
        all_entries(weights, left_out),
        weights=[*weights, *left_out],
        variants=arguments.variants,
    )
    backend = nullcontext() if arguments.backend is None else joblib.parallel_config(backend=arguments.backend)
    with backend:
        try:
            results = run(
                tasks,
                entries,
                arguments.data_root,
                arguments.out,
                budget=arguments.budget,
                n_seeds=arguments.seeds,
                n_jobs=arguments.n_jobs,
                cache=arguments.cache,
                retry_failed=arguments.retry_failed,
                progress=arguments.progress,
                command=_command(arguments),
                tell=_tell,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Cells that ended are in {arguments.out}; run the same again.") from None
    records = results.records()
    n_failed = sum(record["status"] == "failed" for record in records)
    print(f"{arguments.out}: {len(records)} cells, {n_failed} of them failed")
    return 0


def _tell(text: str) -> None:
    """A line for the user that is no result; above a progress bar, if there is one."""
    from tqdm.auto import tqdm

    tqdm.write(f"mne-specmoe: {text}", file=sys.stderr)


def _command(arguments: argparse.Namespace) -> str:
    """What makes the same results elsewhere."""
    words = ["mne-specmoe benchmark run --tasks", *arguments.tasks, "--estimators", *arguments.estimators]
    words += ["--weights", *arguments.weights] if arguments.weights else []
    words += ["--left-out", *arguments.left_out] if arguments.left_out else []
    words += ["--budget", arguments.budget, "--seeds", str(arguments.seeds)] + ["--variants"] * arguments.variants
    return " ".join([*words, "--data-root DIR --out results.jsonl"])


def _all_weights(arguments: argparse.Namespace) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Files of weights, and files that say which weights leave out what, by names that differ."""
    weights, left_out = (
        _named(arguments.weights, "--weights"),
        _named(arguments.left_out, "--left-out", "lodo=left_out.json"),
    )
    if both := sorted(set(weights) & set(left_out)):
        raise ValueError(f"--weights and --left-out both have the name {both[0]!r}; give one of them another name.")
    return weights, left_out


def _named(pairs: Sequence[str], flag: str, example: str = "mine=expert.safetensors") -> Mapping[str, str]:
    """NAME=FILE, as a mapping."""
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{flag} takes NAME=FILE, such as {example}, got {pair!r}.")
        if name in found:
            raise ValueError(f"{flag} has the name {name!r} twice.")
        found[name] = path
    return found


def _report(arguments: argparse.Namespace) -> int:
    from mne_specmoe.benchmark.report import write_report
    from mne_specmoe.benchmark.stated import read_statement

    statement = read_statement(arguments.pretrained_on)
    for path in write_report(arguments.results, arguments.out, pretrained_on=statement):
        print(path)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from mne_specmoe.benchmark.choice import ALL_TASKS, all_entries

    print("Tasks:")
    for task in ALL_TASKS.values():
        protocol = f" [{task.protocol} protocol]" if hasattr(task, "protocol") else ""
        print(f"  {task.name:<28}{task.title}{protocol}")
        if arguments.data_root is not None:
            available, instruction = task.available(arguments.data_root)
            print(f"  {'':<28}{'available' if available else f'not available: {instruction}'}")
    print("Estimators:")
    for entry in all_entries(*_all_weights(arguments)).values():
        if entry.control_of is None:
            print(f"  {entry.name:<28}{entry.role:<12}{entry.title}")
    return 0
