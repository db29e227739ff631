"""Movement of the policy over the whole last round, measured at no extra cost on replayed rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2vpo.core.ratios import logit_movement, stale_weight
from r2vpo.core.types import MovementSums
from r2vpo.replay.group import Rollout


def log_probs_of_round(rows: Iterable[Rollout], version: int) -> dict[int, Tensor]:
    """Return `old_log_probs` of the rows that were evaluated at the start of a round, by `id(row)`.

    Args:
        rows: Any rows.
        version: The round.

    Returns:
        (T,) nats each; no gradient.
    """
    return {id(row): row.old_log_probs for row in rows if row.old_log_probs is not None and row.old_version == version}


def last_round_movement(
    stale: Sequence[Rollout], before: dict[int, Tensor], *, cap: float, device: torch.device
) -> MovementSums:
    """Measure the movement from the start of the last round to the start of this one, on rows evaluated under both.

    With `r = pi_k / pi_(k-1)`, it is the mean squared movement of a logit, `MovementSums`. Tokens are weighted as in
    the objective, by `w = min(pi_(k-1) / mu, cap)`: those that the policy had almost given up when the last round began
    say little.

    Args:
        stale: Rows whose `old_log_probs` already belong to this round.
        before: Those of the last round, from `log_probs_of_round`.
        cap: Largest stale weight.
        device: Device of the returned sums.

    Returns:
        The sums, detached; 0 over 0 if no row was evaluated under both.
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
