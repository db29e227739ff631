"""Opening a store: SQLite in a file, or PostgreSQL. It is made if it does not exist, and brought up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError

from r2vpo.errors import UserError
from r2vpo.optional import require
from r2vpo.store import migrations, sqlite_files
from r2vpo.store.damaged import RECOVER, RESTORE, DamagedStore
from r2vpo.store.tables import SCHEMA, metadata, store

CONNECT_SECONDS = 10
"""How long a server that does not answer is waited for."""

# Not by parsing the URL, since one that cannot be parsed is shown as well.
_PASSWORDS = re.compile(r"(://[^:@/]*:).*(?=@)|(?<=password=)()[^&]*")

WRITERS_LOCK = int.from_bytes(b"r2vpo", "big")
"""Number of the lock in PostgreSQL that a writer holds until its transaction ends."""

READ_ONLY_REMEDY = ": make the file and its folder writable, or choose another path"

_NOT_PERMITTED = "42501"
_MISSING = ("42P01", "42703")  # a table, a column
"""Codes of errors of PostgreSQL that are not mistakes of r2vpo, although its driver counts them among these."""


def open_store(place: str | Path, *, create: bool = True, read_only: bool = False) -> Engine:
    """Open the store, and make or migrate its tables.

    Args:
        place: A file, or a URL that begins with `postgresql://`.
        create: Whether to make it if it does not exist.
        read_only: Whether it is only read, for which no lock is taken and the file need not be writable.

    Returns:
        The engine; connections are made when they are needed.

    Raises:
        UserError: It cannot be opened, is not a store, or was written by a later version of r2vpo.
        DamagedStore: It is damaged.
    """
    create = create and not read_only
    url = _url(str(place), create=create)
    with reported(place):
        sqlite = url.get_backend_name() == "sqlite"
        patience = {} if sqlite else {"connect_timeout": CONNECT_SECONDS}
        if sqlite and not sqlite_files.writable(url):
            if not read_only:
                raise UserError(f"store {place}: it is read-only{READ_ONLY_REMEDY}")
            url = sqlite_files.of_read_only_file(url)
        engine = create_engine(url, pool_pre_ping=not sqlite, connect_args=patience)
        if sqlite:
            event.listen(engine, "connect", sqlite_files.set_up_reader if read_only else sqlite_files.set_up_writer)
        event.listen(engine, "begin", _begin_sqlite if sqlite else _begin_postgresql)
        _settle_tables(engine, place, create=create)
    return engine


@contextmanager
def reported(place: str | Path) -> Iterator[None]:
    """Report an error of the database as one line that names the store.

    Raises:
        UserError: The database refuses what is asked of it.
        DamagedStore: It is damaged.
    """
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None)
        if isinstance(error, IntegrityError | ProgrammingError) and code not in (_NOT_PERMITTED, *_MISSING):
            raise  # r2vpo's own mistake
        first = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        remedy = RESTORE if code in _MISSING else _remedy(first)
        kind = DamagedStore if remedy.startswith(RESTORE) else UserError
        raise kind(f"store {shown(place)}: {first}{remedy}") from error


def shown(place: str | Path) -> str:
    """Return a place as messages show it, without its password."""
    return _PASSWORDS.sub(r"\1***", str(place))


def _remedy(line: str) -> str:
    known = {
        "malformed": RECOVER,
        "no such table": RESTORE,
        "no such column": RESTORE,
        'database "': ": make it with createdb, or name another one",
        "permission denied": ": let its administrator GRANT this right to the user, or name a user who has it",
        "not a database": ": the file is not a store of rollouts; choose another path",
        "locked": f": another process has been writing for {sqlite_files.WAIT_SECONDS} seconds; end it, or use postgresql://",
        "readonly": READ_ONLY_REMEDY,
        "unable to open": ": make its folder, and make it writable",
        "full": ": free space, or choose a path on another disk; what was written before is unchanged",
        "refused": ": start the server, or correct host and port",
    }
    return next((remedy for word, remedy in known.items() if word in line), "")


def _url(place: str, *, create: bool) -> URL:
    if "://" not in place:
        path = Path(place).expanduser()
        if path.is_dir():
            raise UserError(f"store {place}: this is a folder; name a file, such as {path / 'rollouts.db'}")
        if not create and not path.exists():
            raise UserError(f"store {place}: there is no such file; a run with replay.store={place} makes it")
        if create and not path.parent.is_dir():
            raise UserError(f"store {place}: its folder does not exist; make it with mkdir -p {path.parent}")
        return URL.create("sqlite", database=str(path.absolute()))
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        raise UserError(
            f"store {shown(place)}: not a URL; write postgresql://user:password@host:5432/database"
        ) from error
    if url.get_backend_name() != "postgresql":
        raise UserError(
            f"store {shown(place)}: {url.drivername}:// is not supported; write a path, which is an SQLite file, or "
            "postgresql://user:password@host:5432/database"
        )
    require("psycopg", f"store {shown(place)}")
    return url.set(drivername="postgresql+psycopg")


def _begin_sqlite(connection: object) -> None:
    writes = connection.get_execution_options().get("writes", False)  # type: ignore[attr-defined]
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")  # type: ignore[attr-defined]


def _begin_postgresql(connection: object) -> None:
    # Otherwise two writers of the same prompts in another order would wait for each other, and a group could become
    # visible after one with a larger id, so that "everything up to this id" would not stay the same groups.
    if connection.get_execution_options().get("writes", False):  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")  # type: ignore[attr-defined]


def _settle_tables(engine: Engine, place: str | Path, *, create: bool) -> None:
    names = inspect(engine).get_table_names()
    if not names:
        if not create:
            raise UserError(f"store {shown(place)}: it is empty; runs with replay.store={shown(place)} fill it")
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            metadata.create_all(connection)
            if connection.execute(select(store.c.schema)).first() is None:
                connection.execute(store.insert().values(schema=SCHEMA))
        return
    if "store" not in names and set(metadata.tables) - set(names) != {"store"}:
        raise UserError(f"store {shown(place)}: the database has other tables; choose another path or database")
    if "store" in names:
        migrations.upgrade(engine, shown(place))
    missing = sorted(set(metadata.tables) - set(inspect(engine).get_table_names()))
    if missing:
        raise DamagedStore(f"store {shown(place)}: these tables are missing: {', '.join(missing)}{RESTORE}")
