"""What `mne_specmoe.benchmark.speed` measures of BrainRVQ."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mne_specmoe.benchmark.brainrvq_plain import Network, plain_nearest_codes, plain_network
from mne_specmoe.benchmark.gauges import MIB, Figure, PeakMemory, in_fresh_process, shortest_seconds
from mne_specmoe.benchmark.sizes import Sizes
from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.objective import CodePredictionObjective
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer
from mne_specmoe.models.interface import Batch
from mne_specmoe.nn.quantize import nearest_codes
from mne_specmoe.signal.canonical import segment_positions

# Arithmetic and form; each arithmetic is compared with its own plain form.
VARIANTS = ("corrected", "corrected plain", "published", "published plain")
SEARCHES = {"blocked": nearest_codes, "plain": plain_nearest_codes}
_CHANNELS = "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 Fz Cz Pz".split()
_CODE_WIDTH = 64
_N_AT_ONCE = 4  # epochs per pass of the encoder
# What the published arithmetic asks of each network; the corrected one is their default.
_TOKENIZERS = {"corrected": {}, "published": {"norm_scope": "recording", "residual": "published"}}
_NETWORKS = {"corrected": {}, "published": {"norm_scope": "recording", "cls_row": "first_channel"}}


def _tokenizer(variant: str, sizes: Sizes) -> BrainRVQTokenizer:
    """A random tokenizer."""
    return _built(partial(BrainRVQTokenizer, init="random"), _TOKENIZERS, variant, sizes).eval()


def _network(variant: str, sizes: Sizes) -> BrainRVQ:
    """A random pretraining network."""
    return _built(BrainRVQ, _NETWORKS, variant, sizes)


def _built(build: Callable[..., Network], settings: dict[str, dict], variant: str, sizes: Sizes) -> Network:
    """A random network; both forms of an arithmetic have the same parameters."""
    arithmetic, *form = variant.split()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(depth=sizes.depth, n_codes=sizes.n_codes, **settings[arithmetic])
    return plain_network(network) if form else network


def _segments(n_segments: int, n_channels: int, n_times: int) -> Tensor:
    """EEG-like segments in units of 100 µV, few of them drawn and the rest repeated."""
    drawn = torch.from_numpy(1e4 * make_eeg(min(n_segments, 4), n_channels, n_times, random_state=0)).float()
    return drawn[torch.arange(n_segments) % len(drawn)]


def _encoding(variant: str, sizes: Sizes) -> Callable[[], object]:
    """Find the codes of segments."""
    tokenizer, x = _tokenizer(variant, sizes), _segments(*sizes.brainrvq)
    return lambda: tokenizer.encode(x, _CHANNELS[: x.shape[1]])


def _prediction(variant: str, sizes: Sizes) -> Callable[[], object]:
    """Find the codes of segments, predict them in two passes, loss and gradients."""
    objective = CodePredictionObjective(_network(variant, sizes), _tokenizer(variant, sizes)).train()
    batch = _batch(*sizes.brainrvq)

    def step() -> Tensor:
        objective.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss, _ = objective(batch, progress=0.0)
            loss.backward()
        return loss.detach()

    return step


def _batch(n_segments: int, n_channels: int, n_times: int) -> Batch:
    """Segments as a corpus gives them."""
    return Batch(
        x=_segments(n_segments, n_channels, n_times),
        positions=segment_positions(torch.arange(n_segments), n_times),
        seeds=torch.arange(n_segments),
        ch_names=tuple(_CHANNELS[:n_channels]),
        locations=torch.full((n_channels, 3), torch.nan),
    )


def _features(variant: str, sizes: Sizes) -> Callable[[], object]:
    """Average the tokens of epochs, a few epochs at a time."""
    encoder = _network(variant, sizes).encoder.eval()
    x = _segments(sizes.n_epochs, *sizes.brainrvq[1:])
    rows = channel_rows(_CHANNELS[: x.shape[1]]).rows
    return lambda: torch.cat([encoder(to_patches(part), rows).mean(1) for part in x.split(_N_AT_ONCE)])


def _search(variant: str, sizes: Sizes) -> Callable[[], object]:
    """Find the nearest codes of vectors."""
    generator = torch.Generator().manual_seed(0)
    x, codes = (torch.randn(n, _CODE_WIDTH, generator=generator) for n in (sizes.n_vectors, sizes.n_codes))
    return lambda: SEARCHES[variant](x, codes)


class _Task(NamedTuple):
    """A piece of work, in several forms."""

    build: Callable[[str, Sizes], Callable[[], object]]
    variants: tuple[str, ...]


TASKS = {
    "tokenizer encode": _Task(_encoding, VARIANTS),
    "code prediction step": _Task(_prediction, VARIANTS),
    "brainrvq features": _Task(_features, VARIANTS),
    "nearest codes": _Task(_search, tuple(SEARCHES)),
}


def _growth(name: str, variant: str, sizes: Sizes, n_threads: int) -> int:
    """Peak memory of a task above that of the process that holds networks and input."""
    torch.set_num_threads(n_threads)
    run = TASKS[name].build(variant, sizes)
    peak = PeakMemory()
    with torch.no_grad():
        run()
    return peak.growth()


def _measure(name: str, sizes: Sizes, n_threads: int) -> Iterator[Figure]:
    """Seconds and peak memory of a task in all forms."""
    task = TASKS[name]
    turns = {variant: task.build(variant, sizes) for variant in task.variants}
    with torch.no_grad():
        shortest = shortest_seconds(turns, sizes.n_rounds, n_threads)
    for variant, seconds in shortest.items():
        yield Figure(f"{name}, {variant}", seconds, "s")
    for variant in task.variants:
        growth = in_fresh_process(_growth, name, variant, sizes, n_threads)
        yield Figure(f"{name} memory, {variant}", growth / MIB, "MiB")


PARTS: dict[str, Callable[[Sizes, int], Iterator[Figure]]] = {
    "tokenizer": partial(_measure, "tokenizer encode"),
    "prediction": partial(_measure, "code prediction step"),
    "brainrvq-features": partial(_measure, "brainrvq features"),
    "codes": partial(_measure, "nearest codes"),
}
