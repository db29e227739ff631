"""What is computed at a round's start from the policy's log-probs on all its rows."""

from __future__ import annotations

from collections.abc import Sequence

from r2vpo.core.dual import objective_moments
from r2vpo.core.log_probs.values import TokenLogProbs
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.types import MomentSums
from r2vpo.learner.micro_batch import MicroBatch
from r2vpo.replay.group import Group, each_row, rows_of, select

MEASURED_AGAIN = 4
"""Without replay, one row in this many is evaluated again at the start of the next round; otherwise the effect of a
whole round on the policy would be unknown. The rows are spread over all groups, and are the same for any number of
processes."""


def measured_again(fresh: Sequence[Group]) -> list[Group]:
    """Return the rows of a round that are evaluated again at the start of the next; see `MEASURED_AGAIN`."""
    chosen = {id(row) for row in rows_of(fresh)[::MEASURED_AGAIN]}
    return select(fresh, lambda row: id(row) in chosen)


def remember_policy(micro: MicroBatch, found: TokenLogProbs, *, version: int) -> None:
    """Write the policy's log-probs at the start of a round into a micro-batch and its rows; and a critic's values.

    On fresh rows whose sampler returned no log-probs they replace the sampler's, since the policy is the same.

    Args:
        micro: B rows.
        found: Log-probs, (B, T) nats, and values, (B, T) or None; no gradient.
        version: The round.
    """
    log_probs = found.log_probs
    # The ordinary forward of a model without a critic has another result type, without values.
    micro.old_log_probs, micro.values = log_probs, getattr(found, "values", None)
    ages = each_row(micro.groups, lambda group: group.staleness(version))
    rows = zip(micro.rollouts, ages, log_probs.float().cpu(), strict=True)
    for row, (rollout, age, values) in enumerate(rows):
        mine = values[: rollout.response_ids.numel()]
        rollout.remember_old_log_probs(mine, version)
        if age == 0 and bool(rollout.rollout_log_probs.isnan().all()):
            rollout.rollout_log_probs = mine.clone()
            micro.rollout_log_probs[row, : mine.numel()] = log_probs[row, : mine.numel()]


def round_moments(micros: Sequence[MicroBatch], config: ObjectiveConfig) -> MomentSums:
    """Sum the advantages' second moment per decision over a round.

    Args:
        micros: The round's micro-batches, evaluated.
        config: The objective.

    Returns:
        The sum of `r2vpo.core.dual.objective_moments`.
    """
    moments = MomentSums.zero(micros[0].advantages.device)
    for micro in micros:
        assert micro.old_log_probs is not None, "the policy at the round's start is not evaluated yet"
        moments = moments + objective_moments(
            config,
            advantages=micro.advantages,
            response_mask=micro.response_mask,
            old_log_probs=micro.old_log_probs,
            rollout_log_probs=micro.rollout_log_probs,
        )
    return moments
