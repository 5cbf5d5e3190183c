"""How much of EEG a tokenizer's codes hold, and how well they are predicted, in recordings that nobody trained on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.masking import PatchMask, PatchMaskConfig
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.objective import CodePredictionObjective, tokenizer_targets
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes, Reconstruction
from mne_specmoe.models.interface import Batch

TARGETS = Reconstruction._fields
"""What is rebuilt: waveform, amplitudes and angles."""

_BATCH = 8


class LevelErrors(NamedTuple):
    """Mean squared errors of standardised targets, so that 1 is what their mean has.

    Attributes
    ----------
    subjects : tuple of str
        Who was recorded.
    errors : dict of str to ndarray, shape (n_levels, n_subjects)
        Of what the first level rebuilds alone, of the first two, and so on.
    strangers : dict of str to ndarray, shape (n_subjects,)
        The control: all levels, but the codes of another second.
    n_used : dict of str to ndarray, shape (n_levels,)
        How many codes of each level occur, for ``"time"`` and ``"frequency"``.
    """

    subjects: tuple[str, ...]
    errors: dict[str, np.ndarray]
    strangers: dict[str, np.ndarray]
    n_used: dict[str, np.ndarray]

    def gain(self, target: str, level: int) -> Interval:
        """What a level (from 2) adds: its error less that of the level before, over subjects."""
        return bootstrap(self.errors[target][level - 1] - self.errors[target][level - 2])


@torch.no_grad()
def level_errors(corpus: Corpus, tokenizer: BrainRVQTokenizer, *, aliases: str = "10-20") -> LevelErrors:
    """Tokenise every segment of a corpus and rebuild it with one level, two, and so on.

    Parameters
    ----------
    corpus : Corpus
        Recordings that the tokenizer has not seen.
    tokenizer : BrainRVQTokenizer
        Trained.
    aliases : {"10-20", "none"}
        See `mne_specmoe.models.brainrvq.channels.channel_rows`.

    Returns
    -------
    errors : LevelErrors
        Means over the segments of a subject.
    """
    tokenizer = tokenizer.eval()
    n_levels, n_codes = tokenizer.config.n_levels, tokenizer.config.n_codes
    subjects, subject_of = np.unique(corpus.subject_of, return_inverse=True)
    errors = {name: np.zeros((n_levels, len(subjects))) for name in TARGETS}
    strangers = {name: np.zeros(len(subjects)) for name in TARGETS}
    used = {domain: torch.zeros(n_levels, n_codes, dtype=torch.bool) for domain in Codes._fields}
    for subject in range(len(subjects)):
        for batch, share in _batches(corpus, np.flatnonzero(subject_of == subject)):
            rows = channel_rows(batch.ch_names, aliases=aliases).rows
            codes, target = tokenizer.encode(batch.x, rows), tokenizer_targets(to_patches(batch.x))
            for domain, seen in used.items():
                for level, numbers in enumerate(getattr(codes, domain)):
                    seen[level, numbers] = True
            for level in range(1, n_levels + 1):
                rebuilt = tokenizer.decode(Codes(codes.time[:level], codes.frequency[:level]), rows)
                for name, error in _squared_errors(rebuilt, target).items():
                    errors[name][level - 1, subject] += share * error
            others = Codes(codes.time.roll(1, -1), codes.frequency.roll(1, -1))
            for name, error in _squared_errors(tokenizer.decode(others, rows), target).items():
                strangers[name][subject] += share * error
    n_used = {domain: seen.sum(1).numpy() for domain, seen in used.items()}
    return LevelErrors(tuple(map(str, subjects)), errors, strangers, n_used)


def table(found: LevelErrors) -> str:
    """Lay errors out as text: means over subjects with intervals, and what every level adds."""
    lines = [f"{len(found.subjects)} subjects; mean squared error, 1 is knowing nothing [95 % interval over subjects]"]
    lines += ["", " " * 22 + "".join(f"{name:<24}" for name in TARGETS)]
    n_levels = len(found.errors[TARGETS[0]])
    for level in range(n_levels):
        lines.append(_row(f"levels 1 to {level + 1}", {n: bootstrap(found.errors[n][level]) for n in TARGETS}))
    lines.append(_row("next second's codes", {name: bootstrap(found.strangers[name]) for name in TARGETS}))
    lines += ["", "what a level adds"]
    for level in range(2, n_levels + 1):
        lines.append(_row(f"level {level}", {name: found.gain(name, level) for name in TARGETS}))
    lines += ["", "codes in use, level by level"]
    lines += [f"{domain:<22}{', '.join(map(str, numbers))}" for domain, numbers in found.n_used.items()]
    return "\n".join(lines) + "\n"


class Surprise(NamedTuple):
    """Cross-entropies of codes in nats, per domain and level, each of shape (n_subjects,).

    Attributes
    ----------
    predicted : dict of str to ndarray
        ``"time_1"`` and so on: what an encoder predicts of patches that it is not shown; finer levels are told the true
        coarser codes.
    by_frequency : dict of str to ndarray
        The control: how frequent codes were in training, and nothing else.
    """

    predicted: dict[str, np.ndarray]
    by_frequency: dict[str, np.ndarray]


@torch.no_grad()
def surprise(
    training: Corpus, held_out: Corpus, network: BrainRVQ, tokenizer: BrainRVQTokenizer, *, aliases: str = "10-20"
) -> Surprise:
    """Predict the codes of every patch of a corpus from the others.

    Parameters
    ----------
    training : Corpus
        Where the frequencies of codes are counted.
    held_out : Corpus
        Recordings that were not trained on.
    network : BrainRVQ
        Trained.
    tokenizer : BrainRVQTokenizer
        Whose codes it was trained on.
    aliases : {"10-20", "none"}
        See `mne_specmoe.models.brainrvq.channels.channel_rows`.

    Returns
    -------
    surprise : Surprise
        Means over the patches of a subject. Masks are random ones (no curriculum), drawn from the segments' numbers.
    """
    mask = PatchMask(PatchMaskConfig(mode="random"))
    objective = CodePredictionObjective(network, tokenizer, mask=mask, aliases=aliases).eval()
    logs = _log_frequencies(training, tokenizer.eval(), aliases)
    subjects, subject_of = np.unique(held_out.subject_of, return_inverse=True)
    names = [f"{domain}_{level + 1}" for domain in Codes._fields for level in range(tokenizer.config.n_levels)]
    found = Surprise(*({name: np.zeros(len(subjects)) for name in names} for _ in Surprise._fields))
    for subject in range(len(subjects)):
        for batch, share in _batches(held_out, np.flatnonzero(subject_of == subject)):
            _, terms = objective(batch, progress=1.0)
            codes = tokenizer.encode(batch.x, channel_rows(batch.ch_names, aliases=aliases).rows)
            for name in names:
                domain, level = name.split("_")
                known = logs[domain][int(level) - 1][getattr(codes, domain)[int(level) - 1]]
                found.predicted[name][subject] += share * float(terms[f"teacher_forced_cross_entropy_{name}"])
                found.by_frequency[name][subject] -= share * float(known.mean())
    return found


def surprise_table(found: Surprise) -> str:
    """Lay cross-entropies out as text, and their differences to those of frequencies alone."""
    n_subjects = len(next(iter(found.predicted.values())))
    lines = [f"{n_subjects} subjects; cross-entropy in nats [95 % interval over subjects]", ""]
    lines.append(f"{'':<14}{'predicted':<24}{'by frequency':<24}difference")
    for name, predicted in found.predicted.items():
        alone = found.by_frequency[name]
        lines.append(f"{name:<14}{bootstrap(predicted)!s:<24}{bootstrap(alone)!s:<24}{bootstrap(predicted - alone)}")
    return "\n".join(lines) + "\n"


def _log_frequencies(corpus: Corpus, tokenizer: BrainRVQTokenizer, aliases: str) -> dict[str, Tensor]:
    """Logarithms of how frequent codes are, [n_levels, n_codes] per domain; every code counts once more."""
    counts = {d: torch.ones(tokenizer.config.n_levels, tokenizer.config.n_codes) for d in Codes._fields}
    for batch, _ in _batches(corpus, np.arange(len(corpus))):
        codes = tokenizer.encode(batch.x, channel_rows(batch.ch_names, aliases=aliases).rows)
        for domain, table in counts.items():
            for level, numbers in enumerate(getattr(codes, domain)):
                table[level] += torch.bincount(numbers.flatten(), minlength=table.shape[1])
    return {domain: (table / table.sum(1, keepdim=True)).log() for domain, table in counts.items()}


def _batches(corpus: Corpus, segments: np.ndarray) -> Iterator[tuple[Batch, float]]:
    """Segments in a fixed order, and the share that a batch has of them."""
    batches = CorpusBatches(corpus, segments, batch_size=_BATCH, shuffle=False)
    for number in range(len(batches)):
        batch, _ = batches[number]
        yield batch, len(batch.x) / len(segments)


def _squared_errors(rebuilt: Reconstruction, target: Reconstruction) -> dict[str, float]:
    """Mean squared error of each target."""

    def error(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().mean())

    return {name: error(getattr(rebuilt, name), getattr(target, name)) for name in TARGETS}


def _row(name: str, intervals: dict[str, Interval]) -> str:
    """A line of the table."""
    return f"{name:<22}" + "".join(f"{interval!s:<24}" for interval in intervals.values())
