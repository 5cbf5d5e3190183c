"""What `mne_specmoe.benchmark.speed` measures of the estimators, and how much longer each setting makes the work."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from mne_specmoe._validation import UntrainedWarning
from mne_specmoe.benchmark.gauges import MIB, Figure, PeakMemory, in_fresh_process, shortest_seconds
from mne_specmoe.benchmark.sizes import Sizes
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.estimators.brainrvq import BrainRVQFeaturizer
from mne_specmoe.estimators.specmoe import SpecMoEClassifier, SpecMoEFeaturizer

REFERENCE = "features"
"""SpecMoE's features with the starter weights in float32, with which the others are compared."""

SETTINGS = (
    "features, bf16",
    "features, twice the channels",
    "features, twice the seconds",
    "features, batch_size=1",
    "features, BrainRVQ",
    "frozen fit, 1 training epoch",
    "frozen fit, 20 training epochs",
    "fine-tuning, one training epoch",
)
"""Names of figures, in the order of tables."""

_PARTS = ("experts",)  # the networks are what is measured
_FEW, _MANY = 1, 3  # training epochs of fine-tuning, whose difference is what one costs


def _fit(volts: np.ndarray, **parameters: object) -> None:
    """Train a classifier on labels that mean nothing."""
    trained = {"head": "mlp", "parts": _PARTS, "patience": None}
    model = SpecMoEClassifier(device="cpu", random_state=0, **trained, **parameters)
    model.fit(volts, np.arange(len(volts)) % 2)


def _transform_growth(n_epochs: int, shape: tuple[int, int], n_threads: int) -> tuple[int, int]:
    """Peak memory of a transform above that of the process that holds its input, and the output's size."""
    warnings.simplefilter("ignore", UntrainedWarning)  # this runs in a process of its own
    torch.set_num_threads(n_threads)
    volts = _many_epochs(n_epochs, *shape)
    featurizer = SpecMoEFeaturizer(weights=None, parts=_PARTS, device="cpu", random_state=0).fit(volts[:2])
    peak = PeakMemory()
    features = featurizer.transform(volts)
    return peak.growth(), features.nbytes


def _many_epochs(n_epochs: int, n_channels: int, n_times: int) -> np.ndarray:
    """Epochs in volts, few of them drawn and the rest repeated."""
    drawn = make_eeg(min(n_epochs, 20), n_channels, n_times, random_state=0)
    return np.resize(drawn, (n_epochs, n_channels, n_times))


def _measure_featurizer(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Windows per second through three random experts of the featurizer."""
    turns = {}
    for n_channels, n_times in sizes.windows:
        volts = _many_epochs(sizes.n_windows, n_channels, n_times)
        featurizer = SpecMoEFeaturizer(weights=None, parts=_PARTS, device="cpu", random_state=0).fit(volts)
        name = f"featurizer, {n_channels} × {n_times}"
        turns[name] = lambda f=featurizer, x=volts: f.transform(x)
    for name, seconds in shortest_seconds(turns, sizes.n_rounds, n_threads).items():
        yield Figure(name, sizes.n_windows / seconds, "windows/s")


def _measure_fit(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds per fit: many training epochs against few, and frozen experts against training ones."""
    volts, few = _many_epochs(*sizes.fit), _many_epochs(*sizes.unfrozen)
    frozen = {f"fit frozen, max_epochs={n}": lambda n=n: _fit(volts, weights=None, max_epochs=n) for n in (2, 50)}
    freezing = {
        f"fit {name}, small": lambda u=unfreeze: _fit(few, weights=None, max_epochs=5, unfreeze_epoch=u)
        for name, unfreeze in {"frozen": None, "unfrozen": 0}.items()
    }
    for turns, n_rounds in ((frozen, 1), (freezing, sizes.n_rounds)):
        for name, seconds in shortest_seconds(turns, n_rounds, n_threads).items():
            yield Figure(name, seconds, "s")


def _measure_transform(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Peak memory of transforming few and many epochs, input and output aside."""
    for size, n_epochs in zip(("few", "many"), sizes.n_transform, strict=True):
        growth, n_output = in_fresh_process(_transform_growth, n_epochs, sizes.transform, n_threads)
        yield Figure(f"transform memory, {size} ({n_epochs})", (growth - n_output) / MIB, "MiB")


def _turns(sizes: Sizes) -> dict[str, Callable[[], object]]:
    """What takes turns."""
    n_epochs, n_channels, n_times = sizes.settings
    volts = make_eeg(n_epochs, n_channels, n_times, random_state=0)
    wide, long = (
        make_eeg(n_epochs, *shape, random_state=0) for shape in ((2 * n_channels, n_times), (n_channels, 2 * n_times))
    )
    names = "F3 F4 C3 C4 P3 P4 O1 O2".split()[:n_channels]
    ours = {
        REFERENCE: (volts, {}),
        "features, bf16": (volts, {"precision": "bf16"}),
        "features, twice the channels": (wide, {}),
        "features, twice the seconds": (long, {}),
        "features, batch_size=1": (volts, {"batch_size": 1}),
    }
    turns = {
        name: partial(SpecMoEFeaturizer(parts=_PARTS, device="cpu", **settings).fit(x[:2]).transform, x)
        for name, (x, settings) in ours.items()
    }
    encoder = BrainRVQFeaturizer(parts=("encoder",), ch_names=names, device="cpu").fit(volts)
    turns["features, BrainRVQ"] = partial(encoder.transform, volts)
    for n, title in {1: "1 training epoch", 20: "20 training epochs"}.items():
        turns[f"frozen fit, {title}"] = partial(_fit, volts, validation_fraction=None, max_epochs=n)
    for n in (_FEW, _MANY):
        turns[f"fine-tuning, {n}"] = partial(_fit, volts, validation_fraction=None, max_epochs=n, unfreeze_epoch=0)
    return turns


def _measure_settings(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds of every setting, all on the same epochs."""
    seconds = shortest_seconds(_turns(sizes), sizes.n_rounds, n_threads)
    few, many = (seconds.pop(f"fine-tuning, {n}") for n in (_FEW, _MANY))
    seconds["fine-tuning, one training epoch"] = (many - few) / (_MANY - _FEW)
    for name, each in seconds.items():
        yield Figure(name, each, "s")


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure]]] = {
    "featurizer": _measure_featurizer,
    "fit": _measure_fit,
    "transform": _measure_transform,
    "settings": _measure_settings,
}
