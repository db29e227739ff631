"""The policy on transitions that it does not train on at the moment: values, log-probs, and numbers of decisions."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import BernoulliDistribution, Distribution, MultiCategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from r2vpo.core.ratios import decisions
from r2vpo.integrations.sb3.observations import Observations, each

AT_ONCE = 1024
"""Rows in one forward pass without gradient; bounds its memory."""


class Evaluation(NamedTuple):
    """What the policy says of N transitions, on the CPU, without gradient.

    Attributes:
        values: (N,).
        log_probs: (N,) nats, of the whole actions.
        decisions: (N,), see `decided`.
    """

    values: Tensor
    log_probs: Tensor
    decisions: Tensor


def as_actions(actions: Tensor, space: spaces.Space[Any]) -> Tensor:
    """Turn the buffer's actions, (N, dimensions), into what the policy's distribution takes."""
    return actions.long().flatten() if isinstance(space, spaces.Discrete) else actions


@torch.no_grad()
def evaluate(policy: ActorCriticPolicy, observations: Observations, actions: Tensor) -> Evaluation:
    """Evaluate transitions in parts of `AT_ONCE` rows; leaves the policy in its mode for evaluation.

    Args:
        policy: The policy.
        observations: (N, ...), normalised as the policy sees them.
        actions: (N, dimensions).
    """
    policy.set_training_mode(False)
    parts = []
    for start in range(0, len(actions), AT_ONCE):
        seen = each(lambda part, at=start: part[at : at + AT_ONCE].to(policy.device), observations)
        taken = actions[start : start + AT_ONCE].to(policy.device)
        values, log_probs, _ = policy.evaluate_actions(seen, as_actions(taken, policy.action_space))
        parts.append((values.flatten(), log_probs, decided(policy, seen, taken, log_probs)))
    return Evaluation(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


@torch.no_grad()
def values_of(policy: ActorCriticPolicy, observations: Observations) -> Tensor:
    """Evaluate the critic alone; (N,) on the CPU."""
    return policy.predict_values(each(lambda part: part.to(policy.device), observations)).flatten().cpu()


def decided(policy: ActorCriticPolicy, observations: Observations, actions: Tensor, log_probs: Tensor) -> Tensor:
    """Count how much of a decision each action was: the number by which the variance of its ratio is divided.

    The log-ratio of a joint action is the sum over its parts. So the number is the action's dimensions for a Gaussian
    (with state-dependent noise too, and if it is squashed, which changes no ratio), `1 - p + 0.001` for one of several
    choices, and the sum of these over the parts of `MultiDiscrete` and `MultiBinary`.

    Args:
        policy: The policy at the round's start.
        observations: (N, ...), on the policy's device.
        actions: (N, dimensions), likewise.
        log_probs: (N,) nats, of the actions under this policy.

    Returns:
        (N,).
    """
    space = policy.action_space
    if isinstance(space, spaces.Box):
        return torch.full_like(log_probs, float(actions[0].numel()))
    parts = log_probs[:, None]
    if not isinstance(space, spaces.Discrete):
        parts = _log_probs_of_parts(policy.get_distribution(observations), actions)
    return decisions(parts, torch.ones_like(parts, dtype=torch.bool)).sum(dim=1)


def _log_probs_of_parts(distribution: Distribution, actions: Tensor) -> Tensor:
    if isinstance(distribution, MultiCategoricalDistribution):
        parts = zip(distribution.distribution, actions.unbind(dim=1), strict=True)
        return torch.stack([part.log_prob(action) for part, action in parts], dim=1)
    assert isinstance(distribution, BernoulliDistribution), f"a policy of {type(distribution).__name__}"
    return cast(Tensor, distribution.distribution.log_prob(actions))
