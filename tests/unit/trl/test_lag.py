"""Rollouts of a policy that is a fixed number of rounds old."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.errors import UserError
from tests.tiny import parameters, same_rollouts, tiny_config, tiny_trainer

OPTIONS: dict[str, Any] = dict(replay=0, rollout={"lag": 2}, learning_rate=1e-2, step_control=False)


def watched(trainer: Any) -> list[tuple[Any, list[Any]]]:
    """For each round a copy of the policy at its start, and its micro-batches."""
    rounds: list[tuple[Any, list[Any]]] = []
    begin = trainer.learner.begin_round

    def begin_round(*given: Any) -> int:
        policy = copy.deepcopy(trainer.model)
        reused: int = begin(*given)
        rounds.append((policy, trainer.learner.micros))
        return reused

    trainer.learner.begin_round = begin_round
    return rounds


def log_probs(trainer: Any, policy: Any, micro: Any) -> torch.Tensor:
    with torch.no_grad():
        return policy(prefix_batch=micro.batch, temperature=trainer.temperature).log_probs


@pytest.mark.parametrize("dtype", ["model", "bfloat16"])
def test_the_sampler_is_the_policy_of_two_rounds_ago(tmp_path: Path, dtype: str) -> None:
    trainer = tiny_trainer(tmp_path, **(OPTIONS | dict(max_steps=10, rollout={"lag": 2, "dtype": dtype})))
    rounds = watched(trainer)
    trainer.train()
    tolerance = 1e-4 if dtype == "model" else 0.2
    for number, (present, micros) in enumerate(rounds):
        old = rounds[max(number - 2, 0)][0]
        for micro in micros:
            mask = micro.response_mask
            assert set(micro.staleness.tolist()) == {min(number, 2)}
            ours = micro.rollout_log_probs[mask]
            assert (log_probs(trainer, old, micro)[mask] - ours).abs().max() < tolerance
            assert torch.allclose(log_probs(trainer, present, micro)[mask], micro.old_log_probs[mask], atol=1e-4)
            if number >= 2:
                assert (log_probs(trainer, present, micro)[mask] - ours).abs().max() > 2 * tolerance
    assert trainer.learner.staleness_rows == [16, 16, 48]


def test_a_lagged_run_resumes_to_the_same_parameters(tmp_path: Path) -> None:
    options = OPTIONS | dict(max_steps=10, save_strategy="steps", save_steps=6)
    whole = tiny_trainer(tmp_path / "a", **options)
    whole.train()
    resumed = tiny_trainer(tmp_path / "b", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-6"))
    for name, value in parameters(whole.model).items():
        assert torch.equal(parameters(resumed.model)[name], value), name


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (2, 1)])
@pytest.mark.parametrize("step", [2, 3])
def test_another_lag_cannot_go_on(tmp_path: Path, before: int, after: int, step: int) -> None:
    options = OPTIONS | dict(save_strategy="steps", save_steps=step, max_steps=step)
    tiny_trainer(tmp_path / "a", **(options | dict(rollout={"lag": before}))).train()
    resumed = tiny_trainer(tmp_path / "b", **(OPTIONS | dict(rollout={"lag": after})))
    with pytest.raises(UserError, match=f"written with rollout.lag={before} and this run has {after}: set it to"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{step}"))


def test_a_sampler_of_another_lag_cannot_go_on(tmp_path: Path) -> None:
    def versioned(prompts: list[str], trainer: Any) -> dict[str, Any]:
        return same_rollouts(prompts, trainer)

    versioned.max_lag = 3  # type: ignore[attr-defined]
    options = OPTIONS | dict(rollout={"lag": 0})
    saving = dict(save_strategy="steps", save_steps=2, max_steps=2)
    tiny_trainer(tmp_path / "a", **(options | saving)).train()
    resumed = tiny_trainer(tmp_path / "b", rollout_func=versioned, **options)
    with pytest.raises(UserError, match="with max_lag of rollout_func=0 and this run has 3"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rollout": {"lag": -1}}, "must be at least 0"),
        ({"rollout": {"lag": 2}, "replay": 3}, "set replay.versions to 0"),
        ({"rollout": {"lag": 2, "sampler": "trl"}, "replay": 0}, "set rollout.sampler=shared_prefix"),
    ],
)
def test_what_a_lag_does_not_go_with_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny_config(tmp_path, **changes)
