"""Settings that should be equivalent must give one trajectory through the real trainer."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES, LossOutput, Objective, RatioVarianceConfig, policy_gradient_loss
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
    core = policy_gradient_loss(
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        advantages=advantages,
        response_mask=response_mask,
        rollout_log_probs=rollout_log_probs,
    )
    return dataclasses.replace(core, loss=-terms.sum() / normalizer)


def test_lambda_zero_is_importance_weighted_policy_gradient(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(max_steps=8, step_control=False, replay=3)
    penalised = tiny_trainer(tmp_path / "a", dual={"kind": "fixed", "value": 0.0}, **options)
    penalised.train()
    assert penalised.counters["rollouts_reused"] > 0
    with monkeypatch.context() as patch:
        patch.setitem(OBJECTIVES, "r2vpo", Objective(RatioVarianceConfig, policy_gradient))
        plain = tiny_trainer(tmp_path / "b", dual={"kind": "fixed", "value": 0.0}, **options)
        plain.train()
    assert largest_gap(penalised, plain) < 1e-6
    braked = tiny_trainer(tmp_path / "c", dual={"kind": "fixed", "value": 2.5}, **options)
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
        0.0 if int(prompt.split("+")[0]) % 2 else float(sum(c in "02468" for c in text))
        for prompt, text in zip(prompts, completions, strict=True)
    ]


SKIPPED = {
    "outward": {},
    "response": {"objective": {"level": "response"}},
    "ordinary forward": {"shared_prefix": False},
    "clip": {"objective": "clip"},
    "ascent": {"dual": "ascent"},
    "micro-batches": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "truncated rows left out": {"mask_truncated_completions": True, "max_completion_length": 5},
    "two_sided": {"objective": {"options": {"brake": "two_sided"}}},
    "kl_penalty": {"objective": "kl_penalty", "dual": {"kind": "fixed", "value": 1.0}},
}


@pytest.mark.parametrize("kind", SKIPPED)
def test_skipping_rows_of_zero_advantage_changes_nothing_but_time(tmp_path: Any, kind: str) -> None:
    """Lambda, V, step scale and weights are equal, with step control and replay on."""
    options = {"reward": constant_for_some, "max_steps": 8, "num_iterations": 2, "replay": 2, **SKIPPED[kind]}
    whole = tiny_trainer(tmp_path / "a", **options)
    skipping = tiny_trainer(tmp_path / "b", **options, skip_zero_advantage=True)
    graded: list[int] = []
    rows_of(skipping, graded)
    for trainer in (whole, skipping):
        trainer.train()
    assert largest_gap(whole, skipping) < 1e-6
    for name in ("dual", "ratio_variance", "step_scale", "entropy", "kl"):
        first, second = ([entry[name] for entry in t.state.log_history if name in entry] for t in (whole, skipping))
        assert len(first) == 8
        # Squares of small differences of log-probs, and what follows from them: rounding weighs more there.
        rel = 1e-4 if name in ("ratio_variance", "kl", "step_scale") else 1e-6
        assert second == pytest.approx(first, rel=rel, abs=1e-6), name
    assert whole.learner.staleness_rows == skipping.learner.staleness_rows
    if kind in ("two_sided", "kl_penalty"):
        assert not graded, "rows of zero advantage have a gradient there: none is skipped"
    else:
        trained = 2 * sum(whole.learner.staleness_rows)
        assert 0 < sum(graded) <= 0.75 * trained, "some rows were computed without a graph"


def rows_of(trainer: Any, graded: list[int]) -> None:
    """Note how many rows of each part of a micro-batch are computed with a graph."""
    forward = trainer.learner._forward

    def noting(model: Any, micro: Any, **options: Any) -> Any:
        values = forward(model, micro, **options)
        if trainer.learner.skips and values.log_probs.requires_grad:
            graded.append(len(micro.rollouts))
        return values

    trainer.learner._forward = noting


def test_a_micro_batch_without_any_advantage_still_has_a_backward_pass(tmp_path: Any) -> None:
    def constant(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [1.0] * len(completions)

    trainer = tiny_trainer(tmp_path, reward=constant, skip_zero_advantage=True, max_steps=2)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    assert all(torch.equal(before[name], value) for name, value in trainer.model.named_parameters())


def test_a_seed_gives_one_run(tmp_path: Any) -> None:
    first, second, other = (
        tiny_trainer(tmp_path / name, seed=seed, max_steps=6) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    for trainer in (first, second, other):
        trainer.train()
    assert largest_gap(first, second) == 0.0
    assert largest_gap(first, other) > 0.0
