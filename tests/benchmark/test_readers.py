"""Windows are where their labels are, in volts, filtered as stated."""

from dataclasses import replace

import mne
import numpy as np
import pytest
from scipy.signal import periodogram
from tiny_tasks import (
    write_eegbci,
    write_eegmat,
    write_fists,
    write_guinea_bissau,
    write_mouse,
    write_muse,
    write_openbci,
    write_ssvep,
)

from mne_specmoe.benchmark.readers import EEGBCI_CHANNELS

THREE = ("A", "B", "C")


def of(data, name):
    """The windows of one subject."""
    return data.take(np.flatnonzero(data.subjects == name))


def volts_of(path) -> np.ndarray:
    """What an .npz says, in volts."""
    with np.load(path) as file:
        return 1e-6 * (file["data"] * file["scale_uv_per_bit"][:, None] + file["offset_uv"][:, None])


def test_eegmat_is_cut_side_by_side_within_segments_and_only_resampled(tmp_path):
    data = of(write_eegmat(tmp_path, THREE).load(tmp_path), "B")
    assert data.ch_names == ("Fz", "Cz")
    assert data.X.shape == (4, 2, 1000)
    assert data.y.tolist() == [0, 0, 1, 1]
    assert data.starts.tolist() == [0, 1000, 0, 1000]
    assert data.recordings.tolist() == ["B-0", "B-0", "B-1", "B-1"]
    volts = volts_of(tmp_path / "eegmat/B.npz")[:2]
    for segment in (0, 1):
        raw = mne.io.RawArray(volts[:, 3000 * segment : 3000 * (segment + 1)], mne.create_info(2, 250.0, "eeg"))
        expected = raw.resample(200).get_data()[:, :2000].reshape(2, 2, 1000).swapaxes(0, 1)
        np.testing.assert_allclose(data.X[2 * segment : 2 * segment + 2], expected, rtol=1e-5, atol=1e-10)


def test_a_segment_with_two_labels_is_refused(tmp_path):
    task = write_eegmat(tmp_path, THREE, labels=np.array([0, 0, 1, 1, 1, 1]))
    with pytest.raises(ValueError, match=r"Segment 0 of .*A.npz must have one label, got \[0, 1\]"):
        task.load(tmp_path)


def test_labels_that_the_task_does_not_have_are_refused(tmp_path):
    task = write_eegmat(tmp_path, THREE, label_names=np.array(["rest", "sleep"]))
    with pytest.raises(ValueError, match="'sleep'.*'mental_arithmetic'"):
        task.load(tmp_path)


def test_recordings_with_other_channels_are_refused(tmp_path):
    task = write_openbci(tmp_path, THREE)
    content = dict(np.load(tmp_path / "openbci_mi/B.npz"))
    np.savez(tmp_path / "openbci_mi/B.npz", **content | {"ch_names": np.array(["Pz", "Cz"])})
    with pytest.raises(ValueError, match=r"B.npz has the channels \('Pz', 'Cz'\)"):
        task.load(tmp_path)


def test_all_windows_of_a_subject_have_its_diagnosis_and_no_offset(tmp_path):
    subjects = [f"S{number}" for number in range(6)]
    task = write_guinea_bissau(tmp_path, subjects, "guinea_bissau")
    data = task.load(tmp_path)
    assert len(data) == 36
    assert all(set(of(data, name).y.tolist()) == {number % 2} for number, name in enumerate(subjects))
    assert of(data, "S3").starts.tolist() == [0, 800, 1600, 2400, 3200, 4000]
    assert np.abs(data.X[:, 1].mean()) < 1e-6  # it was 1e-4


def test_windows_by_eyes_keep_away_from_the_change(tmp_path):
    data = of(write_guinea_bissau(tmp_path, THREE, "guinea_bissau_eyes").load(tmp_path), "C")
    assert (data.starts / 200).tolist() == [0, 4, 16, 20]
    assert data.y.tolist() == [0, 0, 1, 1]


def test_trials_begin_at_their_events_and_mains_are_gone(tmp_path):
    t = np.arange(12 * 125) / 125
    wave = 500 * np.sin(2 * np.pi * 10 * t) * ((t >= 5) & (t < 6)) + 500 * np.sin(2 * np.pi * 50 * t)
    task = write_openbci(tmp_path, THREE, onsets=(0.0, 5.0))
    write_openbci(tmp_path, ["A"], onsets=(0.0, 5.0), data=np.round([wave, wave]).astype(np.int16))
    data = of(task.load(tmp_path), "A")
    assert data.starts.tolist() == [0, 1000]
    power = (data.X[1, 0].reshape(4, 200) ** 2).sum(1)  # per second of the second trial
    assert power[0] > 20 * power[1:].max()
    frequencies, spectrum = periodogram(data.X[1, 0], 200.0, detrend=False)
    assert spectrum[frequencies == 50] < 1e-3 * spectrum[frequencies == 10]


def test_a_trial_beyond_the_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="window at 8.5 s of A-0.*lasts 12 s"):
        write_openbci(tmp_path, THREE, onsets=(2.0, 8.5)).load(tmp_path)


def test_ssvep_trials_are_counted_from_their_session_and_named_by_frequency(tmp_path):
    data = of(write_ssvep(tmp_path, THREE).load(tmp_path), "B")
    assert data.sessions.tolist() == ["0", "0", "1", "1"]
    assert (data.starts / 200).tolist() == [2.0, 7.5, 2.0, 7.5]  # one second after the cue
    assert [data.classes[label] for label in data.y] == ["rest", "13 Hz", "21 Hz", "17 Hz"]


def test_responses_begin_before_their_stimulus_and_stay_within_their_run(tmp_path):
    t = np.arange(24 * 256) / 256
    wave = 100 * np.sin(2 * np.pi * 10 * t) * ((t >= 13.25) & (t < 13.5))  # after a stimulus of the second run
    noise = np.random.default_rng(0).standard_normal((4, len(t)))
    data = np.round(np.tile(20 * wave, (4, 1)) + 20 * noise).astype(np.int16)
    task = write_muse(tmp_path, {"B": 3})
    write_muse(tmp_path, {"A": 2}, data=data)
    found = of(replace(task, subjects=("A", "B")).load(tmp_path), "A")
    assert found.X.shape[1:] == (4, 180)
    assert found.recordings.tolist() == ["A-0"] * 18 + ["A-1"] * 18  # the first and the last of 20 are cut short
    assert found.starts[:2].tolist() == [110, 230]  # 0.65 s and 1.25 s, less 0.1 s
    assert found.y[:4].tolist() == [1, 0, 1, 0]
    power = found.X[:, 0].var(-1)
    assert power.argmax() == 18 + 1  # 1.25 s in the second run
    early, late = found.X[19, 0, :16].std(), found.X[19, 0, 22:66].std()
    assert late > 5 * early


def test_stages_are_of_the_animal_without_emg(tmp_path):
    data = write_mouse(tmp_path, n_blocks=20).load(tmp_path)
    assert data.X.shape == (60, 1, 800)
    assert data.ch_names == ("EEG",)
    assert data.y.tolist() == [0, 1, 2] * 20
    assert data.starts.tolist() == list(range(0, 48000, 800))
    assert set(data.subjects) == {"mouse005"}
    assert set(data.sessions) == {"acq4"}


@pytest.mark.filterwarnings("ignore:This filename.*naming conventions:RuntimeWarning")
def test_imagery_is_referenced_labelled_by_run_and_in_the_order_of_the_paper(tmp_path):
    data = write_eegbci(tmp_path).load(tmp_path)
    assert data.X.shape == (12, 64, 800)
    assert data.ch_names == EEGBCI_CHANNELS
    assert data.y.tolist() == [1, 0, 3, 2] * 3  # T2, T1 of runs 4 and 6, and so on
    assert data.sessions.tolist() == np.repeat(["R04", "R06", "R08", "R10", "R12", "R14"], 2).tolist()
    assert set(data.starts.tolist()) == {840, 1680}
    fists = write_fists(tmp_path).load(tmp_path)
    assert fists.ch_names == EEGBCI_CHANNELS[:21]
    assert fists.classes == ("left_fist", "right_fist")
    assert fists.y.tolist() == [1, 0] * 6  # executed and imagined alike
    assert fists.sessions.tolist() == np.repeat(["R03", "R04", "R07", "R08", "R11", "R12"], 2).tolist()
    assert np.abs(data.X.mean(1)).max() < 1e-3 * data.X.std()  # average reference
    path = tmp_path / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R06.fif"
    raw = mne.io.read_raw_fif(path, preload=True).set_eeg_reference("average")
    raw = raw.filter(0.3, None).notch_filter(60).resample(200)
    expected = raw.get_data(["Cz..", "Fp1."])[:, 840:1640]
    cz, fp1 = (EEGBCI_CHANNELS.index(name) for name in ("Cz", "Fp1"))
    np.testing.assert_allclose(data.X[2, [cz, fp1]], expected, rtol=1e-4, atol=1e-10)
