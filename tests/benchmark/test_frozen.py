"""Steps of fine-tuning on some of the channels know which these are."""

from types import SimpleNamespace

import pytest
import torch

from mne_specmoe.benchmark.frozen import DrawChannels
from mne_specmoe.models.specmoe.mixture import SpecMoE

PLACES = tuple((0.01 * i, 0.0, 0.1) for i in range(5))


def step(callback, network, x, training=True):
    """What a step sees of signals and places."""
    net, batch = SimpleNamespace(module_=SimpleNamespace(module=network)), ({"x": x}, None)
    callback.on_batch_begin(net, batch=batch, training=training)
    seen = batch[0]["x"], network.locations
    callback.on_batch_end(net, batch=batch, training=training)
    return seen


@pytest.fixture
def network():
    return SpecMoE(2, 5, 400, n_experts=1, locations=PLACES)


@pytest.fixture
def x():
    """Signals that are the number of their channel."""
    return torch.arange(5.0)[None, :, None].expand(2, -1, 400)


def test_the_drawn_channels_are_where_they_are(network, x):
    callback, drawn = DrawChannels(2, seed=0), set()
    for _ in range(20):
        seen, locations = step(callback, network, x)
        assert seen.shape == (2, 2, 400)
        assert torch.equal(locations, torch.tensor(PLACES)[seen[0, :, 0].long()])
        assert torch.equal(network.locations, torch.tensor(PLACES))
        drawn.add(tuple(seen[0, :, 0].tolist()))
    assert len(drawn) > 5


def test_validation_and_few_channels_are_seen_whole(network, x):
    for n_channels, training in ((2, False), (5, True)):
        seen, locations = step(DrawChannels(n_channels, seed=0), network, x, training)
        assert torch.equal(seen, x)
        assert torch.equal(locations, torch.tensor(PLACES))


def test_channels_of_unknown_places_can_be_drawn(x):
    network = SpecMoE(2, 5, 400, n_experts=1)
    seen, locations = step(DrawChannels(2, seed=0), network, x)
    assert seen.shape == (2, 2, 400)
    assert locations is network.locations is None
