"""A network of a few parameters, trained by the loop under test; also a script, for processes of their own."""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mne_specmoe.models.interface import Batch
from mne_specmoe.training import Housekeeping, Outcome, TrainingConfig, make_accelerator, train


class Unplugged(RuntimeError):
    """What happens in the middle of a run."""


class ToyObjective(nn.Module):
    """Rebuild a signal from itself through dropout; a signal of NaN gives a loss of NaN."""

    def __init__(self, *, plain: bool = False, dropout: float = 0.2, pause: float = 0.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            middle = [] if plain else [nn.BatchNorm1d(4), nn.Dropout(dropout)]
            # No bias before the normalisation: its gradient is rounding, which Adam would blow up to whole steps.
            first = nn.Conv1d(2, 4, 5, padding=2, bias=False)
            self.network = nn.Sequential(first, *middle, nn.Conv1d(4, 2, 5, padding=2))
        self.pause = pause

    def forward(self, batch: Batch, *, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(self.pause)
        loss = F.mse_loss(self.network(batch.x), batch.x)
        return loss, {"mse": loss.detach()}


class ToyBatches(Dataset):
    """Batch i is a function of i; the batches of `poisoned` hold NaN."""

    def __init__(self, *, batch_size: int, rank: int = 0, world_size: int = 1, poisoned=(), fail_at=None, n=2):
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.poisoned, self.fail_at, self.n = poisoned, fail_at, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> tuple[Batch, float]:
        if number == self.fail_at:
            raise Unplugged("unplugged")
        segments = torch.arange(self.batch_size) + number * self.batch_size
        own = segments[self.rank :: self.world_size]
        x = torch.stack([torch.randn(2, 40, generator=torch.Generator().manual_seed(int(s))) for s in own])
        if number in self.poisoned:
            x[0, 0, 0] = torch.nan
        weight = len(own) * self.world_size / self.batch_size
        return Batch(x, torch.zeros(len(x), 40), own, ("a", "b"), torch.zeros(2, 3)), weight


def run_toy(
    out: Path,
    *,
    max_steps: int,
    batch_size: int = 4,
    accumulation: int = 1,
    seed: int = 41,
    max_skipped: int = 10,
    max_grad_norm: float | None = 5.0,
    plain: bool = False,
    dropout: float = 0.2,
    pause: float = 0.0,
    poisoned: tuple[int, ...] = (),
    fail_at: int | None = None,
    resume: bool = False,
    **housekeeping: int,
) -> Outcome | None:
    """Train; None if the data failed on the way."""
    accelerator = make_accelerator("cpu")
    place = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    config = TrainingConfig(
        max_steps=max_steps,
        batch_size=batch_size,
        accumulation=accumulation,
        lr=1e-2,
        seed=seed,
        max_skipped=max_skipped,
        max_grad_norm=max_grad_norm,
    )
    try:
        return train(
            ToyObjective(plain=plain, dropout=dropout, pause=pause),
            ToyBatches(batch_size=batch_size, poisoned=poisoned, fail_at=fail_at, **place),
            out,
            config,
            accelerator=accelerator,
            validation=ToyBatches(batch_size=batch_size, **place),
            housekeeping=Housekeeping(**{"progress": False, "device": "cpu", **housekeeping}),
            resume=resume,
        )
    except Unplugged:
        return None


def final_weights(out: Path, step: int) -> dict[str, Tensor]:
    """Parameters and buffers after a step."""
    return torch.load(out / f"checkpoints/step-{step:09d}.pt", weights_only=True)["objective"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, steps, every, seconds, *rest = sys.argv[1:]
    options = {"log_every": 1, **({"dropout": 0.0} if "no-dropout" in rest else {})}
    if rest[1:]:
        options["batch_size"] = int(rest[1])
    try:
        run_toy(Path(folder), max_steps=int(steps), checkpoint_every=int(every), pause=float(seconds), **options)
    except KeyboardInterrupt:
        sys.exit(130)
