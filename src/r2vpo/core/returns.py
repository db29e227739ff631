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
    this is GAE. docs/objective.md, section 11, has the derivation.

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


def response_gae(
    *,
    rewards: Tensor,
    values: Tensor,
    response_mask: Tensor,
    gamma: float,
    gae_lambda: float,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute GAE and value targets of the tokens of responses whose reward comes with the last token.

    It is `truncated_gae` on the trained tokens of each response, in their order, with `R_t = 0` before the last of them
    and the response's reward at it, where the episode ends. Tokens that are not trained on, such as the result of a
    tool between two calls, are skipped: V' of the token before them is V of the next trained one, and they count
    neither for gamma nor for lambda.

    Args:
        rewards: (B,) rewards of the responses.
        values: V of the state before each token, (B, T).
        response_mask: (B, T) bool, True on the tokens that are trained on; elsewhere every tensor may hold anything.
        gamma: Discount per trained token.
        gae_lambda: lambda.
        weights: c, (B, T), at most 1; None for 1 everywhere.

    Returns:
        A and v, (B, T), detached, in units of the reward, 0 outside the mask.

    Raises:
        ValueError: A shape is wrong, or the mask is not bool.

    Source: as `truncated_gae`; verl 0.9.1 skips tokens in the same way.
    """
    _check_responses(rewards, values, response_mask, weights)
    places = torch.arange(response_mask.shape[1], device=response_mask.device)[:, None]
    lengths = response_mask.sum(dim=1)
    # The trained tokens of each row come first, in their order.
    order = (~response_mask).long().argsort(dim=1, stable=True)

    def compact(tensor: Tensor) -> Tensor:
        return torch.where(response_mask, tensor.detach(), 0.0).gather(1, order).T

    seen = compact(values)
    advantages, targets = truncated_gae(
        rewards=torch.where(places == lengths - 1, rewards.detach().to(seen.dtype), 0.0),
        values=seen,
        next_values=torch.cat((seen[1:], torch.zeros_like(seen[:1]))),
        ends=places >= lengths - 1,
        gamma=gamma,
        gae_lambda=gae_lambda,
        weights=None if weights is None else compact(weights),
    )
    back = order.argsort(dim=1)
    return advantages.T.gather(1, back), targets.T.gather(1, back)


def _check_responses(rewards: Tensor, values: Tensor, response_mask: Tensor, weights: Tensor | None) -> None:
    if response_mask.dim() != 2 or response_mask.dtype != torch.bool:
        raise ValueError(
            f"response_mask is {response_mask.dtype} {tuple(response_mask.shape)}, but must be (B, T) torch.bool: "
            "pass one row for each response"
        )
    shape = response_mask.shape
    for name, tensor, wanted in (
        ("rewards", rewards, shape[:1]),
        ("values", values, shape),
        ("weights", weights, shape),
    ):
        if tensor is not None and tensor.shape != wanted:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, but must be {tuple(wanted)}: align it with response_mask"
            )
