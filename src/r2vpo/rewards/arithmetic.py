"""Exact values of sums, differences, products and quotients of whole numbers; the parser accepts nothing else."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MAX_CHARACTERS = 500
MAX_DEPTH = 30
MAX_DIGITS = 30

_TOKEN = re.compile(rf"\s*(?:(\d{{1,{MAX_DIGITS}}})(?![\d.])|([-+*/()]))")
_SIGNS = {
    **dict.fromkeys(("\u00d7", "\u00b7", "\u22c5", "\u2217", r"\times", r"\cdot", r"\ast"), "*"),
    **dict.fromkeys(("\u00f7", "\u2044", "\u2215", r"\div"), "/"),
    **dict.fromkeys(("\u2212", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014"), "-"),
    **dict.fromkeys((r"\left", r"\right", r"\,", r"\;", r"\!", r"\ ", r"\(", r"\)", r"\[", r"\]", "$"), " "),
}
_SIGN = re.compile("|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True)))
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_LETTER_TIMES = re.compile(r"(?<=[\d)])(\s*)[xX](?=\s*[\d(])")


class Evaluated(NamedTuple):
    """The result of evaluating an expression.

    Attributes:
        value: its exact value.
        numbers: the numbers in it, from left to right, each with whether it has its own minus sign.
        operations: the number of operators between two operands.
    """

    value: Fraction
    numbers: list[tuple[int, bool]]
    operations: int


def plain_signs(text: str) -> str:
    r"""Replace the Unicode and LaTeX signs of a text, fractions included, with `+ - * / ( )`."""
    if not text.isascii():
        text = "".join(unicodedata.normalize("NFKC", one) if "\uff01" <= one <= "\uff5e" else one for one in text)
    text = _SIGN.sub(lambda found: _SIGNS[found.group()], text)
    for _ in range(MAX_DEPTH):
        text, found = _FRACTION.subn(r"((\1)/(\2))", text)
        if not found:
            break
    return _LETTER_TIMES.sub(r"\1*", text)


def evaluate(text: str) -> Evaluated:
    """Evaluate an expression of whole numbers, `+`, `-`, `*`, `/` and parentheses; an operand may have a sign.

    Args:
        text: the expression, as `plain_signs` returns it, at most 500 characters long and 30 brackets deep.

    Raises:
        ValueError: it is not such an expression, is too long, or divides by zero.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has over {MAX_CHARACTERS} characters")
    parser = _Parser(_tokens(text.strip()))
    value = parser.sum(0)
    if parser.peek() is not None:
        raise ValueError(f"{parser.peek()!r} is left over")
    return Evaluated(value, parser.numbers, parser.operations)


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"{text[place : place + 10]!r} is neither a whole number nor one of + - * / ( )")
        tokens.append(found[1] or found[2])
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent parser with one method for each level of precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place, self.operations = tokens, 0, 0
        self.numbers: list[tuple[int, bool]] = []

    def peek(self) -> str | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise ValueError("it ends too early")
        self.place += 1
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            self.operations += 1
            value += sign * self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.operand(depth, False)
        while self.peek() in ("*", "/"):
            operator = self.take()
            self.operations += 1
            other = self.operand(depth, False)
            if operator == "/" and other == 0:
                raise ValueError("it divides by zero")
            value = value * other if operator == "*" else value / other
        return value

    def operand(self, depth: int, minus: bool) -> Fraction:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is over {MAX_DEPTH} brackets deep")
        token = self.take()
        if token in ("+", "-"):
            value = self.operand(depth + 1, token == "-")
            return -value if token == "-" else value
        if token == "(":
            value = self.sum(depth + 1)
            if self.take() != ")":
                raise ValueError("a bracket is not closed")
            return value
        if not token.isdigit():
            raise ValueError(f"{token!r} is where a number should be")
        self.numbers.append((int(token), minus))
        return Fraction(int(token))
