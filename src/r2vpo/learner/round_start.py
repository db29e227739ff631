"""What is computed at a round's start from the policy's log-probs on all its rows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from r2vpo.core.dual import advantage_moments
from r2vpo.core.ratios import stale_weight
from r2vpo.core.types import MomentSums
from r2vpo.learner.micro_batch import MicroBatch
from r2vpo.replay.group import Group, each_row


def check_versions(groups: Sequence[Group], version: int, *, max_staleness: int) -> None:
    """Refuse rows of a policy that is too old or still to come, before a round has changed anything.

    Args:
        groups: The fresh groups.
        version: The round.
        max_staleness: The most versions that a row can be behind.

    Raises:
        ValueError: There is such a group.
    """
    oldest = max(version - max_staleness, 0)
    for group in groups:
        if not oldest <= group.policy_version <= version:
            raise ValueError(
                f"group {group.number} has policy_version {group.policy_version}, and round {version} takes rows of "
                f"versions {oldest} to {version}: give the version that sampled it"
            )


def remember_policy(micro: MicroBatch, log_probs: Tensor, *, version: int) -> None:
    """Write the policy's log-probs at the start of a round into a micro-batch and its rows.

    On fresh rows whose sampler returned no log-probs they replace the sampler's, since the policy is the same.

    Args:
        micro: B rows.
        log_probs: (B, T) nats, no gradient.
        version: The round.
    """
    micro.old_log_probs = log_probs
    ages = each_row(micro.groups, lambda group: group.staleness(version))
    rows = zip(micro.rollouts, ages, log_probs.float().cpu(), strict=True)
    for row, (rollout, age, values) in enumerate(rows):
        mine = values[: rollout.response_ids.numel()]
        rollout.remember_old_log_probs(mine, version)
        if age == 0 and bool(rollout.rollout_log_probs.isnan().all()):
            rollout.rollout_log_probs = mine.clone()
            micro.rollout_log_probs[row, : mine.numel()] = log_probs[row, : mine.numel()]


def round_moments(micros: Sequence[MicroBatch], *, anchor: str, cap: float, level: str) -> MomentSums:
    """Sum the advantages' second moment per decision over a round, with the weights of its objective.

    Args:
        micros: The round's micro-batches, evaluated.
        anchor: The objective's anchor.
        cap: Largest stale weight.
        level: The objective's level.
    """
    moments = MomentSums.zero(micros[0].advantages.device)
    for micro in micros:
        mask, sampled = micro.response_mask, micro.rollout_log_probs
        weight, anchored = None, sampled
        if anchor == "proximal":
            assert micro.old_log_probs is not None, "the policy at the round's start is not evaluated yet"
            weight, anchored = stale_weight(micro.old_log_probs, sampled, mask, cap, level), micro.old_log_probs
        moments = moments + advantage_moments(micro.advantages, mask, anchored, weight, level)
    return moments
