"""Count the floating-point operations of a piece of work."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

_aten = torch.ops.aten


def _product(x: torch.Size, first: torch.Size, second: torch.Size, *args: object, **kwargs: object) -> int:
    """Of a matrix product, or a batch of them, that is added to x in place."""
    return 2 * first.numel() * second[-1]


def _attention(
    query: torch.Size, key: torch.Size, value: torch.Size, *args: object, out_shape: object = None, **kwargs: object
) -> int:
    """Of attention on CPUs."""
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    grad: torch.Size,
    query: torch.Size,
    key: torch.Size,
    value: torch.Size,
    *args: object,
    out_shape: object = None,
    **kwargs: object,
) -> int:
    """Of its gradients."""
    return sdpa_backward_flop_count(grad, query, key, value)


_UNKNOWN_TO_TORCH = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten.addmm_: _product,
    _aten.baddbmm_: _product,
}


def count_flops(function: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products, convolutions and attention.

    A multiplication and the addition that follows it are two. Nothing else is counted: no Fourier transforms, pooling,
    normalisation, softmax, activations, sums, nor the optimiser's own arithmetic. What torch's counter leaves out of
    those three kinds on CPUs is added: its fused attention, and products that are added in place.

    Fused encoder layers, which torch takes in evaluation mode where no gradients are asked for, hide what they
    compute: let gradients be asked for.

    Parameters
    ----------
    function : callable
        The work. It is called once.

    Returns
    -------
    n_flops : int
    """
    with FlopCounterMode(display=False, custom_mapping=_UNKNOWN_TO_TORCH) as counter:
        function()
    return counter.get_total_flops()
