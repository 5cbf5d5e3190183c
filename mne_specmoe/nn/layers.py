"""Convolution and normalisation blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SameConv1d(nn.Conv1d):
    """Convolution that keeps the length; an even kernel gets the odd sample of padding on the right.

    torch's ``padding="same"`` with the padding written out, which spares its warning about even kernels.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, bias: bool = True):
        super().__init__(n_in, n_out, kernel, bias=bias)
        self._same = ((kernel - 1) // 2, kernel // 2)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(F.pad(x, self._same), weight, bias)


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation, exact GELU.

    In evaluation mode the normalisation is folded into the convolution's weights: one pass over the signal less, the
    same numbers to rounding, and still differentiable.

    Parameters
    ----------
    conv : Conv1d or ConvTranspose1d
        The convolution; the number of its output channels sets that of the normalisation.
    """

    def __init__(self, conv: nn.Conv1d | nn.ConvTranspose1d):
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm1d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.gelu(self.norm(self.conv(x)))
        return F.gelu(self._folded(x))

    def _folded(self, x: Tensor) -> Tensor:
        """Convolution and running normalisation in one."""
        conv, norm = self.conv, self.norm
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * gain
        if conv.bias is not None:
            bias = bias + conv.bias * gain
        if isinstance(conv, nn.ConvTranspose1d):
            weight = conv.weight * gain[:, None]
            options = conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation
            return F.conv_transpose1d(x, weight, bias, *options)
        return conv._conv_forward(x, conv.weight * gain[:, None, None], bias)


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
