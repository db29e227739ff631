"""Environments whose dynamics change during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium

from r2vpo.compare.control.obstacles import MovingObstacles
from r2vpo.compare.control.schema import Change
from r2vpo.errors import UserError

FACTORS = ("friction", "mass", "speed")
"""What a `Change` can change."""


class ChangingDynamics(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A task whose dynamics change at given steps.

    Args:
        env: the task.
        changes: factors of the original values, in the order in which they hold.
        steps: steps that will be made in this environment, of which `Change.at` is a share.

    Raises:
        UserError: a change is of something that the task does not have.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], changes: Sequence[Change], *, steps: int) -> None:
        super().__init__(env)
        dynamics = _dynamics_of(env.unwrapped)
        for change in changes:
            for name in FACTORS:
                if getattr(change, name) != 1 and name not in dynamics.factors:
                    task = env.spec.id if env.spec else str(env)
                    having = f"only {' and '.join(dynamics.factors)}" if dynamics.factors else "nothing"
                    raise UserError(f"environment.changes: {name} cannot change in {task}, {having} can: remove it")
        self._apply = dynamics.apply
        self._waiting = [(round(change.at * steps), change) for change in changes]
        self._steps = 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`."""
        while self._waiting and self._steps >= self._waiting[0][0]:
            self._apply(self._waiting.pop(0)[1])
        self._steps += 1
        return super().step(action)


class _Dynamics(NamedTuple):
    factors: tuple[str, ...]
    apply: Callable[[Change], None]


def _dynamics_of(task: Any) -> _Dynamics:
    if isinstance(task, MovingObstacles):
        return _Dynamics(("speed",), lambda change: setattr(task, "speed", change.speed))
    model = getattr(task, "model", None)
    if hasattr(model, "geom_friction"):
        return _Dynamics(("friction", "mass"), _of_mujoco(model))
    return _Dynamics((), lambda change: None)


def _of_mujoco(model: Any) -> Callable[[Change], None]:
    import mujoco

    fields = {"friction": ("geom_friction", "pair_friction"), "mass": ("body_mass", "body_inertia")}
    original = {name: getattr(model, name).copy() for names in fields.values() for name in names}

    def apply(change: Change) -> None:
        for factor, names in fields.items():
            for name in names:
                getattr(model, name)[:] = original[name] * getattr(change, factor)
        mujoco.mj_setConst(model, mujoco.MjData(model))  # what MuJoCo derives from masses, such as that of subtrees

    return apply
