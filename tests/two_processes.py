"""Pretraining on two processes of this machine, and its log beside that of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def on_two_processes(model: str, corpus: Path, folder: Path, settings: dict, *tokenizer: Path) -> tuple[list, list]:
    """Log of a run on two processes, and for each the hashes of its buffers after every step."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).with_name("pretraining") / "rank.py"
    command = [sys.executable, *launcher, script, model, corpus, folder, json.dumps(settings), *tokenizer]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True, timeout=600)
    hashes = [json.loads((folder / f"buffers-{rank}.json").read_text()) for rank in range(2)]
    return log(folder / "run"), hashes


def log(run: Path) -> list[dict]:
    """Lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_same_losses(one: list[dict], two: list[dict], rtol: float) -> None:
    """Every term of every line, but for gradients, rates and speed."""
    assert len(one) == len(two)
    for line, other in zip(one, two, strict=True):
        names = [name for name in line if name not in ("segments_per_second", "grad_norm")]
        np.testing.assert_allclose([other[name] for name in names], [line[name] for name in names], rtol=rtol)
