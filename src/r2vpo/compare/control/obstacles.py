"""A task with obstacles that move: a point has to reach a goal on the other side, and not be hit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from r2vpo.compare.statistics import Array

NAME = "r2vpo/MovingObstacles-v0"
"""Its name in gymnasium."""
STEPS = 100
"""Steps after which an episode is truncated."""


class MovingObstacles(gymnasium.Env[Array, Array]):
    """A point in the square of side 2 around 0, which starts on the left; its goal is on the right.

    The action, two numbers between -1 and 1, accelerates the point; its velocity, distance per step, is

        v' = 0.9 v + 0.01 a

    so that it needs some 25 steps. Obstacles are discs whose centres move on ellipses, all at the same angular
    velocity; where on its ellipse each of them starts is random, and so are the heights of start and goal.

    Observations: position (2), velocity (2), goal from the point (2), and of each obstacle its centre from the point
    (2) and its velocity (2).

    Reward: the distance by which a step came closer to the goal, plus 1 when the point reaches it, minus 1 when an
    obstacle hits the point. Both end the episode.

    Attributes:
        speed: factor of the obstacles' angular velocity; `ChangingDynamics` sets it. Below 0 they turn the other way.
    """

    CENTRES = np.array([[-0.45, 0.0], [0.0, 0.0], [0.45, 0.0]])
    HALF_AXES = np.array([0.2, 0.7])
    ANGLE_PER_STEP = 0.08
    RADIUS_OF_OBSTACLES, RADIUS_OF_GOAL = 0.15, 0.1
    DAMPING, ACCELERATION = 0.9, 0.01

    def __init__(self) -> None:
        self.speed = 1.0
        size = 6 + 4 * len(self.CENTRES)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """See `gymnasium.Env.reset`."""
        super().reset(seed=seed)
        start, goal = self.np_random.uniform(-0.9, 0.9, size=2)
        self._position, self._velocity = np.array([-0.9, start]), np.zeros(2)
        self._goal = np.array([0.9, goal])
        self._angles = self.np_random.uniform(0.0, 2 * np.pi, size=len(self.CENTRES))
        return self._observe(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`."""
        before = self._distance()
        self._velocity = self.DAMPING * self._velocity + self.ACCELERATION * np.clip(action, -1.0, 1.0)
        self._position = np.clip(self._position + self._velocity, -1.0, 1.0)
        self._angles = self._angles + self.ANGLE_PER_STEP * self.speed
        hit = bool((np.linalg.norm(self._obstacles() - self._position, axis=1) < self.RADIUS_OF_OBSTACLES).any())
        reached = self._distance() < self.RADIUS_OF_GOAL and not hit
        return self._observe(), before - self._distance() + reached - hit, reached or hit, False, {}

    def _distance(self) -> float:
        return float(np.linalg.norm(self._goal - self._position))

    def _obstacles(self) -> Array:
        on_circles = np.stack([np.cos(self._angles), np.sin(self._angles)], axis=1)
        return np.asarray(self.CENTRES + self.HALF_AXES * on_circles)

    def _observe(self) -> Array:
        turned = np.stack([-np.sin(self._angles), np.cos(self._angles)], axis=1)
        moving = self.ANGLE_PER_STEP * self.speed * self.HALF_AXES * turned
        around = np.concatenate([self._obstacles() - self._position, moving], axis=1)
        return np.concatenate([self._position, self._velocity, self._goal - self._position, around.ravel()])


gymnasium.register(NAME, entry_point=f"{__name__}:{MovingObstacles.__name__}", max_episode_steps=STEPS)
