"""What goes into the store and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r2vpo.replay.group import Group


@dataclass(frozen=True)
class Sampled:
    """A group with what the store keeps beside its tokens.

    Attributes:
        group: Prompt and rows; each row's `reward` is the weighted sum of its parts.
        columns: The row of the data that the prompt comes from: what a reward reads, such as the answer.
        parts: For each row, the score of each reward function.
        temperature: The one it was sampled at; the log-probs are those at this temperature.
        ended: For each row, whether an end token ended it; None where that is unknown.
        created: Seconds since 1970; None means now.
    """

    group: Group
    columns: Mapping[str, Any]
    parts: Sequence[Mapping[str, float]]
    temperature: float = 1.0
    ended: Sequence[bool | None] | None = None
    created: float | None = None


@dataclass(frozen=True)
class Drawn:
    """A group that was drawn from the store.

    Attributes:
        group: Its rows have the stored rewards and no advantage yet: 0.
        columns: The row of the data.
        version: Its policy version's id in the store.
    """

    group: Group
    columns: Mapping[str, Any]
    version: int


@dataclass(frozen=True)
class Source:
    """Which rollouts of other runs may be drawn.

    Attributes:
        runs: Names or keys of runs; empty means all.
        newer_than: Seconds since 1970; older rollouts are left out.
        tags: Tags that a run must have, all of them.
        max_age_versions: The last so many versions of each run; None means all.
        kinds: Kinds of runs.
        reward: Description of the reward whose scores count; None means that of the run that draws.
    """

    runs: Sequence[str] = ()
    newer_than: float | None = None
    tags: Sequence[str] = ()
    max_age_versions: int | None = None
    reward: str | None = None
    kinds: Sequence[str] = field(default=("training", "sampling", "import", "proxy"))
