"""The pretraining loop on a network of a few parameters: resuming, interruption, skipped steps, several processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy_training import ToyBatches, ToyObjective, final_weights, run_toy

from mne_specmoe.training import Housekeeping, TrainingConfig, make_accelerator, train

QUIET = {"progress": False, "device": "cpu"}


def read_log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_learning_rate_falls_along_half_a_cosine():
    config = TrainingConfig(max_steps=100, lr=1e-3, final_lr=1e-5)
    assert config.lr_at(0) == pytest.approx(1e-3)
    assert config.lr_at(50) == pytest.approx((1e-3 + 1e-5) / 2)
    assert config.lr_at(100) == pytest.approx(1e-5)


def test_learning_rate_rises_along_a_line_first():
    """Values of the published schedule: 20 epochs of 10 steps, 5 of them for warming up."""
    config = TrainingConfig(max_steps=200, lr=5e-4, final_lr=1e-5, warmup_steps=50)
    rates = [config.lr_at(step) for step in range(200)]
    assert rates[0] == 0
    assert rates[:50] == pytest.approx([5e-4 * step / 49 for step in range(50)])
    assert rates[49:52] == pytest.approx([5e-4, 5e-4, 4.99946e-4], rel=1e-6)
    assert rates[-1] == pytest.approx(1.00537e-5, rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("warmup_steps", 1),
        ("warmup_steps", -1),
        ("max_grad_norm", 0.0),
        ("max_steps", 0),
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("precision", "fp8"),
        ("seed", -1),
    ],
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises((ValueError, TypeError), match=field):
        TrainingConfig(**{"max_steps": 1, field: value})


def test_without_clipping_gradients_stay_as_they_are(tmp_path):
    """SGD would tell by its weights; AdamW hardly does, so a very low limit is the control."""
    finals = []
    for limit in (None, 1e9, 1e-9):
        run_toy(tmp_path / str(limit), max_steps=3, max_grad_norm=limit)
        finals.append(final_weights(tmp_path / str(limit), 3))
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    assert not all(torch.equal(finals[0][name], finals[2][name]) for name in finals[0])


def test_parameters_that_an_objective_spares_get_no_weight_decay(tmp_path):
    """The gradients of two steps are the same; weights differ by the decay, where there is one."""

    class Sparing(ToyObjective):
        def spared_decay(self) -> set[str]:
            return {name for name, _ in self.named_parameters() if name.endswith("bias")}

    config = TrainingConfig(max_steps=1, batch_size=2, accumulation=1, lr=1e-2, weight_decay=0.5)
    before = ToyObjective(plain=True).state_dict()
    for kind, name in ((Sparing, "sparing"), (ToyObjective, "plain")):
        options = {"accelerator": make_accelerator("cpu"), "housekeeping": Housekeeping(**QUIET)}
        train(kind(plain=True), ToyBatches(batch_size=2), tmp_path / name, config, **options)
    sparing, plain = final_weights(tmp_path / "sparing", 1), final_weights(tmp_path / "plain", 1)
    for name, first in before.items():
        decay = 1e-2 * 0.5 * first if name.endswith("bias") else torch.zeros_like(first)
        torch.testing.assert_close(sparing[name] - plain[name], decay, rtol=1e-3, atol=1e-7)
    assert sparing["network.1.bias"].ne(plain["network.1.bias"]).all()


def test_loss_falls(tmp_path):
    run_toy(tmp_path, max_steps=60, log_every=20)
    losses = [line["loss"] for line in read_log(tmp_path) if "loss" in line]
    assert len(losses) == 3
    assert losses[-1] < 0.7 * losses[0]


def test_accumulated_batches_give_the_gradient_of_one_large_batch(tmp_path):
    """Without batch statistics and dropout, two batches of two are one of four."""
    weights = []
    for batch_size, accumulation in ((4, 1), (2, 2)):
        out = tmp_path / str(batch_size)
        run_toy(out, max_steps=3, batch_size=batch_size, accumulation=accumulation, plain=True)
        weights.append(final_weights(out, 3))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, stop):
    run_toy(tmp_path / "whole", max_steps=9, checkpoint_every=3)
    run_toy(tmp_path / "parts", max_steps=9, checkpoint_every=3, fail_at=stop)
    run_toy(tmp_path / "parts", max_steps=9, checkpoint_every=3, resume=True)
    whole, parts = final_weights(tmp_path / "whole", 9), final_weights(tmp_path / "parts", 9)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_random_state_matters_to_that_test(tmp_path):
    """Control: dropout takes part, so that a run which forgot its generator would end elsewhere."""
    run_toy(tmp_path / "whole", max_steps=4, seed=1)
    run_toy(tmp_path / "other", max_steps=4, seed=2)
    whole, other = final_weights(tmp_path / "whole", 4), final_weights(tmp_path / "other", 4)
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


def test_how_often_one_looks_does_not_change_the_result(tmp_path):
    run_toy(tmp_path / "often", max_steps=6, checkpoint_every=1, validate_every=1, log_every=1)
    run_toy(tmp_path / "seldom", max_steps=6, checkpoint_every=100, validate_every=100, log_every=100)
    often, seldom = final_weights(tmp_path / "often", 6), final_weights(tmp_path / "seldom", 6)
    assert all(torch.equal(often[name], seldom[name]) for name in often)


def test_batches_may_be_read_by_worker_processes(tmp_path):
    run_toy(tmp_path / "none", max_steps=4)
    run_toy(tmp_path / "two", max_steps=4, n_workers=2)
    none, two = final_weights(tmp_path / "none", 4), final_weights(tmp_path / "two", 4)
    assert all(torch.equal(none[name], two[name]) for name in none)


def test_torchs_generator_is_left_alone(tmp_path):
    before = torch.get_rng_state()
    run_toy(tmp_path, max_steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    run_toy(tmp_path, max_steps=10, checkpoint_every=2, keep=2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000008.pt", "step-000000010.pt"]


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path):
    run_toy(tmp_path, max_steps=9, checkpoint_every=3, log_every=1, fail_at=5)
    run_toy(tmp_path, max_steps=9, checkpoint_every=3, log_every=1, resume=True)
    steps = [line["step"] for line in read_log(tmp_path) if "loss" in line]
    assert steps == list(range(1, 10))


def test_a_half_written_line_of_the_log_is_dropped(tmp_path):
    run_toy(tmp_path, max_steps=6, checkpoint_every=3, log_every=1, fail_at=4)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    run_toy(tmp_path, max_steps=6, checkpoint_every=3, log_every=1, resume=True)
    assert [line["step"] for line in read_log(tmp_path) if "loss" in line] == list(range(1, 7))


def test_a_half_written_checkpoint_is_never_read(tmp_path):
    run_toy(tmp_path / "run", max_steps=6, checkpoint_every=3, fail_at=4)
    leftover = tmp_path / "run/checkpoints/.step-000000006.pt.abc"
    leftover.write_bytes(b"half a check")
    assert run_toy(tmp_path / "run", max_steps=6, checkpoint_every=3, resume=True).finished
    assert not leftover.exists()


def test_resuming_what_is_finished_changes_nothing(tmp_path):
    run_toy(tmp_path, max_steps=3)
    before = final_weights(tmp_path, 3)
    outcome = run_toy(tmp_path, max_steps=3, resume=True)
    assert outcome.finished
    assert outcome.step == 3
    after = final_weights(tmp_path, 3)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_validation_is_logged_and_leaves_training_mode_alone(tmp_path):
    outcome = run_toy(tmp_path, max_steps=4, validate_every=2)
    lines = [line for line in read_log(tmp_path) if "validation_loss" in line]
    assert [line["step"] for line in lines] == [2, 4]
    assert outcome.terms["validation_loss"] == lines[-1]["validation_loss"]


def test_a_step_without_a_finite_loss_is_skipped_and_counted(tmp_path):
    outcome = run_toy(tmp_path / "one", max_steps=6, poisoned=(2,), log_every=1)
    assert outcome.finished
    assert outcome.n_skipped == 1
    weights = final_weights(tmp_path / "one", 6)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())  # running statistics, too
    lines = read_log(tmp_path / "one")
    assert [line["n_skipped"] for line in lines if "n_skipped" in line] == [0, 0, 1, 1, 1, 1]


def test_too_many_such_steps_end_the_run_with_advice(tmp_path):
    with pytest.raises(FloatingPointError, match=r"3 steps in a row, up to step 4.*lower lr"):
        run_toy(tmp_path, max_steps=9, poisoned=(1, 2, 3), max_skipped=3)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    run_toy(tmp_path, max_steps=2)
    path = tmp_path / "checkpoints/step-000000002.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "version": 99}, path)
    with pytest.raises(ValueError, match="format version 99"):
        run_toy(tmp_path, max_steps=2, resume=True)


def test_an_error_in_the_data_reaches_the_caller_and_closes_the_log(tmp_path):
    with pytest.raises(RuntimeError, match="unplugged"):
        train(
            ToyObjective(),
            ToyBatches(batch_size=2, fail_at=1),
            tmp_path,
            TrainingConfig(max_steps=3, batch_size=2, accumulation=1),
            accelerator=make_accelerator("cpu"),
            housekeeping=Housekeeping(**QUIET),
        )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def start(out: Path, *arguments: str) -> subprocess.Popen:
    """Run the toy training in a process of its own, each step taking 50 ms."""
    script = Path(__file__).with_name("toy_training.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(script), str(out), *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(out: Path, step: int, process: subprocess.Popen) -> None:
    """Wait until the log has reached a step."""
    log = out / "log.jsonl"
    while process.poll() is None:
        if log.exists() and log.read_text().count("\n") >= step:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_the_run_which_goes_on_exactly(tmp_path, number, code):
    run_toy(tmp_path / "whole", max_steps=12, checkpoint_every=100)
    process = start(tmp_path / "parts", "12", "100", "0.05")
    wait_for_step(tmp_path / "parts", 3, process)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    (saved,) = (tmp_path / "parts/checkpoints").iterdir()
    assert 3 <= int(saved.stem.removeprefix("step-")) < 12
    run_toy(tmp_path / "parts", max_steps=12, checkpoint_every=100, resume=True)
    whole, parts = final_weights(tmp_path / "whole", 12), final_weights(tmp_path / "parts", 12)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def run_two_processes(out: Path, *arguments: str) -> None:
    """Run the toy training on two processes of this machine."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).with_name("toy_training.py")
    subprocess.run(
        [sys.executable, *launcher, str(script), str(out), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("batch_size", [4, 3])
def test_two_processes_train_as_one(tmp_path, batch_size):
    """Same global batch, no dropout: losses, batch statistics and gradients are those of both together."""
    run_toy(tmp_path / "one", max_steps=8, dropout=0.0, log_every=1, batch_size=batch_size)
    run_two_processes(tmp_path / "two", "8", "100", "0", "no-dropout", str(batch_size))
    one, two = ([line["loss"] for line in read_log(tmp_path / name) if "loss" in line] for name in ("one", "two"))
    assert len(one) == len(two) == 8
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-5, atol=0)
    weights = [final_weights(tmp_path / name, 8) for name in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_a_run_of_two_processes_is_not_resumed_by_one(tmp_path):
    run_toy(tmp_path, max_steps=2, checkpoint_every=1)
    path = tmp_path / "checkpoints/step-000000002.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "generators": state["generators"] * 2}, path)
    with pytest.raises(ValueError, match="2 processes, but this run has 1"):
        run_toy(tmp_path, max_steps=2, resume=True)
