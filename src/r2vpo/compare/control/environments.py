"""The environments of a run: of gymnasium or envpool, with returns counted, normalised, and with changing dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from r2vpo.compare.control.schema import Change, ControlRecipe
from r2vpo.errors import UserError
from r2vpo.optional import require

_ENVPOOL = "envpool:"
_CLIP = 10.0
"""Bound of normalised observations and rewards, as in CleanRL's ppo_continuous_action."""


def make_environments(recipe: ControlRecipe) -> VecEnv:
    """Make a run's environments; the return of each episode is in ``info["episode"]``, not normalised.

    Raises:
        UserError: there is no such environment, or its dynamics cannot be changed.
    """
    spec = recipe.environment
    if spec.name.startswith(_ENVPOOL):
        made: VecEnv = EnvpoolVecEnv(spec.name.removeprefix(_ENVPOOL), spec.copies, recipe.seed)
    else:
        made = DummyVecEnv([lambda: _gymnasium(recipe)] * spec.copies)
        made.seed(recipe.seed)
    made = VecMonitor(made)
    if not spec.normalize:
        return made
    gamma = float(recipe.options.get("gamma", 0.99))
    return VecNormalize(made, gamma=gamma, clip_obs=_CLIP, clip_reward=_CLIP)


def _gymnasium(recipe: ControlRecipe) -> gymnasium.Env[Any, Any]:
    spec = recipe.environment
    try:
        made = gymnasium.make(spec.name)
    except (gymnasium.error.Error, ImportError) as error:
        raise UserError(f"environment.name = {spec.name}: {str(error).strip()}") from None
    if spec.changes:
        return ChangingDynamics(made, spec.changes, steps=-(-recipe.steps // spec.copies))
    return made


class ChangingDynamics(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A MuJoCo task whose friction and masses change during training.

    Args:
        env: the task.
        changes: factors of the original values, in the order in which they hold.
        steps: steps that will be made in this environment, of which `Change.at` is a share.

    Raises:
        UserError: it is not a MuJoCo task.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], changes: Sequence[Change], *, steps: int) -> None:
        super().__init__(env)
        model = getattr(env.unwrapped, "model", None)
        if not hasattr(model, "geom_friction"):
            name = env.spec.id if env.spec else str(env)
            raise UserError(f"environment.changes: {name} is not a MuJoCo task: remove them")
        self._model: Any = model
        self._original = {name: getattr(model, name).copy() for name in ("geom_friction", "body_mass", "body_inertia")}
        self._waiting = [(round(change.at * steps), change) for change in changes]
        self._steps = 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`."""
        while self._waiting and self._steps >= self._waiting[0][0]:
            change = self._waiting.pop(0)[1]
            self._model.geom_friction[:] = self._original["geom_friction"] * change.friction
            for name in ("body_mass", "body_inertia"):
                getattr(self._model, name)[:] = self._original[name] * change.mass
        self._steps += 1
        return super().step(action)


class EnvpoolVecEnv(VecEnv):
    """Environments of envpool, which steps all copies at once in C++, as Stable-Baselines3 uses them.

    Observations that have several parts are flattened into one vector.

    Args:
        name: their name in envpool.
        copies: how many.
        seed: their seed.

    Raises:
        UserError: envpool is not installed or has no such environment.
    """

    def __init__(self, name: str, copies: int, seed: int) -> None:
        require("envpool", f"the environment {_ENVPOOL}{name}")
        import envpool

        try:
            self._pool = envpool.make_gymnasium(name, num_envs=copies, seed=seed)
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(f"environment.name = {_ENVPOOL}{name}: {str(error).strip() or 'unknown'}") from None
        first = self._vectors(self._pool.reset()[0])
        box = spaces.Box(-np.inf, np.inf, first.shape[1:], np.float32)
        super().__init__(copies, box, self._pool.action_space)
        self._actions: Any = None

    def reset(self) -> VecEnvObs:
        """See `VecEnv.reset`."""
        return self._vectors(self._pool.reset()[0])

    def step_async(self, actions: np.ndarray) -> None:
        """See `VecEnv.step_async`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """See `VecEnv.step_wait`; an environment whose episode has ended is reset at once."""
        found, reward, terminated, truncated, _ = self._pool.step(self._actions)
        observations = self._vectors(found)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(done)
        if len(ended):
            for one in ended:
                infos[one] = {
                    "terminal_observation": observations[one].copy(),
                    "TimeLimit.truncated": bool(truncated[one] and not terminated[one]),
                }
            observations[ended] = self._vectors(self._pool.reset(ended.astype(np.int32))[0])
        return observations, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """See `VecEnv.close`."""
        self._pool.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """See `VecEnv.get_attr`; the copies are not Python objects, and have only a render mode of None."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Not possible, see `get_attr`."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **options: Any) -> list[Any]:
        """Not possible, see `get_attr`."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """See `VecEnv.env_is_wrapped`."""
        return [False] * len(list(self._get_indices(indices)))

    def _vectors(self, found: Any) -> np.ndarray:
        parts = _leaves(found)
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(np.float32)


def _leaves(found: Any) -> list[np.ndarray]:
    """Return the arrays of an observation, in the order of their names."""
    if isinstance(found, np.ndarray):
        return [found]
    if hasattr(found, "_asdict"):
        found = found._asdict()
    return [leaf for key in sorted(found) for leaf in _leaves(found[key])]
