"""A finished cell as numbers: its curves and measures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from r2vpo.compare.schema import AccuracyOn, Over, Value
from r2vpo.compare.statistics import Array, area_under_curve, collapsed, time_to_target
from r2vpo.config.records import Record

COLUMN: dict[Over, str] = {"rollouts": "rollouts", "steps": "step"}
"""Where an evaluation's record has what the experiment counts."""
WORST = {"win_rate": 0.0, "displacement": -np.inf, "kl": np.inf}
"""The measures of a trained model against its start, with what a model gets whose weights are not finite."""


@dataclass(frozen=True)
class Run:
    """One finished cell.

    Attributes:
        method: the method's key.
        setting: the value on the settings' axis, or what was tried.
        seed: the run's seed.
        spent: (evaluations,), rollouts generated before each evaluation, or optimizer steps if the experiment is over
            steps.
        seconds: (evaluations,), seconds spent generating and training before each.
        accuracy: (evaluations,), share of the held-out problems that is solved.
        by_difficulty: the same, for each difficulty.
        course: columns by round: V_d, V, lambda, entropy, step scale, reward, staleness; without those that did not
            exist yet when the record was written. `spent` is as above, at the end of each round.
        wall_seconds: wall time of the cell.
        diverged: whether the weights became non-finite.
        record: the complete record.
        days: (evaluations,), the day of each, from 1; None without days.
    """

    method: str
    setting: Value | None
    seed: int
    spent: Array
    seconds: Array
    accuracy: Array
    by_difficulty: dict[str, Array]
    course: dict[str, Array]
    wall_seconds: float
    diverged: bool
    record: Record
    days: Array | None = None

    def area(self) -> float:
        """Return the area under the accuracy curve over rollouts or steps, as a mean accuracy."""
        return area_under_curve(self.spent, self.accuracy)

    def time_to(self, target: float) -> float:
        """Return the rollouts or steps to an accuracy, infinite if it was never measured."""
        return time_to_target(self.spent, self.accuracy, target)

    def final(self, difficulty: str | None = None) -> float:
        """Return the accuracy at the end, on one difficulty or on all problems."""
        return float((self.accuracy if difficulty is None else self.by_difficulty[difficulty])[-1])

    def preference(self, measure: str) -> float:
        """Return a measure of the trained model against its start; of one that diverged, the worst value."""
        return WORST[measure] if self.diverged else float(self.record["preferences"][measure])

    def on_day(self, day: int) -> "Run":
        """Return what one day did, with rollouts counted from its beginning."""
        assert self.days is not None, "a run of several days"
        here = self.days == day
        first = self.spent[here][0]
        return replace(
            self,
            spent=self.spent[here] - first,
            seconds=self.seconds[here],
            accuracy=self.accuracy[here],
            by_difficulty={name: values[here] for name, values in self.by_difficulty.items()},
            days=None,
        )

    def to_hold(self, target: float, day: int) -> float:
        """Return the rollouts that a day takes until an accuracy is measured; all of the day's if it never is."""
        return min(self.on_day(day).time_to(target), float(self.record["days"][day - 1]["budget"]))

    @property
    def collapsed(self) -> bool:
        """Return whether the run lost the accuracy that it had."""
        return self.diverged or collapsed(self.accuracy)


def read_run(record: Record, accuracy_on: AccuracyOn = "all", over: Over = "rollouts") -> Run:
    """Read the numbers of a cell's record.

    A diverged run can no longer answer anything: from its last evaluation on, its accuracy is 0. A run that ended early
    because it had nothing left to train on keeps the accuracy of its last evaluation.

    Args:
        record: of a finished cell.
        accuracy_on: the experiment's; with "trained" the accuracy is that on the difficulties the run was trained on.
        over: the experiment's.
    """
    column = COLUMN[over]
    points: list[dict[str, Any]] = measured_on(record, accuracy_on)
    if record.get("diverged"):
        last, end = points[-1], budget(record, over)
        nothing = {"accuracy": 0.0, "by_difficulty": dict.fromkeys(last["by_difficulty"], 0.0)}
        points += [last | nothing, last | nothing | {column: max(end, last[column] + 1)}]
        lost = lost_days(record.get("days", ()), last.get("day", 0), points[-1][column])
        points += [last | nothing | {"day": day, "rollouts": rollouts} for day, rollouts in lost]
    elif record["optimizer_steps"] < record["recipe"]["trainer"]["max_steps"] and "days" not in record:
        end = budget(record, over)
        points = [point | {column: min(point[column], end)} for point in points]
        points.append(points[-1] | {column: end})
    labels = points[-1]["by_difficulty"]
    return Run(
        method=record["method"],
        setting=record["setting"],
        seed=record["seed"],
        spent=_column(point[column] for point in points),
        seconds=_column(point["seconds"] for point in points),
        accuracy=_column(point["accuracy"] for point in points),
        by_difficulty={name: _column(point["by_difficulty"][name] for point in points) for name in labels},
        course={name: _column(values) for name, values in record["course"].items()} | {"spent": _rounds(record, over)},
        wall_seconds=float(record["wall_seconds"]),
        diverged=bool(record.get("diverged")),
        record=record,
        days=_column(point["day"] for point in points) if "days" in record else None,
    )


def measured_on(record: Record, accuracy_on: AccuracyOn) -> list[Record]:
    """Return the evaluations of a record, whose accuracy is that on the difficulties that an experiment chooses."""
    evaluations = record.get("evaluations", [])
    trained = record["recipe"]["data"].get("difficulties")
    if accuracy_on == "all" or trained is None:
        return list(evaluations)
    return [one | {"accuracy": mean_over(one, trained)} for one in evaluations]


def mean_over(evaluation: Record, difficulties: Iterable[str]) -> float:
    """Return the accuracy of an evaluation over some difficulties, which count equally."""
    return fmean(evaluation["by_difficulty"][name] for name in difficulties)


def lost_days(days: Sequence[Mapping[str, Any]], last: int, after: float) -> list[tuple[int, float]]:
    """Return the day and the rollouts at the beginning and the end of each day that a diverged run did not begin.

    Args:
        days: the days of its record.
        last: the day on which it diverged.
        after: the rollouts at that day's end.
    """
    points = []
    for day, one in enumerate(days[last:], last + 1):
        points += [(day, after), (day, after + one["budget"])]
        after += one["budget"]
    return points


def budget(record: Record, over: Over = "rollouts") -> int:
    """Return the number of rollouts that the cell's recipe generates, on the day on which it ended if it has days.

    Over steps, return its optimizer steps.
    """
    if "days" in record:
        day = record["evaluations"][-1]["day"]
        return int(sum(one["budget"] for one in record["days"][:day]))
    trainer, rollout = record["recipe"]["trainer"], record["recipe"]["rollout"]
    if over == "steps":
        return int(trainer["max_steps"])
    rounds = -(-trainer["max_steps"] // _steps_per_round(record))
    return int(rounds * rollout["prompts_per_round"] * rollout["samples_per_prompt"])


def _rounds(record: Record, over: Over) -> Array:
    """Return what was spent by the end of each round."""
    if over == "rollouts":
        return _column(record["course"]["rollouts"])
    ends = (_column(record["course"]["round"]) + 1) * _steps_per_round(record)
    return np.minimum(ends, budget(record, over))


def _steps_per_round(record: Record) -> int:
    trainer = record["recipe"]["trainer"]
    return int(trainer["optimizer_steps_per_round"] * trainer["passes"])


def _column(values: Any) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
