"""What all pretraining runs share: which segments, how long, settings that must not change, weights at the end."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mne_specmoe._files import write_text
from mne_specmoe._validation import check_number, listed
from mne_specmoe.checkpoint import save_network
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.corpus import Corpus, partition_corpus
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.training import (
    Accelerator,
    Housekeeping,
    Outcome,
    TrainingConfig,
    has_checkpoint,
    make_accelerator,
    train,
)

RUN_VERSION = 1
_SETTINGS = "run.json"
_VALIDATION_SEED = 0
# Fields of TrainingConfig that depend on others where they are not given.
_WORKED_OUT = ("max_steps", "warmup_steps", "lr")


@dataclass(frozen=True)
class PretrainedNetwork:
    """What a pretraining run leaves behind.

    Attributes
    ----------
    path : Path | None
        The weights; None where the run was stopped before its end.
    outcome : Outcome
        Steps and last losses.
    settings : dict
        Everything that the result depends on, as it stands in ``run.json``.
    """

    path: Path | None
    outcome: Outcome
    settings: dict


@dataclass(frozen=True)
class Recipe:
    """How a model is trained where nothing else is asked for.

    Parameters
    ----------
    n_epochs : float
        Passes over the training segments.
    defaults : mapping
        Fields of `TrainingConfig` that differ from that class's defaults.
    warmup : float
        Share of the steps with a rising learning rate.
    lr_batch : int | None
        So many segments per step are what ``defaults["lr"]`` is for; the rate is proportional to their number. None:
        it is the same for all batches.
    """

    n_epochs: float
    defaults: Mapping[str, object]
    warmup: float = 0.0
    lr_batch: int | None = None


class Segments(NamedTuple):
    """Numbers of the segments to train and to validate on, and whose the latter are."""

    training: np.ndarray
    validation: np.ndarray
    validation_subjects: tuple[str, ...]


class Plan(NamedTuple):
    """What is settled before there is a network.

    Attributes
    ----------
    accelerator : accelerate.Accelerator
        What to train on.
    corpus : Corpus
        The data.
    segments : Segments
        Which of them.
    config : TrainingConfig
        How to train.
    data : dict
        What of this goes into the settings of the run.
    """

    accelerator: Accelerator
    corpus: Corpus
    segments: Segments
    config: TrainingConfig
    data: dict[str, object]


def plan_run(
    corpus: Corpus | str | os.PathLike,
    check: Callable[[Corpus], None],
    recipe: Recipe,
    *,
    subset: str | tuple[int, int] | None,
    partition_by: str,
    validation: float | Sequence[str],
    n_epochs: float | None,
    training: TrainingConfig | Mapping | None,
    housekeeping: Housekeeping,
) -> Plan:
    """Open a corpus, choose its segments and work out how to train; nothing is written for the run yet.

    Parameters
    ----------
    corpus, subset, partition_by, validation, n_epochs, training, housekeeping
        See `mne_specmoe.pretrain`.
    check : callable
        Raises a ValueError if the model cannot train on a corpus.
    recipe : Recipe
        The model's.

    Returns
    -------
    plan : Plan
    """
    accelerator = make_accelerator(housekeeping.device)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
    check(corpus)
    with accelerator.main_process_first():  # which writes the partition down, the others read it
        segments = choose_segments(corpus, subset, partition_by, validation)
    config = training_config(training, n_epochs, len(segments.training), recipe)
    return Plan(accelerator, corpus, segments, config, _data_settings(corpus, subset, partition_by, segments))


def carry_out(
    plan: Plan,
    objective: nn.Module,
    path: Path,
    settings: Mapping[str, object],
    *,
    housekeeping: Housekeeping,
    resume: bool,
    **options: object,
) -> PretrainedNetwork:
    """Train, and write the network at the end.

    Parameters
    ----------
    plan : Plan
        As `plan_run` makes it.
    objective : Objective
        Loss and network.
    path : Path
        Where the weights go, in the folder of the run.
    settings : mapping
        What the result depends on beside the plan and the options.
    housekeeping, resume
        See `mne_specmoe.pretrain`.
    **options
        Of `CorpusBatches`, for training only.

    Returns
    -------
    network : PretrainedNetwork
    """
    accelerator, config = plan.accelerator, plan.config
    settings = {
        "version": RUN_VERSION,
        **settings,
        **options,
        "training": asdict(config),
        "data": plan.data,
        "n_processes": accelerator.num_processes,
    }
    batches, held_out = _batches(plan, **options)  # first: what is wrong with its options must not leave a run behind
    with accelerator.main_process_first():
        settings = _open_run(path.parent, settings, resume=resume, write=accelerator.is_main_process)
    outcome = train(
        objective,
        batches,
        path.parent,
        config,
        accelerator=accelerator,
        validation=held_out,
        housekeeping=housekeeping,
        resume=resume,
    )
    if outcome.finished and accelerator.is_main_process:
        save_network(objective.network, path, training=_summary(settings, outcome))
    accelerator.wait_for_everyone()
    return PretrainedNetwork(path if outcome.finished else None, outcome, settings)


def untrained(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network with the initial weights of a seed; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def first_signals(plan: Plan, n_batches: int, **options: object) -> Iterator[torch.Tensor]:
    """Signals of the first batches of a run, whole ones on every process.

    Parameters
    ----------
    plan : Plan
        As `plan_run` makes it.
    n_batches : int
        How many at most.
    **options
        Of `CorpusBatches`.

    Yields
    ------
    x : Tensor, shape (n_segments, n_channels, n_times)
    """
    config = plan.config
    batches = CorpusBatches(
        plan.corpus, plan.segments.training, seed=config.seed, batch_size=config.batch_size, **options
    )
    return (batches[number][0].x for number in range(n_batches))


def check_rate(corpus: Corpus, model: str) -> None:
    """Raise unless a corpus has the rate of all networks."""
    if corpus.sfreq != SFREQ:
        raise ValueError(
            f"The corpus has {corpus.sfreq:g} Hz, but {model}'s networks work at {SFREQ:g} Hz; build it with "
            f"sfreq={SFREQ:g}."
        )


def choose_segments(
    corpus: Corpus, subset: str | tuple[int, int] | None, partition_by: str, validation: float | Sequence[str]
) -> Segments:
    """Split a corpus into segments to train on, those of one subset, and segments of held-out subjects.

    Held out is a whole subject in every subset, so that no expert trains on what another is validated with.

    Parameters
    ----------
    corpus, subset, partition_by, validation
        See `mne_specmoe.pretrain`.

    Returns
    -------
    segments : Segments
    """
    subjects = held_out_subjects(corpus, validation)
    held_out = np.isin(corpus.subject_of, subjects)
    chosen = np.arange(len(corpus))
    if subset is not None:
        part, n_subsets = parse_subset(subset)
        chosen = partition_corpus(corpus, n_subsets, by=partition_by).segments(part)
    training = chosen[~held_out[chosen]]
    if not len(training):
        raise ValueError("No segment is left to train on: all are of held-out subjects; hold fewer out.")
    return Segments(training, np.flatnonzero(held_out), tuple(subjects))


def parse_subset(subset: str | tuple[int, int]) -> tuple[int, int]:
    """Read ``"2/3"`` as (2, 3), and check the range."""
    try:
        part, n_subsets = map(int, subset.split("/")) if isinstance(subset, str) else subset
    except (ValueError, TypeError):
        raise ValueError(f"subset={subset!r} is not understood; give it as 'I/K', such as '2/3'.") from None
    check_number("the number of subsets", n_subsets, minimum=1, integer=True)
    if not 1 <= part <= n_subsets:
        raise ValueError(f"subset={subset!r}: there are subsets 1 to {n_subsets}.")
    return part, n_subsets


def held_out_subjects(corpus: Corpus, validation: float | Sequence[str]) -> list[str]:
    """Names of the subjects to hold out: a seeded draw of a share of them, or those asked for."""
    subjects = sorted(set(map(str, corpus.subject_of)))
    if not isinstance(validation, float | int):
        wanted = [validation] if isinstance(validation, str) else list(validation)
        if unknown := sorted(set(wanted) - set(subjects)):
            raise ValueError(
                f"validation names subjects that the corpus lacks: {listed(unknown)}. It has {listed(subjects)}."
            )
        return sorted(wanted)
    check_number("validation", validation, minimum=0.0, maximum=0.9)
    if validation == 0:
        return []
    if len(subjects) == 1:
        raise ValueError(
            f"The corpus has one subject ({subjects[0]!r}), so none can be held out; give validation=0 to train "
            "without, or build the corpus with a subject_pattern that tells its subjects apart."
        )
    n_held_out = max(1, round(validation * len(subjects)))
    order = np.random.default_rng(_VALIDATION_SEED).permutation(len(subjects))
    return sorted(subjects[place] for place in order[:n_held_out])


def training_config(
    training: TrainingConfig | Mapping | None, n_epochs: float | None, n_segments: int, recipe: Recipe
) -> TrainingConfig:
    """Work out how to train: what was asked for, and else a model's recipe.

    Parameters
    ----------
    training : TrainingConfig | mapping | None
        Some fields, where None stands for the recipe's ``max_steps``, ``warmup_steps`` and ``lr``; or all of them.
    n_epochs : float | None
        Passes over the segments, in place of ``max_steps``.
    n_segments : int
        Segments to train on.
    recipe : Recipe
        The model's.

    Returns
    -------
    config : TrainingConfig
    """
    if isinstance(training, TrainingConfig):
        if n_epochs is not None:
            raise ValueError("Give n_epochs or a TrainingConfig, which has max_steps, not both.")
        return training
    asked = {name: value for name, value in (training or {}).items() if value is not None or name not in _WORKED_OUT}
    if "max_steps" in asked and n_epochs is not None:
        raise ValueError("Give n_epochs or max_steps, not both.")
    fields = {**recipe.defaults, **asked}
    draft = TrainingConfig(**{**fields, "max_steps": 1, "warmup_steps": 0})
    per_step = draft.batch_size * draft.accumulation
    if "max_steps" not in asked:
        n_epochs = recipe.n_epochs if n_epochs is None else n_epochs
        check_number("n_epochs", n_epochs, minimum=0, strict=True)
        fields["max_steps"] = max(1, round(n_epochs * n_segments / per_step))
    if "lr" not in asked and recipe.lr_batch is not None:
        fields["lr"] = draft.lr * per_step / recipe.lr_batch
        if "final_lr" not in asked:
            fields["final_lr"] = min(draft.final_lr, fields["lr"])  # small batches: the rate must not rise at the end
    if "warmup_steps" not in asked:
        check_number("max_steps", fields["max_steps"], minimum=1, integer=True)
        fields["warmup_steps"] = int(recipe.warmup * fields["max_steps"])
    return TrainingConfig(**fields)


def _data_settings(
    corpus: Corpus, subset: str | tuple[int, int] | None, partition_by: str, segments: Segments
) -> dict[str, object]:
    """What a run was trained on."""
    part = None if subset is None else "/".join(map(str, parse_subset(subset)))
    training = segments.training
    seconds = corpus.n_times / corpus.sfreq
    return {
        "corpus": corpus.hash,
        "preprocessing": dict(corpus.settings),
        "subset": part,
        "partition_by": None if subset is None else partition_by,
        "n_segments": len(training),
        "n_subjects": len(set(corpus.subject_of[training])),
        "hours": round(len(training) * seconds / 3600, 3),
        "n_validation_segments": len(segments.validation),
        "validation_subjects": list(segments.validation_subjects),
    }


def _open_run(out: Path, settings: dict, *, resume: bool, write: bool) -> dict:
    """Write the settings of a new run down, or check that those of the run to resume are the same."""
    path = out / _SETTINGS
    settings = json.loads(json.dumps(settings))  # tuples become lists, as they come back from the file
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        before["training"].setdefault("warmup_steps", 0)  # as in runs that were begun before there was a choice
        if not resume:
            if write or has_checkpoint(out):
                raise FileExistsError(
                    f"There is a run in {out}; go on with it by resume=True (--resume), or choose another folder."
                )
            return settings
        if differences := _differences(before, settings):
            raise ValueError(
                f"The run in {out} has other settings: {'; '.join(differences)}. Resume it with its own, or begin "
                "another run in another folder."
            )
        return before
    if write:
        out.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=2) + "\n")
    return settings


def _differences(before: object, now: object, name: str = "") -> list[str]:
    """What differs between two settings, each as one phrase."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*before, *now}):
            found += _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        return found
    return [] if before == now else [f"{name} was {before!r}, now {now!r}"]


def _batches(plan: Plan, **options: object) -> tuple[CorpusBatches, CorpusBatches | None]:
    """This process's batches for training and, if subjects are held out, for validation."""
    accelerator, config = plan.accelerator, plan.config
    place = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    size = {"batch_size": config.batch_size}
    training = CorpusBatches(plan.corpus, plan.segments.training, seed=config.seed, **size, **options, **place)
    held_out = plan.segments.validation
    if not len(held_out):
        return training, None
    return training, CorpusBatches(plan.corpus, held_out, seed=_VALIDATION_SEED, shuffle=False, **size, **place)


def _summary(settings: dict, outcome: Outcome) -> dict[str, object]:
    """What the header of the weights says of the run; nothing that differs between two equal runs."""
    losses = {name: float(f"{value:.6g}") for name, value in outcome.terms.items()}
    return {**settings, "steps": outcome.step, "n_skipped_steps": outcome.n_skipped, "losses": losses}
