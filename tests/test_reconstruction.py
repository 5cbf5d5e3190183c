"""Masked epochs and what experts make of them, and the error in each band."""

from dataclasses import replace
from typing import NamedTuple

import mne
import numpy as np
import pytest
import torch
from lively_experts import lively, places
from torch import Tensor

from mne_specmoe import CheckpointError, SpecHiNet, SpecMoE, make_epochs, reconstruct, save_expert, save_specmoe
from mne_specmoe.loaders.specmoe import load_experts
from mne_specmoe.models.specmoe.config import Reconstruction
from mne_specmoe.models.specmoe.masking import BANDS, GaussianStftMask
from mne_specmoe.reconstruction import ReconstructedEpochs, band_errors, epoch_seeds
from mne_specmoe.signal.canonical import to_network


class Echo(SpecHiNet):
    """Its short branch gives back what it gets, its long branch three times that."""

    def forward(self, x, positions=None, *, locations=None, kept=None):
        return Reconstruction(x, 3 * x, x, x)


class Positions(SpecHiNet):
    """Rebuilds the positions of the samples."""

    def forward(self, x, positions=None, *, locations=None, kept=None):
        rebuilt = positions.expand_as(x)
        return Reconstruction(rebuilt, rebuilt, x, x)


class Drawn(NamedTuple):
    signal: Tensor
    map: Tensor


class KeepAll:
    """A mask of ones, which remembers the locations it was given."""

    def __call__(self, x, seeds, *, locations=None):
        self.locations = locations
        return Drawn(x, torch.ones(len(x), 1, 201, x.shape[-1] // 200 + 1))


@pytest.fixture(scope="module")
def epochs() -> mne.EpochsArray:
    return make_epochs(5, n_channels=3, duration=2, n_subjects=1)[0]


@pytest.fixture(scope="module")
def expert() -> SpecHiNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpecHiNet("channelwise")


def of_signals(original: np.ndarray, reconstruction: np.ndarray) -> ReconstructedEpochs:
    """Results with these signals."""
    return ReconstructedEpochs(
        original=original,
        masked=np.zeros_like(original),
        short=reconstruction,
        long=reconstruction,
        mask_map=np.ones((len(original), 1, 201, 3), np.float32),
        ch_names=None,
        sfreq=200.0,
        info=None,
    )


def sine(hertz: float, n_times: int = 2000) -> np.ndarray:
    return 1e-5 * np.sin(2 * np.pi * hertz * np.arange(n_times) / 200)[None, None]


def test_every_signal_comes_at_200_hz_in_the_shape_of_the_epochs(synthetic_epochs, expert):
    result = reconstruct(synthetic_epochs, expert, device="cpu")
    for name in ("original", "masked", "short", "long", "reconstruction"):
        signal = getattr(result, name)
        assert signal.shape == (12, 6, 400), name
        assert signal.dtype == np.float32, name
        assert np.isfinite(signal).all(), name
    assert result.mask_map.shape == (12, 1, 201, 3)
    assert result.sfreq == 200
    assert result.ch_names == tuple(synthetic_epochs.ch_names)
    assert len(result) == 12


def test_original_is_the_data_in_volts(epochs, expert):
    result = reconstruct(epochs, expert, device="cpu")
    np.testing.assert_allclose(result.original, epochs.get_data(), rtol=1e-5, atol=1e-11)


def test_mask_of_ones_leaves_the_signal_as_it_is(epochs):
    result = reconstruct(epochs, Echo(), KeepAll(), device="cpu")
    np.testing.assert_array_equal(result.masked, result.original)
    np.testing.assert_array_equal(result.short, result.original)
    assert set(band_errors(result, of="masked").values()) == {0.0}


def test_reconstruction_is_the_mean_of_both_branches(epochs):
    result = reconstruct(epochs, Echo(), device="cpu")
    np.testing.assert_allclose(result.long, 3 * result.masked, rtol=1e-6)
    np.testing.assert_allclose(result.reconstruction, 2 * result.masked, rtol=1e-6)


def test_of_several_experts_the_mean_is_taken(epochs, expert):
    results = [reconstruct(epochs, each, device="cpu") for each in (expert, Echo(), [expert, Echo()])]
    for name in ("short", "long"):
        first, second, mean = (getattr(result, name) for result in results)
        np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-5, atol=1e-12)
    with pytest.raises(ValueError, match="expert is empty"):
        reconstruct(epochs, [], device="cpu")


def test_the_starter_experts_are_the_default(epochs):
    result, expected = (reconstruct(epochs, *args, device="cpu") for args in ((), (load_experts("starter"),)))
    np.testing.assert_array_equal(result.short, expected.short)
    np.testing.assert_array_equal(result.long, expected.long)


def test_expert_sees_the_masked_signal_and_the_mask_is_the_default_one(epochs):
    result = reconstruct(epochs, Echo(), random_state=3, device="cpu")
    x = to_network(epochs.get_data(), 200.0)
    masked, mask_map = GaussianStftMask()(x, epoch_seeds(3, 5))
    np.testing.assert_array_equal(result.mask_map, mask_map.numpy())
    np.testing.assert_allclose(result.short, 1e-4 * masked.numpy(), rtol=1e-5, atol=1e-12)
    assert not np.allclose(result.masked, result.original)


def test_expert_sees_the_positions_of_a_first_pretraining_segment(epochs):
    result = reconstruct(epochs, Positions(), device="cpu")
    expected = np.broadcast_to(np.linspace(1, 10, 400), (5, 3, 400))
    np.testing.assert_allclose(result.short / 1e-4, expected, rtol=1e-5)


def test_mask_learns_where_the_electrodes_are(epochs):
    mask = KeepAll()
    reconstruct(epochs, Echo(), mask, device="cpu")
    expected = [channel["loc"][:3] for channel in epochs.info["chs"]]
    np.testing.assert_allclose(mask.locations, expected, rtol=1e-6)
    reconstruct(epochs.get_data(), Echo(), mask, device="cpu")
    assert mask.locations is None


def test_local_masks_come_with_a_map_per_channel(epochs):
    mask = GaussianStftMask(scope="local", group_size=1)
    result = reconstruct(epochs, Echo(), mask, device="cpu")
    assert result.mask_map.shape == (5, 3, 201, 3)
    assert not np.array_equal(result.mask_map[:, 0], result.mask_map[:, 1])


def test_electrodes_without_a_position_are_nan_for_the_mask(epochs):
    mask, some = KeepAll(), epochs.copy()
    some.info["chs"][1]["loc"][:3] = 0.0
    reconstruct(some, Echo(), mask, device="cpu")
    assert mask.locations.isnan().all(1).tolist() == [False, True, False]


def test_batches_change_nothing(epochs, expert):
    whole, single = (reconstruct(epochs, expert, batch_size=size, device="cpu") for size in (5, 1))
    np.testing.assert_array_equal(whole.mask_map, single.mask_map)
    np.testing.assert_allclose(whole.masked, single.masked, atol=1e-10)
    np.testing.assert_allclose(whole.short, single.short, atol=1e-9)


def test_masks_of_the_first_epochs_do_not_depend_on_how_many_follow(epochs):
    few, all_ = (reconstruct(x, Echo(), device="cpu") for x in (epochs[:2], epochs))
    np.testing.assert_array_equal(few.mask_map, all_.mask_map[:2])


def test_seed_decides_the_masks(epochs):
    one, again, other = (reconstruct(epochs, Echo(), random_state=seed, device="cpu") for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.mask_map, again.mask_map)
    assert not np.array_equal(one.mask_map, other.mask_map)
    assert not np.array_equal(one.mask_map[0], one.mask_map[1])


def test_global_seeds_are_left_alone(epochs, expert):
    before = torch.random.get_rng_state()
    reconstruct(epochs, expert, device="cpu")
    assert torch.equal(before, torch.random.get_rng_state())


def test_expert_of_the_caller_stays_as_it_is(epochs):
    expert = SpecHiNet("channelwise").double().train()
    expert.encoder.eval()
    state = {name: tensor.clone() for name, tensor in expert.state_dict().items()}
    reconstruct(epochs, expert, device="cpu")
    assert expert.training
    assert expert.decoder.training
    assert not expert.encoder.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in expert.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in expert.state_dict().items())


def test_dropout_is_off_even_if_the_expert_is_being_trained(epochs):
    expert = SpecHiNet("channelwise", dropout=0.5).train()
    one, two = (reconstruct(epochs, expert, device="cpu") for _ in range(2))
    np.testing.assert_array_equal(one.reconstruction, two.reconstruction)


def test_file_gives_what_the_network_gives(epochs, expert, tmp_path):
    path = save_expert(expert, tmp_path / "expert.safetensors")
    from_file, from_network = (reconstruct(epochs, source, device="cpu") for source in (path, expert))
    np.testing.assert_array_equal(from_file.reconstruction, from_network.reconstruction)


def test_arrays_in_other_units_and_lists_of_epochs_give_the_same(epochs):
    expected = reconstruct(epochs, Echo(), device="cpu")
    array = reconstruct(1e6 * epochs.get_data(), Echo(), unit="uV", sfreq=200, ch_names=epochs.ch_names, device="cpu")
    joined = reconstruct([epochs[:3], epochs[3:]], Echo(), device="cpu")
    for result in (array, joined):
        np.testing.assert_allclose(result.masked, expected.masked, atol=1e-10)
        assert result.ch_names == expected.ch_names
    assert array.info is None
    assert joined.info["ch_names"] == expected.info["ch_names"] == epochs.ch_names


def test_one_channel_and_the_published_layout_work(epochs):
    result = reconstruct(epochs.get_data()[:2, 0], SpecHiNet("published"), device="cpu")
    assert result.reconstruction.shape == (2, 1, 400)
    assert result.ch_names is None


def test_indexing_takes_epochs_and_keeps_their_axis(epochs):
    result = reconstruct(epochs, Echo(), device="cpu")
    for index, which in ((1, [1]), (slice(2, 4), [2, 3]), (np.array([True, False, False, False, True]), [0, 4])):
        part = result[index]
        for name in ("original", "masked", "short", "long", "mask_map", "reconstruction"):
            np.testing.assert_array_equal(getattr(part, name), getattr(result, name)[which])
    with pytest.raises(IndexError):
        result[5]


def test_error_is_the_share_of_a_sines_power_that_is_missing():
    clean = sine(10) + sine(6)
    errors = band_errors(of_signals(clean, sine(10) + 0.5 * sine(6)))
    assert errors["theta"] == pytest.approx(0.25, rel=1e-3)
    assert errors["alpha"] == pytest.approx(0, abs=1e-3)


def test_silence_misses_all_and_a_flipped_sign_four_times_that():
    clean = sine(2) + sine(6) + sine(10) + sine(20)
    result = of_signals(clean, -clean)
    assert band_errors(result) == pytest.approx(dict.fromkeys(BANDS, 4.0))
    assert band_errors(result, of="masked") == pytest.approx(dict.fromkeys(BANDS, 1.0))


def naive_power(x: np.ndarray, low: float, high: float) -> float:
    """Sum of the power of Hann-windowed segments of 2 s that overlap by half, up to a factor."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    total = 0.0
    for signal in x.reshape(-1, x.shape[-1]):
        for start in range(0, len(signal) - 399, 200):
            segment = signal[start : start + 400]
            power = np.abs(np.fft.rfft(window * (segment - segment.mean()))) ** 2
            total += sum(p for k, p in enumerate(power) if low <= k / 2 < high)
    return total


def test_errors_are_those_of_a_naive_loop():
    rng = np.random.default_rng(0)
    clean, rebuilt = 1e-5 * rng.standard_normal((2, 2, 3, 1000))
    errors = band_errors(of_signals(clean, rebuilt))
    for name, (low, high) in BANDS.items():
        expected = naive_power(rebuilt - clean, low, high) / naive_power(clean, low, high)
        assert errors[name] == pytest.approx(expected, rel=1e-9)


def test_bands_of_ones_own_and_epochs_of_one_second():
    clean = sine(40, 200) + sine(60, 200)
    errors = band_errors(of_signals(clean, sine(60, 200)), {"low": (30, 50), "high": (50, 80)})
    assert errors == pytest.approx({"low": 1.0, "high": 0.0}, abs=1e-6)


def test_error_of_a_band_without_power_is_nan():
    silent = np.zeros((1, 1, 400))
    assert np.isnan(list(band_errors(of_signals(silent, silent)).values())).all()


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ({"narrow": (10.1, 10.4)}, "'narrow'.* every 0.5 Hz"),
        ({"reverse": (12, 8)}, "upper edge of band 'reverse' must be > 12"),
        ({"high": (90, 120)}, "upper edge of band 'high' must be"),
        ({"low": (-1, 4)}, "lower edge of band 'low' must be >= 0"),
    ],
)
def test_impossible_bands_are_refused(bands, message):
    with pytest.raises(ValueError, match=message):
        band_errors(of_signals(sine(10), sine(10)), bands)


def test_unknown_signal_is_refused():
    with pytest.raises(ValueError, match="of='clean' is not known; allowed: 'reconstruction'"):
        band_errors(of_signals(sine(10), sine(10)), of="clean")


def test_networks_without_a_decoder_are_refused(epochs, expert):
    for network in (SpecMoE(2, n_times=400, n_experts=1), expert.encoder, None):
        with pytest.raises(TypeError, match=f"{type(network).__name__}. Encoders alone"):
            reconstruct(epochs, network, device="cpu")


def test_file_without_a_decoder_is_refused(epochs, tmp_path):
    path = save_specmoe(SpecMoE(2, n_times=400, n_experts=1), tmp_path / "specmoe.safetensors")
    with pytest.raises(CheckpointError, match=r"specmoe\.safetensors"):
        reconstruct(epochs, path, device="cpu")


def test_missing_file_is_named(epochs):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        reconstruct(epochs, "nowhere.safetensors", device="cpu")


def test_other_bad_input_is_refused(epochs, expert):
    with pytest.raises(TypeError, match="mask must be a GaussianStftMask or None, got 0.5"):
        reconstruct(epochs, expert, 0.5)
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        reconstruct(epochs, expert, batch_size=0)
    with pytest.raises(ValueError, match="device='tpu'"):
        reconstruct(epochs, expert, device="tpu")
    with pytest.raises(TypeError, match="holds no epochs"):
        reconstruct(mne.io.RawArray(np.zeros((1, 400)), mne.create_info(1, 200, "eeg")), expert)
    with pytest.raises(ValueError, match="NaN"):
        reconstruct(np.full((1, 1, 400), np.nan), expert)
    with pytest.raises(ValueError, match="at least 0.2 s"):
        reconstruct(epochs.copy().crop(0, 0.1), expert)


def test_results_cannot_be_changed_by_accident():
    result = of_signals(sine(10), sine(10))
    with pytest.raises(AttributeError):
        result.original = None
    assert replace(result, sfreq=100.0).sfreq == 100


def placed(epochs: mne.EpochsArray, where: Tensor) -> mne.EpochsArray:
    """The same epochs with electrodes elsewhere."""
    positions = dict(zip(epochs.ch_names, where.numpy(), strict=True))
    return epochs.copy().set_montage(mne.channels.make_dig_montage(positions, coord_frame="head"))


def test_an_expert_is_told_the_places_and_what_the_mask_kept(epochs):
    here, elsewhere = (placed(epochs, where) for where in (places(3), -places(3)))
    told = lively(told_mask=True)
    found = [reconstruct(each, told, device="cpu") for each in (here, elsewhere)]
    np.testing.assert_array_equal(found[0].masked, found[1].masked)
    assert np.abs(found[0].short - found[1].short).max() > 0
    with torch.inference_mode():
        x = to_network(found[0].masked[:1], 200.0)
        kept = torch.from_numpy(found[0].mask_map[:1])
        locations = torch.tensor(np.array([channel["loc"][:3] for channel in here.info["chs"]]), dtype=torch.float32)
        expected = told.eval()(x, locations=locations, kept=kept).short
        unaware = told(x, locations=locations).short
    np.testing.assert_allclose(found[0].short[:1] / 1e-4, expected, rtol=1e-3, atol=1e-5)
    assert (unaware - expected).abs().max() > 1e-4
