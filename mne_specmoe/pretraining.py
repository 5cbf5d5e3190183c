"""From a corpus to an expert: which segments, which network, and a run that can be resumed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mne_specmoe._files import replacing
from mne_specmoe._validation import check_number, listed
from mne_specmoe.checkpoint import save_expert
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.corpus import Corpus, partition_corpus
from mne_specmoe.models.specmoe.masking import GaussianStftMask, MaskConfig
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.objective import ReconstructionObjective
from mne_specmoe.signal.canonical import SFREQ
from mne_specmoe.training import Housekeeping, Outcome, TrainingConfig, has_checkpoint, make_accelerator, train

RUN_VERSION = 1
_SETTINGS, _EXPERT = "run.json", "expert.safetensors"
_VALIDATION_SEED = 0


@dataclass(frozen=True)
class PretrainedExpert:
    """What `pretrain` leaves behind.

    Attributes
    ----------
    path : Path | None
        The expert's weights; None where the run was stopped before its end.
    outcome : Outcome
        Steps and last losses.
    settings : dict
        Everything that the result depends on, as it stands in ``run.json``.
    """

    path: Path | None
    outcome: Outcome
    settings: dict


class Segments(NamedTuple):
    """Numbers of the segments to train and to validate on, and whose the latter are."""

    training: np.ndarray
    validation: np.ndarray
    validation_subjects: tuple[str, ...]


def pretrain(
    corpus: Corpus | str | os.PathLike,
    out: str | os.PathLike,
    *,
    subset: str | tuple[int, int] | None = None,
    partition_by: str = "index",
    layout: str = "channelwise",
    dropout: float = 0.2,
    amplitude: str = "absolute",
    decoder: str = "signal",
    mask: MaskConfig | None = None,
    spectral_weight: float = 0.02,
    max_channels: int | None = None,
    augment: bool = False,
    validation: float | Sequence[str] = 0.05,
    n_epochs: float | None = None,
    training: TrainingConfig | Mapping | None = None,
    housekeeping: Housekeeping | None = None,
    resume: bool = False,
) -> PretrainedExpert:
    """Pretrain one SpecHi-Net expert by reconstruction of masked EEG.

    Parameters
    ----------
    corpus : Corpus | path-like
        As `mne_specmoe.build_corpus` makes it.
    out : path-like
        Folder of the run: settings, log, checkpoints and, at the end, ``expert.safetensors``.
    subset : str | tuple of int | None
        ``"2/3"`` or ``(2, 3)``: the second of three disjoint subsets of the corpus. None: all of it.
    partition_by : {"index", "subject", "spectrum"}
        How the subsets are made, see `mne_specmoe.data.corpus.partition_corpus`.
    layout : {"channelwise", "published"}
        See `SpecHiNetConfig`.
    dropout : float
        Of the network.
    amplitude : {"absolute", "relative"}
        Whether the network sees the amplitude of a segment; see `SpecHiNetConfig`. Small batches of recordings that
        differ in amplitude train far better with ``"relative"``, since batch normalisation hides the difference.
    decoder : {"signal", "gains"}
        What the decoder puts out; see `SpecHiNetConfig`. ``"gains"`` rebuilds better, and learns faster.
    mask : MaskConfig | None
        What is hidden from the network. None: as in the paper.
    spectral_weight : float
        Weight of the loss's spectral term.
    max_channels : int | None
        Train on so many channels of a segment, drawn anew for every batch (channelwise layout). None: all.
    augment : bool
        Vary the segments from pass to pass, which keeps experts from learning a small corpus by heart; see
        `CorpusBatches`. Validation segments stay as they are.
    validation : float | sequence of str
        Share of the corpus's subjects that is held out (at least one, the same ones for every subset), or their
        names. 0 or an empty sequence: none.
    n_epochs : float | None
        Passes over the training segments, in place of ``max_steps``. None: the paper's 50 where `training` names no
        ``max_steps``.
    training : TrainingConfig | mapping | None
        How to train; a mapping of some of the fields leaves the others at the paper's values.
    housekeeping : Housekeeping | None
        How often to save and to log, and where to run.
    resume : bool
        Go on with the run in `out` where it stands; begin it where there is none.

    Returns
    -------
    expert : PretrainedExpert

    Raises
    ------
    ValueError
        If the settings do not fit the corpus, or differ from those of the run that is to be resumed (each is named).
    FileExistsError
        If there is a run in `out` and it is not to be resumed.

    References
    ----------
    Darankoum et al., "SpecMoE: Spectral Mixture-of-Experts Foundation Model for Cross-Species EEG Decoding",
    arXiv:2603.16739.
    """
    housekeeping, out = housekeeping or Housekeeping(), Path(out).expanduser()
    accelerator = make_accelerator(housekeeping.device)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
    mask = mask or MaskConfig()
    _check_corpus(corpus, layout, max_channels)
    _check_scope(corpus, mask, max_channels)
    with accelerator.main_process_first():  # which writes the partition down, the others read it
        segments = choose_segments(corpus, subset, partition_by, validation)
    config = _training_config(training, n_epochs, len(segments.training))
    network = _untrained(config.seed, layout, dropout=dropout, amplitude=amplitude, decoder=decoder)
    mask = GaussianStftMask(**asdict(mask))
    objective = ReconstructionObjective(network, mask=mask, spectral_weight=spectral_weight)
    settings = {
        "version": RUN_VERSION,
        "model": asdict(network.config),
        "mask": asdict(mask.config),
        "spectral_weight": spectral_weight,
        "max_channels": max_channels,
        "augment": augment,
        "training": asdict(config),
        "data": _data_settings(corpus, subset, partition_by, segments),
        "n_processes": accelerator.num_processes,
    }
    with accelerator.main_process_first():
        settings = _open_run(out, settings, resume=resume, write=accelerator.is_main_process)
    batches, held_out = _batches(corpus, segments, config, accelerator, max_channels=max_channels, augment=augment)
    outcome = train(
        objective,
        batches,
        out,
        config,
        accelerator=accelerator,
        validation=held_out,
        housekeeping=housekeeping,
        resume=resume,
    )
    path = out / _EXPERT if outcome.finished else None
    if path is not None and accelerator.is_main_process:
        save_expert(objective.network, path, training=_summary(settings, outcome))
    accelerator.wait_for_everyone()
    return PretrainedExpert(path, outcome, settings)


def choose_segments(
    corpus: Corpus, subset: str | tuple[int, int] | None, partition_by: str, validation: float | Sequence[str]
) -> Segments:
    """Split a corpus into segments to train on, those of one subset, and segments of held-out subjects.

    Held out is a whole subject in every subset, so that no expert trains on what another is validated with.

    Parameters
    ----------
    corpus, subset, partition_by, validation
        See `pretrain`.

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


def _check_corpus(corpus: Corpus, layout: str, max_channels: int | None) -> None:
    """Raise unless a SpecHi-Net can train on a corpus."""
    if corpus.sfreq != SFREQ:
        raise ValueError(
            f"The corpus has {corpus.sfreq:g} Hz, but SpecMoE's networks work at {SFREQ:g} Hz; build it with "
            f"sfreq={SFREQ:g}."
        )
    sizes = {min(len(montage), max_channels or len(montage)) for montage in corpus.montages}
    if layout == "published" and sizes != {19}:
        raise ValueError(
            "layout='published' trains on segments of 19 channels, the corpus has montages of "
            f"{', '.join(map(str, sorted(sizes)))}; use layout='channelwise'."
        )


def _check_scope(corpus: Corpus, mask: MaskConfig, max_channels: int | None) -> None:
    """Raise where a local mask would be one for all channels of every segment."""
    most = max(min(len(montage), max_channels or len(montage)) for montage in corpus.montages)
    if mask.scope == "local" and most > 1 and mask.group_size >= most:
        raise ValueError(
            f"scope='local' with group_size={mask.group_size} gives segments of {most} channels one mask for all, as "
            "'shared' does; take a smaller group_size (--mask-group-size), or more channels (--max-channels)."
        )


def _training_config(
    training: TrainingConfig | Mapping | None, n_epochs: float | None, n_segments: int
) -> TrainingConfig:
    """The config, with the number of steps worked out where it is given as passes over the data."""
    if isinstance(training, TrainingConfig):
        if n_epochs is not None:
            raise ValueError("Give n_epochs or a TrainingConfig, which has max_steps, not both.")
        return training
    fields = dict(training or {})
    if fields.get("max_steps") is None:
        n_epochs = 50 if n_epochs is None else n_epochs
        check_number("n_epochs", n_epochs, minimum=0, strict=True)
        draft = TrainingConfig(**{**fields, "max_steps": 1})
        per_step = draft.batch_size * draft.accumulation
        fields["max_steps"] = max(1, round(n_epochs * n_segments / per_step))
    elif n_epochs is not None:
        raise ValueError("Give n_epochs or max_steps, not both.")
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
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return settings


def _differences(before: object, now: object, name: str = "") -> list[str]:
    """What differs between two settings, each as one phrase."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*before, *now}):
            found += _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        return found
    return [] if before == now else [f"{name} was {before!r}, now {now!r}"]


def _untrained(seed: int, layout: str, **options: object) -> SpecHiNet:
    """An untrained expert; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpecHiNet(layout, **options)


def _batches(
    corpus: Corpus, segments: Segments, config: TrainingConfig, accelerator: object, **options: object
) -> tuple[CorpusBatches, CorpusBatches | None]:
    """This process's batches for training and, if subjects are held out, for validation."""
    place = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    training = CorpusBatches(
        corpus,
        segments.training,
        batch_size=config.batch_size,
        seed=config.seed,
        **options,
        **place,
    )
    if not len(segments.validation):
        return training, None
    validation = CorpusBatches(
        corpus,
        segments.validation,
        batch_size=config.batch_size,
        seed=_VALIDATION_SEED,
        shuffle=False,
        **place,
    )
    return training, validation


def _summary(settings: dict, outcome: Outcome) -> dict[str, object]:
    """What the header of the weights says of the run; nothing that differs between two equal runs."""
    losses = {name: float(f"{value:.6g}") for name, value in outcome.terms.items()}
    return {**settings, "steps": outcome.step, "n_skipped_steps": outcome.n_skipped, "losses": losses}
