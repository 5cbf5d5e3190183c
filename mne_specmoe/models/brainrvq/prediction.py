"""Pretraining of BrainRVQ: predict the codes of hidden patches, coarse to fine.

Source: arXiv:2602.16951. Shapes in the comments: B batch, L tokens in order (channel, patch), M hidden tokens of a
batch, D = 200 features, K codes.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mne_specmoe._validation import check_number
from mne_specmoe.models.brainrvq.network import WIDTH, BrainRVQEncoder, TransformerConfig, initialise
from mne_specmoe.models.brainrvq.tokenizer import Codes
from mne_specmoe.nn.extremes import first_largest

_INIT_STD = 0.02


@dataclass(frozen=True)
class BrainRVQConfig(TransformerConfig):
    """Everything that defines a pretraining network.

    Parameters
    ----------
    depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope, cls_row
        Of the encoder, see `mne_specmoe.models.brainrvq.network.TransformerConfig`. The published arithmetic is
        ``norm_scope="recording"`` and ``cls_row="first_channel"``.
    n_levels, n_codes : int
        Of the tokenizer whose codes are predicted.
    """

    drop_path: float = 0.1
    n_levels: int = 3
    n_codes: int = 8192

    def __post_init__(self):
        super().__post_init__()
        for name in ("n_levels", "n_codes"):
            check_number(name, getattr(self, name), minimum=1, integer=True)

    def transformer(self) -> TransformerConfig:
        """What concerns the encoder alone."""
        fields = asdict(self)
        return TransformerConfig(**{name: fields[name] for name in TransformerConfig.__dataclass_fields__})


class Predictions(NamedTuple):
    """Logits of the codes of hidden patches, a list with one tensor (n_hidden, n_codes) per level, coarse to fine.

    Rows are in order (segment, token). Every patch is hidden in one of the two passes.

    Attributes
    ----------
    time, frequency : list of Tensor
        Of the patches under the mask.
    time_rest, frequency_rest : list of Tensor
        Of all others, from the pass that hides these instead.
    """

    time: list[Tensor]
    time_rest: list[Tensor]
    frequency: list[Tensor]
    frequency_rest: list[Tensor]


class CodePredictor(nn.Module):
    """Predicts the codes of one domain level by level; each level is told the codes of those before.

    Parameters
    ----------
    n_levels, n_codes : int
        How many levels, and codes per level.
    """

    def __init__(self, n_levels: int, n_codes: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(WIDTH, n_codes) for _ in range(n_levels))
        # The last level's codes are told to nobody, and the first level is told nothing.
        self.embeddings = nn.ModuleList(nn.Embedding(n_codes, WIDTH) for _ in range(n_levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(n_levels - 1))

    def forward(self, features: Tensor, codes: Tensor | None = None) -> list[Tensor]:
        """Predict from features [M, D], given the true codes [n_levels, M] or, without them, the likeliest ones."""
        logits, told = [self.heads[0](features)], torch.zeros_like(features)
        for level, (embedding, norm) in enumerate(zip(self.embeddings, self.norms, strict=True)):
            given = first_largest(logits[-1]) if codes is None else codes[level]
            told = told + embedding(given)
            logits.append(self.heads[level + 1](norm(features + told)))
        return logits


class BrainRVQ(nn.Module):
    """An encoder that sees half of the patches, and predictors of the codes of the other half.

    Parameters
    ----------
    depth, qv_bias, qk_norm, layer_scale, drop_path, norm_scope, cls_row, n_levels, n_codes
        See `BrainRVQConfig`.

    Attributes
    ----------
    encoder : BrainRVQEncoder
        What downstream tasks use.

    Notes
    -----
    Input is EEG at 200 Hz in units of 100 µV (volts × 1e4), a whole number of seconds up to 30. Source:
    arXiv:2602.16951.
    """

    embed_dim = WIDTH

    def __init__(
        self,
        depth: int = 12,
        *,
        qv_bias: bool = False,
        qk_norm: bool = True,
        layer_scale: float | None = 0.1,
        drop_path: float = 0.1,
        norm_scope: str = "token",
        cls_row: str = "own",
        n_levels: int = 3,
        n_codes: int = 8192,
    ):
        super().__init__()
        self.config = BrainRVQConfig(
            depth=depth,
            qv_bias=qv_bias,
            qk_norm=qk_norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
            norm_scope=norm_scope,
            cls_row=cls_row,
            n_levels=n_levels,
            n_codes=n_codes,
        )
        self.encoder = BrainRVQEncoder(self.config.transformer())
        self.mask_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.predict_time = CodePredictor(n_levels, n_codes)
        self.predict_frequency = CodePredictor(n_levels, n_codes)
        initialise(self, std=_INIT_STD, bound=_INIT_STD)
        nn.init.trunc_normal_(self.mask_token, 0.0, _INIT_STD, -_INIT_STD, _INIT_STD)

    def forward(self, patches: Tensor, rows: Tensor, mask: Tensor, codes: Codes | None = None) -> Predictions:
        """Predict the codes of all patches, each from a pass that does not show it.

        Parameters
        ----------
        patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
            The signals.
        rows : Tensor of int64, shape (1 + n_channels,)
            Rows of the channels.
        mask : Tensor of bool, shape (n_batch, n_channels * n_patches)
            Which patches the first pass hides; the second hides the others.
        codes : Codes | None
            The true codes, which finer levels are told (teacher forcing). None: they are told what was predicted.

        Returns
        -------
        predictions : Predictions
        """
        return self.predict(self.hidden_features(patches, rows, mask), mask, codes)

    def hidden_features(self, patches: Tensor, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features of what each of the two passes hides.

        Parameters
        ----------
        patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
            The signals.
        rows : Tensor of int64, shape (1 + n_channels,)
            Rows of the channels.
        mask : Tensor of bool, shape (n_batch, n_channels * n_patches)
            Which patches the first pass hides; the second hides the others.

        Returns
        -------
        features : tuple of Tensor, length 2
            For the patches that the first pass hides, and for the others, each of shape (n_hidden, 200).
        """
        passes = (
            self.encoder(patches, rows, mask=hidden, mask_token=self.mask_token)[:, 1:][hidden]
            for hidden in (mask, ~mask)
        )
        return tuple(passes)

    def predict(self, features: tuple[Tensor, Tensor], mask: Tensor, codes: Codes | None = None) -> Predictions:
        """Predict codes from features.

        Parameters
        ----------
        features : tuple of Tensor, length 2
            What `hidden_features` returns.
        mask : Tensor of bool, shape (n_batch, n_channels * n_patches)
            Which patches the first pass hides; the second hides the others.
        codes : Codes | None
            The true codes, which finer levels are told. None: they are told what was predicted.

        Returns
        -------
        predictions : Predictions
        """
        predictions = []
        for part, hidden in zip(features, (mask, ~mask), strict=True):
            for predict, domain in ((self.predict_time, "time"), (self.predict_frequency, "frequency")):
                true = None if codes is None else getattr(codes, domain).flatten(2)[:, hidden]
                predictions.append(predict(part, true))
        time, frequency, time_rest, frequency_rest = predictions
        return Predictions(time, time_rest, frequency, frequency_rest)
