"""The task with obstacles that move."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_stable_baselines3

from r2vpo.compare.control.obstacles import NAME, STEPS, MovingObstacles


def placed(*, position: tuple[float, float], goal: tuple[float, float] = (0.9, 0.0)) -> MovingObstacles:
    env = MovingObstacles()
    env.reset(seed=0)
    env._position, env._goal = np.array(position), np.array(goal)
    return env


def test_it_is_an_environment() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about bounds that are infinite
        check_env(MovingObstacles(), skip_render_check=True)
        check_for_stable_baselines3(MovingObstacles())


def test_a_seed_fixes_the_episode() -> None:
    first, second = gymnasium.make(NAME), gymnasium.make(NAME)
    assert np.array_equal(first.reset(seed=7)[0], second.reset(seed=7)[0])
    assert not np.array_equal(first.reset()[0], second.reset(seed=7)[0])


def test_an_action_accelerates_the_point() -> None:
    env = placed(position=(-0.9, 0.5))
    for _ in range(3):
        seen = env.step(np.array([1.0, -5.0]))[0]
    velocity = 0.01 * (1 + 0.9 + 0.81)
    assert seen[2:4] == pytest.approx([velocity, -velocity]), "actions beyond 1 count as 1"
    assert seen[0] == pytest.approx(-0.9 + 0.01 * (1 + 1.9 + 2.71)) and seen[4:6] == pytest.approx([0.9, 0] - seen[:2])


def test_what_is_seen_of_an_obstacle_says_where_it_will_be() -> None:
    env = placed(position=(-0.9, 0.9))
    before = env._observe()[6:].reshape(3, 4)
    after = env.step(np.zeros(2))[0][6:].reshape(3, 4)
    assert after[:, :2] - before[:, :2] == pytest.approx((before[:, 2:] + after[:, 2:]) / 2, abs=1e-4)
    env.speed = -1.0
    back = env.step(np.zeros(2))[0][6:].reshape(3, 4)
    assert back[:, :2] == pytest.approx(before[:, :2]), "they turn the other way"
    assert np.sign(back[:, 2:]).tolist() == (-np.sign(before[:, 2:])).tolist()


def test_the_goal_ends_an_episode_with_a_reward() -> None:
    env = placed(position=(0.75, 0.9), goal=(0.9, 0.9))
    env._velocity[:] = [0.1, 0.0]
    _, reward, terminated, truncated, _ = env.step(np.zeros(2))
    assert (terminated, truncated) == (True, False) and reward == pytest.approx(1.0 + 0.09)


def test_an_obstacle_ends_an_episode_with_a_loss() -> None:
    env = MovingObstacles()
    env.reset(seed=0)
    env._position = env._obstacles()[1].copy()
    _, reward, terminated, truncated, _ = env.step(np.zeros(2))
    assert (terminated, truncated) == (True, False) and reward < -0.8


def test_time_and_walls_limit_it() -> None:
    env = gymnasium.make(NAME)
    env.reset(seed=1)
    for number in range(STEPS):
        _, _, terminated, truncated, _ = env.step(np.array([-1.0, 0.0]))
        assert not terminated and truncated is (number == STEPS - 1)
    assert env.unwrapped._position[0] == -1.0  # type: ignore[attr-defined]


def test_it_can_be_solved_and_not_by_driving_straight_on() -> None:
    def success(wait: bool) -> float:
        reached = []
        for seed in range(60):
            env = gymnasium.make(NAME)
            seen, over = env.reset(seed=seed)[0], False
            while not over:
                seen, reward, terminated, truncated, _ = env.step(steer(seen, wait=wait))
                over = terminated or truncated
            reached.append(terminated and reward > 0)
        return float(np.mean(reached))

    assert success(wait=False) < 0.7 < 0.8 < success(wait=True)


def steer(seen: np.ndarray, *, wait: bool) -> np.ndarray:
    """Drive to the goal; if it is to wait, away from an obstacle that will be near in a few steps."""
    action = 4.0 * seen[4:6] - 20.0 * seen[2:4]
    if wait:
        for dx, dy, vx, vy in seen[6:].reshape(3, 4):
            for ahead in (0, 3, 6):
                away = -(np.array([dx, dy]) + ahead * (np.array([vx, vy]) - seen[2:4]))
                distance = float(np.linalg.norm(away))
                action += 4.0 * away / distance * max(0.0, 0.35 - distance) / 0.1
    return np.asarray(action / max(1.0, float(np.abs(action).max())))
