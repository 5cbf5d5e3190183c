"""Estimators without pretraining and without networks: band power, spectra, covariances, and guesses.

All classifiers weigh the classes alike, as balanced accuracy does. Each tries up to twenty settings on validation data
(fewer where the budget has fewer looks), and keeps the first of the best.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import mne
import numpy as np
from mne.decoding import CSP
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from mne_specmoe.benchmark.centring import centred_features
from mne_specmoe.benchmark.entries import (
    Entry,
    Selected,
    Setting,
    fit_best,
    spread,
    suits_all,
    suits_classification,
)
from mne_specmoe.benchmark.linear import BLOCK_STRENGTHS, logistic, logistic_of_blocks, ridge
from mne_specmoe.benchmark.spectra import BANDS, band_pass, band_powers, mean_log_psd
from mne_specmoe.benchmark.tangent import SIX_BANDS, import_pyriemann, shrunk, six_band_vectors, tangent_vectors
from mne_specmoe.benchmark.task_data import TaskData

FILTERS = ((8.0, 30.0), (1.0, 45.0))
"""Bands, in Hz, that spatial methods choose from: where movements show, and nearly all."""

_STRENGTHS = tuple(float(f"{value:.3g}") for value in np.logspace(-5, 3, 20))

Candidates = Sequence[tuple[Mapping[str, object], Callable[[], BaseEstimator]]]


class MarginSVC(SVC):
    """Support vector machine whose margins are passed on as probabilities (logistic function, or softmax).

    They rank windows as the margins do, which is what areas under curves need. They are not calibrated: scikit-learn's
    own probabilities would cost five more fits, on parts that mix the subjects.
    """

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities, shape (n_windows, n_classes)."""
        margins = self.decision_function(X)
        if margins.ndim == 1:
            margins = np.stack([np.zeros_like(margins), margins], -1)
        return softmax(margins, axis=-1)


def _linear(data: TaskData) -> Candidates:
    """Twenty strengths of the penalty."""
    if data.classes:
        return [({"C": C}, partial(logistic, C, max_iter=2000)) for C in _STRENGTHS]
    return [({"alpha": alpha}, partial(ridge, alpha)) for alpha in _STRENGTHS]


def balanced_lda(data: TaskData, shrinkage: float | str | None) -> LinearDiscriminantAnalysis:
    """Linear discriminant analysis that expects the classes of the training part equally often.

    Parameters
    ----------
    data : TaskData
        The training part.
    shrinkage : float or "auto" or None
        Of the covariance.

    Returns
    -------
    lda : LinearDiscriminantAnalysis
        Not fitted.
    """
    n_classes = len(np.unique(data.y))
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(n_classes, 1 / n_classes))


def _fit_dummy(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """The most frequent class, with the shares of the classes; or the mean."""
    make = partial(DummyClassifier, strategy="prior") if training.classes else DummyRegressor
    return fit_best([({}, make)], training, validation, setting, features=lambda data: np.zeros((len(data), 1)))


def _fit_linear(
    training: TaskData, validation: TaskData, setting: Setting, *, features: Callable[[TaskData], np.ndarray]
) -> Selected:
    """Logistic or ridge regression on features."""
    candidates = spread(_linear(training), setting.budget.n_looks)
    return fit_best(candidates, training, validation, setting, features=features)


def _fit_svm(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Support vector machine with Gaussian kernel on band power."""

    def make(C: float, width: float) -> Pipeline:
        gamma = width / (len(BANDS) * len(training.ch_names))
        return make_pipeline(StandardScaler(), MarginSVC(C=C, gamma=gamma, class_weight="balanced", break_ties=True))

    grid = product((0.01, 0.1, 1.0, 10.0, 100.0), (0.03, 0.1, 0.3, 1.0))
    candidates = [({"C": C, "gamma_times_n_features": width}, partial(make, C, width)) for C, width in grid]
    candidates = spread(candidates, setting.budget.n_looks)
    return fit_best(candidates, training, validation, setting, features=band_powers)


def _fit_csp(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Common spatial patterns of filtered signals, and a linear discriminant of their log power."""

    def make(n_components: int, reg: float | None) -> Pipeline:
        return make_pipeline(CSP(n_components=n_components, reg=reg), balanced_lda(training, None))

    counts = sorted({min(count, len(training.ch_names)) for count in (2, 4, 6, 8, 10)})
    grid = spread(list(product(FILTERS, counts, (None, 0.1))), setting.budget.n_looks)
    found = []
    for band in sorted({band for band, *_ in grid}, reverse=True):  # one after the other: filtered signals are large
        candidates = [
            ({"band_hz": list(band), "n_components": count, "reg": reg}, partial(make, count, reg))
            for its_band, count, reg in grid
            if its_band == band
        ]
        filtered = partial(_filtered, band=band)
        with mne.use_log_level("ERROR"):
            found.append(fit_best(candidates, training, validation, setting, features=filtered))
    best = max(found, key=lambda selected: selected.choice["validation_score"])
    return best._replace(choice=best.choice | {"n_looks": len(grid)})


def _filtered(data: TaskData, *, band: tuple[float, float]) -> np.ndarray:
    """Signals in a band, in microvolts."""
    return band_pass(data.X, band, data.sfreq)


def _fit_tangent(training: TaskData, validation: TaskData, setting: Setting, *, centred: bool = False) -> Selected:
    """Covariances as points in the tangent space at their mean, and a linear model there."""
    covariances = import_pyriemann().estimation.Covariances(estimator="oas")
    kinds = [partial(_oas, covariances, band) for band in FILTERS]
    spaces = [tangent_vectors(training, [kind], centred=centred) for kind in kinds]

    def features(data: TaskData) -> np.ndarray:
        return np.stack([space(data) for space in spaces], 1)

    def make(place: int, linear: Callable[[], Pipeline]) -> Pipeline:
        return Pipeline([("band", FunctionTransformer(one_of, kw_args={"place": place})), *linear().steps])

    candidates = [
        ({"band_hz": list(band), **settings}, partial(make, place, linear))
        for place, band in enumerate(FILTERS)
        for settings, linear in _linear(training)[1::2]
    ]
    return fit_best(spread(candidates, setting.budget.n_looks), training, validation, setting, features=features)


def _oas(covariances: BaseEstimator, band: tuple[float, float], data: TaskData) -> np.ndarray:
    """Covariances of filtered windows, shrunk by Chen's formula, which leaves windows that are 0 to the floor."""
    return shrunk(covariances.transform(_filtered(data, band=band)), 0.0)


def _fit_six_bands(training: TaskData, validation: TaskData, setting: Setting, *, centred: bool = False) -> Selected:
    """The same in six bands, of all of which the linear model sees all."""
    features = six_band_vectors(training, centred=centred)
    return _fit_linear(training, validation, setting, features=features)


def classical_features(training: TaskData) -> Callable[[TaskData], np.ndarray]:
    """Fit the classical features that those of networks are added to: the tangent space of six bands, and band power.

    Parameters
    ----------
    training : TaskData
        The training part; its labels are not looked at.

    Returns
    -------
    features : callable
        Takes windows, and returns an array of shape (n_windows, n_features).
    """
    vectors = six_band_vectors(training)
    return lambda data: np.concatenate([vectors(data), band_powers(data)], 1)


def classical_sizes(n_channels: int) -> tuple[int, int]:
    """Numbers of features of both kinds of `classical_features`."""
    return len(SIX_BANDS) * n_channels * (n_channels + 1) // 2, len(BANDS) * n_channels


def _fit_classical_features(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Logistic regression on the classical features, with the strengths that are tried where others are added."""
    sizes = classical_sizes(len(training.ch_names))
    candidates = [({"C": C}, partial(logistic_of_blocks, C, sizes, (1.0, 1.0))) for C in BLOCK_STRENGTHS]
    candidates = spread(candidates, setting.budget.n_looks)
    return fit_best(candidates, training, validation, setting, features=classical_features(training))


def centred_bandpowers(data: TaskData) -> np.ndarray:
    """Log power of every channel in five bands, centred per subject."""
    return centred_features(band_powers(data), data.subjects)


def _centred_spectrum(data: TaskData) -> np.ndarray:
    """Log spectrum, the mean over channels, centred per subject."""
    return centred_features(mean_log_psd(data), data.subjects)


def one_of(X: np.ndarray, place: int) -> np.ndarray:
    """Take one of several kinds of features.

    Parameters
    ----------
    X : ndarray, shape (n_windows, n_kinds, n_features)
        All kinds.
    place : int
        Which of them.

    Returns
    -------
    features : ndarray, shape (n_windows, n_features)
    """
    return X[:, place]


def centred_entry(entry: Entry, fit: Callable) -> Entry:
    """Make the entry that centres every subject, without labels, out of one that does not.

    Parameters
    ----------
    entry : Entry
        The one that does not.
    fit : callable
        What the other one does.

    Returns
    -------
    entry : Entry
    """
    name, title = f"{entry.name}-centred", f"{entry.title}, centred per subject"
    return replace(entry, name=name, title=title, fit=fit, is_centred=True, is_probe=False)


CLASSICAL: tuple[Entry, ...] = (
    Entry("dummy", "Chance", "chance", _fit_dummy, unsuited=suits_all),
    Entry(
        "bandpower-lr",
        "Band power + logistic regression",
        "classical",
        partial(_fit_linear, features=band_powers),
        unsuited=suits_all,
        is_probe=True,
    ),
    Entry("bandpower-svm", "Band power + SVM", "classical", _fit_svm),
    Entry(
        "psd-lr",
        "Spectrum + logistic regression",
        "classical",
        partial(_fit_linear, features=mean_log_psd),
        unsuited=suits_all,
        is_probe=True,
    ),
    Entry("csp-lda", "CSP + LDA", "classical", _fit_csp, unsuited=suits_classification),
    Entry("tangent-lr", "Tangent space + logistic regression", "classical", _fit_tangent, unsuited=suits_all),
    Entry(
        "tangent6-lr",
        "Tangent space of six bands + logistic regression",
        "classical",
        _fit_six_bands,
        unsuited=suits_all,
    ),
)
"""In the order of tables. For regressions, "logistic" becomes ridge regression."""

CLASSICAL_FEATURES = Entry(
    "tangent6-bandpower-lr",
    "Tangent space of six bands and band power + logistic regression",
    "combined",
    _fit_classical_features,
)
"""What features of networks are added to; no rival of its own."""

_CENTRED = {
    "bandpower-lr": partial(_fit_linear, features=centred_bandpowers),
    "psd-lr": partial(_fit_linear, features=_centred_spectrum),
    "tangent-lr": partial(_fit_tangent, centred=True),
    "tangent6-lr": partial(_fit_six_bands, centred=True),
}
CENTRED: tuple[Entry, ...] = tuple(
    centred_entry(entry, _CENTRED[entry.name]) for entry in CLASSICAL if entry.name in _CENTRED
)
"""The same with every subject centred by the windows that are asked about: transductive."""
