import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mne_specmoe.nn import attention
from mne_specmoe.nn.attention import query_normalised_attention, rotary_factors, rotate

FORMS = ["blocked", "fused"]


def oracle(query, key, value):
    """Plain attention over a stored map: diagonal scores 0, softmax over the queries."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    diagonal = torch.eye(query.shape[-2], dtype=torch.bool)
    return scores.masked_fill(diagonal, 0.0).softmax(-2) @ value


def inputs(*shape, scale=1.0, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, *shape, generator=generator).to(dtype)
    return query * scale, key * scale, value


def sharp_inputs(n_tokens=64, dim=16, score=16.0, sharp_heads=(1,), n_heads=3):
    """Heads in which every third column holds hardly anything but its own, zeroed, score."""
    query, key, value = inputs(n_heads, n_tokens, dim, scale=0.1)
    for head in sharp_heads:
        own = torch.nn.functional.normalize(inputs(n_tokens, dim, seed=1 + head)[0], dim=-1)
        length = math.sqrt(score * math.sqrt(dim))
        query[head, ::3] = key[head, ::3] = length * own[::3]
    return query, key, value


def values_and_gradients(function, tensors, dtype=torch.float64):
    """Output and the gradients of a weighted sum of it, all in float64."""
    leaves = [t.detach().to(dtype).clone().requires_grad_() for t in tensors]
    output = function(*leaves)
    weights = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).view(output.shape)
    (output.double() * weights).sum().backward()
    return [output.detach().double(), *(leaf.grad.double() for leaf in leaves)]


def errors(tensors, form, dtype=torch.float32):
    """Largest errors of the output and the three gradients, relative to the oracle's largest number."""
    expected = values_and_gradients(oracle, tensors)
    actual = values_and_gradients(lambda *qkv: query_normalised_attention(*qkv, form=form), tensors, dtype)
    return [((a - e).abs().max() / e.abs().max()).item() for a, e in zip(actual, expected, strict=True)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(1, 4), (2, 7, 6), (2, 3, 150, 8)])
def test_values_and_gradients_are_those_of_plain_attention(form, scale, shape):
    assert max(errors(inputs(*shape, scale=scale), form)) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_are_exact_in_double_precision(form):
    assert max(errors(inputs(2, 60, 8), form, torch.float64)) < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences(form):
    tensors = [t.requires_grad_() for t in inputs(2, 6, 4, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *qkv: query_normalised_attention(*qkv, form=form), tensors)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences_where_heads_fall_back(form):
    tensors = sharp_inputs(n_tokens=6, dim=4, score=5.0, n_heads=2)
    tensors = [t.double().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(lambda *qkv: query_normalised_attention(*qkv, form=form), tensors)


def test_the_test_distinguishes_the_two_axes_of_the_softmax():
    query, key, value = inputs(1, 9, 4)
    over_keys = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert (oracle(query, key, value) - over_keys).abs().max() > 0.05


@pytest.mark.parametrize("budget", [1, 700, 3000])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_many_tiles_give_what_one_tile_gives(monkeypatch, budget, scale):
    tensors = inputs(5, 37, 8, scale=scale)
    whole = values_and_gradients(query_normalised_attention, tensors, torch.float32)
    monkeypatch.setitem(attention._TILE_ELEMENTS, "cpu", budget)
    assert len(list(attention._tiles([], tensors))) > 1
    tiled = values_and_gradients(query_normalised_attention, tensors, torch.float32)
    for actual, expected in zip(tiled, whole, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=2e-5 * expected.abs().max().item())


def test_tiles_cover_every_column_of_every_head_once(monkeypatch):
    monkeypatch.setitem(attention._TILE_ELEMENTS, "cpu", 1500)
    covered = torch.zeros(7, 45)
    own = torch.arange(7)
    for column, (heads,), (part,) in attention._tiles([own], [covered]):
        assert torch.equal(part, covered[heads, column : column + part.shape[1]])
        part += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("budget", [1500, 2**20])
def test_scores_too_large_for_exp_are_shifted(monkeypatch, form, budget):
    monkeypatch.setitem(attention._TILE_ELEMENTS, "cpu", budget)
    tensors = inputs(3, 40, 8, scale=9.0)
    scores = tensors[0] @ tensors[1].transpose(1, 2) / math.sqrt(8)
    assert scores.max().exp().isinf()  # what the shift is for
    assert max(errors(tensors, form)) < 1e-4  # scores of hundreds are themselves rounded by 1e-5


def test_shifting_changes_nothing_where_it_is_not_needed(monkeypatch):
    tensors = inputs(2, 30, 8)
    plain = values_and_gradients(query_normalised_attention, tensors)
    monkeypatch.setattr(attention, "_SAFE_EXPONENT", 0.0)
    shifted = values_and_gradients(query_normalised_attention, tensors)
    for actual, expected in zip(shifted, plain, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", [5.0, 10.0, 16.0, 30.0, 70.0, 120.0])
def test_columns_that_their_diagonal_dominates_are_exact(form, score):
    tensors = sharp_inputs(score=score)
    assert max(errors(tensors, form)) < 1e-4


def test_without_its_guard_the_fused_form_would_be_wrong(monkeypatch):
    monkeypatch.setattr(attention, "_MAX_AMPLIFICATION", math.inf)
    value_error, *gradient_errors = errors(sharp_inputs(score=14.0), "fused")
    assert value_error > 1e-3
    assert max(gradient_errors) > 1e-3


def test_only_heads_with_sharp_columns_fall_back(monkeypatch):
    computed = []
    blocked = attention._blocked_forward

    def spy(query, key, value):
        computed.append(query.clone())
        return blocked(query, key, value)

    monkeypatch.setattr(attention, "_blocked_forward", spy)
    query, key, value = sharp_inputs(sharp_heads=(0, 2), n_heads=4)
    query_normalised_attention(query, key, value, form="fused")
    (fallen,) = computed
    torch.testing.assert_close(fallen, query[[0, 2]] / 4)
    computed.clear()
    query_normalised_attention(*inputs(4, 64, 16), form="fused")
    assert not computed


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(form, dtype):
    tensors = inputs(2, 200, 8, dtype=dtype)
    output = query_normalised_attention(*tensors, form=form)
    assert output.dtype == dtype
    exact = oracle(*(t.double() for t in tensors))
    rounding = (exact.to(dtype).double() - exact).abs().max()
    assert (output.double() - exact).abs().max() <= 1.5 * rounding
    leaves = [t.requires_grad_() for t in tensors]
    query_normalised_attention(*leaves, form=form).float().sum().backward()
    assert {leaf.grad.dtype for leaf in leaves} == {dtype}


def test_inputs_need_not_be_contiguous():
    whole = torch.randn(2, 3, 20, 4, 8)
    views = [t.transpose(1, 2) for t in whole.transpose(0, 1)]  # (2, 4, 20, 8)
    expected = query_normalised_attention(*(v.contiguous() for v in views))
    torch.testing.assert_close(query_normalised_attention(*views), expected, rtol=0, atol=0)


def test_auto_is_the_blocked_form():
    tensors = inputs(2, 30, 8)
    assert torch.equal(query_normalised_attention(*tensors), query_normalised_attention(*tensors, form="blocked"))


def test_an_unknown_form_is_refused_with_a_list_of_the_known_ones():
    with pytest.raises(ValueError, match="form='flash'.*'auto', 'blocked', 'fused'"):
        query_normalised_attention(*inputs(1, 3, 4), form="flash")


def test_the_fused_form_is_refused_away_from_the_cpu():
    tensors = [t.to("meta") for t in inputs(1, 3, 4)]
    with pytest.raises(ValueError, match="CPU only.*meta"):
        query_normalised_attention(*tensors, form="fused")


@pytest.mark.parametrize("which", [0, 1, 2])
def test_different_shapes_are_refused(which):
    tensors = list(inputs(1, 5, 4))
    tensors[which] = tensors[which][:, :3]
    with pytest.raises(ValueError, match=r"one shape, got .*\(1, 3, 4\)"):
        query_normalised_attention(*tensors)


def test_a_second_derivative_is_refused_rather_than_wrong():
    tensors = [t.requires_grad_() for t in inputs(1, 5, 4)]
    output = query_normalised_attention(*tensors)
    (gradient,) = torch.autograd.grad(output.square().sum(), tensors[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


class LargestTensor(TorchDispatchMode):
    """Remember the largest number of elements that any operation returned."""

    n_elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.n_elements = max(self.n_elements, tensor.numel())
        return result


def largest_tensor(function, tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    with LargestTensor() as largest:
        function(*leaves).sum().backward()
    return largest.n_elements


@pytest.mark.parametrize("form", FORMS)
def test_no_map_of_all_scores_is_ever_stored(form):
    n_tokens = 2048
    tensors = inputs(1, n_tokens, 8)
    largest = largest_tensor(lambda *qkv: query_normalised_attention(*qkv, form=form), tensors)
    assert largest <= n_tokens**2 // 4
    assert largest_tensor(oracle, tensors) == n_tokens**2  # the measurement sees such a map


def test_rotation_turns_adjacent_pairs_by_hand():
    positions = torch.tensor([[0.0, 0.3, -2.0, 17.25]], dtype=torch.float64)
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    expected = torch.empty_like(x)
    for token in range(4):
        for pair in range(3):
            angle = positions[0, token].item() * 10_000 ** (-2 * pair / 6)
            cos, sin = math.cos(angle), math.sin(angle)
            a, b = x[:, :, token, 2 * pair], x[:, :, token, 2 * pair + 1]
            expected[:, :, token, 2 * pair] = cos * a - sin * b
            expected[:, :, token, 2 * pair + 1] = sin * a + cos * b
    factors = rotary_factors(positions, 6)
    assert factors.shape == (1, 1, 4, 3)
    torch.testing.assert_close(rotate(x, factors), expected, rtol=1e-13, atol=1e-13)


def test_the_base_sets_the_slowest_turn():
    factors = rotary_factors(torch.tensor([[1.0]]), 4, base=100.0)
    torch.testing.assert_close(factors.angle().flatten(), torch.tensor([1.0, 0.1]))


def test_rotated_products_depend_on_the_distance_of_positions_only():
    query, key, _ = inputs(2, 3, 10, 8, dtype=torch.float64)
    positions = torch.rand(2, 10, dtype=torch.float64) * 20

    def products(shift):
        factors = rotary_factors(positions + shift, 8)
        return rotate(query, factors) @ rotate(key, factors).transpose(-1, -2)

    torch.testing.assert_close(products(123.4), products(0.0), rtol=1e-10, atol=1e-10)
    assert (products(0.0) - query @ key.transpose(-1, -2)).abs().max() > 0.1


def test_rotation_keeps_lengths_and_lifts_half_precision():
    x = torch.randn(1, 1, 5, 8, dtype=torch.bfloat16)
    rotated = rotate(x, rotary_factors(torch.arange(5.0)[None], 8))
    assert rotated.dtype == torch.float32
    torch.testing.assert_close(rotated.norm(dim=-1), x.float().norm(dim=-1))
