"""BrainRVQ's starter weights, judged on recordings that they never saw.

``levels`` measures how much of EEG the codes of a tokenizer hold, level by level; ``predict`` how well an encoder
predicts them; ``probe`` what a linear model reads from its features. ``python -m mne_specmoe.benchmark.starter export``
writes the recordings.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mne_specmoe._validation import UntrainedWarning
from mne_specmoe.benchmark import codes
from mne_specmoe.benchmark.probe import TASKS, Windows, band_power, compare
from mne_specmoe.benchmark.probe import table as probe_table
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.estimators.brainrvq import BrainRVQFeaturizer
from mne_specmoe.loaders.brainrvq import load_brainrvq, load_encoder, load_tokenizer

_N_RANDOM = 3  # repetitions of random encoders


def measure_levels(held_out: Path, weights: str | Path) -> str:
    """Measure what a tokenizer's codes hold of the recordings of a corpus.

    Parameters
    ----------
    held_out : Path
        Corpus of recordings that the tokenizer has not seen.
    weights : str | Path
        The tokenizer.

    Returns
    -------
    table : str
        See `mne_specmoe.benchmark.codes.table`.
    """
    return codes.table(codes.level_errors(Corpus(held_out), load_tokenizer(weights)))


def measure_prediction(training: Path, held_out: Path, weights: str | Path, tokenizer: str | Path) -> str:
    """Measure how well an encoder predicts codes of held-out recordings.

    Parameters
    ----------
    training, held_out : Path
        Corpora: what was trained on, where codes are counted, and recordings of others.
    weights, tokenizer : str | Path
        The pretraining network, and the tokenizer whose codes it predicts.

    Returns
    -------
    table : str
        See `mne_specmoe.benchmark.codes.surprise_table`.
    """
    networks = load_brainrvq(weights), load_tokenizer(tokenizer)
    return codes.surprise_table(codes.surprise(Corpus(training), Corpus(held_out), *networks))


def measure_probes(root: Path, weights: str | Path, *, held_out: bool = True) -> Iterator[str]:
    """Score linear probes on the held-out subjects of tasks, or on the others.

    Parameters
    ----------
    root : Path
        Folder of the data sets.
    weights : str | Path
        The encoder.
    held_out : bool
        Which subjects.

    Yields
    ------
    table : str
        One per task, see `mne_specmoe.benchmark.probe.table`: random encoders of the same depth (mean of three seeds),
        band power, and the encoder.
    """
    depth = load_encoder(weights).config.depth
    for task, read in TASKS.items():
        windows = read(root, held_out=held_out)
        features = {
            "random encoders": [_features(windows, None, random_state=seed, depth=depth) for seed in range(_N_RANDOM)],
            "band power": [band_power(windows.volts)],
            "trained encoder": [_features(windows, weights)],
        }
        yield probe_table(task, windows, compare(windows, features, "random encoders"), "random encoders")


def _features(windows: Windows, weights: str | Path | None, **options: int) -> np.ndarray:
    """What a probe reads from an encoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)  # that is the point of random ones
        return BrainRVQFeaturizer(weights, ch_names=windows.ch_names, **options).fit_transform(windows.volts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line.

    Parameters
    ----------
    argv : sequence of str | None
        Arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m mne_specmoe.benchmark.starter_brainrvq", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("levels", help="errors of a tokenizer by the number of levels")
    verb.add_argument("held_out", type=Path, metavar="HELD_OUT", help="corpus of held-out recordings")
    verb.add_argument("weights", metavar="TOKENIZER")
    verb.set_defaults(run=lambda a: sys.stdout.write(measure_levels(a.held_out, a.weights)))
    verb = verbs.add_parser("predict", help="cross-entropies of codes that are predicted")
    verb.add_argument("training", type=Path, metavar="CORPUS", help="corpus that was trained on")
    verb.add_argument("held_out", type=Path, metavar="HELD_OUT", help="corpus of held-out recordings")
    verb.add_argument("weights", metavar="ENCODER")
    verb.add_argument("tokenizer", metavar="TOKENIZER")
    verb.set_defaults(
        run=lambda a: sys.stdout.write(measure_prediction(a.training, a.held_out, a.weights, a.tokenizer))
    )
    verb = verbs.add_parser("probe", help="linear probes on held-out subjects")
    verb.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder with eegmat/ and guinea_bissau/")
    verb.add_argument("weights", metavar="ENCODER")
    verb.add_argument("--training", action="store_true", help="on the subjects that are not held out instead")
    verb.set_defaults(run=lambda a: sys.stdout.writelines(measure_probes(a.root, a.weights, held_out=not a.training)))
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
