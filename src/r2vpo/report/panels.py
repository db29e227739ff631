"""The panels of a report: their positions, drawings and captions."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes

from r2vpo.config.numbers import about_intervals, count, duration, interval, percent, significant
from r2vpo.report.curves import (
    MOST_DIFFICULTIES,
    draw_accuracy,
    draw_rollouts,
    draw_sample_size_by_age,
    draw_scale,
    draw_staleness,
    draw_time,
    draw_variance,
    metric_curve,
    sample_size_by_age,
    time_parts,
)
from r2vpo.report.data import RunData
from r2vpo.report.palette import Palette


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        key: its id on the page.
        section: heading of its section.
        title: what it shows.
        draw: function that draws it.
        caption: meaning and result of the run in one or two sentences; also read by screen readers.
        present: whether the run has data for it.
    """

    key: str
    section: str
    title: str
    draw: Callable[[Axes, RunData, Palette], None]
    caption: Callable[[RunData], str]
    present: Callable[[RunData], bool]


def _say_accuracy(data: RunData) -> str:
    text = f"Greedy accuracy on held-out problems. Bands: {about_intervals(data.sizes())}."
    if len(data.difficulties()) > MOST_DIFFICULTIES:
        text += f" The first {MOST_DIFFICULTIES} difficulties are drawn; the table lists all of them."
    return f"{text} It was {interval(data.before)} at the start and is {interval(data.after)} now."


def _say_variance(data: RunData) -> str:
    values, targets = data.series("decision_variance"), data.series("decision_variance_target")
    target = dict(zip(targets.x, targets.y, strict=True))
    known = [(y, target[x]) for x, y in zip(values.x, values.y, strict=True) if x in target]
    above = sum(value > 2 * limit for value, limit in known) / max(len(known), 1)
    return (
        "How far updates moved the policy: the variance of the policy ratio around 1 per decision, which is the mean "
        "squared movement of a logit. Its target is at least δ per fresh rollout with a nonzero advantage. "
        f"Median {significant(statistics.median(values.y))}; above twice the target in {percent(above)} of steps."
    )


def _say_scale(data: RunData) -> str:
    values, base = data.series("step_scale").y, data.recipe.trainer.learning_rate
    aim = " under the KL-adaptive rule" if data.recipe.step_control.kind == "kl" else " so that V_d reaches its target"
    if data.recipe.trainer.optimizer == "prodigy":
        aim = ", as estimated by Prodigy"
    return (
        f"What the learning rate is multiplied by{aim}. "
        f"Last {significant(values[-1])} × {base:g} = {significant(values[-1] * base)}."
    )


def _say_staleness(data: RunData) -> str:
    rows = data.last("staleness_rows")
    reused = 1 - rows[0] / (sum(rows) or 1)
    return f"Age of the rows that were trained on. {percent(reused)} of them came from earlier policies."


def _say_rollouts(data: RunData) -> str:
    generated, reused = data.last("rollouts_generated"), data.last("rollouts_reused") or 0
    return (
        f"Rows trained on so far: {count(generated)} generated and {count(reused)} reused, which makes "
        f"{significant(1 + reused / generated) if generated else '–'} rows per generated one."
    )


def _say_time(data: RunData) -> str:
    parts = time_parts(data)
    words = ", ".join(f"{duration(series.y[-1])} {label}" for label, series in parts.items())
    return f"Where the time went: {words} (evaluation, saving and loading)."


def _has(name: str) -> Callable[[RunData], bool]:
    return lambda data: bool(data.series(name))


def _metric(section: str, title: str, name: str, number: int, meaning: str, **ends: float) -> Panel:
    """Return the panel of one metric over steps; its caption ends with the first and the last value."""

    def caption(data: RunData) -> str:
        values = data.series(name).y
        return f"{meaning} First {significant(values[0])}, last {significant(values[-1])}."

    return Panel(name.replace("_", "-"), section, title, metric_curve(name, number, **ends), caption, _has(name))


PANELS = (
    Panel(
        key="accuracy",
        section="Result",
        title="Accuracy by difficulty",
        draw=draw_accuracy,
        caption=_say_accuracy,
        present=lambda data: bool(data.accuracy().x),
    ),
    _metric(
        "Learning",
        "Reward",
        "reward",
        0,
        "Mean reward of fresh rollouts, which is below the greedy accuracy because they are sampled.",
    ),
    _metric(
        "Learning",
        "Entropy",
        "entropy",
        3,
        "Mean entropy of the next token, in nats; near 0, the policy no longer explores.",
        low=0,
    ),
    Panel(
        key="variance",
        section="Trust region",
        title="Ratio variance per decision against its target",
        draw=draw_variance,
        caption=_say_variance,
        present=lambda data: bool(data.series("decision_variance", minimum=0.0)),
    ),
    _metric(
        "Trust region",
        "Multiplier λ",
        "dual",
        1,
        "The price of variance: how strongly a token is braked in proportion to how far it has moved.",
        low=0,
    ),
    Panel("scale", "Trust region", "Learning-rate scale", draw_scale, _say_scale, _has("step_scale")),
    _metric(
        "Trust region",
        "Effective sample size",
        "effective_sample_size",
        2,
        "Share of the tokens that effectively count after importance weighting; 1 means all.",
        low=0,
        high=1.02,
    ),
    Panel(
        key="staleness",
        section="Replay and time",
        title="Staleness",
        draw=draw_staleness,
        caption=_say_staleness,
        present=lambda data: bool(data.last("staleness_rows")),
    ),
    Panel(
        key="worth",
        section="Replay and time",
        title="Effective sample size by age",
        draw=draw_sample_size_by_age,
        caption=lambda data: (
            "How much rows of each age still count: their effective sample size as a share, in the last quarter of "
            "the run. Where it approaches 0, replay.versions is too large."
        ),
        present=lambda data: any(value is not None for value in sample_size_by_age(data)),
    ),
    Panel("rollouts", "Replay and time", "Rollouts", draw_rollouts, _say_rollouts, _has("rollouts_generated")),
    Panel(
        key="time",
        section="Replay and time",
        title="Time spent",
        draw=draw_time,
        caption=_say_time,
        present=lambda data: bool(time_parts(data)["training"]),
    ),
)
