"""Compute the sums that a round of updates starts from: pure functions of its micro-batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.dual import advantage_moments
from r2vpo.core.ratios import stale_weight
from r2vpo.core.types import MomentSums
from r2vpo.errors import UserError
from r2vpo.replay import Rollout
from r2vpo.trl.rows import MicroBatch


def weigh_rewards(scores: Tensor, weights: Tensor, *, group_size: int, estimator: str) -> tuple[Tensor, Tensor]:
    """Compute each row's reward and advantage from the scores of all reward functions.

    Args:
        scores: (B, F), NaN where a function does not apply.
        weights: (F,).
        group_size: Consecutive rows of one prompt.
        estimator: A key of `ADVANTAGES`.

    Returns:
        (B,) rewards and (B,) advantages. A row that no function scored gets its group's mean as reward and has no
        advantage: it affects neither itself nor the baseline of the others. A row that is the only one in its group,
        as in an evaluation with one completion per prompt, has no advantage either.
    """
    unscored = torch.isnan(scores).all(dim=1)
    rewards = (scores * weights.to(scores.device)).nansum(dim=1)
    groups = rewards.masked_fill(unscored, torch.nan).view(-1, group_size)
    mean = groups.nanmean(dim=1, keepdim=True).nan_to_num().expand_as(groups).flatten()
    rewards = torch.where(unscored, mean, rewards)
    if group_size == 1:
        return rewards, torch.zeros_like(rewards)
    return rewards, ADVANTAGES[estimator](rewards, group_size).masked_fill(unscored, 0.0)


def round_statistics(rewards: Tensor, advantages: Tensor, *, tokens: int, seconds: float) -> dict[str, float]:
    """Return the statistics of a round for the log, under the names of docs/metrics.md.

    Args:
        rewards: (B,) of all processes.
        advantages: (B,) of all processes.
        tokens: Completion tokens of all processes.
        seconds: Time that sampling and scoring took.
    """
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "signal": float((advantages != 0).float().mean()),
        "tokens_per_second": tokens / max(seconds, 1e-9),
        "completion_length": tokens / len(rewards),
    }


def part_means(scores: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Return the mean score of each reward function over the rows that it scored, under TRL's log names.

    Args:
        scores: (B, F), NaN where a function does not apply.
        names: F names.
    """
    means = scores.nanmean(dim=0).tolist()
    return {f"rewards/{name}/mean": mean for name, mean in zip(names, means, strict=True)}


def log_advantages(log: deque[float], advantages: Tensor) -> None:
    """Replace the advantages that TRL has just logged for `log_completions` with those that are trained on.

    Args:
        log: TRL's log of the newest rows.
        advantages: (B,) of all processes, in the order in which TRL logged them.
    """
    for _ in range(min(len(log), advantages.numel())):
        log.pop()
    log.extend(advantages.tolist())


def check_sampled(rollouts: Sequence[Rollout], version: int) -> None:
    """Refuse rows of an older policy without log-probs.

    Args:
        rollouts: The sampled rows; missing log-probs are NaN.
        version: The round.

    Raises:
        UserError: There are such rows.
    """
    for rollout in rollouts:
        behind = rollout.staleness(version)
        if behind and bool(rollout.rollout_log_probs.isnan().all()):
            raise UserError(
                f"rollout_func gave no logprobs for rows that were sampled {behind} versions ago: the policy has moved "
                "since, so they cannot be recomputed; return the sampler's own"
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
    on_cpu = log_probs.float().cpu()
    for row, rollout in enumerate(micro.rollouts):
        mine = on_cpu[row, : rollout.response_ids.numel()]
        rollout.remember_old_log_probs(mine, version)
        if rollout.staleness(version) == 0 and bool(rollout.rollout_log_probs.isnan().all()):
            rollout.rollout_log_probs = mine.clone()
            micro.rollout_log_probs[row, : mine.numel()] = log_probs[row, : mine.numel()]


def set_normalizers(
    micros: Sequence[MicroBatch],
    *,
    per_step: int,
    by_tokens: bool,
    total: Callable[[Tensor], Tensor],
) -> None:
    """Count the tokens (or responses) of each optimizer step over all processes.

    Args:
        micros: The round's micro-batches in order.
        per_step: Micro-batches per optimizer step; divides `len(micros)`.
        by_tokens: Count tokens if true, otherwise responses.
        total: Function that sums a tensor over all processes.
    """
    counts = [_size(micro, by_tokens) for micro in micros]
    windows = torch.stack([torch.stack(counts[i : i + per_step]).sum() for i in range(0, len(micros), per_step)])
    totals = total(windows.float()).clamp(min=1.0)
    for index, micro in enumerate(micros):
        micro.normalizer = totals[index // per_step]


def _size(micro: MicroBatch, by_tokens: bool) -> Tensor:
    return micro.response_mask.sum() if by_tokens else micro.response_mask.any(dim=1).sum()


def round_moments(micros: Sequence[MicroBatch], *, anchor: str, cap: float, level: str) -> MomentSums:
    """Sum the advantages' second moment per decision over a round, with the weights of its objective."""
    moments = MomentSums.zero(micros[0].advantages.device)
    for micro in micros:
        mask, sampled = micro.response_mask, micro.rollout_log_probs
        weight, anchored = None, sampled
        if anchor == "proximal":
            assert micro.old_log_probs is not None, "the policy at the round's start is not evaluated yet"
            weight, anchored = stale_weight(micro.old_log_probs, sampled, mask, cap, level), micro.old_log_probs
        moments = moments + advantage_moments(micro.advantages, mask, anchored, weight, level)
    return moments
