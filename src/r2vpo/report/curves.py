"""The panels of a report: what each draws, and what it says in words."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from r2vpo.report.data import RunData, Series
from r2vpo.report.palette import Palette
from r2vpo.training.numbers import count, duration, interval, percent, significant

_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (8, 2)))
_MARKERS = "os^Dvp"
_MOST_POINTS = 1500


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        key: its id on the page.
        section: heading under which it stands.
        title: what it shows.
        draw: draws it.
        caption: what it means and how the run did, in one or two sentences; also what a screen reader reads.
        present: whether the run has data for it.
    """

    key: str
    section: str
    title: str
    draw: Callable[[Axes, RunData, Palette], None]
    caption: Callable[[RunData], str]
    present: Callable[[RunData], bool]


def _accuracy(axes: Axes, data: RunData, palette: Palette) -> None:
    labels = data.difficulties()
    for number, label in enumerate(labels if len(labels) > 1 else []):
        color = palette.series[number % len(palette.series)]
        curve = data.accuracy(label)
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.10, linewidth=0)
        style = _DASHES[number % len(_DASHES)]
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot(
            curve.x, curve.value, color=color, linestyle=style, marker=marker, markersize=3.5, label=label
        )
    every = data.accuracy()
    axes.fill_between(every.x, every.low, every.high, color=palette.ink, alpha=0.10, linewidth=0)
    axes.plot(
        every.x, every.value, color=palette.ink, linewidth=2.4, marker="o", markersize=4, label="all problems"
    )
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _finish(axes, x_label="rollouts generated", legend=len(labels) > 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _noisy(axes: Axes, series: Series, color: str, *, log: bool = False, label: str | None = None) -> None:
    """A thin line for each step and a thick one for the running mean (geometric on a log scale)."""
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


def _curve(
    name: str, number: int, *, low: float | None = None, high: float | None = None
) -> Callable[..., None]:
    def draw(axes: Axes, data: RunData, palette: Palette) -> None:
        _noisy(axes, data.series(name), palette.series[number])
        if low is not None:
            axes.set_ylim(bottom=low)
        if high is not None:
            axes.set_ylim(top=high)
        _finish(axes)

    return draw


def _variance(axes: Axes, data: RunData, palette: Palette) -> None:
    axes.set_yscale("log")
    # a round's first step has V = 0 when all of its rows are fresh: it has no place on a log scale
    _noisy(axes, data.series("ratio_variance", minimum=0.0), palette.series[0], log=True, label="V")
    axes.axhline(
        data.delta, color=palette.limit, linewidth=1.3, linestyle=(0, (5, 2)), label=f"δ = {data.delta:g}"
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    _finish(axes, legend=True)


def _scale(axes: Axes, data: RunData, palette: Palette) -> None:
    axes.set_yscale("log")
    series = data.series("step_scale", minimum=0.0)
    axes.plot(series.x, series.y, color=palette.series[2])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g} ×"))
    narrow = bool(series) and max(series.y) < 10 * min(series.y)
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:.2g} ×" if narrow else ""))
    if narrow:
        axes.yaxis.set_minor_locator(MaxNLocator(4))
    _finish(axes)


def _staleness(axes: Axes, data: RunData, palette: Palette) -> None:
    rows = data.last("staleness_rows") or []
    total = sum(rows) or 1
    shares = [number / total for number in rows]
    colors = [palette.series[0]] + [palette.series[1]] * (len(rows) - 1)
    bars = axes.bar(range(len(rows)), shares, color=colors, width=0.72)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], padding=3, color=palette.ink, fontsize=8.5)
    axes.set_xticks(range(len(rows)), ["fresh", *map(str, range(1, len(rows)))])
    axes.set_ylim(0, max(shares, default=1) * 1.15 or 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _finish(axes, x_label="policy versions behind")


def _rollouts(axes: Axes, data: RunData, palette: Palette) -> None:
    generated, reused = data.series("rollouts_generated"), data.series("rollouts_reused")
    _stack(axes, [("generated", generated), ("reused", reused)], (palette.series[0], palette.series[1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    _finish(axes, legend=True)


def _time(axes: Axes, data: RunData, palette: Palette) -> None:
    parts = time_parts(data)
    _stack(axes, list(parts.items()), (palette.series[0], palette.series[2], palette.muted))
    longest = max(
        (sum(values) for values in zip(*(part.y for part in parts.values()), strict=True)), default=0
    )
    unit, name = (60, "min") if longest >= 120 else (1, "s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / unit:g} {name}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 3, 6, 10] if unit == 60 else None))
    _finish(axes, legend=True)


def time_parts(data: RunData) -> dict[str, Series]:
    """Seconds spent generating, training and otherwise, cumulative, over optimizer steps."""
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


def _finish(axes: Axes, *, x_label: str = "optimizer steps", legend: bool = False) -> None:
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label)
    if x_label == "optimizer steps":
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if legend:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=4, alignment="left")


def _say_accuracy(data: RunData) -> str:
    text = "Greedy accuracy on held-out problems; bands are 95 % intervals."
    return f"{text} It began at {interval(data.before)}; now it is {interval(data.after)}."


def _say_variance(data: RunData) -> str:
    values = data.series("ratio_variance").y
    above = sum(value > 2 * data.delta for value in values) / max(len(values), 1)
    return (
        "How far updates moved the policy: the variance of its ratio about 1, "
        f"against the target δ = {data.delta:g}. "
        f"Median {significant(statistics.median(values))}; above 2 δ in {percent(above)} of steps."
    )


def _say_last(name: str, meaning: str) -> Callable[[RunData], str]:
    def say(data: RunData) -> str:
        values = data.series(name).y
        return f"{meaning} First {significant(values[0])}, last {significant(values[-1])}."

    return say


def _say_scale(data: RunData) -> str:
    values, base = data.series("step_scale").y, data.recipe.trainer.learning_rate
    return (
        "What the learning rate is multiplied by so that V stays near δ. "
        f"Last {significant(values[-1])} × {base:g} = {significant(values[-1] * base)}."
    )


def _say_staleness(data: RunData) -> str:
    rows = data.last("staleness_rows")
    reused = 1 - rows[0] / (sum(rows) or 1)
    return f"Age of the rows that were trained on. {percent(reused)} of them came from earlier policies."


def _say_rollouts(data: RunData) -> str:
    generated, reused = data.last("rollouts_generated"), data.last("rollouts_reused") or 0
    return (
        f"Rows trained on so far: {count(generated)} were generated, {count(reused)} were used once more: "
        f"{significant(1 + reused / generated) if generated else '–'} rows for each one generated."
    )


def _say_time(data: RunData) -> str:
    parts = time_parts(data)
    words = ", ".join(f"{duration(series.y[-1])} {label}" for label, series in parts.items())
    return f"Where the time went: {words} (evaluation, saving and loading)."


def _has(name: str) -> Callable[[RunData], bool]:
    return lambda data: bool(data.series(name))


PANELS = (
    Panel(
        "accuracy",
        "Result",
        "Accuracy by difficulty",
        _accuracy,
        _say_accuracy,
        lambda data: bool(data.accuracy().x),
    ),
    Panel(
        "reward",
        "Learning",
        "Reward",
        _curve("reward", 0),
        _say_last(
            "reward", "Mean reward of fresh rollouts, which are sampled, so lower than greedy accuracy."
        ),
        _has("reward"),
    ),
    Panel(
        "entropy",
        "Learning",
        "Entropy",
        _curve("entropy", 3, low=0),
        _say_last(
            "entropy", "Mean entropy of the next token, in nats: near 0 the policy no longer explores."
        ),
        _has("entropy"),
    ),
    Panel(
        "variance",
        "Trust region",
        "Ratio variance V against δ",
        _variance,
        _say_variance,
        lambda data: bool(data.series("ratio_variance", minimum=0.0)),
    ),
    Panel(
        "dual",
        "Trust region",
        "Multiplier λ",
        _curve("dual", 1, low=0),
        _say_last("dual", "The price of variance: it rises while V is above δ and falls while V is below."),
        _has("dual"),
    ),
    Panel("scale", "Trust region", "Learning-rate scale", _scale, _say_scale, _has("step_scale")),
    Panel(
        "effective-sample-size",
        "Trust region",
        "Effective sample size",
        _curve("effective_sample_size", 2, low=0, high=1.02),
        _say_last(
            "effective_sample_size", "Share of the tokens that count after importance weighting; 1 is all."
        ),
        _has("effective_sample_size"),
    ),
    Panel(
        "staleness",
        "Replay and time",
        "Staleness",
        _staleness,
        _say_staleness,
        lambda data: bool(data.last("staleness_rows")),
    ),
    Panel("rollouts", "Replay and time", "Rollouts", _rollouts, _say_rollouts, _has("rollouts_generated")),
    Panel(
        "time",
        "Replay and time",
        "Time spent",
        _time,
        _say_time,
        lambda data: bool(time_parts(data)["training"]),
    ),
)
