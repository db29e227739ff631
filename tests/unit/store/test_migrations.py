"""A store of an earlier form says the same after it has been brought up to date."""

from __future__ import annotations

from sqlalchemy import Connection, Table, select, text, update

from r2vpo.store import RolloutStore
from r2vpo.store.tables import SCHEMA, scores, signals, store, versions
from tests.unit.store.filled import add_run, fill


def since(connection: Connection, table: Table) -> list[tuple[int, ...]]:
    return sorted(tuple(row) for row in connection.execute(select(table.c.group, table.c.since)))


def test_a_run_sees_the_same_scores_as_with_the_first_form(place: str) -> None:
    opened = RolloutStore(place)
    fill(opened, "a", 1, 2)
    add_run(opened, "b")
    fill(opened, "c", 1, 2)
    with opened.writing() as connection:
        expected = [since(connection, table) for table in (scores, signals)]
        for line in ("scores DROP COLUMN since", "signals DROP COLUMN since", "versions DROP COLUMN pruned_to"):
            connection.execute(text(f"ALTER TABLE {line}"))
        connection.execute(update(store).values(schema=1))
    opened.close()
    with RolloutStore(place).reading() as connection:
        assert connection.execute(select(store.c.schema)).scalars().all() == [SCHEMA]
        found = [since(connection, table) for table in (scores, signals)]
        assert connection.execute(select(versions.c.pruned_to)).scalars().all() == [None, None]
    assert found == expected
