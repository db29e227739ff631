"""The interquartile mean, its intervals, and the profile of scores."""

from __future__ import annotations

import numpy as np
import pytest

from r2vpo.compare.control.aggregates import (
    FEWEST_RUNS,
    difference,
    improvement,
    interquartile_mean,
    profile,
    summary,
)


def test_the_mean_of_the_middle_half() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, -100.0])) == 1.5
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 100.0])) == pytest.approx((0.75 + 2.0 + 2.25) / 2.5)
    assert interquartile_mean(np.array([7.0])) == 7.0
    values = np.random.default_rng(0).normal(size=40)
    assert interquartile_mean(values) == pytest.approx(np.sort(values)[10:30].mean())


def scores(generator: np.random.Generator, shift: float, seeds: int = 5) -> dict[str, dict[int, float]]:
    """Ten tasks with means and spreads that differ; the middle of all scores moves with the shift."""
    return {
        f"task {number}": {
            seed: float(value)
            for seed, value in enumerate(shift + 0.05 * number + (0.05 + 0.01 * number) * generator.normal(size=seeds))
        }
        for number in range(10)
    }


def test_the_intervals_cover() -> None:
    """Of 300 comparisons at least 89 % have the true value in each interval; the bootstrap's own promise is 95 %."""
    truth = float(np.mean([interquartile_mean(np.concatenate([list(task.values()) for task in
        scores(np.random.default_rng(1), 0.0, seeds=4_000).values()]))]))  # fmt: skip
    generator = np.random.default_rng(2)
    covered = apart = 0
    for _ in range(300):
        ours, theirs = scores(generator, 0.1), scores(generator, 0.0)
        whole, gap = summary(theirs), difference(ours, theirs)
        assert whole.low is not None and whole.high is not None
        assert gap is not None and gap.low is not None and gap.high is not None
        covered += whole.low <= truth <= whole.high
        apart += gap.low <= 0.1 <= gap.high
    assert covered >= 267 and apart >= 267


def test_few_runs_have_no_interval() -> None:
    few = {"a": dict.fromkeys(range(FEWEST_RUNS - 1), 0.5)}
    assert summary(few).low is None and summary(few).value == 0.5
    assert difference(few, {}) is None


def test_only_shared_seeds_are_compared() -> None:
    ours = {"a": {1: 1.0, 2: 2.0}, "b": {1: 9.0}}
    found = difference(ours, {"a": {2: 0.5, 3: 7.0}})
    assert found is not None and found.value == 1.5


def test_improvement_and_profile() -> None:
    ours, theirs = {"a": {1: 1.0, 2: 0.0}, "b": {1: 1.0}}, {"a": {1: 0.5, 2: 0.0}, "b": {1: 2.0}}
    assert improvement(ours, theirs) == pytest.approx((0.625 + 0.0) / 2)
    assert profile(ours, np.array([-0.5, 0.5, 1.5])).tolist() == [1.0, 0.75, 0.0]
