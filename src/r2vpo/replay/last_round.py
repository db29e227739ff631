"""Movement of the policy over the whole last round, measured at no extra cost on replayed rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2vpo.core.ratios import logit_movement, stale_weight
from r2vpo.core.types import MovementSums
from r2vpo.replay.group import Rollout


def last_round_movement(
    stale: Sequence[Rollout], before: dict[int, Tensor], *, cap: float, device: torch.device
) -> MovementSums:
    """Measure the movement from the start of the last round to the start of this one, on rows evaluated under both.

    Weighted like the objective: tokens that the policy had almost given up when the last round began say little.

    Args:
        stale: Rows whose `old_log_probs` already belong to this round.
        before: `old_log_probs` of the last round, by `id(row)`.
        cap: Largest stale weight.
        device: Device of the returned sums.
    """
    found = [(row, row.old_log_probs, before[id(row)]) for row in stale if id(row) in before]
    seen = [(row, now, then) for row, now, then in found if now is not None]
    if not seen:
        return MovementSums.zero(device)
    now = pad_sequence([now for _, now, _ in seen], batch_first=True)
    then = pad_sequence([then for _, _, then in seen], batch_first=True)
    sampled = pad_sequence([row.rollout_log_probs for row, _, _ in seen], batch_first=True)
    mask = pad_sequence([row.response_mask for row, _, _ in seen], batch_first=True)
    weight = stale_weight(then, sampled, mask, cap, "token")
    return MovementSums.from_tensor(logit_movement(now, then, mask, weight).to_tensor().to(device))
