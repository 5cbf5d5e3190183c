"""What only BrainRVQ's estimators do: channels by place, epochs of any length, one encoder with layer-wise rates."""

import mne
import numpy as np
import pytest
import torch
from brainrvq_files import fine_tuned_shapes, golden_tensors, pretraining_shapes, write
from brainrvq_golden import draw
from estimator_families import ALONE, BRAINRVQ, SPECMOE, TRAINED
from torch.nn.functional import cross_entropy

from mne_specmoe import BrainRVQ, CheckpointError, SpecHiNet, SpecMoEWarning, make_epochs, save_brainrvq, save_expert
from mne_specmoe.data.locations import channel_locations, standard_positions
from mne_specmoe.estimators.brainrvq import BrainRVQClassifier, BrainRVQFeaturizer, BrainRVQRegressor
from mne_specmoe.models.brainrvq.channels import UntrainedChannelWarning, channel_rows
from mne_specmoe.models.brainrvq.downstream import pooled_tokens
from mne_specmoe.signal.canonical import to_network
from mne_specmoe.signal.cross_spectrum import log_rms

PREDICTORS = BRAINRVQ[1:]
SEEN = ("C3", "C4", "T3")
ENCODER = ALONE[BrainRVQFeaturizer]
pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    """A pretraining network of two blocks that was trained on three channels, and its encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BrainRVQ(depth=2, n_codes=16)
        torch.nn.init.normal_(network.encoder.norm.bias)
    network.encoder.trunk.trained_rows[channel_rows(SEEN).rows] = True
    path = save_brainrvq(network, tmp_path_factory.mktemp("brainrvq") / "encoder.safetensors")
    return path, network.encoder


def renamed(epochs, *names):
    return epochs.copy().rename_channels(dict(zip(epochs.ch_names, names, strict=True)))


def states_differ(first, second):
    """Names of tensors that are not bit-identical, the last norm left out, which readouts take over."""
    first, second = first.state_dict(), second.state_dict()
    names = {name for name in second if not name.startswith("norm.")}
    assert names == {name for name in first if not name.startswith("norm.")}
    return {name for name in names if not torch.equal(first[name], second[name])}


# Channels


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_channels_have_the_rows_of_their_names(kind, fitted, epochs):
    np.testing.assert_array_equal(fitted(kind).rows_, channel_rows(epochs.ch_names).rows)
    assert fitted(kind).locations_ is None


def test_names_say_where_channels_are(make, epochs):
    here = make(BrainRVQFeaturizer).fit_transform(epochs)
    there = make(BrainRVQFeaturizer).fit_transform(renamed(epochs, "O1", "O2", "Fpz"))
    assert np.abs(here - there).max() > 1e-5
    decorated = make(BrainRVQFeaturizer).fit_transform(renamed(epochs, "EEG C3-REF", "c4", "Cz."))
    np.testing.assert_array_equal(decorated, here)


def test_two_names_of_one_electrode_have_one_row_unless_as_published(make, epochs):
    rows = {}
    for aliases in ("10-20", "none"):
        for names in (("T3", "T4", "Cz"), ("T7", "T8", "Cz")):
            featurizer = make(BrainRVQFeaturizer, aliases=aliases).fit(renamed(epochs, *names))
            rows[aliases, names[0]] = featurizer.rows_.tolist()
    assert rows["10-20", "T3"] == rows["10-20", "T7"] == rows["none", "T3"] == [0, 89, 91, 42]
    assert rows["none", "T7"] == [0, 38, 46, 42]


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", BRAINRVQ)
def test_channels_without_a_row_are_refused_by_name(kind, make, epochs):
    with pytest.raises(ValueError, match="no row for 2 of the 3 channels: 'E12'.*'E13'.*on_unknown='nearest'"):
        make(kind).fit(renamed(epochs, "E12", "E13", "Cz"))
    for on_unknown in ("error", "nearest"):
        with pytest.raises(ValueError, match="bipolar channels 'C3-P3'.*common reference"):
            make(kind, on_unknown=on_unknown).fit(renamed(epochs, "C3-P3", "C4", "Cz"))


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_bipolar_channels_that_have_a_row_are_taken(kind, make, epochs):
    estimator = make(kind).fit(renamed(epochs, "FP1-F7", "EEG F7-T3", "Cz"))
    assert estimator.rows_.tolist() == channel_rows(["FP1-F7", "F7-T7", "Cz"]).rows.tolist()


@pytest.mark.parametrize("kind", BRAINRVQ)
@pytest.mark.parametrize("as_list", [False, True], ids=["Epochs", "list"])
def test_unknown_channels_take_the_row_of_the_nearest_electrode(kind, as_list, make, outputs, epochs):
    strange = renamed(epochs, "E1", "E2", "Cz")
    places = standard_positions()
    montage = {"E1": places["O1"] + 0.002, "E2": places["F4"] - 0.002, "Cz": places["CZ"]}
    strange.set_montage(mne.channels.make_dig_montage(montage, coord_frame="head"))
    X = [strange[:5], strange[5:]] if as_list else strange
    estimator = make(kind, on_unknown="nearest", **ENCODER).fit(X)
    assert estimator.rows_.tolist() == channel_rows(["O1", "F4", "Cz"]).rows.tolist()
    np.testing.assert_allclose(estimator.locations_[0], places["O1"] + 0.002, atol=1e-6)
    named = renamed(epochs, "O1", "F4", "Cz")
    np.testing.assert_array_equal(outputs(estimator, X), outputs(make(kind, **ENCODER).fit(named), named))


def test_names_of_the_10_05_system_have_a_place_without_a_montage(make, epochs, X):
    names = ["AFF5h", "Cz", "POO8"]
    rows = channel_rows(["AF5", "Cz", "O2"]).rows.tolist()
    named = renamed(epochs, *names).set_montage(None)
    assert make(BrainRVQFeaturizer, on_unknown="nearest").fit(named).rows_.tolist() == rows
    array = make(BrainRVQFeaturizer, on_unknown="nearest", sfreq=160, ch_names=names).fit(X)
    assert array.rows_.tolist() == rows
    with pytest.raises(ValueError, match="'E1' have no row of their own, and no electrode within"):
        make(BrainRVQFeaturizer, on_unknown="nearest").fit(renamed(epochs, "E1", "C4", "Cz").set_montage(None))


def test_locations_are_the_recordings_own_where_it_has_them(epochs):
    own = epochs.copy().set_montage(None)
    np.testing.assert_allclose(channel_locations(own, ["C3", "Q1"])[0], standard_positions()["C3"])
    assert np.isnan(channel_locations(own, ["C3", "Q1"])[1]).all()
    own.set_montage(mne.channels.make_dig_montage({"C3": (0.01, 0.02, 0.03)}, coord_frame="head"), on_missing="ignore")
    np.testing.assert_allclose(channel_locations(own, ["C4", "C3"])[1], (0.01, 0.02, 0.03), atol=1e-7)
    np.testing.assert_allclose(channel_locations([own], ["C4"])[0], standard_positions()["C4"])
    np.testing.assert_allclose(channel_locations(np.zeros((2, 1, 9)), ["C4"])[0], standard_positions()["C4"])


def test_sites_of_a_biosemi_cap_are_where_the_montage_says(make, epochs):
    montage = mne.channels.make_standard_montage("biosemi128")
    cap = renamed(epochs, "A1", "A3", "C3").set_montage(None)
    assert np.isnan(channel_locations(cap, cap.ch_names)).all()
    rows = make(BrainRVQFeaturizer, on_unknown="nearest").fit(cap.set_montage(montage)).rows_.tolist()
    assert rows[1] in channel_rows(["Cz", "CPz"]).rows  # the vertex, of a cap that is a sphere and fits no head exactly
    assert rows[3] not in channel_rows(["C3"]).rows


@pytest.mark.parametrize("kind", BRAINRVQ)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_arrays_without_names_are_taken_with_a_warning(kind, method, make, outputs, X, y):
    estimator = make(kind, sfreq=160, **ENCODER)
    if not hasattr(estimator, method):
        method = "fit"
    with pytest.warns(SpecMoEWarning, match="no channel names.*ch_names") as caught:
        getattr(estimator, method)(X, y)
    assert [warning.filename for warning in caught if "no channel names" in str(warning.message)] == [__file__]
    assert estimator.rows_.tolist() == [0, -1, -1, -1]
    # Channels are all alike to the encoder, so that the order of unnamed ones cannot matter.
    np.testing.assert_allclose(outputs(estimator, X[:, ::-1]), outputs(estimator, X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", BRAINRVQ)
@pytest.mark.filterwarnings("error:X has no channel names")
def test_a_table_is_one_channel_that_needs_no_name(kind, make, outputs, X, y):
    for table in (X[:, 0], X[:, 0].tolist(), torch.from_numpy(X[:, 0])):
        estimator = make(kind, sfreq=160).fit(table, y)
        assert estimator.rows_.tolist() == [0, -1]
        assert np.isfinite(outputs(estimator, table)).all()


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_channels_that_pretraining_never_saw_are_warned_about(kind, make, epochs, encoder_file):
    with pytest.warns(UntrainedChannelWarning, match="1 of the 3 channels: 'Cz'"):
        make(kind, weights=encoder_file[0]).fit(epochs)


@pytest.mark.filterwarnings("error::mne_specmoe.SpecMoEWarning")
def test_channels_that_pretraining_saw_are_not(make, epochs, encoder_file):
    make(BrainRVQFeaturizer, weights=encoder_file[0]).fit(renamed(epochs, *SEEN))
    make(BrainRVQFeaturizer, weights=encoder_file[0]).fit(renamed(epochs, "C3", "C4", "T7"))


# Lengths


def cut(n_times, *, n_epochs=4, sfreq=200):
    """Epochs of three channels, the first samples of the same longer ones whatever the length."""
    epochs, _, _ = make_epochs(n_epochs, n_channels=3, duration=35, sfreq=sfreq, n_subjects=1)
    return mne.EpochsArray(epochs.get_data()[..., :n_times], epochs.info, epochs.events, verbose="ERROR")


def test_epochs_that_include_their_end_point_are_whole_seconds_to_the_encoder(make):
    featurizer = make(BrainRVQFeaturizer, **ENCODER)
    expected = featurizer.fit_transform(cut(800))
    for n_times in (801, 899):
        np.testing.assert_array_equal(featurizer.fit_transform(cut(n_times)), expected)
    filled = np.pad(cut(900).get_data(), ((0, 0), (0, 0), (0, 100)))
    named = make(BrainRVQFeaturizer, ch_names=cut(900).ch_names, **ENCODER)
    np.testing.assert_allclose(featurizer.fit_transform(cut(900)), named.fit_transform(filled), rtol=1e-6)


def test_the_other_parts_read_all_samples_and_no_more(make):
    for n_times in (801, 899, 900):
        expected = log_rms(to_network(cut(n_times).get_data(), 200))
        found = make(BrainRVQFeaturizer, parts=("amplitude",)).fit_transform(cut(n_times))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", None])
def test_long_epochs_are_cut_into_windows(pooling, make):
    long = cut(31 * 200, n_epochs=2)
    featurizer = make(BrainRVQFeaturizer, pooling=pooling, **ENCODER).fit(long)
    x, rows = to_network(long.get_data(), 200), torch.from_numpy(featurizer.rows_)
    with torch.no_grad():
        parts = [pooled_tokens(featurizer.encoder_, w, rows, pooling or "channels") for w in x.split([3200, 3000], -1)]
        expected = featurizer.network_.readout.norm((16 * parts[0] + 15 * parts[1]) / 31).flatten(1)
    np.testing.assert_allclose(featurizer.transform(long), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_long_epochs_are_learned_except_from_all_tokens(kind, make, outputs):
    long = cut(31 * 200)
    options = {"unfreeze_epoch": 0, "max_epochs": 1, "validation_fraction": None}
    for head in (ENCODER, TRAINED[kind]):
        assert np.isfinite(outputs(make(kind, **head, **options).fit(long), long)).all()
    with pytest.raises(ValueError, match="pooling='flatten' takes epochs of up to 30 s, got 31 s"):
        make(kind, pooling="flatten", **TRAINED[kind], **options).fit(long)


# The encoder


@pytest.mark.parametrize("kind", BRAINRVQ)
def test_the_encoder_comes_from_a_file_of_ours(kind, make, epochs, encoder_file):
    path, stored = encoder_file
    for weights in (path, str(path)):
        estimator = make(kind, weights=weights, depth=7, max_epochs=5).fit(renamed(epochs, *SEEN))
        encoder = estimator.encoder_ if kind is BrainRVQFeaturizer else estimator.network_.encoder
        assert not states_differ(encoder, stored)  # frozen, and so with every bit of the file
        assert len(encoder.trunk.blocks) == 2


@pytest.fixture(scope="module")
def published_files(tmp_path_factory):
    """A pretraining network and a fine-tuned model of one block, as published."""
    folder = tmp_path_factory.mktemp("published")
    return {
        "student": write(folder / "a.pth", golden_tensors(pretraining_shapes(n_codes=16, depth=1))),
        "fine-tuned": write(folder / "b.pth", golden_tensors(fine_tuned_shapes(depth=1))),
    }


@pytest.mark.parametrize(("name", "prefix"), [("student", "student."), ("fine-tuned", "")])
def test_the_encoder_comes_from_a_published_file(name, prefix, make, epochs, published_files):
    scopes = {None: "recording", True: "recording", False: "token"}
    features = {}
    for parity, scope in scopes.items():
        if name == "fine-tuned" and parity:
            continue
        featurizer = make(BrainRVQFeaturizer, weights=published_files[name], parity=parity)
        features[parity] = featurizer.fit_transform(epochs)
        encoder = featurizer.encoder_
        assert (encoder.config.norm_scope, encoder.config.cls_row) == (scope, "own")
        np.testing.assert_array_equal(encoder.trunk.cls_token.detach(), draw(f"{prefix}cls_token", (1, 1, 200)))
    assert np.abs(features[None] - features[False]).max() > 1e-2


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
def test_the_readouts_norm_starts_as_pretrained_or_afresh(kind, is_trained, make, epochs, encoder_file):
    path, stored = encoder_file
    options = {"weights": path, "lr": 1e-12, "max_epochs": 1} | (TRAINED[kind] if is_trained else {})
    expected = {"pretrained": stored.norm.bias.detach().numpy(), "fresh": np.zeros(200)}
    for norm_start, bias in expected.items():
        estimator = make(kind, norm_start=norm_start, **options).fit(renamed(epochs, *SEEN))
        np.testing.assert_allclose(estimator.network_.readout.norm.bias.detach(), bias, atol=1e-6)


def test_random_encoders_have_the_depth_and_the_arithmetic_asked_for(make, epochs):
    for parity, scope in ((None, "token"), (False, "token"), (True, "recording")):
        encoder = make(BrainRVQFeaturizer, parity=parity, depth=3).fit(epochs).encoder_
        assert (encoder.config.norm_scope, encoder.config.depth) == (scope, 3)


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
def test_learning_rates_fall_from_the_head_to_the_embeddings(kind, is_trained, make, epochs, encoder_file):
    path, stored = encoder_file
    options = {"unfreeze_epoch": 0, "max_epochs": 1, "validation_fraction": None, "lr": 1e-3, "encoder_lr": 1e-4}
    options |= TRAINED[kind] if is_trained else ENCODER
    network = make(kind, weights=path, layer_decay=0.5, **options).fit(renamed(epochs, *SEEN)).network_
    after, before = network.encoder.state_dict(), stored.state_dict()
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before if after.get(name) is not None
             and after[name].is_floating_point()}  # fmt: skip
    rates = {  # Adam's first step is the learning rate
        "trunk.blocks.1.expand.weight": 0.5e-4,
        "trunk.blocks.0.expand.weight": 0.25e-4,
        "trunk.channel_embedding": 0.125e-4,
        "trunk.time_embedding": 0.125e-4,
        "trunk.cls_token": 0.125e-4,
        "patch_embedding.convs.0.weight": 0.125e-4,
    }
    assert {name: moved[name] for name in rates} == pytest.approx(rates, rel=0.1)
    readout = network.readout
    head = readout.head.weight if is_trained else readout.norm.bias - stored.norm.bias  # a trained head starts near 0
    assert head.abs().max().item() == pytest.approx(1e-3, rel=0.2)
    assert not network.training


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
def test_a_freed_encoder_changes_and_notes_the_channels(kind, is_trained, make, epochs, encoder_file):
    path, stored = encoder_file
    names = ("C3", "C4", "Oz")
    options = {"weights": path, "unfreeze_epoch": 1, "max_epochs": 2, "validation_fraction": None}
    options |= TRAINED[kind] if is_trained else ENCODER
    with pytest.warns(UntrainedChannelWarning, match="'Oz'"):
        estimator = make(kind, **options).fit(renamed(epochs, *names))
    changed = states_differ(estimator.network_.encoder, stored)
    assert {"trunk.channel_embedding", "trunk.blocks.0.attention.qkv.weight", "trunk.trained_rows"} <= changed
    assert [row["experts_frozen"] for row in estimator.history_] == [True, False]
    assert estimator.network_.encoder.trunk.trained_rows[channel_rows(["Oz"]).rows[1]]


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
def test_an_encoder_that_training_makes_worse_stays_as_it_was(kind, is_trained, make, epochs, encoder_file):
    path, stored = encoder_file
    options = {"weights": path, "unfreeze_epoch": 20, "max_epochs": 21, "lr": 0.01, "encoder_lr": 10.0}
    options |= TRAINED[kind] if is_trained else ENCODER
    with pytest.warns(UntrainedChannelWarning, match="'Oz'"):
        estimator = make(kind, **options).fit(renamed(epochs, "C3", "C4", "Oz"))
    *frozen, free = [row["valid_loss"] for row in estimator.history_]
    assert free > min(frozen)
    assert not states_differ(estimator.network_.encoder, stored)


# The head


@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize(
    ("head", "pooling"),
    [("solved", "mean"), ("solved", "cls"), ("solved", None)]
    + [("trained", "mean"), ("trained", "cls"), ("trained", "flatten")],
)
def test_every_pooling_learns_frozen_and_free(kind, head, pooling, make, outputs, epochs):
    options = TRAINED[kind] if head == "trained" else ENCODER
    for unfreeze_epoch in (None, 1):
        estimator = make(kind, pooling=pooling, unfreeze_epoch=unfreeze_epoch, max_epochs=2, **options).fit(epochs)
        found = outputs(estimator, epochs)
        assert np.isfinite(found).all()
        assert found.std(0).max() > 0
        assert estimator.network_.config.pooling == (pooling or "channels")


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_head_says_which_poolings_it_can_read(kind, make, epochs):
    with pytest.raises(ValueError, match="pooling='flatten' is not known; allowed: 'mean', 'cls', None"):
        make(kind, pooling="flatten").fit(epochs)
    with pytest.raises(ValueError, match="pooling=None is not known; allowed: 'mean', 'cls', 'flatten'"):
        make(kind, pooling=None, **TRAINED[kind]).fit(epochs)


def test_smooth_labels_make_a_classifier_less_sure(make, epochs, y):
    sure = {}
    for smoothing in (0.0, 0.5):
        options = {"label_smoothing": smoothing, "max_epochs": 40, "lr": 0.01, "validation_fraction": None}
        options |= TRAINED[BrainRVQClassifier]
        sure[smoothing] = make(BrainRVQClassifier, **options).fit(epochs, y).predict_proba(epochs).max(1).mean()
    assert sure[0.5] < sure[0.0] - 0.05


def test_a_solved_head_has_no_smooth_labels(make, epochs, y):
    found = [make(BrainRVQClassifier, label_smoothing=each).fit(epochs, y).predict_proba(epochs) for each in (0, 0.5)]
    np.testing.assert_array_equal(*found)


def test_validation_compares_with_the_true_labels(make, epochs, y):
    options = {"max_epochs": 1, "lr": 0.1, "label_smoothing": 0.3} | TRAINED[BrainRVQClassifier]
    classifier = make(BrainRVQClassifier, **options).fit(epochs, y)
    criterion = classifier.net_.criterion_
    logits, target = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    losses = [criterion.train(mode)(logits, target).item() for mode in (True, False)]
    expected = [cross_entropy(logits, target, criterion.weight, label_smoothing=each).item() for each in (0.3, 0.0)]
    assert losses == pytest.approx(expected)
    assert losses[0] != pytest.approx(losses[1])
    valid = classifier.validation_indices_
    logits = torch.from_numpy(np.log(classifier.predict_proba(epochs)[valid]))
    target = torch.from_numpy(y[valid] - 1)
    smooth, true = (
        cross_entropy(logits, target, criterion.weight.double(), label_smoothing=each).item() for each in (0.3, 0.0)
    )
    assert classifier.history_[0]["valid_loss"] == pytest.approx(true, rel=1e-4)
    assert smooth != pytest.approx(true, rel=1e-2)


@pytest.mark.parametrize("is_trained", [False, True], ids=["solved", "trained"])
def test_a_regressor_finds_a_frequency_that_it_has_not_seen(is_trained, make):
    epochs, _, _ = make_epochs(120, n_channels=2, duration=1, n_subjects=1)
    frequency = np.random.default_rng(0).uniform(8, 30, 120)
    epochs._data += 50e-6 * np.sin(2 * np.pi * frequency[:, None, None] * epochs.times)
    trained = TRAINED[BrainRVQRegressor] | {"max_epochs": 150, "lr": 5e-3}
    regressor = make(BrainRVQRegressor, **(trained if is_trained else ENCODER)).fit(epochs[:90], frequency[:90])
    assert regressor.score(epochs[90:], frequency[90:]) > 0.5


# Files that are no encoders


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", BRAINRVQ)
def test_files_that_are_no_encoders_are_refused(kind, make, fitted, epochs, y, tmp_path):
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html><html>Sign in to download</html>")
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "other.pth")
    cases = {
        "web page": (page, CheckpointError, "web page"),
        "another program's": (tmp_path / "other.pth", CheckpointError, "other.pth"),
        "of SpecMoE": (save_expert(SpecHiNet(), tmp_path / "expert.safetensors"), CheckpointError, "'specmoe-expert'"),
        "the starter of SpecMoE": ("starter", CheckpointError, "'specmoe-experts'"),
        "absent": (tmp_path / "absent.pth", FileNotFoundError, "no weights file"),
        "folder": (tmp_path, CheckpointError, "is a folder"),
    }
    for weights, error, match in cases.values():
        for estimator in (make(kind, weights=weights), fitted(kind).set_params(weights=weights)):
            before = dict(vars(estimator))
            with pytest.raises(error, match=match):
                estimator.fit(epochs, y)
            assert before.keys() == vars(estimator).keys()
            assert all(before[name] is value for name, value in vars(estimator).items())


def test_weights_of_either_family_are_told_apart(make, epochs, encoder_file):
    with pytest.raises(CheckpointError, match="'brainrvq'"):
        make(SPECMOE[0], weights=encoder_file[0]).fit(epochs)


# As SpecMoE's


def test_estimators_share_the_parameters_that_mean_the_same():
    shared = {"weights", "sfreq", "unit", "ch_names", "batch_size", "device", "precision", "verbose", "random_state"}
    shared |= {"center_by"}
    training = {"unfreeze_epoch", "max_epochs", "lr", "weight_decay", "validation_fraction", "patience", "group_column"}
    training |= {"head", "callbacks"}
    for ours, theirs in zip(BRAINRVQ, SPECMOE, strict=True):
        own, other = ours().get_params(), theirs().get_params()
        names = shared | (training if ours in PREDICTORS else set())
        assert {name: own[name] for name in names - {"weights"}} == {name: other[name] for name in names - {"weights"}}
    assert BrainRVQClassifier().weights == BrainRVQFeaturizer().weights == "brainrvq-starter"
