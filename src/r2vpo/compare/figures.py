"""Draw the figures of a comparison: few methods share one drawing; many get one each, with the baseline behind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Results, median_of
from r2vpo.compare.runs import Run
from r2vpo.compare.schema import Value, label
from r2vpo.compare.statistics import Array
from r2vpo.intervals import Interval
from r2vpo.report.axes import ROLLOUTS, STEPS, counts, legend_of_figure, log_axis, open_axes, percents
from r2vpo.report.palette import DASHES, Palette
from r2vpo.report.svg import Draw

WIDTH, HEIGHT, WIDE = 5.0, 2.9, 10.4
MOST_TOGETHER = 6
_COLUMNS = 4
_TITLE = 32  # characters per line of a small plot's title
_X_TICKS = 4


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        key: its name on the page and in its file's name.
        title: its heading.
        caption: description of the drawing.
        draw: draws it on an empty figure and sets the figure's size.
        wide: whether it takes the page's full width.
    """

    key: str
    title: str
    caption: str
    draw: Draw
    wide: bool = False


@dataclass(frozen=True)
class Lines:
    """One curve per method: in one plot if they can be distinguished, otherwise each in its own plot.

    Attributes:
        results: the finished cells.
        curve: draws a method's curve, if it has one, on the axes, with these options of ``Axes.plot``.
        x_label: label of the x axis.
        finish: sets up the axes.
    """

    results: Results
    curve: Callable[[Axes, str, dict[str, Any]], None]
    x_label: str
    finish: Callable[[Axes], None]

    def drawing(self, key: str, title: str, caption: str) -> Drawing:
        """Return the figure; its caption also names the method that is drawn dashed."""
        baseline = self.results.experiment.baseline[0]
        if len(self.results.methods) <= MOST_TOGETHER:
            return Drawing(key, title, caption, self._together)
        if baseline in self.results.methods:
            caption += f" Dashed: {self.results.experiment.title(baseline)}."
        return Drawing(key, title, caption, self._apart, wide=True)

    def _together(self, figure: Figure, palette: Palette) -> None:
        methods = self.results.methods
        rows = -(-len(methods) // 2)
        figure.set_size_inches(WIDTH, HEIGHT + 0.17 * rows)
        axes = figure.add_subplot()
        for number, method in enumerate(methods):
            color, dashes, _ = palette.look(number)
            title = self.results.experiment.title(method)
            self.curve(axes, method, {"color": color, "linestyle": dashes, "label": title})
        open_axes(axes, self.x_label)
        self.finish(axes)
        legend_of_figure(figure)

    def _apart(self, figure: Figure, palette: Palette) -> None:
        methods, experiment = self.results.methods, self.results.experiment
        rows = -(-len(methods) // _COLUMNS)
        figure.set_size_inches(WIDE, 1.65 * rows + 0.3)
        grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        baseline = experiment.baseline[0]
        for axes, method in zip(grid.flat, methods, strict=False):
            if baseline in methods and method != baseline:
                self.curve(axes, baseline, {"color": palette.muted, "linestyle": DASHES[1]})
            self.curve(axes, method, {"color": palette.series[0]})
            axes.set_title(fill(experiment.title(method), _TITLE), loc="left", fontsize=9, color=palette.ink)
            open_axes(axes, "")
            self.finish(axes)
        for axes in grid.flat[len(methods) :]:
            axes.set_axis_off()
        figure.supxlabel(self.x_label, fontsize=9, color=palette.muted)


def curves(
    results: Results,
    setting: Value | None,
    column: Callable[[Run], tuple[Array, Array]],
    finish: Callable[[Axes], None],
    *,
    x_label: str | None = None,
) -> Lines:
    """Return curves over rollouts, steps or seconds: the median over seeds, and a band with their middle half.

    Args:
        results: the finished cells.
        setting: the value on the settings' axis.
        column: returns x and y of a run.
        finish: sets up the axes.
        x_label: label of the x axis; None for what the experiment is over.
    """

    def curve(axes: Axes, method: str, style: dict[str, Any]) -> None:
        pairs = [column(run) for run in results.group(method, setting)]
        pairs = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in pairs]
        pairs = [pair for pair in pairs if len(pair[0])]
        if not pairs:
            return
        # the runs' own points if they share them, otherwise a common grid, since seconds differ between runs
        shared = all(np.array_equal(x, pairs[0][0]) for x, _ in pairs)
        grid = pairs[0][0] if shared else np.linspace(0, float(np.median([x[-1] for x, _ in pairs])), 60)
        table = np.stack([np.interp(grid, x, y) for x, y in pairs])
        low, middle, high = np.percentile(table, [25, 50, 75], axis=0)
        axes.fill_between(grid, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(grid, middle, **style)

    return Lines(results, curve, x_label or _spent(results), finish)


def survival(results: Results, setting: Value | None, target: float) -> Lines:
    """Return the share of runs that have not reached the target yet, over rollouts or steps."""

    def curve(axes: Axes, method: str, style: dict[str, Any]) -> None:
        runs = results.group(method, setting)
        if not runs:
            return
        times, ends = np.array([run.time_to(target) for run in runs]), np.array([run.spent[-1] for run in runs])
        x, share = statistics.survival_curve(times, ends)
        x, share = np.append(x, ends.max()), np.append(share, share[-1])
        axes.step(x, share, where="post", **style)

    def finish(axes: Axes) -> None:
        axes.set_ylim(-0.02, 1.02)
        percents(axes.yaxis)
        counts(axes.xaxis, ticks=_X_TICKS)

    return Lines(results, curve, _spent(results), finish)


def over_axis(results: Results, measure: Callable[[list[Run]], Interval]) -> Lines:
    """Return a measure over the values of the settings' axis, with its interval if it has one."""

    def curve(axes: Axes, method: str, style: dict[str, Any]) -> None:
        places = [i for i, value in enumerate(results.settings) if results.group(method, value)]
        found = [measure(results.group(method, results.settings[i])) for i in places]
        middle = [estimate.value for estimate in found]
        low, high = (np.array(ends, dtype=np.float64) for ends in zip(*((e.low, e.high) for e in found), strict=True))
        axes.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(places, middle, marker="o", markersize=3.5, **style)

    def finish(axes: Axes) -> None:
        axes.set_xticks(range(len(results.settings)), [label(value) for value in results.settings])
        axes.set_ylim(-0.02, 1.02)
        percents(axes.yaxis)

    assert results.experiment.settings is not None
    return Lines(results, curve, results.experiment.settings.name, finish)


def by_difficulty(results: Results) -> Draw:
    """Draw the final accuracy of every method on every difficulty, with intervals."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = _rows(figure, results)
        labels = results.difficulties
        for number, difficulty in enumerate(labels):
            color, _, marker = palette.look(number)
            offset = 0.5 * (number - (len(labels) - 1) / 2) / len(labels)
            for row, method in enumerate(results.methods):
                runs = results.group(method, None)
                if not runs:
                    continue
                estimate = median_of(runs, partial(Run.final, difficulty=difficulty))
                ends = np.array([estimate.low, estimate.high], dtype=np.float64)
                axes.plot(ends, [row + offset] * 2, color=color, linewidth=1.6)
                name = difficulty if not row else None
                axes.plot(estimate.value, row + offset, marker, color=color, markersize=5, label=name)
        axes.set_xlim(-0.02, 1.02)
        legend_of_figure(figure)

    return draw


def collapse(results: Results) -> Draw:
    """Draw the share of runs that collapse, method by method, over all settings."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = _rows(figure, results)
        for row, method in enumerate(results.methods):
            runs = [run for setting in results.settings for run in results.group(method, setting)]
            lost = sum(run.collapsed for run in runs)
            axes.barh(row, lost / len(runs), color=palette.limit, height=0.55)
            text = f"{lost} of {len(runs)}"
            axes.text(lost / len(runs) + 0.015, row, text, va="center", color=palette.ink, fontsize=9)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])

    return draw


def accuracy_axes(axes: Axes) -> None:
    """Set up axes of accuracy over rollouts or steps."""
    axes.set_ylim(0, 1.02)
    percents(axes.yaxis)
    value_axes(axes)


def seconds_axes(axes: Axes) -> None:
    """Set up axes of accuracy over seconds."""
    axes.set_ylim(0, 1.02)
    percents(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(_X_TICKS))


def value_axes(axes: Axes) -> None:
    """Set up axes of a value of any size over rollouts or steps."""
    counts(axes.xaxis, ticks=_X_TICKS)


def log_value_axes(axes: Axes) -> None:
    """Set up axes of a positive value over rollouts or steps, with a logarithmic y axis that fits what is drawn."""
    log_axis(axes, [y for line in axes.get_lines() for y in np.asarray(line.get_ydata(), dtype=float) if y > 0])
    value_axes(axes)


def _spent(results: Results) -> str:
    """Return the label of an axis over what the experiment is over."""
    return STEPS if results.experiment.over == "steps" else ROLLOUTS


def _rows(figure: Figure, results: Results) -> Axes:
    """Return axes with a row for each method, over shares."""
    methods = results.methods
    figure.set_size_inches(WIDTH, 0.34 * len(methods) + 0.9)
    axes = figure.add_subplot()
    axes.set_yticks(range(len(methods)), [results.experiment.title(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    open_axes(axes, "", grid="x")
    percents(axes.xaxis)
    return axes
