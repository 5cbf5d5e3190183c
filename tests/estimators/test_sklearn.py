"""The estimators are scikit-learn estimators, on arrays and on mne.Epochs."""

import numpy as np
import pandas as pd
import pytest
from estimator_families import (
    ALONE,
    APART,
    CLASSIFIERS,
    ESTIMATORS,
    FEATURIZERS,
    PREDICTORS,
    PRETRAINED,
    PRETRAINED_PARTS,
    REGRESSORS,
    SPECMOE,
    TRAINED,
    WIDTHS,
)
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_classifiers_train, check_regressors_train, parametrize_with_checks

from mne_specmoe import (
    SpecMoEClassifier,
    SpecMoEFeaturizer,
    SpecMoERegressor,
    UntrainedWarning,
    as_sklearn,
    make_epochs,
)
from mne_specmoe.estimators.brainrvq import BrainRVQClassifier, BrainRVQFeaturizer, BrainRVQRegressor

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")


@parametrize_with_checks(
    [
        SpecMoEFeaturizer(),
        SpecMoEClassifier(weights=None, n_experts=1),
        SpecMoEClassifier(weights=None, n_experts=1, layout="published", head="mlp", hidden=32, max_epochs=20),
        SpecMoERegressor(weights=None, n_experts=1),
        SpecMoERegressor(weights=None, n_experts=1, head="mlp", hidden=32, max_epochs=5),
        BrainRVQFeaturizer(),
        BrainRVQClassifier(),
        BrainRVQClassifier(weights=None, depth=1, head="trained", max_epochs=20),
        BrainRVQClassifier(weights=None, depth=1, head="trained", max_epochs=20, pooling="flatten", hidden=16),
        BrainRVQRegressor(weights=None, depth=1),
        BrainRVQRegressor(weights=None, depth=1, head="trained", max_epochs=5),
    ]
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the checks' data are no EEG: short, and not in volts
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("kind", "check"),
    [(kind, check_classifiers_train) for kind in CLASSIFIERS] + [(kind, check_regressors_train) for kind in REGRESSORS],
    ids=lambda value: value.__name__,
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_scikit_learn_finds_nothing_wrong_in_training_on_the_default_weights(kind, check):
    check(kind.__name__, kind(**TRAINED[kind], max_epochs=5))


PROMISING = {
    kind: {"weights": None, "head": TRAINED[kind]["head"]} | ({"layout": "published"} if kind in SPECMOE else {})
    for kind in PREDICTORS
}
"""Parameters with which scores on data that are no EEG are promised; of regressors, if nothing is set aside."""


def test_scores_on_data_that_are_no_eeg_are_promised_only_where_they_are_reached():
    for kind, promising in PROMISING.items():
        others = [{"weights": "starter"}, {"weights": ["1.pth", "2.pth"]}, {"head": kind().head}]
        others += [{"layout": layout} for layout in (None, "channelwise") if kind in SPECMOE]
        for validation_fraction in (None, 0.2):
            estimator = kind(**promising, validation_fraction=validation_fraction)
            promised = kind in CLASSIFIERS or validation_fraction is None
            assert poor_score(estimator) != promised
            for other in others:
                assert poor_score(clone(estimator).set_params(**other))


def poor_score(estimator):
    tags = get_tags(estimator)
    return (tags.classifier_tags or tags.regressor_tags).poor_score


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_regressors_reach_what_they_promise(kind, make):
    regressor = make(kind, **PROMISING[kind], validation_fraction=None, hidden=None, max_epochs=100)
    assert not poor_score(regressor)
    check_regressors_train(kind.__name__, regressor)


@pytest.fixture
def featurizer_and_regression(make):
    """Make a pipeline of two steps more than a featurizer, which is called "features"."""

    def featurizer_and_regression(kind, **parameters):
        steps = [
            ("features", make(kind, **parameters)),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression()),
        ]
        return Pipeline(steps)

    return featurizer_and_regression


@pytest.fixture(scope="module")
def beta_epochs():
    """60 epochs of which those of class 2 hold a 20 Hz rhythm in every channel."""
    epochs, y, _ = make_epochs(60, n_channels=2, duration=1, effect=0, n_subjects=1)
    epochs._data[y == 2] += 30e-6 * np.sin(2 * np.pi * 20 * epochs.times)
    return epochs


@pytest.mark.parametrize("apart", [False, True], ids=["pooled", "channels apart"])
@pytest.mark.parametrize("kind", FEATURIZERS)
def test_features_feed_a_pipeline_that_finds_a_rhythm(kind, apart, featurizer_and_regression, beta_epochs):
    pipeline = featurizer_and_regression(kind, **(APART[kind] if apart else {}))
    scores = cross_val_score(pipeline, beta_epochs, beta_epochs.events[:, 2], cv=StratifiedKFold(2))
    assert scores.mean() > 0.9


@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_finds_a_rhythm(kind, is_trained, make, beta_epochs):
    trained = TRAINED[kind] | {"hidden": None, "max_epochs": 30}
    classifier = make(kind, **(trained if is_trained else {}))
    X, y = as_sklearn(beta_epochs), beta_epochs.events[:, 2]
    assert cross_val_score(classifier, X, y, cv=StratifiedKFold(2)).mean() > (0.85 if is_trained else 0.9)


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_a_grid_search_over_epochs_is_one_over_arrays(kind, featurizer_and_regression, epochs, X, y):
    (name,) = APART[kind]
    search = GridSearchCV(featurizer_and_regression(kind), {f"features__{name}": ["mean", None]}, cv=2)
    of_epochs = clone(search).fit(epochs, y)  # folds are lists of Epochs, the refit gets the Epochs
    array = {"estimator__features__sfreq": 160, "estimator__features__ch_names": epochs.ch_names}
    of_arrays = search.set_params(**array).fit(X, y)
    np.testing.assert_allclose(of_epochs.cv_results_["mean_test_score"], of_arrays.cv_results_["mean_test_score"])
    assert of_epochs.best_estimator_[0].ch_names_ == epochs.ch_names
    np.testing.assert_array_equal(of_epochs.predict(epochs), of_arrays.predict(X))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_grid_search_chooses_a_parameter_of_the_classifier(kind, make, epochs, y):
    search = GridSearchCV(make(kind, **TRAINED[kind]), {"lr": [1e-3, 1e-2]}, cv=2)
    search.fit(epochs, y)
    assert len(search.cv_results_["params"]) == 2
    assert search.best_estimator_.lr == search.best_params_["lr"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # joblib's, about the time that workers take to start
def test_cross_validation_by_groups_is_the_same_for_all_containers_and_in_parallel(kind, make, epochs, X, y):
    groups = epochs.metadata["subject"].to_numpy()
    options = {"cv": GroupKFold(2), "groups": groups, "scoring": "neg_log_loss", "error_score": "raise"}
    classifier = make(kind, validation_fraction=0.3)
    plain = cross_val_score(classifier, epochs, y, **options, params={"groups": groups})
    sliceable = cross_val_score(classifier, as_sklearn(epochs), y, **options, params={"groups": groups}, n_jobs=2)
    array = cross_val_score(
        clone(classifier).set_params(sfreq=160, ch_names=epochs.ch_names), X, y, **options, params={"groups": groups}
    )
    np.testing.assert_allclose(sliceable, plain, rtol=1e-6)
    np.testing.assert_allclose(array, plain, rtol=1e-4)
    assert len(np.unique(plain)) > 1


@pytest.mark.parametrize("kind", REGRESSORS)
def test_cross_validated_predictions_come_in_the_order_of_the_epochs(kind, make, epochs, y):
    regressor = make(kind)
    folds = StratifiedKFold(2).split(y, y)
    predicted = cross_val_predict(regressor, epochs, y, cv=StratifiedKFold(2))
    for train, test in folds:
        expected = clone(regressor).fit(epochs[train], y[train]).predict(epochs[test])
        np.testing.assert_array_equal(predicted[test], expected)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_clone_has_the_parameters_and_nothing_of_the_fit(kind, fitted):
    estimator = fitted(kind)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_only_the_weights_are_positional(kind):
    with pytest.raises(TypeError, match="positional"):
        kind(None, 3)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_nothing_is_said_of_epochs_before_fit(kind, make, outputs, epochs):
    with pytest.raises(NotFittedError, match="not fitted"):
        outputs(make(kind), epochs)


@pytest.mark.parametrize("kind", SPECMOE[1:])
def test_gates_are_not_there_before_fit(kind, make, epochs):
    with pytest.raises(NotFittedError, match="not fitted"):
        make(kind).gate_weights(epochs)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_random_networks_are_said_to_be_random(kind, make, epochs):
    with pytest.warns(UntrainedWarning, match="(experts are|encoder is) random") as caught:
        make(kind).fit(epochs)
    own = [warning for warning in caught if warning.category is UntrainedWarning]
    assert len(own) == 1
    assert own[0].filename == __file__


# Randomness


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_same_random_state_gives_the_same_result_and_another_gives_another(kind, make, outputs, epochs):
    parts = {"parts": (PRETRAINED_PARTS[kind],)}
    first, second, other = (outputs(make(kind, random_state=seed, **parts).fit(epochs), epochs) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("kind", FEATURIZERS)
@pytest.mark.parametrize("generator", [np.random.RandomState, np.random.default_rng])
def test_generators_are_random_states_too(kind, generator, make, outputs, epochs):
    first, second = (outputs(make(kind, random_state=generator(5)).fit(epochs), epochs) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    shared = make(kind, random_state=generator(5))
    draws = [outputs(shared.fit(epochs), epochs) for _ in range(2)]
    np.testing.assert_array_equal(draws[0], first)
    assert not np.array_equal(draws[0], draws[1])


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_without_a_random_state_every_fit_differs(kind, make, outputs, epochs):
    estimator = make(kind, random_state=None)
    assert not np.array_equal(outputs(estimator.fit(epochs), epochs), outputs(estimator.fit(epochs), epochs))


# A second fit, and parameters changed between fit and use


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_second_fit_may_have_other_channels_length_and_rate(kind, make, fitted, outputs):
    other, labels, _ = make_epochs(12, n_channels=5, duration=1.5, sfreq=128, n_subjects=2)
    again = fitted(kind).fit(other, labels)
    afresh = make(kind).fit(other, labels)
    np.testing.assert_array_equal(outputs(again, other), outputs(afresh, other))
    assert (again.n_channels_, again.n_times_, again.sfreq_) == (5, 192, 128)
    assert again.ch_names_ == other.ch_names


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_second_fit_forgets_all_of_the_first(kind, make, X, y, epochs):
    table = pd.DataFrame(X[:, 0], columns=[f"t{i}" for i in range(X.shape[-1])])
    estimator = make(kind, sfreq=160).fit(table, y)
    assert estimator.n_features_in_ == X.shape[-1]
    estimator.fit(epochs, y)
    assert not hasattr(estimator, "n_features_in_")
    assert not hasattr(estimator, "feature_names_in_")
    assert estimator.fit(X, y).ch_names_ is None


def test_parameters_set_after_fit_wait_for_the_next_fit(fitted, epochs, y):
    classifier = fitted(SpecMoEClassifier)
    before = classifier.predict_proba(epochs)
    classifier.set_params(
        n_experts=2, readout=("down1.max",), channel_pooling="max", parts=("experts",), random_state=9
    )
    np.testing.assert_array_equal(classifier.predict_proba(epochs), before)
    classifier.fit(epochs, y)
    assert len(classifier.network_.experts) == 2
    assert np.abs(classifier.predict_proba(epochs) - before).max() > 1e-4


def test_parameters_of_brainrvq_set_after_fit_wait_for_the_next_fit(fitted, epochs, y):
    classifier = fitted(BrainRVQClassifier)
    before = classifier.predict_proba(epochs)
    classifier.set_params(
        depth=2, pooling="flatten", head="trained", aliases="none", norm_start="fresh", random_state=9
    )
    np.testing.assert_array_equal(classifier.predict_proba(epochs), before)
    classifier.fit(epochs, y)
    assert classifier.network_.config.depth == 2
    assert np.abs(classifier.predict_proba(epochs) - before).max() > 1e-4


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_batch_size_changes_no_more_than_rounding(kind, fitted, outputs, epochs):
    estimator = fitted(kind)
    expected = outputs(estimator, epochs)
    for batch_size in (1, 5, 1000):
        found = outputs(estimator.set_params(batch_size=batch_size), epochs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("precision", "float64"), ("device", "tpu")])
def test_bad_parameters_set_after_fit_are_refused_in_use(kind, name, value, fitted, outputs, epochs):
    with pytest.raises(ValueError, match=name):
        outputs(fitted(kind).set_params(**{name: value}), epochs)


# The featurizer's output


@pytest.mark.parametrize(("channel_pooling", "n_features"), [("mean", 512), ("max", 512), (None, 1536)])
def test_features_are_named_float32_and_one_row_per_epoch(channel_pooling, n_features, make, epochs):
    featurizer = make(SpecMoEFeaturizer, n_experts=2, channel_pooling=channel_pooling, **ALONE[SpecMoEFeaturizer])
    features = featurizer.fit_transform(epochs)
    names = featurizer.get_feature_names_out()
    assert features.shape == (24, n_features)
    assert features.dtype == np.float32
    assert len(set(names)) == n_features


def test_sixteen_components_stand_for_the_experts_by_default(make, epochs):
    features = make(SpecMoEFeaturizer, parts=("experts",)).set_output(transform="pandas").fit_transform(epochs)
    assert list(features.columns) == [f"experts_component_{i:02d}" for i in range(1, 17)]


def test_channels_kept_apart_are_named_and_pool_to_the_pooled_features(make, epochs):
    options = ALONE[SpecMoEFeaturizer] | {"n_experts": 2}
    apart = make(SpecMoEFeaturizer, channel_pooling=None, **options).set_output(transform="pandas")
    table = apart.fit_transform(epochs)
    assert table.columns[0] == f"experts_{epochs.ch_names[0]}_expert1_embedding.mean_000"
    assert table.columns[-1] == f"experts_{epochs.ch_names[-1]}_expert2_embedding.mean_255"
    for channel_pooling, pool in (("mean", np.mean), ("max", np.max)):
        pooled = make(SpecMoEFeaturizer, channel_pooling=channel_pooling, **options).set_output(transform="pandas")
        for name, column in pooled.fit_transform(epochs).items():
            same = [name.replace("experts_", f"experts_{channel}_") for channel in epochs.ch_names]
            np.testing.assert_allclose(column, pool(table[same], axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_channels_without_names_are_numbered(kind, make, X):
    names = make(kind, **(APART[kind] | ALONE[kind]), sfreq=160).fit(X).get_feature_names_out()
    pooled = make(kind, **ALONE[kind], sfreq=160).fit(X).get_feature_names_out()
    assert len(pooled) == WIDTHS[kind]
    part = f"{ALONE[kind]['parts'][0]}_"
    expected = {name.replace(part, f"{part}channel{i}_", 1) for i in (1, 2, 3) for name in pooled}
    assert set(names) == expected
    assert len(names) == len(expected)


@pytest.mark.parametrize(("pooling", "n_features"), [("mean", 200), ("cls", 200), (None, 600)])
def test_features_of_brainrvq_are_named_float32_and_one_row_per_epoch(pooling, n_features, make, epochs):
    featurizer = make(BrainRVQFeaturizer, pooling=pooling, **ALONE[BrainRVQFeaturizer])
    features = featurizer.fit_transform(epochs)
    names = featurizer.get_feature_names_out()
    assert features.shape == (24, n_features)
    assert features.dtype == np.float32
    assert len(set(names)) == n_features
    assert names[7] == ("encoder_007" if pooling else f"encoder_{epochs.ch_names[0]}_007")


# The predictors' output


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_probabilities_sum_to_one_and_predict_is_the_likeliest(kind, fitted, epochs, y):
    classifier = fitted(kind)
    probabilities = classifier.predict_proba(epochs)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(classifier.predict(epochs), classifier.classes_[probabilities.argmax(1)])
    assert classifier.score(epochs, y) == np.mean(classifier.predict(epochs) == y)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_without_y_the_event_codes_are_the_targets(kind, make, outputs, epochs, y):
    expected = outputs(make(kind).fit(epochs, y), epochs)
    np.testing.assert_array_equal(outputs(make(kind).fit(epochs), epochs), expected)
    halves = [epochs[:7], epochs[7:]]
    np.testing.assert_array_equal(outputs(make(kind).fit(halves), halves), expected)


@pytest.mark.parametrize("kind", SPECMOE[1:])
def test_gates_are_given_per_epoch_channel_and_expert(kind, make, epochs):
    estimator = make(kind, n_experts=2, **TRAINED[kind]).fit(epochs)
    gates = estimator.gate_weights(epochs)
    assert gates.shape == (24, 3, 2)
    assert (gates > 0).all()
    assert (gates < 1).all()
    assert (gates.std(axis=(0, 1)) > 0).all()  # they read the spectrum


def test_gates_follow_their_channel_and_are_open_without_a_gate(make, epochs):
    classifier = make(SpecMoEClassifier, **TRAINED[SpecMoEClassifier]).fit(epochs)
    gates = classifier.gate_weights(epochs)
    swapped = epochs.copy().reorder_channels(epochs.ch_names[::-1])
    np.testing.assert_array_equal(classifier.gate_weights(swapped), gates)
    shut = make(SpecMoEClassifier, gate_scale="none", **TRAINED[SpecMoEClassifier]).fit(epochs)
    np.testing.assert_array_equal(shut.gate_weights(epochs), 1)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_progress_bar_is_shown_only_when_asked_for(kind, make, epochs, capsys):
    make(kind, **TRAINED[kind]).fit(epochs).predict(epochs)
    quiet = capsys.readouterr()
    assert quiet.out == quiet.err == ""
    make(kind, verbose=1, **TRAINED[kind]).fit(epochs).predict(epochs)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert PRETRAINED[kind] in shown.err
    assert "valid_loss" in shown.err
