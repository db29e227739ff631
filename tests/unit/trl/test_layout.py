"""A saved state for other processes: whole groups where they would have been sampled, every row once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.checkpoint_files import write_list
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.errors import UserError
from r2vpo.replay import Group, ReplayBuffer, Rollout, snapshot
from r2vpo.replay.packing import unpack
from r2vpo.trl.checkpoint import state_path
from r2vpo.trl.layout import Layout, laid_out
from r2vpo.trl.state import trainer_state
from tests.tiny import tiny_trainer

OPTIONS: dict[str, Any] = dict(replay=3, generation_batch_size=32, per_device_train_batch_size=8)


def layout(processes: int, micro_batches: int = 1) -> Layout:
    return Layout(processes=processes, rows=32, group_size=4, steps=4, micro_batches=micro_batches)


def replay_state(seed: int = 0) -> dict[str, Any]:
    return ReplayBuffer(ReplayOptions(versions=3), seed).state_dict()


def rows_of(packed: dict[str, Any]) -> list[tuple[Group, Rollout]]:
    return [(group, row) for group in unpack(packed) for row in group.rollouts]


def described(group: Group, row: Rollout) -> tuple[Any, ...]:
    numbers = (group.number, group.policy_version, group.uses, row.old_version, row.advantage, row.reward)
    tensors = (group.prompt_ids, row.response_ids, row.response_mask, row.rollout_log_probs, row.old_log_probs)
    return (*numbers, *(None if tensor is None else tuple(tensor.tolist()) for tensor in tensors))


def divided(states: list[dict[str, Any]], present: Layout) -> list[dict[str, Any]]:
    return [
        laid_out(states, present=present, part=part, replay=replay_state(seed=part))
        for part in range(present.processes)
    ]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one process after six steps, of which a round has four."""
    trainer = tiny_trainer(tmp_path_factory.mktemp("run"), max_steps=6, **OPTIONS)
    trainer.train()
    saved = trainer_state(trainer)
    assert saved["layout"] == layout(1).state_dict() and saved["step"] == 6
    assert len(saved["round"]) == 4 and len(rows_of(saved["replay"]["groups"])) > 40
    return saved


def test_groups_go_where_they_would_have_been_sampled(state: dict[str, Any]) -> None:
    """32 rows a round in groups of four: rows 0 to 15 and 32 to 47 belong to the first of two processes."""
    first, second = divided([state], layout(2))
    numbers = [sorted({group.number for group in unpack(part["replay"]["groups"])}) for part in (first, second)]
    assert set(numbers[0]) <= {0, 4, 8, 12, 32, 36, 40, 44} and set(numbers[1]) <= {16, 20, 24, 28, 48, 52, 56, 60}
    assert len(numbers[0]) >= 6 and len(numbers[1]) >= 6
    assert [part["replay"]["totals"]["drawn"] for part in (first, second)] == [state["replay"]["totals"]["drawn"], 0]


def test_every_row_is_there_once_and_comes_back_as_it_was(state: dict[str, Any]) -> None:
    back = laid_out(divided([state], layout(4)), present=layout(1), part=0, replay=replay_state())
    assert {described(*pair) for pair in rows_of(back["replay"]["groups"])} == {
        described(*pair) for pair in rows_of(state["replay"]["groups"])
    }
    assert back["replay"]["totals"] == state["replay"]["totals"]
    assert torch.equal(back["replay"]["generator"], state["replay"]["generator"])
    ReplayBuffer(ReplayOptions(versions=3)).load_state_dict(back["replay"])


def test_a_new_process_draws_with_a_stream_of_its_own(state: dict[str, Any]) -> None:
    first, second = divided([state], layout(2))
    assert torch.equal(first["replay"]["generator"], state["replay"]["generator"])
    assert torch.equal(second["replay"]["generator"], replay_state(seed=1)["generator"])


@pytest.mark.parametrize(("processes", "micro_batches"), [(2, 1), (2, 2), (4, 1), (8, 2)])
def test_the_rows_of_each_step_are_divided_evenly(state: dict[str, Any], processes: int, micro_batches: int) -> None:
    parts = divided([state], layout(processes, micro_batches))
    for step in range(4):
        before = rows_of(state["round"][step]["rows"])
        window = slice(step * micro_batches, (step + 1) * micro_batches)
        micros = [micro for part in parts for micro in part["round"][window]]
        sizes = [len(rows_of(micro["rows"])) for micro in micros]
        assert len(micros) == processes * micro_batches and max(sizes) - min(sizes) <= 1
        after = [pair for micro in micros for pair in rows_of(micro["rows"]) if pair[1].response_mask.any()]
        kept = [pair for pair in before if pair[1].response_mask.any()]
        assert [described(*pair) for pair in after] == [described(*pair) for pair in kept]
        assert {micro["normalizer"] for micro in micros} == {state["round"][step]["normalizer"]}
        tokens = sum(int(row.response_mask.sum()) for _, row in after)
        assert micros[0]["normalizer"] == tokens
    assert {part["step"] for part in parts} == {6 * micro_batches}


def test_more_parts_than_rows_leave_rows_that_are_not_trained_on(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=1, generation_batch_size=8, per_device_train_batch_size=4)
    trainer.train()
    one = trainer_state(trainer) | {"layout": layout(1).state_dict()} | trainer.learner.state_dict(in_progress=True)
    parts = divided([one], layout(8))
    for part in parts:
        trainer.learner.load_state_dict(part, version=0)
        micros = trainer.learner.micros
        assert len(micros) == 2 and all(len(micro.rollouts) == 1 for micro in micros)
    trained = sum(int(row.response_mask.any()) for part in parts for _, row in rows_of(part["round"][0]["rows"]))
    assert trained == len(rows_of(one["round"][0]["rows"])) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(generation_batch_size=16), "with 32 rows in a round; this run, of 1, has 16: keep generation_batch_size"),
        (dict(num_generations=8), "with 4 rows per prompt; this run, of 1, has 8: keep num_generations at 4"),
        (dict(per_device_train_batch_size=16), "with 4 optimizer steps in a round; this run, of 1, has 2: keep steps_"),
    ],
)
def test_rounds_of_another_shape_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_trainer(tmp_path / "a", max_steps=1, save_strategy="steps", save_steps=1, **OPTIONS).train()
    resumed = tiny_trainer(tmp_path / "b", **(OPTIONS | changes))
    with pytest.raises(UserError, match=message):
        resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-1"))


# Rounds of four steps; a checkpoint at step 3 lies within one, at step 4 between two.
ROUND: dict[str, Any] = dict(replay=0, generation_batch_size=16, per_device_train_batch_size=4)
TWICE: dict[str, Any] = dict(per_device_train_batch_size=8, num_iterations=2)


def written(folder: Path, *, step: int, **changes: Any) -> str:
    options = ROUND | dict(max_steps=step, save_strategy="steps", save_steps=step) | changes
    tiny_trainer(folder, **options).train()
    return str(folder / f"checkpoint-{step}")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, TWICE, "within a round with num_iterations=1 and this run has 2: set it to 1, or .* at a multiple of 4"),
        (TWICE, {}, "within a round with num_iterations=2 and this run has 1: set it to 2, or .* between two rounds"),
        (TWICE | dict(per_device_train_batch_size=4, gradient_accumulation_steps=2), {}, "with num_iterations=2"),
        (
            {},
            dict(objective={"aggregation": "sequence_mean"}),
            "with aggregation='token_mean' and this run has 'sequence_mean'",
        ),
        ({}, dict(objective="gspo"), "with aggregation='token_mean' and this run has 'sequence_mean'"),
        (
            dict(step_control={"kind": "kl"}),
            {},
            "with step_control.kind='kl' and this run has 'decision_variance': set it to 'kl', or",
        ),
        ({}, dict(temperature=0.7), "written with temperature=1.0 and this run has 0.7: set it to 1.0, or start a new"),
    ],
)
def test_a_round_in_progress_has_to_fit(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], message: str
) -> None:
    checkpoint = written(tmp_path / "a", step=3, **before)
    resumed = tiny_trainer(tmp_path / "b", **(ROUND | after))
    with pytest.raises(UserError, match=message):
        resumed.train(resume_from_checkpoint=checkpoint)
    assert resumed.state.global_step == 0


@pytest.mark.parametrize("after", [TWICE, dict(objective={"aggregation": "sequence_mean"}), dict(temperature=0.7)])
def test_between_two_rounds_no_round_has_to_fit(tmp_path: Path, after: dict[str, Any]) -> None:
    checkpoint = written(tmp_path / "a", step=4)
    resumed = tiny_trainer(tmp_path / "b", **(ROUND | dict(max_steps=8) | after))
    resumed.train(resume_from_checkpoint=checkpoint)
    variances = {entry["step"]: entry["ratio_variance"] for entry in resumed.state.log_history if "loss" in entry}
    assert variances[5] == 0.0 < min(variances[step] for step in (6, 7, 8))
    assert resumed.counters["rollouts_generated"] == 32 and resumed.round_index == 2


def test_rows_of_the_replay_keep_their_temperature(tmp_path: Path) -> None:
    checkpoint = written(tmp_path / "a", step=4, replay=3)
    resumed = tiny_trainer(tmp_path / "b", **(ROUND | dict(replay=3, temperature=0.7)))
    with pytest.raises(UserError, match=r"with temperature=1\.0 and this run has 0\.7"):
        resumed.train(resume_from_checkpoint=checkpoint)


def test_step_control_that_begins_within_a_round_waits_for_the_next(tmp_path: Path) -> None:
    """V at steps 4 comes from steps whose length nobody counted: the trial length stays until a round is measured."""
    options = ROUND | dict(step_control={"first_scale": 0.05})
    checkpoint = written(tmp_path / "a", step=2, **(options | dict(step_control=False)))
    resumed = tiny_trainer(tmp_path / "b", **(options | dict(max_steps=6)))
    resumed.train(resume_from_checkpoint=checkpoint)
    entries = {entry["step"]: entry for entry in resumed.state.log_history if "loss" in entry}
    assert entries[4]["ratio_variance"] > 0
    assert [entries[step]["step_scale"] for step in (3, 4, 5)] == [0.05, 0.05, 0.05]
    assert entries[6]["step_scale"] == 0.1, "then it grows by step_control.grow"


def test_other_micro_batches_go_on_with_the_same_steps(tmp_path: Path) -> None:
    """Twice the micro-batches of half the rows are the same optimizer steps, from within a round on."""
    options = OPTIONS | dict(replay=0, max_steps=8, save_strategy="steps", save_steps=3, adam_epsilon=1e-5)
    whole = tiny_trainer(tmp_path / "a", **options)
    whole.train()
    halves = options | dict(per_device_train_batch_size=4, gradient_accumulation_steps=2)
    resumed = tiny_trainer(tmp_path / "b", **halves)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    losses = [
        {entry["step"]: entry["ratio_variance"] for entry in trainer.state.log_history if "loss" in entry}
        for trainer in (whole, resumed)
    ]
    assert losses[1][4] == pytest.approx(losses[0][4], rel=1e-4) and losses[0][4] > 0
    assert resumed.counters["rollouts_generated"] == whole.counters["rollouts_generated"] == 64


def test_missing_states_of_other_processes_are_named(tmp_path: Path) -> None:
    tiny_trainer(tmp_path / "a", max_steps=4, save_strategy="steps", save_steps=4, **OPTIONS).train()
    checkpoint = tmp_path / "a" / "checkpoint-4"
    saved = snapshot.load(state_path(checkpoint, 0))
    snapshot.save(state_path(checkpoint, 0), saved | {"layout": layout(3).state_dict()})
    write_list(checkpoint, name=checkpoint.name)
    resumed = tiny_trainer(tmp_path / "b", **OPTIONS)
    with pytest.raises(UserError, match=r"written by 3 processes, this run has 1, .* processes 1, 2 are not in it"):
        resumed.train(resume_from_checkpoint=str(checkpoint))
