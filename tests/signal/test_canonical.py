import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mne_specmoe.signal.canonical import MULTIPLE, pad, resample, segment_positions, to_network

RATES = [100, 125, 128, 128.2051, 160, 199.9, 249.99, 250, 256, 500, 512, 1000, 2048, 5000]


def sines(times: np.ndarray) -> np.ndarray:
    """Three tones inside the band, in volts, on an offset a hundred times as large."""
    tones = [1e-5 * np.sin(2 * np.pi * f * times + f) for f in (1.7, 11.3, 41.0)]
    return np.array(tones) + 1e-3


@pytest.mark.parametrize("sfreq", RATES)
def test_resampled_sines_are_the_sines_sampled_at_200_hz(sfreq):
    n_times = round(6 * sfreq)
    resampled = resample(sines(np.arange(n_times) / sfreq), sfreq)
    expected = sines(np.arange(round(n_times * 200 / sfreq)) / 200)
    assert resampled.shape == expected.shape
    error = np.abs(resampled - expected) / 1e-5
    assert error[:, 100:-100].max() < 1e-3
    assert error[:, 5:-5].max() < 0.2  # an offset that rings would make it 10


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_stays_exactly_constant(sfreq, dtype):
    value = dtype(-0.0123)
    resampled = resample(np.full((2, 3, round(2 * sfreq)), value), sfreq)
    assert resampled.dtype == dtype
    assert (resampled == value).all()


def test_a_drift_stays_straight_up_to_the_edges():
    resampled = resample(np.linspace(-1, 1, 500, endpoint=False), 500)
    np.testing.assert_allclose(resampled, np.linspace(-1, 1, 200, endpoint=False), atol=1e-12)


@pytest.mark.parametrize(("frequency", "passes"), [(75, 1.0), (130, 0.0), (199, 0.0), (333, 0.0)])
def test_what_is_above_100_hz_vanishes_and_what_is_below_75_stays(frequency, passes):
    tone = np.sin(2 * np.pi * frequency * np.arange(4000) / 1000 + 0.5)
    middle = resample(tone, 1000)[100:-100]
    assert abs(np.sqrt(2) * middle.std() - passes) < 1e-3
    aliased = tone[::5][100:-100]  # taking every fifth sample keeps it: the test can fail
    assert np.sqrt(2) * aliased.std() > 0.9


def test_the_first_and_last_samples_are_nearly_as_good_as_the_middle():
    rng = np.random.default_rng(0)
    frequency, phase = rng.uniform(0.5, 45, (8, 200, 1)), rng.uniform(0, 2 * np.pi, (8, 200, 1))

    def signals(times):
        return (np.sin(2 * np.pi * frequency * times + phase) / np.sqrt(frequency)).sum(axis=0)

    error = resample(signals(np.arange(4000) / 1000), 1000) - signals(np.arange(800) / 200)
    relative = np.sqrt(np.mean(error**2, axis=0)) / signals(np.arange(800) / 200).std()
    assert relative[[0, 1, -2, -1]].max() < 0.02  # zeros beyond the ends make it 0.06


def test_the_target_rate_itself_returns_the_input():
    x = np.ones((2, 3, 100))
    assert resample(x, 200) is x
    assert resample(x, 128, to=128) is x


@pytest.mark.parametrize("n_times", [1, 2, 3, 7])
def test_a_few_samples_are_resampled_too(n_times):
    assert resample(np.ones((1, 1, n_times)), 100).shape == (1, 1, 2 * n_times)


def test_integers_are_computed_in_float64():
    x = np.arange(0, 500, dtype=np.int16)
    assert resample(x, 250).dtype == np.float64
    np.testing.assert_allclose(resample(x, 250), np.arange(400) * 1.25, atol=1e-9)


def test_half_precision_does_not_stay_half():
    assert resample(np.ones(500, dtype=np.float16), 250).dtype == np.float64


def test_bad_rates_are_refused():
    for wrong in (0, -200.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="sfreq must be"):
            resample(np.ones((1, 1, 100)), wrong)
    with pytest.raises(TypeError, match="sfreq must be a number"):
        resample(np.ones((1, 1, 100)), "200")
    with pytest.raises(ValueError, match="less than one sample"):
        resample(np.ones((1, 1, 2)), 1000)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sfreq=st.sampled_from([100, 128, 160, 250, 256, 500]),
    n_times=st.integers(3, 700),
    a=st.floats(-3, 3),
    b=st.floats(-3, 3),
)
def test_resampling_is_linear(seed, sfreq, n_times, a, b):
    x, y = np.random.default_rng(seed).standard_normal((2, 1, 2, n_times))
    together = resample(a * x + b * y, sfreq)
    apart = a * resample(x, sfreq) + b * resample(y, sfreq)
    np.testing.assert_allclose(together, apart, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(sfreq=st.floats(20, 6000), seconds=st.floats(0.1, 3))
def test_any_rate_gives_the_length_of_the_same_duration_at_200_hz(sfreq, seconds):
    n_times = max(2, round(seconds * sfreq))
    x = np.zeros((1, n_times), dtype=np.float32)
    if round(n_times * 200 / sfreq) > 0:
        assert resample(x, sfreq).shape == (1, round(n_times * 200 / sfreq))


def test_to_network_has_100_microvolt_units_in_float32():
    volts = np.full((2, 3, 400), 250e-6)
    x = to_network(volts, 200)
    assert x.dtype == torch.float32
    assert x.shape == (2, 3, 400)
    assert (x == 2.5).all()


def test_to_network_scales_before_it_loses_precision():
    volts = np.random.default_rng(0).standard_normal((1, 2, 600)) * 2e-5
    assert torch.equal(to_network(volts, 200), torch.from_numpy((volts * 1e4).astype(np.float32)))


def test_to_network_resamples():
    assert to_network(np.zeros((1, 2, 640)), 160).shape == (1, 2, 800)


def test_to_network_neither_changes_nor_shares_the_callers_array():
    volts = np.full((1, 2, 400), 1e-4, dtype=np.float32)
    x = to_network(volts, 200)
    x += 1
    assert (volts == np.float32(1e-4)).all()


def test_pad_reaches_the_next_multiple_of_120_with_zeros():
    x = torch.ones(2, 3, 500)
    padded, positions = pad(x)
    assert padded.shape == (2, 3, 600)
    assert positions.shape == (2, 600)
    assert torch.equal(padded[..., :500], x)
    assert (padded[..., 500:] == 0).all()
    assert (positions[:, 500:] == 0).all()
    assert torch.equal(positions[0, :500], torch.linspace(0.1, 1.1, 500))
    assert torch.equal(positions[0], positions[1])


def test_pad_copies_nothing_when_nothing_is_missing():
    x = torch.ones(2, 3, 480)
    padded, positions = pad(x, min_samples=360)
    assert padded is x
    assert positions.shape == (2, 480)
    assert positions[0, -1] == pytest.approx(1.1)


@pytest.mark.parametrize(("min_samples", "length"), [(0, 120), (120, 120), (121, 240), (360, 360)])
def test_pad_reaches_the_least_length_rounded_up(min_samples, length):
    assert pad(torch.ones(1, 1, 7), min_samples=min_samples)[0].shape[-1] == length


def test_given_positions_are_kept_and_padded_with_zeros():
    positions = torch.arange(1.0, 201.0).repeat(2, 1) + torch.tensor([[0.0], [1000.0]])
    _, padded = pad(torch.ones(2, 1, 200), positions)
    assert torch.equal(padded[:, :200], positions)
    assert (padded[:, 200:] == 0).all()
    assert padded.shape == (2, 240)


def test_positions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"positions must be \(2, 200\)"):
        pad(torch.ones(2, 1, 200), torch.ones(2, 199))
    with pytest.raises(ValueError, match="n_epochs, n_channels, n_times"):
        pad(torch.ones(2, 200))


def test_gradients_flow_through_the_padding():
    x = torch.ones(1, 2, 100, requires_grad=True)
    pad(x)[0].sum().backward()
    assert (x.grad == 1).all()


@settings(max_examples=50, deadline=None)
@given(n_times=st.integers(1, 1000), min_samples=st.integers(0, 1000))
def test_padding_is_the_shortest_allowed_and_is_the_same_done_twice(n_times, min_samples):
    once, positions = pad(torch.ones(1, 1, n_times), min_samples=min_samples)
    length = once.shape[-1]
    assert length % MULTIPLE == 0
    assert length - MULTIPLE < max(n_times, min_samples) <= length
    twice, same = pad(once, positions, min_samples=min_samples)
    assert twice is once
    assert torch.equal(same, positions)


def test_segment_positions_follow_the_segment_number():
    torch.testing.assert_close(segment_positions(0, 6000), torch.linspace(1, 10, 6000))
    torch.testing.assert_close(segment_positions(7, 6000), torch.linspace(71, 80, 6000))
    both = segment_positions(torch.tensor([0, 7]), 6000)
    assert both.shape == (2, 6000)
    assert both.dtype == torch.float32
    assert torch.equal(both[1], segment_positions(7, 6000))
