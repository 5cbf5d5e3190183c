"""The health check: whether a network's features carry the EEG, or only what the mask took away."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mne_specmoe._validation import check_number, check_seed
from mne_specmoe.data.locations import channel_locations
from mne_specmoe.data.recordings import EpochsReader, check_amplitude, metadata_column, open_epochs
from mne_specmoe.diagnosis.bands import FEWEST_PEOPLE, log_relative_power
from mne_specmoe.diagnosis.examination import FEWEST_EPOCHS, Sample, examine, examine_spectrum, spread
from mne_specmoe.diagnosis.examinee import Examinee
from mne_specmoe.diagnosis.findings import Diagnosis
from mne_specmoe.diagnosis.verdicts import judge
from mne_specmoe.diagnosis.weights import Weights, open_weights
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.signal.canonical import SFREQ, to_network


def diagnose(
    weights: Weights,
    epochs: object,
    groups: Sequence | np.ndarray | str | None = None,
    *,
    sfreq: float | None = None,
    unit: str = "V",
    ch_names: Sequence[str] | None = None,
    mask: GaussianStftMask | None = None,
    tokenizer: str | os.PathLike | BrainRVQTokenizer | None = None,
    max_epochs: int = 240,
    n_random: int = 3,
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
    verbose: int = 0,
) -> Diagnosis:
    """Check the health of pretrained weights: whether features carry the EEG, or only what the mask took away.

    Every number is measured stage by stage, and beside it that of random weights of the same architecture and, where
    there is one, that of the spectrum, on the same epochs. Use people that the weights were not trained on.

    - *Dimensions*: the participation ratio of the features over epochs.
    - *Band powers*: how much of the relative power in delta, theta, alpha and beta a ridge regression reads from the
      features, in people that it was not fitted on.
    - *Mask, amplitude*: shares of a feature's variance that come from the mask, the person, the segment and the gain.
    - *Features of another person*: what is lost if the decoder gets all stages of another person's segment under the
      same mask; for BrainRVQ, if codes of hidden seconds are predicted from another person's.
    - *Clean view*: how far clean signals, as they come in use, lie from masked ones, as in pretraining.

    The definitions stand with the functions of `mne_specmoe.diagnosis.statistics` and `mne_specmoe.diagnosis.bands`,
    limits and reasons in `mne_specmoe.diagnosis.verdicts`.

    Parameters
    ----------
    weights : path-like | network | list of them | None
        As for the estimators: ``"starter"``, ``"brainrvq-starter"``, a file of ours or a published one, or a list of
        files of experts, which are examined together; also `SpecHiNet` and `BrainRVQ` networks. None: random experts.
    epochs : mne.Epochs | list of mne.Epochs | array-like
        Epochs of one length, as for the estimators.
    groups : array-like of shape (n_epochs,) | str | None
        Who was recorded, or the metadata column that says so. None: one person, of whom several questions cannot be
        answered.
    sfreq : float | None
        Sampling rate of arrays in Hz (None: 200). Epochs know theirs.
    unit : {"V", "mV", "uV", "µV"}
        Unit of arrays. Epochs are in volts.
    ch_names : sequence of str | None
        Names of the channels of arrays; for Epochs, the channels to use.
    mask : GaussianStftMask | None
        What SpecMoE's experts are shown; None: the paper's mask.
    tokenizer : path-like | BrainRVQTokenizer | None
        Whose codes a BrainRVQ network predicts; ``"brainrvq-starter"`` brings its own. Without it, the exchange of
        features is left out.
    max_epochs : int
        Epochs used, at most: of all people alike, evenly over their recordings.
    n_random : int
        Seeds of random weights; only the first is shown masked signals.
    random_state : int | RandomState | Generator | None
        Seed of masks, strangers and random weights.
    verbose : int
        1 shows progress bars.

    Returns
    -------
    diagnosis : Diagnosis
        Numbers and verdicts; ``diagnosis.summary`` is the verdict in one line.

    Raises
    ------
    ValueError
        If epochs, groups or other parameters are not as above, or if there are fewer than two epochs.
    TypeError
        If `weights` or `epochs` are of a wrong type.
    CheckpointError
        If a file holds no network that can be examined.

    Warns
    -----
    AmplitudeWarning
        The amplitude is implausible for EEG.

    See Also
    --------
    mne_specmoe.plot_diagnosis : a figure of the result.

    Examples
    --------
    >>> from mne_specmoe import SpecHiNet, diagnose, make_epochs
    >>> epochs, y, groups = make_epochs(n_epochs=8, n_channels=2, duration=2)
    >>> diagnosis = diagnose(SpecHiNet(), epochs, groups, n_random=0)
    >>> diagnosis.healthy
    False
    """
    check_number("max_epochs", max_epochs, minimum=2, integer=True)
    check_number("n_random", n_random, minimum=0, integer=True)
    seed = check_seed(random_state)
    reader = open_epochs(epochs, sfreq=sfreq, unit=unit, ch_names=ch_names)
    check_amplitude(reader)
    people = _people(groups, epochs, reader.n_epochs)
    examinee = open_weights(
        weights,
        ch_names=reader.ch_names,
        n_channels=reader.n_channels,
        locations=None if reader.ch_names is None else channel_locations(epochs, reader.ch_names),
        mask=mask,
        tokenizer=tokenizer,
    )
    sample = _sample(reader, people, max_epochs, seed)
    spectrum, trained = examine_spectrum(sample), examine(examinee, sample, name="weights" if verbose else "")
    random = [
        examine(examinee.untrained(seed + i), sample, clean_only=i > 0, name=f"random {i + 1}" if verbose else "")
        for i in range(n_random)
    ]
    return Diagnosis(
        weights=_name_of(weights),
        family=examinee.family,
        n_epochs=len(sample.x),
        n_people=sample.n_people,
        n_channels=sample.x.shape[1],
        seconds=sample.x.shape[2] / SFREQ,
        spectrum=spectrum,
        trained=trained,
        random=random,
        verdicts=judge(trained, random, spectrum, _reasons(examinee, sample, n_random)),
    )


def _people(groups: object, epochs: object, n_epochs: int) -> np.ndarray:
    """Number of the person of every epoch."""
    if groups is None:
        return np.zeros(n_epochs, dtype=int)
    values = np.asarray(metadata_column(epochs, groups) if isinstance(groups, str) else groups)
    if values.shape != (n_epochs,):
        raise ValueError(
            f"groups must say of each of the {n_epochs} epochs who was recorded, got shape {values.shape}; give one "
            "entry per epoch, or the name of a metadata column."
        )
    missing = np.flatnonzero([value is None or value != value for value in values])
    if len(missing):
        raise ValueError(
            f"groups must say of every epoch who was recorded, but {len(missing)} entries are missing, the first at "
            f"{missing[0]}; fill them in, or leave these epochs out."
        )
    return np.unique(values.astype(str), return_inverse=True)[1]


def _sample(reader: EpochsReader, people: np.ndarray, max_epochs: int, seed: int) -> Sample:
    """The epochs to examine, without those that are flat."""
    if reader.n_epochs < 2:
        raise ValueError(f"The health check compares epochs, so it needs two or more, got {reader.n_epochs}.")
    chosen = spread(people, max_epochs)
    x = to_network(reader.volts(chosen), reader.sfreq or SFREQ)
    targets = log_relative_power(x.numpy())
    flat = ~np.isfinite(targets).all(1)
    if (~flat).sum() < 2:
        raise ValueError(
            f"{flat.sum()} of the {len(flat)} epochs have no power from 1 to 45 Hz in any channel, so there is nothing "
            "to examine; look at how they were read and filtered."
        )
    return Sample(x[torch.from_numpy(~flat)], people[chosen][~flat], targets[~flat], seed)


def _reasons(examinee: Examinee, sample: Sample, n_random: int) -> dict[str, str]:
    """Verdict → why it cannot be reached, if it cannot."""
    few = f"it takes {FEWEST_EPOCHS} epochs, got {len(sample.x)}" if len(sample.x) < FEWEST_EPOCHS else None
    alone = f"it takes {FEWEST_PEOPLE} people, got {sample.n_people}" if sample.n_people < FEWEST_PEOPLE else None
    unmasked = examinee.no_mask or "it takes two epochs of a person"
    one = "it takes two people" if sample.n_people < 2 else "two people or more have no signal there"
    return {
        "dimensions": few or "the features do not vary",
        "band powers": few or alone or "a band's power does not vary",
        "against random": few
        or alone
        or ("there are no random weights" if n_random == 0 else "the features do not vary"),
        "mask": unmasked,
        "amplitude": unmasked,
        "features of another person": examinee.no_exchange or one,
        "clean view": unmasked,
    }


def _name_of(weights: Weights) -> str:
    """What was examined, for a title."""
    if weights is None:
        return "random weights"
    if isinstance(weights, nn.Module):
        return type(weights).__name__
    if isinstance(weights, list | tuple):
        return ", ".join(map(_name_of, weights))
    return os.fspath(weights)
