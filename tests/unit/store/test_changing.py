"""Finding the groups of a lot again, in a version that may have hundreds of thousands of others."""

from __future__ import annotations

from sqlalchemy import event

from r2vpo.store import RolloutStore, changing
from tests.unit.store.filled import fill


def test_groups_are_found_by_number_without_reading_the_version(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 2, 40)
    asked = []
    with store.reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        found = changing.groups_from(connection, 2, [3, 20, 900], 2)
        ids = connection.exec_driver_sql("SELECT id, number, version FROM groups").all()
        assert found == {number: key for key, number, version in ids if version == 2 and number in (3, 4, 20, 21)}
        if connection.dialect.name == "sqlite":
            query, given = asked[0]
            steps = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", given)]
            searches = [step for step in steps if step.startswith("SEARCH")]
            assert len(searches) == 3 and all("number>? AND number<?" in step for step in searches)
