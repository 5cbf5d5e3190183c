"""The passes of the health check through a network, and the numbers that come out of them.

Shapes in the comments: B batch, C channels, T samples, F features, L steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from mne_specmoe.benchmark.intervals import bootstrap
from mne_specmoe.diagnosis.bands import FEWEST_PEOPLE, cross_person_r2, log_relative_spectrum
from mne_specmoe.diagnosis.examinee import Examinee, Losses, passes
from mne_specmoe.diagnosis.findings import ExchangeFindings, NetworkFindings, SpectrumFindings, StageFindings
from mne_specmoe.diagnosis.statistics import FACTORS, participation_ratio, variance_shares, view_distance
from mne_specmoe.models.specmoe.masking import BANDS
from mne_specmoe.reconstruction import epoch_seeds

FEWEST_EPOCHS = 20
"""With fewer, neither dimensions nor band powers can be told."""

N_MASKS = 6
"""Masks that the same segments are seen under."""

GAINS = (1.0, 0.5, 2.0)
"""Factors that the same segments are seen at."""

_N_SEGMENTS, _N_PERSONS = 16, 8  # of the grid of masks and gains, at most
_N_EXCHANGED = 32  # segments whose features are exchanged, at most
_FLOOR = 1e-6  # of a deviation, below its logarithm

Features = dict[str, tuple[np.ndarray, np.ndarray]]
"""Stage → means over time, and logarithms of deviations over time: both means over channels, (n_epochs, n_features)."""


@dataclass(frozen=True)
class Sample:
    """The epochs of a health check.

    Attributes
    ----------
    x : Tensor, shape (n_epochs, n_channels, n_times)
        200 Hz, units of 100 µV.
    groups : ndarray of int, shape (n_epochs,)
        Number of the person.
    targets : ndarray, shape (n_epochs, 4)
        What is read from features: `mne_specmoe.diagnosis.bands.log_relative_power`.
    seed : int
        Of masks and of the choice of strangers.
    """

    x: Tensor
    groups: np.ndarray
    targets: np.ndarray
    seed: int

    @property
    def n_people(self) -> int:
        """How many people were recorded."""
        return len(np.unique(self.groups))


def spread(groups: np.ndarray, n_most: int, *, n_people: int | None = None, least: int = 1) -> np.ndarray:
    """Choose epochs: the same number of every person as far as they have them, evenly over their recordings.

    Parameters
    ----------
    groups : ndarray, shape (n_epochs,)
        Who was recorded.
    n_most : int
        How many epochs at most.
    n_people : int | None
        Of how many people at most, evenly spread; None: all.
    least : int
        Epochs of every person, whatever `n_most` says; who has fewer is left out.

    Returns
    -------
    index : ndarray of int
        The epochs chosen, in their order.
    """
    people, counts = np.unique(groups, return_counts=True)
    people = people[counts >= least]
    if n_people is not None and len(people) > n_people:
        people = people[np.linspace(0, len(people) - 1, n_people).astype(int)]
    per_person, chosen = max(least, n_most // max(1, len(people))), []
    for person in people:
        own = np.flatnonzero(groups == person)
        chosen.append(own[np.linspace(0, len(own) - 1, min(per_person, len(own))).astype(int)])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=int)


@torch.inference_mode()
def examine(examinee: Examinee, sample: Sample, *, clean_only: bool = False, name: str = "") -> NetworkFindings:
    """Measure everything about one network.

    Parameters
    ----------
    examinee : Examinee
        The network.
    sample : Sample
        What it is shown.
    clean_only : bool
        Leave out masks, gains and the exchange of features, which take most of the time.
    name : str
        Title of the progress bar; none without.

    Returns
    -------
    findings : NetworkFindings
    """
    grid_index = _grid_segments(sample)
    with_grid = not clean_only and examinee.no_mask is None and grid_index is not None
    features = _features(lambda i: examinee.activations(sample.x[i]), sample.x, title=name and f"{name}, clean")
    grid = _grid(examinee, sample.x, grid_index, sample.seed, name and f"{name}, masked") if with_grid else None
    exchange = None if clean_only else _exchange(examinee, sample)
    stages = {stage: _stage(stage, features, grid, grid_index, sample) for stage in examinee.stages}
    everything = np.concatenate([part for parts in features.values() for part in parts], 1)
    return NetworkFindings(stages, _r2(everything, sample), exchange)


def examine_spectrum(sample: Sample) -> SpectrumFindings:
    """Measure the plainest features of the same epochs: their spectra."""
    spectrum = log_relative_spectrum(sample.x.numpy())
    enough = len(spectrum) >= FEWEST_EPOCHS
    return SpectrumFindings(participation_ratio(spectrum) if enough else np.nan, _r2(spectrum, sample))


def pooled(activations: dict[str, Tensor]) -> Features:
    """Means over time, and logarithms of deviations over time, both averaged over channels, of stages [B, C, F, L]."""
    return {
        stage: tuple(part.mean(1).float().cpu().numpy() for part in _over_time(x)) for stage, x in activations.items()
    }


def _over_time(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the deviation over time: [B, C, F, L] → twice [B, C, F]."""
    return x.mean(-1), x.std(-1, correction=0).clamp_min(_FLOOR).log()


def _features(compute: Callable[[Tensor], dict[str, Tensor]], x: Tensor, *, title: str = "") -> Features:
    """Pooled features of all signals; `compute` is given numbers of signals."""
    batches = tqdm(passes(x), desc=title, unit="batch", disable=not title, leave=False)
    parts = [pooled(compute(index)) for index in batches]
    return {
        stage: tuple(np.concatenate(column) for column in zip(*(p[stage] for p in parts), strict=True))
        for stage in parts[0]
    }


def _stage(
    stage: str, features: Features, grid: dict[str, np.ndarray] | None, index: np.ndarray | None, sample: Sample
) -> StageFindings:
    """All numbers of one stage."""
    means, deviations = features[stage]
    enough = len(means) >= FEWEST_EPOCHS
    shares, distance = dict.fromkeys(FACTORS, np.nan), np.nan
    if grid is not None:
        shares = variance_shares(grid[stage])
        masked = grid[stage][:, :, :, GAINS.index(1.0)]  # persons, segments, masks, features
        distance = view_distance(means[index.ravel()], masked.reshape(index.size, N_MASKS, -1))
    return StageFindings(
        n_features=means.shape[1],
        participation_ratio=participation_ratio(means) if enough else np.nan,
        r2=_r2(means, sample),
        r2_with_deviations=_r2(np.concatenate([means, deviations], 1), sample),
        shares=shares,
        distance=distance,
    )


def _r2(features: np.ndarray, sample: Sample) -> dict[str, float]:
    """Band → R², NaN with too few people or epochs."""
    if sample.n_people < FEWEST_PEOPLE or len(features) < FEWEST_EPOCHS:
        return dict.fromkeys(BANDS, np.nan)
    return dict(zip(BANDS, map(float, cross_person_r2(features, sample.targets, sample.groups)), strict=True))


def _grid_segments(sample: Sample) -> np.ndarray | None:
    """Segments of the grid, (n_persons, n_segments); None if there are not two of any person."""
    chosen = spread(sample.groups, _N_SEGMENTS, n_people=_N_PERSONS, least=2)
    if not len(chosen):
        return None
    people, counts = np.unique(sample.groups[chosen], return_counts=True)
    return np.stack([chosen[sample.groups[chosen] == person][: counts.min()] for person in people])


def _grid(examinee: Examinee, x: Tensor, index: np.ndarray, seed: int, title: str) -> dict[str, np.ndarray]:
    """Means over time and channels of segments under all masks at all gains, by stages: (P, S, M, G, F)."""
    segments, cells = x[index.ravel()], []
    for seed_of_mask in tqdm(epoch_seeds(seed, N_MASKS), desc=title, unit="mask", disable=not title, leave=False):
        seeds = seed_of_mask.expand(len(segments))
        for gain in GAINS:
            cell = _features(
                lambda i, x=gain * segments, seeds=seeds: examinee.masked_activations(x[i], seeds[i]), segments
            )
            cells.append({stage: means for stage, (means, _) in cell.items()})
    shape = (N_MASKS, len(GAINS), *index.shape, -1)
    grids = {stage: np.stack([cell[stage] for cell in cells]).reshape(shape) for stage in examinee.stages}
    return {stage: grid.transpose(2, 3, 0, 1, 4) for stage, grid in grids.items()}


def _exchange(examinee: Examinee, sample: Sample) -> ExchangeFindings | None:
    """What the network loses with features of others; None where that cannot be asked."""
    if examinee.no_exchange is not None or sample.n_people < 2:
        return None
    chosen = spread(sample.groups, _N_EXCHANGED, n_people=_N_EXCHANGED)
    groups, rng = sample.groups[chosen], np.random.default_rng(sample.seed)
    strangers = [rng.choice(chosen[groups != person]) for person in groups]
    seeds, others = epoch_seeds(sample.seed, 2 * len(chosen)).chunk(2)
    losses = examinee.exchange(sample.x[chosen], sample.x[strangers], seeds, others)
    return _exchange_findings(examinee, losses, groups)


def _exchange_findings(examinee: Examinee, losses: Losses, groups: np.ndarray) -> ExchangeFindings | None:
    """Errors person by person, and their means; None where the losses are no numbers, as of flat signals."""
    per_person = {name: _per_person(values, losses.clean, groups) for name, values in losses._asdict().items()}
    known = np.isfinite(per_person["own"]) & np.isfinite(per_person["other_person"])
    if known.sum() < 2:
        return None
    errors = {name: float(each[known].mean()) for name, each in per_person.items() if name != "clean"}
    change = bootstrap((per_person["other_person"] - per_person["own"])[known])
    return ExchangeFindings(examinee.loss, examinee.baseline, errors, tuple(change))


def _per_person(values: np.ndarray | None, clean: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums over segments of a person over those of the clean signal; NaN for what was not asked, or is flat."""
    people = np.unique(groups)
    if values is None:
        return np.full(len(people), np.nan)
    total = np.array([clean[groups == person].sum() for person in people])
    sums = np.array([values[groups == person].sum() for person in people])
    return np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)
