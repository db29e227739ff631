"""Without replay a part of a round's rows is evaluated once more, so that step control knows the whole round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.replay.group import rows_of
from r2vpo.trl.layout import Layout, laid_out
from r2vpo.trl.state import trainer_state
from tests.tiny import tiny_trainer


def heard(trainer: Any) -> list[list[float]]:
    """What step control hears of the last round at each round's start, gathered while the trainer trains."""
    sums: list[list[float]] = []
    begin, update = trainer.controls.begin_round, trainer.controls.step_size.update

    def begin_round(*args: Any, **named: Any) -> None:
        trainer.controls.step_size.update = lambda found: (sums.append(found.to_tensor().tolist()), update(found))[1]
        begin(*args, **named)
        trainer.controls.step_size.update = update

    trainer.controls.begin_round = begin_round
    return sums


def test_the_movement_of_a_whole_round_is_known_without_replay(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6, replay=0, learning_rate=1e-3)
    sums, seen = heard(trainer), []
    again = trainer.learner._evaluate_again

    def spy(model: Any) -> None:
        rows = rows_of(trainer.learner.measured_again)
        then = [row.old_log_probs for row in rows]
        again(model)
        seen.append([(row.old_log_probs, old, row.response_mask) for row, old in zip(rows, then, strict=True)])

    trainer.learner._evaluate_again = spy
    trainer.train()
    assert [len(rows) for rows in seen] == [0, 4, 4]  # a quarter of 16 rows
    assert sums[0] == [0.0, 0.0]
    for found, rows in zip(sums[1:], seen[1:], strict=True):
        moved = decided = 0.0
        for now, then, mask in rows:
            logs = (now.double() - then.double())[mask]
            moved += float((2 * (logs.exp() - 1 - logs)).sum())
            decided += float((1.001 - then.double()[mask].exp()).sum())
        # The sampler's own log-probs differ from the trainer's by rounding, and so do the weights of fresh rows from 1.
        assert found == pytest.approx([moved, decided], rel=1e-2) and moved > 0


def test_with_replay_the_stale_rows_serve(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, replay=2)
    sums = heard(trainer)
    trainer.train()
    assert trainer.learner.measured_again == [] and sums[1][1] > 0


@pytest.mark.parametrize("options", [{"step_control": False}, {"step_control": {"kind": "kl"}}])
def test_without_step_control_or_by_the_kl_rule_nothing_is_evaluated_again(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, replay=0, **options)
    trainer.train()
    assert trainer.learner.measured_again == []


def test_processes_get_equally_many_of_the_rows(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, replay=0)
    trainer.train()
    state, layout = trainer_state(trainer), Layout.of(trainer)
    three = Layout(3, layout.rows, layout.group_size, layout.steps, layout.micro_batches)
    parts = [laid_out([state], present=three, part=part, replay=state["replay"]) for part in range(3)]
    assert [len(part["measured_again"]["response_lengths"]) for part in parts] == [1, 1, 1]  # of 4
