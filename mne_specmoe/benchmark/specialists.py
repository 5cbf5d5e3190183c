"""Classical estimators for one kind of task: flickering light, responses to stimuli, or stages of sleep."""

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mne_specmoe.benchmark.cca import largest_correlations, references, stimulus_frequencies
from mne_specmoe.benchmark.classical import balanced_lda, centred_entry, one_of
from mne_specmoe.benchmark.entries import Entry, Selected, Setting, TaskFacts, fit_best, spread, suits_classification
from mne_specmoe.benchmark.hmm import chains, count_transitions, smooth
from mne_specmoe.benchmark.linear import logistic
from mne_specmoe.benchmark.scoring import Prediction, selection_score
from mne_specmoe.benchmark.spectra import band_powers, low_pass
from mne_specmoe.benchmark.tangent import import_pyriemann, shrunk, tangent_vectors
from mne_specmoe.benchmark.task_data import TaskData

_SHRINKAGES = (None, "auto", 0.1, 0.3, 0.6)
_LOW_PASS = (12.0, 24.0)  # Hz: responses are slow; 24 Hz is what benchmarks of P300 take
_XDAWN_STRENGTHS = (0.001, 0.03, 1.0)
_COURSE_SECONDS = 0.04  # of each mean of a time course: 25 numbers per second


def _fit_cca(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Correlations with each frequency, and a linear discriminant of them, which can also say that there is none."""
    frequencies, n_harmonics = stimulus_frequencies(training.classes), (1, 2, 3, 4, 5)

    def correlations(X: np.ndarray, count: int) -> np.ndarray:
        found = (references(frequency, count, X.shape[-1], training.sfreq) for frequency in frequencies)
        return np.stack([largest_correlations(X, y) for y in found], -1)

    def features(data: TaskData) -> np.ndarray:
        return np.stack([correlations(data.X, count) for count in n_harmonics], 1)

    def make(place: int, shrinkage: float | str | None) -> Pipeline:
        return make_pipeline(FunctionTransformer(one_of, kw_args={"place": place}), balanced_lda(training, shrinkage))

    candidates = [
        ({"n_harmonics": count, "shrinkage": shrinkage}, partial(make, place, shrinkage))
        for (place, count), shrinkage in product(enumerate(n_harmonics), _SHRINKAGES[:4])
    ]
    return fit_best(spread(candidates, setting.budget.n_looks), training, validation, setting, features=features)


def _fit_spectral_lda(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Linear discriminant of log band power."""
    shrinkages = (None, "auto", *(round(0.05 * step, 2) for step in range(1, 19)))
    candidates = [({"shrinkage": value}, partial(balanced_lda, training, value)) for value in shrinkages]
    candidates = spread(candidates, setting.budget.n_looks)
    return fit_best(candidates, training, validation, setting, features=band_powers)


def _fit_lda_hmm(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """The same, smoothed over each recording by a hidden Markov model."""
    grid = list(product(_SHRINKAGES, (1.0, 10.0), (False, True)))
    candidates, best = spread(grid, setting.budget.n_looks), None
    for shrinkage, pseudo_count, as_frequent in candidates:
        lda = balanced_lda(training, shrinkage).fit(band_powers(training), training.y)
        predict = _smoother(lda, training, pseudo_count=pseudo_count, as_frequent=as_frequent)
        score = selection_score(predict(validation), validation)
        if best is None or score > best[0]:
            settings = {"shrinkage": shrinkage, "pseudo_count": pseudo_count, "as_frequent": as_frequent}
            best = score, settings, predict, lda.coef_.size + lda.intercept_.size + len(training.classes) ** 2
    score, settings, predict, n_learnt = best
    choice = {"settings": settings, "n_looks": len(candidates), "validation_score": round(score, 6)}
    return Selected(predict, choice, int(n_learnt))


def _smoother(
    lda: LinearDiscriminantAnalysis, training: TaskData, *, pseudo_count: float, as_frequent: bool
) -> Callable[[TaskData], Prediction]:
    """Predict all windows that follow each other together; a gap in time begins anew.

    Unless classes are expected as often as they were in training, their smoothed probabilities are divided by that,
    which favours short stages as balanced accuracy does.
    """
    counts = count_transitions(training) + pseudo_count
    transitions = counts / counts.sum(1, keepdims=True)
    shares = np.bincount(training.y, minlength=len(training.classes)) + pseudo_count
    initial = shares / shares.sum()

    def predict(data: TaskData) -> Prediction:
        # The LDA's priors are equal, so that its probabilities are proportional to likelihoods.
        probabilities = np.zeros((len(data), len(training.classes)))
        probabilities[:, lda.classes_] = lda.predict_proba(band_powers(data))
        for chain in chains(data):
            probabilities[chain] = smooth(probabilities[chain], transitions, initial)
        if not as_frequent:
            probabilities /= initial
            probabilities /= probabilities.sum(1, keepdims=True)
        return Prediction(probabilities.argmax(1), probabilities)

    return predict


def _fit_xdawn(training: TaskData, validation: TaskData, setting: Setting, *, centred: bool = False) -> Selected:
    """Covariances of windows with the mean response of each class, in the tangent space, and a linear model there."""
    counts = sorted({min(count, len(training.ch_names)) for count in (1, 2, 4)})
    grid = [(edge, count, C) for edge in _LOW_PASS for count in counts for C in _XDAWN_STRENGTHS]
    grid, found = spread(grid, setting.budget.n_looks), []
    for edge, count in dict.fromkeys((edge, count) for edge, count, _ in grid):
        covariances = import_pyriemann().estimation.XdawnCovariances(count, estimator="oas", xdawn_estimator="lwf")
        covariances.fit(low_pass(training.X, edge, training.sfreq), training.y)
        features = tangent_vectors(training, [partial(_with_responses, covariances, edge)], centred=centred)
        candidates = [
            ({"low_pass_hz": edge, "n_filters": count, "C": C}, partial(logistic, C, max_iter=2000))
            for *own, C in grid
            if own == [edge, count]
        ]
        found.append(fit_best(candidates, training, validation, setting, features=features))
    best = max(found, key=lambda selected: selected.choice["validation_score"])
    return best._replace(choice=best.choice | {"n_looks": len(grid)})


def _with_responses(covariances: BaseEstimator, edge: float, data: TaskData) -> np.ndarray:
    """Covariances of filtered windows with the mean responses that were fitted."""
    return shrunk(covariances.transform(low_pass(data.X, edge, data.sfreq)), 0.01)


def _fit_courses(training: TaskData, validation: TaskData, setting: Setting) -> Selected:
    """Time courses, as they are or relative to each window's amplitude, and a linear discriminant of them."""

    def features(data: TaskData) -> np.ndarray:
        courses = _time_courses(data)
        return np.stack([courses, _relative(courses, data)], 1).reshape(len(data), 2, -1)

    def make(place: int, shrinkage: float | str | None) -> Pipeline:
        return make_pipeline(FunctionTransformer(one_of, kw_args={"place": place}), balanced_lda(training, shrinkage))

    candidates = [
        ({"amplitude": amplitude, "shrinkage": shrinkage}, partial(make, place, shrinkage))
        for (place, amplitude), shrinkage in product(enumerate(("absolute", "relative")), _SHRINKAGES[1:])
    ]
    return fit_best(spread(candidates, setting.budget.n_looks), training, validation, setting, features=features)


def _time_courses(data: TaskData) -> np.ndarray:
    """Means of steps of 40 ms side by side, in µV, shape (n_windows, n_channels, n_steps)."""
    step = round(_COURSE_SECONDS * data.sfreq)
    n_steps = data.n_times // step
    return 1e6 * data.X[..., : n_steps * step].reshape(*data.X.shape[:2], n_steps, step).mean(-1, dtype=float)


def _relative(courses: np.ndarray, data: TaskData) -> np.ndarray:
    """Time courses over the root mean square of their window and channel; those of flat ones are 0."""
    rms = 1e6 * np.sqrt((data.X.astype(float) ** 2).mean(-1, keepdims=True))
    return courses / np.where(rms > 0, rms, 1)


def _suits_responses(facts: TaskFacts) -> str:
    """For windows that hold the response to a stimulus."""
    return suits_classification(facts) if facts.is_event_related else "it is for responses to stimuli"


def _suits_flicker(facts: TaskFacts) -> str:
    """For tasks with two frequencies or more."""
    if len(stimulus_frequencies(facts.classes)) > 1:
        return ""
    return 'it needs classes that name frequencies of stimuli, such as "13 Hz"'


def _suits_sleep(facts: TaskFacts) -> str:
    """For tasks with stages of sleep."""
    return "" if "REM" in facts.classes or {"R", "N2"} <= set(facts.classes) else "it is for stages of sleep"


_XDAWN = Entry(
    "xdawn-lr",
    "xDAWN covariances, tangent space + logistic regression",
    "classical",
    _fit_xdawn,
    unsuited=_suits_responses,
)
SPECIALISTS: tuple[Entry, ...] = (
    Entry("cca", "CCA + LDA", "classical", _fit_cca, unsuited=_suits_flicker),
    Entry("spectral-lda", "Band power + LDA", "classical", _fit_spectral_lda, unsuited=_suits_sleep),
    Entry("lda-hmm", "Band power + LDA, smoothed by an HMM", "classical", _fit_lda_hmm, unsuited=_suits_sleep),
    _XDAWN,
    Entry("courses-lda", "Time courses + LDA", "classical", _fit_courses, unsuited=_suits_responses),
    centred_entry(_XDAWN, partial(_fit_xdawn, centred=True)),
)
"""In the order of tables."""
