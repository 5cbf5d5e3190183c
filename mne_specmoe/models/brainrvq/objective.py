"""The two trainings of BrainRVQ: a tokenizer that rebuilds EEG, and an encoder that predicts its codes.

Source: arXiv:2602.16951. Shapes in the comments: B batch, N channels, A patches per channel.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH, PatchMask
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.prediction import BrainRVQ, Predictions
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes, Reconstruction
from mne_specmoe.models.interface import Batch
from mne_specmoe.nn.extremes import first_largest

LEVEL_WEIGHT = 0.5
"""Weight of a level's loss against that of the level before; the coarsest has 1."""

_EPS = 1e-6
_DOMAINS = ("time", "frequency")
_EMBEDDINGS = ("cls_token", "channel_embedding", "time_embedding")
_LONG_IDLE = 100  # updates without use after which a code counts as dead


def tokenizer_targets(patches: Tensor) -> Reconstruction:
    """What a tokenizer has to rebuild of patches [B, N, A, 200]: waveform, amplitudes and angles of the spectrum.

    The waveform is standardised patch by patch, amplitudes and angles of the two-sided spectrum (no window) over all
    channels and patches of a segment. Deviations are unbiased, plus 1e-6, so that flat signals have finite targets;
    as published, only the waveform's is.

    Parameters
    ----------
    patches : Tensor, shape (n_batch, n_channels, n_patches, 200)
        Units of 100 µV.

    Returns
    -------
    targets : Reconstruction
        Of the same shapes, at least float32.
    """
    patches = patches.to(torch.promote_types(patches.dtype, torch.float32))
    spectrum = torch.fft.fft(patches)
    return Reconstruction(
        _standardised(patches, (-1,)),
        _standardised(spectrum.abs(), (1, 2, 3)),
        _standardised(spectrum.angle(), (1, 2, 3)),
    )


def _standardised(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Mean 0, deviation 1."""
    return (x - x.mean(axes, keepdim=True)) / (x.std(axes, keepdim=True) + _EPS)


class TokenizerObjective(nn.Module):
    """Loss of a tokenizer: commitment in both domains, and errors of waveform, amplitude and angle.

    Parameters
    ----------
    network : BrainRVQTokenizer
        What is trained.
    aliases : {"10-20", "none"}
        Whether T3 and T7 (T4 and T8, T5 and P7, T6 and P8) are one channel, see
        `mne_specmoe.models.brainrvq.channels.channel_rows`.

    Attributes
    ----------
    network : BrainRVQTokenizer
        The tokenizer.
    """

    def __init__(self, network: BrainRVQTokenizer, *, aliases: str = "10-20"):
        super().__init__()
        self.network, self.aliases = network, aliases

    def forward(self, batch: Batch, *, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokenise, rebuild, compare.

        Parameters
        ----------
        batch : Batch
            Segments; what is left of the last second is not used.
        progress : float
            Not used: training is the same all along.

        Returns
        -------
        loss : Tensor
            A float32 scalar.
        terms : dict of str to Tensor
            ``"quantize_time"``, ``"quantize_frequency"``, ``"amplitude"``, ``"angle"`` and ``"time"``, of which the
            loss is the sum; and in training, per domain and level (from 1), ``"perplexity_time_1"``, of the moving
            average of uses, and ``"dead_time_1"``, how many codes no vector fell to in the last 100 steps. Without
            gradients.
        """
        patches, rows = _patches_and_rows(batch, self.aliases)
        output = self.network(patches, rows)
        terms = {"quantize_time": output.time.loss, "quantize_frequency": output.frequency.loss}
        with torch.autocast(patches.device.type, enabled=False):
            for name, target in tokenizer_targets(patches)._asdict().items():
                terms[name] = F.mse_loss(getattr(output.rebuilt, name).to(target.dtype), target)
        loss = sum(terms.values())
        terms = {name: term.detach() for name, term in terms.items()}
        return loss, terms | self._statistics() if self.training else terms

    def spared_decay(self) -> set[str]:
        """Names of biases, gains and embeddings of places, which get no weight decay."""
        return _biases_and_places(self)

    @torch.no_grad()
    def _statistics(self) -> dict[str, Tensor]:
        """How the codebooks are used."""
        found = {}
        for domain in _DOMAINS:
            for level, quantizer in enumerate(_quantizers(self.network, domain), 1):
                book = quantizer.codebook
                share = book.usage / book.usage.sum().clamp_min(1e-12)
                found[f"perplexity_{domain}_{level}"] = torch.special.entr(share).sum().exp()
                found[f"dead_{domain}_{level}"] = (book.idle >= _LONG_IDLE).sum().float()
        return found


class CodePredictionObjective(nn.Module):
    """Loss of the pretraining network: cross-entropies of the codes of hidden patches.

    Parameters
    ----------
    network : BrainRVQ
        What is trained.
    tokenizer : BrainRVQTokenizer
        Trained already; it stays as it is.
    mask : PatchMask | None
        Which patches are hidden; None: half of them, the more important ones more and more often.
    aliases : {"10-20", "none"}
        See `TokenizerObjective`.

    Attributes
    ----------
    network : BrainRVQ
        The pretraining network.

    Raises
    ------
    ValueError
        If network and tokenizer differ in levels or codes, or the tokenizer was never trained.
    """

    def __init__(
        self, network: BrainRVQ, tokenizer: BrainRVQTokenizer, *, mask: PatchMask | None = None, aliases: str = "10-20"
    ):
        super().__init__()
        for name in ("n_levels", "n_codes"):
            wanted, found = getattr(network.config, name), getattr(tokenizer.config, name)
            if wanted != found:
                raise ValueError(f"The network has {name}={wanted}, the tokenizer {found}; they must be equal.")
        if not all(level.codebook.ready for domain in _DOMAINS for level in _quantizers(tokenizer, domain)):
            raise ValueError("The tokenizer has no codes yet, since it was never trained; train it first.")
        self.network = network
        self.mask = PatchMask() if mask is None else mask
        self.aliases = aliases
        self._tokenizer = [tokenizer.eval().requires_grad_(False)]  # in a list: neither trained nor stored with us

    def forward(self, batch: Batch, *, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Hide, predict, compare.

        Parameters
        ----------
        batch : Batch
            Segments; what is left of the last second is not used. Masks come from ``batch.seeds``.
        progress : float
            How far training is, in [0, 1]: importance counts for more and more in the choice of what to hide.

        Returns
        -------
        loss : Tensor
            The sum of four cross-entropies (time and frequency, in both passes), each weighted over levels: with
            teacher forcing in training, free-running in evaluation.
        terms : dict of str to Tensor
            ``"teacher_forced"``, the loss where finer levels are told the true codes, and in evaluation also
            ``"free_running"``, where they are told the predicted ones: two quantities that are not to be compared.
            With either name in front, per domain and level (from 1), ``"free_running_cross_entropy_time_1"`` and
            ``"free_running_accuracy_time_1"``, means over all patches. Without gradients.
        """
        patches, rows = _patches_and_rows(batch, self.aliases)
        tokenizer = self._tokenizer[0].to(patches.device)
        with torch.no_grad(), torch.autocast(patches.device.type, enabled=False):
            codes = tokenizer.encode(patches.flatten(2).float(), rows)
        mask = self.mask(patches, batch.seeds, progress=progress)
        features = self.network.hidden_features(patches, rows, mask)
        ways = {"teacher_forced": self.network.predict(features, mask, codes)}
        if not self.training:
            ways["free_running"] = self.network.predict(features, mask)
        terms = {}
        for way, predictions in ways.items():  # the last one's loss is returned
            loss, parts = code_losses(predictions, codes, mask)
            terms |= {way: loss.detach()} | {f"{way}_{name}": part for name, part in parts.items()}
        return loss, terms

    def spared_decay(self) -> set[str]:
        """Names of biases, gains and embeddings of places, which get no weight decay."""
        return _biases_and_places(self)


def code_losses(predictions: Predictions, codes: Codes, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropies of predicted codes.

    Parameters
    ----------
    predictions : Predictions
        Logits.
    codes : Codes
        The true codes.
    mask : Tensor of bool, shape (n_batch, n_tokens)
        What the first pass hid.

    Returns
    -------
    loss : Tensor
        Sum over the four predictions of the mean cross-entropies, weighted over levels. A pass that hid nothing counts
        as 0. With several processes, means are over the hidden patches of all of them.
    terms : dict of str to Tensor
        ``"cross_entropy_time_1"``, ``"accuracy_time_1"`` and so on, see `CodePredictionObjective.forward`.
    """
    loss, terms = torch.zeros((), device=mask.device), {}
    n_hidden, n_shown = _typical_numbers(mask)
    for domain in _DOMAINS:
        true = getattr(codes, domain).flatten(2)  # [levels, B, L]
        for level in range(len(true)):
            weight = LEVEL_WEIGHT**level
            entropies, hits = [], []
            for part, hidden, n_typical in ((domain, mask, n_hidden), (f"{domain}_rest", ~mask, n_shown)):
                logits, wanted = getattr(predictions, part)[level].float(), true[level][hidden]
                entropies.append(F.cross_entropy(logits, wanted, reduction="none"))
                hits.append(first_largest(logits) == wanted)
                loss = loss + weight * entropies[-1].sum() / n_typical.clamp_min(_EPS)  # of none, the sum is 0
            terms[f"cross_entropy_{domain}_{level + 1}"] = torch.cat(entropies).mean().detach()
            terms[f"accuracy_{domain}_{level + 1}"] = torch.cat(hits).float().mean()
    return loss, terms


def _quantizers(tokenizer: BrainRVQTokenizer, domain: str) -> nn.ModuleList:
    """The levels of one domain."""
    return getattr(tokenizer, f"quantize_{domain}").levels


def _typical_numbers(mask: Tensor) -> Tensor:
    """How many patches a mask of this many segments hides, and how many it shows, by the means of all processes."""
    totals = torch.stack([mask.sum(), (~mask).sum(), mask.new_tensor(len(mask), dtype=torch.int64)]).float()
    if dist.is_initialized():
        dist.all_reduce(totals)
    return totals[:2] * len(mask) / totals[2]


def _biases_and_places(module: nn.Module) -> set[str]:
    """Parameters without weight decay: vectors, and embeddings of the class token, of channels and of times."""
    return {name for name, p in module.named_parameters() if p.ndim <= 1 or name.rsplit(".", 1)[-1] in _EMBEDDINGS}


def _patches_and_rows(batch: Batch, aliases: str) -> tuple[Tensor, Tensor]:
    """Whole seconds of a batch as patches, and the rows of its channels."""
    n_times = batch.x.shape[-1] // PATCH_LENGTH * PATCH_LENGTH
    rows = channel_rows(batch.ch_names, aliases=aliases).rows
    return to_patches(batch.x[..., :n_times]), rows.to(batch.x.device)
