"""Summaries over tasks: the interquartile mean of scores, with intervals by a stratified bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from r2vpo.compare.statistics import FEWEST_SEEDS, Array
from r2vpo.intervals import Interval

Scores = Mapping[str, Mapping[int, float]]
"""Scores by task and seed."""

DRAWS = 2_000
"""Draws of the bootstrap."""
FEWEST_RUNS = 15
"""With fewer runs over all tasks, or fewer seeds of one than elsewhere, an interval is too narrow and none is given."""


def interquartile_mean(values: Array, weights: Array) -> Array:
    """Return the mean of the middle half; values are counted in parts, so that a quarter is left out on each side.

    Args:
        values: (..., n); the mean is over the last axis.
        weights: (n,), above 0. With equal ones it is scipy's `trim_mean(values, 0.25)` where 4 divides n.

    Returns:
        (...).

    Source: Agarwal et al. (2021), arXiv:2108.13264, section 4.3. Theirs has the same number of runs on each task.
    """
    order = np.argsort(values, axis=-1)
    upper = np.cumsum((weights / weights.sum())[order], axis=-1)
    lower = np.concatenate([np.zeros_like(upper[..., :1]), upper[..., :-1]], axis=-1)
    counted = np.clip(np.minimum(upper, 0.75) - np.maximum(lower, 0.25), 0.0, None)
    ordered = np.take_along_axis(np.asarray(values, dtype=np.float64), order, axis=-1)
    return np.asarray((ordered * counted).sum(-1) / counted.sum(-1))


def summary(scores: Scores) -> Interval:
    """Return the interquartile mean over tasks and seeds, every task with the same weight, with its 95 % interval.

    The bootstrap draws seeds of each task with replacement, one fewer than there are: as many as there are would make
    its variance too small by the factor (n - 1) / n, which is a fifth with five seeds. Tasks are not drawn, since they
    are not a sample. In simulations with 3 to 13 tasks and five seeds, normal, skewed and of two levels, the intervals
    had the true value in 89 to 95 % of cases (84 to 93 % when all were drawn, as rliable does).

    Source of the draws: Rao and Wu (1988), "Resampling inference with complex survey data".

    Raises:
        ValueError: there is no score.
    """
    return _bootstrap([np.array(list(values.values()))[:, None] for values in scores.values()])


def difference(ours: Scores, theirs: Scores) -> Interval | None:
    """Return the difference of the interquartile means on the tasks and seeds that both have; None if there are none.

    The same seeds are drawn for both.
    """
    pairs = []
    for task in ours:
        shared = sorted(set(ours[task]) & set(theirs.get(task, {})))
        if shared:
            pairs.append(np.array([[ours[task][seed], theirs[task][seed]] for seed in shared]))
    return _bootstrap(pairs) if pairs else None


def _bootstrap(tasks: Sequence[Array]) -> Interval:
    """Return the interquartile mean with its interval, or the difference of two.

    Args:
        tasks: (seeds, 1) scores of each task, or (seeds, 2) of two methods.
    """

    def measure(drawn: Sequence[Array]) -> Array:
        weights = np.concatenate([np.full(task.shape[-2], 1 / task.shape[-2]) for task in drawn])
        whole = np.concatenate(drawn, axis=-2)
        middles = [interquartile_mean(whole[..., column], weights) for column in range(whole.shape[-1])]
        return middles[0] - middles[1] if len(middles) == 2 else middles[0]

    value, runs = float(measure(tasks)), sum(map(len, tasks))
    if runs < FEWEST_RUNS or min(map(len, tasks)) < FEWEST_SEEDS:
        return Interval(value, None, None, runs)
    generator = np.random.default_rng(0)
    drawn = measure([task[generator.integers(len(task), size=(DRAWS, len(task) - 1))] for task in tasks])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high), runs)


def improvement(ours: Scores, theirs: Scores) -> float | None:
    """Return the probability that a run of ours has a higher score than one of theirs, as a mean over tasks.

    None if they have no task in common.

    Source: Agarwal et al. (2021), section 4.3; the Mann-Whitney statistic of each task.
    """
    found = []
    for task in ours:
        if task in theirs:
            x = np.array(list(ours[task].values()))[:, None]
            y = np.array(list(theirs[task].values()))[None, :]
            found.append(float(((x > y) + 0.5 * (x == y)).mean()))
    return float(np.mean(found)) if found else None


def profile(scores: Scores, levels: Array) -> Array:
    """Return the share of runs whose score is above each level, every task with the same weight.

    Source: Agarwal et al. (2021), section 4.2.
    """
    tasks = [np.array(list(values.values())) for values in scores.values()]
    return np.asarray(np.mean([(task[:, None] > levels[None, :]).mean(0) for task in tasks], axis=0))
