"""Tests of what recipes share."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_specmoe.benchmark.recipes import cutting


def a_cut(recording="r1", n_windows=2, n_times=200, value=1.0):
    X = np.full((n_windows, 2, n_times), value)
    return cutting.Cut("a", "1", recording, X, np.arange(n_windows) % 2, np.arange(n_windows) * n_times)


def collected(*cuts):
    return cutting.collect(cuts, ch_names=("Cz", "Pz"), classes=("no", "yes"), digests={})


def test_collects_the_windows_of_all_recordings_in_order():
    data = collected(a_cut("r1", value=1.0), a_cut("empty", 0), a_cut("r2", 3, value=2.0))
    assert data.X.dtype == np.float32
    assert_array_equal(data.X[:, 0, 0], [1, 1, 2, 2, 2])
    assert data.recordings.tolist() == ["r1", "r1", "r2", "r2", "r2"]
    assert_array_equal(data.y, [0, 1, 0, 1, 0])
    assert_array_equal(data.read_only().take(np.array([4])).X, np.full((1, 2, 200), 2.0))


def test_refuses_windows_of_unequal_length():
    with pytest.raises(ValueError, match="r2"):
        collected(a_cut("r1"), a_cut("r2", n_times=100))


def test_refuses_recordings_without_any_window():
    with pytest.raises(ValueError, match="no windows"):
        collected(a_cut("r1", 0))


def test_natural_order_puts_two_before_ten():
    assert sorted(["PN10-1", "PN2-10", "PN2-9"], key=cutting.natural_key) == ["PN2-9", "PN2-10", "PN10-1"]
    assert sorted(["10", "a", "9_a"], key=cutting.natural_key) == ["9_a", "10", "a"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("EEG FP1-REF", "Fp1"), ("EEG T3-LE", "T7"), ("Fc5.", "FC5"), ("T8-P8-0", "T8-P8"), ("EEG F7", "F7"),
     ("F7-T7", "F7-T3"), ("POZ", "POz"), ("EEG A2-A1", "A2-A1"), ("FT9-FT10-1", "FT9-FT10")],
)  # fmt: skip
def test_finds_channels_by_tolerant_names(name, wanted):
    assert cutting.find_channels(["Cz", name], [wanted], "x.edf") == [name]


def test_takes_the_name_itself_before_its_older_form_and_the_first_of_two():
    assert cutting.find_channels(["T3", "T7", "t7"], ["T7"], "x") == ["T7"]


def test_names_the_channels_that_are_missing_and_the_file():
    with pytest.raises(ValueError, match=r"x\.edf lacks the channels 'F9'"):
        cutting.find_channels(["Cz"], ["Cz", "F9"], "x.edf")


def test_bipolar_leads_are_differences():
    x = np.random.default_rng(0).normal(size=(3, 50))
    raw = mne.io.RawArray(x, mne.create_info(["EEG FP1-REF", "EEG T3-REF", "EEG F7-REF"], 200.0, "eeg"))
    assert_allclose(cutting.bipolar(raw, ("FP1-F7", "F7-T3")), [x[0] - x[2], x[2] - x[1]])
    assert cutting.electrodes(("FP1-F7", "F7-T3")) == ["FP1", "F7", "T3"]


def test_cuts_side_by_side_and_drops_the_remainder():
    x = np.arange(50.0).reshape(2, 25)
    windows, starts = cutting.side_by_side(x, 10)
    assert_array_equal(starts, [0, 10])
    assert_array_equal(windows[1], x[:, 10:20])
    assert cutting.side_by_side(x, 30)[0].shape == (0, 2, 30)


def test_refuses_windows_outside_of_the_recording():
    with pytest.raises(ValueError, match="25 samples"):
        cutting.cut_at(np.zeros((2, 25)), np.array([0, 16]), 10)


def test_resampling_a_periodic_window_gives_the_same_wave():
    t, s = np.arange(512) / 512, np.arange(200) / 200
    windows = cutting.resample_windows(np.sin(2 * np.pi * 7 * t)[None, None], 200)
    assert_allclose(windows[0, 0], np.sin(2 * np.pi * 7 * s), atol=1e-6)


def test_published_labels_miss_what_lies_within_a_seizure():
    starts, labels = cutting.seizure_windows([(1500, 4600)], 8050, 100)
    regular, extra = starts[:8], starts[8:]
    assert_array_equal(regular, np.arange(8) * 1000)
    assert_array_equal(labels[:8], [0, 1, 0, 0, 1, 0, 0, 0])
    assert_array_equal(extra, [1400, 1900, 2400, 2900, 3400, 3900, 4400])
    assert labels[8:].all()


def test_a_border_between_two_windows_is_in_neither():
    assert_array_equal(cutting.border_labels(np.array([0, 10, 20]), 10, [(10, 20)]), [0, 0, 0])


def test_extra_windows_that_do_not_fit_are_left_out():
    assert_array_equal(cutting.extra_starts([(50, 400)], 100, 1000, 1500), [450])
    assert len(cutting.extra_starts([(1000, 1200)], 100, 1000, 1500)) == 0


def test_labels_by_overlap():
    starts = np.arange(6) * 10
    assert_array_equal(cutting.overlap_labels(starts, 10, [(15, 34), (44, 45)]), [0, 1, 1, 0, 0, 0])
    assert_array_equal(cutting.overlap_labels(starts, 10, [(15, 34), (44, 45)], least=0.0), [0, 1, 1, 1, 1, 0])


def test_subjects_train_validate_and_test_in_natural_order():
    cuts = [a_cut(f"r{number}", 1)._replace(subject=f"s{number}") for number in (10, 9, 1, 2)]
    split = cutting.subjects_in_order(2, 1)(collected(*cuts))
    assert [places.tolist() for _, places in split.folds[0].parts()] == [[2, 3], [1], [0]]
