"""What a benchmark is to run, as it stands in the header of its results file."""

from collections.abc import Mapping

from mne_specmoe.benchmark.records import Cell

Plan = Mapping[str, object]
"""With the keys:

- ``tasks``: name → ``title``, ``dataset``, ``citation``, ``licence``, ``confounds``, ``known_leaks``, ``classes``,
  ``metric``, ``chance``, ``per_subject``, ``n_subjects``, ``n_windows``, ``n_channels``, ``window_seconds``,
  ``folds`` (names), ``kind`` ("task", or "identity" for those that ask whose windows they are, or of which data set).
  ``is_event_related`` is there, and True, where windows hold the response to a stimulus.
- ``estimators``: name → ``title``, ``role``, ``control_of``, ``control``, ``stochastic``, ``parameters``,
  ``weights_hash``, ``unsuited`` (task → why it is not run there), ``seen`` (task → subjects that its weights were
  pretrained on, or ``["unknown"]``). Some have ``is_centred`` (subjects are centred without labels: transductive),
  ``adds_to`` (name of the estimator without the features that this one adds), or ``left_out`` (data set → hash of the
  weights that run there and saw nothing of it; None for random ones), which are missing where they say nothing.
- ``budget``: the fields of `mne_specmoe.benchmark.entries.Budget`.
- ``n_seeds``: of those that are stochastic.
- ``command``: what makes the same results elsewhere; may be missing.
"""


def cells_of(plan: Plan, task: str, estimator: str) -> list[Cell]:
    """List the cells of one estimator on one task.

    Parameters
    ----------
    plan : Plan
        What is to be run.
    task, estimator : str
        Names in the plan.

    Returns
    -------
    cells : list of Cell
        By folds, then seeds; empty if the estimator is not run on the task.
    """
    entry = plan["estimators"][estimator]
    if task in entry["unsuited"]:
        return []
    n_seeds = plan["n_seeds"] if entry["stochastic"] else 1
    n_folds = len(plan["tasks"][task]["folds"])
    return [Cell(task, estimator, fold, seed) for fold in range(n_folds) for seed in range(n_seeds)]


def controls_of(plan: Plan, name: str, control: str) -> list[str]:
    """List the controls of one kind, such as ``"random"``, that an estimator has.

    Parameters
    ----------
    plan : Plan
        What is run.
    name : str
        Of the estimator, in the plan.
    control : str
        Kind of control.

    Returns
    -------
    names : list of str
    """
    entries = plan["estimators"].items()
    return [other for other, entry in entries if entry["control_of"] == name and entry["control"] == control]


def all_cells(plan: Plan) -> list[Cell]:
    """List all cells: first folds and seeds first, so that a run that is not finished has something of everything."""
    cells = [cell for task in plan["tasks"] for name in plan["estimators"] for cell in cells_of(plan, task, name)]
    return sorted(cells, key=lambda cell: (cell.fold, cell.seed))
