"""Dynamics that change during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from r2vpo.compare.control.changes import ChangingDynamics
from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.obstacles import NAME
from r2vpo.compare.control.schema import Change, ControlRecipe
from r2vpo.errors import UserError


def recipe(name: str, changes: Sequence[dict[str, float]], *, steps: int, copies: int = 1) -> ControlRecipe:
    environment = {"name": name, "copies": copies, "normalize": False, "changes": list(changes)}
    return ControlRecipe.model_validate({"seed": 3, "environment": environment, "steps": steps, "algorithm": "ppo"})


def models(environments: Any) -> list[Any]:
    return [one.unwrapped.model for one in environments.unwrapped.envs]


def test_friction_and_mass_change_at_their_share_of_the_steps_in_every_copy() -> None:
    changes = [{"at": 0.4, "friction": 0.5, "mass": 2.0}, {"at": 0.7, "friction": 1.0}]
    environments = make_environments(recipe("HalfCheetah-v5", changes, steps=20, copies=2))
    original = [(model.geom_friction.copy(), model.body_mass.copy()) for model in models(environments)]
    environments.reset()
    for step in range(10):  # of each copy
        environments.step(np.zeros((2, 6), dtype=np.float32))
        friction, mass = (1.0, 1.0) if step < 4 else (0.5, 2.0) if step < 7 else (1.0, 1.0)
        for model, (surfaces, bodies) in zip(models(environments), original, strict=True):
            assert np.array_equal(model.geom_friction, surfaces * friction), step
            assert np.array_equal(model.body_mass, bodies * mass), step
            assert model.body_subtreemass[1] == pytest.approx(bodies.sum() * mass), "derived from the masses"
    environments.close()


@pytest.mark.parametrize(("change", "moves_further"), [({"mass": 4.0}, False), ({"friction": 0.05}, None)])
def test_the_motion_changes(change: dict[str, float], moves_further: bool | None) -> None:
    def run(changes: Sequence[Change]) -> np.ndarray:
        env = ChangingDynamics(gymnasium.make("HalfCheetah-v5"), changes, steps=100)
        env.reset(seed=5)
        actions = np.random.default_rng(1).uniform(-1, 1, size=(60, 6)).astype(np.float32)
        found = np.array([env.step(action)[0] for action in actions])
        env.close()
        return found

    before, after = run([]), run([Change(at=0.3, **change)])
    assert np.array_equal(before[:30], after[:30]) and not np.allclose(before[30:], after[30:], atol=1e-3)
    if moves_further is not None:
        speeds = [float(np.abs(one[30:, 8:]).mean()) for one in (before, after)]
        assert (speeds[1] > speeds[0]) is moves_further, "the same motors move a heavier body less"


def test_obstacles_change_their_speed() -> None:
    environments = make_environments(recipe(NAME, [{"at": 0.5, "speed": -2.0}], steps=10))
    (env,) = environments.unwrapped.envs
    environments.reset()
    speeds = []
    for _ in range(10):
        environments.step(np.zeros((1, 2)))
        speeds.append(env.unwrapped.speed)
    assert speeds == [1.0] * 5 + [-2.0] * 5


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("Pendulum-v1", {"friction": 0.5}, "friction cannot change in Pendulum-v1, nothing can: remove it"),
        ("CartPole-v1", {"mass": 2.0}, "mass cannot change in CartPole-v1, nothing can: remove it"),
        ("Hopper-v5", {"speed": 2.0}, "speed cannot change in Hopper-v5, only friction and mass can: remove it"),
        (NAME, {"mass": 2.0}, f"mass cannot change in {NAME}, only speed can: remove it"),
    ],
)
def test_what_a_task_does_not_have_cannot_change(name: str, change: dict[str, float], said: str) -> None:
    with pytest.raises(UserError) as error:
        make_environments(recipe(name, [{"at": 0.5, **change}], steps=10))
    assert str(error.value) == f"environment.changes: {said}"
