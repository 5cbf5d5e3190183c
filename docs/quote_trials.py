"""What pages quote of trials of pretraining and of the defaults, from files in ``docs/benchmark``; their figures."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from quote_differences import difference, difference_of

from mne_specmoe.benchmark.report_rows import read_results
from mne_specmoe.benchmark.report_tables import task_numbers
from mne_specmoe.benchmark.statistics import paired_difference

Scores = Mapping[str, float]

_SIZES = {"quarter": "a quarter", "half": "half", "real": "all"}
_MIXTURES = {"real": "recordings", "synthetic": "synthetic EEG", "both": "both"}
_SHORT, _LONG = "300", "900"


class LeftOut:
    """Experts that saw nothing of a data set, and random ones, on that data set.

    Parameters
    ----------
    path : Path
        JSON: task → title, windows, people, and scores by experts ("pretrained", "random0", …) and kind of readout.
    """

    def __init__(self, path: Path):
        self.tasks = json.loads(path.read_text(encoding="utf-8"))
        self.kinds = tuple(next(iter(self.tasks.values()))["scores"]["pretrained"])

    def table(self, readout: str) -> list[list[str]]:
        """One line per task: pretrained, each seed of random weights, and the difference to their mean."""
        lines = [["task", "people", "windows", "pretrained", "untrained, three seeds", "difference"]]
        for about in self.tasks.values():
            own, *random = (self._scores(about, name, readout) for name in about["scores"])
            control = {who: float(np.mean([each[who] for each in random])) for who in own}
            lines.append(
                [
                    about["title"],
                    str(len(own)),
                    about["windows"],
                    f"{_mean(own):.3f}",
                    ", ".join(f"{_mean(each):.3f}" for each in random),
                    difference_of(own, control),
                ]
            )
        return lines

    def _scores(self, about: Mapping, name: str, readout: str) -> Scores:
        return dict(zip(about["people"], about["scores"][name][readout], strict=True))


class Pretraining:
    """How much data, for how long, real or synthetic: experts that saw nobody of Guinea-Bissau, on its people.

    Parameters
    ----------
    path : Path
        JSON: people, and runs by name (``real_300_0``: corpus, steps, seed; ``random_0``) with R² of band powers,
        errors of what is rebuilt, and scores of the people.
    """

    def __init__(self, path: Path):
        content = json.loads(path.read_text(encoding="utf-8"))
        self.people, self.runs, self.hours = content["people"], content["runs"], content["hours"]

    @cached_property
    def control(self) -> Scores:
        """Mean of the scores that random experts have."""
        return self._mean_scores(self._random)

    @property
    def _random(self) -> list[Mapping]:
        return [run for name, run in self.runs.items() if name.startswith("random_")]

    def scaling(self) -> list[list[str]]:
        """One line per share of the corpus and number of steps."""
        return self._lines([(size, steps) for steps in (_SHORT, _LONG) for size in _SIZES], _SIZES)

    def mixtures(self) -> list[list[str]]:
        """One line per kind of corpus."""
        return self._lines([(kind, _SHORT) for kind in _MIXTURES], _MIXTURES)

    def _lines(self, rows: Sequence[tuple[str, str]], words: Mapping[str, str]) -> list[list[str]]:
        head = ["data", "hours", "steps", "seeds", "rebuilt", "R² alpha", "R² beta", "eyes, less random"]
        lines = [head]
        for kind, steps in rows:
            runs = self.of(kind, steps)
            values = [_spread([run["rebuilt"] for run in runs])]
            values += [_spread([run["r2"][band] for run in runs]) for band in ("alpha", "beta")]
            less_random = difference_of(self._mean_scores(runs), self.control)
            lines.append([words[kind], f"{self.hours[kind]:.1f}", steps, str(len(runs)), *values, less_random])
        return lines

    def of(self, kind: str, steps: str) -> list[Mapping]:
        """Runs of all seeds."""
        return [run for name, run in sorted(self.runs.items()) if name.startswith(f"{kind}_{steps}_")]

    def _mean_scores(self, runs: Sequence[Mapping]) -> Scores:
        return dict(zip(self.people, np.mean([run["plain"] for run in runs], 0).tolist(), strict=True))

    def draw_scaling(self) -> Figure:
        """R² and the error of what is rebuilt over hours, a line per number of steps."""
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for steps, style in ((_SHORT, "o-"), (_LONG, "s--")):
            hours = [self.hours[size] for size in _SIZES]
            runs = [self.of(size, steps) for size in _SIZES]
            for axis, of in ((left, lambda run: run["rebuilt"]), (right, lambda run: run["r2"]["alpha"])):
                axis.plot(hours, [np.mean([of(run) for run in each]) for each in runs], style, label=f"{steps} steps")
                for hour, each in zip(hours, runs, strict=True):
                    axis.plot([hour] * len(each), [of(run) for run in each], "k.", markersize=3)
        self._finish(left, "error of what is rebuilt")
        self._finish(right, "R² of relative alpha")
        random = np.mean([run["r2"]["alpha"] for run in self._random])
        right.axhline(random, color="grey", linestyle=":", label="random experts")
        right.legend()
        return figure

    def draw_mixtures(self) -> Figure:
        """Scores less those of random experts, people's mean and interval, for each kind of corpus."""
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, kind in enumerate(_MIXTURES):
            runs = self.of(kind, _SHORT)
            mean, low, high = paired_difference(self._mean_scores(runs), self.control).interval
            left.errorbar(place, mean, [[mean - low], [high - mean]], fmt="ko")
            right.plot([place] * len(runs), [run["r2"]["alpha"] for run in runs], "ko")
        left.axhline(0, color="grey", linestyle=":")
        for axis, text in ((left, "eyes open or closed,\nless random experts"), (right, "R² of relative alpha")):
            axis.set(xticks=range(len(_MIXTURES)), xticklabels=list(_MIXTURES.values()), ylabel=text)
            axis.margins(x=0.2)
        return figure

    def _finish(self, axis, text: str) -> None:
        hours = [self.hours[size] for size in _SIZES]
        axis.set(xscale="log", xlabel="hours of recordings", ylabel=text)
        axis.minorticks_off()
        axis.set_xticks(hours, [f"{hour:.1f}" for hour in hours])

    def write_figures(self, folder: Path) -> None:
        """Write both, as SVG that is the same every time."""
        folder.mkdir(exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "mne-specmoe", "svg.fonttype": "none"}):
            for name, figure in {"scaling": self.draw_scaling(), "synthetic": self.draw_mixtures()}.items():
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


class Defaults:
    """The estimators as users get them, beside the strongest classical method and the same without experts.

    Parameters
    ----------
    *paths : Path
        Results files.
    """

    def __init__(self, *paths: Path):
        results = [read_results(path) for path in paths]
        self.tasks = [task_numbers(each, name) for each in results for name in each.tasks()]

    def table(self, *, is_centred: bool) -> list[list[str]]:
        """One line per task."""
        suffix = "_centred" if is_centred else ""
        classifier, features = f"specmoe-default{suffix}", f"specmoe-features{suffix}"
        bare = [name.replace("specmoe", "signal") for name in (classifier, features)]
        head = ["task", "people", "strongest classical method", "`SpecMoEClassifier()`", "less classical"]
        head += ["featurizer + logistic regression", "less classical", "classifier without experts", "features without"]
        lines = [head]
        for numbers in self.tasks:
            all_of = numbers.everyone
            best = all_of.strongest_centred if is_centred else all_of.strongest
            line = [numbers.facts["title"], str(len(all_of.subjects))]
            line.append(f"{numbers.rows[best].title}: {all_of.means[best]:.3f}")
            for name in (classifier, features):
                line += [f"{all_of.means[name]:.3f}", difference(numbers, all_of, name, best)]
            lines.append(line + [f"{all_of.means[name]:.3f}" for name in bare])
        return lines

    def added(self, weights: str = "specmoe") -> list[list[str]]:
        """One line per task: what experts add to the default without them, and what random ones add."""
        lines = [["task", "people", "experts added to the classifier", "random ones", "to the features", "random ones"]]
        for numbers in self.tasks:
            for suffix, word in (("", ""), ("_centred", ", centred")):
                line = [f"{numbers.facts['title']}{word}", str(len(numbers.everyone.subjects))]
                for name in (f"default{suffix}", f"features{suffix}"):
                    for kind in ("", "@random"):
                        pair = f"{weights}-{name}{kind}", f"signal-{name}"
                        line.append(difference(numbers, numbers.everyone, *pair))
                lines.append(line)
        return lines


def _mean(scores: Scores) -> float:
    return float(np.mean(list(scores.values())))


def _spread(values: Sequence[float]) -> str:
    """A value, or the mean of several with the smallest and the largest."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
