"""Sides of an equation that name a quantity, and those that can be computed or evaluated."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from r2vpo.rewards.mathematics.exact import number_within_limits
from r2vpo.rewards.mathematics.shapes import Group, Leaf, Sets, Shape
from r2vpo.rewards.mathematics.symbolic import contradicts_integral, contradicts_limit

GREEK = (
    r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|psi"
    r"|omega|Delta|Omega|ell)"
)
INDEX = r"(?:\s*_\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z0-9]))?\s*'*"
CALLED = r"(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\)|\s*\[[^\[\]]*\])"
_FUNCTIONS = "fghpqsuvrFGHPQENSTV"
_VECTOR = r"\\(?:vec|overrightarrow|mathbf)\s*(?:\{[A-Za-z]{1,2}\}|[A-Za-z](?![A-Za-z]))"
_WORDS = (
    rf"(?:\\text\{{[^{{}}]*\}}\s*(?:[A-Za-z](?![A-Za-z])|\\angle\s*[A-Z]{{1,3}}|\\triangle\s*[A-Z]{{3}}|[A-Z]{{2,5}}"
    rf"|_\s*\{{[^{{}}]*\}})?\s*)+{CALLED}?"
)
_NAME = re.compile(
    "|".join(
        (
            rf"(?:[A-Za-z]|{GREEK})\s?{INDEX}(?:\s*\^\s*\{{?\s*(?:-1|\(\d\)|\\prime|\*|\\cdot)\s*\}}?)?"
            rf"(?:{CALLED}(?:\s*_\s*\{{?\s*(?:\\(?:max|min)|\\text\{{\s*(?:max|min)\s*\}})\s*\}}?)?)?",  # x, a_1, f(5)
            r"(?:m\s*)?\\(?:measured|spherical)?angle\s*\{?[A-Z0-9]{1,3}\}?|\\triangle\s*[A-Z]{3}",
            r"[A-Z]'?(?:\s?[A-Z]'?){1,4}",  # AB
            r"\\(?:max|min|sup|inf|det|dim|deg|gcd|lcm|Pr)\s*(?:_\s*\{[^{}]*\}\s*)?"
            rf"(?:[A-Za-z]{CALLED}?|{CALLED}|\\\{{[^{{}}]*\\\}})?",
            rf"\\mathbb\{{[A-Z]\}}\s*{CALLED}|(?:GCD|LCM|HCF|LCD)\s*{CALLED}",
            r"\|?\\(?:overline|overrightarrow|vec|hat|bar|tilde|widehat|mathbf)\s*\{[A-Za-z]{1,3}\}\|?",
            r"\|[A-Z](?:[A-Z'\s]|\\(?:cup|cap|setminus|times)(?![A-Za-z]))*\|",  # elements of a set, a length
            rf"(?:\\\||\|\||\\lVert\s*)\s*(?:{_VECTOR}|[A-Za-z])\s*(?:\\\||\|\||\\rVert)|{_VECTOR}\s*\\cdot\s*{_VECTOR}",
            r"\\frac\{\s*(?:d|\\partial)\s*(?:\^\s*\{?\d\}?)?\s*[A-Za-z]?\s*\}"
            rf"\{{\s*(?:d|\\partial)\s*[a-z]\s*(?:\^\s*\{{?\d\}}?)?\s*\}}\s*(?:[A-Za-z]\s*{CALLED})?(?:\s*\|\s*_\s*\{{[^{{}}]*\}})?",
            rf"\\#\s*(?:[A-Z]|{CALLED})",
            rf"[A-Z]{{1,2}}\s?(?:{CALLED}|_\{{[^{{}}]*\}})",
            _WORDS,
        )
    )
)
_LIMIT = re.compile(r"\\lim\s*_\s*\{\s*(?P<letter>[A-Za-z])\s*\\to\s*(?P<end>[^{}]*)\}\s*(?P<body>.+)")
_BOUND = r"(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\\?[A-Za-z]+|\d))"
_INTEGRAL = re.compile(rf"\\int\s*_\s*{_BOUND}\s*\^\s*{_BOUND}\s*(?P<body>.+?)\s*d\s*(?P<letter>[A-Za-z])")
_COMPUTED = re.compile(
    r"(?:\\(?P<name>gcd|lcm|max|min)|\\text\{\s*(?P<word>gcd|lcm|hcf|max|min)\s*\}|(?P<capitals>GCD|LCM|HCF|MAX|MIN))\s*"
    r"(?:\((?P<round>[^()]*)\)|\\\{(?P<curly>[^{}]*)\\\})",
    re.IGNORECASE,
)
_ARRANGED = re.compile(
    r"(?:\{\})?[_^]\s*\{?(\d+)\}?\s*P\s*_\s*\{?(\d+)\}?|[PA]\s*_\s*\{?(\d+)\}?\s*\^\s*\{?(\d+)\}?"
    r"|[PA]\s*\^\s*\{?(\d+)\}?\s*_\s*\{?(\d+)\}?"
)
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)|\\(?:cdot|text\{[^{}]*\})|\\[A-Za-z]+|(?P<name>[A-Z]{2}(?![A-Za-z])|[A-Za-z])|[^\s(){}\[\]]"
)
_SUM = re.compile(r"(?<=[^\s({^_+-])\s*([-+])")


def is_name(shape: Shape) -> bool:
    r"""Whether a side of an equation names a quantity: `x`, `a_1`, `AB`, `f(5)`, `\angle A`, words; not `2x`, `xy`.

    A point of names is also one: `(x, y) = (1, 2)`.
    """
    if isinstance(shape, Group):
        return shape.opens == "(" and all(isinstance(item, Leaf) and is_name(item) for item in shape.items)
    if isinstance(shape, Sets):
        return is_name(shape.left) and is_name(shape.right)
    if not isinstance(shape, Leaf):
        return False
    text = shape.text.strip()
    if (found := _LIMIT.fullmatch(text) or _INTEGRAL.fullmatch(text)) is not None:
        return not _unknowns(text, found["letter"]) and not (
            text.startswith(r"\lim") and _SUM.search(_flat(found["body"]))
        )
    return (found := _NAME.fullmatch(text)) is not None and not _is_product(found[0])


def _unknowns(text: str, letter: str) -> set[str]:
    """Return letters other than the variable of a limit or an integral, without functions and sequences."""
    plain = re.sub(r"\\text\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z](?=\s*_)", " ", re.sub(rf"d\s*{letter}$", "", text))
    plain = re.sub(rf"[{_FUNCTIONS}]'*(?=\s*\()", " ", plain)
    return set(re.findall("[A-Za-z]", plain)) - {letter, "e"}


def _flat(text: str) -> str:
    """Return an expression without the content of its brackets."""
    while (less := re.sub(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]", "0", text)) != text:
        text = less
    return text


def _is_product(name: str) -> bool:
    """Whether a letter before brackets multiplies them, `x(x+1)`, or has the power -1 without an argument, `x^{-1}`.

    Brackets after one of the usual letters of functions, or brackets that contain no sum, are the function's arguments.
    """
    if re.search(r"\\text\{[^{}]*(?:[\d+*/^=-]|\b(?:twice|half|double|not|no|square|root)\b)", name):
        return True
    if re.fullmatch(r".*\^\s*\{?\s*-1\s*\}?", name):
        return True
    called = re.fullmatch(rf"(.*?){CALLED}", name)
    if called is None or "text" in name or called[1].strip().startswith("\\"):
        return False
    inside = name[len(called[1]) :]
    letter = called[1].strip()[:1]
    if letter in _FUNCTIONS:
        return re.search(rf"{letter}(?!\s*[(_^\[])", inside) is not None
    return re.search(r"[A-Za-z0-9)]\s*[-+]", inside) is not None or letter in inside


def computed(shape: Shape) -> Shape:
    r"""Return the value of a greatest common divisor or the like, or a count of arrangements; other sides unchanged."""
    if not isinstance(shape, Leaf):
        return shape
    if (found := _COMPUTED.fullmatch(shape.text)) is not None:
        numbers = [_value(item) for item in (found["round"] or found["curly"] or "").split(",")]
        known = [number for number in numbers if number is not None]
        name = (found["name"] or found["word"] or found["capitals"]).lower()
        if len(known) == len(numbers) and (name in ("max", "min") or all(n.denominator == 1 for n in known)):
            whole = [int(number) for number in known]
            values = {"max": max(known), "min": min(known), "lcm": math.lcm(*whole)}
            return Leaf(str(values.get(name, math.gcd(*whole))))
    elif (pair := _ARRANGED.fullmatch(shape.text)) is not None:
        below, above = sorted(int(number) for number in pair.groups() if number is not None)
        return Leaf(str(math.perm(above, below))) if above < 1000 else shape
    return shape


def _value(text: str) -> Fraction | None:
    number = number_within_limits(text.strip())
    return None if number is None or number.percent or number.base is not None else number.value


def contradicts(name: Shape, value: Shape) -> bool:
    r"""Whether an easily computed limit or integral differs from the value that an equation gives it."""
    if not (isinstance(name, Leaf) and isinstance(value, Leaf)):
        return False
    if (found := _LIMIT.fullmatch(name.text.strip())) is not None:
        return contradicts_limit(found["body"], found["letter"], found["end"], value.text)
    if (found := _INTEGRAL.fullmatch(name.text.strip())) is not None:
        return contradicts_integral(
            found["body"], found["letter"], found[1] or found[2], found[3] or found[4], value.text
        )
    return False


def has_letters(shape: Shape) -> bool:
    """Whether an expression has letters other than those of commands and words."""
    if not isinstance(shape, Leaf):
        return False
    return re.search(r"[A-Za-z]", re.sub(r"\\text\{[^{}]*\}|\\[A-Za-z]+", "", shape.text)) is not None


def is_evaluated(shape: Shape, values: Shape) -> bool:
    """Whether the second side is the first with a number for each letter: `m + n = 5 + 7`, `2x = 2 * 36`.

    The terms of a sum may already be computed: `a^2 + b^2 = 9 + 16`; `2x = 5 + 7` evaluates nothing.
    """
    if not (isinstance(shape, Leaf) and isinstance(values, Leaf)) or has_letters(values):
        return False
    return _is_substituted(shape.text, values.text) or _are_terms(shape.text, values.text)


def _is_substituted(text: str, values: str) -> bool:
    tokens, others = (
        [token for token in _TOKEN.finditer(side) if not token[0].startswith((r"\cdot", r"\text"))]
        for side in (text, values)
    )
    return len(tokens) == len(others) > 1 and all(
        other["number"] if token["name"] else token[0] == other[0] for token, other in zip(tokens, others, strict=True)
    )


def _are_terms(text: str, values: str) -> bool:
    if text != _flat(text) or values != _flat(values):
        text, values = (re.sub(r"\^\s*\{(\w+)\}", r"^\1", side) for side in (text, values))
    terms, others = _SUM.split(text), _SUM.split(values)
    if len(terms) != len(others) or len(terms) < 3 or terms[1::2] != others[1::2]:
        return False
    return all(
        _value(other) is not None and (has_letters(Leaf(term)) or _value(term) == _value(other))
        for term, other in zip(terms[::2], others[::2], strict=True)
    )
