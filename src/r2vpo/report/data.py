"""The data of a report: the files of a run in the form that curves and tables need."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import Recipe
from r2vpo.config.records import finite
from r2vpo.config.run_directory import RunDirectory, open_run
from r2vpo.config.run_events import read_events

LARGEST = 1e100
"""Of the numbers that are drawn, so that products of two and sums of many are finite. A larger one leaves a gap."""


@dataclass(frozen=True)
class Series:
    """A curve with one x and one y for every record that has the value."""

    x: list[float]
    y: list[float]

    def __bool__(self) -> bool:
        return bool(self.x)


@dataclass(frozen=True)
class AccuracyCurve:
    """Accuracy over rollouts with its 95 % interval."""

    x: list[float]
    value: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class RunData:
    """A run's files as read from disk; everything but the recipe may still be missing."""

    run: RunDirectory
    recipe: Recipe
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    summary: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)

    def series(self, name: str, *, minimum: float | None = None) -> Series:
        """Return a metric over optimizer steps; steps without a value, or not above ``minimum``, are left out."""
        pairs = [
            (record["step"], record[name])
            for record in self.metrics
            if isinstance(record.get(name), int | float)
            and isinstance(record.get("step"), int | float)
            and (minimum is None or record[name] > minimum)
        ]
        return Series([x for x, _ in pairs], [y for _, y in pairs])

    def last(self, name: str) -> Any:
        """Return the metric's last value that is not null, or None."""
        return next((r[name] for r in reversed(self.metrics) if r.get(name) is not None), None)

    def accuracy(self, difficulty: str | None = None) -> AccuracyCurve:
        """Return the accuracy over generated rollouts, of all problems or of one difficulty."""
        points = []
        for record in self.evaluations:
            whole = difficulty is None
            entry = record.get("accuracy") if whole else (record.get("by_difficulty") or {}).get(difficulty)
            if isinstance(entry, Mapping) and (value := entry.get("value")) is not None:
                ends = (value if entry.get(end) is None else entry[end] for end in ("low", "high"))
                points.append((record.get("rollouts_generated") or 0, value, *ends))
        columns = list(zip(*points, strict=True)) if points else [(), (), (), ()]
        return AccuracyCurve(*(list(column) for column in columns))

    def difficulties(self) -> list[str]:
        """Return the labels of the difficulties in the order in which they first appear."""
        return list(dict.fromkeys(label for record in self.evaluations for label in record.get("by_difficulty") or {}))

    def sizes(self) -> list[int]:
        """Return the known numbers of problems in the last evaluation, of all and of each difficulty."""
        last = self.accuracy_at(-1)
        entries = [last.get("accuracy"), *(last.get("by_difficulty") or {}).values()]
        return [entry["n"] for entry in entries if entry and entry.get("n")]

    def accuracy_at(self, position: int) -> dict[str, Any]:
        """Return the first (0) or last (-1) evaluation, or an empty one."""
        return self.evaluations[position] if self.evaluations else {}

    @property
    def before(self) -> dict[str, Any] | None:
        """The accuracy before training: from the summary, else from the evaluation at step 0."""
        first = self.accuracy_at(0)
        return self.summary.get("accuracy_before") or (first.get("accuracy") if first.get("step") == 0 else None)

    @property
    def after(self) -> dict[str, Any] | None:
        """The accuracy after training; for an unfinished run, the last evaluation after step 0."""
        last = self.accuracy_at(-1)
        return self.summary.get("accuracy_after") or (last.get("accuracy") if last.get("step") else None)


def load_run(path: Path | str) -> RunData:
    """Read the files that a run has so far.

    Raises:
        UserError: the folder is not a run's, or one of its files is damaged.
    """
    run = open_run(path)
    summary = run.read_summary() or {}
    if type(steps := summary.get("optimizer_steps")) is int:
        run.check_records(steps)
    return RunData(
        run=run,
        recipe=run.recipe(),
        metrics=finite(run.read_metrics(), largest=LARGEST),
        evaluations=[
            finite(record, largest=LARGEST)
            for record in run.read_evaluations()
            if record.get("split", "held_out") == "held_out"
        ],
        summary=finite(summary, largest=LARGEST),
        events=read_events(run.path),
    )
