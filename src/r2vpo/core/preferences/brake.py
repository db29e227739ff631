"""The brake of the constraint on the gradient of any loss that is a function of log-probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r2vpo.core.ratios import LOG_RATIO_BOUND


def held_back(
    log_probs: Tensor,
    old_log_probs: Tensor,
    response_mask: Tensor,
    *,
    dual: float,
    scale: float,
    brake: str = "outward",
) -> Tensor:
    """Return the same log-probs, and brake the gradient that comes back through them.

    The gradient g of a loss with respect to the log-probability of a token acts as its advantage, `A = -scale g`. The
    gradient that is passed on is `-1 / scale` times that of the Lagrangian in log form,
    `A log r - 2 lambda (r - 1 - log r)`, see `braked`. The loss itself does not change, and with lambda = 0 its
    gradient does not, to the last bit.

    r: `exp(clamp(log pi - log pi_k, -20, 20))`; lambda: the multiplier, in the units of A.

    Args:
        log_probs: log pi, (B, T) nats, of given tokens, sampled by the policy or not; gradient flows, braked.
        old_log_probs: log pi_k, (B, T) nats, at the round's start.
        response_mask: (B, T) bool; the gradient elsewhere passes unchanged.
        dual: lambda, at least 0.
        scale: What the gradient is multiplied by to be that of one pair: the pairs of the micro-batch whose mean the
            loss is, times the micro-batches over which gradients are averaged.
        brake: "outward" or "two_sided".

    Returns:
        (B, T), the values of `log_probs`.

    Source: ours; derived in docs/objective.md, section 10.
    """
    held: Tensor = _HeldBack.apply(log_probs, old_log_probs, response_mask, dual, scale, brake)  # type: ignore[no-untyped-call]
    return held


def braked(advantages: Tensor, ratio_minus_1: Tensor, dual: float, brake: str = "outward") -> Tensor:
    """Compute what is left of the advantages under the brake.

        two_sided    A - 2 lambda (r - 1)
        outward      A clip(1 - 2 lambda (r - 1) / A, 0, 1)      (0 for A = 0)

    Both are 0 at `r* = 1 + A / (2 lambda)`. The first is the gradient, with respect to log r, of
    `A log r - 2 lambda (r - 1 - log r)`. A rejected token, whose A is negative, has an r* above 0 only if
    `|A| < 2 lambda`; otherwise it is braked, but by less than a factor of `1 - 2 lambda / |A|`.

    Args:
        advantages: A, (B, T).
        ratio_minus_1: r - 1, (B, T), dimensionless.
        dual: lambda, in the units of A.
        brake: "outward" or "two_sided".

    Returns:
        (B, T), in the units of A.
    """
    if brake == "two_sided":
        return advantages - 2.0 * dual * ratio_minus_1
    return advantages * _share(advantages, ratio_minus_1, dual)


def _share(advantages: Tensor, ratio_minus_1: Tensor, dual: float) -> Tensor:
    """Compute `clip(1 - 2 lambda (r - 1) / A, 0, 1)`; 1 for A = 0, where nothing is multiplied by it."""
    present = advantages != 0
    moved = ratio_minus_1 / torch.where(present, advantages, 1.0)
    return torch.where(present, 1.0 - 2.0 * dual * moved, 1.0).clamp(0.0, 1.0)


class _HeldBack(torch.autograd.Function):
    """See `held_back`."""

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Tensor,
        old_log_probs: Tensor,
        response_mask: Tensor,
        dual: float,
        scale: float,
        brake: str,
    ) -> Tensor:
        ctx.save_for_backward(log_probs, old_log_probs, response_mask)
        ctx.dual, ctx.scale, ctx.brake = dual, scale, brake
        return log_probs.view_as(log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, old_log_probs, mask = ctx.saved_tensors
        wide = torch.promote_types(log_probs.dtype, torch.float32)
        given = gradient.to(wide)
        moved = torch.where(mask, log_probs.to(wide) - old_log_probs.to(wide), 0.0)
        ratio_minus_1 = moved.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).expm1()
        if ctx.brake == "two_sided":
            left = given + (2.0 * ctx.dual / ctx.scale) * ratio_minus_1
        else:
            # The share depends on A only through (r - 1) / A, and multiplies g itself: a share of 1 leaves every bit.
            left = given * _share(-ctx.scale * given, ratio_minus_1, ctx.dual)
        return left.to(gradient.dtype), None, None, None, None, None
