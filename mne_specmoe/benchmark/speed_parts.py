"""What `mne_specmoe.benchmark.speed` measures of SpecMoE's experts, and of the data path."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mne_specmoe.benchmark.flops import count_flops
from mne_specmoe.benchmark.gauges import MIB, Figure, PeakMemory, in_fresh_process, shortest_seconds
from mne_specmoe.benchmark.plain import plain_expert, plain_mask
from mne_specmoe.benchmark.sizes import Sizes
from mne_specmoe.data.batches import CorpusBatches
from mne_specmoe.data.build import build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.sources import ArrayRecording
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.models.interface import Batch
from mne_specmoe.models.specmoe.config import LAYOUTS
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.objective import ReconstructionObjective
from mne_specmoe.models.specmoe.targets import FeatureLoss
from mne_specmoe.signal.canonical import SFREQ, segment_positions

# Layout and form; each is compared with the plain published expert, which is what one would otherwise run.
VARIANTS = ("published", "published plain", "channelwise", "channelwise plain")
PRETRAINING = ("channelwise float32", "channelwise bf16", "published float32", "published bf16")


def _expert(variant: str) -> SpecHiNet:
    """A random expert; every variant of a layout has the same parameters."""
    layout, *form = variant.split()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expert = SpecHiNet(layout)
    return plain_expert(expert) if form else expert


def _segments(n_segments: int, n_channels: int, n_times: int) -> Tensor:
    """EEG-like segments in units of 100 µV."""
    eeg = make_eeg(n_segments, n_channels, n_times, random_state=0)
    return torch.from_numpy(1e4 * eeg).float()


def _forward(expert: SpecHiNet, x: Tensor) -> None:
    """Rebuild one segment."""
    with torch.inference_mode():
        expert.eval()(x[:1])


def _step(expert: SpecHiNet, x: Tensor) -> None:
    """Loss and gradients on two segments."""
    expert.train().zero_grad(set_to_none=True)
    output = expert(x)
    loss = (output.short - x).square().mean() + (output.long - x).square().mean()
    others = (output.aux_up1, output.aux_up2, output.envelope)
    sum((other.square().mean() for other in others if other is not None), loss).backward()


_TASKS: dict[str, Callable[[SpecHiNet, Tensor], None]] = {"forward": _forward, "training step": _step}


def _expert_growth(variant: str, task: str, shape: tuple[int, int], n_threads: int) -> int:
    """Peak memory of one pass of an expert, above that of the idle process that holds expert and input."""
    torch.set_num_threads(n_threads)
    expert, x = _expert(variant), _segments(2, *shape)
    peak = PeakMemory()
    _TASKS[task](expert, x)
    return peak.growth()


def _measure_expert(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds per forward pass and training step of every variant."""
    x = _segments(2, *sizes.expert)
    experts = {variant: _expert(variant) for variant in VARIANTS}
    for task, function in _TASKS.items():
        turns = {v: lambda e=expert, f=function: f(e, x) for v, expert in experts.items()}
        for variant, seconds in shortest_seconds(turns, sizes.n_rounds, n_threads).items():
            yield Figure(f"{task}, {variant}", seconds, "s")


def _measure_memory(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Peak memory of every variant's forward pass and training step."""
    for task in _TASKS:
        for variant in VARIANTS:
            growth = in_fresh_process(_expert_growth, variant, task, sizes.expert, n_threads)
            yield Figure(f"{task} memory, {variant}", growth / MIB, "MiB")


def _measure_mask(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds to draw maps for a batch and to apply them, and to draw them alone."""
    x, seeds, mask = _segments(*sizes.mask), torch.arange(sizes.mask[0]), GaussianStftMask()
    turns = {
        "mask": lambda: mask(x, seeds),
        "mask, plain": lambda: plain_mask(mask, x.numpy(), seeds.numpy()),
        "mask, drawing alone": lambda: mask.draw(x.shape[-1], seeds),
    }
    n_rounds = 4 * sizes.n_rounds  # short ones, which are more easily disturbed
    for name, seconds in shortest_seconds(turns, n_rounds, n_threads).items():
        yield Figure(name, seconds, "s")


def _batch(n_segments: int, n_channels: int, n_times: int) -> Batch:
    """Segments as a corpus gives them."""
    return Batch(
        x=_segments(n_segments, n_channels, n_times),
        positions=segment_positions(torch.arange(n_segments), n_times),
        seeds=torch.arange(n_segments),
        ch_names=_names(n_channels),
        locations=torch.full((n_channels, 3), torch.nan),
    )


def _names(n_channels: int) -> tuple[str, ...]:
    """Names of channels at no known place."""
    return tuple(f"EEG{number}" for number in range(1, n_channels + 1))


class _Pretraining:
    """Optimiser steps as `mne_specmoe.training.train` takes them, on one batch per step."""

    def __init__(self, variant: str):
        layout, self.precision = variant.split()
        feature_loss = FeatureLoss() if layout == "channelwise" else None  # as `pretrain` does
        self.objective = ReconstructionObjective(_expert(layout), feature_loss=feature_loss).train()
        self.optimizer = torch.optim.AdamW(self.objective.parameters(), lr=1e-3, weight_decay=0.05)

    def step(self, batch: Batch) -> None:
        """Mask, loss, gradients, clipping, new weights."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            loss, _ = self.objective(batch, progress=0.0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _pretraining_growth(variant: str, n_segments: int, shape: tuple[int, int], n_threads: int) -> int:
    """Peak memory of two optimiser steps above that of the process that holds expert and batch.

    The second step finds the optimiser's moments in place.
    """
    torch.set_num_threads(n_threads)
    pretraining, batch = _Pretraining(variant), _batch(n_segments, *shape)
    peak = PeakMemory()
    for _ in range(2):
        pretraining.step(batch)
    return peak.growth()


def _measure_pretraining(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """FLOPs of a segment, segments per second through optimiser steps, and their peak memory."""
    few, many = sizes.n_pretraining
    batch = _batch(many, *sizes.expert)
    for layout in LAYOUTS:
        n_flops = count_flops(partial(_Pretraining(f"{layout} float32").step, batch)) / many
        yield Figure(f"pretraining FLOPs, {layout}", n_flops / 1e9, "GFLOP")
    turns = {variant: partial(_Pretraining(variant).step, batch) for variant in PRETRAINING}
    for variant, seconds in shortest_seconds(turns, sizes.n_rounds, n_threads).items():
        yield Figure(f"pretraining, {variant}", many / seconds, "segments/s")
    for variant in PRETRAINING:
        growths = [in_fresh_process(_pretraining_growth, variant, n, sizes.expert, n_threads) for n in (few, many)]
        yield Figure(f"pretraining memory, {variant} ({many})", growths[1] / MIB, "MiB")
        more = (growths[1] - growths[0]) / (many - few)
        yield Figure(f"memory per further segment, {variant}", more / MIB, "MiB")


def _made_corpus(folder: Path, n_recordings: int, n_segments: int, shape: tuple[int, int]) -> Corpus:
    """A corpus of EEG-like recordings of so many segments each."""
    n_channels, n_times = shape
    recordings = []
    for number in range(n_recordings):
        data = make_eeg(1, n_channels, n_segments * n_times, random_state=number)[0]
        recordings.append(ArrayRecording(f"S{number}", data, SFREQ, _names(n_channels)))
    return build_corpus(
        recordings,
        folder,
        segment_seconds=n_times / SFREQ,
        edge_seconds=0.0,
        min_seconds=0.0,
        reject_uv=None,
        channels="all",
        progress=False,
    )


def _measure_loader(sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Segments and stored bytes per second through the data path alone; the system keeps the files in memory."""
    with tempfile.TemporaryDirectory() as name:
        corpus = _made_corpus(Path(name) / "corpus", *sizes.corpus, sizes.expert)
        batches = CorpusBatches(corpus, range(len(corpus)), batch_size=16)
        turns = {"loader": lambda: [batches[number] for number in range(len(batches))]}
        rate = batches.n_segments / shortest_seconds(turns, sizes.n_rounds, n_threads)["loader"]
        stored = corpus.read([0])
    yield Figure("loader", rate, "segments/s")
    yield Figure("loader, from files", rate * (stored.values.nbytes + stored.scale_uv.nbytes) / 1e6, "MB/s")


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure]]] = {
    "expert": _measure_expert,
    "memory": _measure_memory,
    "mask": _measure_mask,
    "pretraining": _measure_pretraining,
    "loader": _measure_loader,
}
