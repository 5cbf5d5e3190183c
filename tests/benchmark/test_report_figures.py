"""The figures show what they were given, and nothing that they could not tell."""

import re

import matplotlib
import pytest

from mne_specmoe.benchmark import report_figures as module
from mne_specmoe.benchmark.report_figures import Point, compute_figure, rank_figure, subjects_figure
from mne_specmoe.benchmark.statistics import Ranking

SCORES = {"s1": 0.7, "s2": 0.8, "s3": 0.9}
POINTS = [Point("A $1 method", "pretrained", 20.0, 0.8, True), Point("B", "classical", 3.0, 0.6, False)]


@pytest.fixture
def drawn(monkeypatch):
    """Catch figures before they become text."""
    figures, save = [], module._svg

    def keep(figure):
        figures.append(figure)
        return save(figure)

    monkeypatch.setattr(module, "_svg", keep)
    return figures


def test_groups_of_ranks_are_those_within_the_distance():
    ranks = [1.0, 2.0, 2.5, 4.0, 7.0]
    assert module._cliques(ranks, 2.1) == [(0, 2), (1, 3)]
    assert module._cliques(ranks, 0.4) == []
    assert module._cliques(ranks, 10) == [(0, 4)]


def test_ranks_are_named_in_full_and_drawn_where_they_are(drawn):
    title = "A very long title of an estimator with many words in it ⚠"
    ranking = Ranking({"a": 1.0, "b": 1.5, "c": 3.5}, 1.2, 4)
    rank_figure(ranking, {"a": title, "b": "B", "c": "C"}, {"a": "pretrained", "b": "peer", "c": "chance"})
    (axes,) = drawn[0].axes
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert labels == [title, "B", "C"]
    places = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1][:3]
    assert places == [1.0, 1.5, 3.5]
    bars = [line for line in axes.lines if line.get_linewidth() == 2.5]
    assert len(bars) == 1  # a and b
    assert "critical difference 1.20" in [text.get_text() for text in axes.texts]


def test_subjects_that_were_seen_are_hollow_and_equal_ones_are_counted(drawn):
    first, second = {**SCORES, "s4": 0.9}, {**dict.fromkeys(SCORES, 0.5), "s4": 0.5}
    subjects_figure(first, second, ("first", "second"), {"s1"}, "score")
    (axes,) = drawn[0].axes
    hollow = {tuple(dot.get_offsets()[0]): not len(dot.get_facecolor()) for dot in axes.collections}
    assert hollow == {(0.5, 0.7): True, (0.5, 0.8): False, (0.5, 0.9): False}
    assert [text.get_text() for text in axes.texts] == ["2"]


def test_subjects_with_the_same_score_have_a_figure(drawn):
    subjects_figure({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, ("first", "second"), (), "score")
    low, high = drawn[0].axes[0].get_xlim()
    assert low < 1 < high


@pytest.mark.parametrize("slowest", [4.0, 100.0, 5000.0])
def test_seconds_have_plain_ticks(drawn, slowest):
    compute_figure([POINTS[0]._replace(seconds=slowest), POINTS[1]], 0.5, "score")
    (axes,) = drawn[0].axes
    low, high = axes.get_xlim()
    shown = [float(label.get_text()) for label in axes.get_xticklabels() if label.get_text()]
    assert len([tick for tick in shown if low <= tick <= high]) >= 1
    assert not any("$" in label.get_text() for label in axes.get_xticklabels(minor=True))


def test_the_points_that_are_named_are_named_as_they_are(drawn):
    compute_figure(POINTS, None, "score")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["A $1 method"]


def test_figures_are_the_same_each_time_and_leave_settings_alone():
    before = dict(matplotlib.rcParams)
    first, second = (compute_figure(POINTS, 0.5, "score") for _ in range(2))
    assert first == second
    assert not re.search("<dc:date>", first)
    assert dict(matplotlib.rcParams) == before
