"""Compare the first number of an answer with the row's, within a tolerance."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from pydantic import Field

from r2vpo.data.rows import PromptRow
from r2vpo.rewards.number_text import first_number
from r2vpo.rewards.options import RewardOptions, with_reasons
from r2vpo.rewards.text import first_line


class NumericOptions(RewardOptions):
    """Options of `numeric`.

    Attributes:
        tolerance: largest difference, relative to the answer (absolute if |answer| is below 1).
    """

    tolerance: float = Field(default=1e-6, ge=0)


def numeric_reward(options: NumericOptions) -> Any:
    """Score 1 if |found - answer| <= tolerance max(1, |answer|), else 0; None if the answer contains no number.

    Both numbers are read by `first_number`; a completion's from the first line of its answer that is not empty.
    """

    def close(text: Any, right: str) -> float | None:
        wanted = _gold(right)
        if wanted is None:
            return None
        found = first_number(first_line(text))
        if found is None or not math.isfinite(found):
            return 0.0
        return float(abs(found - wanted) <= options.tolerance * max(1.0, abs(wanted)))

    def numeric(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
        return [close(text, right) for text, right in zip(completions, answer, strict=True)]

    def reason(row: PromptRow) -> str | None:
        said = f"the answer {row.answer!r} holds no number: use the reward 'exact' for such data"
        return said if _gold(row.answer) is None else None

    return with_reasons(numeric, reason)


@lru_cache(maxsize=4096)
def _gold(answer: str) -> float | None:
    number = first_number(answer)
    return number if number is not None and math.isfinite(number) else None
