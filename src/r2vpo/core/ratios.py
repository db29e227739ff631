"""Probability ratios, their anchors and levels, and the stale weights of tokens.

`log mu` is the sampler's log-probability (`rollout_log_probs`), `log pi_k` the trainer's at the start of the
round (`old_log_probs`), `log pi` the current one (`log_probs`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.masking import masked_sum
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.types import DecisionVarianceSums, MovementSums, RatioVarianceSums

LOG_RATIO_BOUND = 20.0
"""Log-ratios are clamped to +-20 nats before exp: exp(89) is infinite in float32, and its square overflows far
earlier."""


CERTAIN = 1e-3
"""Added to `1 - p` of every token: one that the policy was certain of still counts as a thousandth of a decision.

Without it, V_d of nearly certain tokens would be one rounding error divided by another."""


def log_ratio(numerator: Tensor, denominator: Tensor, keep: Tensor, response_mask: Tensor, level: str) -> Tensor:
    """Compute `clamp(numerator - denominator, -20, 20)` per token, or as the mean of each response.

    Args:
        numerator: (B, T) log-probabilities, nats; gradient flows.
        denominator: (B, T) log-probabilities, nats.
        keep: (B, T) bool; elsewhere the log-ratio is 0 and carries no gradient.
        response_mask: (B, T) bool; gives the number of tokens of each response.
        level: "token", or "response" for the mean over the response (the log of the geometric mean of its
            ratios).

    Returns:
        (B, T) for tokens, (B, 1) for responses, nats.
    """
    difference = torch.where(keep, numerator - denominator, 0.0)
    if level == "response":
        difference = difference.sum(dim=1, keepdim=True) / response_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return difference.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def stale_weight(
    old_log_probs: Tensor,
    rollout_log_probs: Tensor | None,
    response_mask: Tensor,
    cap: float = 2.0,
    level: str = "token",
) -> Tensor:
    """Compute `w = min(exp(clamp(log pi_k - log mu, -20, 20)), c)`, the weight of a token of an older policy.

    Args:
        old_log_probs: (B, T) nats.
        rollout_log_probs: (B, T) nats; None if the sampler is the trainer, and all weights are then 1. Where it is not
            finite, the log-ratio counts as 0.
        response_mask: (B, T) bool.
        cap: c, dimensionless. Truncation bounds the variance and introduces a bias towards the older policy.
        level: "token", or "response" for the geometric mean over the response.

    Returns:
        (B, T), detached, dimensionless, exactly 0 outside the mask.

    Source: truncated importance sampling, as in IMPALA (1802.01561), with the decoupled proximal policy of 2110.00641.
    """
    old = _at_least_float32(old_log_probs.detach())
    if rollout_log_probs is None:
        return response_mask.to(old.dtype)
    keep = response_mask & torch.isfinite(rollout_log_probs)
    ratio = log_ratio(old, rollout_log_probs.detach(), keep, response_mask, level).exp().clamp(max=cap)
    return torch.where(response_mask, ratio, 0.0)


def decisions(anchor_log_probs: Tensor, response_mask: Tensor, level: str = "token") -> Tensor:
    """Compute `1 - p + 0.001`: how much of a decision the policy made at each sampled token.

    If the logits move by independent amounts of variance `s^2`, the ratio of the sampled token has, to second order, a
    variance whose mean is `s^2 (1 - sum_v p_v^2)`, and `1 - p` of the sampled token is an unbiased estimate of that
    Gini impurity. So V_d, the ratio variance divided by the mean of `1 - p`, estimates `s^2` whatever the share of
    tokens that the policy is certain of, the length of the responses and the size of the vocabulary (docs/objective.md,
    section 2).

    Args:
        anchor_log_probs: (B, T) nats, of the anchor policy. Where it is not finite, the token's log-ratio counts as 0
            and the token does not count as a decision.
        response_mask: (B, T) bool.
        level: "token", or "response": the ratio is then the geometric mean over the response's n tokens, whose variance
            is n times smaller, so each token counts 1 / n.

    Returns:
        (B, T), detached, dimensionless, 0 outside the mask; not yet weighted by the stale weight.
    """
    logs = _at_least_float32(anchor_log_probs.detach())
    undecided = torch.where(torch.isfinite(logs), -torch.expm1(logs.clamp(max=0.0)), 0.0) + CERTAIN
    if level == "response":
        undecided = undecided / response_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(response_mask, undecided, 0.0)


@dataclass(frozen=True)
class Ratios:
    """The ratio that an objective constrains, with the weight of each token.

    Attributes:
        deviation: `r - 1`, (B, T) or (B, 1) (level "response"), dimensionless; carries the gradient; 0 on padding for
            (B, T). The deviation is kept instead of the ratio because near 1 it is exact, while `exp(x) - 1` suffers
            from cancellation.
        stale_weight: `w`, (B, T), detached, 0 on padding; None if it is 1 everywhere.
        log_ratio: `log r`, clamped, in nats; same shape as `deviation`, also with gradient.
        non_finite: Response tokens whose `rollout_log_probs` was not finite; 0-d.
        decisions: `1 - p + 0.001` under the anchor, (B, T), detached, 0 on padding, unweighted; see `decisions`.
    """

    deviation: Tensor
    stale_weight: Tensor | None
    log_ratio: Tensor
    non_finite: Tensor
    decisions: Tensor

    def variance_sums(self, response_mask: Tensor) -> RatioVarianceSums:
        """Compute the sums of `V` over this batch.

        Args:
            response_mask: (B, T) bool.

        Returns:
            Detached sums.
        """
        squared = self.deviation.detach().square()
        if self.stale_weight is None:
            return RatioVarianceSums(masked_sum(squared, response_mask), response_mask.sum().to(squared.dtype))
        return RatioVarianceSums((self.stale_weight * squared).sum(), self.stale_weight.sum())

    def decision_sums(self, response_mask: Tensor) -> DecisionVarianceSums:
        """Compute the sums of `V_d` over this batch.

        Args:
            response_mask: (B, T) bool.

        Returns:
            Detached sums.
        """
        squared, undecided = self.deviation.detach().square(), self.decisions
        if self.stale_weight is None:
            return DecisionVarianceSums(masked_sum(squared, response_mask), undecided.sum().to(squared.dtype))
        return DecisionVarianceSums((self.stale_weight * squared).sum(), (self.stale_weight * undecided).sum())


def anchored_ratios(
    *,
    log_probs: Tensor,
    old_log_probs: Tensor,
    response_mask: Tensor,
    rollout_log_probs: Tensor | None,
    options: ObjectiveConfig,
) -> Ratios:
    """Compute the ratio and the stale weight under the chosen anchor.

    "proximal": `r = pi / pi_k`, `w = min(pi_k / mu, c)`: the weight accounts for staleness, and only the movement of
    this round is constrained. "behavior": `r = pi / mu`, `w = 1`: the literal reading of the paper; it also pulls the
    policy back towards the older ones.

    Args:
        log_probs: (B, T) nats; carries gradient.
        old_log_probs: (B, T) nats.
        response_mask: (B, T) bool.
        rollout_log_probs: (B, T) nats or None; where it is not finite, its log-ratio counts as 0: there w is 1 under
            "proximal", and r is the constant 1 under "behavior".
        options: Anchor, level, cap.

    Returns:
        The ratios.

    Raises:
        ValueError: Anchor "behavior" without `rollout_log_probs`.
    """
    current = _at_least_float32(log_probs)
    if options.anchor == "behavior":
        if rollout_log_probs is None:
            raise ValueError(
                "rollout_log_probs is None, but anchor 'behavior' takes the ratio to the sampler: "
                "pass rollout_log_probs or set anchor to 'proximal'"
            )
        keep = response_mask & torch.isfinite(rollout_log_probs)
        logs = log_ratio(current, rollout_log_probs.detach(), keep, response_mask, options.level)
        undecided = decisions(rollout_log_probs, response_mask, options.level)
        return Ratios(logs.expm1(), None, logs, response_mask.sum() - keep.sum(), undecided)
    logs = log_ratio(current, old_log_probs.detach(), response_mask, response_mask, options.level)
    undecided = decisions(old_log_probs, response_mask, options.level)
    if rollout_log_probs is None:
        return Ratios(logs.expm1(), None, logs, torch.zeros((), dtype=torch.long, device=log_probs.device), undecided)
    weight = stale_weight(old_log_probs, rollout_log_probs, response_mask, options.stale_weight_cap, options.level).to(
        current.dtype
    )
    non_finite = (response_mask & ~torch.isfinite(rollout_log_probs)).sum()
    return Ratios(logs.expm1(), weight, logs, non_finite, undecided)


def logit_movement(
    log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor, stale_weight: Tensor | None = None
) -> MovementSums:
    """Measure the mean squared movement of a logit since the round's start, for `StepSizeController`.

    `2 sum(w (r - 1 - log r)) / sum(w (1 - p + 0.001))`: twice the KL divergence of the current policy from the proximal
    one, per decision, under any objective. If the logits move by independent normal amounts of variance `s^2`, KL is
    `s^2 (1 - sum p^2) / 2` to second order and, where no token has much of the probability, `s^2 / 2` however large the
    movement is; V_d is then `exp(s^2) - 1`. So this is `log(1 + V_d)` without the heavy tails of V_d, which a single
    unlikely token that has become likely can make arbitrarily large.

    Args:
        log_probs: (B, T) nats.
        old_log_probs: (B, T) nats.
        response_mask: (B, T) bool.
        stale_weight: (B, T), 0 outside the mask, the result of `stale_weight()`; None for 1 everywhere.

    Returns:
        Detached sums.

    Source: the estimator r - 1 - log r is J. Schulman's, Approximating KL Divergence (2020); the division by decisions
    is ours.
    """
    with torch.no_grad():
        logs = log_ratio(_at_least_float32(log_probs), old_log_probs, response_mask, response_mask, "token")
        # For a small log-ratio x, expm1(x) - x is mostly rounding error; its series is x^2 (1 + x / 3 + x^2 / 12) / 2.
        series = logs.square() * (1.0 + logs / 3.0 + logs.square() / 12.0)
        moved = torch.where(logs.abs() < 0.01, series, 2.0 * (logs.expm1() - logs))
        undecided = decisions(old_log_probs, response_mask)
        if stale_weight is None:
            return MovementSums(masked_sum(moved, response_mask), undecided.sum().to(moved.dtype))
        return MovementSums((stale_weight * moved).sum(), (stale_weight * undecided).sum())


def _at_least_float32(tensor: Tensor) -> Tensor:
    # A bf16 log-probability has a resolution of 0.03 at 5 nats; the difference of two must not be rounded again.
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
