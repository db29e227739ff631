"""Build the tables of a comparison, as texts for both the page and the Markdown."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import numpy as np

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Group, Results, median_of
from r2vpo.compare.runs import Run
from r2vpo.compare.schema import label
from r2vpo.compare.statistics import FEWEST_SEEDS
from r2vpo.config.numbers import NOTHING, count, duration
from r2vpo.intervals import Interval

T = TypeVar("T")
Column = tuple[str, Callable[[T], str]]
"""A column's heading, and its text in the row of something."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: its heading.
        note: explanation of its content.
        columns: headings; the first is that of the rows' names.
        rows: rows of cells as texts, one per column.
    """

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def of(cls, title: str, note: str, columns: Sequence[Column[T]], rows: Iterable[T]) -> Self:
        """Build a table from the function of each column and what each row is about."""
        return cls(title, note, [name for name, _ in columns], [[cell(row) for _, cell in columns] for row in rows])


def tables(results: Results) -> list[Table]:
    """Return all tables that the finished cells allow."""
    made: list[Table] = []
    if results.runs:
        made.append(result_table(results))
        made += [baseline_table(results, name) for name in results.experiment.baseline if len(results.methods) > 1]
    if len(results.settings) > 1:
        made.append(axis_table(results))
    if results.tuning:
        made.append(tuning_table(results))
    return made + failed_cells(results.failures)


def failed_cells(failures: Sequence[tuple[str, str]]) -> list[Table]:
    """Return the table of cells that failed and why; none without any."""
    rows = [list(failure) for failure in failures]
    return [Table("Failed cells", "The next call runs these cells again.", ["cell", "reason"], rows)] if rows else []


def result_table(results: Results) -> Table:
    """Return the table of every method by itself."""
    target, hardest, unit = results.experiment.target_of_runs, results.hardest, results.experiment.unit

    def medians(measure: Callable[[Run], float]) -> Callable[[Group], str]:
        return lambda group: percent(median_of(results.group(*group), measure))

    def share(holds: Callable[[Run], bool]) -> Callable[[Group], str]:
        return lambda group: f"{sum(map(holds, results.group(*group)))} of {len(results.group(*group))}"

    columns: list[Column[Group]] = [*_names(results), ("seeds", lambda group: str(len(results.group(*group))))]
    if results.tuning:
        chosen = {choice.method: f"{choice.value:g}" for choice in results.tuning if choice.value is not None}
        columns.append(("tuned to", lambda group: chosen.get(group[0], NOTHING)))
    columns.append(("final accuracy, %", medians(Run.final)))
    if hardest:
        columns.append((f"on {hardest}, %", medians(partial(Run.final, difficulty=hardest))))
    columns.append(("area, %", medians(Run.area)))
    if target:
        time = partial(Run.time_to, target=target)
        columns += [
            (f"{unit} to {100 * target:g} %", lambda group: to_target(results.group(*group), time)),
            ("reached", share(lambda run: math.isfinite(time(run)))),
        ]
    if results.experiment.preferences:
        columns += _against_the_start(results)
    columns += [
        ("collapsed", share(lambda run: run.collapsed)),
        ("time per run", lambda group: duration(float(np.median([r.wall_seconds for r in results.group(*group)])))),
    ]
    note = (
        f"Medians over seeds. {intervals_of(results)} Area: mean accuracy over all {unit} of a run. Collapsed: "
        "the run ended at less than half of its best accuracy, or with weights that are not finite."
    )
    if target:
        note += " A run that never reached the target counts as above the budget."
    if results.experiment.preferences:
        note += (
            " Win rate: share of the held-out problems on which the trained model's answer is better than that of the "
            "model that it started from, ties counted half. Chosen answers: change of their log-probability. KL: "
            "divergence from the start, estimated on the trained model's answers. Both are in nats per token."
        )
    return Table.of("Result", note, columns, _groups(results))


def _against_the_start(results: Results) -> list[Column[Group]]:
    def measured(name: str, write: Callable[[float], str]) -> Callable[[Group], str]:
        measure = partial(Run.preference, measure=name)
        return lambda group: with_interval(median_of(results.group(*group), measure), write)

    return [
        ("win rate over the start, %", measured("win_rate", lambda x: f"{100 * x:.1f}")),
        ("chosen answers, nats", measured("displacement", lambda x: _nats(x, "+"))),
        ("KL to the start, nats", measured("kl", _nats)),
    ]


def baseline_table(results: Results, baseline: str) -> Table:
    """Return the table of every other method against one, paired by seed."""
    target, hardest, unit = results.experiment.target_of_runs, results.hardest, results.experiment.unit
    pairs = _Pairs(results, lambda group: (baseline, group[1]))
    columns = [*_names(results), pairs.seeds, ("final accuracy, points", pairs.difference(Run.final))]
    if hardest:
        columns.append((f"on {hardest}, points", pairs.difference(partial(Run.final, difficulty=hardest))))
    columns.append(("area, points", pairs.difference(Run.area)))
    if target:
        time = partial(Run.time_to, target=target)
        columns.append((f"ratio of {unit}", lambda group: ratio(statistics.paired_ratio(*pairs.of(group, time)))))
    columns += [("P(better area)", pairs.probability), ("seeds won", pairs.won)]
    note = (
        f"Medians of the differences, paired by seed. {intervals_of(results)} P(better area): the probability that a "
        "run of the method has a larger area than a run of the baseline."
    )
    if target:
        note += (
            f" Ratio of {unit}: median of the ratios of the {unit} to the target, paired by seed; below 1 is "
            "better, and ? means that neither method reached the target at half of the seeds or more."
        )
    return Table.of(f"Against {results.experiment.title(baseline)}", note, columns, pairs.groups())


def axis_table(results: Results) -> Table:
    """Return the table of every method against itself at the axis' first value, paired by seed."""
    assert results.experiment.settings is not None
    name, first = results.experiment.settings.name, results.settings[0]
    pairs = _Pairs(results, lambda group: (group[0], first))
    columns = [
        *_names(results),
        pairs.seeds,
        ("final accuracy, points", pairs.difference(Run.final)),
        ("area, points", pairs.difference(Run.area)),
    ]
    note = f"Each method compared with itself: medians of the differences, paired by seed. {intervals_of(results)}"
    return Table.of(f"Against {name} {label(first)}", note, columns, pairs.groups())


def tuning_table(results: Results) -> Table:
    """Return the table of every try of every method."""
    spec = results.experiment.tuning
    assert spec is not None
    columns = ["method", "tuned key", *(f"try {number + 1}" for number in range(len(spec.values))), "chosen", ""]
    rows = []
    for choice in results.tuning:
        cells = [
            f"{item.value:g}: {NOTHING if item.score is None else f'{100 * item.score:.1f}'}" for item in choice.tries
        ]
        chosen = NOTHING if choice.value is None else f"{choice.value:g}"
        tune = results.experiment.tune(choice.method)
        assert tune is not None, "a method that runs as it is has no tries"
        edge = "at the edge of the grid" if choice.at_edge else ""
        rows.append([results.experiment.title(choice.method), tune.key, *cells, chosen, edge])
    seeds = ", ".join(map(str, spec.seeds))
    note = (
        f"Mean area under the accuracy curve in %, over {'seed' if len(spec.seeds) == 1 else 'seeds'} {seeds}, which "
        f"the result does not use; every tuned method has {len(spec.values)} tries."
    )
    return Table("Tuning", note, columns, rows)


@dataclass(frozen=True)
class _Pairs:
    """Columns of methods and settings that are each compared with another one, paired by seed.

    Attributes:
        results: the finished cells.
        reference: returns what a method at a setting is compared with.
    """

    results: Results
    reference: Callable[[Group], Group]

    def groups(self) -> Iterator[Group]:
        """Yield those that have seeds in common with what they are compared with, which is not themselves."""
        for group in _groups(self.results):
            if group != self.reference(group) and len(self.of(group, Run.area)[0]):
                yield group

    def of(self, group: Group, measure: Callable[[Run], float]) -> tuple[statistics.Array, statistics.Array]:
        """Return a measure of both at their common seeds."""
        return self.results.paired(group, self.reference(group), measure)

    @property
    def seeds(self) -> Column[Group]:
        return "seeds", lambda group: str(len(self.of(group, Run.area)[0]))

    def difference(self, measure: Callable[[Run], float]) -> Callable[[Group], str]:
        return lambda group: points(statistics.paired_difference(*self.of(group, measure)))

    def probability(self, group: Group) -> str:
        return f"{statistics.probability_of_improvement(*self.of(group, Run.area)):.2f}"

    def won(self, group: Group) -> str:
        areas = self.of(group, Run.area)
        return f"{statistics.share_of_wins(*areas) * len(areas[0]):g} of {len(areas[0])}"


def percent(estimate: Interval) -> str:
    """Format a share as ``96.2 (95.0 to 97.1)``."""
    return with_interval(estimate, lambda x: f"{100 * x:.1f}")


def points(estimate: Interval) -> str:
    """Format a difference of shares as ``+1.2 (-0.3 to +2.5)``."""
    return with_interval(estimate, lambda x: f"{100 * x:+.1f}")


def to_target(runs: list[Run], time: Callable[[Run], float]) -> str:
    """Format the median of the rollouts or steps to a target as ``3,072 (2,560 to above 12,288)``."""
    above = f"above {count(max(float(run.spent[-1]) for run in runs))}"
    return with_interval(median_of(runs, time), lambda x: count(x) if math.isfinite(x) else above)


def ratio(estimate: Interval) -> str:
    """Format a ratio of times as ``0.46 (0.38 to 0.60)``; ``?`` if neither reaches the target at half of the seeds."""
    return with_interval(estimate, lambda x: "?" if math.isnan(x) else "∞" if math.isinf(x) else f"{x:.2f}")


def with_interval(estimate: Interval, write: Callable[[float], str]) -> str:
    """Format an estimate, followed by its interval in brackets if it has one."""
    value = write(estimate.value)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({write(estimate.low)} to {write(estimate.high)})"


def _nats(value: float, sign: str = "") -> str:
    """Format nats with three decimals, never as -0.000."""
    return f"{value:{sign}}".replace("inf", "∞") if math.isinf(value) else f"{round(value, 3) + 0.0:{sign}.3f}"


def intervals_of(results: Results) -> str:
    """Return the note on the intervals; there are none for too few seeds."""
    groups = [len(group) for group in results.groups.values()]
    if max(groups) < FEWEST_SEEDS:
        return f"There are no intervals, because there are fewer than {FEWEST_SEEDS} seeds."
    where = "" if min(groups) >= FEWEST_SEEDS else f", where there are at least {FEWEST_SEEDS} seeds"
    return f"In brackets: 95 % intervals of the median over seeds{where}."


def _names(results: Results) -> list[Column[Group]]:
    """Return the columns that name a method, and its setting if there is an axis."""
    columns: list[Column[Group]] = [("method", lambda group: results.experiment.title(group[0]))]
    if results.experiment.settings is not None:
        columns.append((results.experiment.settings.name, lambda group: label(group[1])))
    return columns


def _groups(results: Results) -> Iterator[Group]:
    """Yield every method and setting with a finished run, setting by setting."""
    for setting in results.settings:
        yield from ((method, setting) for method in results.methods if results.group(method, setting))
