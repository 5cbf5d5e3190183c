"""The starter experts: the recordings that they were trained on, and how they are judged.

``export`` writes the recordings as FIF files, which ``mne-specmoe corpus build`` takes; ``rebuild`` measures how well
experts rebuild held-out recordings, ``probe`` what a linear model reads from their features. The model card in
``mne_specmoe/weights`` has all commands.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mne_specmoe._validation import UntrainedWarning
from mne_specmoe.benchmark.probe import TASKS, band_power, compare
from mne_specmoe.benchmark.probe import table as probe_table
from mne_specmoe.benchmark.rebuilding import (
    expert_rebuilds,
    fit_gains,
    interpolate,
    leave_masked,
    mean_of,
    measure,
    rescale_bands,
)
from mne_specmoe.benchmark.rebuilding import table as rebuilding_table
from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording, stored_recordings
from mne_specmoe.checkpoint import load_experts
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.estimators.specmoe import SpecMoEFeaturizer
from mne_specmoe.models.specmoe.masking import GaussianStftMask

SUBJECT_PATTERN = r"([a-z_]+-[A-Za-z0-9-]+)-\d+_raw"
"""Subject in the names of the files that `export` writes, for ``mne-specmoe corpus build --subject-pattern``."""

_N_RANDOM = 3  # repetitions of random experts


def chosen_recordings(root: Path, *, held_out: bool) -> list[StoredRecording]:
    """The recordings of the subjects that evaluation uses, or all others, which the starter experts may see."""
    return [
        recording
        for dataset, subjects in HELD_OUT.items()
        for recording in stored_recordings(root, dataset)
        if (recording.subject in subjects) == held_out
    ]


def export(root: Path, out: Path, *, held_out: bool) -> list[Path]:
    """Write recordings as ``<data set>-<subject>-<part>_raw.fif``, and return the files."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for recording in tqdm(chosen_recordings(root, held_out=held_out), desc="export", unit="recording"):
        for number, raw in enumerate(recording.parts(), 1):
            paths.append(out / f"{recording.dataset}-{recording.subject}-{number}_raw.fif")
            raw.save(paths[-1], overwrite=True, verbose="WARNING")
    return paths


def measure_rebuilding(training: Path, held_out: Path, weights: Sequence[Path], mask: GaussianStftMask) -> str:
    """Errors of experts on held-out recordings against three forms without a network, as a table."""
    baselines = {
        "masked signal": leave_masked,
        "rescaled bands": rescale_bands(fit_gains(Corpus(training), mask)),
        "interpolation": interpolate,
    }
    experts = {}
    for path in weights:
        rebuilds = [expert_rebuilds(expert) for expert in load_experts(path)]
        name = path.parent.name if path.stem == "expert" else path.stem
        experts[name] = mean_of(rebuilds)
        if len(rebuilds) > 1:
            experts |= {f"{name}, expert {number}": rebuild for number, rebuild in enumerate(rebuilds, 1)}
    errors = measure(Corpus(held_out), {**baselines, **experts}, mask)
    return rebuilding_table(errors, tuple(baselines))


def measure_probes(root: Path, weights: Sequence[Path]) -> Iterator[str]:
    """Scores of linear probes on the held-out subjects of every task, as tables."""
    for task, load in TASKS.items():
        windows = load(root)
        features = {
            "random experts": [_features(windows.volts, None, seed) for seed in range(_N_RANDOM)],
            "band power": [band_power(windows.volts)],
        }
        for path in weights:
            name = path.parent.name if path.stem == "expert" else path.stem
            features[name] = [_features(windows.volts, path)]
        yield probe_table(task, windows, compare(windows, features, "random experts"), "random experts")


def _features(volts: np.ndarray, weights: Path | None, seed: int = 0) -> np.ndarray:
    """What a probe reads from experts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)  # that is the point of random ones
        return SpecMoEFeaturizer(weights, random_state=seed).fit_transform(volts)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.starter", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("export", help="write recordings as FIF files")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/, guinea_bissau/ and ssvep_exo/")
    verb.add_argument("--out", type=Path, required=True, help="folder for the files")
    verb.add_argument("--held-out", action="store_true", help="those of the subjects kept for evaluation instead")
    verb.set_defaults(run=lambda a: export(a.root, a.out, held_out=a.held_out))
    verb = verbs.add_parser("rebuild", help="errors on held-out recordings")
    verb.add_argument("training", type=Path, metavar="CORPUS", help="corpus that the experts were trained on")
    verb.add_argument("held_out", type=Path, metavar="HELD_OUT", help="corpus of held-out recordings")
    verb.add_argument("weights", type=Path, nargs="+", metavar="FILE", help="experts")
    verb.add_argument("--scope", choices=("shared", "local"), default="shared", help="of the mask")
    verb.set_defaults(
        run=lambda a: sys.stdout.write(
            measure_rebuilding(a.training, a.held_out, a.weights, GaussianStftMask(scope=a.scope))
        )
    )
    verb = verbs.add_parser("probe", help="linear probes on held-out subjects")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/ and guinea_bissau/")
    verb.add_argument("weights", type=Path, nargs="+", metavar="FILE", help="experts")
    verb.set_defaults(run=lambda a: [sys.stdout.write(table) for table in measure_probes(a.root, a.weights)])
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
