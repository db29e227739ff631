"""A task that a user's module registers."""

from typing import Any

import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

gymnasium.register("Own-v0", entry_point=PendulumEnv, max_episode_steps=7)


class Asks(PendulumEnv):
    """It cannot be made without an argument."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Poor(PendulumEnv):
    """One of its rewards is not a number."""

    def step(self, action: Any) -> Any:
        observation, reward, *others = super().step(action)
        self.steps = getattr(self, "steps", 0) + 1
        return observation, reward if self.steps != 90 else float("nan"), *others


class Blind(PendulumEnv):
    """One of its observations is not a number."""

    def step(self, action: Any) -> Any:
        observation, *others = super().step(action)
        self.steps = getattr(self, "steps", 0) + 1
        return observation if self.steps != 90 else observation * float("inf"), *others


for made in (Asks, Poor, Blind):
    gymnasium.register(f"{made.__name__}-v0", entry_point=made, max_episode_steps=50, disable_env_checker=True)
