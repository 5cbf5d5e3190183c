"""Whom weights were pretrained on, as whoever makes a report states it where the weights' file does not say."""

from collections.abc import Collection, Mapping, Sequence

from mne_specmoe._validation import listed
from mne_specmoe.benchmark.entries import ADDED, CENTRED, DEFAULTS, KINDS
from mne_specmoe.benchmark.plan import Plan

Statement = Mapping[str, Mapping[str, Collection[str]]]
"""Name of weights → task or data set → subjects, or `EVERYONE` among them; what is not named was not pretrained on."""

EVERYONE = "all"
_NOBODY = "none"


def read_statement(texts: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Read a statement as it stands on a command line.

    Parameters
    ----------
    texts : sequence of str
        ``"NAME=none"``, ``"NAME=TASK:SUBJECT,SUBJECT"`` or ``"NAME=TASK:all"``; several of one name add up.

    Returns
    -------
    statement : dict
        As `Statement` describes it.

    Raises
    ------
    ValueError
        If a text is none of these, or if weights are said to have seen both nobody and somebody.

    Examples
    --------
    >>> read_statement(["mine=none", "lab=eegmat:Subject00,Subject01"])
    {'mine': {}, 'lab': {'eegmat': ('Subject00', 'Subject01')}}
    """
    statement, nobody = {}, set()
    for text in texts:
        name, _, said = text.partition("=")
        task, _, subjects = said.partition(":")
        if name and said == _NOBODY:
            nobody.add(name)
            statement.setdefault(name, {})
            continue
        names = tuple(who.strip() for who in subjects.split(",") if who.strip())
        if not (name and task and names):
            raise ValueError(
                f"--pretrained-on takes NAME=none, NAME=TASK:SUBJECT,SUBJECT or NAME=TASK:all, got {text!r}."
            )
        found = statement.setdefault(name, {})
        found[task] = (*found.get(task, ()), *names)
    if both := sorted(name for name in nobody if statement[name]):
        raise ValueError(f"--pretrained-on says of {listed(both)} both none and somebody.")
    return statement


def weights_of(estimator: str) -> str:
    """Name of the weights that an estimator begins with: "mine" of "mine-ridge" and "mine-ridge@permuted"."""
    name = estimator.partition("@")[0]
    weights, dash, kind = name.rpartition("-")
    return weights if dash and kind in (*KINDS, *DEFAULTS, ADDED, CENTRED) else name


def stated_subjects(
    statement: Statement, plan: Plan, scored: Mapping[str, Collection[str]]
) -> dict[str, dict[str, frozenset[str]]]:
    """Apply a statement to what was run.

    Parameters
    ----------
    statement : Statement
        What is stated.
    plan : Plan
        What was to be run.
    scored : mapping of str to collection of str
        Task → subjects that have a score.

    Returns
    -------
    subjects : dict of str to dict of str to frozenset of str
        Estimator → task → subjects that its weights saw, for all estimators and tasks that the statement is about.

    Raises
    ------
    ValueError
        If there are no such weights, no such task or data set, or if all subjects have scores, but not one that is
        stated.
    """
    weights = {name: weights_of(name) for name, entry in plan["estimators"].items() if entry.get("weights_hash")}
    if unknown := sorted(set(statement) - set(weights.values())):
        there = listed(dict.fromkeys(weights.values())) if weights else "none at all"
        raise ValueError(f"No estimator of this run has weights named {listed(unknown)}; there are {there}.")
    seen = {name: _by_task(said, plan, scored) for name, said in statement.items()}
    return {estimator: seen[name] for estimator, name in weights.items() if name in seen}


def _by_task(
    said: Mapping[str, Collection[str]], plan: Plan, scored: Mapping[str, Collection[str]]
) -> dict[str, frozenset[str]]:
    """Task → subjects; what is said of a task holds for all tasks of the same data set."""
    datasets = {name: task["dataset"] for name, task in plan["tasks"].items()}
    seen = dict.fromkeys(datasets, frozenset())
    for key, subjects in said.items():
        tasks = [name for name, dataset in datasets.items() if dataset == datasets.get(key, key)]
        if not tasks:
            raise ValueError(
                f"This run has no task or data set {key!r}; there are the tasks {listed(datasets)}. Weights that saw "
                "nobody of these are stated as NAME=none."
            )
        everyone = frozenset().union(*(scored[name] for name in tasks))
        is_complete = any(len(scored[name]) == plan["tasks"][name].get("n_subjects") for name in tasks)
        named = everyone if EVERYONE in subjects else frozenset(subjects)
        if is_complete and (strangers := sorted(named - everyone)):
            raise ValueError(
                f"{key} has no subjects {listed(strangers, at_most=5)}; it has {listed(sorted(everyone), at_most=10)}."
            )
        for name in tasks:
            seen[name] |= named
    return seen
