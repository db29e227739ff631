"""The meaning of an equation: a value for a name, or a condition that is not solved."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.names import GREEK, INDEX, is_name
from r2vpo.rewards.mathematics.shapes import Chain, Group, Leaf, Shape

_LETTER = re.compile(rf"(?P<letter>(?:[A-Za-z]|{GREEK}){INDEX})(?P<called>\([^()]*\))?")


def is_equation(shape: Shape) -> bool:
    """Whether a form is a chain of equal signs."""
    return isinstance(shape, Chain) and set(shape.relations) == {"="}


def name_of(shape: Shape) -> str | None:
    """Return the name that an equation gives a value to: the first side that is one; None if there is none."""
    if not isinstance(shape, Chain) or not is_equation(shape):
        return None
    return next((side.text.replace(" ", "") for side in shape.sides if isinstance(side, Leaf) and is_name(side)), None)


def is_function_of_other(shape: Shape, other: Shape) -> bool:
    """Whether one equation gives a value to a letter, and the other to a function of it: `x = 2` and `p(x) = 2`.

    Other letters are no reason to call two values different: `y = 5` states 5 where `x = 5` does.
    """
    one, two = (_LETTER.fullmatch(name) for name in (name_of(shape) or "", name_of(other) or ""))
    if one is None or two is None or (one["called"] is None) == (two["called"] is None):
        return False
    plain, called = (one, two) if one["called"] is None else (two, one)
    return plain["letter"] in called["called"]


def named_point(shape: Shape) -> Group | None:
    """Return `(x, y) = (1, 2)` as the list of `x = 1` and `y = 2`; None for any other form."""
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
    r"""Return what is said about a name: `x \in S` says S."""
    if isinstance(shape, Chain) and shape.relations == (r"\in",) and is_name(shape.sides[0]):
        return shape.sides[1]
    return shape


def expanded(shape: Shape) -> Shape:
    r"""Apply the name before the first item of a list to the whole list: `n = 1, 2, 3`, `x \ne 0, 3`."""
    if not isinstance(shape, Group) or shape.opens or len(shape.items) < 2:
        return shape
    first, *others = shape.items
    if not isinstance(first, Chain) or any(isinstance(item, Chain) for item in others):
        return shape
    if first.relations == (r"\ne",) and is_name(first.sides[0]):
        return Group((first, *(Chain((first.sides[0], item), (r"\ne",)) for item in others)), word=shape.word)
    if name_of(first) is None:
        return shape
    return Group((first.sides[-1], *others), word=shape.word)
