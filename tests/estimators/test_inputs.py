"""What goes in: all containers alike, later data matched with that of fit, bad input refused before anything runs."""

import copy

import mne
import numpy as np
import pytest
import scipy.sparse
import torch
from estimator_families import CLASSIFIERS, ESTIMATORS, FEATURIZERS, PREDICTORS, REGRESSORS, SPECMOE, TRAINED

from mne_specmoe import (
    AmplitudeWarning,
    CheckpointError,
    SpecHiNet,
    SpecMoE,
    SpecMoEClassifier,
    SpecMoEFeaturizer,
    SpecMoERegressor,
    SpecMoEWarning,
    as_sklearn,
    make_epochs,
    save_expert,
    save_specmoe,
)
from mne_specmoe.estimators.brainrvq import BrainRVQClassifier, BrainRVQFeaturizer, BrainRVQRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning"),
    pytest.mark.filterwarnings("ignore:X has no channel names:mne_specmoe.SpecMoEWarning"),
]


# One kind of container after another


@pytest.fixture(scope="session")
def recording():
    """24 s of the kind of EEG that `epochs` has, cut by the containers below; two of its seconds are too strong."""
    epochs, _, _ = make_epochs(24, n_channels=3, duration=1, sfreq=160, n_subjects=1)
    raw = mne.io.RawArray(np.hstack(epochs.get_data()), epochs.info, verbose="ERROR")
    raw._data[:, 5 * 160 + 50] += 1e-3
    raw._data[:, 9 * 160 + 50] += 1e-3
    return raw


@pytest.fixture
def cut(recording):
    """Cut the recording into epochs of 1 s with labels 1 and 2, rejecting the strong ones."""
    events = mne.make_fixed_length_events(recording, duration=1)
    events[:, 2] = 1 + np.arange(24) // 2 % 2

    def cut(**options):
        options = {"tmin": 0, "tmax": 1 - 1 / 160, "baseline": None, "reject": {"eeg": 8e-4}} | options
        return mne.Epochs(recording, events, verbose="ERROR", **options)

    return cut


ARRAY = {"sfreq": 160, "ch_names": ["C3", "C4", "Cz"]}
CONTAINERS = {
    "ndarray": (lambda epochs: epochs.get_data(), ARRAY),
    "float32 in µV": (lambda epochs: (epochs.get_data() * 1e6).astype(np.float32), ARRAY | {"unit": "uV"}),
    "tensor": (lambda epochs: torch.from_numpy(epochs.get_data()), ARRAY),
    "tensor in mV": (lambda epochs: torch.from_numpy(epochs.get_data() * 1e3).float(), ARRAY | {"unit": "mV"}),
    "list of arrays": (lambda epochs: list(epochs.get_data()), ARRAY),
    "list of Epochs": (lambda epochs: [epochs[:5], epochs[5:6], epochs[6:]], {}),
    "one-epoch Epochs": (lambda epochs: [epochs[i] for i in range(len(epochs))], {}),
    "as_sklearn": (as_sklearn, {}),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_container_gives_the_same_result(kind, make, outputs, cut):
    epochs = cut(preload=True)
    assert len(epochs) == 22
    assert epochs.ch_names == ARRAY["ch_names"]
    y = epochs.events[:, 2]
    expected = outputs(make(kind).fit(epochs, y), epochs)
    for name, (convert, parameters) in CONTAINERS.items():
        X = convert(epochs)
        found = outputs(make(kind, **parameters).fit(X, y), X)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", FEATURIZERS + CLASSIFIERS)
@pytest.mark.parametrize("options", [{"preload": False}, {"preload": True}], ids=["lazy", "preloaded"])
@pytest.mark.parametrize("dropped", [True, False], ids=["bads dropped", "bads not dropped"])
def test_lazy_epochs_give_what_loaded_ones_give_and_stay_as_they_were(kind, options, dropped, make, outputs, cut):
    loaded = cut(preload=True)
    expected = outputs(make(kind).fit(loaded), loaded)
    epochs = cut(**options)
    epochs = epochs.drop_bad() if dropped else epochs
    was_loaded, were_dropped = epochs.preload, epochs._bad_dropped
    np.testing.assert_allclose(outputs(make(kind).fit(epochs), epochs), expected, rtol=1e-5, atol=1e-6)
    assert (epochs.preload, epochs._bad_dropped) == (was_loaded, were_dropped)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_epoch_alone_gets_exactly_what_it_gets_in_bulk(kind, make, outputs, fitted, epochs):
    many = mne.concatenate_epochs([epochs] * 3, verbose="ERROR")  # more than one pass, and than one chunk of the head
    estimator = fitted(kind)
    expected = outputs(estimator, many)
    assert len(expected) == 72
    for place in (0, 1, 23):
        np.testing.assert_array_equal(outputs(estimator, epochs[place]), expected[place : place + 1])
    some = [70, 3, 40, 3]
    np.testing.assert_array_equal(outputs(estimator, many[some]), expected[some])
    np.testing.assert_array_equal(outputs(estimator, [many[:1], many[1:]]), expected)


@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
@pytest.mark.parametrize("kind", PREDICTORS)
def test_the_order_of_epochs_changes_nothing(kind, is_trained, make, outputs, epochs):
    head = {"head": TRAINED[kind]["head"]} if is_trained else {}
    estimator = make(kind, **head).fit(epochs, np.arange(24) % 3)
    order = np.random.default_rng(0).permutation(24)
    np.testing.assert_array_equal(outputs(estimator, epochs[order]), outputs(estimator, epochs)[order])


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_experts_run_on_batches_of_one_size_however_many_epochs_there_are(kind, make, epochs, rows_per_run):
    featurizer = make(kind, batch_size=8).fit(epochs)
    many = mne.concatenate_epochs([epochs] * 4, verbose="ERROR")
    for X, n_runs in ((epochs[0], 1), (epochs[:10], 2), (epochs, 3), (many, 12)):
        rows_per_run.clear()
        featurizer.transform(X)
        assert rows_per_run == [8] * n_runs


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_epochs_are_read_by_the_batch(kind, make, cut, monkeypatch):
    epochs, sizes = cut(preload=False).drop_bad(), []
    get_data = mne.Epochs.get_data

    def watched(self, *args, **kwargs):
        data = get_data(self, *args, **kwargs)
        sizes.append(len(data))
        return data

    featurizer = make(kind, batch_size=4).fit(epochs)
    monkeypatch.setattr("mne_specmoe.data.recordings._SCAN_VALUES", 4 * 3 * 160)
    monkeypatch.setattr(mne.Epochs, "get_data", watched)
    featurizer.transform(epochs)
    assert 0 < max(sizes) <= 4


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_two_dimensions_are_one_channel(kind, make, outputs, X, y):
    flat = X[:, 0]
    first, second = (outputs(make(kind, sfreq=160).fit(data, y), data) for data in (flat, flat[:, None]))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_callers_data_are_not_written_to(kind, make, outputs, X, y):
    data, labels = X.copy(), y.copy()
    data.setflags(write=False)
    labels.setflags(write=False)
    outputs(make(kind, sfreq=160, unit="V").fit(data, labels), data)
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    outputs(make(kind, sfreq=160).fit(tensor, labels), tensor)
    np.testing.assert_array_equal(tensor.detach().numpy(), X)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_flat_channels_give_finite_results(kind, make, outputs, epochs):
    flat = epochs.copy()
    flat._data[:, 1] = 0
    flat._data[3] = 5e-6  # a whole epoch without signal
    assert np.isfinite(outputs(make(kind).fit(flat), flat)).all()
    silent = epochs.copy()
    silent._data[:] = 0
    with pytest.warns(AmplitudeWarning, match="constant"):
        assert np.isfinite(outputs(make(kind).fit(silent), silent)).all()


# Labels


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(
    "labels",
    [
        ["left", "right"],
        np.array(["left", "right"], dtype=object),
        [1, 2],
        [-1, 1],
        [False, True],
        [0.0, 1.0],
        np.array([7, 200], np.uint8),
    ],
    ids=lambda labels: str(np.asarray(labels).dtype),
)
def test_labels_of_any_kind_come_back(kind, labels, make, epochs, y):
    classes = np.asarray(labels)
    own = classes[y - 1]
    classifier = make(kind).fit(epochs, own)
    np.testing.assert_array_equal(classifier.classes_, classes)
    predicted = classifier.predict(epochs)
    assert predicted.dtype == own.dtype
    expected = make(kind).fit(epochs, y).predict(epochs)
    np.testing.assert_array_equal(predicted, classes[expected - 1])


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_may_be_a_list_and_more_than_two(kind, make, epochs):
    y = [f"class {i % 3}" for i in range(24)]
    classifier = make(kind).fit(epochs, y)
    assert list(classifier.classes_) == ["class 0", "class 1", "class 2"]
    assert classifier.predict_proba(epochs).shape == (24, 3)


# Later data are matched with those of fit


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_channels_in_another_order_change_nothing(kind, fitted, outputs, epochs):
    estimator = fitted(kind)
    expected = outputs(estimator, epochs)
    swapped = epochs.copy().reorder_channels(epochs.ch_names[::-1])
    assert np.abs(swapped.get_data() - epochs.get_data()).max() > 1e-6
    np.testing.assert_array_equal(outputs(estimator, swapped), expected)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_channels_that_fit_did_not_see_are_left_out(kind, fitted, outputs, epochs):
    estimator = fitted(kind)
    expected = outputs(estimator, epochs)
    extra = mne.EpochsArray(epochs.get_data()[:, :2], mne.create_info(["EOG", "Oz"], 160, ["eog", "eeg"]))
    more = epochs.copy().add_channels([extra], force_update_info=True)
    np.testing.assert_array_equal(outputs(estimator, more), expected)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_names_of_array_channels_are_matched_too(kind, make, outputs, X, y, epochs):
    estimator = make(kind, sfreq=160, ch_names=epochs.ch_names).fit(X, y)
    expected = outputs(estimator, X)
    estimator.set_params(ch_names=epochs.ch_names[::-1])
    np.testing.assert_array_equal(outputs(estimator, X[:, ::-1]), expected)
    estimator.set_params(ch_names=None)
    np.testing.assert_allclose(outputs(estimator, epochs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_channel_names_choose_among_those_of_epochs(kind, make, epochs):
    chosen = epochs.ch_names[:0:-1]
    few = make(kind, ch_names=chosen).fit(epochs)
    assert few.ch_names_ == chosen
    expected = make(kind).fit_transform(epochs.copy().pick(chosen))
    np.testing.assert_allclose(few.transform(epochs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_epochs_of_another_rate_are_resampled(kind, make, outputs):
    fast, y, _ = make_epochs(24, n_channels=3, duration=2, sfreq=500, n_subjects=1)
    fast = fast.filter(None, 40, verbose="ERROR")
    slow = fast.copy().decimate(2)
    estimator = make(kind).fit(fast, y)
    expected, found = outputs(estimator, fast), outputs(estimator, slow)
    assert estimator.sfreq_ == 500
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
    # Taken for another rate, the same samples are something else.
    wrong = mne.EpochsArray(fast.get_data()[..., :500], slow.info, verbose="ERROR")
    assert np.abs(outputs(estimator, wrong) - expected).max() > 0.2 * np.ptp(expected)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_arrays_of_another_rate_are_resampled_when_it_is_stated(kind, make, outputs, epochs, X, y):
    estimator = make(kind, sfreq=160).fit(X, y)
    other = epochs.copy().resample(200)
    found = outputs(estimator.set_params(sfreq=200), other.get_data())
    np.testing.assert_allclose(found, outputs(estimator.set_params(sfreq=None), other), rtol=1e-5, atol=1e-6)
    assert estimator.sfreq_ == 160


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.filterwarnings("error::mne_specmoe.SpecMoEWarning")
def test_arrays_without_a_rate_have_that_of_fit(kind, fitted, outputs, epochs, X):
    estimator = fitted(kind)
    np.testing.assert_array_equal(outputs(estimator, X), outputs(estimator, epochs))


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_arrays_in_the_wrong_unit_are_warned_about(kind, make, X, y):
    with pytest.warns(AmplitudeWarning, match=r"implausible.*unit"):
        make(kind, sfreq=160).fit(X * 1e6)
    featurizer = make(kind, sfreq=160, unit="uV").fit(X * 1e6)
    with pytest.warns(AmplitudeWarning, match="implausible"):
        featurizer.transform(X)


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_fitting_and_transforming_at_once_warns_once_and_gives_the_same(kind, make, X):
    with pytest.warns(AmplitudeWarning, match="implausible") as caught:
        features = make(kind, sfreq=160).fit_transform(X * 1e6)
    assert len([each for each in caught if each.category is AmplitudeWarning]) == 1
    with pytest.warns(AmplitudeWarning, match="implausible"):
        np.testing.assert_array_equal(features, make(kind, sfreq=160).fit(X * 1e6).transform(X * 1e6))


@pytest.mark.parametrize("kind", FEATURIZERS)
def test_short_arrays_without_a_rate_are_padded_with_a_warning(kind, make):
    short = 1e-5 * np.random.default_rng(0).standard_normal((4, 2, 30))
    featurizer = make(kind)
    with pytest.warns(SpecMoEWarning, match=r"30 samples.*padded"):
        assert np.isfinite(featurizer.fit(short).transform(short)).all()


# Bad input is refused before anything runs, and nothing is changed


def with_value(X, value):
    X = X.copy()
    X[7, 1, 30] = value
    return X


def shorter(epochs):
    return epochs.copy().crop(0, 0.9)


def renamed(epochs):
    return epochs.copy().rename_channels({epochs.ch_names[1]: "other"})


def eye_movements(epochs):
    return epochs.copy().set_channel_types(dict.fromkeys(epochs.ch_names, "eog"))


def raw_of(epochs):
    return mne.io.RawArray(epochs.get_data()[0], epochs.info, verbose="ERROR")


# What is wrong → (X from Epochs and their data, parameters, error, words of the message)
BAD_X = {
    "NaN": (lambda epochs, X: with_value(X, np.nan), {}, ValueError, "NaN.*epoch 7, channel 1.*sample 30"),
    "infinity": (lambda epochs, X: with_value(X, np.inf), {}, ValueError, "infinity.*epoch 7"),
    "minus infinity": (lambda epochs, X: with_value(X, -np.inf), {}, ValueError, "infinity.*epoch 7"),
    "NaN in a tensor": (lambda epochs, X: torch.tensor(with_value(X, np.nan)), {}, ValueError, "NaN.*epoch 7"),
    "no epochs": (lambda epochs, X: X[:0], {}, ValueError, r"0 sample\(s\).*minimum of 1"),
    "no Epochs": (lambda epochs, X: epochs[:0], {}, ValueError, r"0 sample\(s\).*minimum of 1"),
    "empty list": (lambda epochs, X: [], {}, ValueError, r"0 sample\(s\)"),
    "no channels": (lambda epochs, X: X[:, :0], {}, ValueError, r"0 channel\(s\)"),
    "no samples": (lambda epochs, X: X[..., :0], {}, ValueError, r"0 sample\(s\)"),
    "ragged list of arrays": (lambda epochs, X: [X[0], X[1][:, :-1]], {}, ValueError, "ragged.*item 1"),
    "ragged nested lists": (lambda epochs, X: [[[1.0, 2.0]], [[1.0]]], {}, ValueError, "ragged"),
    "four dimensions": (lambda epochs, X: X[None], {}, ValueError, "4 dimensions"),
    "one dimension": (lambda epochs, X: X[0, 0], {}, ValueError, "1D array|1 dimensions"),
    "complex": (lambda epochs, X: X * 1j, {}, ValueError, "Complex data not supported"),
    "words": (lambda epochs, X: X.astype(str).astype(object) + "?", {}, ValueError, "could not convert"),
    "sparse": (lambda epochs, X: scipy.sparse.csr_array(X[:, 0]), {}, TypeError, "[Ss]parse"),
    "recording": (lambda epochs, X: raw_of(epochs), {}, TypeError, "RawArray.*no epochs"),
    "average": (lambda epochs, X: epochs.average(), {}, TypeError, "EvokedArray.*no epochs"),
    "no EEG": (lambda epochs, X: eye_movements(epochs), {}, ValueError, "no EEG channels"),
    "Epochs under 0.2 s": (lambda epochs, X: epochs.copy().crop(0, 0.15), {}, ValueError, "at least 0.2 s"),
    "array under 0.2 s": (lambda epochs, X: X[..., :30], {"sfreq": 160}, ValueError, "at least 0.2 s"),
    "Epochs and arrays": (lambda epochs, X: [epochs[0], X[0]], {}, TypeError, "item 1 is of type ndarray"),
    "Epochs of different channels": (lambda epochs, X: [epochs[:2], renamed(epochs)], {}, ValueError, "item 1 lacks"),
    "Epochs of different length": (lambda epochs, X: [epochs[:2], shorter(epochs)], {}, ValueError, "one length"),
    "another rate than the Epochs'": (lambda epochs, X: epochs, {"sfreq": 250}, ValueError, "250 Hz.*160 Hz"),
    "too few names": (lambda epochs, X: X, {"ch_names": ["C3"]}, ValueError, "1 names.*3 channels"),
    "names doubled": (lambda epochs, X: X, {"ch_names": ["C3", "Cz", "C3"]}, ValueError, "'C3'.*twice"),
    "names missing": (lambda epochs, X: epochs, {"ch_names": ["C3", "Oz"]}, ValueError, "lacks 1 of the 2.*'Oz'"),
    "unknown unit": (lambda epochs, X: X, {"unit": "nV"}, ValueError, "'V', 'mV', 'uV', 'µV'"),
    "rate of zero": (lambda epochs, X: X, {"sfreq": 0}, ValueError, "sfreq must be > 0"),
    "rate in words": (lambda epochs, X: X, {"sfreq": "160"}, TypeError, "sfreq must be a number"),
}  # fmt: skip


def unchanged(before, after):
    """Whether attributes are the very same objects."""
    return before.keys() == after.keys() and all(before[name] is after[name] for name in before)


def refuse_fit(estimator, X, y, error, match):
    """A fit fails in the words expected, and leaves nothing behind."""
    before, labels = dict(vars(estimator)), copy.deepcopy(y)
    data = X.copy() if isinstance(X, np.ndarray) else None
    with pytest.raises(error, match=f"(?s){match}"):
        estimator.fit(X) if isinstance(estimator, FEATURIZERS) else estimator.fit(X, y)
    assert unchanged(before, vars(estimator))
    np.testing.assert_array_equal(y, labels)
    if data is not None:
        np.testing.assert_array_equal(X, data)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_bad_epochs_are_refused_by_fit(kind, case, make, fitted, epochs, X, y):
    wrong, parameters, error, match = BAD_X[case]
    data = wrong(epochs, X)
    refuse_fit(make(kind, **parameters), data, y, error, match)
    refuse_fit(fitted(kind).set_params(**parameters), data, y, error, match)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
@pytest.mark.parametrize("case", [case for case in BAD_X if case != "another rate than the Epochs'"])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_bad_epochs_are_refused_in_use(kind, case, fitted, outputs, epochs, X):
    wrong, parameters, error, match = BAD_X[case]
    estimator = fitted(kind).set_params(**parameters)
    before = dict(vars(estimator))
    with pytest.raises(error, match=f"(?s){match}"):
        outputs(estimator, wrong(epochs, X))
    assert unchanged(before, vars(estimator))


# What is wrong → (later X from Epochs and their data, words of the message)
UNLIKE_FIT = {
    "channel missing": (lambda epochs, X: epochs.copy().pick(epochs.ch_names[:2]), "lacks 1 of the 3.*'Cz'"),
    "channel renamed": (lambda epochs, X: renamed(epochs), "lacks 1 of the 3"),
    "other number of channels": (lambda epochs, X: X[:, :2], "2 channels, but 3 are expected"),
    "another length": (lambda epochs, X: np.repeat(X, 2, -1), "320 samples at 160 Hz.*160 samples at 160 Hz"),
    "one sample more": (lambda epochs, X: np.repeat(X, 2, -1)[..., :161], "161 samples.*160 samples"),
    "Epochs of another length": (lambda epochs, X: make_epochs(8, n_channels=3, duration=2)[0], "2.000 s.*1.000 s"),
}  # fmt: skip


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("case", UNLIKE_FIT)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_epochs_unlike_those_of_fit_are_refused(kind, case, fitted, outputs, epochs, X):
    change, match = UNLIKE_FIT[case]
    estimator = fitted(kind)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=f"(?s){match}"):
        outputs(estimator, change(epochs, X))
    assert unchanged(before, vars(estimator))


# What is wrong → (y from the true one, error, words)
BAD_Y = {
    "too few": (lambda y: y[:-1], ValueError, "inconsistent numbers of samples: X has 24 epochs, y has 23"),
    "too many": (lambda y: np.r_[y, 1], ValueError, "X has 24 epochs, y has 25"),
    "NaN": (lambda y: np.where(y == 1, np.nan, 1.0), ValueError, "y contains NaN"),
    "infinity": (lambda y: np.where(y == 1, np.inf, 1.0), ValueError, "y contains infinity"),
    "two columns": (lambda y: np.c_[y, y], ValueError, "1d array"),
    "a number": (lambda y: 3, ValueError, "1d array"),
}
BAD_LABELS = {
    "one class": (lambda y: np.ones(24, int), ValueError, "at least two classes.*one class"),
    "continuous": (lambda y: y + 0.3 * np.arange(24), ValueError, "continuous"),
    "words and None": (lambda y: np.where(y == y[0], "a", None), TypeError, "of one kind"),
}
BAD_NUMBERS = {"words": (lambda y: np.where(y == 1, "a", "b"), ValueError, "needs numbers in y")}


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize(
    ("kind", "wrong", "error", "match"),
    [
        pytest.param(kind, *case, id=f"{kind.__name__}: {name}")
        for kinds, special in ((CLASSIFIERS, BAD_LABELS), (REGRESSORS, BAD_NUMBERS))
        for kind in kinds
        for name, case in (BAD_Y | special).items()
    ],
)
def test_bad_targets_are_refused(kind, wrong, error, match, make, fitted, epochs, X, y):
    refuse_fit(make(kind), epochs, wrong(y), error, match)
    refuse_fit(make(kind, sfreq=160), X, wrong(y), error, match)
    refuse_fit(fitted(kind), epochs, wrong(y), error, match)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", PREDICTORS)
def test_arrays_without_targets_are_refused(kind, make, X):
    refuse_fit(make(kind, sfreq=160), X, None, ValueError, "requires y")


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", PREDICTORS)
def test_bad_groups_are_refused(kind, make, epochs, X, y):
    estimator = make(kind, sfreq=160)
    cases = [
        (epochs, y[:-1], r"24 epochs, groups has shape \(23,\)"),
        (epochs, np.c_[y, y], r"groups has shape \(24, 2\)"),
        (epochs, "session", "no column 'session'; they have 'subject'"),
        (X, "subject", "X is an array, which has none"),
    ]
    for data, groups, match in cases:
        with pytest.raises(ValueError, match=match):
            estimator.fit(data, y, groups=groups)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    refuse_fit(make(kind, group_column="session"), epochs, y, ValueError, "no column 'session'")


# Parameter → (bad value, error, words): all that is allowed is listed
BAD_RUN = {
    "precision": ("float16", ValueError, "'float32', 'bf16'"),
    "device": ("tpu", ValueError, "'auto', 'cpu', 'cuda'"),
    "batch_size": (2.5, TypeError, "batch_size must be an integer"),
    "random_state": ("seed", TypeError, "random_state must be None, an int"),
}
BAD_EXPERTS = {
    "layout": ("2d", ValueError, "'channelwise', 'published', None"),
    "channel_pooling": ("sum", ValueError, "'mean', 'max'"),
    "readout": ("embedding.mean", TypeError, "readout must be a list or tuple of 'stage.statistic'"),
    "n_experts": (0, ValueError, "n_experts must be >= 1"),
    "weights": (3, TypeError, r"weights must be a name \('starter',.*\), a path"),
}
BAD_ENCODER = {
    "depth": (0, ValueError, "depth must be >= 1"),
    "parity": ("published", ValueError, "True, False, None"),
    "aliases": (None, ValueError, "'none', '10-20'"),
    "on_unknown": ("drop", ValueError, "'error', 'nearest'"),
    "pooling": ("max", ValueError, "'mean', 'cls'"),
    "weights": (3, TypeError, r"weights must be a name \('brainrvq-starter'\), a path"),
    "weights ": (["a.pth", "b.pth"], TypeError, "one file.*got 2 in a list"),
}
BAD_TRAINING = {
    "hidden": (0, ValueError, "hidden must be >= 1"),
    "max_epochs": (0, ValueError, "max_epochs must be >= 1"),
    "lr": (0.0, ValueError, "lr must be > 0"),
    "weight_decay": (np.nan, ValueError, "weight_decay must be finite"),
    "unfreeze_epoch": (-1, ValueError, "unfreeze_epoch must be >= 0"),
    "patience": (True, TypeError, "patience must be an integer"),
    "validation_fraction": (1.0, ValueError, "validation_fraction must be"),
    "callbacks": (["early stopping"], TypeError, "callbacks must be a list of skorch callbacks"),
}
BAD_GATE = {
    "head": ("trained", ValueError, "'mlp'"),
    "time_pooling": ("median", ValueError, "'mean', 'max'"),
    "gate_scale": ("linear", ValueError, "'log', 'power', 'none'"),
    "dropout": (1.0, ValueError, "dropout must be"),
    "expert_lr": (-1e-3, ValueError, "expert_lr must be > 0"),
}
BAD_HEAD = {
    "head": ("mlp", ValueError, "'trained'"),
    "dropouts": ((0.1, 1.0), ValueError, "dropouts must be"),
    "dropouts ": (0.1, TypeError, "dropouts must be two numbers"),
    "norm_start": (None, ValueError, "'pretrained', 'fresh'"),
    "layer_decay": (1.1, ValueError, "layer_decay must be > 0.0 and <= 1"),
    "encoder_lr": (-1e-3, ValueError, "encoder_lr must be > 0"),
}
BAD_WEIGHTING = {
    "class_weight": ("equal", ValueError, "'balanced', None"),
    "class_weight ": ({1: 1.0, 3: 2.0}, ValueError, r"\[2\], are not in class_weight"),
    "class_weight  ": ({1: -1.0, 2: 1.0}, ValueError, "class_weight must hold finite numbers >= 0"),
}
BAD_SMOOTHING = {"label_smoothing": (1.0, ValueError, "label_smoothing must be")}
BAD_PARAMETERS = {
    SpecMoEFeaturizer: BAD_RUN | BAD_EXPERTS,
    SpecMoEClassifier: BAD_RUN | BAD_EXPERTS | BAD_TRAINING | BAD_GATE | BAD_WEIGHTING,
    SpecMoERegressor: BAD_RUN | BAD_EXPERTS | BAD_TRAINING | BAD_GATE,
    BrainRVQFeaturizer: BAD_RUN | BAD_ENCODER,
    BrainRVQClassifier: BAD_RUN | BAD_ENCODER | BAD_TRAINING | BAD_HEAD | BAD_WEIGHTING | BAD_SMOOTHING,
    BrainRVQRegressor: BAD_RUN | BAD_ENCODER | BAD_TRAINING | BAD_HEAD,
}


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize(
    ("kind", "name", "value", "error", "match"),
    [
        pytest.param(kind, name.strip(), *case, id=f"{kind.__name__}: {name}")
        for kind, table in BAD_PARAMETERS.items()
        for name, case in table.items()
    ],
)
def test_bad_parameters_are_refused(kind, name, value, error, match, make, fitted, epochs, y):
    refuse_fit(make(kind, **{name: value}), epochs, y, error, f"{name}.*|{match}")
    with pytest.raises(error, match=match):
        fitted(kind).set_params(**{name: value}).fit(epochs, y)


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_cuda_asked_for_and_absent_is_refused(kind, make, fitted, outputs, epochs, y, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        refuse_fit(
            make(kind, device=device), epochs, y, ValueError, f"{device}.*0 CUDA devices.*device='auto' or 'cpu'"
        )
        with pytest.raises(ValueError, match="0 CUDA devices"):
            outputs(fitted(kind).set_params(device=device), epochs)


@pytest.fixture(scope="session")
def bad_weights(tmp_path_factory):
    """Files that are no experts, or do not go together, and what is said of them."""
    folder = tmp_path_factory.mktemp("weights")
    expert = save_expert(SpecHiNet(), folder / "expert.safetensors")
    published = save_expert(SpecHiNet("published"), folder / "published.safetensors")
    network = save_specmoe(SpecMoE(2, n_times=400, n_experts=1), folder / "specmoe.safetensors")
    page, short, empty = folder / "page.pth", folder / "short.safetensors", folder / "empty.pth"
    page.write_text("<!DOCTYPE html><html>Sign in to download</html>")
    short.write_bytes(expert.read_bytes()[:-1000])
    empty.touch()
    torch.save({"weight": torch.zeros(2)}, folder / "other.pth")
    return {
        "web page": (page, CheckpointError, "web page"),
        "truncated": (short, CheckpointError, "truncated"),
        "empty": (empty, CheckpointError, "empty"),
        "another program's": (folder / "other.pth", CheckpointError, "no published .*only 'weight'"),
        "another architecture": ([network], CheckpointError, "'specmoe', expected 'specmoe-expert'"),
        "two layouts": ([expert, published], CheckpointError, "one layout, got channelwise, published"),
        "none": ([], ValueError, "empty list"),
        "absent": (folder / "absent.pth", FileNotFoundError, "no weights file"),
        "misspelt": ("startr", FileNotFoundError, "no weights file startr.*named by a str: 'starter'"),
        "folder": (folder, CheckpointError, "is a folder"),
    }


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", SPECMOE)
def test_files_that_are_no_experts_are_refused(kind, make, fitted, epochs, y, bad_weights):
    for weights, error, match in bad_weights.values():
        refuse_fit(make(kind, weights=weights), epochs, y, error, match)
        refuse_fit(fitted(kind).set_params(weights=weights), epochs, y, error, match)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_fit_that_failed_leaves_an_earlier_one_in_use(kind, fitted, outputs, epochs, X, y):
    estimator = fitted(kind)
    expected = outputs(estimator, epochs)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(with_value(X[:, :2], np.nan), y)
    np.testing.assert_array_equal(outputs(estimator, epochs), expected)
