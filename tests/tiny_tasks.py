"""Windows of noise with a split, and data roots with a few subjects of the benchmark's data sets."""

from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
from tiny_data import bounds, write_recording

from mne_specmoe.benchmark.readers import EEGBCI_CHANNELS, EEGBCI_RUNS, FIST_RUNS
from mne_specmoe.benchmark.splits import by_session, by_subject, within_subject
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.benchmark.tasks import TASKS, Files, Task
from mne_specmoe.data.synthetic import make_eeg

SUBJECTS = tuple(f"P{number}" for number in range(6))


def noise_data(n_per_subject: int = 4, subjects=SUBJECTS, seed: int = 0) -> TaskData:
    """Windows of 1 s, side by side, in one recording per subject; labels take turns."""
    n_windows = n_per_subject * len(subjects)
    places = np.tile(np.arange(n_per_subject), len(subjects))
    names = np.repeat(subjects, n_per_subject)
    return TaskData(
        X=1e-5 * np.random.default_rng(seed).standard_normal((n_windows, 3, 200)).astype(np.float32),
        y=places % 2,
        subjects=names,
        sessions=np.where(places < n_per_subject / 2, "early", "late"),
        recordings=np.char.add(names, "-0"),
        starts=200 * places,
        sfreq=200.0,
        ch_names=("Fz", "Cz", "Pz"),
        classes=("rest", "task"),
        digests=dict.fromkeys(subjects, "0"),
    )


def eeg_data(subjects, seed: int) -> TaskData:
    """EEG whose alpha is stronger where the label is 1."""
    data = noise_data(n_per_subject=8, subjects=subjects)
    X = make_eeg(len(data), 3, 200, random_state=seed)
    alpha = np.sin(2 * np.pi * 10 * np.arange(200) / 200)
    return data.with_signals((X + 4e-5 * data.y[:, None, None] * alpha).astype(np.float32))


def tiny(name: str, subjects, n_folds: int = 3) -> Task:
    """A task with fewer subjects, which is not frozen."""
    return replace(TASKS[name], subjects=tuple(subjects), rule=by_subject([tuple(subjects)], n_folds), frozen=None)


def write_eegmat(root: Path, subjects, **arrays: object) -> Task:
    """Two segments of 12 s, rest and arithmetic."""
    for seed, subject in enumerate(subjects):
        content = {
            "epoch_start_sample": np.arange(6) * 1000,
            "labels": np.repeat([0, 1], 3),
            "label_names": np.array(["rest", "mental_arithmetic"]),
            "segment_bounds": bounds(250.0, 2),
        } | arrays
        write_recording(root / "eegmat" / f"{subject}.npz", ("Fz", "Cz", "A2-A1"), 250.0, 2, seed, **content)
    return tiny("eegmat", subjects)


def write_guinea_bissau(root: Path, subjects, task: str) -> Task:
    """24 s, eyes closed and then open; every second subject is a patient."""
    for seed, subject in enumerate(subjects):
        content = {
            "labels": np.array(seed % 2),
            "label_names": np.array(["control", "epilepsy"]),
            "eye_segments": np.array([[0.0, 12.0, 0.0], [12.0, 24.0, 1.0]]),
            "eye_label_names": np.array(["eyes_closed", "eyes_open"]),
        }
        write_recording(root / "guinea_bissau" / f"{subject}.npz", ("AF3", "O1"), 128.0, 2, seed, **content)
    return tiny(task, subjects)


def write_openbci(root: Path, subjects, onsets=(2.0, 6.0), **arrays: object) -> Task:
    """Two trials in 12 s."""
    for seed, subject in enumerate(subjects):
        content = {
            "event_onset_s": np.array(onsets),
            "labels": np.arange(len(onsets)) % 2,
            "label_names": np.array(["rest", "hand_grasp_imagery"]),
        } | arrays
        write_recording(root / "openbci_mi" / f"{subject}.npz", ("Cz", "Pz"), 125.0, 1, seed, **content)
    return tiny("openbci_mi", subjects)


def write_ssvep(root: Path, subjects) -> Task:
    """Two sessions of 12 s with two trials each; names of labels in the order of the data set."""
    for seed, subject in enumerate(subjects):
        content = {
            "event_onset_s": np.array([1.0, 6.5, 13.0, 18.5]),
            "event_session": np.array([0, 0, 1, 1]),
            "event_label": np.array([0, 1, 2, 3]),
            "label_names": np.array(["rest", "13 Hz", "21 Hz", "17 Hz"]),
            "session_bounds": bounds(256.0, 2),
        }
        write_recording(root / "ssvep_exo" / f"{subject}.npz", ("Oz", "O1"), 256.0, 2, seed, **content)
    return tiny("ssvep_exo", subjects)


def write_mouse(root: Path, n_blocks: int = 9) -> Task:
    """So many times 12 s of EEG and EMG, stages in turn; and a recording without stages."""
    content = {"labels": np.arange(3 * n_blocks) % 3, "label_names": np.array(["Wake", "NREM", "REM"])}
    names = ("EEG", "EMG_rectified")
    write_recording(root / "mouse_sleep" / "mouse005_acq4.npz", names, 200.0, n_blocks, **content)
    write_recording(root / "mouse_sleep" / "mouse005_acq1_hr1_unlabelled.npz", names, 200.0, 1)
    return replace(TASKS["mouse_sleep"], frozen=None)


def write_muse(
    root: Path, n_runs: dict[str, int], task: str = "muse_n170", step: float = 0.6, **arrays: object
) -> Task:
    """Runs of 12 s with a stimulus every so many seconds, houses and faces in turn; some reach beyond a run's end."""
    for seed, (subject, n) in enumerate(n_runs.items()):
        own = np.arange(0.05, 12, step)
        content = {
            "event_onset_s": np.concatenate([own + 12 * run for run in range(n)]),
            "event_run": np.repeat(np.arange(n), len(own)),
            "event_label": np.tile(1 + np.arange(len(own)) % 2, n),
            "label_names": np.array([f"{number}:{name}" for number, name in enumerate(TASKS[task].classes, 1)]),
            "run_bounds": np.array([[3072 * run, 3072 * (run + 1)] for run in range(n)]),
        } | arrays
        path = root / TASKS[task].files.folder / f"{subject}.npz"
        write_recording(path, ("TP9", "AF7", "AF8", "TP10"), 256.0, n, seed, **content)
    return replace(TASKS[task], subjects=tuple(n_runs), rule=within_subject(4, gap_seconds=1.0), frozen=None)


def write_fists(root: Path) -> Task:
    """Runs of 14 s with rest and a left and a right fist."""
    return _write_runs(root, FIST_RUNS, "eegmmidb_fists")


def write_eegbci(root: Path) -> Task:
    """Six runs of 14 s with rest and two cues each, channels in another order and with dots, in FIF instead of EDF."""
    task = _write_runs(root, EEGBCI_RUNS, "eegbci")
    return replace(task, rule=by_session([("R04", "R06"), ("R08", "R10"), ("R12", "R14")]))


def _write_runs(root: Path, runs: tuple[str, ...], task: str) -> Task:
    """The runs of one subject, in the folders of EEGMMIDB."""
    names = [f"{name.capitalize():.<4}" for name in reversed(EEGBCI_CHANNELS)]
    info = mne.create_info(names, 160.0, "eeg")
    for seed, run in enumerate(runs):
        volts = 1e-5 * (1 + np.random.default_rng(seed).standard_normal((64, 14 * 160)))
        raw = mne.io.RawArray(volts, info)
        raw.set_annotations(mne.Annotations([0.0, 4.2, 8.4], 4.1, ["T0", "T2", "T1"]))
        path = root / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001" / f"S001{run}.fif"
        path.parent.mkdir(parents=True, exist_ok=True)
        raw.save(path, fmt="double", overwrite=True)
    files = Files("MNE-eegbci-data/files/eegmmidb/1.0.0", tuple(f"{{subject}}/{{subject}}{r}.fif" for r in runs))
    return replace(TASKS[task], files=files, frozen=None)
