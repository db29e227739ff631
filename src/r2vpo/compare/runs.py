"""A finished cell as numbers: its curves and measures."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from r2vpo.compare.schema import Value
from r2vpo.compare.statistics import Array, area_under_curve, collapsed, time_to_target
from r2vpo.config.records import Record


@dataclass(frozen=True)
class Run:
    """One finished cell.

    Attributes:
        method: the method's key.
        setting: the value on the settings' axis, or what was tried.
        seed: the run's seed.
        rollouts: (evaluations,), rollouts generated before each evaluation.
        seconds: (evaluations,), seconds spent generating and training before each.
        accuracy: (evaluations,), share of the held-out problems that is solved.
        by_difficulty: the same, for each difficulty.
        course: columns by round: V_d, V, lambda, entropy, step scale, reward, staleness; without those that did not
            exist yet when the record was written.
        wall_seconds: wall time of the cell.
        diverged: whether the weights became non-finite.
        record: the complete record.
    """

    method: str
    setting: Value | None
    seed: int
    rollouts: Array
    seconds: Array
    accuracy: Array
    by_difficulty: dict[str, Array]
    course: dict[str, Array]
    wall_seconds: float
    diverged: bool
    record: Record

    def area(self) -> float:
        """Return the area under the accuracy curve over rollouts, as a mean accuracy."""
        return area_under_curve(self.rollouts, self.accuracy)

    def time_to(self, target: float) -> float:
        """Return the rollouts to an accuracy, infinite if it was never measured."""
        return time_to_target(self.rollouts, self.accuracy, target)

    def final(self, difficulty: str | None = None) -> float:
        """Return the accuracy at the end, on one difficulty or on all problems."""
        return float((self.accuracy if difficulty is None else self.by_difficulty[difficulty])[-1])

    @property
    def collapsed(self) -> bool:
        """Return whether the run lost the accuracy that it had."""
        return self.diverged or collapsed(self.accuracy)


def read_run(record: Record) -> Run:
    """Read the numbers of a cell's record.

    A diverged run can no longer answer anything: from its last evaluation on, its accuracy is 0.
    """
    points: list[dict[str, Any]] = list(record["evaluations"])
    if record.get("diverged"):
        last, end = points[-1], budget(record)
        nothing = {"accuracy": 0.0, "by_difficulty": dict.fromkeys(last["by_difficulty"], 0.0)}
        points += [last | nothing, last | nothing | {"rollouts": max(end, last["rollouts"] + 1)}]
    labels = points[-1]["by_difficulty"]
    return Run(
        method=record["method"],
        setting=record["setting"],
        seed=record["seed"],
        rollouts=_column(point["rollouts"] for point in points),
        seconds=_column(point["seconds"] for point in points),
        accuracy=_column(point["accuracy"] for point in points),
        by_difficulty={name: _column(point["by_difficulty"][name] for point in points) for name in labels},
        course={name: _column(values) for name, values in record["course"].items()},
        wall_seconds=float(record["wall_seconds"]),
        diverged=bool(record.get("diverged")),
        record=record,
    )


def budget(record: Record) -> int:
    """Return the number of rollouts that the cell's recipe generates."""
    trainer, rollout = record["recipe"]["trainer"], record["recipe"]["rollout"]
    rounds = -(-trainer["max_steps"] // (trainer["optimizer_steps_per_round"] * trainer["passes"]))
    return int(rounds * rollout["prompts_per_round"] * rollout["samples_per_prompt"])


def _column(values: Any) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
