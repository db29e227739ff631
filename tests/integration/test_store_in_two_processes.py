"""Two processes over gloo on one store: each draws other groups, both know the same, and a killed run continues."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from sqlalchemy import select

from r2vpo.store import RolloutStore
from r2vpo.store.checking import check_store
from r2vpo.store.tables import draws, groups, measurements, versions
from tests.integration.test_two_processes import launch_command
from tests.unit.cli.stored import copied

pytestmark = pytest.mark.slow


def launched(folder: Path, store: Path, name: str, *, killed_at: int = 0, resume: Path | None = None) -> dict:
    folder.mkdir(exist_ok=True)
    given = [str(folder), str(store), name, str(killed_at), str(resume or "")]
    command, options = launch_command("tests.integration.two_processes_of_store", 1 if name == "first" else 2, given)
    done = subprocess.run(command, **options)
    assert (done.returncode != 0) == bool(killed_at), done.stderr[-3000:]
    result = folder / "result.json"
    return json.loads(result.read_text()) if result.exists() else {}


def noted(store: Path) -> dict[str, list[tuple]]:
    """What the second run has left in the store."""
    with RolloutStore(store).reading() as connection:
        sampled = select(versions.c.number, groups.c.number, groups.c.tokens).where(versions.c.run == 2)
        asked = {
            "draws": select(draws).order_by(draws.c.round, draws.c.group),
            "measurements": select(measurements).order_by(measurements.c.round, measurements.c.version),
            "groups": sampled.join(groups, groups.c.version == versions.c.id).order_by(groups.c.number),
        }
        return {name: [tuple(row) for row in connection.execute(one)] for name, one in asked.items()}


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    launched(tmp_path / "first", tmp_path / "s.db", "first")
    (tmp_path / "copy").mkdir()
    other = copied(tmp_path / "s.db", tmp_path / "copy")
    whole = launched(tmp_path / "whole", tmp_path / "s.db", "second")
    assert whole["processes"] == 2
    first, second = whole["drawn"]
    assert len(first) == len(second) == 2 and {group % 2 for group in first} == {0} != {group % 2 for group in second}
    assert whole["worth"][0] == whole["worth"][1] and any(worth[0] for worth in whole["worth"][0].values())
    assert set(whole["rows"]) == {16}, "the rows of both"
    left = noted(tmp_path / "s.db")
    assert {row[2] for row in left["draws"]} == {0, 1, 2} and len(left["groups"]) == 12
    for number in range(3):
        rows = sum(row[3] for row in left["measurements"] if row[1] == number)
        assert rows == 16 == 4 * sum(row[2] == number for row in left["draws"])

    launched(tmp_path / "killed", other, "second", killed_at=4)
    assert len(noted(other)["draws"]) > 0
    checkpoint = tmp_path / "killed" / "out" / "checkpoint-3"
    resumed = launched(tmp_path / "killed", other, "second", resume=checkpoint)
    assert resumed["drawn"] == whole["drawn"] and resumed["worth"] == whole["worth"]
    assert noted(other) == left and not check_store(RolloutStore(other)).problems
    again = torch.load(tmp_path / "killed" / "parameters.pt")
    for name, value in torch.load(tmp_path / "whole" / "parameters.pt").items():
        assert value.equal(again[name]), name
