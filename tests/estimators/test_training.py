"""How predictors train: inner validation, frozen and free experts, callbacks, weights from files."""

import copy
import random

import numpy as np
import pytest
import torch
from estimator_families import (
    CLASSIFIERS,
    ESTIMATORS,
    PREDICTORS,
    PRETRAINED,
    RATES,
    READOUTS,
    REGRESSORS,
    SPECMOE,
    TRAINED,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping

from mne_specmoe import (
    SpecHiNet,
    SpecMoE,
    SpecMoEClassifier,
    SpecMoEFeaturizer,
    SpecMoERegressor,
    SpecMoEWarning,
    UntrainedWarning,
    make_epochs,
    save_expert,
    save_specmoe,
)
from mne_specmoe.estimators._training import inner_split
from mne_specmoe.models.specmoe.published import expert_keys, readout_keys

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")


@pytest.fixture(scope="session")
def make(make):
    """Make an estimator that trains its head by gradient; heads that are solved for have tests of their own."""

    def trained(kind, **parameters):
        return make(kind, **(TRAINED.get(kind, {}) | parameters))

    return trained


# The inner validation split


def split(n_epochs, *, fraction=0.25, labels=None, groups=None, seed=0):
    return inner_split(n_epochs, fraction=fraction, labels=labels, groups=groups, seed=seed)


@settings(max_examples=100, deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("ignore::mne_specmoe.SpecMoEWarning")
def test_a_split_parts_all_epochs_keeps_groups_together_and_every_class_to_train_on(data):
    n_epochs = data.draw(st.integers(2, 30))
    arrays = [st.none(), st.lists(st.integers(0, 4), min_size=n_epochs, max_size=n_epochs)]
    labels, groups = (data.draw(st.one_of(arrays)) for _ in range(2))
    labels = None if labels is None else np.unique(labels, return_inverse=True)[1]
    groups = None if groups is None else np.asarray(groups)
    fraction, seed = data.draw(st.floats(0.05, 0.9)), data.draw(st.integers(0, 2**32 - 1))
    train, valid = split(n_epochs, fraction=fraction, labels=labels, groups=groups, seed=seed)
    if valid is None:
        np.testing.assert_array_equal(train, np.arange(n_epochs))
        return
    assert len(train) > 0
    assert len(valid) > 0
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(n_epochs))
    if groups is not None:
        assert not set(groups[train]) & set(groups[valid])
    if labels is not None:
        assert set(labels[train]) == set(labels)


def test_classes_are_in_proportion_on_both_sides():
    labels = np.repeat([0, 1, 2], [40, 20, 20])
    train, valid = split(80, labels=labels)
    np.testing.assert_array_equal(np.bincount(labels[valid]), [10, 5, 5])
    np.testing.assert_array_equal(np.bincount(labels[train]), [30, 15, 15])


def test_classes_are_in_proportion_as_far_as_groups_allow():
    groups = np.repeat(np.arange(8), 10)
    labels = (groups % 2 == 0).astype(int)  # every group is of one class
    for seed in range(5):
        _, valid = split(80, labels=labels, groups=groups, seed=seed)
        np.testing.assert_array_equal(np.bincount(labels[valid]), [10, 10])


def test_numbers_are_split_by_groups_too():
    groups = np.repeat(list("abcd"), 5)
    _, valid = split(20, groups=groups)
    assert len(valid) == 5
    assert len(set(groups[valid])) == 1


def test_the_seed_and_nothing_else_decides_the_split():
    labels = np.tile([0, 1], 20)
    np.testing.assert_array_equal(split(40, labels=labels)[1], split(40, labels=labels)[1])
    assert any(not np.array_equal(split(40, labels=labels)[1], split(40, labels=labels, seed=s)[1]) for s in (1, 2, 3))


@pytest.mark.parametrize("fraction", [None, 0, 0.0])
@pytest.mark.filterwarnings("error")
def test_no_fraction_is_no_validation(fraction):
    train, valid = split(10, fraction=fraction, labels=np.tile([0, 1], 5))
    np.testing.assert_array_equal(train, np.arange(10))
    assert valid is None


@pytest.mark.parametrize(
    ("labels", "groups", "what"),
    [
        ([0, 1], None, "epochs"),
        ([0, 0, 0, 1], None, "epochs"),
        ([0, 1] * 5, ["a"] * 10, "groups"),
        ([0] * 5 + [1] * 5, ["a"] * 5 + ["b"] * 5, "groups"),
        (None, ["a"] * 10, "groups"),
        (None, None, "epochs"),
    ],
)
def test_where_too_little_is_left_all_is_trained_on_with_a_warning(labels, groups, what):
    n_epochs = len(labels or groups or [0, 1])
    labels, groups = (None if x is None else np.asarray(x) for x in (labels, groups))
    with pytest.warns(SpecMoEWarning, match=f"too few {what}.*validation_fraction=None"):
        train, valid = split(n_epochs, labels=labels, groups=groups)
    assert valid is None
    assert len(train) == n_epochs


@pytest.mark.parametrize("kind", PREDICTORS)
def test_groups_come_as_an_array_or_from_a_column_of_the_metadata(kind, make, outputs, epochs, y):
    subjects = epochs.metadata["subject"].to_numpy()
    fits = [
        make(kind).fit(epochs, y, groups=subjects),
        make(kind).fit(epochs, y, groups=list(subjects)),
        make(kind).fit(epochs, y, groups="subject"),
        make(kind, group_column="subject").fit(epochs, y),
        make(kind, group_column="none such").fit(epochs, y, groups=subjects),
        make(kind, group_column="subject").fit([epochs[:5], epochs[5:]], y),
    ]
    valid = fits[0].validation_indices_
    np.testing.assert_array_equal(valid, np.flatnonzero(np.isin(subjects, subjects[valid])))
    assert len(valid) == 6
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.validation_indices_, valid)
        np.testing.assert_array_equal(outputs(fit, epochs), outputs(fits[0], epochs))


def states_differ(first, second):
    """Names of tensors that are not bit-identical."""
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize("unfreeze_epoch", [None, 0])
@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_is_set_aside_never_reaches_the_weights(kind, unfreeze_epoch, make, epochs, y):
    # One training epoch: its weights are the best ones, whatever the validation loss.
    estimator = make(kind, max_epochs=1, unfreeze_epoch=unfreeze_epoch)
    before = estimator.fit(epochs, y)
    network, valid = before.network_, before.validation_indices_
    trained_on = np.setdiff1d(np.arange(24), valid)
    assert 0 < len(valid) < 24
    for places, is_seen in ((valid, False), (trained_on[:1], True)):
        other = epochs.copy()
        other._data[places] *= 3
        again = make(kind, max_epochs=1, unfreeze_epoch=unfreeze_epoch).fit(other, y)
        np.testing.assert_array_equal(again.validation_indices_, valid)
        assert bool(states_differ(again.network_, network)) == is_seen


@pytest.mark.parametrize("kind", PREDICTORS)
def test_too_few_epochs_train_without_validation(kind, make, outputs, epochs):
    few = epochs[[0, 1]]
    with pytest.warns(SpecMoEWarning, match="too few epochs"):
        estimator = make(kind).fit(few)
    assert estimator.validation_indices_ is None
    assert [row["valid_loss"] for row in estimator.history_] == [None] * 3
    assert np.isfinite(outputs(estimator, few)).all()


# Frozen and free experts


@pytest.fixture(scope="session")
def expert_files(tmp_path_factory):
    """Three experts in our format, two of them channelwise."""
    folder = tmp_path_factory.mktemp("experts")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = [SpecHiNet("channelwise"), SpecHiNet("channelwise"), SpecHiNet("published")]
        for network in networks:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(torch.rand_like(buffer) + 0.01)
    paths = [save_expert(network, folder / f"{i}.safetensors") for i, network in enumerate(networks)]
    return paths, [network.encoder for network in networks]


@pytest.mark.parametrize("kind", SPECMOE[1:])
def test_frozen_experts_from_files_keep_every_parameter_and_buffer_to_the_bit(kind, make, epochs, expert_files):
    paths, encoders = expert_files
    estimator = make(kind, weights=paths[:2], max_epochs=5).fit(epochs)
    for expert, encoder in zip(estimator.network_.experts, encoders, strict=False):
        assert not states_differ(expert, encoder)
    assert all(row["experts_frozen"] for row in estimator.history_)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_frozen_random_networks_keep_every_parameter_and_buffer_to_the_bit(kind, make, epochs, monkeypatch):
    made, make_network, name = [], kind._make_network, PRETRAINED[kind]

    def watched(self, *args):
        network = make_network(self, *args)
        made.append(copy.deepcopy(getattr(network, name)))
        return network

    monkeypatch.setattr(kind, "_make_network", watched)
    estimator = make(kind, max_epochs=5).fit(epochs)
    estimator.predict(epochs)
    assert not states_differ(getattr(estimator.network_, name), made[0])


@pytest.mark.parametrize("unfreeze_epoch", [0, 1])
@pytest.mark.parametrize("kind", SPECMOE[1:])
def test_experts_that_are_freed_change_in_parameters_and_buffers(kind, unfreeze_epoch, make, epochs, expert_files):
    paths, encoders = expert_files
    parameters = {"unfreeze_epoch": unfreeze_epoch, "max_epochs": 2, "validation_fraction": None}
    estimator = make(kind, weights=paths[0], **parameters).fit(epochs)
    changed = set(states_differ(estimator.network_.experts[0], encoders[0]))
    assert {"short.0.conv.weight", "short.0.norm.running_mean", "attention2.time.query_key.weight"} <= changed
    assert [row["experts_frozen"] for row in estimator.history_] == [True] * unfreeze_epoch + [False] * (
        2 - unfreeze_epoch
    )
    assert not estimator.network_.training


def test_experts_that_would_be_freed_after_the_last_epoch_stay_frozen(make, epochs, expert_files):
    paths, encoders = expert_files
    estimator = make(SpecMoEClassifier, weights=paths[0], unfreeze_epoch=3, max_epochs=3).fit(epochs)
    assert not states_differ(estimator.network_.experts[0], encoders[0])


def test_experts_have_a_learning_rate_of_their_own(make, epochs, expert_files):
    paths, encoders = expert_files
    moved = []
    for expert_lr in (None, 1e-5):
        parameters = {"unfreeze_epoch": 0, "max_epochs": 1, "expert_lr": expert_lr, "lr": 1e-2}
        network = make(SpecMoEClassifier, weights=paths[0], **parameters).fit(epochs).network_
        weights = (encoder.bottom1[0].conv.weight for encoder in (network.experts[0], encoders[0]))
        moved.append(np.abs(np.subtract(*(weight.detach().numpy() for weight in weights))).max())
    np.testing.assert_allclose(moved, [1e-2, 1e-5], rtol=0.1)  # Adam's first step is the learning rate


@pytest.mark.parametrize("kind", PREDICTORS)
def test_frozen_networks_run_once_per_epoch_of_eeg(kind, make, epochs, rows_per_run):
    counts = []
    for max_epochs in (2, 20):
        rows_per_run.clear()
        estimator = make(kind, max_epochs=max_epochs, patience=None).fit(epochs)
        assert estimator.n_iter_ == max_epochs
        counts.append(list(rows_per_run))
    assert counts[0] == counts[1]
    # A pass over 24 epochs, filled up to whole batches; settling a random expert is two runs of 8 rows.
    assert 24 <= sum(counts[0]) - (16 if kind in SPECMOE else 0) < 2 * 24


# What comes out of training


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_history_has_one_entry_per_training_epoch(kind, make, epochs):
    classifier = make(kind, max_epochs=4, unfreeze_epoch=3, **{RATES[kind]: 1e-5}).fit(epochs)
    history = classifier.history_
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert classifier.n_iter_ == 4
    for row in history:
        assert list(row) == ["epoch", "train_loss", "valid_loss", "lr", "experts_frozen"]
        assert type(row["train_loss"]) is type(row["valid_loss"]) is float
        assert np.isfinite([row["train_loss"], row["valid_loss"]]).all()
        assert row["lr"] == 1e-3


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_learning_rates_in_the_history_follow_the_plateau(kind, make, epochs):
    classifier = make(kind, max_epochs=40, lr=0.1, patience=None).fit(epochs)
    rates = [row["lr"] for row in classifier.history_]
    assert rates[0] == 0.1
    assert min(rates) <= 0.05
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))


def validation_loss(classifier, epochs, y):
    """Balanced cross-entropy of the final network on what was set aside."""
    valid = classifier.validation_indices_
    probabilities = classifier.predict_proba(epochs[valid])
    labels = np.searchsorted(classifier.classes_, y[valid])
    weights = (1 / np.bincount(np.searchsorted(classifier.classes_, y)))[labels]
    return -np.average(np.log(probabilities[np.arange(len(valid)), labels]), weights=weights)


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(
    "parameters",
    [{}, {"unfreeze_epoch": 6, "max_epochs": 8, "pretrained_lr": 0.3}, {"unfreeze_epoch": 0, "max_epochs": 3}],
    ids=["frozen", "freed, which makes it worse", "free"],
)
def test_the_weights_of_the_best_epoch_are_kept(kind, parameters, make):
    epochs, y, _ = make_epochs(24, n_channels=3, duration=1, sfreq=160, effect=0)
    names = {"pretrained_lr": RATES[kind]}
    parameters = {names.get(name, name): value for name, value in parameters.items()}
    classifier = make(kind, **({"max_epochs": 15, "lr": 0.03, "patience": None} | parameters))
    losses = [row["valid_loss"] for row in classifier.fit(epochs, y).history_]
    assert np.argmin(losses) < len(losses) - 1  # or there would be nothing to go back to
    np.testing.assert_allclose(validation_loss(classifier, epochs, y), min(losses), rtol=1e-5)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressors_keep_the_weights_of_the_best_epoch_too(kind, make):
    epochs, y, _ = make_epochs(24, n_channels=3, duration=1, sfreq=160, effect=0)
    regressor = make(kind, max_epochs=15, lr=0.03, patience=None).fit(epochs, y)
    losses = [row["valid_loss"] for row in regressor.history_]
    assert np.argmin(losses) < len(losses) - 1
    valid = regressor.validation_indices_
    loss = np.mean((regressor.predict(epochs[valid]) - y[valid]) ** 2) / y.var()
    np.testing.assert_allclose(loss, min(losses), rtol=1e-4)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_training_stops_when_patience_is_at_its_end(kind, make):
    epochs, y, _ = make_epochs(24, n_channels=3, duration=1, sfreq=160, effect=0)
    classifier = make(kind, max_epochs=60, lr=0.03, patience=4).fit(epochs, y)
    losses = [row["valid_loss"] for row in classifier.history_]
    assert classifier.n_iter_ < 60
    assert len(losses) - 1 - np.argmin(losses) in (3, 4)


@pytest.mark.parametrize("parameters", [{}, {"unfreeze_epoch": 2}, {"validation_fraction": None}])
@pytest.mark.parametrize("kind", PREDICTORS)
def test_training_that_diverges_is_an_error(kind, parameters, make, epochs):
    estimator = make(kind, lr=1e30, **parameters)
    with pytest.raises(ValueError, match=r"diverged.*lr=1e\+30.*smaller learning rate"):
        estimator.fit(epochs)
    assert not [name for name in vars(estimator) if name.endswith("_")]


@pytest.mark.parametrize("kind", PREDICTORS)
def test_global_random_states_are_left_alone(kind, make, outputs, epochs):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    outputs(make(kind, unfreeze_epoch=1, max_epochs=2).fit(epochs), epochs)
    assert states() == before


@pytest.mark.parametrize("kind", PREDICTORS)
def test_global_random_states_have_no_say(kind, make, outputs, epochs):
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            results.append(outputs(make(kind).fit(epochs), epochs))
    np.testing.assert_array_equal(*results)


# Callbacks and interruption


class Recorder(Callback):
    """Notes what it is told."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, net, **kwargs):
        self.events.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch")

    def on_train_end(self, net, **kwargs):
        self.events.append("end")


class Interrupt(Callback):
    """Asks for an end after the second epoch, as skorch's callbacks do."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_callbacks_of_the_user_are_told_what_happens(kind, make, epochs):
    recorder = Recorder()
    make(kind, callbacks=[recorder]).fit(epochs)
    assert recorder.events == ["begin", "epoch", "epoch", "epoch", "end"]


@pytest.mark.parametrize("kind", PREDICTORS)
def test_early_stopping_of_the_user_stops_quietly(kind, make, outputs, epochs, capsys):
    stopping = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9, threshold_mode="abs")
    estimator = make(kind, max_epochs=50, callbacks=[stopping]).fit(epochs)
    assert 2 <= estimator.n_iter_ <= 3
    assert np.isfinite(outputs(estimator, epochs)).all()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_callback_that_stops_training_leaves_a_fitted_estimator(kind, make, epochs):
    classifier = make(kind, max_epochs=10, callbacks=[Interrupt()]).fit(epochs)
    assert classifier.n_iter_ == 2
    assert len(classifier.predict(epochs)) == 24


@pytest.mark.parametrize("kind", PREDICTORS)
def test_ctrl_c_ends_training_and_leaves_things_as_they_were(kind, make, epochs, monkeypatch):
    fitted = make(kind).fit(epochs)
    forward, calls = READOUTS[kind].forward, []

    def interrupted(self, *args, **kwargs):
        calls.append(self.training)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(READOUTS[kind], "forward", interrupted)
    for estimator in (make(kind), fitted):
        calls.clear()
        interrupt_fit(estimator, epochs)
        assert calls[0] is True


@pytest.mark.parametrize("kind", PREDICTORS)
def test_ctrl_c_ends_solving_and_leaves_things_as_they_were(kind, fitted, epochs, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("mne_specmoe.estimators._linear.solve", interrupted)
    for estimator in (clone(fitted(kind)), fitted(kind)):
        interrupt_fit(estimator, epochs)


def interrupt_fit(estimator, epochs):
    """Fit until an interruption that is to come, and see that nothing has changed."""
    before = dict(vars(estimator))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(epochs)
    assert before.keys() == vars(estimator).keys()
    assert all(before[name] is value for name, value in vars(estimator).items())


# Loss, precision


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_class_weights_decide_how_rare_classes_fare(kind, make):
    epochs, _, _ = make_epochs(36, n_channels=2, duration=1, effect=0, n_subjects=1)
    y = np.where(np.arange(36) % 6 == 0, "rare", "usual")
    share = {}
    for name, class_weight in {"none": None, "balanced": "balanced", "dict": {"rare": 100.0}}.items():
        parameters = {"class_weight": class_weight, "max_epochs": 15, "validation_fraction": None}
        classifier = make(kind, **parameters).fit(epochs, y)
        share[name] = classifier.predict_proba(epochs)[:, 0].mean()
    assert share["none"] == pytest.approx(1 / 6, abs=0.1)
    assert share["balanced"] == pytest.approx(1 / 2, abs=0.1)
    assert share["dict"] > 0.7


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_class_weights_of_balanced_classes_change_nothing(kind, make, epochs, y):
    expected = make(kind, class_weight=None).fit(epochs, y).predict_proba(epochs)
    for class_weight in ("balanced", {1: 5.0, 2: 5.0}):
        found = make(kind, class_weight=class_weight).fit(epochs, y).predict_proba(epochs)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_bfloat16_is_close_to_float32(kind, make, outputs, epochs):
    whole = {"n_components": None} if kind is SpecMoEFeaturizer else {}  # components may turn
    full, half = (make(kind, precision=precision, **whole).fit(epochs) for precision in ("float32", "bf16"))
    expected, found = outputs(full, epochs), outputs(half, epochs)
    assert found.dtype == expected.dtype
    assert not np.array_equal(found, expected)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_free_experts_train_in_bfloat16(kind, make, outputs, epochs):
    estimator = make(kind, precision="bf16", unfreeze_epoch=0, max_epochs=2).fit(epochs)
    assert np.isfinite([row["train_loss"] for row in estimator.history_]).all()
    assert np.isfinite(outputs(estimator, epochs)).all()


# Numbers as targets


def test_a_regressor_finds_the_power_of_epochs_it_has_not_seen(make):
    epochs, _, _ = make_epochs(120, n_channels=2, duration=1, n_subjects=1)
    strength = np.random.default_rng(0).uniform(-1, 1, 120)
    epochs._data *= 2.0 ** strength[:, None, None]
    y = 1000 + 100 * strength
    regressor = make(SpecMoERegressor, hidden=None, max_epochs=60).fit(epochs[:90], y[:90])
    assert regressor.score(epochs[90:], y[90:]) > 0.9
    assert regressor.predict(epochs).mean() == pytest.approx(y.mean(), abs=10)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_regressor_does_not_depend_on_the_units_of_its_target(kind, make, epochs):
    y = np.arange(24.0)
    expected = make(kind).fit(epochs, y).predict(epochs)
    found = make(kind).fit(epochs, 1e-6 * y - 7).predict(epochs)
    np.testing.assert_allclose((found + 7) * 1e6, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_constant_target_is_predicted(kind, make, epochs):
    predicted = make(kind, max_epochs=30, lr=0.01).fit(epochs, np.full(24, 5.0)).predict(epochs)
    np.testing.assert_allclose(predicted, 5, atol=0.5)


# Weights from files


@pytest.fixture(scope="session")
def published_files(expert_files, tmp_path_factory):
    """An expert and a fine-tuned model as their authors published them, and the encoders within."""
    folder = tmp_path_factory.mktemp("published")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = SpecHiNet("published")
        fine_tuned = SpecMoE(2, n_times=400, n_experts=2, layout="published", gate_scale="power")
    state = network.state_dict()
    state = {f"module.{theirs}": state[ours] for ours, theirs in expert_keys().items()}
    torch.save({"epoch": 3, "model_state": state}, folder / "expert.pth")
    ours_to_theirs = {name.removeprefix("encoder."): theirs for name, theirs in expert_keys().items()}
    state = {theirs: fine_tuned.state_dict()[ours] for ours, theirs in readout_keys(2).items()}
    for i, expert in enumerate(fine_tuned.experts):
        state |= {f"experts.{i}.{ours_to_theirs[name]}": tensor for name, tensor in expert.state_dict().items()}
    torch.save({"state_dict": state}, folder / "specmoe.pth")
    return {
        "expert": (folder / "expert.pth", [network.encoder]),
        "list": ([folder / "expert.pth", str(folder / "expert.pth")], [network.encoder] * 2),
        "SpecMoE": (folder / "specmoe.pth", list(fine_tuned.experts)),
    }


@pytest.fixture(scope="session")
def own_files(expert_files, tmp_path_factory):
    """Files of ours, and the encoders within."""
    paths, encoders = expert_files
    network = SpecMoE(3, n_times=1200, n_experts=2)
    path = save_specmoe(network, tmp_path_factory.mktemp("own") / "specmoe.safetensors")
    return {
        "expert": (paths[0], encoders[:1]),
        "path in words": (str(paths[1]), encoders[1:2]),
        "list": (paths[:2], encoders[:2]),
        "SpecMoE": (path, list(network.experts)),
    }


@pytest.mark.parametrize("source", ["own_files", "published_files"])
@pytest.mark.parametrize("kind", [SpecMoEFeaturizer, SpecMoEClassifier])
@pytest.mark.filterwarnings("error::mne_specmoe.UntrainedWarning")
def test_experts_come_from_files_however_many_they_are(kind, source, make, outputs, epochs, request):
    for weights, encoders in request.getfixturevalue(source).values():
        estimator = make(kind, weights=weights, n_experts=7, max_epochs=1).fit(epochs)
        experts = estimator.experts_ if kind is SpecMoEFeaturizer else estimator.network_.experts
        assert len(experts) == len(encoders)
        assert not any(states_differ(*pair) for pair in zip(experts, encoders, strict=True))
        assert {expert.config.layout for expert in experts} == {encoders[0].config.layout}
        assert np.isfinite(outputs(estimator, epochs)).all()


@pytest.mark.usefixtures("no_network_runs")
@pytest.mark.parametrize("kind", SPECMOE)
def test_a_layout_that_contradicts_the_file_is_refused(kind, make, epochs, expert_files):
    for path, layout, other in ((0, "channelwise", "published"), (2, "published", "channelwise")):
        estimator = make(kind, weights=expert_files[0][path], layout=other)
        with pytest.raises(ValueError, match=f"layout='{other}', but.*layout '{layout}'"):
            estimator.fit(epochs)


@pytest.mark.parametrize("kind", SPECMOE)
def test_random_experts_have_the_layout_asked_for_and_are_alive(kind, make, outputs, epochs):
    results = {}
    for layout in (None, "channelwise", "published"):
        with pytest.warns(UntrainedWarning):
            estimator = make(kind, layout=layout, max_epochs=1).fit(epochs)
        results[layout] = outputs(estimator, epochs)
        assert results[layout].std(0).max() > 1e-4  # epochs differ
    np.testing.assert_array_equal(results[None], results["channelwise"])
    unlike = results["published"].shape != results["channelwise"].shape
    assert unlike or not np.allclose(results["published"], results["channelwise"])
