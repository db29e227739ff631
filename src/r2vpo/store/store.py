"""The store as its users see it: one object, whose methods are transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from r2vpo.store.opening import open_store, reported


class RolloutStore:
    """A store of rollouts that outlives runs.

    Reading and writing go through the functions of `r2vpo.store.writing` and `r2vpo.store.drawing`, inside
    `reading()` and `writing()`: a transaction is either in the store as a whole or not at all, one process writes at a
    time, and any number read meanwhile.

    Args:
        place: A file, which is an SQLite database in WAL mode, or `postgresql://user:password@host:port/database`.
        create: Whether to make it if it does not exist.
        read_only: Whether it is only read, which is possible where it cannot be written.

    Raises:
        UserError: It cannot be opened; see `r2vpo.store.opening.open_store`.
    """

    def __init__(self, place: str | Path, *, create: bool = True, read_only: bool = False) -> None:
        self.place = place
        self.engine = open_store(place, create=create, read_only=read_only)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a transaction that sees the store as it is now, and does not wait for writers."""
        # SQLite has one state for all statements of a transaction; PostgreSQL's default is a state for each statement.
        options = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with reported(self.place), self.engine.connect().execution_options(**options) as connection:
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin a transaction that writes; a second writer waits. An exception leaves the store as it was."""
        with reported(self.place), self.engine.connect().execution_options(writes=True) as connection:
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()
