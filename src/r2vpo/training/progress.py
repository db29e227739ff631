"""Progress display of a run, and its printed result.

In a terminal the display is live; in a file or a pipe it is an aligned plain line every few steps.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from r2vpo.config.display import Display, draws_on, say
from r2vpo.config.numbers import NOTHING, about_intervals, count, duration, interval, points, significant
from r2vpo.config.run_directory import STORE_COUNTERS

NARROW = 50
"""Columns below which a result is not drawn as a panel, in which its numbers would have no room."""

_REMEMBERED = (
    "reward",
    "completion_length",
    "tokens_per_second",
    "decision_variance",
    "decision_variance_target",
    "dual",
    "entropy",
    "step_scale",
)


class TrainingProgress(Display):
    """Progress display of a run.

    Args:
        total_steps: optimizer steps of the whole run.
        console: where to show it; a live display if it is a terminal, otherwise plain lines.
        every: steps between two plain lines.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        console: Console | None = None,
        every: int = 10,
    ) -> None:
        super().__init__(console or Console(), total_steps)
        self.every = max(every, 1)
        self.accuracy: Mapping[str, Any] | None = None
        self._known: dict[str, float] = {}
        self._staleness: float | None = None
        self._rows_before: list[float] = []
        self._first_seen: tuple[int, float] | None = None

    def resumed(self, step: int, evaluations: Sequence[Mapping[str, Any]]) -> None:
        """Show a resumed run: the steps that it has done, and the accuracy of its last evaluation."""
        self.done = step
        if evaluations:
            self.accuracy = evaluations[-1].get("accuracy")

    def snapshot(self) -> dict[str, Any]:
        """Return what is shown, for those who look at the run from outside (`r2vpo watch`)."""
        return {
            "now": self.now,
            "how_far": self.how_far,
            "step": self.done,
            "of_steps": self.total,
            "seconds_left": self.seconds_left(),
            "seconds": time.monotonic() - self._started,
        }

    def update(self, record: Mapping[str, Any]) -> None:
        """Show the record of one optimizer step (the keys of ``metrics.jsonl``)."""
        self.done = int(record.get("step") or self.done)
        self._first_seen = self._first_seen or (self.done, time.monotonic())
        for name in _REMEMBERED:
            if record.get(name) is not None:
                self._known[name] = record[name]
        self._age(record.get("staleness_rows"))
        self._said.add("training")  # the lines of its steps say so
        self.status("training")
        if self._live is None and (self.done % self.every == 0 or self.done in (1, self.total)):
            self.say(self.line())

    def evaluation(self, record: Mapping[str, Any]) -> None:
        """Show an evaluation (the keys of ``evaluations.jsonl``)."""
        self.accuracy = record.get("accuracy")
        # the trainer evaluates at a step's end before it logs that step
        self.done = max(self.done, int(record.get("step") or 0))
        if self._live is None:
            self.say(f"step {self.of_total()}  held-out accuracy {interval(self.accuracy)}")

    def line(self) -> str:
        """Return the state of the run as one line of fixed columns."""
        known = self._known.get
        accuracy = (self.accuracy or {}).get("value")
        return "  ".join(
            (
                f"step {self.of_total()}",
                f"reward {_fixed(known('reward'), 3)}",
                f"accuracy {_fixed(accuracy, 3)}",
                f"V_d {_fixed(known('decision_variance'), 3)} of {_fixed(known('decision_variance_target'), 3)}",
                f"lambda {_fixed(known('dual'), 3)}",
                f"entropy {_fixed(known('entropy'), 3)}",
                f"staleness {_fixed(self._staleness, 1)}",
                f"{count(known('tokens_per_second')):>6} tokens/s",
                f"{self._time_left()} left",
            )
        )

    def render(self) -> RenderableType:
        """Return the live display: a bar with the time left, and one row of numbers."""
        numbers = Table(expand=True, box=None, padding=(0, 1), header_style="dim")
        cells = _that_fit(self._cells(), self.console.width)
        for name, _, style in cells:
            numbers.add_column(name, justify="right", no_wrap=True, style=style)
        numbers.add_row(*(value for _, value, _ in cells))
        if not self.done and not self.accuracy:
            return self.bars(self.now_and_how_far(), "")
        return Group(self.bars(self.now_and_how_far(), f"{self._time_left()} left"), numbers)

    def _cells(self) -> list[tuple[str, str, str]]:
        known = self._known.get
        variance, target = known("decision_variance"), known("decision_variance_target")
        style = ""
        if variance is not None and target is not None:
            style = "green" if variance <= target else "yellow" if variance <= 4 * target else "red"
        return [
            ("reward", _fixed(known("reward"), 3).strip(), ""),
            ("accuracy", _fixed((self.accuracy or {}).get("value"), 3).strip(), "bold"),
            (f"V_d of {significant(target)}", significant(variance), style),
            ("λ", significant(known("dual")), ""),
            ("rate ×", significant(known("step_scale")), ""),
            ("entropy", significant(known("entropy")), ""),
            ("staleness", _fixed(self._staleness, 1).strip(), ""),
            ("tokens/s", count(known("tokens_per_second")), ""),
        ]

    def seconds_left(self) -> float | None:
        """Return how long the rest will take at the pace since the first step that was seen; None before the second."""
        if self._first_seen is None or self.done <= self._first_seen[0]:
            return None
        step, moment = self._first_seen
        return (time.monotonic() - moment) / (self.done - step) * (self.total - self.done)

    def _time_left(self) -> str:
        return duration(self.seconds_left())

    def _age(self, rows: list[float] | None) -> None:
        """Update the mean age, in policy versions, of the last step's rows; the counts are cumulative."""
        if not rows:
            return
        before = self._rows_before if len(self._rows_before) == len(rows) else [0.0] * len(rows)
        new = [now - then for now, then in zip(rows, before, strict=True)]
        if sum(new) > 0:
            self._staleness = sum(age * number for age, number in enumerate(new)) / sum(new)
        self._rows_before = list(rows)


def print_result(console: Console, summary: Mapping[str, Any], report: Path) -> None:
    """Print the result of a run: accuracy before and after with 95 % intervals, rollouts, time, the report.

    Args:
        console: where to print.
        summary: the content of ``summary.json``.
        report: path of the report.
    """
    before, after = summary.get("accuracy_before"), summary.get("accuracy_after")
    n = (after or {}).get("n")
    reused, generated = summary.get("rollouts_reused"), summary.get("rollouts_generated")
    written, others, collected = (summary.get(name) for name in STORE_COUNTERS)
    if reused is not None:
        reused -= others or 0
    of_pairs = generated == reused == 0 and summary.get("optimizer_steps")
    rows = [
        ("accuracy before", f"{interval(before)}"),
        ("accuracy after", f"{interval(after)}"),
        (
            "difference",
            f"{points(before, after, summary.get('accuracy_gain'))} on {count(n)} held-out problems, "
            f"{about_intervals([] if n is None else [n])}",
        ),
        (
            "rollouts",
            "none: trained on given pairs" if of_pairs else f"{count(generated)} generated, {count(reused)} reused",
        ),
        (
            "time",
            f"{duration(summary.get('wall_seconds'))}: "
            f"{duration(summary.get('seconds_generating'))} generating, "
            f"{duration(summary.get('seconds_training'))} training",
        ),
        ("report", str(report)),
    ]
    if written is not None:
        trained_on = f"{count(others or 0)} of other runs trained on"
        of_samplers = "" if collected is None else f", {count(collected)} of samplers"
        rows.insert(4, ("store", f"{count(written)} rollouts written, {trained_on}{of_samplers}"))
    silent = summary.get("rounds_without_signal")
    if silent:
        rounds = "round" if silent == 1 else "rounds"
        rows.insert(-1, ("no signal", f"{count(silent)} {rounds}, in which no reward differed within a group"))
    if not draws_on(console) or console.width < NARROW:
        for name, value in rows:
            say(console, f"{name:<16} {value}")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value, style="bold green" if name == "accuracy after" else ""))
    console.print(Panel(table, title="result", title_align="left", border_style="dim", expand=False))


def _that_fit(cells: list[tuple[str, str, str]], width: int) -> list[tuple[str, str, str]]:
    """Return as many of the first cells as a line of that width holds, each with a space on both sides."""
    ends = accumulate(max(len(name), len(value)) + 2 for name, value, _ in cells)
    return [cell for cell, end in zip(cells, ends, strict=True) if end <= width]


def _fixed(value: float | None, digits: int) -> str:
    width = digits + 3
    return f"{NOTHING:>{width}}" if value is None else f"{value:>{width}.{digits}f}"
