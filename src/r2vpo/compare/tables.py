"""Build the tables of a comparison, as texts for both the page and the Markdown."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Results, final_on
from r2vpo.compare.runs import Run
from r2vpo.compare.schema import Value, label
from r2vpo.compare.statistics import FEWEST_SEEDS
from r2vpo.config.numbers import NOTHING, count, duration
from r2vpo.intervals import Interval


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
    if results.failures:
        note = "They are tried again at the next call."
        made.append(Table("Failed cells", note, ["cell", "reason"], [list(failure) for failure in results.failures]))
    return made


def result_table(results: Results) -> Table:
    """Return the table of every method by itself."""
    target, hardest = results.experiment.target, results.hardest
    columns = ["method", *_axis_column(results), "seeds", *(["tuned to"] if results.tuning else [])]
    columns += ["final accuracy, %"]
    columns += [f"on {hardest}, %"] if hardest else []
    columns += ["area, %"]
    columns += [f"rollouts to {100 * target:g} %", "reached"] if target else []
    columns += ["collapsed", "time a run"]
    chosen = {choice.method: f"{choice.value:g}" for choice in results.tuning if choice.value is not None}
    rows = []
    for (method, setting), runs in _groups(results):
        row = [results.experiment.title(method), *_axis_cell(results, setting), str(len(runs))]
        row += [chosen.get(method, NOTHING)] if results.tuning else []
        row.append(percent(statistics.median(_scores(runs, None))))
        row += [percent(statistics.median(_scores(runs, hardest)))] if hardest else []
        row.append(percent(statistics.median(np.array([run.area() for run in runs]))))
        if target:
            times = np.array([run.time_to(target) for run in runs])
            row += [rollouts(statistics.median(times), runs), f"{int(np.isfinite(times).sum())} of {len(runs)}"]
        row.append(f"{sum(run.collapsed for run in runs)} of {len(runs)}")
        row.append(duration(float(np.median([run.wall_seconds for run in runs]))))
        rows.append(row)
    note = (
        f"Medians over seeds. {intervals_of(results)} Area: mean accuracy over all the rollouts of a run. Collapsed: "
        "ended at less than half of the best accuracy it had, or with weights that are no numbers."
    )
    if target:
        note += " A run that never reached the target counts as above the budget."
    return Table("Result", note, columns, rows)


def baseline_table(results: Results, baseline: str) -> Table:
    """Return the table of every other method against one, paired by seed."""
    target, hardest = results.experiment.target, results.hardest
    columns = ["method", *_axis_column(results), "seeds", "final accuracy, points"]
    columns += [f"on {hardest}, points"] if hardest else []
    columns += ["area, points"] + (["ratio of rollouts"] if target else []) + ["P(better area)", "seeds won"]
    rows = []
    for (method, setting), _ in _groups(results):
        ours, theirs = (method, setting), (baseline, setting)
        areas = results.paired(ours, theirs, Run.area)
        if method == baseline or not len(areas[0]):
            continue
        row = [results.experiment.title(method), *_axis_cell(results, setting), str(len(areas[0]))]
        row.append(points(statistics.paired_difference(*results.paired(ours, theirs, final_on(None)))))
        if hardest:
            row.append(points(statistics.paired_difference(*results.paired(ours, theirs, final_on(hardest)))))
        row.append(points(statistics.paired_difference(*areas)))
        if target:
            times = results.paired(ours, theirs, lambda run: run.time_to(target))
            row.append(ratio(statistics.paired_ratio(*times)))
        row.append(f"{statistics.probability_of_improvement(*areas):.2f}")
        wins = statistics.share_of_wins(*areas) * len(areas[0])
        row.append(f"{wins:g} of {len(areas[0])}")
        rows.append(row)
    note = (
        f"Medians of the differences seed by seed. {intervals_of(results)} P(better area): a run of the method against "
        "one of the baseline."
    )
    if target:
        note += (
            " Ratio of rollouts: median of the ratios of rollouts to the target, seed by seed; below 1 is better, ? "
            "where neither arrived at half of the seeds."
        )
    return Table(f"Against {results.experiment.title(baseline)}", note, columns, rows)


def axis_table(results: Results) -> Table:
    """Return the table of every method against itself at the axis' first value, paired by seed."""
    assert results.experiment.settings is not None
    name, first = results.experiment.settings.name, results.settings[0]
    columns = ["method", name, "seeds", "final accuracy, points", "area, points"]
    rows = []
    for (method, setting), _ in _groups(results):
        finals = results.paired((method, setting), (method, first), final_on(None))
        if setting == first or not len(finals[0]):
            continue
        areas = results.paired((method, setting), (method, first), Run.area)
        rows.append(
            [
                results.experiment.title(method),
                label(setting),
                str(len(finals[0])),
                points(statistics.paired_difference(*finals)),
                points(statistics.paired_difference(*areas)),
            ]
        )
    note = f"Each method against itself: medians of the differences seed by seed. {intervals_of(results)}"
    return Table(f"Against {name} {label(first)}", note, columns, rows)


def tuning_table(results: Results) -> Table:
    """Return the table of every try of every method."""
    spec = results.experiment.tuning
    assert spec is not None
    columns = ["method", "tuned", *(f"try {number + 1}" for number in range(len(spec.values))), "chosen", ""]
    rows = []
    for choice in results.tuning:
        cells = [
            f"{item.value:g}: {NOTHING if item.score is None else f'{100 * item.score:.1f}'}" for item in choice.tries
        ]
        chosen = NOTHING if choice.value is None else f"{choice.value:g}"
        tune = results.experiment.tune(choice.method)
        assert tune is not None, "a method that runs as it is has no tries"
        edge = "at the grid's edge" if choice.at_edge else ""
        rows.append([results.experiment.title(choice.method), tune.key, *cells, chosen, edge])
    seeds = ", ".join(map(str, spec.seeds))
    note = (
        f"Mean area under the accuracy curve, %, over {'seed' if len(spec.seeds) == 1 else 'seeds'} {seeds}, which the "
        f"result does not use; every method that is tuned has {len(spec.values)} tries."
    )
    return Table("Tuning", note, columns, rows)


def percent(estimate: Interval) -> str:
    """Format a share as ``96.2 (95.0 to 97.1)``."""
    return _numbers(estimate, 100, 1)


def points(estimate: Interval) -> str:
    """Format a difference of shares as ``+1.2 (-0.3 to +2.5)``."""
    return _numbers(estimate, 100, 1, sign="+")


def rollouts(estimate: Interval, runs: list[Run]) -> str:
    """Format a number of rollouts as ``3,072 (2,560 to above 12,288)``."""
    budget = max(float(run.rollouts[-1]) for run in runs)
    return _with_interval(estimate, lambda x: count(x) if math.isfinite(x) else f"above {count(budget)}")


def ratio(estimate: Interval) -> str:
    """Format a ratio of times as ``0.46 (0.38 to 0.60)``; ``?`` if neither reaches the target at half of the seeds."""
    return _with_interval(estimate, lambda x: "?" if math.isnan(x) else "∞" if math.isinf(x) else f"{x:.2f}")


def intervals_of(results: Results) -> str:
    """Return the note on the intervals; there are none for too few seeds."""
    groups = [len(group) for group in results.groups.values()]
    text = f"fewer than {FEWEST_SEEDS} seeds carry no interval."
    if max(groups) < FEWEST_SEEDS:
        return f"Without intervals: {text}"
    with_some = "In brackets: 95 % intervals."
    return with_some if min(groups) >= FEWEST_SEEDS else f"{with_some[:-1]}; {text}"


def _numbers(estimate: Interval, factor: float, digits: int, *, sign: str = "") -> str:
    return _with_interval(estimate, lambda x: f"{factor * x:{sign}.{digits}f}")


def _with_interval(estimate: Interval, write: Callable[[float], str]) -> str:
    value = write(estimate.value)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({write(estimate.low)} to {write(estimate.high)})"


def _scores(runs: list[Run], difficulty: str | None) -> statistics.Array:
    return np.array([final_on(difficulty)(run) for run in runs])


def _groups(results: Results) -> Iterator[tuple[tuple[str, Value | None], list[Run]]]:
    for setting in results.settings:
        for method in results.methods:
            runs = results.group(method, setting)
            if runs:
                yield (method, setting), runs


def _axis_column(results: Results) -> list[str]:
    return [results.experiment.settings.name] if results.experiment.settings else []


def _axis_cell(results: Results, setting: Value | None) -> list[str]:
    return [label(setting)] if results.experiment.settings else []
