"""Whether a store is whole: the database itself, and that what its tables say of each other agrees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, exists, func, inspect, select, text
from sqlalchemy.exc import DatabaseError

from r2vpo.errors import UserError
from r2vpo.store.drawing import AT_ONCE, place_of
from r2vpo.store.encoding import decode_ids, decode_rows
from r2vpo.store.opening import reported
from r2vpo.store.store import RolloutStore
from r2vpo.store.tables import SCHEMA, groups, metadata, prompts, rollouts, scores, signals, store


@dataclass
class Findings:
    """What is wrong with a store.

    Attributes:
        problems: By kind of damage, how often it occurs and the first example.
        unreadable: Groups whose tokens or prompt cannot be read, or disagree with their size: they can only be removed.
        groups: Groups that were read.
        unused_prompts: Prompts without a group, which are no damage: `r2vpo rollouts prune` removes them.
    """

    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    unreadable: list[int] = field(default_factory=list)
    groups: int = 0
    unused_prompts: int = 0

    def add(self, kind: str, example: str) -> None:
        """Count a problem."""
        count, first = self.problems.get(kind, (0, example))
        self.problems[kind] = count + 1, first


def check_store(store_: RolloutStore, *, progress: Callable[[int], None] = lambda groups: None) -> Findings:
    """Read the whole store and compare its parts.

    Args:
        store_: The store; runs may write to it meanwhile.
        progress: Called with the number of groups read so far.
    """
    found = Findings()
    with reported(store_.place), store_.engine.connect() as connection:
        _check_database(connection, found)
    if found.problems:
        return found  # what a damaged file says is not to be trusted
    with store_.reading() as connection:
        _check_references(connection, found)
        for read in _check_groups(connection, found):
            progress(read)
        _check_scores(connection, found)
        unused = select(func.count()).select_from(prompts).where(~exists().where(groups.c.prompt == prompts.c.id))
        found.unused_prompts = connection.execute(unused).scalar_one()
    return found


def _check_database(connection: Connection, found: Findings) -> None:
    try:
        numbers = connection.execute(select(store.c.schema)).scalars().all()
        if numbers != [SCHEMA]:
            found.add("numbers of the tables' form", f"{numbers} instead of {SCHEMA}")
        for table in metadata.tables.values():
            there = {column["name"] for column in inspect(connection).get_columns(table.name)}
            for name in sorted(set(table.columns.keys()) - there):
                found.add("missing columns", f"{table.name}.{name}")
        if connection.dialect.name != "sqlite":
            return  # PostgreSQL checks pages as it reads them, and references as they are written
        for (line,) in connection.execute(text("PRAGMA integrity_check")):
            if line != "ok":
                found.add("damage of the file", line.splitlines()[-1])
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # one of its kinds: busy, or not readable
            raise
        found.add("damage of the file", str(error.orig))


def _check_references(connection: Connection, found: Findings) -> None:
    if connection.dialect.name == "sqlite":
        for row in connection.execute(text("PRAGMA foreign_key_check")):
            found.add("rows that refer to something that is gone", f"table {row[0]}, which refers to {row[2]}")


def _check_groups(connection: Connection, found: Findings) -> Iterator[int]:
    last = 0
    while True:
        asked = (
            select(groups.c.id, groups.c.size, groups.c.length, groups.c.tokens, prompts.c.ids, prompts.c.columns)
            .outerjoin(prompts, prompts.c.id == groups.c.prompt)
            .where(groups.c.id > last)
            .order_by(groups.c.id)
            .limit(AT_ONCE)
        )
        page = connection.execute(asked).all()
        if not page:
            return
        first, last = page[0].id, page[-1].id
        told = select(rollouts.c.group, rollouts.c.length).where(rollouts.c.group.between(first, last))
        lengths: dict[int, list[int]] = {}
        for group, length in connection.execute(told.order_by(rollouts.c.group, rollouts.c.position)):
            lengths.setdefault(group, []).append(length)
        for row in page:
            why = _unreadable(row, lengths.get(row.id, []))
            if why is not None:
                found.unreadable.append(row.id)
                found.add("groups that cannot be read", f"group {row.id}: {why}")
        found.groups += len(page)
        yield found.groups


def _unreadable(row: tuple[int, int, int, bytes, bytes | None, str], told: list[int]) -> str | None:
    """Return why a group cannot be drawn, or None."""
    _, size, length, tokens, prompt, columns = row
    try:
        lengths = [len(ids) for ids, _, _ in decode_rows(tokens)]
    except UserError as error:
        return str(error).partition(": run ")[0]
    if (len(lengths), sum(lengths)) != (size, length):
        return f"it has {len(lengths)} rows of {sum(lengths)} tokens, and {size} of {length} are noted"
    if lengths != told:
        return f"its rows have {lengths} tokens, and {told} are noted"
    if prompt is None:
        return "its prompt is gone"
    try:
        decode_ids(prompt)
        json.loads(columns)
    except Exception as error:
        return f"its prompt cannot be read ({type(error).__name__})"
    return None


def _check_scores(connection: Connection, found: Findings) -> None:
    """Check that each scored group has a score for each row, and a place in the order of draws if it can have one."""
    of_group = (
        select(
            scores.c.reward,
            scores.c.group,
            func.count().label("rows"),
            func.max(scores.c.position).label("last"),
            func.min(scores.c.score).label("low"),
            func.max(scores.c.score).label("high"),
        )
        .group_by(scores.c.reward, scores.c.group)
        .subquery()
    )
    asked = (
        select(of_group, groups.c.size, groups.c.version, signals.c.place, signals.c.version.label("of"))
        .outerjoin(groups, groups.c.id == of_group.c.group)
        .outerjoin(
            signals,
            and_(
                signals.c.reward == of_group.c.reward,
                signals.c.group == of_group.c.group,
                signals.c.version == groups.c.version,
            ),
        )
    )
    for row in connection.execute(asked):
        where = f"group {row.group}, reward {row.reward}"
        if row.size is None or (row.rows, row.last) != (row.size, row.size - 1):
            found.add("groups whose scores are incomplete", f"{where}: {row.rows} scores for {row.size} rows")
        elif (row.size == 1 or row.low < row.high) != (row.place is not None):
            found.add("groups that draws miss, or give without a signal", where)
        elif row.place is not None and row.place != place_of(row.reward, row.group):
            found.add("groups whose place in the draws is another one", where)


def remove_groups(store_: RolloutStore, ids: list[int]) -> None:
    """Remove groups with their rows and scores, some hundred in each transaction."""
    for start in range(0, len(ids), AT_ONCE):
        with store_.writing() as connection:
            connection.execute(groups.delete().where(groups.c.id.in_(ids[start : start + AT_ONCE])))
