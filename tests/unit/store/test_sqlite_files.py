"""A store that is only read needs no lock, and no right to write."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, sqlite_files
from r2vpo.store.tables import groups
from tests.disks import can_mount, disk, read_only
from tests.unit.store.filled import fill

mounted = pytest.mark.skipif(not can_mount(), reason="only an administrator can mount a disk")
FILES = ("s.db", "s.db-wal", "s.db-shm")


def count(store: RolloutStore) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(groups)).scalar_one())


def test_a_reader_does_not_wait_for_a_writer(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_files, "WAIT_SECONDS", 1)
    store = RolloutStore(place)
    fill(store, "a", 1, 3)
    with store.writing() as connection:
        connection.execute(groups.delete())
        assert count(RolloutStore(place, read_only=True)) == 3


@mounted
def test_a_file_on_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with disk(folder := tmp_path / "disk", 8):
        store = RolloutStore(folder / "s.db")
        fill(store, "a", 1, 3)
        store.close()
        with read_only(folder):
            reader = RolloutStore(folder / "s.db", read_only=True)
            assert count(reader) == 3
            reader.close()
            for place in (folder / "s.db", folder / "new.db"):
                with pytest.raises(UserError, match=f"^store {place}: it is read-only: make .* writable"):
                    RolloutStore(place)
            assert [path.name for path in folder.iterdir()] == ["s.db"]


@mounted
def test_transactions_that_are_not_in_the_file_yet_are_read_as_well(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path / "s.db")
    fill(store, "a", 1, 3)
    with disk(folder := tmp_path / "disk", 8):
        for name in FILES:
            shutil.copy(tmp_path / name, folder)
        with read_only(folder):
            reader = RolloutStore(folder / "s.db", read_only=True)
            assert count(reader) == 3
            reader.close()
        (folder / "s.db-shm").unlink()
        with read_only(folder), pytest.raises(UserError, match=r"its last transactions are in s\.db-wal: copy both"):
            RolloutStore(folder / "s.db", read_only=True)


@mounted
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    with disk(folder := tmp_path / "disk", 1):
        store = RolloutStore(folder / "s.db")
        written = 0
        with pytest.raises(UserError, match=r"^store .*s\.db: .*free space.* is unchanged$"):
            for number in range(1000):
                fill(store, f"run {number}", 1, 20)
                written += 20
        assert written > 0 and count(store) == written
        store.close()
        with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        assert count(RolloutStore(folder / "s.db", read_only=True)) == written
