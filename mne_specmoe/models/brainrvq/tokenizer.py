"""The tokenizer of BrainRVQ: every second of every channel becomes a few numbers, and these become EEG again.

Source: arXiv:2602.16951. Shapes in the comments: B batch, N channels, A patches per channel, L = N·A tokens in order
(channel, patch), W width of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mne_specmoe._validation import check_number, check_option
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH
from mne_specmoe.models.brainrvq.network import (
    NORM_SCOPES,
    WIDTH,
    BrainRVQEncoder,
    TransformerConfig,
    Trunk,
    initialise,
    to_patches,
)
from mne_specmoe.nn.quantize import RESIDUALS, STARTS, Quantized, ResidualQuantizer

Channels = Sequence[str] | Tensor
"""Names of channels, or their rows with the class token's 0 in front."""


@dataclass(frozen=True)
class BrainRVQTokenizerConfig:
    """Everything that defines a tokenizer.

    The defaults put right what is odd in the published one, whose arithmetic is ``norm_scope="recording"`` and
    ``residual="published"``.

    Parameters
    ----------
    n_levels, n_codes, code_width : int
        Codes per token and domain, size of each codebook, length of a code.
    depth, decoder_depth : int
        Blocks of the encoder and of each decoder.
    norm_scope : {"token", "recording"}
        See `mne_specmoe.models.brainrvq.network.TransformerConfig`. With ``"recording"``, codes of a patch depend on
        all patches of its segment.
    residual : {"plain", "published"}
        How levels share a vector, see `mne_specmoe.nn.quantize.ResidualQuantizer`.
    init : {"kmeans", "random"}
        How codebooks begin.
    decay : float
        Of the codebooks' moving averages.
    revive_after : int | None
        Training steps without use after which a code is replaced; None: never, as published.
    """

    n_levels: int = 3
    n_codes: int = 8192
    code_width: int = 64
    depth: int = 12
    decoder_depth: int = 3
    norm_scope: str = "token"
    residual: str = "plain"
    init: str = "kmeans"
    decay: float = 0.99
    revive_after: int | None = None

    def __post_init__(self):
        for name in ("n_levels", "n_codes", "code_width", "depth", "decoder_depth"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        check_option("norm_scope", self.norm_scope, NORM_SCOPES)
        check_option("residual", self.residual, RESIDUALS)
        check_option("init", self.init, STARTS)


class Codes(NamedTuple):
    """What a tokenizer makes of EEG.

    Attributes
    ----------
    time, frequency : Tensor of int64, shape (n_levels, n_batch, n_channels, n_patches)
        Numbers of codes, coarse to fine, for the waveform and for the spectrum.
    """

    time: Tensor
    frequency: Tensor


class Reconstruction(NamedTuple):
    """What a tokenizer makes of codes, each of shape (n_batch, n_channels, n_patches, 200).

    Attributes
    ----------
    time : Tensor
        The waveform of every patch, standardised patch by patch.
    amplitude, angle : Tensor
        Of the two-sided spectrum of every patch (200 bins of 1 Hz), standardised over the segment.
    """

    time: Tensor
    amplitude: Tensor
    angle: Tensor


class Tokenized(NamedTuple):
    """Everything that training needs of one pass.

    Attributes
    ----------
    time, frequency : Quantized
        Of shape (n_batch, code_width, n_channels, n_patches), with codes and commitment losses.
    rebuilt : Reconstruction
        What the decoders make of them.
    """

    time: Quantized
    frequency: Quantized
    rebuilt: Reconstruction


class BrainRVQDecoder(nn.Module):
    """Quantised tokens to features from which heads rebuild the patches.

    Parameters
    ----------
    config : BrainRVQTokenizerConfig
        The architecture.
    """

    def __init__(self, config: BrainRVQTokenizerConfig):
        super().__init__()
        self.embedding = nn.Linear(config.code_width, WIDTH)
        self.trunk = Trunk(_transformer(config.decoder_depth, config))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, quantized: Tensor, rows: Tensor) -> Tensor:
        """Map [B, W, N, A] to features [B, L, 200]."""
        tokens = self.embedding(quantized.flatten(2).transpose(1, 2))
        return self.norm(self.trunk(tokens, rows))[:, 1:]


class BrainRVQTokenizer(nn.Module):
    """Dual-domain residual vector quantisation of EEG: a few codes for the waveform, and as many for the spectrum.

    Parameters
    ----------
    n_levels, n_codes, code_width, depth, decoder_depth, norm_scope, residual, init, decay, revive_after
        See `BrainRVQTokenizerConfig`.

    Attributes
    ----------
    config : BrainRVQTokenizerConfig
        The parameters.

    Notes
    -----
    9,101,240 parameters as published, and 3,145,728 numbers in codebooks. Input is EEG at 200 Hz in units of 100 µV
    (volts × 1e4), a whole number of seconds up to 30. Source: arXiv:2602.16951.

    Examples
    --------
    >>> import torch
    >>> tokenizer = BrainRVQTokenizer(n_codes=32, depth=1, decoder_depth=1, init="random").eval()
    >>> codes = tokenizer.encode(torch.randn(2, 3, 800), ["C3", "Cz", "C4"])
    >>> codes.time.shape
    torch.Size([3, 2, 3, 4])
    >>> tokenizer.decode(codes, ["C3", "Cz", "C4"]).time.shape
    torch.Size([2, 3, 4, 200])
    """

    def __init__(
        self,
        n_levels: int = 3,
        n_codes: int = 8192,
        code_width: int = 64,
        *,
        depth: int = 12,
        decoder_depth: int = 3,
        norm_scope: str = "token",
        residual: str = "plain",
        init: str = "kmeans",
        decay: float = 0.99,
        revive_after: int | None = None,
    ):
        super().__init__()
        self.config = config = BrainRVQTokenizerConfig(
            n_levels, n_codes, code_width, depth, decoder_depth, norm_scope, residual, init, decay, revive_after
        )
        self.encoder = BrainRVQEncoder(_transformer(depth, config))
        self.to_code = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, code_width))
        options = {"decay": decay, "residual": residual, "init": init, "revive_after": revive_after}
        self.quantize_time = ResidualQuantizer(n_levels, n_codes, code_width, **options)
        self.quantize_frequency = ResidualQuantizer(n_levels, n_codes, code_width, **options)
        self.decode_time, self.decode_frequency = BrainRVQDecoder(config), BrainRVQDecoder(config)
        self.time_head, self.amplitude_head, self.angle_head = (_head() for _ in range(3))
        initialise(self)

    def encode(self, x: Tensor, ch_names: Channels) -> Codes:
        """Find the codes of every second of every channel; no state changes.

        Parameters
        ----------
        x : Tensor, shape (n_batch, n_channels, n_patches * 200)
            200 Hz, units of 100 µV.
        ch_names : sequence of str | Tensor of int64, shape (1 + n_channels,)
            Names of the channels, or rows, see `mne_specmoe.models.brainrvq.channels.channel_rows`.

        Returns
        -------
        codes : Codes

        Raises
        ------
        ValueError
            If `x` is no whole number of seconds or longer than 30 s, or a name is unknown.
        RuntimeError
            If the codebooks are empty, since the tokenizer was not trained.
        """
        hidden = self.hidden(to_patches(x), self._rows(ch_names, x))
        return Codes(self.quantize_time.encode(hidden), self.quantize_frequency.encode(hidden))

    def decode(self, codes: Codes, ch_names: Channels) -> Reconstruction:
        """Rebuild patches from codes, of all levels or of the first ones.

        Parameters
        ----------
        codes : Codes
            Of shape (n_given, n_batch, n_channels, n_patches), where `n_given` is 1 to `n_levels`.
        ch_names : sequence of str | Tensor of int64
            As for `encode`.

        Returns
        -------
        rebuilt : Reconstruction
        """
        quantized = self.quantize_time.decode(codes.time), self.quantize_frequency.decode(codes.frequency)
        return self._rebuild(*quantized, self._rows(ch_names, quantized[0]))

    def hidden(self, patches: Tensor, rows: Tensor) -> Tensor:
        """Compute what is quantised.

        Parameters
        ----------
        patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
            The signals.
        rows : Tensor of int64, shape (1 + n_channels,)
            Rows of the channels.

        Returns
        -------
        vectors : Tensor, shape (n_batch, code_width, n_channels, n_patches)
            Float32, under autocast, too.
        """
        tokens = self.encoder(patches, rows)[:, 1:]
        with torch.autocast(patches.device.type, enabled=False):
            vectors = self.to_code(tokens.to(self.to_code[0].weight.dtype))
        return vectors.transpose(1, 2).unflatten(2, patches.shape[1:3])

    def forward(self, patches: Tensor, rows: Tensor) -> Tokenized:
        """Quantise and rebuild; codebooks learn in training mode.

        Parameters
        ----------
        patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
            The signals.
        rows : Tensor of int64, shape (1 + n_channels,)
            Rows of the channels.

        Returns
        -------
        tokenized : Tokenized
            Codes, and what the decoders make of them.
        """
        hidden = self.hidden(patches, rows)
        time, frequency = self.quantize_time(hidden), self.quantize_frequency(hidden)
        return Tokenized(time, frequency, self._rebuild(time.quantized, frequency.quantized, rows))

    def _rebuild(self, time: Tensor, frequency: Tensor, rows: Tensor) -> Reconstruction:
        """Decode quantised tokens [B, W, N, A]."""
        features = self.decode_time(time, rows), *[self.decode_frequency(frequency, rows)] * 2
        heads = self.time_head, self.amplitude_head, self.angle_head
        rebuilt = (head(x).unflatten(1, time.shape[2:]) for head, x in zip(heads, features, strict=True))
        return Reconstruction(*rebuilt)

    @staticmethod
    def _rows(ch_names: Channels, like: Tensor) -> Tensor:
        """Rows of channels, on the device of a tensor."""
        rows = ch_names if isinstance(ch_names, Tensor) else channel_rows(ch_names).rows
        return rows.to(like.device)


def _transformer(depth: int, config: BrainRVQTokenizerConfig) -> TransformerConfig:
    """The tokenizer's kind of transformer."""
    return TransformerConfig(
        depth, qv_bias=True, qk_norm=False, layer_scale=None, drop_path=0.0, norm_scope=config.norm_scope
    )


def _head() -> nn.Sequential:
    """Features of a token to the samples, or bins, of a patch."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, PATCH_LENGTH))
