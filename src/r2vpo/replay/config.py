"""Options of the buffer, and what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ReplayConfig:
    """Options of the buffer.

    Args:
        versions: how many updates a rollout is kept for; 0 keeps nothing (on-policy).
        ratio: stale rows wanted for each fresh one.
        max_bytes: bound on the tensors kept; None for no bound. The oldest groups go first.
        seed: seed of the draws.

    Raises:
        ValueError: when an option is out of bounds.
    """

    versions: int = 5
    ratio: float = 1.0
    max_bytes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.versions < 0:
            raise ValueError(f"replay.versions is {self.versions}, must be at least 0: use 0 to train on-policy only")
        if not 0 <= self.ratio < math.inf:
            raise ValueError(
                f"replay.ratio is {self.ratio}, must be a finite number of at least 0: use 1.0 for one "
                "stale row for each fresh one"
            )
        if self.max_bytes is not None and self.max_bytes <= 0:
            raise ValueError(f"replay.max_bytes is {self.max_bytes}, must be positive: leave it out for no bound")

    def stale_rows(self, fresh_rows: int) -> int:
        """Return how many stale rows to ask for beside `fresh_rows` fresh ones (rounded down)."""
        return 0 if self.versions == 0 else math.floor(self.ratio * fresh_rows + 1e-9)


@dataclass(frozen=True)
class Admission:
    """What became of the rows of one `add`; the five counts add up to the rows passed."""

    admitted: int = 0
    zero_advantage: int = 0
    non_finite: int = 0
    too_large: int = 0
    not_kept: int = 0


@dataclass(frozen=True)
class ReplayStatistics:
    """The buffer in numbers.

    Attributes:
        rows: rows kept.
        groups: groups kept.
        bytes: bytes of their tensors, with room for the trainer's log-probs.
        rows_by_age: rows of age 0 (the current version's) to `versions`.
        mean_uses: mean number of draws of the rows kept; 0 when empty.
        drawn: rows drawn since the start.
        evicted_by_age: rows forgotten because they were too old, since the start.
        evicted_by_memory: rows forgotten to stay under `max_bytes`, since the start.
        refused: rows never kept since the start, by reason (zero_advantage, non_finite, too_large, not_kept).
    """

    rows: int
    groups: int
    bytes: int
    rows_by_age: list[int]
    mean_uses: float
    drawn: int
    evicted_by_age: int
    evicted_by_memory: int
    refused: dict[str, int]
