"""Convolutional stages of SpecHi-Net, with a branch of small kernels and a branch of large ones.

Source: arXiv:2603.16739. Shapes in the comments: G series, S samples. The ``published`` layout has the stages as they
were published; the ``channelwise`` one keeps their widths and strides and pads every layer so that it shortens its
input by its stride exactly, and its first long kernel has no gaps (`first_long`).
"""

import torch
from torch import Tensor, nn

from mne_specmoe.nn.layers import ConvNormAct, Dropout, MaxPool1d, PhaseConvTranspose1d, SameConv1d


class TwoBranches(nn.Module):
    """A stage with a branch of small kernels and a branch of large ones."""

    def __init__(self, short: list[nn.Module], long: list[nn.Module]):
        super().__init__()
        self.short = nn.Sequential(*short)
        self.long = nn.Sequential(*long)

    def halves(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """First half of the time axis through the short branch, second half through the long one."""
        first, second = grid.chunk(2, dim=-1)
        return self.short(first.flatten(2)), self.long(second.flatten(2))


def _conv(n_in: int, n_out: int, kernel: int, *, bias: bool = False, **options) -> ConvNormAct:
    """Convolution, normalisation and activation; padded to the same length unless told otherwise."""
    if not options:
        return ConvNormAct(SameConv1d(n_in, n_out, kernel, bias=bias))
    return ConvNormAct(nn.Conv1d(n_in, n_out, kernel, bias=bias, **options))


def _up(n_in: int, n_out: int, kernel: int, **options) -> ConvNormAct:
    """Transposed convolution, normalisation and activation."""
    # Measured: by phases is faster for long strides only.
    transposed = PhaseConvTranspose1d if options["stride"] > 2 else nn.ConvTranspose1d
    return ConvNormAct(transposed(n_in, n_out, kernel, **options))


def down1(p_drop: float) -> TwoBranches:
    """Each branch: [G, 1, S] → [G, 64, S/15]."""
    return TwoBranches(
        [
            _conv(1, 32, 4),
            MaxPool1d(8, 5, 2),
            Dropout(p_drop),
            _conv(32, 64, 4),
            _conv(64, 64, 4),
            MaxPool1d(16, 3, 7),
        ],
        [
            _conv(1, 32, 65, stride=3, dilation=4, padding=97),
            MaxPool1d(18, 5, 9),
            Dropout(p_drop),
            _conv(32, 64, 16, padding=8),
            _conv(64, 64, 16, padding=8),
            MaxPool1d(16, 1, 8),
        ],
    )


def down2(p_drop: float) -> TwoBranches:
    """Each branch: [G, 64, S] → [G, 64, S/4]."""
    return TwoBranches(
        [
            _conv(64, 64, 4),
            MaxPool1d(4, 2, 2),
            Dropout(p_drop),
            _conv(64, 64, 4),
            _conv(64, 64, 4),
            MaxPool1d(8, 2, 3),
        ],
        [
            _conv(64, 64, 16, dilation=2, padding=11),
            MaxPool1d(8, 2, 4),
            Dropout(p_drop),
            _conv(64, 64, 16, padding=8),
            _conv(64, 64, 16, padding=8),
            MaxPool1d(8, 2, 4),
        ],
    )


def down3(p_drop: float) -> TwoBranches:
    """Each branch: [G, 64, S] → [G, 128, S/2]."""
    return TwoBranches(
        [_conv(64, 128, 4), MaxPool1d(4, 2, 1), Dropout(p_drop), _conv(128, 128, 4)],
        [
            _conv(64, 128, 8, dilation=2, padding=5),
            MaxPool1d(8, 2, 4),
            Dropout(p_drop),
            _conv(128, 128, 8, padding=4),
        ],
    )


def bottom(p_drop: float) -> nn.Sequential:
    """[G, 128, S] → the same shape."""
    return nn.Sequential(_conv(128, 128, 8), Dropout(p_drop), _conv(128, 128, 8))


def first_long(n_in: int, p_drop: float) -> nn.Sequential:
    """Large kernels of the channelwise layout's first stage: [G, n_in, S] → [G, 64, S/15].

    The published first kernel has 65 taps, 4 samples apart. At 200 Hz that makes f and 50 − f Hz the same to it. This
    one has 97 taps without gaps, over a third of the published one's time.
    """
    return nn.Sequential(
        ConvNormAct(nn.Conv1d(n_in, 32, 97, stride=3, padding=47, bias=False), pool=MaxPool1d(18, 5, 7)),
        Dropout(p_drop),
        _conv(32, 64, 16),
        _conv(64, 64, 16),
        MaxPool1d(15, 1, 7),
    )


def first_short(n_in: int, p_drop: float) -> nn.Sequential:
    """Small kernels of the channelwise layout's first stage: [G, n_in, S] → [G, 64, S/15]."""
    return nn.Sequential(
        ConvNormAct(SameConv1d(n_in, 32, 4, bias=False), pool=MaxPool1d(8, 5, 2)),
        Dropout(p_drop),
        _conv(32, 64, 4),
        _conv(64, 64, 4),
        MaxPool1d(16, 3, 7),
    )


def second(p_drop: float) -> TwoBranches:
    """Second stage of the channelwise layout, each branch: [G, 64, S] → [G, 64, S/4]."""
    return TwoBranches(
        [
            _conv(64, 64, 4),
            MaxPool1d(4, 2, 1),
            Dropout(p_drop),
            _conv(64, 64, 4),
            _conv(64, 64, 4),
            MaxPool1d(8, 2, 3),
        ],
        [
            _spread(64, 64, 16),
            MaxPool1d(8, 2, 3),
            Dropout(p_drop),
            _conv(64, 64, 16),
            _conv(64, 64, 16),
            MaxPool1d(8, 2, 3),
        ],
    )


def third(p_drop: float) -> TwoBranches:
    """Third stage of the channelwise layout, each branch: [G, 64, S] → [G, 128, S/2]."""
    return TwoBranches(
        [_conv(64, 128, 4), MaxPool1d(4, 2, 1), Dropout(p_drop), _conv(128, 128, 4)],
        [_spread(64, 128, 8), MaxPool1d(8, 2, 3), Dropout(p_drop), _conv(128, 128, 8)],
    )


def _spread(n_in: int, n_out: int, kernel: int) -> ConvNormAct:
    """Convolution whose taps are two samples apart, normalisation and activation; the length stays."""
    return ConvNormAct(SameConv1d(n_in, n_out, kernel, bias=False, dilation=2))


def up1(p_drop: float) -> TwoBranches:
    """Each branch: [G, 256, S] → [G, 64, 2S]."""
    return TwoBranches(
        [_conv(256, 128, 4, bias=True), _up(128, 128, 4, stride=2, padding=1), _conv(128, 64, 4, bias=True)],
        [
            _conv(256, 128, 8, bias=True, padding=4),
            _up(128, 128, 8, stride=2, padding=4),
            Dropout(p_drop),
            _conv(128, 64, 8, bias=True, dilation=2, padding=7),
        ],
    )


def up2(p_drop: float) -> TwoBranches:
    """Each branch: [G, 128, S] → [G, 64, 4S]."""
    return TwoBranches(
        [
            _up(128, 64, 8, stride=2, padding=3),
            _conv(64, 64, 4, bias=True),
            _conv(64, 64, 4, bias=True),
            Dropout(p_drop),
            _up(64, 64, 4, stride=2, padding=1),
            SameConv1d(64, 64, 4),
        ],
        [
            _up(128, 64, 8, stride=1, padding=4),
            _conv(64, 64, 16, bias=True, padding=8),
            _conv(64, 64, 16, bias=True, padding=8),
            Dropout(p_drop),
            _up(64, 64, 8, stride=2, padding=4, output_padding=1),
            nn.ConvTranspose1d(64, 64, 16, stride=2, dilation=2, padding=16, output_padding=1),
        ],
    )


def up3(p_drop: float) -> TwoBranches:
    """Each branch: [G, 128, S] → [G, 1, 15S]."""
    return TwoBranches(
        [
            _up(128, 64, 16, stride=5, padding=7),
            _conv(64, 64, 4, bias=True, padding=2),
            _conv(64, 32, 4, bias=True, padding=2),
            Dropout(p_drop),
            _up(32, 32, 8, stride=3, padding=1, output_padding=1),
            nn.Conv1d(32, 1, 4, padding=1),
        ],
        [
            _up(128, 64, 16, stride=1, padding=8),
            _conv(64, 64, 16, bias=True, padding=8),
            _conv(64, 32, 16, bias=True, padding=8),
            Dropout(p_drop),
            _up(32, 32, 18, stride=5, padding=9),
            nn.ConvTranspose1d(32, 1, 65, stride=3, dilation=4, padding=127),
        ],
    )


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Convolution weights N(0, 0.02), normalisation weights N(1, 0.02); the rest as torch does."""
    if isinstance(module, nn.Conv1d):
        module.weight.normal_(0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d):
        module.weight.normal_(1.0, 0.02)
        module.bias.zero_()
