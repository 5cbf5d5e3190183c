"""The figures of a benchmark's report, as SVG: ranks, subjects one by one, and scores against compute.

They are drawn on white, as wide as a phone shows them without making their text too small, and are the same for the
same numbers, byte by byte.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mne_specmoe.benchmark.statistics import Ranking, Scores

# Okabe and Ito's colours, which all kinds of colour vision tell apart; shapes say the same.
_LOOKS = {
    "pretrained": ("#0072B2", "o"),
    "peer": ("#009E73", "s"),
    "classical": ("#D55E00", "^"),
    "control": ("#7F7F7F", "D"),
    "chance": ("#000000", "x"),
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
_LONGEST_NAME = 38  # characters


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
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 1.1 + 0.24 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            color, marker = _LOOKS[roles[name]]
            axes.plot(ranks[place], place, marker, color=color, markersize=6)
        groups = _cliques(ranks, ranking.critical_difference)
        right = max(ranks) + 0.06 * len(names)
        for number, (first, last) in enumerate(groups, start=1):
            axes.plot([right + 0.035 * len(names) * number] * 2, [first - 0.25, last + 0.25], color="black", lw=2.5)
        axes.set_yticks(range(len(names)), [_short(titles[name]) for name in names])
        axes.set_ylim(len(names) - 0.4, -1.6)
        axes.grid(axis="y", color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        axes.errorbar(
            1 + ranking.critical_difference / 2, -1, xerr=ranking.critical_difference / 2, color="black", capsize=3
        )
        label = f"critical difference {ranking.critical_difference:.2f}"
        axes.annotate(label, (1 + ranking.critical_difference, -1), (5, -3), textcoords="offset points", fontsize=8)
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
        axes.set(xlim=limits, ylim=limits, xlabel=f"{metric}, {_short(titles[1])}")
        axes.set_ylabel(f"{metric},\n{_short(titles[0])}")
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
        _short(point.title), (point.seconds, point.score), offset, textcoords="offset points", fontsize=8, ha=align
    )


def _role_legend(axes: Axes, roles: Sequence[str]) -> None:
    """Name the colours and shapes that occur, above the axes."""
    handles = []
    for role, (color, marker) in _LOOKS.items():
        if role in roles:
            handles += axes.plot([], [], marker, color=color, label=role)
    axes.figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handletextpad=0.1)


def _short(title: str) -> str:
    """A title that leaves room for the figure."""
    return title if len(title) <= _LONGEST_NAME else f"{title[: _LONGEST_NAME - 1]}…"


def _svg(figure: Figure) -> str:
    """A figure as text, without the date, which would make it another file each time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
