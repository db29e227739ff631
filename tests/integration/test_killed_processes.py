"""SIGKILL of one or all of two processes while they write a checkpoint: the run resumes from the last whole one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from r2vpo.config.run_directory import RunDirectory
from tests.integration.cli import start, weights, write_recipe
from tests.integration.test_several_processes import SETTINGS, children, run_of

pytestmark = pytest.mark.slow

TWO = ("--accelerate", "multi_gpu", "--num-processes", "2")
SECONDS = 300


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


def begin(recipe: Path, runs: Path) -> subprocess.Popen[str]:
    return start("train", str(recipe), "--runs-dir", str(runs), *TWO, *SETTINGS, folder=recipe.parent)


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """A run that nothing happened to."""
    process = begin(recipe, recipe.parent / "whole")
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, ""), out
    return run_of(recipe.parent / "whole")


def stopped_in_a_checkpoint(process: subprocess.Popen[str], runs: Path) -> list[int]:
    """Suspend both processes while they write the checkpoint of step 8, and return their numbers, the first's first."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        writing = list(runs.glob("*/checkpoints/.staging/checkpoint-8"))
        if writing:
            ranks = children(process.pid)
            for rank in ranks:
                os.kill(rank, signal.SIGSTOP)
            assert len(ranks) == 2 and writing[0].is_dir(), "it was complete a moment before"
            return ranks
        time.sleep(0.001)
    raise AssertionError("there was no second checkpoint")


@pytest.mark.parametrize("who", ["the first", "the second", "all"])
def test_the_run_resumes_from_the_checkpoint_before(recipe: Path, whole: Path, tmp_path: Path, who: str) -> None:
    runs = tmp_path / "runs"
    process = begin(recipe, runs)
    ranks = stopped_in_a_checkpoint(process, runs)
    killed = {"the first": ranks[:1], "the second": ranks[1:], "all": [process.pid, *ranks]}[who]
    for number in killed:
        os.kill(number, signal.SIGKILL)
    for rank in ranks:
        if rank not in killed:
            os.kill(rank, signal.SIGCONT)
    _, err = process.communicate(timeout=SECONDS)
    run = run_of(runs)
    assert process.returncode == (-signal.SIGKILL if who == "all" else 1), err
    if who != "all":
        *stopping, line = err.splitlines()  # the other one may acknowledge that it is ended
        assert stopping in ([], ["r2vpo: stopping: saved up to step 4"]), err
        assert "was ended by SIGKILL" in line and line.endswith(f"--resume {run}"), err
    end = time.monotonic() + SECONDS
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.1)
    assert list(RunDirectory(run).all_checkpoints()) == [4]
    resumed = start("train", str(recipe), *TWO, *SETTINGS, "--resume", str(run), folder=recipe.parent)
    out, err = resumed.communicate(timeout=SECONDS)
    assert (resumed.returncode, err) == (0, ""), out
    for name, weight in weights(whole, 8).items():
        assert weights(run, 8)[name].equal(weight)
