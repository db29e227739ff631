"""Rational numbers, read and computed without rounding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from r2vpo.rewards.mathematics import rationals
from r2vpo.rewards.mathematics.rationals import REPEATS, NotRational, TooLarge

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
    r"""Read a rational number; None if a text is something else.

    Args:
        text: from `normalise`: integers, decimals, recurring decimals, fractions, mixed numbers, powers, rational
            roots, factorials, binomial coefficients, their sums and products, percent, and `101_2`.

    Raises:
        TooLarge: a power or a factorial is over its limit.
    """
    if len(text) > 1000:
        return None
    if based := _BASED.fullmatch(text):
        return _in_base(based)
    percent = text.endswith(r"\%")
    plain = text.removesuffix(r"\%").strip()
    if (cut := re.fullmatch(r"([-+]?\s*\d*\.\d{6,})\s*\\ldots", plain)) is not None and not REPEATS.search(cut[1]):
        plain = cut[1]
    tokens = _tokens(plain)
    if tokens is None:
        return None
    try:
        value = _Reader(tokens).read()
    except (NotRational, ZeroDivisionError, RecursionError):
        return None
    if (decimal := re.fullmatch(r"[-+]?\s*(\d*)\.(\d+)", plain)) is not None:
        return Number(value, percent, len(decimal[2]), len((decimal[1] + decimal[2]).lstrip("0")))
    return Number(value, percent)


def number_within_limits(text: str) -> Number | None:
    """Read a rational number as `read_number` does; None also if it is over a limit."""
    try:
        return read_number(text)
    except TooLarge:
        return None


def is_arithmetic(text: str) -> bool:
    """Check without sympy whether an expression is well formed: with a number for each letter and root it has a value.

    False proves nothing: there are more expressions than these.
    """
    plain = re.sub(r"\\(?:sqrt|sin|cos|tan|ln)(?![A-Za-z])|_\{\w+\}", "", text)
    plain = re.sub(
        r"\\(?:pi|alpha|beta|theta|lambda|infty)(?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", "(2)", plain
    )
    return number_within_limits(plain) is not None


def _in_base(found: re.Match[str]) -> Number | None:
    named = re.sub(r"\\text|base|[\s{}()]", "", found["one"] or found["group"]).lower()
    base = _BASE_WORDS.get(named) or (int(named) if re.fullmatch(r"\d{1,2}", named) else 0)
    try:
        value = Fraction(int(found["digits"], base)) if 2 <= base <= 36 else None
    except ValueError:
        return None
    return None if value is None else Number(value, base=base, written=found["digits"].lstrip("0").upper())


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
            raise NotRational
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
            raise NotRational

    def sum(self) -> Fraction:
        value = self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            value = rationals.small(value + term if sign == "+" else value - term)
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
            rationals.small(value)

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
        is_plain = self.position == start + 7 and plain[1::3] == ["{", "{"] and (plain[2] + plain[5]).isdigit()
        if is_plain and whole.denominator == 1:
            if not 0 <= part < 1:
                raise NotRational
            return whole + part
        return whole * part

    def power(self) -> tuple[Fraction, bool]:
        """Return a value with the powers and factorials that follow it, and whether it is a bare integer."""
        kind, text = self.peek()
        is_number = kind == "number" and text.isdigit()
        value = self.atom()
        while sign := self.take("^", "!"):
            is_number = False
            value = rationals.factorial(value) if sign == "!" else rationals.power(value, self.exponent())
        return value, is_number

    def exponent(self) -> Fraction:
        if self.take("-"):
            return -self.exponent()
        value = self.atom()
        return rationals.power(value, self.exponent()) if self.take("^") else value

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
        if kind in rationals.READ:
            return rationals.READ[kind](text)
        if text in ("(", "{"):
            return self.group(")" if text == "(" else "}")
        if text == r"\frac":
            return self.braced() / self.braced()
        if text == r"\binom":
            return rationals.binomial(self.braced(), self.braced())
        if text == r"\sqrt":
            return rationals.root(self.braced())
        raise NotRational
