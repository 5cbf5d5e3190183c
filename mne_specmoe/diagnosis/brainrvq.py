"""BrainRVQ's encoder under the health check: what its blocks hold, and what its predictors of codes make of it.

Shapes in the comments: B batch, C channels, A seconds, L = C·A tokens in order (channel, second), D features.
"""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mne_specmoe.diagnosis.examinee import READ_STAGE, Losses, noting, passes
from mne_specmoe.models.brainrvq.downstream import random_encoder, whole_seconds, window_lengths
from mne_specmoe.models.brainrvq.masking import PATCH_LENGTH, PatchMask, PatchMaskConfig
from mne_specmoe.models.brainrvq.network import MAX_PATCHES, BrainRVQEncoder
from mne_specmoe.models.brainrvq.objective import CodePredictionObjective
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer

_N_BLOCKS = 4  # of those between the first and the last, at most


class BrainRVQExaminee:
    """An encoder, with the mask token and the predictors of codes where the file has them.

    Masks are random ones: half of the seconds are hidden, whatever they hold.

    Parameters
    ----------
    network : BrainRVQ | BrainRVQEncoder
        In evaluation mode.
    rows : Tensor of int64, shape (1 + n_channels,)
        Rows of the channels.
    tokenizer : BrainRVQTokenizer | None
        Whose codes are predicted. None: the exchange of features is skipped.

    Raises
    ------
    ValueError
        If network and tokenizer differ in levels or codes, or the tokenizer was never trained.
    """

    family = "brainrvq"
    loss = "cross-entropy of the codes of hidden seconds (1 is the mean prediction)"
    baseline = "the network's mean prediction"

    def __init__(self, network: BrainRVQ | BrainRVQEncoder, rows: Tensor, tokenizer: BrainRVQTokenizer | None):
        whole = isinstance(network, BrainRVQ)
        if whole and tokenizer is not None:
            CodePredictionObjective(network, tokenizer)  # which refuses what does not go together
        self.network, self.rows, self.tokenizer = network, rows, tokenizer
        self.encoder = network.encoder if whole else network
        numbered = enumerate(self.encoder.trunk.blocks, 1)
        self._parts = {"patches": self.encoder.patch_embedding} | {f"block{i}": block for i, block in numbered}
        self.mask = PatchMask(PatchMaskConfig(mode="random"))
        blocks = np.arange(1, self.encoder.config.depth)
        chosen = blocks if len(blocks) <= _N_BLOCKS else blocks[np.linspace(0, len(blocks) - 1, _N_BLOCKS).astype(int)]
        self.stages = ("patches", *(f"block{number}" for number in chosen), READ_STAGE)
        fine_tuned = "the file holds a fine-tuned network, without mask token and predictors of codes"
        self.no_mask = None if whole else fine_tuned
        no_codes = None if tokenizer is not None else "the codes come from a tokenizer: name its file"
        self.no_exchange = no_codes if whole else fine_tuned

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Map signals [B, C, T] to what every stage makes of them, [B, C, D, A]; the last before the last norm."""
        return self._stages_of(x, None)

    def masked_activations(self, x: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """The same where a mask token stands for half of the seconds; masks come from the seeds [B] alone."""
        return self._stages_of(x, seeds)

    def exchange(self, x: Tensor, strangers: Tensor, seeds: Tensor, other_seeds: Tensor) -> Losses:
        """Cross-entropies of the first level's codes of hidden seconds, from what is shown of these and of others.

        Segments of more than 30 s are cut to 30 s. Another mask would show what is to be predicted, so it is not asked.
        """
        codes, own, other = [], [], []
        for index in passes(x):
            patches, foreign = _patches(x[index]), _patches(strangers[index])
            hidden = self.mask(patches, seeds[index], progress=1.0)
            found = self.tokenizer.encode(patches.flatten(2), self.rows)
            codes += [torch.stack([found.time[0, i].flatten()[h], found.frequency[0, i].flatten()[h]])
                      for i, h in enumerate(hidden)]  # fmt: skip
            own += self._log_probabilities(patches, hidden)
            other += self._log_probabilities(foreign, hidden)
        mean = torch.cat(own, 1).logsumexp(1, keepdim=True)  # [2, 1, n_codes]
        mean = [(mean - mean.logsumexp(-1, keepdim=True)).expand(-1, each.shape[1], -1) for each in own]
        baseline, own, other = (_cross_entropies(each, codes) for each in (mean, own, other))
        return Losses(baseline, baseline, own, other, None)

    def untrained(self, seed: int) -> "BrainRVQExaminee":
        """A network of the same architecture with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if isinstance(self.network, BrainRVQ):
                fresh = BrainRVQ(**asdict(self.network.config))
            else:
                fresh = random_encoder(self.encoder.config)
        fresh = fresh.eval().to(next(self.network.parameters()).device)
        return BrainRVQExaminee(fresh, self.rows, self.tokenizer)

    def _stages_of(self, x: Tensor, seeds: Tensor | None) -> dict[str, Tensor]:
        """Stages of windows of at most 30 s, laid end to end."""
        seconds = whole_seconds(x).unflatten(-1, (-1, PATCH_LENGTH))  # [B, C, A, 200]
        windows = seconds.split(window_lengths(seconds.shape[2]), 2)
        parts = [self._stages_of_window(window, seeds) for window in windows]
        return {name: torch.cat([part[name] for part in parts], -1) for name in self.stages}

    def _stages_of_window(self, patches: Tensor, seeds: Tensor | None) -> dict[str, Tensor]:
        """Stages of patches [B, C, A, 200]: name → [B, C, D, A]."""
        options = {}
        if seeds is not None:
            hidden = self.mask(patches, seeds, progress=1.0)
            options = {"mask": hidden, "mask_token": self.network.mask_token}
        with noting(self._parts) as noted:
            noted[READ_STAGE] = self.encoder.raw_tokens(patches, self.rows, **options)
        tokens = {name: noted[name] if name == "patches" else noted[name][:, 1:] for name in self.stages}
        if seeds is not None:  # the mask token comes after the embedding
            tokens["patches"] = torch.where(hidden[..., None], self.network.mask_token, tokens["patches"])
        return {name: each.unflatten(1, (patches.shape[1], -1)).transpose(2, 3) for name, each in tokens.items()}

    def _log_probabilities(self, patches: Tensor, hidden: Tensor) -> list[Tensor]:
        """Per segment, logarithms of what is predicted of its hidden seconds: [2 domains, n_hidden, n_codes]."""
        network = self.network
        tokens = network.encoder(patches, self.rows, mask=hidden, mask_token=network.mask_token)[:, 1:]
        heads = network.predict_time.heads[0], network.predict_frequency.heads[0]
        return [
            torch.stack([head(t[h]).log_softmax(-1) for head in heads]) for t, h in zip(tokens, hidden, strict=True)
        ]


def _patches(x: Tensor) -> Tensor:
    """Whole seconds, at most 30: [B, C, T] → [B, C, A, 200]."""
    return whole_seconds(x).unflatten(-1, (-1, PATCH_LENGTH))[:, :, :MAX_PATCHES]


def _cross_entropies(logs: list[Tensor], codes: list[Tensor]) -> np.ndarray:
    """Mean over hidden seconds, summed over both domains: (n_segments,)."""
    found = [2 * F.nll_loss(p.flatten(0, 1), c.flatten()) for p, c in zip(logs, codes, strict=True)]
    return torch.stack(found).double().cpu().numpy()
