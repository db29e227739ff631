"""`r2vpo sample` and `r2vpo train --store`: processes that share a store, of which any may be killed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from r2vpo.store import RolloutStore
from r2vpo.store.policies import newest
from r2vpo.store.tables import draws, groups, runs, versions
from tests.integration.cli import ROWS, command, records, start, write_recipe

SETTINGS = ("--set", "rollout.dtype=model", "trainer.bf16_autocast=false")


def begin(folder: Path, steps: int, *more: str) -> tuple[subprocess.Popen[str], Path]:
    """A training run that collects, and its folder once it has published a policy."""
    recipe = write_recipe(folder)
    training = start(
        "train", str(recipe), "--store", "store.db", *SETTINGS, f"trainer.max_steps={steps}", *more, folder=folder
    )
    until(lambda: [path for path in (folder / "runs").glob("*") if newest(path / "policies")], training)
    (run,) = (folder / "runs").iterdir()
    return training, run


def sampler(folder: Path, run: Path, seed: int, *more: str) -> subprocess.Popen[str]:
    return start("sample", "--store", "store.db", "--policy", str(run), "--seed", str(seed), *more, folder=folder)


def until(condition: Any, *processes: subprocess.Popen[str], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def rows_of_kind(folder: Path, kind: str) -> int:
    """Rollouts in the store that runs of a kind have sampled."""
    with RolloutStore(folder / "store.db", create=False).reading() as connection:
        wanted = select(func.coalesce(func.sum(groups.c.size), 0)).select_from(groups).join(versions).join(runs)
        return int(connection.execute(wanted.where(runs.c.kind == kind)).scalar_one())


@pytest.mark.slow
def test_a_run_trains_on_what_samplers_put_in(tmp_path: Path) -> None:
    training, run = begin(tmp_path, 160)
    training.send_signal(signal.SIGSTOP)  # it would be done before the others have loaded torch
    samplers = [sampler(tmp_path, run, seed) for seed in (1, 2)]
    until(lambda: rows_of_kind(tmp_path, "sampling") >= 2 * ROWS, *samplers)
    training.send_signal(signal.SIGCONT)
    out, err = training.communicate(timeout=500)
    assert training.returncode == 0, (out, err)
    said = [one.communicate(timeout=60) for one in samplers]
    assert [one.returncode for one in samplers] == [0, 0], said
    assert all("has made its last step" in output for output, _ in said)
    last = records(run / "metrics.jsonl")[-1]
    collected = int(last["rollouts_collected"])
    assert collected > 0 and rows_of_kind(tmp_path, "sampling") >= collected
    assert collected + rows_of_kind(tmp_path, "training") == 40 * ROWS == collected + last["rollouts_generated"]
    with RolloutStore(tmp_path / "store.db", create=False).reading() as connection:
        # No group twice, and none of a policy that is older than the replay keeps.
        wanted = select(draws.c.group, draws.c.round, versions.c.number)
        of_group = wanted.select_from(draws).join(groups, groups.c.id == draws.c.group)
        found = connection.execute(of_group.join(versions, versions.c.id == groups.c.version)).all()
        assert len({row.group for row in found}) == len(found) == collected // 4
        assert all(0 <= row.round - row.number <= 2 for row in found)
    assert last["staleness_rows"][0] + last["staleness_rows"][1] + last["staleness_rows"][2] > 40 * ROWS


@pytest.mark.slow
def test_killing_any_process_loses_nothing_and_stops_nobody(tmp_path: Path) -> None:
    training, run = begin(tmp_path, 2000, "trainer.save_steps=8")
    killed, left = sampler(tmp_path, run, 1), sampler(tmp_path, run, 2)
    until(lambda: rows_of_kind(tmp_path, "sampling") > 2 * ROWS, training, killed, left)
    killed.kill()
    killed.wait()
    before = rows_of_kind(tmp_path, "sampling")
    until(lambda: rows_of_kind(tmp_path, "sampling") >= before + 2 * ROWS, training, left)
    until(lambda: (run / "checkpoints").is_dir() and list((run / "checkpoints").glob("checkpoint-*")), training, left)
    training.kill()
    training.wait()
    time.sleep(1)
    assert left.poll() is None
    checked = command("runs", "check", str(run))
    assert checked.code == 0, checked
    step = max(int(path.name.partition("-")[2]) for path in (run / "checkpoints").glob("checkpoint-*"))
    steps = str(step + 24)
    again = start(
        *("train", str(tmp_path / "small.yaml"), "--resume", str(run), "--store", "store.db", *SETTINGS),
        *("trainer.save_steps=8", f"trainer.max_steps={steps}"),
        folder=tmp_path,
    )
    out, err = again.communicate(timeout=500)
    assert again.returncode == 0, (out, err)
    assert left.communicate(timeout=60) and left.returncode == 0
    last = records(run / "metrics.jsonl")[-1]
    assert last["step"] == step + 24
    with RolloutStore(tmp_path / "store.db", create=False).reading() as connection:
        found = connection.execute(select(draws.c.group, draws.c.round)).all()
        assert len({row.group for row in found}) == len(found) == last["rollouts_collected"] // 4
        assert max(row.round for row in found) <= last["round"]


@pytest.mark.slow
def test_a_sampler_waits_for_the_run_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    training, run = begin(tmp_path, 100_000)
    training.send_signal(signal.SIGSTOP)
    try:
        elsewhere = start("sample", "--store", "other.db", "--policy", str(run), folder=tmp_path)
        out, err = elsewhere.communicate(timeout=240)
        assert elsewhere.returncode == 2 and "other.db: there is no such file" in err, (out, err)
        assert not (tmp_path / "other.db").exists()
        waiting = sampler(tmp_path, run, 1)
        until(lambda: rows_of_kind(tmp_path, "sampling") == 2 * ROWS, waiting)
        time.sleep(2)
        assert rows_of_kind(tmp_path, "sampling") == 2 * ROWS  # two rounds ahead
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0 and f"{2 * ROWS:,} rollouts are in store.db" in out, (out, err)
    finally:
        training.kill()
        training.wait()
