"""The finished cells of a comparison on control tasks, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from r2vpo.compare.control.cells import ControlCell, ControlPlan
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.statistics import Array, time_to_target
from r2vpo.compare.store import Store
from r2vpo.config.numbers import count
from r2vpo.config.records import Record

LAST = 0.1
"""The share of a run's steps whose mean return is its result."""


@dataclass(frozen=True)
class ControlRun:
    """One finished cell.

    Attributes:
        steps: (points,), steps of all environments.
        returns: (points,), mean return of the episodes that ended up to each point since the one before.
        budget: steps of the run.
        diverged: whether its weights became non-finite, after the last point.
        record: the complete record.
    """

    steps: Array
    returns: Array
    budget: int
    diverged: bool
    record: Record

    @classmethod
    def read(cls, record: Record) -> ControlRun:
        """Read a record."""
        made = record["curve"]
        return cls(
            np.array(made["steps"], dtype=np.float64),
            np.array(made["return"], dtype=np.float64),
            int(record["recipe"]["steps"]),
            bool(record["diverged"]),
            record,
        )

    def final(self) -> float:
        """Return the mean return over the last tenth of the steps; minus infinity for a run that diverged."""
        if self.diverged:
            return -np.inf
        late = self.steps > round((1 - LAST) * self.budget)  # the ends of a curve's parts are rounded too
        return float(self.returns[late].mean()) if late.any() else float(self.returns[-1])

    def best(self) -> float:
        """Return the highest point of the curve; minus infinity if there is none."""
        return float(self.returns.max(initial=-np.inf))

    def time_to(self, target: float) -> float:
        """Return the steps to a return; infinite if it was never measured."""
        return time_to_target(self.steps, self.returns, target) if len(self.returns) else float("inf")


Groups = dict[tuple[str, str, float], dict[int, ControlRun]]
"""Runs by seed, of each task, method and factor of the learning rate."""


@dataclass(frozen=True)
class ControlResults:
    """What is finished.

    Attributes:
        experiment: the experiment.
        tasks: keys of the tasks that have runs.
        methods: keys of the methods that have runs.
        groups: the runs by seed, of each task, method and factor of the learning rate.
        failures: cells that failed or measured nothing, and why.
        total: how many cells there are.
    """

    experiment: ControlExperiment
    tasks: list[str]
    methods: list[str]
    groups: Groups
    failures: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0

    @classmethod
    def of(cls, experiment: ControlExperiment, groups: Groups, **others: Any) -> ControlResults:
        """Return what some runs are, of the tasks and methods that have one, in the experiment's order."""
        tasks, methods = ([key[place] for key in groups] for place in (0, 1))
        return cls(
            experiment,
            [task for task in experiment.tasks if task in tasks],
            [method for method in experiment.methods if method in methods],
            groups,
            **others,
        )

    @cached_property
    def runs(self) -> list[ControlRun]:
        """Every run."""
        return [run for group in self.groups.values() for run in group.values()]

    def group(self, task: str, method: str, rate: float = 1.0) -> dict[int, ControlRun]:
        """Return the runs of a task, method and factor, by seed."""
        return self.groups.get((task, method, rate), {})

    @cached_property
    def floors(self) -> dict[str, float]:
        """The return of each task before anything is learned: the mean of the first points of all its runs."""
        found = {}
        for task in self.tasks:
            runs = [run for (of, _, _), group in self.groups.items() if of == task for run in group.values()]
            first = [run.returns[0] for run in runs if len(run.returns)]
            found[task] = float(np.mean(first)) if first else 0.0
        return found

    @cached_property
    def ceilings(self) -> dict[str, float]:
        """The highest mean of final returns that a method has on each task, at its own learning rate."""
        found = {}
        for task in self.tasks:
            means = [
                float(np.mean([max(run.final(), self.floors[task]) for run in group.values()]))
                for method in self.methods
                if (group := self.group(task, method))
            ]
            found[task] = max(means, default=self.floors[task])
        return found

    def score(self, task: str, value: float) -> float:
        """Return a return as a share of the way from the floor to the ceiling of its task; at least -1.

        A run that diverged has learned nothing: its score is 0.
        """
        if not np.isfinite(value):
            return 0.0
        way = self.ceilings[task] - self.floors[task]
        return max((value - self.floors[task]) / way, -1.0) if way > 0 else 0.0

    def scores(self, method: str, rate: float = 1.0, *, kind: str | None = None) -> dict[str, dict[int, float]]:
        """Return the final scores of a method by task and seed, on all tasks or those of a kind."""
        return {
            task: {seed: self.score(task, run.final()) for seed, run in group.items()}
            for task in self.tasks
            if (kind is None or self.experiment.tasks[task].kind == kind) and (group := self.group(task, method, rate))
        }

    def collapsed(self, task: str, run: ControlRun) -> bool:
        """Return whether a run ended at less than half of the score that it had, or diverged."""
        return run.diverged or self.score(task, run.final()) < self.score(task, run.best()) / 2


def load(plan: ControlPlan, store: Store) -> ControlResults:
    """Read the finished cells."""
    cells = plan.cells()
    of = {cell.key: cell for cell in cells}
    groups: Groups = {}
    failures = [(str(cell), why) for cell in of.values() if (why := store.failure(cell)) is not None]
    for cell, record in _finished(cells, store):
        run = ControlRun.read(record)
        if run.diverged or len(run.returns):
            groups.setdefault((cell.task_name, cell.method, cell.rate), {})[cell.seed] = run
        else:
            failures.append((str(cell), f"no episode ended within its {count(cell.steps)} steps"))
    return ControlResults.of(plan.experiment, groups, failures=failures, total=len(cells))


def _finished(cells: list[ControlCell], store: Store) -> list[tuple[ControlCell, Record]]:
    return [(cell, record) for cell in cells if (record := store.finished(cell)) is not None]
