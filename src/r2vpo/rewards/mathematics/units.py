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
volume 1/1000 ml milliliter millilitre | 1/100 cl | 1 l L liter litre
dollars 1/100 cent ¢ | 1 dollar usd USD
euros 1 euro eur EUR
pounds 1 pound gbp GBP
yen 1 yen
morning 1 am AM
afternoon 1 pm PM
"""


class Unit(NamedTuple):
    """What is measured, to which power, and in how many of the smallest common unit."""

    dimension: str
    power: int
    size: Fraction


def _table() -> dict[str, Unit]:
    units = {}
    for line in _TABLE.strip().splitlines():
        dimension, _, entries = line.partition(" ")
        for entry in entries.split("|"):
            size, *names = entry.split()
            for name in names:
                units[name] = units[f"{name}s"] = Unit(dimension, 1, Fraction(size))
    return units


UNITS = _table()
"""By name, singular and plural."""
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_WORDS = r"\\text\{[^{}]*\}"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|\d))?"
_TRAILING = re.compile(rf"\s*{_WORDS}{_POWER}(?:\s*(?:(?:/|\\cdot)\s*(?:{_WORDS}|[A-Za-z]{{1,3}})|{_WORDS}){_POWER})*$")


def split_unit(text: str) -> tuple[str, Unit | None]:
    r"""Take the words at an expression's end off it.

    Args:
        text: `5 \text{cm}^{2}` or any other leaf.

    Returns:
        What stands before the words, and the unit that they are, None where it is none of the table. A text of words
        alone stays as it is.
    """
    found = _TRAILING.search(text)
    if found is None or not text[: found.start()].strip() or CHANGES_VALUE.search(_unbraced(found[0])):
        return text, None
    return text[: found.start()].strip(), _unit(found[0])


def _unbraced(words: str) -> str:
    return re.sub(r"\\text\{([^{}]*)\}", r" \1 ", words)


def _unit(text: str) -> Unit | None:
    power = re.search(r"\^\s*\{?\s*(-?\d)", text)
    words = re.sub(r"\^\s*\{?\s*-?\d\s*\}?|\\text|[{},;]", " ", text.replace(".", "")).split()
    factor = int(power[1]) if power else 1
    if len(words) == 2 and words[0].lower() in _POWERS:
        factor, words = _POWERS[words[0].lower()], words[1:]
    if len(words) != 1:
        return None
    word = words[0]
    unit = UNITS.get(word) or UNITS.get(word.lower())
    return None if unit is None else Unit(unit.dimension, factor, unit.size**factor)
