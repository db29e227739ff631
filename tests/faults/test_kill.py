"""SIGKILL at file events of a checkpoint and at random moments: a resumed run ends with the same numbers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.config.run_directory import RunDirectory
from tests.faults.campaign import ALL, STEPS, Campaign, same
from tests.faults.children import KILLED, command, ended, forked, killed_at

pytestmark = pytest.mark.slow

MOMENTS = 20 if ALL else 3


def wait_until_written(runs: Path, size: float) -> None:
    """Wait until the one run of a folder has written so many bytes of its numbers."""
    end = time.monotonic() + 60
    while time.monotonic() < end and sum(file.stat().st_size for file in runs.glob("*/metrics.jsonl")) < size:
        time.sleep(0.001)


def test_at_file_events_of_a_checkpoint(campaign: Campaign, tmp_path: Path) -> None:
    """The run is at its first checkpoint; it is killed while it writes the second."""
    begun = tmp_path / "begun"
    stopped = killed_at(10**9, begun, *campaign.arguments("--runs-dir", str(begun), steps=4), folder=tmp_path / "log")
    assert stopped.code == 0, stopped.err
    (first,) = begun.iterdir()

    def going_on(event: int, place: Path) -> int:
        run = Path(shutil.copytree(first, place / first.name))
        resume = campaign.arguments("--resume", str(run))
        return killed_at(event, run / "checkpoints", *resume, folder=place / "log").code

    assert going_on(10**9, tmp_path / "counted") == 0
    events = (tmp_path / "counted" / "log" / "events").read_text().splitlines()
    writing = [n for n, event in enumerate(events) if ".staging" in event or f"checkpoint-{STEPS}" in event]
    # Afterwards model/ is made from the checkpoint; a run killed there is finished.
    renamed = max(n for n in writing if ".staging" in events[n])
    writing = [n for n in writing if n <= renamed + 3]
    assert len(writing) > 20
    if not ALL:
        writing = [*writing[random.Random(3).randrange(12) : -4 : 12], *writing[-4::3]]
    outcomes: Counter[str] = Counter()
    for event in writing:
        place = tmp_path / str(event)
        assert going_on(event, place) == KILLED, events[event]
        (run,) = (path for path in place.iterdir() if path.name != "log")
        step = max(RunDirectory(run).all_checkpoints())
        if (run / "summary.json").is_file():
            assert same(run, campaign.whole), events[event]
            continue
        again = command(*campaign.arguments("--resume", str(run)), folder=place / "log")
        assert again.code == 0, again.err
        assert same(run, campaign.whole), events[event]
        outcomes[f"from step {step}"] += 1
        shutil.rmtree(place)
    print(
        f"killed at {len(writing)} file events of a checkpoint, same numbers {outcomes.total()} times: {dict(outcomes)}"
    )
    assert set(outcomes) == {"from step 4", f"from step {STEPS}"}, "the rename is among them"


def test_at_random_moments(campaign: Campaign, tmp_path: Path) -> None:
    """The moments lie evenly over what a run writes down, however fast the machine is at that time."""
    written = (campaign.whole / "metrics.jsonl").stat().st_size
    draws, outcomes = random.Random(5), Counter[str]()
    for moment in range(MOMENTS):
        place = tmp_path / str(moment)
        runs = place / "runs"
        child = forked(lambda runs=runs: main(campaign.arguments("--runs-dir", str(runs))), place / "log")
        wait_until_written(runs, (moment + draws.random()) / MOMENTS * written)
        time.sleep(draws.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        code = ended(child, place / "log").code
        assert code in (KILLED, 0)
        made = sorted(runs.iterdir()) if runs.is_dir() else []
        if not made:
            outcomes["before there was a run"] += 1
            continue
        (run,) = made
        if code == 0 or RunDirectory(run).read_summary() is not None:
            outcomes["after the end"] += 1
        elif not RunDirectory(run).all_checkpoints():
            refused = command(*campaign.arguments("--resume", str(run)), folder=place / "log")
            assert refused.code == 2 and refused.err.count("\n") == 1 and "no checkpoint was written yet" in refused.err
            outcomes["before the first checkpoint"] += 1
            continue
        else:
            again = command(*campaign.arguments("--resume", str(run)), folder=place / "log")
            assert again.code == 0, again.err
            outcomes["resumed"] += 1
        assert same(run, campaign.whole)
    print(f"killed at {MOMENTS} moments: {dict(outcomes)}")
    assert outcomes["resumed"] >= 1
