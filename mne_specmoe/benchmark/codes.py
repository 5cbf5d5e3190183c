"""How much of EEG a tokenizer's codes hold, level by level, in recordings that it never saw."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe.benchmark.intervals import Interval, bootstrap
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.objective import tokenizer_targets
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes, RebuiltPatches

TARGETS = RebuiltPatches._fields
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
        mine = np.flatnonzero(subject_of == subject)
        batches = CorpusBatches(corpus, mine, batch_size=_BATCH, shuffle=False)
        for number in range(len(batches)):
            batch, _ = batches[number]
            rows, patches = channel_rows(batch.ch_names, aliases=aliases).rows, to_patches(batch.x)
            codes, target, share = tokenizer.encode(batch.x, rows), tokenizer_targets(patches), len(batch.x) / len(mine)
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


def _squared_errors(rebuilt: RebuiltPatches, target: RebuiltPatches) -> dict[str, float]:
    """Mean squared error of each target."""

    def error(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().mean())

    return {name: error(getattr(rebuilt, name), getattr(target, name)) for name in TARGETS}


def _row(name: str, intervals: dict[str, Interval]) -> str:
    """A line of the table."""
    return f"{name:<22}" + "".join(f"{interval!s:<24}" for interval in intervals.values())
