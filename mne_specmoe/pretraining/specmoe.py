"""Pretraining of SpecMoE's experts: rebuild masked EEG."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mne_specmoe.data.corpus import Corpus
from mne_specmoe.models.specmoe.masking import GaussianStftMask, MaskConfig
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.objective import ReconstructionObjective
from mne_specmoe.models.specmoe.targets import N_STATISTICS, FeatureLoss
from mne_specmoe.pretraining.runs import (
    PretrainedNetwork,
    Recipe,
    carry_out,
    check_rate,
    first_signals,
    plan_run,
    untrained,
)
from mne_specmoe.training import Housekeeping, TrainingConfig

WEIGHTS = "expert.safetensors"
"""File in the folder of a finished run."""

RECIPE = Recipe(n_epochs=50, defaults={})
"""The paper's."""


def pretrain(
    corpus: Corpus | str | os.PathLike,
    out: str | os.PathLike,
    *,
    subset: str | tuple[int, int] | None = None,
    partition_by: str = "index",
    layout: str = "channelwise",
    dropout: float | None = None,
    amplitude: str | None = None,
    decoder: str | None = None,
    bypass: bool = True,
    told_mask: bool = False,
    n_mixtures: int | None = None,
    mask: MaskConfig | None = None,
    spectral_weight: float = 0.02,
    envelope_weight: float = 1.0,
    masked_weight: float = 0.0,
    spectrum_weight: float | None = None,
    pair_weight: float | None = None,
    clean_share: float = 0.5,
    max_channels: int | None = None,
    max_share: float | None = None,
    augment: bool = False,
    validation: float | Sequence[str] = 0.05,
    n_epochs: float | None = None,
    training: TrainingConfig | Mapping | None = None,
    housekeeping: Housekeeping | None = None,
    resume: bool = False,
) -> PretrainedNetwork:
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
    dropout, amplitude, decoder, bypass, told_mask, n_mixtures
        Of the network, see `SpecHiNetConfig`.
    mask : MaskConfig | None
        What is hidden from the network. None: as in the paper.
    spectral_weight, envelope_weight, masked_weight
        Of the loss, see `ReconstructionObjective`.
    spectrum_weight, pair_weight : float | None
        Of what the embedding of the clean segment has to say, see `FeatureLoss`; both 0: the paper's loss, with
        nothing of the kind. None: 3 and 1 in the channelwise layout, 0 in the published one, which takes no others.
    clean_share : float
        Share of every segment's time that is encoded clean, too, see `ReconstructionObjective`.
    max_channels : int | None
        Train on so many channels of a segment, drawn anew for every batch (channelwise layout). None: all.
    max_share : float | None
        Largest share of a pass over the data that one montage may have: of montages with more, every pass draws fewer
        segments, anew; see `CorpusBatches`. Passes are then shorter, while `n_epochs` counts all segments. None: no
        limit.
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
    expert : PretrainedNetwork

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
    housekeeping, mask = housekeeping or Housekeeping(), mask or MaskConfig()

    def check(corpus: Corpus) -> None:
        _check_corpus(corpus, layout, max_channels)
        _check_scope(corpus, mask, max_channels)

    plan = plan_run(
        corpus,
        check,
        RECIPE,
        subset=subset,
        partition_by=partition_by,
        validation=validation,
        n_epochs=n_epochs,
        training=training,
        housekeeping=housekeeping,
    )
    weights = _feature_weights(layout, spectrum_weight, pair_weight)
    network = {
        "dropout": dropout,
        "amplitude": amplitude,
        "decoder": decoder,
        "bypass": bypass,
        "told_mask": told_mask,
        "n_mixtures": n_mixtures,
        "masked_norms": any(weights.values()),
    }
    loss = {
        "spectral_weight": spectral_weight,
        "envelope_weight": envelope_weight,
        "masked_weight": masked_weight,
        "clean_share": clean_share,
    }

    def build() -> ReconstructionObjective:
        feature_loss = FeatureLoss(**weights) if any(weights.values()) else None
        maps = GaussianStftMask(**asdict(mask))
        return ReconstructionObjective(SpecHiNet(layout, **network), mask=maps, feature_loss=feature_loss, **loss)

    objective = untrained(build, plan.config.seed)
    variation = {"max_channels": max_channels, "max_share": max_share, "augment": augment}
    if layout == "channelwise":
        objective.learn(first_signals(plan, N_STATISTICS, **variation))
    settings = {
        "model": asdict(objective.network.config),
        "mask": asdict(mask),
        **loss,
        **weights,
    }
    return carry_out(
        plan,
        objective,
        Path(out).expanduser() / WEIGHTS,
        settings,
        housekeeping=housekeeping,
        resume=resume,
        **variation,
    )


def _feature_weights(layout: str, spectrum_weight: float | None, pair_weight: float | None) -> dict[str, float]:
    """Weights of the feature loss, the layout's where nothing else is asked for."""
    spectrum, pairs = (0.0, 0.0) if layout == "published" else (3.0, 1.0)
    weights = {
        "spectrum_weight": spectrum if spectrum_weight is None else spectrum_weight,
        "pair_weight": pairs if pair_weight is None else pair_weight,
    }
    if layout == "published" and any(weights.values()):
        raise ValueError(
            f"layout='published' is trained by reconstruction alone, got {weights}; leave these weights at 0, or use "
            "layout='channelwise'."
        )
    return weights


def _check_corpus(corpus: Corpus, layout: str, max_channels: int | None) -> None:
    """Raise unless a SpecHi-Net can train on a corpus."""
    check_rate(corpus, "SpecMoE")
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
