"""What rollouts of another policy are worth to the present one.

A stale token's gradient is weighted by `w = min(pi_k / mu, cap)`, and a token that the sampler was certain of has
hardly any gradient. So a version's share of effective weight is measured on the decisions of its tokens, with
`c = 1 - mu(token) + 0.001`:

    share = (sum c w)^2 / (sum c  sum c w^2)  x  min(1, sum c w / sum c)

The first factor is Kish's effective sample size, as a share of the tokens: it falls when few of them have most of the
weight. It does not change when all weights are small, as those of answers that the policy has given up; the second
factor does. Fresh rollouts have a share of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2vpo.core.ratios import decisions, stale_weight
from r2vpo.replay.group import Rollout

LEAST_SHARE = 0.1
"""A version with less is not drawn from any more.

What is not drawn is not measured again, so the version stays left out for the rest of the run, also when it is resumed
and even if the policy comes back to it. The next run knows nothing of this, and draws from it until it has measured it.
"""

ROWS_TO_JUDGE = 16
"""No version is left out before so many of its rows have been measured."""

MEMORY = 0.5
"""What an earlier measurement of a version counts in its share after a later one."""


@dataclass(frozen=True)
class Worth:
    """Sums over the trained tokens of some rows, which add up over rows and processes.

    Attributes:
        rows: Rows; all that have been measured, while later measurements diminish the other sums.
        tokens: Their tokens.
        decisions: `sum c`.
        weights: `sum c w`.
        squares: `sum c w^2`.
    """

    rows: float = 0.0
    tokens: float = 0.0
    decisions: float = 0.0
    weights: float = 0.0
    squares: float = 0.0

    @property
    def share(self) -> float:
        """Return the share of effective weight, from 0 to 1; 1 while nothing is known."""
        if self.decisions <= 0:
            return 1.0
        if self.squares <= 0:
            return 0.0
        kish = self.weights**2 / (self.decisions * self.squares)
        return kish * min(1.0, self.weights / self.decisions)

    @property
    def known_worthless(self) -> bool:
        """Return whether enough rows have been measured, and their share is below `LEAST_SHARE`."""
        return self.rows >= ROWS_TO_JUDGE and self.share < LEAST_SHARE

    def then(self, later: Worth) -> Worth:
        """Return what is known after a later measurement."""
        if not later.rows:
            return self
        _, *sums = (MEMORY * before + now for before, now in zip(self.numbers(), later.numbers(), strict=True))
        return Worth(self.rows + later.rows, *sums)

    def numbers(self) -> list[float]:
        """Return the sums, in the order of the attributes."""
        return [self.rows, self.tokens, self.decisions, self.weights, self.squares]


def worth_of(rows: Sequence[Rollout], cap: float) -> Tensor:
    """Return the sums of each row, on which the policy has been evaluated.

    Args:
        rows: B rows with `old_log_probs`.
        cap: Largest stale weight.

    Returns:
        (B, 5) float64, `Worth.numbers` of each.
    """
    now = _padded([row.old_log_probs for row in rows if row.old_log_probs is not None])
    sampled, mask = _padded([row.rollout_log_probs for row in rows]), _padded([row.response_mask for row in rows])
    weight = stale_weight(now, sampled, mask, cap).double()
    decision = decisions(sampled, mask).double()
    each = [mask.any(1), mask.sum(1), decision.sum(1), (decision * weight).sum(1), (decision * weight**2).sum(1)]
    return torch.stack([values.double() for values in each], 1)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)
