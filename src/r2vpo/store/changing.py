"""Changing what an import has written. Each function takes part in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, or_, select, update
from torch import Tensor

from r2vpo.store import writing
from r2vpo.store.drawing import in_chunks
from r2vpo.store.tables import groups, runs, scores, signals, versions

IMPORTED = ("import", "proxy")
"""Kinds of runs whose rollouts come from a log, which may be imported again."""


def groups_from(connection: Connection, version: int, starts: Sequence[int], count: int) -> dict[int, int]:
    """Return the ids of those groups of a version whose numbers are among the `count` from one of some starts."""
    found: dict[int, int] = {}
    for chunk in in_chunks(starts):
        found |= dict(connection.execute(_groups_from(version, chunk, count)).tuples().all())
    return found


def _groups_from(version: int, starts: Sequence[int], count: int) -> Select[int, int]:
    # With the version outside of OR, SQLite reads all groups of the version.
    near = (and_(groups.c.version == version, groups.c.number.between(one, one + count - 1)) for one in starts)
    return select(groups.c.number, groups.c.id).where(or_(*near)).order_by(groups.c.number)


@dataclass(frozen=True)
class Change:
    """What is new of a group.

    Attributes:
        group: Its id.
        version: Its policy version's id.
        prompt: Its prompt's tokens.
        said: For each row the score of a reward, and its parts; None if nothing has changed.
        columns: The row of the data; None if it has not changed.
    """

    group: int
    version: int
    prompt: Tensor
    said: tuple[Sequence[float], Sequence[Mapping[str, float]]] | None
    columns: Mapping[str, Any] | None


def change(connection: Connection, reward: int, changes: Sequence[Change]) -> None:
    """Change groups, as far as they are still there; runs at work do not draw those whose scores have changed any more.

    Args:
        connection: In a transaction that writes.
        reward: Id of the reward whose scores they are.
        changes: What is new.
    """
    there = set[int]()
    for chunk in in_chunks([one.group for one in changes]):
        there |= set(connection.execute(select(groups.c.id).where(groups.c.id.in_(chunk))).scalars())
    changes = [one for one in changes if one.group in there]
    scored = [(one.group, one.version, *one.said) for one in changes if one.said is not None]
    for chunk in in_chunks([group for group, *_ in scored]):
        for table in (scores, signals):
            connection.execute(delete(table).where(table.c.reward == reward, table.c.group.in_(chunk)))
    writing.add_scores(connection, reward, scored)
    for one in changes:
        if one.columns is not None:
            (prompt,) = writing.add_prompts(connection, [(one.prompt, one.columns)])
            connection.execute(update(groups).where(groups.c.id == one.group).values(prompt=prompt))


def add_tags(connection: Connection, run: int, tags: Sequence[str]) -> None:
    """Add those tags that a run does not have."""
    (known,) = connection.execute(select(runs.c.tags).where(runs.c.id == run)).scalars()
    new = [tag for tag in tags if tag not in known]
    if new:
        connection.execute(update(runs).where(runs.c.id == run).values(tags=[*known, *new]))


def note_pruned(connection: Connection, ids: Collection[int]) -> None:
    """Note of groups that are removed, as far as they were imported, that importing the log again leaves them out.

    What is removed of a version is always its oldest part, so its last time is enough.
    """
    imported = select(runs.c.id).where(runs.c.kind.in_(IMPORTED))
    of_version = select(groups.c.version, func.max(groups.c.created)).where(groups.c.id.in_(ids))
    for version, until in connection.execute(of_version.group_by(groups.c.version)).all():
        this = (versions.c.id == version, versions.c.run.in_(imported))
        later = versions.c.pruned_to.is_(None) | (versions.c.pruned_to < until)
        connection.execute(update(versions).where(*this, later).values(pruned_to=until))


def pruned_to(connection: Connection, run: int) -> dict[int, float]:
    """Return up to which time answers of a run's versions were removed, for those of which some were."""
    noted = versions.c.pruned_to
    return dict(
        connection.execute(select(versions.c.id, noted).where(versions.c.run == run, noted.is_not(None))).tuples().all()
    )
