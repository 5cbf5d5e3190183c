"""Batches of a corpus: every segment once per pass, one montage per batch, the same on any number of processes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mne_specmoe.data.batches import CorpusBatches, capped_counts, segment_seeds
from mne_specmoe.data.corpus import StoredSegments
from mne_specmoe.signal.canonical import segment_positions

N_TIMES = 50
MONTAGES = (("A", "B"), ("C",))


def make_corpus(n_first: int = 10, n_second: int = 7) -> SimpleNamespace:
    """Segments whose values tell their number, of two montages."""
    montage_of = np.repeat([0, 1], [n_first, n_second])

    def read(indices):
        shape = len(indices), len(MONTAGES[montage_of[indices[0]]]), N_TIMES
        assert len(set(montage_of[indices])) == 1
        values = np.broadcast_to(np.asarray(indices, np.int16)[:, None, None], shape)
        return StoredSegments(values, np.full(shape[:2], 50.0, np.float32))

    return SimpleNamespace(
        montage_of=montage_of,
        montages=MONTAGES,
        slot_of=np.arange(n_first + n_second) % 5,
        read=read,
        locations=lambda montage: np.full((len(MONTAGES[montage]), 3), np.nan, np.float32),
    )


@pytest.fixture
def corpus() -> SimpleNamespace:
    return make_corpus()


def numbers(batch) -> list[int]:
    """Which segments a batch holds: 50 µV per bit are half a network unit."""
    return (2 * batch.x[:, 0, 0]).int().tolist()


def test_every_segment_comes_once_per_pass_and_montages_are_kept_apart(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=4)
    assert batches.n_per_epoch == 3 + 2
    for epoch in range(2):
        seen = []
        for place in range(5):
            batch, weight = batches[5 * epoch + place]
            assert weight == 1.0
            assert batch.ch_names == MONTAGES[corpus.montage_of[numbers(batch)[0]]]
            seen += numbers(batch)
        assert sorted(seen) == list(range(17))


def test_each_pass_has_an_order_of_its_own(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=4)
    first, second = ([batches.segments(5 * epoch + i).tolist() for i in range(5)] for epoch in range(2))
    assert first != second


def test_a_batch_depends_on_its_number_alone(corpus):
    there, back = (CorpusBatches(corpus, range(17), batch_size=4) for _ in range(2))
    forwards = [there[i][0] for i in range(10)]
    backwards = [back[i][0] for i in reversed(range(10))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.seeds, other.seeds)


def test_processes_share_every_batch_between_them(corpus):
    whole = CorpusBatches(corpus, range(17), batch_size=4)
    shares = [CorpusBatches(corpus, range(17), batch_size=4, rank=rank, world_size=2) for rank in range(2)]
    for i in range(10):
        batch, _ = whole[i]
        parts = [share[i] for share in shares]
        assert sorted(n for part, _ in parts for n in numbers(part)) == sorted(numbers(batch))
        # Means of the parts, so weighted, average to the mean of the whole.
        joint = np.mean([weight * np.mean(numbers(part)) for part, weight in parts])
        assert joint == pytest.approx(np.mean(numbers(batch)))


def test_no_process_is_left_without_a_segment():
    corpus = make_corpus(n_first=1, n_second=1)
    shares = [CorpusBatches(corpus, [0], batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    assert [numbers(share[0][0]) for share in shares] == [[0], [0], [0]]
    assert [share[0][1] for share in shares] == [1.0, 1.0, 1.0]


def test_samples_are_in_network_units_at_the_positions_of_pretraining(corpus):
    batch, _ = CorpusBatches(corpus, range(10, 17), batch_size=7)[0]
    segments = np.array(numbers(batch))
    assert sorted(segments) == list(range(10, 17))
    expected = segment_positions(torch.from_numpy(segments % 5), N_TIMES)
    torch.testing.assert_close(batch.positions, expected)


def test_without_shuffling_all_passes_are_equal(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=4, shuffle=False)
    assert numbers(batches[0][0]) == [0, 1, 2, 3]
    assert torch.equal(batches[0][0].seeds, batches[5][0].seeds)


def test_seeds_differ_between_segments_passes_and_runs():
    seeds = {int(seed) for run in range(3) for epoch in range(3) for seed in segment_seeds(run, epoch, np.arange(50))}
    assert len(seeds) == 3 * 3 * 50
    assert min(seeds) >= 0


def test_a_seed_does_not_depend_on_its_neighbours():
    together = segment_seeds(7, 2, np.array([5, 9, 11]))
    assert int(segment_seeds(7, 2, np.array([9]))[0]) == int(together[1])


def test_large_montages_are_cut_to_channels_that_change_from_batch_to_batch(corpus):
    batches = CorpusBatches(corpus, range(10), batch_size=1, max_channels=1)
    drawn = [batches[i][0] for i in range(20)]
    assert {batch.x.shape[1] for batch in drawn} == {1}
    assert {batch.ch_names for batch in drawn} == {("A",), ("B",)}
    assert {len(batch.locations) for batch in drawn} == {1}


def test_channels_of_a_batch_are_the_same_on_every_process(corpus):
    shares = [
        CorpusBatches(corpus, range(10), batch_size=4, max_channels=1, rank=rank, world_size=2) for rank in range(2)
    ]
    assert all(shares[0][i][0].ch_names == shares[1][i][0].ch_names for i in range(6))


def test_montages_within_the_limit_are_left_whole(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=4, max_channels=2)
    assert {batches[i][0].ch_names for i in range(5)} == set(MONTAGES)


def make_drawn_corpus(n_channels: int = 3) -> SimpleNamespace:
    """Twelve segments of noise, of one montage."""
    corpus, names = make_corpus(12, 0), tuple("ABCDEFGH"[:n_channels])
    values = np.random.default_rng(0).integers(-1000, 1000, (12, n_channels, N_TIMES), dtype=np.int16)
    corpus.montages = (names,)
    corpus.locations = lambda montage: np.arange(3 * n_channels, dtype=np.float32).reshape(n_channels, 3)
    corpus.read = lambda index: StoredSegments(values[index], np.full((len(index), n_channels), 50.0, np.float32))
    return corpus


def variation(x, clean) -> tuple[int, bool]:
    """With which sign, and in which direction of time, a signal is the clean one."""
    (found,) = (
        (sign, backwards)
        for sign in (1, -1)
        for backwards in (False, True)
        if torch.equal(x, sign * (clean.flip(-1) if backwards else clean))
    )
    return found


def test_augmented_segments_differ_in_sign_in_direction_and_in_reference():
    corpus = make_drawn_corpus()
    plain, augmented = (CorpusBatches(corpus, range(12), batch_size=2, augment=each) for each in (False, True))
    found, n_differences = [], 0
    for number in range(60):
        (clean, _), (batch, _) = plain[number], augmented[number]
        assert torch.equal(batch.seeds, clean.seeds)
        assert torch.equal(batch.positions, clean.positions)
        names = batch.ch_names
        if names == clean.ch_names:
            found += [variation(*pair) for pair in zip(batch.x, clean.x, strict=True)]
            assert torch.equal(batch.locations, clean.locations)
            continue
        n_differences += 1
        pairs = [tuple(map("ABC".index, name.split("-"))) for name in names]
        assert all(i != j for i, j in pairs)
        assert [i for i, _ in pairs] == [0, 1, 2]
        for x, before in zip(batch.x, clean.x, strict=True):
            variation(x, torch.stack([before[i] - before[j] for i, j in pairs]))
        expected = torch.stack([(clean.locations[i] + clean.locations[j]) / 2 for i, j in pairs])
        assert torch.equal(batch.locations, expected)
    assert 15 < n_differences < 45
    shares = [found.count(each) / len(found) for each in ((1, False), (1, True), (-1, False), (-1, True))]
    assert min(shares) > 0.1


def test_augmented_batches_are_functions_of_their_number_on_any_number_of_processes():
    corpus = make_drawn_corpus()
    options = {"batch_size": 4, "max_channels": 2, "augment": True}
    whole = CorpusBatches(corpus, range(12), **options)
    shares = [CorpusBatches(corpus, range(12), **options, rank=rank, world_size=2) for rank in range(2)]
    for number in (5, 0, 1, 2, 3, 4):
        batch = whole[number][0]
        for rank in range(2):
            share = shares[rank][number][0]
            assert torch.equal(share.x, batch.x[rank::2])
            assert share.ch_names == batch.ch_names


def test_augmented_segments_differ_from_pass_to_pass():
    batches = CorpusBatches(make_drawn_corpus(1), range(12), batch_size=12, augment=True)
    passes = []
    for number in range(2):
        order, x = np.argsort(batches.segments(number)), batches[number][0].x
        passes.append(x[order])
    assert not torch.equal(*passes)


def test_a_single_channel_has_no_differences():
    batches = CorpusBatches(make_drawn_corpus(1), range(12), batch_size=2, augment=True)
    assert {batches[number][0].ch_names for number in range(20)} == {("A",)}


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([700, 150, 150], None, [700, 150, 150]),
        ([700, 150, 150], 0.4, [200, 150, 150]),
        ([700, 600, 150, 150], 0.3, [225, 225, 150, 150]),
        ([10, 10, 10], 1 / 3, [10, 10, 10]),
        ([900, 30, 20], 1 / 3, [20, 20, 20]),
        ([5, 1, 1], 0.4, [1, 1, 1]),
        ([9], 1.0, [9]),
    ],
)
def test_counts_are_lowered_as_little_as_the_share_asks_for(counts, share, expected):
    found = capped_counts(counts, share)
    assert found == expected
    if share is not None:
        assert max(found) <= share * sum(found) + 1e-9
        larger = [min(count, max(found) + 1) for count in counts]
        assert larger == found or max(larger) > share * sum(larger)


def test_a_large_montage_is_thinned_to_its_share_of_each_pass_and_drawn_anew(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=4, max_share=0.55)  # of 10 and 7: 8 and 7
    passes = []
    for epoch in range(8):
        places = range(batches.n_per_epoch * epoch, batches.n_per_epoch * (epoch + 1))
        passes.append(np.concatenate([batches.segments(place) for place in places]))
        assert len(passes[-1]) == len(set(passes[-1])) == batches.n_segments == 15
        assert set(range(10, 17)) < set(passes[-1])
    assert len({tuple(sorted(each)) for each in passes}) > 1
    assert set(np.concatenate(passes)) == set(range(17))


def test_thinned_batches_are_functions_of_their_number_on_any_number_of_processes(corpus):
    options = {"batch_size": 4, "max_share": 0.55}
    whole = CorpusBatches(corpus, range(17), **options)
    shares = [CorpusBatches(corpus, range(17), **options, rank=rank, world_size=2) for rank in range(2)]
    for number in reversed(range(10)):
        parts = [share[number][0] for share in shares]
        assert sorted(n for part in parts for n in numbers(part)) == sorted(numbers(whole[number][0]))


def test_a_share_that_nothing_exceeds_changes_nothing(corpus):
    plain, capped = (CorpusBatches(corpus, range(17), batch_size=4, max_share=each) for each in (None, 0.6))
    assert all(np.array_equal(plain.segments(number), capped.segments(number)) for number in range(10))


def test_thinned_passes_without_shuffling_are_equal_and_in_order(corpus):
    batches = CorpusBatches(corpus, range(17), batch_size=20, max_share=0.55, shuffle=False)
    first, again = batches.segments(0), batches.segments(batches.n_per_epoch)
    assert np.array_equal(first, again)
    assert np.array_equal(first, np.sort(first))
    assert len(first) == 8


@pytest.mark.parametrize(
    ("share", "message"), [(0.4, r"max_share=0.4 needs .* 3 montages.*got 2; take 0.5"), (0.0, "> 0"), (1.1, "<= 1")]
)
def test_a_share_that_cannot_be_kept_is_an_error(corpus, share, message):
    with pytest.raises(ValueError, match=message):
        CorpusBatches(corpus, range(17), batch_size=4, max_share=share)


def test_no_segments_are_an_error(corpus):
    with pytest.raises(ValueError, match="No segments"):
        CorpusBatches(corpus, [], batch_size=4)
