"""People centred by their own mean: the functions, and the estimators that use them."""

import numpy as np
import pandas as pd
import pytest
from estimator_families import CLASSIFIERS, FEATURIZERS, PREDICTORS
from sklearn.model_selection import GroupKFold, cross_val_score

from mne_specmoe import SpecMoEWarning, center_covariances, center_features, make_epochs
from mne_specmoe.estimators.centring import check_persons, riemannian_mean

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")


@pytest.fixture
def covariances():
    """12 covariances of two people whose amplitudes and mixtures differ: two bands, three channels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 2, 3, 30))
    mixture = np.array([[[1, 0.5, 0], [0, 2, 0], [0, 0.3, 1]], [[3, 0, 0], [1, 1, 0], [0, 0, 0.2]]])
    x = mixture[np.repeat([0, 1], 6)][:, None] @ x
    return x @ x.swapaxes(-1, -2) / 30


PERSONS = np.repeat(["a", "b"], 6)


def test_everybodys_mean_is_the_identity(covariances):
    centred = center_covariances(covariances, PERSONS)
    for person in "ab":
        np.testing.assert_allclose(riemannian_mean(centred[person == PERSONS]), [np.eye(3)] * 2, atol=1e-4)


def test_what_mixes_a_persons_channels_does_not_matter_but_for_a_rotation(covariances):
    other = covariances.copy()
    mixture = np.array([[2.0, 0, 1], [0, 1, 0], [0, 0, 5]])
    other[:6] = mixture @ other[:6] @ mixture.T
    first, second = (np.linalg.eigvalsh(center_covariances(each, PERSONS)) for each in (covariances, other))
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_features_have_mean_zero_and_variance_one_in_everybody():
    features = np.random.default_rng(0).normal(np.repeat([5, -5], 6)[:, None], 3, (12, 4))
    features[:, 3] = 7
    centred = center_features(features, PERSONS)
    for person in "ab":
        own = centred[person == PERSONS]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(own.std(0), [1, 1, 1, 0], atol=1e-12)


@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
def test_a_lone_epoch_is_taken_as_an_average_persons(covariances):
    persons = np.array(["a"] * 11 + ["b"])
    centred = center_features(np.arange(12.0)[:, None], persons)
    np.testing.assert_allclose(centred[-1], (11 - 5.5) / np.arange(12).std())
    assert np.isfinite(center_covariances(covariances, persons)).all()


def test_a_lone_epoch_is_warned_about():
    with pytest.warns(SpecMoEWarning, match="one epoch each.*'c'"):
        np.testing.assert_array_equal(check_persons(["b", "b", "c", "a", "a"], 5), [0, 0, 1, 2, 2])


@pytest.mark.parametrize(
    ("persons", "match"),
    [
        (["a", "a"], r"X has 3 epochs, but groups has shape \(2,\)"),
        ([["a", "a", "a"]], r"shape \(1, 3\)"),
        (["a", None, "a"], "1 of 3 entries are missing, the first at epoch 1"),
        ([1.0, 1.0, np.nan], "first at epoch 2"),
        (pd.array([1, pd.NA, 1]), "first at epoch 1"),
    ],
)
def test_people_that_are_missing_or_of_another_number_are_refused(persons, match):
    with pytest.raises(ValueError, match=match):
        check_persons(persons, 3)


# Estimators


@pytest.fixture(scope="module")
def people():
    """60 epochs of five people, in all of whom class 2 has stronger alpha; they differ in amplitude."""
    epochs, y, groups = make_epochs(60, n_channels=3, duration=2, sfreq=100, n_subjects=5, random_state=1)
    for i, person in enumerate(np.unique(groups)):
        epochs._data[groups == person] *= 1.5**i
    return epochs, y, groups


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_a_persons_amplitude_does_not_matter_once_people_are_centred(kind, make, people):
    epochs, _, groups = people
    featurizer = make(kind, parts=("amplitude", "power", "covariance"), center_by="subject")
    features = featurizer.fit_transform(epochs)
    louder = epochs.copy()
    louder._data[groups == groups[0]] *= 3
    np.testing.assert_allclose(featurizer.transform(louder), features, atol=1e-2)
    plain = make(kind, parts=("amplitude", "power", "covariance")).fit(epochs)
    assert np.abs(plain.transform(louder) - plain.transform(epochs)).max() > 1


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_a_column_an_array_and_the_name_of_a_column_say_the_same(kind, make, people):
    epochs, _, groups = people
    options = {"parts": ("power", "covariance")}
    expected = make(kind, center_by="subject", **options).fit_transform(epochs)
    np.testing.assert_array_equal(make(kind, **options).fit_transform(epochs, groups=groups), expected)
    np.testing.assert_array_equal(make(kind, **options).fit_transform(epochs, groups="subject"), expected)
    array = make(kind, sfreq=100, center_by=True, **options).fit(epochs.get_data(), groups=list(groups))
    np.testing.assert_allclose(array.transform(epochs.get_data(), groups=groups), expected, atol=1e-5)
    halves = make(kind, center_by="subject", **options).fit([epochs[:7], epochs[7:]])
    np.testing.assert_allclose(halves.transform(epochs), expected, atol=1e-5)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_people_that_fit_has_not_seen_are_welcome(kind, make, people):
    epochs, y, groups = people
    seen = groups != groups[0]
    predictor = make(kind, center_by="subject").fit(epochs[seen], y[seen])
    assert predictor.score(epochs[~seen], y[~seen]) > 0.4
    shuffled = np.random.default_rng(0).permutation(60)
    found = predictor.predict(epochs[shuffled], groups=groups[shuffled])
    np.testing.assert_allclose(found, predictor.predict(epochs)[shuffled], atol=1e-4)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_centred_classifiers_work_in_cross_validation(kind, make, people):
    epochs, y, groups = people
    scores = cross_val_score(make(kind, center_by="subject"), epochs, y, groups=groups, cv=GroupKFold(5))
    assert scores.mean() > 0.8


@pytest.mark.parametrize("kind", PREDICTORS)
def test_groups_of_folds_do_not_centre(kind, make, outputs, people):
    epochs, y, groups = people
    predictor = make(kind).fit(epochs, y, groups=groups)
    assert not predictor.is_centered_
    with pytest.raises(ValueError, match="fitted without centring"):
        predictor.predict(epochs, groups=groups)


@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_a_lone_epoch_in_use_is_warned_about_and_finite(kind, make, people):
    epochs, y, _ = people
    estimator = make(kind, center_by="subject").fit(epochs, y)
    use = getattr(estimator, "transform", None) or estimator.predict_proba
    with pytest.warns(SpecMoEWarning, match="one epoch each"):
        assert np.isfinite(use(epochs[0])).all()


BAD = {
    "no such column": ({"center_by": "person"}, {}, ValueError, "no column 'person'; they have 'subject'"),
    "no groups": ({"center_by": True}, {}, ValueError, "give groups"),
    "groups too short": ({"center_by": True}, {"groups": ["a"] * 7}, ValueError, r"60 epochs.*shape \(7,\)"),
    "missing values": ({"center_by": True}, {"groups": ["a"] * 59 + [None]}, ValueError, "first at epoch 59"),
    "a number": ({"center_by": 3}, {}, TypeError, "center_by must be a column"),
    "False": ({"center_by": False}, {}, TypeError, "center_by must be a column"),
}


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_what_cannot_be_centred_is_refused_before_anything_runs(kind, case, make, people):
    parameters, arguments, error, match = BAD[case]
    epochs, y, _ = people
    with pytest.raises(error, match=match):
        make(kind, **parameters).fit(epochs, y, **arguments)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_missing_values_of_a_column_are_refused(kind, make, people):
    epochs, y, _ = people
    gaps = epochs.copy()
    gaps.metadata.loc[gaps.metadata.index[4], "subject"] = None
    with pytest.raises(ValueError, match="first at epoch 4"):
        make(kind, center_by="subject").fit(gaps, y)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_changes_in_training_cannot_be_centred(kind, make, people):
    epochs, y, _ = people
    with pytest.raises(ValueError, match="cannot train while people are centred"):
        make(kind, center_by="subject", unfreeze_epoch=1).fit(epochs, y)
