"""Advantages from rewards, relative to a group or to the batch.

Every group-relative estimator gives exactly 0 to a group of equal rewards, so nothing is learned from it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-4
"""Added to a standard deviation before dividing, as TRL does."""


def grpo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Compute group-relative advantages `A = (R - mean) / (std + 1e-4)`, with the group's mean and unbiased std.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses per prompt, when the responses to one prompt are adjacent.
        group_ids: (B,) long, instead of `group_size`: the group that each response belongs to; any numbers, in any
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
    # A group of one has deviation 0, so any denominator will do.
    std = (squares / (counts - 1).clamp(min=1)).sqrt()
    return deviation / (std[index] + EPSILON)


def dr_grpo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Compute group-relative advantages without the standard deviation: `A = R - mean`.

    Dividing by the standard deviation gives the easiest and the hardest prompts the largest weights.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses per prompt, when the responses to one prompt are adjacent.
        group_ids: (B,) long, instead of `group_size`.

    Returns:
        (B,), in the reward's unit.

    Raises:
        ValueError: Rewards that are not finite, or groups that do not fit.

    Source: Dr. GRPO (2503.20783).
    """
    return _centred(*_groups(rewards, group_size, group_ids))


def rloo(rewards: Tensor, group_size: int | None = None, *, group_ids: Tensor | None = None) -> Tensor:
    """Compute leave-one-out advantages `A_i = R_i - mean of the group's others = n / (n - 1) (R_i - mean)`.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Responses per prompt, when the responses to one prompt are adjacent.
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
    """Compute batch-normalised advantages `A = (R - mean) / (std + 1e-4)`, with the batch's mean and unbiased std.

    Args:
        rewards: (B,), finite, in the reward's unit.
        group_size: Checked, but otherwise unused: the baseline is that of the batch.
        group_ids: Checked, but otherwise unused.

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
"""Estimators that take one reward per response, by name: `(rewards, group_size=None, *, group_ids=None) -> (B,)`."""


def _groups(
    rewards: Tensor, group_size: int | None, group_ids: Tensor | None, smallest: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rewards as floats, the group of each (0 .. G-1), and the size of each group."""
    if rewards.dim() != 1:
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}, but must be (B,): one for each response")
    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("rewards holds NaN or infinity, but must be finite: fix the reward function")
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
    """Subtract the group's mean from each reward; exactly 0 in a group of equal rewards.

    In floating point, the mean of eight values of 0.1 is not 0.1; the remainder, divided by the epsilon, would act as a
    signal.
    """
    low = rewards.new_zeros(counts.shape).scatter_reduce_(0, index, rewards, "amin", include_self=False)
    high = rewards.new_zeros(counts.shape).scatter_reduce_(0, index, rewards, "amax", include_self=False)
    mean = _group_sums(rewards, index, counts) / counts
    return torch.where((low == high)[index], 0.0, rewards - mean[index])
