"""Rows of one decision each: the same ratios, losses and sums as from the general computation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from r2vpo.core.method import Method
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.ratios import anchored_ratios, stale_weight
from r2vpo.core.single_ratios import single_ratios

N = 65


@pytest.mark.parametrize("scale", [1e-4, 0.3, 8.0])
@pytest.mark.parametrize("stale", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_gradient_and_sums_are_those_of_the_general_computation(objective: str, stale: bool, scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    old, moved, sampled, advantages = torch.randn(4, N, generator=generator)
    decisions = 0.001 + torch.rand(N, generator=generator)
    mask = torch.ones(N, 1, dtype=torch.bool)
    rollout = (old + 0.4 * sampled)[:, None] if stale else None
    method = Method({"objective": objective, "dual": {"kind": "fixed", "value": 1.7}})
    weight = stale_weight(old[:, None], rollout, mask, method.config.stale_weight_cap) if stale else None
    found = []
    for single in (True, False):
        log_probs = (old + scale * moved).requires_grad_()
        if single:
            ratios = single_ratios(
                log_probs=log_probs, old_log_probs=old, stale_weight=weight, decisions=decisions, mask=mask
            )
            output = method.loss.of_ratios(  # type: ignore[attr-defined]
                ratios, None, advantages=advantages, dual=1.7, config=method.config
            )
        else:
            output = method.loss(
                log_probs=log_probs[:, None],
                old_log_probs=old[:, None],
                rollout_log_probs=rollout,
                advantages=advantages,
                response_mask=mask,
                dual=1.7,
                config=method.config,
                decisions=decisions[:, None],
            )
        (gradient,) = torch.autograd.grad(output.loss, log_probs)
        sums = (output.constraint.to_tensor(), output.proximal.movement_sums().to_tensor(), output.proximal.weight_sum)
        found.append((output.loss, gradient, *sums))
    # The loss is a difference of large numbers where ratios are large.
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_every_field_is_the_same() -> None:
    old, moved = torch.randn(2, N, generator=torch.Generator().manual_seed(4))
    mask, decisions = torch.ones(N, 1, dtype=torch.bool), torch.rand(N)
    single = single_ratios(log_probs=old + moved, old_log_probs=old, stale_weight=None, decisions=decisions, mask=mask)
    general, _ = anchored_ratios(
        log_probs=(old + moved)[:, None],
        old_log_probs=old[:, None],
        response_mask=mask,
        rollout_log_probs=None,
        options=Method("r2vpo").config,
        decisions=decisions[:, None],
    )
    assert single.single and not general.single
    for field in dataclasses.fields(general):
        if field.name not in ("single", "stale_weight"):
            assert torch.equal(getattr(single, field.name), getattr(general, field.name)), field.name
