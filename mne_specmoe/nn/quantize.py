"""Residual vector quantisation: vectors as a few codes each, coarse to fine, from codebooks learnt by averaging.

A codebook holds K vectors, a quantiser picks the nearest, a residual quantiser lets level after level quantise what
the levels before have left. With a vector :math:`h`, :math:`r_1 = h`, codebooks :math:`W_l` and the stop-gradient
:math:`\\mathrm{sg}`, BrainRVQ (arXiv:2602.16951) computes

.. math::
    z_l = r_l / \\|r_l\\|, \\quad i_l = \\arg\\min_k \\|z_l - W_l[k]\\|^2, \\quad c_l = W_l[i_l], \\quad
    r_{l+1} = r_l - c_l, \\quad q = \\sum_l z_l + \\mathrm{sg}(c_l - z_l) .

Codes are buffers: they follow moving averages of the vectors that fell to them, and no optimiser sees them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.nn.extremes import first_smallest

STARTS = ("kmeans", "random")

# Distances of one block: they stay in the processor's cache, or keep a GPU busy.
_BLOCK_ELEMENTS = {"cpu": 2**20, "cuda": 2**27}
_N_KMEANS_ITERATIONS = 10
# Below this norm a vector has no direction.
_NO_NORM = 1e-12
# Laplace smoothing: pseudo-count of every code in counted averages.
_PSEUDO_COUNT = 1e-5


class Quantized(NamedTuple):
    """What a quantiser makes of vectors.

    Attributes
    ----------
    quantized : Tensor
        Codes in place of the vectors, in the vectors' shape; the gradient passes straight through to the vectors.
    codes : int64 Tensor
        Numbers of the codes; a residual quantiser puts its levels first.
    loss : Tensor, scalar
        Commitment: weighted mean squared distance of vectors and codes, summed over levels.
    """

    quantized: Tensor
    codes: Tensor
    loss: Tensor


@torch.no_grad()
def nearest_codes(x: Tensor, codes: Tensor, *, block: int | None = None) -> Tensor:
    """Number of the code nearest to each vector; of equally near ones, the first.

    Parameters
    ----------
    x : Tensor, shape (n_vectors, width)
        Vectors.
    codes : Tensor, shape (n_codes, width)
        Codes, of the same dtype.
    block : int | None
        Vectors compared at a time: memory is that of ``block * n_codes`` distances (None: about 4 MB on CPUs,
        512 MB on GPUs).

    Returns
    -------
    numbers : int64 Tensor, shape (n_vectors,)
        :math:`\\arg\\min_k \\|W_k\\|^2 - 2 x \\cdot W_k`: what :math:`\\|x\\|^2` adds is the same for all codes.
    """
    if block is None:
        block = max(1, _BLOCK_ELEMENTS.get(x.device.type, _BLOCK_ELEMENTS["cpu"]) // len(codes))
    squares = codes.square().sum(1)
    # One block for all: fresh memory costs page faults. Autocast leaves calls with `out` alone, so that it cannot
    # round to half precision.
    scratch = x.new_empty(min(block, len(x)), len(codes))
    numbers = []
    for part in x.split(block):
        distances = torch.addmm(squares, part, codes.T, alpha=-2, out=scratch[: len(part)])
        numbers.append(first_smallest(distances))
    return torch.cat(numbers)


def _totals(x: Tensor, numbers: Tensor, n_codes: int) -> Tensor:
    """Per code the sum of its vectors and, in the last column, their number: [n_codes, width + 1]."""
    rows = torch.cat([x, x.new_ones(len(x), 1)], 1)
    return rows.new_zeros(n_codes, rows.shape[1]).index_add_(0, numbers, rows)


def _draw(x: Tensor, n: int) -> Tensor:
    """Draw n of the vectors, each at most once if there are enough of them."""
    picked = torch.randperm(len(x), device="cpu")[:n] if len(x) >= n else torch.randint(len(x), (n,), device="cpu")
    return x[picked.to(x.device)]


def _sum_over_processes(x: Tensor) -> Tensor:
    """Sum over processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(x)
    return x


def _from_first_process(x: Tensor) -> Tensor:
    """The first process's tensor, in place."""
    if dist.is_initialized():
        dist.broadcast(x, src=0)
    return x


def _is_first_process() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _unit(x: Tensor) -> Tensor:
    """Vectors of norm 1; those without a direction get no gradient instead of one of 1 / 1e-12."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    unit = x / norm.clamp_min(_NO_NORM)
    return torch.where(norm > _NO_NORM, unit, unit.detach())


def _directions(x: Tensor, otherwise: Tensor) -> Tensor:
    """Rows of norm 1, and other rows for those without a direction."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.where(norm > _NO_NORM, x / norm, otherwise)


def _as_they_are(x: Tensor, otherwise: Tensor) -> Tensor:
    return x


def _follow_directions(book: "Codebook", sums: Tensor) -> Tensor:
    """Codes moved towards the mean direction of their vectors, however many these are."""
    means = _directions(sums, book.codes)
    return _directions(book.codes.lerp(means, 1 - book.decay), book.codes)


def _follow_means(book: "Codebook", sums: Tensor) -> Tensor:
    """Codes as means of all vectors so far, the older the less; `usage` is up to date already."""
    book.sums.lerp_(sums, 1 - book.decay)
    total = book.usage.sum()
    smoothed = (book.usage + _PSEUDO_COUNT) * total / (total + book.n_codes * _PSEUDO_COUNT)
    return book.sums / smoothed[:, None]


class _Geometry(NamedTuple):
    """What codes may be, and how they follow their vectors."""

    place: Callable[[Tensor, Tensor], Tensor]  # vectors → codes, given other codes for vectors that cannot be one
    follow: Callable[["Codebook", Tensor], Tensor]  # sums of vectors → new codes, right for those in use


GEOMETRIES = {"unit": _Geometry(_directions, _follow_directions), "plain": _Geometry(_as_they_are, _follow_means)}


def _k_means(x: Tensor, centres: Tensor, place: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Lloyd's iterations; an empty cluster keeps its centre."""
    for _ in range(_N_KMEANS_ITERATIONS):
        totals = _totals(x, nearest_codes(x, centres), len(centres))
        counts = totals[:, -1:]
        means = place(totals[:, :-1] / counts.clamp_min(1), centres)
        centres = torch.where(counts > 0, means, centres)
    return centres


class Codebook(nn.Module):
    """Vectors that stand for others, learnt by k-means at the start and by moving averages from then on.

    All state is in buffers, so that a state dict resumes exactly. Looking up changes none of it.

    Parameters
    ----------
    n_codes : int
        Number of codes.
    width : int
        Length of a code.
    geometry : {"unit", "plain"}
        ``"unit"``: codes of norm 1 for vectors of norm 1. An update moves a code in use towards the mean direction of
        the vectors that it stands for in this batch, whatever their number: W ← unit(decay · W + (1 − decay) · m).
        ``"plain"``: a code is the mean of all vectors that it ever stood for, with weights that fall by `decay` per
        update (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1, and Laplace smoothing).
    decay : float
        How much of the old stays in one update, in [0, 1).
    init : {"kmeans", "random"}
        ``"kmeans"``: codes come from the first batch in training, ten iterations from vectors drawn from it.
        ``"random"``: random directions, ready at once.
    radius : float
        Norm of random codes.
    revive_after : int | None
        A code that stood for no vector in so many updates in a row is replaced by a vector of the batch, drawn at
        random (None: never).

    Attributes
    ----------
    codes : Tensor, shape (n_codes, width)
        The codes.
    ready : bool Tensor, scalar
        Whether there are codes to look up.
    usage : Tensor, shape (n_codes,)
        Moving average of the number of vectors per update.
    n_uses : int64 Tensor, shape (n_codes,)
        Number of vectors in updates since `reset_usage`.
    idle : int64 Tensor, shape (n_codes,)
        Number of updates since the last one with a vector.
    sums : Tensor, shape (n_codes, width)
        Moving average of the sums of vectors, for the plain geometry only.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Notes
    -----
    Draws come from torch's default generator of the CPU. With `torch.distributed`, updates use the vectors of all
    processes, while k-means and replacements use those of the first one, so that codebooks which begin the same stay
    the same everywhere.
    """

    def __init__(
        self,
        n_codes: int,
        width: int,
        *,
        geometry: str = "unit",
        decay: float = 0.99,
        init: str = "kmeans",
        radius: float = 1.0,
        revive_after: int | None = None,
    ):
        super().__init__()
        check_number("n_codes", n_codes, minimum=1, integer=True)
        check_number("width", width, minimum=1, integer=True)
        check_option("geometry", geometry, GEOMETRIES)
        check_number("decay", decay, minimum=0)
        if decay >= 1:
            raise ValueError(f"decay must be >= 0 and < 1, got {decay!r}; at 1 the codes would never move.")
        check_option("init", init, STARTS)
        check_number("radius", radius, minimum=0, strict=True)
        if revive_after is not None:
            check_number("revive_after", revive_after, minimum=1, integer=True)
        self.n_codes, self.width, self.geometry, self.decay = n_codes, width, geometry, decay
        self.revive_after = revive_after
        self.register_buffer("codes", radius * F.normalize(torch.randn(n_codes, width), dim=1))
        self.register_buffer("ready", torch.tensor(init == "random"))
        self.register_buffer("usage", torch.zeros(n_codes))
        self.register_buffer("n_uses", torch.zeros(n_codes, dtype=torch.int64))
        self.register_buffer("idle", torch.zeros(n_codes, dtype=torch.int64))
        self.register_buffer("sums", torch.zeros(n_codes, width) if geometry == "plain" else None)

    def encode(self, x: Tensor) -> Tensor:
        """Numbers (n_vectors,) of the codes nearest to vectors (n_vectors, width); RuntimeError if there are none."""
        self._check_ready()
        return nearest_codes(x, self.codes)

    def decode(self, numbers: Tensor) -> Tensor:
        """Codes (..., width) of numbers (...); RuntimeError if there are none."""
        self._check_ready()
        return F.embedding(numbers, self.codes)

    def _check_ready(self) -> None:
        if not self.ready:
            raise RuntimeError(
                "The codebook has no codes yet: with init='kmeans' they come from the first batch in training. Call "
                "train() and forward() with a batch, load a trained state dict, or use init='random'."
            )

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Take the codes from vectors (n_vectors, width) by k-means, unless there are codes already."""
        if self.ready:
            return
        if _is_first_process():
            place = GEOMETRIES[self.geometry].place
            self.codes.copy_(_k_means(x, place(_draw(x, self.n_codes), self.codes), place))
        _from_first_process(self.codes)
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, x: Tensor, numbers: Tensor) -> None:
        """Let the codes follow the vectors (n_vectors, width) that `encode` gave these numbers, and count them."""
        totals = _sum_over_processes(_totals(x, numbers, self.n_codes))
        sums, counts = totals[:, :-1], totals[:, -1]
        used = counts > 0
        self.usage.lerp_(counts, 1 - self.decay)
        self.n_uses += counts.long()
        self.idle.add_(1).masked_fill_(used, 0)
        followed = GEOMETRIES[self.geometry].follow(self, sums)
        self.codes.copy_(torch.where(used[:, None], followed, self.codes))
        if self.revive_after is not None:
            self._revive(x)

    def _revive(self, x: Tensor) -> None:
        """Put vectors of the batch in place of codes that stood for none for too long."""
        dead = (self.idle >= self.revive_after).nonzero().squeeze(1)
        if len(dead) == 0:  # the same on every process
            return
        drawn = GEOMETRIES[self.geometry].place(_draw(x, len(dead)), self.codes[dead])
        self.codes[dead] = _from_first_process(drawn)
        for state in (self.usage, self.idle, self.sums):
            if state is not None:
                state[dead] = 0

    def reset_usage(self) -> None:
        """Count uses anew; moving averages and revival go on."""
        self.n_uses.zero_()

    def perplexity(self) -> Tensor:
        """Exponential of the entropy of uses since `reset_usage`, in [1, n_codes]; NaN if there were none."""
        share = self.n_uses / self.n_uses.sum()
        return torch.special.entr(share).sum().exp()

    def dead_codes(self) -> Tensor:
        """Number of codes without use since `reset_usage`."""
        return (self.n_uses == 0).sum()


class VectorQuantizer(nn.Module):
    """Puts the nearest code in the place of each vector.

    Parameters
    ----------
    codebook : Codebook
        The codes.
    beta : float
        Weight of the commitment loss.
    normalise : bool
        Whether vectors are brought to norm 1 first.

    Raises
    ------
    TypeError, ValueError
        If `beta` is no number or negative.
    """

    def __init__(self, codebook: Codebook, *, beta: float = 1.0, normalise: bool = True):
        super().__init__()
        check_number("beta", beta, minimum=0)
        self.codebook, self.beta, self.normalise = codebook, beta, normalise

    def encode(self, x: Tensor) -> Tensor:
        """Numbers (n_vectors,) of the codes of vectors (n_vectors, width)."""
        return self.codebook.encode(self._prepared(x))

    def decode(self, numbers: Tensor) -> Tensor:
        """Codes (..., width) of numbers (...)."""
        return self.codebook.decode(numbers)

    def forward(self, x: Tensor) -> Quantized:
        """Quantise vectors (n_vectors, width); in training mode the codes follow them afterwards."""
        x = self._prepared(x)
        if self.training:
            self.codebook.initialise(x)
        numbers = self.codebook.encode(x)
        nearest = self.codebook.decode(numbers)
        if self.training:
            self.codebook.update(x, numbers)
        return Quantized(_straight_through(x, nearest), numbers, self.beta * F.mse_loss(x, nearest))

    def _prepared(self, x: Tensor) -> Tensor:
        return _unit(x) if self.normalise else x


def _straight_through(x: Tensor, nearest: Tensor) -> Tensor:
    """Exactly the values of `nearest`, with the gradient of x."""
    return nearest.detach() + (x - x.detach())


class _Residual(NamedTuple):
    """How levels share a vector."""

    enter: Callable[[Tensor], Tensor]  # what is done to vectors once
    normalise: bool  # whether each level normalises what it is given
    deeper: str  # geometry of all codebooks but the first
    deeper_radius: float  # norm of random codes, relative to the level before
    leave: Callable[[Tensor, Tensor], Tensor]  # entered vectors, sum of levels → result with its gradient


def _same(x: Tensor) -> Tensor:
    return x


def _sum_of_levels(x: Tensor, total: Tensor) -> Tensor:
    return total


RESIDUALS = {
    "published": _Residual(_same, True, "unit", 1.0, _sum_of_levels),
    "plain": _Residual(_unit, False, "plain", 0.5, _straight_through),
}


class ResidualQuantizer(nn.Module):
    """Vectors as one code per level, each level quantising what those before have left (BrainRVQ, arXiv:2602.16951).

    Parameters
    ----------
    n_levels : int
        Number of levels, i.e. of codes per vector.
    n_codes : int
        Number of codes per level.
    width : int
        Length of a vector.
    decay : float
        How much of the old stays in one update of the codes, in [0, 1).
    beta : float
        Weight of the commitment loss.
    residual : {"published", "plain"}
        ``"published"``: each level quantises the *direction* of what is left, but its unit code is taken away from
        what is left itself. The result, a sum of unit vectors, does not approximate vectors that are much longer or
        shorter than 1, and gets the sum of all levels' gradients.
        ``"plain"``: vectors are normalised once, and deeper levels quantise what is left as it is, by codes that are
        plain means. The result approximates the vector's direction, the better the more levels there are, and gets
        its gradient once.
    init : {"kmeans", "random"}
        Whether codes come from the first batch in training, or are random and ready at once. For
        ``residual="plain"``, random codes of a level are half as long as those of the level before.
    revive_after : int | None
        Number of updates without use after which a code is replaced by a vector of the batch (None: never, as
        published).

    Attributes
    ----------
    levels : ModuleList of VectorQuantizer
        The levels, coarse to fine.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Notes
    -----
    Codes change in `forward` in training mode only, after the look-up. `encode`, `decode`, and `forward` in evaluation
    mode change no state. Everything is computed in the precision of the codes, float32, under autocast, too.

    In one place gradients are not the published ones: a vector of zeros has no direction, and gets a gradient of 0.

    Examples
    --------
    >>> import torch
    >>> from mne_specmoe.nn.quantize import ResidualQuantizer
    >>> quantizer = ResidualQuantizer(n_levels=3, n_codes=16, width=8, init="random").eval()
    >>> h = torch.randn(2, 8, 4, 5)  # recordings, width, channels, patches
    >>> codes = quantizer.encode(h)
    >>> codes.shape
    torch.Size([3, 2, 4, 5])
    >>> torch.equal(quantizer.decode(codes), quantizer(h).quantized)
    True
    """

    def __init__(
        self,
        n_levels: int = 3,
        n_codes: int = 8192,
        width: int = 64,
        *,
        decay: float = 0.99,
        beta: float = 1.0,
        residual: str = "published",
        init: str = "kmeans",
        revive_after: int | None = None,
    ):
        super().__init__()
        check_number("n_levels", n_levels, minimum=1, integer=True)
        check_option("residual", residual, RESIDUALS)
        self.n_levels, self.n_codes, self.width, self.residual = n_levels, n_codes, width, residual
        way = RESIDUALS[residual]
        books = [
            Codebook(
                n_codes,
                width,
                geometry=way.deeper if level else "unit",
                decay=decay,
                init=init,
                radius=way.deeper_radius**level,
                revive_after=revive_after,
            )
            for level in range(n_levels)
        ]
        levels = [VectorQuantizer(book, beta=beta, normalise=way.normalise) for book in books]
        self.levels = nn.ModuleList(levels)

    @torch.no_grad()
    def encode(self, h: Tensor) -> Tensor:
        """Find the codes of vectors.

        Parameters
        ----------
        h : Tensor, shape (n_batch, width, *spatial)
            Vectors along the second axis.

        Returns
        -------
        codes : int64 Tensor, shape (n_levels, n_batch, *spatial)
            Coarse to fine.

        Raises
        ------
        TypeError, ValueError
            If `h` is not of floating point or has another width.
        RuntimeError
            If there are no codes yet.
        """
        left, codes = self._vectors(h), []
        for level in self.levels:
            codes.append(level.encode(left))
            left = left - level.decode(codes[-1])
        return torch.stack(codes).view(self.n_levels, h.shape[0], *h.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Sum what the codes stand for.

        Parameters
        ----------
        codes : int Tensor, shape (n_given, n_batch, *spatial)
            Codes of the first 1 to `n_levels` levels, coarse to fine.

        Returns
        -------
        quantized : Tensor, shape (n_batch, width, *spatial)

        Raises
        ------
        TypeError, ValueError
            If `codes` are no integers, of too many or no levels, or out of range.
        RuntimeError
            If there are no codes yet.
        """
        self._check_codes(codes)
        total = sum(level.decode(numbers) for level, numbers in zip(self.levels, codes, strict=False))
        return total.movedim(-1, 1)

    def forward(self, h: Tensor) -> Quantized:
        """Quantise vectors; in training mode, take or update the codes.

        Parameters
        ----------
        h : Tensor, shape (n_batch, width, *spatial)
            Vectors along the second axis.

        Returns
        -------
        result : Quantized
            ``quantized`` (n_batch, width, *spatial) with the values of `decode`; ``codes`` (n_levels, n_batch,
            *spatial) as from `encode`; ``loss``, the sum of the levels' commitment.

        Raises
        ------
        TypeError, ValueError
            If `h` is not of floating point or has another width.
        RuntimeError
            If there are no codes yet, in evaluation mode.
        """
        x = left = self._vectors(h)
        steps = []
        for level in self.levels:
            steps.append(level(left))
            left = left - steps[-1].quantized.detach()
        total = RESIDUALS[self.residual].leave(x, sum(step.quantized for step in steps))
        quantized = total.unflatten(0, (h.shape[0], *h.shape[2:])).movedim(-1, 1)
        codes = torch.stack([step.codes for step in steps]).view(self.n_levels, h.shape[0], *h.shape[2:])
        return Quantized(quantized, codes, sum(step.loss for step in steps))

    def reset_usage(self) -> None:
        """Count uses anew for `perplexity` and `dead_codes`."""
        for level in self.levels:
            level.codebook.reset_usage()

    def perplexity(self) -> Tensor:
        """Perplexity of the codes in training since `reset_usage`, shape (n_levels,); NaN without any use."""
        return torch.stack([level.codebook.perplexity() for level in self.levels])

    def dead_codes(self) -> Tensor:
        """Number of codes without use in training since `reset_usage`, shape (n_levels,)."""
        return torch.stack([level.codebook.dead_codes() for level in self.levels])

    def _vectors(self, h: Tensor) -> Tensor:
        """Vectors [n_vectors, width] of h [B, width, *spatial] as the first level gets them."""
        if not h.is_floating_point():
            raise TypeError(f"h must be of floating point, got {h.dtype}.")
        if h.ndim < 2 or h.shape[1] != self.width:
            raise ValueError(f"h must have the shape (n_batch, {self.width}, ...), got {tuple(h.shape)}.")
        x = h.movedim(1, -1).reshape(-1, self.width)
        return RESIDUALS[self.residual].enter(x.to(self.levels[0].codebook.codes.dtype))

    def _check_codes(self, codes: Tensor) -> None:
        """Raise unless these are codes of the first levels."""
        if codes.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"codes must be int64 or int32, as encode returns them, got {codes.dtype}.")
        if codes.ndim < 2 or not 1 <= len(codes) <= self.n_levels:
            raise ValueError(
                f"codes must have the shape (n_given, n_batch, ...) with 1 to {self.n_levels} levels, coarse to fine, "
                f"got {tuple(codes.shape)}."
            )
        if codes.numel() and not (0 <= codes.min() and codes.max() < self.n_codes):
            raise ValueError(
                f"codes must be in [0, {self.n_codes}), got {int(codes.min())} to {int(codes.max())}; "
                "are they from another quantiser?"
            )
