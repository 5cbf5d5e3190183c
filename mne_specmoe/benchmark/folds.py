"""Folds whose test part stays shut until the selection is closed."""

from collections.abc import Mapping

from mne_specmoe.benchmark.records import json_hash
from mne_specmoe.benchmark.splits import FoldIndices, Split
from mne_specmoe.benchmark.task_data import TaskData


class Fold:
    """One fold for one run of one estimator: train, select, close the selection, then test once.

    Parameters
    ----------
    data : TaskData
        All windows of the task.
    indices : FoldIndices
        Which of them are in which part.

    Examples
    --------
    >>> import numpy as np
    >>> names = np.array(["a", "b", "c"])
    >>> X, zeros = np.zeros((3, 1, 200)), np.zeros(3, int)
    >>> data = TaskData(X, zeros, names, names, names, zeros, 200.0, ("Cz",), ("rest",))
    >>> fold = Fold(data, FoldIndices("first", *np.arange(3)[:, None]))
    >>> fold.training().subjects.tolist()
    ['a']
    >>> token = fold.close_selection({"C": 0.1})
    >>> fold.test(token).subjects.tolist()
    ['c']
    """

    def __init__(self, data: TaskData, indices: FoldIndices):
        self._data = data
        self._indices = indices
        self._token: str | None = None
        self._opened = False

    @property
    def name(self) -> str:
        """Name of the fold."""
        return self._indices.name

    def training(self) -> TaskData:
        """What models are fitted to."""
        return self._data.take(self._indices.training)

    def validation(self) -> TaskData:
        """What settings and checkpoints are chosen by."""
        return self._data.take(self._indices.validation)

    def close_selection(self, choice: Mapping[str, object]) -> str:
        """State what was chosen; nothing may be chosen after that.

        Parameters
        ----------
        choice : mapping
            Settings, seed, checkpoint: what was selected, in values that JSON can hold.

        Returns
        -------
        token : str
            What `test` asks for: a hash of the fold and the choice, fit for a line of results.

        Raises
        ------
        ValueError
            If the choice is empty or has a number that is not finite, or if the selection was closed before.
        TypeError
            If JSON cannot hold the choice.
        """
        if self._token is not None:
            raise ValueError(f"The selection of {self.name!r} is closed already; make new folds for another run.")
        if not choice:
            raise ValueError("choice is empty; state what was selected, such as the estimator's parameters and seed.")
        self._token = json_hash([self.name, dict(choice)])
        return self._token

    def test(self, token: str) -> TaskData:
        """Hand the test part out, once.

        Parameters
        ----------
        token : str
            What `close_selection` returned.

        Returns
        -------
        data : TaskData

        Raises
        ------
        ValueError
            If the selection is not closed, if the token is another one, or if the test part was handed out before.
        """
        if self._token is None:
            raise ValueError(f"The test part of {self.name!r} is shut: select first, then call close_selection.")
        if token != self._token:
            raise ValueError(f"This token does not open {self.name!r}; give what its close_selection returned.")
        if self._opened:
            raise ValueError(f"The test part of {self.name!r} was opened before; make new folds for another run.")
        self._opened = True
        return self._data.take(self._indices.test)


def make_folds(data: TaskData, split: Split) -> tuple[Fold, ...]:
    """Folds for one run of one estimator, all shut."""
    return tuple(Fold(data, indices) for indices in split.folds)
