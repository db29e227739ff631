"""What is written is whole, once, and can be taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from sqlalchemy import func, select

from r2vpo.store import RolloutStore, drawing, writing
from r2vpo.store.tables import draws, groups, measurements, prompts, rollouts, runs, scores, signals, versions
from tests.unit.store.filled import add_run, fill, sampled


def count(store: RolloutStore, table: Any) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def counts(store: RolloutStore) -> list[int]:
    return [count(store, table) for table in (versions, prompts, groups, rollouts, scores, signals)]


def test_groups_come_back(place: str) -> None:
    store = RolloutStore(place)
    run, reward = fill(store, "a", 1, 0)
    given = [sampled(3, (0.0, 0.25, 1.0)), sampled(4)]
    with store.writing() as connection:
        version = writing.add_version(connection, run, 0, None)
        assert writing.add_groups(connection, version, given, reward) == 2
    with RolloutStore(place).reading() as connection:
        ids = connection.execute(select(groups.c.id).order_by(groups.c.number.desc())).scalars().all()
        found = drawing.read_groups(connection, ids, reward)
    for one, before in zip(found, reversed(given), strict=True):
        assert torch.equal(one.group.prompt_ids, before.group.prompt_ids)
        assert one.columns == before.columns and one.version == version
        for row, other in zip(one.group.rollouts, before.group.rollouts, strict=True):
            assert torch.equal(row.response_ids, other.response_ids)
            assert torch.equal(row.response_mask, other.response_mask)
            assert torch.equal(row.rollout_log_probs, other.rollout_log_probs)
            assert (row.reward, row.advantage) == (other.reward, 0.0)


def test_scores_keep_their_parts(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 1, 2)
    with store.reading() as connection:
        found = connection.execute(select(scores).order_by(scores.c.group, scores.c.position)).all()
    assert [(row.reward, row.score, json.loads(row.parts)) for row in found] == [
        (reward, value, {"right": value}) for value in (0.0, 1.0, 0.0, 1.0)
    ]


def test_writing_twice_changes_nothing(place: str) -> None:
    store = RolloutStore(place)
    first = fill(store, "a", 2, 3)
    before = counts(store)
    run = add_run(store, "a")
    with store.writing() as connection:
        reward = writing.add_reward(connection, "right", "again")
        version = writing.add_version(connection, run, 1, "other")
        again = [sampled(number, version=1) for number in (3, 4, 5)]
        assert writing.add_groups(connection, version, again + again, reward) == 0
    assert (run, reward) == first and counts(store) == before == [2, 6, 6, 12, 12, 6]


def test_groups_of_one_score_are_kept_and_never_drawn(place: str) -> None:
    store = RolloutStore(place)
    run, reward = fill(store, "a", 0, 0)
    with store.writing() as connection:
        version = writing.add_version(connection, run, 0, None)
        writing.add_groups(connection, version, [sampled(0, (1.0, 1.0)), sampled(1), sampled(2, (0.5,))], reward)
    assert count(store, groups) == 3 and count(store, signals) == 2  # a row alone is compared with other groups


def test_a_transaction_that_fails_leaves_nothing(place: str) -> None:
    store = RolloutStore(place)
    run, reward = fill(store, "a", 1, 1)
    before = counts(store)
    with pytest.raises(KeyboardInterrupt), store.writing() as connection:
        version = writing.add_version(connection, run, 7, None)
        writing.add_groups(connection, version, [sampled(70), sampled(71)], reward)
        raise KeyboardInterrupt
    assert counts(store) == before


def test_draws_count_once_a_round(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 1, 3)
    run = add_run(store, "b")
    for _ in range(2):
        with store.writing() as connection:
            ids = connection.execute(select(groups.c.id).order_by(groups.c.id)).scalars().all()
            writing.add_draws(connection, run, 4, ids[:2])
    with store.reading() as connection:
        assert connection.execute(select(groups.c.uses).order_by(groups.c.id)).scalars().all() == [1, 1, 0]


def test_a_group_of_several_rounds_is_taken_back_from_each(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 1, 2)
    run, other = add_run(store, "b"), add_run(store, "c")
    with store.writing() as connection:
        for number in range(5):
            writing.add_draws(connection, run, number, [1, 2] if number == 3 else [1])
        writing.add_draws(connection, other, 4, [1, 2])
        writing.rewind(connection, run, 2)
        assert connection.execute(select(groups.c.uses).order_by(groups.c.id)).scalars().all() == [3, 1]


def test_the_id_of_what_is_gone_is_not_given_again(place: str) -> None:
    """Otherwise a run at work would take new groups for those that it saw when it began."""
    store = RolloutStore(place)
    run, reward = fill(store, "a", 2, 2)
    other = add_run(store, "b")
    with store.writing() as connection:
        writing.rewind(connection, run, 1)
        connection.execute(runs.delete().where(runs.c.id == other))
    assert add_run(store, "c") > other
    with store.writing() as connection:
        version = writing.add_version(connection, run, 1, None)
        writing.add_groups(connection, version, [sampled(9)], reward)
        assert version > 2 and connection.execute(select(groups.c.id)).scalars().all() == [1, 2, 5]


def test_a_run_that_resumes_takes_its_later_rounds_back(place: str) -> None:
    store = RolloutStore(place)
    run, _ = fill(store, "a", 4, 2)
    other, _ = fill(store, "b", 1, 1)
    with store.writing() as connection:
        ids = connection.execute(select(groups.c.id).order_by(groups.c.id)).scalars().all()
        writing.add_draws(connection, other, 0, [ids[6]])  # b has drawn a group of a's version 3
        for number in range(3):
            writing.add_draws(connection, run, number, [ids[-1]])
            row = {"version": 5, "rows": 1, "tokens": 2, "decisions": 1.0, "weights": 1.0, "squares": 1.0}
            writing.add_measurements(connection, run, number, [row])
        writing.rewind(connection, run, 2)
    with store.reading() as connection:
        left = connection.execute(
            select(versions.c.run, versions.c.number, func.count())
            .join(groups, groups.c.version == versions.c.id)
            .group_by(versions.c.run, versions.c.number)
            .order_by(versions.c.run, versions.c.number)
        ).all()
        assert [tuple(row) for row in left] == [(run, 0, 2), (run, 1, 2), (run, 3, 1), (other, 0, 1)]
        assert connection.execute(select(draws.c.round).where(draws.c.run == run)).scalars().all() == [0, 1]
        assert connection.execute(select(measurements.c.round)).scalars().all() == [0, 1]
        assert connection.execute(select(groups.c.uses).where(groups.c.id == ids[-1])).scalar_one() == 2
    assert count(store, rollouts) == count(store, scores) == 12
