"""One recording cut into segments: what they are, and what is left out."""

from dataclasses import asdict

import mne
import numpy as np
import pytest
from noise_recordings import NAMES, noise

from mne_specmoe.data.preprocessing import prepare_raw
from mne_specmoe.data.segments import SegmentSettings, cut_segments, is_channel_set, is_plausible

pytestmark = pytest.mark.filterwarnings("ignore:filter_length:RuntimeWarning")  # the recordings are short

SMALL = SegmentSettings(
    l_freq=0.3,
    h_freq=75.0,
    notch=[60.0],
    sfreq=200.0,
    segment_seconds=2.0,
    edge_seconds=1.0,
    min_seconds=4.0,
    reject_uv=None,
    channels="all",
)


def cut(raw, **changes):
    """The segments, of two seconds, of a recording."""
    return cut_segments(raw, SegmentSettings(**asdict(SMALL) | changes))


def microvolts(segments):
    """Segments in µV."""
    return segments.values * segments.scale_uv[..., None].astype(float)


def test_segments_are_those_of_prepare_raw_within_half_a_step():
    raw = noise(12.0, sfreq=250.0)
    before = raw.get_data()
    segments = cut(raw)
    expected = prepare_raw(raw, channels=None, crop_edges=1.0).get_data() * 1e6
    expected = expected.reshape(3, 5, 400).swapaxes(0, 1)
    assert segments.values.dtype == np.int16
    assert segments.scale_uv.dtype == np.float32
    assert np.all(np.abs(segments.values).max(axis=-1) == 32767)  # no bit is wasted
    error = np.abs(microvolts(segments) - expected)
    assert np.all(error <= 0.5001 * segments.scale_uv[..., None])
    assert segments.slots.tolist() == [0, 1, 2, 3, 4]
    assert segments.starts.tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert segments.amplitude_uv == pytest.approx(np.median(microvolts(segments).std(axis=(0, 2))), rel=0.01)
    np.testing.assert_array_equal(raw.get_data(), before)


def test_locations_come_from_the_recording_or_else_from_the_names():
    found = np.asarray(cut(noise(names=["EEG FP1-REF", "o2.", "Fp1-F7", "A1", "A3"])).locations, dtype=float)
    known = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(["Fp1", "O2"], 100.0, "eeg").set_montage(known)
    np.testing.assert_allclose(found[:2], [each["loc"][:3] for each in info["chs"]], atol=0.03)
    assert np.isnan(found[2:]).all()  # a pair of electrodes, and BioSemi's A1
    own = {"u": [0.0, 0.1, 0.0], "v": [0.1, 0.0, 0.0]}
    raw = noise(names=["u", "v"]).set_montage(mne.channels.make_dig_montage(own, coord_frame="head"))
    np.testing.assert_allclose(cut(raw).locations, list(own.values()), atol=1e-5)


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("montage", ["standard_1020", "colin27_1020"])  # MNE 1.13 renames the former to the latter
def test_a_named_montage_takes_what_a_recording_has_of_it(montage):
    raw = noise(names=["EEG O2-REF", "EKG", "T8", "fp1."])
    assert is_channel_set(montage)
    segments = cut(raw, channels=montage)
    assert segments.ch_names == ["Fp1", "T8", "O2"]
    np.testing.assert_array_equal(segments.values, cut(raw).values[:, [3, 2, 0]])


def test_channels_can_be_named_and_come_in_that_order():
    raw = noise()
    np.testing.assert_array_equal(cut(raw, channels=["O2", "Fp1"]).values, cut(raw).values[:, [2, 0]])
    with pytest.raises(ValueError, match="lacks 2 of the 3 channels wanted: 'Oz', 'Pz'.$"):
        cut(raw, channels=["Oz", "Pz", "Cz"])
    assert not is_channel_set("Cz")


def test_channels_marked_as_bad_are_absent():
    raw = noise()
    raw.info["bads"] = ["Cz"]
    assert cut(raw).ch_names == ["Fp1", "O2"]
    with pytest.raises(ValueError, match="lacks 1 of the 2 channels wanted: 'Cz'. Marked as bad, so not used: 'Cz'"):
        cut(raw, channels=["Fp1", "Cz"])
    raw.info["bads"] = list(NAMES)
    with pytest.raises(ValueError, match="All its channels are marked as bad"):
        cut(raw)


def test_a_recording_without_eeg_channels_fails():
    raw = noise().set_channel_types(dict.fromkeys(NAMES, "misc"), on_unit_change="ignore")
    with pytest.raises(ValueError, match="no good EEG channels, only channels of type 'misc'"):
        cut(raw)
    with pytest.raises(ValueError, match="no good EEG channels of the montage 'biosemi16'"):
        cut(noise(names=["left"]), channels="biosemi16")


def test_flawed_segments_are_dropped_and_counted_by_reason():
    raw = noise(16.0, amplitude_uv=10.0)  # segments from 1, 3, 5, 7, 9, 11, 13 s
    at = {start: slice(round(start * 200), round((start + 2) * 200)) for start in range(1, 15, 2)}
    raw._data[1, at[1]] = 7e-6  # an electrode that is off
    raw._data[0, at[3]] = np.clip(raw._data[0, at[3]] * 20, -80e-6, 80e-6)
    raw._data[2, at[5].start + 10] = np.nan
    raw._data[2, at[7].start + 200] = 3e-3
    raw.set_annotations(mne.Annotations([9.5, 11.5], [0.1, 0.1], ["BAD_jump", "blink"]))
    segments = cut(raw, reject_uv=500.0)
    assert segments.slots.tolist() == [5, 6]
    assert segments.dropped == {"flat": 1, "clipped": 1, "non-finite": 1, "amplitude": 1, "annotated": 1}
    assert np.isfinite(microvolts(segments)).all()


def test_a_gap_does_not_spread_to_other_segments():
    raw = noise(12.0)
    raw._data[1, 1000:1010] = np.nan  # second 5
    segments = cut(raw)
    assert segments.slots.tolist() == [0, 1, 3, 4]
    error = microvolts(segments)[[0, 3]] - microvolts(cut(noise(12.0)))[[0, 4]]
    assert np.abs(error).max() < 2  # the tail of the 0.3 Hz filter, of 20 µV


@pytest.mark.parametrize(("value", "reason"), [(0.0, "flat"), (np.nan, "non-finite")])
def test_a_recording_with_a_dead_channel_is_rejected(value, reason):
    raw = noise()
    raw._data[1] = value
    segments = cut(raw)
    assert segments.why_none == f"All segments were dropped ({reason})."
    assert segments.dropped == {reason: 3}
    assert segments.values is None


def test_the_limit_that_all_segments_reach_is_named():
    expected = "All segments were dropped (amplitude). Those of high amplitude reach reject_uv=20."
    assert cut(noise(), reject_uv=20.0).why_none == expected


def test_a_wrong_unit_is_pointed_out():
    why = cut(noise(amplitude_uv=0.02, seed=1)).why_none
    assert why.startswith("All segments were dropped (flat). The amplitude is implausible for EEG (0.018 µV)")
    assert not is_plausible(cut(noise(amplitude_uv=20e3)).amplitude_uv)
    assert is_plausible(cut(noise()).amplitude_uv)


def test_a_low_sampling_rate_fails_and_says_what_would_do():
    slow = noise(sfreq=128.0)
    with pytest.raises(ValueError, match="Sampled at 128 Hz, less than twice h_freq=75 Hz.*h_freq=64 or less"):
        cut(slow)
    assert len(cut(slow, h_freq=64.0).values) == 3


def test_short_recordings_have_no_segments():
    assert cut(noise(3.0), min_seconds=3.5).why_none == "Shorter than min_seconds=3.5."
    assert cut(noise(3.99), min_seconds=3.5).why_none == "Shorter than two edges and one segment: 4 s."
    assert len(cut(noise(4.0), min_seconds=3.5).values) == 1


def test_the_length_of_a_segment_is_a_number_of_samples():
    assert SegmentSettings(**asdict(SMALL) | {"segment_seconds": 2.0024}).n_times == 400
    with pytest.raises(ValueError, match="shorter than one sample"):
        SegmentSettings(**asdict(SMALL) | {"segment_seconds": 0.001})
