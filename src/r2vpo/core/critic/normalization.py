"""Mean and variance of per-token numbers over a whole round, and advantages normalised by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from r2vpo.core.masking import masked_sum

SMALLEST_VARIANCE = 1e-8
"""Advantages of a smaller variance are divided by the square root of this number."""


def token_moments(parts: Sequence[tuple[Tensor, Tensor]], total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Compute mean and variance of Q quantities over all tokens of all parts and processes.

    The variance is that of the differences from the mean, in a second pass: the difference of two sums of squares would
    lose its digits where the mean is large.

    Args:
        parts: At least one pair of (Q, B, T) numbers and a (B, T) bool mask of the tokens that count; elsewhere the
            numbers may be anything.
        total: Sums a tensor over all processes.

    Returns:
        Mean and population variance, (Q,) each, detached; 0 where there is no token.
    """

    def mean(of: Callable[[Tensor], Tensor]) -> Tensor:
        sums = [torch.stack([masked_sum(of(one)[q], mask) for q in range(len(one))]) for one, mask in parts]
        return total(torch.stack(sums).sum(dim=0)) / count

    with torch.no_grad():
        count = total(torch.stack([mask.sum() for _, mask in parts]).sum().float()).clamp(min=1.0)
        means = mean(lambda one: one)
        return means, mean(lambda one: (one - means.view(-1, 1, 1)).square())


def normalized(advantages: Tensor, mask: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Shift and scale advantages to mean 0 and standard deviation 1: `(A - mean) / sqrt(max(variance, 1e-8))`.

    Args:
        advantages: A, (B, T).
        mask: (B, T) bool, the tokens that count.
        mean: 0-d.
        variance: 0-d.

    Returns:
        (B, T), detached, dimensionless, 0 outside the mask.

    Source: the formula is that of OpenRLHF 0.11.2; verl 0.9.1 has the unbiased variance plus 1e-8 in place of the
    maximum. Both take mean and variance over one batch; here they are those of a round, stale rows included.
    """
    scaled = (advantages.detach() - mean) / variance.clamp(min=SMALLEST_VARIANCE).sqrt()
    return torch.where(mask, scaled, 0.0)
