"""Pretraining of BrainRVQ: a tokenizer that rebuilds EEG, then a network that predicts its codes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mne_specmoe._files import file_digest
from mne_specmoe._validation import check_number, check_option
from mne_specmoe.checkpoint import is_ours, read_header, weights_path
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.loaders.brainrvq import load_tokenizer
from mne_specmoe.models.brainrvq.channels import ALIASES, channel_rows
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH, PatchMask, PatchMaskConfig
from mne_specmoe.models.brainrvq.network import MAX_PATCHES
from mne_specmoe.models.brainrvq.objective import CodePredictionObjective, TokenizerObjective
from mne_specmoe.models.brainrvq.prediction import BrainRVQ, BrainRVQConfig
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, BrainRVQTokenizerConfig
from mne_specmoe.pretraining.runs import PretrainedNetwork, Recipe, carry_out, check_rate, plan_run, untrained
from mne_specmoe.training import Housekeeping, TrainingConfig

TOKENIZER_WEIGHTS, WEIGHTS = "tokenizer.safetensors", "brainrvq.safetensors"
"""Files in the folders of finished runs."""

_COMMON = {"final_lr": 1e-5, "max_grad_norm": None, "accumulation": 1}
TOKENIZER_RECIPE = Recipe(
    n_epochs=20,
    defaults={**_COMMON, "lr": 5e-5, "weight_decay": 1e-4, "batch_size": 128},
    warmup=0.25,
    lr_batch=128,
)
RECIPE = Recipe(n_epochs=20, defaults={**_COMMON, "lr": 5e-4, "weight_decay": 0.05, "batch_size": 64}, warmup=0.25)
"""The published ones (arXiv:2602.16951)."""


def pretrain_tokenizer(
    corpus: Corpus | str | os.PathLike,
    out: str | os.PathLike,
    *,
    network: BrainRVQTokenizerConfig | Mapping | None = None,
    aliases: str = "10-20",
    max_channels: int | None = None,
    max_share: float | None = None,
    subset: str | tuple[int, int] | None = None,
    partition_by: str = "index",
    validation: float | Sequence[str] = 0.05,
    n_epochs: float | None = None,
    training: TrainingConfig | Mapping | None = None,
    housekeeping: Housekeeping | None = None,
    resume: bool = False,
) -> PretrainedNetwork:
    """Pretrain BrainRVQ's tokenizer: a few codes per second and channel from which EEG can be rebuilt.

    Parameters
    ----------
    corpus : Corpus | path-like
        As `mne_specmoe.build_corpus` makes it, of segments of 1 to 30 s.
    out : path-like
        Folder of the run: settings, log, checkpoints and, at the end, ``tokenizer.safetensors``.
    network : BrainRVQTokenizerConfig | mapping | None
        The architecture; a mapping of some of the fields leaves the others at their defaults.
    aliases : {"10-20", "none"}
        Whether T3 and T7 (T4 and T8, T5 and P7, T6 and P8) are one channel, see
        `mne_specmoe.models.brainrvq.channels.channel_rows`.
    max_channels : int | None
        Train on so many channels of a segment, drawn anew for every batch. None: all.
    max_share : float | None
        Largest share of a pass that one montage may have, see `mne_specmoe.pretrain`.
    subset : str | (int, int) | None
        The part of the corpus to train on, see `mne_specmoe.pretrain`.
    partition_by : str
        How such parts are made, see `mne_specmoe.pretrain`.
    validation : float | sequence of str
        Share of the subjects to hold out, or their names.
    n_epochs : float | None
        Passes over the training segments, in place of ``max_steps``. None: the published 20 where `training` names no
        ``max_steps``.
    training : TrainingConfig | mapping | None
        How to train; a mapping of some of the fields leaves the others at the published values: AdamW with a learning
        rate of 5e-5 for 128 segments per step and proportional to their number, a warm-up over a quarter of the steps,
        1e-5 at the end, a weight decay of 1e-4, batches of 128, no clipping of gradients.
    housekeeping : Housekeeping | None
        How often to save, to look and to tell, and where to run.
    resume : bool
        Go on with the run in `out` where it stands.

    Returns
    -------
    tokenizer : PretrainedNetwork

    Raises
    ------
    ValueError
        If the settings do not fit the corpus, a channel has no row in the table of positions, or the settings differ
        from those of the run that is to be resumed (each is named).
    FileExistsError
        If there is a run in `out` and it is not to be resumed.

    References
    ----------
    Cui et al., "BrainRVQ: A High-Fidelity EEG Foundation Model via Dual-Domain Residual Quantization and Hierarchical
    Autoregression", arXiv:2602.16951.
    """
    housekeeping = housekeeping or Housekeeping()
    config = _config(BrainRVQTokenizerConfig, network)
    plan = plan_run(
        corpus,
        lambda corpus: _check_corpus(corpus, aliases, max_channels),
        TOKENIZER_RECIPE,
        subset=subset,
        partition_by=partition_by,
        validation=validation,
        n_epochs=n_epochs,
        training=training,
        housekeeping=housekeeping,
    )
    tokenizer = untrained(lambda: BrainRVQTokenizer(**asdict(config)), plan.config.seed)
    return carry_out(
        plan,
        TokenizerObjective(tokenizer, aliases=aliases),
        Path(out).expanduser() / TOKENIZER_WEIGHTS,
        {
            "architecture": "brainrvq-tokenizer",
            "model": asdict(config),
            "aliases": aliases,
        },
        housekeeping=housekeeping,
        resume=resume,
        max_channels=max_channels,
        max_share=max_share,
    )


def pretrain_brainrvq(
    corpus: Corpus | str | os.PathLike,
    out: str | os.PathLike,
    tokenizer: str | os.PathLike,
    *,
    network: BrainRVQConfig | Mapping | None = None,
    mask: PatchMaskConfig | None = None,
    aliases: str = "10-20",
    max_channels: int | None = None,
    max_share: float | None = None,
    subset: str | tuple[int, int] | None = None,
    partition_by: str = "index",
    validation: float | Sequence[str] = 0.05,
    n_epochs: float | None = None,
    training: TrainingConfig | Mapping | None = None,
    housekeeping: Housekeeping | None = None,
    resume: bool = False,
) -> PretrainedNetwork:
    """Pretrain BrainRVQ's encoder: predict the codes of hidden seconds from the seconds that are shown.

    Parameters
    ----------
    corpus : Corpus | path-like
        As `mne_specmoe.build_corpus` makes it, of segments of 1 to 30 s.
    out : path-like
        Folder of the run: settings, log, checkpoints and, at the end, ``brainrvq.safetensors``.
    tokenizer : path-like
        Weights of the tokenizer whose codes are predicted, as `pretrain_tokenizer` makes them.
    network : BrainRVQConfig | mapping | None
        The architecture; a mapping of some of the fields leaves the others at their defaults, which for ``n_levels``
        and ``n_codes`` are those of the tokenizer.
    mask : PatchMaskConfig | None
        What is hidden from the network. None: half of the patches, the more important ones more and more often.
    aliases : {"10-20", "none"}
        See `pretrain_tokenizer`; as the tokenizer was trained.
    max_channels : int | None
        Train on so many channels of a segment, drawn anew for every batch. None: all.
    max_share : float | None
        Largest share of a pass that one montage may have, see `mne_specmoe.pretrain`.
    subset : str | (int, int) | None
        The part of the corpus to train on, see `mne_specmoe.pretrain`.
    partition_by : str
        How such parts are made, see `mne_specmoe.pretrain`.
    validation : float | sequence of str
        Share of the subjects to hold out, or their names.
    n_epochs : float | None
        Passes over the training segments, in place of ``max_steps``. None: the published 20 where `training` names no
        ``max_steps``.
    training : TrainingConfig | mapping | None
        How to train; a mapping of some of the fields leaves the others at the published values: AdamW with a learning
        rate of 5e-4, a warm-up over a quarter of the steps, 1e-5 at the end, a weight decay of 0.05, batches of 64, no
        clipping of gradients.
    housekeeping : Housekeeping | None
        How often to save, to look and to tell, and where to run.
    resume : bool
        Go on with the run in `out` where it stands.

    Returns
    -------
    network : PretrainedNetwork

    Raises
    ------
    ValueError
        As by `pretrain_tokenizer`, and if network and tokenizer do not fit each other.
    CheckpointError
        If `tokenizer` is no file with a tokenizer.
    FileExistsError
        If there is a run in `out` and it is not to be resumed.

    References
    ----------
    See `pretrain_tokenizer`.
    """
    housekeeping, mask = housekeeping or Housekeeping(), mask or PatchMaskConfig()
    coder = load_tokenizer(tokenizer)
    sizes = {"n_levels": coder.config.n_levels, "n_codes": coder.config.n_codes}
    config = _config(BrainRVQConfig, network, **sizes)
    _check_names_of(tokenizer, aliases)
    plan = plan_run(
        corpus,
        lambda corpus: _check_corpus(corpus, aliases, max_channels),
        RECIPE,
        subset=subset,
        partition_by=partition_by,
        validation=validation,
        n_epochs=n_epochs,
        training=training,
        housekeeping=housekeeping,
    )
    brainrvq = untrained(lambda: BrainRVQ(**asdict(config)), plan.config.seed)
    return carry_out(
        plan,
        CodePredictionObjective(brainrvq, coder, mask=PatchMask(mask), aliases=aliases),
        Path(out).expanduser() / WEIGHTS,
        {
            "architecture": "brainrvq",
            "model": asdict(config),
            "mask": asdict(mask),
            "aliases": aliases,
            "tokenizer": {"sha256": file_digest(weights_path(tokenizer))},
        },
        housekeeping=housekeeping,
        resume=resume,
        max_channels=max_channels,
        max_share=max_share,
    )


def _config(kind: type, given: object | Mapping | None, **defaults: object) -> object:
    """A config, from one or from some of its fields."""
    return given if isinstance(given, kind) else kind(**{**defaults, **(given or {})})


def _check_names_of(tokenizer: str | os.PathLike, aliases: str) -> None:
    """Raise if a tokenizer was trained with other names for channels."""
    trained_with = read_header(tokenizer).training.get("aliases") if is_ours(tokenizer) else None
    if trained_with not in (None, aliases):
        raise ValueError(
            f"The tokenizer {tokenizer} was trained with aliases={trained_with!r}, so aliases={aliases!r} would give "
            "it rows that were not; take the same for both."
        )


def _check_corpus(corpus: Corpus, aliases: str, max_channels: int | None) -> None:
    """Raise unless BrainRVQ can train on a corpus."""
    check_option("aliases", aliases, ALIASES)
    if max_channels is not None:
        check_number("max_channels", max_channels, minimum=1, integer=True)
    check_rate(corpus, "BrainRVQ")
    if not PATCH_LENGTH <= corpus.n_times <= MAX_PATCHES * PATCH_LENGTH:
        raise ValueError(
            f"The corpus has segments of {corpus.n_times / corpus.sfreq:g} s, but BrainRVQ takes 1 to {MAX_PATCHES} s; "
            "build it with another segment_seconds (--segment-seconds)."
        )
    channel_rows(sorted({name for montage in corpus.montages for name in montage}), aliases=aliases)
