"""A store is made, opened by others, brought up to date, and refused in one line where it cannot be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, select, text, update

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, migrations
from r2vpo.store.checking import check_store, remove_groups
from r2vpo.store.damaged import DamagedStore
from r2vpo.store.opening import shown
from r2vpo.store.tables import SCHEMA, metadata, runs, store
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
        with pytest.raises(DamagedStore, match=r"malformed: it is damaged; restore a copy, or recover .* \.recover$"):
            RolloutStore(tmp_path / "s.db", read_only=True)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("DROP TABLE measurements", "these tables are missing: measurements: it is damaged; restore a copy"),
        ("DROP TABLE store", "these tables are missing: store: it is damaged"),
        ("DELETE FROM store", "its table store has 0 rows instead of 1: it is damaged"),
    ],
)
def test_one_without_a_part_is_damaged(place: str, damage: str, line: str) -> None:
    opened = RolloutStore(place)
    with opened.writing() as connection:
        connection.execute(text(damage))
    for read_only in (True, False):
        with pytest.raises(DamagedStore, match=f"^store .*{line}"):
            RolloutStore(place, create=False, read_only=read_only)


def test_a_column_that_is_missing_is_one_line(place: str) -> None:
    opened = RolloutStore(place)
    with opened.writing() as connection:
        connection.execute(text("ALTER TABLE runs DROP COLUMN sees"))
    with pytest.raises(DamagedStore, match=r"sees.*it is damaged; restore a copy"), opened.reading() as connection:
        connection.execute(select(runs.c.sees))


@pytest.fixture
def read_by(postgres_url: str) -> Iterator[tuple[RolloutStore, str]]:
    """A store in PostgreSQL, and its place for a user who has no rights there but to connect."""
    url = postgres_url.replace("/postgres?", "/shared?")
    engine = create_engine(postgres_url.replace("://", "+psycopg://", 1), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for line in ("CREATE DATABASE shared", "CREATE USER guest"):
            connection.execute(text(line))
    opened = RolloutStore(url)
    yield opened, url.replace("//r2vpo@", "//guest@")
    opened.close()
    with engine.connect() as connection:
        for line in ("DROP DATABASE shared WITH (FORCE)", "DROP USER guest"):
            connection.execute(text(line))
    engine.dispose()


def test_a_user_without_rights_gets_one_line(read_by: tuple[RolloutStore, str]) -> None:
    store_, place = read_by
    fill(store_, "a", 1, 3)
    denied = r"^store postgresql://guest@.*permission denied for table {}: let its administrator GRANT this right"
    with pytest.raises(UserError, match=denied.format("store")):
        RolloutStore(place, create=False, read_only=True)
    with store_.writing() as connection:
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"))
    reader = RolloutStore(place, create=False, read_only=True)
    assert check_store(reader).groups == 3
    with pytest.raises(UserError, match=denied.format("groups")):
        remove_groups(reader, [1])
    with pytest.raises(UserError, match=denied.format("runs")):
        fill(RolloutStore(place), "b", 1, 1)
    with pytest.raises(UserError, match="permission denied for schema public: let its administrator"):
        with store_.writing() as connection:
            metadata.drop_all(connection)
        RolloutStore(place)


def test_a_database_that_is_not_there_is_one_line(postgres_url: str) -> None:
    with pytest.raises(UserError, match='database "nope" does not exist: make it with createdb, or name another one'):
        RolloutStore(postgres_url.replace("/postgres?", "/nope?"))
