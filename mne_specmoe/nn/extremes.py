"""Where the smallest, or the largest, number of each row is."""

from collections.abc import Callable

import torch
from torch import Tensor

# Numbers compared at once.
_SPAN = 256


def first_smallest(x: Tensor) -> Tensor:
    """Place of the smallest number of each row, of equal ones the first.

    The same as ``x.argmin(1)``, which on CPUs looks at one number at a time. Here the minima of spans of 256 are found
    many numbers at a time, and only the best span is searched.

    Parameters
    ----------
    x : Tensor, shape (n_rows, n_columns)
        A NaN counts as smallest.

    Returns
    -------
    places : int64 Tensor, shape (n_rows,)
    """
    return _first(x, torch.amin, torch.argmin)


def first_largest(x: Tensor) -> Tensor:
    """Place of the largest number of each row, of equal ones the first; see `first_smallest`."""
    return _first(x, torch.amax, torch.argmax)


@torch.no_grad()
def _first(x: Tensor, extreme: Callable[..., Tensor], place: Callable[..., Tensor]) -> Tensor:
    """Find the best span of each row, and the place in it."""
    if x.shape[1] % _SPAN:
        return place(x, 1)
    spans = x.unflatten(1, (-1, _SPAN))  # [rows, spans, numbers]
    best = place(extreme(spans, 2), 1)
    return best * _SPAN + place(spans[torch.arange(len(x), device=x.device), best], 1)
