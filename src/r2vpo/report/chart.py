"""What a chart of a run's report consists of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

DERIVED = {
    "rollout_uses": ("rollouts_generated", "rollouts_reused"),
    "learning_rate_applied": ("learning_rate", "step_scale"),
    "held_out_alignment_bounded": ("held_out_alignment",),
    "seconds_other": ("seconds", "seconds_generating", "seconds_training"),
}
"""Curves that are calculated, from these metrics."""


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        metric: a name of docs/metrics.md, or of `DERIVED`. `name.*` stands for all
            members of a metric that is a list or a mapping.
        label: its name in the legend; of `name.*`, what precedes the member's name.
        role: a `target` is dashed and is not smoothed.
    """

    metric: str
    label: str
    role: Literal["value", "target"] = "value"


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        key: its id on the page.
        section: heading of its section.
        title: what it shows.
        about: one sentence on what it is.
        healthy: one sentence on what a healthy run looks like.
        lines: its curves.
        unit: `share` is written in percent and `seconds` as a duration; anything else follows the number.
        scale: `log` offers a logarithmic y axis, `log on` begins with it.
        low: y is shown at least down to this value.
        high: y is shown at least up to this value.
        stacked: curves are drawn on top of each other, if the page has one run.
        smooth: whether a mean over neighbouring steps says something; not of totals.
        at_least: draw it only if there are as many curves.
    """

    key: str
    section: str
    title: str
    about: str
    healthy: str
    lines: tuple[Line, ...]
    unit: str = ""
    scale: Literal["linear", "log", "log on"] = "linear"
    low: float | None = None
    high: float | None = None
    stacked: bool = False
    smooth: bool = True
    at_least: int = 1

    @property
    def metrics(self) -> list[str]:
        """Names of docs/metrics.md from which the curves are drawn."""
        names = [name for line in self.lines for name in DERIVED.get(line.metric, (line.metric.removesuffix(".*"),))]
        return list(dict.fromkeys(names))

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as the page reads it."""
        return asdict(self) | {"metrics": self.metrics}


def lines(**labels: str) -> tuple[Line, ...]:
    """Declare curves by their metrics and their names in the legend."""
    return tuple(Line(metric, label) for metric, label in labels.items())


def members(metric: str, label: str = "") -> tuple[Line, ...]:
    """Declare a curve for each member of a metric that is a list or a mapping; the label precedes the member's name."""
    return (Line(f"{metric}.*", label),)
