"""Ratios of rows of one decision each, such as the actions of control: nothing has to be selected by a mask."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from r2vpo.core.ratios import LOG_RATIO_BOUND
from r2vpo.core.types import MovementSums, Ratios


class SingleRatios(Ratios):
    """`Ratios` of shape (B, 1) whose mask is True everywhere: the same sums from fewer operations."""

    single: ClassVar[bool] = True

    def weighted_sum(self, values: Tensor) -> Tensor:
        """Compute `sum(w v)`, 0-d, detached, of values (B, 1)."""
        return values.detach().sum() if self.stale_weight is None else super().weighted_sum(values)

    def movement_sums(self) -> MovementSums:
        """Compute what `r2vpo.core.ratios.logit_movement` does, in float64, which needs no series for small ratios."""
        logs = self.log_ratio.detach()
        exact = logs.double()
        return MovementSums(self.weighted_sum((exact.expm1() - exact).to(logs.dtype)) * 2.0, self.decision_sum)


def single_ratios(
    *, log_probs: Tensor, old_log_probs: Tensor, stale_weight: Tensor | None, decisions: Tensor, mask: Tensor
) -> SingleRatios:
    """Compute the ratios of rows of one decision each, such as the actions of control, under the anchor "proximal".

    They are those of `anchored_ratios` where no log-probability is infinite, from fewer operations: nothing has to be
    selected, and the weights and decisions, which do not change within a round, are given.

    Args:
        log_probs: (B,) nats; carries gradient.
        old_log_probs: (B,) nats.
        stale_weight: (B, 1), the result of `stale_weight()`; None for 1 everywhere.
        decisions: (B,), number of decisions of each row.
        mask: (B, 1) bool, True everywhere.

    Returns:
        The ratios, which carry the gradient; those of the levels "token" and "response" are the same.
    """
    log_ratio = (log_probs - old_log_probs).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).unsqueeze(1)
    return SingleRatios(
        log_ratio=log_ratio,
        ratio_minus_1=log_ratio.expm1(),
        stale_weight=stale_weight,
        anchor_log_probs=old_log_probs.unsqueeze(1),
        decisions=decisions.unsqueeze(1),
        non_finite=~mask,
        response_mask=mask,
    )
