"""A health check as text for a terminal."""

from collections.abc import Callable, Mapping

import numpy as np

from mne_specmoe.diagnosis.findings import GOOD, POOR, Diagnosis, NetworkFindings, StageFindings, mean_over
from mne_specmoe.models.specmoe.masking import BANDS

_MARKS = {GOOD: "+", POOR: "-"}
_SHARES = ("mask", "person", "segment", "amplitude")
_COLUMNS: dict[str, Callable[[StageFindings], float]] = {
    "dims": lambda stage: stage.participation_ratio,
    **{band: lambda stage, band=band: stage.r2[band] for band in BANDS},
    **{name: lambda stage, name=name: stage.shares[name] for name in _SHARES},
    "distance": lambda stage: stage.distance,
}
_TITLE, _WIDTH = 15, 7  # characters, at least
_HEADS = f"{'R² to power in other people':>{_TITLE + 5 * _WIDTH}}{'share of variance by':>33}"


def as_text(diagnosis: Diagnosis) -> str:
    """Lay a health check out as text: verdicts, numbers by stages, and the verdict in one line.

    Parameters
    ----------
    diagnosis : Diagnosis
        From `mne_specmoe.diagnose`.

    Returns
    -------
    text : str
    """
    title = (
        f"{diagnosis.weights}: {diagnosis.n_epochs} epochs of {diagnosis.n_people} "
        f"{'person' if diagnosis.n_people == 1 else 'people'}, {diagnosis.n_channels} channels, {diagnosis.seconds:g} s"
    )
    lines = [title, ""]
    for verdict in diagnosis.verdicts:
        lines.append(f"{_MARKS.get(verdict.status, '?')} {verdict.name}: {verdict.status}")
        lines += [f"    {verdict.text}", f"    wanted: {verdict.limit}"]
    plain = diagnosis.spectrum
    lines += ["", _HEADS, *_table("weights", [diagnosis.trained])]
    if diagnosis.random:
        lines += ["", *_table("random weights", diagnosis.random)]
    lines += ["", _row("spectrum", {"dims": plain.participation_ratio} | plain.r2)]
    return "\n".join([*lines, "", f"{diagnosis.weights}: {diagnosis.summary}.", ""])


def _table(title: str, networks: list[NetworkFindings]) -> list[str]:
    """Numbers by stages, means over networks."""
    lines = [f"{title:<{_TITLE}}" + "".join(f"{name:>{_width(name)}}" for name in _COLUMNS)]
    for stage in networks[0].stages:
        values = {name: mean_over([read(each.stages[stage]) for each in networks]) for name, read in _COLUMNS.items()}
        lines.append(_row(stage, values))
    return [*lines, _row("all, with sd", {band: mean_over([each.r2[band] for each in networks]) for band in BANDS})]


def _row(title: str, values: Mapping[str, float]) -> str:
    """Numbers in their columns; none where nothing was measured."""
    known = {name: f"{value:.2f}" for name, value in values.items() if not np.isnan(value)}
    cells = "".join(f"{known.get(name, ''):>{_width(name)}}" for name in _COLUMNS)
    return f"{title:<{_TITLE}}{cells}".rstrip()


def _width(name: str) -> int:
    """Width of a column."""
    return max(_WIDTH, len(name) + 2)
