"""Drawing from the store: which versions may be drawn from, whose groups come next, and what was measured of them.

A draw reads a bounded number of index entries and the groups it returns, so it takes as long from a million rollouts as
from a thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    bindparam,
    cast,
    func,
    select,
    true,
)
from torch import Tensor

from r2vpo.replay.group import Group, Rollout
from r2vpo.store.encoding import decode_groups, decode_ids, from_json, readable
from r2vpo.store.records import Drawn, Source
from r2vpo.store.tables import draws, groups, measurements, prompts, rewards, runs, scores, signals, versions

AT_ONCE = 500
"""Ids in one statement; SQLite limits its variables."""


class StoredVersion(NamedTuple):
    """A policy version that can be drawn from: its id, its run's id, and its number in the run."""

    id: int
    run: int
    number: int


class Candidate(NamedTuple):
    """A group that can be drawn: its version, its place in the order of the version, its id, and its rollouts."""

    version: int
    place: int
    group: int
    size: int


def versions_of(
    connection: Connection, source: Source, *, apart_from: int, tokenizer: str, sees: int
) -> list[StoredVersion]:
    """Return the versions that a source selects, the newest of each run last.

    Args:
        connection: Any.
        source: What is wanted.
        apart_from: Id of the run that asks: it draws its own from its memory.
        tokenizer: Only runs with this tokenizer, since ids of another one mean other texts.
        sees: The newest group that counts: later ones make a version neither newer nor older.
    """
    newer, seen = versions.alias(), groups.c.id <= sees

    def sampled(version: FromClause) -> ColumnElement[bool]:
        return select(groups.c.id).where(groups.c.version == version.c.id, seen).exists()

    newest = select(func.max(newer.c.number)).where(newer.c.run == versions.c.run, sampled(newer)).scalar_subquery()
    latest = select(func.max(groups.c.created)).where(groups.c.version == versions.c.id, seen).scalar_subquery()
    wanted = (
        select(versions.c.id, versions.c.run, versions.c.number, runs.c.tags)
        .join(runs, runs.c.id == versions.c.run)
        .where(runs.c.id != apart_from, runs.c.tokenizer == tokenizer, runs.c.kind.in_(list(source.kinds)))
        .where(sampled(versions))
        .order_by(versions.c.run, versions.c.number)
    )
    if source.runs:
        wanted = wanted.where(runs.c.name.in_(list(source.runs)) | runs.c.key.in_(list(source.runs)))
    if source.newer_than is not None:
        wanted = wanted.where(latest >= source.newer_than)
    if source.max_age_versions is not None:
        wanted = wanted.where(versions.c.number > newest - source.max_age_versions)
    found = connection.execute(wanted).all()
    return [StoredVersion(*row[:3]) for row in found if set(source.tags) <= set(row.tags)]


def next_groups(
    connection: Connection,
    reward: int,
    after: Mapping[int, int],
    *,
    run: int,
    part: tuple[int, int],
    rows: int,
    count: int,
) -> dict[int, list[Candidate]]:
    """Return the next groups of versions, those of each in the order of their places.

    Args:
        connection: Any.
        reward: Id of the reward whose scores are used.
        after: The place after which each version is asked, by its id.
        run: Id of the run that asks: it sees what was scored before it.
        part: `(i, n)`: process i of n draws every n-th group.
        rows: Groups with more are left out.
        count: At most so many of each version.

    Returns:
        The groups by version, without versions that have none.
    """
    given = {"reward": reward, "run": run, "part": part[0], "parts": part[1], "rows": rows, "count": count}
    found: dict[int, list[Candidate]] = {}
    for row in connection.execute(_next_groups(connection.dialect.name), given | {"asked": dict(after)}):
        if row[0] is not None:
            found.setdefault(row[0], []).append(Candidate(*row))
    return found


@cache
def _next_groups(dialect: str) -> Select[Any]:
    """Return the query: a range of the index of `signals` for each version that it is given as `{version: place}`."""
    each = {"sqlite": func.json_each, "postgresql": func.json_each_text}[dialect]
    asked = each(bindparam("asked", type_=JSON)).table_valued("key", "value", name="asked")

    def follows(signal: FromClause) -> ColumnElement[bool]:
        return and_(
            signal.c.reward == bindparam("reward"),
            signal.c.version == cast(asked.c.key, BigInteger),
            signal.c.place > cast(asked.c.value, BigInteger),
            signal.c.since < bindparam("run"),
            signal.c.group % bindparam("parts") == bindparam("part"),
            signal.c.size <= bindparam("rows"),
        )

    later = signals.alias("later")
    columns = (later.c.version, later.c.place, later.c.group, later.c.size)
    page = select(*columns).where(follows(later)).order_by(later.c.place).limit(bindparam("count"))
    if dialect == "postgresql":
        each_page = page.lateral()
        return select(each_page).select_from(asked.join(each_page, true())).order_by(each_page.c.place)
    # SQLite has no such join: the page is the range up to its last place. The outer join keeps it from beginning with
    # all signals of the reward, and has an empty row for a version without more groups.
    last = select(func.max(page.correlate(asked).subquery().c.place)).scalar_subquery()
    joined = asked.outerjoin(signals, follows(signals) & (signals.c.place <= last))
    return select(*(signals.c[column.name] for column in columns)).select_from(joined).order_by(signals.c.place)


def waiting(
    connection: Connection, parent: str, reward: int, *, versions_from: int, versions_to: int, size: int, count: int
) -> list[int]:
    """Return groups that samplers have put in for a run and that it has not trained on, the oldest first.

    Args:
        connection: Any.
        parent: Key of the run.
        reward: Id of its reward, which has scored them.
        versions_from: The first policy version that is still new enough.
        versions_to: The present version; there may be later ones if the run has been resumed before them.
        size: Rollouts of a group.
        count: At most so many.
    """
    sampler, trainer, user = runs.alias(), runs.alias(), runs.alias()
    used = select(draws.c.group).join(user, user.c.id == draws.c.run).where(user.c.key == parent)
    scored = select(scores.c.group).where(scores.c.reward == reward, scores.c.group == groups.c.id).exists()
    wanted = (
        select(groups.c.id)
        .join(versions, versions.c.id == groups.c.version)
        .join(sampler, sampler.c.id == versions.c.run)
        .join(trainer, (trainer.c.key == sampler.c.parent) & (trainer.c.tokenizer == sampler.c.tokenizer))
        .where(sampler.c.parent == parent, versions.c.number.between(versions_from, versions_to), groups.c.size == size)
        .where(groups.c.id.not_in(used), scored)
        .order_by(groups.c.id)
        .limit(count)
    )
    return list(connection.execute(wanted).scalars())


def read_groups(connection: Connection, ids: Sequence[int], reward: int | None) -> list[Drawn]:
    """Read whole groups, in the order of their ids in the argument.

    Args:
        connection: Any.
        ids: Their ids; those of groups that have been removed are passed over.
        reward: Id of the reward whose scores become the rows' rewards; None gives rows a reward of NaN.
    """
    found: dict[int, Any] = {}
    values: dict[int, list[float]] = {}
    for chunk in in_chunks(ids):
        wanted = select(
            groups.c.id,
            groups.c.version,
            groups.c.uses,
            groups.c.tokens,
            prompts.c.ids.label("prompt"),
            prompts.c.columns,
            versions.c.number,
        )
        wanted = wanted.join(prompts, prompts.c.id == groups.c.prompt).join(versions, versions.c.id == groups.c.version)
        found |= {row[0]: row for row in connection.execute(wanted.where(groups.c.id.in_(chunk)))}
        if reward is not None:
            scored = select(scores.c.group, scores.c.score).where(scores.c.reward == reward, scores.c.group.in_(chunk))
            for group, score in connection.execute(scored.order_by(scores.c.group, scores.c.position)):
                values.setdefault(group, []).append(score)
    rows = [found[number] for number in ids if number in found]
    tokens = decode_groups([row.tokens for row in rows])
    return [_drawn(row, some, values.get(row.id)) for row, some in zip(rows, tokens, strict=True)]


def newest_group(connection: Connection) -> int:
    """Return the id of the newest group; 0 if there is none."""
    return int(connection.execute(select(func.coalesce(func.max(groups.c.id), 0))).scalar_one())


def run_of(connection: Connection, run: int) -> Any:
    """Return the row of a run."""
    return connection.execute(select(runs).where(runs.c.id == run)).one()


def reward_of(connection: Connection, source: Source, version: str) -> int:
    """Return the id of the reward whose scores count in a draw; 0 if nothing has been scored by it.

    Args:
        connection: Any.
        source: What is drawn.
        version: Version of the reward of the run that draws.
    """
    this = rewards.c.version == version if source.reward is None else rewards.c.description == source.reward
    return int(connection.execute(select(func.coalesce(func.min(rewards.c.id), 0)).where(this)).scalar_one())


def last_places(connection: Connection, run: int, reward: int, part: tuple[int, int]) -> dict[int, int]:
    """Return the place of the last group that a process of a run has drawn from each version."""
    wanted = (
        select(groups.c.version, groups.c.id)
        .join(draws, draws.c.group == groups.c.id)
        .where(draws.c.run == run, draws.c.group % part[1] == part[0])
        .order_by(draws.c.round, draws.c.position)
    )
    return {version: place_of(reward, group) for version, group in connection.execute(wanted)}


def place_of(reward: int, group: int) -> int:
    """Return the place of a group in the order in which its version gives them: below 2^62, and random."""
    return int.from_bytes(hashlib.blake2b(f"{reward}/{group}".encode(), digest_size=8).digest(), "little") >> 2


def drawable(connection: Connection, reward: int, *, run: int) -> dict[int, int]:
    """Return the versions with groups that a reward has given different scores, and the rows of the smallest one.

    Args:
        connection: Any.
        reward: Id of the reward.
        run: Id of the run that asks: it sees what was scored before it. 0 for one that is not registered yet.
    """
    scored = select(signals.c.version, func.min(signals.c.size)).where(signals.c.reward == reward)
    if run:
        scored = scored.where(signals.c.since < run)
    return dict(connection.execute(scored.group_by(signals.c.version)).tuples().all())


def score_moments(connection: Connection, reward: int, version: int, *, run: int) -> tuple[float, float]:
    """Return mean and standard deviation of the scores of a version that were there before a run."""
    mean, square = connection.execute(
        select(func.avg(scores.c.score), func.avg(scores.c.score * scores.c.score))
        .join(groups, groups.c.id == scores.c.group)
        .where(scores.c.reward == reward, groups.c.version == version, scores.c.since < run)
    ).one()
    return float(mean), max(float(square) - float(mean) ** 2, 0.0) ** 0.5


def measured(connection: Connection, run: int) -> Iterable[Row[Any]]:
    """Return what a run has measured, by round."""
    return connection.execute(
        select(measurements).where(measurements.c.run == run).order_by(measurements.c.round)
    ).all()


def in_chunks(ids: Collection[int]) -> Iterable[list[int]]:
    """Divide ids into parts that fit into a statement."""
    ordered = list(ids)
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))


def _drawn(row: Any, tokens: Sequence[tuple[Tensor, Tensor, Tensor]], values: Sequence[float] | None) -> Drawn:
    rewards = values or [float("nan")] * len(tokens)
    with readable("scores"):
        scored = list(zip(tokens, rewards, strict=True))
    rollouts = [Rollout(ids, mask, log_probs, 0.0, reward) for (ids, mask, log_probs), reward in scored]
    group = Group(-row.id, row.number, decode_ids(row.prompt), rollouts, row.uses)
    return Drawn(group, from_json(row.columns), row.version)


BEFORE_ALL = -1
"""The place before the first one."""
