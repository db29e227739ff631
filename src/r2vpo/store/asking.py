"""What can be asked of a store: its runs, their versions, a group with its scores, and how much is in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text

from r2vpo.errors import UserError
from r2vpo.store.tables import groups, metadata, prompts, rewards, rollouts, runs, scores, versions

SHORTEST_KEY = 4
"""Characters of a run's key that are enough to name it, if no other key begins with them."""


class StoredRun(NamedTuple):
    """A run in the store: the columns of `r2vpo.store.tables.runs` but for its recipe."""

    id: int
    key: str
    name: str
    kind: str
    model: str
    tokenizer: str
    tags: list[str]
    started: float
    sees: int


@dataclass(frozen=True)
class Amount:
    """How much there is of something.

    Attributes:
        versions: Policy versions.
        groups: Groups.
        rollouts: Rollouts.
        tokens: Tokens of the responses.
        bytes: Bytes of the compressed tokens.
        uses: How often other runs have trained on one of the rollouts.
    """

    versions: int = 0
    groups: int = 0
    rollouts: int = 0
    tokens: int = 0
    bytes: int = 0
    uses: int = 0

    def __add__(self, other: Amount) -> Amount:
        """Return how much there is of both."""
        return Amount(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class VersionEntry:
    """A policy version with what is stored of it; `created` is in seconds since 1970."""

    id: int
    run: int
    number: int
    fingerprint: str | None
    created: float
    amount: Amount


@dataclass(frozen=True)
class Scored:
    """What a reward said of a rollout; a part is None where its function did not apply."""

    reward: str
    description: str
    score: float
    parts: dict[str, float | None]


def select_runs(
    connection: Connection, *, names: Collection[str] = (), tags: Collection[str] = (), place: str
) -> list[StoredRun]:
    """Return the runs that are named and have all the tags, the oldest first.

    Args:
        connection: Any.
        names: Names, keys or beginnings of keys; empty means all runs.
        tags: Tags that a run must have.
        place: What messages call the store.

    Raises:
        UserError: A name or tag is not there; the message lists those that are.
    """
    found = all_runs(connection)
    for name in names:
        if not any(_is_called(run, name) for run in found):
            known = ", ".join(sorted({run.name for run in found})[:5]) or "no runs"
            tagged = ", ".join([run.name for run in found if name in run.tags][:5])
            hint = f"; {name} is a tag of {tagged}" if tagged else ""
            raise UserError(f"store {place}: no run is called {name}: it has {known}{hint}")
    named = [run for run in found if not names or any(_is_called(run, name) for name in names)]
    chosen = [run for run in named if set(tags) <= set(run.tags)]
    if tags and not chosen:
        known = ", ".join(sorted({tag for run in named for tag in run.tags})[:5]) or "no tags"
        raise UserError(f"store {place}: no run has the tags {', '.join(tags)}: the runs there have {known}")
    return chosen


def all_runs(connection: Connection, name: str | None = None) -> list[StoredRun]:
    """Return the runs, the oldest first; only those of a name or key, if one is given."""
    wanted = select(*(runs.c[name] for name in StoredRun._fields)).order_by(runs.c.started, runs.c.id)
    found = [StoredRun(*row) for row in connection.execute(wanted)]
    return [run for run in found if name is None or _is_called(run, name)]


def versions_in(connection: Connection, of_runs: Collection[int]) -> list[VersionEntry]:
    """Return the versions of runs with what is stored of each, in order.

    Args:
        connection: Any.
        of_runs: Ids of the runs.
    """
    sums = (
        func.count(groups.c.id),
        func.coalesce(func.sum(groups.c.size), 0),
        func.coalesce(func.sum(groups.c.length), 0),
        func.coalesce(func.sum(func.length(groups.c.tokens)), 0),
        func.coalesce(func.sum(groups.c.uses * groups.c.size), 0),
    )
    shown = (versions.c.id, versions.c.run, versions.c.number, versions.c.fingerprint, versions.c.created)
    asked = (
        select(*shown, *sums)
        .outerjoin(groups, groups.c.version == versions.c.id)
        .group_by(*shown)
        .order_by(versions.c.run, versions.c.number)
    )
    wanted = set(of_runs)
    return [
        VersionEntry(
            row.id, row.run, row.number, row.fingerprint, row.created, Amount(1, *(int(value) for value in row[5:]))
        )
        for row in connection.execute(asked)
        if row.run in wanted
    ]


def total(entries: Iterable[VersionEntry]) -> Amount:
    """Return how much there is in versions together."""
    return sum((entry.amount for entry in entries), Amount())


def mean_scores(connection: Connection, run: int) -> dict[int, dict[str, float]]:
    """Return the mean score of each version of a run by each reward's description."""
    asked = (
        select(groups.c.version, rewards.c.description, func.avg(scores.c.score))
        .join(groups, groups.c.id == scores.c.group)
        .join(versions, versions.c.id == groups.c.version)
        .join(rewards, rewards.c.id == scores.c.reward)
        .where(versions.c.run == run)
        .group_by(groups.c.version, rewards.c.id, rewards.c.description)
    )
    found: dict[int, dict[str, float]] = {}
    for version, description, mean in connection.execute(asked):
        found.setdefault(version, {})[description] = float(mean)
    return found


def scores_of(connection: Connection, of_groups: Sequence[int]) -> dict[int, list[list[Scored]]]:
    """Return what each reward said of each row of groups.

    Args:
        connection: Any.
        of_groups: At most `r2vpo.store.drawing.AT_ONCE` ids.

    Returns:
        By group, for each row in order, its scores.
    """
    asked = (
        select(scores.c.group, scores.c.position, scores.c.score, scores.c.parts, rewards)
        .join(rewards, rewards.c.id == scores.c.reward)
        .where(scores.c.group.in_(of_groups))
        .order_by(scores.c.reward)
    )
    found: dict[int, dict[int, list[Scored]]] = {}
    for row in connection.execute(asked):
        one = Scored(row.version, row.description, row.score, json.loads(row.parts))
        found.setdefault(row.group, {}).setdefault(row.position, []).append(one)
    sizes = select(groups.c.id, groups.c.size).where(groups.c.id.in_(of_groups))
    return {
        group: [found.get(group, {}).get(place, []) for place in range(size)]
        for group, size in connection.execute(sizes)
    }


def about_group(connection: Connection, group: int) -> Any:
    """Return the row of a group with what is known of its run and the columns of its prompt; None if there is none."""
    asked = (
        select(
            groups.c.id,
            groups.c.temperature,
            groups.c.created,
            groups.c.uses,
            versions.c.number,
            runs.c.name,
            runs.c.key,
            runs.c.model,
            runs.c.tokenizer,
            prompts.c.columns,
        )
        .join(versions, versions.c.id == groups.c.version)
        .join(runs, runs.c.id == versions.c.run)
        .join(prompts, prompts.c.id == groups.c.prompt)
        .where(groups.c.id == group)
    )
    return connection.execute(asked).one_or_none()


def ends_of(connection: Connection, group: int) -> list[bool | None]:
    """Return for each row of a group whether an end token ended it."""
    asked = select(rollouts.c.ended).where(rollouts.c.group == group).order_by(rollouts.c.position)
    return list(connection.execute(asked).scalars())


def size_on_disk(connection: Connection) -> int:
    """Return the bytes of the database: an SQLite file, or the tables with their indexes in PostgreSQL."""
    if connection.dialect.name == "sqlite":
        pages, size = (connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
        return int(pages * size)
    named = ", ".join(f"'{name}'" for name in metadata.tables)
    asked = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({named}) AND relkind = 'r'"
    return int(connection.execute(text(asked)).scalar_one())


def _is_called(run: StoredRun, name: str) -> bool:
    return name in (run.name, run.key) or (len(name) >= SHORTEST_KEY and run.key.startswith(name))
