"""Summaries over tasks: the interquartile mean of scores, with intervals by a stratified bootstrap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from r2vpo.compare.statistics import Array
from r2vpo.intervals import Interval

Scores = Mapping[str, Mapping[int, float]]
"""Scores by task and seed."""

DRAWS = 2_000
"""Draws of the bootstrap."""
FEWEST_RUNS = 15
"""With fewer runs over all tasks the bootstrap's interval is too narrow, and none is given."""


def interquartile_mean(values: Array) -> float:
    """Return the mean of the middle half, `n / 4` of the values, counted in parts, being left out on each side.

    Args:
        values: (..., n); the mean is over the last axis.

    Source: Agarwal et al. (2021), arXiv:2108.13264, section 4.3.
    """
    return _middle(np.asarray(values, dtype=np.float64))


def _middle(values: Array) -> float:
    return float(_middles(values[None, :])[0])


def _middles(values: Array) -> Array:
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    edges = np.clip(np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) - n / 4, 0, 1)
    if not edges.any():
        edges = np.ones(n)
    return np.asarray((ordered * edges).sum(-1) / edges.sum())


def summary(scores: Scores) -> Interval:
    """Return the interquartile mean over tasks and seeds, with its 95 % interval.

    The bootstrap draws the seeds of each task with replacement; tasks are not drawn, since they are not a sample.

    Raises:
        ValueError: there is no score.
    """
    tasks = [np.array(list(values.values())) for values in scores.values()]
    values = np.concatenate(tasks)
    generator = np.random.default_rng(0)
    drawn = [task[generator.integers(len(task), size=(DRAWS, len(task)))] for task in tasks]
    return _interval(interquartile_mean(values), _middles(np.concatenate(drawn, axis=1)), len(values))


def difference(ours: Scores, theirs: Scores) -> Interval | None:
    """Return the difference of the interquartile means on the tasks and seeds that both have; None if there are none.

    The same seeds are drawn for both.
    """
    pairs = []
    for task in ours:
        shared = sorted(set(ours[task]) & set(theirs.get(task, {})))
        if shared:
            pairs.append(np.array([[ours[task][seed], theirs[task][seed]] for seed in shared]))
    if not pairs:
        return None
    generator = np.random.default_rng(0)
    drawn = [pair[generator.integers(len(pair), size=(DRAWS, len(pair)))] for pair in pairs]
    both = np.concatenate(drawn, axis=1)
    whole = np.concatenate(pairs)
    value = interquartile_mean(whole[:, 0]) - interquartile_mean(whole[:, 1])
    return _interval(value, _middles(both[..., 0]) - _middles(both[..., 1]), len(whole))


def improvement(ours: Scores, theirs: Scores) -> float:
    """Return the probability that a run of ours has a higher score than one of theirs, as a mean over tasks.

    Source: Agarwal et al. (2021), section 4.3; the Mann-Whitney statistic of each task.
    """
    found = []
    for task in ours:
        if task in theirs:
            x = np.array(list(ours[task].values()))[:, None]
            y = np.array(list(theirs[task].values()))[None, :]
            found.append(float(((x > y) + 0.5 * (x == y)).mean()))
    return float(np.mean(found)) if found else float("nan")


def profile(scores: Scores, levels: Array) -> Array:
    """Return the share of runs whose score is above each level, every task with the same weight.

    Source: Agarwal et al. (2021), section 4.2.
    """
    tasks = [np.array(list(values.values())) for values in scores.values()]
    return np.asarray(np.mean([(task[:, None] > levels[None, :]).mean(0) for task in tasks], axis=0))


def _interval(value: float, drawn: Array, runs: int) -> Interval:
    if runs < FEWEST_RUNS:
        return Interval(value, None, None, runs)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high), runs)
