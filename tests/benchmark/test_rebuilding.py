"""Errors are what a naive loop measures, and the baselines do what they say."""

import numpy as np
import pytest
import torch
from tiny_data import eeg_uv, make_corpus

from mne_specmoe import SpecHiNet
from mne_specmoe.benchmark import rebuilding
from mne_specmoe.benchmark.plain import plain_mask
from mne_specmoe.benchmark.rebuilding import (
    BANDS,
    expert_rebuilds,
    fit_gains,
    interpolate,
    interpolate_values,
    leave_masked,
    mean_of,
    measure,
    rescale_bands,
    table,
    undo_mask,
)
from mne_specmoe.benchmark.recordings import StoredRecording, stored_recordings
from mne_specmoe.data.batches import segment_seeds
from mne_specmoe.data.build import build_corpus
from mne_specmoe.data.corpus import Corpus
from mne_specmoe.data.sources import ArrayRecording
from mne_specmoe.models.interface import Batch
from mne_specmoe.models.specmoe.masking import GaussianStftMask, Masked
from mne_specmoe.models.specmoe.network import Reconstruction
from mne_specmoe.signal.spectral import stft

SUBJECTS = ("A", "B", "C")
MASK = GaussianStftMask()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Three subjects; A has two recordings, of two montages, the second ten times as loud."""
    signals = {"A1": eeg_uv(3, 2, 0), "A2": 10 * eeg_uv(2, 3, 1), "B": eeg_uv(3, 2, 2), "C": eeg_uv(3, 9, 3)}
    subject_of = {"A1": "A", "A2": "A"}
    return make_corpus(tmp_path_factory.mktemp("rebuilding") / "corpus", signals, subject_of)


def clean(batch: Batch, masked, kept):
    return batch.x


def silence(batch: Batch, masked, kept):
    return torch.zeros_like(masked)


class KeepHalf:
    """A mask that keeps half of everything."""

    def __call__(self, x, seeds, *, locations=None):
        return Masked(x / 2, torch.full((len(x), 1, 201, x.shape[-1] // 200 + 1), 0.5))


def make_batch(x: torch.Tensor) -> Batch:
    n, n_channels, n_times = x.shape
    names = tuple(map(str, range(n_channels)))
    return Batch(x, torch.zeros(n, n_times), torch.arange(n), names, torch.full((n_channels, 3), torch.nan))


def raw_names(recording: StoredRecording) -> list[str]:
    return next(recording.parts()).ch_names


def sine(hertz: float, n_times: int = 2000) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(n_times) / 200)[None, None]


def test_the_clean_signal_has_no_error_and_silence_has_1(corpus):
    errors = measure(corpus, {"clean": clean, "silence": silence}, MASK)
    assert errors.subjects == SUBJECTS
    for band in BANDS:
        assert np.array_equal(errors.by_method["clean"][band], np.zeros(3))
        np.testing.assert_allclose(errors.by_method["silence"][band], 1.0, rtol=1e-6)


def test_errors_are_those_of_a_naive_loop_over_recordings(corpus):
    found = measure(corpus, {"masked": leave_masked}, MASK).by_method["masked"]
    for place, subject in enumerate(SUBJECTS):
        missed, power = dict.fromkeys(BANDS, 0.0), dict.fromkeys(BANDS, 0.0)
        for segment in np.flatnonzero(corpus.subject_of == subject):
            values, scale_uv = corpus.read([segment])
            x = values[0] * scale_uv[0][:, None].astype(float)
            masked = plain_mask(MASK, x[None], segment_seeds(0, 0, [segment]).numpy())[0][0]
            for channel, left in zip(x, masked, strict=True):
                window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(600) / 600)
                for band, (low, high) in BANDS.items():
                    inside = [k for k in range(301) if low <= k / 3 < high]
                    power[band] += (abs(np.fft.rfft(channel * window)[inside]) ** 2).sum()
                    missed[band] += (abs(np.fft.rfft((left - channel) * window)[inside]) ** 2).sum()
        for band in BANDS:
            assert found[band][place] == pytest.approx(missed[band] / power[band], rel=1e-3), (subject, band)


def test_a_sine_of_which_half_is_kept_has_a_quarter_of_its_power_as_error(tmp_path):
    waves = {"A": 50 * sine(10, 600)[0].numpy(), "B": 50 * (sine(10, 600) + sine(6, 600))[0].numpy()}
    corpus = make_corpus(tmp_path / "corpus", waves)

    def without_theta(batch, masked, kept):
        return rescale_bands({"theta": 0.0})(batch, batch.x, kept)

    errors = measure(corpus, {"half": leave_masked, "without theta": without_theta}, KeepHalf()).by_method
    np.testing.assert_allclose(errors["half"]["alpha"], 0.25, rtol=1e-5)
    np.testing.assert_allclose(errors["without theta"]["alpha"], 0.0, atol=1e-3)
    assert errors["without theta"]["theta"][1] == pytest.approx(1.0, abs=1e-3)
    assert errors["without theta"]["all"] == pytest.approx([0.0, 0.5], abs=1e-3)


def test_recordings_of_one_subject_are_joined_by_their_power(corpus):
    def loud_alone(batch, masked, kept):
        return batch.x if batch.x.shape[1] == 2 else silence(batch, masked, kept)

    by_band = measure(corpus, {"loud alone": loud_alone}, MASK).by_method["loud alone"]
    assert by_band["all"].shape == (3,)
    assert 0 < by_band["all"][0] < 0.05  # the mean over recordings would be 0.5
    np.testing.assert_allclose(by_band["all"][1:], 1.0, rtol=1e-6)


def test_all_methods_get_the_same_masks_in_every_call(corpus):
    seen = {"one": [], "two": []}

    def spy(name):
        def rebuild(batch, masked, kept):
            seen[name].append((batch.seeds, masked, kept))
            return masked

        return rebuild

    first = measure(corpus, {name: spy(name) for name in seen}, MASK)
    again = measure(corpus, {"one": leave_masked}, MASK)
    assert len(seen["one"]) == len(seen["two"]) == 5  # montages apart, eight segments at most
    for ours, theirs in zip(seen["one"], seen["two"], strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    maps = torch.cat([kept for _, _, kept in seen["one"]])
    assert len(torch.unique(maps.flatten(1), dim=0)) == len(corpus)
    for band in BANDS:
        assert np.array_equal(first.by_method["one"][band], first.by_method["two"][band])
        assert np.array_equal(first.by_method["one"][band], again.by_method["one"][band])


def test_table_has_every_method_and_the_differences_to_every_baseline(corpus):
    methods = {"masked signal": leave_masked, "nothing": silence, "network": clean, "other": leave_masked}
    errors = measure(corpus, methods, MASK)
    text = table(errors, ("masked signal", "nothing"))
    assert text.startswith("3 subjects")
    lines = text.splitlines()
    # A row of its own, and one wherever others are compared with it: the first network counts for the second.
    n_rows = {"masked signal": 3, "nothing": 3, "network": 2, "other": 1}
    assert {method: sum(line.startswith(f"{method}  ") for line in lines) for method in methods} == n_rows
    assert all(f"{method}, difference to" in lines for method in ("network", "other"))
    assert all(band in lines[2] for band in BANDS)
    assert str(errors.against("network", "masked signal", "theta")) in text
    assert errors.against("network", "nothing", "all") == pytest.approx((-1, -1, -1))
    assert errors.against("other", "masked signal", "all") == (0, 0, 0)


def test_gains_of_1_leave_the_signal_as_it_is():
    x = torch.randn(2, 3, 600, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    bands = [band for band in BANDS if band != "all"]
    assert torch.allclose(rescale_bands(dict.fromkeys(bands, 1.0))(None, x, None), x, atol=1e-6)
    assert not torch.allclose(rescale_bands(dict.fromkeys(bands, 1.1))(None, x, None), x, atol=1e-3)
    assert torch.equal(x, before)


def test_a_gain_changes_its_own_band_alone():
    x = 3 * sine(6, 600) + sine(10, 600) + sine(40, 600)
    rescaled = rescale_bands({"theta": 2.0, "delta": 7.0})(None, x, None)
    assert torch.allclose(rescaled, 6 * sine(6, 600) + sine(10, 600) + sine(40, 600), atol=1e-4)


def test_gains_are_the_least_squares_solution(corpus):
    gains = fit_gains(corpus, MASK, n_segments=1000)
    pairs = {band: [] for band in BANDS if band != "all"}
    for segment in range(len(corpus)):
        values, scale_uv = corpus.read([segment])
        x = (values[0] * scale_uv[0][:, None]).astype(float) / 100
        masked = plain_mask(MASK, x[None], segment_seeds(0, 0, [segment]).numpy())[0][0]
        for band in pairs:
            low, high = BANDS[band]
            inside = [k for k in range(301) if low <= k / 3 < high]
            pairs[band] += [(np.fft.rfft(masked)[:, inside].ravel(), np.fft.rfft(x)[:, inside].ravel())]
    assert gains.keys() == pairs.keys()
    for band, parts in pairs.items():
        masked, x = (np.concatenate(each) for each in zip(*parts, strict=True))
        (gain,), *_ = np.linalg.lstsq(masked.view(float)[:, None], x.view(float))
        assert gains[band] == pytest.approx(gain, rel=1e-4)
        assert abs(gain - 1) > 0.01  # a gain of 1 would not do


def test_gains_of_few_segments_come_from_all_over_the_corpus(corpus, monkeypatch):
    chosen = []
    batches = rebuilding._batches
    monkeypatch.setattr(rebuilding, "_batches", lambda c, segments: chosen.append(segments) or batches(c, segments))
    fit_gains(corpus, MASK, n_segments=4)
    assert [segments.tolist() for segments in chosen] == [[0, 5, 10, 15]]


@pytest.mark.parametrize("method", [interpolate, interpolate_values, undo_mask])
def test_the_signal_stays_as_it_is_where_nothing_is_missing(method):
    x = torch.randn(2, 3, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(method(make_batch(x), x, torch.ones(2, 1, 201, 6)), x, atol=1e-5)


def test_interpolation_leaves_what_is_weakened_as_it_is():
    x = torch.randn(1, 2, 1000, generator=torch.Generator().manual_seed(0))
    kept = torch.full((1, 1, 201, 6), 0.3)
    masked = MASK.apply(x, kept)
    assert torch.allclose(interpolate(make_batch(x), masked, kept), masked, atol=1e-5)


def test_undoing_the_mask_divides_by_what_is_left():
    x = torch.randn(1, 2, 1000, generator=torch.Generator().manual_seed(0))
    kept = torch.full((1, 1, 201, 6), 0.06)
    assert torch.allclose(undo_mask(make_batch(x), MASK.apply(x, kept), kept), x, atol=1e-4)


@pytest.mark.parametrize("hertz", [6.0, 10.5, 21.0])
def test_undoing_the_mask_brings_back_half_of_what_bumps_in_time_took_from_a_steady_sine(hertz):
    x = sine(hertz).expand(64, 1, 2000)
    masked, kept = GaussianStftMask(type_probabilities=(0, 1, 0))(x, torch.arange(64))
    rebuilt = undo_mask(make_batch(x), masked, kept)
    before, after = ((each - x).square().mean() / x.square().mean() for each in (masked, rebuilt))
    assert before > 0.4
    assert after < 0.25


def test_interpolation_draws_the_magnitude_of_a_steady_sine_through_the_removed_middle():
    z = stft(sine(10.5), n_fft=400, hop=200)[0, :, :, 1:-1]  # frames that reach beyond the ends aside
    known = np.ones((201, 9), dtype=bool)
    known[:, 3:6] = False
    cut = torch.where(torch.from_numpy(known), z.abs(), torch.tensor(0.0)).numpy()
    np.testing.assert_allclose(rebuilding._lines(cut, known), z.abs().numpy(), atol=1e-5)
    assert abs(cut - z.abs().numpy()).max() > 0.4


def test_interpolation_fills_a_frequency_between_its_neighbours():
    x = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    kept = torch.ones(1, 1, 201, 41)
    kept[:, :, 60:80] = 0.02
    masked = MASK.apply(x, kept)
    rebuilt = interpolate(make_batch(x), masked, kept)
    powers = [stft(each, n_fft=400, hop=200).abs()[..., 62:78, :].square().mean() for each in (x, masked, rebuilt)]
    assert powers[1] < 0.01 * powers[0]
    assert 0.3 * powers[0] < powers[2] < 1.5 * powers[0]


def test_lines_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values, known = rng.normal(size=(2, 12, 9)), rng.random((12, 9)) < 0.4
    known[[0, 5, 6, 11]] = False  # at all times, also at the ends
    known[3] = np.arange(9) == 4
    naive = values.copy()
    somewhere = known.any(1)
    for c in range(2):
        for f in np.flatnonzero(somewhere):
            naive[c, f] = np.interp(np.arange(9), np.flatnonzero(known[f]), values[c, f, known[f]])
        for t in range(9):
            naive[c, :, t] = np.interp(np.arange(12), np.flatnonzero(somewhere), naive[c, somewhere, t])
    before = values.copy()
    np.testing.assert_allclose(rebuilding._lines(values, known), naive, rtol=1e-12)
    assert np.array_equal(values, before)


@pytest.mark.parametrize("method", [interpolate, interpolate_values, undo_mask])
@pytest.mark.parametrize("left", [0.0, 1.0])
def test_everything_may_be_missing(method, left):
    x = left * torch.randn(2, 3, 1000, generator=torch.Generator().manual_seed(0))
    rebuilt = method(make_batch(x), x, torch.zeros(2, 1, 201, 6))
    assert torch.isfinite(rebuilt).all()
    assert rebuilt.any() == bool(left)


def test_lines_between_complex_values_need_phases_that_stay():
    kept = torch.ones(1, 1, 201, 21)
    kept[..., 10] = 0.0
    for hertz, better in ((10.0, True), (10.5, False)):  # from frame to frame, 1 s, the phase of 10.5 Hz turns by half
        x = sine(hertz, 4000)
        masked = MASK.apply(x, kept)
        rebuilt = interpolate_values(make_batch(x), masked, kept)
        error, before = ((part - x)[..., 1900:2100].square().mean().item() for part in (rebuilt, masked))
        assert (error < before) is better


def test_undoing_the_mask_draws_no_line_where_the_mask_left_nothing():
    masked = sine(19.5, 4000) + sine(30.5, 4000)  # the neighbours of what is missing
    kept = torch.ones(1, 1, 201, 21)
    kept[:, :, 40:61] = 0.0
    filled = stft(undo_mask(make_batch(masked), masked, kept), n_fft=400, hop=200).abs()
    inner = slice(4, -4)  # frames that are not near the ends, where sines leak
    assert filled[..., 39, inner].min() > 0.4
    assert filled[..., 45:56, inner].max() < 0.01


@pytest.mark.parametrize("method", [interpolate, interpolate_values, undo_mask])
def test_every_channel_is_taken_by_its_own_map(method):
    x = torch.from_numpy(eeg_uv(4, 2, 0)[None] / 100).float()
    kept = GaussianStftMask(scope="local", group_size=2).draw(1200, torch.arange(1), n_channels=4)
    assert kept.shape[1] == 4
    assert not torch.equal(kept, kept[:, :1].expand_as(kept))
    masked = MASK.apply(x, kept)
    together = method(make_batch(x), masked, kept)
    for channel in range(4):
        one = slice(channel, channel + 1)
        alone = method(make_batch(x[:, one]), masked[:, one], kept[:, one])
        torch.testing.assert_close(together[:, one], alone, rtol=1e-4, atol=1e-5)


def test_an_expert_is_measured_by_the_mean_of_its_branches_at_the_positions_of_the_segments():
    class Branches(SpecHiNet):
        def forward(self, x, positions=None, *, locations=None, kept=None):
            seen.append((locations, kept))
            return Reconstruction(x + positions[:, None], 3 * x, x, x)

    expert, seen = Branches("channelwise").train(), []
    rebuild = expert_rebuilds(expert)
    batch = make_batch(torch.ones(2, 1, 600))._replace(positions=torch.full((2, 600), 4.0))
    kept = torch.ones(2, 1, 201, 4)
    assert torch.equal(rebuild(batch, batch.x, kept), torch.full((2, 1, 600), 4.0))
    assert seen == [(batch.locations, kept)]
    assert not expert.training
    assert torch.equal(mean_of([rebuild, silence])(batch, batch.x, None), torch.full((2, 1, 600), 2.0))


def test_a_random_expert_that_draws_is_no_better_than_the_masked_signal(corpus):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        experts = {decoder: expert_rebuilds(SpecHiNet(decoder=decoder)) for decoder in ("signal", "envelope")}
    errors = measure(corpus, {**experts, "masked": leave_masked}, MASK).by_method
    assert all(np.isfinite(errors[decoder]["all"]).all() for decoder in experts)
    assert errors["signal"]["all"].mean() > errors["masked"]["all"].mean()
    # An envelope begins as that of 1/f noise, such as this corpus is made of, so it may be better than the masked one.
    assert 0.6 < errors["envelope"]["all"].mean() / errors["masked"]["all"].mean() < 1.2


@pytest.mark.real_data
def test_every_baseline_is_better_than_the_masked_signal_on_real_recordings(data_root, tmp_path):
    recordings = [
        ArrayRecording(f"{recording.subject}-{number}", data, 200.0, raw_names(recording), subject=recording.subject)
        for recording in stored_recordings(data_root, "eegmat")[:2]
        for number, data in enumerate(recording.prepared())
    ]
    options = {"l_freq": None, "h_freq": None, "notch": None, "segment_seconds": 10.0, "edge_seconds": 0.0}
    corpus = build_corpus(
        recordings, tmp_path / "corpus", **options, min_seconds=0.0, reject_uv=300.0, channels="all", progress=False
    )
    methods = {
        "silence": silence,
        "masked": leave_masked,
        "rescaled": rescale_bands(fit_gains(corpus, MASK)),
        "interpolation": interpolate,
        "undone": undo_mask,
    }
    means = {name: by_band["all"].mean() for name, by_band in measure(corpus, methods, MASK).by_method.items()}
    assert means["silence"] > means["masked"] > max(means["rescaled"], means["interpolation"])
    assert means["undone"] < 0.8 * min(means["rescaled"], means["interpolation"])
