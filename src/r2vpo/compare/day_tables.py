"""Tables of an experiment with days: what each day needed, and the sampling that the store saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Results, median_of
from r2vpo.compare.runs import Run
from r2vpo.compare.statistics import Array
from r2vpo.compare.tables import Column, Table, intervals_of, percent, points, with_interval
from r2vpo.config.numbers import NOTHING, count
from r2vpo.intervals import Interval

_Row = tuple[str, int]


def day_tables(results: Results) -> list[Table]:
    """Return what is shown in words, and the tables over all days and by day; none without days."""
    if results.experiment.days is None or not results.runs:
        return []
    return [*_in_words(results), _over_days(results), _by_day(results)]


def _in_words(results: Results) -> list[Table]:
    """Return how each method compares with the baseline in words; nothing without intervals."""
    baseline = results.experiment.title(results.experiment.baseline[0])
    rows = [(method, area) for method in results.methods if (area := _area_against(results, method)) is not None]

    def words(row: tuple[str, Interval]) -> str:
        method, area = row
        assert area.low is not None and area.high is not None, "rows have intervals"
        better = f"better than {baseline}" if area.value > 0 else f"worse than {baseline}"
        shown = f"no difference from {baseline} is shown" if area.low <= 0 <= area.high else better
        said = f"{shown}: its area differs by {points(area)} points"
        if results.experiment.target:
            saved = _against(results, method, partial(_to_hold, results), _share_saved)
            said += f", and the sampling saved is {saved} %"
        return said

    columns: list[Column[tuple[str, Interval]]] = [
        ("method", lambda row: results.experiment.title(row[0])),
        ("over the days after the first", words),
    ]
    note = "A difference is shown if the interval of the area does not include 0. The next table has all numbers."
    return [Table.of("In words", note, columns, rows)] if rows else []


def _area_against(results: Results, method: str) -> Interval | None:
    """Return by how much the area of a method is larger than that of the baseline; None without an interval."""
    baseline = results.experiment.baseline[0]
    ours, theirs = results.paired((method, None), (baseline, None), partial(_area, results))
    found = statistics.paired_difference(ours, theirs) if method != baseline and len(ours) else None
    return None if found is None or found.low is None else found


def _area(results: Results, run: Run) -> float:
    return float(np.mean([run.on_day(day).area() for day in _days(results)]))


def _to_hold(results: Results, run: Run) -> float:
    return float(sum(run.to_hold(results.experiment.target or 0.0, day) for day in _days(results)))


def _over_days(results: Results) -> Table:
    days, target = _days(results), results.experiment.target
    baseline = results.experiment.title(results.experiment.baseline[0])
    area, to_hold = partial(_area, results), partial(_to_hold, results)

    def end(run: Run) -> float:
        return float(np.mean([run.on_day(day).final() for day in days]))

    def held(method: str) -> str:
        reached = [run.on_day(day).accuracy.max() >= target for run in results.group(method, None) for day in days]
        return f"{sum(reached)} of {len(reached)}"

    columns: list[Column[str]] = [
        ("method", results.experiment.title),
        ("seeds", lambda method: str(len(results.group(method, None)))),
        ("accuracy at the end of a day, %", lambda method: percent(median_of(results.group(method, None), end))),
        ("area, %", lambda method: percent(median_of(results.group(method, None), area))),
        (
            f"area against {baseline}, points",
            lambda method: _against(results, method, area, statistics.paired_difference),
        ),
    ]
    if target:
        columns += [
            (f"rollouts to hold {100 * target:g} %", lambda method: _count(results, method, to_hold)),
            ("days held", held),
            (
                f"sampling saved against {baseline}, %",
                lambda method: _against(results, method, to_hold, _share_saved),
            ),
        ]
    note = (
        "Days after the first, which is the same for all, each with its own problems. "
        f"{intervals_of(results)} Values of a run are means over its days, and the table has their medians over seeds. "
        "Area: mean accuracy over all rollouts of a day, measured on the day's problems."
    )
    if target:
        note += (
            " Rollouts to hold: the sum over days of the rollouts until the accuracy is measured; a day on which it "
            "never is counts with all its rollouts. Sampling saved: 1 minus the ratio of these sums, paired by "
            f"seed, for the seeds with which {baseline} needs any."
        )
    return Table.of("Over all days", note, columns, results.methods)


def _by_day(results: Results) -> Table:
    target = results.experiment.target
    baseline = results.experiment.title(results.experiment.baseline[0])

    def of_day(measure: Callable[[Run], float]) -> Callable[[_Row], str]:
        return lambda row: percent(median_of([run.on_day(row[1]) for run in results.group(row[0], None)], measure))

    def share_of_day(row: _Row) -> Callable[[Run], float]:
        day = row[1]
        return lambda run: run.to_hold(target or 0.0, day) / float(run.record["days"][day - 1]["budget"])

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
                lambda row: _count(results, row[0], partial(Run.to_hold, target=target, day=row[1])),
            ),
            (
                f"fewer than {baseline}, % of the day's rollouts",
                lambda row: _against(
                    results, row[0], share_of_day(row), lambda ours, theirs: statistics.paired_difference(theirs, ours)
                ),
            ),
        ]
    columns += [
        ("stored rows per fresh row", lambda row: _stored(results.group(row[0], None), row[1], "stored_rows")),
        ("times their share", lambda row: _stored(results.group(row[0], None), row[1], "stored_worth")),
    ]
    note = (
        f"Medians over seeds. {intervals_of(results)} A day on which the accuracy is there from the beginning needs 0 "
        "rollouts. Stored rows: rollouts of earlier days that were trained on, per "
        "rollout of the day; times their share of effective weight, they are its weight in fresh rollouts."
    )
    rows = [(method, day) for day in [1, *_days(results)] for method in results.methods]
    return Table.of("By day", note, columns, rows)


def _days(results: Results) -> range:
    """Return the days on which the methods can differ."""
    return range(2, len(results.experiment.days or ()) + 1)


def _count(results: Results, method: str, measure: Callable[[Run], float]) -> str:
    return with_interval(median_of(results.group(method, None), measure), count)


def _against(
    results: Results,
    method: str,
    measure: Callable[[Run], float],
    estimate: Callable[[Array, Array], Interval | None],
) -> str:
    """Compare a method with the baseline, paired by seed."""
    baseline = results.experiment.baseline[0]
    ours, theirs = results.paired((method, None), (baseline, None), measure)
    found = estimate(ours, theirs) if method != baseline and len(ours) else None
    return NOTHING if found is None else points(found)


def _share_saved(ours: Array, theirs: Array) -> Interval | None:
    """Return 1 minus the ratio of rollouts over the seeds on which the baseline needs any; None if there are none."""
    used = theirs > 0
    return statistics.median(1 - ours[used] / theirs[used]) if used.any() else None


def _stored(runs: Sequence[Run], day: int, name: str) -> str:
    found = [run.record["days"][day - 1] for run in runs]
    rows = float(np.median([one[name] / one["budget"] for one in found]))
    return f"{rows:.2f}" if rows else NOTHING
