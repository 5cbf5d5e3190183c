"""What pretraining hides from an expert: bumps cut out of the short-time Fourier transform.

Source: arXiv:2603.16739, the mask of SpecMoE's pretraining. A map is 1 where the signal is **kept** and 0 where it is
removed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.signal.spectral import n_frames, weigh_bins

N_FFT = 400
"""Samples of a frame: 2 s at 200 Hz, so that frequencies are 0.5 Hz apart."""

HOP = 200
"""Samples from one frame to the next."""

SFREQ = 200.0
"""Sampling rate of the signals, in Hz."""

BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 12.0), "beta": (12.0, 30.0)}
"""The bands that masks prefer, in Hz."""

FREQUENCY, TIME, BOTH, NO_BUMP = 0, 1, 2, -1
"""Kinds of bumps: limited in frequency, in time, in both; and none at all."""

_N_FREQS = N_FFT // 2 + 1
_MOST_EXPECTED = 500  # bumps per map, before a configuration is refused
_MOST_BUMPS = 4096  # bumps per map, before drawing gives up
_FIRST_BUMPS = 12  # enough for most maps of the default configuration
_BLOCK_BUMPS = 512  # bumps of many maps that fit a processor's cache


@dataclass(frozen=True)
class MaskConfig:
    """Everything that defines the distribution of the maps.

    Parameters
    ----------
    ratio : float
        Share of the map to remove: bumps are drawn until the mean of (1 − map) reaches it. In [0, 0.99].
    level : float
        How much a bump removes at its centre, in (0, 1].
    type_probabilities : tuple of float
        Probability of bumps limited in frequency, in time, in both. They add up to 1.
    band_bias : float
        Probability that a bump with a frequency part is centred in one of the bands of EEG, and not anywhere.
    band_probabilities : tuple of float
        Of delta (1–4 Hz), theta (4–8 Hz), alpha (8–12 Hz) and beta (12–30 Hz), given that it is one of them.
    width : float
        Standard deviation of a bump as a share of the axis's length in bins. In (0, 1].
    shape : {"gaussian", "hard"}
        Gaussian bumps, or rectangles of the same area.
    scope : {"shared", "local"}
        One map for all channels of a segment, or one for each group of channels close to each other.
    group_size : int
        Channels per group, about, for the local scope.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above, or if a map would take more than 500 bumps.
    """

    ratio: float = 0.5
    level: float = 1.0
    type_probabilities: tuple[float, float, float] = (0.6, 0.3, 0.1)
    band_bias: float = 0.5
    band_probabilities: tuple[float, float, float, float] = (0.3, 0.4, 0.2, 0.1)
    width: float = 0.05
    shape: str = "gaussian"
    scope: str = "shared"
    group_size: int = 4

    def __post_init__(self):
        check_number("ratio", self.ratio, minimum=0.0, maximum=0.99)
        check_number("level", self.level, minimum=0.0, maximum=1.0, strict=True)
        check_number("band_bias", self.band_bias, minimum=0.0, maximum=1.0)
        check_number("width", self.width, minimum=0.0, maximum=1.0, strict=True)
        check_option("shape", self.shape, tuple(_PROFILES))
        check_option("scope", self.scope, ("shared", "local"))
        check_number("group_size", self.group_size, minimum=1, integer=True)
        for name, n in (("type_probabilities", 3), ("band_probabilities", len(BANDS))):
            object.__setattr__(self, name, _checked_probabilities(name, getattr(self, name), n))
        self._check_effort()

    def _check_effort(self) -> None:
        """Raise if the bumps are so small that it takes too many of them."""
        axis = min(math.sqrt(2 * math.pi) * self.width, 1.0)
        area = self.level * (sum(self.type_probabilities[:2]) * axis + self.type_probabilities[BOTH] * axis**2)
        expected = math.log1p(-self.ratio) / math.log1p(-min(area, 0.99))
        if expected > _MOST_EXPECTED:
            raise ValueError(
                f"A map would take about {expected:.0f} bumps to remove ratio={self.ratio:g}, at most {_MOST_EXPECTED} "
                f"are allowed; use a larger width ({self.width:g}) or level ({self.level:g}), or a smaller ratio."
            )


class Bumps(NamedTuple):
    """Bumps of many maps, in the order in which they are applied.

    Attributes
    ----------
    kind : ndarray of int, shape (n_maps, n_bumps)
        0 limited in frequency, 1 in time, 2 in both, −1 none: not a bump.
    f0 : ndarray, shape (n_maps, n_bumps)
        Centre in Hz, 0 to 100. Of no meaning for bumps limited in time only.
    t0 : ndarray, shape (n_maps, n_bumps)
        Centre in time, 0 the first frame and 1 the last. Of no meaning for bumps limited in frequency only.
    """

    kind: np.ndarray
    f0: np.ndarray
    t0: np.ndarray


class Masked(NamedTuple):
    """What a mask makes of signals.

    Attributes
    ----------
    signal : Tensor, shape (n_segments, n_channels, n_times)
        What is left of the signals.
    map : Tensor, shape (n_segments, 1 or n_channels, 201, n_frames)
        1 where they were kept, 0 where they were removed.
    """

    signal: Tensor
    map: Tensor


class GaussianStftMask:
    """Random masks over the short-time Fourier transform.

    A map starts with ones. Until the mean of (1 − map) reaches `ratio`, a bump is drawn and the map multiplied by
    1 − `level` · G. With frequency bin b of F, frame m of M and centres b0, m0 in bins, G is

    .. math:: e^{-(b - b_0)^2 / 2 \\sigma_F^2}, \\quad e^{-(m - m_0)^2 / 2 \\sigma_M^2}

    or the product of both, with :math:`\\sigma_F` = `width` · F and :math:`\\sigma_M` = `width` · M. Centres are drawn
    uniformly from the continuous axes: frequencies from 0 to 100 Hz (or inside the drawn band), times from the centre
    of the first frame to that of the last. The masked signal is the inverse transform (Hann window, 400 samples, 200
    apart, in SciPy's conventions) of transform × map. ``shape="hard"`` has rectangles in place of Gaussians,
    :math:`\\sqrt{2 \\pi} \\sigma` wide.

    Parameters
    ----------
    ratio, level, type_probabilities, band_bias, band_probabilities, width, shape, scope, group_size
        See `MaskConfig`.

    Attributes
    ----------
    config : MaskConfig
        The parameters.

    Notes
    -----
    A segment's map comes from its own seed alone, not from the batch, nor the process, nor the device: bumps are drawn
    by a counter-based generator (SplitMix64, doi:10.1145/2660193.2660195) and counted in float64 on the CPU, and only
    the map is computed where it is needed. It costs least where seeds and locations are on the CPU already.

    With ``scope="local"``, as many electrodes as there are groups are drawn per segment, and each channel joins the one
    closest to it; channels of unknown place form groups in their order, of which the first is cut at random. Every
    group's map removes `ratio`.

    Source: arXiv:2603.16739.

    Examples
    --------
    >>> import torch
    >>> mask = GaussianStftMask(ratio=0.5)
    >>> signal, kept = mask(torch.randn(2, 19, 6000), torch.tensor([1, 2]))
    >>> signal.shape, kept.shape
    (torch.Size([2, 19, 6000]), torch.Size([2, 1, 201, 31]))
    """

    def __init__(
        self,
        *,
        ratio: float = 0.5,
        level: float = 1.0,
        type_probabilities: Sequence[float] = (0.6, 0.3, 0.1),
        band_bias: float = 0.5,
        band_probabilities: Sequence[float] = (0.3, 0.4, 0.2, 0.1),
        width: float = 0.05,
        shape: str = "gaussian",
        scope: str = "shared",
        group_size: int = 4,
    ):
        self.config = MaskConfig(
            ratio=ratio,
            level=level,
            type_probabilities=type_probabilities,
            band_bias=band_bias,
            band_probabilities=band_probabilities,
            width=width,
            shape=shape,
            scope=scope,
            group_size=group_size,
        )

    def __repr__(self) -> str:
        return f"GaussianStftMask({repr(self.config).partition('(')[2]}"

    def __call__(self, x: Tensor, seeds: Tensor, *, locations: Tensor | None = None) -> Masked:
        """Draw maps and apply them.

        Parameters
        ----------
        x : Tensor, shape (n_segments, n_channels, n_times)
            Signals at 200 Hz, of any unit.
        seeds : Tensor of int64, shape (n_segments,)
            One per segment.
        locations : Tensor, shape (n_channels, 3) | None
            Where the electrodes are, in metres; NaN where unknown. Used by the local scope only.

        Returns
        -------
        masked : Masked
            Signals and maps.

        Raises
        ------
        ValueError
            If the shapes are not as above.
        """
        if x.ndim != 3 or 0 in x.shape:
            raise ValueError(f"x must be (n_segments, n_channels, n_times), none of them 0, got {tuple(x.shape)}.")
        if len(seeds) != len(x):
            raise ValueError(f"There must be one seed per segment; got {len(seeds)} seeds for {len(x)} segments.")
        maps = self.draw(x.shape[-1], seeds, n_channels=x.shape[1], locations=locations, device=x.device)
        return Masked(self.apply(x, maps), maps)

    def draw(
        self,
        n_times: int,
        seeds: Tensor,
        *,
        n_channels: int = 1,
        locations: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw maps for segments of `n_times` samples.

        Parameters
        ----------
        n_times : int
            Samples per segment.
        seeds : Tensor of int64, shape (n_segments,)
            One per segment.
        n_channels : int
            Channels of the segments, which only matters in the local scope.
        locations : Tensor, shape (n_channels, 3) | None
            As for a call.
        device : torch.device or str, optional
            Where the maps shall be.

        Returns
        -------
        map : Tensor, shape (n_segments, 1 or n_channels, 201, n_frames)
            1 keeps, 0 removes; float32.

        Raises
        ------
        ValueError
            If seeds or locations have a wrong shape, or if thousands of bumps do not remove enough.
        """
        seeds = _checked_seeds(seeds)
        if self.config.scope == "shared":
            return self._draw_streams(_streams(seeds, 1, 1), n_times, device)
        groups = _local_groups(_streams(seeds, 0, 1)[:, 0], n_channels, locations, self.config.group_size)
        maps = self._draw_streams(_streams(seeds, 1, int(groups.max(initial=0)) + 1), n_times, device)
        groups = torch.from_numpy(groups).to(maps.device)
        segments = torch.arange(len(maps), device=maps.device)[:, None]
        # Frequencies of one frame stay side by side in memory.
        return maps.transpose(-1, -2)[segments, groups].transpose(-1, -2)

    def draw_bumps(self, seeds: Tensor, n_bumps: int, *, group: int = 0) -> Bumps:
        """Draw the first bumps of every segment, whether or not its map needs them.

        Parameters
        ----------
        seeds : Tensor of int64, shape (n_segments,)
            One per segment.
        n_bumps : int
            How many; the first ones are the same however many are drawn.
        group : int
            Whose bumps, in the local scope; 0 is what the shared scope uses.

        Returns
        -------
        bumps : Bumps
            Arrays of shape (n_segments, n_bumps).
        """
        return self._bumps(_streams(_checked_seeds(seeds), group + 1, 1)[:, 0], n_bumps)

    def map_from_bumps(self, bumps: Bumps, n_times: int, *, device: torch.device | str | None = None) -> Tensor:
        """Multiply bumps up.

        Parameters
        ----------
        bumps : Bumps
            Arrays of shape (n_maps, n_bumps). All of them are applied, however much they remove.
        n_times : int
            Samples per segment.
        device : torch.device or str, optional
            Where the maps shall be.

        Returns
        -------
        map : Tensor, shape (n_maps, 201, n_frames)
            1 keeps, 0 removes; float32.
        """
        n_steps = n_frames(n_times, n_fft=N_FFT, hop=HOP)
        over_f, over_t = (_to_device(factors.prod(0), device) for factors in self._axis_factors(bumps, n_steps))
        maps = over_t[:, :, None] * over_f[:, None, :]  # (n_maps, n_frames, n_freqs): the order in which `stft` stores
        for rows, bump, _ in _one_by_one(bumps.kind == BOTH):
            along_f, along_t = (_to_device(p, device) for p in self._joint_profiles(bumps, rows, bump, n_steps))
            maps[torch.from_numpy(rows).to(device)] *= 1 - along_t[:, :, None] * along_f[:, None, :]
        return maps.transpose(-1, -2)

    def apply(self, x: Tensor, map: Tensor) -> Tensor:
        """Weigh the bins of the short-time Fourier transform.

        Parameters
        ----------
        x : Tensor, shape (n_segments, n_channels, n_times)
            Signals at 200 Hz.
        map : Tensor, shape (n_segments, 1 or n_channels, 201, n_frames)
            What to keep, on the same device.

        Returns
        -------
        masked : Tensor, shape (n_segments, n_channels, n_times)
            Of the type of `x`; half precision is computed in float32.

        Raises
        ------
        ValueError
            If the map does not fit the signals.
        """
        _check_map(x, map)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return weigh_bins(wide, map, n_fft=N_FFT, hop=HOP).to(x.dtype)

    def _draw_streams(self, streams: np.ndarray, n_times: int, device: torch.device | str | None) -> Tensor:
        """Maps of streams (n_segments, n_groups): (n_segments, n_groups, n_freqs, n_frames)."""
        counts = self._counts(streams.ravel(), n_frames(n_times, n_fft=N_FFT, hop=HOP))
        bumps = self._bumps(streams.ravel(), int(counts.max(initial=0)))
        bumps.kind[np.arange(bumps.kind.shape[1]) >= counts[:, None]] = NO_BUMP
        return self.map_from_bumps(bumps, n_times, device=device).unflatten(0, streams.shape)

    def _bumps(self, streams: np.ndarray, n_bumps: int) -> Bumps:
        """The first bumps of streams (n_maps,)."""
        config = self.config
        which, anywhere, band, f, t = np.moveaxis(_uniform(streams, n_bumps, 5), -1, 0)
        edges = _BAND_EDGES[_choose(band, config.band_probabilities)]  # (n_maps, n_bumps, 2)
        edges = np.where((anywhere < config.band_bias)[..., None], edges, (0.0, SFREQ / 2))
        return Bumps(_choose(which, config.type_probabilities), edges[..., 0] + f * np.diff(edges)[..., 0], t)

    def _axis_factors(self, bumps: Bumps, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """What bumps limited along one axis leave: (n_bumps, n_maps, n_freqs) and (n_bumps, n_maps, n_frames)."""
        kind = bumps.kind.T
        factors = []
        for wanted, centres, n_bins in zip(
            (FREQUENCY, TIME), _in_bins(bumps, n_steps), (_N_FREQS, n_steps), strict=True
        ):
            over = np.ones((*kind.shape, n_bins))
            profiles = self._profile(centres.T[kind == wanted], n_bins)
            profiles *= -self.config.level
            profiles += 1
            over[kind == wanted] = profiles
            factors.append(over)
        return tuple(factors)

    def _joint_profiles(
        self, bumps: Bumps, rows: np.ndarray, bump: np.ndarray, n_steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two profiles (n_rows, n_freqs) and (n_rows, n_frames), whose product is what bumps in both axes remove."""
        f0, t0 = (centres[rows, bump] for centres in _in_bins(bumps, n_steps))
        return self.config.level * self._profile(f0, _N_FREQS), self._profile(t0, n_steps)

    def _profile(self, centres: np.ndarray, n_bins: int) -> np.ndarray:
        """Bumps (n,) along an axis: (n, n_bins)."""
        scale = 1 / (self.config.width * n_bins)
        return _PROFILES[self.config.shape](np.arange(n_bins) * scale - (centres * scale)[:, None])

    def _counts(self, streams: np.ndarray, n_steps: int, n_bumps: int = _FIRST_BUMPS) -> np.ndarray:
        """How many bumps each of the streams (n_maps,) takes until enough is removed."""
        n_maps = max(1, _BLOCK_BUMPS // n_bumps)
        blocks = [streams[i : i + n_maps] for i in range(0, len(streams), n_maps)]
        counts = [self._counts_among(self._bumps(block, n_bumps), n_steps) for block in blocks]
        counts = np.concatenate([np.zeros(0, dtype=int), *counts])
        unfinished = counts > n_bumps
        if unfinished.any() and n_bumps >= _MOST_BUMPS:
            raise ValueError(
                f"{n_bumps} bumps did not remove a share of {self.config.ratio:g} of a map with {n_steps} frames; use "
                f"a smaller ratio, or bumps that reach more of the map than those of {self!r}."
            )
        if unfinished.any():
            counts[unfinished] = self._counts(streams[unfinished], n_steps, 2 * n_bumps)
        return counts

    def _counts_among(self, bumps: Bumps, n_steps: int) -> np.ndarray:
        """How many of these bumps each map takes; one more than there are where that is not enough."""
        over_f, over_t = (_multiplied_up(factors) for factors in self._axis_factors(bumps, n_steps))
        # Bumps along one axis alone make an outer product, whose mean is cheap. Those in both axes remove even more.
        kept = (over_f.mean(-1) * over_t.mean(-1)).T  # (n_maps, n_bumps): after each bump
        most = self._first_enough(kept)
        relevant = np.arange(len(over_f)) < most[:, None]
        maps, joint = np.arange(len(kept)), np.ones((len(kept), 1, 1))
        for rows, bump, until in _one_by_one((bumps.kind == BOTH) & relevant):
            along_f, along_t = self._joint_profiles(bumps, rows, bump, n_steps)
            joint = joint[np.searchsorted(maps, rows)] * _one_minus_outer(along_t, along_f)
            maps = rows
            # From this bump to the next of its kind; a map where that is sooner is put right in the next turn.
            n_ahead = np.minimum(until, most[rows]) - bump
            ahead = np.minimum(bump[:, None] + np.arange(n_ahead.max()), len(over_f) - 1)
            at = ahead, rows[:, None]
            kept[at[::-1]] = np.einsum("rkf,rkf->rk", over_t[at] @ joint, over_f[at]) / joint[0].size
        return self._first_enough(kept)

    def _first_enough(self, kept: np.ndarray) -> np.ndarray:
        """After how many bumps enough is removed; one more than there are where it never is."""
        if self.config.ratio == 0:
            return np.zeros(len(kept), dtype=int)
        enough = 1 - kept >= self.config.ratio
        return np.where(enough.any(1), enough.argmax(1), kept.shape[1]) + 1


_BAND_EDGES = np.array(list(BANDS.values()))


def _gaussian(z: np.ndarray) -> np.ndarray:
    """exp(−z²/2), in place."""
    np.multiply(z, z, out=z)
    np.minimum(z, 80.0, out=z)  # 1 − e⁻⁴⁰ is 1, and products of still smaller numbers would be subnormal, which is slow
    return np.exp(np.multiply(z, -0.5, out=z), out=z)


def _hard(z: np.ndarray) -> np.ndarray:
    """A rectangle of the Gaussian's area."""
    return (np.abs(z) <= math.sqrt(math.pi / 2)).astype(float)


_PROFILES = {"gaussian": _gaussian, "hard": _hard}


def _in_bins(bumps: Bumps, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres in bins of the frequency axis and of the time axis."""
    return bumps.f0 * (N_FFT / SFREQ), bumps.t0 * (n_steps - 1)


def _multiplied_up(factors: np.ndarray) -> np.ndarray:
    """Cumulative product along the first axis, in place; NumPy's own is slow there."""
    for i in range(1, len(factors)):
        factors[i] *= factors[i - 1]
    return factors


def _one_minus_outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 − a bᵀ for each row of a (n, i) and b (n, j), as one matrix product: (n, i, j)."""
    return np.stack([a, np.ones_like(a)], -1) @ np.stack([-b, np.ones_like(b)], 1)


def _one_by_one(chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Go through the chosen bumps (n_maps, n_bumps) in their order, of all maps at once.

    Yields the maps that have a chosen bump left, its place, and that of the next one (the number of bumps at the end).
    """
    n_bumps = chosen.shape[1]
    n_chosen = chosen.sum(1)
    places = np.argsort(~chosen, axis=1, kind="stable")
    places = np.pad(places, [(0, 0), (0, 1)])
    places[np.arange(n_bumps + 1) >= n_chosen[:, None]] = n_bumps
    for turn in range(n_chosen.max(initial=0)):
        rows = np.flatnonzero(n_chosen > turn)
        yield rows, places[rows, turn], places[rows, turn + 1]


def _to_device(array: np.ndarray, device: torch.device | str | None) -> Tensor:
    """float32, there."""
    return torch.from_numpy(array.astype(np.float32)).to(device)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a permutation of the 64-bit integers that looks random."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _streams(seeds: np.ndarray, first: int, n_streams: int) -> np.ndarray:
    """Starting points of random numbers: (n_segments, n_streams)."""
    return _mix(_mix(seeds)[:, None] + np.arange(first, first + n_streams, dtype=np.uint64) * _GOLDEN)


def _uniform(streams: np.ndarray, *shape: int) -> np.ndarray:
    """Numbers in [0, 1) for each stream (n,): (n, *shape). More along the first axis leave the others as they are."""
    counter = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    bits = _mix(streams[:, None] + counter * _GOLDEN)
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(len(streams), *shape)


def _choose(uniform: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    """Indices, drawn with these probabilities."""
    return np.searchsorted(np.cumsum(probabilities)[:-1], uniform, side="right")


def _local_groups(streams: np.ndarray, n_channels: int, locations: Tensor | None, group_size: int) -> np.ndarray:
    """Group of every channel, drawn for each stream (n_segments,): (n_segments, n_channels)."""
    places = _checked_locations(locations, n_channels)
    known = np.isfinite(places).all(1)
    drawn = _uniform(streams, n_channels + 1)
    groups = np.empty((len(streams), n_channels), dtype=int)
    n_centres = -(-int(known.sum()) // group_size)
    if n_centres:
        centres = drawn[:, :-1][:, known].argsort(1)[:, :n_centres]
        distances = np.linalg.norm(places[known][:, None] - places[known], axis=-1)
        groups[:, known] = distances[centres].argmin(1)  # of (n_segments, n_centres, n_known)
    shift = np.floor(drawn[:, -1:] * group_size).astype(int)
    groups[:, ~known] = n_centres + (np.arange((~known).sum()) + shift) // group_size
    return groups


def _checked_locations(locations: Tensor | None, n_channels: int) -> np.ndarray:
    """Locations (n_channels, 3) in float64; NaN where nothing is known."""
    if locations is None:
        return np.full((n_channels, 3), np.nan)
    places = torch.as_tensor(locations).detach().cpu().double().numpy()
    if places.shape != (n_channels, 3):
        raise ValueError(f"locations must be (n_channels, 3) with {n_channels} channels, got {places.shape}.")
    return places


def _checked_seeds(seeds: Tensor) -> np.ndarray:
    """Seeds (n_segments,) as unsigned numbers."""
    seeds = torch.as_tensor(seeds)
    if seeds.ndim != 1 or seeds.is_floating_point() or seeds.is_complex() or seeds.dtype == torch.bool:
        raise ValueError(
            f"seeds must be integers of shape (n_segments,), got {seeds.dtype} of shape {tuple(seeds.shape)}."
        )
    return seeds.cpu().to(torch.int64).numpy().view(np.uint64)


def _check_map(x: Tensor, map: Tensor) -> None:
    """Raise unless a map fits signals."""
    if x.ndim != 3:
        raise ValueError(f"x must be (n_segments, n_channels, n_times), got {tuple(x.shape)}.")
    n_segments, n_channels, n_times = x.shape
    expected = (n_segments, n_channels, _N_FREQS, n_frames(n_times, n_fft=N_FFT, hop=HOP))
    if tuple(map.shape) not in (expected, (n_segments, 1, *expected[2:])):
        raise ValueError(f"map must be {expected}, or with 1 in place of the channels, got {tuple(map.shape)}.")


def _checked_probabilities(name: str, values: Sequence[float], n: int) -> tuple[float, ...]:
    """A tuple of `n` probabilities that add up to 1."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != n:
        raise ValueError(f"{name} must be {n} numbers, got {values!r}.")
    for i, value in enumerate(values):
        check_number(f"{name}[{i}]", value, minimum=0.0, maximum=1.0)
    if abs(sum(values) - 1) > 1e-6:
        raise ValueError(f"{name} must add up to 1, got {tuple(values)!r}, which add up to {sum(values):g}.")
    return tuple(float(value) for value in values)
