"""Rational numbers, read and computed without rounding."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

MAX_EXPONENT = 10_000
MAX_FACTORIAL = 2_000
MAX_BITS = 100_000
"""Limit for an intermediate numerator or denominator; the largest allowed power, 10,000 digits, has 33,220 bits."""

_TOKEN = re.compile(
    r"\s*(?:(?P<recurring>\d*\.\d*(?:\\overline\{\d+\}|\\bar\{\d+\}|\\dot\{?\d\}?(?:\d*\\dot\{?\d\}?)?|\(\d+\)(?![\d!^])))"
    r"|(?P<dotted>\d*\.\d+)\s*\\ldots"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,5}(?![\dA-Za-z]))?)|(?P<command>\\[A-Za-z]+)|(?P<sign>[-+*/^!(){}]))"
)
_BASED = re.compile(
    r"\(?\s*(?P<digits>[0-9A-Za-z]+)\s*\)?\s*_\s*(?:\{(?P<group>[^{}]*(?:\{[^{}]*\})?[^{}]*)\}|(?P<one>\d))"
)
_BASE_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip


_REPEATS = re.compile(r"(\d)\1\1+$|(\d{2,})\2+$")
_NO_BRACKETS = str.maketrans("", "", "{})")


class TooLarge(ValueError):
    """A number that would take too long to compute; the text says whether a power or a factorial is the cause."""


@dataclass(frozen=True)
class Number:
    """A rational number as it was written.

    Attributes:
        value: its value; with `percent`, the value of the number before the sign.
        percent: whether a percent sign follows.
        places: number of digits after the point if it is a single decimal number, else None.
        digits: number of significant digits of that decimal number.
        base: the base that was written, or None.
        written: the digits before the base.
    """

    value: Fraction
    percent: bool = False
    places: int | None = None
    digits: int = 0
    base: int | None = None
    written: str = ""


def read_number(text: str) -> Number | None:
    r"""Read a rational number.

    Args:
        text: from `normalise`: integers, decimals, recurring decimals, fractions, mixed numbers, powers, rational
            roots, factorials, binomial coefficients, their sums and products, percent, and `101_2`.

    Returns:
        The number; None if the text is something else.

    Raises:
        TooLarge: a power or a factorial is over its limit.
    """
    if len(text) > 1000:
        return None
    if based := _BASED.fullmatch(text):
        return _in_base(based)
    percent = text.endswith(r"\%")
    plain = text.removesuffix(r"\%").strip()
    if (cut := re.fullmatch(r"([-+]?\s*\d*\.\d{6,})\s*\\ldots", plain)) is not None and not _REPEATS.search(cut[1]):
        plain = cut[1]
    tokens = _tokens(plain)
    if tokens is None:
        return None
    try:
        value = _Reader(tokens).read()
    except (_NotRational, ZeroDivisionError, RecursionError):
        return None
    if (decimal := re.fullmatch(r"[-+]?\s*(\d*)\.(\d+)", plain)) is not None:
        return Number(value, percent, len(decimal[2]), len((decimal[1] + decimal[2]).lstrip("0")))
    return Number(value, percent)


def is_arithmetic(text: str) -> bool:
    """Check without sympy whether an expression is well formed: with a number for each letter and root it has a value.

    Args:
        text: from `normalise`. False proves nothing: there are more expressions than these.
    """
    plain = re.sub(r"\\(?:sqrt|sin|cos|tan|ln)(?![A-Za-z])|_\{\w+\}", "", text)
    plain = re.sub(
        r"\\(?:pi|alpha|beta|theta|lambda|infty)(?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", "(2)", plain
    )
    try:
        return read_number(plain) is not None
    except TooLarge:
        return False


def _in_base(found: re.Match[str]) -> Number | None:
    named = re.sub(r"\\text|base|[\s{}()]", "", found["one"] or found["group"]).lower()
    base = _BASE_WORDS.get(named) or (int(named) if re.fullmatch(r"\d{1,2}", named) else 0)
    try:
        value = Fraction(int(found["digits"], base)) if 2 <= base <= 36 else None
    except ValueError:
        return None
    return None if value is None else Number(value, base=base, written=found["digits"].lstrip("0").upper())


class _NotRational(ValueError):
    pass


def _tokens(text: str) -> list[tuple[str, str]] | None:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            return None if text[position:].strip() else found
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found or None


class _Reader:
    """Recursive descent parser over the tokens; each method reads one level of precedence."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.position = tokens, 0

    def read(self) -> Fraction:
        value = self.sum()
        if self.position < len(self.tokens):
            raise _NotRational
        return value

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def take(self, *wanted: str) -> str | None:
        if self.peek()[1] in wanted and self.position < len(self.tokens):
            self.position += 1
            return self.tokens[self.position - 1][1]
        return None

    def need(self, wanted: str) -> None:
        if self.take(wanted) is None:
            raise _NotRational

    def sum(self) -> Fraction:
        value = self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            value = _small(value + term if sign == "+" else value - term)
        return value

    def product(self) -> Fraction:
        sign = 1
        while found := self.take("+", "-"):
            sign = -sign if found == "-" else sign
        value, is_number = self.power()
        while True:
            if self.take("*", r"\cdot"):
                factor, is_number = self.signed()
                value *= factor
            elif self.take("/"):
                factor, is_number = self.signed()
                value /= factor
            elif is_number and self.peek()[1] == r"\frac":
                value, is_number = self.mixed(value), False
            elif self.peek()[1] in ("(", "{", r"\frac", r"\binom", r"\sqrt"):
                factor, is_number = self.power()
                value *= factor
            else:
                return sign * value
            _small(value)

    def signed(self) -> tuple[Fraction, bool]:
        if self.take("-"):
            value, _ = self.power()
            return -value, False
        return self.power()

    def mixed(self, whole: Fraction) -> Fraction:
        """Add an integer to a proper fraction of integers after it; before any other fraction it is a factor."""
        start = self.position
        plain = [token[1] for token in self.tokens[start : start + 7]]
        part, _ = self.power()
        is_plain = (
            self.position == start + 7 and plain[1::3] == ["{", "{"] and plain[2].isdigit() and plain[5].isdigit()
        )
        if is_plain and whole.denominator == 1:
            if not 0 <= part < 1:
                raise _NotRational
            return whole + part
        return whole * part

    def power(self) -> tuple[Fraction, bool]:
        """Return a value with the powers and factorials that follow it, and whether it is a bare integer."""
        kind, text = self.peek()
        is_number = kind == "number" and text.isdigit()
        value = self.atom()
        while sign := self.take("^", "!"):
            is_number = False
            value = _factorial(value) if sign == "!" else _power(value, self.exponent())
        return value, is_number

    def exponent(self) -> Fraction:
        if self.take("-"):
            return -self.exponent()
        value = self.atom()
        return _power(value, self.exponent()) if self.take("^") else value

    def group(self, closes: str) -> Fraction:
        value = self.sum()
        self.need(closes)
        return value

    def braced(self) -> Fraction:
        self.need("{")
        return self.group("}")

    def atom(self) -> Fraction:
        kind, text = self.peek()
        self.position += 1
        if kind == "number":
            return _decimal(text)
        if kind == "recurring":
            return _recurring(text)
        if kind == "dotted":
            return _dotted(text)
        if text in ("(", "{"):
            return self.group(")" if text == "(" else "}")
        if text == r"\frac":
            return self.braced() / self.braced()
        if text == r"\binom":
            return _binomial(self.braced(), self.braced())
        if text == r"\sqrt":
            return _root(self.braced())
        raise _NotRational


def _decimal(text: str) -> Fraction:
    """Read a decimal number as `Fraction` does, with a limit on the exponent."""
    _, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise TooLarge("power")
    return Fraction(text)


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("power")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator == 2 and abs(exponent) < 100:
        base, exponent = _root(base), 2 * exponent
    if exponent.denominator != 1:
        raise _NotRational
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) > MAX_EXPONENT or (size > 1 and size * abs(exponent) > MAX_BITS):
        raise TooLarge("power")
    return Fraction(base ** int(exponent))


def _root(value: Fraction) -> Fraction:
    above, below = math.isqrt(max(value.numerator, 0)), math.isqrt(value.denominator)
    if value < 0 or above * above != value.numerator or below * below != value.denominator:
        raise _NotRational
    return Fraction(above, below)


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or value < 0:
        raise _NotRational
    if value > MAX_FACTORIAL:
        raise _NotRational if value < 10 * MAX_FACTORIAL // 2 else TooLarge("factorial")
    return Fraction(math.factorial(int(value)))


def _binomial(above: Fraction, below: Fraction) -> Fraction:
    if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above:
        raise _NotRational
    if above > MAX_FACTORIAL:
        raise _NotRational
    return Fraction(math.comb(int(above), int(below)))


def _recurring(text: str) -> Fraction:
    r"""Read 0.1\overline{6} and 0.1\dot{6}: the digits under the line, or from dot to dot, repeat forever."""
    whole, _, rest = text.partition(".")
    head, _, tail = re.sub(r"\\(?:overline|bar|dot)|\(", "|", rest).translate(_NO_BRACKETS).partition("|")
    repeated = tail.replace("|", "")
    return _repeated(whole, head, repeated)


def _dotted(text: str) -> Fraction:
    """Read 0.333 and 0.1818 with dots after them: one digit that occurs three times, or several that occur twice."""
    whole, _, digits = text.partition(".")
    if (found := _REPEATS.search(digits)) is None:
        raise _NotRational
    return _repeated(whole, digits[: found.start()], found[1] or found[2])


def _repeated(whole: str, head: str, repeated: str) -> Fraction:
    start = Fraction(int((whole or "0") + head), 10 ** len(head))
    return start + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(head))
