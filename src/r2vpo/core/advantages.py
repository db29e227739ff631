"""Advantages from rewards: relative to a group, to the batch, or to a critic.

Every group-relative estimator gives a group of equal rewards exactly 0: nothing is learned from it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from r2vpo.core.validation import check_number

EPSILON = 1e-4
"""Added to a standard deviation before dividing, as TRL does."""


def grpo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Group-relative advantages: `A = (R - mean) / (std + 1e-4)`, mean and unbiased std of its own group.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses of each prompt, when they stand together in order.
        group_ids: (B,) long, instead of `group_size`: which group each response belongs to; any numbers, any
            order.

    Returns:
        (B,), dimensionless.

    Raises:
        ValueError: Rewards that are not finite, or groups that do not fit.

    Source: GRPO (2402.03300); the epsilon is TRL's.
    """
    rewards, index, counts = _groups(rewards, group_size, group_ids)
    deviation = _centred(rewards, index, counts)
    squares = _group_sums(deviation.square(), index, counts)
    # A group of one has deviation 0, so any denominator does.
    std = (squares / (counts - 1).clamp(min=1)).sqrt()
    return deviation / (std[index] + EPSILON)


def dr_grpo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Group-relative advantages without the standard deviation: `A = R - mean`.

    Dividing by the standard deviation gives the easiest and the hardest prompts the largest weights.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses of each prompt, when they stand together in order.
        group_ids: (B,) long, instead of `group_size`.

    Returns:
        (B,), in the reward's unit.

    Raises:
        ValueError: Rewards that are not finite, or groups that do not fit.

    Source: Dr. GRPO (2503.20783).
    """
    return _centred(*_groups(rewards, group_size, group_ids))


def rloo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Leave-one-out advantages: `A_i = R_i - mean of the group's others = n / (n - 1) (R_i - mean)`.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses of each prompt, when they stand together in order.
        group_ids: (B,) long, instead of `group_size`; a group of one gives 0.

    Returns:
        (B,), in the reward's unit.

    Raises:
        ValueError: Rewards that are not finite, or groups that do not fit.

    Source: RLOO (2402.14740).
    """
    rewards, index, counts = _groups(rewards, group_size, group_ids)
    # In the rewards' precision: the quotient of two integer tensors would be float32.
    size = counts.to(rewards.dtype)
    return _centred(rewards, index, counts) * (size / (size - 1).clamp(min=1))[index]


def reinforce_pp(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Batch-normalised advantages: `A = (R - mean) / (std + 1e-4)`, mean and unbiased std of the whole batch.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Checked, and of no influence: the baseline is the batch's.
        group_ids: Checked, and of no influence.

    Returns:
        (B,), dimensionless; exactly 0 when all rewards are equal.

    Raises:
        ValueError: Rewards that are not finite, or groups that do not fit.

    Source: REINFORCE++ (2501.03262), without its token-level KL reward.
    """
    rewards, _, _ = _groups(rewards, group_size, group_ids, smallest=1)
    return grpo(rewards, group_ids=torch.zeros(rewards.shape, dtype=torch.long, device=rewards.device))


ADVANTAGES: dict[str, Callable[..., Tensor]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
}
"""Estimators from one reward a response, by name: `(rewards, group_size=None, *, group_ids=None) -> (B,)`."""


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: `A_t = d_t + gamma lam A_{t+1}`, `d_t = r_t + gamma V_{t+1} - V_t`.

    `t + 1` is the next token *of the mask*: tokens between that the policy did not write (a tool's answer)
    are passed over. After the last one, value and advantage are 0.

    Args:
        rewards: (B, T), in the reward's unit.
        values: (B, T), the critic's, in the reward's unit; detached.
        mask: (B, T) bool; elsewhere rewards and values may hold anything.
        gamma: Discount, in [0, 1].
        lam: lambda of GAE, in [0, 1]: 0 trusts the critic, 1 the observed return.

    Returns:
        Advantages and returns (advantages + values), both (B, T) and 0 outside the mask.

    Raises:
        ValueError: Shapes that differ, a mask that is not bool, gamma or lam out of [0, 1].

    Source: GAE (1506.02438) eq. 16.
    """
    if rewards.dim() != 2 or values.shape != rewards.shape or mask.shape != rewards.shape:
        raise ValueError(
            f"rewards, values and mask have shapes {tuple(rewards.shape)}, {tuple(values.shape)} and "
            f"{tuple(mask.shape)}, but must all be (B, T): give each one number a token"
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}, but must be torch.bool: call .bool() on it")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        check_number(name, factor, at_least=0, at_most=1, remedy="take a value between 0 and 1")
    kept_values = torch.where(mask, values.detach(), 0.0)
    kept_rewards = torch.where(mask, rewards, 0.0)
    next_value = next_advantage = torch.zeros_like(kept_values[:, 0])
    columns = []
    for step in reversed(range(rewards.shape[1])):
        value = kept_values[:, step]
        error = kept_rewards[:, step] + gamma * next_value - value
        advantage = error + gamma * lam * next_advantage
        next_advantage = torch.where(mask[:, step], advantage, next_advantage)
        next_value = torch.where(mask[:, step], value, next_value)
        columns.append(advantage)
    advantages = torch.where(mask, torch.stack(columns[::-1], dim=1), 0.0)
    return advantages, advantages + kept_values


def _groups(
    rewards: Tensor, group_size: int | None, group_ids: Tensor | None, smallest: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards as floats, the group of each (0 .. G-1), and the size of each group."""
    if rewards.dim() != 1:
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}, but must be (B,): one for each response")
    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("rewards holds NaN or infinity, but must be finite: mend the reward function")
    if (group_size is None) == (group_ids is None):
        raise ValueError("group_size and group_ids are both given or both None, but exactly one is needed: pass one")
    if group_ids is not None:
        if group_ids.shape != rewards.shape:
            raise ValueError(
                f"group_ids has shape {tuple(group_ids.shape)}, but must be {tuple(rewards.shape)}: "
                "give one for each reward"
            )
        _, index, counts = torch.unique(group_ids, return_inverse=True, return_counts=True)
        return rewards, index, counts
    assert group_size is not None
    if group_size < smallest or len(rewards) % group_size:
        raise ValueError(
            f"group_size is {group_size} for {len(rewards)} rewards, but must be at least {smallest} "
            "and divide them: take the number of responses sampled for each prompt"
        )
    index = torch.arange(len(rewards), device=rewards.device) // group_size
    return rewards, index, torch.full((len(rewards) // group_size,), group_size, device=rewards.device)


def _group_sums(values: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    return values.new_zeros(counts.shape).index_add_(0, index, values)


def _centred(rewards: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    """Reward minus its group's mean, and exactly 0 in a group of equal rewards.

    The mean of eight times 0.1 is not 0.1 in floating point: the rest, divided by the epsilon, would be a
    signal.
    """
    low = rewards.new_zeros(counts.shape).scatter_reduce_(0, index, rewards, "amin", include_self=False)
    high = rewards.new_zeros(counts.shape).scatter_reduce_(0, index, rewards, "amax", include_self=False)
    mean = _group_sums(rewards, index, counts) / counts
    return torch.where((low == high)[index], 0.0, rewards - mean[index])
