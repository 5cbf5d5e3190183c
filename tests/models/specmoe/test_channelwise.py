"""The channelwise layout, second edition: places, padding, positions, decoders, two sets of normalisations."""

import math

import pytest
import torch
from lively_experts import distance, eeg, lively, parts, places
from torch import nn

from mne_specmoe.models.specmoe import stages
from mne_specmoe.models.specmoe.channelwise import n_tokens
from mne_specmoe.models.specmoe.masking import GaussianStftMask
from mne_specmoe.models.specmoe.network import SpecHiNet, SpecHiNetEncoder
from mne_specmoe.nn.layers import ConvNormAct, seeing_masked

DECODERS = ["envelope", "gains", "signal"]
ORDER = torch.tensor([3, 0, 4, 1, 2])

# Channels and places


@torch.no_grad()
def test_channels_and_places_permuted_together_permute_embeddings():
    encoder, x, where = lively().encoder, eeg(2, 5, 480), places(5)
    embedding = encoder.per_channel(encoder(x, locations=where), 5)
    permuted = encoder.per_channel(encoder(x[:, ORDER], locations=where[ORDER]), 5)
    assert distance(permuted, embedding[:, ORDER]) < 1e-4
    assert distance(permuted, embedding) > 1e-1


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_channels_and_places_permuted_together_permute_reconstructions(decoder):
    expert, x, where = lively(decoder=decoder), eeg(1, 5, 480), places(5)
    pairs = zip(parts(expert(x[:, ORDER], locations=where[ORDER])), parts(expert(x, locations=where)), strict=True)
    for permuted, output in pairs:
        assert distance(permuted, output[:, ORDER]) < 1e-4
        assert distance(permuted, output) > 1e-3


@pytest.mark.parametrize("n_mixtures", [0, 2])
@torch.no_grad()
def test_places_permuted_alone_change_embeddings(n_mixtures):
    encoder, x, where = lively(n_mixtures=n_mixtures).encoder, eeg(2, 5, 480), places(5)
    assert distance(encoder(x, locations=where[ORDER]), encoder(x, locations=where)) > 1e-3


@torch.no_grad()
def test_a_place_of_which_a_coordinate_is_missing_is_unknown():
    encoder, x, where = lively().encoder, eeg(2, 3, 480), places(3)
    unknown = torch.full((3, 3), torch.nan)
    assert torch.equal(encoder(x), encoder(x, locations=unknown))
    for bad in (torch.nan, torch.inf):
        some = where.clone()
        some[1, 2] = bad
        none = where.clone()
        none[1] = torch.nan
        assert torch.equal(encoder(x, locations=some), encoder(x, locations=none))
        assert distance(encoder(x, locations=some), encoder(x, locations=where)) > 1e-4
    assert encoder(x, locations=some).isfinite().all()


@torch.no_grad()
def test_channels_of_unknown_place_are_told_apart_by_their_signals_only():
    encoder, x = lively().encoder, eeg(2, 5, 480)
    embedding = encoder.per_channel(encoder(x), 5)
    assert distance(encoder.per_channel(encoder(x[:, ORDER]), 5), embedding[:, ORDER]) < 1e-4


@torch.no_grad()
def test_two_channels_at_one_place_with_one_signal_are_the_same():
    encoder, x, where = lively().encoder, eeg(2, 3, 480), places(3)
    x[:, 2], where[2] = x[:, 1], where[1]
    embedding = encoder.per_channel(encoder(x, locations=where), 3)
    assert embedding.isfinite().all()
    assert distance(embedding[:, 1], embedding[:, 2]) < 1e-5
    assert distance(embedding[:, 0], embedding[:, 2]) > 1e-1


@torch.no_grad()
def test_the_only_channel_has_no_other_to_relate_its_place_to():
    expert, x = lively(), eeg(2, 1, 480)
    for where in (places(1), places(2)[:1]):
        assert distance(expert.encode(x, locations=where), expert.encode(x)) < 1e-5
        assert all(part.isfinite().all() for part in parts(expert(x, locations=where)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@torch.no_grad()
def test_places_may_be_of_another_type_than_the_network(dtype):
    encoder, x, where = lively().encoder, eeg(2, 3, 480), places(3).half()
    assert torch.equal(encoder(x, locations=where.to(dtype)), encoder(x, locations=where.float()))


def reached(encoder: SpecHiNetEncoder, stage: str, struck: int) -> set[int]:
    """Channels of which a stage changes with the signal of one channel."""
    x = eeg(1, 4, 480)
    other = x.clone()
    other[0, struck, 200] += 3.0
    found = (encoder.activations(each, locations=places(4))[stage] for each in (x, other))
    changed = next(found) - next(found)
    return {channel for channel in range(4) if changed[0, channel].abs().max() > 0}


@torch.no_grad()
def test_without_mixtures_a_channel_sees_no_other_before_attention():
    encoder = lively(n_mixtures=0, amplitude="absolute").encoder
    assert reached(encoder, "down1", 1) == reached(encoder, "down2", 1) == {1}
    assert reached(encoder, "attention1", 1) == {0, 1, 2, 3}


@torch.no_grad()
def test_with_mixtures_first_convolutions_see_all_channels():
    assert reached(lively(amplitude="absolute").encoder, "down1", 1) == {0, 1, 2, 3}


# Frequencies


def tone(frequency: float) -> torch.Tensor:
    """A sine of six seconds."""
    return torch.sin(2 * torch.pi * frequency * torch.arange(1200) / 200)[None, None]


def powers(convolution: nn.Conv1d, frequency: float) -> torch.Tensor:
    """Power of every filter's output, away from the edges."""
    return convolution(tone(frequency))[0, :, 100:300].square().mean(-1)


@pytest.mark.parametrize("pair", [(10, 40), (4, 46), (20, 30)])
@torch.no_grad()
def test_the_first_long_kernel_tells_a_frequency_from_its_mirror_image(pair):
    torch.manual_seed(0)
    convolution = stages.first_long(1, 0.0)[0].conv
    low, high = (powers(convolution, frequency) for frequency in pair)
    assert ((low / high).log().abs() > 0.5).float().mean() > 0.5


@torch.no_grad()
def test_to_the_published_one_they_are_the_same():
    torch.manual_seed(0)
    convolution = stages.down1(0.0).long[0].conv
    torch.testing.assert_close(powers(convolution, 10), powers(convolution, 40), rtol=1e-2, atol=0)


@torch.no_grad()
def test_the_long_branch_tells_10_from_40_hertz():
    encoder = lively(n_mixtures=0).encoder
    ten, forty = (encoder.stages(tone(frequency)).down1[0, 0, 1] for frequency in (10, 40))
    assert (ten - forty).mean(-1).norm() > 0.3 * ten.mean(-1).norm()


# Padding and positions


@pytest.mark.parametrize("n_times", [1, 59, 60, 61, 100, 119, 120, 500, 1000, 1020, 1050, 1080])
@torch.no_grad()
def test_padding_never_reaches_attention_the_bottom_or_the_embedding(n_times):
    encoder, x = lively().encoder, eeg(2, 3, n_times)
    expected, seen = encoder(x), []
    fine, coarse = n_tokens(n_times, 60), n_tokens(n_times, 120)
    assert 60 * fine - n_times <= 60 * (n_times < 60) + 30
    assert 120 * coarse - n_times <= 120 * (n_times < 120) + 60

    def poison(n_real: int):
        def hook(_, args: tuple, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[..., n_real:] = torch.nan
            return output

        return hook

    for name, n_real in (("down2", fine), ("down3", coarse)):
        stage = getattr(encoder, name)
        stage.short.register_forward_hook(poison(n_real))
        stage.long.register_forward_hook(poison(n_real))
    for block in (encoder.attention1, encoder.attention2):
        block.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    assert torch.equal(encoder(x), expected)
    assert seen == [(2, 3, 2 * fine, 64), (2, 3, 2 * coarse, 128)]


@torch.no_grad()
def test_an_envelope_is_where_its_token_is_though_the_last_tokens_are_padding():
    expert = lively(amplitude="absolute", told_mask=False)
    x = eeg(1, 1, 4010)  # padded to 4080: 34 tokens, 33 of them real
    made = expert.encoder.stages(x)
    padded, _ = expert.encoder.pad(x)
    assert made.embedding.shape[-1] == 33
    other = made.embedding.clone()
    other[..., 32] += 1.0  # around 32.5 * 120 = 3900 samples, halfway between frames 19 and 20
    changed = expert.decoder(made, padded).envelope - expert.decoder(made._replace(embedding=other), padded).envelope
    changed = changed.abs().amax((0, 1, 2, 3))
    assert changed[19:21].min() > 1e-3
    assert changed[:19].max() == 0


@torch.no_grad()
def test_tokens_are_equally_dense_in_short_epochs_and_in_the_segments_of_pretraining():
    encoder = lively().encoder
    found = {}
    for n_times in (160, 800, 6000):
        seen = []
        hooks = [
            block.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[1]))
            for block in (encoder.attention1, encoder.attention2)
        ]
        encoder(eeg(1, 1, n_times))
        for hook in hooks:
            hook.remove()
        found[n_times] = [seconds.unflatten(0, (2, -1)) for seconds in seen]
    for n_times, (fine, coarse) in found.items():
        for seconds, step in ((fine, 0.3), (coarse, 0.6)):
            assert torch.equal(seconds[0], seconds[1])  # both branches
            expected = (torch.arange(seconds.shape[1]) + 0.5) * step
            torch.testing.assert_close(seconds[0], expected)
        assert len(fine[0]) == n_tokens(n_times, 60)


# Decoders


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_without_a_bypass_a_decoder_sees_the_embedding_alone(decoder):
    x, where = eeg(1, 3, 480), places(3)
    for bypass in (True, False):
        expert = lively(decoder=decoder, bypass=bypass, amplitude="absolute")
        made = expert.encoder.stages(x, locations=where)
        early = {name: torch.randn_like(getattr(made, name)) for name in ("down1", "down2", "attention1", "down3")}
        outputs = [expert.decoder(each, x, locations=where) for each in (made, made._replace(**early))]
        same = [torch.equal(a, b) for a, b in zip(*map(parts, outputs), strict=True)]
        assert same == [not bypass] * len(same)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_every_decoder_depends_on_the_embedding(decoder):
    expert, x = lively(decoder=decoder, amplitude="absolute"), eeg(1, 3, 480)
    made = expert.encoder.stages(x)
    other = made._replace(embedding=-made.embedding)
    for a, b in zip(parts(expert.decoder(made, x)), parts(expert.decoder(other, x)), strict=True):
        assert distance(a, b) > 1e-4


@torch.no_grad()
def test_an_envelope_is_read_off_the_stages_and_told_of_a_mask_gets_the_level_of_the_signal():
    for told in (False, True):
        expert, x = lively(amplitude="absolute", told_mask=told), eeg(1, 3, 480)
        made = expert.encoder.stages(x)
        loud, quiet = expert.decoder(made, x), expert.decoder(made, 0.5 * x)
        level = math.log(2) if told else 0.0
        torch.testing.assert_close(loud.envelope, quiet.envelope + level, rtol=0, atol=0.01)
        assert distance(loud.short, quiet.short) > 1e-3


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_only_a_decoder_that_is_told_the_mask_depends_on_it(decoder):
    x = eeg(2, 3, 1000)
    masked, kept = GaussianStftMask(scope="local", group_size=1)(x, torch.arange(2))
    for told in (True, False):
        expert = lively(decoder=decoder, told_mask=told)
        outputs = [parts(expert(masked, kept=each)) for each in (None, torch.ones_like(kept), kept, kept[:, :1])]
        assert all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[1], strict=True))
        same = [torch.equal(a, b) for a, b in zip(outputs[0], outputs[2], strict=True)]
        assert same == [not told] * len(same)
        assert torch.equal(outputs[2][0], outputs[3][0]) == (not told)


@torch.no_grad()
def test_what_a_mask_kept_is_told_where_it_was():
    """Elsewhere a decoder of envelopes may change its level, which is one number per segment."""
    expert, x = lively(told_mask=True, amplitude="absolute"), eeg(1, 1, 6000)
    kept = torch.ones(1, 1, 201, 31)
    kept[..., 15] = 0.01  # around 15 s
    changed = (expert(x).short - expert(x, kept=kept).short).abs()[0, 0]
    elsewhere = torch.cat([changed[:2600], changed[3400:]])
    assert changed[2900:3100].max() > 20 * elsewhere.max()


# Amplitudes


@torch.no_grad()
def test_relative_embeddings_do_not_depend_on_the_gain_of_a_segment():
    x, gains = eeg(2, 3, 720), torch.tensor([0.1, 7.0])[:, None, None]
    torch.testing.assert_close(lively().encode(gains * x), lively().encode(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_absolute_embeddings_do():
    x, expert = eeg(2, 3, 720), lively(amplitude="absolute")
    assert distance(expert.encode(7 * x), expert.encode(x)) > 0.01


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_what_a_relative_expert_rebuilds_has_the_gain_of_its_input(decoder):
    x, expert = eeg(1, 3, 720), lively(decoder=decoder)
    loud, soft = expert(7 * x), expert(x)
    for name in ("short", "long", "aux_up1", "aux_up2"):
        if getattr(soft, name) is not None:
            torch.testing.assert_close(getattr(loud, name), 7 * getattr(soft, name), rtol=1e-3, atol=1e-3)
    if decoder == "envelope":
        gain = torch.tensor(7.0).log()
        torch.testing.assert_close(loud.envelope, soft.envelope + gain, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_relative_amplitudes_between_channels_stay():
    x, expert = eeg(1, 2, 720), lively()
    louder = x * torch.tensor([1.0, 3.0])[:, None]
    assert distance(expert.encode(louder), expert.encode(x)) > 1e-3


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_flat_segment_is_finite_and_so_are_its_gradients(decoder):
    expert, x = lively(decoder=decoder), torch.zeros(1, 2, 720, requires_grad=True)
    output = parts(expert(x))
    assert all(part.isfinite().all() for part in output)
    sum(part.square().mean() for part in output).backward()
    assert x.grad.isfinite().all()


# Two sets of normalisations


def statistics(encoder: SpecHiNetEncoder) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in encoder.named_buffers() if "norm" in name}


def moved(before: dict[str, torch.Tensor], encoder: SpecHiNetEncoder) -> set[str]:
    """Kinds of normalisation whose statistics have changed."""
    after = statistics(encoder)
    return {name.split(".")[-2] for name in after if not torch.equal(after[name], before[name])}


@torch.no_grad()
def test_masked_and_clean_passes_leave_each_others_statistics_alone():
    expert, x = lively().train(), eeg(2, 3, 480)
    before = statistics(expert.encoder)
    expert(x)
    assert moved(before, expert.encoder) == {"masked_norm"}
    before = statistics(expert.encoder)
    expert.encode(x)
    assert moved(before, expert.encoder) == {"norm"}


@torch.no_grad()
def test_without_masked_norms_both_passes_share_them():
    expert, x = lively(masked_norms=False).train(), eeg(2, 3, 480)
    assert not any("masked_norm" in name for name in expert.state_dict())
    for run in (expert, expert.encode):
        before = statistics(expert.encoder)
        run(x)
        assert moved(before, expert.encoder) == {"norm"}


@torch.no_grad()
def test_in_evaluation_each_view_has_its_own_statistics():
    expert, x = lively(), eeg(2, 3, 480)
    clean, rebuilt = expert.encode(x), expert(x).short
    for norm in [m.masked_norm for m in expert.encoder.modules() if isinstance(m, ConvNormAct)]:
        norm.running_mean += 0.5
    assert torch.equal(expert.encode(x), clean)
    assert distance(expert(x).short, rebuilt) > 1e-4
    with seeing_masked(expert.encoder):
        assert distance(expert.encode(x), clean) > 1e-2
    assert torch.equal(expert.encode(x), clean)


def test_every_batch_normalisation_of_the_encoder_has_a_masked_one():
    encoder = SpecHiNet().encoder
    norms = [name for name, module in encoder.named_modules() if isinstance(module, nn.BatchNorm1d)]
    assert sum(name.endswith(".norm") for name in norms) == sum(name.endswith("masked_norm") for name in norms) > 10
    assert not any("masked_norm" in name for name, _ in SpecHiNet(decoder="signal").decoder.named_modules())
