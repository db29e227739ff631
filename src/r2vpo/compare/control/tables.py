"""Tables of a comparison on control tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from r2vpo.compare import statistics
from r2vpo.compare.control.aggregates import difference, improvement, summary
from r2vpo.compare.control.results import LAST, ControlResults, ControlRun
from r2vpo.compare.tables import Column, Table, failed_cells, ratio, with_interval
from r2vpo.config.numbers import NOTHING, count
from r2vpo.intervals import Interval

KINDS = ("dense", "sparse", "dynamic")
_SCORE = (
    "Score: the mean return of the episodes of the last tenth of a run, as a share of the way from the return at the "
    "beginning to the highest mean that a method has on the task at its own learning rate. IQM: the mean of the middle "
    "half of the scores over tasks and seeds, every task with the same weight. In brackets: 95 % intervals, by a "
    "bootstrap over the seeds of each task; there are none with fewer than five seeds of a task or 15 runs."
)


def control_tables(results: ControlResults) -> list[Table]:
    """Return all tables that the finished cells allow."""
    made: list[Table] = []
    if results.runs:
        made += [_over_tasks(results), _by_task(results)]
        if results.experiment.baseline in results.methods and len(results.methods) > 1:
            made.append(_steps(results))
        if any(len(results.experiment.methods[method].rates) > 1 for method in results.methods):
            made.append(_by_rate(results))
    return made + failed_cells(results.failures)


def _over_tasks(results: ControlResults) -> Table:
    baseline, title = results.experiment.baseline, results.experiment.title
    present = [kind for kind in KINDS if any(results.experiment.tasks[task].kind == kind for task in results.tasks)]

    def middle(kind: str | None) -> Callable[[str], str]:
        def cell(method: str) -> str:
            scores = results.scores(method, kind=kind)
            return with_interval(summary(scores), _two) if scores else NOTHING

        return cell

    def against(kind: str | None) -> Callable[[str], str]:
        def cell(method: str) -> str:
            found = difference(results.scores(method, kind=kind), results.scores(baseline, kind=kind))
            return NOTHING if found is None or method == baseline else with_interval(found, _signed)

        return cell

    columns: list[Column[str]] = [
        ("method", title),
        ("runs", lambda method: str(sum(map(len, results.scores(method).values())))),
        ("IQM", middle(None)),
        (f"against {title(baseline)}", against(None)),
        ("P(better)", partial(_better, results)),
        ("tasks better, worse", lambda method: NOTHING if method == baseline else _better_and_worse(results, method)),
    ]
    if len(present) > 1:
        columns += [(f"{kind} tasks, against {title(baseline)}", against(kind)) for kind in present]
    columns.append(("collapsed", partial(_collapsed, results, 1.0)))
    note = (
        f"{_SCORE} Tasks better, worse: those on which the 95 % interval of the median difference of final returns, "
        "paired by seed, is above or below 0. P(better): the probability that a run is better than one of "
        f"{title(baseline)}, as a mean over tasks. Collapsed: the run ended at less than half of the score that it "
        "had, or with weights that are not finite."
    )
    return Table.of("Over all tasks", note, columns, results.methods)


def _by_task(results: ControlResults) -> Table:
    def final(method: str) -> Callable[[str], str]:
        def cell(task: str) -> str:
            group = results.group(task, method)
            return with_interval(_median(list(group.values()), ControlRun.final), _return) if group else NOTHING

        return cell

    columns: list[Column[str]] = [
        ("task", results.experiment.task_title),
        ("kind", lambda task: results.experiment.tasks[task].kind),
        ("steps", lambda task: count(results.experiment.tasks[task].steps)),
        *((results.experiment.title(method), final(method)) for method in results.methods),
    ]
    note = (
        f"Final return: the mean over the episodes of the last {100 * LAST:.0f} % of the steps, in training, so with "
        "sampled actions. Medians over seeds, in brackets their 95 % intervals."
    )
    return Table.of("Final return by task", note, columns, results.tasks)


def _steps(results: ControlResults) -> Table:
    baseline = results.experiment.baseline

    def against(method: str) -> Callable[[str], str]:
        def cell(task: str) -> str:
            ours, theirs = results.group(task, method), results.group(task, baseline)
            shared = sorted(set(ours) & set(theirs))
            if not shared:
                return NOTHING
            target = float(np.median([theirs[seed].final() for seed in theirs]))
            if not math.isfinite(target):  # half of them or more have diverged: any run reaches minus infinity at once
                return NOTHING
            times = [np.array([group[seed].time_to(target) for seed in shared]) for group in (ours, theirs)]
            return ratio(statistics.paired_ratio(*times))

        return cell

    others = [method for method in results.methods if method != baseline]
    columns: list[Column[str]] = [
        ("task", results.experiment.task_title),
        *((results.experiment.title(method), against(method)) for method in others),
    ]
    note = (
        f"Steps to the median final return of {results.experiment.title(baseline)}, divided by its own steps to it: "
        "medians of the ratios, paired by seed; below 1 is faster, and ? means that neither reaches it at half of the "
        "seeds or more. In brackets: 95 % intervals."
    )
    return Table.of("Steps to a return", note, columns, results.tasks)


def _by_rate(results: ControlResults) -> Table:
    rates = results.experiment.rates
    methods = [method for method in results.methods if len(results.experiment.methods[method].rates) > 1]

    def middle(rate: float) -> Callable[[str], str]:
        def cell(method: str) -> str:
            scores = results.scores(method, rate)
            return with_interval(summary(scores), _two) if scores else NOTHING

        return cell

    columns: list[Column[str]] = [("method", results.experiment.title)]
    for rate in rates:
        columns += [
            (f"IQM, rate x {rate:g}", middle(rate)),
            (f"collapsed, x {rate:g}", partial(_collapsed, results, rate)),
        ]
    return Table.of("At multiples of the learning rate", _SCORE, columns, methods)


def _better(results: ControlResults, method: str) -> str:
    baseline = results.experiment.baseline
    found = None if method == baseline else improvement(results.scores(method), results.scores(baseline))
    return NOTHING if found is None else f"{found:.2f}"


def _better_and_worse(results: ControlResults, method: str) -> str:
    better = worse = compared = 0
    for task in results.tasks:
        ours, theirs = results.group(task, method), results.group(task, results.experiment.baseline)
        shared = sorted(set(ours) & set(theirs))
        if not shared:
            continue
        compared += 1
        ends = [np.array([results.score(task, group[seed].final()) for seed in shared]) for group in (ours, theirs)]
        found = statistics.paired_difference(*ends)
        better += found.low is not None and found.low > 0
        worse += found.high is not None and found.high < 0
    return f"{better}, {worse} of {compared}" if compared else NOTHING


def _collapsed(results: ControlResults, rate: float, method: str) -> str:
    found = [(task, run) for task in results.tasks for run in results.group(task, method, rate).values()]
    lost = sum(results.collapsed(task, run) for task, run in found)
    return f"{lost} of {len(found)}" if found else NOTHING


def _median(runs: list[ControlRun], measure: Callable[[ControlRun], float]) -> Interval:
    return statistics.median(np.array([measure(run) for run in runs]))


def _two(value: float) -> str:
    return f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _return(value: float) -> str:
    if math.isinf(value):
        return "diverged"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"
