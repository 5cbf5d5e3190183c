"""What pretraining hides from BrainRVQ: patches, and sooner those that look like activity of the brain.

Source: arXiv:2602.16951, the masking of its pretraining. In a mask, True is **hidden** and False is shown. Patches are
in channel-major order: those of the first channel, then those of the second, and so on.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mne_specmoe._validation import check_number, check_option

PATCH_LENGTH = 200
"""Samples of a patch: 1 s at 200 Hz, so that frequencies are 1 Hz apart."""

SCORE_WEIGHTS = {
    "neural_ratio": 0.30,
    "clean_ratio": 0.25,
    "complexity": 0.20,
    "irregularity": 0.15,
    "mobility": 0.10,
}
"""Weights of the terms of `importance_scores`; they add up to 1."""

_EPS = 1e-8
_UV = 0.01  # 1 µV in the unit of patches, 100 µV
_FLAT_UV = 0.05  # as for the segments of a corpus


@dataclass(frozen=True)
class PatchMaskConfig:
    """Everything that defines the distribution of the masks.

    Parameters
    ----------
    mode : {"importance", "random"}
        Whether patches of high score are hidden sooner than others, or all are alike.
    ratio : float
        Share of the patches to draw, in [0, 1]; rounded down to whole patches. Fewer are hidden in the end, because
        of `punch` and `max_run`.
    punch : float
        Probability that a patch that was drawn is shown all the same. In [0, 1].
    max_run : int
        Most patches in a row that are hidden.
    temperature : float
        Of the softmax over standardised scores: the lower, the surer it is that high scores are hidden.
    info_weight : float
        Weight of the importance score at the start of training, against that of uniform noise. In [0, 1].
    info_weight_gain : float
        What training adds to that weight; the sum is in [0, 1].
    flat_uv : float
        Standard deviation in µV below which a patch is flat. Without meaning for the published scores.
    published : bool
        As published; otherwise corrected: flat patches have a score of 0, and runs end where a channel ends.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.
    """

    mode: str = "importance"
    ratio: float = 0.5
    punch: float = 0.1
    max_run: int = 5
    temperature: float = 0.8
    info_weight: float = 0.2
    info_weight_gain: float = 0.5
    flat_uv: float = _FLAT_UV
    published: bool = False

    def __post_init__(self):
        check_option("mode", self.mode, tuple(_PREFERENCES))
        check_number("ratio", self.ratio, minimum=0.0, maximum=1.0)
        check_number("punch", self.punch, minimum=0.0, maximum=1.0)
        check_number("max_run", self.max_run, minimum=1, integer=True)
        check_number("temperature", self.temperature, minimum=0.0, strict=True)
        check_number("info_weight", self.info_weight, minimum=0.0, maximum=1.0)
        check_number("info_weight_gain", self.info_weight_gain)
        check_number("info_weight + info_weight_gain", self.weight_at(1.0), minimum=0.0, maximum=1.0)
        check_number("flat_uv", self.flat_uv, minimum=0.0, strict=True)
        check_option("published", self.published, (True, False))

    def weight_at(self, progress: float) -> float:
        """Weight of the importance score after a share of the training.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.

        Returns
        -------
        weight : float
        """
        return self.info_weight + self.info_weight_gain * progress


class PatchMask:
    """Random masks over patches.

    Of L patches, m = ⌊`ratio` · L⌋ are drawn. With importance scores s (`importance_scores`), u uniform in [0, 1) and

    .. math:: w = \\text{info_weight} + \\text{info_weight_gain} \\cdot \\text{progress}

    the sum w s + (1 − w) u is standardised over the segment's patches, and m of them are drawn one after the other
    without replacement, with probabilities softmax(sum / `temperature`). In random mode, all sets of m patches are
    alike. Then every patch drawn is shown again with probability `punch`, and long runs are broken up (`limit_runs`).

    Parameters
    ----------
    config : PatchMaskConfig | None
        The distribution; None takes the published one, corrected.

    Attributes
    ----------
    config : PatchMaskConfig
        The distribution.

    Notes
    -----
    A segment's mask comes from its patches and its own seed alone, not from the batch, nor the process: random numbers
    are those of a counter-based generator (Philox, doi:10.1145/2063384.2063405) whose key is the seed, and masks are
    drawn in float64 on the CPU. Drawing without replacement is the choice of the m largest of log-probability + Gumbel
    noise, which has the same distribution (arXiv:1903.06059).

    Source: arXiv:2602.16951.

    Examples
    --------
    >>> import torch
    >>> mask = PatchMask(PatchMaskConfig(ratio=0.5, punch=0.0))
    >>> hidden = mask(torch.randn(2, 3, 4, 200), torch.tensor([1, 2]), progress=0.0)
    >>> hidden.shape, hidden.sum(1)
    (torch.Size([2, 12]), tensor([6, 6]))
    """

    def __init__(self, config: PatchMaskConfig | None = None):
        self.config = PatchMaskConfig() if config is None else config

    def __repr__(self) -> str:
        return f"PatchMask({self.config!r})"

    def __call__(self, patches: Tensor, seeds: Tensor, *, progress: float) -> Tensor:
        """Score patches and draw masks.

        Parameters
        ----------
        patches : Tensor, shape (n_segments, n_channels, n_patches, 200)
            Finite signals at 200 Hz, in units of 100 µV.
        seeds : Tensor of int64, shape (n_segments,)
            One per segment.
        progress : float
            How much of the training is over, in [0, 1]. The published curriculum takes epoch / n_epochs, with epochs
            from 0.

        Returns
        -------
        mask : Tensor of bool, shape (n_segments, n_channels * n_patches)
            True where a patch is hidden; on the patches' device.

        Raises
        ------
        ValueError, TypeError
            If the shapes or `progress` are not as above.
        """
        _check_patches(patches)
        mask = self.draw(self._scores(patches), seeds, n_channels=patches.shape[1], progress=progress)
        return mask.to(patches.device)

    def draw(self, scores: Tensor, seeds: Tensor, *, n_channels: int, progress: float) -> Tensor:
        """Draw masks for patches that were scored before.

        Parameters
        ----------
        scores : Tensor, shape (n_segments, n_channels * n_patches)
            Scores in [0, 1]. Their values are of no meaning in random mode.
        seeds : Tensor of int64, shape (n_segments,)
            One per segment.
        n_channels : int
            Channels of the segments.
        progress : float
            How much of the training is over, in [0, 1].

        Returns
        -------
        mask : Tensor of bool, shape (n_segments, n_channels * n_patches)
            True where a patch is hidden; on the CPU.

        Raises
        ------
        ValueError, TypeError
            If the shapes or `progress` are not as above.
        """
        config = self.config
        check_number("progress", progress, minimum=0.0, maximum=1.0)
        _check_scores(scores, n_channels)
        numbers = _checked_seeds(seeds, len(scores))
        first, second, third = _uniform(numbers, 3 * scores.shape[1]).unflatten(1, (3, -1)).unbind(1)
        preferences = _PREFERENCES[config.mode](
            scores.cpu().double(), first, second, config.weight_at(progress), config.temperature
        )
        drawn = _largest(preferences, int(scores.shape[1] * config.ratio))
        punched = drawn & (third >= config.punch)
        return limit_runs(punched, config.max_run, n_channels=None if config.published else n_channels)

    def _scores(self, patches: Tensor) -> Tensor:
        """Scores (n_segments, n_channels * n_patches), which are not computed where nothing depends on them."""
        if self.config.mode == "random":
            return torch.zeros(patches.shape[:3]).flatten(1)
        return importance_scores(patches, published=self.config.published, flat_uv=self.config.flat_uv)


@torch.no_grad()
def importance_scores(patches: Tensor, *, published: bool = False, flat_uv: float = _FLAT_UV) -> Tensor:
    """How much patches look like activity of the brain, as against drift, line noise and nothing at all.

    With a patch's power spectrum P, its first differences d, the differences d' of these, and variances v (of the patch
    and of d, 1e-8 added to both), the score is the weighted sum of

    ============  ======  ==========================================================
    term          weight  value
    ============  ======  ==========================================================
    neural ratio  0.30    share of ΣP at 4 Hz ≤ f < 30 Hz
    clean ratio   0.25    1 − share of ΣP at f < 2 Hz or f ≥ 45 Hz
    complexity    0.20    √(v(d') / v(d)) / mobility
    irregularity  0.15    mean of the absolute differences of abs(d), over that of abs(d)
    mobility      0.10    √(v(d) / v(patch))
    ============  ======  ==========================================================

    each of them moved and scaled to [0, 1] over the patches of its segment.

    Parameters
    ----------
    patches : Tensor, shape (n_segments, n_channels, n_patches, 200)
        Finite signals at 200 Hz, in units of 100 µV.
    published : bool
        As published: a patch of zeros is as clean as can be, and steady as flat patches are, they stretch the scales
        of the others. Otherwise flat patches have a score of 0, and the others are scaled without them.
    flat_uv : float
        Standard deviation in µV below which a patch is flat, if not as published.

    Returns
    -------
    scores : Tensor of float64, shape (n_segments, n_channels * n_patches)
        In [0, 1]; on the patches' device, and float32 where that has no float64.

    Raises
    ------
    ValueError, TypeError
        If `patches` has another shape, or `flat_uv` is not positive.

    Notes
    -----
    Broadband noise, such as muscles make, has a high score too: complexity, irregularity and mobility favour it.
    Source: arXiv:2602.16951.
    """
    _check_patches(patches)
    check_number("flat_uv", flat_uv, minimum=0.0, strict=True)
    # In float64, scores are the same in all batches but for 1e-16, which is too little to change what is drawn.
    x = patches.flatten(1, 2).to(torch.float32 if patches.device.type == "mps" else torch.float64)
    counted = torch.ones_like(x[..., 0], dtype=torch.bool) if published else x.std(-1) >= flat_uv * _UV
    scores = sum(SCORE_WEIGHTS[name] * _to_unit_range(term, counted) for name, term in _score_terms(x).items())
    return torch.where(counted, scores, 0.0)


def limit_runs(mask: Tensor, max_run: int, *, n_channels: int | None = None) -> Tensor:
    """Show one patch after every `max_run` hidden ones of a run.

    A patch is shown if the run of hidden patches that ends with it has a length that is a multiple of `max_run` + 1,
    counted in the mask as it came: of 14 in a row and ``max_run=5``, the 6th and the 12th.

    Parameters
    ----------
    mask : Tensor of bool, shape (..., n_channels * n_patches)
        True where a patch is hidden.
    max_run : int
        Most patches in a row that stay hidden.
    n_channels : int | None
        Channels, whose ends are ends of runs; None lets runs go on from one channel to the next, as published.

    Returns
    -------
    limited : Tensor of bool, shape (..., n_channels * n_patches)
        True where a patch stays hidden.

    Raises
    ------
    ValueError, TypeError
        If `mask` is not boolean, does not consist of as many channels, or `max_run` is below 1.
    """
    _check_mask(mask, n_channels)
    check_number("max_run", max_run, minimum=1, integer=True)
    hidden = mask.unflatten(-1, (n_channels or 1, -1))
    place = torch.arange(1, hidden.shape[-1] + 1, device=mask.device)
    last_shown = torch.where(hidden, 0, place).cummax(-1).values
    return (hidden & ((place - last_shown) % (max_run + 1) != 0)).flatten(-2)


def _score_terms(x: Tensor) -> dict[str, Tensor]:
    """The terms of the scores of patches (n_segments, n_tokens, 200) before scaling: each (n_segments, n_tokens)."""
    power = torch.fft.rfft(x).abs().square()  # 0 to 100 Hz, 1 Hz apart
    total = power.sum(-1) + _EPS
    d1 = x.diff()
    d2 = d1.diff()
    v0, v1 = x.var(-1) + _EPS, d1.var(-1) + _EPS
    mobility = (v1 / v0).sqrt()
    return {
        "neural_ratio": power[..., 4:30].sum(-1) / total,
        "clean_ratio": 1 - (power[..., :2].sum(-1) + power[..., 45:].sum(-1)) / total,
        "complexity": (d2.var(-1) / v1).sqrt() / (mobility + _EPS),
        "irregularity": d1.abs().diff().abs().mean(-1) / (d1.abs().mean(-1) + _EPS),
        "mobility": mobility,
    }


def _to_unit_range(term: Tensor, counted: Tensor) -> Tensor:
    """Scale (n_segments, n_tokens) so that the tokens that count lie between 0 and 1; the others have no meaning."""
    low = term.masked_fill(~counted, torch.inf).amin(-1, keepdim=True)
    high = term.masked_fill(~counted, -torch.inf).amax(-1, keepdim=True)
    return (term - low) / (high - low + _EPS)


def _prefer_important(scores: Tensor, uniform: Tensor, other: Tensor, weight: float, temperature: float) -> Tensor:
    """Numbers whose largest are drawn without replacement, with probabilities that grow with the scores."""
    mixed = weight * scores + (1 - weight) * uniform
    centred = mixed - mixed.mean(-1, keepdim=True)
    std = (centred.square().sum(-1, keepdim=True) / max(scores.shape[-1] - 1, 1)).sqrt()
    gumbel = -torch.log(-torch.log1p(-other))
    return centred / (std + 1e-6) / temperature + gumbel


def _prefer_nothing(scores: Tensor, uniform: Tensor, other: Tensor, weight: float, temperature: float) -> Tensor:
    """Numbers whose largest are any of the tokens."""
    return uniform


_PREFERENCES = {"importance": _prefer_important, "random": _prefer_nothing}


def _largest(values: Tensor, n: int) -> Tensor:
    """True at the n largest values of each row."""
    return torch.zeros_like(values, dtype=torch.bool).scatter(-1, values.topk(n).indices, True)


def _uniform(seeds: np.ndarray, n: int) -> Tensor:
    """Numbers in [0, 1) from seeds (n_segments,) alone: (n_segments, n)."""
    bits = np.empty((len(seeds), n), dtype=np.uint64)
    for row, seed in zip(bits, seeds, strict=True):
        row[:] = np.random.Philox(key=int(seed)).random_raw(n)  # the same in every version of NumPy
    return torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53)


def _checked_seeds(seeds: Tensor, n_segments: int) -> np.ndarray:
    """Seeds (n_segments,) as unsigned numbers."""
    seeds = torch.as_tensor(seeds)
    if seeds.ndim != 1 or seeds.is_floating_point() or seeds.is_complex() or seeds.dtype == torch.bool:
        raise ValueError(
            f"seeds must be integers of shape (n_segments,), got {seeds.dtype} of shape {tuple(seeds.shape)}."
        )
    if len(seeds) != n_segments:
        raise ValueError(f"There must be one seed per segment; got {len(seeds)} seeds for {n_segments} segments.")
    return seeds.cpu().to(torch.int64).numpy().view(np.uint64)


def _check_patches(patches: Tensor) -> None:
    """Raise unless patches are (n_segments, n_channels, n_patches, 200), none of them 0."""
    if patches.ndim != 4 or 0 in patches.shape or patches.shape[3] != PATCH_LENGTH:
        raise ValueError(
            f"patches must be (n_segments, n_channels, n_patches, {PATCH_LENGTH}), none of them 0, got "
            f"{tuple(patches.shape)}; cut signals (n_segments, n_channels, n_times) at 200 Hz with "
            f"x.unflatten(-1, (-1, {PATCH_LENGTH}))."
        )


def _check_scores(scores: Tensor, n_channels: int) -> None:
    """Raise unless scores are (n_segments, n_tokens) and can be cut into so many channels."""
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must be (n_segments, n_channels * n_patches), got {tuple(scores.shape)}.")
    _check_channels(scores.shape[1], n_channels)


def _check_mask(mask: Tensor, n_channels: int | None) -> None:
    """Raise unless a mask is boolean and can be cut into so many channels."""
    if mask.dtype != torch.bool or mask.ndim == 0 or mask.shape[-1] == 0:
        raise ValueError(f"mask must be bool of shape (..., n_tokens), got {mask.dtype} of shape {tuple(mask.shape)}.")
    if n_channels is not None:
        _check_channels(mask.shape[-1], n_channels)


def _check_channels(n_tokens: int, n_channels: int) -> None:
    """Raise unless so many tokens are those of so many channels."""
    check_number("n_channels", n_channels, minimum=1, integer=True)
    if n_tokens % n_channels:
        raise ValueError(
            f"{n_tokens} patches are not those of n_channels={n_channels} channels, which have the same number each."
        )
