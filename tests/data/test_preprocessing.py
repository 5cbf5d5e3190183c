import mne
import numpy as np
import pytest

from mne_specmoe.data.preprocessing import TEN_TWENTY_19, prepare_raw
from mne_specmoe.data.recordings import amplitude_uv, open_epochs


def tones(names=TEN_TWENTY_19, *, sfreq=500.0, seconds=40.0, frequencies=(0.05, 10, 60, 120)):
    """Channels with 20 µV tones and an offset; a stimulus channel; one annotation."""
    times = np.arange(round(seconds * sfreq)) / sfreq
    wave = 20e-6 * sum(np.sin(2 * np.pi * f * times) for f in frequencies) + 1e-3
    data = np.vstack([wave * (1 + 0.1 * i) for i in range(len(names))] + [np.zeros(len(times))])
    info = mne.create_info([*names, "STI"], sfreq, ["eeg"] * len(names) + ["stim"])
    raw = mne.io.RawArray(data, info, verbose="ERROR")
    return raw.set_annotations(mne.Annotations(seconds / 2, 0.5, "here"))


def strength(raw, frequency):
    """Amplitude of a tone in the middle of the first channel, in µV."""
    signal = raw.get_data(picks=[0])[0]
    signal = signal[len(signal) // 4 : len(signal) // 4 + int(10 * raw.info["sfreq"])]
    wave = np.exp(-2j * np.pi * frequency * np.arange(len(signal)) / raw.info["sfreq"])
    return 2e6 * abs(np.mean((signal - signal.mean()) * wave))


def test_the_papers_preprocessing_keeps_the_band_and_nothing_else():
    raw = tones(frequencies=(0.05, 10, 60, 95, 140))
    prepared = prepare_raw(raw)
    assert prepared.info["sfreq"] == 200
    assert prepared.ch_names == list(TEN_TWENTY_19)
    assert prepared.n_times == 8000
    assert strength(prepared, 10) == pytest.approx(20, rel=0.02)
    for removed in (60, 95):  # and 140 Hz would come back at 60
        assert strength(prepared, removed) < 0.5
    middle = prepared.get_data()[:, 2000:-2000]
    assert abs(middle.mean()) < 1e-6  # the offset, and the slow wave
    assert prepared.annotations.description.tolist() == ["here"]


def test_preparing_leaves_the_recording_as_it_was():
    raw = tones(sfreq=200, seconds=15)
    before, info = raw.get_data(), raw.info.copy()
    prepare_raw(raw, crop_edges=2)
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.ch_names == info["ch_names"]
    assert raw.info["highpass"] == info["highpass"]


def test_filters_can_be_left_out_one_by_one():
    raw = tones(frequencies=(10, 50, 60))
    nothing = prepare_raw(raw, l_freq=None, h_freq=None, notch=None, sfreq=500)
    np.testing.assert_array_equal(nothing.get_data(), raw.get_data(picks="eeg"))
    both = prepare_raw(raw, notch=[50, 60])
    assert strength(both, 50) < 0.5
    assert strength(both, 60) < 0.5
    assert strength(prepare_raw(raw, notch=None), 60) > 15


def test_a_low_rate_has_no_low_pass_and_no_notch_to_apply():
    raw = tones(sfreq=100, frequencies=(10, 40))
    prepared = prepare_raw(raw)
    assert prepared.info["sfreq"] == 200
    assert strength(prepared, 10) == pytest.approx(20, rel=0.02)
    assert strength(prepared, 40) == pytest.approx(20, rel=0.05)


def test_edges_are_cut_after_filtering():
    raw = tones(seconds=30)
    whole, cut = prepare_raw(raw), prepare_raw(raw, crop_edges=5)
    assert cut.duration == pytest.approx(20, abs=0.02)
    np.testing.assert_array_equal(cut.get_data(), whole.get_data()[:, 1000:5000][:, : cut.n_times])
    with pytest.raises(ValueError, match="lasts 30 s, so nothing is left.*crop_edges=15"):
        prepare_raw(raw, crop_edges=15)


def test_channels_are_found_under_other_names_and_come_out_in_the_papers_order():
    other = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "Fp1": "EEG FP1-REF", "Fz": "Fz.."}
    other |= {"Cz": "EEG CZ-LE", "O1": "eeg o1"}
    names = [other.get(name, name) for name in TEN_TWENTY_19]
    plain, renamed = tones(seconds=12), tones(names, seconds=12)
    assert "EEG FP1-REF" in renamed.ch_names
    renamed.reorder_channels(renamed.ch_names[::-1])
    prepared = prepare_raw(renamed)
    assert prepared.ch_names == list(TEN_TWENTY_19)
    np.testing.assert_array_equal(prepared.get_data(), prepare_raw(plain).get_data())


def test_missing_and_doubled_channels_are_refused_by_name():
    with pytest.raises(ValueError, match="lacks 2 of the 19 channels wanted: 'T5', 'Pz'"):
        prepare_raw(tones([n for n in TEN_TWENTY_19 if n not in ("T5", "Pz")], seconds=2))
    bipolar = ["Fp1-F7" if name == "Fp1" else name for name in TEN_TWENTY_19]
    with pytest.raises(ValueError, match="'Fp1'"):
        prepare_raw(tones(bipolar, seconds=2))
    with pytest.raises(ValueError, match="'C3' matches more than one.*'C3-REF', 'EEG C3'"):
        prepare_raw(tones(["C3-REF", "EEG C3"], seconds=2), channels=["C3"])


def test_an_exact_name_wins_over_a_decorated_one_and_over_an_alias():
    raw = tones(["T7", "T3", "EEG T3"], seconds=2, sfreq=200)
    prepared = prepare_raw(raw, channels=["T3"], l_freq=None, h_freq=None, notch=None)
    np.testing.assert_array_equal(prepared.get_data(), raw.get_data(picks=["T3"]))


def test_channels_can_be_chosen_by_name_or_all_be_kept():
    raw = tones(["A", "C3", "C4"], seconds=12)
    assert prepare_raw(raw, channels=["C4", "A"]).ch_names == ["C4", "A"]
    raw.info["bads"] = ["C3"]
    assert prepare_raw(raw, channels=None).ch_names == ["A", "C3", "C4"]
    with pytest.raises(ValueError, match="channels='all' is not known; allowed: 'paper'"):
        prepare_raw(raw, channels="all")


def test_bad_preprocessing_parameters_are_refused():
    raw = tones(["C3"], seconds=2)
    with pytest.raises(TypeError, match="must be an mne.io.Raw, got ndarray"):
        prepare_raw(raw.get_data())
    for wrong in ({"l_freq": 0}, {"h_freq": -1}, {"notch": 0}, {"sfreq": 0}, {"crop_edges": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            prepare_raw(raw, channels=None, **wrong)
    with pytest.raises(ValueError, match="l_freq must be below h_freq"):
        prepare_raw(raw, channels=None, l_freq=30, h_freq=10)


@pytest.mark.real_data
def test_a_real_recording_goes_through_the_papers_preprocessing(eegbci_raw):
    prepared = prepare_raw(eegbci_raw.copy().crop(0, 60), crop_edges=5)
    assert prepared.ch_names == list(TEN_TWENTY_19)  # from T7, T8, P7, P8
    assert prepared.info["sfreq"] == 200
    psd = prepared.compute_psd(fmax=99, verbose="ERROR")
    power, frequencies = psd.get_data().mean(axis=0), psd.freqs
    assert power[np.abs(frequencies - 60) < 0.5].max() < 0.01 * power[frequencies < 30].mean()
    reader = open_epochs(mne.make_fixed_length_epochs(prepared, duration=10))
    assert 3 < amplitude_uv(reader) < 100


@pytest.mark.real_data
def test_real_edf_names_are_understood(data_root):
    path = data_root / "formats/edf_eegmat/Subject00_1.edf"
    raw = mne.io.read_raw_edf(path, verbose="ERROR").crop(0, 20)
    assert "EEG Fp1" in raw.ch_names
    assert prepare_raw(raw, notch=50).ch_names == list(TEN_TWENTY_19)
