"""What the health check found: the numbers of a network, stage by stage, and their form in JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

GOOD, POOR, UNKNOWN = "good", "poor", "not measurable"
"""What a verdict may be."""

DECISIVE = "band powers"
"""The verdict without which nothing is healthy: all others can be good of features that carry no EEG."""


@dataclass(frozen=True)
class SpectrumFindings:
    """What plain features of the same epochs come to: `mne_specmoe.diagnosis.bands.log_relative_spectrum`.

    Attributes
    ----------
    participation_ratio : float
        See `mne_specmoe.diagnosis.statistics.participation_ratio`.
    r2 : dict of str to float
        Band → `mne_specmoe.diagnosis.bands.cross_person_r2`.
    """

    participation_ratio: float
    r2: dict[str, float]


@dataclass(frozen=True)
class StageFindings:
    """Numbers of one stage; NaN where something could not be measured.

    Attributes
    ----------
    n_features : int
        Features of a channel at one time.
    participation_ratio : float
        See `mne_specmoe.diagnosis.statistics.participation_ratio`; of means over time and channels.
    r2 : dict of str to float
        Band → `mne_specmoe.diagnosis.bands.cross_person_r2`, from means over time and channels.
    r2_with_deviations : dict of str to float
        The same from these means and the means over channels of the logarithm of the deviation over time.
    shares : dict of str to float
        See `mne_specmoe.diagnosis.statistics.variance_shares`.
    distance : float
        See `mne_specmoe.diagnosis.statistics.view_distance`.
    """

    n_features: int
    participation_ratio: float
    r2: dict[str, float]
    r2_with_deviations: dict[str, float]
    shares: dict[str, float]
    distance: float


@dataclass(frozen=True)
class ExchangeFindings:
    """What a network loses with features of others.

    Attributes
    ----------
    loss, baseline : str
        What is measured, and what is done without features.
    errors : dict of str to float
        ``"baseline"``, ``"own"``, ``"other_person"`` and ``"other_mask"`` (NaN where it cannot be asked): sums of
        losses over sums of what they are relative to, the mean over people.
    change : tuple of float
        Of the error with another person's features against that with its own: the mean over people, and the 95 %
        bootstrap interval over them.
    """

    loss: str
    baseline: str
    errors: dict[str, float]
    change: tuple[float, float, float]

    @property
    def gain(self) -> float:
        """How much better the network is with its own features than the baseline."""
        return self.errors["baseline"] - self.errors["own"]

    @property
    def lost(self) -> float:
        """Share of the gain that is lost with another person's features; NaN where nothing was gained."""
        return self.change[0] / self.gain if self.gain > 0 else np.nan


@dataclass(frozen=True)
class NetworkFindings:
    """Numbers of one network.

    Attributes
    ----------
    stages : dict of str to StageFindings
        In order of depth.
    r2 : dict of str to float
        Band → R² from the means and deviations of all stages together.
    exchange : ExchangeFindings | None
        None where it could not be measured.
    """

    stages: dict[str, StageFindings]
    r2: dict[str, float]
    exchange: ExchangeFindings | None


@dataclass(frozen=True)
class Verdict:
    """One line of the health check.

    Attributes
    ----------
    name : str
        What was asked.
    status : {"good", "poor", "not measurable"}
        The answer.
    text : str
        What was found, in words.
    limit : str
        What would have been good, and why.
    """

    name: str
    status: str
    text: str
    limit: str


@dataclass(frozen=True)
class Diagnosis:
    """A health check. Made by `mne_specmoe.diagnose`.

    Attributes
    ----------
    weights : str
        What was examined.
    family : {"specmoe", "brainrvq"}
        What it is.
    n_epochs, n_people, n_channels : int
        Of the epochs that were used.
    seconds : float
        Length of an epoch.
    spectrum : SpectrumFindings
        What the epochs' own spectra come to.
    trained : NetworkFindings
        What was found.
    random : list of NetworkFindings
        The same of random weights of the same architecture, one per seed; the first has all numbers, others only those
        that come from clean epochs.
    verdicts : list of Verdict
        One per question.
    """

    weights: str
    family: str
    n_epochs: int
    n_people: int
    n_channels: int
    seconds: float
    spectrum: SpectrumFindings
    trained: NetworkFindings
    random: list[NetworkFindings]
    verdicts: list[Verdict]

    @property
    def healthy(self) -> bool | None:
        """False if a verdict is poor; True if none is; None if none is, but nobody could ask for band powers."""
        status = {verdict.name: verdict.status for verdict in self.verdicts}
        if POOR in status.values():
            return False
        return None if status[DECISIVE] == UNKNOWN else True

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        poor = [verdict.name for verdict in self.verdicts if verdict.status == POOR]
        unknown = [verdict.name for verdict in self.verdicts if verdict.status == UNKNOWN]
        line = {True: "healthy", False: f"not healthy: {', '.join(poor)}", None: "undecided"}[self.healthy]
        return f"{line} (not measurable: {', '.join(unknown)})" if unknown else line

    def to_dict(self) -> dict[str, object]:
        """Everything as numbers, texts, lists and dicts, fit for JSON: NaN is None.

        Returns
        -------
        content : dict
            The attributes, with ``"healthy"`` and ``"summary"``.
        """
        content = {"healthy": self.healthy, "summary": self.summary} | asdict(self)
        for found, plain in zip([self.trained, *self.random], [content["trained"], *content["random"]], strict=True):
            if found.exchange is not None:
                plain["exchange"]["lost"] = found.exchange.lost
        return _plain(content)


def mean_over(values: Sequence[float]) -> float:
    """The mean of those that were measured; NaN if none was."""
    measured = [value for value in values if not np.isnan(value)]
    return float(np.mean(measured)) if measured else float("nan")


def _plain(content: object) -> object:
    """Numbers of NumPy as Python's, and NaN as None."""
    if isinstance(content, dict):
        return {str(name): _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content.item() if isinstance(content, np.generic) else content
