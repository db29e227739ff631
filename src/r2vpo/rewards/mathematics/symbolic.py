"""Expressions with letters, roots and functions, compared by sympy without rounding."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

from r2vpo.rewards.hostile import refusal
from r2vpo.rewards.worker import NoScore

DIGITS = 40
MANY_DIGITS = 4_000
"""More digits than the largest allowed power can hide: 2^-10000 is 10^-3010."""

_KNOWN = frozenset(
    "frac sqrt binom cdot pi infty sin cos tan cot sec csc arcsin arccos arctan arcsec arccsc arccot sinh cosh "
    "tanh log ln exp sum prod to lfloor rfloor lceil rceil max min gcd lcm alpha beta gamma delta "
    "epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega overline vec hat bar tilde mathbb "
    "mathcal".split()
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")
_FOREIGN = re.compile(r"\d\s+\d|\d\s*[_']|[;:?\"@#$~&]|[-+]{3}|[-+]\s*$")
_BARS = 8
"""Largest number of absolute-value bars: the parser takes twice as long with each."""
_COMMAS = 8
_DECIMAL = re.compile(r"(\d*)\.(\d+)")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\})\s*\\degree(?![A-Za-z])")
_FUNCTION = r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|\\(?:log|ln)"
_UNBRACKETED = re.compile(
    rf"((?:{_FUNCTION})(?![A-Za-z])(?:\s*_\s*(?:\{{[^{{}}]*\}}|\w))?(?:\s*\^\s*(?:\{{-?\d\}}|\d))?)\s*"
    r"(\{[^{}]*\}|\\(?:frac\{[^{}]*\}|sqrt)\{[^{}]*\}"
    r"|\d*(?:[A-Za-z]|\\(?:theta|alpha|beta|pi|phi)(?![A-Za-z]))(?:\s*\^\s*(?:\{\d\}|\d))?|\d+)"
    rf"\s*(?=/|\*|\\(?:cdot|times)(?![A-Za-z])|(?:{_FUNCTION})(?![A-Za-z]))"
)
"""A function whose argument ends where a product or quotient continues; the parser would take all of it."""
_INDICES = frozenset("klmnjt")
_FACTORS = re.compile(r"(?<![\\A-Za-z])([a-eik-zA-EI-OQ-Z])\s*(?=\()")
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_CONFIG = ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=True)


def has_unknown_command(text: str) -> bool:
    """Whether a leaf has a command that the parser would skip or misread."""
    return any(name not in _KNOWN for name in _COMMAND.findall(text))


@lru_cache(maxsize=8192)
def expression(text: str) -> Any:
    """Parse an expression in plain LaTeX.

    Returns:
        Sympy's expression, in which decimals are exact; None if it cannot be parsed as a whole.

    Raises:
        NoScore: parsing or evaluating it would cost too much; the reason is the one that `refusal` gives.
    """
    plain = _DEGREES.sub(r"(\1 \\cdot \\frac{\\pi}{180})", text)
    if has_unknown_command(plain) or _FOREIGN.search(text) or text.count("|") > _BARS or text.count(",") > _COMMAS:
        return None
    if (reason := refusal(text)) is not None:
        raise NoScore(reason, text[:100])
    plain = _DECIMAL.sub(lambda found: rf"\frac{{{found[1]}{found[2]}}}{{1{'0' * len(found[2])}}}", plain)
    plain = _UNBRACKETED.sub(r"\1(\2)", plain)
    plain = _FACTORS.sub(r"\1 \\cdot ", plain)
    if len(set(_LETTER.findall(plain)) - {"c", "e"}) == 1:  # a constant of integration, c or C
        plain = _LETTER.sub(lambda letter: "C" if letter[0] == "c" else letter[0], plain)
    try:
        parsed = latex2sympy(plain, is_real=True, normalization_config=None, conversion_config=_CONFIG)
        parsed = parsed.subs({symbol: sympy.I for symbol in parsed.free_symbols if str(symbol) == "i"})
        return parsed.doit()
    except NoScore:
        raise
    except Exception:  # the parser and sympy may raise anything
        return None


def contradicts_limit(body: str, letter: str, end: str, value: str) -> bool:
    """Whether the body of a limit has another value at the letter's end; False if it has none there."""
    function, place, said = (expression(text) for text in (body, end, value))
    if not (isinstance(function, sympy.Expr) and is_constant(place) and is_constant(said)):
        return False
    found = function.subs({symbol: place for symbol in function.free_symbols if str(symbol) == letter})
    return bool(is_constant(found)) and not same_expression(found, said)


def contradicts_integral(body: str, letter: str, lower: str, upper: str, value: str) -> bool:
    """Whether the integral of a polynomial differs from the stated value; False for other functions."""
    function, *ends, said = (expression(text) for text in (body, lower, upper, value))
    if not isinstance(function, sympy.Expr) or not all(is_constant(number) for number in (*ends, said)):
        return False
    variable = next((symbol for symbol in function.free_symbols if str(symbol) == letter), sympy.Symbol(letter))
    if function.free_symbols - {variable} or not function.is_polynomial(variable):
        return False
    return not same_expression(sympy.integrate(function, (variable, *ends)), said)


def rational(value: Fraction) -> Any:
    """Return a fraction as a sympy number."""
    return sympy.Rational(value.numerator, value.denominator)


def is_constant(value: Any) -> bool:
    """Whether an expression is one number."""
    return isinstance(value, sympy.Expr) and value.is_number and not value.has(sympy.oo, sympy.zoo, sympy.nan)


def same_expression(gold: Any, answer: Any) -> bool:
    """Whether two expressions are equal wherever they are defined.

    Rational values are compared as such. Others are computed to 40 digits and, if they agree, to 4,000: they are equal
    if they agree relatively to all of these. Expressions with letters are compared at fixed points, some of them
    negative; `2n+1` and `2k+1`, with one letter each from j to n or t, are equal.
    """
    if gold is None or answer is None:
        return False
    if gold == answer:
        return True
    if isinstance(gold, sympy.MatrixBase) or isinstance(answer, sympy.MatrixBase):
        same_shape = getattr(gold, "shape", None) == getattr(answer, "shape", 0)
        return bool(same_shape) and all(same_expression(*pair) for pair in zip(gold.flat(), answer.flat(), strict=True))
    if not isinstance(gold, sympy.Expr) or not isinstance(answer, sympy.Expr):
        return False
    letters, others = gold.free_symbols, answer.free_symbols
    if len(letters) == len(others) == 1 and letters != others:
        one, other = next(iter(letters)), next(iter(others))
        if {str(one), str(other)} <= _INDICES and gold != one and answer != other:
            answer = answer.subs(other, one)
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if not symbols:
        return _same_constant(gold, answer)
    if len(symbols) > 12:
        return False
    return _same_at_points(gold, answer, symbols)


def _same_at_points(gold: Any, answer: Any, symbols: list[Any]) -> bool:
    agreed = 0
    # A factorial of a fraction is a gamma function, which takes seconds to 4,000 digits.
    whole = any(side.has(sympy.factorial, sympy.binomial, sympy.gamma, sympy.Sum) for side in (gold, answer))
    for point in _whole_points(len(symbols)) if whole else _points(len(symbols)):
        values = dict(zip(symbols, point, strict=True))
        one, other = gold.subs(values).doit(), answer.subs(values).doit()
        if not (is_constant(one) and is_constant(other)):
            if is_constant(one) != is_constant(other) and not one.has(sympy.zoo, sympy.nan, sympy.oo):
                return False
            continue
        if not _same_constant(one, other):
            return False
        agreed += 1
    return agreed >= 3


def _points(count: int) -> list[tuple[Any, ...]]:
    """Return fixed rational points: positive, negative, and of both signs."""
    numbers = [sympy.Rational(*pair) for pair in ((7, 5), (13, 3), (5, 11), (17, 7), (3, 8), (23, 9), (31, 13))]
    rows = []
    for shift, signs in enumerate(islice(product((1, -1), repeat=3), 5)):
        rows.append(tuple(signs[i % 3] * (numbers[(i + shift) % 7] + i // 7) for i in range(count)))
    return [*rows, tuple(-number for number in rows[1])]


def _whole_points(count: int) -> list[tuple[Any, ...]]:
    """Return fixed whole numbers; those of later letters are smaller and larger than those of earlier ones."""
    rows = ((7, 3, 5, 2), (5, 2, 9, 4), (9, 4, 2, 7), (3, 8, 6, 1), (11, 6, 4, 3), (4, 1, 8, 5))
    return [tuple(sympy.Integer(row[i % 4] + i // 4) for i in range(count)) for row in rows]


def _same_constant(gold: Any, answer: Any) -> bool:
    if gold.is_Rational and answer.is_Rational:
        return bool(gold == answer)
    return all(_agree(gold, answer, digits) for digits in (DIGITS, MANY_DIGITS))


def _agree(gold: Any, answer: Any, digits: int) -> bool:
    """Whether two numbers agree, relatively, to almost all of the given digits; a zero is equal only to zero."""
    one, other = (_value(number, digits) for number in (gold, answer))
    if one is None or other is None:
        return False
    largest = max(abs(one), abs(other))
    return bool(largest == 0 or abs(one - other) <= largest * sympy.Float(10, digits) ** (8 - digits))


def _value(number: Any, digits: int) -> Any:
    """Return a number's value, zero if cancellation leaves no digit of it; None if it has no value."""
    try:
        found = sympy.N(number, digits, maxn=2 * digits)
    except Exception:  # sympy may raise anything
        return None
    parts = found.as_real_imag()
    if not all(part.is_Float or part.is_Rational for part in parts):
        return None
    real, imaginary = (part if getattr(part, "_prec", 99) > 9 else sympy.Integer(0) for part in parts)
    return real + sympy.I * imaginary if imaginary != 0 else real


def rounds_to(number: Any, decimal: Any, places: int) -> bool:
    """Whether a decimal number is another one rounded."""
    value = _value(number, DIGITS)
    if value is None or not value.is_real:
        return False
    difference = abs(value - sympy.Rational(decimal.numerator, decimal.denominator))
    return bool(2 * difference <= sympy.Rational(1, 10**places) * (1 + sympy.Rational(1, 10**9)))


def proportional(gold: Any, answer: Any, *, positive: bool = False) -> bool:
    """Whether one expression is the other times a nonzero number, as the two sides of an equation may be.

    With `positive` the number must be positive, as for the sides of an inequality.
    """
    if (
        not isinstance(gold, sympy.Expr)
        or not isinstance(answer, sympy.Expr)
        or gold.free_symbols != answer.free_symbols
    ):
        return False
    symbols = sorted(gold.free_symbols, key=str)
    for point in _points(len(symbols)):
        values = dict(zip(symbols, point, strict=True))
        one, other = gold.subs(values), answer.subs(values)
        if is_constant(one) and is_constant(other) and one != 0 and other != 0:
            factor = one / other
            return (not positive or bool(factor > 0)) and same_expression(gold, factor * answer)
    return False
