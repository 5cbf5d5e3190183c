"""Places of electrodes: features of them, and means over channels that they weigh."""

import math

import pytest
import torch
from lively_experts import eeg, places

from mne_specmoe.models.specmoe.places import PlaceEncoding, SpatialMixtures


@pytest.fixture
def encoding() -> PlaceEncoding:
    torch.manual_seed(0)
    return PlaceEncoding(8)


@torch.no_grad()
def test_features_are_linear_in_coordinates_and_in_waves_of_4_lengths(encoding):
    where = places(5)
    expected = []
    for place in where / 0.1:
        raw = place.tolist()
        angles = [coordinate * math.pi / 2 * 2**octave for coordinate in raw for octave in range(4)]
        expected.append(raw + [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    torch.testing.assert_close(encoding(where), encoding.linear(torch.tensor(expected)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_unknown_places_share_one_learnt_vector_and_gradients_stay_finite(encoding, missing):
    where = places(4)
    where[1], where[3, 2] = missing, missing
    features = encoding(where)
    assert torch.equal(features[1], encoding.unknown)
    assert torch.equal(features[3], encoding.unknown)
    features.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in encoding.parameters())


@torch.no_grad()
def test_neighbours_are_more_alike_than_opposite_places(encoding):
    here, near, far = encoding(torch.tensor([[0.0, 0.0, 0.09], [0.0, 0.02, 0.088], [0.0, 0.0, -0.09]]))
    assert (here - near).norm() < 0.7 * (here - far).norm()


@torch.no_grad()
def test_waves_are_not_part_of_the_state_but_follow_the_type(encoding):
    assert "waves" not in encoding.state_dict()
    assert encoding.double()(places(2)).dtype == torch.float64


@torch.no_grad()
def test_mixtures_agree_with_a_plain_loop():
    torch.manual_seed(0)
    mixtures, x, where = SpatialMixtures(2, dim=4), eeg(2, 5, 30), places(5)
    features = mixtures.places(where)
    query = mixtures.query(features)
    result = mixtures(x, where)
    assert result.shape == (2, 5, 3, 30)
    assert torch.equal(result[:, :, 0], x)
    for k in range(2):
        part = slice(4 * k, 4 * k + 4)
        for channel in range(5):
            scores = torch.stack([query[channel, part] @ features[other, part] for other in range(5)]) / 2
            weights = scores.exp() / scores.exp().sum()
            expected = sum(weight * x[:, other] for other, weight in enumerate(weights))
            torch.testing.assert_close(result[:, channel, 1 + k], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_places_mixtures_are_the_mean_over_channels():
    torch.manual_seed(0)
    x = eeg(2, 5, 30)
    result = SpatialMixtures(2)(x, torch.full((5, 3), torch.nan))
    for k in (1, 2):
        torch.testing.assert_close(result[:, :, k], x.mean(1, keepdim=True).expand_as(x))
