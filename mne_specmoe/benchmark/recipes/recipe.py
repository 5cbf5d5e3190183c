"""What a recipe is: a task on files as their authors distribute them, under a published protocol or a clean one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mne_specmoe._validation import check_option, listed
from mne_specmoe.benchmark.fingerprints import Fingerprint, check_fingerprint
from mne_specmoe.benchmark.folds import Fold, make_folds
from mne_specmoe.benchmark.leakage import check_labels, check_split
from mne_specmoe.benchmark.splits import Split, SplitRule
from mne_specmoe.benchmark.task_data import TaskData

PROTOCOLS = ("published", "clean")


@dataclass(frozen=True, eq=False)
class Recipe:
    """One task on a data set in its original layout; to the runner the same as a `mne_specmoe.benchmark.tasks.Task`.

    Attributes
    ----------
    name, title : str
        Short name, which ends with the protocol, and what is told from what.
    protocol : {"published", "clean"}
        As the papers did it, or with its faults mended.
    citation, licence, obtain : str
        Source of the data, terms, and what to do to have it below the data root.
    confounds : tuple of str
        What a score may be about instead, and other limits; to be stated with every score.
    known_leaks : tuple of str
        How test data or validation data are known from training under this protocol. With one or more, the split is
        not refused, and results have to say so. A clean protocol has none.
    classes : tuple of str
        Names of the labels, in order; none for a regression.
    window_seconds : float
        Length of a window.
    folder : str
        Folder of the data set below the data root.
    missing : callable
        Takes that folder, and returns what is not there, as names of files or folders.
    read : callable
        Takes that folder, and returns the windows.
    rule : callable
        Makes the split, from names and times.
    subjects : tuple of str
        The subjects, where a protocol lists them.
    frozen : Fingerprint or None
        What data and split must be; None where the authors of this package did not have the data.
    per_subject : bool
        Whether a subject has one label, so that the score has to be of subjects, not of windows.
    metric : str
        Name of the score.

    Raises
    ------
    ValueError
        If the protocol is not known, or if a clean one has known leaks.
    """

    name: str
    title: str
    protocol: str
    citation: str = field(repr=False)
    licence: str = field(repr=False)
    obtain: str = field(repr=False)
    confounds: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...]
    window_seconds: float
    folder: str
    missing: Callable[[Path], Sequence[str]] = field(repr=False)
    read: Callable[[Path], TaskData] = field(repr=False)
    rule: SplitRule = field(repr=False)
    known_leaks: tuple[str, ...] = field(default=(), repr=False)
    subjects: tuple[str, ...] = field(default=(), repr=False)
    frozen: Fingerprint | None = field(default=None, repr=False)
    per_subject: bool = False
    metric: str = "balanced_accuracy"

    def __post_init__(self):
        check_option("protocol", self.protocol, PROTOCOLS)
        if self.known_leaks and self.protocol == "clean":
            raise ValueError(f"{self.name!r} is a clean protocol, so it cannot have known leaks.")

    @property
    def chance(self) -> float:
        """What a guess scores: balanced accuracy, or the R² of the mean."""
        return 1 / len(self.classes) if self.classes else 0.0

    @property
    def dataset(self) -> str:
        """Name of the data set, which is its folder."""
        return self.folder.split("/")[0]

    def available(self, root: Path) -> tuple[bool, str]:
        """Tell if the task can be run from a data root, and if not, what is missing and how to obtain it."""
        folder = root / self.folder
        absent = [self.folder] if not folder.is_dir() else list(self.missing(folder))
        if not absent:
            return True, ""
        return False, f"{self.name}: missing below {root}: {listed(absent, at_most=6)}. {self.obtain}"

    def load(self, root: Path) -> TaskData:
        """Read all windows, and check that nothing leaks but what is known to; see `Task.load`.

        Parameters
        ----------
        root : Path
            Folder of the data sets.

        Returns
        -------
        data : TaskData

        Raises
        ------
        FileNotFoundError
            If files are missing; the message says how to obtain them.
        ValueError
            If files are damaged or others than the protocol expects, or if the split leaks where it should not.
        """
        available, instruction = self.available(root)
        if not available:
            raise FileNotFoundError(instruction)
        data = self.read(root / self.folder).read_only()
        split = self.split(data)
        if self.frozen is not None:
            check_fingerprint(self.name, self.frozen, data, split)
        if self.known_leaks:
            check_labels(data, split)
        else:
            check_split(data, split)
        return data

    def split(self, data: TaskData) -> Split:
        """Places of all windows in all folds, those of the test parts too."""
        return self.rule(data)

    def folds(self, data: TaskData) -> tuple[Fold, ...]:
        """Folds for one run of one estimator, whose test parts are shut until their selection is closed."""
        return make_folds(data, self.split(data))
