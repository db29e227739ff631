"""A small recipe, rewards that behave as a test asks, and the command line as a function and as a process."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from r2vpo.cli.main import main
from r2vpo.config.records import read_records
from r2vpo.rewards import text_of

ROOT = Path(__file__).parents[2]
PROMPTS, SAMPLES, STEPS_PER_ROUND, HELD_OUT = 4, 4, 4, 20
ROWS = PROMPTS * SAMPLES
TIMES = {"seconds", "seconds_evaluating", "seconds_generating", "seconds_training", "tokens_per_second"}
# what `scripted` does from a training round on: "raise:2", "nan:2", "same:2", or "hold:3:FILE" (make the file and wait)
BEHAVIOUR = "R2VPO_TEST_REWARD"

RECIPE = f"""\
name: small
seed: 1
model: {{name: tiny/random-llama}}
data:
  source: reasoning_gym
  few_shot: 1
  train_size: 24
  held_out_size: {HELD_OUT}
  mixture:
    - family: chain_sum
      difficulty: easy
      params: {{min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}}
      question: "{{expression}} ="
    - family: chain_sum
      difficulty: hard
      params: {{min_terms: 2, max_terms: 2, min_digits: 2, max_digits: 2}}
      question: "{{expression}} ="
reward: {{name: "tests.integration.cli:even_digits"}}
replay: {{versions: 2}}
rollout: {{prompts_per_round: {PROMPTS}, samples_per_prompt: {SAMPLES}, max_new_tokens: 3}}
trainer:
  max_steps: 8
  optimizer_steps_per_round: {STEPS_PER_ROUND}
  learning_rate: 1e-3
  save_steps: 4
  threads: 1
  device: cpu
evaluation: {{every_rounds: 1, samples_shown: 4}}
"""

_training_rounds = 0


def even_digits(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The number of even digits and a little for length, so that rows of a group differ."""
    return [sum(c in "02468" for c in text) + 0.1 * len(text) for text in map(text_of, completions)]


def scripted(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """As `even_digits`, but from the training round that the environment names on it fails, waits or is constant."""
    global _training_rounds
    what, _, rest = os.environ.get(BEHAVIOUR, "").partition(":")
    if what and len(completions) == ROWS:
        _training_rounds += 1
        turn, _, file = rest.partition(":")
        if _training_rounds >= int(turn):
            if what == "raise":
                raise RuntimeError("the scorer is gone")
            if what == "nan":
                return [float("nan")] * len(completions)
            if what == "same":
                return [1.0] * len(completions)
            Path(file).touch()
            time.sleep(120)
    return even_digits(prompts, completions)


def not_a_score(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Raises on every completion, the empty one of the trial call too."""
    raise RuntimeError("no scorer here")


def fails_on_text(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Raises on every completion but the empty one of the trial call."""
    if any(completions):
        raise RuntimeError("no scorer for text")
    return [0.0] * len(completions)


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str
    runs: list[Path]

    @property
    def run(self) -> Path:
        """The one run that it made."""
        assert len(self.runs) == 1, (self.runs, self.out, self.err)
        return self.runs[0]


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def train(recipe: Path, *overrides: str, runs: Path, more: tuple[str, ...] = (), **environment: str) -> Outcome:
    """`r2vpo train` in this process, since starting one with torch takes longer than the training."""
    settings = ("--set", *overrides) if overrides else ()
    return command("train", str(recipe), *settings, "--runs-dir", str(runs), *more, runs=runs, **environment)


def command(*arguments: str, runs: Path | None = None, **environment: str) -> Outcome:
    """Any command in this process; what it changes of the process is put back."""
    global _training_rounds
    _training_rounds = 0
    before = _entries(runs)
    out, err = io.StringIO(), io.StringIO()
    with _process_state_kept(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.environ.update(environment)
        code = main(arguments)
    return Outcome(code, out.getvalue(), err.getvalue(), sorted(_entries(runs) - before))


def start(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own, in a folder of its own, as a user starts it in a pipe."""
    # What the tests import goes first, and what this process was told to import stays.
    folders = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "r2vpo.cli.main", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(folders)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite started in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(file: Path, process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    """Wait until the process has made a file."""
    end = time.monotonic() + seconds
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {file} within {seconds} s"
        time.sleep(0.02)


def records(path: Path) -> list[dict[str, Any]]:
    return read_records(path)


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, or its adapters."""
    (file,) = (run / "checkpoints" / f"checkpoint-{step}").glob("*.safetensors")
    return load_file(file)


def _entries(folder: Path | None) -> set[Path]:
    return set(folder.iterdir()) if folder is not None and folder.is_dir() else set()


@contextlib.contextmanager
def _process_state_kept() -> Iterator[None]:
    environment, path, threads = dict(os.environ), list(sys.path), torch.get_num_threads()
    hook = threading.excepthook
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        torch.set_num_threads(threads)
        threading.excepthook = hook
