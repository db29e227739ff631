"""Regret over tasks: how far a method's area is below that of the best tuned method of a task, in points.

The best tuned method of a task is the one with the largest mean area over the seeds of the result itself. It is thus
chosen in hindsight, which favours it: with many tuned methods, even a method as good as all of them has some regret.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from r2vpo.compare.analysis import Results
from r2vpo.compare.statistics import Array, median
from r2vpo.intervals import Interval


@dataclass(frozen=True)
class Regret:
    """One method on one task.

    Attributes:
        points: (n,), area of the best tuned method minus the method's own, in points, seed by seed.
        area: mean of the method's own area over those seeds.
        collapsed: number of the method's runs that collapsed.
        runs: number of seeds that both have.
    """

    points: Array
    area: float
    collapsed: int
    runs: int

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(self.points.mean())

    @property
    def median(self) -> Interval:
        """Return the median over seeds with its 95 % interval."""
        return median(self.points)


@dataclass(frozen=True)
class TaskRegrets:
    """Regrets of all methods on one task.

    Attributes:
        best: key of the best tuned method; None while no tuned method is finished.
        best_area: its mean area.
        compared: number of tuned methods among which it is the best: those with the most seeds.
        tuned: number of tuned methods of the task.
        by_method: regrets of the methods that have seeds in common with it.
    """

    best: str | None
    best_area: float
    compared: int
    tuned: int
    by_method: Mapping[str, Regret]


def task_regrets(results: Results) -> TaskRegrets:
    """Compute the regrets on one task from its finished cells.

    Args:
        results: results of the task.
    """
    groups = {method: results.groups[method, None] for method in results.methods}
    areas = {method: {seed: run.area() for seed, run in runs.items()} for method, runs in groups.items()}
    every = [name for name in results.experiment.methods if results.experiment.tune(name) is not None]
    # Means over fewer seeds are not compared with means over more.
    most = max((len(areas[name]) for name in every if name in areas), default=0)
    compared = [name for name in every if name in areas and len(areas[name]) == most]
    if not compared:
        return TaskRegrets(None, float("nan"), 0, len(every), {})
    best = max(compared, key=lambda name: _mean(areas[name]))
    found = {}
    for method, own in areas.items():
        seeds = sorted(set(own) & set(areas[best]))
        if seeds:
            difference = np.array([100 * (areas[best][seed] - own[seed]) for seed in seeds])
            area = float(np.mean([own[seed] for seed in seeds]))
            lost = sum(run.collapsed for run in groups[method].values())
            found[method] = Regret(difference, area, lost, len(seeds))
    return TaskRegrets(best, _mean(areas[best]), len(compared), len(every), found)


def over_tasks(tasks: Mapping[str, TaskRegrets], method: str) -> float | None:
    """Return the mean over tasks of a method's median regret; None unless it ran on every task with a best method."""
    found = [regrets.by_method.get(method) for regrets in tasks.values() if regrets.best is not None]
    if not found or any(regret is None for regret in found):
        return None
    return float(np.mean([regret.median.value for regret in found if regret is not None]))


def _mean(areas: Mapping[int, float]) -> float:
    return float(np.mean(list(areas.values())))
