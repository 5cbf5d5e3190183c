"""Write what was measured into the documentation: ``python docs/quote_results.py``.

Results files in ``docs/benchmark`` become the reports and the page on speed beside them, and the places of README and
pages that stand between ``<!-- measured: NAME -->`` and ``<!-- /measured -->`` are filled from them. Nobody types a
score.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from quote_differences import difference
from quote_speed import Speed
from quote_trials import Defaults, LeftOut, Pretraining

from mne_specmoe.benchmark.plan import all_cells, controls_of
from mne_specmoe.benchmark.report import verdict_sentence, write_report
from mne_specmoe.benchmark.report_rows import Results, n_of, progress, read_results
from mne_specmoe.benchmark.report_tables import TaskNumbers, task_numbers
from mne_specmoe.benchmark.report_words import metric_name
from mne_specmoe.benchmark.speed_page import page as speed_page

HERE = Path(__file__).parent
RESULTS = HERE / "benchmark" / "results.jsonl.xz"
ABLATION = HERE / "benchmark" / "ablation.jsonl.xz"
SPEED = HERE / "benchmark" / "speed.json"
DEFAULTS = tuple(HERE / "benchmark" / f"defaults{part}.jsonl.xz" for part in ("", "-n170", "-p300"))
ADDED = HERE / "benchmark" / "added-left-out.jsonl.xz"
LEFT_OUT = HERE / "benchmark" / "left_out.json"
PRETRAINING = HERE / "benchmark" / "pretraining.json"
FIGURES = HERE / "benchmark" / "experts_figures"
PAGES = (
    HERE.parent / "README.md",
    HERE / "benchmark.md",
    HERE / "benchmark" / "ablation.md",
    HERE / "benchmark" / "defaults.md",
    HERE / "benchmark" / "experts.md",
    HERE / "explanation" / "evidence.md",
    HERE / "guide" / "memory_and_speed.md",
    HERE / "scaling.md",
)

_PLACE = re.compile(
    r"(?P<begin><!-- measured: (?P<name>[\w-]+) -->\n)(?P<text>.*?)(?P<end><!-- /measured -->)", re.DOTALL
)
# The probe that users write first. Not the best of several: that would be a choice made on test parts.
QUOTED = {"SpecMoE": "specmoe-logistic", "BrainRVQ": "brainrvq-logistic"}

# Our choice, and what else could have been chosen.
_OF_RESULTS = {
    "gate": ("specmoe-head", {"power": "@gate-power", "none": "@gate-none", "spectrum alone": "@psd-alone"}),
    "pooling": ("specmoe-logistic", {"max over time": "@max-time", "max over channels": "@max-channel"}),
    "experts": ("specmoe-logistic", {"one expert": "@one-expert"}),
    "added": ("specmoe-head", {"random experts": "@random", "spectrum alone": "@psd-alone"}),
}
_OF_ABLATION = {
    "layout": ("channelwise-logistic", {"published": "published-logistic"}),
    "scope": ("shared-logistic", {"local": "local-logistic"}),
}

Texts = Mapping[str, Callable[[], str]]


class Measured:
    """What a results file says, in the forms in which pages quote it."""

    def __init__(self, path: Path, quoted: Mapping[str, str] = QUOTED):
        self.results: Results = read_results(path)
        self.quoted = quoted

    @cached_property
    def tasks(self) -> list[TaskNumbers]:
        """Numbers of all tasks that are no controls."""
        return [task_numbers(self.results, name) for name in self.results.tasks()]

    def differences(self, ours: str, others: Mapping[str, str]) -> str:
        """One line per finished task: an estimator's score, and by how much others are better or worse."""
        names = {title: f"{ours}{name}" if name.startswith("@") else name for title, name in others.items()}
        lines = [["task", "people", "ours", *names]]
        for numbers in self.tasks:
            if any(numbers.rows[name].problem for name in (ours, *names.values())):
                continue
            comparison = numbers.unseen or numbers.everyone
            cells = [difference(numbers, comparison, name, ours) for name in names.values()]
            lines.append([_title(numbers), str(len(comparison.subjects)), f"{comparison.means[ours]:.3f}", *cells])
        return _table(lines)

    def verdict(self) -> str:
        """On how many tasks pretraining helps, once all cells have run."""
        state = progress(self.results, all_cells(self.results.plan))
        if state.n_missing:
            return f"The run is not finished: {n_of(state.n_planned, 'cell')} are planned, {state.n_done:,} done.\n"
        return f"**{verdict_sentence(self.results, self.tasks)}**\n"

    def run(self) -> str:
        """What was run, and the command."""
        plan = self.results.plan
        state = progress(self.results, all_cells(plan))
        text = f"{n_of(len(plan['estimators']), 'estimator')}, {n_of(len(self.tasks), 'task')}, {plan['n_seeds']} seeds"
        unfinished = f" ({state.n_missing:,} of them not run yet)" if state.n_missing else ""
        failed = f"{n_of(state.n_failed, 'cell')} failed." if state.n_failed else "No cell failed."
        return f"{text}: {n_of(state.n_planned, 'cell')}{unfinished}. {failed}\n\n```sh\n{plan['command']}\n```\n"

    def fine_tuning(self) -> str:
        """How often validation preferred weights that were fine-tuned to those that were not."""
        budget = self.results.plan["budget"]
        last_frozen, parts = budget["n_looks"] - budget["n_unfrozen"], []
        for title, name in {"SpecMoE's": "specmoe-finetuned", "BrainRVQ's": "brainrvq-finetuned"}.items():
            records = [r for r in self.results.records.values() if r["estimator"] == name and r["status"] == "done"]
            n_tuned = sum(record["selection"]["settings"]["epoch"] > last_frozen for record in records)
            parts.append(f"{n_tuned:,} of {n_of(len(records), 'cell')} of {title} starter")
        return (
            f"In the run above, validation preferred fine-tuned weights in {' and '.join(parts)}; in the others, the "
            "fine-tuned estimator is the frozen one with its head.\n"
        )

    def scores(self) -> str:
        """One line per finished task: default probes, their random controls, and the strongest classical method."""
        columns = ["task", "people", "chance", "strongest classical method"]
        for name in self.quoted:
            columns += [f"{name} starter", "less random weights"]
        return _table([columns, *(self._line(numbers) for numbers in self.tasks if self._is_finished(numbers))])

    def _line(self, numbers: TaskNumbers) -> list[str]:
        """Scores on the people of a task whom no weights saw."""
        comparison = numbers.unseen or numbers.everyone
        strongest = comparison.strongest
        cells = [_title(numbers), str(len(comparison.subjects)), f"{numbers.facts['chance']:.3f}"]
        cells.append(f"{numbers.rows[strongest].title}: {comparison.means[strongest]:.3f}")
        for name in self.quoted.values():
            cells += [f"{comparison.means[name]:.3f}", difference(numbers, comparison, name, self._random(name))]
        return cells

    def _random(self, name: str) -> str:
        """The control of an estimator that has random weights."""
        return controls_of(self.results.plan, name, "random")[0]

    def _is_finished(self, numbers: TaskNumbers) -> bool:
        """Whether all that is quoted of a task has been run."""
        quoted = {name for main in self.quoted.values() for name in (main, self._random(main))}
        return not any(row.problem for row in numbers.rows.values() if row.role == "classical" or row.name in quoted)


def all_texts() -> Texts:
    """Name of a place → what makes its text."""
    results, ablation, speed = Measured(RESULTS), Measured(ABLATION), Speed(SPEED)
    defaults, left_out, trials = Defaults(*DEFAULTS), LeftOut(LEFT_OUT), Pretraining(PRETRAINING)
    return {
        "defaults": lambda: _table(defaults.table(is_centred=False)),
        "defaults-centred": lambda: _table(defaults.table(is_centred=True)),
        "adds": lambda: _table(defaults.added()),
        "adds-left-out": lambda: _table(Defaults(ADDED).added("lodo")),
        **{f"left-out-{kind}": lambda kind=kind: _table(left_out.table(kind)) for kind in left_out.kinds},
        "scaling": lambda: _table(trials.scaling()),
        "synthetic": lambda: _table(trials.mixtures()),
        "verdict": results.verdict,
        "scores": results.scores,
        "run": results.run,
        "fine-tuning": results.fine_tuning,
        "ablation-run": ablation.run,
        **{name: partial(results.differences, *each) for name, each in _OF_RESULTS.items()},
        **{name: partial(ablation.differences, *each) for name, each in _OF_ABLATION.items()},
        "settings": lambda: f"{speed.settings_size()}\n{_table(speed.settings())}",
        "work": speed.work,
        "pretraining": lambda: f"{speed.machine()}\n\n{_table(speed.pretraining())}",
        "data-path": lambda: _table(speed.data_path()),
        "gpus": lambda: _table(speed.gpus()),
        "batches": lambda: _table(speed.batches()),
    }


def _title(numbers: TaskNumbers) -> str:
    """A task's title, and its metric where that is another than everywhere."""
    metric = "" if numbers.metric == "balanced_accuracy" else f" ({metric_name(numbers.metric)})"
    return f"{numbers.facts['title']}{metric}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Markdown; the first line is the head."""
    head, *rows = lines
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def filled(text: str, texts: Texts) -> str:
    """Fill the places of a page.

    Raises
    ------
    KeyError
        If a place has a name that nothing fills.
    """
    return _PLACE.sub(lambda found: f"{found['begin']}{texts[found['name']]()}{found['end']}", text)


def main() -> None:
    """Write the reports, and the pages that are out of date."""
    texts = all_texts()
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        if (after := filled(before, texts)) != before:
            page.write_text(after, encoding="utf-8", newline="\n")
            print(f"{page.name}: written")
    write_report(RESULTS, RESULTS.with_name("report"))
    write_report(ABLATION, ABLATION.with_name("ablation-report"))
    Pretraining(PRETRAINING).write_figures(FIGURES)
    SPEED.with_suffix(".md").write_text(speed_page(Speed(SPEED).report), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
