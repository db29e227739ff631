"""Steps that bring a store of an earlier form up to date, one for each number of `SCHEMA`."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, select, text, update

from r2vpo.errors import UserError
from r2vpo.store.damaged import RESTORE, DamagedStore
from r2vpo.store.tables import SCHEMA, store


def _note_when_scores_came(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE versions ADD COLUMN pruned_to FLOAT"))
    for table in ("scores", "signals"):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN since BIGINT NOT NULL DEFAULT 0"))
        newest = f'SELECT max(id) FROM runs WHERE runs.sees < {table}."group"'
        connection.execute(text(f"UPDATE {table} SET since = coalesce(({newest}), 0)"))


STEPS: dict[int, Callable[[Connection], None]] = {2: _note_when_scores_came}
"""`STEPS[n]` turns form n - 1 into form n."""


def upgrade(engine: Engine, place: str) -> None:
    """Take the steps that a store still needs, each in a transaction with its number.

    Args:
        engine: The store.
        place: What messages call it.

    Raises:
        UserError: A later version of r2vpo has written it.
        DamagedStore: The number of its form is missing.
    """
    with engine.connect() as connection, connection.begin():  # which needs no right to write
        form = connection.execute(select(store.c.schema)).scalars().all()
    if len(form) != 1:
        raise DamagedStore(f"store {place}: its table store has {len(form)} rows instead of 1{RESTORE}")
    if form == [SCHEMA]:
        return
    while True:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            now = connection.execute(select(store.c.schema)).scalar_one()
            if now > SCHEMA:
                raise UserError(
                    f"store {place}: its form is {now}, and this version of r2vpo knows forms up to {SCHEMA}: update "
                    "r2vpo, or use another store"
                )
            if now == SCHEMA:
                return
            STEPS[now + 1](connection)
            connection.execute(update(store).values(schema=now + 1))
