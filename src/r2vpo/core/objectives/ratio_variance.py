"""R²VPO: the policy gradient under a soft constraint on the variance of the ratio."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from r2vpo.core.aggregation import aggregate
from r2vpo.core.declaration import option, same_as
from r2vpo.core.masking import token_advantages
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.objectives.surrogate import multiplier
from r2vpo.core.options import ObjectiveOptions
from r2vpo.core.radius import DELTA
from r2vpo.core.ratios import anchored_ratios
from r2vpo.core.types import LossOutput
from r2vpo.core.validation import check_loss_inputs


@dataclass(frozen=True, kw_only=True)
class RatioVarianceConfig(ObjectiveConfig):
    """Options of `r2vpo_loss`, in addition to those of `ObjectiveConfig`.

    Delta does not enter the loss, where it would not change any gradient; it is the target of `DualController`.
    """

    delta: float = same_as(ObjectiveOptions, "delta", DELTA)
    brake: Literal["outward", "two_sided"] = option(
        "outward",
        "outward: a token's gradient shrinks linearly as its ratio goes from 1 to r* = 1 + A / (2 lambda), and "
        "movement caused by other tokens is not penalised; two_sided: the plain Lagrangian, which also draws a token "
        "back, whatever has moved it",
    )

    @property
    def constraint_target(self) -> float | None:
        """`delta`."""
        return self.delta


_DEFAULT = RatioVarianceConfig()


def r2vpo_loss(
    *,
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    dual: float | Tensor,
    rollout_log_probs: Tensor | None = None,
    config: RatioVarianceConfig = _DEFAULT,
    normalizer: float | Tensor | None = None,
) -> LossOutput:
    """Compute the ratio-variance regularised policy loss.

    The Lagrangian of a token, `A r - dual (r - 1)^2`, has its maximum at `r* = 1 + A / (2 dual)`. Brake "two_sided"
    maximises this expression, `loss = -aggregate(w (A r - dual (r - 1)^2))`, whose gradient in the token's
    log-probability is `-w r (A - 2 dual (r - 1)) / N`: the token is braked on the way to `r*`, drawn back from beyond
    it, and drawn back to 1 if it has moved against its own advantage.

    With brake "outward" (the default) each token's objective is the largest value that it has reached on its way: for A
    > 0

        A min(r, r*) - dual max(min(r, r*) - 1, 0)^2

    and mirrored for A < 0. The gradient is `-w r A clip(1 - 2 dual (r - 1) / A, 0, 1) / N`: braked in the same way up
    to `r*`, zero beyond it, and the plain policy gradient on the other side of 1. A token of advantage 0 has no
    gradient. Tokens share weights, so much of a ratio's movement is what other tokens have taught the policy; the
    two-sided penalty undoes that too, and costs more than it saves (docs/history.md).

    r: ratio to the anchor; w: stale weight, treated as a constant; A: advantage; N: the aggregation's denominator.

    Args:
        log_probs: (B, T) nats, current policy; the only input that gradient flows to.
        old_log_probs: (B, T) nats, the trainer's at the start of the round.
        advantages: (B,) or (B, T), dimensionless.
        response_mask: (B, T) bool; elsewhere every tensor may hold anything.
        dual: The multiplier, not negative, dimensionless; a tensor is not checked, to avoid waiting for the device.
        rollout_log_probs: (B, T) nats, the sampler's; None: w = 1. A token where it is not finite gets log-ratio 0 and
            is counted in `metrics["non_finite_log_probs"]`.
        config: Options.
        normalizer: Global denominator (see `aggregate`); None for this batch's own.

    Returns:
        The loss; metrics `ratio_variance`, `dual`, `non_finite_log_probs`; the sums of V_d. Means of metrics over
        micro-batches of different sizes differ from the whole batch's: add the sums up instead.

    Raises:
        ValueError: A shape is wrong, the mask is not bool, the dual is negative, anchor "behavior" comes without
            `rollout_log_probs`, or the normalizer is not positive.

    Source: R²VPO (2601.03320) as described in its abstract. Ours: the brake "outward", the stale weight and the
    proximal anchor (2110.00641), the response level (GSPO, 2507.18071), and dividing the penalty by the same N as the
    surrogate, which does not change the optimal ratio.
    """
    check_loss_inputs(log_probs, old_log_probs, advantages, response_mask, rollout_log_probs)
    ratios = anchored_ratios(
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        response_mask=response_mask,
        rollout_log_probs=rollout_log_probs,
        options=config,
    )
    deviation, weight = ratios.deviation, ratios.stale_weight
    dual = multiplier(dual, deviation)
    gain = token_advantages(advantages, response_mask).to(deviation.dtype)
    if config.brake == "outward":
        objective = _outward(deviation, gain, dual)
    else:
        # r A - dual (r - 1)^2 is A + d (A - dual d) with d = r - 1: two fused passes instead of five.
        objective = torch.addcmul(gain, deviation, gain - dual * deviation)
    loss = -aggregate(
        objective if weight is None else weight * objective,
        response_mask,
        aggregation=config.aggregation,
        normalizer=normalizer,
        constant=config.constant,
    )
    metrics = {
        "ratio_variance": ratios.variance_sums(response_mask).value(),
        "dual": dual,
        "non_finite_log_probs": ratios.non_finite,
    }
    return LossOutput(loss=loss, metrics=metrics, constraint=ratios.decision_sums(response_mask))


def _outward(deviation: Tensor, gain: Tensor, dual: Tensor) -> Tensor:
    """Compute a token's objective when only its own outward movement is braked.

    Args:
        deviation: `r - 1`, (B, T) or (B, 1).
        gain: A, (B, T) or (B, 1).
        dual: The multiplier, 0-d.

    Returns:
        (B, T) or (B, 1).
    """
    size = gain.abs()
    # How far its advantage takes it: r* - 1, or infinity if there is no brake.
    reach = size / (2 * dual).clamp(min=torch.finfo(gain.dtype).tiny)
    way = torch.minimum(gain.sign() * deviation, reach)
    return torch.addcmul(gain, size, way) - dual * way.relu().square()
