"""What a run can draw from a store, and if it is nothing, why, in words that say what to change."""

from __future__ import annotations

import time

from sqlalchemy import Connection, func, select

from r2vpo.errors import UserError
from r2vpo.store.drawing import drawable, newest_group, reward_of, versions_of
from r2vpo.store.opening import shown
from r2vpo.store.records import Source
from r2vpo.store.store import RolloutStore
from r2vpo.store.tables import groups, rewards, runs, scores, versions


def versions_to_draw(
    connection: Connection, source: Source, *, run: int, tokenizer: str, reward: int, sees: int, place: str
) -> dict[int, int]:
    """Return the versions that a run can draw from, and the rows of the smallest group of each.

    Args:
        connection: Any.
        source: What it may draw, `replay.from`.
        run: Its id; 0 if it is not registered yet.
        tokenizer: Fingerprint of its tokenizer.
        reward: Id of its reward; 0 if no run has used it yet.
        sees: The newest group that it draws.
        place: What messages call the store.

    Raises:
        UserError: There are none; the message says why.
    """
    found = versions_of(connection, source, apart_from=run, tokenizer=tokenizer, sees=sees)
    with_signal = drawable(connection, reward, run=run)
    left = {version.id: with_signal[version.id] for version in found if version.id in with_signal}
    if not left:
        raise UserError(f"store {place}: {_why(connection, source, run, tokenizer, reward)}")
    return left


def refuse_empty(store: RolloutStore, source: Source, *, tokenizer: str, reward_version: str) -> None:
    """Refuse a new run that could not draw anything, before it starts.

    Args:
        store: The store.
        source: What the run may draw, `replay.from`.
        tokenizer: Fingerprint of its tokenizer.
        reward_version: Version of its reward.

    Raises:
        UserError: There is nothing; the message says why.
    """
    with store.reading() as connection:
        reward = reward_of(connection, source, reward_version)
        versions_to_draw(
            connection,
            source,
            run=0,
            tokenizer=tokenizer,
            reward=reward,
            sees=newest_group(connection),
            place=shown(store.place),
        )


def _why(connection: Connection, source: Source, run: int, tokenizer: str, reward: int) -> str:
    """Return the first reason.

    Args:
        connection: Any.
        source: What the run may draw, `replay.from`.
        run: Its id.
        tokenizer: Fingerprint of its tokenizer.
        reward: Id of its reward.
    """
    others = connection.execute(select(runs).where(runs.c.id != run)).all()
    if not others:
        return "it has no rollouts of other runs yet: leave out replay.from in the first run"
    named = [row for row in others if not source.runs or row.name in source.runs or row.key in source.runs]
    if not named:
        names = ", ".join(sorted({row.name for row in others})[:5])
        return f"it has no run called {', '.join(source.runs)}: replay.from.runs can name {names}"
    tagged = [row for row in named if set(source.tags) <= set(row.tags)]
    if not tagged:
        tags = sorted({tag for row in named for tag in row.tags})
        known = f"the tags there are {', '.join(tags)}" if tags else "they have no tags"
        return f"no run has the tags {', '.join(source.tags)} of replay.from.tags: {known}"
    readable = [row for row in tagged if row.tokenizer == tokenizer]
    if not readable:
        models = ", ".join(sorted({row.model for row in tagged}))
        return f"its rollouts are of {models}, whose tokenizer is another one, so their token ids mean other texts"
    ids = [row.id for row in readable]
    newest = connection.execute(select(func.max(versions.c.created)).where(versions.c.run.in_(ids))).scalar_one()
    if newest is None:
        return "the runs that replay.from selects have sampled nothing yet"
    sampled = select(groups.c.id).join(versions, versions.c.id == groups.c.version).where(versions.c.run.in_(ids))
    scored_by = select(rewards.c.id, rewards.c.description).join(scores, scores.c.reward == rewards.c.id)
    known_rewards = connection.execute(scored_by.where(scores.c.group.in_(sampled)).distinct()).all()
    if known_rewards and reward not in [row.id for row in known_rewards]:
        described = "; ".join(row.description for row in known_rewards[:3])
        if source.reward is not None:
            return f"replay.from.reward is {source.reward}, and its answers were scored by: {described}"
        return (
            f"its answers were scored by another reward ({described}) than this run's: score them again with r2vpo "
            "rollouts rescore, or name that reward in replay.from.reward"
        )
    if source.newer_than is not None and newest < source.newer_than:
        return (
            "none of the rollouts that replay.from selects is newer than replay.from.newer_than: the newest was "
            f"sampled {_age(newest)} ago"
        )
    return "all answers to a prompt have the same score in every group that replay.from selects: nothing can be learned"


def _age(moment: float) -> str:
    minutes = max(time.time() - moment, 0.0) / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days"
