"""A policy's parameters and their optimizer."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn import Parameter


def actor_and_critic(policy: ActorCriticPolicy) -> tuple[list[Parameter], list[Parameter]]:
    """Split a policy's parameters into those that its actions depend on and those that only its values depend on.

    Args:
        policy: The policy. What it shares, such as a feature extractor, is the actor's.
    """
    modules = [policy.value_net, policy.mlp_extractor.value_net]
    if not policy.share_features_extractor:
        modules.append(policy.vf_features_extractor)
    critic = {id(parameter) for module in modules for parameter in module.parameters()}
    parts: tuple[list[Parameter], list[Parameter]] = ([], [])
    for parameter in policy.parameters():
        parts[id(parameter) in critic].append(parameter)
    return parts


def separate(policy: ActorCriticPolicy) -> None:
    """Give the optimizer a group for the actor and one for the critic, which keeps its rate under step control.

    Step control finds the rate at which the *actor* moves by the trust radius. The critic's error says nothing about
    that rate, and the other way round: sharing the factor slows the critic down while the actor has to move less. The
    gradients of the groups are clipped apart. If they are clipped together, as in PPO, the size of the value loss sets
    the size of the actor's gradient: it grows by orders of magnitude as the critic learns, where rewards are not
    normalised, and so does the movement at a given rate, which the controller assumes to change slowly.

    Args:
        policy: The policy, whose optimizer has one group and has not made a step.
    """
    (group,) = policy.optimizer.param_groups
    group["params"], critic = actor_and_critic(policy)
    options = {name: value for name, value in group.items() if name != "params"}
    policy.optimizer.add_param_group({**options, "params": critic, "step_control": False})


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Let Adam make its step in one call, which on a CPU takes a quarter of the time for small networks.

    Args:
        optimizer: Before its first step. One that is not Adam itself, or that was built with a choice between `foreach`
            and `fused`, is left as it is.
    """
    if type(optimizer) is not torch.optim.Adam:
        return
    for group in optimizer.param_groups:
        on = {parameter.device.type for parameter in group["params"]}
        if group["foreach"] is None and group["fused"] is None and on <= {"cpu", "cuda"}:
            group["fused"] = True
