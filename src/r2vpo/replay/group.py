"""A group, the unit of sampling, replay and training: a prompt and the responses that one policy gave to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

FLOAT_BYTES = 4

Value = TypeVar("Value")


def own_copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy a tensor into its own storage on the CPU.

    A row cut out of a padded batch is a view: keeping it would keep the whole batch alive.
    """
    return torch.empty(tensor.shape, dtype=dtype).copy_(tensor.detach())


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}, must be a tensor: pass torch.tensor(...)")


def _check_row(name: str, value: Tensor, remedy: str) -> None:
    _check_tensor(name, value)
    if value.dim() != 1:
        raise ValueError(f"{name} {tuple(value.shape)} must have one dimension: {remedy}")


@dataclass(eq=False)
class Rollout:
    """A response, the log-probs it was sampled with, and its advantage.

    Args:
        response_ids: (T,) long, sampled tokens without padding.
        response_mask: (T,) bool, True on the tokens that are trained on.
        rollout_log_probs: (T,) float32, nats, the sampler's log-probs (behaviour policy); no gradient.
        advantage: dimensionless, constant over the response.
        reward: the response's reward, in the reward's own unit.
        old_log_probs: (T,) float32, nats, the trainer's log-probs at the start of the round `old_version`; None until
            they have been computed.
        old_version: policy version of `old_log_probs`.
        scored: False if no reward function scored the row, whose reward is then only a stand-in, such as its group's
            mean; a critic does not learn from it.

    Raises:
        ValueError: something is not a tensor of these shapes, or the mask is not bool.
    """

    response_ids: Tensor
    response_mask: Tensor
    rollout_log_probs: Tensor
    advantage: float
    reward: float
    old_log_probs: Tensor | None = None
    old_version: int | None = None
    scored: bool = True

    def __post_init__(self) -> None:
        _check_row("rollout: response_ids", self.response_ids, "pass one row, unpadded")
        for name in ("response_mask", "rollout_log_probs", "old_log_probs"):
            tensor = getattr(self, name)
            if tensor is None and name == "old_log_probs":
                continue
            _check_tensor(f"rollout: {name}", tensor)
            if tensor.shape != self.response_ids.shape:
                raise ValueError(
                    f"rollout: {name} {tuple(tensor.shape)} must have the shape of response_ids "
                    f"{tuple(self.response_ids.shape)}: cut both to the same tokens"
                )
        if self.response_mask.dtype != torch.bool:
            raise ValueError(f"rollout: response_mask is {self.response_mask.dtype}, must be bool: pass mask.bool()")

    def remember_old_log_probs(self, log_probs: Tensor, version: int) -> None:
        """Keep the trainer's log-probs of this row at the start of round `version`.

        Args:
            log_probs: (T,) nats; copied to the CPU in float32, without gradient.
            version: the policy version they belong to.

        Raises:
            ValueError: the shape is not that of the response.
        """
        if log_probs.shape != self.response_ids.shape:
            raise ValueError(
                f"rollout: log_probs {tuple(log_probs.shape)} must have the shape of response_ids "
                f"{tuple(self.response_ids.shape)}: cut the padding off first"
            )
        self.old_log_probs = own_copy(log_probs, torch.float32)
        self.old_version = version

    def is_finite(self) -> bool:
        """Tell whether the advantage and every log-prob under the mask are finite."""
        seen = self.rollout_log_probs[self.response_mask.bool()]
        return bool(torch.isfinite(seen).all()) and abs(self.advantage) < float("inf")

    def stored(self) -> Rollout:
        """Return a copy that owns its tensors on the CPU."""
        old = self.old_log_probs
        return replace(
            self,
            response_ids=own_copy(self.response_ids, torch.long),
            response_mask=own_copy(self.response_mask, torch.bool),
            rollout_log_probs=own_copy(self.rollout_log_probs, torch.float32),
            old_log_probs=None if old is None else own_copy(old, torch.float32),
            advantage=float(self.advantage),
            reward=float(self.reward),
        )


@dataclass(eq=False)
class Group:
    """A prompt and responses to it that one policy version sampled.

    Args:
        number: unique number of the group.
        policy_version: version of the policy that generated the responses.
        prompt_ids: (P,) long, tokens of the prompt without padding.
        rollouts: the responses.
        uses: how often the group has been drawn from the buffer.
        baseline: number shared by the groups whose rows have one baseline, such as those of an environment that gives
            every row its own prompt; `number` if it is left out.

    Raises:
        ValueError: the prompt is not a tensor of one dimension.
    """

    number: int
    policy_version: int
    prompt_ids: Tensor
    rollouts: list[Rollout]
    uses: int = 0
    baseline: int | None = None

    def __post_init__(self) -> None:
        if self.baseline is None:
            self.baseline = self.number
        _check_row(f"group {self.number}: prompt_ids", self.prompt_ids, "pass the prompt once, unpadded")

    def __len__(self) -> int:
        return len(self.rollouts)

    def staleness(self, policy_version: int) -> int:
        """Return how many versions the group is behind `policy_version`."""
        return policy_version - self.policy_version

    def of(self, rollouts: list[Rollout]) -> Group:
        """Return the same prompt with only these of its responses, which are not copied."""
        return replace(self, rollouts=rollouts)

    def stored(self) -> Group:
        """Return a copy that owns its tensors on the CPU."""
        return replace(
            self, prompt_ids=own_copy(self.prompt_ids, torch.long), rollouts=[row.stored() for row in self.rollouts]
        )

    def num_bytes(self) -> int:
        """Return the size of its tensors in bytes, including room for `old_log_probs`."""
        tokens = sum(row.response_ids.numel() for row in self.rollouts)
        return self.prompt_ids.numel() * 8 + tokens * (8 + 1 + 2 * FLOAT_BYTES)


def rows_of(groups: Iterable[Group]) -> list[Rollout]:
    """Return the responses of all groups, those of a group adjacent."""
    return [row for group in groups for row in group.rollouts]


def each_row(groups: Iterable[Group], value: Callable[[Group], Value]) -> list[Value]:
    """Return a group's value once for each of its rows."""
    return [found for group in groups for found in [value(group)] * len(group)]


def select(groups: Iterable[Group], wanted: Callable[[Rollout], bool]) -> list[Group]:
    """Return the groups with only the rows that are wanted, without those that have none."""
    parts = [group.of([row for row in group.rollouts if wanted(row)]) for group in groups]
    return [part for part in parts if len(part)]


def divide(groups: Sequence[Group], bounds: Sequence[int]) -> list[list[Group]]:
    """Divide groups by rows: part i has rows `bounds[i]` to `bounds[i + 1]`, and a group may be divided between parts.

    Args:
        groups: the groups in order.
        bounds: row numbers, not decreasing.

    Returns:
        The groups of each part.
    """
    starts = list(itertools.accumulate((len(group) for group in groups), initial=0))
    parts = []
    for low, high in itertools.pairwise(bounds):
        part = []
        for start, group in zip(starts, groups, strict=False):
            inside = group.rollouts[max(low - start, 0) : max(high - start, 0)]
            if inside:
                part.append(group if len(inside) == len(group) else group.of(inside))
        parts.append(part)
    return parts
