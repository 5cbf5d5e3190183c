import pickle

import mne
import numpy as np
import pytest
from mne.decoding import CSP, Scaler, Vectorizer
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline

from mne_specmoe.data.recordings import event_labels, metadata_column, open_epochs
from mne_specmoe.data.sliceable import SliceableEpochs, as_sklearn
from mne_specmoe.data.synthetic import make_epochs

EPOCHS, Y, GROUPS = make_epochs(48, n_channels=6, duration=2, n_subjects=4, random_state=0)


class Recorder(ClassifierMixin, BaseEstimator):
    """A classifier that keeps what it was given."""

    def __init__(self, option=0):
        self.option = option

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.X_ = X
        self.y_ = y
        return self

    def predict(self, X):
        return event_labels(X)  # right for every epoch, if X and y are sliced alike


def test_data_and_description_are_the_inputs():
    X = as_sklearn(EPOCHS)
    assert isinstance(X, mne.EpochsArray)
    assert X.shape == (48, 6, 400)
    assert X.ndim == 3
    np.testing.assert_array_equal(X.get_data(), EPOCHS.get_data())
    np.testing.assert_array_equal(X.events, EPOCHS.events)
    np.testing.assert_array_equal(X.times, EPOCHS.times)
    assert X.info["ch_names"] == EPOCHS.ch_names
    assert X.event_id == EPOCHS.event_id
    assert X.metadata.equals(EPOCHS.metadata)


def test_the_input_shares_nothing_with_the_copy():
    epochs = EPOCHS.copy()
    before = pickle.dumps(epochs)
    X = as_sklearn(epochs)
    X._data[:] = 0
    X.info["bads"] = ["C3"]
    X.events[:] = 0
    X.metadata.loc[:, "subject"] = "nobody"
    X.drop_channels(["C4"])
    assert type(epochs) is mne.EpochsArray
    assert pickle.dumps(epochs) == before


def test_lazy_epochs_are_loaded_and_their_bad_ones_dropped_in_the_copy_only():
    data = np.random.default_rng(0).standard_normal((2, 4000)) * 1e-5
    data[0, 1010:1020] = 1e-3
    raw = mne.io.RawArray(data, mne.create_info(2, 200.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0], [0.1], ["blink"]))
    events = mne.make_fixed_length_events(raw, duration=2)
    lazy = mne.Epochs(raw, events, tmin=-0.2, tmax=1, baseline=(None, 0), reject={"eeg": 5e-4}, verbose="ERROR")
    X = as_sklearn(lazy)
    assert not lazy.preload
    assert len(lazy.events) == 10
    expected = lazy.copy().load_data()
    assert X.shape == expected.get_data().shape
    assert len(X) < 10
    np.testing.assert_array_equal(X.get_data(), expected.get_data())
    assert X.baseline == expected.baseline
    assert X.drop_log == expected.drop_log
    assert X.get_annotations_per_epoch() == expected.get_annotations_per_epoch()
    assert X.tmin == pytest.approx(-0.2)


def test_indexing_as_scikit_learn_does_equals_indexing_as_mne_does():
    X = as_sklearn(EPOCHS)
    for index in ([3, 0, 3], np.array([5, 1]), Y == 2, slice(2, 9), 7, np.array([], dtype=int)):
        ours, theirs = X[index, ...], EPOCHS[index]
        assert type(ours) is SliceableEpochs
        np.testing.assert_array_equal(ours.events, theirs.events)
        np.testing.assert_array_equal(ours.selection, theirs.selection)
        assert ours.drop_log == theirs.drop_log
        assert ours.event_id == theirs.event_id
        assert ours.metadata.equals(theirs.metadata)
        assert ours.shape == (len(theirs), 6, 400)
        if len(theirs):
            np.testing.assert_array_equal(ours.get_data(), theirs.get_data())


@pytest.mark.parametrize(
    "item", ["left_hand", ["left_hand", "right_hand"], "subject == 'S02'", (2, 4), slice(1, 20, 3)]
)
def test_mnes_own_ways_of_indexing_still_work(item):
    ours, theirs = as_sklearn(EPOCHS)[item], EPOCHS[item]
    assert 0 < len(ours) == len(theirs)
    np.testing.assert_array_equal(ours.get_data(), theirs.get_data())


def test_iteration_and_length_are_mnes():
    X = as_sklearn(EPOCHS)
    assert len(X) == 48
    np.testing.assert_array_equal(next(iter(X)), EPOCHS.get_data()[0])


def test_copies_and_pickles_stay_what_they_are():
    X = as_sklearn(EPOCHS)
    for again in (X.copy(), pickle.loads(pickle.dumps(X)), as_sklearn(X)):
        assert type(again) is SliceableEpochs
        assert again.shape == X.shape
        np.testing.assert_array_equal(again.get_data(), X.get_data())
        np.testing.assert_array_equal(again[[1, 2], ...].events, X.events[1:3])
        assert again.metadata.equals(X.metadata)


def test_they_can_be_saved_concatenated_and_cropped(tmp_path):
    X = as_sklearn(EPOCHS)
    X.save(tmp_path / "x-epo.fif", fmt="double")
    np.testing.assert_array_equal(mne.read_epochs(tmp_path / "x-epo.fif").get_data(), X.get_data())
    assert len(mne.concatenate_epochs([X, X], verbose="ERROR")) == 96
    assert X.copy().crop(0, 1).shape == (48, 6, 201)
    assert X.copy().pick(["C3"]).shape == (48, 1, 400)


def test_folds_are_genuine_epochs_with_what_belongs_to_them():
    X = as_sklearn(EPOCHS)
    train, test, y_train, y_test = train_test_split(X, Y, stratify=Y, random_state=0)
    for part, y in ((train, y_train), (test, y_test)):
        assert isinstance(part, mne.BaseEpochs)
        np.testing.assert_array_equal(event_labels(part), y)
        np.testing.assert_array_equal(part.get_data(), EPOCHS.get_data()[part.selection])
        np.testing.assert_array_equal(metadata_column(part, "subject"), GROUPS[part.selection])
        assert part.info["sfreq"] == 200
        assert len(part.drop_log) == 48
    assert set(train.selection) | set(test.selection) == set(range(48))


@pytest.mark.parametrize("cv", [KFold(4), GroupKFold(4)])
def test_cross_validation_slices_epochs_and_labels_alike(cv):
    X = as_sklearn(EPOCHS)
    groups = GROUPS if isinstance(cv, GroupKFold) else None
    assert cross_val_score(Recorder(), X, Y, groups=groups, cv=cv).tolist() == [1.0] * 4
    np.testing.assert_array_equal(cross_val_predict(Recorder(), X, Y, groups=groups, cv=cv), Y)


def test_grid_search_hands_epochs_to_every_fit():
    search = GridSearchCV(Recorder(), {"option": [0, 1]}, cv=3).fit(as_sklearn(EPOCHS), Y)
    assert search.best_score_ == 1
    assert isinstance(search.best_estimator_.X_, SliceableEpochs)


def test_masks_from_a_splitter_are_understood():
    masks = [(GROUPS != name, GROUPS == name) for name in np.unique(GROUPS)]
    assert cross_val_score(Recorder(), as_sklearn(EPOCHS), Y, cv=masks).tolist() == [1.0] * 4


def test_the_data_door_reads_folds_like_any_epochs():
    fold = as_sklearn(EPOCHS)[[4, 2, 9], ...]
    volts = open_epochs(fold).volts(slice(None))
    np.testing.assert_array_equal(volts, EPOCHS.get_data()[[4, 2, 9]])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_mnes_csp_is_cross_validated(n_jobs):
    X = as_sklearn(EPOCHS.copy().filter(8, 15, verbose="ERROR"))
    pipeline = make_pipeline(CSP(4), LinearDiscriminantAnalysis())
    scores = cross_val_score(pipeline, X, Y, groups=GROUPS, cv=GroupKFold(4), n_jobs=n_jobs)
    on_arrays = cross_val_score(pipeline, X.get_data(), Y, groups=GROUPS, cv=GroupKFold(4))
    np.testing.assert_allclose(scores, on_arrays)
    assert scores.mean() > 0.8


def test_mnes_scaler_and_vectorizer_are_cross_validated():
    X = as_sklearn(EPOCHS)
    pipeline = make_pipeline(Scaler(EPOCHS.info), Vectorizer(), LogisticRegression())
    scores = cross_val_score(pipeline, X, Y, cv=3, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(pipeline, X.get_data(), Y, cv=3))


def test_what_are_not_epochs_is_refused():
    with pytest.raises(TypeError, match="must be an mne.Epochs, got ndarray"):
        as_sklearn(EPOCHS.get_data())
    with pytest.raises(TypeError, match="list"):
        as_sklearn([EPOCHS])


@pytest.mark.real_data
def test_real_epochs_are_cross_validated_as_their_array_is(eegbci_epochs):
    y = eegbci_epochs.events[:, 2]
    X = as_sklearn(eegbci_epochs.copy().filter(8, 30, verbose="ERROR"))
    np.testing.assert_array_equal(X.events, eegbci_epochs.events)
    pipeline = make_pipeline(CSP(4, reg="ledoit_wolf"), LinearDiscriminantAnalysis())
    scores = cross_val_score(pipeline, X, y, cv=3, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(pipeline, X.get_data(), y, cv=3))


def test_spectra_and_time_frequency_of_mne_work():
    epochs, *_ = make_epochs(n_epochs=4)
    spectrum = as_sklearn(epochs).compute_psd("welch", n_fft=200, verbose="ERROR")
    np.testing.assert_array_equal(
        spectrum.get_data(), epochs.compute_psd("welch", n_fft=200, verbose="ERROR").get_data()
    )
    power = as_sklearn(epochs).compute_tfr("morlet", freqs=[10.0], n_cycles=2, verbose="ERROR")
    assert power.get_data().shape[0] == 4
