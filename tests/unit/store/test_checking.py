"""Damage of a store is found, counted by kind, and what cannot be read can be removed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from r2vpo.store import RolloutStore
from r2vpo.store.checking import check_store, remove_groups
from r2vpo.store.tables import groups, prompts, rollouts, scores, signals, store
from tests.unit.store.filled import fill

UNREADABLE = "groups that cannot be read"


def test_a_whole_store_is_whole(place: str) -> None:
    whole = RolloutStore(place)
    fill(whole, "a", 3, 400)
    read: list[int] = []
    found = check_store(whole, progress=read.append)
    assert not found.problems and found.groups == 1200 and read == [500, 1000, 1200]


@pytest.mark.parametrize(
    ("damage", "kind", "example"),
    [
        (update(groups).where(groups.c.id == 2).values(tokens=b"damage"), UNREADABLE, "group 2: .*cannot be read"),
        (update(groups).where(groups.c.id == 2).values(size=5), UNREADABLE, "group 2: it has 2 rows of 11 tokens, and"),
        (update(rollouts).where(rollouts.c.group == 2).values(length=5), UNREADABLE, "group 2: its rows have"),
        (delete(rollouts).where(rollouts.c.group == 2), UNREADABLE, "group 2: its rows have"),
        (update(prompts).where(prompts.c.id == 2).values(ids=b"damage"), UNREADABLE, "group 2: its prompt cannot"),
        (update(prompts).where(prompts.c.id == 2).values(columns="{"), UNREADABLE, "group 2: its prompt cannot"),
        (delete(scores).where(scores.c.position == 1), "groups whose scores are incomplete", "1 scores for 2 rows"),
        (delete(signals).where(signals.c.group == 2), "groups that draws miss, or give without a signal", "group 2"),
        (update(scores).values(score=1.0), "groups that draws miss, or give without a signal", "group 1, reward 1"),
        (update(signals).values(place=7), "groups whose place in the draws is another one", "group 1, reward 1"),
        (update(store).values(schema=0), "numbers of the tables' form", "0"),
    ],
)
def test_damage_is_found(damage: object, kind: str, example: str, place: str) -> None:
    damaged = RolloutStore(place)
    fill(damaged, "a", 1, 3)
    with damaged.writing() as connection:
        connection.execute(damage)  # type: ignore[call-overload]
    found = check_store(damaged).problems
    assert kind in found, found
    assert re.search(example, found[kind][1]), found


def test_what_cannot_be_read_can_be_removed(place: str) -> None:
    damaged = RolloutStore(place)
    fill(damaged, "a", 1, 3)
    with damaged.writing() as connection:
        connection.execute(update(groups).where(groups.c.id == 2).values(tokens=b"damage"))
    found = check_store(damaged)
    assert found.unreadable == [2]
    remove_groups(damaged, found.unreadable)
    after = check_store(damaged)
    assert not after.problems and (after.groups, after.unused_prompts) == (2, 1)


def test_a_damaged_file_is_not_read_further(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    damaged = RolloutStore(path)
    fill(damaged, "a", 2, 300)
    damaged.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)
    found = check_store(RolloutStore(path, create=False))
    assert list(found.problems) == ["damage of the file"] and found.groups == 0


def test_references_that_lead_nowhere(tmp_path: Path) -> None:
    damaged = RolloutStore(tmp_path / "store.db")
    fill(damaged, "a", 1, 3)
    with damaged.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("DELETE FROM prompts WHERE id = 2")
        connection.exec_driver_sql("BEGIN")
        connection.commit()
    found = check_store(damaged).problems
    assert found["rows that refer to something that is gone"][0] == 1
    assert found[UNREADABLE][1].endswith("its prompt is gone")
