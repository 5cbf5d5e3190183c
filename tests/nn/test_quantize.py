"""Also a script: one of the processes that share a batch."""

import copy
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mne_specmoe.nn.quantize import GEOMETRIES, RESIDUALS, Codebook, ResidualQuantizer, VectorQuantizer, nearest_codes

GOLDEN = Path(__file__).parents[1] / "golden" / "brainrvq_public.npz"


def quantizer(**changes) -> ResidualQuantizer:
    """A small one with random codes that are the same each time."""
    options = {"n_levels": 3, "n_codes": 16, "width": 8, "decay": 0.9, "init": "random", **changes}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return ResidualQuantizer(**options)


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clusters(n: int, *, n_clusters: int = 4, width: int = 8, spread: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit centres, and vectors around them by turns."""
    centres = F.normalize(vectors(n_clusters, width, seed=1), dim=1)
    return centres, centres.repeat(n // n_clusters, 1) + spread * vectors(n, width, seed=2)


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_state(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]):
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


# The published system.


def golden_codes(level: int) -> torch.Tensor:
    """The codes that the golden data was made with, from their published name."""
    key = f"small.layers.{level}.embedding.weight"
    rows = np.random.default_rng(zlib.crc32(key.encode())).standard_normal((16, 8)).astype(np.float32)
    return F.normalize(torch.from_numpy(rows), dim=1)


def test_a_training_step_is_the_published_one():
    with np.load(GOLDEN) as archive:
        golden = {name.removeprefix("rvq_"): torch.from_numpy(archive[name]) for name in archive.files}
    module = quantizer(decay=0.9)
    for i, level in enumerate(module.levels):
        level.codebook.codes.copy_(golden_codes(i))
    z = golden["z"].clone().requires_grad_()
    result = module(z)
    ((result.quantized * golden["cot"]).sum() + result.loss).backward()
    close = {"rtol": 1e-4, "atol": 1e-6}
    assert torch.equal(result.codes.flatten(1), golden["idx"])
    torch.testing.assert_close(result.quantized, golden["q"], **close)
    torch.testing.assert_close(result.loss.double(), golden["loss"], **close)
    torch.testing.assert_close(z.grad, golden["grad_z"], **close)
    for i, level in enumerate(module.levels):
        torch.testing.assert_close(level.codebook.codes, golden[f"W_after_{i}"], **close)
        torch.testing.assert_close(level.codebook.usage, golden[f"cs_after_{i}"], **close)


# Looking up.


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that is made."""

    n_elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.n_elements = max(self.n_elements, out.numel())
        return out


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
@pytest.mark.parametrize("n_codes", [40, 512])
def test_a_search_in_blocks_finds_the_nearest_codes_and_holds_one_block(block, n_codes):
    x, codes = vectors(50, 4), vectors(n_codes, 4, seed=1)
    distances = (x.double()[:, None] - codes.double()).square().sum(-1)
    with Largest() as largest:
        numbers = nearest_codes(x, codes, block=block)
    assert torch.equal(numbers, distances.argmin(1))
    assert largest.n_elements <= max(min(block, 50) * n_codes, 4 * n_codes)
    assert torch.equal(nearest_codes(x, codes), numbers)


def test_of_equally_near_codes_the_first_is_taken():
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    x = torch.tensor([[0.0, 2.0], [0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    assert nearest_codes(x, codes).tolist() == [1, 0, 1, 3]


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("spatial", [(), (5,), (3, 5)])
def test_decoding_the_codes_gives_what_evaluation_gives(residual, spatial):
    module, h = quantizer(residual=residual).eval(), 3 * vectors(2, 8, *spatial)
    codes, result = module.encode(h), module(h)
    assert codes.shape == (3, 2, *spatial)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, result.codes)
    assert result.quantized.shape == h.shape
    assert torch.equal(module.decode(codes), result.quantized)


def test_fewer_levels_decode_to_the_sum_of_theirs():
    module, h = quantizer().eval(), vectors(2, 8, 5)
    codes = module.encode(h)
    books = [level.codebook.codes for level in module.levels]
    partial = (books[0][codes[0]] + books[1][codes[1]]).movedim(-1, 1)
    assert torch.equal(module.decode(codes[:2]), partial)


def test_tokens_are_quantised_each_by_itself():
    module, h = quantizer().eval(), vectors(2, 8, 3, 5)
    single = module.encode(h[1:, :, 2, 4])
    assert torch.equal(module.encode(h)[:, 1:, 2, 4], single)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_looking_up_changes_nothing(residual):
    module, h = quantizer(residual=residual, revive_after=1), vectors(2, 8, 5)
    module(h)
    before, generator = state_of(module), torch.get_rng_state()
    codes = module.encode(h)  # in training mode, too
    module.decode(codes)
    module.eval()
    module(h)
    assert_same_state(state_of(module), before)
    assert torch.equal(torch.get_rng_state(), generator)


def test_without_codes_there_is_an_error_that_says_what_to_do():
    module, h = quantizer(init="kmeans"), vectors(2, 8, 5)
    before = state_of(module)
    for call in (module.encode, module.eval(), lambda h: module.decode(torch.zeros_like(h[:, 0], dtype=torch.int64))):
        with pytest.raises(RuntimeError, match=r"from the first batch in training\. Call\s+train\(\)"):
            call(h)
    assert_same_state(state_of(module), before)


def test_autocast_and_half_precision_do_not_reach_the_search():
    module, h = quantizer().eval(), vectors(2, 8, 30)
    plain = module(h)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, codes = module(h), module.encode(h)
        half = module(h.bfloat16())
    assert torch.equal(cast.quantized, plain.quantized)
    assert torch.equal(cast.loss, plain.loss)
    assert torch.equal(codes, plain.codes)
    assert half.quantized.dtype == half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, module(h.bfloat16().float()).loss, rtol=0, atol=0)


# Gradients and degenerate input.


def test_plain_quantisers_pass_the_gradient_of_the_direction_once():
    module = quantizer(residual="plain").eval()
    h, weights = (4 * vectors(3, 8)).requires_grad_(), vectors(3, 8, seed=1)
    (module(h).quantized * weights).sum().backward()
    expected = h.detach().clone().requires_grad_()
    (F.normalize(expected, dim=1) * weights).sum().backward()
    torch.testing.assert_close(h.grad, expected.grad)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_the_loss_pulls_vectors_to_their_codes(residual):
    module, h = quantizer(residual=residual, beta=0.5).eval(), vectors(6, 8).requires_grad_()
    loss = module(h).loss
    (slope,) = torch.autograd.grad(loss, h)
    assert module(h - 0.1 * slope).loss < loss
    torch.testing.assert_close(quantizer(residual=residual).eval()(h).loss, 2 * loss)


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("init", ["random", "kmeans"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_input_gives_finite_numbers(residual, init, level):
    module = quantizer(residual=residual, init=init, revive_after=1)
    h = torch.full((2, 8, 5), level, requires_grad=True)
    for _ in range(3):
        result = module(h)
        (result.quantized.sum() + result.loss).backward()
    assert all(tensor.isfinite().all() for tensor in (*result, *state_of(module).values()))
    first = module.levels[0].codebook.codes
    torch.testing.assert_close(first.norm(dim=1), torch.ones(16))


def test_vectors_without_a_direction_get_no_gradient():
    level = VectorQuantizer(Codebook(4, 8, init="random"))
    h = torch.cat([torch.zeros(1, 8), vectors(1, 8)]).requires_grad_()
    result = level(h)
    (result.quantized.sum() + result.loss).backward()
    assert not h.grad[0].any()
    assert h.grad[1].any()


# How codes begin.


def test_k_means_finds_the_clusters_with_codes_of_norm_one():
    centres, x = clusters(400)
    # Ten codes for four clusters: each cluster gets at least one, since starts are drawn from all.
    with torch.random.fork_rng():
        torch.manual_seed(3)
        book = Codebook(10, 8)
        book.initialise(F.normalize(x, dim=1))
    assert book.ready
    torch.testing.assert_close(book.codes.norm(dim=1), torch.ones(10))
    assert (centres @ book.codes.T).amax(1).min() > 0.99
    assert (centres @ book.codes.T).amax(0).min() > 0.98


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_k_means_ends_where_each_code_is_the_mean_of_its_vectors(geometry):
    x = clusters(40, spread=0.01)[1]
    x = F.normalize(x, dim=1) if geometry == "unit" else 3 * x
    with torch.random.fork_rng():
        torch.manual_seed(0)
        book = Codebook(5, 8, geometry=geometry)
        book.initialise(x)
    numbers = book.encode(x)
    for k in numbers.unique():
        mean = x[numbers == k].mean(0)
        expected = F.normalize(mean, dim=0) if geometry == "unit" else mean
        torch.testing.assert_close(book.codes[k], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_empty_clusters_keep_their_centre(geometry):
    x = F.normalize(vectors(3, 8), dim=1)  # fewer vectors than codes: some are drawn twice, and the first wins
    book = Codebook(12, 8, geometry=geometry)
    book.initialise(x)
    numbers = book.encode(x)
    assert len(numbers.unique()) < 12
    nearest = x[torch.cdist(book.codes, x).argmin(1)]
    torch.testing.assert_close(book.codes, nearest)
    before = book.codes.clone()
    book.update(x, numbers)
    unused = torch.ones(12, dtype=torch.bool)
    unused[numbers] = False
    assert torch.equal(book.codes[unused], before[unused])


def test_the_first_batch_in_training_makes_the_codes_and_only_the_first():
    module, h = quantizer(init="kmeans", decay=0.99), vectors(2, 8, 30)
    torch.manual_seed(0)
    before = [level.codebook.codes.clone() for level in module.levels]
    module(h)
    first = [level.codebook.codes.clone() for level in module.levels]
    assert all((a - b).abs().max() > 0.1 for a, b in zip(before, first, strict=True))
    generator = torch.get_rng_state()
    module(h)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all((level.codebook.codes - b).abs().max() < 0.1 for level, b in zip(module.levels, first, strict=True))


def test_random_codes_have_the_norms_that_suit_their_level():
    norms = [level.codebook.codes.norm(dim=1) for level in quantizer(residual="plain").levels]
    for level, norm in enumerate(norms):
        torch.testing.assert_close(norm, torch.full((16,), 0.5**level))
    for level in quantizer().levels:
        torch.testing.assert_close(level.codebook.codes.norm(dim=1), torch.ones(16))


# How codes move.


def test_plain_codes_are_weighted_means_of_all_their_vectors():
    book = Codebook(2, 1, geometry="plain", decay=0.5, init="random")
    batches = [torch.tensor([[1.0], [5.0], [5.0]]), torch.tensor([[2.0], [2.0], [2.0]])]
    for x in batches:
        book.update(x, (x[:, 0] > 4).long())
    # Weights by age: 0.25 for the one vector of the first batch, 0.5 for each of the three of the second.
    torch.testing.assert_close(book.codes[0, 0], torch.tensor((0.25 * 1 + 0.5 * 6) / 1.75), rtol=1e-4, atol=0)
    torch.testing.assert_close(book.codes[1, 0], torch.tensor(5.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(book.usage, torch.tensor([1.75, 0.5]))


@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_the_error_of_plain_quantisers_falls_with_every_level(init):
    x = clusters(400, n_clusters=20, spread=0.2)[1]
    module = quantizer(n_levels=4, residual="plain", init=init)
    torch.manual_seed(0)
    for _ in range(20):
        module(x)
    directions, codes = F.normalize(x, dim=1), module.eval().encode(x)
    errors = [1.0] + [float(F.mse_loss(module.decode(codes[:n]), directions) * 8) for n in (1, 2, 3, 4)]
    assert all(deeper < 0.9 * shallower for shallower, deeper in zip(errors, errors[1:], strict=False))


def test_codes_without_use_are_replaced_by_vectors_of_the_batch():
    x = F.normalize(vectors(30, 8), dim=1)
    book = Codebook(4, 8, init="random", revive_after=3)
    numbers = torch.zeros(30, dtype=torch.int64)
    start = book.codes.clone()
    for _ in range(2):
        book.update(x, numbers)
    assert torch.equal(book.codes[1:], start[1:])
    assert book.idle.tolist() == [0, 2, 2, 2]
    torch.manual_seed(0)
    book.update(x, numbers)
    torch.manual_seed(0)
    torch.testing.assert_close(book.codes[1:], x[torch.randperm(30)[:3]])
    assert book.idle.tolist() == [0, 0, 0, 0]
    revived = book.codes.clone()
    book.update(x, numbers)
    assert torch.equal(book.codes[1:], revived[1:])


def test_codes_without_use_stay_unless_told_otherwise():
    x, book = F.normalize(vectors(30, 8), dim=1), Codebook(4, 8, init="random")
    start = book.codes.clone()
    for _ in range(20):
        book.update(x, torch.zeros(30, dtype=torch.int64))
    assert torch.equal(book.codes[1:], start[1:])
    assert not torch.equal(book.codes[0], start[0])


def test_revived_plain_codes_forget_what_they_stood_for():
    x, book = vectors(5, 8), Codebook(2, 8, geometry="plain", init="random", revive_after=1)
    book.update(x, torch.ones(5, dtype=torch.int64))
    book.update(x, torch.zeros(5, dtype=torch.int64))
    assert book.usage[1] == 0
    assert not book.sums[1].any()
    assert (x == book.codes[1]).all(1).any()
    book.update(x, torch.tensor([0, 0, 0, 0, 1]))
    torch.testing.assert_close(book.codes[1], x[4], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_resuming_equals_never_stopping(residual):
    whole = quantizer(residual=residual, init="kmeans", n_codes=32, revive_after=2)
    for step in range(3):
        whole(vectors(2, 8, 5, seed=step))
    saved, generator = state_of(whole), torch.get_rng_state()
    assert saved["levels.0.codebook.idle"].any()
    resumed = quantizer(residual=residual, init="kmeans", n_codes=32, revive_after=2)
    for step in range(3, 6):
        whole(vectors(2, 8, 5, seed=step))
    resumed.load_state_dict(saved)
    torch.set_rng_state(generator)
    for step in range(3, 6):
        resumed(vectors(2, 8, 5, seed=step))
    assert_same_state(state_of(resumed), state_of(whole))


def test_no_optimiser_sees_the_codes():
    module = quantizer(residual="plain")
    assert not list(module.parameters())
    assert set(state_of(module)) == {
        f"levels.{level}.codebook.{name}"
        for level in range(3)
        for name in ("codes", "ready", "usage", "n_uses", "idle", *(["sums"] if level else []))
    }


def test_state_changes_in_place_so_that_a_step_can_be_taken_back():
    module = quantizer(residual="plain", init="kmeans", revive_after=1)
    before, buffers = copy.deepcopy(module), list(module.buffers())
    saved = [buffer.clone() for buffer in buffers]
    module(vectors(2, 8, 5))
    assert all(new is old for new, old in zip(module.buffers(), buffers, strict=True))
    for buffer, old in zip(buffers, saved, strict=True):
        buffer.copy_(old)
    assert_same_state(state_of(module), state_of(before))
    with pytest.raises(RuntimeError, match="no codes yet"):
        module.encode(vectors(2, 8))


# Usage.


def test_perplexity_and_dead_codes_count_since_the_reset():
    book = Codebook(4, 2, init="random")
    assert book.perplexity().isnan()
    x = torch.ones(8, 2)
    book.update(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    torch.testing.assert_close(book.perplexity(), torch.tensor(4.0))
    assert book.dead_codes() == 0
    usage = book.usage.clone()
    book.reset_usage()
    assert torch.equal(book.usage, usage)
    for _ in range(2):
        book.update(x, torch.tensor([0, 0, 0, 0, 2, 2, 2, 2]))
    assert book.n_uses.tolist() == [8, 0, 8, 0]
    torch.testing.assert_close(book.perplexity(), torch.tensor(2.0))
    assert book.dead_codes() == 2


def test_usage_is_told_per_level():
    module = quantizer()
    codes = module(vectors(2, 8, 10)).codes
    n_used = [len(level.unique()) for level in codes]
    assert module.dead_codes().tolist() == [16 - n for n in n_used]
    shares = [level.flatten().bincount().double() / 20 for level in codes]
    expected = [float(torch.exp(-(p[p > 0] * p[p > 0].log()).sum())) for p in shares]
    torch.testing.assert_close(module.perplexity(), torch.tensor(expected))
    module.reset_usage()
    assert module.dead_codes().tolist() == [16, 16, 16]
    assert module.perplexity().isnan().all()


# Bad input.


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_levels": 0}, ValueError, "n_levels must be >= 1, got 0"),
        ({"n_codes": 0}, ValueError, "n_codes must be >= 1, got 0"),
        ({"width": 2.5}, TypeError, "width must be an integer"),
        ({"decay": 1.0}, ValueError, "decay must be >= 0 and < 1, got 1.0"),
        ({"decay": -0.1}, ValueError, "decay must be >= 0"),
        ({"beta": -1}, ValueError, "beta must be >= 0, got -1"),
        ({"residual": "sound"}, ValueError, "residual='sound' is not known; allowed: 'published', 'plain'"),
        ({"init": "zeros"}, ValueError, "init='zeros' is not known; allowed: 'kmeans', 'random'"),
        ({"revive_after": 0}, ValueError, "revive_after must be >= 1, got 0"),
    ],
)
def test_wrong_parameters_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        quantizer(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"geometry": "round"}, "geometry='round' is not known"), ({"radius": 0}, "radius must be > 0")],
)
def test_wrong_parameters_of_codebooks_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Codebook(4, 2, **changes)


def test_input_of_another_shape_or_type_is_refused():
    module = quantizer().eval()
    for call in (module, module.encode):
        with pytest.raises(ValueError, match=r"shape \(n_batch, 8, \.\.\.\), got \(2, 5, 8\)"):
            call(vectors(2, 5, 8))
        with pytest.raises(TypeError, match="h must be of floating point, got torch.int64"):
            call(torch.ones(2, 8, dtype=torch.int64))


def test_codes_that_cannot_be_are_refused():
    module = quantizer().eval()
    codes = module.encode(vectors(2, 8, 5))
    with pytest.raises(TypeError, match="codes must be int64 or int32"):
        module.decode(codes.float())
    for wrong in (torch.cat([codes, codes]), codes[:0], codes[0, 0]):
        with pytest.raises(ValueError, match="with 1 to 3 levels"):
            module.decode(wrong)
    for shift in (-16, 16):
        with pytest.raises(ValueError, match=r"codes must be in \[0, 16\), got .* another quantiser"):
            module.decode(codes + shift)


def test_one_level_is_a_vector_quantiser():
    module = quantizer(n_levels=1)
    level = VectorQuantizer(copy.deepcopy(module.levels[0].codebook))
    h = vectors(6, 8)
    whole, single = module(h), level(h)
    assert torch.equal(whole.quantized, single.quantized)
    assert torch.equal(whole.codes[0], single.codes)
    assert torch.equal(level.decode(level.encode(h)), module.decode(module.encode(h)))


# Two processes.

N_STEPS = 4


def train_in_part(rank: int, n_ranks: int, **changes) -> dict[str, torch.Tensor]:
    """State after some steps on one process's part of the batches."""
    torch.manual_seed(100 + rank)  # draws of other processes must not matter
    module = quantizer(**changes)
    for step in range(N_STEPS):
        module(vectors(4, 8, 6, seed=step)[rank::n_ranks])
    return state_of(module)


def start_in_part(rank: int, n_ranks: int, geometry: str) -> torch.Tensor:
    """Codes from k-means on one process's part of a batch."""
    torch.manual_seed(100 + rank)
    book = Codebook(6, 8, geometry=geometry)
    with torch.random.fork_rng():
        torch.manual_seed(200 + rank)
        book.initialise(vectors(40, 8)[rank::n_ranks])
    return book.codes


def shared_work(rank: int, n_ranks: int) -> dict[str, object]:
    """All that processes do together, by name."""
    states = {f"{residual} random": train_in_part(rank, n_ranks, residual=residual) for residual in RESIDUALS}
    options = {"init": "kmeans", "n_codes": 40, "revive_after": 1}
    states |= {
        f"{residual} drawn": train_in_part(rank, n_ranks, residual=residual, **options) for residual in RESIDUALS
    }
    return states | {f"{geometry} start": {"codes": start_in_part(rank, n_ranks, geometry)} for geometry in GEOMETRIES}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> list[dict]:
    """What each of two processes has after the shared work."""
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    try:
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
    finally:
        for process in processes:
            process.kill()  # the other one waits for ever if one fails
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("residual", RESIDUALS)
def test_two_processes_end_with_one_set_of_codebooks(two_processes, residual):
    first, second = two_processes
    for work in ("random", "drawn"):
        assert_same_state(second[f"{residual} {work}"], first[f"{residual} {work}"])


@pytest.mark.parametrize("residual", RESIDUALS)
def test_two_processes_learn_as_one_on_the_joined_batch(two_processes, residual):
    one = train_in_part(0, 1, residual=residual)
    for name, tensor in two_processes[0][f"{residual} random"].items():
        torch.testing.assert_close(tensor, one[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_two_processes_begin_with_the_clusters_of_the_first(two_processes, geometry):
    torch.manual_seed(100)
    book = Codebook(6, 8, geometry=geometry)
    torch.manual_seed(200)
    book.initialise(vectors(40, 8)[0::2])
    for process in two_processes:
        torch.testing.assert_close(process[f"{geometry} start"]["codes"], book.codes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, own_rank = Path(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group("gloo", init_method=(out / "store").as_uri(), rank=own_rank, world_size=2)
    torch.save(shared_work(own_rank, 2), out / f"{own_rank}.pt")
    dist.destroy_process_group()
