"""Writing to the store. Each function takes part in the caller's transaction; writing a thing twice changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from torch import Tensor

from r2vpo.replay.group import Group
from r2vpo.store.drawing import in_chunks, newest_group, place_of
from r2vpo.store.encoding import as_json, digest, encode_ids, encode_rows
from r2vpo.store.records import Sampled
from r2vpo.store.tables import draws, groups, measurements, prompts, rewards, rollouts, runs, scores, signals, versions


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose keys are not in the table yet."""
    if rows:
        kind = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(kind.insert(table).on_conflict_do_nothing(), list(rows))


def add_run(
    connection: Connection,
    key: str,
    *,
    name: str,
    kind: str,
    model: str,
    tokenizer: str,
    recipe: str | None,
    tags: Sequence[str],
    parent: str | None = None,
) -> int:
    """Return the id of the run with this key, made if it is new."""
    row = {"name": name, "kind": kind, "model": model, "tokenizer": tokenizer, "recipe": recipe, "tags": list(tags)}
    row["parent"] = parent
    insert_missing(connection, runs, [row | {"key": key, "started": time.time(), "sees": newest_group(connection)}])
    return int(connection.execute(select(runs.c.id).where(runs.c.key == key)).scalar_one())


def add_reward(connection: Connection, version: str, description: str) -> int:
    """Return the id of a reward's version, made if it is new."""
    insert_missing(connection, rewards, [{"version": version, "description": description, "created": time.time()}])
    return int(connection.execute(select(rewards.c.id).where(rewards.c.version == version)).scalar_one())


def add_version(
    connection: Connection, run: int, number: int, fingerprint: str | None, *, created: float | None = None
) -> int:
    """Return the id of a policy version of a run, made if it is new.

    Args:
        connection: In a transaction that writes.
        run: The run's id.
        number: The version's number in the run.
        fingerprint: Digest of its weights, if it is known.
        created: When its newest answer was sampled, in seconds since 1970, which may be later than what is stored; None
            means now, for a new version.
    """
    row = {"run": run, "number": number, "fingerprint": fingerprint}
    insert_missing(connection, versions, [row | {"created": time.time() if created is None else created}])
    this = (versions.c.run == run, versions.c.number == number)
    if created is not None:
        connection.execute(update(versions).where(*this, versions.c.created < created).values(created=created))
    return int(connection.execute(select(versions.c.id).where(*this)).scalar_one())


def add_named_version(connection: Connection, run: int, name: str, *, created: float) -> int:
    """Return the id of the version that a log calls by a name, made with the run's next number if it is new.

    Args:
        connection: In a transaction that writes.
        run: The run's id.
        name: What the log calls it; its digest is the version's fingerprint, since the weights are not known.
        created: When its newest answer was sampled, in seconds since 1970.
    """
    fingerprint, of_run = digest("name", name.encode(errors="surrogatepass")), versions.c.run == run
    known = select(versions.c.number).where(of_run, versions.c.fingerprint == fingerprint)
    number = connection.execute(known).scalar_one_or_none()
    if number is None:
        number = connection.execute(
            select(func.coalesce(func.max(versions.c.number) + 1, 0)).where(of_run)
        ).scalar_one()
    return add_version(connection, run, number, fingerprint, created=created)


def add_groups(connection: Connection, version: int, sampled: Sequence[Sampled], reward: int) -> int:
    """Add groups of one policy version with their scores, and return how many are new.

    Args:
        connection: In a transaction that writes.
        version: Id of the policy version.
        sampled: The groups; one with a number that the version already has is left as it is.
        reward: Id of the reward that scored them.
    """
    known = set(groups_by_number(connection, version, [one.group.number for one in sampled]))
    new = list({one.group.number: one for one in sampled if one.group.number not in known}.values())
    if not new:
        return 0
    of_prompt = add_prompts(connection, [(one.group.prompt_ids, one.columns) for one in new])
    now = time.time()
    rows = [
        {
            "version": version,
            "number": one.group.number,
            "prompt": prompt,
            "size": len(one.group),
            "length": sum(row.response_ids.numel() for row in one.group.rollouts),
            "temperature": one.temperature,
            "created": now if one.created is None else one.created,
            "uses": 0,
            "tokens": _tokens(one.group),
        }
        for one, prompt in zip(new, of_prompt, strict=True)
    ]
    made = insert(groups).returning(groups.c.id, sort_by_parameter_order=True)
    ids = list(connection.execute(made, rows).scalars())
    connection.execute(
        insert(rollouts),
        [
            {"group": number, "position": place, "length": row.response_ids.numel(), "ended": ended}
            for number, one in zip(ids, new, strict=True)
            for place, (row, ended) in enumerate(
                zip(one.group.rollouts, one.ended or [None] * len(one.group), strict=True)
            )
        ],
    )
    add_scores(
        connection,
        reward,
        [
            (number, version, [row.reward for row in one.group.rollouts], one.parts)
            for number, one in zip(ids, new, strict=True)
        ],
    )
    return len(new)


def groups_by_number(connection: Connection, version: int, numbers: Sequence[int]) -> dict[int, int]:
    """Return the ids of those groups of a version that have one of these numbers."""
    found: dict[int, int] = {}
    for chunk in in_chunks(numbers):
        wanted = select(groups.c.number, groups.c.id).where(groups.c.version == version, groups.c.number.in_(chunk))
        found |= dict(connection.execute(wanted).tuples().all())
    return found


def add_scores(
    connection: Connection,
    reward: int,
    scored: Sequence[tuple[int, int, Sequence[float], Sequence[Mapping[str, float]]]],
) -> None:
    """Add what a reward said of groups. Runs that are at work do not see it.

    Args:
        connection: In a transaction that writes.
        reward: Its id.
        scored: Of each group its id, its version's id, and for each row the weighted sum and the parts.
    """
    since = connection.execute(select(func.coalesce(func.max(runs.c.id), 0))).scalar_one()
    insert_missing(
        connection,
        scores,
        [
            {
                "reward": reward,
                "group": group,
                "position": place,
                "score": score,
                "parts": as_json(_without_nan(part)),
                "since": since,
            }
            for group, _, values, parts in scored
            for place, (score, part) in enumerate(zip(values, parts, strict=True))
        ],
    )
    insert_missing(
        connection,
        signals,
        [
            {
                "reward": reward,
                "version": version,
                "place": place_of(reward, group),
                "group": group,
                "size": len(values),
                "since": since,
            }
            for group, version, values, _ in scored
            if has_signal(values)
        ],
    )


def has_signal(values: Sequence[float]) -> bool:
    """Return whether draws can give a group with these scores: its answers differ, or there is only one."""
    return len(values) == 1 or min(values) < max(values)


def add_draws(connection: Connection, run: int, number: int, drawn: Sequence[int]) -> None:
    """Note that a run trains on groups in a round; a round that is repeated counts once."""
    before = select(draws.c.group).where(draws.c.run == run, draws.c.round == number)
    known = set(connection.execute(before).scalars())
    new = [group for group in drawn if group not in known]
    if new:
        rows = [{"run_": run, "group_": group, "round_": number, "place": at} for at, group in enumerate(new)]
        connection.execute(_DRAW, rows)
        connection.execute(_USE, [{"group_": group} for group in new])


# Statement by statement, because a group may have been removed since it was read: it is noted only if it is there.
_DRAW = insert(draws).from_select(
    ["run", "group", "round", "position"],
    select(
        bindparam("run_", type_=BigInteger), groups.c.id, *(bindparam(n, type_=Integer) for n in ("round_", "place"))
    ).where(groups.c.id == bindparam("group_")),
)
_USE = update(groups).where(groups.c.id == bindparam("group_")).values(uses=groups.c.uses + 1)


def add_measurements(connection: Connection, run: int, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what a round has measured of the versions that it drew from, as far as they are still there."""
    of = [row["version"] for row in rows]
    there = select(versions.c.id).where(versions.c.id.in_(of))
    left = set(connection.execute(there).scalars())
    kept = [dict(row) | {"run": run, "round": number} for row in rows if row["version"] in left]
    insert_missing(connection, measurements, kept)


def rewind(connection: Connection, run: int, number: int) -> None:
    """Remove what a run has written in round `number` and after it, because it resumes there.

    Groups of these rounds that another run has drawn stay, and a repeated round leaves them as they are.
    """
    again = (draws.c.run == run, draws.c.round >= number)
    rounds = select(func.count()).where(*again, draws.c.group == groups.c.id).scalar_subquery()
    drawn = groups.c.id.in_(select(draws.c.group).where(*again))
    connection.execute(update(groups).where(drawn).values(uses=groups.c.uses - rounds))
    connection.execute(delete(draws).where(*again))
    connection.execute(delete(measurements).where(measurements.c.run == run, measurements.c.round >= number))
    later = select(versions.c.id).where(versions.c.run == run, versions.c.number >= number)
    connection.execute(delete(groups).where(groups.c.version.in_(later), groups.c.uses == 0))
    left = select(groups.c.version).where(groups.c.version.in_(later))
    connection.execute(delete(versions).where(versions.c.id.in_(later), versions.c.id.not_in(left)))


def add_prompts(connection: Connection, asked: Sequence[tuple[Tensor, Mapping[str, Any]]]) -> list[int]:
    """Return the ids of prompts with their rows of data, made if they are new."""
    found = []
    for ids, row in asked:
        columns = as_json(row)
        found.append({"digest": digest(ids.numpy().tobytes(), columns), "ids": encode_ids(ids), "columns": columns})
    insert_missing(connection, prompts, found)
    wanted = select(prompts.c.digest, prompts.c.id).where(prompts.c.digest.in_({row["digest"] for row in found}))
    number = dict(connection.execute(wanted).tuples().all())
    return [number[row["digest"]] for row in found]


def _tokens(group: Group) -> bytes:
    return encode_rows(
        [row.response_ids for row in group.rollouts],
        [row.response_mask for row in group.rollouts],
        [row.rollout_log_probs for row in group.rollouts],
    )


def _without_nan(part: Mapping[str, float]) -> dict[str, float | None]:
    """Return the parts with null where a function does not apply; JSON has no NaN."""
    return {name: score if score == score else None for name, score in part.items()}
