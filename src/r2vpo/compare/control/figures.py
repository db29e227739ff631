"""Figures of a comparison on control tasks: curves by task, and the profile of all scores."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from r2vpo.compare.control.aggregates import profile
from r2vpo.compare.control.results import ControlResults, ControlRun
from r2vpo.compare.figures import HEIGHT, WIDE, WIDTH, Drawing
from r2vpo.report.axes import counts, legend_above, legend_of_figure, open_axes, percents
from r2vpo.report.palette import Palette

_COLUMNS, _TITLE = 4, 32
_LEAST, _MOST = 1.25, 2.5
"""Bounds of the highest score that the profile shows."""


def control_drawings(results: ControlResults) -> list[Drawing]:
    """Return the figures; none without runs."""
    if not results.runs:
        return []
    return [
        Drawing(
            "returns",
            "Return by task",
            "Mean return of the episodes of each fiftieth of the steps, in training. Median over seeds; the band "
            "contains the middle half of the seeds.",
            lambda figure, palette: _returns(results, figure, palette),
            wide=True,
        ),
        Drawing(
            "profile",
            "Share of runs above a score",
            "Every task has the same weight. A curve further to the right is better.",
            lambda figure, palette: _profile(results, figure, palette),
        ),
    ]


def _returns(results: ControlResults, figure: Figure, palette: Palette) -> None:
    tasks = results.tasks
    columns = min(_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure.set_size_inches(WIDE, 1.9 * rows + 0.3 + 0.17 * -(-len(results.methods) // 3))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, task in zip(grid.flat, tasks, strict=False):
        for number, method in enumerate(results.methods):
            color, dashes, _ = palette.look(number)
            runs = [run for run in results.group(task, method).values() if len(run.returns)]
            if runs:
                _curve(axes, runs, color=color, linestyle=dashes, label=results.experiment.title(method))
        axes.set_title(fill(results.experiment.task_title(task), _TITLE), loc="left", fontsize=9, color=palette.ink)
        open_axes(axes, "")
        counts(axes.xaxis, ticks=3)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in grid.flat[len(tasks) :]:
        axes.set_axis_off()
    legend_of_figure(figure)
    figure.supxlabel("steps", fontsize=9, color=palette.muted)


def _curve(axes: Axes, runs: list[ControlRun], *, color: str, linestyle: str, label: str) -> None:
    grid = np.unique(np.concatenate([run.steps for run in runs]))
    table = np.stack([np.interp(grid, run.steps, run.returns) for run in runs])
    low, middle, high = np.percentile(table, [25, 50, 75], axis=0)
    axes.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(grid, middle, color=color, linestyle=linestyle, label=label)


def _profile(results: ControlResults, figure: Figure, palette: Palette) -> None:
    figure.set_size_inches(WIDTH, HEIGHT + 0.17 * -(-len(results.methods) // 2))
    axes = figure.add_subplot()
    tables = [results.scores(method) for method in results.methods]
    highest = max((score for table in tables for runs in table.values() for score in runs.values()), default=_LEAST)
    levels = np.linspace(0.0, min(max(highest, _LEAST), _MOST), 251)
    for number, (method, scores) in enumerate(zip(results.methods, tables, strict=True)):
        color, dashes, _ = palette.look(number)
        if scores:
            shares = profile(scores, levels)
            axes.plot(levels, shares, color=color, linestyle=dashes, label=results.experiment.title(method))
    open_axes(axes, "score")
    axes.set_ylim(-0.02, 1.02)
    percents(axes.yaxis)
    legend_above(axes)
