"""The pretraining network predicts the published logits; finer levels are told true or predicted codes."""

import numpy as np
import pytest
import torch
from brainrvq_golden import CHANNELS, fill, load_golden
from torch.nn import functional as F

from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.network import to_patches
from mne_specmoe.models.brainrvq.prediction import BrainRVQ, CodePredictor
from mne_specmoe.models.brainrvq.published import pretraining_keys, unused_pretraining_keys
from mne_specmoe.models.brainrvq.tokenizer import Codes

ROWS = channel_rows(CHANNELS).rows
NAMES = {"time": "t", "time_rest": "t_sym", "frequency": "f", "frequency_rest": "f_sym"}
LEVEL_WEIGHTS = (1.0, 0.5, 0.25)


@pytest.fixture(scope="module")
def golden():
    return load_golden()


@pytest.fixture(scope="module")
def published():
    network = BrainRVQ(drop_path=0.0, norm_scope="recording", cls_row="first_channel").eval()
    fill(network, pretraining_keys(network.encoder.config, 3))
    return network


@pytest.fixture(scope="module")
def codes(golden):
    return Codes(*(torch.from_numpy(golden[f"tok_codes_{letter}"]).unflatten(2, (4, 3)) for letter in "tf"))


@torch.no_grad()
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_are_the_published_ones(golden, published, codes, mode):
    patches, mask = to_patches(torch.from_numpy(golden["tok_x"])), torch.from_numpy(golden["pre_mask"])
    predictions = published(patches, ROWS, mask, codes if mode == "train" else None)
    total = 0.0
    for name, letter in NAMES.items():
        hidden = ~mask if name.endswith("rest") else mask
        true = getattr(codes, name.removesuffix("_rest")).flatten(2)[:, hidden]
        for level, logits in enumerate(getattr(predictions, name)):
            key = f"pre_{mode}_{letter}_L{level}"
            np.testing.assert_allclose(logits[:, :16], golden[key], rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(logits.argmax(1), golden[f"{key}_argmax"])
            np.testing.assert_allclose(logits.logsumexp(1), golden[f"{key}_lse"], rtol=1e-4)
            total += LEVEL_WEIGHTS[level] * F.cross_entropy(logits, true[level]).item()
    assert total == pytest.approx(golden[f"pre_{mode}_total_ce"].item(), rel=1e-5)


def test_parameters_are_counted_as_published():
    n_parameters = sum(p.numel() for p in BrainRVQ().parameters())
    unused = 8192 * 200 + 8192 + 2 * 8192 * 200  # a leftover head, and embeddings that are told to nobody
    assert n_parameters + unused == 27_181_080
    assert len(unused_pretraining_keys(3)) == 4
    assert len(pretraining_keys(BrainRVQ().encoder.config, 3)) + 4 == 250


def test_every_parameter_is_trained():
    network = BrainRVQ(depth=2, n_codes=16, drop_path=0.0)
    mask = torch.arange(6).expand(2, 6) % 2 == 0
    codes = Codes(*torch.randint(16, (2, 3, 2, 2, 3)))
    predictions = network(torch.randn(2, 2, 3, 200), channel_rows(["C3", "C4"]).rows, mask, codes)
    sum(logits.square().mean() for part in predictions for logits in part).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@torch.no_grad()
def test_finer_levels_depend_on_what_they_are_told():
    torch.manual_seed(0)
    predictor, features = CodePredictor(3, 16), torch.randn(5, 200)
    codes = torch.randint(16, (3, 5))
    free, forced = predictor(features), predictor(features, codes)
    assert torch.equal(free[0], forced[0])
    assert not torch.allclose(free[1], forced[1])
    guessed = torch.stack([logits.argmax(-1) for logits in free])
    for level, logits in enumerate(predictor(features, guessed)):
        assert torch.equal(logits, free[level])
    codes[2] = 0  # nobody is told the last level's codes
    assert all(torch.equal(*pair) for pair in zip(forced, predictor(features, codes), strict=True))
