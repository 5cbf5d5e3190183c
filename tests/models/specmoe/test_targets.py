"""Targets of the clean view, against SciPy."""

import numpy as np
import pytest
import scipy.signal
import torch

from mne_specmoe.models.specmoe.targets import (
    PAIR_EDGES,
    SPECTRUM_EDGES,
    FeatureLoss,
    WhitenedTarget,
    cross_spectrum,
    log_bands,
    pair_correlations,
    pair_index,
)


def mixed(n_segments: int, n_channels: int, n_times: int) -> np.ndarray:
    """Noise of which channels share some, float64."""
    rng = np.random.default_rng(n_channels)
    mixing = rng.standard_normal((n_channels, n_channels)) + 2
    return mixing @ rng.standard_normal((n_segments, n_channels, n_times)).cumsum(-1) + 5


def scipys(x: np.ndarray) -> np.ndarray:
    """Cross-spectra [C, C, 90] of one segment [C, T], divided by its root mean square."""
    x = x / np.sqrt((x**2).mean())
    options = {"fs": 200, "nperseg": 400, "noverlap": 200, "detrend": "constant", "return_onesided": False}
    pairs = [[scipy.signal.csd(b, a, **options)[1][:90] for b in x] for a in x]  # E[a b*]
    return np.array(pairs)


def in_bands(values: np.ndarray, edges: tuple) -> list[np.ndarray]:
    """Values of the frequencies of each band, the lower edge included."""
    freqs = np.arange(90) / 2
    return [values[..., (freqs >= low) & (freqs < high)] for low, high in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize("n_times", [400, 1000, 2000])
def test_targets_are_those_of_scipy(n_times):
    x = mixed(2, 4, n_times)
    cross = cross_spectrum(torch.from_numpy(x))
    index = pair_index(torch.from_numpy(x))
    log_power, correlations = log_bands(cross), pair_correlations(cross, index)
    assert cross.shape == (2, 4, 4, 90)
    assert log_power.shape == (2, 4, 21)
    assert correlations.shape == (2, 6, 6)
    for segment in range(2):
        expected = scipys(x[segment])
        np.testing.assert_allclose(cross[segment], expected, rtol=1e-6, atol=1e-9)
        power = np.einsum("iif->if", expected).real
        bands = np.stack([band.mean(-1) for band in in_bands(power, SPECTRUM_EDGES)], -1)
        np.testing.assert_allclose(log_power[segment], np.log10(bands), rtol=1e-6, atol=1e-6)
        for number, (i, j) in enumerate(index.T.tolist()):
            shared, first, second = (
                np.array([band.real.sum() for band in in_bands(expected[pair], PAIR_EDGES)])
                for pair in ((i, j), (i, i), (j, j))
            )
            truth = np.arctanh(np.clip(shared / np.sqrt(first * second), -0.99, 0.99))
            np.testing.assert_allclose(correlations[segment, number], truth, rtol=1e-5, atol=1e-5)


def test_a_tone_has_its_power_in_its_band():
    times = torch.arange(2000) / 200
    x = torch.stack([torch.sin(2 * torch.pi * f * times) for f in (6.5, 10.5)])[None]
    power = log_bands(cross_spectrum(x))[0]
    assert power.argmax(-1).tolist() == [SPECTRUM_EDGES.index(6), SPECTRUM_EDGES.index(10)]


def test_targets_do_not_depend_on_the_gain_of_a_segment():
    x = torch.from_numpy(mixed(2, 3, 1000)).float()
    for loud, soft in zip(targets(100 * x), targets(x), strict=True):
        torch.testing.assert_close(loud, soft, rtol=1e-4, atol=1e-4)


def targets(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cross = cross_spectrum(x)
    return log_bands(cross), pair_correlations(cross, pair_index(x))


@pytest.mark.parametrize("n_times", [1, 2, 100, 399])
def test_short_segments_have_finite_targets(n_times):
    assert all(target.isfinite().all() for target in targets(torch.from_numpy(mixed(2, 3, n_times)).float()))


def test_constant_and_equal_channels_have_finite_targets():
    x = torch.from_numpy(mixed(4, 3, 1000)).float()
    x[0] = 0.0
    x[1] = 7.0
    x[2, 0] = 3.0
    x[3, 1], x[3, 2] = x[3, 0], -x[3, 0]
    power, pairs = targets(x)
    assert power.isfinite().all()
    assert pairs.isfinite().all()
    assert not pairs[:2].any()  # nothing is shared
    torch.testing.assert_close(
        pairs[3, :2].mean(-1), torch.tensor([0.99, -0.99]).atanh()[[0, 0]] * pairs[3, :2, 0].sign()
    )


def test_pairs_are_all_of_few_channels_and_spread_evenly_over_those_of_many():
    few = pair_index(torch.zeros(1, 5, 10)).T.tolist()
    assert sorted(few) == [[i, j] for i in range(5) for j in range(i + 1, 5)]
    assert pair_index(torch.zeros(1, 1, 10)).shape == (2, 0)
    many = pair_index(torch.zeros(1, 19, 10))
    assert many.shape == (2, 64)
    apart = many[1] - many[0]
    assert apart.unique().tolist()[0] == 1
    assert apart.max() == 18
    # Of 171 pairs, those at each distance are taken in proportion.
    assert all(abs((apart == n).sum() - 64 * (19 - n) / 171) < 1.5 for n in range(1, 19))
    assert len(set(map(tuple, many.T.tolist()))) == 64


# Whitening


def test_whitened_targets_have_mean_0_and_nearly_the_unit_covariance():
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4)) * [1, 10, 0.1, 1] + 3)
    target = WhitenedTarget(4).double()
    target.learn(raw)
    white = target(raw).numpy()
    standard = (raw - raw.mean(0)) / raw.std(0)
    values = np.linalg.eigvalsh(np.cov(standard.numpy().T))
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(white.T), np.diag(values / (values + 0.05)), atol=1e-9)


def test_a_target_that_does_not_vary_is_finite():
    target = WhitenedTarget(3)
    target.learn(torch.ones(5, 3) * torch.tensor([0.0, 1.0, 2.0]))
    assert target(torch.rand(2, 3)).isfinite().all()
    assert not target(torch.tensor([[0.0, 1.0, 2.0]])).abs().max() > 1e-5


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_targets_teach_nothing(n):
    target = WhitenedTarget(3)
    target.learn(torch.rand(n, 3))
    assert torch.equal(target.whitener, torch.eye(3))


def test_a_single_number_is_whitened_too():
    target = WhitenedTarget(1)
    target.learn(torch.arange(10.0)[:, None])
    assert target(torch.arange(10.0)[:, None]).std().item() == pytest.approx(1.05**-0.5, rel=1e-5)


# The loss


def learnt(**weights: float) -> FeatureLoss:
    torch.manual_seed(0)
    loss = FeatureLoss(**weights)
    loss.learn(torch.from_numpy(mixed(8, 4, 1200)).float() for _ in range(3))
    return loss


def embeddings(n_segments: int, n_channels: int) -> torch.Tensor:
    shape = n_segments, n_channels, 2, 128, 10
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def silent(loss: FeatureLoss) -> FeatureLoss:
    """Layers that say the mean target whatever they read."""
    for layer in (loss.spectrum, loss.pairs[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return loss


def test_an_embedding_that_says_nothing_has_a_loss_of_about_one():
    terms = silent(learnt(spectrum_weight=1.0, pair_weight=1.0))(
        embeddings(8, 4), torch.from_numpy(mixed(8, 4, 1200)).float()
    )
    assert {name: round(term.item(), 1) for name, term in terms.items()} == pytest.approx(
        {"spectrum": 0.7, "pairs": 0.8}, abs=0.35
    )


def test_weights_scale_their_terms():
    x, embedding = torch.from_numpy(mixed(4, 3, 1200)).float(), embeddings(4, 3)
    one, other = (learnt(**w)(embedding, x) for w in ({}, {"spectrum_weight": 6.0, "pair_weight": 0.0}))
    torch.testing.assert_close(other["spectrum"], 2 * one["spectrum"])
    assert other["pairs"] == 0


def test_pairs_do_not_depend_on_which_channel_is_named_first():
    x, embedding, order = torch.from_numpy(mixed(4, 3, 1200)).float(), embeddings(4, 3), torch.tensor([2, 1, 0])
    loss = learnt()
    there, back = loss(embedding, x), loss(embedding[:, order], x[:, order])
    torch.testing.assert_close(there["pairs"], back["pairs"])


def test_a_single_channel_has_no_pairs():
    x = torch.from_numpy(mixed(4, 1, 1200)).float()
    loss, embedding = FeatureLoss(), embeddings(4, 1).requires_grad_()
    loss.learn([x])
    terms = loss(embedding, x)
    assert terms["pairs"] == 0
    sum(terms.values()).backward()
    assert embedding.grad.isfinite().all()


def test_two_segments_are_enough_to_learn_from_and_one_leaves_things_finite():
    for n_segments in (1, 2):
        loss = FeatureLoss()
        x = torch.from_numpy(mixed(n_segments, 2, 1200)).float()
        loss.learn([x])
        assert all(term.isfinite() for term in loss(embeddings(n_segments, 2), x).values())


def test_the_loss_is_float32_under_autocast():
    x, loss = torch.from_numpy(mixed(2, 3, 1200)).float(), learnt()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = loss(embeddings(2, 3).bfloat16(), x)
    assert {term.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["spectrum_weight", "pair_weight"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be >= 0"):
        FeatureLoss(**{name: -1.0})
