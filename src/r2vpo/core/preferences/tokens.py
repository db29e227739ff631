"""Decisions and ratios of tokens that are given, which the policy need not have sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.ratios import CERTAIN, anchored_ratios
from r2vpo.core.types import MovementSums, Ratios


def given_decisions(log_probs: Tensor, log_sum_squares: Tensor, response_mask: Tensor) -> Tensor:
    """Compute `1 - 2 p + sum_u p_u^2 + 0.001`: how much of a decision the policy has at each given token.

    If the logits of a position move by independent amounts of variance `s^2`, the log-ratio of a token v moves, to
    first order, by `d_v - sum_u p_u d_u`, whose mean square is `s^2 (1 - 2 p_v + sum_u p_u^2)`. For a token that the
    policy has sampled, the mean of this is the Gini impurity, which `1 - p` estimates (`r2vpo.core.ratios.decisions`);
    for a token that others have written it has to be computed. It is at most 2: where the policy is certain of
    *another* token, two logits move the log-ratio.

    Args:
        log_probs: log p, (B, T) nats, of the policy at the round's start.
        log_sum_squares: `log sum_u p_u^2` of the same distributions, (B, T).
        response_mask: (B, T) bool.

    Returns:
        (B, T), detached, at least float32, dimensionless, 0 outside the mask.
    """
    wide = torch.promote_types(log_probs.dtype, torch.float32)
    logs = torch.where(response_mask, log_probs.detach().to(wide), 0.0).clamp(max=0.0)
    squares = torch.where(response_mask, log_sum_squares.detach().to(wide), 0.0).exp()
    # (1 - p)^2 and the squares of the others: neither is the difference of two numbers near 1.
    others = (squares - (2.0 * logs).exp()).clamp(min=0.0)
    return (logs.expm1().square() + others + CERTAIN) * response_mask


class GivenRatios(Ratios):
    """Ratios of tokens that are given, whose movement is measured in another way than that of sampled ones."""

    def movement_sums(self) -> MovementSums:
        """Compute the sums of the mean squared movement of a logit, `sum(m w (log r)^2) / sum(m w d)`.

        It is what `given_decisions` is derived from. Twice the KL divergence, which `r2vpo.core.ratios.logit_movement`
        measures, is estimated by `2 (r - 1 - log r)` only on tokens that the policy has sampled. On a given token that
        it held to be nearly impossible, this grows with r without bounds.
        """
        return MovementSums(self.weighted_sum(self.log_ratio.detach().square()), self.decision_sum)


def given_ratios(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor, decisions: Tensor) -> GivenRatios:
    """Compute the ratios of given tokens to the policy at the round's start, without their gradient.

    Their `movement_sums` and `decision_sums` are divided by the given decisions.

    Args:
        log_probs: log pi, (B, T) nats.
        old_log_probs: log pi_k, (B, T) nats.
        response_mask: (B, T) bool.
        decisions: The result of `given_decisions`.

    Returns:
        The ratios, detached.
    """
    ratios, _ = anchored_ratios(
        log_probs=log_probs.detach(),
        old_log_probs=old_log_probs,
        response_mask=response_mask,
        rollout_log_probs=None,
        options=_PROXIMAL,
        decisions=decisions,
    )
    return GivenRatios(**vars(ratios))


_PROXIMAL = ObjectiveConfig()
