"""A policy's parameters and their optimizer."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch.nn import Parameter

from r2vpo.core.validation import check_number

CRITIC = "critic"
"""Key of an optimizer's group that has only parameters of the critic."""


RATES = 100
"""A schedule is read at this many points, and at its start, to find its highest rate."""


def actor_and_critic(policy: ActorCriticPolicy) -> tuple[list[Parameter], list[Parameter]]:
    """Split a policy's parameters into those that its actions depend on and those that only its values depend on.

    Args:
        policy: The policy. What both use, such as a feature extractor or a common trunk, is the actor's.
    """
    critic = {id(parameter) for parameter in _critic(policy)}
    parts: tuple[list[Parameter], list[Parameter]] = ([], [])
    for parameter in policy.parameters():
        parts[id(parameter) in critic].append(parameter)
    return parts


def _critic(policy: ActorCriticPolicy) -> list[Parameter]:
    # An extractor of one's own need not have separate networks; all of it is then the actor's.
    shared, apart = policy.mlp_extractor, not policy.share_features_extractor
    actor = [policy.action_net, getattr(shared, "policy_net", None), policy.pi_features_extractor if apart else None]
    critic = [policy.value_net, getattr(shared, "value_net", None), policy.vf_features_extractor if apart else None]
    acting = {id(parameter) for module in actor if module is not None for parameter in module.parameters()}
    valuing = [parameter for module in critic if module is not None for parameter in module.parameters()]
    return [parameter for parameter in valuing if id(parameter) not in acting]


def separate(policy: ActorCriticPolicy) -> None:
    """Give the optimizer separate groups for the actor and the critic, which keeps its rate under step control.

    Step control finds the rate at which the *actor* moves by the trust radius. The critic's error says nothing about
    that rate, and the other way round: sharing the factor slows the critic down while the actor has to move less. The
    gradients of the groups are clipped apart. If they are clipped together, as in PPO, the size of the value loss sets
    the size of the actor's gradient: it grows by orders of magnitude as the critic learns, where rewards are not
    normalised, and so does the movement at a given rate, which the controller assumes to change slowly.

    Args:
        policy: The policy, whose optimizer has not made a step. Parameters that its optimizer leaves out stay out.
    """
    optimizer, critic = policy.optimizer, {id(parameter) for parameter in _critic(policy)}
    for group in list(optimizer.param_groups):
        valuing = [parameter for parameter in group["params"] if id(parameter) in critic]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in critic]
        if valuing:
            options = {name: value for name, value in group.items() if name != "params"}
            optimizer.add_param_group({**options, "params": valuing, CRITIC: True})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, *, own_rate: bool) -> None:
    """Write into the groups what step control reads: the highest rate of the schedule, and whose rate is controlled.

    Args:
        optimizer: The one of `separate`, whose groups may come from a file.
        schedule: The learning rate by the share of the training that is left.
        own_rate: Whether the critic keeps the schedule's rate.

    Raises:
        ValueError: The schedule gives a rate that is negative or not finite.
    """
    rates = [float(schedule(point / RATES)) for point in range(RATES + 1)]
    for point, rate in enumerate(rates):
        remedy = "let the schedule return 0 or more for every share from 0 to 1"
        check_number(f"learning_rate with {point / RATES:g} of the training left", rate, at_least=0, remedy=remedy)
    highest = max(rates)
    for group in optimizer.param_groups:
        group["initial_lr"] = highest
        group["step_control"] = not (own_rate and group.get(CRITIC, False))


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
