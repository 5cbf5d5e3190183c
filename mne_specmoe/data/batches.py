"""Batches of a corpus: which segments, in which order, on which process."""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from mne_specmoe._validation import check_number
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.models.interface import Batch
from mne_specmoe.signal.canonical import segment_positions

_VARIATION, _PAIRS = 1, 2  # streams of random numbers of a batch, beside that of its channels
_UV_PER_UNIT = 100.0  # one network unit
_ROUNDING = 1e-9  # three times a third is all


class CorpusBatches(Dataset):
    """The batches of all passes over some segments of a corpus, numbered through.

    Batch i is a function of i and the arguments alone, so that training goes on after an interruption by counting on.
    Every pass (epoch) shuffles anew and uses each segment once, or fewer where `max_share` says so. All segments of a
    batch have one montage; the last batch of a montage may be smaller.

    Parameters
    ----------
    corpus : Corpus
        Where the segments are.
    segments : sequence of int
        Numbers of the segments to use.
    batch_size : int
        Segments per batch, on all processes together.
    seed : int
        Of the order, and of the segments' own seeds.
    rank, world_size : int
        This process, and how many there are. Each takes its share of every batch.
    max_channels : int | None
        Of montages with more channels, each batch holds so many, drawn anew. None: all.
    max_share : float | None
        Largest share of a pass that one montage may have, such as 0.4. Of montages with more, every pass draws so many
        segments anew; those of small montages are all used. None: no limit. A limit of s needs 1/s montages at least.
    augment : bool
        Vary what a small corpus offers: half of the segments, drawn anew in every pass, are turned upside down, half
        run backwards, and every other batch (at random) holds differences of two channels each, drawn anew.
    shuffle : bool
        Without it every pass has the same order and the same seeds, as validation needs.

    Examples
    --------
    >>> batches = CorpusBatches(corpus, range(len(corpus)), batch_size=16)  # doctest: +SKIP
    >>> batch, weight = batches[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        corpus: Corpus,
        segments: Sequence[int],
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_channels: int | None = None,
        max_share: float | None = None,
        augment: bool = False,
        shuffle: bool = True,
    ):
        check_number("batch_size", batch_size, minimum=1, integer=True)
        if max_channels is not None:
            check_number("max_channels", max_channels, minimum=1, integer=True)
        self.corpus, self.batch_size, self.seed = corpus, batch_size, seed
        self.rank, self.world_size, self.shuffle = rank, world_size, shuffle
        self.max_channels, self.augment = max_channels, augment
        segments = np.asarray(segments, dtype=np.int64)
        if not len(segments):
            raise ValueError("No segments to make batches of.")
        montages = corpus.montage_of[segments]
        self._by_montage = [segments[montages == montage] for montage in np.unique(montages)]
        self._quotas = capped_counts([len(each) for each in self._by_montage], max_share)
        self._planned: tuple[int, list[np.ndarray]] | None = None

    @property
    def n_per_epoch(self) -> int:
        """Batches in one pass over the segments."""
        return sum(-(-quota // self.batch_size) for quota in self._quotas)

    @property
    def n_segments(self) -> int:
        """Segments in one pass."""
        return sum(self._quotas)

    def __len__(self) -> int:
        return self.n_per_epoch

    def segments(self, number: int) -> np.ndarray:
        """Which segments batch `number` holds, on all processes together."""
        epoch, place = divmod(number, self.n_per_epoch)
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1][place]

    def __getitem__(self, number: int) -> tuple[Batch, float]:
        """This process's share of batch `number`, and what its mean counts in the mean over all processes."""
        whole = self.segments(number)
        # Fewer segments than processes: some are used twice, so that no process stands idle.
        own = np.resize(whole, max(len(whole), self.world_size))[self.rank :: self.world_size]
        weight = len(own) * self.world_size / max(len(whole), self.world_size)
        batch = self._read(own, number // self.n_per_epoch)
        if self.augment:
            batch = self._varied(batch, number)
        return self._some_channels(batch, number), weight

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """The segments of every batch of one pass."""
        rng = np.random.default_rng([self.seed, epoch if self.shuffle else 0])
        plan = []
        for segments, quota in zip(self._by_montage, self._quotas, strict=True):
            ordered = rng.permutation(segments)[:quota]
            if not self.shuffle:
                ordered.sort()
            plan += np.split(ordered, range(self.batch_size, len(ordered), self.batch_size))
        if self.shuffle:
            rng.shuffle(order := np.arange(len(plan)))
            plan = [plan[place] for place in order]
        return plan

    def _varied(self, batch: Batch, number: int) -> Batch:
        """Batch `number` with other signs, directions of time and, perhaps, derivations."""
        derive = np.random.default_rng([self.seed, number, _VARIATION]).random() < 0.5
        x = torch.where((batch.seeds & 1).bool()[:, None, None], -batch.x, batch.x)
        x = torch.where((batch.seeds & 2).bool()[:, None, None], x.flip(-1), x)
        batch = batch._replace(x=x)
        return self._differences(batch, number) if derive and len(batch.ch_names) > 1 else batch

    def _differences(self, batch: Batch, number: int) -> Batch:
        """Every channel minus another one, between the two electrodes; the same pairs on every process."""
        n_channels = len(batch.ch_names)
        steps = np.random.default_rng([self.seed, number, _PAIRS]).integers(1, n_channels, n_channels)
        other = (np.arange(n_channels) + steps) % n_channels
        return batch._replace(
            x=batch.x - batch.x[:, other],
            ch_names=tuple(f"{batch.ch_names[i]}-{batch.ch_names[j]}" for i, j in enumerate(other)),
            locations=(batch.locations + batch.locations[other]) / 2,
        )

    def _some_channels(self, batch: Batch, number: int) -> Batch:
        """The channels of batch `number`, the same on every process; their order stays."""
        n_channels = len(batch.ch_names)
        if self.max_channels is None or n_channels <= self.max_channels:
            return batch
        rng = np.random.default_rng([self.seed, number, n_channels])
        chosen = np.sort(rng.permutation(n_channels)[: self.max_channels])
        return batch._replace(
            x=batch.x[:, chosen],
            ch_names=tuple(batch.ch_names[place] for place in chosen),
            locations=batch.locations[chosen],
        )

    def _read(self, segments: np.ndarray, epoch: int) -> Batch:
        """Segments of one montage as a network takes them."""
        stored, montage = self.corpus.read(segments), int(self.corpus.montage_of[segments[0]])
        x = torch.from_numpy(np.ascontiguousarray(stored.values)).float()
        x *= torch.from_numpy(stored.scale_uv / np.float32(_UV_PER_UNIT))[..., None]
        slots = torch.from_numpy(np.asarray(self.corpus.slot_of[segments], dtype=np.int64))
        return Batch(
            x=x,
            positions=segment_positions(slots, x.shape[-1]),
            seeds=segment_seeds(self.seed, epoch if self.shuffle else 0, segments),
            ch_names=self.corpus.montages[montage],
            locations=torch.as_tensor(self.corpus.locations(montage), dtype=torch.float32),
        )


def capped_counts(counts: Sequence[int], max_share: float | None) -> list[int]:
    """Lower the largest counts as little as makes none of them more than a share of their sum.

    Parameters
    ----------
    counts : sequence of int
        How many there are of each kind, at least 1.
    max_share : float | None
        The share, in (0, 1]. None: no limit.

    Returns
    -------
    counts : list of int
        The same limit for all that are lowered; at least 1, and rounded down.

    Raises
    ------
    ValueError
        If there are too few kinds for such a share.

    Examples
    --------
    >>> capped_counts([700, 150, 150], 0.4)
    [200, 150, 150]
    """
    if max_share is None:
        return list(counts)
    check_number("max_share", max_share, minimum=0, maximum=1, strict=True)
    if max_share * len(counts) < 1 - _ROUNDING:
        raise ValueError(
            f"max_share={max_share:g} needs segments of {math.ceil(1 / max_share)} montages at least, got "
            f"{len(counts)}; take {math.ceil(1000 / len(counts)) / 1000:g} or more, or None for no limit."
        )

    def is_too_many(limit: int) -> bool:
        return limit > max_share * sum(min(count, limit) for count in counts) + _ROUNDING

    limit = bisect_right(range(1, max(counts) + 1), False, key=is_too_many)
    return [min(count, limit) for count in counts]


def segment_seeds(seed: int, epoch: int, segments: np.ndarray) -> torch.Tensor:
    """One number in [0, 2**63) per segment, pass and seed: int64, shape (n_segments,)."""
    states = [np.random.SeedSequence([seed, epoch, int(s)]).generate_state(1, np.uint64)[0] for s in segments]
    return torch.from_numpy((np.asarray(states, dtype=np.uint64) >> np.uint64(1)).astype(np.int64))
