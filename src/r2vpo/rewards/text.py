"""Finding the answer in what a model wrote."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_LEAD = re.compile(r"^(?:(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?|a:|=)\s*", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+|\s*/\s*\d+)?")


def completion_text(completion: Any) -> str:
    """Return the text of a completion, which is a string or a list of chat messages.

    Args:
        completion: what TRL passes.
    """
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""


def first_answer(completion: Any) -> str:
    """Return the first line that is not empty, without "Answer:" before it or a full stop after it."""
    lines = completion_text(completion).strip().splitlines()
    if not lines:
        return ""
    return _LEAD.sub("", lines[0].strip()).strip().rstrip(".").strip()


def normalise(answer: str) -> str:
    """Return an answer as it is compared; case, spaces and thousands' commas do not count."""
    text = " ".join(answer.replace("\u2212", "-").casefold().split())
    return _THOUSANDS.sub("", text).removesuffix(".")


def first_number(text: str) -> float | None:
    """Return the first number of a text (decimal, exponent or fraction), None when there is none."""
    found = _NUMBER.search(_THOUSANDS.sub("", text.replace("\u2212", "-")))
    if found is None:
        return None
    try:
        number = found.group().replace(" ", "")
        return float(Fraction(number)) if "/" in number else float(number)
    except (ZeroDivisionError, OverflowError):
        return None
