"""The canonical form of the data: 200 Hz, units of 100 µV, float32, a multiple of 120 samples."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from scipy.signal import firwin, resample_poly

from mne_specmoe._validation import check_number

SFREQ = 200.0
"""Sampling rate of the networks, in Hz."""

UNIT_VOLTS = 1e-4
"""One network unit in volts (100 µV)."""

MULTIPLE = 120
"""The networks take lengths that are multiples of this many samples."""

MIN_SAMPLES = 360
"""Fewest samples that the kernels of the networks allow."""

_ZERO_CROSSINGS = 16  # of the low-pass's sinc, on either side
_KAISER_BETA = 8.0  # 80 dB down from 1.16 times the lower of the two Nyquist frequencies
_RATE_TOLERANCE = 1e-6  # relative: a hundredth of a sample in a minute


def resample(x: np.ndarray, sfreq: float, *, to: float = SFREQ) -> np.ndarray:
    """Change the sampling rate along the last axis, with an anti-aliasing filter.

    A polyphase Kaiser-windowed sinc low-pass at the lower of the two Nyquist frequencies:
    flat up to 0.84 of it, 80 dB down from 1.16 of it. The straight line from the first sample to
    the last is taken out before and put back afterwards, and what is left is continued beyond its
    ends by point reflection, so that an offset or a drift does not ring at the edges: a constant
    stays exactly constant.

    Parameters
    ----------
    x : ndarray, shape (..., n_times)
        The signals. float32 stays float32; every other type is computed in float64.
    sfreq : float
        The sampling rate of ``x`` in Hz; any positive number, such as 249.99 or 128.2051.
    to : float, default=200
        The sampling rate wanted, in Hz.

    Returns
    -------
    x : ndarray, shape (..., round(n_times * to / sfreq))
        The resampled signals; the input itself when ``sfreq == to``.

    Raises
    ------
    ValueError
        If a rate is not positive, or if so few samples are given that none would be left.
    """
    check_number("sfreq", sfreq, minimum=0, strict=True)
    check_number("to", to, minimum=0, strict=True)
    if sfreq == to:
        return x
    x = np.asarray(x)
    x = x if x.dtype == np.float32 else x.astype(np.float64, copy=False)
    n_out = round(x.shape[-1] * float(to) / float(sfreq))
    if n_out < 1:
        raise ValueError(
            f"{x.shape[-1]} samples at {sfreq:g} Hz are less than one sample at {to:g} Hz; give longer signals."
        )
    up, down = _ratio(float(sfreq), float(to))
    if up == down:
        return x
    line_out = _line(x, np.arange(n_out) * (down / up))
    if x.shape[-1] < 3:  # nothing is left beside the line, and SciPy crashes on one sample
        return line_out
    residual = x - _line(x, np.arange(x.shape[-1]))
    window = _low_pass(up, down).astype(x.dtype)
    residual = resample_poly(residual, up, down, axis=-1, window=window, padtype="antireflect")
    return residual[..., :n_out] + line_out


def to_network(volts: np.ndarray, sfreq: float) -> torch.Tensor:
    """Turn volts at any rate into what the networks take: 200 Hz, units of 100 µV, float32.

    Parameters
    ----------
    volts : ndarray, shape (n_epochs, n_channels, n_times)
        The signals in volts; resampled and scaled in their own precision before the cast.
    sfreq : float
        Their sampling rate in Hz.

    Returns
    -------
    x : Tensor, shape (n_epochs, n_channels, n_times_at_200_hz)
        A new tensor on the CPU, float32, not padded (see :func:`pad`).
    """
    resampled = resample(np.asarray(volts), sfreq)
    x = np.empty(resampled.shape, dtype=np.float32)
    np.multiply(resampled, 1.0 / UNIT_VOLTS, out=x, casting="same_kind")
    return torch.from_numpy(x)


def pad(
    x: torch.Tensor, positions: torch.Tensor | None = None, *, min_samples: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Append zeros up to a multiple of 120 samples, and give every sample its position.

    Parameters
    ----------
    x : Tensor, shape (n_epochs, n_channels, n_times)
        Network input.
    positions : Tensor, shape (n_epochs, n_times) or (n_times,), optional
        Position of every sample. None takes those of inference: ``linspace(0.1, 1.1, n_times)``
        over the samples given (not over the padding).
    min_samples : int, default=0
        Pad at least to this length, rounded up to a multiple of 120.

    Returns
    -------
    x : Tensor, shape (n_epochs, n_channels, n_padded)
        The padded input; the input itself (no copy) when no padding is needed.
    positions : Tensor, shape (n_epochs, n_padded)
        Positions, 0 on the padding. May be an expanded view: do not write into it.

    Raises
    ------
    ValueError
        If the shapes are not as above.
    """
    if x.ndim != 3:
        raise ValueError(f"x must be (n_epochs, n_channels, n_times), got {tuple(x.shape)}.")
    n_epochs, _, n_times = x.shape
    if positions is None:
        positions = torch.linspace(0.1, 1.1, n_times, dtype=torch.float32, device=x.device)
    if tuple(positions.shape) not in ((n_times,), (n_epochs, n_times)):
        raise ValueError(
            f"positions must be {(n_epochs, n_times)} (n_epochs, n_times) as x is "
            f"{tuple(x.shape)}, got {tuple(positions.shape)}."
        )
    missing = _padded_length(max(n_times, min_samples)) - n_times
    if missing:
        x = torch.nn.functional.pad(x, (0, missing))
        positions = torch.nn.functional.pad(positions, (0, missing))
    return x, positions.expand(n_epochs, -1)


def segment_positions(
    index: int | torch.Tensor, n_times: int, *, device: torch.device | str | None = None
) -> torch.Tensor:
    """Positions of pretraining segments: ``linspace(1 + 10 k, 10 + 10 k, n_times)`` for segment k.

    Parameters
    ----------
    index : int or Tensor of int, shape (n_epochs,)
        Place k of the segment in its recording, counted from 0.
    n_times : int
        Samples in the segment.
    device : torch.device or str, optional
        Where the result lives; by default where ``index`` does.

    Returns
    -------
    positions : Tensor, shape (n_times,) or (n_epochs, n_times)
        float32.
    """
    index = torch.as_tensor(index, device=device)
    within = torch.linspace(1.0, 10.0, n_times, dtype=torch.float64, device="cpu")
    # the sum in float64 on the CPU: some accelerators have none, and late segments need it
    positions = 10.0 * index.to("cpu", torch.float64).unsqueeze(-1) + within
    return positions.to(index.device, torch.float32)


def _padded_length(n_times: int) -> int:
    """Round up to a multiple of 120 (at least one)."""
    return max(1, -(-n_times // MULTIPLE)) * MULTIPLE


def _ratio(sfreq: float, to: float) -> tuple[int, int]:
    """Integers up, down with up / down = to / sfreq, or as close as makes no difference."""
    lower, higher = sorted((Fraction(to), Fraction(sfreq)))
    exact, bound = lower / higher, -(-higher // lower)
    while abs(exact.limit_denominator(bound) / exact - 1) > _RATE_TOLERANCE:
        bound *= 2
    small = exact.limit_denominator(bound)
    terms = small.numerator, small.denominator
    return terms if to < sfreq else terms[::-1]


@lru_cache(maxsize=32)
def _low_pass(up: int, down: int) -> np.ndarray:
    """Taps of the anti-aliasing filter at the intermediate rate `up` times the input's."""
    rate = max(up, down)
    return firwin(2 * _ZERO_CROSSINGS * rate + 1, 1.0 / rate, window=("kaiser", _KAISER_BETA))


def _line(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The straight line through the first and the last sample of `x`, read at indices `at`."""
    first, last = x[..., :1], x[..., -1:]
    slope = (last - first) / max(x.shape[-1] - 1, 1)
    return first + slope * at.astype(x.dtype)
