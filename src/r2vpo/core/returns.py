"""Advantages and value targets of trajectories, with traces that are truncated where an older policy acted."""

from __future__ import annotations

import torch
from torch import Tensor


def truncated_gae(
    *,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    ends: Tensor,
    gamma: float,
    gae_lambda: float,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute GAE of actions that an older policy chose, and value targets for the present policy.

        delta_t = R_t + gamma V'_t - V_t
        A_t     = delta_t + gamma lambda c_(t+1) A_(t+1)        (A_t = delta_t at an episode's last step)
        v_t     = V_t + c_t A_t

    R: reward; V: value of the state; V': value of the state after it; c: truncated weight, `min(1, pi_k / mu)` of the
    action. `A_t` is conditional on the action at t, whose own ratio is therefore not part of it: the loss multiplies by
    it, as its stale weight. The later actions are those of mu, so the trace is weighted from `t + 1` on. With c = 1
    this is GAE. docs/objective.md, section 8, has the derivation.

    Args:
        rewards: R, (T, E), T steps of E environments.
        values: V of the present critic, (T, E).
        next_values: V', (T, E): 0 after a terminal step, and the value of the final observation after a step at which a
            time limit ended the episode.
        ends: (T, E) bool, whether the episode ended with this step, in either way.
        gamma: Discount per step.
        gae_lambda: lambda.
        weights: c, (T, E), at most 1; None for 1 everywhere.

    Returns:
        A and v, (T, E), detached.

    Source: GAE (1506.02438) and V-trace of IMPALA (1802.01561, section 4.1 and remark 2) with both truncations at 1:
    v is its target, with `c_i = lambda min(1, pi / mu)`. IMPALA's advantage is `R_t + gamma v_(t+1) - V_t`, which
    leaves the first lambda out; ours has it, so that the rows of the present policy get exactly GAE.
    """
    rewards, values, next_values = rewards.detach(), values.detach(), next_values.detach()
    delta = rewards + gamma * next_values - values
    decay = torch.full_like(delta, gamma * gae_lambda).masked_fill(ends, 0.0)
    if weights is not None:
        after = torch.cat((weights[1:], torch.zeros_like(weights[:1]))).detach()
        decay = decay * after
    advantages = torch.empty_like(delta)
    behind = torch.zeros_like(delta[0])
    for step in range(len(delta) - 1, -1, -1):
        behind = torch.addcmul(delta[step], decay[step], behind)
        advantages[step] = behind
    traced = advantages if weights is None else weights.detach() * advantages
    return advantages, values + traced
