"""Checks of the arguments that `R2VPO` has in common with PPO."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer

from r2vpo.core.validation import check_number
from r2vpo.integrations.sb3.rows import Rows

if TYPE_CHECKING:
    from r2vpo.integrations.sb3.algorithm import R2VPO


NUMBERS = (
    "learning_rate", "n_steps", "batch_size", "n_epochs", "delta", "clip_range_vf", "max_grad_norm", "target_kl",
    "replay_versions", "replay_ratio",
)  # fmt: skip
"""Arguments that are numbers and are checked to be numbers."""


def without_numpy(model: R2VPO) -> None:
    """Turn arguments that are numbers of numpy, as a sweep draws them, into Python's."""
    for name in NUMBERS:
        if isinstance(value := getattr(model, name), np.generic):
            setattr(model, name, value.item())


def check_arguments(model: R2VPO) -> None:
    """Reject what PPO asserts or would fail with later.

    Args:
        model: Before its networks are built.

    Raises:
        ValueError: An argument is out of bounds, or the actions' space or the buffer's class does not fit.
    """
    for name in ("n_steps", "batch_size", "n_epochs"):
        if not isinstance(value := getattr(model, name), int) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, but must be a whole number: pass one")
    for name in ("n_steps", "n_epochs"):
        check_number(name, getattr(model, name), at_least=1, remedy="pass a positive whole number")
    remedy = "pass a large number, such as 1e9, for no clipping of gradients"
    check_number("max_grad_norm", model.max_grad_norm, above=0, finite=False, remedy=remedy)
    least, why = (2, ", or normalize_advantage=False") if model.normalize_advantage else (1, "")
    check_number("batch_size", model.batch_size, at_least=least, remedy=f"pass a larger one{why}")
    if model.clip_range_vf is not None and not callable(model.clip_range_vf):
        check_number("clip_range_vf", model.clip_range_vf, above=0, remedy="pass None for no clipping of values")
    if model.target_kl is not None:
        check_number("target_kl", model.target_kl, above=0, remedy="pass None for no bound")
    buffer = model.rollout_buffer_class
    if buffer is not None and buffer.get not in (RolloutBuffer.get, DictRolloutBuffer.get):
        raise ValueError(
            f"rollout_buffer_class = {buffer.__name__} has a get() that differs from RolloutBuffer's, which R2VPO "
            "does not call: pass a class that leaves get() as it is"
        )
    advantages = RolloutBuffer.compute_returns_and_advantage
    if model.options.replay_versions and buffer is not None and buffer.compute_returns_and_advantage is not advantages:
        raise ValueError(
            f"rollout_buffer_class = {buffer.__name__} has its own compute_returns_and_advantage(), which stale rows "
            "would not have: set replay_versions=0, or pass a class that leaves it as it is"
        )
    actions = model.action_space
    if isinstance(actions, spaces.Box) and not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(
            f"the action space is a Box of {actions.dtype}, in which Stable-Baselines3's buffer rounds the actions "
            "after their probability was computed, so that ratios are not 1 at the start of a round: use "
            "MultiDiscrete, or a Box of float32 and round in the environment"
        )
    if model.env is None:
        return
    rows = model.n_steps * model.env.num_envs
    check_number("n_steps * n_envs", rows, at_least=least, remedy=f"pass more n_steps{why}")
    control = model.options.step_control
    if control.enabled and control.kind == "kl" and model.n_epochs * -(-rows // model.batch_size) == 1:
        raise ValueError(
            "step_control.kind = kl measures how far a round's earlier steps have moved the policy, and a round of "
            f"n_epochs = 1 with batch_size = {model.batch_size} has one step: raise n_epochs, or lower batch_size"
        )
    if rows % model.batch_size:
        warnings.warn(
            f"batch_size = {model.batch_size} does not divide n_steps * n_envs = {rows}: the last minibatch of each "
            f"epoch has only {rows % model.batch_size} rows",
            UserWarning,
            stacklevel=4,
        )


def check_finite(fresh: Rows) -> None:
    """Reject a round whose advantages are not finite, before it changes anything.

    Under the brake "outward" an advantage of NaN has no gradient, so that training would go on without learning.

    Args:
        fresh: The round's fresh rows.

    Raises:
        ValueError: An advantage is NaN or infinite.
    """
    if bool(torch.isfinite(fresh.advantages).all()):
        return
    if bool(torch.isfinite(fresh.values).all()):
        raise ValueError(
            "the advantages of this round are NaN or infinite, because a reward is, or is too large: nothing was "
            "trained on it. Stable-Baselines3's VecCheckNan(env, raise_exception=True) finds the step"
        )
    raise ValueError(
        "the critic's values are NaN or infinite: its weights have diverged. Lower learning_rate, which is the "
        "critic's, or normalise rewards with VecNormalize"
    )


def check_parameters(model: R2VPO, parameters: Mapping[str, Any]) -> None:
    """Reject parameters of another algorithm, or of another kind of step control, before anything is changed.

    Args:
        model: The model that is to take them.
        parameters: As `get_parameters` returns them.

    Raises:
        ValueError: The groups of the optimizer or the state of the rounds differ from the model's.
    """
    if (saved := parameters.get("policy.optimizer")) is not None:
        sizes = [[len(group["params"]) for group in groups] for groups in (saved["param_groups"], _groups(model))]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"policy.optimizer has groups of {sizes[0]} parameters, but must have {sizes[1]}: another algorithm "
                "wrote it, or another policy. To start from its policy alone, call "
                "model.policy.load_state_dict(other.policy.state_dict())"
            )
    if (state := parameters.get("rounds")) is not None:
        type(model.rounds)(model.options, seed=0).load_state_dict(state)


def _groups(model: R2VPO) -> list[dict[str, Any]]:
    return model.policy.optimizer.param_groups
