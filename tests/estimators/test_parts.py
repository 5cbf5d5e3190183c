"""What estimators read of an epoch: which parts, of which epochs, and what heads make of them."""

import mne
import numpy as np
import pytest
import torch
from estimator_families import CLASSIFIERS, FEATURIZERS, PREDICTORS, PRETRAINED, SPECMOE, TRAINED
from scipy.stats import kurtosis
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_specmoe import (
    SpecMoEClassifier,
    SpecMoEFeaturizer,
    SpecMoERegressor,
    load_downstream,
    load_specmoe,
    make_epochs,
    save_downstream,
    save_specmoe,
)

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")

OWN = dict.fromkeys(SPECMOE, "experts")
SIGNAL = ("amplitude", "power", "spectrum", "covariance", "evoked")


def own_part(kind):
    """What a family calls its pretrained part."""
    return OWN.get(kind, "encoder")


@pytest.fixture(scope="module")
def sides():
    """40 epochs in which alpha is stronger on the left or on the right, with the same power in all."""
    epochs, y, _ = make_epochs(40, n_channels=4, duration=2, sfreq=200, effect=0, n_subjects=1, random_state=0)
    rng = np.random.default_rng(0)
    for i, label in enumerate(y):
        wave = 20e-6 * np.sin(2 * np.pi * (10 * epochs.times + rng.random()))
        epochs._data[i, 0 if label == 1 else 1] += wave
    return epochs, y


@pytest.fixture(scope="module")
def responses():
    """60 epochs of 0.8 s, half of them with a response after 0.3 s, in noise."""
    epochs, y, _ = make_epochs(60, n_channels=4, duration=0.8, sfreq=200, effect=0, n_subjects=1, random_state=0)
    wave = 30e-6 * np.exp(-(((epochs.times - 0.3) / 0.05) ** 2))
    epochs._data[y == 2] += wave
    return epochs, y


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_left_is_told_from_right_by_default(kind, make, sides):
    epochs, y = sides
    assert cross_val_score(make(kind), epochs, y, cv=StratifiedKFold(4)).mean() > 0.9


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_responses_to_events_are_found_in_short_epochs_by_default(kind, make, responses):
    epochs, y = responses
    classifier = make(kind)
    assert cross_val_score(classifier, epochs, y, cv=StratifiedKFold(4)).mean() > 0.85
    classifier.fit(epochs, y)
    assert classifier.shares_["evoked"] > 0.4
    assert "at least 1 s" in classifier.left_out_["spectrum"]


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_features_of_default_parts_feed_a_regression_that_picks_them_by_name(kind, make, sides):
    epochs, y = sides
    featurizer = make(kind).set_output(transform="pandas")
    # A regression on all of them would be distracted by the many that say nothing of sides.
    covariances = make_column_transformer(("passthrough", make_column_selector("^covariance_")))
    pipeline = make_pipeline(featurizer, covariances, StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, epochs, y, cv=StratifiedKFold(4)).mean() > 0.9


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_features_are_the_parts_next_to_each_other(kind, make, epochs):
    parts = (own_part(kind), *SIGNAL)
    whole = make(kind, parts=parts).set_output(transform="pandas").fit_transform(epochs)
    assert len(set(whole.columns)) == whole.shape[1]
    for name in parts:
        alone = make(kind, parts=(name,)).set_output(transform="pandas").fit_transform(epochs)
        assert all(column.startswith(f"{name}_") for column in alone.columns)
        np.testing.assert_allclose(whole[alone.columns], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_without_their_part_pretrained_networks_do_not_run(kind, make, outputs, epochs, monkeypatch):
    monkeypatch.setattr("mne_specmoe.models.specmoe.network.settle_normalisation", lambda encoder: None)
    estimator = make(kind, parts=("spectrum",)).fit(epochs)
    assert np.isfinite(outputs(estimator, epochs)).all()


def test_any_statistic_of_any_stage_can_be_had(make, epochs):
    stages = ("down1", "down2", "attention1", "down3", "bottom1", "attention2", "embedding")
    readout = [f"{stage}.{statistic}" for stage in stages for statistic in ("mean", "max", "log_std", "covariance")]
    for layout in ("channelwise", "published"):
        for pooling in (None, "mean", "max"):
            options = {"parts": ("experts",), "readout": readout, "n_components": None, "channel_pooling": pooling}
            featurizer = make(SpecMoEFeaturizer, layout=layout, **options)
            features = featurizer.fit_transform(epochs)
            assert features.shape[1] == len(set(featurizer.get_feature_names_out()))
            assert np.isfinite(features).all()


@pytest.mark.parametrize("pooling", [None, "mean"])
def test_components_are_those_of_the_standardised_statistics(make, epochs, pooling):
    options = {"parts": ("experts",), "channel_pooling": pooling}
    statistics = make(SpecMoEFeaturizer, n_components=None, **options).fit_transform(epochs)
    featurizer = make(SpecMoEFeaturizer, n_components=5, **options)
    found = featurizer.fit_transform(epochs)
    expected = PCA(5, svd_solver="full").fit_transform(StandardScaler().fit_transform(statistics.astype(float)))
    expected /= np.sqrt(statistics.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(featurizer.transform(epochs[:3]), found[:3], rtol=1e-4, atol=1e-5)
    assert list(featurizer.get_feature_names_out()) == [f"experts_component_0{i}" for i in range(1, 6)]


def test_components_that_few_epochs_do_not_span_are_zero(make, epochs):
    featurizer = make(SpecMoEFeaturizer, parts=("experts",), n_components=16).fit(epochs[:4])
    assert (featurizer.transform(epochs) != 0).any(0).tolist() == [True] * 3 + [False] * 13
    one = make(SpecMoEFeaturizer, parts=("experts",)).fit(epochs[:1])
    assert (one.transform(epochs) == 0).all()


def test_covariances_of_stages_stay_beside_components(make, epochs):
    readout = ("down1.covariance", "embedding.mean")
    featurizer = make(SpecMoEFeaturizer, parts=("experts",), readout=readout, n_components=2)
    whole = make(SpecMoEFeaturizer, parts=("experts",), readout=readout, n_components=None)
    found, expected = featurizer.fit_transform(epochs), whole.fit_transform(epochs)
    n_pairs = found.shape[1] - 2
    assert n_pairs == sum("covariance" in name for name in whole.get_feature_names_out())
    np.testing.assert_array_equal(found[:, 2:], expected[:, -n_pairs:])
    alone = make(SpecMoEFeaturizer, parts=("experts",), readout=readout[:1], n_components=2)
    np.testing.assert_array_equal(alone.fit_transform(epochs), expected[:, -n_pairs:])


@pytest.mark.parametrize("n_components", [0, -1, 2.5, "all", True])
@pytest.mark.parametrize("kind", [SpecMoEFeaturizer, SpecMoEClassifier])
def test_a_number_of_components_is_whole_and_positive(kind, make, epochs, n_components):
    with pytest.raises((TypeError, ValueError), match="n_components"):
        make(kind, n_components=n_components).fit(epochs)


# Epochs that fit has not seen


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_parts_that_pool_channels_and_time_take_other_lengths_and_some_of_the_channels(kind, make, epochs):
    whole = {"n_components": None} if kind is SpecMoEFeaturizer else {}  # components depend on the epochs of fit
    featurizer = make(kind, parts=(own_part(kind), "spectrum"), **whole).fit(epochs)
    other = make_epochs(4, n_channels=3, duration=2.5, sfreq=160)[0].pick(["C4", "Cz"])
    features = featurizer.transform(other)
    assert features.shape == (4, len(featurizer.get_feature_names_out()))
    afresh = make(kind, parts=(own_part(kind), "spectrum"), **whole).fit(other.copy().reorder_channels(["C4", "Cz"]))
    np.testing.assert_allclose(features, afresh.transform(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classifiers_take_other_lengths_where_their_parts_do(kind, make, sides):
    epochs, y = sides
    classifier = make(kind, parts=("power", "covariance")).fit(epochs, y)
    longer = mne.EpochsArray(np.tile(epochs.get_data(), 2), epochs.info, verbose="ERROR")
    assert (classifier.predict(longer) == classifier.predict(epochs)).mean() > 0.9


CANNOT = {
    "channels": (("covariance",), lambda epochs: epochs.copy().pick(["C3", "C4"]), "part 'covariance' needs: 'Cz'"),
    "channels of several": (("power", "amplitude"), lambda e: e.copy().pick(["C3"]), "parts 'amplitude', 'power'"),
    "length": (("evoked",), lambda epochs: epochs.copy().crop(0, 0.7), "part 'evoked' cannot do with another length"),
    "too short": (("covariance",), lambda epochs: epochs.copy().crop(0, 0.25), "part 'covariance' cannot do"),
}


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("case", CANNOT)
@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
def test_what_a_part_cannot_do_with_is_refused_by_its_name(kind, case, make, outputs, epochs, monkeypatch):
    parts, change, match = CANNOT[case]
    monkeypatch.setattr("mne_specmoe.models.specmoe.network.settle_normalisation", lambda encoder: None)
    estimator = make(kind, parts=parts).fit(epochs)
    with pytest.raises(ValueError, match=match):
        outputs(estimator, change(epochs))


@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_epochs_that_have_none_of_the_parts_are_refused(kind, make):
    epochs, y, _ = make_epochs(12, n_channels=3, duration=0.3, sfreq=200)
    with pytest.raises(ValueError, match="None of the parts.*'spectrum': it needs epochs of at least 1 s"):
        make(kind, parts=("spectrum",)).fit(epochs, y)


@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
@pytest.mark.parametrize("seconds", [0.2, 0.35, 0.6, 0.8, 1.2, 2.5])
def test_epochs_of_any_length_work_and_say_what_they_lack(kind, seconds, make, outputs):
    epochs, y, _ = make_epochs(12, n_channels=3, duration=seconds, sfreq=200)
    estimator = make(kind).fit(epochs, y)
    assert set(estimator.parts_) | set(estimator.left_out_) == {own_part(kind), *SIGNAL} - {"power"}
    assert np.isfinite(outputs(estimator, epochs)).all()


@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
def test_one_channel_and_constant_channels_and_few_samples_are_no_obstacle(kind, make, outputs):
    rng = np.random.default_rng(0)
    one = 1e-5 * rng.standard_normal((10, 1, 400))
    many = 1e-5 * rng.standard_normal((10, 20, 200))
    many[:, 3] = 1e-5
    names = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2 Oz".split()
    for X, ch_names in ((one, ["Cz"]), (many, names)):
        estimator = make(kind, ch_names=ch_names, sfreq=200).fit(X, np.arange(10) % 2)
        assert np.isfinite(outputs(estimator, X)).all()


def test_places_count_and_may_be_unknown_or_shared(make, epochs):
    options = {"parts": ("experts",), "readout": ("embedding.mean",), "channel_pooling": None}
    plain = make(SpecMoEFeaturizer, **options).fit(epochs)
    assert np.isfinite(plain.locations_).all()
    unknown = make(SpecMoEFeaturizer, sfreq=160, ch_names=["C3", "C4", "probe"], **options).fit(epochs.get_data())
    np.testing.assert_array_equal(np.isnan(unknown.locations_).any(1), [False, False, True])
    assert np.abs(unknown.transform(epochs.get_data()) - plain.transform(epochs)).max() > 1e-4
    X = np.repeat(epochs.get_data()[:, :1], 2, 1)
    shared = make(SpecMoEFeaturizer, sfreq=160, ch_names=["T3", "T7"], **options).fit(X)  # two names of one place
    assert np.isfinite(shared.transform(X)).all()
    nowhere = make(SpecMoEFeaturizer, sfreq=160, **options).fit(X)
    assert nowhere.locations_ is None
    assert np.isfinite(nowhere.transform(X)).all()


def test_features_have_no_heavy_tails(make):
    epochs, _, _ = make_epochs(80, n_channels=4, duration=2, sfreq=200, n_subjects=4, random_state=0)
    features = make(SpecMoEFeaturizer).fit_transform(epochs)
    changing = features[:, features.std(0) > 1e-6]
    assert np.median(kurtosis(changing, fisher=False)) <= 6


# Heads


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_solved_head_has_one_entry_in_its_history_and_sets_nothing_aside(kind, make, epochs, y):
    predictor = make(kind).fit(epochs, y)
    (entry,) = predictor.history_
    assert list(entry) == ["epoch", "train_loss", "valid_loss", "lr", "experts_frozen"]
    assert entry["experts_frozen"]
    assert entry["lr"] is None
    assert np.isfinite([entry["train_loss"], entry["valid_loss"]]).all()
    assert predictor.validation_indices_ is None
    assert predictor.net_ is None
    assert predictor.n_iter_ == 1
    assert list(predictor.shares_) == list(predictor.strengths_) == list(predictor.parts_)
    assert abs(sum(predictor.shares_.values()) - 1) < 1e-6


@pytest.mark.parametrize("kind", PREDICTORS)
def test_experts_train_from_the_solved_head_on(kind, make, epochs, y):
    own = own_part(kind)
    parts = (own, "power", "covariance")
    solved = make(kind, parts=parts, validation_fraction=None).fit(epochs, y)
    tuned = make(kind, parts=parts, validation_fraction=None, unfreeze_epoch=1, max_epochs=3, lr=1e-4).fit(epochs, y)
    assert [row["experts_frozen"] for row in tuned.history_] == [True, False, False]
    assert tuned.history_[0]["train_loss"] == pytest.approx(solved.history_[0]["train_loss"], rel=1e-4)
    assert tuned.history_[1]["train_loss"] < 2 * solved.history_[0]["train_loss"] + 0.1
    pretrained = PRETRAINED[kind]
    before, after = (getattr(each.network_, pretrained).state_dict() for each in (solved, tuned))
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_is_set_aside_for_fine_tuning_teaches_nothing(kind, make, epochs, y):
    options = {"parts": ("covariance", "power"), "unfreeze_epoch": 1, "max_epochs": 2}
    first = make(kind, **options).fit(epochs, y)
    valid = first.validation_indices_
    other = epochs.copy()
    other._data[valid] *= np.linspace(1, 3, 3)[:, None]
    again = make(kind, **options).fit(other, y)
    np.testing.assert_array_equal(again.validation_indices_, valid)
    assert torch.equal(first.network_.parts["covariance"].whitener, again.network_.parts["covariance"].whitener)
    assert again.history_[0]["train_loss"] == first.history_[0]["train_loss"]
    assert again.history_[0]["valid_loss"] != first.history_[0]["valid_loss"]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_class_weights_decide_how_rare_classes_fare_in_a_solved_head(kind, make):
    epochs, y, _ = make_epochs(40, n_channels=3, duration=2, sfreq=100, n_subjects=1, random_state=3)
    y = np.where(np.arange(40) % 5 == 0, "rare", "common")
    counts = [
        np.mean(make(kind, class_weight=weight).fit(epochs, y).predict_proba(epochs)[:, 1])
        for weight in (None, "balanced", {"common": 1, "rare": 50})
    ]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_trained_heads_read_the_other_parts_too(kind, make, sides):
    epochs, y = sides
    trained = TRAINED[kind] | {"parts": (own_part(kind), "power", "covariance"), "hidden": None, "max_epochs": 40}
    alone = trained | {"parts": (own_part(kind),)}
    scores = [
        cross_val_score(make(kind, **options, lr=1e-2), epochs, y, cv=StratifiedKFold(4)).mean()
        for options in (trained, alone)
    ]
    assert scores[0] > 0.6
    assert scores[0] > scores[1] + 0.05


@pytest.mark.parametrize(("kind", "head"), [(SpecMoEClassifier, "logistic"), (SpecMoERegressor, "ridge")])
def test_linear_heads_have_no_gates(kind, head, make, epochs):
    with pytest.raises(ValueError, match=f"head='{head}' has no gate.*head='mlp'"):
        make(kind).fit(epochs).gate_weights(epochs)


@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_stored_network_is_complete(kind, is_trained, make, epochs, y, tmp_path):
    head = {"head": TRAINED[kind]["head"]} if is_trained else {}
    classifier = make(kind, **head, max_epochs=2).fit(epochs, y)
    save, load = (save_specmoe, load_specmoe) if kind in SPECMOE else (save_downstream, load_downstream)
    network = load(save(classifier.network_, tmp_path / "network.safetensors"))
    x = torch.from_numpy(1e4 * epochs.copy().resample(200, verbose="ERROR").get_data()).float()
    with torch.inference_mode():
        found, expected = (each(x) for each in (network, classifier.network_))
    torch.testing.assert_close(found, expected)
    assert network.config == classifier.network_.config


WRONG = {
    "no such part": ({"parts": ("wavelets",)}, ValueError, "'covariance', 'evoked'"),
    "no part": ({"parts": ()}, ValueError, "empty"),
    "one part without brackets": ({"parts": "covariance"}, TypeError, "list or tuple"),
}


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", FEATURIZERS + PREDICTORS)
def test_wrong_parts_are_refused(kind, case, make, epochs, y):
    parameters, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        make(kind, **parameters).fit(epochs, y)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", SPECMOE)
def test_stages_that_do_not_exist_are_refused_with_a_list_of_those_that_do(kind, make, epochs, y):
    with pytest.raises(ValueError, match="stages: 'down1', 'down2', 'attention1', 'down3', 'bottom1', 'attention2'"):
        make(kind, readout=("down4.mean",)).fit(epochs, y)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_heads_that_do_not_exist_are_refused(kind, make, epochs, y):
    with pytest.raises(ValueError, match="head='forest'"):
        make(kind, head="forest").fit(epochs, y)
