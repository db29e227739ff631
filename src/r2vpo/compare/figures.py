"""Draw the figures of a comparison: few methods share one drawing; many get one each, with the baseline behind."""

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from r2vpo.compare import statistics
from r2vpo.compare.analysis import Results, final_on
from r2vpo.compare.runs import Run
from r2vpo.compare.schema import Value, label
from r2vpo.compare.statistics import Array
from r2vpo.intervals import Interval
from r2vpo.report.curves import log_axis
from r2vpo.report.palette import DASHES, MARKERS, Palette
from r2vpo.report.svg import Draw

WIDTH, HEIGHT, WIDE = 5.0, 2.9, 10.4
MOST_TOGETHER = 6
_COLUMNS = 4
_TITLE = 32  # characters per line of a small drawing's title


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
    wide: bool


class Lines:
    """Drawing of one curve per method: in one plot if they can be distinguished, otherwise side by side.

    Args:
        results: the finished cells.
        curve: draws a method's curve, if it has one: axes, method, colour, line style, name for the legend.
        x_label: label of the x axis.
        finish: sets up the axes.
    """

    def __init__(
        self,
        results: Results,
        curve: Callable[[Axes, str, str, object, str], None],
        *,
        x_label: str,
        finish: Callable[[Axes], None] = lambda axes: None,
    ) -> None:
        self.results, self.curve, self.x_label, self.finish = results, curve, x_label, finish
        self.wide = len(results.methods) > MOST_TOGETHER

    @property
    def note(self) -> str:
        """Return the caption's note on the arrangement of the methods."""
        baseline = self.results.experiment.baseline[0]
        behind = self.wide and baseline in self.results.methods
        return f" Dashed: {self.results.experiment.title(baseline)}." if behind else ""

    def __call__(self, figure: Figure, palette: Palette) -> None:
        """Draw."""
        if self.wide:
            self._apart(figure, palette)
        else:
            self._together(figure, palette)

    def _together(self, figure: Figure, palette: Palette) -> None:
        methods = self.results.methods
        rows = -(-len(methods) // 2)
        figure.set_size_inches(WIDTH, HEIGHT + 0.17 * rows)
        axes = figure.add_subplot()
        for number, method in enumerate(methods):
            color = palette.series[number % len(palette.series)]
            self.curve(axes, method, color, DASHES[number % len(DASHES)], self.results.experiment.title(method))
        self._axes(axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, alignment="left")

    def _apart(self, figure: Figure, palette: Palette) -> None:
        methods, experiment = self.results.methods, self.results.experiment
        rows = -(-len(methods) // _COLUMNS)
        figure.set_size_inches(WIDE, 1.65 * rows + 0.3)
        grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        baseline = experiment.baseline[0]
        for axes, method in zip(grid.flat, methods, strict=False):
            if baseline in methods and method != baseline:
                self.curve(axes, baseline, palette.muted, DASHES[1], "")
            self.curve(axes, method, palette.series[0], "-", "")
            axes.set_title(fill(experiment.title(method), _TITLE), loc="left", fontsize=9, color=palette.ink)
            self._axes(axes)
            axes.set_xlabel("")
        for axes in grid.flat[len(methods) :]:
            axes.set_axis_off()
        figure.supxlabel(self.x_label, fontsize=9, color=palette.muted)

    def _axes(self, axes: Axes) -> None:
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(self.x_label)
        self.finish(axes)


def over_rollouts(
    results: Results, setting: Value | None, column: Callable[[Run], tuple[Array, Array]], **options: object
) -> Lines:
    """Return curves over rollouts or seconds: the median over seeds, and a band with their middle half.

    Args:
        results: the finished cells.
        setting: the value on the settings' axis.
        column: returns x and y of a run.
        options: options of ``Lines``.
    """

    def curve(axes: Axes, method: str, color: str, dashes: object, name: str) -> None:
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
        axes.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(grid, middle, color=color, linestyle=dashes, label=name or None)

    return Lines(results, curve, **options)  # type: ignore[arg-type]


def survival(results: Results, setting: Value | None, target: float) -> Lines:
    """Return the share of runs that have not reached the target yet, over rollouts."""

    def curve(axes: Axes, method: str, color: str, dashes: object, name: str) -> None:
        runs = results.group(method, setting)
        if not runs:
            return
        times, ends = np.array([run.time_to(target) for run in runs]), np.array([run.rollouts[-1] for run in runs])
        x, share = statistics.survival_curve(times, ends)
        x, share = np.append(x, ends.max()), np.append(share, share[-1])
        axes.step(x, share, where="post", color=color, linestyle=dashes, label=name or None)

    return Lines(results, curve, x_label="rollouts generated", finish=_shares)


def over_axis(results: Results, measure: Callable[[list[Run]], Interval]) -> Lines:
    """Return a measure over the values of the settings' axis, with its interval if it has one."""

    def curve(axes: Axes, method: str, color: str, dashes: object, name: str) -> None:
        places = [i for i, value in enumerate(results.settings) if results.group(method, value)]
        found = [measure(results.group(method, results.settings[i])) for i in places]
        middle = [estimate.value for estimate in found]
        low, high = (np.array(ends, dtype=np.float64) for ends in zip(*((e.low, e.high) for e in found), strict=True))
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(places, middle, color=color, linestyle=dashes, marker="o", markersize=3.5, label=name or None)

    def finish(axes: Axes) -> None:
        axes.set_xticks(range(len(results.settings)), [label(value) for value in results.settings])
        _percent(axes)
        axes.set_ylim(bottom=-0.02)

    assert results.experiment.settings is not None
    return Lines(results, curve, x_label=results.experiment.settings.name, finish=finish)


def by_difficulty(results: Results, setting: Value | None) -> Draw:
    """Draw the final accuracy of every method on every difficulty, with intervals."""

    def draw(figure: Figure, palette: Palette) -> None:
        axes = _rows(figure, results)
        labels = results.difficulties
        for number, difficulty in enumerate(labels):
            color = palette.series[number % len(palette.series)]
            offset = 0.5 * (number - (len(labels) - 1) / 2) / len(labels)
            for row, method in enumerate(results.methods):
                runs = results.group(method, setting)
                if not runs:
                    continue
                estimate = statistics.median(np.array([final_on(difficulty)(run) for run in runs]))
                ends = np.array([estimate.low, estimate.high], dtype=np.float64)
                axes.plot(ends, [row + offset] * 2, color=color, linewidth=1.6)
                name = difficulty if not row else None
                marker = MARKERS[number % len(MARKERS)]
                axes.plot(estimate.value, row + offset, marker, color=color, markersize=5, label=name)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, alignment="left")

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
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    return draw


def log_values(axes: Axes) -> None:
    """Set a logarithmic y axis that fits the drawn values."""
    values = [y for line in axes.get_lines() for y in np.asarray(line.get_ydata(), dtype=float) if y > 0]
    log_axis(axes, values)
    _thousands(axes)


def accuracy_axes(axes: Axes) -> None:
    """Set up axes of accuracy over rollouts."""
    _percent(axes)
    _thousands(axes)


def seconds_axes(axes: Axes) -> None:
    """Set up axes of accuracy over seconds."""
    _percent(axes)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def plain_axes(axes: Axes) -> None:
    """Set up axes of a value of any size over rollouts."""
    _thousands(axes)


def _rows(figure: Figure, results: Results) -> Axes:
    methods = results.methods
    figure.set_size_inches(WIDTH, 0.34 * len(methods) + 0.9)
    axes = figure.add_subplot()
    axes.set_yticks(range(len(methods)), [results.experiment.title(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return axes


def _shares(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _thousands(axes)


def _percent(axes: Axes) -> None:
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _thousands(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
