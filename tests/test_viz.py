"""Figures: they show the right numbers, go where they are told to, and cut no label off."""

from dataclasses import replace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError

from mne_specmoe import (
    SpecHiNet,
    SpecMoEClassifier,
    SpecMoEFeaturizer,
    SpecMoERegressor,
    UntrainedWarning,
    diagnose,
    make_epochs,
    plot_diagnosis,
    plot_gate,
    plot_mask,
    plot_reconstruction,
    reconstruct,
)
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.reconstruction import band_errors

pytestmark = pytest.mark.filterwarnings("ignore::mne_specmoe.UntrainedWarning")
ONE_EXPERT = {
    "head": "mlp",
    "parts": ("experts",),
    "weights": None,
    "n_experts": 1,
    "max_epochs": 1,
    "validation_fraction": None,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def _no_window_opens_and_no_figure_stays():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch) -> list:
    """Grows whenever a figure is shown."""
    calls = []
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: calls.append(args))
    return calls


@pytest.fixture(scope="module")
def epochs() -> mne.EpochsArray:
    return make_epochs(8, n_channels=6, duration=4, n_subjects=1)[0]


@pytest.fixture(scope="module")
def result(epochs):
    return reconstruct(epochs, SpecHiNet("channelwise"), device="cpu")


@pytest.fixture(scope="module")
def classifier(epochs) -> SpecMoEClassifier:
    with pytest.warns(UntrainedWarning):
        return SpecMoEClassifier(**ONE_EXPERT | {"n_experts": 3}).fit(epochs)


def panels(figure: Figure) -> list:
    """Axes of a figure without its colour bars, in order."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def mesh(axes) -> np.ndarray:
    """The numbers of the image in some axes."""
    return np.asarray(axes.collections[0].get_array())


def is_head(axes) -> bool:
    """Whether a topography was drawn."""
    return bool(axes.images)


def every_figure(epochs, result, classifier) -> dict[str, Figure]:
    """One figure of each kind."""
    return {
        "map": plot_mask(GaussianStftMask()),
        "mask": plot_mask(GaussianStftMask(), epochs),
        "narrow mask": plot_mask(GaussianStftMask(), epochs, figsize=(3.5, 5.5)),
        "reconstruction": plot_reconstruction(result),
        "narrow reconstruction": plot_reconstruction(result, figsize=(3.5, 5.5)),
        "gate": plot_gate(classifier),
        "gate on the head": plot_gate(classifier, epochs),
        "narrow gate": plot_gate(classifier, epochs, figsize=(3.5, 3.5)),
        "gate by channel": plot_gate(classifier, epochs.get_data()),
    }


def test_no_label_is_cut_off(epochs, result, classifier):
    for name, figure in every_figure(epochs, result, classifier).items():
        figure.draw_without_rendering()
        needed = figure.get_tightbbox()  # in inches
        assert needed.x0 >= 0, name
        assert needed.y0 >= 0, name
        assert needed.x1 <= figure.get_figwidth(), name
        assert needed.y1 <= figure.get_figheight(), name


def test_every_axis_has_a_label(epochs, result, classifier):
    for name, figure in every_figure(epochs, result, classifier).items():
        for axes in figure.axes:
            if not is_head(axes):
                assert axes.get_xlabel() or axes.get_ylabel(), (name, axes.get_title())


def test_nothing_is_shown_unless_told_to(epochs, result, classifier, shown):
    every_figure(epochs, result, classifier)
    plot_mask(GaussianStftMask(), show=False)
    assert not shown
    plot_mask(GaussianStftMask(), show=True)
    plot_reconstruction(result, show=True)
    plot_gate(classifier, show=True)
    assert len(shown) == 3


def test_settings_of_the_caller_stay_as_they_are(epochs, result, classifier):
    before = dict(plt.rcParams)
    every_figure(epochs, result, classifier)
    assert dict(plt.rcParams) == before


def test_mask_is_the_one_that_reconstruct_draws(epochs, result):
    map_panel, signals, *_ = panels(plot_mask(GaussianStftMask(), epochs, epoch=2, pick="C4"))
    np.testing.assert_array_equal(mesh(map_panel), result.mask_map[2, 0])
    channel = epochs.ch_names.index("C4")
    before, after = (line.get_ydata() for line in signals.lines)
    original, masked = (1e6 * signal[2, channel] for signal in (result.original, result.masked))
    np.testing.assert_allclose(before, original - original.mean(), atol=1e-3)
    np.testing.assert_allclose(after, masked - original.mean(), atol=1e-3)


def test_map_does_to_the_signal_what_its_mask_did(epochs, result):
    by_map, by_mask = (
        panels(plot_mask(mask, epochs, epoch=1, pick=3)) for mask in (result.mask_map, GaussianStftMask())
    )
    np.testing.assert_array_equal(mesh(by_map[0]), mesh(by_mask[0]))
    np.testing.assert_allclose(by_map[1].lines[1].get_ydata(), by_mask[1].lines[1].get_ydata(), atol=1e-3)


def test_local_mask_of_a_channel_is_the_one_that_reconstruct_draws(epochs):
    mask = GaussianStftMask(scope="local", group_size=2)
    result = reconstruct(epochs, SpecHiNet("channelwise"), mask, device="cpu")
    for source in (mask, result.mask_map):
        map_panel = panels(plot_mask(source, epochs, epoch=1, pick=4))[0]
        np.testing.assert_array_equal(mesh(map_panel), result.mask_map[1, 4])


def test_map_is_drawn_over_hertz_and_seconds():
    kept = np.ones((201, 31), np.float32)
    kept[20, 7] = 0  # 10 Hz, 7 s
    (axes,) = panels(plot_mask(kept))
    coordinates = axes.collections[0].get_coordinates()
    corner, opposite = coordinates[20, 7], coordinates[21, 8]
    np.testing.assert_allclose((corner + opposite) / 2, (7, 10), atol=1e-6)
    assert axes.get_xlim() == (0, 30)
    assert axes.get_ylim() == (0, 100)


def test_mask_of_arrays_without_names_and_of_one_channel():
    rng = np.random.default_rng(0)
    figure = plot_mask(GaussianStftMask(), 20 * rng.standard_normal((2, 500)), unit="uV", sfreq=250, tmin=0.5)
    signals = panels(figure)[1]
    assert [label.get_text() for label in signals.get_yticklabels()] == ["channel 0"]
    assert signals.get_xlim() == (0.5, 1.995)


def test_spectrogram_shows_a_sine_at_its_frequency_and_power():
    sine = 10 * np.sin(2 * np.pi * 20 * np.arange(2000) / 200)
    figure = plot_mask(np.ones((201, 11), np.float32), sine[None], unit="uV")
    before, after = panels(figure)[2:]
    decibels = mesh(before)
    np.testing.assert_allclose(mesh(after)[40], decibels[40], atol=1e-3)
    assert (decibels[:, 4:-4].argmax(0) == 40).all()  # frequencies are half a hertz apart
    # 50 µV² spread over a Hann window's noise bandwidth, 1.5 bins
    np.testing.assert_allclose(decibels[40, 4:-4], 10 * np.log10(50 / 0.75), atol=0.01)


def test_bars_are_the_errors_of_all_epochs(result):
    axes = panels(plot_reconstruction(result, epoch=3))[1]
    expected = [*band_errors(result, of="masked").values(), *band_errors(result).values()]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected)
    assert axes.get_title() == "8 epochs, 6 channels"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "delta\n1–4",
        "theta\n4–8",
        "alpha\n8–12",
        "beta\n12–30",
    ]


def test_reconstruction_shows_the_channels_picked(result):
    by_name, by_place = (
        panels(plot_reconstruction(result, 1, picks, bands={"mu": (8, 13)})) for picks in (["C4", "O1"], [1, 5])
    )
    for figure_panels, picks in ((by_name, ["C4", "O1"]), (by_place, [result.ch_names[i] for i in (1, 5)])):
        assert [label.get_text() for label in figure_panels[0].get_yticklabels()] == picks
        assert figure_panels[2].get_ylabel() == f"{picks[0]}: frequency (Hz)"
    lines = by_place[0].lines
    assert len(lines) == 6
    window = slice(0, len(lines[0].get_ydata()))
    for line, signal in zip(lines[::2], (result.original, result.masked, result.reconstruction), strict=True):
        expected = signal[1, 1, window] - result.original[1, 1, window].mean()
        np.testing.assert_allclose(line.get_ydata(), 1e6 * expected, atol=1e-3)


def test_reconstruction_of_one_flat_channel_without_names():
    with pytest.warns(UserWarning, match="constant"):
        flat = reconstruct(np.zeros((1, 400)), SpecHiNet("channelwise"), device="cpu")
    figure = plot_reconstruction(flat)
    figure.draw_without_rendering()
    assert panels(figure)[1].get_title() == "1 epoch, 1 channel"


def test_figures_go_into_the_axes_given(epochs, result, classifier, shown):
    figure, axes = plt.subplots(2, 5, layout="constrained")
    assert plot_reconstruction(result, axes=axes[0]) is figure
    assert plot_mask(GaussianStftMask(), epochs, axes=axes[1, :4].reshape(2, 2)) is figure
    assert plot_gate(classifier, axes=axes[1, 4]) is figure
    assert plt.get_fignums() == [figure.number]
    assert all(panel.has_data() for panel in axes.flat)
    with pytest.raises(ValueError, match="axes must be 5 Axes .signals, errors, original, masked, rebuilt., got 2"):
        plot_reconstruction(result, axes=axes[0, :2])


def log_sensitivity(classifier: SpecMoEClassifier) -> np.ndarray:
    """Slope of the mean gate at the mean log spectrum, by hand: mean over features of W·g(1 − g)."""
    rows = []
    for linear in classifier.network_.readout.gate.linears:
        weight, gate = linear.weight.detach(), torch.sigmoid(linear.bias.detach())
        rows.append((weight * (gate * (1 - gate))[:, None]).mean(0))
    return torch.stack(rows).numpy()


def test_sensitivity_to_log_power_is_that_of_a_logistic_function(classifier):
    (axes,) = panels(plot_gate(classifier, f_max=100))
    np.testing.assert_allclose(mesh(axes), log_sensitivity(classifier), atol=1e-7)
    assert mesh(axes).shape == (3, 201)


def test_sensitivity_to_power_is_that_of_finite_differences(epochs):
    classifier = SpecMoEClassifier(gate_scale="power", **ONE_EXPERT).fit(epochs)
    gate = classifier.network_.readout.gate.double()
    step = 1e-4 * torch.eye(201, dtype=torch.float64)
    up, down = (gate(10 ** (gate.log_mean + sign * step * gate.log_std)[None])[0, 0].mean(-1) for sign in (1, -1))
    (axes,) = panels(plot_gate(classifier, f_max=100))
    np.testing.assert_allclose(mesh(axes)[0], ((up - down) / 2e-4).detach(), rtol=1e-5, atol=1e-12)


def test_absolute_sensitivity_is_that_of_single_features(classifier):
    (axes,) = panels(plot_gate(classifier, statistic="absolute"))
    gate = classifier.network_.readout.gate
    linear, open_ = gate.linears[1], torch.sigmoid(gate.linears[1].bias.detach())
    expected = (linear.weight.detach() * (open_ * (1 - open_))[:, None]).abs().mean(0)
    np.testing.assert_allclose(mesh(axes)[1], expected[:81], atol=1e-7)  # up to 40 Hz


def test_frequencies_of_short_epochs_are_one_hertz_apart(epochs):
    regressor = SpecMoERegressor(**ONE_EXPERT).fit(epochs.copy().crop(0, 1.5), np.arange(8.0))
    (axes,) = panels(plot_gate(regressor))
    assert mesh(axes).shape == (1, 41)
    edges = axes.collections[0].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, np.arange(42) - 0.5)


def test_gates_go_on_the_head_where_positions_are_known(epochs, classifier):
    heads = panels(plot_gate(classifier, epochs))[1:]
    assert [head.get_title() for head in heads] == ["expert 1", "expert 2", "expert 3"]
    assert all(map(is_head, heads))
    weights = classifier.gate_weights(epochs).mean(0)
    for head in heads:
        np.testing.assert_allclose(head.images[0].get_clim(), (weights.min(), weights.max()), rtol=1e-6)


def without_positions(epochs: mne.BaseEpochs) -> mne.BaseEpochs:
    return epochs.copy().set_montage(None)


def doubled_positions(epochs: mne.BaseEpochs) -> mne.BaseEpochs:
    epochs = epochs.copy()
    epochs.info["chs"][1]["loc"][:3] = epochs.info["chs"][0]["loc"][:3]
    return epochs


@pytest.mark.parametrize("change", [without_positions, doubled_positions, lambda epochs: epochs.get_data()])
def test_gates_are_listed_by_channel_where_there_is_no_head(epochs, classifier, change):
    first, *others = panels(plot_gate(classifier, change(epochs)))[1:]
    assert len(others) == 2
    assert [label.get_text() for label in first.get_yticklabels()] == epochs.ch_names
    weights = classifier.gate_weights(epochs)
    for expert, axes in enumerate([first, *others]):
        np.testing.assert_allclose(axes.lines[0].get_xdata(), weights[..., expert].mean(0), rtol=1e-6)


def test_channels_of_the_head_are_those_of_the_gates_whatever_the_order_of_the_epochs(epochs, classifier):
    mixed = epochs.copy().reorder_channels(epochs.ch_names[::-1])
    one, other = (panels(plot_gate(classifier, X))[1].images[0].get_array() for X in (epochs, mixed))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_arrays_of_gates_are_shown_with_and_without_epochs(epochs):
    gates = np.random.default_rng(0).uniform(size=(4, 6, 2))
    on_head, listed, mean_only = plot_gate(gates, epochs), plot_gate(gates), plot_gate(gates.mean(0))
    assert [is_head(axes) for axes in panels(on_head)] == [True, True]
    assert [label.get_text() for label in panels(listed)[0].get_yticklabels()] == [f"channel {i}" for i in range(6)]
    np.testing.assert_allclose(panels(mean_only)[1].lines[0].get_xdata(), gates.mean(0)[:, 1])
    assert panels(plot_gate(gates[:1, :1, :1]))[0].get_title() == "expert 1"


def test_bad_views_are_refused(epochs, result):
    with pytest.raises(ValueError, match="epoch=8, but there are 8 epochs"):
        plot_reconstruction(result, 8)
    with pytest.raises(ValueError, match="There is no channel 'Q7'; the channels are .*'C3'"):
        plot_reconstruction(result, picks="Q7")
    with pytest.raises(ValueError, match="channel picked by place must be >= 0 and <= 5"):
        plot_mask(GaussianStftMask(), epochs, pick=6)
    with pytest.raises(ValueError, match="picks is empty"):
        plot_reconstruction(result, picks=[])
    with pytest.raises(ValueError, match="tmin=9 s is after the end of the epochs, which last 4 s"):
        plot_reconstruction(result, tmin=9)
    with pytest.raises(ValueError, match="f_max must be"):
        plot_gate(np.ones((2, 2)), f_max=0)
    with pytest.raises(TypeError, match="must come from mne_specmoe.reconstruct, got EpochsArray"):
        plot_reconstruction(epochs)


def test_maps_that_do_not_fit_are_refused(epochs):
    with pytest.raises(ValueError, match="The map has 31 frames, but epochs of 800 samples at 200 Hz have 5"):
        plot_mask(np.ones((201, 31)), epochs)
    with pytest.raises(ValueError, match="holds epoch 3 and channel 0, got shape .2, 1, 201, 5."):
        plot_mask(np.ones((2, 1, 201, 5)), epochs, epoch=3)


def test_gates_that_cannot_be_shown_are_refused(epochs, classifier):
    with pytest.raises(NotFittedError):
        plot_gate(SpecMoEClassifier())
    with pytest.raises(NotFittedError):
        plot_gate(SpecMoEClassifier(), epochs)
    with pytest.raises(TypeError, match="got SpecMoEFeaturizer"):
        plot_gate(SpecMoEFeaturizer())
    with pytest.raises(ValueError, match="gates are always 1"):
        plot_gate(SpecMoEClassifier(gate_scale="none", **ONE_EXPERT).fit(epochs))
    with pytest.raises(ValueError, match="gate has 5 channels, but the Epochs have 6"):
        plot_gate(np.ones((2, 5, 3)), epochs)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        plot_gate(np.ones(4))
    with pytest.raises(ValueError, match="statistic='median' is not known"):
        plot_gate(classifier, statistic="median")


@pytest.fixture(scope="module")
def diagnosis(epochs):
    people = np.repeat(["a", "b"], 4)
    with torch.random.fork_rng():
        return diagnose(SpecHiNet("channelwise"), epochs.get_data()[:, :2, :360], people, n_random=1)


def test_a_health_check_shows_trained_and_random_weights_by_stages(diagnosis):
    dimensions, bands, shares, distances, exchange = panels(plot_diagnosis(diagnosis))
    stages = list(diagnosis.trained.stages)
    assert [label.get_text() for label in distances.get_xticklabels()] == stages
    trained, random = distances.lines
    for line, network in ((trained, diagnosis.trained), (random, diagnosis.random[0])):
        np.testing.assert_allclose(line.get_ydata(), [network.stages[stage].distance for stage in stages])
    assert [text.get_text() for text in dimensions.get_legend().get_texts()] == ["trained", "random"]
    assert [text.get_text() for text in bands.get_legend().get_texts()] == ["alpha", "beta"]
    np.testing.assert_allclose(bands.lines[2].get_ydata(), [s.r2["beta"] for s in diagnosis.trained.stages.values()])
    heights = [patch.get_height() for patch in shares.patches[: len(stages)]]
    np.testing.assert_allclose(heights, [diagnosis.trained.stages[stage].shares["mask"] for stage in stages])
    np.testing.assert_allclose(
        [patch.get_height() for patch in exchange.patches],
        [diagnosis.trained.exchange.errors[name] for name in ("baseline", "own", "other_person", "other_mask")],
    )
    assert dimensions.get_yscale() == "log"


def test_a_health_check_without_an_exchange_says_so_and_draws_into_axes_given(diagnosis):
    figure, axes = plt.subplots(1, 5)
    found = replace(diagnosis, trained=replace(diagnosis.trained, exchange=None), random=[])
    assert plot_diagnosis(found, bands=["delta"], axes=axes) is figure
    assert "not measurable" in axes[4].texts[0].get_text()
    assert len(axes[1].lines) == 1


def test_a_health_check_of_something_else_is_refused(diagnosis):
    with pytest.raises(TypeError, match="must come from mne_specmoe.diagnose, got dict"):
        plot_diagnosis(diagnosis.to_dict())
    with pytest.raises(ValueError, match="'gamma' is not known"):
        plot_diagnosis(diagnosis, bands=["gamma"])
