"""The starter experts: the recordings that they were trained on, and how they are judged.

``export`` writes the recordings as FIF files, which ``mne-specmoe corpus build`` takes; ``rebuild`` measures how well
experts rebuild held-out recordings, ``probe`` what a linear model reads from their features, ``gates`` what the gate of
a classifier should read; ``average`` writes the expert whose weights are the mean of others'.
"""

import argparse
import re
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mne_specmoe._validation import UntrainedWarning, check_option, listed
from mne_specmoe.benchmark.gates import gate_scores
from mne_specmoe.benchmark.intervals import bootstrap
from mne_specmoe.benchmark.probe import TASKS, band_power, compare, eegmat
from mne_specmoe.benchmark.probe import table as probe_table
from mne_specmoe.benchmark.rebuilding import (
    expert_rebuilds,
    fit_gains,
    interpolate,
    interpolate_values,
    leave_masked,
    mean_of,
    measure,
    rescale_bands,
    undo_mask,
)
from mne_specmoe.benchmark.rebuilding import table as rebuilding_table
from mne_specmoe.benchmark.recordings import HELD_OUT, StoredRecording, chosen_recordings
from mne_specmoe.checkpoint import weights_path
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.estimators.specmoe import SpecMoEFeaturizer
from mne_specmoe.loaders.specmoe import load_encoders, load_expert, load_experts, save_expert
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet

SUBJECT_PATTERN = r"([a-z_]+-[A-Za-z0-9-]+)-\d+_raw"
"""Subject in the names of the files that `export` writes, for ``mne-specmoe corpus build --subject-pattern``."""

_N_RANDOM = 3  # repetitions of random experts


def export(root: Path, out: Path, *, held_out: bool, leave_out: str | None = None) -> list[Path]:
    """Write recordings as FIF files.

    Parameters
    ----------
    root : Path
        Folder of the data sets.
    out : Path
        Folder for the files; made if it does not exist.
    held_out : bool
        Those of the subjects that evaluation uses, or those of all others.
    leave_out : str | None
        A data set of which nobody is exported, so that weights can be judged on all of its subjects. The others are
        not affected: whom evaluation uses there stays out of a corpus for training.

    Returns
    -------
    paths : list of Path
        ``<data set>-<subject>-<part>_raw.fif``; parts count from 1, over all recordings of a subject.

    Raises
    ------
    ValueError
        If the folder holds recordings of other subjects: they would come into the same corpus; or if there is no such
        data set to leave out.
    FileNotFoundError
        If one of the data sets wanted is not there.
    """
    if leave_out is not None:
        check_option("leave_out", leave_out, tuple(HELD_OUT))
    datasets = [dataset for dataset in HELD_OUT if dataset != leave_out]
    recordings = [r for dataset in datasets for r in chosen_recordings(root, dataset, held_out=held_out)]
    _check_folder(out, {_person(recording) for recording in recordings})
    out.mkdir(parents=True, exist_ok=True)
    paths, n_parts = [], Counter()
    for recording in tqdm(recordings, desc="export", unit="recording"):
        person = _person(recording)
        for raw in recording.parts():
            n_parts[person] += 1
            paths.append(out / f"{person}-{n_parts[person]}_raw.fif")
            raw.save(paths[-1], overwrite=True, verbose="WARNING")
    return paths


def _person(recording: StoredRecording) -> str:
    """Data set and subject, as `_subject` reads them."""
    return f"{recording.dataset}-{recording.subject}"


def _check_folder(out: Path, subjects: Collection[str]) -> None:
    """Raise if a folder holds recordings of other subjects than these."""
    others = [path.name for path in sorted(out.glob("*.fif")) if _subject(path) not in subjects]
    if others:
        raise ValueError(f"{out} holds recordings of other subjects ({listed(others, at_most=3)}); use another folder.")


def _subject(path: Path) -> str | None:
    """Data set and subject in the name of a file of `export`."""
    found = re.fullmatch(SUBJECT_PATTERN, path.stem)
    return found and found[1]


def measure_rebuilding(training: Path, held_out: Path, weights: Sequence[Path], mask: GaussianStftMask) -> str:
    """Measure errors of experts on held-out recordings against forms without a network.

    Parameters
    ----------
    training, held_out : Path
        Corpora: what the experts were trained on, from which the gains of bands are fitted, and recordings of others.
    weights : sequence of Path
        Files of experts. Where a file holds several, each is measured, and the mean of what they rebuild.
    mask : GaussianStftMask
        What is taken away.

    Returns
    -------
    table : str
        See `mne_specmoe.benchmark.rebuilding.table`.

    Raises
    ------
    ValueError
        If a subject is in both corpora, or if two files have one name.
    """
    named, seen, unseen = _named(weights), Corpus(training), Corpus(held_out)
    if both := sorted(set(seen.subject_of) & set(unseen.subject_of)):
        raise ValueError(f"{held_out} is not held out: {listed(both, at_most=3)} are in {training} as well.")
    baselines = {
        "masked signal": leave_masked,
        "rescaled bands": rescale_bands(fit_gains(seen, mask)),
        "interpolation": interpolate,
        "of complex values": interpolate_values,
    }
    experts = {}
    for name, path in named.items():
        rebuilds = [expert_rebuilds(expert) for expert in load_experts(path)]
        experts[name] = mean_of(rebuilds)
        if len(rebuilds) > 1:
            experts |= {f"{name}, expert {number}": rebuild for number, rebuild in enumerate(rebuilds, 1)}
    bound = {"mask undone": undo_mask}  # told in full what experts have to guess
    errors = measure(unseen, {**baselines, **bound, **experts}, mask)
    return rebuilding_table(errors, (*baselines, *bound))


def measure_probes(
    root: Path, weights: Sequence[Path], *, tasks: Sequence[str] = tuple(TASKS), held_out: bool = True
) -> Iterator[str]:
    """Score linear probes on the held-out subjects of tasks, or on the others, from whom settings are chosen.

    Parameters
    ----------
    root : Path
        Folder of the data sets.
    weights : sequence of Path
        Files of experts.
    tasks : sequence of str
        Of `mne_specmoe.benchmark.probe.TASKS`.
    held_out : bool
        Which subjects.

    Yields
    ------
    table : str
        One per task, see `mne_specmoe.benchmark.probe.table`: random experts (mean of three seeds), band power, and
        the experts of every file.
    """
    named = _named(weights)
    for task in tasks:
        windows = TASKS[task](root, held_out=held_out)
        features = {
            "random experts": [_features(windows.volts, None, seed) for seed in range(_N_RANDOM)],
            "band power": [band_power(windows.volts)],
        }
        features |= {name: [_features(windows.volts, path)] for name, path in named.items()}
        yield probe_table(task, windows, compare(windows, features, "random experts"), "random experts")


def measure_gates(root: Path, weights: Path) -> str:
    """Score classifiers with one kind of gate each, on subjects that are not held out.

    Parameters
    ----------
    root : Path
        Folder of the data sets.
    weights : Path
        File of experts.

    Returns
    -------
    table : str
        Rest against mental arithmetic, see `mne_specmoe.benchmark.probe.table`.
    """
    windows = eegmat(root, held_out=False)
    scores = gate_scores(windows, load_encoders(weights))
    results = {scale: (bootstrap(s), bootstrap(s - scores["none"])) for scale, s in scores.items()}
    return probe_table("eegmat, gates", windows, results, "none")


def average(weights: Sequence[Path], out: Path) -> Path:
    """Write the expert whose weights and running statistics are the means of those of several experts.

    Parameters
    ----------
    weights : sequence of Path
        Files with one expert each.
    out : Path
        The file to write.

    Returns
    -------
    path : Path
    """
    experts = [load_expert(path) for path in weights]
    states = [expert.state_dict() for expert in experts]
    mean = SpecHiNet(**asdict(experts[0].config))
    mean.load_state_dict({name: sum(s[name].double() for s in states) / len(states) for name in states[0]})
    return save_expert(mean, out, training={"mean_of": [path.parent.name for path in weights]})


def _named(weights: Sequence[Path]) -> dict[str, Path]:
    """Files of experts by name: that of the file, or of its folder where pretraining named the file."""
    named = {path.resolve().parent.name if path.stem == "expert" else path.stem: path for path in weights}
    if len(named) < len(weights):
        raise ValueError(f"Files of experts must have different names in the table, got {listed(weights)}.")
    return named


def _features(volts: np.ndarray, weights: Path | None, seed: int = 0) -> np.ndarray:
    """What a probe reads from experts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)  # that is the point of random ones
        # Components would be of all subjects, the tested ones too.
        return SpecMoEFeaturizer(weights, parts=("experts",), n_components=None, random_state=seed).fit_transform(volts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line.

    Parameters
    ----------
    argv : sequence of str | None
        Arguments; None takes those of the process.
    """
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.starter", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("export", help="write recordings as FIF files")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help=f"folder with {', '.join(HELD_OUT)}")
    verb.add_argument("--out", type=Path, required=True, help="folder for the files")
    verb.add_argument("--leave-out", choices=tuple(HELD_OUT), help="data set of which nobody is wanted")
    verb.add_argument("--held-out", action="store_true", help="those of the subjects kept for evaluation instead")
    verb.set_defaults(run=lambda a: export(a.root, a.out, held_out=a.held_out, leave_out=a.leave_out))
    verb = verbs.add_parser("rebuild", help="errors on held-out recordings")
    verb.add_argument("training", type=Path, metavar="CORPUS", help="corpus that the experts were trained on")
    verb.add_argument("held_out", type=Path, metavar="HELD_OUT", help="corpus of held-out recordings")
    verb.add_argument("weights", type=weights_path, nargs="+", metavar="FILE", help="experts")
    verb.add_argument("--scope", choices=("shared", "local"), default="shared", help="of the mask")
    verb.set_defaults(run=_run_rebuild)
    verb = verbs.add_parser("probe", help="linear probes on held-out subjects")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/ and guinea_bissau/")
    verb.add_argument("weights", type=weights_path, nargs="+", metavar="FILE", help="experts")
    verb.add_argument("--task", choices=tuple(TASKS), help="only this one")
    verb.add_argument("--training", action="store_true", help="on the subjects that are not held out instead")
    verb.set_defaults(run=_run_probe)
    verb = verbs.add_parser("gates", help="classifiers with one kind of gate each, on subjects not held out")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/")
    verb.add_argument("weights", type=weights_path, metavar="FILE", help="experts")
    verb.set_defaults(run=lambda a: sys.stdout.write(measure_gates(a.root, a.weights)))
    verb = verbs.add_parser("average", help="write the expert with the mean of others' weights")
    verb.add_argument("weights", type=weights_path, nargs="+", metavar="FILE", help="one expert each")
    verb.add_argument("--out", type=Path, required=True, help="the file to write")
    verb.set_defaults(run=lambda a: average(a.weights, a.out))
    return parser


def _run_rebuild(arguments: argparse.Namespace) -> None:
    """Show errors."""
    mask = GaussianStftMask(scope=arguments.scope)
    sys.stdout.write(measure_rebuilding(arguments.training, arguments.held_out, arguments.weights, mask))


def _run_probe(arguments: argparse.Namespace) -> None:
    """Show scores, task by task."""
    tasks = tuple(TASKS) if arguments.task is None else (arguments.task,)
    for text in measure_probes(arguments.root, arguments.weights, tasks=tasks, held_out=not arguments.training):
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
