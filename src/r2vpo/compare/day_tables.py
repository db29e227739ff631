"""Tables of an experiment with days: what each day needed, and what the store saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Results, median_of
from r2vpo.compare.runs import Run
from r2vpo.compare.tables import Column, Table, intervals_of, percent, points, with_interval
from r2vpo.config.numbers import NOTHING, count

_Row = tuple[str, int]


def day_tables(results: Results) -> list[Table]:
    """Return the tables over all days and by day; none without days."""
    if results.experiment.days is None or not results.runs:
        return []
    return [_over_days(results), _by_day(results)]


def _over_days(results: Results) -> Table:
    days, target = _days(results), results.experiment.target
    baseline = results.experiment.baseline[0]

    def end(run: Run) -> float:
        return float(np.mean([run.on_day(day).final() for day in days]))

    def area(run: Run) -> float:
        return float(np.mean([run.on_day(day).area() for day in days]))

    columns: list[Column[str]] = [
        ("method", results.experiment.title),
        ("seeds", lambda method: str(len(results.group(method, None)))),
        ("accuracy at the end of a day, %", lambda method: percent(median_of(results.group(method, None), end))),
        ("area, %", lambda method: percent(median_of(results.group(method, None), area))),
        (f"area against {results.experiment.title(baseline)}, points", _against(results, area)),
    ]
    if target:
        held = f"{100 * target:g} %"
        columns += [
            (f"rollouts to hold {held}", lambda method: _count(results.group(method, None), partial(_to_hold, target))),
            ("days held", lambda method: _days_held(results.group(method, None), target)),
            (f"sampling saved against {results.experiment.title(baseline)}, %", _saved(results, target)),
        ]
    note = (
        "Days after the first, which is the same for all, each with its own problems. "
        f"{intervals_of(results)} Values of a run are means over its days, and the table has their medians over seeds."
    )
    if target:
        note += (
            " Rollouts to hold: the sum over days of the rollouts until the accuracy is measured; a day on which it "
            "never is counts with all its rollouts. Sampling saved: 1 minus the ratio of these sums, paired by seed."
        )
    return Table.of("Over all days", note, columns, results.methods)


def _by_day(results: Results) -> Table:
    target, baseline = results.experiment.target, results.experiment.baseline[0]

    def of_day(measure: Callable[[Run], float]) -> Callable[[_Row], str]:
        return lambda row: percent(median_of([run.on_day(row[1]) for run in results.group(row[0], None)], measure))

    columns: list[Column[_Row]] = [
        ("method", lambda row: results.experiment.title(row[0])),
        ("day", lambda row: str(row[1])),
        ("at its beginning, %", of_day(lambda run: float(run.accuracy[0]))),
        ("at its end, %", of_day(Run.final)),
        ("area, %", of_day(Run.area)),
    ]
    if target:
        columns += [
            (
                f"rollouts to {100 * target:g} %",
                lambda row: _count(results.group(row[0], None), partial(Run.to_hold, target=target, day=row[1])),
            ),
            (
                f"fewer than {results.experiment.title(baseline)}, % of the day's rollouts",
                lambda row: _fewer(results, row, target),
            ),
        ]
    columns.append(
        ("stored rows per fresh row", lambda row: _stored(results.group(row[0], None), row[1], "stored_rows"))
    )
    columns.append(("times their share", lambda row: _stored(results.group(row[0], None), row[1], "stored_worth")))
    note = (
        f"Medians over seeds. {intervals_of(results)} Stored rows: rollouts of earlier days that were trained on, per "
        "rollout of the day; times their share of effective weight is what the store itself counts as saved."
    )
    rows = [(method, day) for day in [1, *_days(results)] for method in results.methods]
    return Table.of("By day", note, columns, rows)


def _days(results: Results) -> range:
    """Return the days on which the methods can differ."""
    return range(2, len(results.experiment.days or ()) + 1)


def _to_hold(target: float, run: Run) -> float:
    return float(sum(run.to_hold(target, day) for day in range(2, len(run.record["days"]) + 1)))


def _days_held(runs: Sequence[Run], target: float) -> str:
    held = [np.max(run.on_day(day).accuracy) >= target for run in runs for day in range(2, len(run.record["days"]) + 1)]
    return f"{sum(held)} of {len(held)}"


def _count(runs: Sequence[Run], measure: Callable[[Run], float]) -> str:
    return with_interval(median_of(runs, measure), count)


def _against(results: Results, measure: Callable[[Run], float]) -> Callable[[str], str]:
    baseline = results.experiment.baseline[0]

    def cell(method: str) -> str:
        ours, theirs = results.paired((method, None), (baseline, None), measure)
        return points(statistics.paired_difference(ours, theirs)) if method != baseline and len(ours) else NOTHING

    return cell


def _saved(results: Results, target: float) -> Callable[[str], str]:
    baseline = results.experiment.baseline[0]

    def cell(method: str) -> str:
        ours, theirs = results.paired((method, None), (baseline, None), partial(_to_hold, target))
        used = theirs > 0
        if method == baseline or not used.any():
            return NOTHING
        return points(statistics.median(1 - ours[used] / theirs[used]))

    return cell


def _fewer(results: Results, row: _Row, target: float) -> str:
    method, day = row
    baseline = results.experiment.baseline[0]
    ours, theirs = results.paired((method, None), (baseline, None), partial(Run.to_hold, target=target, day=day))
    if method == baseline or not len(ours):
        return NOTHING
    budget = results.group(method, None)[0].record["days"][day - 1]["budget"]
    return points(statistics.paired_difference(theirs / budget, ours / budget))


def _stored(runs: Sequence[Run], day: int, name: str) -> str:
    found = [run.record["days"][day - 1] for run in runs]
    rows = float(np.median([one[name] / one["budget"] for one in found]))
    return f"{rows:.2f}" if rows else NOTHING
