import copy
import json
from dataclasses import asdict

import mne
import numpy as np
import pytest
import torch
from torch import nn

from mne_specmoe.models.specmoe.config import SpecHiNetConfig
from mne_specmoe.models.specmoe.mixture import (
    ExpertSet,
    ExpertSetConfig,
    SpecMoE,
    SpecMoEConfig,
    SpectralGate,
)
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder, settle_normalisation
from mne_specmoe.signal.canonical import pad
from mne_specmoe.signal.spectral import welch_psd

POOLINGS = {"mean": torch.mean, "max": torch.amax}


def specmoe(n_outputs: int = 3, n_times: int = 480, **options) -> SpecMoE:
    """A small mixture whose untrained experts keep the signal alive; evaluation mode."""
    torch.manual_seed(0)
    network = SpecMoE(n_outputs, n_times=n_times, **{"n_experts": 2} | options)
    for expert in network.experts:
        settle_normalisation(expert)
    return network.eval()


def eeg(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    after = module.state_dict()
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


# Forward


@pytest.mark.parametrize("layout", ["channelwise", "published"])
@pytest.mark.parametrize("n_experts", [1, 3])
@torch.no_grad()
def test_prediction_is_pooling_then_readout(layout, n_experts):
    network, x = specmoe(layout=layout, n_experts=n_experts), eeg(2, 4, 480)
    pooled = network.pool(x)
    assert pooled.embedding.shape == (2, n_experts, 4, 128)
    assert pooled.psd.shape == (2, 4, 201)
    assert network.pooled_names == ("embedding", "psd")
    output = network(x)
    assert output.shape == (2, 3)
    torch.testing.assert_close(output, network.readout(*pooled))


@pytest.mark.parametrize("layout", ["channelwise", "published"])
@pytest.mark.parametrize("time_pooling", ["mean", "max"])
@pytest.mark.parametrize("channel_pooling", ["mean", "max"])
@torch.no_grad()
def test_prediction_is_the_formula_of_the_paper(layout, time_pooling, channel_pooling):
    network = specmoe(layout=layout, time_pooling=time_pooling, channel_pooling=channel_pooling, gate_scale="power")
    x = eeg(2, 4, 500)
    padded, _ = pad(x)
    psd = welch_psd(padded, n_per_segment=400, n_overlap=200)
    parts = []
    for expert, linear in zip(network.experts, network.readout.gate.linears, strict=True):
        embedding = expert(x)  # [B, 128, C·L2]
        if layout == "published":
            embedding = embedding.contiguous().view(2, 4, 128, -1)
        else:
            embedding = embedding.view(2, 128, 4, -1).transpose(1, 2)
        pooled = POOLINGS[time_pooling](embedding, -1)  # [B, C, 128]
        parts.append(pooled * torch.sigmoid(linear(psd)))
    features = POOLINGS[channel_pooling](torch.cat(parts, -1), 1)
    torch.testing.assert_close(network(x), network.final_layer(features))
    torch.testing.assert_close(network(x, return_features=True)["features"], features)


@torch.no_grad()
def test_features_are_what_the_head_reads():
    network, x = specmoe(), eeg(2, 4, 480)
    features = network(x, return_features=True)
    assert set(features) == {"features", "cls_token"}
    assert features["cls_token"] is None
    assert features["features"].shape == (2, 2 * 128)
    torch.testing.assert_close(network.final_layer(features["features"]), network(x))


@torch.no_grad()
def test_the_order_of_channels_does_not_matter():
    network, x = specmoe(), eeg(2, 5, 480)
    torch.testing.assert_close(network(x[:, [4, 2, 0, 1, 3]]), network(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_any_number_of_channels_works_with_one_network():
    network = specmoe()
    for n_channels in (1, 3, 19):
        assert network(eeg(1, n_channels, 480)).shape == (1, 3)


@pytest.mark.parametrize(
    ("n_times", "n_freqs"), [(1, 101), (200, 101), (399, 101), (400, 201), (401, 201), (6000, 201)]
)
def test_resolution_of_the_spectrum_follows_the_length(n_times, n_freqs):
    assert SpecMoEConfig(2, n_times).n_freqs == n_freqs
    network = specmoe(n_times=n_times, n_experts=1)
    (psd,) = network.spectra(eeg(1, 2, min(n_times, 600)))
    assert psd.shape == (1, 2, n_freqs)
    assert psd.isfinite().all()


@torch.no_grad()
def test_double_precision_is_double_all_the_way():
    x = eeg(2, 3, 480)
    for scale in ("log", "power", "none"):
        network = specmoe(gate_scale=scale)
        single, network = network(x), network.double()
        pooled = network.pool(x.double())
        assert {part.dtype for part in pooled} == {torch.float64}
        double = network(x.double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)


def test_training_reaches_every_parameter():
    network = specmoe().train()
    network(eeg(4, 3, 480)).square().sum().backward()
    for name, parameter in network.named_parameters():
        if "masked_norm" not in name and "places.linear" not in name:  # nothing is masked, no place is known
            assert parameter.grad.abs().max() > 0, name


# Gate


@pytest.mark.parametrize("scale", ["log", "power", "none"])
def test_gates_lie_between_0_and_1_for_every_expert_channel_and_feature(scale):
    gate = SpectralGate(101, 3, scale=scale)
    gates = gate(torch.rand(2, 5, 101))
    assert gates.shape == (2, 3, 5, 128)
    if scale == "none":
        assert (gates == 1).all()
    else:
        assert (gates > 0).all()
        assert (gates < 1).all()
        assert (gates[:, 0] != gates[:, 1]).any()


def test_gate_reads_the_power_or_its_standardised_logarithm():
    psd = torch.rand(6, 2, 11) + 0.1
    gate = SpectralGate(11, 2, scale="log")
    log_psd = psd.log10()
    expected = [torch.sigmoid(linear(log_psd)) for linear in gate.linears]
    torch.testing.assert_close(gate(psd), torch.stack(expected, 1))
    gate.standardise(psd)
    flat = log_psd.flatten(0, 1)
    standard = (log_psd - flat.mean(0)) / flat.std(0, correction=0)
    expected = [torch.sigmoid(linear(standard)) for linear in gate.linears]
    torch.testing.assert_close(gate(psd), torch.stack(expected, 1))
    gate.scale = "power"
    expected = [torch.sigmoid(linear(psd)) for linear in gate.linears]
    torch.testing.assert_close(gate(psd), torch.stack(expected, 1))


def test_standardising_survives_flat_channels_and_constant_spectra():
    for psd in (torch.zeros(4, 2, 11), torch.full((4, 2, 11), 0.3), torch.rand(1, 1, 11)):
        gate = SpectralGate(11, 1, scale="log")
        gate.standardise(psd)
        gates = gate(psd)
        torch.testing.assert_close(gates[0, 0, 0], torch.sigmoid(gate.linears[0].bias), rtol=1e-3, atol=1e-3)


def test_standardising_the_network_changes_its_gate_only():
    network, x = specmoe(), eeg(4, 3, 480)
    before, output = snapshot(network), network(x)
    network.standardise(network.pool(x).psd)
    assert changed(before, network) == {"readout.gate.log_mean", "readout.gate.log_std"}
    assert not torch.equal(network(x), output)


def test_an_unknown_scale_is_refused_with_a_list_of_the_known_ones():
    with pytest.raises(ValueError, match="scale='db'.*'log', 'power', 'none'"):
        SpectralGate(11, 1, scale="db")


# Freezing, heads


def train_a_step(network: SpecMoE) -> None:
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(eeg(4, 3, 480)).square().sum().backward()
    optimizer.step()


def test_frozen_experts_keep_parameters_and_running_statistics():
    network = specmoe().freeze_experts()
    before = snapshot(network)
    train_a_step(network)
    touched = changed(before, network)
    assert touched
    assert all(name.startswith("readout.") for name in touched)
    assert network.readout.training
    assert not any(module.training for module in network.experts.modules())


def test_unfrozen_experts_train_again():
    network = specmoe().freeze_experts().freeze_experts(False)
    before = snapshot(network)
    train_a_step(network)
    touched = changed(before, network)
    for i in (0, 1):
        assert f"experts.{i}.short.0.conv.weight" in touched
        assert f"experts.{i}.short.0.norm.running_mean" in touched
    assert all(module.training for module in network.experts.modules())


def test_freezing_in_training_mode_acts_at_once():
    network = specmoe().train()
    assert all(module.training for module in network.experts.modules())
    network.freeze_experts()
    assert network.training
    assert not any(module.training for module in network.experts.modules())


def test_a_new_head_has_new_weights_and_the_state_of_the_old_one():
    network = specmoe().double().eval()
    old, before = network.final_layer, snapshot(network.experts)
    network.reset_head(5)
    x = eeg(2, 3, 480).double()
    assert network(x).shape == (2, 5)
    assert torch.equal(network(x), network(x))  # evaluation mode: no dropout
    assert network.n_outputs == network.config.n_outputs == network.readout.config.n_outputs == 5
    assert network.final_layer is not old
    assert not torch.equal(network.final_layer.hidden.weight, old.hidden.weight)
    assert not changed(before, network.experts)
    with pytest.raises(ValueError, match="n_outputs must be >= 1"):
        network.reset_head(0)
    assert network.n_outputs == 5
    network.train().reset_head(2)
    assert network.final_layer.training


# Construction


def test_length_comes_from_seconds_if_samples_are_not_given():
    network = SpecMoE(2, input_window_seconds=1.255, n_experts=1)
    assert network.n_times == network.config.n_times == 251
    assert network.input_window_seconds == 1.255
    with pytest.raises(ValueError, match="n_times, or input_window_seconds"):
        SpecMoE(2, n_experts=1)


@pytest.mark.parametrize("sfreq", [160, 250.0])
def test_another_sampling_rate_is_refused(sfreq):
    with pytest.raises(ValueError, match=rf"works at 200 Hz, got sfreq={sfreq:g}; resample"):
        SpecMoE(2, n_times=400, sfreq=sfreq)


def test_numbers_of_channels_that_contradict_each_other_are_refused():
    channels = mne.create_info(["C3", "Cz", "C4"], 200, "eeg")["chs"]
    assert SpecMoE(2, n_times=400, n_experts=1, chs_info=channels).n_chans == 3
    assert SpecMoE(2, 3, 400, n_experts=1, chs_info=channels).n_chans == 3
    with pytest.raises(ValueError, match="n_chans=2, but chs_info describes 3"):
        SpecMoE(2, 2, 400, n_experts=1, chs_info=channels)


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("n_outputs", 0, ValueError, "n_outputs must be >= 1"),
        ("n_outputs", 2.0, TypeError, "n_outputs must be an integer"),
        ("n_times", 0, ValueError, "n_times must be >= 1"),
        ("n_experts", 0, ValueError, "n_experts must be >= 1"),
        ("hidden", 0, ValueError, "hidden must be >= 1"),
        ("layout", "flat", ValueError, "'channelwise', 'published'"),
        ("time_pooling", "median", ValueError, "time_pooling='median'.*'mean', 'max'"),
        ("channel_pooling", "sum", ValueError, "channel_pooling='sum'.*'mean', 'max'"),
        ("gate_scale", None, ValueError, "'log', 'power', 'none'"),
        ("dropout", 1.5, ValueError, "dropout must be"),
    ],
)
def test_impossible_options_are_refused(option, value, error, message):
    with pytest.raises(error, match=message):
        SpecMoE(**{"n_outputs": 2, "n_times": 400, option: value})


def test_hidden_sets_the_width_of_the_head():
    assert specmoe(hidden=7).final_layer.hidden.out_features == 7
    assert specmoe().final_layer.hidden.out_features == 256
    assert specmoe(n_chans=4, parts=("experts", "covariance")).final_layer.hidden.out_features == 256


# Sets of experts


def test_a_set_of_experts_holds_the_config_of_one():
    experts = [SpecHiNet(n_mixtures=1, decoder="gains") for _ in range(2)]
    made = ExpertSet(experts=experts)
    assert list(made.experts) == experts
    assert made.config == ExpertSetConfig(2, experts[0].config)
    untrained = ExpertSet(**asdict(made.config))  # as it stands in a file
    assert untrained.config == made.config
    assert [expert.config for expert in untrained.experts] == [expert.config for expert in experts]


def test_experts_of_a_set_may_have_been_trained_with_other_dropout():
    made = ExpertSet(experts=[SpecHiNet(dropout=0.1), SpecHiNet(dropout=0.2)])
    assert made.config.expert.dropout == 0.1


@pytest.mark.parametrize("options", [{"decoder": "gains"}, {"layout": "published"}, {"n_mixtures": 0}])
def test_experts_of_a_set_have_one_architecture(options):
    with pytest.raises(ValueError, match=f"experts must have one {next(iter(options))}"):
        ExpertSet(experts=[SpecHiNet(), SpecHiNet(**options)])


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="no expert"):
        ExpertSet(experts=[])
    with pytest.raises(ValueError, match="n_experts must be"):
        ExpertSet(0)


# braindecode


@pytest.fixture
def eeg_classifier():
    """braindecode's classifier."""
    return pytest.importorskip("braindecode", exc_type=(ImportError, OSError)).EEGClassifier


OPTIONS = {
    "module__n_experts": 1,
    "module__hidden": 16,
    "max_epochs": 2,
    "batch_size": 4,
    "train_split": None,
    "verbose": 0,
    "optimizer": torch.optim.Adam,
    "lr": 1e-3,
}


def two_rhythms(n_channels: int = 3, n_times: int = 480) -> tuple[np.ndarray, np.ndarray]:
    """Eight epochs of 4 or 20 Hz, 30 µV in network units."""
    rng = np.random.default_rng(0)
    y = np.array([0, 1] * 4)
    times = np.arange(n_times) / 200
    phases = rng.uniform(0, 6, (8, n_channels, 1))
    x = np.sin(2 * np.pi * np.where(y, 20, 4)[:, None, None] * times + phases)
    return (0.3 * x + 0.05 * rng.standard_normal(x.shape)).astype(np.float32), y


def test_trains_inside_braindecode_on_arrays(eeg_classifier):
    x, y = two_rhythms()
    torch.manual_seed(0)
    classifier = eeg_classifier(SpecMoE, **OPTIONS).fit(x, y)
    network = classifier.module_
    assert (network.n_chans, network.n_times, network.n_outputs) == (3, 480, 2)
    losses = classifier.history[:, "train_loss"]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert losses[1] < losses[0]
    assert classifier.predict(x).shape == (8,)
    np.testing.assert_allclose(classifier.predict_proba(x).sum(1), 1, rtol=1e-5)
    json.dumps(asdict(network.config))  # what braindecode infers can be stored in a checkpoint


def test_trains_inside_braindecode_on_epochs(eeg_classifier):
    x, y = two_rhythms()
    info = mne.create_info(["C3", "Cz", "C4"], 200, "eeg")
    epochs = mne.EpochsArray(x * 1e-4, info)
    classifier = eeg_classifier(SpecMoE, **OPTIONS).fit(epochs, y)
    network = classifier.module_
    assert (network.n_chans, network.n_times, network.n_outputs) == (3, 480, 2)
    assert [channel["ch_name"] for channel in network.chs_info] == ["C3", "Cz", "C4"]
    assert np.isfinite(classifier.history[:, "train_loss"]).all()
    assert classifier.predict(epochs).shape == (8,)


def test_braindecode_is_told_that_epochs_have_another_rate(eeg_classifier):
    x, y = two_rhythms()
    epochs = mne.EpochsArray(x * 1e-4, mne.create_info(3, 250, "eeg"))
    with pytest.raises(ValueError, match="200 Hz, got sfreq=250"):
        eeg_classifier(SpecMoE, **OPTIONS).fit(epochs, y)


def test_given_experts_are_used_as_they_are():
    experts = [SpecHiNetEncoder(SpecHiNetConfig("published")) for _ in range(2)]
    network = SpecMoE(2, n_times=800, experts=experts)
    assert list(network.experts) == experts
    assert (network.config.n_experts, network.config.layout) == (2, "published")


@pytest.mark.parametrize("layouts", [(), ("published", "channelwise")])
def test_given_experts_must_share_one_layout(layouts):
    experts = [SpecHiNetEncoder(SpecHiNetConfig(layout)) for layout in layouts]
    with pytest.raises(ValueError, match="experts must have one layout"):
        SpecMoE(2, n_times=800, experts=experts)
