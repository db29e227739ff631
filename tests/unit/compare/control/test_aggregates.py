"""The interquartile mean, its intervals, and the profile of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from r2vpo.compare.control import aggregates
from r2vpo.compare.control.aggregates import (
    FEWEST_RUNS,
    difference,
    improvement,
    interquartile_mean,
    profile,
    summary,
)


def middle(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    return float(interquartile_mean(np.array(values), np.ones(len(values)) if weights is None else np.array(weights)))


def test_the_mean_of_the_middle_half() -> None:
    assert middle([100.0, 1.0, 2.0, -100.0]) == 1.5
    assert middle([0.0, 1.0, 2.0, 3.0, 100.0]) == pytest.approx((0.75 + 2.0 + 2.25) / 2.5)
    assert middle([7.0]) == 7.0 and middle([1.0, 3.0]) == 2.0
    values = np.random.default_rng(0).normal(size=40)
    assert middle(list(values)) == pytest.approx(np.sort(values)[10:30].mean()), "as rliable's, scipy's trim_mean"


def test_weights_count_a_value_as_often() -> None:
    assert middle([1.0, 5.0, 2.0], [2.0, 1.0, 1.0]) == pytest.approx(middle([1.0, 1.0, 5.0, 2.0]))
    rows = np.array([[3.0, 1.0, 2.0, 9.0], [0.0, 0.0, 4.0, 8.0]])
    assert interquartile_mean(rows, np.ones(4)).tolist() == [2.5, 2.0]


def test_every_task_has_the_same_weight() -> None:
    many = {"a": dict.fromkeys(range(30), 0.0), "b": dict.fromkeys(range(5), 1.0)}
    assert summary(many).value == pytest.approx(0.5)


def scores(generator: np.random.Generator, shift: float, tasks: int, seeds: int = 5) -> dict[str, dict[int, float]]:
    """Tasks with means and spreads that differ; the middle of all scores moves with the shift."""
    return {
        f"task {number}": {
            seed: float(value)
            for seed, value in enumerate(shift + 0.05 * number + (0.05 + 0.01 * number) * generator.normal(size=seeds))
        }
        for number in range(tasks)
    }


@pytest.mark.parametrize(("tasks", "least"), [(10, 0.92), (3, 0.87)])
def test_the_intervals_cover(tasks: int, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often each interval contains the true value, with five seeds of each task."""
    monkeypatch.setattr(aggregates, "DRAWS", 400)
    truth = summary(scores(np.random.default_rng(1), 0.0, tasks, seeds=2_000)).value
    generator, repetitions = np.random.default_rng(2), 300
    covered = apart = 0
    for _ in range(repetitions):
        ours, theirs = scores(generator, 0.1, tasks), scores(generator, 0.0, tasks)
        whole, gap = summary(theirs), difference(ours, theirs)
        assert whole.low is not None and whole.high is not None
        assert gap is not None and gap.low is not None and gap.high is not None
        covered += whole.low <= truth <= whole.high
        apart += gap.low <= 0.1 <= gap.high
    assert covered >= least * repetitions and apart >= least * repetitions


def test_few_runs_have_no_interval() -> None:
    few = {"a": dict.fromkeys(range(FEWEST_RUNS - 1), 0.5)}
    assert summary(few).low is None and summary(few).value == 0.5
    enough = {"a": dict.fromkeys(range(FEWEST_RUNS), 0.5)}
    assert summary(enough).low == 0.5
    assert summary(enough | {"b": dict.fromkeys(range(4), 0.5)}).low is None, "four seeds of a task are too few"
    assert difference(few, {}) is None


def test_only_shared_seeds_are_compared() -> None:
    ours = {"a": {1: 1.0, 2: 2.0}, "b": {1: 9.0}}
    found = difference(ours, {"a": {2: 0.5, 3: 7.0}})
    assert found is not None and found.value == 1.5


def test_improvement_and_profile() -> None:
    ours, theirs = {"a": {1: 1.0, 2: 0.0}, "b": {1: 1.0}}, {"a": {1: 0.5, 2: 0.0}, "b": {1: 2.0}}
    assert improvement(ours, theirs) == pytest.approx((0.625 + 0.0) / 2)
    assert profile(ours, np.array([-0.5, 0.5, 1.5])).tolist() == [1.0, 0.75, 0.0]
