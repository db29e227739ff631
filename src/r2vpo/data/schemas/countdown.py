"""Layout of the numbers game: make a target number from other numbers."""

from __future__ import annotations

from typing import Any

from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, shown, value_of

PROMPT = (
    "Numbers: {nums}. Target: {target}.\n"
    "Write an expression with the value of the target. Use every number exactly once, and only +, -, *, / and "
    "parentheses."
)


def countdown(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of the numbers game: `nums`, `target`.

    The difficulty is the number of numbers. The answer is the target, which the prompt states; `nums` and `target` are
    in the metadata, where the reward `countdown` finds them.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    nums, target = value_of(record, "nums"), value_of(record, "target")
    if not isinstance(nums, list) or len(nums) < 2 or not all(map(_is_whole, nums)):
        raise BadRow(f"'nums' is {shown(nums)}: write a list of two whole numbers or more")
    if not _is_whole(target):
        raise BadRow(f"'target' is {shown(target)}: write a whole number")
    return PromptRow(
        PROMPT.format(nums=", ".join(map(str, nums)), target=target),
        str(target),
        f"{len(nums)} numbers",
        metadata={"nums": nums, "target": target},
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
