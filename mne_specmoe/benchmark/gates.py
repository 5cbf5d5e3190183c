"""What the gate of a classifier should read: the spectrum in decibels, as power, or nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn

from mne_specmoe.benchmark.probe import Windows
from mne_specmoe.estimators._training import Run, Schedule, inner_split, train
from mne_specmoe.models.specmoe.mixture import GATE_SCALES, SpecMoE
from mne_specmoe.models.specmoe.network import SpecHiNetEncoder
from mne_specmoe.signal.canonical import SFREQ, to_network

_N_FOLDS = 4
_N_SEEDS = 3
_PASS = 32  # windows
_SCHEDULE = Schedule(
    max_epochs=100, unfreeze_epoch=None, lr=1e-3, expert_lr=1e-3, weight_decay=0.0, patience=20, batch_size=64
)  # as SpecMoEClassifier's


def gate_scores(
    windows: Windows, experts: Sequence[SpecHiNetEncoder], *, n_seeds: int = _N_SEEDS
) -> dict[str, np.ndarray]:
    """Train gate and head on frozen experts, with each kind of gate, and score subjects that were not trained on.

    The experts run once; training is that of `SpecMoEClassifier`, which stops early on a part of the training
    subjects.

    Parameters
    ----------
    windows : Windows
        Labels 0 and 1, and subjects; those that choose between gates, so none of the held-out ones.
    experts : sequence of SpecHiNetEncoder
        The experts.
    n_seeds : int
        How often training is repeated.

    Returns
    -------
    scores : dict of str to ndarray, shape (n_subjects,)
        Kind of gate → balanced accuracy of each subject, the mean over seeds.
    """
    pooled = _pooled(windows, experts)
    folds = list(StratifiedGroupKFold(_N_FOLDS).split(windows.y, windows.y, windows.groups))
    subjects = np.unique(windows.groups)
    scores = {scale: np.zeros(len(subjects)) for scale in GATE_SCALES}
    for scale, total in scores.items():
        for training, test in folds:
            for seed in range(n_seeds):
                guessed = _fit_predict(windows, experts, pooled, training, test, scale=scale, seed=seed)
                for subject in np.unique(windows.groups[test]):
                    here = windows.groups[test] == subject
                    score = balanced_accuracy_score(windows.y[test][here], guessed[here])
                    total[subjects == subject] += score / n_seeds
    return scores


@torch.no_grad()
def _pooled(windows: Windows, experts: Sequence[SpecHiNetEncoder]) -> tuple[Tensor, Tensor]:
    """Embeddings, pooled over time, and spectra of all windows."""
    model = _model(windows, experts, "log").eval()
    x = to_network(windows.volts, SFREQ)
    parts = [model.pool(part) for part in x.split(_PASS)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _fit_predict(
    windows: Windows,
    experts: Sequence[SpecHiNetEncoder],
    pooled: tuple[Tensor, Tensor],
    training: np.ndarray,
    test: np.ndarray,
    *,
    scale: str,
    seed: int,
) -> np.ndarray:
    """Labels of the test windows."""
    labels, groups = windows.y[training], windows.groups[training]
    part = tuple(x[training] for x in pooled)
    split = inner_split(len(training), fraction=0.2, labels=labels, groups=groups, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(windows, experts, scale).freeze_experts().eval()
        model.standardise(part[-1][split[0]])
        train(
            model,
            _SCHEDULE,
            Run(torch.device("cpu")),
            pooled=part,
            signals=_no_signals,
            target=torch.from_numpy(labels),
            split=split,
            criterion=nn.CrossEntropyLoss,
            rates={},  # experts do not train
        )
    with torch.inference_mode():
        return model.readout(*(x[test] for x in pooled)).argmax(1).numpy()


def _model(windows: Windows, experts: Sequence[SpecHiNetEncoder], scale: str) -> SpecMoE:
    """An untrained gate and head on the experts."""
    return SpecMoE(2, n_times=windows.volts.shape[-1], gate_scale=scale, experts=experts)


def _no_signals() -> Tensor:
    """Frozen experts need none."""
    raise AssertionError("Experts are frozen.")
