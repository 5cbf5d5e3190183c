"""Covariances in bands and their logarithms: against numpy, at the edges, and where matrices are nearly singular."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from mne_specmoe.signal.cross_spectrum import (
    BANDS,
    band_powers,
    cross_power,
    inverse_square_root,
    log_power,
    log_rms,
    packed,
    shrunk,
    tangent_vectors,
    unpacked,
)


@pytest.fixture
def x():
    return torch.randn(3, 4, 500, generator=torch.Generator().manual_seed(0))


def naive_cross_power(x, band, n_tapers=5):
    """One epoch, by loops over tapers and frequencies."""
    x = x - x.mean(-1, keepdims=True)
    n_times = x.shape[-1]
    total = np.zeros((len(x), len(x)))
    for order in range(1, n_tapers + 1):
        t = np.arange(1, n_times + 1)
        taper = np.sqrt(2 / (n_times + 1)) * np.sin(np.pi * order * t / (n_times + 1))
        spectrum = np.fft.rfft(x * taper)
        for z, frequency in zip(spectrum.T, np.fft.rfftfreq(n_times, 1 / 200), strict=True):
            if band[0] <= frequency < band[1]:
                total += np.outer(z, z.conj()).real
    return 2 / (n_times * n_tapers) * total


def test_covariances_are_the_real_parts_of_summed_cross_spectra(x):
    found = cross_power(x).numpy()
    assert found.shape == (3, 8, 4, 4)
    for i, epoch in enumerate(x.double().numpy()):
        for b, band in enumerate(BANDS):
            np.testing.assert_allclose(found[i, b], naive_cross_power(epoch, band), rtol=1e-10, atol=1e-14)


def test_a_sine_has_its_power_in_its_band_and_next_to_none_elsewhere():
    t = torch.arange(800) / 200
    x = 3 * torch.sin(2 * math.pi * 10 * t)[None, None] + 100  # an offset does not count
    powers = cross_power(x)[0, :, 0, 0]
    assert abs(powers[2] - 4.5) < 0.02
    assert powers[[0, 1, 3, 4, 5, 6, 7]].max() < 0.01


def test_all_bands_together_hold_the_variance_of_white_noise():
    x = torch.randn(20, 1, 2000, generator=torch.Generator().manual_seed(1))
    whole = cross_power(x, bands=[(0.0, 101.0)]).mean()
    assert abs(float(whole) - 1) < 0.03


def test_powers_are_densities_which_do_not_depend_on_the_length():
    generator = torch.Generator().manual_seed(2)
    short, long = (band_powers(torch.randn(400, 1, n, generator=generator)).mean(0)[1:] for n in (200, 2000))
    np.testing.assert_allclose(short, 0.01, rtol=0.1)  # variance 1 over 100 Hz; without the mean 1 to 4 Hz have less
    np.testing.assert_allclose(long, 0.01, rtol=0.1)


def test_powers_are_the_diagonal_of_the_covariances_per_frequency(x):
    covariances = cross_power(x, bands=[(8.0, 13.0)])[:, 0].diagonal(dim1=-2, dim2=-1)
    n_frequencies = np.sum((np.fft.rfftfreq(500, 1 / 200) >= 8) & (np.fft.rfftfreq(500, 1 / 200) < 13))
    np.testing.assert_allclose(
        band_powers(x, bands=[(8.0, 13.0)])[:, 0], covariances * 500 / 200 / n_frequencies, rtol=1e-10
    )


@pytest.mark.parametrize("n_times", [1, 2, 3, 10, 67])
def test_signals_of_any_length_have_finite_logarithms(n_times):
    covariances = shrunk(cross_power(torch.randn(2, 5, n_times)))
    vectors = tangent_vectors(covariances, torch.eye(5))
    assert torch.isfinite(vectors).all()
    assert torch.isfinite(log_power(band_powers(torch.zeros(2, 5, n_times)))).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x * 0,
        lambda x: torch.cat([x[:, :3], torch.full_like(x[:, 3:], 7.0)], 1),
        lambda x: x[:, :1].expand(-1, 4, -1),
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: x[..., :3],
        lambda x: x[:, :1],
        lambda x: x * 1e4,
        lambda x: x * 1e-6,
    ],
    ids=["silent", "constant channel", "equal channels", "average reference", "few samples", "one channel", "V", "nV"],
)
def test_nearly_singular_covariances_have_finite_vectors(x, spoil):
    covariances = shrunk(cross_power(spoil(x)))
    whitener = inverse_square_root(covariances.mean(0))
    assert torch.isfinite(tangent_vectors(covariances, whitener)).all()


def test_shrinking_keeps_the_mean_variance_and_makes_matrices_invertible(x):
    covariances = cross_power(x[..., :3])
    smaller = shrunk(covariances, 0.1)
    np.testing.assert_allclose(
        smaller.diagonal(dim1=-2, dim2=-1).mean(-1), covariances.diagonal(dim1=-2, dim2=-1).mean(-1), rtol=1e-6
    )
    values = torch.linalg.eigvalsh(smaller)
    assert (values[..., 0] > 0.01 * values.mean(-1)).all()


def test_tangent_vectors_are_those_of_the_matrix_logarithm(x):
    covariances = shrunk(cross_power(x))[:, 2]
    reference = covariances.mean(0)
    vectors = tangent_vectors(covariances, inverse_square_root(reference)).numpy()
    root = np.linalg.inv(scipy.linalg.sqrtm(reference.numpy()))
    rows, columns = np.triu_indices(4)
    for vector, covariance in zip(vectors, covariances.numpy(), strict=True):
        logarithm = scipy.linalg.logm(root @ covariance @ root)
        np.testing.assert_allclose(vector[rows == columns], np.diag(logarithm), atol=1e-6)
        np.testing.assert_allclose(
            vector[rows != columns],
            math.sqrt(2) * logarithm[rows[rows != columns], columns[rows != columns]],
            atol=1e-6,
        )
        np.testing.assert_allclose(np.linalg.norm(vector), np.linalg.norm(logarithm), rtol=1e-6)


def test_the_reference_itself_is_the_origin(x):
    covariances = shrunk(cross_power(x))
    assert tangent_vectors(covariances, inverse_square_root(covariances)).abs().max() < 1e-10


def test_triangles_hold_symmetric_matrices(x):
    covariances = cross_power(x)
    assert packed(covariances).shape == (3, 8, 10)
    np.testing.assert_array_equal(unpacked(packed(covariances)), (covariances + covariances.mT) / 2)


def test_the_root_mean_square_leaves_offsets_out(x):
    expected = (x - x.mean(-1, keepdim=True)).square().mean(-1).sqrt().log()
    np.testing.assert_allclose(log_rms(x + 50), expected, rtol=1e-4)


def test_an_epoch_alone_gives_what_it_gives_among_others(x):
    np.testing.assert_allclose(cross_power(x[1:2]), cross_power(x)[1:2], rtol=1e-12)


def test_short_epochs_have_fewer_tapers_so_that_bands_are_not_blurred(x):
    short = x[..., :160]  # 0.8 s: two tapers spread over 3.75 Hz, three over 5 Hz
    torch.testing.assert_close(cross_power(short), cross_power(short, n_tapers=2))
    assert not torch.allclose(cross_power(x), cross_power(x, n_tapers=2))
