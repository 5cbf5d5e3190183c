"""Public recordings that the benchmark and the starter experts use, read from one folder of data sets.

The folder holds one folder per data set, with one ``.npz`` per subject: ``data``, int16 of shape (n_channels, n_times),
where µV = ``data`` · ``scale_uv_per_bit`` + ``offset_uv`` (both per channel); ``sfreq`` in Hz; ``ch_names``; ``meta``,
JSON; and, where the recording was interrupted, ``segment_bounds`` or ``session_bounds``: the first sample of every
part, and the number of samples; or ``run_bounds``: the first sample of every part, and the one behind its last. Labels
differ between data sets. A data set may be a folder of such folders, one per experiment, as ``muse`` is; a name is then
the same person in all of them. A ``bad_channels.json`` beside the files names bad channels by subject.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np

from mne_specmoe.data.preprocessing import prepare_raw

_REFERENCE_CHANNELS = ("A2-A1", "A1-A2")  # between the references: no EEG site

_FIRST_SAMPLES = ("segment_bounds", "session_bounds")  # a part ends where the next begins

PREPROCESSING = {"l_freq": 0.5, "h_freq": 60.0, "notch": 50.0, "channels": None}
"""How BrainRVQ's starter corpus was prepared: one data set is at 128 Hz, all were made on 50 Hz mains.

That of the starter experts has a notch at 60 Hz, too, since most of its Muse recordings were made on such mains.
"""

HELD_OUT = {
    "eegmat": tuple(f"Subject{number}" for number in range(24, 32)),
    # The last eight of each group, by number: controls, patients.
    "guinea_bissau": tuple(
        f"sub-{number:03d}" for number in (72, 74, 76, 77, 78, 79, 80, 81, 34, 36, 37, 38, 39, 40, 41, 42)
    ),
    "ssvep_exo": ("S07", "S08"),
    # Every eighth by name, over all experiments together.
    "muse": ("NTX0101", "NTX0110", "NTX0208", "NTX0305", "NTX1104", "NTX1202", "NTX1301"),
}
"""Data set → the subjects that evaluation uses. What is trained here and shipped never sees them."""


@dataclass(frozen=True)
class StoredRecording:
    """One recording of a data set, stored as ``.npz``.

    Attributes
    ----------
    dataset, subject : str
        Names of folder and file.
    path : Path
        The file.
    """

    dataset: str
    subject: str
    path: Path

    def parts(self) -> Iterator[mne.io.RawArray]:
        """Yield the uninterrupted parts, in volts, without channels between the references; labels are in `arrays`.

        Channels known to be bad are marked as such.

        Raises
        ------
        ValueError
            If the file holds trials.
        """
        arrays = self.arrays()
        if arrays["data"].ndim != 2:
            raise ValueError(
                f"{self.path} must hold a continuous recording (n_channels, n_times), got {arrays['data'].shape}."
            )
        volts = arrays["data"] * (1e-6 * arrays["scale_uv_per_bit"][:, None])
        volts += 1e-6 * arrays["offset_uv"][:, None]
        names = [str(name) for name in arrays["ch_names"]]
        info = mne.create_info(names, float(arrays["sfreq"]), "eeg", verbose="WARNING")
        info["subject_info"] = {"his_id": f"{self.dataset}-{self.subject}"}
        info["bads"] = self.bad_channels()
        for start, stop in _bounds(arrays):
            raw = mne.io.RawArray(volts[:, start:stop], info, verbose="WARNING")
            yield raw.drop_channels([name for name in _REFERENCE_CHANNELS if name in names])

    def prepared(self) -> list[np.ndarray]:
        """The parts, filtered as the starter experts' corpus was: volts (n_channels, n_times) at 200 Hz."""
        return [prepare_raw(raw, **PREPROCESSING, verbose="WARNING").get_data() for raw in self.parts()]

    def bad_channels(self) -> list[str]:
        """Names of the channels that the data set calls bad, or doubtful (with a question mark)."""
        notes = self.path.parent / "bad_channels.json"
        said = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
        named = {name.rstrip("?") for name in said.get(self.subject, ())}
        return [name for name in self.ch_names() if name in named]

    def ch_names(self) -> tuple[str, ...]:
        """Names of the channels of `parts`."""
        return tuple(str(name) for name in self.arrays()["ch_names"] if name not in _REFERENCE_CHANNELS)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything in the file."""
        with np.load(self.path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def meta(self) -> dict:
        """What the file says of itself."""
        return json.loads(str(self.arrays()["meta"]))


def chosen_recordings(root: Path, dataset: str, *, held_out: bool) -> list[StoredRecording]:
    """The recordings of the subjects that evaluation uses, or all others of a data set, which the starter may see."""
    recordings = stored_recordings(root, dataset)
    return [recording for recording in recordings if (recording.subject in HELD_OUT[dataset]) == held_out]


def stored_recordings(root: Path, dataset: str) -> list[StoredRecording]:
    """List the recordings of one data set below a data root, in order of subjects, then of experiments."""
    folder = root / dataset
    files = sorted([*folder.glob("*.npz"), *folder.glob("*/*.npz")], key=lambda path: (path.stem, path.parent.name))
    if not files:
        raise FileNotFoundError(f"There are no recordings (*.npz) in {folder}.")
    return [StoredRecording(dataset, path.stem, path) for path in files]


def _bounds(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """First sample of every part, and the one behind its last: shape (n_parts, 2)."""
    if "run_bounds" in arrays:
        return arrays["run_bounds"]
    bounds = next((arrays[name] for name in _FIRST_SAMPLES if name in arrays), [0, arrays["data"].shape[1]])
    return np.column_stack([bounds[:-1], bounds[1:]])
