import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import TINY, needs_braindecode, noise, oscillating

from mne_specmoe._files import file_digest
from mne_specmoe.benchmark.choice import all_entries
from mne_specmoe.benchmark.conventions import BENDR_SITES, BIOT_DERIVATIONS
from mne_specmoe.benchmark.entries import Budget, TaskFacts
from mne_specmoe.benchmark.hub_weights import find_weights, load_published
from mne_specmoe.benchmark.leakage import overlap
from mne_specmoe.benchmark.networks import import_braindecode
from mne_specmoe.benchmark.peers import PEERS, peers
from mne_specmoe.benchmark.tasks import TASKS
from mne_specmoe.checkpoint import CheckpointError

REVISION = "0123456789abcdef0123456789abcdef01234567"
HASTY = replace(TINY, budget=Budget("hasty", n_looks=2, n_windows=8, n_heavy_windows=8))
NETWORKS = {
    "bendr": ("BENDR", "braindecode/braindecode-bendr", 20, 768),
    "biot": ("BIOT", "braindecode/biot-pretrained-six-datasets-18chs", 18, 2000),
    "labram": ("Labram", "braindecode/labram-pretrained", 128, 1000),
    "cbramod": ("CBraMod", "braindecode/cbramod-pretrained", 19, 1000),
}
SMALL = {
    "bendr": {"encoder_h": 32, "contextualizer_hidden": 64, "transformer_layers": 1, "final_layer": False},
    "biot": {"embed_dim": 32, "num_layers": 1, "sfreq": 200, "return_feature": True},
    "labram": {"num_layers": 1},
    "cbramod": {"n_layer": 1, "return_encoder_output": True},
}
NAMES = list(NETWORKS)
CHANNELS = ("Fz", "Cz", "C3", "P3", "T5", "nowhere")  # of which only two make a derivation of BIOT's


def publish(cache, name, repo=None):
    """Write a small network, whose weights are not those that any seed gives, into a cache as the hub keeps it."""
    network_name, own_repo, n_chans, n_times = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1000)
        make = getattr(import_braindecode().models, network_name)
        network = make(n_chans=n_chans, n_times=n_times, n_outputs=7, **SMALL[name]).eval()
    folder = cache / f"models--{(repo or own_repo).replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    network.save_pretrained(snapshot)
    (snapshot / "pytorch_model.bin").unlink()
    return network, snapshot


def entries_in(cache):
    return {entry.name: entry for entry in peers(cache)}


def data_of(n_windows=8, ch_names=CHANNELS, seed=0):
    data = oscillating(n_windows, n_channels=len(ch_names), n_times=600, seed=seed)
    return replace(data, ch_names=tuple(ch_names))


def facts_of(ch_names=CHANNELS, n_times=600):
    return TaskFacts("some", ("a", "b"), tuple(ch_names), n_times, 200.0)


def built(entry, data, seed=0):
    """The network that a frozen entry reads, and its input."""
    recipe = entry.fit.recipe
    x = torch.from_numpy(recipe.convention(data)(data))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return recipe.build(data, tuple(x.shape[1:]), 2).eval(), x


def rewrite(snapshot, change):
    """Store changed tensors, as the older of both formats does."""
    from huggingface_hub import load_state_dict_from_file

    tensors = load_state_dict_from_file(snapshot / "model.safetensors")
    (snapshot / "model.safetensors").unlink()
    torch.save(change(dict(tensors)), snapshot / "pytorch_model.bin")


def load_cbramod(cache):
    weights = find_weights(["braindecode/cbramod-pretrained"], cache)
    return load_published(weights, "CBraMod", n_chans=3, n_times=400, n_outputs=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    for name in NAMES:
        publish(folder, name)
    return folder


@pytest.fixture
def own_cache(cache, tmp_path):
    """A cache with CBraMod, to be damaged, and its snapshot."""
    name = "models--braindecode--cbramod-pretrained"
    shutil.copytree(cache / name, tmp_path / name)
    return tmp_path, tmp_path / name / "snapshots" / REVISION


def test_without_weights_in_the_cache_nothing_changes(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert all(one is other for one, other in zip(peers(folder)[:-4], PEERS[:-4], strict=True))
        for one, other in zip(peers(folder), PEERS, strict=True):
            assert repr(one) == repr(other)
            assert (one.parameters, one.training, one.weights_hash) == (other.parameters, None, None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert all_entries()["labram"].title == "LaBraM (random initialisation)"


def test_weights_without_settings_and_settings_without_weights_are_not_there(tmp_path):
    snapshot = tmp_path / "models--some--one" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(REVISION)
    (snapshot / "config.json").write_text("{}")
    assert find_weights(["some/one"], tmp_path) is None
    (snapshot / "model.safetensors").write_bytes(b"some")
    found = find_weights(["another/one", "some/one"], tmp_path)
    assert (found.repo, found.revision) == ("some/one", REVISION)
    assert str(tmp_path) not in repr(found)  # or the parameter hash would depend on where the cache is
    (snapshot / "config.json").unlink()
    assert find_weights(["some/one"], tmp_path) is None


@needs_braindecode
@pytest.mark.parametrize("name", NAMES)
def test_entries_say_that_their_weights_were_published(cache, name):
    entry, frozen = entries_in(cache)[name], entries_in(cache)[f"{name}-logistic"]
    file = cache / f"models--{NETWORKS[name][1].replace('/', '--')}" / "snapshots" / REVISION / "model.safetensors"
    for each in (entry, frozen):
        assert "(published weights)" in each.title
        assert "random" not in each.title
        assert each.weights_hash == file_digest(Path(file))
        assert overlap(TASKS["eegmat"], each.training) == ("unknown",)
        assert each.parameters["weights"] == f"{NETWORKS[name][1]}, revision {REVISION}"
        assert repr(each.fit) != repr(next(other.fit for other in PEERS if other.name == each.name))
        assert str(cache) not in repr(each.fit)
        pickle.loads(pickle.dumps((each.fit, each.unsuited)))
    assert entry.stochastic
    assert not frozen.stochastic


@needs_braindecode
def test_the_cache_is_where_huggingface_hub_has_it(cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert all_entries()["labram-logistic"].title == "LaBraM (published weights), frozen, logistic"


@needs_braindecode
@pytest.mark.parametrize("name", NAMES)
def test_networks_have_the_published_tensors_and_a_new_head(cache, tmp_path, name):
    published = publish(tmp_path, name)[0].state_dict()
    entry = entries_in(cache)[f"{name}-logistic"]
    one, other = (getattr(each, "network", each) for each in (built(entry, data_of(), seed)[0] for seed in (0, 1)))
    for key, value in one.state_dict().items():
        if not key.startswith("final_layer."):
            torch.testing.assert_close(value, published[key][tuple(map(slice, value.shape))], rtol=0, atol=0)
    heads = [dict(each.final_layer.named_parameters()) for each in (one, other)]
    assert any(not torch.equal(heads[0][key], heads[1][key]) for key in heads[0])


@needs_braindecode
@pytest.mark.parametrize("name", NAMES)
def test_frozen_features_do_not_depend_on_the_seed(cache, name):
    training, test = (data_of(seed=seed) for seed in (0, 1))
    fit = entries_in(cache)[f"{name}-logistic"].fit
    one, other = (fit(training, training, replace(HASTY, seed=seed)).predict(test) for seed in (0, 1))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


@needs_braindecode
def test_features_are_those_of_the_network_that_was_published(cache, tmp_path):
    source = publish(tmp_path, "cbramod")[0]
    data = data_of()
    network, x = built(entries_in(cache)["cbramod-logistic"], data)
    with torch.inference_mode():
        expected = source(1e4 * torch.from_numpy(data.X), return_features=True)["features"]
        found = network(x, return_features=True)["features"]
    torch.testing.assert_close(found, expected)
    assert expected.std() > 0


@needs_braindecode
@pytest.mark.parametrize("name", NAMES)
def test_networks_are_fine_tuned_from_published_weights(cache, name):
    data = data_of()
    selected = entries_in(cache)[name].fit(data, data, HASTY)
    np.testing.assert_allclose(selected.predict(data).probabilities.sum(1), 1, rtol=1e-5)


@needs_braindecode
@pytest.mark.parametrize("name", ["bendr", "biot", "labram"])
def test_channels_that_the_weights_do_not_know_are_left_out(cache, name):
    entry, data = entries_in(cache)[f"{name}-logistic"], data_of()
    changed = data.X.copy()
    changed[:, -1] = 1e-3
    network, x = built(entry, data)
    np.testing.assert_array_equal(x, entry.fit.recipe.convention(data)(data.with_signals(changed)))
    assert x.shape[1] == {"bendr": len(BENDR_SITES) + 1, "biot": 1, "labram": 5}[name]
    if name == "labram":
        assert network.ch_names == ["FZ", "CZ", "C3", "P3", "P7"]


@needs_braindecode
def test_biot_has_the_tokens_of_the_derivations_that_can_be_made(cache):
    ch_names = ("O1", "C3", "P3", "Fp2-F4")
    data = data_of(ch_names=ch_names)
    network, x = built(entries_in(cache)["biot-logistic"], data)
    names = [BIOT_DERIVATIONS[place] for place in network.encoder.index.tolist()]
    assert names == ["C3-P3", "P3-O1", "Fp2-F4"]
    volts = np.stack([data.X[:, 1] - data.X[:, 2], data.X[:, 2] - data.X[:, 0], data.X[:, 3]], 1)
    large = np.quantile(np.abs(volts), 0.95, axis=-1, keepdims=True)
    np.testing.assert_allclose(x, volts / large, rtol=1e-4)


@needs_braindecode
def test_the_smallest_weights_of_biot_lack_two_channels(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "biot", ("BIOT", "braindecode/biot-pretrained-prest-16chs", 16, 2000))
    publish(tmp_path, "biot")
    entry = entries_in(tmp_path)["biot-logistic"]
    network, _ = built(entry, data_of(ch_names=("C3", "A2", "P3")))
    assert network.encoder.index.tolist() == [BIOT_DERIVATIONS.index("C3-P3")]
    assert "know none" in entry.unsuited(facts_of(("C3", "A2")))


@needs_braindecode
@pytest.mark.parametrize("name", NAMES)
def test_entries_say_where_the_weights_know_no_channel(cache, name):
    for each in (name, f"{name}-logistic"):
        entry = entries_in(cache)[each]
        assert entry.unsuited(facts_of()) == ""
        why = entry.unsuited(facts_of(("frontal", "parietal")))
        assert why == ("" if name == "cbramod" else "its published weights know none of the channels")


@needs_braindecode
def test_labram_takes_windows_as_long_as_those_of_its_weights(cache):
    entry = entries_in(cache)["labram"]
    assert entry.unsuited(facts_of(n_times=1100)) == ""
    assert entry.unsuited(facts_of(n_times=1200)) == "its published weights take windows of 5 s at most"
    data = noise(4, n_channels=3, n_times=1200)
    with pytest.raises(CheckpointError, match="size mismatch for temporal_embedding"):
        entry.fit(data, data, HASTY)


@needs_braindecode
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: {f"module.{key}": value for key, value in tensors.items()}, "of the 35 tensors.*35 are"),
        (lambda tensors: {key: value for key, value in tensors.items() if key != "proj_out.0.bias"}, "proj_out.0.bias"),
        (lambda tensors: tensors | {"proj_out.0.bias": torch.zeros(7)}, "size mismatch for proj_out.0.bias"),
        (lambda tensors: tensors | {"proj_out.0.bias": torch.full((200,), torch.nan)}, "not finite"),
        (lambda tensors: {"weights": tensors}, "other things than tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(own_cache, change, message):
    cache, snapshot = own_cache
    rewrite(snapshot, change)
    with pytest.raises(CheckpointError, match=message):
        load_cbramod(cache)
    entry, data = entries_in(cache)["cbramod"], data_of()
    assert "(published weights)" in entry.title
    with pytest.raises(CheckpointError, match="Download them anew"):
        entry.fit(data, data, HASTY)


@needs_braindecode
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damaged_files_are_refused(own_cache, file):
    cache, snapshot = own_cache
    content = (snapshot / file).read_bytes()
    (snapshot / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=f"{file} cannot be read"):
        load_cbramod(cache)


@needs_braindecode
def test_settings_of_another_network_are_refused(own_cache):
    cache, snapshot = own_cache
    config = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps(config | {"n_experts": 3}))
    with pytest.raises(CheckpointError, match="cannot be made"):
        load_cbramod(cache)
    (snapshot / "config.json").write_text(json.dumps(config | {"n_layer": 2}))
    with pytest.raises(CheckpointError, match="are missing"):
        load_cbramod(cache)


@needs_braindecode
def test_tensors_of_older_releases_of_torch_find_their_place(cache, tmp_path):
    name = "models--braindecode--braindecode-bendr"
    shutil.copytree(cache / name, tmp_path / name)
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def renamed(key):
        for new, former in old.items():
            key = key.replace(new, former)
        return key

    rewrite(tmp_path / name / "snapshots" / REVISION, lambda tensors: {renamed(k): v for k, v in tensors.items()})
    one, other = (built(entries_in(each)["bendr-logistic"], data_of())[0].state_dict() for each in (cache, tmp_path))
    assert any("original0" in key for key in one)
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=0, atol=0)


@needs_braindecode
def test_tensors_without_a_place_are_a_warning(own_cache):
    cache, snapshot = own_cache
    rewrite(snapshot, lambda tensors: tensors | {"mask_token": torch.zeros(3), "final_layer.1.weight": torch.ones(2)})
    with pytest.warns(UserWarning, match="no place for 1 tensors.*mask_token"):
        network = load_cbramod(cache)
    assert network.final_layer[1].weight.shape == (2, 3 * 2 * 200)
