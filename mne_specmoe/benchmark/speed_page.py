"""A page of Markdown on speed, memory and FLOPs, from a report of `mne_specmoe.benchmark.speed` with its peers.

``python -m mne_specmoe.benchmark.speed_page speed.json > speed.md``
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mne_specmoe.benchmark.document import Bullets, Document, Heading, Paragraph, Part, Table, to_markdown
from mne_specmoe.benchmark.gauges import Figure, values_by_name
from mne_specmoe.benchmark.peer_speed import REFERENCE, TASKS, figure_name
from mne_specmoe.signal.canonical import SFREQ

_MISSING = "–"


def page(report: Mapping[str, object]) -> str:
    """Lay the figures of the networks out.

    Parameters
    ----------
    report : mapping
        Of `mne_specmoe.benchmark.speed.measure`, also as JSON gives it back.

    Returns
    -------
    text : str
        Markdown.

    Raises
    ------
    ValueError
        If the report has nothing on the peers.
    """
    values = values_by_name(Figure(**each) for each in report["figures"])
    titles, left_out = _titles(values), report.get("left_out", [])
    if not titles and not left_out:
        raise ValueError(
            "The report has no figures of the peers. Measure them with "
            "python -m mne_specmoe.benchmark.speed --parts peers --json FILE."
        )
    sizes = report["sizes"]
    parts = [Paragraph(_about(report))]
    for window in sizes["peer_windows"]:
        parts.append(Heading(f"{window[0]} channels × {window[1] / SFREQ:g} s"))
        parts += _tables(values, titles, tuple(window), sizes["peer_threads"])
    if left_out:
        parts += [Heading("Not measured"), Bullets([f"{e['name']}: {e['reason']}" for e in left_out])]
    return to_markdown(Document("Speed, memory and FLOPs", parts), "")


def _titles(values: Mapping[str, float]) -> list[str]:
    """Networks that were measured, in order."""
    names = (name.split(", ") for name in values)
    return list(dict.fromkeys(name[1] for name in names if name[0] == "parameters"))


def _about(report: Mapping[str, object]) -> str:
    """How it was measured."""
    machine, sizes = report["machine"], report["sizes"]
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return (
        f"Measured on {machine['processor']}, {machine['n_cores']} cores; python {machine['python']}, {versions}. "
        f"Batches of {sizes['n_peer_windows']} windows at 200 Hz in inference and in training steps (forward pass, "
        "backward pass, AdamW; all parameters train). Networks took turns; the shortest of "
        f"{2 * sizes['n_peer_rounds']} runs counts, with one thread in processor time. The input of each network was "
        "made beforehand, after its own convention. Memory is the peak in a fresh process, network included, libraries "
        f"not, {_threads(machine['n_threads'])}. FLOPs are those of matrix products, convolutions and attention, two "
        "for a multiplication and an addition; Fourier transforms, pooling, normalisation and activations are not "
        f"counted. × is the speed in relation to that of {REFERENCE}: larger is faster."
    )


def _threads(n_threads: int) -> str:
    """A number of threads."""
    return "1 thread" if n_threads == 1 else f"{n_threads} threads"


def _tables(
    values: Mapping[str, float], titles: Sequence[str], window: tuple[int, int], threads: Sequence[int]
) -> list[Part]:
    """One table per task."""
    speeds = [text for n in threads for text in (f"windows/s, {_threads(n)}", f"×, {_threads(n)}")]
    columns = ["network", "parameters, million", "GFLOP per window", *speeds, "memory, MiB"]
    tables = []
    for task in TASKS:
        rows = [
            [title, *_cells(values, task, title, window, threads)]
            for title in titles
            if figure_name("parameters", title, window) in values
        ]
        tables.append(Table(f"{task.capitalize()}.", columns, [("", rows)]))
    return tables


def _cells(
    values: Mapping[str, float], task: str, title: str, window: tuple[int, int], threads: Sequence[int]
) -> list[str]:
    """One row without its title."""
    cells = [
        _text(values.get(figure_name("parameters", title, window))),
        _text(values.get(figure_name(f"{task} FLOPs", title, window))),
    ]
    for n_threads in threads:
        rate = values.get(figure_name(task, title, window, n_threads))
        reference = values.get(figure_name(task, REFERENCE, window, n_threads))
        cells += [_text(rate), _text(rate / reference if rate and reference else None)]
    return [*cells, _text(values.get(figure_name(f"{task} memory", title, window)))]


def _text(value: float | None) -> str:
    """A number with three digits, without an exponent."""
    if value is None:
        return _MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.6f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Read a report, write the page to standard output."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.speed_page", description=__doc__)
    parser.add_argument("report", type=Path, metavar="FILE", help="what speed --parts peers --json FILE wrote")
    arguments = parser.parse_args(argv)
    sys.stdout.write(page(json.loads(arguments.report.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
