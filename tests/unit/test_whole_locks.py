"""Of several processes that write one folder, one works at a time, with every version of filelock that is allowed."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from r2vpo.whole import write_folder

FORK = multiprocessing.get_context("fork")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    target, log = tmp_path / "model", tmp_path / "log"

    def work(number: int) -> None:
        def fill(folder: Path) -> None:
            for name in "abc":
                time.sleep(0.05)
                (folder / name).write_text(str(number))
            with log.open("a") as file:
                file.write(str(number))

        write_folder(target, fill)

    processes = [FORK.Process(target=work, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    last = log.read_text()[-1]
    assert sorted(log.read_text()) == ["0", "1", "2", "3"] and names(tmp_path) == ["log", "model"]
    assert {(target / name).read_text() for name in "abc"} == {last}


def test_a_lock_file_that_is_removed_while_it_is_being_locked_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that held the lock ends between another one's opening the file and locking it."""
    target, place, lock, count = tmp_path / "model", tmp_path / ".model.lock", fcntl.flock, 0

    def late(descriptor: int, operation: int) -> None:
        nonlocal count
        count += 1
        if count == 1:
            place.unlink()
        lock(descriptor, operation)

    def fill(folder: Path) -> None:
        with pytest.raises(Timeout):
            FileLock(place, timeout=0).acquire()

    monkeypatch.setattr("fcntl.flock", late)
    write_folder(target, fill)
    assert names(tmp_path) == ["model"] and count > 2


def test_the_lock_file_of_the_next_process_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the name as soon as this process has removed its own lock file."""
    place, unlink = tmp_path / ".model.lock", os.unlink
    following = FileLock(place, timeout=0)

    def removed(path: str) -> None:
        unlink(path)
        following.acquire()

    monkeypatch.setattr("os.unlink", removed)
    write_folder(tmp_path / "model", lambda folder: (folder / "a").touch())
    monkeypatch.undo()
    assert following.is_locked and names(tmp_path) == [".model.lock", "model"]
    following.release()
