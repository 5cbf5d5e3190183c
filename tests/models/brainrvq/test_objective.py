"""Losses of tokenizer and pretraining network: published numbers, finite at flat input, and learnable."""

import numpy as np
import pytest
import torch
from brainrvq_golden import CHANNELS, fill, load_golden

from mne_specmoe.data.synthetic import make_eeg
from mne_specmoe.models.brainrvq.masking import PatchMask
from mne_specmoe.models.brainrvq.objective import (
    CodePredictionObjective,
    TokenizerObjective,
    code_losses,
    tokenizer_targets,
)
from mne_specmoe.models.brainrvq.prediction import BrainRVQ
from mne_specmoe.models.brainrvq.published import pretraining_keys, tokenizer_keys
from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizer, Codes
from mne_specmoe.models.interface import Batch, Objective, SparesDecay

SMALL = {"n_codes": 16, "depth": 1, "decoder_depth": 1}


def batch(x: torch.Tensor, names=("C3", "C4"), first_seed: int = 0) -> Batch:
    positions = torch.linspace(1, 10, x.shape[-1]).expand(len(x), -1)
    seeds = torch.arange(first_seed, first_seed + len(x))
    return Batch(x, positions, seeds, tuple(names), torch.full((len(names), 3), torch.nan))


def eeg(n: int, n_times: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(1e4 * make_eeg(n, 2, n_times, sfreq=200.0, random_state=seed)).float()


def tokenizer(**options) -> BrainRVQTokenizer:
    torch.manual_seed(0)
    return BrainRVQTokenizer(**SMALL | {"init": "random"} | options)


def test_losses_of_the_tokenizer_are_the_published_ones():
    golden = load_golden()
    network = BrainRVQTokenizer(norm_scope="recording", residual="published", init="random").eval()
    fill(network, tokenizer_keys(network.encoder.config, network.decode_time.trunk.config, 3))
    with torch.no_grad():
        x = torch.from_numpy(golden["tok_x"])
        loss, terms = TokenizerObjective(network, aliases="none")(batch(x, CHANNELS), progress=0.0)
    names = ("quantize_time", "quantize_frequency", "amplitude", "angle", "time")
    np.testing.assert_allclose([terms[name] for name in names], golden["tok_losses"][:5], rtol=1e-4)
    assert loss.item() == pytest.approx(golden["tok_losses"][5], rel=1e-4)


@torch.no_grad()
def test_loss_of_the_predictions_is_the_published_one():
    golden = load_golden()
    network = BrainRVQ(drop_path=0.0, norm_scope="recording", cls_row="first_channel").eval()
    fill(network, pretraining_keys(network.encoder.config, 3))
    codes = Codes(*(torch.from_numpy(golden[f"tok_codes_{letter}"]).unflatten(2, (4, 3)) for letter in "tf"))
    mask = torch.from_numpy(golden["pre_mask"])
    patches = torch.from_numpy(golden["tok_x"]).unflatten(2, (3, 200))
    rows = torch.tensor([0, 1, 40, 42, 83])
    for given, key in ((None, "pre_eval_total_ce"), (codes, "pre_train_total_ce")):
        loss, _ = code_losses(network(patches, rows, mask, given), codes, mask)
        assert loss.item() == pytest.approx(golden[key].item(), rel=1e-5)


def test_targets_are_standardised_and_finite_for_flat_signals():
    targets = tokenizer_targets(eeg(2, 600).unflatten(2, (3, 200)))
    assert targets.time.std(-1).flatten().tolist() == pytest.approx([1.0] * 12, rel=1e-3)
    for part in (targets.amplitude, targets.angle):
        assert part.std((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0], rel=1e-3)
    assert all(part.isfinite().all() for part in tokenizer_targets(torch.zeros(1, 2, 3, 200)))


def test_flat_segments_have_finite_losses():
    objective = TokenizerObjective(tokenizer(init="kmeans")).train()
    loss, _ = objective(batch(torch.zeros(2, 2, 600)), progress=0.0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


def test_objectives_are_objectives():
    network = tokenizer().eval()
    assert isinstance(TokenizerObjective(network), Objective)
    objective = CodePredictionObjective(BrainRVQ(depth=1, n_codes=16), network)
    assert isinstance(objective, Objective)
    assert not [name for name, _ in objective.named_parameters() if not name.startswith("network.")]


def test_a_tokenizer_learns_to_rebuild():
    objective = TokenizerObjective(tokenizer(init="kmeans")).train()
    optimiser = torch.optim.AdamW(objective.parameters(), lr=2e-3)
    x = eeg(8, 400)
    losses = []
    for _ in range(40):
        loss, terms = objective(batch(x), progress=0.0)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(terms["time"].item() + terms["amplitude"].item())
    assert losses[-1] < 0.8 * losses[0]
    assert 1 <= terms["perplexity_time_1"] <= 16
    assert 0 <= terms["dead_time_1"] <= 16


@torch.no_grad()
def test_evaluation_gives_both_losses_of_one_pass_of_the_encoder(monkeypatch):
    network, coder, passes = BrainRVQ(depth=1, n_codes=16), tokenizer(), []
    network.encoder.register_forward_hook(lambda *_: passes.append(1))
    objective = CodePredictionObjective(network, coder).eval()
    given = batch(eeg(2, 600))
    loss, terms = objective(given, progress=0.5)
    assert len(passes) == 2  # one per mask, that of the hidden patches and that of the others
    patches, rows = given.x.unflatten(2, (3, 200)), torch.tensor([0, 40, 44])
    codes = coder.encode(given.x, given.ch_names)
    mask = objective.mask(patches, given.seeds, progress=0.5)
    for way, told in (("teacher_forced", codes), ("free_running", None)):
        expected, parts = code_losses(network(patches, rows, mask, told), codes, mask)
        assert terms[way] == expected
        assert all(terms[f"{way}_{name}"] == value for name, value in parts.items())
    assert loss == terms["free_running"] != terms["teacher_forced"]


def test_biases_gains_and_embeddings_of_places_are_spared_weight_decay():
    coder = tokenizer()
    for objective in (TokenizerObjective(coder), CodePredictionObjective(BrainRVQ(depth=1, n_codes=16), coder)):
        assert isinstance(objective, SparesDecay)
        spared = objective.spared_decay()
        parameters = dict(objective.named_parameters())
        assert spared < set(parameters)
        assert {name for name, p in parameters.items() if p.ndim <= 1} < spared
        larger = {name.rsplit(".", 1)[-1] for name in spared if parameters[name].ndim > 1}
        assert larger == {"cls_token", "channel_embedding", "time_embedding"}
    decayed = set(parameters) - spared
    assert {"network.mask_token", "network.predict_time.embeddings.0.weight"} < decayed
    assert "network.decode_time.trunk.channel_embedding" in TokenizerObjective(coder).spared_decay()


def test_use_of_codes_is_a_term_of_training_only():
    objective, given = TokenizerObjective(tokenizer()), batch(eeg(2, 400))
    assert "perplexity_frequency_3" in objective.train()(given, progress=0.0)[1]
    assert not [name for name in objective.eval()(given, progress=0.0)[1] if "perplexity" in name or "dead" in name]


def test_a_tokenizer_without_codes_is_refused():
    with pytest.raises(ValueError, match="never trained"):
        CodePredictionObjective(BrainRVQ(depth=1, n_codes=16), tokenizer(init="kmeans"))


def test_a_network_learns_the_codes_of_a_segment():
    objective = CodePredictionObjective(BrainRVQ(depth=2, n_codes=16, drop_path=0.0), tokenizer())
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    x = eeg(4, 600)
    objective.train()
    losses = []
    for _ in range(60):
        loss, terms = objective(batch(x), progress=0.0)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert "free_running" not in terms


def test_the_tokenizer_does_not_change_while_the_network_trains():
    network = tokenizer()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    objective = CodePredictionObjective(BrainRVQ(depth=1, n_codes=16), network).train()
    objective(batch(eeg(2, 400)), progress=0.5)[0].backward()
    assert not network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_masks_come_from_seeds_and_progress():
    seen = []

    class Spy(PatchMask):
        def __call__(self, patches, seeds, *, progress):
            seen.append((seeds.tolist(), progress))
            return super().__call__(patches, seeds, progress=progress)

    objective = CodePredictionObjective(BrainRVQ(depth=1, n_codes=16), tokenizer(), mask=Spy())
    objective(batch(eeg(2, 400), first_seed=7), progress=0.25)
    assert seen == [([7, 8], 0.25)]


def test_a_tokenizer_of_another_size_is_refused():
    with pytest.raises(ValueError, match="n_codes=32, the tokenizer 16"):
        CodePredictionObjective(BrainRVQ(depth=1, n_codes=32), tokenizer())


def test_what_is_left_of_a_second_is_not_used():
    objective, x = TokenizerObjective(tokenizer()).eval(), eeg(1, 450)
    whole, cut = (objective(batch(each), progress=0.0)[0] for each in (x, x[..., :400]))
    assert torch.equal(whole, cut)
