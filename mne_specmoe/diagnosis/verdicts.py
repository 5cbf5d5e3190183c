"""What the numbers of a health check mean, in words; every limit with its reason."""

from collections.abc import Mapping, Sequence

import numpy as np

from mne_specmoe.diagnosis.examinee import READ_STAGE
from mne_specmoe.diagnosis.findings import (
    DECISIVE,
    GOOD,
    POOR,
    UNKNOWN,
    ExchangeFindings,
    NetworkFindings,
    SpectrumFindings,
    Verdict,
    mean_over,
)

FEWEST_DIMENSIONS = 4.0
"""As many as there are bands whose powers differ between epochs."""

LEAST_OF_SPECTRUM = 0.5
"""Share of the dimensions of the spectrum that is enough: epochs that hardly differ, or that differ in one artefact,
fill few themselves."""

LEAST_R2 = 0.6
"""Share of what the spectrum itself tells of alpha and beta: below, it is by far the better feature."""

MOST_LOST_R2 = 0.1
"""Below the worst seed of random weights. Seeds differ: with eight people, R² of three random experts together by up to
0.3, of one random encoder of BrainRVQ by 0.6."""

MOST_MASK = 3.0
"""How many times more the mask may count than person and segment. Random experts, which ignore nothing, come to 1 to 3;
experts that only looked for the mask came to 5 and 7."""

MOST_AMPLITUDE = 1.0
"""How many times more a gain between ½ and 2 may count than person and segment: amplifiers differ as much."""

LEAST_LOST = 0.5
"""Share of the gain that another person's features must cost: what is left is read off the mask alone."""

LEAST_GAIN = 0.005
"""Of an error, what counts as any gain at all."""

MOST_DISTANCE = 2.0
"""Deviations between the views: 95 of 100 masked segments lie within 2, so beyond it clean ones are foreign."""

_JUDGED_BANDS = ("alpha", "beta")


def judge(
    trained: NetworkFindings,
    random: Sequence[NetworkFindings],
    spectrum: SpectrumFindings,
    reasons: Mapping[str, str],
) -> list[Verdict]:
    """Judge a network by its numbers.

    Parameters
    ----------
    trained : NetworkFindings
        The network.
    random : sequence of NetworkFindings
        Random weights of the same architecture.
    spectrum : SpectrumFindings
        The spectra of the same epochs.
    reasons : mapping of str to str
        Why a question cannot be answered, by the name of the verdict.

    Returns
    -------
    verdicts : list of Verdict
    """
    verdicts = [
        _dimensions(trained, random, spectrum),
        _band_powers(trained, spectrum),
        _against_random(trained, random),
        _mask(trained, random),
        _amplitude(trained),
        _exchange(trained.exchange),
        _distance(trained, random),
    ]
    return [_with_reason(verdict, reasons) for verdict in verdicts]


def _verdict(name: str, is_good: bool, text: str, limit: str, *measured: float) -> Verdict:
    """Good or poor, or not measurable where a number is missing."""
    if np.isnan(measured).any():
        return Verdict(name, UNKNOWN, "", limit)
    return Verdict(name, GOOD if is_good else POOR, text, limit)


def _with_reason(verdict: Verdict, reasons: Mapping[str, str]) -> Verdict:
    """Say why something was not measurable."""
    if verdict.status != UNKNOWN:
        return verdict
    text = reasons.get(verdict.name, "the features do not vary")
    return Verdict(verdict.name, UNKNOWN, text, verdict.limit)


def _read(findings: NetworkFindings, name: str) -> object:
    """A number of the stage that estimators read."""
    return getattr(findings.stages[READ_STAGE], name)


def _random_mean(random: Sequence[NetworkFindings], read) -> float:
    """Mean of a number over seeds of random weights."""
    return mean_over([read(each) for each in random])


def _against(value: float, digits: int = 2) -> str:
    """What random weights come to."""
    return "" if np.isnan(value) else f" (random weights: {value:.{digits}f})"


def _dimensions(trained: NetworkFindings, random: Sequence[NetworkFindings], spectrum: SpectrumFindings) -> Verdict:
    """Whether features fill more than a line."""
    ratio, plain = _read(trained, "participation_ratio"), spectrum.participation_ratio
    other = _random_mean(random, lambda each: _read(each, "participation_ratio"))
    text = (
        f"the {_read(trained, 'n_features')} features that are read fill {ratio:.1f} dimensions{_against(other, 1)}, "
        f"the spectrum {plain:.1f}"
    )
    limit = (
        f"at least {FEWEST_DIMENSIONS:g}, as many as bands whose powers differ, or {LEAST_OF_SPECTRUM:.0%} of the "
        "spectrum's if that is less"
    )
    good = ratio >= min(FEWEST_DIMENSIONS, LEAST_OF_SPECTRUM * plain)
    return _verdict("dimensions", good, text, limit, ratio, plain)


def _band_powers(trained: NetworkFindings, spectrum: SpectrumFindings) -> Verdict:
    """Whether the stage that is read tells alpha and beta of other people."""
    read = {band: _read(trained, "r2")[band] for band in _JUDGED_BANDS}
    plain = {band: spectrum.r2[band] for band in _JUDGED_BANDS}
    parts = [f"{band} {read[band]:.2f} ({_best_stage(trained, band)}; spectrum {plain[band]:.2f})" for band in read]
    text = f"R² to the relative power in other people, from {READ_STAGE}: {', '.join(parts)}"
    limit = f"at least {LEAST_R2:.0%} of what the spectrum itself gives; below, it is by far the better feature"
    good = all(read[band] >= LEAST_R2 * plain[band] for band in read)
    return _verdict(DECISIVE, good, text, limit, *read.values(), *plain.values())


def _best_stage(trained: NetworkFindings, band: str) -> str:
    """Where a band is read best."""
    stage = max(trained.stages, key=lambda name: np.nan_to_num(trained.stages[name].r2[band], nan=-np.inf))
    return f"most at {stage}, {trained.stages[stage].r2[band]:.2f}"


def _against_random(trained: NetworkFindings, random: Sequence[NetworkFindings]) -> Verdict:
    """Whether training has cost what random weights carry."""
    own = _read(trained, "r2")
    seeds = {band: [_read(each, "r2")[band] for each in random] for band in own}
    worst = {band: min(values, default=np.nan) for band, values in seeds.items()}
    lost = [
        f"{band} ({own[band]:.2f}; random weights {worst[band]:.2f} to {max(seeds[band]):.2f})"
        for band in own
        if max(own[band], 0.0) < worst[band] - MOST_LOST_R2  # below 0 is nothing
    ]
    text = f"training has lost {', '.join(lost)}" if lost else "no band is read worse than from any random weights"
    limit = f"R² at most {MOST_LOST_R2:g} below the worst of random weights, in every band"
    return _verdict("against random", not lost, text, limit, *own.values(), *worst.values())


def _of_recording(shares: dict[str, float]) -> float:
    """What person and segment explain."""
    return shares["person"] + shares["segment"]


def _mask(trained: NetworkFindings, random: Sequence[NetworkFindings]) -> Verdict:
    """Whether the mask counts for more than the recording."""
    shares = _read(trained, "shares")
    other = _random_mean(random, lambda each: _read(each, "shares")["mask"])
    text = (
        f"the mask explains {shares['mask']:.0%} of a feature's variance, person and segment "
        f"{_of_recording(shares):.0%}" + ("" if np.isnan(other) else f" (random weights: mask {other:.0%})")
    )
    limit = f"the mask at most {MOST_MASK:g} times person and segment; random experts come to 1 to 3"
    good = shares["mask"] <= MOST_MASK * _of_recording(shares)
    return _verdict("mask", good, text, limit, shares["mask"])


def _amplitude(trained: NetworkFindings) -> Verdict:
    """Whether an amplifier's gain counts for more than the recording."""
    shares = _read(trained, "shares")
    text = (
        f"a gain of ½ to 2 explains {shares['amplitude']:.0%} of a feature's variance, person and segment "
        f"{_of_recording(shares):.0%}"
    )
    limit = "at most what person and segment explain: amplifiers differ as much"
    good = shares["amplitude"] <= MOST_AMPLITUDE * _of_recording(shares)
    return _verdict("amplitude", good, text, limit, shares["amplitude"])


def _exchange(found: ExchangeFindings | None) -> Verdict:
    """Whether features of another person are any worse than one's own."""
    name = "features of another person"
    limit = f"at least {LEAST_LOST:.0%} of the gain lost; what is left is read off the mask alone"
    if found is None:
        return Verdict(name, UNKNOWN, "", limit)
    errors = found.errors
    if found.gain < LEAST_GAIN:
        text = (
            f"{errors['own']:.3f} with its own features is no better than {found.baseline} ({errors['baseline']:.3f})"
        )
        return Verdict(name, POOR, f"nothing was learnt: {text}; {found.loss}", limit)
    change, low, high = found.change
    text = (
        f"under the same mask they change the error by {change:+.3f} [{low:+.3f}, {high:+.3f}], {found.lost:.0%} of "
        f"the gain of {found.gain:.3f} over {found.baseline}"
    )
    if not np.isnan(errors["other_mask"]):
        text += f"; its own under another mask by {errors['other_mask'] - errors['own']:+.3f}"
    return Verdict(name, GOOD if found.lost >= LEAST_LOST else POOR, text, limit)


def _distance(trained: NetworkFindings, random: Sequence[NetworkFindings]) -> Verdict:
    """Whether clean signals are foreign to a network that was trained on masked ones."""
    distance = _read(trained, "distance")
    other = _random_mean(random, lambda each: _read(each, "distance"))
    text = f"clean signals lie {distance:.1f} sd from masked ones{_against(other, 1)}"
    limit = f"at most {MOST_DISTANCE:g} sd, within which 95 of 100 masked ones lie"
    return _verdict("clean view", distance <= MOST_DISTANCE, text, limit, distance)
