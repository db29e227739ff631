"""A group as it was sampled and scored, to be shown to the user before the first step trains on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.replay import Group


@dataclass(frozen=True)
class SampledGroup:
    """A group with the scores of each reward function.

    Attributes:
        group: the prompt and its responses, with the weighted sums of the scores.
        scores: for each response, the score of each function by its name; None where it does not apply.
        answer: the reference answer of the data, or None.
    """

    group: Group
    scores: list[dict[str, float | None]]
    answer: Any


ShowSample = Callable[[SampledGroup], None]


def telling_group(
    fresh: Sequence[Group], scores: Sequence[Sequence[float]], names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> SampledGroup:
    """Return the first group in which rewards differ, or else the first one.

    Args:
        fresh: the groups of a round, in order.
        scores: of each of their responses, one score per function; NaN where it does not apply.
        names: the functions.
        rows: of each response, the columns of its problem.
    """
    starts = [sum(len(group.rollouts) for group in fresh[:place]) for place in range(len(fresh))]
    differ = [len({rollout.reward for rollout in group.rollouts}) > 1 for group in fresh]
    place = differ.index(True) if True in differ else 0
    start, group = starts[place], fresh[place]
    mine = scores[start : start + len(group.rollouts)]
    return SampledGroup(
        group,
        [{name: None if one != one else one for name, one in zip(names, row, strict=True)} for row in mine],
        rows[start].get("answer"),
    )
