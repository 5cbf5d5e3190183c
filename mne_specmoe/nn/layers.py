"""Convolution and normalisation blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class SameConv1d(nn.Conv1d):
    """Convolution that keeps the length; an even kernel gets the odd sample of padding on the right.

    torch's ``padding="same"`` with the padding written out, which spares its warning about even kernels.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, bias: bool = True, dilation: int = 1):
        super().__init__(n_in, n_out, kernel, bias=bias, dilation=dilation)
        reach = dilation * (kernel - 1)
        self._same = (reach // 2, reach - reach // 2)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(F.pad(x, self._same), weight, bias)


class Dropout(nn.Dropout):
    """Dropout whose mask comes from uniform numbers, which one CPU core draws twice as fast as torch's Bernoulli."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape, device=x.device).ge_(self.p).div_(1 - self.p)  # half precision would round p
        return x * kept.to(x.dtype)


class MaxPool1d(nn.MaxPool1d):
    """Maximum over a window, quicker in training on CPUs: the maxima of all channels of one time are found at once.

    Values and gradients are those of `torch.nn.MaxPool1d` without dilation, which looks for one maximum at a time
    where a gradient will be asked for.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled():
            return _ChannelsLastMaxPool.apply(x, self.kernel_size, self.stride, self.padding)
        return super().forward(x)


class _ChannelsLastMaxPool(torch.autograd.Function):
    """Pooling of [B, C, T] with channels side by side in memory; the gradient as torch does it."""

    @staticmethod
    def forward(ctx, x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        ctx.options = [1, kernel], [1, stride], [0, padding]
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(image, *ctx.options)
        ctx.save_for_backward(x, indices.contiguous())
        return pooled.squeeze(2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, indices = ctx.saved_tensors
        image, grad = x.unsqueeze(2), grad.contiguous().unsqueeze(2)
        back = torch.ops.aten.max_pool2d_with_indices_backward(grad, image, *ctx.options, [1, 1], False, indices)
        return back.squeeze(2), None, None, None


class PhaseConvTranspose1d(nn.ConvTranspose1d):
    """Transposed convolution computed as one convolution whose outputs are interleaved.

    Output samples t with the same t mod stride see the same taps, so a transposed convolution of stride s is an
    ordinary one with s times the output channels and a kernel s times shorter, followed by interleaving. On CPUs that
    is faster for strides of 3 and more. Parameters and results are those of `torch.nn.ConvTranspose1d` without groups.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, self.bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (stride,), (padding,), (dilation,) = self.stride, self.padding, self.dilation
        n_in, n_out, n_taps = weight.shape
        reach = dilation * (n_taps - 1) + 1
        n_times = (x.shape[-1] - 1) * stride - 2 * padding + reach + self.output_padding[0]
        # y[t] = sum_i x[i] w[t + padding - i·stride]: leading zeros make the padding a whole number of strides.
        n_skipped = -(-padding // stride)
        lead = n_skipped * stride - padding
        n_steps = -(-(lead + reach) // stride)
        dense = weight.new_zeros(n_in, n_out, n_steps * stride)
        dense[..., lead : lead + reach : dilation] = weight
        phases = dense.unflatten(-1, (n_steps, stride)).flip(2)  # [in, out, step, phase]
        phases = phases.permute(1, 3, 0, 2).flatten(0, 1)  # [out·phase, in, step]
        n_rows = -(-n_times // stride)
        left = n_steps - 1 - n_skipped
        right = n_rows + n_skipped - x.shape[-1]
        y = F.conv1d(F.pad(x, (left, right)), phases)  # [B, out·phase, row]
        y = y.unflatten(1, (n_out, stride)).transpose(2, 3).flatten(2)[..., :n_times]
        return y if bias is None else y + bias[:, None]


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation, exact GELU.

    In evaluation mode the normalisation is folded into the convolution's weights: one pass over the signal less, the
    same numbers to rounding, and still differentiable.

    Parameters
    ----------
    conv : Conv1d or ConvTranspose1d
        The convolution; the number of its output channels sets that of the normalisation.
    pool : nn.Module | None
        Comes before the activation, which then costs less.

    Attributes
    ----------
    masked_norm : BatchNorm1d | None
        A second normalisation, for signals of which a mask hides a part, where `add_masked_norms` made one.
    sees_masked : bool
        Whether that one is used, see `seeing_masked`.
    """

    def __init__(self, conv: nn.Conv1d | nn.ConvTranspose1d, *, pool: nn.Module | None = None):
        super().__init__()
        self.conv, self.pool = conv, pool
        self.norm = nn.BatchNorm1d(conv.out_channels)
        self.masked_norm: nn.BatchNorm1d | None = None
        self.sees_masked = False

    def forward(self, x: Tensor) -> Tensor:
        norm = self.masked_norm if self.sees_masked else self.norm
        x = norm(self.conv(x)) if self.training else self._folded(x, norm)
        return F.gelu(x if self.pool is None else self.pool(x))

    def _folded(self, x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        """Convolution and running normalisation in one."""
        conv = self.conv
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * gain
        if conv.bias is not None:
            bias = bias + conv.bias * gain
        transposed = isinstance(conv, nn.ConvTranspose1d)  # weights [in, out, taps] instead of [out, in, taps]
        weight = conv.weight * gain.view((1, -1, 1) if transposed else (-1, 1, 1))
        if isinstance(conv, nn.Conv1d | PhaseConvTranspose1d):
            return conv._conv_forward(x, weight, bias)
        options = conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation
        return F.conv_transpose1d(x, weight, bias, *options)


def add_masked_norms(module: nn.Module) -> None:
    """Give every `ConvNormAct` in a module a second normalisation for masked signals, a copy of the first.

    Statistics of clean and of masked signals differ by far, and one set of them fits neither
    (doi:10.1109/CVPR42600.2020.00090 does so for adversarial images).
    """
    for block in _blocks(module):
        block.masked_norm = deepcopy(block.norm)


@contextmanager
def seeing_masked(module: nn.Module) -> Iterator[None]:
    """Inside, every `ConvNormAct` in a module that has a normalisation for masked signals uses it."""
    blocks = [block for block in _blocks(module) if block.masked_norm is not None]
    try:
        for block in blocks:
            block.sees_masked = True
        yield
    finally:
        for block in blocks:
            block.sees_masked = False


def _blocks(module: nn.Module) -> list[ConvNormAct]:
    """All `ConvNormAct` in a module."""
    return [block for block in module.modules() if isinstance(block, ConvNormAct)]


class SampleStdLayerNorm(nn.Module):
    """Layer norm with the unbiased standard deviation: a · (x − mean) / (std + eps) + b.

    Parameters
    ----------
    dim : int
        Size of the last axis, which is normalised.
    eps : float
        Added to the standard deviation (not to the variance).
    """

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, -1, keepdim=True)
        return self.weight * (x - mean) / (std + self.eps) + self.bias
