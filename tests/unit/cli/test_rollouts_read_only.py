"""What `r2vpo rollouts` can do with a store that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.store import RolloutStore
from tests.disks import can_mount, disk, read_only
from tests.unit.cli.helpers import failure
from tests.unit.store.filled import fill

pytestmark = pytest.mark.skipif(not can_mount(), reason="only an administrator can mount a disk")


def test_reading_commands_work_and_writing_ones_say_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with disk(folder := tmp_path / "disk", 8):
        store = RolloutStore(folder / "s.db")
        fill(store, "a", 2, 3)
        store.close()
        place = ["--store", str(folder / "s.db")]
        with read_only(folder):
            for reading in (
                ["list"],
                ["show", "run-a"],
                ["show", "1"],
                ["stats"],
                ["check"],
                ["export", "--to", str(tmp_path / "all.parquet")],
                ["prune", "--run", "run-a", "--dry-run"],
            ):
                assert main(["rollouts", *reading, *place]) == 0, reading
            capsys.readouterr()
            for writing in (["prune", "--run", "run-a"], ["rescore", "--reward", "math"], ["check", "--repair"]):
                line = failure(capsys, 2, "rollouts", *writing, *place)
                assert f"store {folder / 's.db'}: it is read-only: make the file and its folder writable" in line
