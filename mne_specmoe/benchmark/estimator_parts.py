"""What `mne_specmoe.benchmark.speed` measures of the estimators' settings: how much longer each one makes the work."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from mne_specmoe.benchmark.gauges import Figure, shortest_seconds
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

_FEW, _MANY = 1, 3  # training epochs of fine-tuning, whose difference is what one costs


def _fit(volts: np.ndarray, max_epochs: int, unfreeze_epoch: int | None = None) -> None:
    """Train a classifier on labels that mean nothing."""
    model = SpecMoEClassifier(
        max_epochs=max_epochs,
        unfreeze_epoch=unfreeze_epoch,
        patience=None,
        validation_fraction=None,
        device="cpu",
        random_state=0,
    )
    model.fit(volts, np.arange(len(volts)) % 2)


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
        name: partial(SpecMoEFeaturizer(device="cpu", **settings).fit(x[:2]).transform, x)
        for name, (x, settings) in ours.items()
    }
    turns["features, BrainRVQ"] = partial(BrainRVQFeaturizer(ch_names=names, device="cpu").fit(volts).transform, volts)
    turns |= {
        "frozen fit, 1 training epoch": partial(_fit, volts, 1),
        "frozen fit, 20 training epochs": partial(_fit, volts, 20),
    }
    return turns | {f"fine-tuning, {n}": partial(_fit, volts, n, 0) for n in (_FEW, _MANY)}


def measure_settings(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Measure the seconds of every setting, all on the same epochs.

    Parameters
    ----------
    sizes : Sizes
        Epochs, channels and samples at 200 Hz, and rounds.
    n_threads : int
        Of torch.

    Yields
    ------
    figure : Figure
        One for `REFERENCE` and one for each of `SETTINGS`.
    """
    seconds = shortest_seconds(_turns(sizes), sizes.n_rounds, n_threads)
    few, many = (seconds.pop(f"fine-tuning, {n}") for n in (_FEW, _MANY))
    seconds["fine-tuning, one training epoch"] = (many - few) / (_MANY - _FEW)
    for name, each in seconds.items():
        yield Figure(name, each, "s")


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure]]] = {"settings": measure_settings}
