"""What the starter experts were trained on, as files that ``mne-specmoe corpus build`` takes.

``python -m mne_specmoe.benchmark.starter export DATA_ROOT --out DIR`` writes the recordings as FIF files. The model
card in ``mne_specmoe/weights`` has the commands that follow.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording, stored_recordings


def training_recordings(root: Path) -> list[StoredRecording]:
    """The recordings that the starter experts may see: all but the subjects that evaluation uses."""
    return [
        recording
        for dataset, held_out in HELD_OUT.items()
        for recording in stored_recordings(root, dataset)
        if recording.subject not in held_out
    ]


def export(root: Path, out: Path) -> list[Path]:
    """Write the training recordings as ``<data set>-<subject>-<part>_raw.fif``, and return the files."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for recording in tqdm(training_recordings(root), desc="export", unit="recording"):
        for number, raw in enumerate(recording.parts(), 1):
            paths.append(out / f"{recording.dataset}-{recording.subject}-{number}_raw.fif")
            raw.save(paths[-1], overwrite=True, verbose="WARNING")
    return paths


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.starter", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("export", help="write the training recordings as FIF files")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/, guinea_bissau/ and ssvep_exo/")
    verb.add_argument("--out", type=Path, required=True, help="folder for the files")
    verb.set_defaults(run=lambda arguments: export(arguments.root, arguments.out))
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
