"""Units: most are left out, but two known units that differ are compared."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from r2vpo.rewards.mathematics.words import CHANGES_VALUE

_TABLE = """
length 1/1000 mm millimeter millimetre | 1/100 cm centimeter centimetre | 1/10 dm decimeter decimetre | 1 m meter metre
length 1000 km kilometer kilometre | 127/5000 in inch inches | 381/1250 ft foot feet | 1143/1250 yd yard
length 201168/125 mi mile
time 1 s sec second | 60 min minute | 3600 h hr hour | 86400 day | 604800 week
weight 1/1000 mg milligram | 1 g gram | 1000 kg kilogram | 1000000 t ton tonne
weight 45359237/100000 lb | 45359237/1600000 oz ounce
volume 1/1000 ml milliliter millilitre | 1/100 cl | 1 l L liter litre
dollars 1/100 cent ¢ | 1 dollar usd USD
euros 1 euro eur EUR
gbp 1 gbp GBP
yen 1 yen
rupees 1 rupee inr INR
morning 1 am AM
afternoon 1 pm PM
"""


class Unit(NamedTuple):
    """What is measured, and in how many of the smallest common unit.

    Attributes:
        dimensions: what is measured with its power: length 1 and time -1 for a speed.
        size: how much one of it is in the units of the table whose size is 1.
    """

    dimensions: frozenset[tuple[str, int]]
    size: Fraction


def _table() -> dict[str, tuple[str, Fraction]]:
    units = {}
    for line in _TABLE.strip().splitlines():
        dimension, _, entries = line.partition(" ")
        for entry in entries.split("|"):
            size, *names = entry.split()
            for name in names:
                units[name] = units[f"{name}s"] = (dimension, Fraction(size))
    return units


UNITS = _table()
"""What is measured and the size, by name, singular and plural."""
_SHORT = {"mph": "mi / h", "kmh": "km / h", "kph": "km / h", "kmph": "km / h", "sqft": "ft ^2", "cc": "cm ^3"}
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_AFTER = {"squared": 2, "cubed": 3}
_WORDS = r"\\text\{[^{}]*\}"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|\d))?"
_MEASURE = rf"{_WORDS}{_POWER}"
_TRAILING = re.compile(
    rf"\s*(?:\\frac\{{\s*{_MEASURE}\s*\}}\{{\s*{_MEASURE}\s*\}}"
    rf"|{_MEASURE}(?:\s*(?:(?:/|\\cdot)\s*(?:{_WORDS}|[A-Za-z]{{1,3}})|{_WORDS}){_POWER}"
    rf"|\s*[a-z]{{1,3}}\s*\^\s*\{{\s*-\d\s*\}})*)$"
)
_PART = re.compile(r"(?P<over>/|\bper\b)|(?P<word>[A-Za-z¢]+)(?:\s*\^\s*(?P<power>-?\d))?|(?P<other>\S)")


def split_unit(text: str) -> tuple[str, Unit | None]:
    r"""Take the words at an expression's end off it.

    Args:
        text: `5 \text{cm}^{2}` or any other leaf.

    Returns:
        What stands before the words, and the unit that they are, None where it is none of the table. A text of words
        alone stays as it is.
    """
    found = _TRAILING.search(text)
    if found is None or not (before := text[: found.start()].strip()):
        return text, None
    words = _unbraced(found[0])
    unit = read_unit(words)
    if unit is None and CHANGES_VALUE.search(words):
        return text, None
    return before, unit


def _unbraced(words: str) -> str:
    fraction = re.sub(r"\\frac\{\s*(\\text.*)\}\{\s*(\\text.*)\}", r"\1 / \2", words)
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", fraction)
    return re.sub(r"[{},;]|\\cdot", " ", re.sub(r"\.(?!\d)", "", plain))


def read_unit(words: str) -> Unit | None:
    """Read a unit: `km/h`, `square feet`, `m ^2`, `meters per second squared`.

    Args:
        words: without braces.

    Returns:
        The product of all of it; None where there is a word that is no unit of the table.
    """
    powers: dict[str, int] = {}
    size, sign, before, last = Fraction(1), 1, 1, None
    words = re.sub(r"[A-Za-z]+", lambda word: _SHORT.get(word[0].lower(), word[0]), words)
    for part in _PART.finditer(words):
        if part["over"]:
            sign = -1
        elif part["other"]:
            return None
        elif (word := part["word"].lower()) in _BEFORE:
            before = _BEFORE[word]
        elif word in _AFTER and last is not None:
            (name, one), power = last
            powers[name] += power * (_AFTER[word] - 1)
            size *= one ** (power * (_AFTER[word] - 1))
            last = None
        elif (unit := UNITS.get(part["word"]) or UNITS.get(word)) is not None:
            power = sign * before * int(part["power"] or 1)
            powers[unit[0]] = powers.get(unit[0], 0) + power
            size *= unit[1] ** power
            last, sign, before = (unit, power), 1, 1
        else:
            return None
    dimensions = frozenset((name, power) for name, power in powers.items() if power)
    return Unit(dimensions, size) if dimensions else None
