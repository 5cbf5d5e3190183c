"""Kill a pretraining run at random moments, resume it, and compare with a run that was left alone.

``python tests/kill_and_resume.py --model specmoe --kills 20`` prints a line per kill and ends with code 0 if the final
weights are the same bit by bit. The suite calls it with few kills.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.synthetic import make_eeg

CHECKPOINT_EVERY = 2


class Model(NamedTuple):
    """What to train: its flags, and its final file."""

    flags: tuple[str, ...]
    weights: str


# Few codes of which some die, so that some are drawn anew; layers that are left out at random.
_CODES = ("--n-codes", "32", "--revive-after", "2", "--depth", "1", "--decoder-depth", "1")
MODELS = {
    "specmoe": Model((), "expert.safetensors"),
    "brainrvq-tokenizer": Model((*_CODES, "--lr", "1e-3"), "tokenizer.safetensors"),
    "brainrvq": Model(("--depth", "2", "--drop-path", "0.5"), "brainrvq.safetensors"),
}


def make_corpus(folder: Path) -> Path:
    """Four short synthetic recordings of two montages and four subjects."""
    recordings = []
    for number in range(4):
        names = ["C3", "C4", "Cz"][: 3 - number % 2]
        data = make_eeg(1, len(names), 200 * 18, random_state=number)[0]
        recordings.append(ArrayRecording(f"S{number}", data, 200.0, names, subject=f"S{number}"))
    options = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "segment_seconds": 3.0, "notch": None}
    build_corpus(recordings, folder, **options, progress=False)
    return folder


def start(corpus: Path, run: Path, steps: int, model: str, flags: tuple[str, ...] = ()) -> subprocess.Popen:
    """Begin or resume a run in a process of its own."""
    command = [sys.executable, "-m", "mne_specmoe.cli", "pretrain", str(corpus), "--out", str(run), "--resume"]
    command += ["--model", model, *MODELS[model].flags, *flags]
    command += ["--max-steps", str(steps), "--batch-size", "2", "--accumulation", "2", "--device", "cpu"]
    command += ["--checkpoint-every", str(CHECKPOINT_EVERY), "--validate-every", "5", "--log-every", "1"]
    command += ["--validation", "0.25", "--no-progress"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def make_tokenizer(corpus: Path, run: Path) -> Path:
    """A tokenizer of few steps, as the encoder needs one."""
    finish(start(corpus, run, 2, "brainrvq-tokenizer"))
    return run / MODELS["brainrvq-tokenizer"].weights


def last_step(run: Path, name: str) -> int:
    """The last step in the log, or of the checkpoints."""
    if name == "log":
        path = run / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        steps = [_step(line) for line in lines]
    else:
        steps = [int(path.stem.removeprefix("step-")) for path in run.glob("checkpoints/step-*.pt")]
    return max(steps, default=0)


def _step(line: str) -> int:
    """The step of a line of the log; 0 where it was cut short."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return 0


def kill_at_random(process: subprocess.Popen, run: Path, rng: random.Random, longest: float) -> bool:
    """Wait until the run takes steps, then a random while, then kill; False if it came to its end before."""
    begun = last_step(run, "log")
    while process.poll() is None and last_step(run, "log") == begun:
        time.sleep(0.02)
    deadline = time.monotonic() + rng.uniform(0, longest)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def finish(process: subprocess.Popen) -> None:
    """Let a run come to its end."""
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"The run ended with code {process.returncode}: {errors[-2000:]}")


def kill_and_resume(folder: Path, model: str, *, n_kills: int, n_steps: int, longest: float, seed: int = 0) -> bool:
    """Whether a run killed so many times ends with the weights of one that was left alone."""
    rng = random.Random(seed)
    corpus = make_corpus(folder / "corpus")
    flags = ("--tokenizer", str(make_tokenizer(corpus, folder / "tokenizer"))) if model == "brainrvq" else ()
    finish(start(corpus, folder / "whole", n_steps, model, flags))
    killed = 0
    while killed < n_kills:
        process = start(corpus, folder / "parts", n_steps, model, flags)
        if not kill_at_random(process, folder / "parts", rng, longest):
            break
        killed += 1
        done, saved = last_step(folder / "parts", "log"), last_step(folder / "parts", "checkpoints")
        sys.stdout.write(f"kill {killed}: after step {done}, {done - saved} steps to repeat\n")
        sys.stdout.flush()
        if done - saved > CHECKPOINT_EVERY:
            return False
    finish(start(corpus, folder / "parts", n_steps, model, flags))
    whole, parts = ((folder / name / MODELS[model].weights).read_bytes() for name in ("whole", "parts"))
    sys.stdout.write(f"{killed} kills; final weights {'equal' if whole == parts else 'DIFFER'}\n")
    return whole == parts and killed == n_kills


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(MODELS), default="specmoe")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--longest", type=float, default=1.5, help="seconds of training before a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        options = {"n_kills": arguments.kills, "n_steps": arguments.steps, "longest": arguments.longest}
        sys.exit(0 if kill_and_resume(Path(name), arguments.model, **options, seed=arguments.seed) else 1)
