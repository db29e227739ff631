"""Environments of envpool mean the same to Stable-Baselines3 as those of gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.pooled import EnvpoolVecEnv
from r2vpo.compare.control.schema import ControlRecipe
from r2vpo.errors import UserError

COPIES = 3
# Their observations contain their whole state, so that a copy of gymnasium can begin where one of envpool does.
TWINS = ("CartPole-v1", "MountainCarContinuous-v0")


def twin(name: str) -> DummyVecEnv:
    return DummyVecEnv([lambda: gymnasium.make(name)] * COPIES)


def follow(theirs: DummyVecEnv, number: int, state: np.ndarray) -> None:
    theirs.envs[number].unwrapped.state = np.array(state, dtype=np.float64)


@pytest.mark.parametrize("name", TWINS)
def test_it_is_a_twin_of_gymnasiums(name: str) -> None:
    """Observations, rewards, ends, final observations and time limits agree for 1,100 steps; returns do at each end."""
    pool = EnvpoolVecEnv(name, COPIES, seed=4)
    inner = twin(name)
    ours, theirs = VecMonitor(pool), VecMonitor(inner)
    observations = ours.reset()
    theirs.reset()
    for number in range(COPIES):
        follow(inner, number, observations[number])
    generator, ended = np.random.default_rng(0), []
    for _ in range(1_100):
        actions = np.array([theirs.action_space.sample() for _ in range(COPIES)])
        if isinstance(theirs.action_space, spaces.Box):
            actions = generator.uniform(-1, 1, size=(COPIES, 1)).astype(np.float32)
        found, reward, done, infos = ours.step(actions)
        expected, their_reward, their_done, their_infos = theirs.step(actions)
        assert found.shape == expected.shape and found.dtype == expected.dtype == np.float32
        assert reward.shape == their_reward.shape and reward.dtype == their_reward.dtype
        assert done.dtype == their_done.dtype and done.tolist() == their_done.tolist()
        assert reward == pytest.approx(their_reward, abs=1e-4)
        assert found[~done] == pytest.approx(expected[~done], abs=1e-3)
        for number in np.flatnonzero(done):
            mine, other = infos[number], their_infos[number]
            assert mine["terminal_observation"] == pytest.approx(other["terminal_observation"], abs=1e-3)
            assert mine["TimeLimit.truncated"] is other["TimeLimit.truncated"]
            assert mine["episode"]["l"] == other["episode"]["l"]
            assert mine["episode"]["r"] == pytest.approx(other["episode"]["r"], abs=1e-2)
            assert np.abs(found[number] - mine["terminal_observation"]).max() > 1e-3, "the next episode has begun"
            ended.append((mine["TimeLimit.truncated"], mine["episode"]["l"]))
        for number in range(COPIES):
            follow(inner, number, found[number])
    limits = {truncated for truncated, _ in ended}
    assert limits == ({False} if name == "CartPole-v1" else {True}) and len(ended) >= COPIES
    ours.close()


def test_the_sparse_tasks_are_truncated_by_their_time_limit() -> None:
    pool = VecMonitor(EnvpoolVecEnv("CartpoleSwingupSparse-v1", 2, seed=1))
    assert pool.observation_space == spaces.Box(-np.inf, np.inf, (5,), np.float32)
    assert pool.reset().shape == (2, 5)
    ends: list[dict[str, Any]] = []
    for _ in range(1_000):
        _, _, done, infos = pool.step(np.zeros((2, 1), dtype=np.float32))
        ends += [info for info, over in zip(infos, done, strict=True) if over]
    assert [(end["TimeLimit.truncated"], end["episode"]["l"]) for end in ends] == [(True, 1_000)] * 2
    pool.close()


def test_parts_of_an_observation_become_one_vector_in_the_order_of_their_names() -> None:
    pool = EnvpoolVecEnv("BallInCupCatch-v1", 2, seed=1)
    (position, velocity) = (pool._pool.observation_space[name] for name in ("position", "velocity"))
    assert pool.observation_space.shape == (position.shape[0] + velocity.shape[0],)
    assert np.isfinite(pool.reset()).all()
    pool.close()


def test_a_seed_fixes_the_environments_and_copies_differ() -> None:
    first, same, other = (EnvpoolVecEnv("CartPole-v1", 2, seed=seed).reset() for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_what_is_not_there() -> None:
    with pytest.raises(UserError, match=r"^environment.name = envpool:Nothing-v1: "):
        EnvpoolVecEnv("Nothing-v1", 1, seed=0)
    with pytest.raises(
        UserError, match=r"^environment.name = envpool:FrozenLake-v1: its observations are numbers of st"
    ):
        EnvpoolVecEnv("FrozenLake-v1", 1, seed=0)
    pool = EnvpoolVecEnv("CartPole-v1", 2, seed=0)
    assert pool.get_attr("render_mode") == [None, None] and pool.env_is_wrapped(VecMonitor) == [False, False]
    for attempt in (lambda: pool.get_attr("model"), lambda: pool.set_attr("a", 1), lambda: pool.env_method("a")):
        with pytest.raises(AttributeError):
            attempt()
    pool.close()


def test_returns_are_counted_before_normalisation() -> None:
    settings = {"seed": 1, "environment": {"name": "envpool:CartPole-v1", "copies": 2}, "steps": 8, "algorithm": "ppo"}
    made = make_environments(ControlRecipe.model_validate(settings))
    made.reset()
    ends = []
    for _ in range(100):
        _, reward, _, infos = made.step(np.zeros(2, dtype=np.int64))
        assert np.abs(reward).max() <= 10.0
        ends += [info["episode"] for info in infos if "episode" in info]
    assert ends and all(end["r"] == end["l"] for end in ends), "CartPole's reward is 1 for each step"
    made.close()
