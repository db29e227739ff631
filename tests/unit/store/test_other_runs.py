"""A run draws groups of other runs, measures them, and leaves out versions that are worth too little."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sqlalchemy import delete, event, select

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.replay import Group
from r2vpo.store import RolloutStore, Source, drawing, writing
from r2vpo.store.other_runs import DrawsOfRun
from r2vpo.store.tables import groups, scores, signals
from r2vpo.store.worth import ROWS_TO_JUDGE
from tests.unit.store.filled import add_run, fill, sampled


def draws_of(
    store: RolloutStore, key: str, reward: int, part: tuple[int, int] = (0, 1), tokenizer: str = "t"
) -> DrawsOfRun:
    return DrawsOfRun(
        store,
        add_run(store, key),
        reward,
        Source(),
        tokenizer=tokenizer,
        ratio=1.0,
        advantages=ADVANTAGES["grpo"],
        cap=2.0,
        part=part,
        total=lambda sums: sums,
        seed=0,
    )


def drawn(draws: DrawsOfRun, number: int, rows: int) -> list[Group]:
    draws.begin(number)
    return draws.draw(rows, number)


def evaluate(found: list[Group], moved: float) -> None:
    """Let the present policy give each token this many nats less than the one that sampled it."""
    for row in (row for group in found for row in group.rollouts):
        row.old_log_probs = row.rollout_log_probs - moved


def statements(store: RolloutStore, draws: DrawsOfRun, rows: int) -> int:
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2].split()[0]))
    assert sum(map(len, drawn(draws, 0, rows))) == rows // 2 * 2
    return len(asked) - asked.count("BEGIN")


@pytest.mark.parametrize("rows", [32, 33])
def test_a_draw_takes_as_many_statements_from_many_versions(tmp_path: Path, rows: int) -> None:
    """Also if the rows are no multiple of a group's, so that nothing in the store fits at the end."""
    counts = []
    for versions in (1, 8, 60):
        store = RolloutStore(tmp_path / f"{versions}.db")
        _, reward = fill(store, "a", versions, 64 // versions + 1)
        counts.append(statements(store, draws_of(store, "b", reward), rows))
    assert max(counts) <= 7, counts  # two queries for the order, two for the groups, three for the note


def test_each_group_comes_once_before_any_comes_twice(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 4, 6)
    draws, seen = draws_of(store, "b", reward), list[int]()
    for number in range(6):
        found = drawn(draws, number, 8)
        assert {len(group) for group in found} == {2} and len(found) == 4
        assert {group.policy_version for group in found} == {number}
        seen += [group.number for group in found]
    assert len(set(seen)) == len(seen) == 24
    assert {group.number for group in drawn(draws, 6, 48)} == set(seen)


def test_a_resumed_run_draws_the_same(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 5, 3)
    first, kept = draws_of(store, "b", reward), []
    for number in range(4):
        kept.append([(group.number, group.rollouts[0].advantage) for group in drawn(first, number, 6)])
        if number == 1:
            again = draws_of(store, "b", reward)
    assert kept[2:] == [
        [(group.number, group.rollouts[0].advantage) for group in drawn(again, number, 6)] for number in (2, 3)
    ]


def test_scores_that_come_later_change_nothing(place: str) -> None:
    """Neither what is drawn nor the baseline of answers that are alone, of this run and when it resumes."""
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 4)
    alone = range(100, 108)
    with store.writing() as connection:
        writing.add_groups(connection, 1, [sampled(number, (number % 3,)) for number in alone], reward)
        ids = connection.execute(select(groups.c.id).order_by(groups.c.id)).scalars().all()
        given = {group: drawing.read_groups(connection, [group], reward)[0] for group in ids}
        for table in (scores, signals):  # as if the reward had scored only a part of them
            connection.execute(delete(table).where(table.c.group % 2 == 0))

    def some(draws: DrawsOfRun, numbers: range) -> list[tuple[int, list[float]]]:
        found = [group for number in numbers for group in drawn(draws, number, 5)]
        return [(group.number, [row.advantage for row in group.rollouts]) for group in found]

    first = draws_of(store, "b", reward)
    kept = some(first, range(2))
    with store.writing() as connection:
        rest = [
            (group, one.version, [5.0 + row.reward for row in one.group.rollouts], [{}] * len(one.group))
            for group, one in given.items()
            if group % 2 == 0
        ]
        writing.add_scores(connection, reward, rest)
    again = draws_of(store, "b", reward)
    assert some(first, range(2, 4)) == some(again, range(2, 4))
    assert {-number for number, _ in kept} <= {group for group in ids if group % 2}
    later = {-number for number, _ in some(draws_of(store, "c", reward), range(4))}
    assert any(group % 2 == 0 for group in later)


def test_a_version_that_is_left_out_comes_back_with_the_next_run(place: str) -> None:
    """Not before: it is measured only on what is drawn of it, so the run does not see its policy come back to it."""
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 40)
    with store.reading() as connection:
        of = dict(connection.execute(select(groups.c.id, groups.c.version)).tuples().all())
    draws, left = draws_of(store, "b", reward), ROWS_TO_JUDGE
    for number in range(ROWS_TO_JUDGE // 4):  # four rows of each version in a round
        found = drawn(draws, number, 8)
        assert {of[-group.number] for group in found} == {1, 2}
        for group in found:
            evaluate([group], 20.0 if of[-group.number] == 1 else 0.0)
        draws.measure(found)
        left -= 4
        assert draws.statistics()["stored_versions_left_out"] == float(left == 0)
    resumed = draws_of(store, "b", reward)
    for one, number in ((draws, left + 50), (draws, left + 51), (resumed, left + 52)):
        found = drawn(one, number, 8)
        evaluate(found, 0.0)
        one.measure(found)
        assert {of[-group.number] for group in found} == {2}
        assert one.statistics()["stored_versions_left_out"] == 1
        assert one.worth[2].share == pytest.approx(1.0) and one.worth[1].share < 1e-6
    others = drawn(draws_of(store, "c", reward), 0, 8)
    assert {of[-group.number] for group in others} == {1, 2}
    assert torch.isfinite(others[0].rollouts[0].rollout_log_probs).all()
