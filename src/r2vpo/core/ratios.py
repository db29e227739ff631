"""Probability ratios, their anchors and levels, and the stale weights of tokens.

`log mu` is the sampler's log-probability (`rollout_log_probs`), `log pi_k` the trainer's at the start of the
round (`old_log_probs`), `log pi` the current one (`log_probs`).
"""

import torch
from torch import Tensor

from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.types import MovementSums, Ratios

LOG_RATIO_BOUND = 20.0
"""Log-ratios are clamped to +-20 nats before exp: exp(89) is infinite in float32, and its square overflows far
earlier."""


CERTAIN = 1e-3
"""Added to `1 - p` of every token: one that the policy was certain of still counts as a thousandth of a decision.

Without it, V_d of nearly certain tokens would be one rounding error divided by another."""


def _difference(numerator: Tensor, denominator: Tensor, keep: Tensor) -> Tensor:
    """Compute `numerator - denominator` where `keep` is True; elsewhere it is 0 and carries no gradient."""
    return torch.where(keep, numerator - denominator, 0.0)


def _log_ratio(difference: Tensor, response_mask: Tensor, level: str) -> Tensor:
    """Clamp the differences of log-probabilities to +-20, per token, or their mean over each response.

    The mean over a response is the log of the geometric mean of its ratios.

    Args:
        difference: (B, T) nats, 0 on padding; gradient flows.
        response_mask: (B, T) bool; gives the number of tokens of each response.
        level: "token" or "response".

    Returns:
        (B, T) for tokens, (B, 1) for responses, nats.
    """
    if level == "response":
        difference = difference.sum(dim=1, keepdim=True) / response_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return difference.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def _stale_weight(difference: Tensor, response_mask: Tensor, cap: float, level: str) -> Tensor:
    """Compute w from `log pi_k - log mu`, (B, T) nats, which is 0 where log mu is not finite."""
    ratio = _log_ratio(difference, response_mask, level).exp().clamp(max=cap)
    return torch.where(response_mask, ratio, 0.0)


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
    return _stale_weight(_difference(old, rollout_log_probs.detach(), keep), response_mask, cap, level)


def decisions(
    anchor_log_probs: Tensor, response_mask: Tensor, level: str = "token", given: Tensor | None = None
) -> Tensor:
    """Compute `1 - p + 0.001`: how much of a decision the policy made at each sampled token; or take what is given.

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
        given: (B, T), not negative, number of decisions of a step that is not one token of a vocabulary: d for an
            action of d dimensions from a diagonal Gaussian, where V_d estimates the mean squared movement of a mean in
            standard deviations (docs/objective.md, section 2). None for `1 - p + 0.001`.

    Returns:
        (B, T), detached, dimensionless, 0 outside the mask; not yet weighted by the stale weight.
    """
    logs = _at_least_float32(anchor_log_probs.detach())
    if given is None:
        undecided = CERTAIN - logs.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp(max=0.0).expm1()
    else:
        undecided = torch.where(response_mask & torch.isfinite(logs), given.detach().to(logs.dtype), 0.0)
    if level == "response":
        undecided = undecided / response_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return undecided * response_mask  # finite everywhere, so that it may be multiplied by 0


def anchored_ratios(
    *,
    log_probs: Tensor,
    old_log_probs: Tensor,
    response_mask: Tensor,
    rollout_log_probs: Tensor | None,
    options: ObjectiveConfig,
    decisions: Tensor | None = None,
) -> tuple[Ratios, Ratios | None]:
    """Compute the ratios under the chosen anchor and level, and per token those to the policy at the round's start.

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
        decisions: (B, T), number of decisions of each token; None for `1 - p + 0.001`, see `decisions`.

    Returns:
        The ratios of the chosen anchor and level, which carry the gradient; those of anchor "proximal" and level
        "token", detached, or None if these are the chosen ones.

    Raises:
        ValueError: Anchor "behavior" without `rollout_log_probs`.
    """
    current, old, mask = _at_least_float32(log_probs), old_log_probs.detach(), response_mask
    moved = _difference(current, old, mask)
    finite, stale = mask, None
    if rollout_log_probs is not None:
        sampled = rollout_log_probs.detach()
        finite = mask & torch.isfinite(sampled)
        stale = _difference(_at_least_float32(old), sampled, finite)
    non_finite = mask ^ finite

    def since_the_round_began(moved: Tensor, level: str) -> Ratios:
        weight = None
        if stale is not None:
            weight = _stale_weight(stale, mask, options.stale_weight_cap, level).to(current.dtype)
        return _ratios(moved, old, weight, non_finite, mask, level, decisions)

    if options.anchor == "behavior":
        if rollout_log_probs is None:
            raise ValueError(
                "rollout_log_probs is None, but anchor 'behavior' takes the ratio to the sampler: "
                "pass rollout_log_probs or set anchor to 'proximal'"
            )
        since_sampled = _difference(current, sampled, finite)
        objective = _ratios(since_sampled, sampled, None, non_finite, mask, options.level, decisions)
        return objective, since_the_round_began(moved.detach(), "token")
    objective = since_the_round_began(moved, options.level)
    if options.level == "token":
        return objective, None
    return objective, since_the_round_began(moved.detach(), "token")


def logit_movement(
    log_probs: Tensor,
    old_log_probs: Tensor,
    response_mask: Tensor,
    stale_weight: Tensor | None = None,
    decisions: Tensor | None = None,
) -> MovementSums:
    """Measure the mean squared movement of a logit since the round's start, for `StepSizeController`.

    `2 sum(m w (r - 1 - log r)) / sum(m w (1 - p + 0.001))`: twice the KL divergence of the current policy from the
    proximal one, per decision, under any objective. If the logits move by independent normal amounts of variance
    `s^2`, KL is `s^2 (1 - sum p^2) / 2` to second order and, where no token has much of the probability, `s^2 / 2`
    however large the movement is; V_d is then `exp(s^2) - 1`. So this is `log(1 + V_d)` without the heavy tails of V_d,
    which a single unlikely token that has become likely can make arbitrarily large.

    Args:
        log_probs: (B, T) nats.
        old_log_probs: (B, T) nats.
        response_mask: (B, T) bool.
        stale_weight: (B, T), 0 outside the mask, the result of `stale_weight()`; None for 1 everywhere.
        decisions: (B, T), number of decisions of each token; None for `1 - p + 0.001`, see `decisions`.

    Returns:
        Detached sums.

    Source: the estimator r - 1 - log r is J. Schulman's, Approximating KL Divergence (2020); the division by decisions
    is ours.
    """
    now, then = _at_least_float32(log_probs.detach()), old_log_probs.detach()
    none = torch.zeros_like(response_mask)
    moved = _difference(now, then, response_mask)
    return _ratios(moved, then, stale_weight, none, response_mask, "token", decisions).movement_sums()


def _ratios(
    difference: Tensor,
    anchor: Tensor,
    weight: Tensor | None,
    non_finite: Tensor,
    response_mask: Tensor,
    level: str,
    given: Tensor | None,
) -> Ratios:
    log_ratio = _log_ratio(difference, response_mask, level)
    return Ratios(
        log_ratio=log_ratio,
        ratio_minus_1=log_ratio.expm1(),
        stale_weight=weight,
        anchor_log_probs=anchor.to(log_ratio.dtype),
        decisions=decisions(anchor, response_mask, level, given).to(log_ratio.dtype),
        non_finite=non_finite,
        response_mask=response_mask,
    )


def _at_least_float32(tensor: Tensor) -> Tensor:
    # A bf16 log-probability has a resolution of 0.03 at 5 nats; the difference of two must not be rounded again.
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
