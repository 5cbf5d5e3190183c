import math
from functools import partial

import numpy as np
import pytest
import torch

from mne_specmoe._validation import (
    AmplitudeWarning,
    CheckpointError,
    SpecMoEWarning,
    UntrainedWarning,
    check_device,
    check_number,
    check_option,
    check_seed,
    listed,
    warn_caller,
)


def without_accelerators(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def with_cuda_devices(monkeypatch, n_devices: int):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_devices)


# Options


@pytest.mark.parametrize("value", ["mean", None, 3])
def test_known_options_pass(value):
    check_option("pooling", value, ("mean", None, 3))


@pytest.mark.parametrize("value", ["Mean", "", None, 0, ["mean"], np.nan])
def test_unknown_options_are_refused_with_a_list_of_the_known_ones(value):
    with pytest.raises(ValueError, match="pooling=.* is not known; allowed: 'mean', 'max'") as caught:
        check_option("pooling", value, ("mean", "max"))
    assert repr(value) in str(caught.value)


def test_names_are_listed_up_to_a_limit():
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed([]) == "none"
    assert listed("abcd", at_most=4) == "'a', 'b', 'c', 'd'"
    assert listed("abcd", at_most=2) == "'a', 'b', ... (4 in all)"
    assert listed({3: None}) == "'3'"


# Numbers


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)])
def test_numbers_within_bounds_pass(value):
    check_number("dropout", value, minimum=0, maximum=1)


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3)])
def test_integers_pass_as_integers(value):
    check_number("n_experts", value, minimum=3, maximum=3, integer=True)


@pytest.mark.parametrize("value", ["3", None, True, np.bool_(True), [3], np.array([3]), 3j])
@pytest.mark.parametrize("integer", [True, False])
def test_what_is_no_number_is_a_type_error(value, integer):
    wanted = "an integer" if integer else "a number"
    with pytest.raises(TypeError, match=f"n_experts must be {wanted}, got .*{type(value).__name__}"):
        check_number("n_experts", value, integer=integer)


@pytest.mark.parametrize("value", [3.0, np.float64(3), 2.5])
def test_floats_are_no_integers(value):
    with pytest.raises(TypeError, match="n_experts must be an integer"):
        check_number("n_experts", value, integer=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_numbers_must_be_finite(value):
    with pytest.raises(ValueError, match="lr must be finite"):
        check_number("lr", value)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-1, {"minimum": 0}, "lr must be >= 0, got -1"),
        (2, {"maximum": 1}, "lr must be <= 1, got 2"),
        (2, {"minimum": 0, "maximum": 1}, "lr must be >= 0 and <= 1, got 2"),
        (0, {"minimum": 0, "strict": True}, "lr must be > 0, got 0"),
        (-0.5, {"minimum": 0, "maximum": 1, "strict": True}, "lr must be > 0 and <= 1"),
    ],
)
def test_numbers_out_of_bounds_are_refused_with_the_bounds(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        check_number("lr", value, **bounds)


def test_bounds_are_part_of_the_range_unless_strict():
    check_number("lr", 0, minimum=0)
    check_number("lr", 1, maximum=1)
    check_number("lr", 1e-12, minimum=0, strict=True)


# Devices


def test_auto_takes_the_best_device_there_is(monkeypatch):
    without_accelerators(monkeypatch)
    assert check_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert check_device("auto") == torch.device("mps")
    with_cuda_devices(monkeypatch, 1)
    assert check_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_cpu_is_always_there(device):
    assert check_device(device) == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda", 1)])
def test_absent_cuda_is_an_error_that_says_what_to_do(monkeypatch, device):
    without_accelerators(monkeypatch)
    with pytest.raises(ValueError, match="torch sees 0 CUDA devices here; use device='auto' or 'cpu'"):
        check_device(device)


def test_only_cuda_devices_that_exist_are_accepted(monkeypatch):
    with_cuda_devices(monkeypatch, 2)
    assert check_device("cuda") == torch.device("cuda")
    assert check_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' was asked for, but torch sees 2 CUDA devices"):
        check_device("cuda:2")


def test_absent_mps_is_an_error(monkeypatch):
    without_accelerators(monkeypatch)
    with pytest.raises(ValueError, match="device='mps' was asked for.*use device='auto'"):
        check_device("mps")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", None, 1.5, ["cpu"]])
def test_an_unknown_device_is_an_error_that_lists_the_known_ones(device):
    with pytest.raises(ValueError, match="'auto', 'cpu', 'cuda'"):
        check_device(device)


def test_devices_that_torch_knows_and_we_do_not_are_refused():
    with pytest.raises(ValueError, match="device='meta' is not supported; allowed: 'auto', 'cpu', 'cuda', 'mps'"):
        check_device("meta")


# Seeds


@pytest.mark.parametrize("seed", [0, 41, np.int64(41), 2**32 - 1])
def test_an_integer_is_its_own_seed(seed):
    assert check_seed(seed) == seed
    assert type(check_seed(seed)) is int


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_generators_give_seeds_that_repeat_and_move_on(kind):
    first, second = kind(3), kind(3)
    seeds = [check_seed(first) for _ in range(5)]
    assert [check_seed(second) for _ in range(5)] == seeds
    assert len(set(seeds)) == 5
    assert check_seed(kind(4)) not in seeds


def test_no_seed_gives_another_one_each_time_and_leaves_the_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (what must not be touched)
    assert len({check_seed(None) for _ in range(5)}) == 5
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 2**32, np.int64(-5)])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=r"random_state must be in \[0, 2\*\*32\)"):
        check_seed(seed)


@pytest.mark.parametrize("seed", ["41", 1.0, True, np.bool_(False), [1], np.random])
def test_what_is_no_seed_is_a_type_error(seed):
    with pytest.raises(TypeError, match="None, an int, a RandomState or a Generator"):
        check_seed(seed)


# Kinds


def test_errors_and_warnings_can_be_caught_by_their_family():
    assert issubclass(CheckpointError, ValueError)
    assert issubclass(SpecMoEWarning, UserWarning)
    assert issubclass(UntrainedWarning, SpecMoEWarning)
    assert issubclass(AmplitudeWarning, SpecMoEWarning)


@pytest.mark.parametrize(
    "modules", [("mne_specmoe",), ("mne_specmoe.b", "mne_specmoe.a"), ("mne_specmoe", "sklearn.a")]
)
def test_warnings_point_at_who_called_the_package_however_deep_inside(modules):
    call = partial(warn_caller, "said", UntrainedWarning)
    for module in modules:
        names = {"__name__": module, "inner": call}
        exec("def outer(): inner()", names)
        call = names["outer"]
    with pytest.warns(UntrainedWarning, match="said") as caught:
        call()
    assert [warning.filename for warning in caught] == [__file__]
