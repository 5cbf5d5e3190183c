"""Stored recordings come in volts and in parts, and the subjects kept for evaluation are those that were promised."""

import json

import numpy as np
import pytest
from scipy.signal import periodogram
from tiny_data import PART_SECONDS, bounds, write_recording

from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording, stored_recordings


def stored(path, **kwargs) -> tuple[StoredRecording, dict]:
    content = write_recording(path / "some" / "S1.npz", **kwargs)
    return stored_recordings(path, "some")[0], content


def in_volts(content) -> np.ndarray:
    """What the file says, sample by sample."""
    scale, offset = content["scale_uv_per_bit"], content["offset_uv"]
    volts = np.empty(content["data"].shape)
    for (i, t), value in np.ndenumerate(content["data"]):
        volts[i, t] = (float(value) * scale[i] + offset[i]) / 1e6
    return volts


def test_a_recording_is_in_volts_with_its_names_and_rate(tmp_path):
    recording, content = stored(tmp_path, ch_names=("Cz", "O1"), sfreq=100.0)
    (raw,) = recording.parts()
    np.testing.assert_allclose(raw.get_data(), in_volts(content), rtol=1e-12, atol=0)
    assert raw.ch_names == ["Cz", "O1"]
    assert raw.info["sfreq"] == 100.0
    assert set(raw.get_channel_types()) == {"eeg"}
    assert raw.info["subject_info"]["his_id"] == "some-S1"


@pytest.mark.parametrize("name", ["segment_bounds", "session_bounds"])
def test_parts_end_where_the_recording_was_interrupted(tmp_path, name):
    ends = np.array([0, 300, 1000, 3 * PART_SECONDS * 100])
    recording, content = stored(tmp_path, ch_names=("Cz", "O1"), sfreq=100.0, n_parts=3, **{name: ends})
    parts = [raw.get_data() for raw in recording.parts()]
    assert [part.shape[1] for part in parts] == [300, 700, 2600]
    np.testing.assert_allclose(np.concatenate(parts, 1), in_volts(content), rtol=1e-12, atol=0)


def test_runs_are_parts_and_what_lies_between_them_is_left_out(tmp_path):
    runs = np.array([[0, 300], [310, 900]])
    recording, content = stored(tmp_path, ch_names=("Cz",), sfreq=100.0, run_bounds=runs)
    parts = [raw.get_data() for raw in recording.parts()]
    np.testing.assert_allclose(parts[0], in_volts(content)[:, :300], rtol=1e-12, atol=0)
    np.testing.assert_allclose(parts[1], in_volts(content)[:, 310:900], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["A2-A1", "A1-A2"])
def test_the_channel_between_the_references_is_dropped(tmp_path, name):
    recording, content = stored(tmp_path, ch_names=("Cz", name, "O1"), sfreq=100.0)
    (raw,) = recording.parts()
    assert raw.ch_names == ["Cz", "O1"]
    np.testing.assert_allclose(raw.get_data(), in_volts(content)[[0, 2]], rtol=1e-12, atol=0)


def test_preparing_one_part_does_not_see_the_other(tmp_path):
    recording, content = stored(tmp_path, ch_names=("Cz",), sfreq=100.0, n_parts=2, segment_bounds=bounds(100.0, 2))
    before = recording.prepared()
    content["data"][:, PART_SECONDS * 100 :] = 0
    np.savez(recording.path, **content)
    after = recording.prepared()
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_prepared_parts_are_at_200_hz_without_offset_and_mains(tmp_path):
    t = np.arange(PART_SECONDS * 250) / 250
    wave = np.sin(2 * np.pi * 10 * t) + np.sin(2 * np.pi * 50 * t)
    recording, content = stored(tmp_path, ch_names=("Cz",), sfreq=250.0)
    content |= {"data": np.round(1000 * wave).astype(np.int16)[None], "offset_uv": np.array([4000.0])}
    np.savez(recording.path, **content)
    (volts,) = recording.prepared()
    assert volts.shape == (1, PART_SECONDS * 200)
    frequencies, power = periodogram(volts[0], 200.0, "hann", scaling="spectrum", detrend=False)
    at = {hertz: power[np.abs(frequencies - hertz) < 0.2].max() for hertz in (0, 10, 50)}
    amplitude_volts = 1000 * content["scale_uv_per_bit"][0] / 1e6
    assert at[10] == pytest.approx(amplitude_volts**2 / 2, rel=0.05)
    assert at[0] < 1e-4 * at[10]  # it was 80 times as large as the wave
    assert at[50] < 0.01 * at[10]  # it was equal


def test_a_recording_says_what_its_file_says_of_itself(tmp_path):
    recording, _ = stored(tmp_path, ch_names=("Cz",), sfreq=100.0, meta=np.array(json.dumps({"age": 19})))
    assert recording.meta() == {"age": 19}


def test_recordings_are_listed_in_order_of_subjects(tmp_path):
    for name in ("S10", "S02", "S01"):
        write_recording(tmp_path / "some" / f"{name}.npz", ("Cz",), 100.0)
    (tmp_path / "some" / "README.md").touch()
    assert [recording.subject for recording in stored_recordings(tmp_path, "some")] == ["S01", "S02", "S10"]


def test_recordings_of_several_experiments_are_listed_person_by_person(tmp_path):
    for folder, name in (("p300", "S02"), ("cueing", "S02"), ("p300", "S01")):
        write_recording(tmp_path / "some" / folder / f"{name}.npz", ("Cz",), 100.0)
    found = [(recording.subject, recording.path.parent.name) for recording in stored_recordings(tmp_path, "some")]
    assert found == [("S01", "p300"), ("S02", "cueing"), ("S02", "p300")]


def test_runs_may_have_gaps_between_them(tmp_path):
    runs = np.array([[0, 300], [400, 1200]])
    recording, content = stored(tmp_path, ch_names=("Cz",), sfreq=100.0, run_bounds=runs)
    first, second = (raw.get_data() for raw in recording.parts())
    volts = in_volts(content)
    np.testing.assert_allclose(first, volts[:, :300], rtol=1e-12, atol=0)
    np.testing.assert_allclose(second, volts[:, 400:], rtol=1e-12, atol=0)


def test_channels_that_notes_call_bad_or_doubtful_are_marked(tmp_path):
    recording, _ = stored(tmp_path, ch_names=("TP9", "AF7", "AF8"), sfreq=100.0)
    assert recording.bad_channels() == []
    notes = {"S1": ["AF7?", "TP9", "all four noisy"], "S2": ["AF8"]}
    (recording.path.parent / "bad_channels.json").write_text(json.dumps(notes), encoding="utf-8")
    assert recording.bad_channels() == ["TP9", "AF7"]
    (raw,) = recording.parts()
    assert raw.info["bads"] == ["TP9", "AF7"]


def test_a_data_set_that_is_absent_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="eegmat"):
        stored_recordings(tmp_path, "eegmat")


def test_trials_are_refused(tmp_path):
    recording, content = stored(tmp_path, ch_names=("Cz",), sfreq=100.0)
    np.savez(recording.path, **content | {"data": content["data"][None]})
    with pytest.raises(ValueError, match=r"continuous.*\(1, 1, 1200\)"):
        list(recording.parts())


@pytest.mark.real_data
def test_held_out_subjects_are_the_last_eight_of_each_group(data_root):
    groups = {}
    for recording in stored_recordings(data_root, "guinea_bissau"):
        groups.setdefault(recording.meta()["group"], []).append(recording.subject)
    assert {len(subjects) for subjects in groups.values()} == {30}
    last = [subject for subjects in groups.values() for subject in sorted(subjects)[-8:]]
    assert len(HELD_OUT["guinea_bissau"]) == 16
    assert set(HELD_OUT["guinea_bissau"]) == set(last)
    assert HELD_OUT["eegmat"] == tuple(f"Subject{number}" for number in range(24, 32))
    subjects = {name: [r.subject for r in stored_recordings(data_root, name)] for name in ("eegmat", "ssvep_exo")}
    assert HELD_OUT["eegmat"] == tuple(subjects["eegmat"][-8:])
    assert HELD_OUT["ssvep_exo"] == tuple(subjects["ssvep_exo"][-2:])


@pytest.mark.real_data
def test_held_out_people_of_muse_are_every_eighth(data_root):
    people = sorted({recording.subject for recording in stored_recordings(data_root, "muse")})
    assert len(people) == 59
    assert HELD_OUT["muse"] == tuple(people[7::8])


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "n_parts", "n_channels"), [("eegmat", 2, 19), ("guinea_bissau", 1, 14),
                                                                ("ssvep_exo", 2, 8)])  # fmt: skip
def test_real_recordings_have_the_amplitudes_of_eeg(data_root, dataset, n_parts, n_channels):
    recording = next(r for r in stored_recordings(data_root, dataset) if r.subject == HELD_OUT[dataset][-1])
    parts = recording.prepared()
    assert [len(part) for part in parts] == [n_channels] * n_parts
    assert all(1e-6 < np.median(part.std(1)) < 1e-4 for part in parts)
