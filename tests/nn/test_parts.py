"""Parts: what they measure, what becomes of it, and how features are called."""

import numpy as np
import pytest
import torch

from mne_specmoe.nn.parts import (
    SIGNAL_PARTS,
    check_parts,
    obstacle,
    part_features,
    signal_parts,
)
from mne_specmoe.signal.cross_spectrum import inverse_square_root

NAMES = ["C3", "Cz", "C4"]


@pytest.fixture
def x():
    return torch.randn(6, 3, 300, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def parts():
    return signal_parts(SIGNAL_PARTS, n_channels=3, n_times=300)


@pytest.mark.parametrize("name", SIGNAL_PARTS)
def test_features_are_as_many_as_their_names_which_begin_with_the_part(name, parts, x):
    part = parts[name]
    features = part(part.measure(x))
    names = part.feature_names(NAMES)
    assert features.shape == (6, part.n_features)
    assert features.dtype == torch.float32
    assert len(set(names)) == part.n_features
    assert all(each.startswith(f"{name}_") for each in names)


def test_parts_come_in_their_own_order_and_unknown_ones_are_left_to_others():
    assert list(signal_parts(("covariance", "experts", "amplitude"), n_channels=2, n_times=300)) == [
        "amplitude",
        "covariance",
    ]


def test_amplitudes_are_those_of_their_channel(parts, x):
    louder = x.clone()
    louder[:, 1] *= 10
    part = parts["amplitude"]
    difference = part(part.measure(louder)) - part(part.measure(x))
    np.testing.assert_allclose(difference, np.log(10) * np.array([[0, 1, 0]] * 6), atol=1e-4)
    assert part.feature_names(NAMES) == ["amplitude_C3", "amplitude_Cz", "amplitude_C4"]


def test_powers_are_relative_and_of_their_band_and_channel(parts, x):
    part = parts["power"]
    measured = part(part.measure(x))
    np.testing.assert_allclose(part(part.measure(100 * x)), measured, atol=1e-4)
    wave = x.clone()
    wave[:, 1] += 5 * torch.sin(2 * torch.pi * 10.5 * torch.arange(300) / 200)
    difference = part(part.measure(wave)) - measured
    assert part.feature_names(NAMES)[int(difference[0].argmax())] == "power_10-11Hz_Cz"
    others = [i for i, name in enumerate(part.feature_names(NAMES)) if not name.endswith("Cz")]
    assert difference[:, others].abs().max() < 1e-4


def test_the_covariance_of_a_pair_is_that_of_these_channels(parts):
    noise = torch.randn(1, 3, 300, generator=torch.Generator().manual_seed(1))
    joined = noise.clone()
    joined[:, 2] += 2 * joined[:, 0]  # C4 follows C3
    part = parts["covariance"]
    names = part.feature_names(NAMES)
    before, after = (part(part.measure(each))[0] for each in (noise, joined))
    grown = {name.removeprefix("covariance_8-12Hz_") for name, d in zip(names, after - before, strict=True) if d > 0.5}
    assert "C3_C4" in grown
    assert not {"C3_Cz", "Cz_C4", "Cz_Cz"} & grown


def test_references_of_rows_replace_the_parts_own(parts, x):
    part = parts["covariance"]
    measured = part.measure(x)
    own = inverse_square_root(part.covariances(measured))  # each epoch's covariance is its own reference
    assert part(measured, own).abs().max() < 1e-4
    assert part(measured).abs().max() > 0.1


def test_of_many_channels_the_reference_does_not_matter():
    x = torch.randn(2, 8, 400, generator=torch.Generator().manual_seed(2))
    part = signal_parts(("covariance",), n_channels=8, n_times=400)["covariance"]
    other = x - x[:, :1]  # referenced to the first channel
    np.testing.assert_allclose(part(part.measure(other)), part(part.measure(x)), atol=1e-4)


def test_of_few_channels_none_is_lost_to_an_average(parts, x):
    values = torch.linalg.eigvalsh(parts["covariance"].covariances(parts["covariance"].measure(x)))
    assert (values[..., 0] > 0.1 * values[..., -1]).all()


def test_time_courses_are_means_of_40_ms_in_units_of_the_channel():
    x = torch.zeros(1, 1, 160)
    x[..., 80:88] = 5.0
    part = signal_parts(("evoked",), n_channels=1, n_times=160)["evoked"]
    course = part(part.measure(x))[0]
    assert part.feature_names(["Pz"])[int(course.argmax())] == "evoked_Pz_400ms"
    np.testing.assert_allclose(part(part.measure(1e3 * x))[0], course, rtol=1e-5)
    assert torch.isfinite(part(part.measure(0 * x))).all()


def test_the_fine_spectrum_shows_a_line_at_its_frequency():
    t = torch.arange(800) / 200
    x = torch.sin(2 * torch.pi * 17 * t).expand(2, 3, -1) + 0.01 * torch.randn(2, 3, 800)
    part = signal_parts(("spectrum",), n_channels=3, n_times=800)["spectrum"]
    assert part.feature_names(NAMES)[int(part(part.measure(x))[0].argmax())] == "spectrum_17Hz"
    assert part(part.measure(x[:, :1])).shape == (2, 89)  # any channels will do


def test_features_stay_finite_for_silence_and_are_of_one_scale_for_any_amplitude(parts, x):
    for name, part in parts.items():
        assert torch.isfinite(part(part.measure(0 * x))).all(), name
        assert part(part.measure(x)).abs().max() < 50, name
        assert part(part.measure(1e-3 * x)).abs().max() < 50, name


def test_what_came_before_the_parts_is_handed_on(parts, x):
    measured = [part.measure(x) for part in parts.values()]
    first = torch.randn(6, 2, 2)
    kept, features = part_features(parts, [first, *measured])
    assert kept is first
    assert features.shape == (6, sum(part.n_features for part in parts.values()))
    assert part_features({}, [first]) == (first,)


def test_parts_say_for_which_epochs_they_are():
    assert obstacle("covariance", 200) is None
    assert obstacle("experts", 2) is None
    assert "at least 1 s, and these last 0.8 s" in obstacle("covariance", 160)
    assert "at least 1 s" in obstacle("spectrum", 160)
    assert obstacle("evoked", 160) is None
    assert "at least 0.2 s" in obstacle("evoked", 30)
    assert "up to 2 s, and these last 4 s" in obstacle("evoked", 800)


@pytest.mark.parametrize(
    ("parts", "error", "match"),
    [
        ("covariance", TypeError, "list or tuple"),
        (None, TypeError, "list or tuple"),
        ((), ValueError, "empty"),
        (("covariances",), ValueError, "'amplitude', 'power', 'spectrum', 'covariance', 'evoked'"),
        (("power", "power"), ValueError, "twice"),
    ],
)
def test_wrong_parts_are_refused(parts, error, match):
    with pytest.raises(error, match=match):
        check_parts(parts, SIGNAL_PARTS)
