"""A trainer writes its rollouts into a store, and trains on those that other runs left there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sqlalchemy import func, select

from r2vpo.errors import UserError
from r2vpo.models.fingerprint import weights_fingerprint
from r2vpo.replay.group import rows_of
from r2vpo.store import RolloutStore, drawing
from r2vpo.store.encoding import count_ids
from r2vpo.store.tables import draws, groups, measurements, prompts, rollouts, runs, scores, versions
from tests.tiny import even_digits, parameters, tiny_model, tiny_trainer


def trained(folder: Path, store: Path, source: Any = None, **changes: Any) -> Any:
    replay = {"store": str(store), "versions": 1, "from": source, "tags": [folder.name]}
    trainer = tiny_trainer(folder, replay=replay, run_name=folder.name, **changes)
    trainer.train()
    return trainer


def all_rows(store: Path, *columns: Any) -> list[tuple[Any, ...]]:
    with RolloutStore(store, create=False).reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns)).all()]


def test_every_rollout_is_in_the_store(tmp_path: Path) -> None:
    trainer = trained(tmp_path / "a", tmp_path / "store.db")
    sampled = trainer.counters["rollouts_generated"]
    with RolloutStore(tmp_path / "store.db", create=False).reading() as connection:
        assert connection.execute(select(func.count()).select_from(rollouts)).scalar_one() == sampled > 0
        ids = connection.execute(select(groups.c.id).order_by(groups.c.id)).scalars().all()
        stored = drawing.read_groups(connection, ids, 1)
    kept = [group for micro in trainer.learner.micros for group in micro.groups if group.staleness(1) == 0]
    last = {-one.group.number: one.group for one in stored if one.group.policy_version == 1}
    assert kept and len(rows_of(last.values())) == len(rows_of(kept))
    ours = {tuple(row.response_ids.tolist()): row for row in rows_of(kept)}
    for row in rows_of(last.values()):
        mine = ours[tuple(row.response_ids.tolist())]
        assert torch.equal(row.rollout_log_probs, mine.rollout_log_probs) and row.reward == mine.reward
    (run,) = all_rows(tmp_path / "store.db", runs.c.name, runs.c.kind, runs.c.tags, runs.c.sees)
    assert run == ("a", "training", ["a"], 0)
    first = weights_fingerprint(tiny_model())
    found = all_rows(tmp_path / "store.db", versions.c.number, versions.c.fingerprint)
    assert [number for number, _ in found] == [0, 1] and found[0][1] == first != found[1][1]
    (columns, *_) = all_rows(tmp_path / "store.db", prompts.c.columns)
    assert set(json.loads(columns[0])) >= {"prompt"}
    (parts, *_) = all_rows(tmp_path / "store.db", scores.c.parts)
    assert list(json.loads(parts[0])) == [even_digits.__name__]


def test_a_store_changes_nothing_of_the_training(tmp_path: Path) -> None:
    plain = tiny_trainer(tmp_path / "plain", replay={"versions": 1})
    plain.train()
    stored = trained(tmp_path / "a", tmp_path / "store.db")
    before, now = parameters(plain.model), parameters(stored.model)
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_a_run_trains_on_what_others_left(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    trained(tmp_path / "a", store)
    trainer = trained(tmp_path / "b", store, {"runs": "a"}, seed=4)
    first = next(entry for entry in trainer.state.log_history if "stored_rows" in entry)
    assert first["stored_rows"] > 0 and 0 < first["stored_share"] <= 1 and first["stored_versions_left_out"] == 0
    # The first round has no rows of its own to train on again.
    fresh = trainer.args.generation_batch_size
    assert first["rollouts_reused"] == first["stored_rows"] == first["rollouts_of_others"] <= fresh
    assert trainer.counters["rollouts_written"] == trainer.counters["rollouts_generated"]
    assert trainer.counters["rollouts_of_others"] == trainer.learner.staleness_rows[-1]
    assert len(trainer.learner.staleness_rows) == 3  # fresh, of the last round, and of other runs
    drawn = all_rows(store, draws.c.round, draws.c.run)
    assert {number for number, _ in drawn} == {0, 1} and {run for _, run in drawn} == {2}
    measured = all_rows(store, measurements.c.round, measurements.c.rows, measurements.c.weights)
    assert sum(rows for _, rows, _ in measured) == trainer.learner.staleness_rows[-1]


def test_an_equal_policy_gives_its_own_rollouts_full_weight(tmp_path: Path) -> None:
    """The first round of run b has the weights that sampled version 0 of run a."""
    store = tmp_path / "store.db"
    trained(tmp_path / "a", store, max_steps=2)
    trainer = trained(tmp_path / "b", store, {"max_age_versions": 9}, max_steps=2, seed=5)
    (worth,) = trainer.stored._draws.worth.values()
    assert worth.share == pytest.approx(1.0, abs=0.02)
    stale = [row for micro in trainer.learner.micros for g in micro.groups if g.number < 0 for row in g.rollouts]
    assert stale
    for row in stale:
        assert row.old_log_probs == pytest.approx(row.rollout_log_probs, abs=1e-4)


def test_problems_that_a_run_is_evaluated_on_are_not_drawn(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    trained(tmp_path / "a", store, max_steps=6)
    prompt = {
        number: json.loads(columns)["prompt"] for number, columns in all_rows(store, prompts.c.id, prompts.c.columns)
    }
    of_group = {number: prompt[place] for number, place in all_rows(store, groups.c.id, groups.c.prompt)}
    asked = sorted(set(of_group.values()))[:2]
    with pytest.warns(UserWarning, match="not drawn because of answers to problems that this run is evaluated on"):
        trained(
            tmp_path / "b", store, {}, max_steps=6, eval_dataset=Dataset.from_list([{"prompt": one} for one in asked])
        )
    drawn = {of_group[group] for (group,) in all_rows(store, draws.c.group)}
    assert drawn and not drawn & set(asked)


def test_prompts_that_are_longer_than_those_of_the_run_are_not_drawn(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    trained(tmp_path / "a", store, max_steps=6)
    trainer = tiny_trainer(tmp_path / "b", replay={"store": str(store), "from": {"ratio": 4}}, max_steps=2)
    trainer.stored.longest_prompt = 4
    with pytest.warns(UserWarning, match=r"because of more tokens .*\(prompt 4, response 6, both together 128\)"):
        trainer.train()
    length = {number: count_ids(ids) for number, ids in all_rows(store, prompts.c.id, prompts.c.ids)}
    of_group = {number: length[place] for number, place in all_rows(store, groups.c.id, groups.c.prompt)}
    drawn = {of_group[group] for (group,) in all_rows(store, draws.c.group)}
    assert drawn == {4} and max(of_group.values()) > 4


@pytest.mark.parametrize("saved", [2, 3], ids=["between rounds", "within a round"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, saved: int) -> None:
    store, other = tmp_path / "store.db", tmp_path / "other.db"
    whole, resumed = {}, {}
    for place, found in ((store, whole), (other, resumed)):
        trained(tmp_path / f"a{place.stem}", place, max_steps=6)
        options = dict(max_steps=6, save_strategy="steps", save_steps=saved, seed=6)
        trainer = trained(tmp_path / f"b{place.stem}", place, {"ratio": 0.5}, **options)
        found["weights"], found["rows"] = parameters(trainer.model), None
    counts = [
        len(all_rows(other, table.c.run if "run" in table.c else table.c.id)) for table in (draws, groups, versions)
    ]
    checkpoint = tmp_path / "bother" / f"checkpoint-{saved}"
    replay = {"store": str(other), "versions": 1, "from": {"ratio": 0.5}, "tags": ["bother"]}
    again = tiny_trainer(tmp_path / "bother", replay=replay, **options)
    again.train(resume_from_checkpoint=str(checkpoint))
    after = parameters(again.model)
    assert all(torch.equal(whole["weights"][name], after[name]) for name in after)
    assert counts == [
        len(all_rows(other, table.c.run if "run" in table.c else table.c.id)) for table in (draws, groups, versions)
    ]
    assert len(all_rows(other, runs.c.id)) == 2


@pytest.mark.parametrize(
    ("source", "changes", "why"),
    [
        ({}, {"first": False}, "no rollouts of other runs yet"),
        ({"runs": "x"}, {}, "it has no run called x: replay.from.runs can name a"),
        ({"tags": "x"}, {}, "no run has the tags x .*the tags there are a"),
        (
            {"newer_than": "2999-01-01"},
            {},
            "replay.from.newer_than: the newest was sampled 0 minutes ago",
        ),
        (
            {},
            {"reward": lambda completions, **columns: [0.5] * len(completions)},
            "scored by another reward .even_digits",
        ),
    ],
)
def test_nothing_to_draw_is_said_before_anything_is_sampled(
    tmp_path: Path, source: Any, changes: Any, why: str
) -> None:
    store = tmp_path / "store.db"
    if changes.pop("first", True):
        trained(tmp_path / "a", store)
    else:
        RolloutStore(store).close()
    with pytest.raises(UserError, match=f"^store .*{why}"):
        trained(tmp_path / "b", store, source, **changes)


def test_a_store_to_draw_from_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"store .*typo\.db: there is no such file"):
        trained(tmp_path / "b", tmp_path / "typo.db", {})
    assert not (tmp_path / "typo.db").exists()
