"""Group the finished cells of an experiment by method and setting, and pair them by seed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from r2vpo.compare.cells import Plan
from r2vpo.compare.runs import Run, read_run
from r2vpo.compare.schema import Experiment, Value
from r2vpo.compare.statistics import Array, median
from r2vpo.compare.store import Store
from r2vpo.compare.tuning import Choice, choices, finalists, waiting
from r2vpo.intervals import Interval

Group = tuple[str, Value | None]
"""A method's key and the value on the settings' axis; None without an axis."""


@dataclass(frozen=True)
class Results:
    """Results of an experiment so far.

    Attributes:
        experiment: the experiment.
        groups: finished runs by method and setting, by seed; methods and settings in the experiment's order.
        tuning: the tries of every method.
        failures: method, setting and seed of each cell whose last run failed, and why.
        finished: number of finished cells of the result.
        total: number of its cells.
    """

    experiment: Experiment
    groups: Mapping[Group, Mapping[int, Run]]
    tuning: tuple[Choice, ...]
    failures: tuple[tuple[str, str], ...]
    finished: int
    total: int

    @cached_property
    def methods(self) -> list[str]:
        """Return the methods with a finished run."""
        return list(dict.fromkeys(method for method, _ in self.groups))

    @cached_property
    def settings(self) -> list[Value | None]:
        """Return the axis values with a finished run, in the experiment's order; a single None without an axis."""
        present = {str(value) for _, value in self.groups}
        return [value for value in self.experiment.values if str(value) in present]

    @cached_property
    def runs(self) -> list[Run]:
        """Return every finished run."""
        return [run for group in self.groups.values() for run in group.values()]

    @cached_property
    def difficulties(self) -> list[str]:
        """Return the labels of the difficulties, ordered from easiest to hardest before training."""
        first: dict[str, list[float]] = {}
        for run in self.runs:
            for name, values in run.by_difficulty.items():
                first.setdefault(name, []).append(float(values[0]))
        return sorted(first, key=lambda name: (-np.mean(first[name]), name))

    @property
    def hardest(self) -> str | None:
        """Return the difficulty solved least before training, if there are several."""
        return self.difficulties[-1] if len(self.difficulties) > 1 else None

    def group(self, method: str, setting: Value | None) -> list[Run]:
        """Return the runs of a method at a setting, in order of seed."""
        runs = self.groups.get((method, setting), {})
        return [runs[seed] for seed in sorted(runs)]

    def paired(self, ours: Group, theirs: Group, measure: Callable[[Run], float]) -> tuple[Array, Array]:
        """Return a measure of two groups at their common seeds, in the same order."""
        one, other = self.groups.get(ours, {}), self.groups.get(theirs, {})
        seeds = sorted(set(one) & set(other))
        return np.array([measure(one[s]) for s in seeds]), np.array([measure(other[s]) for s in seeds])


def load_results(plan: Plan, store: Store) -> Results:
    """Read the finished cells.

    Args:
        plan: the experiment's cells.
        store: their records.
    """
    found = choices(plan, store)
    cells = plan.results(finalists(plan, found))
    groups: dict[Group, dict[int, Run]] = {
        (method, value): {} for value in plan.experiment.values for method in plan.methods
    }
    for record in store.records(cells):
        run = read_run(record, plan.experiment.accuracy_on, plan.experiment.over)
        groups[run.method, run.setting][run.seed] = run
    every = [*plan.tuning(), *cells]
    return Results(
        experiment=plan.experiment,
        groups={key: runs for key, runs in groups.items() if runs},
        tuning=tuple(found),
        failures=tuple((f"{cell.kind}: {cell}", why) for cell in every if (why := store.failure(cell)) is not None),
        finished=sum(len(runs) for runs in groups.values()),
        total=len(cells) + waiting(plan, found) * len(plan.experiment.values) * len(plan.seeds),
    )


def median_of(runs: Iterable[Run], measure: Callable[[Run], float]) -> Interval:
    """Return the median of a measure over runs, with its 95 % interval."""
    return median(np.array([measure(run) for run in runs]))
