"""The loss that trains a critic towards its value targets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from r2vpo.core.aggregation import aggregate


class ValueLoss(NamedTuple):
    """The value loss of one micro-batch.

    Attributes:
        loss: 0-d, in squared units of the reward; with gradient.
        clipped: Number of tokens at which the loss of the clipped value is the larger one, 0-d, detached.
    """

    loss: Tensor
    clipped: Tensor


def value_loss(
    *,
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    response_mask: Tensor,
    clip: float | None = None,
    aggregation: str = "token_mean",
    normalizer: float | Tensor | None = None,
    constant: float | None = None,
) -> ValueLoss:
    """Compute half the squared error of the values, aggregated over tokens as the policy's loss is.

        L = aggregate(max((V - v)^2, (V_c - v)^2)) / 2,    V_c = clamp(V, V_k - clip, V_k + clip)

    V: current value; V_k: the value at the round's start; v: target. Without `clip`, `L = aggregate((V - v)^2) / 2`. A
    value outside of `V_k +- clip` has no gradient if it is nearer to its target than the bound is.

    Args:
        values: V, (B, T), in units of the reward; the only input that gradient flows to.
        old_values: V_k, (B, T).
        targets: v, (B, T).
        response_mask: (B, T) bool; elsewhere every tensor may hold anything.
        clip: How far a value may move, in units of the reward; None for no limit.
        aggregation: See `aggregate`.
        normalizer: See `aggregate`; the same number as the policy loss's, so that micro-batches and processes add up.
        constant: See `aggregate`.

    Returns:
        The loss, and how many tokens were clipped. Values of less precision than float32 are converted to it.

    Raises:
        ValueError: A shape is wrong.

    Source: PPO's implementation in OpenAI Baselines; the same as `ValueLoss` of OpenRLHF 0.11.2 and
    `compute_value_loss` of verl 0.9.1 on one batch.
    """
    for name, tensor in (("old_values", old_values), ("targets", targets), ("response_mask", response_mask)):
        if tensor.shape != values.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, but values has {tuple(values.shape)}: align both over the "
                "response tokens"
            )
    current = values.to(torch.promote_types(values.dtype, torch.float32))
    # Select before subtracting: padding may hold infinity, whose difference is NaN also in the gradient.
    V, V_k, v = (torch.where(response_mask, one, 0.0) for one in (current, old_values.detach(), targets.detach()))
    squared = (V - v).square()
    clipped = squared.new_zeros(())
    if clip is not None:
        # Exactly V within the range: with V_k + (V - V_k), rounding alone would count as clipped.
        bounded = (V.clamp(V_k - clip, V_k + clip) - v).square()
        clipped = (bounded > squared).detach().sum().to(squared.dtype)
        squared = torch.maximum(squared, bounded)
    loss = aggregate(squared, response_mask, aggregation=aggregation, normalizer=normalizer, constant=constant)
    return ValueLoss(0.5 * loss, clipped)
