"""A data root and corpora of synthetic EEG, as small as the benchmark allows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.synthetic import make_eeg

PART_SECONDS = 12  # three windows of a probe, and enough for a high-pass at 0.5 Hz
TRAINING = {
    "eegmat": ("Subject22", "Subject23"),
    "guinea_bissau": ("sub-001", "sub-002"),
    "ssvep_exo": ("S01",),
    "muse": ("NTX0001",),
}
HELD_OUT = {
    "eegmat": ("Subject24", "Subject25", "Subject26"),
    "guinea_bissau": ("sub-034", "sub-036", "sub-037", "sub-072", "sub-074", "sub-076"),
    "ssvep_exo": ("S07",),
    "muse": ("NTX0101",),
}
PATIENTS = ("sub-034", "sub-036", "sub-037")


def write_recording(
    path: Path, ch_names: Sequence[str], sfreq: float, n_parts: int = 1, seed: int = 0, **arrays: object
) -> dict[str, np.ndarray]:
    """Write a recording as the data root has them, and return what was written."""
    n_times = int(PART_SECONDS * sfreq) * n_parts
    microvolts = 1e6 * make_eeg(1, len(ch_names), n_times, sfreq=sfreq, random_state=seed)[0]
    scale = 0.05 * np.arange(1, len(ch_names) + 1)
    offset = 100.0 * np.arange(len(ch_names))
    content = {
        "data": np.round(microvolts / scale[:, None]).astype(np.int16),
        "scale_uv_per_bit": scale,
        "offset_uv": offset,
        "sfreq": np.array(sfreq),
        "ch_names": np.array(ch_names),
        "meta": np.array(json.dumps({"seed": seed})),
        **arrays,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)
    return content


def bounds(sfreq: float, n_parts: int) -> np.ndarray:
    """First samples of all parts, and the end of the last."""
    return np.arange(n_parts + 1) * int(PART_SECONDS * sfreq)


def write_root(root: Path) -> Path:
    """Write the data sets that the starter experts use, with the subjects above."""
    for number, (dataset, subject) in enumerate(
        (dataset, subject)
        for each in (TRAINING, HELD_OUT)
        for dataset, subjects in each.items()
        for subject in subjects
    ):
        _WRITERS[dataset](root / dataset / f"{subject}.npz", subject, number)
    return root


def _write_eegmat(path: Path, subject: str, seed: int) -> None:
    starts = np.arange(6) * 1000
    labels = {"epoch_start_sample": starts, "labels": np.repeat([0, 1], 3), "segment_bounds": bounds(250.0, 2)}
    write_recording(path, ("Fz", "Cz", "A2-A1"), 250.0, 2, seed, **labels)


def _write_guinea_bissau(path: Path, subject: str, seed: int) -> None:
    write_recording(path, ("AF3", "O1"), 128.0, 1, seed, labels=np.array(int(subject in PATIENTS)))


def _write_ssvep_exo(path: Path, subject: str, seed: int) -> None:
    write_recording(path, ("Oz", "O1"), 256.0, 2, seed, session_bounds=bounds(256.0, 2))


def _write_muse(path: Path, subject: str, seed: int) -> None:
    """Two experiments, of two runs and of one; a channel is bad in the first."""
    for experiment, n_parts in (("cueing", 2), ("p300", 1)):
        ends = bounds(256.0, n_parts)
        runs = {"run_bounds": np.column_stack([ends[:-1], ends[1:]])}
        write_recording(path.parent / experiment / path.name, ("TP9", "AF7", "AF8"), 256.0, n_parts, seed, **runs)
    notes = {"NTX0001": ["AF7?", "noisy in the end"]}
    (path.parent / "cueing" / "bad_channels.json").write_text(json.dumps(notes), encoding="utf-8")


_WRITERS = {
    "eegmat": _write_eegmat,
    "guinea_bissau": _write_guinea_bissau,
    "ssvep_exo": _write_ssvep_exo,
    "muse": _write_muse,
}


def make_corpus(
    folder: Path,
    signals: Mapping[str, np.ndarray],
    subject_of: Mapping[str, str] | None = None,
    ch_names: Sequence[str] | None = None,
) -> Corpus:
    """Make a corpus of signals (n_channels, n_times) at 200 Hz in µV, unfiltered, in segments of 3 s."""
    recordings = []
    for name, data in signals.items():
        names = [f"E{i}" for i in range(len(data))] if ch_names is None else list(ch_names)
        recordings.append(ArrayRecording(name, data, 200.0, names, (subject_of or {}).get(name, name), "uV"))
    return build_corpus(
        recordings,
        folder,
        l_freq=None,
        h_freq=None,
        notch=None,
        segment_seconds=3.0,
        edge_seconds=0.0,
        min_seconds=0.0,
        reject_uv=None,
        channels="all",
        progress=False,
    )


def eeg_uv(n_channels: int, n_segments: int, seed: int) -> np.ndarray:
    """Synthetic EEG in µV, of so many segments of 3 s at 200 Hz."""
    return 1e6 * make_eeg(1, n_channels, 600 * n_segments, random_state=seed)[0]
