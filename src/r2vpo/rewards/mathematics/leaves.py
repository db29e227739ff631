"""Single expressions: first exact numbers, then words; sympy for the rest."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from r2vpo.rewards.mathematics.exact import Number, read_number
from r2vpo.rewards.mathematics.lists import summed
from r2vpo.rewards.mathematics.rationals import TooLarge
from r2vpo.rewards.mathematics.symbolic import expression, is_constant, rational, rounds_to, same_expression
from r2vpo.rewards.mathematics.units import Unit, read_unit, split_unit, summed_measure, without_rate
from r2vpo.rewards.mathematics.words import CHANGES_VALUE, NUMBERS, are_contrary
from r2vpo.rewards.worker import NoScore

RADIANS = read_unit("rad")
PLACES = 6
"""A rounded decimal needs this many digits after the point, and this many significant digits."""

_LEADING = re.compile(r"(?:\\text\{[^{}]*\}\s*[:=]?\s*)+(?=[^\s])")
_DEGREE = re.compile(r"\s*\\degree\s*[CFK]?$")
_SCALES = {"C": "celsius", "F": "fahrenheit", "K": "kelvin"}
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_IN_WORDS = re.compile(r"\\text\{\s*(?P<number>[a-z]+(?:-[a-z]+)?)(?:\s+(?P<rest>[^{}]*))?\}", re.IGNORECASE)
_KEPT = re.compile(r"\b(?:(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|[a-z]+day)\b", re.IGNORECASE)
_SAID = re.compile(
    r"\\text\{(?P<lead>[A-Za-z][^\d{}]*[\s:(=])(?P<number>[-+]?\d[\d,]*(?:\.\d+)?(?:/\d+)?(?:\s*\\%)?)\)?"
    r"(?P<rest>[^\d{}]*)\}"
)
"""A sentence about one number: `There are 84 integers.`"""
_NO_VALUE = re.compile(
    r"\b(?:(?:divided|divisible|multiplied) by|times|out of|mod|modulo|base|log|ln|power)\W*$", re.IGNORECASE
)
_QUANTITY = re.compile(
    r"\b(?:number|sum|product|difference|remainder)s?\s+of\b(?=.*(?:[:=]|\b(?:is|are|equals)\b)\W*$)", re.IGNORECASE
)
"""Words that a value is given to: `Number of ways:`"""
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_COUNT = re.compile(r"(?:[a-z]{2}(?<!s)s|people|children|men|women)\W*$", re.IGNORECASE)
_BARE_UNIT = re.compile(r"(?P<amount>.*[\d}])\s?(?P<unit>[mgshlLNJWVKA])(?P<power>\s*\^\s*(?:\{\d\}|\d))?")
_RATIO = re.compile(r"\s*([^:]+):([^:]+)\s*")


class Single:
    """A single expression that has been read.

    Attributes:
        text: the expression without the words before and after it.
        unit: a known unit after it, or None.
        degrees: whether it is an angle in degrees.
        number: its exact value if it is rational.
        words: whether it has words that cannot be left out.
        bare: all its letters, digits and signs, in small letters.
        lead: the same for the words before it.
        said: its words.
        counts: whether the words after it say what is counted.
    """

    def __init__(self, text: str) -> None:
        self.bare, self.lead = _bare(text), ""
        self.said = " ".join(_TEXT.findall(text)) if r"\text" in text else ""
        measure = summed_measure(text)
        if self.said and (sentence := _SAID.fullmatch(text)) and not _NO_VALUE.search(sentence["lead"]):
            text = rf"\text{{{sentence['lead']}}}{sentence['number']}\text{{{sentence['rest'].strip()}}}"
        text = whole = _with_digits(text) if self.said else text
        text, self.unit = split_unit(text) if measure is None else (str(measure[0]), measure[1])
        self.counts = self.unit is None and _COUNT.search(whole[len(text) :]) is not None
        leading = _LEADING.match(text)
        if leading and not _KEPT.search(leading[0]) and not _changes_value(leading[0]):
            self.lead = _bare(leading[0])
            text = text[leading.end() :].strip()
        self.degrees = _DEGREE.search(text) is not None and _TRIGONOMETRIC.search(text) is None
        if self.degrees and (scale := _SCALES.get(text[-1])):
            self.said += f" {scale}"
        self.text = (_DEGREE.sub("", text) if self.degrees else text).strip()
        self.number: Number | None = _number(self.text)
        self.words = self.number is None and r"\text" in self.text

    @property
    def kind(self) -> str:
        """The kind that its mark shows: a share, an angle in degrees, or a known measure; empty without a mark."""
        if self.number is not None and self.number.percent:
            return "percent"
        return "degrees" if self.degrees else "measure" if self.unit is not None else ""


def _with_digits(text: str) -> str:
    r"""Write `\text{three days}` as `3 \text{days}`: a number in words, alone or before a known unit."""
    found = _IN_WORDS.fullmatch(text)
    if found is None or (number := NUMBERS.get(found["number"].lower())) is None:
        return text
    if found["rest"] is None:
        return str(number)
    return text if read_unit(found["rest"]) is None else rf"{number}\text{{{found['rest']}}}"


def _changes_value(lead: str) -> bool:
    return CHANGES_VALUE.search(_QUANTITY.sub("", lead.replace(r"\text", " "))) is not None


def squeezed(text: str) -> str:
    """Remove the spaces of an expression, except those between digits."""
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def _bare(text: str) -> str:
    plain = re.sub(r"[^\w+*/^=<>.,-]|[.,](?!\d)|(?<!\d)[.,]", "", text.replace(r"\text", "")).casefold()
    return re.sub(r"(?<=[a-z])-(?=[a-z])", "", plain)


read_single = lru_cache(maxsize=8192)(Single)


def _number(text: str) -> Number | None:
    try:
        return read_number(text)
    except TooLarge as error:
        raise NoScore(str(error), text[:100]) from None


def same_leaf(gold: str, answer: str) -> bool:
    """Whether two single expressions are equal.

    Raises:
        NoScore: the comparison would cost too much.
    """
    if squeezed(gold) == squeezed(answer):
        return True
    right, found = read_single(gold), read_single(answer)
    if _exclude(right, found) or _exclude(found, right):
        return False
    if right.words or found.words or (right.lead and found.lead and right.lead != found.lead):
        return right.bare == found.bare != ""
    if len({right.kind, found.kind} - {""}) == 2:
        return (right.degrees or found.degrees) and RADIANS in (right.unit, found.unit) and _same_angle(right, found)
    right, found = _with_unit(right, found), _with_unit(found, right)
    if right.unit is not None and found.unit is not None and right.unit != found.unit:
        return _same_measure(right, right.unit, found, found.unit)
    if right.degrees != found.degrees and r"\pi" in (right if right.degrees else found).text:
        return False
    for based, plain in ((right, found), (found, right)):
        if based.number is not None and based.number.base is not None and plain.number is None:
            return based.number.written == plain.text.replace(" ", "").upper()
    if right.number is not None and found.number is not None:
        return _same_number(right.number, found.number) or _same_angle(right, found)
    if squeezed(right.text) == squeezed(found.text):
        return True
    if (ratio := _same_ratio(right.text, found.text)) is not None:
        return ratio
    return _same_otherwise(right, found) or _same_angle(right, found)


def _exclude(single: Single, other: Single) -> bool:
    """Whether answers contradict each other: opposite words such as north and south, or a count and a percentage."""
    if single.said and other.said and are_contrary(single.said, other.said):
        return True
    return single.counts and other.kind == "percent" != single.kind


def _with_unit(single: Single, other: Single) -> Single:
    r"""Read a bare letter as a unit next to a known unit: `5 N`."""
    if other.unit is None or single.unit is not None or single.number is not None:
        return single
    found = _BARE_UNIT.fullmatch(single.text)
    return (
        single if found is None else read_single(rf"{found['amount']}\text{{ {found['unit']}}}{found['power'] or ''}")
    )


def _same_measure(gold: Single, one: Unit, answer: Single, other: Unit) -> bool:
    """Compare measures: 5 km is 5000 m, and neither 5 m nor 5 km^2; 18 km/h is 5 m/s."""
    if without_rate(one) == other or one == without_rate(other):  # a wage, where one side leaves out the time
        one, other = without_rate(one), without_rate(other)
    if one.dimensions != other.dimensions or gold.number is None or answer.number is None:
        return False
    return gold.number.value * one.size == answer.number.value * other.size


def _same_number(gold: Number, answer: Number) -> bool:
    if gold.base is not None or answer.base is not None:
        return _same_in_bases(gold, answer)
    for one in _readings(gold, answer):
        for other in _readings(answer, gold):
            if one == other:
                return True
    return _rounded(gold, answer) or _rounded(answer, gold)


def _readings(number: Number, other: Number) -> tuple[Fraction, ...]:
    """Return the possible values: 50 % is 50 and 0.5, unless the other number also has a percent sign."""
    if not number.percent or other.percent:
        return (number.value,)
    return number.value, number.value / 100


def _same_in_bases(gold: Number, answer: Number) -> bool:
    """Whether two values are equal; a number without a base may be the digits of the other one."""
    if gold.value == answer.value:
        return True
    if gold.base is not None and answer.base is not None:
        return False
    based, plain = (gold, answer) if gold.base is not None else (answer, gold)
    return plain.places is None and not plain.percent and str(plain.value) == based.written


def _rounded(decimal: Number, other: Number) -> bool:
    """Whether a decimal number of six or more places is another number rounded to its places."""
    if decimal.places is None or decimal.places < PLACES or decimal.digits < PLACES or decimal.percent != other.percent:
        return False
    if other.places is not None and other.places <= decimal.places:
        return False
    if decimal.value.denominator == 1:  # 1.000000 is exactly 1, not a number near it
        return False
    return 2 * abs(other.value - decimal.value) <= Fraction(1, 10**decimal.places)


def _same_ratio(gold: str, answer: str) -> bool | None:
    """Compare ratios: 4:3 is 4:3 and 4/3; None if there is no ratio. Times of the day are compared as texts."""
    one, other = _RATIO.fullmatch(gold), _RATIO.fullmatch(answer)
    if one is None and other is None:
        return None
    if one is not None and other is not None:
        return all(map(same_leaf, one.groups(), other.groups()))
    parts, number = (one, _number(answer)) if one is not None else (other, _number(gold))
    assert parts is not None
    above, below = _number(parts[1]), _number(parts[2])
    if number is not None and above is not None and below is not None:
        return below.value != 0 and above.value / below.value == number.value
    quotient = expression(rf"\frac{{{parts[1]}}}{{{parts[2]}}}")
    return same_expression(quotient, expression(answer if one is not None else gold))


def _same_otherwise(gold: Single, answer: Single) -> bool:
    one, other = _expression(gold), _expression(answer)
    if one is None or other is None:
        return False
    for number, value in ((gold.number, other), (answer.number, one)):
        if number is not None and number.places is not None and not number.percent and is_constant(value):
            enough = number.places >= PLACES and number.digits >= PLACES and number.value.denominator > 1
            return (enough and rounds_to(value, number.value, number.places)) or same_expression(one, other)
    return same_expression(one, other)


def _expression(single: Single) -> object:
    if single.number is not None:
        return rational(single.number.value) if single.number.base is None and not single.number.percent else None
    return expression(summed(single.text))


def _same_angle(gold: Single, answer: Single) -> bool:
    r"""Whether two angles are the same: 45 degrees are \frac{\pi}{4}."""
    if gold.degrees == answer.degrees:
        return False
    degrees, radians = (gold, answer) if gold.degrees else (answer, gold)
    if r"\pi" not in radians.text:
        return False
    one, other = expression(rf"\frac{{\pi}}{{180}} \cdot ({degrees.text})"), expression(radians.text)
    return same_expression(one, other)
