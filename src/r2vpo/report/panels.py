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


def _say_by_age(data: RunData) -> str:
    return (
        "What a row is still worth at its age: the effective sample size as a share, in the last quarter of "
        "the run. Where it nears 0, replay.versions is too large."
    )


def _say_accuracy(data: RunData) -> str:
    text = f"Greedy accuracy on held-out problems. Bands: {about_intervals(data.sizes())}."
    if len(data.difficulties()) > MOST_DIFFICULTIES:
        text += f" The first {MOST_DIFFICULTIES} difficulties are drawn, all of them are in the table."
    return f"{text} It began at {interval(data.before)}; now it is {interval(data.after)}."


def _say_variance(data: RunData) -> str:
    values, targets = data.series("decision_variance"), data.series("decision_variance_target")
    target = dict(zip(targets.x, targets.y, strict=True))
    known = [(y, target[x]) for x, y in zip(values.x, values.y, strict=True) if x in target]
    above = sum(value > 2 * limit for value, limit in known) / max(len(known), 1)
    return (
        "How far updates moved the policy: the variance of its ratio about 1 for each decision, which is the mean "
        "squared movement of a logit, against the target: δ for each fresh rollout that has an advantage. "
        f"Median {significant(statistics.median(values.y))}; above twice the target in {percent(above)} of steps."
    )


def _say_last(name: str, meaning: str) -> Callable[[RunData], str]:
    def say(data: RunData) -> str:
        values = data.series(name).y
        return f"{meaning} First {significant(values[0])}, last {significant(values[-1])}."

    return say


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
        f"Rows trained on so far: {count(generated)} were generated, {count(reused)} were reused: "
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
        draw_accuracy,
        _say_accuracy,
        lambda data: bool(data.accuracy().x),
    ),
    Panel(
        "reward",
        "Learning",
        "Reward",
        metric_curve("reward", 0),
        _say_last("reward", "Mean reward of fresh rollouts, which are sampled, so lower than greedy accuracy."),
        _has("reward"),
    ),
    Panel(
        "entropy",
        "Learning",
        "Entropy",
        metric_curve("entropy", 3, low=0),
        _say_last("entropy", "Mean entropy of the next token, in nats: near 0 the policy no longer explores."),
        _has("entropy"),
    ),
    Panel(
        "variance",
        "Trust region",
        "Ratio variance per decision against its target",
        draw_variance,
        _say_variance,
        lambda data: bool(data.series("decision_variance", minimum=0.0)),
    ),
    Panel(
        "dual",
        "Trust region",
        "Multiplier λ",
        metric_curve("dual", 1, low=0),
        _say_last(
            "dual", "The price of variance: how strongly a token is braked in proportion to how far it has moved."
        ),
        _has("dual"),
    ),
    Panel("scale", "Trust region", "Learning-rate scale", draw_scale, _say_scale, _has("step_scale")),
    Panel(
        "effective-sample-size",
        "Trust region",
        "Effective sample size",
        metric_curve("effective_sample_size", 2, low=0, high=1.02),
        _say_last("effective_sample_size", "Share of the tokens that count after importance weighting; 1 is all."),
        _has("effective_sample_size"),
    ),
    Panel(
        "staleness",
        "Replay and time",
        "Staleness",
        draw_staleness,
        _say_staleness,
        lambda data: bool(data.last("staleness_rows")),
    ),
    Panel(
        "worth",
        "Replay and time",
        "Effective sample size by age",
        draw_sample_size_by_age,
        _say_by_age,
        lambda data: any(value is not None for value in sample_size_by_age(data)),
    ),
    Panel("rollouts", "Replay and time", "Rollouts", draw_rollouts, _say_rollouts, _has("rollouts_generated")),
    Panel(
        "time",
        "Replay and time",
        "Time spent",
        draw_time,
        _say_time,
        lambda data: bool(time_parts(data)["training"]),
    ),
)
