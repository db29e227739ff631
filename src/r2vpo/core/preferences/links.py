"""Links: the score of a response by its log-ratio to the reference, where a trainer does not have the link itself."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_LOG = 20.0
"""`log z` counts as at most this much in `exp`: the score of a response is then 5e8, and finite in float32."""


def chi_po_scores(
    chosen_log_ratios: Tensor, rejected_log_ratios: Tensor, *, beta: float, reward_bound: float
) -> tuple[Tensor, Tensor]:
    """Compute the scores `phi(z) = z + log z` of both sides of pairs whose margin is clipped.

        beta (score_w - score_l) = clip(beta (phi(z_w) - phi(z_l)), -2 R, 2 R)

    z: probability of the whole response over that of the reference; R: `reward_bound`. What the clip takes away is
    taken from both sides in equal parts, and a clipped pair has no gradient.

    Args:
        chosen_log_ratios: log z_w, (N,) nats; gradient flows.
        rejected_log_ratios: log z_l, (N,) nats; gradient flows.
        beta: Weight of the regularisation.
        reward_bound: R, above 0.

    Returns:
        The scores of the chosen and of the rejected responses, (N,) each, at least float32.

    Source: chi-PO (2407.13399), algorithm 1. Ours: the bound on log z, and that the clip is written as scores.
    """
    chosen, rejected = _mixed(chosen_log_ratios), _mixed(rejected_log_ratios)
    margin = chosen - rejected
    surplus = margin - margin.clamp(-2.0 * reward_bound / beta, 2.0 * reward_bound / beta)
    inside = surplus == 0
    return (
        torch.where(inside, chosen, (chosen - surplus / 2).detach()),
        torch.where(inside, rejected, (rejected + surplus / 2).detach()),
    )


def _mixed(log_ratios: Tensor) -> Tensor:
    """Compute `z + log z`."""
    wide = log_ratios.to(torch.promote_types(log_ratios.dtype, torch.float32))
    return wide.clamp(max=LARGEST_LOG).exp() + wide
