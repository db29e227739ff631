"""Which environments a run has, and what is said about those that it cannot have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.schema import ControlRecipe
from r2vpo.errors import UserError


def recipe(name: str, *, copies: int = 1, **options: Any) -> ControlRecipe:
    environment = {"name": name, "copies": copies}
    settings = {"seed": 3, "environment": environment, "steps": 10, "algorithm": "ppo", "options": options}
    return ControlRecipe.model_validate(settings)


def test_observations_and_rewards_are_normalised_with_the_methods_discount() -> None:
    made = make_environments(recipe("Pendulum-v1", copies=2, gamma=0.9))
    assert isinstance(made, VecNormalize) and made.gamma == 0.9 and made.num_envs == 2


def test_copies_and_seeds_differ() -> None:
    first, same = (make_environments(recipe("Pendulum-v1", copies=2)).reset() for _ in range(2))
    other = make_environments(recipe("Pendulum-v1", copies=2).model_copy(update={"seed": 4})).reset()
    assert np.array_equal(first, same) and not np.array_equal(first, other) and not np.array_equal(first[0], first[1])


def test_a_users_own_task_is_found_in_its_module() -> None:
    made = make_environments(recipe("tests.unit.compare.control.own_task:Own-v0"))
    made.reset()
    ends = [made.step(np.zeros((1, 1)))[2][0] for _ in range(14)]
    assert np.flatnonzero(ends).tolist() == [6, 13]


@pytest.mark.parametrize("name", ["no.such.module:Own-v0", "Own-v99", "HalfCheetah-v0", "a b"])
def test_an_unknown_task_is_one_line(name: str) -> None:
    with pytest.raises(UserError) as error:
        make_environments(recipe(name))
    assert str(error.value).startswith(f"environment.name = {name}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "package"), [("Hopper-v5", "mujoco"), ("envpool:CartPole-v1", "envpool")])
def test_a_missing_package_is_one_line_with_the_command(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [one for one in sys.modules if one.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)  # they have imported it
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}, which is not installed: pip install 'r2vpo\[control\]'$"):
        make_environments(recipe(name))


def test_mujoco_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Reading its models is worth no warning; one that a simulation causes is shown."""
    import mujoco

    monkeypatch.chdir(tmp_path)
    environments: Any = make_environments(recipe("Hopper-v5"))
    environments.reset()
    (env,) = environments.unwrapped.envs
    assert capfd.readouterr().err == ""
    env.unwrapped.data.qpos[:] = np.nan
    mujoco.mj_step(env.unwrapped.model, env.unwrapped.data)
    assert capfd.readouterr().err.startswith("MuJoCo: ") and list(tmp_path.iterdir()) == []
    environments.close()
