"""The values that a reward function may return; the trial call, evaluation and training use the same rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from itertools import islice
from numbers import Real
from typing import Any

from r2vpo.rewards.undisturbed import told

LARGEST = 3.4e38
"""Largest number of float32, in which rewards are summed."""


def listed(scores: Any, count: int) -> Any:
    """Scores as a list of plain numbers where they are something like one, else as they are.

    Args:
        scores: what a function returned: a list, a tensor, an array, or anything else that can be gone through.
        count: how many are wanted; of what does not say how many it has, one more is read, as it may have no end.

    Returns:
        A list in which every number is a float and everything else is unchanged; `scores` itself where it has no rows.
    """
    if isinstance(scores, str | bytes | Mapping | Set) or not isinstance(scores, Iterable) or _without_rows(scores):
        return scores
    most = max(count, len(scores) if isinstance(scores, Sized) else 0) + 1
    return [_plain(score) for score in islice(scores, most)]


def counted(scores: list[Any], count: int) -> str:
    """How many scores there are, in words: of an iterator with too many only that is known."""
    return f"{len(scores)}" if len(scores) <= count else f"{len(scores)} or more"


def is_number(score: Any) -> bool:
    """Whether a score is a finite number that float32 can hold."""
    # Not converted to float, which an integer may be too large for; NaN fails the comparison.
    return isinstance(score, Real) and bool(abs(score) <= LARGEST)  # type: ignore[operator]


def _without_rows(scores: Any) -> bool:
    return getattr(scores, "ndim", 1) == 0


def _plain(score: Any) -> Any:
    if isinstance(score, Real):
        return float(score) if is_number(score) else score
    # A tensor or an array with one number, from any library.
    if hasattr(score, "item") and getattr(score, "ndim", None) == 0:
        return score.item()
    return score


def not_a_text(error: BaseException, completions: Sequence[Any] | None) -> str | None:
    """Say that completions are lists of messages, if a function may have failed because it took them for texts.

    Args:
        error: what the function raised.
        completions: what it was given.

    Returns:
        A sentence with the remedy, or None if that is not the reason.
    """
    chats = bool(completions) and isinstance(completions[0], list) if completions is not None else False
    if not chats or not isinstance(error, TypeError | AttributeError):
        return None
    text = told(error)
    if "missing" in text and "required" in text:  # a column
        return None
    return (
        "completions are lists of messages here, because the prompts are chats: read their text with "
        "r2vpo.text_of(completion)"
    )
