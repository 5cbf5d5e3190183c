import pickle
import warnings

import mne
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mne_specmoe._validation import AmplitudeWarning, SpecMoEWarning
from mne_specmoe.data.recordings import (
    align_channels,
    amplitude_uv,
    check_amplitude,
    event_labels,
    match_channels,
    metadata_column,
    open_epochs,
)
from mne_specmoe.data.sliceable import as_sklearn
from mne_specmoe.data.synthetic import make_eeg, make_epochs

VOLTS = make_eeg(5, 3, 300, random_state=0)


def everything(reader) -> np.ndarray:
    """All epochs of a reader at once."""
    return reader.volts(slice(None))


def make_raw(n_channels=4, *, sfreq=160.0, seconds=20, kinds="eeg", names=None):
    """A continuous recording of noise, 10 µV strong."""
    noise = make_eeg(1, n_channels, round(seconds * sfreq), sfreq=sfreq, random_state=1)[0]
    info = mne.create_info(names or [f"E{i}" for i in range(n_channels)], sfreq, kinds)
    return mne.io.RawArray(noise, info, verbose="ERROR")


def lazy_epochs(raw, **kwargs):
    """Fixed-length epochs of 2 s, not loaded, their bad ones not dropped."""
    events = mne.make_fixed_length_events(raw, duration=2)
    defaults = {"tmin": 0, "tmax": 2 - 1 / raw.info["sfreq"], "baseline": None}
    return mne.Epochs(raw, events, **(defaults | kwargs))


# One kind of container after another


class NotAnArray:
    """Something that only knows how to become an array, and refuses NumPy's functions."""

    def __init__(self, data):
        self.data = data

    def __array__(self, dtype=None, copy=None):
        return np.array(self.data, dtype=dtype)

    def __array_function__(self, func, types, args, kwargs):
        raise TypeError(f"not for {func.__name__}")


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


ARRAYS = {
    "ndarray": lambda x: x,
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": read_only,
    "nested lists": lambda x: x.tolist(),
    "object dtype": lambda x: x.astype(object),
    "list of 2-D arrays": list,
    "tuple of 2-D arrays": tuple,
    "list of 2-D tensors": lambda x: [torch.from_numpy(item) for item in x],
    "list of data frames": lambda x: [pd.DataFrame(item) for item in x],
    "becomes an array": NotAnArray,
    "tensor": torch.from_numpy,
    "tensor with gradient": lambda x: torch.from_numpy(x.copy()).requires_grad_(),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_kind_of_array_gives_the_same_volts(kind):
    reader = open_epochs(ARRAYS[kind](VOLTS))
    assert (reader.n_epochs, reader.n_channels, reader.n_times) == VOLTS.shape
    assert reader.sfreq is None
    assert reader.ch_names is None
    np.testing.assert_array_equal(everything(reader), VOLTS)
    np.testing.assert_array_equal(reader.volts(slice(1, 3)), VOLTS[1:3])
    np.testing.assert_array_equal(reader.volts(np.array([4, 0, 4])), VOLTS[[4, 0, 4]])
    mask = np.array([True, False, False, True, True])
    np.testing.assert_array_equal(reader.volts(mask), VOLTS[mask])
    np.testing.assert_array_equal(reader.volts(slice(None, None, -2)), VOLTS[::-2])
    np.testing.assert_array_equal(reader.with_channels([2, 0]).volts(slice(1, 4)), VOLTS[1:4][:, [2, 0]])


def test_a_memory_map_is_read_in_place(tmp_path):
    np.save(tmp_path / "x.npy", VOLTS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    reader = open_epochs(mapped)
    assert np.shares_memory(reader.volts(slice(0, 2)), mapped)
    np.testing.assert_array_equal(everything(reader), VOLTS)


@pytest.mark.parametrize("kind", ["ndarray", "data frame", "tensor"])
def test_two_dimensions_are_one_channel(kind):
    make = {"ndarray": np.asarray, "data frame": pd.DataFrame, "tensor": torch.tensor}[kind]
    reader = open_epochs(make(VOLTS[:, 0]))
    assert (reader.n_epochs, reader.n_channels, reader.n_times) == (5, 1, 300)
    np.testing.assert_array_equal(everything(reader), VOLTS[:, :1])


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.int16, np.float64),
        (np.uint8, np.float64),
        (np.longdouble, np.float64),
        (">f8", np.float64),
    ],
)
def test_any_number_type_is_read_as_a_native_float(given, read):
    numbers = (np.arange(400) % 100).reshape(1, 2, 200)
    volts = everything(open_epochs(numbers.astype(given)))
    assert volts.dtype == np.dtype(read)
    np.testing.assert_array_equal(volts, numbers)
    torch.from_numpy(np.ascontiguousarray(volts))  # which takes native byte order only


def test_bfloat16_tensors_are_read():
    tensor = torch.arange(400).reshape(1, 2, 200).bfloat16()
    np.testing.assert_array_equal(everything(open_epochs(tensor)), tensor.float().numpy())


@pytest.mark.parametrize(("unit", "factor"), [("V", 1), ("mV", 1e3), ("uV", 1e6), ("µV", 1e6)])
@pytest.mark.parametrize("kind", ["ndarray", "tensor", "list of 2-D arrays"])
def test_units_are_converted_to_volts(unit, factor, kind):
    reader = open_epochs(ARRAYS[kind](VOLTS * factor), unit=unit)
    np.testing.assert_allclose(everything(reader), VOLTS, rtol=1e-12)
    single = open_epochs((VOLTS * factor).astype(np.float32), unit=unit)
    assert everything(single).dtype == np.float32
    np.testing.assert_allclose(everything(single), VOLTS, rtol=1e-6)


# Epochs, alone and in lists


def test_epochs_and_lists_and_arrays_give_the_same_volts(synthetic_epochs):
    expected = synthetic_epochs.get_data()
    singles = [synthetic_epochs[i] for i in range(len(synthetic_epochs))]
    objects = np.empty(len(singles), dtype=object)
    objects[:] = singles
    kinds = {
        "epochs": synthetic_epochs,
        "list of one-epoch epochs": singles,
        "tuple": tuple(singles),
        "object array": objects,
        "list of uneven parts": [synthetic_epochs[:5], synthetic_epochs[5], synthetic_epochs[6:]],
        "sliceable": as_sklearn(synthetic_epochs),
        "array": expected,
        "boolean mask": list(expected),
    }
    shuffled = np.random.default_rng(0).permutation(len(expected))
    for name, X in kinds.items():
        reader = open_epochs(X)
        assert (reader.n_epochs, reader.n_channels, reader.n_times) == expected.shape, name
        np.testing.assert_array_equal(everything(reader), expected, err_msg=name)
        np.testing.assert_array_equal(reader.volts(shuffled), expected[shuffled], err_msg=name)
        np.testing.assert_array_equal(reader.volts(slice(4, 9)), expected[4:9], err_msg=name)
        assert reader.volts(slice(3, 3)).shape == (0, *expected.shape[1:]), name
        if name not in ("array", "boolean mask"):
            assert reader.sfreq == 160
            assert reader.ch_names == tuple(synthetic_epochs.ch_names)


def test_what_scikit_learn_makes_of_epochs_is_understood(synthetic_epochs):
    from sklearn.utils import _safe_indexing

    expected = synthetic_epochs.get_data()
    index = np.array([7, 2, 2, 0])
    by_index = open_epochs(_safe_indexing(synthetic_epochs, index))
    np.testing.assert_array_equal(everything(by_index), expected[index])
    mask = np.arange(len(expected)) % 3 == 0
    by_mask = open_epochs(_safe_indexing(synthetic_epochs, mask))
    np.testing.assert_array_equal(everything(by_mask), expected[mask])


@pytest.mark.parametrize("preload", [False, True])
def test_only_eeg_channels_are_used_bad_ones_included(preload):
    raw = make_raw(5, kinds=["eog", "eeg", "misc", "eeg", "eeg"])
    raw.info["bads"] = ["E3"]
    epochs = lazy_epochs(raw, preload=preload)
    reader = open_epochs(epochs)
    assert reader.ch_names == ("E1", "E3", "E4")
    expected = epochs.copy().drop_bad().get_data(picks=[1, 3, 4])
    np.testing.assert_array_equal(everything(reader), expected)
    turned = reader.with_channels([2, 0])
    assert turned.ch_names == ("E4", "E1")
    np.testing.assert_array_equal(turned.volts(np.array([3, 1])), expected[[3, 1]][:, [2, 0]])


def test_lazy_epochs_are_opened_without_loading_dropping_or_changing_them():
    raw = make_raw()
    raw._data[1, 700:710] = 1e-3
    epochs = lazy_epochs(raw, reject={"eeg": 5e-4})
    loaded = epochs.copy().load_data()
    assert len(loaded) == 9  # of 10
    reader = open_epochs(epochs)
    assert reader.n_epochs == 9
    np.testing.assert_array_equal(everything(reader), loaded.get_data())
    np.testing.assert_array_equal(event_labels(epochs), loaded.events[:, 2])
    assert not epochs.preload
    assert not epochs._bad_dropped
    assert len(epochs.events) == 10


def test_opening_changes_neither_epochs_nor_arrays(synthetic_epochs):
    before = pickle.dumps(synthetic_epochs)
    singles = [synthetic_epochs[i] for i in range(3)]
    for X in (synthetic_epochs, singles):
        reader = open_epochs(X).pick(["C4", "C3"])
        everything(reader)
        check_amplitude(reader)
    assert pickle.dumps(synthetic_epochs) == before
    volts = VOLTS.copy()
    check_amplitude(open_epochs(volts, unit="V", sfreq=200))
    everything(open_epochs(volts, unit="uV"))
    assert np.array_equal(volts, VOLTS)


def test_a_batch_is_all_that_is_read_of_preloaded_data(synthetic_epochs):
    array = synthetic_epochs.get_data(copy=False)
    assert np.shares_memory(open_epochs(array).volts(slice(2, 4)), array)
    assert np.shares_memory(open_epochs(synthetic_epochs).volts(slice(2, 4)), array)
    assert not np.shares_memory(open_epochs(synthetic_epochs).volts(np.array([2, 3])), array)


def test_lazy_epochs_are_read_by_the_batch(monkeypatch):
    reader = open_epochs(lazy_epochs(make_raw()))
    read = []
    original = mne.Epochs._get_epoch_from_raw
    monkeypatch.setattr(
        mne.Epochs,
        "_get_epoch_from_raw",
        lambda self, idx: (read.append(idx), original(self, idx))[1],
    )
    reader.volts(slice(3, 5))
    assert read == [3, 4]


def test_lists_are_joined_in_the_channel_order_of_the_first(synthetic_epochs):
    turned = synthetic_epochs.copy().reorder_channels(synthetic_epochs.ch_names[::-1])
    reader = open_epochs([synthetic_epochs[:2], turned[2:4], synthetic_epochs[4:]])
    assert reader.ch_names == tuple(synthetic_epochs.ch_names)
    np.testing.assert_array_equal(everything(reader), synthetic_epochs.get_data())


def test_items_of_a_list_that_hold_nothing_are_passed_over(synthetic_epochs):
    reader = open_epochs([synthetic_epochs[:0], synthetic_epochs[:3], synthetic_epochs[:0]])
    np.testing.assert_array_equal(everything(reader), synthetic_epochs[:3].get_data())


def test_lists_that_disagree_are_refused_by_item(synthetic_epochs):
    other_rate = synthetic_epochs.copy().resample(128)
    with pytest.raises(ValueError, match="item 0 has 160 Hz, item 2 128 Hz"):
        open_epochs([synthetic_epochs, synthetic_epochs, other_rate])
    shorter = synthetic_epochs.copy().crop(0, 1.5)
    with pytest.raises(ValueError, match="item 0 has 320 samples, item 1 241"):
        open_epochs([synthetic_epochs, shorter])
    fewer = synthetic_epochs.copy().drop_channels(["C3"])
    with pytest.raises(ValueError, match="item 1 lacks 'C3' and has besides none"):
        open_epochs([synthetic_epochs, fewer])
    with pytest.raises(TypeError, match="item 1 is of type ndarray"):
        open_epochs([synthetic_epochs, VOLTS])


def test_epochs_without_eeg_are_refused_with_the_types_they_have():
    epochs = lazy_epochs(make_raw(2, kinds=["mag", "misc"]), preload=True)
    with pytest.raises(ValueError, match="no EEG channels, only channels of type 'mag', 'misc'"):
        open_epochs(epochs)


def test_parameters_that_contradict_epochs_are_refused(synthetic_epochs):
    with pytest.raises(ValueError, match="sfreq=250 Hz was given, but the Epochs have 160 Hz"):
        open_epochs(synthetic_epochs, sfreq=250)
    assert open_epochs(synthetic_epochs, sfreq=160).sfreq == 160
    with pytest.raises(ValueError, match="lacks 1 of the 2 channels that are needed: 'Oz'"):
        open_epochs(synthetic_epochs, ch_names=["C3", "Oz"])


def test_channel_names_choose_and_order_the_channels_of_epochs(synthetic_epochs):
    reader = open_epochs(synthetic_epochs, ch_names=["C4", "C3"])
    assert reader.ch_names == ("C4", "C3")
    np.testing.assert_array_equal(everything(reader), synthetic_epochs.get_data(["C4", "C3"]))


def test_the_unit_of_arrays_is_not_applied_to_epochs(synthetic_epochs):
    reader = open_epochs(synthetic_epochs, unit="uV")
    np.testing.assert_array_equal(everything(reader), synthetic_epochs.get_data())


def test_readers_can_be_pickled(synthetic_epochs):
    singles = [synthetic_epochs[i] for i in range(3)]
    for X in (synthetic_epochs, singles, VOLTS, torch.from_numpy(VOLTS)):
        reader = open_epochs(X)
        again = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(everything(again), everything(reader))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_index_reads_what_numpy_would_read(data):
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(any))
    info = mne.create_info(2, 10.0, "eeg")
    values = np.arange(sum(lengths) * 2 * 10.0).reshape(-1, 2, 10)
    whole = mne.EpochsArray(values, info, verbose="ERROR")
    edges = np.cumsum([0, *lengths])
    parts = [whole[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    reader = open_epochs(parts)
    n = len(values)
    index = data.draw(
        st.one_of(
            st.slices(n),
            st.lists(st.integers(-n, n - 1), min_size=1).map(np.array),
            st.lists(st.booleans(), min_size=n, max_size=n).map(np.array),
        )
    )
    np.testing.assert_array_equal(reader.volts(index), values[index])


# What is refused at the door


def refused(X, match, error=ValueError, **parameters):
    with pytest.raises(error, match=match):
        open_epochs(X, **parameters)


@pytest.mark.parametrize("kind", ["ndarray", "tensor", "list of 2-D arrays", "nested lists"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "inf")])
def test_values_that_are_not_finite_are_refused_with_their_place(kind, value, word):
    volts = VOLTS.copy()
    volts[3, 1, 17] = value
    refused(ARRAYS[kind](volts), f"X contains {word}.*epoch 3, channel 1, sample 17")
    refused(ARRAYS[kind](volts), "epoch 3, channel 1 .'Cz'., sample 17", ch_names=["C3", "Cz", "C4"])


def test_values_too_large_for_float32_are_refused():
    refused(np.full((1, 2, 200), 1e35), "too large for float32")


def test_values_that_are_not_finite_are_found_far_into_the_data():
    volts = np.zeros((3000, 1, 1000), dtype=np.float32)
    volts[2999, 0, 999] = np.nan
    refused(volts, "epoch 2999, channel 0, sample 999")


def test_epochs_that_are_not_finite_are_refused_with_their_place(synthetic_epochs):
    broken = synthetic_epochs.copy()
    broken._data[4, 2, 9] = np.nan
    name = broken.ch_names[2]
    refused(broken, f"NaN: first in epoch 4, channel 2 .'{name}'., sample 9")
    refused([broken[i] for i in range(6)], f"NaN: first in epoch 4, channel 2 .'{name}'., sample 9")
    broken.set_channel_types({name: "misc"}, on_unit_change="ignore")
    assert open_epochs(broken).n_channels == 5


def test_empty_data_are_refused(synthetic_epochs):
    refused([], "0 sample")
    refused((), "0 sample")
    refused(np.empty((0, 200)), r"0 sample\(s\) \(shape=\(0, 200\)\)")
    refused(np.empty((0, 2, 200)), r"0 sample\(s\)")
    refused(torch.empty((0, 2, 200)), r"0 sample\(s\)")
    refused(np.empty((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required.")
    refused(np.empty((3, 0, 200)), r"0 channel\(s\)")
    refused(np.empty((3, 2, 0)), r"0 sample\(s\)")
    refused([np.empty((2, 0))] * 3, r"0 sample\(s\)")
    refused(synthetic_epochs[:0], r"0 sample\(s\).*drop_log")
    refused([synthetic_epochs[:0]] * 2, r"0 sample\(s\).*drop_log")


def test_epochs_all_rejected_are_refused():
    refused(lazy_epochs(make_raw(), reject={"eeg": 1e-9}), r"0 sample\(s\).*drop_log")


def test_other_numbers_of_dimensions_are_refused():
    refused(VOLTS[0, 0], "Reshape your data")
    refused(torch.zeros(300), "Reshape your data")
    refused(VOLTS[None], "4 dimensions")
    refused(torch.zeros(1, 1, 1, 300), "Reshape your data")
    refused(np.array(3.0), "Expected 2D array, got scalar")


def test_ragged_lists_are_refused():
    refused([VOLTS[0], VOLTS[1], VOLTS[2, :, :-1]], r"item 0 is of shape \(3, 300\), item 2 of.*299")
    refused([[1.0, 2.0], [1.0]], "ragged")
    refused([[[1.0, 2.0], [1.0]]], "ragged")


def test_what_are_not_real_numbers_is_refused(synthetic_epochs):
    refused(VOLTS + 1j, "Complex data not supported")
    refused(torch.from_numpy(VOLTS) + 1j, "Complex data not supported")
    refused(list(VOLTS + 1j), "Complex data not supported")
    refused(np.full((3, 200), "a"), "strings|convert")
    refused(np.full((3, 200), {}, dtype=object), "float.. argument", error=TypeError)
    refused(synthetic_epochs.copy().apply_hilbert(), "Complex data not supported")
    refused(np.ma.masked_greater(VOLTS, 0), "masked")


def test_sparse_data_are_refused():
    refused(scipy.sparse.eye_array(200).tocsr(), "[Ss]parse", error=TypeError)
    refused(torch.eye(200).to_sparse(), "Sparse", error=TypeError)


def test_recordings_that_are_not_cut_are_refused(synthetic_epochs):
    refused(make_raw(), "RawArray, which holds no epochs", error=TypeError)
    refused(synthetic_epochs.average(), "EvokedArray, which holds no epochs", error=TypeError)


def test_bad_parameters_are_refused():
    refused(VOLTS, "unit='nV' is not known; allowed: 'V', 'mV', 'uV'", unit="nV")
    refused(VOLTS, "sfreq must be > 0", sfreq=0)
    refused(VOLTS, "sfreq must be finite", sfreq=np.nan)
    refused(VOLTS, "sfreq must be a number", error=TypeError, sfreq="200")
    refused(VOLTS, "2 names, but X has 3 channels", ch_names=["C3", "C4"])
    refused(VOLTS, "'C3' come twice", ch_names=["C3", "C4", "C3"])
    refused(VOLTS, "sequence of str", error=TypeError, ch_names="abc")
    refused(VOLTS, "sequence of str", error=TypeError, ch_names=[1, 2, 3])


@pytest.mark.parametrize(("sfreq", "n_times"), [(128.0, 128), (128.2051, 128), (2048, 2048)])
def test_one_second_is_enough(sfreq, n_times):
    assert open_epochs(VOLTS[..., :1].repeat(n_times, -1), sfreq=sfreq).n_times == n_times


def test_less_than_a_fifth_of_a_second_is_refused_where_the_rate_is_known(synthetic_epochs):
    refused(VOLTS[..., :90], "last 0.18 s .90 samples at 500 Hz.", sfreq=500)
    refused(synthetic_epochs.copy().crop(0, 0.15), "at least 0.2 s is needed")


@pytest.mark.filterwarnings("error")
def test_windows_around_events_are_long_enough(synthetic_epochs):
    assert open_epochs(VOLTS, sfreq=500).n_times == 300  # 0.6 s
    open_epochs(synthetic_epochs.copy().crop(0, 0.7))


def test_next_to_nothing_is_padded_with_a_warning_where_the_rate_is_not_known():
    with pytest.warns(SpecMoEWarning, match="39 samples.*padded with zeros"):
        assert open_epochs(VOLTS[..., :39]).n_times == 39
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_epochs(VOLTS[..., :40])


# Amplitude


def test_the_amplitude_is_the_standard_deviation_without_offset_drift_and_flat_channels():
    rng = np.random.default_rng(0)
    volts = 25e-6 * rng.standard_normal((100, 4, 600))
    volts += np.linspace(-1e-4, 1e-4, 600) + 0.03
    volts[:, 2:] = 0.004
    assert amplitude_uv(open_epochs(volts)) == pytest.approx(25, rel=0.4)
    assert amplitude_uv(open_epochs(volts * 1e6, unit="uV")) == pytest.approx(amplitude_uv(open_epochs(volts)))


def test_volts_that_are_microvolts_or_the_reverse_are_warned_about():
    with pytest.warns(AmplitudeWarning, match=r'implausible.*unit="uV"'):
        check_amplitude(open_epochs(VOLTS * 1e6))
    with pytest.warns(AmplitudeWarning, match=r"e-05 µV"):
        check_amplitude(open_epochs(VOLTS, unit="uV"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_amplitude(open_epochs(VOLTS))
        check_amplitude(open_epochs(VOLTS * 1e6, unit="uV"))


def test_data_without_any_signal_are_warned_about():
    with pytest.warns(AmplitudeWarning, match="constant"):
        check_amplitude(open_epochs(np.ones((3, 2, 400))))


# Channels


def test_channels_are_matched_by_name_and_extra_ones_left_out():
    np.testing.assert_array_equal(match_channels(["C4", "C3"], ["Fz", "C3", "C4"]), [2, 1])


def test_all_missing_channels_are_named():
    with pytest.raises(ValueError, match=r"lacks 2 of the 3 .*'Oz', 'Pz'\. X has 'Fz', 'C3'"):
        match_channels(["Oz", "C3", "Pz"], ["Fz", "C3"])


def test_new_data_are_brought_into_the_fitted_order(synthetic_epochs):
    names = ["C4", "O1"]
    aligned = align_channels(open_epochs(synthetic_epochs), n_channels=2, ch_names=names)
    np.testing.assert_array_equal(everything(aligned), synthetic_epochs.get_data(names))
    array = open_epochs(VOLTS, ch_names=["O1", "x", "C4"])
    aligned = align_channels(array, n_channels=2, ch_names=names)
    np.testing.assert_array_equal(everything(aligned), VOLTS[:, [2, 0]])


def test_without_names_the_number_of_channels_must_agree(synthetic_epochs):
    reader = open_epochs(VOLTS)
    assert align_channels(reader, n_channels=3, ch_names=["a", "b", "c"]) is reader
    with pytest.raises(ValueError, match="X has 3 channels, but 2 are expected"):
        align_channels(reader, n_channels=2, ch_names=["a", "b"])
    with pytest.raises(ValueError, match="X has 6 channels, but 2 are expected"):
        align_channels(open_epochs(synthetic_epochs), n_channels=2, ch_names=None)
    with pytest.raises(ValueError, match="X has no channel names"):
        reader.pick(["C3"])


# Labels and metadata


def test_event_labels_are_in_reading_order(synthetic_epochs):
    labels = synthetic_epochs.events[:, 2]
    singles = [synthetic_epochs[i] for i in (5, 1, 3)]
    np.testing.assert_array_equal(event_labels(synthetic_epochs), labels)
    np.testing.assert_array_equal(event_labels(singles), labels[[5, 1, 3]])
    assert event_labels(VOLTS) is None
    assert event_labels(list(VOLTS)) is None


def test_metadata_columns_are_in_reading_order():
    epochs, _, groups = make_epochs(8, n_channels=2, n_subjects=4)
    np.testing.assert_array_equal(metadata_column(epochs, "subject"), groups)
    singles = [epochs[i] for i in (5, 1, 3)]
    np.testing.assert_array_equal(metadata_column(singles, "subject"), groups[[5, 1, 3]])
    with pytest.raises(ValueError, match="no column 'session'; they have 'subject'"):
        metadata_column(epochs, "session")
    epochs.metadata = None
    with pytest.raises(ValueError, match="have no metadata"):
        metadata_column(epochs, "subject")
    with pytest.raises(ValueError, match="X is an array"):
        metadata_column(VOLTS, "subject")


# Preprocessing of continuous recordings


# Real recordings

FORMATS = {
    "edf_eegmat/Subject00_1.edf": (21, 500),
    "edf_eegmat/Subject00_2.edf": (21, 500),
    "edf_misc/mne_test.edf": (138, 512),
    "edf_misc/eeglab_test.edf": (16, 256),
    "bdf/mne_test.bdf": (72, 2048),
    "bdf/eeglab_test.bdf": (16, 256),
    "gdf/S05_2012.07.19-11.24.02.gdf": (8, 256),
    "fif/data_resting_EO_200Hz_raw.fif": (2, 200),
    "brainvision/test.vhdr": (26, 1000),
    "brainvision/testbva.vhdr": (29, 200),
    "set_eeglab/eeglab_data.set": (32, 128),
    "set_eeglab/eeglab_data_epochs_ica.set": (30, 128),
}
ONE_THOUSANDTH = "gdf/S05_2012.07.19-11.24.02.gdf"
FLAT = "edf_misc/eeglab_test.edf"


def read_format(path):
    """Any file through MNE, as Epochs; continuous ones lazily in epochs of 1 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "epochs" in path.name:
            return mne.read_epochs_eeglab(path, verbose="ERROR")
        raw = mne.io.read_raw(path, verbose="ERROR")
        raw.crop(0, min(20.0, raw.times[-1]))
        return mne.make_fixed_length_epochs(raw, duration=1.0, preload=False, verbose="ERROR")


@pytest.mark.real_data
@pytest.mark.parametrize("name", FORMATS)
def test_every_file_format_is_opened(name, data_root):
    epochs = read_format(data_root / "formats" / name)
    n_channels, sfreq = FORMATS[name]
    reader = open_epochs(epochs)
    assert (reader.n_channels, reader.sfreq) == (n_channels, sfreq)
    loaded = epochs.copy().load_data()
    assert reader.n_epochs == len(loaded) > 0
    np.testing.assert_array_equal(everything(reader), loaded.get_data(picks=reader.ch_names))
    parts = open_epochs([loaded[:1], loaded[1:]])
    np.testing.assert_array_equal(everything(parts), everything(reader))


@pytest.mark.real_data
@pytest.mark.parametrize("name", FORMATS)
def test_amplitudes_of_real_files_are_plausible_but_where_known_to_be_wrong(name, data_root):
    reader = open_epochs(read_format(data_root / "formats" / name))
    if name in (ONE_THOUSANDTH, FLAT):
        with pytest.warns(AmplitudeWarning):
            check_amplitude(reader)
    else:
        assert 3 < amplitude_uv(reader) < 100


@pytest.mark.real_data
@pytest.mark.parametrize("corpus", ["eegmat", "guinea_bissau", "openbci_mi", "ssvep_exo"])
def test_amplitudes_of_real_corpora_are_plausible_in_microvolts_only(corpus, data_root):
    for path in sorted((data_root / corpus).glob("*.npz"))[:6]:
        with np.load(path) as file:
            data = file["data"] * file["scale_uv_per_bit"][:, None] + file["offset_uv"][:, None]
            sfreq, names = float(file["sfreq"]), [str(name) for name in file["ch_names"]]
        if data.ndim == 2:
            n_epochs, n_times = min(50, int(data.shape[1] / (4 * sfreq))), round(4 * sfreq)
            data = data[:, : n_epochs * n_times].reshape(len(names), n_epochs, n_times)
            data = data.swapaxes(0, 1)
        reader = open_epochs(data, unit="uV", sfreq=sfreq, ch_names=names)
        assert 3 < amplitude_uv(reader) < 200
        for wrong in ("V", "mV"):
            with pytest.warns(AmplitudeWarning):
                check_amplitude(open_epochs(data, unit=wrong, sfreq=sfreq))


@pytest.mark.real_data
def test_real_epochs_lists_and_arrays_agree(eegbci_epochs):
    whole = open_epochs(eegbci_epochs)
    assert whole.ch_names == tuple(eegbci_epochs.ch_names)
    assert (whole.n_channels, whole.n_times, whole.sfreq) == (64, 640, 160)
    singles = open_epochs([eegbci_epochs[i] for i in range(len(eegbci_epochs))])
    array = open_epochs(eegbci_epochs.get_data(), sfreq=160)
    microvolts = open_epochs(eegbci_epochs.get_data(units="uV"), unit="uV")
    for batch in whole.batches(7):
        np.testing.assert_array_equal(singles.volts(batch), whole.volts(batch))
        np.testing.assert_array_equal(array.volts(batch), whole.volts(batch))
        np.testing.assert_allclose(microvolts.volts(batch), whole.volts(batch), rtol=1e-12)
