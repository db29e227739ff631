"""`r2vpo compare` on control tasks: a small experiment that is interrupted, resumed, widened and reported."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from r2vpo.compare.control.schema import LESS_MEMORY
from tests.integration.cli import Outcome, command, records, start, wait_for

EXPERIMENT: dict[str, Any] = {
    "kind": "control",
    "name": "small",
    "set": {"n_steps": 64, "batch_size": 64, "n_epochs": 2, "learning_rate": 1.0e-3},
    "seeds": {"first": 20, "count": 2},
    "baseline": "ppo",
    "tasks": {
        "cartpole": {"title": "CartPole", "steps": 2048, "environment": {"name": "CartPole-v1", "copies": 2}},
        "pendulum": {"title": "Pendulum", "steps": 2048, "environment": {"name": "Pendulum-v1"}, "seeds": 1},
        "car": {"kind": "sparse", "steps": 2048, "environment": {"name": "MountainCarContinuous-v0"}, "seeds": 1},
    },
    "methods": {
        "ppo": {"title": "PPO", "algorithm": "ppo"},
        "ours": {"title": "R²VPO", "algorithm": "r2vpo", "rates": [1.0, 10.0]},
    },
}
CELLS = [
    ("ppo", "cartpole", 20),
    ("ours", "cartpole", 20),
    ("ppo", "cartpole", 21),
    ("ours", "cartpole", 21),
    ("ppo", "pendulum", 20),
    ("ours", "pendulum", 20),
    ("ppo", "car", 20),
    ("ours", "car", 20),
    ("ours", "cartpole x10", 20),
    ("ours", "cartpole x10", 21),
    ("ours", "pendulum x10", 20),
    ("ours", "car x10", 20),
]


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT | changes, allow_unicode=True, sort_keys=False))
    return file


def compare(file: Path, *more: str) -> Outcome:
    return command("compare", str(file), "--out", str(file.parent / "out"), "--jobs", "1", *more)


def cells(folder: Path) -> list[tuple[str, str, int]]:
    return [(one["method"], one["setting"], one["seed"]) for one in records(folder / "results.jsonl")]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison that was interrupted after its first cells."""
    file = write(tmp_path_factory.mktemp("control"))
    out = file.parent / "out"
    process = start("compare", str(file), "--out", str(out), "--jobs", "1", folder=file.parent)
    try:
        wait_for(out / "small" / "results.jsonl", process, seconds=300.0)
        (worker,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "r2vpo: interrupted\n")
    assert "finished cells are kept; the same command continues" in printed
    assert psutil.wait_procs([worker], timeout=30)[1] == []
    return out / "small"


@pytest.fixture(scope="module")
def finished(interrupted: Path) -> tuple[Path, list[tuple[str, str, int]], Outcome]:
    """The folder, the cells that were finished before, and the second call."""
    before = cells(interrupted)
    return interrupted, before, compare(interrupted.parents[1] / "small.yaml")


@pytest.mark.slow
def test_the_same_command_continues_with_the_first_cell_that_is_not_finished(
    finished: tuple[Path, list[tuple[str, str, int]], Outcome],
) -> None:
    folder, before, done = finished
    assert (done.code, done.err) == (0, "")
    assert 1 <= len(before) < len(CELLS) and before == CELLS[: len(before)]
    assert cells(folder) == CELLS, "no cell ran twice"
    lines = done.out.splitlines()
    assert lines[0] == f"result: {len(before)} of 12 cells are finished" and "12/12  car x10 ours seed 20  " in done.out
    assert [Path(line).name for line in lines[-2:]] == ["report.html", "report.md"]
    assert not list((folder / "cells").glob("*"))
    found = records(folder / "results.jsonl")
    assert all(one["status"] == "finished" and one["diverged"] is None for one in found)
    assert all(one["curve"]["return"] for one in found)


@pytest.mark.slow
def test_the_report_has_every_task_and_method(finished: tuple[Path, list[tuple[str, str, int]], Outcome]) -> None:
    folder, _, _ = finished
    written = (folder / "report.md").read_text(encoding="utf-8")
    (folder / "report.md").unlink()
    again = compare(folder.parents[1] / "small.yaml", "--report")
    assert (again.code, again.err) == (0, "") and cells(folder) == CELLS
    assert (folder / "report.md").read_text(encoding="utf-8") == written
    assert "- cells: 12 of 12 finished" in written
    for title in ("Over all tasks", "Final return by task", "Steps to a return", "At multiples of the learning rate"):
        assert f"## {title}" in written
    for name in ("CartPole", "Pendulum", "| car |", "PPO", "R²VPO"):
        assert name in written
    assert sorted(file.name for file in (folder / "figures").iterdir()) == ["profile.png", "returns.png"]


@pytest.mark.slow
def test_a_part_of_it_and_more_seeds(finished: tuple[Path, list[tuple[str, str, int]], Outcome]) -> None:
    folder, _, _ = finished
    file = folder.parents[1] / "small.yaml"
    dry = compare(file, "--dry-run", "--tasks", "car", "--methods", "ours", "--seeds", "2")
    assert (dry.code, dry.err) == (0, "") and "2 of 4 cells are finished" in dry.out
    assert [line.split()[0] for line in dry.out.splitlines()[:4]] == ["finished", "to", "finished", "to"]


@pytest.mark.slow
def test_two_processes_in_one_folder_and_a_killed_worker(tmp_path: Path) -> None:
    """The second process is refused and disturbs nothing; memory is saved by what a control task has."""
    long = {"pendulum": EXPERIMENT["tasks"]["pendulum"] | {"steps": 1_000_000}}
    file = write(tmp_path, tasks=long, methods={"ppo": EXPERIMENT["methods"]["ppo"]})
    out = tmp_path / "out"
    process = start("compare", str(file), "--out", str(out), "--jobs", "1", folder=tmp_path)
    try:
        wait_for(out / "small" / "worker-1.log", process, seconds=300.0)
        refused = compare(file)
        assert refused.code == 2 and refused.err.count("\n") == 1
        assert f"process {process.pid}" in refused.err and "works here: wait for it, stop it" in refused.err
        assert not (out / "small" / "results.jsonl").exists() and process.poll() is None
        (worker,) = psutil.Process(process.pid).children()
        worker.kill()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2 and "its process was killed, perhaps for lack of memory" in err
    assert LESS_MEMORY in err and "micro_batches" not in err


def test_what_it_refuses(tmp_path: Path) -> None:
    file = write(tmp_path)
    for option, said in (
        (("--tuning-only",), "--tuning-only: nothing is tuned on control tasks: leave it out"),
        (("--tasks", "cart"), f"--tasks: {file} has no task cart: it has cartpole, pendulum, car"),
        (("--methods", "trpo"), f"--methods: {file} has no method trpo: it has ppo, ours"),
    ):
        refused = compare(file, *option)
        assert refused.code == 2 and said in refused.err and refused.err.count("\n") == 1
    wrong = compare(write(tmp_path, set={"learning_rate": "fast"}))
    assert wrong.code == 2 and "set.learning_rate = fast: input should be a valid number" in wrong.err
    assert not (tmp_path / "out").exists(), "nothing was run"
