"""Axes, ticks, numbers and legends that all drawings share."""

import math
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

ROLLOUTS = "rollouts generated"
STEPS = "optimizer steps"
# Room for a legend above the plot, in points, and what an entry takes of it besides its text.
_LEGEND_POINTS, _ENTRY_POINTS, _CHARACTER_POINTS = 320, 34, 5.4
_POINTS_PER_INCH = 72


def open_axes(axes: Axes, x_label: str, *, grid: Literal["x", "y"] = "y") -> None:
    """Show grid lines for one axis instead of the line on the left, and label x.

    Args:
        axes: the axes.
        x_label: the label.
        grid: the axis whose ticks have grid lines.
    """
    axes.grid(axis=grid)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label)
    if x_label == STEPS:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def legend_above(axes: Axes) -> None:
    """Put the legend above the plot, with as many columns as fit next to each other without narrowing the plot.

    Args:
        axes: the axes, with everything drawn.
    """
    widths = [_width(label) for label in axes.get_legend_handles_labels()[1]]
    fits = sum(widths) <= _LEGEND_POINTS
    columns = len(widths) if fits else max(1, min(4, int(_LEGEND_POINTS // max(widths))))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns, alignment="left")


def legend_of_figure(figure: Figure) -> None:
    """Put one legend above everything that a figure has, with as many columns as are within it.

    Args:
        figure: the figure, with everything drawn; what several of its axes have under one label is listed once.
    """
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = max(1, int(_POINTS_PER_INCH * figure.get_figwidth() // max(map(_width, entries), default=1)))
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=columns, alignment="left")


def _width(label: str) -> float:
    return _CHARACTER_POINTS * len(label) + _ENTRY_POINTS


def percents(axis: Axis) -> None:
    """Label shares as whole percentages."""
    axis.set_major_formatter(PercentFormatter(1, decimals=0))


def counts(axis: Axis, *, ticks: int | None = None) -> None:
    """Label whole numbers with thousands separators.

    Args:
        axis: the axis.
        ticks: the largest number of intervals between ticks; None leaves matplotlib's choice.
    """
    if ticks is not None:
        axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))


def log_axis(axes: Axes, values: list[float], *, unit: str = "") -> None:
    """Make y logarithmic, with enough labels even if the values stay within one decade.

    Args:
        axes: the axes whose y axis is changed.
        values: the values that are drawn, all above 0.
        unit: text to append to each label.
    """
    decades = math.log10(max(values) / min(values)) if values else 0.0
    axes.set_yscale("log")
    if decades < 0.5:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,), numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.6g}{unit}"))


def short(label: str) -> str:
    """A label of at most 18 characters."""
    return label if len(label) <= 18 else f"{label[:17]}…"
