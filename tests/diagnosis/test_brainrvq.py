"""BrainRVQ's encoder under the health check: its blocks, its masks, and predictions from what others show."""

import numpy as np
import pytest
import torch

from mne_specmoe.diagnosis.brainrvq import BrainRVQExaminee
from mne_specmoe.diagnosis.examinee import Examinee
from mne_specmoe.models.brainrvq.channels import channel_rows
from mne_specmoe.models.brainrvq.downstream import pooled_tokens
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer

ROWS = channel_rows(["C3", "Cz", "C4"]).rows
SIZES = {"n_levels": 2, "n_codes": 16}


@pytest.fixture
def x() -> torch.Tensor:
    return 0.2 * torch.randn(4, 3, 800, generator=torch.Generator().manual_seed(0))


def network(depth: int = 2) -> BrainRVQ:
    torch.manual_seed(0)
    return BrainRVQ(depth, **SIZES).eval()


def tokenizer() -> BrainRVQTokenizer:
    torch.manual_seed(0)
    return BrainRVQTokenizer(**SIZES, code_width=8, depth=1, decoder_depth=1, init="random").eval()


@torch.inference_mode()
def test_stages_are_the_patches_some_blocks_and_what_estimators_read(x):
    examinee = BrainRVQExaminee(network(12), ROWS, None)
    assert isinstance(examinee, Examinee)
    assert examinee.stages == ("patches", "block1", "block4", "block7", "block11", "embedding")
    found = examinee.activations(x)
    assert {tuple(each.shape) for each in found.values()} == {(4, 3, 200, 4)}
    expected = pooled_tokens(examinee.encoder, x, ROWS, "channels")
    torch.testing.assert_close(found["embedding"].mean(-1), expected)


@torch.inference_mode()
def test_long_epochs_are_examined_window_by_window(x):
    examinee = BrainRVQExaminee(network(), ROWS, None)
    long = x.repeat(1, 1, 10)[:1]  # 40 s, two windows of 20 s
    found = examinee.activations(long)["embedding"]
    assert found.shape == (1, 3, 200, 40)
    torch.testing.assert_close(found[..., :20], examinee.activations(long[..., :4000])["embedding"])


@torch.inference_mode()
def test_masks_depend_on_the_seed_alone_and_hide_seconds(x):
    examinee = BrainRVQExaminee(network(), ROWS, None)
    seeds = torch.tensor([5, 5, 5, 6])
    found = examinee.masked_activations(x, seeds)["patches"]
    hidden = (found == examinee.network.mask_token[0, 0, :, None]).all(2)  # [B, C, A]
    assert 0 < hidden[0].sum() < hidden[0].numel()
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[3])
    clean = examinee.activations(x)["patches"]
    shown = ~hidden[:, :, None].expand_as(clean)
    assert torch.equal(found[shown], clean[shown])


@torch.inference_mode()
def test_codes_are_predicted_worse_from_others_by_a_network_that_reads_what_is_shown(x):
    """The head of an overfitted network, in one step: the codes are read off the features of the segment."""
    examinee = BrainRVQExaminee(network(), ROWS, tokenizer())
    seeds = torch.arange(4), torch.arange(4, 8)
    before = examinee.exchange(x, x.flip(0), *seeds)
    assert before.other_mask is None
    assert np.isfinite(before.own).all()
    _read_codes_off_features(examinee, x, seeds[0])
    after = examinee.exchange(x, x.flip(0), *seeds)
    assert after.own.sum() < 0.5 * after.baseline.sum()
    assert after.other_person.sum() > 2 * after.own.sum()
    np.testing.assert_allclose(examinee.exchange(x, x, *seeds).other_person, after.own, rtol=1e-5)


def _read_codes_off_features(examinee: BrainRVQExaminee, x: torch.Tensor, seeds: torch.Tensor) -> None:
    """Fit the first level's heads to the hidden seconds of these segments by least squares."""
    from mne_specmoe.models.brainrvq.network import to_patches

    patches = to_patches(x)
    hidden = examinee.mask(patches, seeds, progress=1.0)
    tokens = examinee.encoder(patches, ROWS, mask=hidden, mask_token=examinee.network.mask_token)[:, 1:][hidden]
    mean = tokens.mean(0)
    codes = examinee.tokenizer.encode(x, ROWS)
    for domain in ("time", "frequency"):
        wanted = torch.nn.functional.one_hot(getattr(codes, domain)[0].flatten(1)[hidden], 16).float()
        head = getattr(examinee.network, f"predict_{domain}").heads[0]
        weight = torch.linalg.lstsq((tokens - mean).double(), 20 * (wanted - wanted.mean(0)).double()).solution.float()
        head.weight.copy_(weight.T)
        head.bias.copy_(-mean @ weight)


@torch.inference_mode()
def test_the_mean_prediction_is_what_a_network_without_features_says(x):
    examinee = BrainRVQExaminee(network(), ROWS, tokenizer())
    for predictor in (examinee.network.predict_time, examinee.network.predict_frequency):
        predictor.heads[0].weight.zero_()
    losses = examinee.exchange(x, x.flip(0), torch.arange(4), torch.arange(4))
    np.testing.assert_allclose(losses.own, losses.baseline, rtol=1e-5)
    np.testing.assert_allclose(losses.other_person, losses.baseline, rtol=1e-5)


def test_what_is_missing_is_said():
    assert "tokenizer" in BrainRVQExaminee(network(), ROWS, None).no_exchange
    encoder = BrainRVQExaminee(network().encoder, ROWS, tokenizer())
    assert "fine-tuned" in encoder.no_mask
    assert "fine-tuned" in encoder.no_exchange
    whole = BrainRVQExaminee(network(), ROWS, tokenizer())
    assert whole.no_mask is whole.no_exchange is None


def test_a_tokenizer_of_other_codes_is_refused():
    other = BrainRVQTokenizer(n_levels=2, n_codes=8, code_width=8, depth=1, decoder_depth=1, init="random")
    with pytest.raises(ValueError, match="n_codes=16, the tokenizer 8"):
        BrainRVQExaminee(network(), ROWS, other)


@torch.inference_mode()
def test_an_untrained_copy_has_the_architecture_and_other_weights(x):
    examinee = BrainRVQExaminee(network(), ROWS, tokenizer())
    state = torch.get_rng_state()
    first, again = examinee.untrained(1), examinee.untrained(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.network.config == examinee.network.config
    assert torch.equal(first.activations(x)["embedding"], again.activations(x)["embedding"])
    assert not torch.allclose(first.activations(x)["embedding"], examinee.activations(x)["embedding"])
