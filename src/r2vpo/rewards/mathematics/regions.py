"""Sets of real numbers: intervals, inequalities in one letter, unions, differences."""

from __future__ import annotations

from typing import Any

import sympy
from sympy.solvers.inequalities import solve_univariate_inequality

from r2vpo.rewards.mathematics.exact import read_number
from r2vpo.rewards.mathematics.shapes import Chain, Leaf, Sets, Shape
from r2vpo.rewards.mathematics.symbolic import expression, is_constant, rational, same_expression

_NAMED = {
    r"\mathbb{R}": sympy.S.Reals,
    r"\mathbb{Z}": sympy.S.Integers,
    r"\mathbb{N}": sympy.S.Naturals,
    r"\mathbb{Q}": sympy.S.Rationals,
    r"\mathbb{C}": sympy.S.Complexes,
    r"\emptyset": sympy.S.EmptySet,
}
FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne", "=": "="}
_RELATION = {"<": sympy.StrictLessThan, ">": sympy.StrictGreaterThan, r"\le": sympy.LessThan, r"\ge": sympy.GreaterThan}


def is_region(shape: Shape) -> bool:
    """Whether a form is a set of real numbers in any case, not only a pair or a list."""
    if isinstance(shape, Sets):
        return True
    if isinstance(shape, Leaf):
        return shape.text in _NAMED
    if isinstance(shape, Chain):
        return shape.relations[0] == r"\in" or all(
            relation in FLIPPED and relation != "=" for relation in shape.relations
        )
    return not shape.opens and any(is_region(item) for item in shape.items)


def same_region(gold: Shape, answer: Shape) -> bool:
    """Whether two forms are the same set; the letters for the numbers in it may differ."""
    one, other = region(gold), region(answer)
    if one is None or other is None:
        return False
    try:
        if one == other or one.symmetric_difference(other) == sympy.S.EmptySet:
            return True
    except Exception:  # sympy raises anything
        return False
    return isinstance(one, sympy.Interval) and isinstance(other, sympy.Interval) and _same_interval(one, other)


def _same_interval(one: Any, other: Any) -> bool:
    same_ends = (one.left_open, one.right_open) == (other.left_open, other.right_open)
    return same_ends and same_expression(one.start, other.start) and same_expression(one.end, other.end)


def region(shape: Shape) -> Any:
    """Return a form as a sympy set, or None if it is not one."""
    try:
        return _region(shape)
    except (TypeError, ValueError, NotImplementedError, AttributeError, RecursionError):
        # Sympy raises these for what it cannot compare or solve, and for expressions that are not numbers.
        return None


def _region(shape: Shape) -> Any:
    if isinstance(shape, Leaf):
        return _NAMED.get(shape.text)
    if isinstance(shape, Sets):
        left, right = (_part(side) for side in (shape.left, shape.right))
        if left is None or right is None:
            return None
        operations = {r"\cup": sympy.Union, r"\cap": sympy.Intersection, r"\setminus": sympy.Complement}
        return operations[shape.operation](left, right)
    if isinstance(shape, Chain):
        return _solutions(shape)
    if shape.opens in ("(", "[") and len(shape.items) == 2:
        start, end = (_number(item) for item in shape.items)
        if start is None or end is None:
            return None
        return sympy.Interval(start, end, shape.opens == "(", shape.closes == ")")
    if shape.opens == "{":
        numbers = [_number(item) for item in shape.items]
        return None if any(number is None for number in numbers) else sympy.FiniteSet(*numbers)
    parts = [_region(item) for item in shape.items]
    if shape.opens or any(part is None for part in parts):
        return None
    both = sympy.Intersection(*parts)
    return both if shape.word == "and" or (shape.word == "," and both != sympy.S.EmptySet) else sympy.Union(*parts)


def _part(shape: Shape) -> Any:
    """Return a set next to another one; braces without a backslash around a number look the same as the number."""
    found = _region(shape)
    if found is None and isinstance(shape, Leaf) and (number := _number(shape)) is not None:
        return sympy.FiniteSet(number)
    return found


def _number(shape: Shape) -> Any:
    if not isinstance(shape, Leaf):
        return None
    text = shape.text.replace(" ", "")
    if text in (r"\infty", r"+\infty", r"-\infty"):
        return -sympy.oo if text[0] == "-" else sympy.oo
    number = read_number(shape.text)
    if number is not None and number.base is None:
        return rational(number.value / (100 if number.percent else 1))
    return expression(shape.text)


def _solutions(chain: Chain) -> Any:
    """Return the numbers that solve all relations of a chain, in its one letter."""
    if chain.relations[0] == r"\in":
        return _region(chain.sides[1]) if len(chain.sides) == 2 else None
    values = [_number(side) for side in chain.sides]
    if any(value is None for value in values):
        return None
    letters = {letter for value in values for letter in value.free_symbols}
    if len(letters) != 1:
        return None
    letter = letters.pop()
    found = sympy.S.Reals
    for left, relation, right in zip(values, chain.relations, values[1:], strict=False):
        found = sympy.Intersection(found, _solve(left, relation, right, letter))
    return found


def _solve(left: Any, relation: str, right: Any, letter: Any) -> Any:
    if right == letter:
        left, right, relation = right, left, FLIPPED[relation]
    if relation == "=":
        return sympy.FiniteSet(right) if left == letter and is_constant(right) else None
    if relation == r"\ne":
        solved = sympy.solveset(left - right, letter, sympy.S.Reals)
        return sympy.Complement(sympy.S.Reals, solved)
    if left == letter and (is_constant(right) or right in (sympy.oo, -sympy.oo)):
        closed = relation in (r"\le", r"\ge")
        if relation in ("<", r"\le"):
            return sympy.Interval(-sympy.oo, right, True, not closed)
        return sympy.Interval(right, sympy.oo, not closed, True)
    return solve_univariate_inequality(_RELATION[relation](left, right), letter, relational=False)
