"""Which rows count as held out: those of a round's first pass that no round before has trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.core.radius import radius
from r2vpo.replay.group import each_row
from tests.tiny import same_rollouts, tiny_trainer


def told(trainer: Any) -> list[tuple[list[int], list[bool] | None]]:
    """Ages of the rows and what was said of them, a micro-batch each, gathered while the trainer trains."""
    said: list[tuple[list[int], list[bool] | None]] = []
    measure = trainer.controls.measure

    def spy(*args: Any, held_out: torch.Tensor | None, **named: Any) -> Any:
        said.append((named["staleness"].tolist(), None if held_out is None else held_out.tolist()))
        return measure(*args, held_out=held_out, **named)

    trainer.controls.measure = spy
    return said


def test_rows_of_the_replay_and_of_later_passes_are_not_held_out(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=8, replay=2, num_iterations=2)
    said, each = told(trainer), trainer.args.steps_per_generation
    trainer.train()
    assert len(said) % (2 * each) == 0
    for place, (ages, held_out) in enumerate(said):
        if place % (2 * each) < each:
            assert held_out == [age == 0 for age in ages]
        else:
            assert held_out is None
    assert any(age > 0 for ages, _ in said for age in ages)


def test_a_group_that_a_step_has_trained_on_is_not_held_out_from_a_later_one(tmp_path: Path) -> None:
    """Four groups of four in eight steps of two rows: the second half of a group follows the first half's step."""
    trainer = tiny_trainer(tmp_path, max_steps=8, replay=0, per_device_train_batch_size=2)
    groups: list[list[tuple[int, bool]]] = []
    begin = trainer.learner.begin_round

    def spy(*given: Any) -> int:
        reused = begin(*given)
        for micro in trainer.learner.micros:
            held, numbers = micro.held_out.tolist(), each_row(micro.groups, lambda group: group.number)
            groups.append(list(zip(numbers, held, strict=True)))
        return reused

    trainer.learner.begin_round = spy
    trainer.train()
    seen: set[int] = set()
    for part in groups[:8]:
        assert all(flag == (group not in seen) for group, flag in part)
        seen |= {group for group, _ in part}
    flags = [flag for part in groups[:8] for _, flag in part]
    assert True in flags and False in flags


def own_prompts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Every row of a group has another prompt, as an environment may give."""
    samples = same_rollouts(prompts, trainer)
    samples["prompt_ids"] = [[2 + place % 4, *ids[1:]] for place, ids in enumerate(samples["prompt_ids"])]
    return samples


def one_step_old(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Every second row of a group comes from the policy of the round before."""
    versions = [max(trainer.round_index - place % 2, 0) for place in range(len(prompts))]
    return same_rollouts(prompts, trainer) | {"policy_version": versions}


one_step_old.max_lag = 1


@pytest.mark.parametrize("rollout_func", [own_prompts, one_step_old])
@pytest.mark.parametrize("resumed", [False, True])
def test_rows_that_share_a_baseline_are_held_out_together(tmp_path: Path, rollout_func: Any, resumed: bool) -> None:
    """Their advantages contain each other's rewards, whether or not they are one group; a step has two of the four."""
    trainer = tiny_trainer(tmp_path, max_steps=10, replay=0, rollout_func=rollout_func, per_device_train_batch_size=2)
    trainer.train()
    learner = trainer.learner
    if resumed:
        learner.load_state_dict(learner.state_dict(in_progress=True), version=learner.version)
    groups = [group for micro in learner.micros for group in micro.groups]
    assert len(groups) > 4 and len({group.number // 4 for group in groups}) == 4
    seen: set[int] = set()
    flags = []
    for micro in learner.micros:
        baselines = each_row(micro.groups, lambda group: group.number // 4)
        flags += micro.held_out.tolist()
        assert micro.held_out.tolist() == [baseline not in seen for baseline in baselines]
        seen |= set(baselines)
    assert True in flags and False in flags


def test_rows_of_a_sampler_that_lags_are_held_out_all_the_same(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6, replay=0, rollout={"lag": 1})
    said = told(trainer)
    trainer.train()
    assert {age for ages, _ in said for age in ages} == {0, 1}
    assert all(all(held_out) for _, held_out in said if held_out is not None)


def test_the_radius_follows_what_was_gained(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=12, replay=0, learning_rate=1e-3, objective={"delta": 1e-4})
    seen: list[tuple[float, float]] = []
    finish, controls = trainer.controls.finish_step, trainer.controls

    def spy(**options: Any) -> Any:
        metrics = finish(**options)
        gamma, target = metrics["held_out_alignment"], metrics["decision_variance_target"]
        assert target == pytest.approx(radius(1e-4, controls.informative, gamma))
        assert controls.step_size.target == target
        seen.append((gamma, target))
        return metrics

    trainer.controls.finish_step = spy
    trainer.train()
    assert seen[0][0] == 0.0, "nothing has moved before the first step"
    assert any(gamma > 0 and target > 1e-4 * 16 for gamma, target in seen), seen


def test_a_resumed_round_knows_which_rows_are_new(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6, replay=2)
    trainer.train()
    micros, learner = trainer.learner.micros, trainer.learner
    learner.load_state_dict(learner.state_dict(in_progress=True), version=learner.version)
    again = learner.micros
    known = [micro.held_out.tolist() for micro in micros]
    assert again is not micros and [micro.held_out.tolist() for micro in again] == known
    assert {flag for row in known for flag in row} == {True, False}


@pytest.mark.parametrize("options", [{"step_control": False}, {"step_control": {"kind": "kl"}}])
def test_without_our_step_control_it_is_not_known(tmp_path: Path, options: dict[str, Any]) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, replay=0, **options)
    trainer.train()
    assert trainer.controls.alignment == 0.0
    assert trainer.controls.target == pytest.approx(trainer.controls._delta * trainer.controls.informative)
