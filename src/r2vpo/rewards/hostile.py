"""Detect answers that would hang or crash a scoring worker from their text, without evaluating anything."""

from __future__ import annotations

import math
import re

MAX_CHARACTERS = 1000
MAX_DEPTH = 10
MAX_EXPONENT = 1e4
MAX_SUM_EXPONENT = 100
MAX_FACTORIAL_DIGITS = 4

_SPACES = re.compile(r"\\left|\\right|\\[,!;: ]|\s")
_JOINTS = re.compile(r"[{(\[]|[})\]](?=[})\]]*(?:\^|\*\*|!))")
_CLOSING = re.compile(r"[})\]]+")
_TOWER = re.compile(r"\d[\d.]*(?:(?:\^|\*\*)[-+]?\d[\d.]*)+")
_FACTORIAL = re.compile(rf"!!|\^\d+!|\d{{{MAX_FACTORIAL_DIGITS + 1},}}!")
_SYMBOL_POWER = re.compile(r"[a-zA-Z](?:\^|\*\*)(\d+)")
_SUM_POWER = re.compile(r"[)\]]\s*(?:\^|\*\*)\s*[{(]?\s*(\d+)")


def refusal(text: str) -> str | None:
    r"""Return why an answer should not be evaluated, or None.

    The time of parsing doubles with every bracket and reaches a second at ten. Opening brackets, and closing ones
    before a power or a factorial, are removed before powers are looked for, so `(2^3)^4` is judged as `2^{3^4}`; other
    closing brackets end a number: the 25 of `\frac{x^2}{25}` is not an exponent. The upper limit of a sum counts as
    one.

    Returns:
        `length` (over 1,000 characters), `nesting` (over 10 brackets deep), `power` (an exponent over 10,000, itself a
        power or not; over 100 on a letter, or on a bracket where there are letters), `factorial` (of a number of five
        digits or more, of a power or of a factorial), or None.
    """
    if (reason := refusal_of_size(text)) is not None:
        return reason
    plain = _CLOSING.sub(" ", _JOINTS.sub("", _SPACES.sub("", text)))
    if any(_is_huge(tower) for tower in _TOWER.findall(plain)) or _expands(text, plain):
        return "power"
    if _FACTORIAL.search(plain):
        return "factorial"
    return None


def refusal_of_size(text: str) -> str | None:
    """Return `length` or `nesting` as `refusal` defines them, or None."""
    if len(text) > MAX_CHARACTERS:
        return "length"
    return "nesting" if _depth(text) > MAX_DEPTH else None


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]" and depth:
            depth -= 1
    return deepest


def _expands(text: str, plain: str) -> bool:
    """Whether a sum or a symbol has a power that sympy would multiply out or factor."""
    found = _SYMBOL_POWER.findall(plain)
    if re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text)):
        found += _SUM_POWER.findall(text)
    return any(len(exponent) > 4 or int(exponent) > MAX_SUM_EXPONENT for exponent in found)


def _is_huge(tower: str) -> bool:
    """Whether an exponent of a tower such as `9^9^9` is over the limit."""
    *bases, top = (abs(_number(part)) for part in re.split(r"\^|\*\*", tower))
    exponent = top
    for base in reversed(bases):
        if exponent > MAX_EXPONENT:
            return True
        digits = exponent * math.log10(base) if base > 0 else 0.0
        exponent = 10.0**digits if digits < 10 else math.inf
    return False


def _number(text: str) -> float:
    try:
        return float(text.rstrip("."))
    except ValueError:  # 1.2.3
        return 0.0
