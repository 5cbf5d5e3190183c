"""Our pretrained networks in the benchmark, with the controls that tell what pretraining had to do with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from mne_specmoe.assembly import describe
from mne_specmoe.benchmark.centring import centred_features
from mne_specmoe.benchmark.classical import CLASSICAL_FEATURES, classical_features, classical_sizes
from mne_specmoe.benchmark.defaults import default_entries
from mne_specmoe.benchmark.entries import (
    ADDED,
    CENTRED,
    KINDS,
    Entry,
    Selected,
    Setting,
    fit_best,
    predict_with,
    random_control,
    spread,
    suits_all,
    suits_classification,
)
from mne_specmoe.benchmark.features import Weights, embed, flattened, pick_statistics, sites
from mne_specmoe.benchmark.frozen import BrainRVQHead, BrainRVQNumber, DrawChannels, SpecMoEHead, SpecMoENumber
from mne_specmoe.benchmark.linear import (
    BLOCK_STRENGTHS,
    LOGISTIC_STRENGTHS,
    RIDGE_STRENGTHS,
    logistic,
    logistic_of_blocks,
    ridge,
    ridge_classifier,
)
from mne_specmoe.benchmark.scoring import Prediction
from mne_specmoe.benchmark.stated import weights_of
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.estimators.specmoe import READOUT

_LR = 1e-3
_EXPERT_LR = 1e-4  # a tenth: what is pretrained should not be lost in the first steps
_BATCH = 16

Pick = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def pick_normed(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Features of BrainRVQ."""
    return arrays["normed"]


@dataclass(frozen=True)
class Probe:
    """A linear model on what a frozen network says.

    Attributes
    ----------
    weights : Weights
        The network.
    model : {"ridge", "logistic"}
        Kind of linear model; 20 strengths of regularisation are tried.
    pick : callable
        Takes the arrays of `embed`, returns features.
    options : tuple of (str, object)
        Keyword arguments of `pick`.
    centred : bool
        Whether features are centred per subject, by all windows that are asked about: transductive.
    """

    weights: Weights
    model: str
    pick: Pick
    options: tuple[tuple[str, object], ...] = ()
    centred: bool = field(default=False, repr=False)  # older runs have no such word in their hashes

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        if self.model == "logistic":
            name, strengths, make = "C", LOGISTIC_STRENGTHS, logistic
        else:
            name, strengths, make = "alpha", RIDGE_STRENGTHS, ridge_classifier if training.classes else ridge
        candidates = [({name: each}, partial(make, each)) for each in spread(strengths, setting.budget.n_looks)]

        def features(data: TaskData) -> np.ndarray:
            found = self.pick(embed(data, self.weights, setting), **dict(self.options))
            return centred_features(found, data.subjects) if self.centred else found

        return fit_best(candidates, training, validation, setting, features=features)


@dataclass(frozen=True)
class Added:
    """Classical features with those of a frozen network added, and a logistic regression.

    Validation chooses among the strengths that it chooses among without the network, and how much the network's
    features count; they may not count at all.

    Attributes
    ----------
    weights : Weights
        The network.
    pick : callable
        Takes the arrays of `embed`, returns features.
    weights_of_added : tuple of float
        How much the network's features may count, where each kind of classical ones counts 1; of equals the first is
        kept.
    """

    weights: Weights
    pick: Pick
    weights_of_added: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        classical = classical_features(training)

        def features(data: TaskData) -> np.ndarray:
            return np.concatenate([classical(data), self.pick(embed(data, self.weights, setting))], 1)

        *sizes, n_all = *classical_sizes(len(training.ch_names)), features(training.take(np.arange(1))).shape[1]
        sizes = (*sizes, n_all - sum(sizes))
        candidates = [
            ({"weight": weight, "C": C}, partial(logistic_of_blocks, C, sizes, (1.0, 1.0, weight)))
            for weight, C in product(self.weights_of_added, BLOCK_STRENGTHS)
        ]
        candidates = spread(candidates, setting.budget.n_looks)
        return fit_best(candidates, training, validation, setting, features=features)


@dataclass(frozen=True)
class Head:
    """Our own classifier or regressor: gate and head on frozen networks, which then may train too.

    Attributes
    ----------
    weights : Weights
        The network.
    gate_scale : {"log", "power", "none"}
        What SpecMoE's gate reads.
    fine_tunes : bool
        Whether the pretrained part trains in the last passes.
    blind : bool
        Whether every expert says 1 all the time, so that the power spectrum alone is left.
    """

    weights: Weights
    gate_scale: str = "log"
    fine_tunes: bool = False
    blind: bool = False

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        budget = setting.budget
        both = training.joined(validation)
        halves = np.arange(len(training)), np.arange(len(training), len(both))
        n_unfrozen = min(budget.n_unfrozen, budget.n_looks - 1) if self.fine_tunes else 0
        options = {
            "weights": self.weights.file(setting),
            "unfreeze_epoch": budget.n_looks - n_unfrozen if n_unfrozen else None,
            "max_epochs": budget.n_looks,
            "patience": None,
            "lr": _LR,
            "batch_size": _BATCH,
            "random_state": setting.seed,
            "device": "auto",
        }
        estimator = self._make(both, options, budget.max_channels if n_unfrozen else None)
        estimator.halves = halves
        estimator.known = self._known(both, setting)
        estimator.fit(both.X, both.y)

        best = min(estimator.history_, key=lambda row: row["valid_loss"])
        # Where no pass with training experts was as good, the experts are what they were.
        is_known = all(row["experts_frozen"] or row["valid_loss"] > best["valid_loss"] for row in estimator.history_)

        def predict(data: TaskData) -> Prediction:
            estimator.known = self._known(data, setting) if is_known else None
            return predict_with(estimator, data.X, len(data.classes))

        choice = {
            "settings": {"lr": _LR, "epoch": best["epoch"]} | ({"expert_lr": _EXPERT_LR} if n_unfrozen else {}),
            "n_looks": len(estimator.history_),
            "validation_loss": round(best["valid_loss"], 6),
        }
        n_parameters = sum(each.numel() for each in estimator.network_.parameters())
        return Selected(predict, choice, n_parameters)

    def _make(self, data: TaskData, options: dict[str, object], max_channels: int | None):
        """An unfitted estimator."""
        callbacks = [DrawChannels(max_channels, options["random_state"])] if max_channels else None
        if self.weights.family == "specmoe":
            make = SpecMoEHead if data.classes else SpecMoENumber
            own = {"head": "mlp", "parts": ("experts",), "gate_scale": self.gate_scale, "expert_lr": _EXPERT_LR}
            return make(**options, **own, ch_names=list(data.ch_names), callbacks=callbacks)
        make = BrainRVQHead if data.classes else BrainRVQNumber
        names = sites(data.ch_names)
        own = {"head": "trained", "parts": ("encoder",), "encoder_lr": _EXPERT_LR}
        return make(**options, **own, ch_names=names, on_unknown="nearest" if names else "error")

    def _known(self, data: TaskData, setting: Setting) -> tuple[torch.Tensor, ...]:
        """What the network pools while it is frozen."""
        arrays = embed(data, self.weights, setting)
        if self.weights.family == "brainrvq":
            return (torch.from_numpy(arrays["tokens"]),)
        embedding = torch.from_numpy(arrays["embedding"])
        return torch.ones_like(embedding) if self.blind else embedding, torch.from_numpy(arrays["psd"])


@dataclass(frozen=True)
class Permuted:
    """An entry that is trained, and selected, on permuted labels; it is tested on the true ones.

    Where a subject has one label, subjects swap theirs; else windows do within their subject.
    """

    fit: Callable[[TaskData, TaskData, Setting], Selected]

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        rng = np.random.default_rng((setting.seed, 1))
        return self.fit(permuted(training, rng), permuted(validation, rng), setting)


def permuted(data: TaskData, rng: np.random.Generator) -> TaskData:
    """Permute labels: those of subjects where each has one, else those of windows within subjects."""
    subjects, place = np.unique(data.subjects, return_inverse=True)
    own = [data.y[place == number] for number in range(len(subjects))]
    y = data.y.copy()
    if len(subjects) > 1 and all(len(np.unique(labels)) == 1 for labels in own):
        y = rng.permutation([labels[0] for labels in own])[place]
    else:
        for number, labels in enumerate(own):
            y[place == number] = rng.permutation(labels)
    return data.with_labels(y)


@dataclass(frozen=True)
class Flattened:
    """An entry that sees windows without the slope of their spectrum; see `flattened`."""

    fit: Callable[[TaskData, TaskData, Setting], Selected]

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        selected = self.fit(flattened(training), flattened(validation), setting)
        return selected._replace(predict=lambda data: selected.predict(flattened(data)))


def entries_of(path: str | Path, name: str, title: str) -> list[Entry]:
    """Entries of one weights file, each with its controls.

    Parameters
    ----------
    path : path-like
        The file, or the name of weights that come with the package.
    name, title : str
        For the names of the entries, and for tables.

    Returns
    -------
    entries : list of Entry
        Probes (ridge, logistic), the estimator with a frozen network and the fine-tuned one; of each the same with
        random weights and with permuted labels, of the logistic probe also that on flattened spectra; what it adds to
        classical features, with trained and with random weights; the logistic probe on features that are centred per
        subject, with controls; of SpecMoE variants, and the estimators as users get them.
    """
    weights = Weights.of(path)
    training = describe(path).get("training", {})
    pick = pick_statistics if weights.family == "specmoe" else pick_normed
    head = "gate and head" if weights.family == "specmoe" else "head"
    estimators = (
        (f"{title}, frozen, ridge", Probe(weights, "ridge", pick), False),
        (f"{title}, frozen, logistic", Probe(weights, "logistic", pick), False),
        (f"{title}, frozen, {head}", Head(weights), True),
        (f"{title}, fine-tuned", Head(weights, fine_tunes=True), True),
    )
    common = {"training": training, "weights_hash": weights.sha256}
    entries = []
    for kind, (text, fit, stochastic) in zip(KINDS, estimators, strict=True):
        unsuited = suits_classification if kind == "logistic" else suits_all
        probe = {"is_probe": kind == "logistic"}
        main = Entry(f"{name}-{kind}", text, "pretrained", fit, stochastic, unsuited, **common, **probe)
        entries.append(main)
        entries += _controls(main, fit)
    logistic = next(entry for entry in entries if entry.name == f"{name}-logistic")
    entries.append(_variant(logistic, "flattened", "flattened spectrum", Flattened(logistic.fit), "flattened"))
    entries += [*_added(logistic, title), *_centred(logistic)]
    if weights.family == "specmoe":
        entries += [*_variants(weights, logistic, entries[6]), *default_entries(weights, name, title, **common)]
    return entries


def _added(logistic: Entry, title: str) -> list[Entry]:
    """What the features of a logistic probe add to classical ones, with trained and with random weights."""
    fit = Added(logistic.fit.weights, logistic.fit.pick)
    entry = replace(
        logistic, name=f"{weights_of(logistic.name)}-{ADDED}", title=f"{title}, frozen, added to classical features",
        role="combined", fit=fit, adds_to=CLASSICAL_FEATURES.name, is_probe=False,
    )  # fmt: skip
    return [entry, random_control(entry, replace(fit, weights=replace(fit.weights, is_random=True)))]


def _centred(logistic: Entry) -> list[Entry]:
    """A logistic probe on features that are centred per subject, and its controls."""
    fit = replace(logistic.fit, centred=True)
    entry = replace(
        logistic, name=f"{weights_of(logistic.name)}-{CENTRED}", title=f"{logistic.title}, centred per subject",
        fit=fit, is_centred=True, is_probe=False,
    )  # fmt: skip
    return [entry, *_controls(entry, fit)]


def _controls(entry: Entry, fit: Probe | Head) -> list[Entry]:
    """The controls that the fourth gate asks for: random weights, and permuted labels."""
    permuted_labels = replace(
        entry, name=f"{entry.name}@permuted", title=f"{entry.title}, permuted labels", fit=Permuted(fit),
        control="permuted", is_probe=False, role="control", stochastic=True, control_of=entry.name,
    )  # fmt: skip
    return [random_control(entry, replace(fit, weights=replace(fit.weights, is_random=True))), permuted_labels]


def _variants(weights: Weights, logistic: Entry, head: Entry) -> list[Entry]:
    """SpecMoE with other poolings, fewer experts, and other gates."""
    probe = {
        "one-expert": ("one expert", {"n_experts": 1}),
        "max-time": ("max of the embedding over time", {"readout": ("embedding.max", *READOUT[1:])}),
        "max-channel": ("max over channels", {"channel": 1}),
    }
    variants = [
        _variant(logistic, name, text, replace(logistic.fit, options=tuple(options.items())))
        for name, (text, options) in probe.items()
    ]
    heads = {
        "gate-power": ("gate reads power, as published", Head(weights, gate_scale="power")),
        "gate-none": ("no gate", Head(weights, gate_scale="none")),
        "psd-alone": ("power spectrum alone, through gate and head", Head(weights, blind=True)),
    }
    return variants + [_variant(head, name, text, fit) for name, (text, fit) in heads.items()]


def _variant(entry: Entry, name: str, text: str, fit: Callable, control: str = "variant") -> Entry:
    """An entry with something changed."""
    return replace(
        entry, name=f"{entry.name}@{name}", title=f"{entry.title}, {text}", role="control", fit=fit,
        control_of=entry.name, control=control, is_probe=False,
    )  # fmt: skip


def starters() -> list[Entry]:
    """Entries of the weights that come with the package."""
    return [
        *entries_of("starter", "specmoe", "SpecMoE starter"),
        *entries_of("brainrvq-starter", "brainrvq", "BrainRVQ starter"),
    ]
