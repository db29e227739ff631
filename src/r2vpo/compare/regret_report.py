"""Report of the regrets over tasks: tables and a figure."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from r2vpo.compare.across_tasks import TasksPlan
from r2vpo.compare.analysis import Results
from r2vpo.compare.figures import WIDE, Drawing
from r2vpo.compare.regret import Regret, TaskRegrets, over_tasks, task_regrets
from r2vpo.compare.report import facts_of_runs, write_report
from r2vpo.compare.statistics import FEWEST_SEEDS
from r2vpo.compare.tables import Table, with_interval
from r2vpo.compare.tasks import CARRIED, TasksExperiment
from r2vpo.config.numbers import NOTHING
from r2vpo.report.palette import Palette

SHOWN_TO = 30.0
"""Points at which the figure cuts its bars; every bar has its value written at its end."""

_TITLE = 19  # characters per line of a panel's title


def build_regret_report(tasks: TasksPlan) -> list[Path]:
    """Draw ``report.html``, ``report.md`` and the PNG of all tasks together, in the folder of the experiment's name."""
    results, spec = tasks.results(), tasks.experiment
    runs = [run for found in results.values() for run in found.runs]
    finished, total = (sum(getattr(found, name) for found in results.values()) for name in ("finished", "total"))
    facts = [("cells", f"{finished} of {total} finished"), *(facts_of_runs(runs) if runs else [])]
    return write_report(tasks.out / spec.name, spec.name, facts, *regret_parts(spec, results))


def regret_parts(spec: TasksExperiment, results: Mapping[str, Results]) -> tuple[list[Table], list[Drawing]]:
    """Return tables and figures of the tasks on which a tuned method is finished; none if there is no such task.

    Args:
        spec: the experiment.
        results: results of each task.
    """
    regrets = {task: task_regrets(found) for task, found in results.items()}
    source = regrets.get(spec.carried_from or "")
    if source is not None:
        # The carried-over values were chosen there, so these are the tuned methods' own runs.
        tuned = [name for name in source.by_method if name in spec.methods and spec.methods[name].tune != "nothing"]
        stand_in = {name + CARRIED: source.by_method[name] for name in tuned}
        regrets[str(spec.carried_from)] = replace(source, by_method={**source.by_method, **stand_in})
    known = {task: found for task, found in regrets.items() if found.best is not None}
    if not known:
        return [], []
    titles = titles_of(spec, results)
    made = [regret_table(spec, known, titles), best_table(spec, known, results)]
    return made, [regret_drawing(spec, known, titles)]


def titles_of(spec: TasksExperiment, results: Mapping[str, Results]) -> dict[str, str]:
    """Return the names of all methods with a result: the default, then other untuned ones, then the tuned ones."""
    titles: dict[str, str] = {}
    untuned: dict[str, bool] = {}
    for found in results.values():
        for method in found.methods:
            titles.setdefault(method, found.experiment.title(method))
            untuned.setdefault(method, found.experiment.tune(method) is None)
    order = sorted(titles, key=lambda name: (name != spec.default, not untuned[name]))
    return {name: titles[name] for name in order}


def regret_table(spec: TasksExperiment, regrets: Mapping[str, TaskRegrets], titles: Mapping[str, str]) -> Table:
    """Return a table of the median regret of every method on every task, with its interval."""
    note = (
        "By how many points of area a method is below the best tuned method of the task, paired by seed: the median, "
        f"and in brackets its 95 % interval if there are at least {FEWEST_SEEDS} seeds. The best tuned method is the "
        "one with the largest mean area over the same seeds, chosen in hindsight. Mean: the mean of the medians over "
        "the tasks, for methods that ran on all of them."
    )
    rows = []
    for method, title in titles.items():
        mean = over_tasks(regrets, method)
        on_tasks = [found.by_method.get(method) for found in regrets.values()]
        lost = sum(regret.collapsed for regret in on_tasks if regret is not None)
        rows.append([title, *map(_points, on_tasks), NOTHING if mean is None else _tenths(mean), str(lost)])
    columns = ["method", *map(spec.task_title, regrets), "mean", "collapsed"]
    return Table("Regret", note, columns, rows)


def best_table(spec: TasksExperiment, regrets: Mapping[str, TaskRegrets], results: Mapping[str, Results]) -> Table:
    """Return a table of the best tuned method of every task, next to the area of the default."""
    rows = []
    for task, found in regrets.items():
        assert found.best is not None, "a task without a best method"
        experiment = results[task].experiment
        chosen = {choice.method: choice.value for choice in results[task].tuning}
        own = found.by_method.get(spec.default)
        area, best = (NOTHING, found.best_area) if own is None else (f"{100 * own.area:.1f}", own.area + own.mean / 100)
        rows.append(
            [
                spec.task_title(task),
                experiment.title(found.best),
                f"{found.compared} of {found.tuned}",
                f"{chosen[found.best]:g}",
                f"{100 * best:.1f}",
                area,
                NOTHING if own is None else str(own.runs),
            ]
        )
    columns = [
        "task",
        "best tuned method",
        "tuned methods compared",
        "tuned to",
        "its area, %",
        f"{spec.methods[spec.default].title or spec.default}, %",
        "seeds",
    ]
    return Table(
        "Best tuned methods",
        "Mean areas under the accuracy curve, over the seeds that both methods have.",
        columns,
        rows,
    )


def regret_drawing(spec: TasksExperiment, regrets: Mapping[str, TaskRegrets], titles: Mapping[str, str]) -> Drawing:
    """Return a panel for each shown method that ran on all tasks, with a bar for each task and one for the mean."""
    methods = [name for name in titles if name in (spec.default, *spec.shown) and over_tasks(regrets, name) is not None]
    tasks = [spec.task_title(task) for task in regrets]

    def draw(figure: Figure, palette: Palette) -> None:
        figure.set_size_inches(WIDE, 1.1 + 0.24 * (len(tasks) + 1.5))
        panels = figure.subplots(1, len(methods), sharex=True, sharey=True, squeeze=False)[0]
        for axes, method in zip(panels, methods, strict=True):
            medians = [found.by_method[method].median.value for found in regrets.values()]
            values = [*medians, over_tasks(regrets, method) or 0.0]
            places = [*range(len(tasks)), len(tasks) + 0.5]  # the mean is set apart
            color = palette.series[0] if method == spec.default else palette.muted
            axes.barh(places, np.clip(values, -SHOWN_TO, SHOWN_TO), 0.7, color=color)
            for place, value in zip(places, values, strict=True):
                axes.text(
                    np.clip(value, 0, SHOWN_TO), place, f" {_tenths(value)}", va="center", fontsize=7, color=palette.ink
                )
            axes.axvline(0, color=palette.ink, linewidth=0.8)
            axes.set_title(fill(titles[method], _TITLE), fontsize=9, va="bottom")
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        low, high = panels[0].get_xlim()
        panels[0].set_xlim(low, high + 0.3 * (high - low))  # room for the value at the end of the longest bar
        panels[0].set_yticks(places, [*tasks, "mean"])
        panels[0].invert_yaxis()
        figure.supxlabel("points of area below the best tuned method of the task", fontsize=9)

    caption = (
        "Regret of methods that are not tuned on the task, median over seeds: a shorter bar is better, and a value "
        f"below 0 is better than the best tuned method. Bars end at {SHOWN_TO:g} points."
    )
    return Drawing("regret", "Regret without tuning", caption, draw, True)


def _points(regret: Regret | None) -> str:
    return NOTHING if regret is None else with_interval(regret.median, _tenths)


def _tenths(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # never "-0.0"
