"""The loss of one minibatch: R²VPO's objective in place of PPO's clipping, and PPO's losses of critic and entropy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.nn import functional

from r2vpo.core.types import LossOutput
from r2vpo.integrations.sb3.evaluation import as_actions
from r2vpo.integrations.sb3.rounds import Rounds
from r2vpo.integrations.sb3.rows import Rows


class Losses(NamedTuple):
    """The parts of a minibatch's loss.

    Attributes:
        policy: Output of the objective.
        value: Mean squared error of the critic, 0-d.
        entropy: Negative mean entropy, 0-d, nats.
        log_ratio: log pi - log pi_k, (n,) nats, detached.
    """

    policy: LossOutput
    value: Tensor
    entropy: Tensor
    log_ratio: Tensor

    def kl(self) -> float:
        """Estimate KL(pi_k || pi) on the minibatch, in nats per action; waits for the device."""
        return float(self.policy.proximal.kl().mean())


def normalized_advantages(advantages: Tensor) -> Tensor:
    """Shift and scale to mean 0 and standard deviation 1, as PPO does; one advantage alone is left as it is."""
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def minibatch_losses(
    policy: ActorCriticPolicy, rounds: Rounds, rows: Rows, *, normalize_advantage: bool, clip_range_vf: float | None
) -> Losses:
    """Compute the losses of a minibatch.

    Args:
        policy: The policy, from which gradient flows.
        rounds: Has the objective.
        rows: The minibatch.
        normalize_advantage: Whether the advantages are normalised within it.
        clip_range_vf: How far a value may move from that at the round's start; None for any distance.
    """
    values, log_probs, entropy = policy.evaluate_actions(
        rows.observations, as_actions(rows.actions, policy.action_space)
    )
    values = values.flatten()
    advantages = normalized_advantages(rows.advantages) if normalize_advantage else rows.advantages
    if clip_range_vf is not None:
        values = rows.values + torch.clamp(values - rows.values, -clip_range_vf, clip_range_vf)
    return Losses(
        policy=rounds.loss(log_probs, rows, advantages),
        value=functional.mse_loss(rows.returns, values),
        # Without a closed form of the entropy (squashed actions), the mean log-prob estimates it.
        entropy=log_probs.mean() if entropy is None else -entropy.mean(),
        log_ratio=log_probs.detach() - rows.old_log_probs,
    )
