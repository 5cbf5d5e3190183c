"""What frozen networks say is what our estimators say, remembered per recording; random ones are like the trained."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from lively_experts import LAYOUTS
from specmoe_files import random_experts
from tiny_tasks import noise_data

from mne_specmoe import BrainRVQFeaturizer, SpecMoEClassifier, SpecMoEFeaturizer
from mne_specmoe.benchmark.entries import BUDGETS, Setting
from mne_specmoe.benchmark.features import KEPT, Weights, embed, flattened, sites
from mne_specmoe.checkpoint import read_header
from mne_specmoe.loaders.brainrvq import load_encoder
from mne_specmoe.loaders.specmoe import load_encoders
from mne_specmoe.signal.canonical import to_network


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return Setting(0, BUDGETS["tiny"], joblib.Memory(folder, verbose=0).cache, folder)


@pytest.fixture(scope="module")
def data():
    return noise_data(n_per_subject=3, subjects=("P0", "P1"))


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A file of experts for each layout."""
    folder = tmp_path_factory.mktemp("experts")
    return {layout: str(random_experts(folder / f"{layout}.safetensors", layout)) for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KEPT)
def test_specmoe_says_what_its_featurizer_says(setting, data, experts, layout, name):
    found = embed(data, Weights.of(experts[layout]), setting)[name]
    for place, pooling in enumerate(("mean", "max")):
        options = {"parts": ("experts",), "readout": (name,), "n_components": None, "channel_pooling": pooling}
        featurizer = SpecMoEFeaturizer(experts[layout], ch_names=list(data.ch_names), **options)
        expected = featurizer.fit_transform(data.X)
        np.testing.assert_allclose(found[:, place].reshape(len(data), -1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_specmoe_says_what_its_gates_weigh(setting, data, experts, layout):
    arrays = embed(data, Weights.of(experts[layout]), setting)
    options = {"head": "mlp", "parts": ("experts",), "hidden": 4, "max_epochs": 1, "random_state": 0}
    classifier = SpecMoEClassifier(experts[layout], ch_names=list(data.ch_names), **options).fit(data.X, data.y)
    with torch.no_grad():
        embedding, psd = classifier.network_.measure(to_network(data.X, data.sfreq))
    np.testing.assert_allclose(arrays["embedding"], embedding, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays["psd"], psd, rtol=1e-5)


def test_experts_are_told_where_electrodes_are(setting, data, experts):
    weights = Weights.of(experts["channelwise"])
    here, there, nowhere = (
        embed(replace(data, ch_names=names), weights, setting)["embedding"]
        for names in (("Fz", "Cz", "Pz"), ("O1", "Cz", "Pz"), ("A", "B", "C"))
    )
    assert np.abs(here - there).max() > 1e-3
    assert np.abs(here - nowhere).max() > 1e-3


def test_brainrvq_says_what_its_featurizer_says(setting, data):
    arrays = embed(data, Weights.of("brainrvq-starter"), setting)
    expected = BrainRVQFeaturizer(parts=("encoder",), ch_names=list(data.ch_names)).fit_transform(data.X)
    np.testing.assert_allclose(arrays["normed"], expected, rtol=1e-5, atol=1e-6)


def test_rows_stay_in_order_whatever_the_recordings(setting, data):
    order = np.array([5, 0, 3, 1, 4, 2])  # recordings mixed
    straight = embed(data, Weights.of("brainrvq-starter"), setting)["normed"]
    mixed = embed(data.take(order), Weights.of("brainrvq-starter"), setting)["normed"]
    np.testing.assert_allclose(mixed, straight[order], rtol=1e-5, atol=1e-6)


def test_the_second_time_is_remembered_with_the_seconds_of_the_first(tmp_path, data, experts):
    def fresh():
        return Setting(0, BUDGETS["tiny"], joblib.Memory(tmp_path, verbose=0).cache, tmp_path)

    first, second = fresh(), fresh()
    weights = Weights.of(experts["channelwise"])
    one, two = embed(data, weights, first), embed(data, weights, second)
    for name in KEPT:
        np.testing.assert_array_equal(one[name], two[name])
    assert len(first.remembered) == len(second.remembered) == 2  # recordings
    assert sum(first.remembered) <= 0 < sum(second.remembered)


@pytest.mark.parametrize("family", [*LAYOUTS, "brainrvq"])
def test_random_weights_are_of_the_same_kind_and_of_their_seed_alone(tmp_path, experts, family):
    name = experts.get(family, "brainrvq-starter")
    trained = Weights.of(name)
    random = replace(trained, is_random=True)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    files = [random.file(Setting(seed, BUDGETS["tiny"], folder=tmp_path / str(n))) for n, seed in enumerate((0, 0, 1))
             if (tmp_path / str(n)).mkdir() is None]  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (torch.cat([p.flatten() for p in _networks(file)]) for file in files)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert [p.shape for p in _networks(name)] == [p.shape for p in _networks(files[0])]
    assert read_header(files[0]).training == {"note": "untrained, seed 0"}


def _networks(name):
    brainrvq = "brainrvq" in str(name)
    networks = [load_encoder(name)] if brainrvq else load_encoders(name)
    return [p for network in networks for p in network.parameters()]


def test_flattening_takes_slope_and_amplitude_and_leaves_a_peak():
    data = noise_data(n_per_subject=4, subjects=("P0",))
    rng, f = np.random.default_rng(0), np.fft.rfftfreq(2000, 1 / 200)
    noise = np.fft.rfft(rng.standard_normal((4, 3, 2000))) * np.maximum(f, 0.5) ** -1.0
    X = np.fft.irfft(noise) + 0.08 * np.sin(2 * np.pi * 10 * np.arange(2000) / 200)
    scale = np.array([1e-6, 1e-5, 1e-4])[None, :, None]
    flat = flattened(data.with_signals((X * scale).astype(np.float32))).X
    power = np.log(np.abs(np.fft.rfft(flat)) ** 2).mean((0, 1))
    inside = (f >= 1) & (f <= 45) & (np.abs(f - 10) > 0.2)
    assert abs(np.polyfit(np.log(f[inside]), power[inside], 1)[0]) < 0.15  # it was -2
    assert f[power.argmax()] == pytest.approx(10, abs=0.15)
    np.testing.assert_allclose(flat.std(-1), 2e-5, rtol=1e-3)


def test_flat_channels_stay_flat():
    data = noise_data(n_per_subject=1, subjects=("P0",))
    X = data.X.copy()
    X[:, 1] = 0
    assert not flattened(data.with_signals(X)).X[:, 1].any()


def test_bipolar_channels_stand_at_their_first_electrode_and_mice_have_no_sites():
    assert sites(("Fp1", "FP2-F8", "T3")) == ["Fp1", "FP2", "T3"]
    assert sites(("EEG",)) is None


def test_windows_of_a_memory_map_are_remembered_as_others_are(tmp_path, data):
    path = tmp_path / "X.npy"
    np.save(path, data.X)
    setting = Setting(0, BUDGETS["tiny"], joblib.Memory(tmp_path / "cache", verbose=0).cache, tmp_path)
    embed(data, Weights.of("brainrvq-starter"), setting)
    n_before = len(list((tmp_path / "cache").rglob("output.pkl")))
    embed(data.with_signals(np.load(path, mmap_mode="r")), Weights.of("brainrvq-starter"), setting)
    assert len(list((tmp_path / "cache").rglob("output.pkl"))) == n_before == 2
