"""Small real environments of every kind of space, seeded, and models on them that learn in a moment."""

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv, IdentityEnv, IdentityEnvBox, SimpleMultiObsEnv
from stable_baselines3.common.vec_env import DummyVecEnv

SMALL = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "seed": 3, "device": "cpu"}
"""Arguments of PPO and R²VPO: two passes over 32 steps of each environment, in minibatches of 16."""


def _identity(space: spaces.Space) -> gymnasium.Env:
    return IdentityEnv(space=space, ep_length=7)


ENVIRONMENTS: dict[str, Callable[[], gymnasium.Env]] = {
    "box": lambda: IdentityEnvBox(ep_length=7),
    "discrete": lambda: _identity(spaces.Discrete(3)),
    "multi_discrete": lambda: _identity(spaces.MultiDiscrete([3, 2])),
    "multi_binary": lambda: _identity(spaces.MultiBinary(3)),
    "pendulum": lambda: gymnasium.make("Pendulum-v1"),
    "dict": lambda: SimpleMultiObsEnv(num_col=2, num_row=2),
    "image": lambda: FakeImageEnv(screen_height=36, screen_width=36, n_channels=1),
}
POLICIES = {"dict": "MultiInputPolicy", "image": "CnnPolicy"}


def made(name: str, seed: int = 0) -> gymnasium.Env:
    """An environment whose spaces, from which some of them sample, are seeded."""
    np.random.seed(seed)  # SimpleMultiObsEnv draws its pictures from it
    env = ENVIRONMENTS[name]()
    env.action_space.seed(seed)
    env.observation_space.seed(seed)
    env.reset(seed=seed)
    return env


def several(name: str, count: int = 2) -> DummyVecEnv:
    """Environments that are stepped together."""
    return DummyVecEnv([lambda seed=seed: made(name, seed) for seed in range(count)])


def model(kind, name: str, count: int = 2, **arguments):
    """A model on environments of a name."""
    policy = arguments.pop("policy", POLICIES.get(name, "MlpPolicy"))
    env = arguments.pop("env", None) or several(name, count)
    return kind(policy, env, **{**SMALL, **arguments})


def steps(count: int, environments: int = 2) -> int:
    """Environment steps of so many rounds."""
    return count * SMALL["n_steps"] * environments


def weights(of) -> np.ndarray:
    """All weights of a model's policy in one array."""
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in of.policy.parameters()])
