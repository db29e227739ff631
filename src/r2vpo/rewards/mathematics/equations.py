"""What an equation says: a value for a name, or a condition that is not solved."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.shapes import Chain, Group, Leaf, Sets, Shape

_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|psi"
    r"|omega|Delta|Omega|ell)"
)
_INDEX = r"(?:\s*_\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z0-9]))?\s*'*"
_CALLED = r"(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\)|\s*\[[^\[\]]*\])"
_FUNCTIONS = "fghpqsuvrFGHPQENSTV"
_NAME = re.compile(  # x, a_1, f(5), f^{-1}(x); then angle A, AB, and so on
    rf"(?:(?:[A-Za-z]|{_GREEK})\s?{_INDEX}(?:\s*\^\s*\{{?\s*(?:-1|\(\d\)|\\prime|\*|\\cdot)\s*\}}?)?{_CALLED}?"
    rf"|(?:m\s*)?\\angle\s*\{{?[A-Z0-9]{{1,3}}\}}?|\\triangle\s*[A-Z]{{3}}|[A-Z]'?(?:\s?[A-Z]'?){{1,4}}"
    rf"|\\(?:max|min|sup|inf|det|dim)\s*(?:_\s*\{{[^{{}}]*\}}\s*)?(?:[A-Za-z]{_CALLED}?)?|\\mathbb\{{[A-Z]\}}\s*{_CALLED}"
    rf"|\|?\\(?:overline|overrightarrow|vec|hat|bar|tilde|widehat|mathbf)\s*\{{[A-Za-z]{{1,3}}\}}\|?|\|[A-Z]{{2}}\|"
    rf"|[A-Z]{{1,2}}\s?(?:{_CALLED}|_\{{[^{{}}]*\}})|\\(?:gcd|lcm|max|min|det|Pr){_CALLED}"
    rf"|(?:\\text\{{[^{{}}]*\}}\s*(?:[A-Za-z](?![A-Za-z])|\\angle\s*[A-Z]{{1,3}}|[A-Z]{{2,5}}|_\s*\{{[^{{}}]*\}})?\s*)+{_CALLED}?)"
)

_LETTER = re.compile(rf"(?P<letter>(?:[A-Za-z]|{_GREEK}){_INDEX})(?P<called>\([^()]*\))?")


def is_name(shape: Shape) -> bool:
    r"""Whether a side of an equation names a quantity: `x`, `a_1`, `AB`, `f(5)`, `\angle A`, words; not `2x`, `xy`.

    A point of names is one: `(x, y) = (1, 2)`.
    """
    if isinstance(shape, Group):
        return shape.opens == "(" and all(isinstance(item, Leaf) and is_name(item) for item in shape.items)
    if isinstance(shape, Sets):
        return is_name(shape.left) and is_name(shape.right)
    if not isinstance(shape, Leaf) or (found := _NAME.fullmatch(shape.text.strip())) is None:
        return False
    return not _is_product(found[0])


def _is_product(name: str) -> bool:
    """Whether a letter before brackets multiplies them, `x(x+1)`, or has the power -1 without being called, `x^{-1}`.

    Brackets after one of the usual letters of functions, or that hold no sum, are what it is called with.
    """
    if re.search(r"\\text\{[^{}]*(?:[\d+*/^=-]|\b(?:twice|half|double|not|no|square|root)\b)", name):
        return True
    if re.fullmatch(r".*\^\s*\{?\s*-1\s*\}?", name):
        return True
    called = re.fullmatch(rf"(.*?){_CALLED}", name)
    if called is None or "text" in name or called[1].strip().startswith("\\"):
        return False
    inside = name[len(called[1]) :]
    letter = called[1].strip()[:1]
    if letter in _FUNCTIONS:
        return re.search(rf"{letter}(?!\s*[(_^\[])", inside) is not None
    return re.search(r"[A-Za-z0-9)]\s*[-+]", inside) is not None or letter in inside


def is_equation(shape: Shape) -> bool:
    """Whether a form is a chain of equal signs."""
    return isinstance(shape, Chain) and set(shape.relations) == {"="}


def name_of(shape: Shape) -> str | None:
    """The name that an equation gives a value to: the first side that is one; None where there is none."""
    if not isinstance(shape, Chain) or not is_equation(shape):
        return None
    return next((side.text.replace(" ", "") for side in shape.sides if isinstance(side, Leaf) and is_name(side)), None)


def is_function_of_other(shape: Shape, other: Shape) -> bool:
    """Whether one equation gives a value to a letter, and the other one to a function of it: `x = 2` and `p(x) = 2`.

    Other letters are no reason to call two values different: `y = 5` says 5 where `x = 5` does.
    """
    one, two = (_LETTER.fullmatch(name) for name in (name_of(shape) or "", name_of(other) or ""))
    if one is None or two is None or (one["called"] is None) == (two["called"] is None):
        return False
    plain, called = (one, two) if one["called"] is None else (two, one)
    return plain["letter"] in called["called"]


def named_point(shape: Shape) -> Group | None:
    """`(x, y) = (1, 2)` as the list of `x = 1` and `y = 2`; None where it is none."""
    if not isinstance(shape, Chain) or not is_equation(shape) or len(shape.sides) != 2:
        return None
    names, values = shape.sides
    if not (isinstance(names, Group) and isinstance(values, Group) and is_name(names) and values.opens == "("):
        return None
    if len(names.items) != len(values.items):
        return None
    pairs = zip(names.items, values.items, strict=True)
    return Group(tuple(Chain((name, value), ("=",)) for name, value in pairs))


def without_membership(shape: Shape) -> Shape:
    r"""What is said of a name: `x \in S` says S."""
    if isinstance(shape, Chain) and shape.relations == (r"\in",) and is_name(shape.sides[0]):
        return shape.sides[1]
    return shape


def expanded(shape: Shape) -> Shape:
    """Give the name before the first item of a list to the whole list: `n = 1, 2, 3`; also inside a chain's side."""
    if not isinstance(shape, Group) or shape.opens or len(shape.items) < 2:
        return shape
    first, *others = shape.items
    if not is_equation(first) or name_of(first) is None or any(isinstance(item, Chain) for item in others):
        return shape
    assert isinstance(first, Chain)
    return Group((first.sides[-1], *others), word=shape.word)
