"""The first number of an answer, within a tolerance."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.text import first_answer, first_number


class NumericOptions(RewardOptions):
    """Options of `numeric`.

    Attributes:
        tolerance: largest difference, relative to the answer (absolute below 1).
    """

    tolerance: float = Field(default=1e-6, ge=0)


def numeric_reward(options: NumericOptions) -> Any:
    """Score 1 where |found - answer| <= tolerance max(1, |answer|), else 0.

    Both are the first number of their text, of a completion's first line that is not empty.

    Args:
        options: the tolerance.

    Returns:
        The reward function. It raises ValueError for an answer without a number.
    """

    def close(text: Any, right: str) -> float:
        found, wanted = first_number(first_answer(text)), first_number(right)
        if wanted is None:
            raise ValueError(f"the answer {right!r} holds no number: use the reward 'exact' for such data")
        if found is None or not math.isfinite(found):
            return 0.0
        return float(abs(found - wanted) <= options.tolerance * max(1.0, abs(wanted)))

    def numeric(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        return [close(text, right) for text, right in zip(completions, answer, strict=True)]

    return numeric
