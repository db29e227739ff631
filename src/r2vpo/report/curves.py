"""The drawings of a report, each drawn on given axes."""

import math
import statistics
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from r2vpo.report.axes import ROLLOUTS, STEPS, counts, legend_above, log_axis, open_axes, percents
from r2vpo.report.data import RunData, Series
from r2vpo.report.palette import Palette

_MOST_POINTS = 1500
MOST_DIFFICULTIES = 6


def draw_accuracy(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw accuracy over rollouts with intervals: all problems, and each difficulty if there are several."""
    labels = data.difficulties()
    for number, label in enumerate(labels[:MOST_DIFFICULTIES] if len(labels) > 1 else []):
        color, dashes, marker = palette.look(number)
        curve = data.accuracy(label)
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.10, linewidth=0)
        axes.plot(curve.x, curve.value, color=color, ls=dashes, marker=marker, markersize=3.5, label=short(label))
    every = data.accuracy()
    axes.fill_between(every.x, every.low, every.high, color=palette.ink, alpha=0.10, linewidth=0)
    axes.plot(every.x, every.value, color=palette.ink, linewidth=2.4, marker="o", markersize=4, label="all problems")
    axes.set_ylim(0, 1.02)
    percents(axes.yaxis)
    open_axes(axes, ROLLOUTS)
    counts(axes.xaxis)
    if len(labels) > 1:
        legend_above(axes)


def short(label: str) -> str:
    """A label of at most 18 characters."""
    return label if len(label) <= 18 else f"{label[:17]}…"


def _noisy(axes: Axes, series: Series, color: str, *, log: bool = False, label: str | None = None) -> None:
    """Draw a thin line for the steps and a thick one for the running mean (geometric on a log scale)."""
    thin = _thinned(series)
    window = max(1, len(thin.x) // 20)
    if window == 1:
        axes.plot(thin.x, thin.y, color=color, label=label, marker="o" if len(thin.x) == 1 else None)
        return
    axes.plot(thin.x, thin.y, color=color, alpha=0.3, linewidth=1.0)
    values = [math.log(y) for y in thin.y] if log else thin.y
    means = []
    for end in range(len(values)):
        part = values[max(0, end - window) : end + window + 1]
        means.append(sum(part) / len(part))
    axes.plot(thin.x, [math.exp(m) for m in means] if log else means, color=color, label=label)


def _thinned(series: Series) -> Series:
    stride = -(-len(series.x) // _MOST_POINTS) or 1
    return Series(series.x[::stride], series.y[::stride])


def metric_curve(name: str, number: int, *, low: float | None = None, high: float | None = None) -> Callable[..., None]:
    """Return a function that draws one metric over steps.

    Args:
        name: the metric.
        number: index of its colour in the palette's series.
        low: lower end of y; None uses the data's.
        high: upper end of y; None uses the data's.
    """

    def draw(axes: Axes, data: RunData, palette: Palette) -> None:
        _noisy(axes, data.series(name), palette.series[number])
        if low is not None:
            axes.set_ylim(bottom=low)
        if high is not None:
            axes.set_ylim(top=high)
        open_axes(axes, STEPS)

    return draw


def draw_variance(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw V_d over steps on a log scale, with its target."""
    # a round's first step has V_d = 0, which cannot be shown on a log scale
    series = data.series("decision_variance", minimum=0.0)
    target = _thinned(data.series("decision_variance_target", minimum=0.0))
    _noisy(axes, series, palette.series[0], log=True, label="V_d")
    if target:
        dashes, marker = (0, (5, 2)), "o" if len(target.x) == 1 else None
        axes.plot(target.x, target.y, color=palette.limit, lw=1.3, linestyle=dashes, marker=marker, label="target")
    log_axis(axes, [*series.y, *target.y])
    open_axes(axes, STEPS)
    legend_above(axes)


def draw_scale(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw the scale of the learning rate over steps, on a log scale."""
    series = _thinned(data.series("step_scale", minimum=0.0))
    axes.plot(series.x, series.y, color=palette.series[2], marker="o" if len(series.x) == 1 else None)
    log_axis(axes, series.y, unit=" ×")
    open_axes(axes, STEPS)


def draw_staleness(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw the share of trained rows by age."""
    rows = data.last("staleness_rows") or []
    total = sum(rows) or 1
    shares = [number / total for number in rows]
    colors = [palette.series[0]] + [palette.series[1]] * (len(rows) - 1)
    _bars(axes, shares, [f"{share:.0%}" for share in shares], colors, palette)
    percents(axes.yaxis)


def _bars(axes: Axes, heights: list[float], labels: list[str], colors: list[str], palette: Palette) -> None:
    """Draw a bar for each age."""
    ages = range(len(heights))
    bars = axes.bar(ages, heights, color=colors, width=0.72)
    axes.bar_label(bars, labels, padding=3, color=palette.ink, fontsize=9)
    axes.set_xticks(ages, ["fresh", *map(str, ages[1:])])
    axes.set_ylim(0, max(heights, default=1) * 1.15 or 1)
    open_axes(axes, "policy versions behind")


def sample_size_by_age(data: RunData) -> list[float | None]:
    """Return the mean effective sample size of each age in the last quarter of the run, None for ages without rows."""
    name = "effective_sample_size_by_staleness"
    rows = [record[name] for record in data.metrics if record.get(name)]
    rows = rows[-max(1, len(rows) // 4) :]
    ages = [[row[age] for row in rows if age < len(row) and row[age]] for age in range(_longest(rows))]
    return [statistics.fmean(values) if values else None for values in ages]


def _longest(rows: list[list[float | None]]) -> int:
    return max(map(len, rows), default=0)


def draw_sample_size_by_age(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw the effective sample size by age."""
    values = sample_size_by_age(data)
    labels = ["" if value is None else f"{value:.2f}" for value in values]
    _bars(axes, [value or 0.0 for value in values], labels, [palette.series[2]] * len(values), palette)


def draw_rollouts(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw the cumulative rows trained on: generated ones, with reused ones on top."""
    generated, reused = data.series("rollouts_generated"), data.series("rollouts_reused")
    _stack(axes, [("generated", generated), ("reused", reused)], (palette.series[0], palette.series[1]))
    counts(axes.yaxis)
    open_axes(axes, STEPS)
    legend_above(axes)


def draw_time(axes: Axes, data: RunData, palette: Palette) -> None:
    """Draw the cumulative seconds by activity."""
    parts = time_parts(data)
    _stack(axes, list(parts.items()), (palette.series[0], palette.series[2], palette.muted))
    longest = max((sum(values) for values in zip(*(part.y for part in parts.values()), strict=True)), default=0)
    unit, name = (60, "min") if longest >= 120 else (1, "s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / unit:g} {name}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 3, 6, 10] if unit == 60 else None))
    open_axes(axes, STEPS)
    legend_above(axes)


def time_parts(data: RunData) -> dict[str, Series]:
    """Return the cumulative seconds of generating, training and everything else, over optimizer steps."""
    rows = [
        (record["step"], record["seconds"], record["seconds_generating"], record["seconds_training"])
        for record in data.metrics
        if all(record.get(k) is not None for k in ("seconds", "seconds_generating", "seconds_training"))
    ]
    steps = [row[0] for row in rows]
    return {
        "generating": Series(steps, [row[2] for row in rows]),
        "training": Series(steps, [row[3] for row in rows]),
        "other": Series(steps, [max(row[1] - row[2] - row[3], 0.0) for row in rows]),
    }


def _stack(axes: Axes, parts: list[tuple[str, Series]], colors: tuple[str, ...]) -> None:
    base: list[float] | None = None
    for (label, series), color in zip(parts, colors, strict=True):
        series = _thinned(series)
        bottom = base if base is not None and len(base) == len(series.y) else [0.0] * len(series.y)
        base = [below + value for below, value in zip(bottom, series.y, strict=True)]
        axes.fill_between(series.x, bottom, base, color=color, alpha=0.35, linewidth=0)
        axes.plot(series.x, base, color=color, linewidth=1.6, label=label)
    axes.set_ylim(bottom=0)
