"""Covariances between channels in frequency bands, and what becomes of them in a tangent space.

Shapes in the comments: B batch, C channels, K tapers, F frequencies. Everything is computed in float64, which
logarithms of nearly singular matrices ask for.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mne_specmoe.signal.canonical import SFREQ

BANDS = (
    (1.0, 4.0),
    (4.0, 8.0),
    (8.0, 12.0),
    (12.0, 16.0),
    (16.0, 20.0),
    (20.0, 24.0),
    (24.0, 30.0),
    (30.0, 45.0),
)
"""Frequency bands in Hz, upper edges not included; most are 4 Hz wide, as in filter-bank methods."""

SHRINKAGE = 0.05
"""Share of the mean variance of the channels in `shrunk` covariances."""

N_TAPERS = 5
"""Sine tapers of the cross-spectra, of epochs that are long enough for so many."""

_WIDEST = 4.0  # Hz that tapers may spread a frequency over, unless a single one does it already

_FLOOR = 1e-10  # variance, (0.001 µV)² in units of 100 µV: keeps logarithms of flat channels finite


def cross_power(
    x: Tensor, *, bands: Sequence[tuple[float, float]] = BANDS, sfreq: float = SFREQ, n_tapers: int = N_TAPERS
) -> Tensor:
    """Covariances of the channels in frequency bands, by multitaper cross-spectra.

    The real part of the cross-spectrum, summed over the frequencies of a band and averaged over tapers,

    .. math:: S_b = \\frac{2}{T K} \\sum_k \\sum_{f \\in b} \\mathrm{Re}\\, z_{kf} z_{kf}^*,

    where :math:`z_k` is the Fourier transform of the epoch without its mean, weighted by the sine taper
    :math:`\\sqrt{2 / (T + 1)} \\sin(\\pi k t / (T + 1))`. Several tapers use all of an epoch, and leak little between
    bands; one alone would waste the ends. A sine of amplitude *a* inside the band has about the power :math:`a^2/2`.
    Source: Riedel and Sidorenko, doi:10.1109/78.365298.

    Parameters
    ----------
    x : Tensor, shape (n_epochs, n_channels, n_times)
        Signals.
    bands : sequence of (float, float)
        Lower edge and, not included, upper edge in Hz. A band without a frequency takes the nearest one.
    sfreq : float
        Sampling rate in Hz.
    n_tapers : int
        Most tapers. Fewer are used of short epochs, where so many would spread a frequency over more than 4 Hz.

    Returns
    -------
    covariances : Tensor of float64, shape (n_epochs, n_bands, n_channels, n_channels)
        In squared units of `x`; positive semidefinite, on the CPU where the device has no float64.
    """
    spectra, scale = _spectra(wide(x), n_tapers, sfreq)
    places = _places(x.shape[-1], bands, sfreq)
    return torch.stack([scale * _gram(spectra[..., place]) for place in places], 1)


def band_powers(
    x: Tensor, *, bands: Sequence[tuple[float, float]] = BANDS, sfreq: float = SFREQ, n_tapers: int = N_TAPERS
) -> Tensor:
    """Power of every channel in frequency bands, per frequency of the transform.

    Parameters
    ----------
    x : Tensor, shape (n_epochs, n_channels, n_times)
        Signals.
    bands, sfreq, n_tapers
        See `cross_power`.

    Returns
    -------
    powers : Tensor of float64, shape (n_epochs, n_bands, n_channels)
        Power spectral density, in squared units of `x` per Hz: its mean over the frequencies of a band.
    """
    spectra, scale = _spectra(wide(x), n_tapers, sfreq)
    power = torch.view_as_real(spectra).square().sum((-1, -3))  # [B, C, F]
    places = _places(x.shape[-1], bands, sfreq)
    per_hz = scale * x.shape[-1] / sfreq
    return torch.stack([per_hz * power[..., place].mean(-1) for place in places], 1)


def log_power(power: Tensor) -> Tensor:
    """Natural logarithm of powers in units of (100 µV)², which a flat channel keeps finite."""
    return power.clamp_min(_FLOOR).log()


def log_rms(x: Tensor) -> Tensor:
    """Logarithm of the root mean square of every channel, without its mean.

    Parameters
    ----------
    x : Tensor, shape (n_epochs, n_channels, n_times)
        Signals.

    Returns
    -------
    log_rms : Tensor of float64, shape (n_epochs, n_channels)
    """
    x = wide(x)
    return 0.5 * log_power((x - x.mean(-1, keepdim=True)).square().mean(-1))


def shrunk(covariances: Tensor, amount: float = SHRINKAGE) -> Tensor:
    """Mix covariances with a multiple of the identity, so that they can be inverted.

    Parameters
    ----------
    covariances : Tensor, shape (..., n_channels, n_channels)
        Positive semidefinite: of fewer samples than channels, of constant channels, of one channel.
    amount : float
        Share of the identity times the mean variance.

    Returns
    -------
    covariances : Tensor, shape (..., n_channels, n_channels)
        Positive definite, of the same mean variance unless that is next to nothing.
    """
    n_channels = covariances.shape[-1]
    variance = covariances.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(n_channels, dtype=covariances.dtype, device=covariances.device)
    return (1.0 - amount) * covariances + (amount * variance + _FLOOR) * identity


def tangent_vectors(covariances: Tensor, whitener: Tensor) -> Tensor:
    """Logarithms of whitened covariances, as vectors: the tangent space at the covariance that is whitened to identity.

    :math:`\\mathrm{vec} \\log(W S W)`; the upper triangle, row by row, in which what is off the diagonal is multiplied
    by :math:`\\sqrt 2`, so that norms stay as they are. Source: Barachant et al., doi:10.1109/TBME.2011.2172210.

    Parameters
    ----------
    covariances : Tensor, shape (..., n_channels, n_channels)
        Positive definite.
    whitener : Tensor, shape (..., n_channels, n_channels)
        Inverse square root of the reference, symmetric; see `inverse_square_root`.

    Returns
    -------
    vectors : Tensor of float64, shape (..., n_channels * (n_channels + 1) / 2)
    """
    covariances, whitener = wide(covariances), wide(whitener)
    whitened = whitener @ covariances @ whitener
    logarithm = _of_eigenvalues(whitened, torch.log)
    rows, columns = torch.triu_indices(*logarithm.shape[-2:], device=logarithm.device)
    weights = torch.where(rows == columns, 1.0, 2.0**0.5).to(logarithm.dtype)
    return logarithm[..., rows, columns] * weights


def inverse_square_root(covariances: Tensor) -> Tensor:
    """The symmetric whiteners of covariances (..., n_channels, n_channels), in float64."""
    return _of_eigenvalues(wide(covariances), torch.rsqrt)


def packed(covariances: Tensor) -> Tensor:
    """Upper triangles (..., C(C + 1)/2) of symmetric matrices (..., C, C): what need be kept of them."""
    rows, columns = torch.triu_indices(*covariances.shape[-2:], device=covariances.device)
    return covariances[..., rows, columns]


def unpacked(triangles: Tensor) -> Tensor:
    """Symmetric matrices (..., C, C) of their upper triangles (..., C(C + 1)/2)."""
    n_channels = int((2 * triangles.shape[-1]) ** 0.5)
    rows, columns = torch.triu_indices(n_channels, n_channels, device=triangles.device)
    matrices = triangles.new_zeros(*triangles.shape[:-1], n_channels, n_channels)
    matrices[..., rows, columns] = triangles
    matrices[..., columns, rows] = triangles
    return matrices


def wide(x: Tensor) -> Tensor:
    """The same in float64, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _spectra(x: Tensor, n_tapers: int, sfreq: float) -> tuple[Tensor, float]:
    """Tapered transforms [B, C, K, F] of signals [B, C, T], and what makes one-sided power of their squares."""
    affordable = int(_WIDEST * x.shape[-1] / sfreq) - 1  # K tapers of T seconds spread over (K + 1) / T
    tapers = _sine_tapers(x.shape[-1], max(1, min(n_tapers, affordable)), x)
    spectra = torch.fft.rfft((x - x.mean(-1, keepdim=True))[..., None, :] * tapers)
    return spectra, 2.0 / (x.shape[-1] * len(tapers))


def _sine_tapers(n_times: int, n_tapers: int, like: Tensor) -> Tensor:
    """Orthonormal sine tapers, [K, T]."""
    orders = torch.arange(1, min(n_tapers, n_times) + 1, dtype=like.dtype, device=like.device)[:, None]
    times = torch.arange(1, n_times + 1, dtype=like.dtype, device=like.device)
    return math.sqrt(2 / (n_times + 1)) * torch.sin(math.pi * orders * times / (n_times + 1))


def _places(n_times: int, bands: Sequence[tuple[float, float]], sfreq: float) -> list[slice]:
    """Which frequencies of a transform of so many samples belong to each band."""
    frequencies = torch.fft.rfftfreq(n_times, 1.0 / sfreq, dtype=torch.float64)
    places = []
    for low, high in bands:
        inside = torch.nonzero((frequencies >= low) & (frequencies < high)).flatten().tolist()
        nearest = int((frequencies - (low + high) / 2).abs().argmin())
        places.append(slice(inside[0], inside[-1] + 1) if inside else slice(nearest, nearest + 1))
    return places


def _gram(spectra: Tensor) -> Tensor:
    """Real part of the cross-spectrum [B, C, C], summed over tapers and frequencies of [B, C, K, F]."""
    parts = torch.view_as_real(spectra).flatten(2)  # [B, C, K·F·2]
    return parts @ parts.mT


def _of_eigenvalues(matrices: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of symmetric positive definite matrices."""
    values, vectors = torch.linalg.eigh(matrices)
    values = function(values.clamp_min(torch.finfo(values.dtype).tiny))
    return (vectors * values[..., None, :]) @ vectors.mT
