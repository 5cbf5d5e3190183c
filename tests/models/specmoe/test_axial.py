"""Attention over the times of a channel, then over the channels of a time."""

import pytest
import torch
from lively_experts import distance, eeg, places
from torch import nn

from mne_specmoe.models.specmoe.axial import Attention, AxialBlock, token_seconds

SECONDS = token_seconds(6, 0.3, torch.empty(0))


@pytest.fixture
def block() -> AxialBlock:
    torch.manual_seed(0)
    return AxialBlock(16, 0.0).eval()


@torch.no_grad()
def test_attention_is_torchs_with_places_where_tokens_look_for_each_other():
    torch.manual_seed(0)
    ours, x, where = Attention(16), eeg(3, 5, 16), eeg(5, 16)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.in_proj_weight.copy_(torch.cat([ours.query_key.weight, ours.value.weight]))
    theirs.in_proj_bias.copy_(torch.cat([ours.query_key.bias, ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(x, where), theirs(x + where, x + where, x)[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_only_differences_of_times_matter(block):
    block, x, where = block.double(), eeg(2, 3, 6, 16, dtype=torch.float64), places(3)
    seconds = SECONDS.double()
    shifted, stretched = block(x, seconds + 123.4, where), block(x, 2 * seconds, where)
    assert distance(shifted, block(x, seconds, where)) < 1e-9
    assert distance(stretched, block(x, seconds, where)) > 1e-4


def reached(block: AxialBlock, *, channel: int, time: int) -> torch.Tensor:
    """Which tokens (channels, times) a token changes."""
    x = eeg(1, 3, 6, 16)
    other = x.clone()
    other[0, channel, time] *= -2.0
    return (block(x, SECONDS, places(3)) - block(other, SECONDS, places(3)))[0].abs().amax(-1) > 0


@torch.no_grad()
def test_a_block_joins_all_times_of_a_channel_and_then_all_channels_of_a_time(block):
    assert reached(block, channel=1, time=2).all()
    nn.init.zeros_(block.channels.out.weight)
    assert reached(block, channel=1, time=2).nonzero().T.tolist() == [[1] * 6, list(range(6))]


@torch.no_grad()
def test_without_attention_over_times_a_token_reaches_its_own_time_alone(block):
    nn.init.zeros_(block.time.out.weight)
    assert reached(block, channel=1, time=2).nonzero().T.tolist() == [[0, 1, 2], [2] * 3]


@torch.no_grad()
def test_segments_do_not_see_each_other(block):
    x, where = eeg(3, 2, 6, 16), places(2)
    alone = torch.cat([block(each[None], SECONDS, where) for each in x])
    torch.testing.assert_close(block(x, SECONDS, where), alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_half_precision_comes_out_close(block):
    x, where = eeg(2, 3, 6, 16), places(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = block(x, SECONDS, where)
    assert distance(half.float(), block(x, SECONDS, where)) < 0.05


def test_tokens_are_timed_by_their_middle():
    torch.testing.assert_close(SECONDS, torch.tensor([0.15, 0.45, 0.75, 1.05, 1.35, 1.65]))
    assert token_seconds(2, 0.6, torch.empty(0, dtype=torch.bfloat16)).dtype == torch.float32
    assert token_seconds(2, 0.6, torch.empty(0, dtype=torch.float64)).dtype == torch.float64
