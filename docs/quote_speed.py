"""What a report of ``mne_specmoe.benchmark.speed`` says, in the forms in which pages quote it."""

import json
from collections.abc import Sequence
from pathlib import Path

from mne_specmoe.benchmark.estimator_parts import REFERENCE, SETTINGS
from mne_specmoe.benchmark.gauges import Figure, values_by_name
from mne_specmoe.benchmark.speed_parts import PRETRAINING
from mne_specmoe.models.specmoe.config import LAYOUTS
from mne_specmoe.signal.canonical import SFREQ

N_SEGMENTS, N_EPOCHS = 1_109_545, 50  # of the paper's pretraining (arXiv:2603.16739)
# TFLOP/s of dense bf16 with float32 accumulation, from the makers' data sheets.
PEAKS = {"L4": 121, "RTX 4090": 165, "A100": 312, "H100, H200": 989}
UTILISATIONS = (0.02, 0.05, 0.15)

_SETTING_NAMES = {
    REFERENCE: "SpecMoE features, float32",
    "features, bf16": "in bf16",
    "features, twice the channels": "twice the channels",
    "features, twice the seconds": "twice the seconds",
    "features, batch_size=1": "`batch_size=1` in place of 64",
    "features, BrainRVQ": "BrainRVQ features",
    "frozen fit, 1 training epoch": "`SpecMoEClassifier`, frozen, 1 training epoch",
    "frozen fit, 20 training epochs": "the same, 20 training epochs",
    "fine-tuning, one training epoch": "every training epoch of fine-tuning",
}
_GIB = 1024  # MiB

Lines = list[Sequence[str]]


class Speed:
    """What a report says; tables are lists of lines, the first of which is the head."""

    def __init__(self, path: Path):
        self.report = json.loads(path.read_text(encoding="utf-8"))
        self._values = values_by_name(Figure(**each) for each in self.report["figures"])

    def machine(self) -> str:
        """On what it was measured."""
        machine = self.report["machine"]
        return (
            f"Measured on one core ({machine['processor']}, {machine['instructions']}; torch {machine['torch']}), in "
            "seconds of processor time."
        )

    def settings_size(self) -> str:
        """What was the same for all settings."""
        n_epochs, n_channels, n_times = self.report["sizes"]["settings"]
        epochs = f"{n_epochs} epochs of {n_channels} channels and {n_times / SFREQ:g} s"
        return f"{self.machine()} {epochs}, starter weights.\n"

    def settings(self) -> Lines:
        """How much longer every setting makes the work."""
        unit = self._values[REFERENCE]
        rows = [(_SETTING_NAMES[name], _two_digits(self._values[name] / unit)) for name in (REFERENCE, *SETTINGS)]
        return [("", "times as long"), *rows]

    def gflop(self) -> dict[str, float]:
        """Layout → 10⁹ operations of an optimiser step per segment."""
        return {layout: self._values[f"pretraining FLOPs, {layout}"] for layout in LAYOUTS}

    def work(self) -> str:
        """How many operations the paper's pretraining takes."""
        each = self.gflop()
        together = each["channelwise"] * N_SEGMENTS * N_EPOCHS / 1e9
        return (
            f"Forward and backward pass of one such segment are {each['channelwise']:.0f} GFLOP in the channelwise "
            f"layout and {each['published']:.0f} in the published one (matrix products, convolutions and attention, as "
            f"torch counts them), so all of it is {together:.1f} × 10¹⁸ FLOP.\n"
        )

    def pretraining(self) -> Lines:
        """Rate and memory of optimiser steps."""
        _, n_segments = self.report["sizes"]["n_pretraining"]
        rows = []
        for variant in PRETRAINING:
            rate = self._values[f"pretraining, {variant}"]
            first, further = self._memory(variant)
            hours = _two_digits(N_SEGMENTS * N_EPOCHS / rate / 3600)
            rows.append((_title(variant), f"{rate:.2f}", hours, f"{first / _GIB:.1f} GiB", f"{further:.0f} MiB"))
        head = ("", "segments/s", "core hours for the paper's three experts", f"memory, batch of {n_segments}")
        return [(*head, "every further segment"), *rows]

    def _memory(self, variant: str) -> tuple[float, float]:
        """MiB of a batch as it was measured, and of every further segment."""
        return self._values[f"pretraining memory, {variant}"], self._values[f"memory per further segment, {variant}"]

    def data_path(self) -> Lines:
        """What else a training step needs."""
        values, n_masked = self._values, self.report["sizes"]["mask"][0]
        names = ("mask", "mask, drawing alone", "mask, plain")
        milliseconds = [f"{_two_digits(1e3 * values[name])} ms" for name in names]
        rates = [values["loader"] / values[f"pretraining, {variant}"] for variant in PRETRAINING]
        slowest, fastest = _two_digits(min(rates)), _two_digits(max(rates))
        return [
            ("", ""),
            (f"mask of {n_masked} segments, drawn and applied", milliseconds[0]),
            ("of which drawing", milliseconds[1]),
            ("the same with SciPy, channel by channel", milliseconds[2]),
            ("reading a corpus, files in the system's cache", f"{_two_digits(values['loader'])} segments/s"),
            ("the same in MB/s", f"{_two_digits(values['loader, from files'])} MB/s"),
            ("reading compared with training on one core", f"{slowest} to {fastest} × as fast"),
        ]

    def batches(self, sizes: Sequence[int] = (8, 16, 32, 64)) -> Lines:
        """Memory of larger batches, extrapolated."""
        _, n_segments = self.report["sizes"]["n_pretraining"]
        rows = []
        for variant in PRETRAINING:
            first, further = self._memory(variant)
            cells = [f"{(first + (n - n_segments) * further) / _GIB:.1f} GiB" for n in sizes]
            rows.append((_title(variant), *cells))
        return [("segments per process", *map(str, sizes)), *rows]

    def gpus(self) -> Lines:
        """Rates and hours at some shares of the data sheets' peaks, estimated."""
        shares = " / ".join(f"{100 * each:.0f} %" for each in UTILISATIONS)
        rows = []
        for name, peak in PEAKS.items():
            rates = [1e12 * peak * share / (1e9 * self.gflop()["channelwise"]) for share in UTILISATIONS]
            hours = [N_SEGMENTS * N_EPOCHS / rate / 3600 for rate in rates]
            rows.append((name, str(peak), *(" / ".join(f"{x:,.0f}" for x in each) for each in (rates, hours))))
        head = ("GPU", "peak, TFLOP/s", f"segments/s at {shares}", f"GPU hours for three experts at {shares}")
        return [head, *rows]


def _title(variant: str) -> str:
    """Layout and precision."""
    return variant.replace(" ", ", ")


def _two_digits(number: float) -> str:
    """Two digits that count, without an exponent."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"
