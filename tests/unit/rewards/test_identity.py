"""Versions of rewards differ when their scores may."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from r2vpo.rewards import load_reward
from r2vpo.rewards.identity import describe_reward, reward_version
from tests.tiny import tiny_model


def right(completions: list[str], **columns: Any) -> list[float]:
    return [float(text == "1") for text in completions]


def other(completions: list[str], **columns: Any) -> list[float]:
    return [float(text == "2") for text in completions]


class Scorer:
    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [0.0] * len(completions)


def version(*functions: Any, weights: tuple[float, ...] | None = None) -> str:
    return reward_version(functions, ["reward"] * len(functions), weights or (1.0,) * len(functions))


def test_the_same_reward_has_one_version() -> None:
    for make in (
        lambda: right,
        Scorer,
        lambda: load_reward("math"),
        lambda: load_reward({"name": "length", "max_tokens": 40, "cache_tokens": 9}),
        lambda: load_reward(f"{__name__}:right"),
    ):
        assert version(make()) == version(make())
    assert version(right) == version(load_reward(f"{__name__}:right"))


def test_other_rewards_have_others() -> None:
    found = [
        version(right),
        version(other),
        version(Scorer()),
        version(load_reward("math")),
        version(load_reward("numeric")),
        version(load_reward({"name": "length", "max_tokens": 40, "cache_tokens": 9})),
        version(load_reward({"name": "length", "max_tokens": 50, "cache_tokens": 9})),
        version(right, right),
        version(right, weights=(0.5,)),
        version(tiny_model()),
        reward_version([right], ["another name"], [1.0]),
    ]
    assert len(set(found)) == len(found) and all(len(one) == 32 for one in found)


def longer_than(limit: int) -> Any:
    def longer(completions: list[str], **columns: Any) -> list[float]:
        return [float(len(text) > limit) for text in completions]

    return longer


class Longer:
    def __init__(self, limit: int) -> None:
        self.limit, self.known = limit, dict[str, float]()

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [float(len(text) > self.limit) for text in completions]

    def method(self, completions: list[str], **columns: Any) -> list[float]:
        return self(completions)


def limited(completions: list[str], limit: int, **columns: Any) -> list[float]:
    return longer_than(limit)(completions)


@pytest.mark.parametrize(
    "make",
    [
        longer_than,
        Longer,
        lambda limit: Longer(limit).method,
        lambda limit: functools.partial(limited, limit=limit),
        lambda limit: functools.partial(longer_than(limit)),
    ],
)
def test_the_same_source_with_other_values_is_another_reward(make: Any) -> None:
    assert version(make(3)) == version(make(3)) != version(make(0))


def test_a_function_that_refers_to_itself_has_a_version() -> None:
    def again(completions: list[str], **columns: Any) -> list[float]:
        return again(completions[1:]) if completions else []

    assert version(again) != version(right)


def test_a_cache_makes_no_difference() -> None:
    used = Longer(3)
    used.known["a"] = 1.0
    assert version(used) == version(Longer(3))


def test_it_is_described_in_words() -> None:
    assert describe_reward(["math"], [1.0]) == "math"
    assert describe_reward(["math", "format"], [1.0, 0.1]) == "math + 0.1 format"
