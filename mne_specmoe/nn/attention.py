"""Rotary positions and attention, standard and normalised over the queries.

Query-normalised attention is what the published SpecMoE experts were trained with. With scaled scores
:math:`s_{ij} = q_i \\cdot k_j / \\sqrt{d}`, whose diagonal is set to 0, the softmax runs over the *queries*:

.. math:: o_i = \\sum_j \\frac{e^{s_{ij}}}{Z_j} v_j, \\qquad Z_j = \\sum_i e^{s_{ij}}, \\qquad s_{jj} := 0 .

Neither form below stores the N × N map of scores.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mne_specmoe._validation import check_option

ATTENTION_FORMS = ("auto", "blocked", "fused")

# Scores of one tile: small enough for the processor's cache, large enough to keep a GPU busy.
_TILE_ELEMENTS = {"cpu": 3 * 2**16, "cuda": 2**27}
# Processors multiply matrices of whole numbers of vectors faster.
_COLUMNS_MULTIPLE = 16
# exp() of a score below this bound neither overflows nor makes the sum lose small terms in float32.
_SAFE_EXPONENT = 50.0
# The fused form subtracts the diagonal afterwards; its rounding error grows by e^l_j / Z_j.
_MAX_AMPLIFICATION = 3.0


def rotary_factors(positions: Tensor, dim: int, *, base: float = 10_000.0) -> Tensor:
    """Unit complex numbers that rotate adjacent pairs of features by their position.

    Parameters
    ----------
    positions : Tensor, shape (n_batch, n_tokens)
        Position of every token, any real number.
    dim : int
        Number of features of one head, even.
    base : float
        Pair i turns by ``position * base ** (-2 i / dim)`` (RoFormer, doi:10.1016/j.neucom.2023.127063).

    Returns
    -------
    factors : complex Tensor, shape (n_batch, 1, n_tokens, dim // 2)
    """
    exponents = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype) / dim
    angles = positions[:, None, :, None] * base**-exponents
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, factors: Tensor) -> Tensor:
    """Rotate ``x`` (n_batch, n_heads, n_tokens, dim) by `rotary_factors`."""
    if x.dtype != factors.real.dtype:  # autocast hands over half precision, complex needs full
        x = x.to(factors.real.dtype)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * factors).flatten(-2)


def query_normalised_attention(query: Tensor, key: Tensor, value: Tensor, *, form: str = "auto") -> Tensor:
    """Attention whose softmax runs over the queries, with the diagonal scores set to 0.

    Parameters
    ----------
    query, key, value : Tensor, shape (..., n_tokens, dim)
        One sequence attending to itself, so the three have one shape.
    form : {"auto", "blocked", "fused"}
        ``"blocked"`` walks over blocks of columns and is exact for any input. ``"fused"`` (CPU) makes two calls
        of torch's fused kernel and corrects the diagonal; heads for which that correction would cancel
        are computed by the blocked form. ``"auto"`` is ``"blocked"``, the faster of the two where measured.

    Returns
    -------
    output : Tensor, shape (..., n_tokens, dim)

    Notes
    -----
    Half precision is computed in float32. The gradient is our own: torch gives none through the log-sum-exp of its
    fused kernels. With :math:`P_{ij} = e^{s_{ij}} / Z_j`, :math:`\\mathrm dv_j = \\sum_i P_{ij}\\, \\mathrm do_i` and
    :math:`\\mathrm ds_{ij} = P_{ij} (\\mathrm do_i \\cdot v_j - v_j \\cdot \\mathrm dv_j)` off the diagonal, 0 on it.
    """
    check_option("form", form, ATTENTION_FORMS)
    if not query.shape == key.shape == value.shape:
        raise ValueError(
            "query, key and value must have one shape, got "
            f"{tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}."
        )
    if form == "fused" and query.device.type != "cpu":
        raise ValueError(f"form='fused' runs on the CPU only, got tensors on {query.device}; use 'auto'.")
    compute = torch.promote_types(query.dtype, torch.float32)
    flat = (x.to(compute).reshape(-1, *x.shape[-2:]) for x in (query, key, value))
    output = _QueryNormalisedAttention.apply(*flat, form)
    return output.to(query.dtype).view(query.shape)


class _QueryNormalisedAttention(torch.autograd.Function):
    """Query-normalised attention of [n_heads, n_tokens, dim] with its own backward pass."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, form: str) -> Tensor:
        query = query / math.sqrt(query.shape[-1])
        forward = _fused_forward if form == "fused" else _blocked_forward
        output, ctx.columns = forward(query, key, value)
        ctx.save_for_backward(query, key, value)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        backward = _fused_backward if isinstance(ctx.columns, _FusedColumns) else _blocked_backward
        d_query, d_key, d_value = backward(query, key, value, grad.contiguous(), ctx.columns)
        return d_query / math.sqrt(query.shape[-1]), d_key, d_value, None


class _Columns(NamedTuple):
    """Normalisation of every column, [n_heads, n_tokens, 1]: Z_j = total · e^shift (no shift: 0)."""

    total: Tensor
    shift: Tensor | None


class _FusedColumns(NamedTuple):
    """log Z of every column, and the heads for which the blocked form was used instead."""

    log_total: Tensor
    unsafe: Tensor
    blocked: _Columns | None


def _tiles(
    per_head: Sequence[Tensor], per_column: Sequence[Tensor | None]
) -> Iterator[tuple[int, list[Tensor], list[Tensor | None]]]:
    """Views of heads and of blocks of their columns, together few enough for one tile of scores.

    Yields the first column, the views of tensors [n_heads, ...], and those of tensors [n_heads, n_tokens, ...].
    """
    n_heads, n_tokens = per_column[0].shape[:2]
    device = per_column[0].device.type
    budget = _TILE_ELEMENTS.get(device, _TILE_ELEMENTS["cuda"])
    n_columns = max(1, budget // n_tokens // _COLUMNS_MULTIPLE) * _COLUMNS_MULTIPLE
    n_columns = min(n_tokens, n_columns)
    heads_at_once = max(1, budget // (n_columns * n_tokens))
    for first in range(0, n_heads, heads_at_once):
        heads = slice(first, first + heads_at_once)
        whole = [x[heads] for x in per_head]
        parts = (itertools.repeat(None) if x is None else x[heads].split(n_columns, dim=1) for x in per_column)
        for column, *part in zip(range(0, n_tokens, n_columns), *parts, strict=False):
            yield column, whole, part


class _Scratch:
    """Memory of a tile's scores, reused: a fresh tensor per tile would cost page faults."""

    def __init__(self):
        self._scores = torch.empty(0)

    def __call__(self, key: Tensor, query_t: Tensor) -> Tensor:
        """Uninitialised scores of a tile, shape (heads, columns, n_tokens)."""
        shape = *key.shape[:2], query_t.shape[-1]
        if self._scores.shape != shape:
            self._scores = key.new_empty(shape)
        return self._scores


def _exponentials(
    query_t: Tensor, key: Tensor, column: int, shift: Tensor | None, out: Tensor, *, find_shift: bool = False
) -> None:
    """e^(s_ij - shift_j) as [heads, j, i] written to ``out``, j from ``column`` on; ``shift`` may be found here."""
    torch.bmm(key, query_t, out=out)
    out.diagonal(column, 1, 2).zero_()
    if shift is not None:
        if find_shift:
            torch.amax(out, -1, keepdim=True, out=shift)
        out.sub_(shift)
    out.exp_()


def _blocked_forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, _Columns]:
    """Exact form: a block of columns holds all rows, so its normalisation is known at once."""
    # Sums over columns go to [heads, dim, n_tokens]: processors multiply (dim × columns) · (columns × n_tokens) about
    # twice as fast as its transpose, which has only `dim` numbers in a row.
    query_t = query.transpose(1, 2).contiguous()
    output_t = torch.zeros_like(query_t)
    total = torch.empty_like(key[..., :1])
    bound = query.norm(dim=-1).amax() * key.norm(dim=-1).amax()
    shift = None if bound < _SAFE_EXPONENT else torch.empty_like(total)
    scratch = _Scratch()
    for column, (q_t, o_t), (k, v, z, m) in _tiles((query_t, output_t), (key, value, total, shift)):
        weights = scratch(k, q_t)
        _exponentials(q_t, k, column, m, weights, find_shift=True)
        torch.sum(weights, -1, keepdim=True, out=z)
        o_t.baddbmm_((v / z).transpose(1, 2), weights)
    return output_t.transpose(1, 2).contiguous(), _Columns(total, shift)


def _blocked_backward(
    query: Tensor, key: Tensor, value: Tensor, grad: Tensor, saved: _Columns
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `_blocked_forward` with respect to the scaled query, the key and the value."""
    query_t = query.transpose(1, 2).contiguous()
    d_query_t = torch.zeros_like(query_t)
    d_key, d_value = torch.empty_like(key), torch.empty_like(value)
    # (v, -v·dv) / Z · (do, 1) gives (do_i·v_j - v_j·dv_j) / Z_j in one product.
    grad_and_one_t = F.pad(grad, (0, 1), value=1.0).transpose(1, 2).contiguous()
    value_and_delta = F.pad(value / saved.total, (0, 1))
    minus_value = -value / saved.total.square()
    weights_of, slopes_of = _Scratch(), _Scratch()
    per_head = query, query_t, grad, grad_and_one_t, d_query_t
    per_column = key, minus_value, value_and_delta, saved.shift, d_key, d_value
    for column, (q, q_t, do, do_1_t, dq_t), (k, minus_v, v_delta, m, dk, dv) in _tiles(per_head, per_column):
        weights, slopes = weights_of(k, q_t), slopes_of(k, q_t)
        _exponentials(q_t, k, column, m, weights)
        torch.bmm(weights, do, out=dv)  # Z·dv, until the last line
        torch.sum(minus_v * dv, -1, out=v_delta[..., -1])
        torch.bmm(v_delta, do_1_t, out=slopes)
        slopes.mul_(weights)
        slopes.diagonal(column, 1, 2).zero_()
        torch.bmm(slopes, q, out=dk)
        dq_t.baddbmm_(k.transpose(1, 2), slopes)
    return d_query_t.transpose(1, 2), d_key, d_value.div_(saved.total)


def _fused_call(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Row-normalised attention and its log-sum-exp, with no further scaling of the scores."""
    output, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query[None], key[None], value[None], scale=1.0
    )
    return output[0], log_sum[0].to(query.dtype)[..., None]


def _fused_forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, _FusedColumns]:
    """Two fused calls: the columns' sums, then the weighted values; the diagonal is put right after each."""
    diagonal = (query * key).sum(-1, keepdim=True)
    _, log_sum = _fused_call(key, query, query)
    total = log_sum.exp() - diagonal.exp() + 1
    scaled = value / total
    output, row_log_sum = _fused_call(query, key, scaled)
    output = row_log_sum.exp() * output + (1 - diagonal.exp()) * scaled
    amplification = torch.maximum(log_sum, diagonal).exp() / total
    largest = torch.maximum(log_sum, row_log_sum)
    safe = (amplification.abs() < _MAX_AMPLIFICATION) & (total > 0) & (largest < _SAFE_EXPONENT)
    unsafe = (~safe).any(1).squeeze(-1).nonzero().squeeze(-1)
    blocked = None
    if len(unsafe):
        output[unsafe], blocked = _blocked_forward(query[unsafe], key[unsafe], value[unsafe])
    return output, _FusedColumns(total.log(), unsafe, blocked)


def _fused_backward(
    query: Tensor, key: Tensor, value: Tensor, grad: Tensor, saved: _FusedColumns
) -> tuple[Tensor, Tensor, Tensor]:
    """The transposed map is a row softmax of (key, query), so torch's own backward kernel applies to it.

    There, ``grad`` plays the values and ``value`` the output's gradient; the true log Z is handed over as its
    log-sum-exp.
    """
    diagonal = (query * key).sum(-1, keepdim=True)
    total = saved.log_total.exp()
    mixed, log_sum = _fused_call(key, query, grad)
    d_value = (log_sum.exp() * mixed + (1 - diagonal.exp()) * grad) / total
    d_key, d_query, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        value[None],
        key[None],
        query[None],
        grad[None],
        d_value[None],
        saved.log_total.squeeze(-1)[None],
        0.0,
        False,
        scale=1.0,
    )
    d_key, d_query = d_key[0], d_query[0]
    slope = diagonal.exp() / total * ((grad - d_value) * value).sum(-1, keepdim=True)
    d_key, d_query = d_key - slope * query, d_query - slope * key
    if saved.blocked is not None:
        picked = (x[saved.unsafe] for x in (query, key, value, grad))
        parts = _blocked_backward(*picked, saved.blocked)
        for whole, part in zip((d_query, d_key, d_value), parts, strict=True):
            whole[saved.unsafe] = part
    return d_query, d_key, d_value
