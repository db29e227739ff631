"""One writer and many readers at once; a process that is killed while it writes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from r2vpo.store import RolloutStore, Sampled, drawing, writing
from r2vpo.store.tables import groups, rollouts
from tests.unit.store.filled import add_run, fill, sampled

SPAWN = multiprocessing.get_context("spawn")
GROUPS = 6


def write_versions(place: str, key: str, versions: int, written: Any) -> None:
    """Write versions of `GROUPS` groups until there are so many."""
    store = RolloutStore(place)
    run = add_run(store, key)
    for number in range(versions):
        with store.writing() as connection:
            reward = writing.add_reward(connection, "right", "")
            version = writing.add_version(connection, run, number, None)
            new = [sampled(number * GROUPS + i, version=number) for i in range(GROUPS)]
            writing.add_groups(connection, version, new, reward)
        written.value = number + 1


def rows_by_version(store: RolloutStore) -> dict[int, int]:
    with store.reading() as connection:
        wanted = (
            select(groups.c.version, func.count())
            .join(rollouts, rollouts.c.group == groups.c.id)
            .group_by(groups.c.version)
        )
        return dict(connection.execute(wanted).tuples().all())


def test_writers_take_turns_and_readers_see_whole_versions(place: str) -> None:
    store = RolloutStore(place)
    counters = [SPAWN.Value("i", 0) for _ in range(2)]
    writers = [
        SPAWN.Process(target=write_versions, args=(place, key, 30, counter))
        for key, counter in zip("ab", counters, strict=True)
    ]
    for writer in writers:
        writer.start()
    looked = 0
    while any(writer.is_alive() for writer in writers):
        assert set(rows_by_version(store).values()) <= {2 * GROUPS}
        looked += 1
    assert [writer.exitcode for writer in writers] == [0, 0] and looked > 1
    assert rows_by_version(store) == dict.fromkeys(range(1, 61), 2 * GROUPS)


def test_one_writes_at_a_time(place: str) -> None:
    """Also to PostgreSQL, where two writers of the same prompts could otherwise each wait for the other."""
    store, same = RolloutStore(place), [sampled(0), sampled(1)]
    versions = [writing_version(store, key) for key in "ab"]
    first, second, failed = threading.Event(), threading.Event(), list[BaseException]()

    def write(version: int, groups: list[Sampled], mine: threading.Event, other: threading.Event) -> None:
        try:
            with store.writing() as connection:
                writing.add_groups(connection, version, groups[:1], 1)
                mine.set()
                other.wait(1)
                writing.add_groups(connection, version, groups[1:], 1)
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=write, args=(versions[0], same, first, second)),
        threading.Thread(target=write, args=(versions[1], same[::-1], second, first)),
    ]
    for thread in threads:
        thread.start()
        first.wait()
    assert not second.is_set()
    for thread in threads:
        thread.join()
    assert failed == [] and rows_by_version(store) == dict.fromkeys(versions, 4)


def writing_version(store: RolloutStore, key: str) -> int:
    run, _ = fill(store, key, 0, 0)
    with store.writing() as connection:
        return writing.add_version(connection, run, 0, None)


def test_a_reader_sees_one_state(place: str) -> None:
    """A group that is removed after a draw has chosen it can still be read."""
    store = RolloutStore(place)
    fill(store, "a", 1, 3)
    with store.reading() as reader:
        assert drawing.newest_group(reader) == 3
        with store.writing() as writer:
            writer.execute(delete(groups).where(groups.c.id == 2))
        assert [-one.group.number for one in drawing.read_groups(reader, [1, 2, 3], 1)] == [1, 2, 3]
    with store.reading() as reader:
        assert drawing.read_groups(reader, [2], 1) == []


@pytest.mark.parametrize("after", [2, 9])
def test_a_killed_writer_leaves_whole_versions(place: str, after: int) -> None:
    store = RolloutStore(place)
    written = SPAWN.Value("i", 0)
    writer = SPAWN.Process(target=write_versions, args=(place, "a", 100_000, written))
    writer.start()
    while written.value < after:
        assert writer.is_alive()
        time.sleep(0.001)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    found = rows_by_version(store)
    assert set(found.values()) == {2 * GROUPS} and written.value <= len(found) <= written.value + 1
    fill(store, "b", 1, 1)  # nobody holds a lock
