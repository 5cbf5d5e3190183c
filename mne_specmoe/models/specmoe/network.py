"""SpecHi-Net: one expert, an encoder and a decoder of raw EEG.

Source: Darankoum, Habermacher, Volle, Grudinin, "SpecMoE: Spectral Mixture-of-Experts Foundation Model for
Cross-Species EEG Decoding" (arXiv:2603.16739).

Shapes in the comments: B batch, C channels, T samples, n = T/15, L1 = T/30, L2 = T/60. A *grid* is [G, features, R,
time]: in the ``published`` layout G = B and R = C, and convolutions see the R rows as one long series; in the
``channelwise`` layout G = B·C and R = 1, so that every channel is convolved on its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.specmoe.gains import SpectralGains
from mne_specmoe.nn.attention import query_normalised_attention, rotary_factors, rotate
from mne_specmoe.nn.layers import ConvNormAct, Dropout, MaxPool1d, PhaseConvTranspose1d, SameConv1d, SampleStdLayerNorm
from mne_specmoe.signal.canonical import pad

LAYOUTS = ("channelwise", "published")
AMPLITUDES = ("absolute", "relative")
DECODERS = ("signal", "gains")
EMBED_DIM = 128
N_HEADS = 8
MIN_SAMPLES = 360  # the kernels need so many, per series


@dataclass(frozen=True)
class SpecHiNetConfig:
    """Everything that defines the architecture of an expert.

    Parameters
    ----------
    layout : {"channelwise", "published"}
        ``"published"`` is the arithmetic that the published checkpoints were trained with, oddities included;
        ``"channelwise"`` convolves each channel on its own, transposes where the other re-reads buffers, uses standard
        rotary attention over tokens that carry the time they stand for, and does not depend on the order of channels.
    dropout : float
        Dropout probability, in [0, 1).
    amplitude : {"absolute", "relative"}
        Whether the network sees the signals as they are, or divided by their root mean square over all channels and
        samples of a segment; what it rebuilds is multiplied by that again. Only in the channelwise layout.
    decoder : {"signal", "gains"}
        What the decoder puts out: the rebuilt signal; or, only in the channelwise layout, what is missing, which is
        added to what the network sees: a signal, and the spectrogram of what it sees times gains (`SpectralGains`).
        Encoders are the same.
    """

    layout: str = "channelwise"
    dropout: float = 0.2
    amplitude: str = "absolute"
    decoder: str = "signal"

    def __post_init__(self):
        check_option("layout", self.layout, LAYOUTS)
        check_number("dropout", self.dropout, minimum=0.0, maximum=0.999)
        check_option("amplitude", self.amplitude, AMPLITUDES)
        check_option("decoder", self.decoder, DECODERS)
        if self.layout == "published" and (self.amplitude, self.decoder) != ("absolute", "signal"):
            raise ValueError(
                "layout='published' has the published arithmetic: it needs amplitude='absolute' and decoder='signal'."
            )


class Reconstruction(NamedTuple):
    """Output of an expert.

    Attributes
    ----------
    short, long : Tensor, shape (n_batch, n_channels, n_times)
        The signal as rebuilt by the decoder's branch of small and of large kernels.
    aux_up1, aux_up2 : Tensor
        Coarse reconstructions of the padded signal, of length L1 = T/30 and 2n = 2T/15 per channel: shape
        (n_batch, n_channels, length) in the channelwise layout, (n_batch, 19, n_channels · length) in the published
        one.
    """

    short: Tensor
    long: Tensor
    aux_up1: Tensor
    aux_up2: Tensor


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


def _down1(p_drop: float) -> TwoBranches:
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


def _down2(p_drop: float) -> TwoBranches:
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


def _down3(p_drop: float) -> TwoBranches:
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


def _bottom(p_drop: float) -> nn.Sequential:
    """[G, 128, S] → the same shape."""
    return nn.Sequential(_conv(128, 128, 8), Dropout(p_drop), _conv(128, 128, 8))


def _up1(p_drop: float) -> TwoBranches:
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


def _up2(p_drop: float) -> TwoBranches:
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


def _up3(p_drop: float) -> TwoBranches:
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


def _published_heads(x: Tensor) -> Tensor:
    """[B, N, D] re-read as [B, heads, N, D/heads]."""
    return x.reshape(x.shape[0], N_HEADS, x.shape[1], -1)


def _split_heads(x: Tensor) -> Tensor:
    """[B, N, D] → [B, heads, N, D/heads]."""
    return x.unflatten(-1, (N_HEADS, -1)).transpose(1, 2)


def published_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Heads re-read; query, key and value rotated; softmax over queries: [B, N, D] → [B, heads, N, D/heads]."""
    query, key, value = (rotate(_published_heads(x), factors) for x in (query, key, value))
    return query_normalised_attention(query, key, value)


def channelwise_attention(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Standard rotary attention: [B, N, D] → [B, heads, N, D/heads]."""
    query, key = (rotate(_split_heads(x), factors) for x in (query, key))
    value = _split_heads(value).to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value.contiguous())


ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "channelwise": channelwise_attention,
    "published": published_attention,
}


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to its input and normalised.

    Parameters
    ----------
    embed_dim : int
        Features per token.
    attention : callable
        Maps projected query, key and value [B, N, D] and rotary factors to [B, heads, N, D/heads].
    p_drop : float
        Dropout inside the feed-forward layer.
    """

    def __init__(self, embed_dim: int, attention: Callable, p_drop: float):
        super().__init__()
        self.attention = attention
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.attention_norm = SampleStdLayerNorm(embed_dim)
        self.expand = nn.Linear(embed_dim, 2 * embed_dim)
        self.contract = nn.Linear(2 * embed_dim, embed_dim)
        self.dropout = Dropout(p_drop)
        self.feed_forward_norm = SampleStdLayerNorm(embed_dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map tokens x [B, N, D] at positions [B, N] to tokens of the same shape."""
        query = self.query(x)
        positions = positions.to(torch.promote_types(x.dtype, torch.float32))
        factors = rotary_factors(positions, query.shape[-1] // N_HEADS)
        attended = self.attention(query, self.key(x), self.value(x), factors)
        attended = attended.transpose(1, 2).flatten(2)  # [B, N, D]
        # The residual is the projected query, not x.
        hidden = self.attention_norm(query + self.out(attended))
        fed = self.contract(self.dropout(F.relu(self.expand(hidden))))
        return self.feed_forward_norm(hidden + fed)


def _tokens(grid: Tensor, n_batch: int) -> Tensor:
    """Grid [G, F, R, L] → tokens [B, C·L, F], in order (channel, time)."""
    grid = grid.unflatten(0, (n_batch, -1))  # [B, C/R, F, R, L]
    return grid.permute(0, 1, 3, 4, 2).flatten(1, 3)


def _grid(tokens: Tensor, n_groups: int, n_rows: int) -> Tensor:
    """Tokens [B, C·L, F] → grid [G, F, R, L]."""
    tokens = tokens.view(n_groups, n_rows, -1, tokens.shape[-1])  # [G, R, L, F]
    return tokens.permute(0, 3, 1, 2)


def _reread_tokens(grid: Tensor, n_batch: int) -> Tensor:
    """Grid [B, F, C, L] → its buffer read as [B, C·L, F], as published."""
    return grid.reshape(n_batch, -1, grid.shape[1])


_FIRST_TOKENS = {"channelwise": _tokens, "published": _reread_tokens}


def _published_positions(positions: Tensor, n_channels: int) -> tuple[Tensor, Tensor]:
    """Pooled with the padding counted, every value C times in a row: [B, C·L1] and [B, C·L2]."""
    fine = F.avg_pool1d(positions[:, None], 8, 5, 4)
    pooled = (F.avg_pool1d(fine, 16, 6, 6), F.avg_pool1d(fine, 32, 12, 12))
    return tuple(p[:, 0].repeat_interleave(n_channels, dim=1) for p in pooled)


def _channelwise_positions(positions: Tensor, n_channels: int) -> tuple[Tensor, Tensor]:
    """Mean position of the samples that a token stands for: [B, C·L1] and [B, C·L2].

    The time axis of a channel holds the short branch's tokens, then the long branch's, over the same time.
    """
    pooled = (positions.unflatten(1, (-1, step)).mean(-1) for step in (60, 120))
    return tuple(p.repeat(1, 2 * n_channels) for p in pooled)


_TOKEN_POSITIONS = {"channelwise": _channelwise_positions, "published": _published_positions}


class _Stages(NamedTuple):
    """What the encoder hands to the decoder."""

    first: Tensor  # Down1, both branches after one another, grid [G, 64, R, 2n]
    second: Tensor  # Down2 as its tokens were read, grid [G, 64, R, L1]
    third: Tensor  # Down3, grid [G, 128, R, L2]
    embedding: Tensor  # Bottom2, grid [G, 128, R, L2]
    positions: Tensor  # of the tokens of a grid with L1 steps, [B, C·L1]


class SpecHiNetEncoder(nn.Module):
    """The half of an expert that use for anything but reconstruction needs.

    Parameters
    ----------
    config : SpecHiNetConfig
        The architecture.
    """

    embed_dim = EMBED_DIM

    def __init__(self, config: SpecHiNetConfig):
        super().__init__()
        self.config = config
        p_drop, attention = config.dropout, ATTENTIONS[config.layout]
        self.down1 = _down1(p_drop)
        self.down2 = _down2(p_drop)
        self.attention1 = AttentionBlock(64, attention, p_drop)
        self.down3 = _down3(p_drop)
        self.bottom1 = _bottom(p_drop)
        self.attention2 = AttentionBlock(EMBED_DIM, attention, p_drop)
        self.bottom2 = _bottom(p_drop)
        self.dropout = Dropout(p_drop)
        self.apply(initialise)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Map x [B, C, T] to the embedding [B, 128, C·L2]; see `SpecHiNet.encode`."""
        if self.config.amplitude == "relative":
            x = x / root_mean_square(x)
        x, positions = self.pad(x, positions)
        embedding = self.stages(x, positions).embedding
        return _tokens(embedding, len(x)).transpose(1, 2)

    encode = forward

    def pad(self, x: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Zero-pad to what the kernels need: a multiple of 120 samples, and at least 360 per series."""
        if x.ndim != 3:
            raise ValueError(f"x must be (n_batch, n_channels, n_times), got shape {tuple(x.shape)}.")
        if 0 in x.shape:
            raise ValueError(f"x is empty: shape {tuple(x.shape)}.")
        n_rows = x.shape[1] if self.config.layout == "published" else 1
        return pad(x, positions, min_samples=-(-MIN_SAMPLES // n_rows))

    def per_channel(self, embedding: Tensor, n_channels: int) -> Tensor:
        """Embedding [B, 128, C·L2] → [B, C, 128, L2] (published: its buffer re-read)."""
        if self.config.layout == "published":
            return embedding.reshape(len(embedding), n_channels, EMBED_DIM, -1)
        return embedding.unflatten(-1, (n_channels, -1)).transpose(1, 2)

    def stages(self, x: Tensor, positions: Tensor) -> _Stages:
        """Every stage of the encoder for a padded x [B, C, T] at positions [B, T]."""
        n_batch, n_channels, _ = x.shape
        layout = self.config.layout
        n_rows = n_channels if layout == "published" else 1
        fine, coarse = _TOKEN_POSITIONS[layout](positions, n_channels)

        series = x.reshape(-1, 1, n_rows * x.shape[-1])  # [G, 1, R·T]
        short1, long1 = self.dropout(self.down1.short(series)), self.dropout(self.down1.long(series))
        first = torch.cat([short1, long1], -1).unflatten(-1, (n_rows, -1))  # [G, 64, R, 2n]
        second = self.dropout(_join(self.down2.short(short1), self.down2.long(long1), n_rows))  # [G, 64, R, L1]
        tokens = _FIRST_TOKENS[layout](second, n_batch)  # [B, C·L1, 64]
        second = _grid(tokens, len(second), n_rows)
        attended = _grid(self.attention1(tokens, fine), len(second), n_rows)
        third = self.dropout(_join(*self.down3.halves(attended), n_rows))  # [G, 128, R, L2]
        bottom = self.bottom1(third.flatten(2)).unflatten(-1, (n_rows, -1))
        attended = self.attention2(_tokens(bottom, n_batch), coarse)  # [B, C·L2, 128]
        attended = _grid(attended, len(second), n_rows)
        embedding = self.bottom2(attended.flatten(2)).unflatten(-1, (n_rows, -1))
        return _Stages(first, second, third, embedding, fine)


class SpecHiNetDecoder(nn.Module):
    """The half of an expert that rebuilds the signal.

    Parameters
    ----------
    config : SpecHiNetConfig
        The architecture.
    """

    def __init__(self, config: SpecHiNetConfig):
        super().__init__()
        self.config = config
        p_drop = config.dropout
        n_aux = 19 if config.layout == "published" else 1
        self.up1 = _up1(p_drop)
        self.attention3 = AttentionBlock(64, ATTENTIONS[config.layout], p_drop)
        self.up2 = _up2(p_drop)
        self.up3 = _up3(p_drop)
        self.aux_up1 = nn.Linear(64, n_aux)
        self.aux_up2 = nn.Linear(64, n_aux)
        self.gains_short = SpectralGains(64) if config.decoder == "gains" else None
        self.gains_long = SpectralGains(64) if config.decoder == "gains" else None
        self.apply(initialise)

    def forward(self, stages: _Stages, x: Tensor) -> Reconstruction:
        """Rebuild the padded x [B, C, T] from what the encoder computed of it."""
        seen, n_batch = x, len(x)
        n_groups, _, n_rows, _ = stages.first.shape
        x = torch.cat([stages.embedding, stages.third], 1)  # [G, 256, R, L2]
        x = _join(*self.up1.halves(x), n_rows)  # [G, 64, R, L1]
        tokens = self.attention3(_tokens(x, n_batch), stages.positions)  # [B, C·L1, 64]
        aux_up1 = self._auxiliary(self.aux_up1, tokens, n_groups // n_batch)
        x = torch.cat([_grid(tokens, n_groups, n_rows), stages.second], 1)
        x = _join(*self.up2.halves(x), n_rows)  # [G, 64, R, 2n]
        aux_up2 = self._auxiliary(self.aux_up2, _tokens(x, n_batch), n_groups // n_batch)
        features = x.flatten(2).chunk(2, -1)  # each branch: [G, 64, R·n]
        x = torch.cat([x, stages.first], 1)
        rebuilt = [y.view(n_batch, n_rows * n_groups // n_batch, -1) for y in self.up3.halves(x)]
        if self.config.decoder == "gains":
            for i, gains in enumerate((self.gains_short, self.gains_long)):
                rebuilt[i] = seen + rebuilt[i] + gains(features[i], seen)
        return Reconstruction(*rebuilt, aux_up1, aux_up2)

    @staticmethod
    def _auxiliary(head: nn.Linear, tokens: Tensor, n_groups: int) -> Tensor:
        """Published: [B, 19, C·L]; channelwise: the one output per token as [B, C, L]."""
        output = head(tokens)
        return output.transpose(1, 2) if head.out_features > 1 else output.view(len(tokens), n_groups, -1)


def _join(short: Tensor, long: Tensor, n_rows: int) -> Tensor:
    """Two series [G, F, R·L] → one grid [G, F, R, 2L], the short branch first."""
    return torch.cat([x.unflatten(-1, (n_rows, -1)) for x in (short, long)], -1)


def root_mean_square(x: Tensor) -> Tensor:
    """Amplitude of every segment of x [B, C, T]: [B, 1, 1], at least a ten-millionth of a unit (10 pV)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-7)


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Convolution weights N(0, 0.02), normalisation weights N(1, 0.02); the rest as torch does."""
    if isinstance(module, nn.Conv1d):
        module.weight.normal_(0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d):
        module.weight.normal_(1.0, 0.02)
        module.bias.zero_()


class SpecHiNet(nn.Module):
    """One expert: a convolutional U-net with attention, which rebuilds EEG from EEG.

    Parameters
    ----------
    layout : {"channelwise", "published"}
        See `SpecHiNetConfig`.
    dropout : float
        Dropout probability.
    amplitude : {"absolute", "relative"}
        See `SpecHiNetConfig`.
    decoder : {"signal", "gains"}
        See `SpecHiNetConfig`.

    Notes
    -----
    2,928,104 parameters in the published layout, of which the encoder has 1,359,456. Input is EEG at 200 Hz in units
    of 100 µV (volts × 1e4). Any number of channels and samples works. Source: arXiv:2603.16739.

    Examples
    --------
    >>> import torch
    >>> expert = SpecHiNet("channelwise").eval()
    >>> x = torch.randn(1, 3, 720)
    >>> expert.encode(x).shape
    torch.Size([1, 128, 36])
    """

    embed_dim = EMBED_DIM

    def __init__(
        self,
        layout: str = "channelwise",
        *,
        dropout: float = 0.2,
        amplitude: str = "absolute",
        decoder: str = "signal",
    ):
        super().__init__()
        self.config = SpecHiNetConfig(layout=layout, dropout=dropout, amplitude=amplitude, decoder=decoder)
        self.encoder = SpecHiNetEncoder(self.config)
        self.decoder = SpecHiNetDecoder(self.config)

    def encode(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Compute the embedding that downstream tasks use.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV; zero-padded on the right to a multiple of 120 samples.
        positions : Tensor, shape (n_batch, n_times) | None
            Position of every sample. None: linspace(0.1, 1.1, n_times).

        Returns
        -------
        embedding : Tensor, shape (n_batch, 128, n_channels * n_padded / 60)
            Tokens in order (channel, time).
        """
        return self.encoder(x, positions)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Reconstruction:
        """Rebuild the signal.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_times)
            200 Hz, units of 100 µV.
        positions : Tensor | None
            As in `encode`.

        Returns
        -------
        reconstruction : Reconstruction
            `short` and `long` have the shape of `x`.
        """
        n_times = x.shape[-1]
        amplitude = root_mean_square(x) if self.config.amplitude == "relative" else None
        padded, positions = self.encoder.pad(x if amplitude is None else x / amplitude, positions)
        output = self.decoder(self.encoder.stages(padded, positions), padded)
        output = output._replace(short=output.short[..., :n_times], long=output.long[..., :n_times])
        return output if amplitude is None else Reconstruction(*(part * amplitude for part in output))
