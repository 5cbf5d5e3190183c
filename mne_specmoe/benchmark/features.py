"""What frozen networks say of windows, computed once per recording and remembered."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.entries import Setting
from mne_specmoe.benchmark.gauges import clock
from mne_specmoe.benchmark.task_data import TaskData
from mne_specmoe.checkpoint import family_of, weights_path
from mne_specmoe.data.locations import channel_locations, standard_positions
from mne_specmoe.estimators.specmoe import READOUT
from mne_specmoe.loaders.brainrvq import load_encoder, save_downstream
from mne_specmoe.loaders.specmoe import load_encoders, save_experts
from mne_specmoe.models.brainrvq.channels import channel_rows, unnamed_rows
from mne_specmoe.models.brainrvq.downstream import BrainRVQDownstream, pooled_tokens, random_encoder, with_own_row
from mne_specmoe.models.specmoe.mixture import SpecMoE
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder, settle_normalisation
from mne_specmoe.nn.activations import STATISTICS
from mne_specmoe.nn.heads import POOLINGS
from mne_specmoe.signal.canonical import to_network

KEPT = (*READOUT, "embedding.max")
"""Stages and statistics that are kept of SpecMoE's experts."""

_PASS_SAMPLES = 2**14  # of all channels together, in one pass through a network
_FLAT_RMS = 2e-5  # volts: what flattened windows are scaled to
_FIT_HZ = (1.0, 45.0)  # where the slope of the spectrum is fitted


@dataclass(frozen=True)
class Weights:
    """Pretrained weights, or random ones of the same architecture.

    Attributes
    ----------
    path : str
        The file, or the name of weights that come with the package.
    sha256 : str
        Of the file.
    family : {"specmoe", "brainrvq"}
        What is in it.
    is_random : bool
        Whether networks of this architecture are drawn anew for every seed.
    """

    path: str
    sha256: str
    family: str
    is_random: bool = False

    @classmethod
    def of(cls, path: str | Path) -> "Weights":
        """Look at a file, or at weights that come with the package."""
        return cls(str(path), file_digest(weights_path(path)), family_of(path))

    def file(self, setting: Setting) -> str:
        """The file to load; random weights are written first."""
        if not self.is_random:
            return self.path
        folder = setting.folder or Path(tempfile.gettempdir())
        path = folder / f"{self.family}-{self.sha256[:16]}-random-{setting.seed}.safetensors"
        if not path.exists():
            _RANDOM[self.family](self.path, path, setting.seed)
        return str(path)


def embed(data: TaskData, weights: Weights, setting: Setting) -> dict[str, np.ndarray]:
    """Run frozen networks on windows, each recording by itself.

    Parameters
    ----------
    data : TaskData
        The windows; their labels are not looked at.
    weights : Weights
        The networks.
    setting : Setting
        Its `remember` keeps results, so that other estimators and folds need not compute them again.

    Returns
    -------
    arrays : dict of str to ndarray
        One row per window. SpecMoE: ``"embedding"``, experts × channels × 128, means over time as a gate weighs them;
        ``"psd"``, channels × frequencies; and each of `KEPT`, channel pooling (mean, max) × experts × features of the
        stage. BrainRVQ: ``"tokens"``, 200, means over seconds and channels before the last norm; ``"normed"``, after
        it.
    """
    return by_recording(data, setting, _EMBED[weights.family], weights.file(setting), weights.sha256)


def pick_statistics(
    arrays: Mapping[str, np.ndarray],
    readout: tuple[str, ...] = READOUT,
    channel: int = 0,
    n_experts: int | None = None,
) -> np.ndarray:
    """Statistics of SpecMoE's experts, in the order of its featurizer, under one pooling over channels (mean, max)."""
    found = np.concatenate([arrays[name][:, channel, :n_experts] for name in readout], 2)
    return found.reshape(len(found), -1)


def by_recording(data: TaskData, setting: Setting, function: Callable, *arguments: object) -> dict[str, np.ndarray]:
    """Apply a function to the windows of each recording by itself, unless that was done before.

    Parameters
    ----------
    data : TaskData
        The windows.
    setting : Setting
        Its `remember` keeps results; what they took is added to its `remembered`.
    function : callable
        Of a module; takes windows in volts, names of channels, the sampling rate and `arguments`, and returns arrays
        by name, with one row per window, and the seconds that it took.
    *arguments : object
        On which the result depends.

    Returns
    -------
    arrays : dict of str to ndarray
        In the order of the windows.
    """
    compute, parts, rows = setting.remember(function), [], []
    for recording in dict.fromkeys(data.recordings.tolist()):
        own = np.flatnonzero(data.recordings == recording)
        start = clock()
        X = np.asarray(data.X[own])  # what comes from a memory map would count as something else
        arrays, seconds = compute(X, data.ch_names, data.sfreq, *arguments)
        setting.remembered.append(seconds - (clock() - start))
        parts.append(arrays)
        rows.append(own)
    order = np.argsort(np.concatenate(rows))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def flattened(data: TaskData) -> TaskData:
    """Take the slope of the spectrum and the amplitude out of every window and channel; peaks and phases stay.

    A line is fitted to log power over log frequency from 1 to 45 Hz, and amplitudes are divided by it, below 1 Hz by
    its value there. What is left is scaled to 20 µV.

    Parameters
    ----------
    data : TaskData
        The windows.

    Returns
    -------
    data : TaskData
        The same with other signals.
    """
    X = data.X.astype(float)
    spectrum = np.fft.rfft(X - X.mean(-1, keepdims=True))
    frequencies = np.fft.rfftfreq(X.shape[-1], 1 / data.sfreq)
    inside = (frequencies >= _FIT_HZ[0]) & (frequencies <= _FIT_HZ[1])
    log_f = np.log(frequencies[inside])
    log_power = np.log(np.abs(spectrum[..., inside]) ** 2 + 1e-40)
    centred = log_f - log_f.mean()
    slope = (log_power * centred).sum(-1, keepdims=True) / (centred**2).sum()
    level = log_power.mean(-1, keepdims=True) - slope * log_f.mean()
    line = level + slope * np.log(np.maximum(frequencies, _FIT_HZ[0]))
    flat = np.fft.irfft(spectrum * np.exp(-line / 2), n=X.shape[-1])
    rms = np.sqrt((flat**2).mean(-1, keepdims=True))
    flat = _FLAT_RMS * flat / np.where(rms > 0, rms, 1)
    return data.with_signals(flat.astype(np.float32))


def _embed_specmoe(
    X: np.ndarray, ch_names: tuple[str, ...], sfreq: float, file: str, sha256: str
) -> tuple[dict[str, np.ndarray], float]:
    """See `embed`; with the seconds that it took."""
    network = _specmoe(file, X.shape[-1])
    locations = torch.from_numpy(channel_locations(X, ch_names)).float()

    def run(x: Tensor) -> dict[str, Tensor]:
        activations = [expert.activations(x, locations=locations) for expert in network.experts]
        pairs = zip(network.experts, activations, strict=True)
        embedding = torch.stack([_embedding(expert, each, x) for expert, each in pairs], 1)  # [B, E, C, 128]
        pooled = {name: torch.stack([_pooled(each, name) for each in activations], 2) for name in KEPT}  # [B, 2, E, F]
        return {"embedding": embedding, "psd": network.spectra(x)[0]} | pooled

    return _in_passes(run, X, sfreq)


def _embedding(expert: SpecHiNetEncoder, activations: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Mean over the tokens of each channel, of both branches: [B, C, 128]."""
    if expert.config.layout == "published":  # where gates read the buffer under another shape
        return expert.per_channel(expert(x), x.shape[1]).mean(-1)
    return activations["embedding"].mean(-1).unflatten(-1, (2, -1)).mean(-2)


def _pooled(activations: Mapping[str, Tensor], name: str) -> Tensor:
    """Statistic over time of a stage, under every pooling over channels: [B, 2, F]."""
    stage, _, statistic = name.partition(".")
    values = STATISTICS[statistic](activations[stage])
    return torch.stack([pool(values, 1) for pool in POOLINGS.values()], 1)


def _embed_brainrvq(
    X: np.ndarray, ch_names: tuple[str, ...], sfreq: float, file: str, sha256: str
) -> tuple[dict[str, np.ndarray], float]:
    """See `embed`; with the seconds that it took."""
    encoder = _brainrvq(file)
    rows = _rows(ch_names, encoder)

    def run(x: Tensor) -> dict[str, Tensor]:
        tokens = pooled_tokens(encoder, x, rows, "mean")
        return {"tokens": tokens, "normed": encoder.norm(tokens)}

    return _in_passes(run, X, sfreq)


_EMBED: Mapping[str, Callable] = {"specmoe": _embed_specmoe, "brainrvq": _embed_brainrvq}


def sites(ch_names: tuple[str, ...]) -> list[str] | None:
    """Electrodes that a BrainRVQ takes channels for: of bipolar ones the first; None if one is no site, as in mice."""
    positions = standard_positions()
    names = [name if name.upper() in positions else name.split("-")[0] for name in ch_names]
    return names if all(name.upper() in positions for name in names) else None


def _rows(ch_names: tuple[str, ...], encoder: nn.Module) -> Tensor:
    """Rows of channels in the encoder's table; those that it was not trained on take the nearest one's."""
    names = sites(ch_names)
    if names is None:
        return unnamed_rows(len(ch_names))
    positions, trained = standard_positions(), encoder.trunk.trained_rows
    found = channel_rows(
        names,
        aliases="10-20",
        on_unknown="nearest",
        locations=np.array([positions[name.upper()] for name in names]),
        positions=positions,
        trained=trained if trained.any() else None,
    )
    return found.rows


@torch.inference_mode()
def _in_passes(
    run: Callable[[Tensor], dict[str, Tensor]], X: np.ndarray, sfreq: float
) -> tuple[dict[str, np.ndarray], float]:
    """Apply a function to some windows at a time."""
    start = clock()
    size = max(1, _PASS_SAMPLES // (X.shape[1] * X.shape[2]))
    parts = [run(to_network(X[begin : begin + size], sfreq)) for begin in range(0, len(X), size)]
    arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return arrays, clock() - start


@lru_cache(maxsize=2)
def _specmoe(file: str, n_times: int) -> SpecMoE:
    """Experts, and what computes the gate's spectra."""
    return SpecMoE(2, n_times=n_times, experts=load_encoders(file)).eval()


@lru_cache(maxsize=2)
def _brainrvq(file: str) -> nn.Module:
    return with_own_row(load_encoder(file)).eval()


def _write_random_specmoe(path: str, out: Path, seed: int) -> None:
    """Untrained experts of the same kind and number."""
    with torch.random.fork_rng(devices=[]):
        configs = [encoder.config for encoder in load_encoders(path)]
        torch.manual_seed(seed)
        experts = [SpecHiNet(**asdict(config)) for config in configs]
        for expert in experts:
            settle_normalisation(expert.encoder)
    save_experts(experts, out, training={"note": f"untrained, seed {seed}"})


def _write_random_brainrvq(path: str, out: Path, seed: int) -> None:
    """An untrained encoder of the same kind."""
    with torch.random.fork_rng(devices=[]):
        config = with_own_row(load_encoder(path)).config
        torch.manual_seed(seed)
        network = BrainRVQDownstream(2, 1, encoder=random_encoder(config))
    save_downstream(network, out, training={"note": f"untrained, seed {seed}"})


_RANDOM: Mapping[str, Callable[[str, Path, int], None]] = {
    "specmoe": _write_random_specmoe,
    "brainrvq": _write_random_brainrvq,
}
