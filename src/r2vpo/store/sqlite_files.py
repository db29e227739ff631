"""The file of a store in SQLite, and its connections: with the right to write, or without."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from r2vpo.errors import UserError

WAIT_SECONDS = 60
"""How long a writer waits for another one. Each writes for milliseconds."""


def writable(url: URL) -> bool:
    """Return whether the file can be written, or made; its folder also has the transactions that are not in it yet."""
    path = _path(url)
    return os.access(path.parent, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def of_read_only_file(url: URL) -> URL:
    """Return the URL of a file that cannot be written.

    Raises:
        UserError: It cannot be read, because transactions that are not in it yet would be overlooked.
    """
    path = _path(url)
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    in_log = log.exists() and log.stat().st_size > 0
    if in_log and not index.exists():
        raise UserError(
            f"store {path}: it is read-only, and its last transactions are in {log.name}: copy both files into a "
            "folder that is writable, and read the copy"
        )
    # Without its log, nobody writes it: SQLite needs no locks, for which it would make files.
    mode = {"mode": "ro"} if index.exists() else {"immutable": "1"}
    return url.set(database=f"file:{quote(str(path))}").update_query_dict(mode | {"uri": "true"})


def set_up_writer(connection: sqlite3.Connection, record: object) -> None:
    """Prepare a connection that may write."""
    set_up_reader(connection, record)
    (changes,) = connection.execute("PRAGMA schema_version").fetchone()
    if not changes:  # it has no tables yet; `r2vpo rollouts prune` gives pages back
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for line in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {line}")


def set_up_reader(connection: sqlite3.Connection, record: object) -> None:
    """Prepare a connection in a way that takes no lock."""
    # Transactions begin by the store's rules, not by the driver's, by which a reader could turn into a writer too late.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}")
    connection.execute("PRAGMA cache_size = -65536")


def _path(url: URL) -> Path:
    assert url.database is not None, "a file"
    return Path(url.database)
