"""The gradient of a loss as the advantages of tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def loss_advantages(loss: Tensor, log_probs: Tensor, response_mask: Tensor, scale: float) -> Tensor:
    """Compute `A = -scale dL / dlog pi`, the advantages as which the gradient of a loss acts.

    Args:
        loss: L, 0-d, a mean over pairs.
        log_probs: (B, T) nats, a leaf of which the loss is a function.
        response_mask: (B, T) bool.
        scale: Number of pairs that the loss is the mean of, so that A is that of one pair.

    Returns:
        (B, T), detached, 0 outside the mask; 0 everywhere if the loss has no gradient.
    """
    if not loss.requires_grad:
        return torch.zeros_like(log_probs)
    (gradient,) = torch.autograd.grad(loss, log_probs, allow_unused=True)
    if gradient is None:
        return torch.zeros_like(log_probs)
    return torch.where(response_mask, -scale * gradient, 0.0).detach()
