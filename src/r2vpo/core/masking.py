"""Reductions over response tokens that padding never affects, whatever it holds."""

import torch
from torch import Tensor


def masked_sum(values: Tensor, response_mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum over response tokens.

    The mask selects instead of multiplying: `0 * inf` is NaN, in the sum and in its gradient.

    Args:
        values: Broadcastable to (B, T); may hold anything where the mask is False, including NaN and infinity.
        response_mask: (B, T) bool.
        dim: The dimension to sum over; None for all.

    Returns:
        The sum: 0-d, or without dimension `dim`. Gradient flows to `values` where the mask is True.
    """
    kept = torch.where(response_mask, values, 0.0)
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(values: Tensor, response_mask: Tensor) -> Tensor:
    """Average over response tokens; 0 if there are none.

    Args:
        values: Broadcastable to (B, T).
        response_mask: (B, T) bool.

    Returns:
        0-d.
    """
    return masked_sum(values, response_mask) / response_mask.sum().clamp(min=1)


def token_advantages(advantages: Tensor, response_mask: Tensor) -> Tensor:
    """Make advantages broadcastable over tokens, with the padding removed.

    Args:
        advantages: (B,) or (B, T).
        response_mask: (B, T) bool.

    Returns:
        (B, 1) or (B, T), detached; the latter is 0 outside the mask.
    """
    if advantages.dim() == 1:
        return advantages.detach().unsqueeze(1)
    return torch.where(response_mask, advantages.detach(), 0.0)
