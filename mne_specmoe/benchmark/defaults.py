"""SpecMoE's estimators as users get them: the default classifier, and the default features under a plain model.

What frozen experts say comes from `embed`, which remembers it; nothing else is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe.benchmark.entries import Entry, Selected, Setting, predict_with, random_control
from mne_specmoe.benchmark.features import Weights, embed, pick_statistics
from mne_specmoe.benchmark.scoring import Prediction
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.estimators.specmoe import DEFAULT_PARTS, SpecMoEClassifier, SpecMoEFeaturizer

_SIGNAL_PARTS = tuple(name for name in DEFAULT_PARTS if name != "experts")


class _KnownExperts:
    """An estimator to which it is given what the experts say of the X that is about to be used.

    Attributes
    ----------
    known : Tensor | None
        As the experts' part measures it.
    """

    known: torch.Tensor | None = None

    def _measured(self, network, epochs):
        signals = dict(zip(network.signal_names, self._map(network.measure_signals, epochs), strict=True))
        return {name: signals[name] if name in signals else self.known for name in network.measured_names}


class _Classifier(_KnownExperts, SpecMoEClassifier):
    pass


class _Featurizer(_KnownExperts, SpecMoEFeaturizer):
    pass


@dataclass(frozen=True)
class Default:
    """The default classifier, or a plain logistic regression on the default features; validation windows train too.

    Attributes
    ----------
    weights : Weights | None
        Of the experts. None: all parts but the experts.
    is_classifier : bool
        Whether it is `SpecMoEClassifier`, not `SpecMoEFeaturizer` under ``LogisticRegression()``.
    is_centred : bool
        Whether subjects are centred by all windows that are asked about.
    """

    weights: Weights | None
    is_classifier: bool
    is_centred: bool = False

    def __call__(self, training: TaskData, validation: TaskData, setting: Setting) -> Selected:
        both = training.joined(validation)
        options = {
            "weights": None if self.weights is None else self.weights.file(setting),
            "parts": _SIGNAL_PARTS if self.weights is None else DEFAULT_PARTS,
            "ch_names": list(both.ch_names),
            "sfreq": both.sfreq,
            "center_by": self.is_centred or None,
            "random_state": setting.seed,
        }
        fit = self._fit_classifier if self.is_classifier else self._fit_features
        return Selected(fit(both, options, setting), {"settings": {}, "n_looks": 0})  # nothing is chosen

    def _fit_classifier(self, both: TaskData, options: dict, setting: Setting):
        estimator = _Classifier(**options)
        estimator.known = self._known(both, setting)
        several = len(set(both.subjects.tolist())) > 1
        estimator.fit(both.X, both.y, groups=both.subjects if several or self.is_centred else both.recordings)

        def predict(data: TaskData) -> Prediction:
            estimator.known = self._known(data, setting)
            probabilities = np.zeros((len(data), len(data.classes)))
            found = estimator.predict_proba(data.X, groups=self._persons(data))
            probabilities[:, np.asarray(estimator.classes_, dtype=int)] = found
            return Prediction(probabilities.argmax(1), probabilities)

        return predict

    def _fit_features(self, both: TaskData, options: dict, setting: Setting):
        featurizer = _Featurizer(**options)
        featurizer.known = self._known(both, setting)
        features = featurizer.fit_transform(both.X, groups=self._persons(both))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, both.y)

        def predict(data: TaskData) -> Prediction:
            featurizer.known = self._known(data, setting)
            return predict_with(model, featurizer.transform(data.X, groups=self._persons(data)), len(data.classes))

        return predict

    def _known(self, data: TaskData, setting: Setting) -> torch.Tensor | None:
        """What the experts' part measures of windows."""
        if self.weights is None:
            return None
        return torch.from_numpy(pick_statistics(embed(data, self.weights, setting)))

    def _persons(self, data: TaskData) -> np.ndarray | None:
        """Whom the windows are of, if that may be known."""
        return data.subjects if self.is_centred else None


# Kind → what it is, and whether it is the classifier.
_KINDS = {
    "default": ("default classifier", True),
    "features": ("default features + logistic regression", False),
}

SIGNAL_NAME = "signal"
"""What entries without experts are called, in the place of weights."""


def default_entries(weights: Weights | None, name: str, title: str, **common) -> list[Entry]:
    """Entries of both, as they are and centred per subject.

    Parameters
    ----------
    weights : Weights | None
        Of the experts; None: parts of the signal alone, which other entries add experts to.
    name, title : str
        For the names of the entries, and for tables.
    **common
        Further attributes of the entries.

    Returns
    -------
    entries : list of Entry
        With weights, each followed by the same with random ones.
    """
    made = []
    for is_centred in (False, True):
        for kind, (text, is_classifier) in _KINDS.items():
            suffix = f"{kind}_centred" if is_centred else kind
            fit = Default(weights, is_classifier, is_centred)
            entry = Entry(
                f"{name}-{suffix}",
                f"{title}, {text}" + ", centred per subject" * is_centred,
                "combined",
                fit,
                is_centred=is_centred,
                adds_to=None if weights is None else f"{SIGNAL_NAME}-{suffix}",
                **common,
            )
            made.append(entry)
            if weights is not None:
                made.append(random_control(entry, replace(fit, weights=replace(weights, is_random=True))))
    return made


SIGNAL: Sequence[Entry] = tuple(default_entries(None, SIGNAL_NAME, "SpecMoE without experts"))
"""What experts are added to; no rivals of their own."""
