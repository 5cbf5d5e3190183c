import mne
import numpy as np
import pytest
from mne.decoding import CSP
from scipy.signal import welch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from mne_specmoe.data.preprocessing import TEN_TWENTY_19
from mne_specmoe.data.recordings import amplitude_uv, open_epochs
from mne_specmoe.data.synthetic import make_eeg, make_epochs


def accuracy(epochs, y):
    """Cross-validated accuracy of a classical pipeline on the mu band."""
    band = epochs.copy().filter(8, 14, verbose="ERROR").get_data()
    pipeline = make_pipeline(CSP(4, log=True), LinearDiscriminantAnalysis())
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(pipeline, band, y, cv=cv).mean()


def test_the_amplitude_is_that_of_eeg():
    volts = make_eeg(20, 8, 800, random_state=0)
    assert volts.shape == (20, 8, 800)
    assert volts.dtype == np.float64
    deviation = volts.std(axis=-1) * 1e6
    assert 8 < np.median(deviation) < 20
    assert 2 < deviation.min()
    assert deviation.max() < 60


@pytest.mark.parametrize("n_times", [1, 2, 150, 200, 799])
@pytest.mark.parametrize("n_channels", [1, 5])
def test_any_size_gives_finite_signals(n_channels, n_times):
    volts = make_eeg(3, n_channels, n_times, random_state=0)
    assert volts.shape == (3, n_channels, n_times)
    assert np.isfinite(volts).all()


def test_power_falls_with_frequency_like_one_over_f():
    volts = make_eeg(50, 4, 2000, random_state=0)[:, 0]  # at the front: no alpha
    frequencies, power = welch(volts, 200, nperseg=400)
    power = power.mean(axis=0)
    between = (frequencies >= 2) & (frequencies <= 80) & ~((frequencies > 8) & (frequencies < 12))
    slope, _ = np.polyfit(np.log(frequencies[between]), np.log(power[between]), 1)
    assert slope == pytest.approx(-1, abs=0.15)


def test_alpha_is_at_the_back():
    frequencies, power = welch(make_eeg(50, 6, 2000, random_state=0), 200, nperseg=400)
    power = power.mean(axis=0)
    alpha = power[:, np.abs(frequencies - 10) < 0.6].max(axis=-1)
    beside = power[:, np.abs(frequencies - 14) < 0.6].max(axis=-1)
    assert alpha[-1] > 5 * beside[-1]
    assert alpha[0] < 3 * beside[0]


def test_neighbours_share_more_than_distant_channels():
    epochs, _, _ = make_epochs(40, effect=0)
    data = epochs.copy().filter(20, 40, verbose="ERROR").get_data()
    correlation = np.mean([np.corrcoef(epoch) for epoch in data], axis=0)
    place = {name: index for index, name in enumerate(epochs.ch_names)}
    near = correlation[place["C3"], place["P3"]]
    far = correlation[place["F7"], place["T6"]]
    assert near > far + 0.15
    assert near < 0.95


def test_the_seed_decides_everything_and_the_global_state_nothing():
    np.random.seed(0)  # noqa: NPY002
    first, y, groups = make_epochs(8, n_channels=3, duration=1, random_state=5)
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    again, y_again, groups_again = make_epochs(8, n_channels=3, duration=1, random_state=5)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(first.get_data(), again.get_data())
    np.testing.assert_array_equal(y, y_again)
    np.testing.assert_array_equal(groups, groups_again)
    other, _, _ = make_epochs(8, n_channels=3, duration=1, random_state=6)
    assert not np.allclose(first.get_data(), other.get_data())
    a, b = (make_eeg(2, 2, 200, random_state=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_epochs_carry_names_positions_events_and_subjects():
    epochs, y, groups = make_epochs()
    assert isinstance(epochs, mne.EpochsArray)
    assert epochs.ch_names == list(TEN_TWENTY_19)
    assert set(epochs.get_channel_types()) == {"eeg"}
    assert len(epochs.get_montage().ch_names) == 19
    assert epochs.get_data().shape == (40, 19, 800)
    assert epochs.event_id == {"left_hand": 1, "right_hand": 2}
    np.testing.assert_array_equal(epochs.events[:, 2], y)
    np.testing.assert_array_equal(epochs.metadata["subject"], groups)
    assert 8 < amplitude_uv(open_epochs(epochs)) < 20


def test_classes_are_balanced_within_every_subject():
    _, y, groups = make_epochs(60, n_subjects=5, n_classes=3, n_channels=3, duration=1)
    assert sorted(set(groups)) == ["S01", "S02", "S03", "S04", "S05"]
    for name in set(groups):
        assert np.bincount(y[groups == name]).tolist() == [0, 4, 4, 4]
    _, y, groups = make_epochs(11, n_subjects=3, n_channels=2, duration=1)
    assert len(y) == len(groups) == 11
    assert all(set(y[groups == name]) == {1, 2} for name in set(groups))


@pytest.mark.parametrize("n_channels", [2, 7, 19])
def test_the_mu_rhythm_is_where_the_class_says(n_channels):
    epochs, y, _ = make_epochs(80, n_channels=n_channels, random_state=1)
    power = np.log(epochs.copy().filter(9, 13, verbose="ERROR").get_data(["C3", "C4"]).var(-1))
    left_minus_right = power[:, 0] - power[:, 1]
    assert np.mean((left_minus_right > 0) == (y == 1)) > 0.9


def test_other_channels_come_in_the_papers_order_and_hold_the_sites():
    epochs, _, _ = make_epochs(4, n_channels=4, n_classes=4, duration=1)
    assert epochs.ch_names == ["C3", "C4", "Cz", "Pz"]


def test_the_effect_is_learnt_and_without_it_accuracy_is_chance():
    epochs, y, _ = make_epochs(200, n_channels=7, duration=2)
    assert accuracy(epochs, y) > 0.9
    nothing, y, _ = make_epochs(200, n_channels=7, duration=2, effect=0)
    assert abs(accuracy(nothing, y) - 0.5) < 0.12
    weak, y, _ = make_epochs(200, n_channels=7, duration=2, effect=0.3)
    assert 0.5 < accuracy(weak, y) < accuracy(epochs, y)


def test_four_classes_are_learnt():
    epochs, y, _ = make_epochs(200, n_channels=7, duration=2, n_classes=4)
    assert epochs.event_id == {"left_hand": 1, "right_hand": 2, "feet": 3, "rest": 4}
    assert accuracy(epochs, y) > 0.6


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_classes": 1},
        {"n_classes": 5},
        {"n_channels": 20},
        {"n_channels": 1},
        {"n_subjects": 0},
        {"n_epochs": 3},
        {"duration": 0},
        {"sfreq": -1},
        {"effect": -0.1},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        make_epochs(**wrong)
