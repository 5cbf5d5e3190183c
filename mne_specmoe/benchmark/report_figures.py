"""The figures of a benchmark's report, as SVG: ranks, subjects one by one, and scores against compute.

They are drawn on white, as wide as a phone shows them without making their text too small, and are the same for the
same numbers, byte by byte.
"""

import io
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mne_specmoe.benchmark.statistics import Ranking, Scores

# Okabe and Ito's colours, which all kinds of colour vision tell apart; shapes say the same.
_LOOKS = {
    "pretrained": ("#0072B2", "o"),
    "peer": ("#009E73", "s"),
    "classical": ("#D55E00", "^"),
    "control": ("#7F7F7F", "D"),
    "chance": ("#000000", "x"),
    "combined": ("#CC79A7", "v"),
}
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "mne-specmoe",  # else names inside the file are drawn by chance
    "svg.fonttype": "path",  # no font has to be there
    "text.parse_math": False,  # names may hold dollar signs
}
_WIDTH = 5.0  # inches
_LINE = 34  # characters
_ABOVE = 2.5  # lines above the first rank, for the critical difference


class Point(NamedTuple):
    """An estimator in the plot of scores against compute.

    Attributes
    ----------
    title, role : str
        Of the estimator.
    seconds, score : float
        Where it is.
    is_named : bool
        Whether its title is written beside it.
    """

    title: str
    role: str
    seconds: float
    score: float
    is_named: bool


def rank_figure(ranking: Ranking, titles: Mapping[str, str], roles: Mapping[str, str]) -> str:
    """Draw mean ranks, with a line beside each group of estimators that cannot be told apart.

    Parameters
    ----------
    ranking : Ranking
        Over tasks.
    titles, roles : mapping of str to str
        Of each estimator in the ranking.

    Returns
    -------
    svg : str

    References
    ----------
    Demšar, J. (2006), "Statistical comparisons of classifiers over multiple data sets", figure 1.
    """
    names, ranks = list(ranking.ranks), list(ranking.ranks.values())
    labels = [_wrapped(titles[name]) for name in names]
    heights = np.array([1.6 + label.count("\n") for label in labels])  # in lines of text
    places = heights.cumsum() - heights / 2
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 1.1 + 0.155 * (heights.sum() + _ABOVE)), layout="constrained")
        axes = figure.add_subplot()
        for name, mean, place in zip(names, ranks, places, strict=True):
            color, marker = _LOOKS[roles[name]]
            axes.plot(mean, place, marker, color=color, markersize=6)
        groups = _cliques(ranks, ranking.critical_difference)
        right = max(ranks) + 0.06 * len(names)
        for number, (first, last) in enumerate(groups, start=1):
            across, along = right + 0.035 * len(names) * number, (places[first] - 0.4, places[last] + 0.4)
            axes.plot([across] * 2, along, color="black", lw=2.5)
        axes.set_yticks(places, labels)
        axes.set_ylim(heights.sum(), -_ABOVE)
        axes.grid(axis="y", color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        axes.errorbar(
            1 + ranking.critical_difference / 2, -1, xerr=ranking.critical_difference / 2, color="black", capsize=3
        )
        axes.annotate(f"critical difference {ranking.critical_difference:.2f}", (1, -1), (0, 5),
                      textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set_xlim(left=0.5)
        axes.set_xlabel(f"mean rank over {ranking.n_tasks} tasks (1 is best)")
        _role_legend(axes, [roles[name] for name in names])
        return _svg(figure)


def subjects_figure(first: Scores, second: Scores, titles: tuple[str, str], seen: Collection[str], metric: str) -> str:
    """Draw each subject's score with one estimator against that with another.

    Parameters
    ----------
    first, second : mapping of str to float
        Subject → score, upwards and to the right.
    titles : tuple of str
        Of the two.
    seen : collection of str
        Subjects that the weights of the first were pretrained on; their circles are hollow.
    metric : str
        What the scores are.

    Returns
    -------
    svg : str
    """
    counts: dict[tuple[float, float, bool], int] = {}
    for who in sorted(first.keys() & second.keys()):
        place = (round(second[who], 9), round(first[who], 9), who in seen)
        counts[place] = counts.get(place, 0) + 1
    values = [value for x, y, _ in counts for value in (x, y)]
    margin = 0.06 * (max(values) - min(values)) or 0.1
    color = _LOOKS["pretrained"][0]
    limits = (min(values) - margin, max(values) + margin)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(limits, limits, color="0.6", lw=0.8, zorder=1)
        for (x, y, is_seen), n in counts.items():
            size = 26 if n == 1 else 40 + 26 * n  # room for the number
            face = "none" if is_seen else color
            axes.scatter(x, y, size, face, edgecolors=color, alpha=0.8, zorder=2)
            if n > 1:
                axes.annotate(f"{n}", (x, y), ha="center", va="center_baseline", fontsize=7,
                              color=color if is_seen else "white")  # fmt: skip
        axes.set(xlim=limits, ylim=limits, xlabel=f"{metric},\n{_wrapped(titles[1])}")
        axes.set_ylabel(f"{metric},\n{_wrapped(titles[0])}")
        axes.set_aspect("equal")
        return _svg(figure)


def compute_figure(points: Sequence[Point], chance: float | None, metric: str) -> str:
    """Draw scores against the time that a cell takes.

    Parameters
    ----------
    points : sequence of Point
        The estimators.
    chance : float | None
        Score of a guess.
    metric : str
        What the scores are.

    Returns
    -------
    svg : str
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
        axes = figure.add_subplot()
        if chance is not None:
            axes.axhline(chance, color="0.6", lw=0.8, ls="--", zorder=1)
            axes.annotate("chance", (0, chance), (2, 2), xycoords=("axes fraction", "data"),
                          textcoords="offset points", fontsize=8, color="0.4")  # fmt: skip
        for point in points:
            color, marker = _LOOKS[point.role]
            axes.plot(point.seconds, point.score, marker, color=color, markersize=6, alpha=0.85)
            if point.is_named:
                _name(axes, point, points)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=_steps(points)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="seconds per cell", ylabel=metric)
        axes.margins(x=0.1, y=0.12)
        _role_legend(axes, [point.role for point in points])
        return _svg(figure)


def _cliques(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """First and last place of each largest group of ranks, which ascend, that lie closer than a distance."""
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] < distance or i == first)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def _name(axes: Axes, point: Point, points: Sequence[Point]) -> None:
    """Write a title beside its point, on the side where there is more room."""
    is_right = point.seconds**2 > min(p.seconds for p in points) * max(p.seconds for p in points)
    offset, align = ((-6, 5), "right") if is_right else ((6, 5), "left")
    axes.annotate(
        _wrapped(point.title), (point.seconds, point.score), offset, textcoords="offset points", fontsize=8, ha=align
    )


def _role_legend(axes: Axes, roles: Sequence[str]) -> None:
    """Name the colours and shapes that occur, above the axes."""
    handles = []
    for role, (color, marker) in _LOOKS.items():
        if role in roles:
            handles += axes.plot([], [], marker, color=color, label=role)
    axes.figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handletextpad=0.1)


def _wrapped(title: str) -> str:
    """A title in lines that leave room for the figure; nothing of it is lost."""
    return "\n".join(textwrap.wrap(title, _LINE))


def _steps(points: Sequence[Point]) -> tuple[int, ...]:
    """Which multiples of powers of ten have ticks: more of them on a short axis."""
    seconds = [point.seconds for point in points]
    return (1,) if max(seconds) > 300 * min(seconds) else (1, 3) if max(seconds) > 30 * min(seconds) else (1, 2, 5)


def _svg(figure: Figure) -> str:
    """A figure as text, without the date, which would make it another file each time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
