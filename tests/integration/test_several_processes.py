"""`r2vpo train --accelerate`: two gloo processes as accelerate starts them, and one line however they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r2vpo.config.shipped import ACCELERATE
from tests.integration.cli import RECIPE, ROOT, records, start, wait_for, weights

SETTINGS = (
    "--set",
    "trainer.max_steps=8",
    "trainer.save_steps=4",
    "rollout.dtype=model",
    "trainer.bf16_autocast=false",
)
TWO = ("--accelerate", "cpu", "--num-processes", "2")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    # Rewards that wait or raise when a test says so, in one process or in all.
    path.write_text(RECIPE.replace("tests.integration.cli:even_digits", "tests.integration.of_one_process:scripted"))
    return path


def run_of(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


def children(process: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(status.parent.name))
    return sorted(found)


@pytest.mark.slow
def test_it_trains_as_accelerate_launch_does(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", "r2vpo.cli.main", "train", str(recipe), "--runs-dir", str(tmp_path / "theirs"), *SETTINGS]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    theirs = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    ours = start("train", str(recipe), "--runs-dir", str(tmp_path / "ours"), *TWO, *SETTINGS, folder=tmp_path)
    out, err = ours.communicate(timeout=300)
    assert (ours.returncode, err) == (0, "")
    # Only the first process shows anything.
    assert out.count("\nreport ") == 1 and out.count("evaluating") == theirs.stdout.count("evaluating")
    a, b = run_of(tmp_path / "ours"), run_of(tmp_path / "theirs")
    assert (a / "config.yaml").read_text() == (b / "config.yaml").read_text()
    for name, weight in weights(b, 8).items():
        assert weights(a, 8)[name].equal(weight)
    assert [r["correct"] for r in records(a / "evaluations.jsonl")] == [
        r["correct"] for r in records(b / "evaluations.jsonl")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL of one"])
def test_a_stopped_run_says_how_to_resume_and_ends_as_the_whole_one(recipe: Path, tmp_path: Path, how: str) -> None:
    waiting = tmp_path / "waiting"
    process = start(
        *("train", str(recipe), "--runs-dir", str(tmp_path / "runs"), *TWO, *SETTINGS),
        folder=tmp_path,
        R2VPO_TEST_REWARD=f"hold:2:{waiting}",
    )
    wait_for(waiting, process)
    ranks = children(process.pid)
    assert len(ranks) == 2
    if how == "SIGKILL of one":
        os.kill(ranks[1], signal.SIGKILL)
    else:
        process.send_signal(signal.Signals[how])
    out, err = process.communicate(timeout=120)
    said = {"SIGINT": "interrupted", "SIGTERM": "terminated"}.get(how, "error: process 1 of 2 was ended by SIGKILL")
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143}.get(how, 1), (out, err)
    *before, line = err.splitlines()
    assert [text.partition(":")[2].split(":")[0] for text in before] == [" stopping"] * (len(before))
    assert len(before) <= 1 and (before or how == "SIGKILL of one")
    run = run_of(tmp_path / "runs")
    assert line.startswith(f"r2vpo: {said}")
    assert "--accelerate cpu --num-processes 2" in line and line.endswith(f"--resume {run}")
    assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    command = line.partition(" -m r2vpo.cli.main ")[2].split()
    resumed = start(*command, folder=tmp_path)
    out, err = resumed.communicate(timeout=300)
    assert (resumed.returncode, err) == (0, "")
    whole = start("train", str(recipe), "--runs-dir", str(tmp_path / "whole"), *TWO, *SETTINGS, folder=tmp_path)
    assert whole.wait(timeout=300) == 0, whole.communicate()
    for name, weight in weights(run_of(tmp_path / "whole"), 8).items():
        assert weights(run, 8)[name].equal(weight)


@pytest.mark.slow
def test_nothing_is_left_when_the_command_is_killed(recipe: Path, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    process = start(
        *("train", str(recipe), "--runs-dir", str(tmp_path / "runs"), *TWO, *SETTINGS),
        folder=tmp_path,
        R2VPO_TEST_REWARD=f"hold:1:{waiting}",
    )
    wait_for(waiting, process, seconds=300.0)
    ranks = children(process.pid)
    process.kill()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < end
        time.sleep(0.2)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "behaviour", "code", "said"),
    [
        ([*TWO, "--set", "model.name=nowhere"], "", 2, "error: model.name 'nowhere': "),
        (TWO, "raise:1", 2, "the scorer of one process is gone"),
    ],
)
def test_a_failure_is_one_line(
    recipe: Path, tmp_path: Path, options: tuple[str, ...], behaviour: str, code: int, said: str
) -> None:
    process = start(
        *("train", str(recipe), "--runs-dir", str(tmp_path / "runs"), *options),
        folder=tmp_path,
        R2VPO_TEST_REWARD=behaviour,
    )
    _, err = process.communicate(timeout=300)
    (line,) = err.splitlines()
    assert process.returncode == code and line.startswith("r2vpo: error: ") and said in line


@pytest.mark.slow
def test_two_machines_train_one_run(recipe: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "own.yaml"
    shipped = ACCELERATE.listed()["cpu"].read_text().replace("num_machines: 1", "num_machines: 2")
    file.write_text(f"{shipped}main_process_port: {port}\nmain_process_ip: 127.0.0.1\n")
    machines = [
        start(
            *("train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--accelerate", str(file), *SETTINGS),
            *("--machine-rank", str(rank)),
            folder=tmp_path,
        )
        for rank in range(2)
    ]
    (out, err), (nothing, err_of_second) = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], err + err_of_second
    assert out.count("\nreport ") == 1 and nothing == "" and err == err_of_second == ""
    assert (run_of(tmp_path / "runs") / "summary.json").is_file()
