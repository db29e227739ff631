"""OpenRLHF's buffer whose rows come back, alone and under its actor trainer."""

from __future__ import annotations

import pytest
import torch
from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer
from openrlhf.trainer.ray import ppo_actor

from r2vpo.core.options import BufferOptions
from r2vpo.errors import UserError
from r2vpo.integrations.openrlhf import launch
from r2vpo.integrations.openrlhf import trainer as our_trainer
from r2vpo.integrations.openrlhf.options import OpenRLHFOptions, parse_options
from r2vpo.integrations.openrlhf.replay import AgedReplayBuffer
from tests.frameworks.openrlhf.plain import TinyActor, arguments, experience, make_trainer

OWN = ppo_actor.ActorPPOTrainer


@pytest.fixture
def make(monkeypatch, tmp_path):
    """A trainer of theirs with ours in its place, under these options."""

    def build(**options):
        for name, value in launch.place(OpenRLHFOptions(**options)).items():
            monkeypatch.setenv(name, value)
        return make_trainer(tmp_path)

    yield build
    ppo_actor.ActorPPOTrainer = OWN


def buffer(seed=0, **options):
    return AgedReplayBuffer(NaiveReplayBuffer(2), BufferOptions(**options), seed=seed)


def one_round(trainer, seed):
    trainer.replay_buffer.append(experience(trainer.actor, seed=seed))
    torch.manual_seed(seed)
    status = trainer.ppo_train(0.0)
    trainer.replay_buffer.clear()
    return status


def test_rows_come_back_until_they_are_too_old():
    actor, rows = TinyActor(1), buffer(versions=2, ratio=1.0)
    seen = []
    for seed in range(5):
        rows.append(experience(actor, seed=seed))
        drawn = rows.draw(2, lambda count: count)
        seen.append(sorted({rows.version - int(row.item.info["policy_version"]) for row in drawn}))
        assert len(rows.items) == 8 + len(drawn) and len(rows) == len(rows.items)
        assert {int(item.info["policy_version"]) for item in rows.items} >= {rows.version}
        rows.clear()
        assert not rows.items and rows.kept <= 16 and len(rows._kept) == rows.kept
    assert seen == [[], [1], [1, 2], [1, 2], [1, 2]]


def test_a_row_is_kept_once():
    actor, rows = TinyActor(1), buffer(versions=5)
    for seed in range(3):
        rows.append(experience(actor, seed=seed))
        rows.draw(2, lambda count: count)
        rows.clear()
        assert rows.kept == 8 * (seed + 1)


def test_steps_come_out_even_and_every_process_takes_as_many():
    actor, rows = TinyActor(1), buffer(versions=5, ratio=1.0)
    rows.append(experience(actor, rows=8))
    rows.clear()
    rows.append(experience(actor, rows=6, seed=1))
    assert len(rows.draw(4, lambda count: count)) == 6 and len(rows.items) % 4 == 0
    rows.clear()
    rows.append(experience(actor, rows=8, seed=2))
    assert len(rows.draw(4, lambda count: min(count, 4))) == 4


def test_rows_without_gradient_or_with_broken_log_probs_are_not_kept():
    actor, rows = TinyActor(1), buffer(versions=5)
    batch = experience(actor, rows=4)
    batch.advantages[0] = 0.0
    batch.rollout_log_probs[1, 0] = float("-inf")
    rows.append(batch)
    rows.clear()
    assert rows.kept == 2


def test_the_draws_have_a_seed():
    def orders(seed):
        actor, rows = TinyActor(1), buffer(versions=5, ratio=0.5, seed=seed)
        for number in range(3):
            rows.append(experience(actor, seed=number))
            rows.draw(2, lambda count: count)
            last = [item.sequences.tolist() for item in rows.items]
            rows.clear()
        return last

    assert orders(1) == orders(1) and orders(1) != orders(2)


def test_stale_rows_are_evaluated_by_the_present_policy(make):
    trainer = make(step_control=False)
    one_round(trainer, 0)
    trainer.replay_buffer.append(experience(trainer.actor, seed=1))
    sampled = [row.item.rollout_log_probs.clone() for row in trainer.replay_buffer._kept.values()]
    before = [row.item.action_log_probs.clone() for row in trainer.replay_buffer._kept.values()]
    movement = trainer._draw(4)
    drawn = trainer.replay_buffer._drawn
    assert len(drawn) == 8
    for row in drawn:
        item = row.item
        with torch.no_grad():
            now = trainer.actor(item.sequences[None], item.action_mask[None], attention_mask=item.attention_mask[None])[
                0
            ]
        torch.testing.assert_close(item.action_log_probs, now)
    kept = list(trainer.replay_buffer._kept.values())
    assert all(torch.equal(row.item.rollout_log_probs, old) for row, old in zip(kept, sampled, strict=True))
    assert not any(torch.equal(row.item.action_log_probs, old) for row, old in zip(kept, before, strict=True))
    # The movement of the last round by hand: twice the sum of ratio - 1 - log ratio, over the sum of 1 - p.
    total, decided = 0.0, 0.0
    for row, old, mu in zip(kept, before, sampled, strict=True):
        mask = row.item.action_mask.bool()
        logs, weight = (row.item.action_log_probs - old).double()[mask], torch.exp(old - mu).clamp(max=2.0)[mask]
        total += float((weight * 2 * (logs.exp() - 1 - logs)).sum())
        decided += float((weight * (1.001 - old[mask].exp())).sum())
    assert movement.to_tensor().tolist() == pytest.approx([total, decided], rel=1e-3)


def test_rounds_train_on_fresh_and_stale_rows(make):
    trainer = make()
    first, second, third = (one_round(trainer, seed) for seed in range(3))
    assert first["r2vpo/rows_reused"] == 0 and second["r2vpo/rows_reused"] == 8
    assert third["r2vpo/rows_kept"] == 16 and 1 <= third["r2vpo/mean_staleness_reused"] <= 2
    assert first["policy_version"] == 0 and second["policy_version"] == 0.5
    assert make(replay=0).replay_buffer.__class__ is NaiveReplayBuffer


def test_what_it_cannot_do_is_refused(tmp_path):
    def args(section, name, value):
        found = arguments(tmp_path)
        place = found
        for part in section.split("."):
            place = getattr(place, part)
        setattr(place, name, value)
        return found

    for section, name, value, message in (("algo.advantage", "is_correction_level", "off", "set it to token"),):
        with pytest.raises(UserError, match=message):
            our_trainer._check_replay(args(section, name, value), TinyActor(1))
    of_images = TinyActor(1)
    of_images.is_vlm = True
    with pytest.raises(UserError, match="does not keep images"):
        our_trainer._check_replay(arguments(tmp_path), of_images)
    batch = experience(TinyActor(1))
    batch.rollout_log_probs = None
    with pytest.raises(UserError, match="is_correction_level token"):
        buffer().append(batch)
    with pytest.raises(UserError, match=r"replay.versions is -1"):
        parse_options(["replay.versions=-1"])
    assert parse_options(["replay.ratio=2"]).replay == BufferOptions(versions=5, ratio=2)
