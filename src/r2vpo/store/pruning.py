"""Removing rollouts from a store: which ones, who still draws from them, and giving the space back to the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, exists, func, select, text

from r2vpo.store.asking import StoredRun, all_runs, size_on_disk
from r2vpo.store.changing import note_pruned
from r2vpo.store.drawing import AT_ONCE
from r2vpo.store.store import RolloutStore
from r2vpo.store.tables import draws, groups, measurements, metadata, prompts, runs, versions

RECENT = 3600.0
"""Seconds after its last version, or its start, in which a run may be at work."""

PAGES_AT_ONCE = 2000
"""Pages of an SQLite file that are given back in one transaction."""


@dataclass(frozen=True)
class Wanted:
    """What may be removed: rollouts to which everything here applies.

    Attributes:
        runs: Of these runs.
        older_than: Sampled before this, in seconds since 1970.
        keep_versions: Not of the last so many versions of each run.
        max_bytes: Only as many, the oldest first, as bring the store to this size.
    """

    runs: Sequence[StoredRun]
    older_than: float | None = None
    keep_versions: int | None = None
    max_bytes: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be removed.

    Attributes:
        groups: Ids, the oldest first.
        bytes: What they occupy on the disk, with their rows, scores and indexes; an estimate.
        rollouts: The number of rollouts by run.
        drawn: How many of the groups other runs have drawn. Which ones is forgotten; what was measured is not.
        drawn_by: Runs that may be at work and draw from these groups.
    """

    groups: list[int]
    bytes: float
    rollouts: dict[str, int]
    drawn: int
    drawn_by: list[StoredRun]


def plan_removal(connection: Connection, wanted: Wanted, *, now: float) -> Plan:
    """Choose what is removed.

    Args:
        connection: Any.
        wanted: What may be removed.
        now: Seconds since 1970.
    """
    by_id = {run.id: run for run in wanted.runs}
    kept = _newest_versions(connection, wanted.keep_versions or 0)
    of_version = {
        version: by_id[run]
        for version, run in connection.execute(select(versions.c.id, versions.c.run))
        if run in by_id and version not in kept
    }
    size, whole = size_on_disk(connection), func.length(groups.c.tokens)
    stored = connection.execute(select(func.coalesce(func.sum(whole), 0))).scalar_one()
    factor = size / max(int(stored), 1)
    asked = select(groups.c.id, groups.c.version, groups.c.size, whole, groups.c.uses)
    asked = asked.order_by(groups.c.created, groups.c.id)
    if wanted.older_than is not None:
        asked = asked.where(groups.c.created < wanted.older_than)
    ids, removed, drawn, rollouts = list[int](), 0.0, 0, Counter[str]()
    newest_of: dict[int, int] = {}
    oldest_of: dict[int, int] = {}
    for number, version, rows, length, uses in connection.execute(asked):
        if wanted.max_bytes is not None and size - removed <= wanted.max_bytes:
            break
        run = of_version.get(version)
        if run is None:
            continue
        ids.append(number)
        removed += factor * length
        drawn += uses > 0
        rollouts[run.name] += rows
        newest_of[run.id] = max(number, newest_of.get(run.id, number))
        oldest_of[run.id] = min(number, oldest_of.get(run.id, number))
    sources = [(by_id[run], first) for run, first in oldest_of.items()]
    return Plan(ids, removed, dict(rollouts), drawn, list(_at_work(connection, sources, now)))


def remove(
    store: RolloutStore, plan: Plan, *, now: float, progress: Callable[[int], None] = lambda groups: None
) -> None:
    """Remove groups, prompts without a group and runs of which nothing is left, and give the space back.

    Each transaction is short, so that runs can write meanwhile. In PostgreSQL, giving the space back locks each table
    while it is written again.

    Args:
        store: The store.
        plan: What to remove.
        now: Seconds since 1970.
        progress: Called with the number of groups removed so far.
    """
    for start in range(0, len(plan.groups), AT_ONCE):
        with store.writing() as connection:
            some = plan.groups[start : start + AT_ONCE]
            note_pruned(connection, some)
            connection.execute(delete(groups).where(groups.c.id.in_(some)))
        progress(min(start + AT_ONCE, len(plan.groups)))
    while True:
        with store.writing() as connection:
            unused = select(prompts.c.id).where(~exists().where(groups.c.prompt == prompts.c.id)).limit(AT_ONCE)
            if not connection.execute(delete(prompts).where(prompts.c.id.in_(unused))).rowcount:
                break
    with store.writing() as connection:
        _remove_empty_runs(connection, now)
    _give_back(store.engine)


def _newest_versions(connection: Connection, count: int) -> set[int]:
    """Return the last versions of each run."""
    order = func.row_number().over(partition_by=versions.c.run, order_by=versions.c.number.desc()).label("place")
    ordered = select(versions.c.id, order).subquery()
    return set(connection.execute(select(ordered.c.id).where(ordered.c.place <= count)).scalars())


def _at_work(connection: Connection, sources: list[tuple[StoredRun, int]], now: float) -> Iterator[StoredRun]:
    """Yield the runs that draw from the store, have been at work lately, and see some of the groups.

    Args:
        connection: Any.
        sources: Runs whose groups are to be removed, and the first such group of each.
        now: Seconds since 1970.
    """
    newest = dict(
        connection.execute(select(versions.c.run, func.max(versions.c.created)).group_by(versions.c.run)).tuples().all()
    )
    drawing = set(connection.execute(select(draws.c.run).distinct()).scalars())
    for run in all_runs(connection):
        if run.id not in drawing or now - max(run.started, newest.get(run.id, 0.0)) > RECENT:
            continue
        if any(one.id != run.id and one.tokenizer == run.tokenizer and first <= run.sees for one, first in sources):
            yield run


def _remove_empty_runs(connection: Connection, now: float) -> None:
    """Remove runs without groups that have measured nothing, were not measured, and are not at work.

    A run that trains on what samplers have put in for it may write nothing itself: it stays as long as they do. What
    was removed of an import is not imported again, which its versions know.
    """
    mine = select(versions.c.id).where(versions.c.run == runs.c.id).correlate(runs)
    sampler = runs.alias()
    connection.execute(
        delete(runs).where(
            ~exists().where(groups.c.version.in_(mine)),
            ~exists().where(measurements.c.version.in_(mine)),
            ~exists().where(measurements.c.run == runs.c.id),
            ~exists().where(sampler.c.parent == runs.c.key),
            ~exists().where(versions.c.run == runs.c.id, versions.c.pruned_to.is_not(None)),
            ~exists().where(versions.c.run == runs.c.id, versions.c.created > now - RECENT),
            runs.c.started < now - RECENT,
        )
    )


def _give_back(engine: Engine) -> None:
    """Make the database as small as what is in it."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in metadata.tables:
                connection.execute(text(f"VACUUM (FULL, ANALYZE) {name}"))
        return
    with closing(engine.raw_connection()) as plain:
        cursor = plain.cursor()  # of SQLite's driver, in no transaction
        while cursor.execute("PRAGMA freelist_count").fetchone()[0]:
            cursor.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
