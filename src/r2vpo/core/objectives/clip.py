"""PPO's clipped surrogate, as GRPO and DAPO use it: the baseline."""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.aggregation import aggregate, check_aggregation
from r2vpo.core.masking import token_advantages
from r2vpo.core.ratios import anchored_ratios, check_ratio_options
from r2vpo.core.types import LossOutput
from r2vpo.core.validation import check_loss_inputs, check_number


@dataclass(frozen=True)
class ClipConfig:
    """Options of `clip_loss`.

    Attributes:
        clip_low: The ratio is clipped below `1 - clip_low`; dimensionless, in (0, 1].
        clip_high: The ratio is clipped above `1 + clip_high`; dimensionless, above 0.
        dual_clip: For negative advantages the surrogate is at least `dual_clip * A`; above 1, or None for
            never.
        anchor: "proximal" (`r = pi / pi_k`, stale tokens weighted) or "behavior" (`r = pi / mu`).
        level: "token", or "response" for one ratio a response (GSPO).
        stale_weight_cap: Largest stale weight, at least 1.
        aggregation: "token_mean", "sequence_mean" or "constant".
        constant: Tokens that a response is divided by, with aggregation "constant" only.

    Raises:
        ValueError: When built with a value out of its bounds.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    anchor: str = "proximal"
    stale_weight_cap: float = 2.0
    aggregation: str = "token_mean"
    constant: float | None = None
    level: str = "token"

    def __post_init__(self) -> None:
        check_number("clip_low", self.clip_low, above=0, at_most=1, remedy="take an offset from 1, as 0.2")
        check_number("clip_high", self.clip_high, above=0, remedy="take an offset from 1, as 0.2 or 0.28")
        if self.dual_clip is not None:
            check_number("dual_clip", self.dual_clip, above=1, remedy="take 3, or None for no dual clip")
        check_ratio_options(self)
        check_aggregation(self.aggregation, self.constant)


_DEFAULT = ClipConfig()


def clip_loss(
    *,
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    dual: float | Tensor | None = None,
    rollout_log_probs: Tensor | None = None,
    config: ClipConfig = _DEFAULT,
    normalizer: float | Tensor | None = None,
) -> LossOutput:
    """Clipped surrogate loss.

    `loss = -aggregate(w s)`, `s = min(r A, clamp(r, 1 - clip_low, 1 + clip_high) A)`, and with a dual clip c
    `s = max(s, c A)` where `A < 0`. r: ratio to the anchor; w: stale weight, a constant; A: advantage.

    Args:
        log_probs: (B, T) nats, current policy; the only input that gradient flows to.
        old_log_probs: (B, T) nats, the trainer's own at the start of the round.
        advantages: (B,) or (B, T), dimensionless.
        response_mask: (B, T) bool; elsewhere every tensor may hold anything.
        dual: Not used; it is here so that all objectives are called alike.
        rollout_log_probs: (B, T) nats, the sampler's; None: w = 1. A token where it is not finite counts with
            log-ratio 0 and is counted in `metrics["non_finite_log_probs"]`.
        config: Options.
        normalizer: Global denominator (see `aggregate`); None for this batch's own.

    Returns:
        The loss; metrics `ratio_variance`, `non_finite_log_probs`; the sums of V.

    Raises:
        ValueError: Wrong shapes, a mask that is not bool, anchor "behavior" without `rollout_log_probs`, or a
            normalizer that is not positive.

    Source: PPO (1707.06347) eq. 7; dual clip: 1912.09729 eq. 5; separate bounds: DAPO (2503.14476). Ours: the
    stale weight outside the minimum (2110.00641), so that what is clipped is this round's own movement.
    """
    check_loss_inputs(log_probs, old_log_probs, advantages, response_mask, rollout_log_probs)
    ratios = anchored_ratios(
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        response_mask=response_mask,
        rollout_log_probs=rollout_log_probs,
        options=config,
    )
    ratio = ratios.deviation + 1.0
    gain = token_advantages(advantages, response_mask).to(ratio.dtype)
    clipped = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    surrogate = torch.minimum(ratio * gain, clipped * gain)
    if config.dual_clip is not None:
        surrogate = torch.where(gain < 0, torch.maximum(surrogate, config.dual_clip * gain), surrogate)
    if ratios.stale_weight is not None:
        surrogate = ratios.stale_weight * surrogate
    loss = -aggregate(
        surrogate,
        response_mask,
        aggregation=config.aggregation,
        normalizer=normalizer,
        constant=config.constant,
    )
    sums = ratios.variance_sums(response_mask)
    metrics = {"ratio_variance": sums.value(), "non_finite_log_probs": ratios.non_finite}
    return LossOutput(loss=loss, metrics=metrics, ratio_variance=sums)
