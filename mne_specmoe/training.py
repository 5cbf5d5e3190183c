"""One pretraining loop for any objective, in one process or many, that can be interrupted at any moment."""

import contextlib
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from mne_specmoe._files import replacing, write_text
from mne_specmoe._validation import check_device, check_number, check_option
from mne_specmoe.models.interface import Batch, SparesDecay
from mne_specmoe.nn.distributed import join_batch_norms

try:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedDataParallelKwargs, gather_object
except ImportError:  # configs can be made without it; `make_accelerator` says what to do
    Accelerator = None

STATE_VERSION = 1
PRECISIONS = ("float32", "bf16")
_LOG, _STATES = "log.jsonl", "checkpoints"
_STATE_NAME = re.compile(r"step-(\d{9})\.pt")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. The defaults are those of SpecMoE's paper.

    Parameters
    ----------
    max_steps : int
        Optimiser steps.
    batch_size : int
        Segments per batch, on all processes together.
    accumulation : int
        Batches per optimiser step.
    lr, final_lr : float
        Learning rate at the start of its cosine, and where that ends.
    warmup_steps : int
        Steps before the cosine, in which the learning rate rises from 0.
    weight_decay : float
        AdamW's.
    max_grad_norm : float | None
        Gradients are scaled down to this norm; None: they stay as they are.
    precision : {"float32", "bf16"}
        Precision of the network's forward pass. Parameters and losses stay float32.
    seed : int
        Of initial weights, order, masks and dropout.
    max_skipped : int
        So many steps without a finite loss, one after another, end the run.
    """

    max_steps: int
    batch_size: int = 64
    accumulation: int = 4
    lr: float = 1e-3
    final_lr: float = 1e-6
    warmup_steps: int = 0
    weight_decay: float = 0.05
    max_grad_norm: float | None = 5.0
    precision: str = "float32"
    seed: int = 41
    max_skipped: int = 10

    def __post_init__(self):
        for name in ("max_steps", "batch_size", "accumulation", "max_skipped"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        check_number("warmup_steps", self.warmup_steps, minimum=0, maximum=self.max_steps - 1, integer=True)
        check_number("lr", self.lr, minimum=0.0, strict=True)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, minimum=0.0, strict=True)
        for name in ("final_lr", "weight_decay"):
            check_number(name, getattr(self, name), minimum=0.0)
        check_number("seed", self.seed, minimum=0, maximum=2**31 - 1, integer=True)
        check_option("precision", self.precision, PRECISIONS)

    def lr_at(self, step: int) -> float:
        """Learning rate of a step: up along a line, then down along half a cosine.

        Parameters
        ----------
        step : int
            Number of the step, from 0.

        Returns
        -------
        lr : float
        """
        warmup = self.warmup_steps
        if step < warmup:
            return self.lr * step / max(warmup - 1, 1)
        share = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.max_steps - warmup)))
        return self.final_lr + (self.lr - self.final_lr) * share


@dataclass(frozen=True)
class Housekeeping:
    """What does not change the result: how often to save, to look and to tell, and where to run.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``. With several processes each takes the device of its rank.
    checkpoint_every, validate_every, log_every : int
        Steps between checkpoints, validations and lines of the log.
    keep : int
        How many checkpoints to keep.
    n_workers : int
        Processes per rank that read batches ahead (0: the training process reads them itself).
    tensorboard : bool
        Whether to write the log for TensorBoard, too.
    progress : bool
        Whether to show a progress bar.
    """

    device: str = "auto"
    checkpoint_every: int = 500
    validate_every: int = 500
    log_every: int = 10
    keep: int = 2
    n_workers: int = 0
    tensorboard: bool = False
    progress: bool = True

    def __post_init__(self):
        for name in ("checkpoint_every", "validate_every", "log_every", "keep"):
            check_number(name, getattr(self, name), minimum=1, integer=True)
        check_number("n_workers", self.n_workers, minimum=0, integer=True)


class Outcome(NamedTuple):
    """How a run ended.

    Attributes
    ----------
    step : int
        Steps done, also those of earlier parts of the run.
    finished : bool
        Whether these are all.
    n_skipped : int
        Steps skipped since their loss was not finite.
    terms : dict
        The last terms logged in training and, with the prefix ``"validation_"``, in validation.
    """

    step: int
    finished: bool
    n_skipped: int
    terms: dict[str, float]


@dataclass
class _Progress:
    """What a run has to remember beside weights and optimiser."""

    step: int = 0
    n_skipped: int = 0
    n_skipped_in_a_row: int = 0
    terms: dict[str, float] = field(default_factory=dict)


def train(
    objective: nn.Module,
    batches: Dataset,
    out: str | os.PathLike,
    config: TrainingConfig,
    *,
    accelerator: Accelerator,
    validation: Dataset | None = None,
    housekeeping: Housekeeping | None = None,
    resume: bool = False,
) -> Outcome:
    """Minimise an objective by AdamW with a cosine schedule.

    Checkpoints in ``out/checkpoints`` hold everything that the rest of the run depends on, so that a run that was
    stopped at any moment and resumed ends with the same weights as one that was not (bit by bit on CPUs in float32).
    SIGTERM, and Ctrl-C, save a checkpoint after the step at hand and end the run.

    Parameters
    ----------
    objective : Objective
        Loss and network, see `mne_specmoe.models.interface.Objective`.
    batches : Dataset
        ``batches[i]`` is the share of this process of the i-th batch and its weight, as
        `mne_specmoe.data.batches.CorpusBatches` gives them; any i from 0.
    out : path-like
        Folder of the run.
    config : TrainingConfig
        How to train.
    accelerator : accelerate.Accelerator
        As `make_accelerator` makes it.
    validation : Dataset | None
        Batches of one pass over held-out data.
    housekeeping : Housekeeping | None
        How often to save and to log, and where to run.
    resume : bool
        Go on from the last checkpoint, if there is one.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    FloatingPointError
        If too many steps in a row had no finite loss.
    KeyboardInterrupt
        After Ctrl-C, once the checkpoint is written.
    """
    housekeeping = housekeeping or Housekeeping()
    run = _Run(objective, Path(out), config, housekeeping, accelerator)
    # The library sets no global seeds: torch's generator is put back afterwards.
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _Interruption(accelerator) as interruption, run:
        torch.manual_seed(config.seed + accelerator.process_index)
        if resume:
            run.restore()
        for parts in _steps(batches, run.progress.step, config, housekeeping.n_workers):
            run.step(parts)
            done = run.progress.step
            stopping, last = interruption.asked(), done == config.max_steps
            if validation is not None and (last or done % housekeeping.validate_every == 0):
                run.validate(validation)
            if stopping or last or done % housekeeping.checkpoint_every == 0:
                run.save()
            if stopping:
                break
        interruption.pass_on(finished=run.progress.step == config.max_steps)
    progress = run.progress
    return Outcome(progress.step, progress.step == config.max_steps, progress.n_skipped, progress.terms)


def make_accelerator(device: str = "auto") -> Accelerator:
    """Make the engine that `train` runs on: one process, or those that ``accelerate launch`` or ``torchrun`` started.

    Parameters
    ----------
    device : str
        As in `Housekeeping`.

    Raises
    ------
    ValueError
        If the device is absent.
    ImportError
        If accelerate is missing.
    """
    if Accelerator is None:
        raise ImportError("Pretraining needs accelerate: pip install 'mne-specmoe[pretrain]'.")
    resolved = check_device(device)
    on_cpu = resolved.type == "cpu"
    if PartialState._shared_state and PartialState().device.type != resolved.type:
        AcceleratorState._reset_state(True)  # it would keep the device of an earlier run in this process
    # Every parameter gets a gradient in every step, so DDP need not look for those without.
    kwargs = DistributedDataParallelKwargs(find_unused_parameters=False)
    return Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[kwargs])


def is_main_process() -> bool:
    """Whether this is the process, of those of one run, that writes files and speaks to the user."""
    return PartialState().is_main_process


class _Run:
    """The objects of a run and what is done with them; a context that closes its log."""

    def __init__(
        self,
        objective: nn.Module,
        out: Path,
        config: TrainingConfig,
        housekeeping: Housekeeping,
        accelerator: Accelerator,
    ):
        self.config, self.housekeeping, self.accelerator, self.out = config, housekeeping, accelerator, out
        self.progress = _Progress()
        if accelerator.num_processes > 1:
            join_batch_norms(objective)
        self.objective = objective.to(accelerator.device)
        self.model = accelerator.prepare(self.objective)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.objective), lr=config.lr, weight_decay=config.weight_decay
        )
        self._log: _Log | None = None

    def __enter__(self) -> "_Run":
        self.out.joinpath(_STATES).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._log is not None:
            self._log.close()

    @property
    def log(self) -> "_Log":
        """The log, opened after a checkpoint may have said where it stands."""
        if self._log is None:
            self._log = _Log(self.out, self.progress.step, self.config, self.housekeeping, self.accelerator)
        return self._log

    def step(self, parts: list[tuple[Batch, float]]) -> None:
        """One optimiser step on the batches that it accumulates; none if the loss is not finite."""
        progress, config = self.progress, self.config
        log = self.log  # opened before the clock runs
        lr = config.lr_at(progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        buffers = [buffer.clone() for buffer in self.objective.buffers()]
        terms = self._accumulate(parts)
        longest = math.inf if config.max_grad_norm is None else config.max_grad_norm
        norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), longest)
        # Gradients are those of all processes together, so all of them come to the same verdict.
        if torch.isfinite(norm):
            self.optimizer.step()
            progress.n_skipped_in_a_row = 0
            terms |= {"lr": lr, "grad_norm": norm}
        else:
            self._skip(buffers)
            terms = {}
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        log.add(progress, terms, sum(len(batch.x) for batch, _ in parts))

    def _accumulate(self, parts: list[tuple[Batch, float]]) -> dict[str, Tensor]:
        """Gradients of the mean loss over the batches of one step; the terms' means on this process."""
        totals: dict[str, Tensor] = {}
        share = self.progress.step / self.config.max_steps
        for number, (batch, weight) in enumerate(parts, 1):
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, terms = self._forward(self.model, batch, share)
                scale = weight / len(parts)
                self.accelerator.backward(loss * scale)
            for name, value in {"loss": loss.detach(), **terms}.items():
                totals[name] = totals.get(name, 0.0) + value * scale
        return totals

    def _forward(self, model: nn.Module, batch: Batch, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms of one batch, on the device and in the precision of the run."""
        device = self.accelerator.device
        batch = Batch(*(part.to(device, non_blocking=True) if isinstance(part, Tensor) else part for part in batch))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            return model(batch, progress=share)

    def _skip(self, buffers: list[Tensor]) -> None:
        """Count a step without a finite loss and undo what it did to running statistics."""
        progress = self.progress
        for buffer, before in zip(self.objective.buffers(), buffers, strict=True):
            buffer.copy_(before)
        progress.n_skipped += 1
        progress.n_skipped_in_a_row += 1
        if progress.n_skipped_in_a_row >= self.config.max_skipped:
            raise FloatingPointError(
                f"The loss was not finite in {progress.n_skipped_in_a_row} steps in a row, up to step "
                f"{progress.step + 1}. Try a lower lr (now {self.config.lr:g}), precision='float32' (now "
                f"{self.config.precision!r}), or a lower max_grad_norm; then start anew, or resume the last "
                "checkpoint in a copy of the run."
            )

    @torch.no_grad()
    def validate(self, validation: Dataset) -> None:
        """Mean of the terms over the held-out segments, with the network in evaluation mode."""
        self.objective.eval()
        totals: dict[str, Tensor] = {}
        loader = _loader(validation, range(len(validation)), self.housekeeping.n_workers)
        n_segments = torch.zeros((), device=self.accelerator.device)
        for batch, _ in loader:
            # Not through DDP, which would wait for a backward pass.
            loss, terms = self._forward(self.objective, Batch(*batch), 1.0)
            for name, value in {"loss": loss, **terms}.items():
                totals[name] = totals.get(name, 0.0) + value * len(batch.x)
            n_segments += len(batch.x)
        n_segments = self.accelerator.reduce(n_segments)
        means = {name: (self.accelerator.reduce(total) / n_segments).item() for name, total in totals.items()}
        self.log.validation(self.progress, {f"validation_{name}": value for name, value in means.items()})

    def save(self) -> None:
        """Write everything that the rest of the run depends on, and delete older checkpoints."""
        generators = gather_object([_generators(self.accelerator.device)])
        if self.accelerator.is_main_process:
            folder = self.out / _STATES
            state = {
                "version": STATE_VERSION,
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(self.progress),
                "generators": generators,
            }
            self.log.flush()
            with replacing(folder / f"step-{self.progress.step:09d}.pt") as temporary:
                torch.save(state, temporary)
            for step in sorted(_saved_steps(folder))[: -self.housekeeping.keep]:
                folder.joinpath(f"step-{step:09d}.pt").unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        folder = self.out / _STATES
        if self.accelerator.is_main_process:
            for leftover in folder.glob(".step-*"):  # of a process that was killed while writing
                leftover.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        steps = _saved_steps(folder)
        if not steps:
            return
        path = folder / f"step-{max(steps):09d}.pt"
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.get("version") != STATE_VERSION:
            raise ValueError(
                f"{path} has the format version {state.get('version')}, this package reads {STATE_VERSION}; "
                "resume with the version of mne-specmoe that wrote it."
            )
        if len(state["generators"]) != self.accelerator.num_processes:
            raise ValueError(
                f"{path} was written by {len(state['generators'])} processes, but this run has "
                f"{self.accelerator.num_processes}; resume with the same number."
            )
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = _Progress(**state["progress"])
        _set_generators(state["generators"][self.accelerator.process_index], self.accelerator.device)


def _parameter_groups(objective: nn.Module) -> list[dict[str, object]]:
    """Parameters for the optimiser; those that the objective keeps from weight decay, if any, are a group apart."""
    if not isinstance(objective, SparesDecay):
        return [{"params": list(objective.parameters())}]
    spared = objective.spared_decay()
    named = list(objective.named_parameters())
    return [
        {"params": [parameter for name, parameter in named if name not in spared]},
        {"params": [parameter for name, parameter in named if name in spared], "weight_decay": 0.0},
    ]


def _steps(batches: Dataset, start: int, config: TrainingConfig, n_workers: int) -> Iterator[list[tuple[Batch, float]]]:
    """The batches of every optimiser step from `start` on."""
    numbers = range(start * config.accumulation, config.max_steps * config.accumulation)
    parts = []
    for batch, weight in _loader(batches, numbers, n_workers):
        parts.append((Batch(*batch), float(weight)))
        if len(parts) == config.accumulation:
            yield parts
            parts = []


def _loader(batches: Dataset, numbers: range, n_workers: int) -> DataLoader:
    """Whole batches, read by worker processes if asked for."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=n_workers,
        worker_init_fn=_leave_signals_to_parent,
        generator=torch.Generator(),  # of its own: it would draw from torch's, which nothing here depends on
    )


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach all processes; the training process decides when to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder."""
    matches = (_STATE_NAME.fullmatch(path.name) for path in folder.glob("step-*.pt"))
    return [int(match[1]) for match in matches if match]


def has_checkpoint(out: str | os.PathLike) -> bool:
    """Whether a run has something to resume."""
    return bool(_saved_steps(Path(out) / _STATES))


def _generators(device: torch.device) -> dict[str, Tensor]:
    """States of the random number generators that a step draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the random number generators back."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


class _Interruption:
    """Notes SIGTERM and Ctrl-C, so that a step can be finished and saved first. A second Ctrl-C does not wait."""

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.signal: int | None = None
        self._before: dict[int, Callable | int | None] = {}

    def __enter__(self) -> "_Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number

    def asked(self) -> bool:
        """Whether any process was told to stop; all come to the same answer."""
        noted = self.signal is not None
        if self.accelerator.num_processes == 1:
            return noted
        flag = torch.tensor(float(noted), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag).item())

    def pass_on(self, *, finished: bool) -> None:
        """After Ctrl-C, raise what Python would have raised, unless all is done anyway."""
        if self.signal == signal.SIGINT and not finished:
            raise KeyboardInterrupt("The run was saved and can be resumed.")


class _Log:
    """JSON lines, a progress bar, and TensorBoard if asked for; on the main process only.

    A line tells the means since the line before. Lines after the step that a run resumes from are dropped, as they
    will be written again.
    """

    def __init__(
        self, out: Path, step: int, config: TrainingConfig, housekeeping: Housekeeping, accelerator: Accelerator
    ):
        self.accelerator, self.every = accelerator, housekeeping.log_every
        self.max_steps = config.max_steps
        self._sums: dict[str, Tensor] = {}
        self._n_steps = self._n_segments = 0
        self._start = time.perf_counter()
        self._file = self._bar = self._board = None
        if accelerator.is_main_process:
            path = out / _LOG
            _cut_log(path, step)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
            self._bar = tqdm(
                total=config.max_steps, initial=step, unit="step", disable=not housekeeping.progress, smoothing=0.05
            )
            if housekeeping.tensorboard:
                self._board = _board(out, step)

    def add(self, progress: _Progress, terms: dict[str, Tensor], n_segments: int) -> None:
        """Take a step in (a skipped one has no terms), and write a line when it is time."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._n_steps += bool(terms)
        self._n_segments += n_segments
        if self._bar is not None:
            self._bar.update()
        if progress.step % self.every == 0 or progress.step == self.max_steps:
            self._write_means(progress)

    def _write_means(self, progress: _Progress) -> None:
        """One line with the means over the steps since the last one."""
        device, n_processes = self.accelerator.device, self.accelerator.num_processes
        sums = [torch.as_tensor(value, dtype=torch.float32, device=device) for value in self._sums.values()]
        means = self.accelerator.reduce(torch.stack(sums)) / (self._n_steps * n_processes) if sums else []
        terms = {name: float(mean) for name, mean in zip(self._sums, means, strict=True)}
        seconds = time.perf_counter() - self._start
        progress.terms = {**progress.terms, **terms}
        rate = self._n_segments * n_processes / seconds
        self._write({"step": progress.step, **terms, "n_skipped": progress.n_skipped, "segments_per_second": rate})
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{terms.get('loss', math.nan):.4g}", refresh=False)
        self._sums, self._n_steps, self._n_segments = {}, 0, 0
        self._start = time.perf_counter()

    def validation(self, progress: _Progress, terms: dict[str, float]) -> None:
        """One line with the means over the held-out data."""
        progress.terms = {**progress.terms, **terms}
        self._write({"step": progress.step, **terms})

    def _write(self, line: dict[str, float]) -> None:
        if self._file is None:
            return
        # JSON has no NaN.
        plain = {name: value if math.isfinite(value) else None for name, value in line.items()}
        self._file.write(json.dumps(plain) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in line.items():
                self._board.add_scalar(name, value, line["step"])

    def flush(self) -> None:
        """Force what was written to disk, so that the log is never behind a checkpoint."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, the bar and the board."""
        for part in (self._file, self._bar, self._board):
            if part is not None:
                part.close()


def _cut_log(path: Path, step: int) -> None:
    """Drop lines after a step, and a last line that was not finished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    write_text(path, "".join(kept))


def _board(out: Path, step: int) -> object:
    """A TensorBoard writer; the package is optional."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard=True needs the package tensorboard: pip install tensorboard.") from error
    return SummaryWriter(out / "tensorboard", purge_step=step)
