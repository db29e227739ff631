"""A task that a user's module registers."""

import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

gymnasium.register("Own-v0", entry_point=PendulumEnv, max_episode_steps=7)
