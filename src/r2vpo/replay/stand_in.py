"""Rows whose tokens are kept elsewhere, of which the buffer decides only what is drawn again."""

import torch
from torch import Tensor

from r2vpo.replay.group import Rollout


def stand_in(rollout_log_probs: Tensor, response_mask: Tensor, *, advantage: float, reward: float) -> Rollout:
    """Return what the buffer decides on for a row whose tokens are kept elsewhere.

    Args:
        rollout_log_probs: (T,) nats; one sum of them tells whether all are finite.
        response_mask: (T,).
        advantage: the row's.
        reward: the row's.
    """
    seen = rollout_log_probs[response_mask.bool()].float().sum()[None]
    return Rollout(torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.bool), seen, advantage, reward)


NO_PROMPT = torch.empty(0, dtype=torch.long)
"""The prompt of a group whose tokens are kept elsewhere."""
