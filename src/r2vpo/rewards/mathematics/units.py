"""Units: most are ignored, but two different known units are compared."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from r2vpo.rewards.mathematics.words import CHANGES_VALUE

_TABLE = """
length 1/1000 mm millimeter millimetre | 1/100 cm centimeter centimetre | 1/10 dm decimeter decimetre | 1 m meter metre
length 1000 km kilometer kilometre | 127/5000 in inch inches | 381/1250 ft foot feet | 1143/1250 yd yard
length 201168/125 mi mile | 1/1000000 um micrometer micrometre micron | 1/1000000000 nm nanometer
length 1/10000000000 angstrom
length^3 1/1000000 ml mL milliliter millilitre | 1/100000 cl | 1/1000 l L liter litre
time 1 s sec second | 60 min minute | 3600 h hr hour | 86400 day | 604800 week
weight 1/1000 mg milligram | 1 g gram | 1000 kg kilogram | 1000000 t ton tonne
weight 45359237/100000 lb | 45359237/1600000 oz ounce
dollars 1/100 cent ¢ | 1 dollar usd USD
euros 1 euro eur EUR
gbp 1 gbp GBP
yen 1 yen
rupees 1 rupee inr INR
morning 1 am AM
afternoon 1 pm PM
angle 1 rad radian
gradians 1 grad gradian
weight*length*time^-2 1000 N newton | 1000000 kN
weight*length^2*time^-2 1000 J joule | 1000000 kJ | 1/10000 erg | 3600000000 kWh
weight*length^2*time^-3 1000 W watt | 1000000 kW
voltage 1 V volt
current 1 A ampere amp
temperature 1 K kelvin
resistance 1 ohm
"""


class Unit(NamedTuple):
    """A dimension, and its size in the smallest common unit.

    Attributes:
        dimensions: the measured quantities with their powers: length 1 and time -1 for a speed.
        size: the size of one such unit in the units of the table that have size 1.
    """

    dimensions: frozenset[tuple[str, int]]
    size: Fraction


def _table() -> dict[str, tuple[tuple[tuple[str, int], ...], Fraction]]:
    units = {}
    for line in _TABLE.strip().splitlines():
        measured, _, entries = line.partition(" ")
        parts = [part.partition("^") for part in measured.split("*")]
        dimensions = tuple((name, int(power or 1)) for name, _, power in parts)
        for entry in entries.split("|"):
            size, *names = entry.split()
            for name in names:
                units[name] = units[f"{name}s"] = (dimensions, Fraction(size))
    return units


UNITS = _table()
"""The measured quantities with their powers, and the size, by name in singular and plural."""
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
    r"""Split off the words at the end of an expression, such as `5 \text{cm}^{2}`.

    Returns:
        The text before the words, and the unit that they form, or None if it is not in the table. A text of only
        words is returned unchanged.
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
    """Read a unit without braces: `km/h`, `square feet`, `m ^2`, `meters per second squared`.

    Returns:
        The product of all its parts; None if there is a word that is not a unit of the table.
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
            (measured, one), power = last
            more = power * (_AFTER[word] - 1)
            for name, of in measured:
                powers[name] += of * more
            size *= one**more
            last = None
        elif (unit := UNITS.get(part["word"]) or UNITS.get(word)) is not None:
            power = sign * before * int(part["power"] or 1)
            for name, of in unit[0]:
                powers[name] = powers.get(name, 0) + of * power
            size *= unit[1] ** power
            last, sign, before = (unit, power), 1, 1
        else:
            return None
    dimensions = frozenset((name, power) for name, power in powers.items() if power)
    return Unit(dimensions, size) if dimensions else None


def without_rate(unit: Unit) -> Unit:
    """Return the money of a wage, `dollars per hour`; any other unit unchanged."""
    money = [name for name, power in unit.dimensions if name in _MONEY and power == 1]
    return Unit(frozenset({(money[0], 1)}), Fraction(1)) if len(money) == 1 and len(unit.dimensions) > 1 else unit


_MONEY = ("dollars", "euros", "gbp", "yen", "rupees")
_PARTS = re.compile(rf"\s*(-?\d+(?:\.\d+)?)\s*({_WORDS})\s*")


def summed_measure(text: str) -> tuple[Fraction, Unit] | None:
    r"""Add up a measure in several units: `2 \text{hours} 30 \text{minutes}` is 9000 seconds.

    Returns:
        The sum and its unit, the one of size 1 in the table; None unless there are at least two parts, all of one
        dimension.
    """
    total, unit, place, count = Fraction(0), None, 0, 0
    while (part := _PARTS.match(text, place)) is not None:
        found = read_unit(re.sub(r"\band\b", " ", _unbraced(part[2])))
        if found is None or (unit is not None and found.dimensions != unit.dimensions):
            return None
        total, unit = total + Fraction(part[1]) * found.size, Unit(found.dimensions, Fraction(1))
        place, count = part.end(), count + 1
    return (total, unit) if unit is not None and count > 1 and place == len(text) else None
