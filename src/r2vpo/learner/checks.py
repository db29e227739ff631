"""What a caller can get wrong in a round, refused in one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from r2vpo.core.log_probs.values import TokenLogProbs
from r2vpo.learner.micro_batch import MicroBatch
from r2vpo.replay.group import Group

Values = TypeVar("Values")


def check_round(groups: Sequence[Group], *, version: int, max_staleness: int, micro_batches: int) -> None:
    """Refuse sampled groups that a round cannot be made of.

    Args:
        groups: This process's groups.
        version: The round.
        max_staleness: The most versions that a row can be behind.
        micro_batches: Micro-batches of this process in one pass.

    Raises:
        ValueError: There are fewer rows than micro-batches, a group is too old or newer than the round, or an advantage
            is not finite, so that one step would make every weight NaN.
    """
    rows = sum(map(len, groups))
    if rows < micro_batches:
        raise ValueError(
            f"round {version}: {rows} rollouts do not fill micro_batches = {micro_batches}, each of which needs one: "
            "pass more groups, or lower micro_batches"
        )
    for group in groups:
        if not 0 <= group.staleness(version) <= max_staleness:
            raise ValueError(
                f"round {version}: group {group.number} has policy_version = {group.policy_version}, which must be "
                f"from {max(version - max_staleness, 0)} to {version}: correct it, or raise max_staleness"
            )
        wrong = next((row.advantage for row in group.rollouts if not math.isfinite(row.advantage)), None)
        if wrong is not None:
            raise ValueError(
                f"round {version}: group {group.number} has an advantage of {wrong}, which must be finite: correct the "
                "reward, or give the row an advantage of 0"
            )


def check_rewards(groups: Sequence[Group], version: int) -> None:
    """Refuse rewards that a critic cannot learn from.

    Args:
        groups: This process's groups.
        version: The round.

    Raises:
        ValueError: The reward of a row with a score is not finite.
    """
    for group in groups:
        wrong = next((row.reward for row in group.rollouts if row.scored and not math.isfinite(row.reward)), None)
        if wrong is not None:
            raise ValueError(
                f"round {version}: group {group.number} has a reward of {wrong}, which must be finite: correct the "
                "reward, or mark the row with scored=False"
            )


def checked(values: Values, micro: MicroBatch, *, critic: bool) -> Values:
    """Return what `forward` computed for a micro-batch, if it has the shape of the responses.

    Args:
        values: The result of `forward`, with the fields of `TokenLogProbs`.
        micro: B rows, padded to T.
        critic: Whether there must be values of a critic.

    Raises:
        ValueError: Log-probs, entropies or values are not (B, T).
    """
    shape = tuple(micro.rollout_log_probs.shape)
    for name in TokenLogProbs._fields:
        found = getattr(values, name, None)
        if name == "values" and found is None and not critic:
            continue
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            given = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(values).__name__}"
            raise ValueError(
                f"forward must return TokenLogProbs with {name} {shape}, one for each position of "
                f"micro.batch.response_ids, and this is {given}: correct the function"
            )
    return values
