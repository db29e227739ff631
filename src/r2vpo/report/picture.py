"""The picture of a run for READMEs: accuracy, V_d against its target, lambda with the step scale, rollouts."""

import math
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r2vpo.report.axes import ROLLOUTS, STEPS, counts, legend_above, log_axis, open_axes, percents, short
from r2vpo.report.data import RunData, Series, load_run
from r2vpo.report.palette import DASHES, Palette
from r2vpo.report.svg import write_picture

_MOST_POINTS = 1500
_MOST_DIFFICULTIES = 6


def build_picture(run: Path | str, path: Path) -> Path:
    """Write four panels to one PNG: accuracy, V_d against its target, lambda and the learning-rate scale, rollouts.

    Args:
        run: the run's folder.
        path: the file to write.

    Returns:
        The picture's path.
    """
    data = load_run(run)

    def draw(figure: Figure, palette: Palette) -> None:
        figure.set_size_inches(11, 6.4)
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        for axes, (title, drawn) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
            axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=24)
            if not drawn(axes, data, palette):
                axes.set_axis_off()
                axes.text(0.5, 0.5, "nothing has been recorded yet", ha="center", va="center", transform=axes.transAxes)

    write_picture(path, draw)
    return path


def _draw_control(axes: Axes, data: RunData, palette: Palette) -> bool:
    dual, scale = data.series("dual", minimum=0.0), data.series("step_scale", minimum=0.0)
    if not (dual or scale):
        return False
    if dual:
        axes.plot(dual.x, dual.y, color=palette.series[1], label="λ")
    if scale:
        axes.plot(scale.x, scale.y, color=palette.series[2], linestyle=DASHES[1], label="learning-rate scale")
    log_axis(axes, dual.y + scale.y)
    open_axes(axes, STEPS)
    legend_above(axes)
    return True


def _draw_accuracy(axes: Axes, data: RunData, palette: Palette) -> bool:
    """Draw accuracy over rollouts with intervals: all problems, and each difficulty if there are several."""
    if not data.accuracy().x:
        return False
    labels = data.difficulties()
    for number, label in enumerate(labels[:_MOST_DIFFICULTIES] if len(labels) > 1 else []):
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
    return True


def _draw_variance(axes: Axes, data: RunData, palette: Palette) -> bool:
    """Draw V_d over steps on a log scale, with its target."""
    # a round's first step has V_d = 0, which cannot be shown on a log scale
    series = data.series("decision_variance", minimum=0.0)
    if not series:
        return False
    target = _thinned(data.series("decision_variance_target", minimum=0.0))
    _noisy(axes, series, palette.series[0], label="V_d")
    if target:
        dashes, marker = (0, (5, 2)), "o" if len(target.x) == 1 else None
        axes.plot(target.x, target.y, color=palette.limit, lw=1.3, linestyle=dashes, marker=marker, label="target")
    log_axis(axes, [*series.y, *target.y])
    open_axes(axes, STEPS)
    legend_above(axes)
    return True


def _draw_rollouts(axes: Axes, data: RunData, palette: Palette) -> bool:
    """Draw the cumulative rows trained on: generated ones, with reused ones on top."""
    generated, reused = (_thinned(data.series(name)) for name in ("rollouts_generated", "rollouts_reused"))
    if not generated:
        return False
    of_step = dict(zip(reused.x, reused.y, strict=True))
    uses = [total + of_step.get(step, 0) for step, total in zip(generated.x, generated.y, strict=True)]
    bottom = [0.0] * len(uses)
    for label, top, color in (("generated", generated.y, palette.series[0]), ("reused", uses, palette.series[1])):
        axes.fill_between(generated.x, bottom, top, color=color, alpha=0.35, linewidth=0)
        axes.plot(generated.x, top, color=color, linewidth=1.6, label=label)
        bottom = top
    axes.set_ylim(bottom=0)
    counts(axes.yaxis)
    open_axes(axes, STEPS)
    legend_above(axes)
    return True


def _noisy(axes: Axes, series: Series, color: str, *, label: str) -> None:
    """Draw a thin line for the steps and a thick one for the running geometric mean."""
    thin = _thinned(series)
    window = max(1, len(thin.x) // 20)
    if window == 1:
        axes.plot(thin.x, thin.y, color=color, label=label, marker="o" if len(thin.x) == 1 else None)
        return
    axes.plot(thin.x, thin.y, color=color, alpha=0.3, linewidth=1.0)
    values = [math.log(y) for y in thin.y]
    means = []
    for end in range(len(values)):
        part = values[max(0, end - window) : end + window + 1]
        means.append(sum(part) / len(part))
    axes.plot(thin.x, [math.exp(m) for m in means], color=color, label=label)


def _thinned(series: Series) -> Series:
    stride = -(-len(series.x) // _MOST_POINTS) or 1
    return Series(series.x[::stride], series.y[::stride])


_PANELS: dict[str, Callable[[Axes, RunData, Palette], bool]] = {
    "Accuracy by difficulty": _draw_accuracy,
    "Ratio variance per decision against its target": _draw_variance,
    "Multiplier λ and learning-rate scale": _draw_control,
    "Rollouts": _draw_rollouts,
}
"""The drawings by title; each returns whether the run has data for it."""
