"""Which groups of other runs a run draws, and in which order."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import event, select

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, Source, drawing, writing
from r2vpo.store.drawing import BEFORE_ALL, Candidate
from r2vpo.store.tables import groups, prompts, scores
from tests.unit.store.filled import add_run, fill, sampled

MANY = 10**15


def found(store: RolloutStore, source: Source, run: int = 0, *, sees: int = MANY) -> list[tuple[int, int]]:
    with store.reading() as connection:
        versions = drawing.versions_of(connection, source, apart_from=run, tokenizer="t", sees=sees)
    return [(one.run, one.number) for one in versions]


def test_the_versions_that_a_source_selects(place: str) -> None:
    store = RolloutStore(place)
    first, _ = fill(store, "a", 3, 1, tags=["night", "sums"])
    second, _ = fill(store, "b", 2, 1, tags=["night"], kind="import")
    fill(store, "c", 1, 1, tokenizer="another")
    old = [(first, 0), (first, 1), (first, 2)]
    assert found(store, Source()) == [*old, (second, 0), (second, 1)]
    assert found(store, Source(), second) == old
    assert found(store, Source(runs=["run-a"])) == found(store, Source(runs=["a"])) == old
    assert found(store, Source(tags=["night", "sums"])) == old
    assert found(store, Source(max_age_versions=1)) == [(first, 2), (second, 1)]
    assert found(store, Source(kinds=["import"])) == [(second, 0), (second, 1)]
    assert found(store, Source(newer_than=time.time() + 1)) == []


def test_what_is_written_later_does_not_change_what_a_source_selects(place: str) -> None:
    store, hour = RolloutStore(place), time.time() - 3600
    run, reward = fill(store, "a", 2, 1)
    with store.writing() as connection:
        connection.execute(groups.update().values(created=hour))
        sees = drawing.newest_group(connection)
    newer = Source(newer_than=hour + 60)
    assert found(store, Source(max_age_versions=1), sees=sees) == [(run, 1)] and found(store, newer, sees=sees) == []
    with store.writing() as connection:
        for number in (1, 2, 3):
            version = writing.add_version(connection, run, number, None, created=time.time())
            writing.add_groups(connection, version, [sampled(10 + number, version=number)], reward)
    assert found(store, Source(max_age_versions=1), sees=sees) == [(run, 1)] and found(store, newer, sees=sees) == []
    assert found(store, Source(max_age_versions=1)) == [(run, 3)]
    assert found(store, newer) == [(run, 1), (run, 2), (run, 3)]


def draws(store: RolloutStore, reward: int, after: dict[int, int], **changes: object) -> dict[int, list[Candidate]]:
    options = {"run": MANY, "part": (0, 1), "rows": 9, "count": 100}
    with store.reading() as connection:
        return drawing.next_groups(connection, reward, after, **(options | changes))  # type: ignore[arg-type]


def draw(store: RolloutStore, reward: int, version: int, after: int = BEFORE_ALL, **changes: object) -> list[Candidate]:
    return draws(store, reward, {version: after}, **changes).get(version, [])


def test_a_version_gives_each_group_once(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 50)
    whole = draw(store, reward, 1)
    assert sorted(one.group for one in whole) == list(range(1, 51))
    assert [one.group for one in whole] != list(range(1, 51))
    first = draw(store, reward, 1, count=20)
    assert first + draw(store, reward, 1, after=first[-1].place) == whole


def test_many_versions_are_asked_at_once(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 9, 7)
    whole = {version: draw(store, reward, version) for version in range(1, 10)}
    assert [len(some) for some in whole.values()] == [7] * 9
    after = {version: whole[version][version - 4].place for version in range(4, 10)}
    assert draws(store, reward, after | {99: BEFORE_ALL}, count=2) == {
        version: some for version in after if (some := whole[version][version - 3 : version - 1])
    }
    assert draws(store, reward, after, rows=1) == draws(store, reward + 1, after) == draws(store, reward, {}) == {}


def test_a_query_reads_a_part_of_the_order(place: str) -> None:
    """Neither database begins with all groups that the reward has scored."""
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 5)
    asked = []
    with store.reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        drawing.next_groups(connection, reward, {1: 5}, run=MANY, part=(0, 1), rows=9, count=1)
        sqlite = connection.dialect.name == "sqlite"
        query, given = asked[0]
        explained = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{query}", given)
        steps = [row[-1].strip() for row in explained]
    searches = [step for step in steps if " signals " in step or " later " in step]
    if sqlite:
        index = "USING PRIMARY KEY (reward=? AND version=? AND place>?"
        read = [step[: step.index(">?") + 2] for step in searches]
        assert read == [f"SEARCH {table} {index}" for table in ("signals", "later")]
    else:
        assert len(searches) == 1 and " signals later " in searches[0] and any("Limit " in step for step in steps)


def test_processes_draw_different_groups(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 1, 21)
    parts = [{one.group for one in draw(store, reward, 1, part=(i, 3))} for i in range(3)]
    assert set.union(*parts) == set(range(1, 22)) and sum(map(len, parts)) == 21


def test_a_run_sees_what_was_there_when_it_began(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 1, 5)
    run = add_run(store, "b")
    fill(store, "c", 1, 5)
    with store.reading() as connection:
        sees = drawing.run_of(connection, run).sees
    assert sees == 5 and add_run(store, "b") == run
    assert [draw(store, reward, version, run=run) != [] for version in (1, 2)] == [True, False]


def test_a_run_continues_where_its_draws_ended(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 9)
    run = add_run(store, "b")
    order = draw(store, reward, 2)
    for number in range(3):
        with store.writing() as connection:
            writing.add_draws(connection, run, number, [one.group for one in order[2 * number : 2 * number + 2]])
    with store.reading() as connection:
        assert drawing.last_places(connection, run, reward, (0, 1)) == {2: order[5].place}


@pytest.mark.parametrize("size", [1, 700])
def test_many_groups_are_read_in_the_order_asked(size: int, place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 1, size)
    ids = list(range(size, 0, -1))
    with store.reading() as connection:
        groups = drawing.read_groups(connection, ids, reward)
    assert [-one.group.number for one in groups] == ids
    assert {tuple(row.reward for row in one.group.rollouts) for one in groups} == {(0.0, 1.0)}
    with store.reading() as connection:
        left = drawing.read_groups(connection, [size + 1, 1, size + 2], reward)
    assert [one.group.number for one in left] == [-1], "those that have been removed are passed over"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (prompts.update().values(ids=b"damage"), "prompt"),
        (prompts.update().values(columns="{"), "row of data"),
        (groups.update().values(tokens=b"damage"), "tokens"),
        (scores.delete().where(scores.c.position == 1), "scores"),
    ],
)
def test_a_damaged_group_is_one_line(damage: Any, what: str, place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 1, 2)
    with store.writing() as connection:
        connection.execute(damage)
    with (
        store.reading() as connection,
        pytest.raises(UserError, match=f"^the {what} of a stored group .*rollouts check"),
    ):
        drawing.read_groups(connection, [1, 2], reward)


def test_what_samplers_put_in_waits_for_their_run(place: str) -> None:
    """Not if they have another tokenizer, whose ids mean other texts."""
    store = RolloutStore(place)
    run, other = add_run(store, "trainer"), add_run(store, "another")
    _, reward = fill(store, "a", 3, 2, parent="trainer")
    fill(store, "b", 2, 2, parent="trainer", tokenizer="u")
    fill(store, "c", 1, 2, parent="another")
    with store.writing() as connection:
        ids = connection.execute(select(groups.c.id).order_by(groups.c.id)).scalars().all()
        writing.add_draws(connection, run, 1, ids[2:3])
        writing.add_draws(connection, other, 1, ids[3:4])
        options = {"versions_from": 1, "versions_to": 2, "size": 2, "count": 9}
        assert drawing.waiting(connection, "trainer", reward, **options) == ids[3:6]
        assert drawing.waiting(connection, "trainer", reward, **(options | {"count": 1})) == ids[3:4]
        assert drawing.waiting(connection, "trainer", reward, **(options | {"size": 3})) == []
        assert drawing.waiting(connection, "trainer", reward + 1, **options) == []
