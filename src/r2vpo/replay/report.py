"""Reports of the replay buffer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Admission:
    """Outcome of one `add`, in rows; the five counts add up to the number of rows passed."""

    admitted: int = 0
    zero_advantage: int = 0
    non_finite: int = 0
    too_large: int = 0
    not_kept: int = 0


@dataclass(frozen=True)
class ReplayStatistics:
    """Statistics of the buffer.

    Attributes:
        rows: rows kept.
        groups: groups kept.
        bytes: bytes of their tensors, including room for the trainer's log-probs.
        rows_by_age: rows of age 0 (the current version's) to `versions`.
        mean_uses: mean number of draws of the rows kept; 0 if the buffer is empty.
        drawn: rows drawn since the start.
        evicted_by_age: rows forgotten because they were too old, since the start.
        evicted_by_memory: rows forgotten to stay under `max_megabytes`, since the start.
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
