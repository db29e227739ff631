"""A log that is read again adds what is new of it: answers, scores and columns, and nothing that was removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from r2vpo.recording import left_out
from r2vpo.recording.adding import Target
from r2vpo.recording.gathering import LogOptions
from r2vpo.recording.importing import import_log
from r2vpo.recording.scoring import FeedbackReward, FunctionReward
from r2vpo.store import RolloutStore, asking, pruning, writing
from r2vpo.store.changing import pruned_to
from r2vpo.store.checking import check_store
from r2vpo.store.other_runs import DrawsOfRun
from r2vpo.store.tables import groups, prompts, rewards, runs, scores, signals
from tests.tiny import even_digits, tiny_tokenizer
from tests.unit.recording.logs import flat, imported, stored, write
from tests.unit.store.test_other_runs import drawn, draws_of

EDITED = FeedbackReward({"edited": 1.0})


def said(store: Path) -> list[tuple[Any, ...]]:
    """What each reward says: its description, group, position and score."""
    with RolloutStore(store, create=False).reading() as connection:
        wanted = select(rewards.c.description, scores.c.group, scores.c.position, scores.c.score)
        wanted = wanted.join(rewards, rewards.c.id == scores.c.reward)
        found = connection.execute(wanted.order_by(scores.c.reward, scores.c.group, scores.c.position)).all()
    assert not check_store(RolloutStore(store)).problems
    return [tuple(row) for row in found]


def with_feedback(*given: dict[str, float] | None) -> list[Any]:
    """Answers to one prompt with this feedback."""
    rows = [flat(answer=str(place)) for place in range(len(given))]
    return [row | ({} if one is None else {"feedback": one}) for row, one in zip(rows, given, strict=True)]


def test_later_feedback_changes_the_score(tmp_path: Path) -> None:
    store, log = tmp_path / "s.db", tmp_path / "log.jsonl"
    imported(write(log, *with_feedback({"thumb": 1}, {"thumb": 1})), store)
    assert stored(store, signals.c.group, by=signals.c.group) == []
    done = imported(write(log, *with_feedback({"thumb": 1}, {"thumb": 0})), store)
    assert (done.rows, done.known, done.scored_again, done.name) == (0, 2, 1, "log")
    assert [score for *_, score in said(store)] == [1.0, 0.0]
    assert stored(store, signals.c.group, by=signals.c.group) == [(1,)]
    assert imported(log, store).scored_again == 0


def test_another_reward_is_added_to_the_same_answers(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    both = [{"thumb": 1, "edited": 1}, {"thumb": 0, "edited": 0}]
    log = write(tmp_path / "log.jsonl", *with_feedback(*both))
    imported(log, store)
    for reward in (EDITED, FunctionReward(even_digits, "even_digits")):
        done = imported(log, store, reward)
        assert (done.rows, done.groups, done.known, done.scored_again) == (0, 0, 2, 2)
        assert imported(log, store, reward).scored_again == 0
    assert [(one[0], *one[2:]) for one in said(store)] == [
        ("feedback thumb", 0, 1.0),
        ("feedback thumb", 1, 0.0),
        ("feedback edited", 0, 1.0),
        ("feedback edited", 1, 0.0),
        ("even_digits", 0, 1.0),
        ("even_digits", 1, 0.0),
    ]
    assert len(stored(store, runs.c.id, by=runs.c.id)) == len(stored(store, groups.c.id, by=groups.c.id)) == 1


def test_answers_whose_group_has_not_all_the_feedback_are_a_group_of_their_reward(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    given = [{"thumb": 1, "edited": 1}, {"thumb": 0}, {"thumb": 0, "edited": 0}]
    log = write(tmp_path / "log.jsonl", *with_feedback(*given))
    assert imported(log, store).rows == 3
    done = imported(log, store, EDITED)
    assert (done.rows, done.groups, done.known, done.scored_again) == (2, 1, 0, 0)
    for reward, known in ((EDITED, 2), (FeedbackReward({"thumb": 1.0}), 3)):
        again = imported(log, store, reward)
        assert (again.rows, again.known, again.scored_again) == (0, known, 0)
    assert [size for (size,) in stored(store, groups.c.size, by=groups.c.id)] == [3, 2]
    assert len(said(store)) == 5


def test_other_columns_are_added_to_the_same_answers(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    rows = [row | {"gold": 7, "user": place} for place, row in enumerate(with_feedback({"thumb": 1}, {"thumb": 0}))]
    log = write(tmp_path / "log.jsonl", *rows)
    imported(log, store)
    for columns, expected in (({"gold": "gold"}, {"gold": 7}), ({"user": "user"}, {"gold": 7})):
        done = imported(log, store, columns=columns)
        assert (done.rows, done.known, done.scored_again) == (0, 2, 0)
        with RolloutStore(store).reading() as connection:
            of_group = select(prompts.c.columns).join(groups, groups.c.prompt == prompts.c.id)
            (found,) = connection.execute(of_group).scalars()
        assert json.loads(found) == {"prompt": "7+8=", **expected}, "users differ within the group"


def test_a_function_scores_again_by_other_columns(tmp_path: Path) -> None:
    def gold(prompts: list[str], completions: list[str], gold: list[int], **_: Any) -> list[float]:
        return [float(value) for value in gold]

    store, reward = tmp_path / "s.db", FunctionReward(gold, "gold")
    log = write(tmp_path / "log.jsonl", *[row | {"a": {"gold": 1}, "b": {"gold": 2}} for row in with_feedback({}, {})])
    assert imported(log, store, reward, columns={"gold": "a.gold"}).rows == 2
    done = imported(log, store, reward, columns={"gold": "b.gold"})
    assert (done.rows, done.known, done.scored_again) == (0, 2, 2)
    assert [score for *_, score in said(store)] == [2.0, 2.0]


def test_tags_are_added(tmp_path: Path) -> None:
    store, log = tmp_path / "s.db", write(tmp_path / "log.jsonl", *with_feedback({"thumb": 1}))
    for name, tags in (("a", ["x"]), ("b", ["y", "x"])):
        target = Target(str(store), name, "tiny", "tokenizer", tags)
        import_log([log], tiny_tokenizer(), LogOptions(), FeedbackReward({"thumb": 1.0}), target)
    assert stored(store, runs.c.name, runs.c.tags, by=runs.c.id) == [("a", ["x", "y"])]


@pytest.mark.parametrize("proxy", [False, True])
def test_what_was_pruned_does_not_come_back(tmp_path: Path, proxy: bool) -> None:
    """Also if nothing is left of the import, and if a group before others is gone."""
    path = tmp_path / "s.db"
    first = [json.dumps({"r2vpo_log": "a"})] if proxy else []
    answers = with_feedback(*[{"thumb": number} for number in range(40)])
    rows = [row | {"time": 100.0 + place} for place, row in enumerate(answers)]
    log = write(tmp_path / "log.jsonl", *first, *rows)
    assert imported(log, path).groups == 3
    for older, left in ((120.0, 24), (200.0, 0)):
        store = RolloutStore(path)
        with store.reading() as connection:
            wanted = pruning.Wanted(asking.all_runs(connection), older_than=older)
            plan = pruning.plan_removal(connection, wanted, now=0.0)
        pruning.remove(store, plan, now=1e12)
        done = imported(log, path)
        assert (done.rows, done.known, done.left_out.counts) == (0, left, {left_out.PRUNED: 40 - left})
    write(log, *first, *rows, flat(answer="99", time=300.0) | {"feedback": {"thumb": 1}})
    assert imported(log, path).rows == 1
    with RolloutStore(path).reading() as connection:
        assert pruned_to(connection, 1) == {1: 139.0}


def test_a_run_at_work_does_not_draw_what_was_scored_again(tmp_path: Path) -> None:
    path, log = tmp_path / "s.db", tmp_path / "log.jsonl"
    rows = [
        flat(f"{number}+1=", str(thumb)) | {"feedback": {"thumb": thumb}} for number in range(3) for thumb in (1, 0)
    ]
    imported(write(log, *rows), path)
    store = RolloutStore(path)
    with store.writing() as connection:
        reward = writing.add_reward(connection, FeedbackReward({"thumb": 1.0}).version, "")

    def groups_of(draws: DrawsOfRun) -> set[int]:
        return {-group.number for number in range(3) for group in drawn(draws, number, 2)}

    draws = draws_of(store, "b", reward, tokenizer="tokenizer")
    imported(write(log, *rows[:1], rows[1] | {"feedback": {"thumb": 0.5}}, *rows[2:]), path)
    (changed,) = {group for _, group, _, score in said(path) if score == 0.5}
    assert groups_of(draws) == {1, 2, 3} - {changed}
    assert groups_of(draws_of(store, "c", reward, tokenizer="tokenizer")) == {1, 2, 3}
