"""Rational numbers without rounding: their notations, powers, roots and factorials, within limits."""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_EXPONENT = 10_000
MAX_FACTORIAL = 2_000
MAX_BITS = 100_000
"""Limit for an intermediate numerator or denominator; the largest allowed power, 10,000 digits, has 33,220 bits."""

REPEATS = re.compile(r"(\d)\1\1+$|(\d{2,})\2+$")
"""Digits at the end that repeat: one that occurs three times, or several that occur twice."""
_NO_BRACKETS = str.maketrans("", "", "{})")


class TooLarge(ValueError):
    """A number that would take too long to compute; the text says whether a power or a factorial is the cause."""


class NotRational(ValueError):
    """An expression without a rational value, or one that is not read as a number."""


def decimal(text: str) -> Fraction:
    """Read a decimal number as `Fraction` does, with a limit on the exponent."""
    _, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise TooLarge("power")
    return Fraction(text)


def small(value: Fraction) -> Fraction:
    """Return a value, unless it is over the limit."""
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("power")
    return value


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return a power, also with a half as its exponent if the root is rational."""
    if exponent.denominator == 2 and abs(exponent) < 100:
        base, exponent = root(base), 2 * exponent
    if exponent.denominator != 1:
        raise NotRational
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) > MAX_EXPONENT or (size > 1 and size * abs(exponent) > MAX_BITS):
        raise TooLarge("power")
    return Fraction(base ** int(exponent))


def root(value: Fraction) -> Fraction:
    """Return a square root if it is rational."""
    above, below = math.isqrt(max(value.numerator, 0)), math.isqrt(value.denominator)
    if value < 0 or above * above != value.numerator or below * below != value.denominator:
        raise NotRational
    return Fraction(above, below)


def factorial(value: Fraction) -> Fraction:
    """Return a factorial."""
    if value.denominator != 1 or value < 0:
        raise NotRational
    if value > MAX_FACTORIAL:
        raise NotRational if value < 10 * MAX_FACTORIAL // 2 else TooLarge("factorial")
    return Fraction(math.factorial(int(value)))


def binomial(above: Fraction, below: Fraction) -> Fraction:
    """Return a binomial coefficient."""
    if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above <= MAX_FACTORIAL:
        raise NotRational
    return Fraction(math.comb(int(above), int(below)))


def recurring(text: str) -> Fraction:
    r"""Read 0.1\overline{6} and 0.1\dot{6}: the digits under the line, or from dot to dot, repeat forever."""
    whole, _, rest = text.partition(".")
    head, _, tail = re.sub(r"\\(?:overline|bar|dot)|\(", "|", rest).translate(_NO_BRACKETS).partition("|")
    return _repeated(whole, head, tail.replace("|", ""))


def dotted(text: str) -> Fraction:
    """Read 0.333 and 0.1818 with dots after them: one digit that occurs three times, or several that occur twice."""
    whole, _, digits = text.partition(".")
    if (found := REPEATS.search(digits)) is None:
        raise NotRational
    return _repeated(whole, digits[: found.start()], found[1] or found[2])


def _repeated(whole: str, head: str, repeated: str) -> Fraction:
    start = Fraction(int((whole or "0") + head), 10 ** len(head))
    return start + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(head))


READ = {"number": decimal, "recurring": recurring, "dotted": dotted}
"""Functions that read a number, by its notation."""
