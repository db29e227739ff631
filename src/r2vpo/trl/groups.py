"""From TRL's generated and scored batch to groups: rewards, advantages, rows without padding, and what is logged."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.errors import UserError
from r2vpo.replay import Group, Rollout


def weigh_rewards(scores: Tensor, weights: Tensor, *, group_size: int, estimator: str) -> tuple[Tensor, Tensor]:
    """Compute each row's reward, `sum_f weight_f score_f` over the functions that apply, and its advantage.

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
    rewards, unscored = weighted_sums(scores, weights, group_size=group_size)
    if group_size == 1:
        return rewards, torch.zeros_like(rewards)
    return rewards, ADVANTAGES[estimator](rewards, group_size).masked_fill(unscored, 0.0)


def weighted_sums(scores: Tensor, weights: Tensor, *, group_size: int) -> tuple[Tensor, Tensor]:
    """Compute each row's reward as `weigh_rewards` does.

    Args:
        scores: (B, F), NaN where a function does not apply.
        weights: (F,).
        group_size: Consecutive rows of one prompt.

    Returns:
        (B,) rewards, and (B,) bool, True for a row that no function scored.
    """
    unscored = torch.isnan(scores).all(dim=1)
    rewards = (scores * weights.to(scores.device)).nansum(dim=1)
    groups = rewards.masked_fill(unscored, torch.nan).view(-1, group_size)
    mean = groups.nanmean(dim=1, keepdim=True).nan_to_num().expand_as(groups).flatten()
    return torch.where(unscored, mean, rewards), unscored


def sampled_groups(
    batch: dict[str, Any],
    *,
    rewards: Tensor,
    advantages: Tensor,
    scored: Tensor,
    group_size: int,
    versions: Sequence[int],
    first_row: int,
) -> tuple[list[Group], list[list[int]]]:
    """Unpad the rows that TRL generated, and gather those of each prompt.

    `group_size` consecutive rows share a baseline. They are one group, unless an environment has given them different
    prompts, or the end of a process's part of an evaluation batch cuts them: then there is one for each prompt, with
    the same `baseline`.

    Args:
        batch: TRL's generation batch: `prompt_ids`, `prompt_mask` (B, P), `completion_ids`, `completion_mask` (B,
            T), and where they apply `sampling_per_token_logps` and `tool_mask` (B, T).
        rewards: (B,) weighted sums.
        advantages: (B,).
        scored: (B,) bool, whether any function scored the row.
        group_size: Rows that share a baseline.
        versions: (B,) the policy version that generated each row.
        first_row: Number of the first row among the rows of all rounds and processes. A group's number is that of its
            first row.

    Returns:
        The groups on the CPU, in order, and of each the places of its rows in the batch. `rollout_log_probs` are NaN if
        the sampler returned none; they are later filled in from the trainer's own.
    """
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "sampling_per_token_logps", "tool_mask")
    columns = {name: batch[name].cpu() for name in names if name in batch}
    lengths = columns["completion_mask"].sum(1).clamp(min=1).tolist()
    of_prompt: dict[tuple[int, int, tuple[int, ...]], tuple[Group, list[int]]] = {}
    numbers = zip(lengths, rewards.tolist(), advantages.tolist(), scored.tolist(), strict=True)
    for row, (length, reward, advantage, has_score) in enumerate(numbers):
        prompt = columns["prompt_ids"][row][columns["prompt_mask"][row].bool()].clone()
        baseline = first_row + row // group_size * group_size
        key = (baseline, versions[row], tuple(prompt.tolist()))
        new = Group(first_row + row, versions[row], prompt, [], baseline=baseline)
        group, places = of_prompt.setdefault(key, (new, []))
        places.append(row)
        mask = columns["completion_mask"][row, :length].bool()
        if "tool_mask" in columns:
            mask = mask & columns["tool_mask"][row, :length].bool()
        log_probs = torch.full((length,), torch.nan)
        if "sampling_per_token_logps" in columns:
            log_probs = columns["sampling_per_token_logps"][row, :length].float()
        ids = columns["completion_ids"][row, :length].clone()
        group.rollouts.append(Rollout(ids, mask.clone(), log_probs.clone(), advantage, reward, scored=has_score))
    return [group for group, _ in of_prompt.values()], [places for _, places in of_prompt.values()]


def policy_versions(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the `policy_version` that a `rollout_func` gave each row.

    Raises:
        UserError: It is missing or not a whole number.
    """
    for place, row in enumerate(rows):
        found = row.get("policy_version")
        if isinstance(found, bool) or not hasattr(found, "__index__"):
            raise UserError(
                f"rollout_func gave row {place} a policy_version of {found!r}, but it must be a whole number, the "
                "round whose policy sampled the row: return one per row under 'policy_version'"
            )
    return [int(row["policy_version"]) for row in rows]


def check_sampled(groups: Sequence[Group], version: int) -> None:
    """Refuse rows of an older policy without log-probs.

    Args:
        groups: The sampled groups; missing log-probs are NaN.
        version: The round.

    Raises:
        UserError: There are such rows.
    """
    for group in groups:
        behind = group.staleness(version)
        if behind and any(bool(row.rollout_log_probs.isnan().all()) for row in group.rollouts):
            raise UserError(
                f"rollout_func gave no logprobs for rows that were sampled {behind} versions ago: the policy has moved "
                "since, so they cannot be recomputed; return the sampler's own"
            )


def telling_rows(rewards: Tensor, advantages: Tensor, scored: Tensor, *, critic: bool) -> Tensor:
    """Tell which rows of a round say something about which answer is better.

    Args:
        rewards: (B,) of all processes.
        advantages: (B,), those from groups.
        scored: (B,) bool, whether any function scored the row.
        critic: Whether a critic computes the advantages, for which a row is compared with all others.

    Returns:
        (B,) bool: rows with an advantage; with a critic all rows with a score, unless all rewards are equal.
    """
    if not critic:
        return advantages != 0
    return scored & (rewards != rewards[:1]).any()


def round_statistics(
    rewards: Tensor, telling: Tensor, *, group_size: int, tokens: int, seconds: float
) -> dict[str, float]:
    """Return the statistics of a round for the log, under the names of docs/metrics.md.

    Args:
        rewards: (B,) of all processes.
        telling: (B,) bool of all processes; see `telling_rows`.
        group_size: Consecutive rows that share a baseline, at least 2.
        tokens: Completion tokens of all processes.
        seconds: Time that sampling and scoring took.
    """
    groups = rewards.view(-1, group_size)
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "reward_std_within": float(groups.var(dim=1).mean().sqrt()),
        "reward_std_between": float(groups.mean(dim=1).std()) if len(groups) > 1 else 0.0,
        "signal": float(telling.float().mean()),
        "tokens_per_second": tokens / max(seconds, 1e-9),
        "completion_length": tokens / len(rewards),
    }


_MEASURED_BY_TRL = {
    "completion_length_max": "completions/max_length",
    "completion_truncated": "completions/clipped_ratio",
}


def statistics_of_trl(logged: Mapping[str, Sequence[float]], names: Sequence[str]) -> dict[str, float]:
    """Return what TRL measures of a round, which it logs only with the round's first step.

    Args:
        logged: TRL's lists of values by name, just after it has sampled and scored the round.
        names: Names of the reward functions.

    Returns:
        Length of the longest completion and share of truncated ones under the names of docs/metrics.md; mean and
        standard deviation of each reward function's scores under TRL's names.
    """
    parts = {f"rewards/{name}/{part}" for name in names for part in ("mean", "std")}
    return {ours: logged[theirs][-1] for ours, theirs in (_MEASURED_BY_TRL | {part: part for part in parts}).items()}


def named_parts(scores: Tensor, names: Sequence[str]) -> list[dict[str, float]]:
    """Return the scores of each row by the name of the function; NaN where one does not apply.

    Args:
        scores: (B, F).
        names: F names.
    """
    return [dict(zip(names, row, strict=True)) for row in scores.tolist()]


def log_advantages(log: deque[float], advantages: Tensor) -> None:
    """Replace the advantages that TRL has just logged for `log_completions` with those that are trained on.

    Args:
        log: TRL's log of the newest rows.
        advantages: (B,) of all processes, in the order in which TRL logged them.
    """
    for _ in range(min(len(log), advantages.numel())):
        log.pop()
    log.extend(advantages.tolist())
