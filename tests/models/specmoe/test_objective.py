import pytest
import torch
from golden_data import load_cases
from torch.nn import functional as F

from mne_specmoe.models.interface import Batch, Objective
from mne_specmoe.models.specmoe.config import Reconstruction
from mne_specmoe.models.specmoe.envelope import log_envelope
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.models.specmoe.objective import ReconstructionObjective, envelope_error, reconstruction_loss
from mne_specmoe.models.specmoe.targets import FeatureLoss
from mne_specmoe.signal.spectral import stft

PARTS = {"mse", "spectral", "aux_up1", "aux_up2"}


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def batch(n_segments: int, n_channels: int, n_times: int, first_seed: int = 0) -> Batch:
    """Segments of alpha and theta rhythms whose phases differ between channels, and some noise."""
    t = torch.arange(n_times) / 200
    phases = 6 * noise(n_segments, n_channels, 2)
    x = torch.sin(2 * torch.pi * 10 * t + phases[..., :1]) + torch.sin(2 * torch.pi * 6 * t + phases[..., 1:])
    return Batch(
        x=0.3 * x + 0.05 * noise(n_segments, n_channels, n_times),
        positions=torch.linspace(1, 10, n_times).expand(n_segments, -1),
        seeds=torch.arange(first_seed, first_seed + n_segments),
        ch_names=tuple(f"E{i}" for i in range(n_channels)),
        locations=torch.full((n_channels, 3), torch.nan),
    )


PAPER = {"amplitude": "absolute", "decoder": "signal", "told_mask": False, "masked_norms": False}
NETWORK = ("dropout", "amplitude", "decoder", "bypass", "told_mask", "masked_norms", "n_mixtures")


def objective(layout: str = "channelwise", **options) -> ReconstructionObjective:
    """With random weights, the same each time; the paper's loss unless told otherwise."""
    network = {name: options.pop(name) for name in NETWORK if name in options}
    network = ({} if layout == "published" else PAPER) | network
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ReconstructionObjective(SpecHiNet(layout, **network), **options)


def of_two_views(*, learnt: bool = True, weights: dict | None = None, **options) -> ReconstructionObjective:
    """What `pretrain` trains by default: two views, envelopes, statistics of the targets from some batches."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        feature_loss = FeatureLoss(**(weights or {}))
    if learnt:
        feature_loss.learn(batch(4, 3, 1200, first_seed=i).x for i in range(4))
    defaults = {"amplitude": None, "decoder": None, "masked_norms": True}
    return objective(**(defaults | options), feature_loss=feature_loss)


def lively(**options) -> ReconstructionObjective:
    """In evaluation mode, with statistics under which the signal does not fade."""
    pretraining = objective(**options)
    with torch.no_grad():
        for i in range(20):
            pretraining(batch(2, 6, 600, first_seed=i), progress=0.0)
    return pretraining.eval()


def golden_loss(name: str) -> tuple[Reconstruction, torch.Tensor, list[float]]:
    arrays = {key: torch.from_numpy(array) for key, array in load_cases()[name].items()}
    fields = (arrays[key] for key in ("short", "long", "aux_up1", "aux_up2"))
    return Reconstruction(*fields), arrays["target"], arrays["total_mse_spec"].tolist()


def located(segments: Batch) -> Batch:
    """The same at places on a head, of which the last is unknown."""
    places = 0.09 * F.normalize(noise(segments.x.shape[1], 3), dim=-1)
    places[-1] = torch.nan
    return segments._replace(locations=places)


# The loss


@pytest.mark.parametrize("name", [name for name in load_cases() if name.startswith("loss_")])
def test_loss_reproduces_the_golden_numbers(name):
    output, target, (total, mse, spectral) = golden_loss(name)
    loss, terms = reconstruction_loss(output, target)
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert terms["mse"].item() == pytest.approx(mse, rel=1e-5)
    assert terms["spectral"].item() == pytest.approx(spectral, rel=1e-5)


def plain_distance(x: torch.Tensor, y: torch.Tensor, n_fft: int) -> float:
    """Channel by channel, frame by frame."""
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(n_fft, dtype=x.dtype) / n_fft)

    def magnitudes(channel: torch.Tensor) -> torch.Tensor:
        half = n_fft // 2
        channel = torch.cat([channel[1 : half + 1].flip(0), channel, channel[-half - 1 : -1].flip(0)])
        frames = [channel[i : i + n_fft] * window for i in range(0, len(channel) - n_fft + 1, half)]
        return torch.stack([torch.fft.rfft(frame).abs() for frame in frames])

    pairs = list(zip(x.flatten(0, 1), y.flatten(0, 1), strict=True))
    squares = [(a - b).square().mean() for a, b in pairs]
    spectral = [(magnitudes(a) - magnitudes(b)).square().mean() for a, b in pairs]
    return (sum(squares) + 0.02 * sum(spectral)).item() / len(pairs)


def test_loss_is_the_sum_of_its_named_terms_and_agrees_with_a_plain_loop():
    target = noise(2, 3, 3000, dtype=torch.float64)
    output = Reconstruction(*(noise(2, 3, n, dtype=torch.float64) for n in (3000, 3000, 100, 400)))
    loss, terms = reconstruction_loss(output, target)
    assert set(terms) == PARTS
    assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()))
    coarse = [F.interpolate(target, n, mode="linear", align_corners=False) for n in (100, 400)]
    main = sum(plain_distance(signal, target, 512) for signal in (output.short, output.long))
    assert terms["mse"].item() + terms["spectral"].item() == pytest.approx(main)
    # 100 samples have 64 to reflect, not 128; 400 samples have 256.
    assert terms["aux_up1"].item() == pytest.approx(0.2 * plain_distance(output.aux_up1, coarse[0], 128))
    assert terms["aux_up2"].item() == pytest.approx(0.3 * plain_distance(output.aux_up2, coarse[1], 512))


@pytest.mark.parametrize(("length", "n_fft"), [(257, 512), (256, 256), (200, 256), (129, 256), (128, 128), (12, 16)])
def test_windows_of_short_signals_are_the_largest_that_can_be_reflected(length, n_fft):
    x, y = noise(1, 2, length, dtype=torch.float64), 2 + noise(1, 2, length, dtype=torch.float64)
    loss, _ = reconstruction_loss(Reconstruction(x, y, y, y), y)
    assert loss.item() == pytest.approx(plain_distance(x, y, n_fft))


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_signals_of_a_few_samples_have_a_loss(length):
    x, y = noise(1, 2, length), 1 + noise(1, 2, length)
    loss, _ = reconstruction_loss(Reconstruction(x, x, x, x), y)
    assert loss.isfinite()
    assert loss > 0


def test_a_perfect_reconstruction_has_no_loss():
    target = noise(2, 3, 1200)
    coarse = F.interpolate(target, 160, mode="linear", align_corners=False)
    loss, terms = reconstruction_loss(Reconstruction(target, target, coarse, coarse), target)
    assert loss == 0
    assert all(term == 0 for term in terms.values())


def test_weights_scale_their_terms():
    target = noise(2, 3, 1200)
    output = Reconstruction(*(noise(2, 3, n) for n in (1200, 1200, 40, 160)))
    _, paper = reconstruction_loss(output, target)
    _, terms = reconstruction_loss(output, target, spectral_weight=0.04, aux_weights=(0.0, 0.6))
    torch.testing.assert_close(terms["spectral"], 2 * paper["spectral"])
    torch.testing.assert_close(terms["mse"], paper["mse"])
    assert terms["aux_up1"] == 0
    assert terms["aux_up2"] > 2 * paper["aux_up2"]


def test_silence_has_finite_gradients():
    silence = [torch.zeros(1, 2, n, requires_grad=True) for n in (1200, 1200, 40, 160)]
    for target in (torch.zeros(1, 2, 1200), noise(1, 2, 1200)):
        loss, _ = reconstruction_loss(Reconstruction(*silence), target)
        gradients = torch.autograd.grad(loss, silence)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_gradients_agree_with_finite_differences():
    target = noise(1, 2, 40, dtype=torch.float64)
    signals = [noise(1, 2, n, dtype=torch.float64).requires_grad_() for n in (40, 40, 12, 20)]
    assert torch.autograd.gradcheck(lambda *x: reconstruction_loss(Reconstruction(*x), target)[0], signals)


def test_half_precision_outputs_are_compared_in_float32():
    output, target, _ = golden_loss("loss_a")
    halves = Reconstruction(*(signal.bfloat16() for signal in output[:4]))
    expected, _ = reconstruction_loss(Reconstruction(*(signal.float() for signal in halves[:4])), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = reconstruction_loss(halves, target)
    assert loss.dtype == torch.float32
    assert loss == expected


# The objective


@pytest.mark.parametrize("layout", ["channelwise", "published"])
def test_objective_keeps_the_interface_and_names_its_terms(layout):
    pretraining = objective(layout)
    loss, terms = pretraining(batch(2, 19, 600), progress=0.5)
    assert isinstance(pretraining, Objective)
    assert set(terms) == PARTS | {"masked_mse"}
    assert loss.shape == ()
    assert loss.requires_grad
    assert not any(term.requires_grad for term in terms.values())
    assert loss.item() == pytest.approx(sum(terms[name].item() for name in PARTS), rel=1e-5)


@pytest.mark.parametrize(("n_channels", "n_times"), [(1, 1200), (3, 500), (7, 360), (2, 90), (1, 1)])
def test_channelwise_takes_any_number_of_channels_and_any_length(n_channels, n_times):
    loss, terms = objective()(batch(3, n_channels, n_times), progress=0.0)
    loss.backward()
    assert loss.isfinite()
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("n_channels", [1, 18, 20])
def test_published_refuses_other_numbers_of_channels_and_says_what_to_use(n_channels):
    message = f"segments of 19 channels.* got {n_channels}; use layout='channelwise'"
    with pytest.raises(ValueError, match=message):
        objective("published")(batch(1, n_channels, 600), progress=0.0)


def test_expert_sees_the_masked_signal_and_is_compared_with_the_clean_one():
    pretraining, segments = lively(), batch(2, 3, 1200)
    seen = []
    stages = pretraining.network.encoder.stages
    pretraining.network.encoder.stages = lambda x, positions, locations: (
        seen.append((x, positions)), stages(x, positions, locations=locations)
    )[1]  # fmt: skip
    loss, terms = pretraining(segments, progress=0.0)
    ((x, positions),) = seen
    masked = pretraining.mask(segments.x, segments.seeds).signal
    assert torch.equal(x, masked)
    assert torch.equal(positions, segments.positions)
    assert terms["masked_mse"].item() == pytest.approx((masked - segments.x).square().mean().item())
    output = pretraining.network(masked, segments.positions, locations=segments.locations)
    expected, _ = reconstruction_loss(output, segments.x)
    torch.testing.assert_close(loss, expected)


def test_auxiliary_heads_stand_for_the_padded_signal():
    pretraining, segments = lively(), batch(2, 3, 1000)
    _, terms = pretraining(segments, progress=0.0)
    output = pretraining.network(pretraining.mask(segments.x, segments.seeds).signal, segments.positions)
    padded = F.pad(segments.x, (0, 80))
    assert output.aux_up1.shape[-1] == 1080 // 60
    _, expected = reconstruction_loss(output, segments.x, padded=padded)
    torch.testing.assert_close(terms["aux_up1"], expected["aux_up1"])
    _, stretched = reconstruction_loss(output, segments.x)
    assert abs(stretched["aux_up1"] / expected["aux_up1"] - 1) > 0.01


def test_masks_of_the_objective_come_from_seeds_and_places():
    segments = batch(2, 6, 1200)._replace(locations=noise(6, 3))
    pretraining = lively(mask=GaussianStftMask(scope="local", group_size=2))
    others = {
        "again": segments,
        "other places": segments._replace(locations=noise(6, 3).flip(0)),
        "other seeds": segments._replace(seeds=segments.seeds + 100),
    }
    with torch.no_grad():
        (loss, terms), *found = (pretraining(each, progress=0.0) for each in (segments, *others.values()))
    same = [(terms["masked_mse"] == other["masked_mse"]).item() for _, other in found]
    assert same == [True, False, False]
    assert [(loss == other).item() for other, _ in found] == [True, False, False]


def test_evaluation_is_deterministic_and_training_has_dropout():
    pretraining, segments = objective(dropout=0.2), batch(2, 3, 600)
    with torch.no_grad():
        training = [pretraining(segments, progress=0.0)[0] for _ in range(2)]
        pretraining.eval()
        evaluation = [pretraining(segments, progress=0.0)[0] for _ in range(2)]
    assert training[0] != training[1]
    assert evaluation[0] == evaluation[1]


def test_loss_in_evaluation_is_a_mean_over_segments():
    pretraining, segments = lively(), batch(3, 2, 600)
    with torch.no_grad():
        together, _ = pretraining(segments, progress=0.0)
        alone = []
        for i in range(3):
            fields = {name: getattr(segments, name)[i : i + 1] for name in ("x", "positions", "seeds")}
            alone.append(pretraining(segments._replace(**fields), progress=0.0)[0])
    torch.testing.assert_close(together, torch.stack(alone).mean())


@pytest.mark.parametrize("layout", ["channelwise", "published"])
def test_every_parameter_gets_a_gradient(layout):
    pretraining = objective(layout)
    loss, _ = pretraining(located(batch(2, 19 if layout == "published" else 3, 600)), progress=0.0)
    loss.backward()
    without = [name for name, p in pretraining.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in pretraining.parameters())


def test_state_holds_the_network_and_nothing_else():
    pretraining = objective()
    assert {name.removeprefix("network.") for name in pretraining.state_dict()} == set(pretraining.network.state_dict())


def test_expert_learns_to_rebuild_what_was_hidden():
    pretraining, segments = objective(dropout=0.0), batch(4, 2, 600)
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=3e-3)
    losses = []
    for _ in range(50):
        loss, terms = pretraining(segments, progress=0.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5
    assert terms["mse"] / 2 < 0.9 * terms["masked_mse"]


def test_autocast_to_bfloat16_gives_finite_float32_losses_close_to_those_without():
    pretraining, segments = objective(dropout=0.0), batch(2, 3, 600)
    expected, _ = pretraining(segments, progress=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, terms = pretraining(segments, progress=0.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    assert all(p.grad.isfinite().all() for p in pretraining.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spectral_weight": -1}, "spectral_weight must be >= 0"),
        ({"aux_weights": (0.1,)}, "aux_weights must be two numbers"),
        ({"aux_weights": (0.1, -0.1)}, r"aux_weights\[1\] must be >= 0"),
    ],
)
def test_impossible_weights_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        objective(**options)


def test_auxiliary_signals_of_other_channels_are_refused():
    output = Reconstruction(*(noise(2, n, 600) for n in (3, 3, 19, 19)))
    with pytest.raises(ValueError, match="same segments and channels"):
        reconstruction_loss(output, noise(2, 3, 600))


def test_with_relative_amplitudes_a_quiet_segment_counts_as_much_as_a_loud_one():
    data = batch(3, 2, 1200)
    quiet = data._replace(x=data.x * torch.tensor([1.0, 0.01, 5.0])[:, None, None])
    relative, absolute = (objective(amplitude=amplitude).eval() for amplitude in ("relative", "absolute"))
    with torch.no_grad():
        torch.testing.assert_close(relative(quiet, progress=0.0)[0], relative(data, progress=0.0)[0])
        assert absolute(quiet, progress=0.0)[0] > 2 * absolute(data, progress=0.0)[0]


# Envelopes


def said(clean: torch.Tensor, offset: float = 0.0) -> torch.Tensor:
    """The true log envelope of both branches, or one off by so much."""
    envelope = log_envelope(stft(clean, n_fft=400, hop=200))
    return torch.stack([envelope, envelope], 2) + offset


def test_the_true_envelope_has_no_error_and_any_other_the_square_of_what_it_is_off():
    clean, kept = noise(2, 3, 1200), torch.ones(2, 1, 201, 7)
    assert envelope_error(said(clean), clean, kept) == 0
    torch.testing.assert_close(envelope_error(said(clean, 0.5), clean, kept), torch.tensor(0.25))


def test_frames_of_padding_do_not_count_in_envelopes():
    clean, kept = noise(2, 3, 1200), torch.ones(2, 1, 201, 5)
    envelope = said(clean)
    envelope[..., 5:] += 3
    assert envelope_error(envelope, clean, kept) == 0


def test_frequencies_beyond_60_hertz_do_not_count_in_envelopes():
    clean, kept = noise(2, 3, 1200), torch.ones(2, 1, 201, 7)
    envelope = said(clean)
    envelope[..., 120:, :] += 3
    assert envelope_error(envelope, clean, kept) == 0


def test_masked_bins_may_count_more():
    clean, kept = noise(1, 1, 1200), torch.ones(1, 1, 201, 7)
    kept[..., :100, :] = 0.0
    envelope = said(clean)
    envelope[..., :100, :] += 1.0  # wrong where nothing was left
    share = 100 / 120  # of the frequencies up to 60 Hz
    for weight in (0.0, 1.0, 3.0):
        expected = (1 + weight) * share / (1 + weight * share)
        assert envelope_error(envelope, clean, kept, weight).item() == pytest.approx(expected, rel=1e-5)


def test_the_error_of_a_batch_is_the_mean_of_those_of_its_segments():
    clean = noise(3, 2, 1200)
    _, kept = GaussianStftMask()(clean, torch.arange(3))
    envelope = said(clean) + noise(3, 2, 2, 201, 7)
    alone = [envelope_error(envelope[i : i + 1], clean[i : i + 1], kept[i : i + 1], 2.0) for i in range(3)]
    torch.testing.assert_close(envelope_error(envelope, clean, kept, 2.0), torch.stack(alone).mean())


# Two views


def test_terms_of_two_views_are_named_and_add_up():
    pretraining = of_two_views()
    loss, terms = pretraining(located(batch(2, 3, 1200)), progress=0.0)
    assert set(terms) == {"mse", "spectral", "envelope", "spectrum", "pairs", "masked_mse"}
    assert not any(term.requires_grad for term in terms.values())
    parts = sum(term.item() for name, term in terms.items() if name != "masked_mse")
    assert loss.item() == pytest.approx(parts, rel=1e-5)


WITHOUT = {"amplitude": "absolute", "masked_norms": False}


@pytest.mark.parametrize("two_views", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "envelope"},
        {"decoder": "envelope", "told_mask": True, "n_mixtures": 0},
        {"decoder": "gains", "told_mask": True},
        {"decoder": "gains", "bypass": False},
        {"decoder": "signal", "bypass": False, "amplitude": "absolute"},
        {"decoder": "signal"},
    ],
)
def test_every_parameter_gets_a_gradient_whatever_the_decoder(options, two_views):
    pretraining = of_two_views(**options) if two_views else objective(**(WITHOUT | options))
    loss, _ = pretraining(located(batch(2, 3, 720)), progress=0.0)
    loss.backward()
    without = [name for name, p in pretraining.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in pretraining.parameters())


def test_the_clean_view_is_what_the_features_are_read_from():
    pretraining, segments = of_two_views().eval(), located(batch(2, 3, 1200))
    with torch.no_grad():
        _, terms = pretraining(segments, progress=0.0)
        made = pretraining.network.encoder.stages(segments.x, locations=segments.locations)
        expected = pretraining.feature_loss(made.embedding, segments.x)
    for name in ("spectrum", "pairs"):
        torch.testing.assert_close(terms[name], expected[name])


def test_each_view_moves_its_own_statistics_by_one_pass():
    pretraining = of_two_views()
    pretraining(located(batch(2, 3, 720)), progress=0.0)
    counts = {
        name: counter.item()
        for name, counter in pretraining.network.encoder.named_buffers()
        if name.endswith("num_batches_tracked")
    }
    assert {name.split(".")[-2] for name in counts} == {"norm", "masked_norm"}
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("n_times", "share", "n_clean"), [(1200, 0.5, 600), (1201, 0.5, 601), (720, 0.25, 400), (300, 0.5, 300)]
)
def test_the_clean_view_is_the_beginning_of_every_segment(n_times, share, n_clean):
    segments, seen = located(batch(3, 2, n_times)), []
    pretraining = of_two_views(clean_share=share)
    pretraining.feature_loss.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    pretraining(segments, progress=0.0)
    assert torch.equal(seen[0], segments.x[..., :n_clean])


def test_targets_are_whitened_by_the_statistics_of_what_is_compared_with_them():
    pretraining, expected = of_two_views(clean_share=0.5), FeatureLoss()
    signals = [batch(3, 2, 1600).x, batch(4, 2, 1600).x]
    pretraining.learn(signals)
    expected.learn(x[..., :800] for x in signals)
    for name in ("spectrum_target", "pair_target"):
        assert torch.equal(getattr(pretraining.feature_loss, name).whitener, getattr(expected, name).whitener)


def test_without_its_terms_a_feature_loss_changes_nothing_else():
    plain, with_features = objective(**PAPER).eval(), objective(**PAPER, feature_loss=FeatureLoss()).eval()
    segments = batch(2, 3, 720)
    with torch.no_grad():
        _, expected = plain(segments, progress=0.0)
        _, terms = with_features(segments, progress=0.0)
    assert {name: terms[name] for name in expected} == expected


@pytest.mark.parametrize(("n_channels", "n_times"), [(1, 1200), (3, 500), (7, 360), (2, 90), (1, 1)])
def test_two_views_of_any_number_of_channels_and_any_length(n_channels, n_times):
    loss, terms = of_two_views()(batch(3, n_channels, n_times), progress=0.0)
    loss.backward()
    assert loss.isfinite()
    assert all(term.isfinite() for term in terms.values())
    assert (terms["pairs"] == 0) == (n_channels == 1)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_segments_have_finite_losses_and_gradients(level):
    pretraining, segments = of_two_views(), batch(2, 2, 720)
    segments.x[0] = level
    segments.x[1, 0] = level
    loss, _ = pretraining(segments, progress=0.0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in pretraining.parameters())


def test_two_views_learn_to_rebuild_and_to_say_what_is_true():
    pretraining, segments = of_two_views(), located(batch(4, 2, 1200))
    optimizer = torch.optim.AdamW(pretraining.parameters(), lr=3e-3)
    history = []
    for _ in range(40):
        loss, terms = pretraining(segments, progress=0.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.parameters(), 5.0)
        optimizer.step()
        history.append(terms)
    for name in ("spectrum", "pairs", "envelope"):
        assert history[-1][name] < history[0][name] / 2, name
    assert terms["mse"] / 2 < terms["masked_mse"]


def test_two_views_in_bfloat16_are_close_to_those_without():
    pretraining, segments = of_two_views(), located(batch(2, 3, 720))
    expected, _ = pretraining(segments, progress=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, terms = pretraining(segments, progress=0.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in terms.values())
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


def test_statistics_of_the_targets_are_part_of_the_state():
    learnt, fresh = of_two_views(), of_two_views(learnt=False)
    name = "feature_loss.pair_target.whitener"
    assert not torch.equal(learnt.state_dict()[name], fresh.state_dict()[name])
    fresh.load_state_dict(learnt.state_dict())
    segments = located(batch(2, 3, 720))
    with torch.no_grad():
        assert learnt.eval()(segments, progress=0.0)[0] == fresh.eval()(segments, progress=0.0)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"envelope_weight": -1}, "envelope_weight must be >= 0"),
        ({"masked_weight": -1}, "masked_weight must be >= 0"),
        ({"clean_share": 0}, "clean_share must be > 0"),
        ({"clean_share": 1.5}, "clean_share must be .* <= 1"),
        (
            {"masked_norms": True},
            "masked_norms=True learns .* give a feature_loss, or a network with masked_norms=False",
        ),
    ],
)
def test_what_two_views_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        objective(**options)


def test_the_published_layout_has_one_view():
    with pytest.raises(ValueError, match="A feature loss needs layout='channelwise'"):
        objective("published", feature_loss=FeatureLoss())
