"""Transitions as rows of a table, from which minibatches are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from r2vpo.integrations.sb3.evaluation import decided, evaluate
from r2vpo.integrations.sb3.observations import Observations, concatenated, each


@dataclass(frozen=True)
class Rows:
    """N transitions, without gradient.

    Attributes:
        observations: (N, ...), or a dict of such.
        actions: (N, dimensions), as the buffer has them.
        values: (N,), the critic's at the round's start.
        old_log_probs: log pi_k, (N,) nats.
        rollout_log_probs: log mu, (N,) nats; the same on fresh rows.
        advantages: (N,).
        returns: (N,), targets of the critic.
        decisions: (N,), see `r2vpo.integrations.sb3.evaluation.decided`.
    """

    observations: Observations
    actions: Tensor
    values: Tensor
    old_log_probs: Tensor
    rollout_log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    decisions: Tensor

    def __len__(self) -> int:
        return len(self.advantages)

    def parts(self, indices: Sequence[Tensor], device: torch.device) -> Iterator[Self]:
        """Copy some rows after others to a device; all but the observations are put in order at once.

        Args:
            indices: (n,) long each.
            device: Where the policy computes.
        """
        order, sizes = torch.cat(list(indices)), [len(index) for index in indices]
        actions = self.actions[order].to(device).split(sizes)
        numbers = self._numbers.t()[:, order].to(device).split(sizes, dim=1)
        for index, taken, columns in zip(indices, actions, numbers, strict=True):
            seen = each(lambda part, index=index: part[index].to(device), self.observations)
            yield type(self)(seen, taken, *columns.unbind())

    def select(self, index: Tensor, device: torch.device) -> Self:
        """Copy some rows to a device.

        Args:
            index: (n,) long.
            device: Where the policy computes.
        """
        seen, actions = (each(lambda part: part[index].to(device), part) for part in (self.observations, self.actions))
        return type(self)(seen, actions, *self._numbers[index].to(device).unbind(dim=1))

    @cached_property
    def _numbers(self) -> Tensor:
        """All columns of one number per row, (N, 6): selecting from them at once is faster."""
        return torch.stack([getattr(self, name) for name in COLUMNS[2:]], dim=1)

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Put tables one after the other."""
        if len(parts) == 1:
            return parts[0]
        columns: list[Any] = [concatenated([getattr(part, name) for part in parts]) for name in COLUMNS]
        return cls(*columns)


COLUMNS = tuple(field.name for field in fields(Rows))


def fresh_rows(buffer: RolloutBuffer, policy: ActorCriticPolicy) -> Rows:
    """Read a full buffer, environment by environment, in the order that its own `get` has before it shuffles.

    Args:
        buffer: The buffer, before `get` is called.
        policy: The one that collected it.
    """

    def flat(values: Any) -> Any:
        return each(lambda part: torch.from_numpy(np.ascontiguousarray(buffer.swap_and_flatten(part))), values)

    observations, log_probs = flat(buffer.observations), flat(buffer.log_probs).flatten()
    actions = flat(buffer.actions.astype(np.float32, copy=False))
    if isinstance(policy.action_space, spaces.Box | spaces.Discrete):  # known without a forward pass
        decisions = decided(policy, observations, actions, log_probs)
    else:
        decisions = evaluate(policy, observations, actions).decisions
    return Rows(
        observations=observations,
        actions=actions,
        values=flat(buffer.values).flatten(),
        old_log_probs=log_probs,
        rollout_log_probs=log_probs,
        advantages=flat(buffer.advantages).flatten(),
        returns=flat(buffer.returns).flatten(),
        decisions=decisions,
    )
