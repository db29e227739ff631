"""Settings that should be equivalent must give one trajectory through the real trainer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES, Objective, RatioVarianceConfig
from r2vpo.core.types import LossOutput, RatioVarianceSums
from tests.tiny import parameters, tiny_model, tiny_trainer


def largest_gap(first: Any, second: Any) -> float:
    left, right = parameters(first.model), parameters(second.model)
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def policy_gradient(
    *,
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    response_mask: Any,
    rollout_log_probs: Any,
    normalizer: Any,
    **_: Any,
) -> LossOutput:
    """Importance-weighted policy gradient, written out: -sum m w r A / N."""
    ratio = torch.exp(log_probs - old_log_probs)
    weight = torch.exp(old_log_probs - rollout_log_probs).clamp(max=2.0)
    terms = torch.where(response_mask, weight * ratio * advantages[:, None], 0.0)
    sums = RatioVarianceSums.zero(log_probs.device)
    return LossOutput(loss=-terms.sum() / normalizer, metrics={}, constraint=sums)


def test_lambda_zero_is_importance_weighted_policy_gradient(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(max_steps=8, dual="fixed", step_control=False, replay_versions=3)
    penalised = tiny_trainer(tmp_path / "a", dual_value=0.0, **options)
    penalised.train()
    assert penalised.counters["rollouts_reused"] > 0
    with monkeypatch.context() as patch:
        patch.setitem(OBJECTIVES, "r2vpo", Objective(RatioVarianceConfig, policy_gradient))
        plain = tiny_trainer(tmp_path / "b", dual_value=0.0, **options)
        plain.train()
    assert largest_gap(penalised, plain) < 1e-6
    braked = tiny_trainer(tmp_path / "c", dual_value=2.5, **options)
    braked.train()
    assert largest_gap(braked, plain) > 1e-4


@pytest.mark.parametrize("shared", [True, False])
def test_sharing_the_prompts_changes_nothing(tmp_path: Any, shared: bool) -> None:
    model = tiny_model()
    runs = [
        tiny_trainer(tmp_path / str(i), model=copy.deepcopy(model), shared_prefix=flag, max_steps=6)
        for i, flag in enumerate([True, shared])
    ]
    for run in runs:
        run.train()
    assert largest_gap(*runs) < 1e-5
    assert largest_gap(runs[0], type("Start", (), {"model": model})) > 1e-3


def test_micro_batches_of_one_step_are_one_batch(tmp_path: Any) -> None:
    """Two micro-batches accumulated equal one of twice the size: the normalizer is the whole step's."""
    options = dict(max_steps=4, num_iterations=2)
    model = tiny_model()
    whole = tiny_trainer(tmp_path / "a", model=copy.deepcopy(model), per_device_train_batch_size=16, **options)
    parts = tiny_trainer(
        tmp_path / "b",
        model=copy.deepcopy(model),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        **options,
    )
    whole.train()
    parts.train()
    assert largest_gap(whole, parts) < 1e-5
    assert whole.controls.dual.value == pytest.approx(parts.controls.dual.value, rel=1e-5)


def constant_for_some(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Half of the prompts give every completion the same score, so that their groups have no advantage."""
    return [
        0.0 if len(prompt) % 2 else float(sum(c in "02468" for c in text))
        for prompt, text in zip(prompts, completions, strict=True)
    ]


def test_rows_of_zero_advantage_carry_only_a_two_sided_penalty(tmp_path: Any) -> None:
    """Without a penalty, or with one that brakes outward, leaving them out is the same run; two-sided it is not."""

    def run(name: str, skip: bool, dual: float, brake: str) -> Any:
        trainer = tiny_trainer(
            tmp_path / name,
            reward=constant_for_some,
            skip_zero_advantage=skip,
            dual="fixed",
            dual_value=dual,
            objective_options={"brake": brake},
            step_control=False,
            replay_versions=0,
            num_iterations=2,
            per_device_train_batch_size=16,
            max_steps=4,
        )
        trainer.train()
        return trainer

    without = run("a", True, 0.0, "two_sided")
    assert largest_gap(without, run("b", False, 0.0, "two_sided")) < 1e-5
    assert largest_gap(run("c", True, 2.5, "two_sided"), run("d", False, 2.5, "two_sided")) > 1e-5
    outward = run("e", True, 2.5, "outward")
    assert largest_gap(outward, run("f", False, 2.5, "outward")) < 1e-5
    assert largest_gap(outward, without) > 1e-5
    assert sum(without.staleness_rows) < 2 * 16


def test_a_seed_gives_one_run(tmp_path: Any) -> None:
    first, second, other = (
        tiny_trainer(tmp_path / name, seed=seed, max_steps=6) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    for trainer in (first, second, other):
        trainer.train()
    assert largest_gap(first, second) == 0.0
    assert largest_gap(first, other) > 0.0
