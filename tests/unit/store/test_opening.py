"""A store is made, opened by others, brought up to date, and refused in one line where it cannot be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text, update

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, migrations
from r2vpo.store.opening import shown
from r2vpo.store.tables import SCHEMA, metadata, store
from tests.unit.store.filled import fill


def test_it_is_made_once(place: str) -> None:
    fill(RolloutStore(place), "a", 1, 1)
    again = RolloutStore(place, create=False)
    assert set(inspect(again.engine).get_table_names()) == set(metadata.tables)
    with again.reading() as connection:
        assert connection.execute(select(store.c.schema)).scalars().all() == [SCHEMA]


def test_an_older_one_is_brought_up_to_date(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that a later version of r2vpo would have; one that fails leaves the store as it was."""
    fill(RolloutStore(place), "a", 1, 2)

    def add_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE runs ADD COLUMN colour INTEGER"))
        connection.execute(text("UPDATE runs SET colour = 7"))

    def fail(connection: Connection) -> None:
        connection.execute(text("DELETE FROM runs"))
        raise RuntimeError("interrupted")

    monkeypatch.setattr(migrations, "SCHEMA", SCHEMA + 2)
    monkeypatch.setattr(migrations, "STEPS", {SCHEMA + 1: add_column, SCHEMA + 2: fail})
    with pytest.raises(RuntimeError, match="interrupted"):
        RolloutStore(place)
    monkeypatch.setitem(migrations.STEPS, SCHEMA + 2, lambda connection: None)
    with RolloutStore(place).reading() as connection:
        assert connection.execute(select(store.c.schema)).scalar_one() == SCHEMA + 2
        assert connection.execute(text("SELECT colour FROM runs")).scalars().all() == [7]


def test_a_newer_one_is_refused(place: str) -> None:
    opened = RolloutStore(place)
    with opened.writing() as connection:
        connection.execute(update(store).values(schema=SCHEMA + 1))
    with pytest.raises(UserError, match=f"its form is {SCHEMA + 1}, .* up to {SCHEMA}: update r2vpo"):
        RolloutStore(place)


def test_other_databases_are_refused(place: str) -> None:
    other = RolloutStore(place)
    with other.writing() as connection:
        metadata.drop_all(connection)
        connection.execute(text("CREATE TABLE mine (x INTEGER)"))
    with pytest.raises(UserError, match="has other tables"):
        RolloutStore(place)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind, and longer than a header " * 99)
    sqlite3.connect(tmp_path / "empty.db").close()
    refused = {
        tmp_path: "this is a folder; name a file",
        tmp_path / "missing" / "x.db": "its folder does not exist; make it with mkdir -p",
        tmp_path / "notes.txt": "not a database.*choose another path",
        "mysql://me:secret@host/x": r"mysql://me:\*\*\*@host/x: mysql:// is not supported",
        "postgresql://me:secret@127.0.0.1:9/x": r"me:\*\*\*@127.*refused",
        "postgresql://me:secret@host:port/x": "not a URL",
    }
    for place, why in refused.items():
        with pytest.raises(UserError, match=f"^store .*{why}") as raised:
            RolloutStore(place)
        assert "\n" not in str(raised.value) and "secret" not in str(raised.value)
    for name, why in (("none.db", "there is no such file"), ("empty.db", "it is empty")):
        with pytest.raises(UserError, match=why):
            RolloutStore(tmp_path / name, create=False)
    assert shown("runs/x.db") == "runs/x.db"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgresql://me:secret@host:port/x", "postgresql://me:***@host:port/x"),
        ("postgresql://me:sec@ret/@[::1/x", "postgresql://me:***@[::1/x"),
        ("postgresql://me@host/x?password=secret&a=b", "postgresql://me@host/x?password=***&a=b"),
        ("postgresql:///x?host=/a:b", "postgresql:///x?host=/a:b"),
    ],
)
def test_no_password_is_shown(place: str, message: str) -> None:
    assert shown(place) == message


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    opened = RolloutStore(tmp_path / "s.db")
    fill(opened, "a", 1, 3)
    opened.close()
    whole = (tmp_path / "s.db").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:100] + b"x" * 3996 + whole[4096:]):
        (tmp_path / "s.db").write_bytes(damaged)
        with pytest.raises(UserError, match=r"malformed: it is damaged; restore a copy, or recover .* \.recover$"):
            RolloutStore(tmp_path / "s.db", read_only=True)
