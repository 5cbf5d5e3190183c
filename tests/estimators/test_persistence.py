"""Fitted estimators survive pickling, joblib and copying, and do not carry their training data along."""

import copy
import pickle
import subprocess
import sys

import joblib
import mne
import numpy as np
import pytest
from estimator_families import CLASSIFIERS, ESTIMATORS, FEATURIZERS, PREDICTORS, SPECMOE, TRAINED
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")


def through_pickle(estimator, folder):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, folder):
    joblib.dump(estimator, folder / "estimator.joblib", compress=3)
    return joblib.load(folder / "estimator.joblib")


def through_copy(estimator, folder):
    return copy.deepcopy(estimator)


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_copy])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_copy_gives_the_same_to_the_bit_and_can_be_fitted_again(kind, through, fitted, outputs, epochs, tmp_path):
    estimator = fitted(kind)
    expected = outputs(estimator, epochs)
    again = through(estimator, tmp_path)
    np.testing.assert_array_equal(outputs(again, epochs), expected)
    assert again.get_params() == estimator.get_params()
    np.testing.assert_array_equal(outputs(again.fit(epochs), epochs), expected)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_training_learned_survives(kind, make, epochs, tmp_path):
    estimator = make(kind, **TRAINED[kind]).fit(epochs)
    again = through_pickle(estimator, tmp_path)
    assert again.history_ == estimator.history_
    np.testing.assert_array_equal(again.validation_indices_, estimator.validation_indices_)
    assert len(again.validation_indices_) > 0
    if kind in SPECMOE:
        np.testing.assert_array_equal(again.gate_weights(epochs), estimator.gate_weights(epochs))
    assert (again.ch_names_, again.sfreq_, again.n_times_) == (epochs.ch_names, 160, 160)
    assert again.net_.history == estimator.net_.history


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_solving_learned_survives(kind, fitted, epochs, tmp_path):
    estimator = fitted(kind)
    again = through_pickle(estimator, tmp_path)
    assert again.history_ == estimator.history_
    assert again.net_ is again.validation_indices_ is None
    assert again.shares_ == estimator.shares_
    assert again.strengths_ == estimator.strengths_
    assert tuple(again.shares_) == again.parts_ == estimator.parts_
    assert again.left_out_ == estimator.left_out_
    assert (again.ch_names_, again.sfreq_, again.n_times_) == (epochs.ch_names, 160, 160)


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_a_featurizer_keeps_its_output_format_and_names(kind, fitted, epochs, tmp_path):
    featurizer = fitted(kind).set_output(transform="pandas")
    again = through_pickle(featurizer, tmp_path)
    assert list(again.transform(epochs).columns) == list(featurizer.get_feature_names_out())


@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_experts_that_were_freed_survive(kind, is_trained, make, epochs, tmp_path):
    options = {"unfreeze_epoch": 1, "max_epochs": 2, "validation_fraction": None}
    classifier = make(kind, **options, **(TRAINED[kind] if is_trained else {})).fit(epochs)
    again = through_pickle(classifier, tmp_path)
    np.testing.assert_array_equal(again.predict_proba(epochs), classifier.predict_proba(epochs))


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_a_pipeline_survives(kind, make, epochs, tmp_path):
    pipeline = make_pipeline(make(kind), LogisticRegression()).fit(epochs, epochs.events[:, 2])
    again = through_joblib(pipeline, tmp_path)
    np.testing.assert_array_equal(again.predict_proba(epochs), pipeline.predict_proba(epochs))


@pytest.mark.parametrize(
    ("kind", "options"),
    [pytest.param(kind, {}, id=kind.__name__) for kind in ESTIMATORS]
    + [pytest.param(kind, TRAINED[kind], id=f"{kind.__name__}, trained") for kind in PREDICTORS],
)
def test_training_data_are_not_stored(kind, options, make, epochs):
    sizes = []
    for n_copies in (1, 5):
        many = mne.concatenate_epochs([epochs] * n_copies, verbose="ERROR")
        sizes.append(len(pickle.dumps(make(kind, max_epochs=1, **options).fit(many))))
    assert sizes[1] - sizes[0] < 4 * 24 * 100  # embeddings of 96 epochs more would be 147 kB, their signals 184 kB


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_another_process_predicts_the_same(kind, fitted, X, tmp_path):
    classifier = fitted(kind)
    joblib.dump(classifier, tmp_path / "classifier.joblib")
    np.save(tmp_path / "X.npy", X)
    program = (
        "import joblib, numpy as np, sys\n"
        "folder = sys.argv[1]\n"
        "classifier = joblib.load(folder + '/classifier.joblib')\n"
        "np.save(folder + '/found.npy', classifier.predict_proba(np.load(folder + '/X.npy')))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(tmp_path)], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), classifier.predict_proba(X), rtol=1e-6)
