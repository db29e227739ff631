"""Environments of envpool, which steps all copies at once in C++, as Stable-Baselines3 uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from r2vpo.errors import UserError
from r2vpo.optional import require

PREFIX = "envpool:"
"""What the name of such an environment begins with in an experiment."""


class EnvpoolVecEnv(VecEnv):
    """All copies of an environment.

    Observations that have several parts are flattened into one vector.

    Args:
        name: their name in envpool.
        copies: how many.
        seed: their seed.

    Raises:
        UserError: envpool is not installed or has no such environment, or its observations are numbers of states.
    """

    def __init__(self, name: str, copies: int, seed: int) -> None:
        require("envpool", f"the environment {PREFIX}{name}")
        import envpool

        try:
            self._pool = envpool.make_gymnasium(name, num_envs=copies, seed=seed)
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(f"environment.name = {PREFIX}{name}: {str(error).strip() or 'unknown'}") from None
        if not all(isinstance(part, spaces.Box) for part in _parts(self._pool.observation_space)):
            self._pool.close()
            raise UserError(
                f"environment.name = {PREFIX}{name}: its observations are numbers of states, which would be taken for "
                "quantities: use the task of gymnasium, with normalize: false"
            )
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


def _parts(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """Return the spaces of an observation's parts."""
    if not isinstance(space, spaces.Dict):
        return [space]
    return [part for inner in space.spaces.values() for part in _parts(inner)]


def _leaves(found: Any) -> list[np.ndarray]:
    """Return the arrays of an observation, in the order of their names."""
    if isinstance(found, np.ndarray):
        return [found]
    if hasattr(found, "_asdict"):
        found = found._asdict()
    return [leaf for key in sorted(found) for leaf in _leaves(found[key])]
