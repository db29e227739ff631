"""What is removed from a store, who is warned about it, and that the space comes back."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import func, select, update

from r2vpo.store import RolloutStore, asking, drawing, writing
from r2vpo.store.checking import check_store
from r2vpo.store.pruning import Plan, Wanted, plan_removal, remove
from r2vpo.store.tables import draws, groups, measurements, prompts, runs, scores, signals, versions
from tests.unit.store.filled import add_run, fill, sampled

DAY = 86_400.0


def planned(store: RolloutStore, *names: str, now: float | None = None, **wanted: Any) -> Plan:
    with store.reading() as connection:
        chosen = asking.select_runs(connection, names=names, place="s")
        return plan_removal(connection, Wanted(chosen, **wanted), now=time.time() if now is None else now)


def counts(store: RolloutStore) -> list[int]:
    with store.reading() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (groups, scores, signals, prompts, versions, runs)
        ]


def test_what_the_options_select(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 3, 2)
    fill(store, "b", 2, 2)
    with store.writing() as connection:
        connection.execute(update(groups).where(groups.c.version.in_([1, 4])).values(created=time.time() - 40 * DAY))
    assert planned(store, older_than=time.time() - 30 * DAY).groups == [1, 2, 7, 8]
    assert planned(store, "run-a", older_than=time.time() - 30 * DAY).groups == [1, 2]
    assert planned(store, keep_versions=2).groups == [1, 2]
    assert planned(store, "run-a", keep_versions=1).rollouts == {"run-a": 8}
    assert planned(store, "run-b").groups == [7, 8, 9, 10]
    with store.reading() as connection:
        size = asking.size_on_disk(connection)
    assert planned(store, max_bytes=size).groups == []
    whole = planned(store)
    assert whole.bytes == pytest.approx(size) and len(whole.groups) == 10
    assert planned(store, max_bytes=0.69 * size).groups == whole.groups[:4] == [1, 2, 7, 8], "the oldest, until it fits"


def test_what_is_removed_and_what_stays(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 2, 3)
    fill(store, "b", 1, 3)
    run = add_run(store, "c")
    row = {"version": 1, "rows": 2, "tokens": 10, "decisions": 1.0, "weights": 1.0, "squares": 1.0}
    with store.writing() as connection:
        writing.add_draws(connection, run, 0, [1, 4])
        writing.add_measurements(connection, run, 0, [row])
    later = time.time() + 2 * DAY  # no run is at work any more
    plan = planned(store, "run-a", "run-b", now=later)
    assert plan.drawn == 2 and plan.drawn_by == []
    steps: list[int] = []
    remove(store, plan, now=later, progress=steps.append)
    assert steps == [9]
    # Run a is still needed for what run c measured of its version; run b is gone with its prompts.
    assert counts(store) == [0, 0, 0, 0, 2, 2]
    with store.reading() as connection:
        assert [one.name for one in asking.all_runs(connection)] == ["run-a", "run-c"]
        assert connection.execute(select(func.count()).select_from(measurements)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(draws)).scalar_one() == 0
    assert not check_store(store).problems


def test_a_run_at_work_is_named(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 1, 3)
    run = add_run(store, "b")
    fill(store, "c", 1, 3)
    fill(store, "d", 1, 1, tokenizer="another")
    with store.writing() as connection:
        writing.add_draws(connection, run, 0, [1])
    assert [one.name for one in planned(store, "run-a").drawn_by] == ["run-b"]
    assert planned(store, "run-c").drawn_by == [], "run b sees what was there when it began"
    assert planned(store, "run-d").drawn_by == []
    assert planned(store, "run-a", now=time.time() + DAY).drawn_by == []


def test_a_run_at_work_goes_on(place: str) -> None:
    """Its groups are removed between the draw and the note about it."""
    store = RolloutStore(place)
    fill(store, "a", 1, 3)
    run = add_run(store, "b")
    remove(store, planned(store, "run-a"), now=time.time() + 2 * DAY)
    gone = {"version": 1, "rows": 2, "tokens": 10, "decisions": 1.0, "weights": 1.0, "squares": 1.0}
    with store.writing() as connection:
        writing.add_draws(connection, run, 0, [1, 2])
        writing.add_measurements(connection, run, 0, [gone])
    with store.reading() as connection:
        assert drawing.last_places(connection, run, 1, (0, 1)) == {}


def test_a_run_stays_as_long_as_its_samplers(place: str) -> None:
    """It may train only on what they have put in, and have written nothing for hours."""
    store = RolloutStore(place)
    trainer = add_run(store, "trainer")
    _, _ = fill(store, "sampler", 1, 2, kind="sampling", parent="trainer")
    hours = time.time() + 2 * DAY
    remove(store, planned(store), now=hours)
    with store.reading() as connection:
        assert connection.execute(select(runs.c.id)).scalars().all() == [trainer]
    remove(store, Plan([], 0.0, {}, 0, []), now=hours)
    assert counts(store) == [0] * 6


def test_the_space_comes_back(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", 2, 0)
    with store.writing() as connection:
        for version in (1, 2):
            long = [sampled(number, version=version, length=300) for number in range(400)]
            writing.add_groups(connection, version, long, reward)
    with store.reading() as connection:
        before = asking.size_on_disk(connection)
    plan = planned(store, keep_versions=1)
    remove(store, plan, now=time.time())
    with store.reading() as connection:
        after = asking.size_on_disk(connection)
        left = connection.execute(select(groups.c.id)).scalars().all()
        assert len(drawing.read_groups(connection, left, 1)) == 400
    assert plan.bytes == pytest.approx(before / 2, rel=0.05)
    assert after < 0.6 * before
