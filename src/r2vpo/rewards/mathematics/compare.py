"""Compare an answer with the gold answer."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.answer import read_answer, with_whole_letter
from r2vpo.rewards.mathematics.equations import (
    expanded,
    is_equation,
    is_function_of_other,
    name_of,
    named_point,
    without_membership,
)
from r2vpo.rewards.mathematics.leaves import read_single, same_leaf, squeezed
from r2vpo.rewards.mathematics.lists import filled, is_dots, same_dotted
from r2vpo.rewards.mathematics.names import computed, contradicts, has_letters, is_evaluated, is_name
from r2vpo.rewards.mathematics.regions import FLIPPED, is_region, same_region
from r2vpo.rewards.mathematics.shapes import Chain, Group, Leaf, Shape
from r2vpo.rewards.mathematics.symbolic import expression, proportional

_MARKS = re.compile(r"\s*(?:\\text\{[^{}]*\}(?:\s*\^\s*(?:\{\d\}|\d))?|\\%|\\degree(?![A-Za-z]))")
_COMMA = re.compile(r"(?<=\d),(?=[1-9])")
_MATCHED_ITEMS = 60
"""Largest number of items of a list that is compared in any order."""


def same_answer(gold: str, answer: str) -> bool:
    """Whether an answer equals the gold answer.

    Raises:
        NoScore: the comparison would cost too much.
    """
    right, found = read_answer(gold), read_answer(with_whole_letter(answer, gold))
    if not found.text:
        return False
    if squeezed(right.text) == squeezed(found.text):
        return True
    if right.letter is not None and found.letter is not None:
        if right.letter != found.letter:
            return False
        return right.value is None or found.value is None or same(right.value, found.value)
    if right.letter is not None and right.value is None and found.value is not None:
        return same(Leaf(right.letter), found.value)
    shapes = (right.value, found.value)
    if any(isinstance(shape, Leaf) for shape in shapes) and any(map(_is_list, shapes)):  # 100,200 is a list next to one
        right, found = (read_answer(_COMMA.sub(", ", text)) for text in (gold, answer))
    return right.value is not None and found.value is not None and same(right.value, found.value)


def _is_list(shape: Shape | None) -> bool:
    return isinstance(shape, Group) and shape.opens in ("", "{")


def same(gold: Shape, answer: Shape) -> bool:
    """Whether two forms mean the same."""
    if gold == answer:
        return True
    if (_is_member_of_interval(gold) and _is_bare(answer)) or (_is_member_of_interval(answer) and _is_bare(gold)):
        return False
    gold, answer = _once(expanded(without_membership(gold))), _once(expanded(without_membership(answer)))
    if isinstance(gold, Leaf) and isinstance(answer, Leaf):
        return same_leaf(gold.text, answer.text)
    named = [named_point(shape) or shape for shape in (gold, answer)]
    if named != [gold, answer] and all(isinstance(_system(shape), dict) for shape in named):
        gold, answer = named
    if is_equation(gold) or is_equation(answer):
        return _same_equation(gold, answer)
    if (systems := _same_systems(gold, answer)) is not None:
        return systems
    if is_region(gold) or is_region(answer):
        return _same_texts(gold, answer) or same_region(gold, answer) or _same_relation(gold, answer)
    gold, answer = _alone(gold), _alone(answer)
    if isinstance(gold, Group) and isinstance(answer, Group):
        return _same_groups(gold, answer)
    return isinstance(gold, Leaf) and isinstance(answer, Leaf) and same_leaf(gold.text, answer.text)


def _is_member_of_interval(shape: Shape) -> bool:
    inner = without_membership(shape)
    return inner is not shape and isinstance(inner, Group) and inner.opens in ("(", "[")


def _is_bare(shape: Shape) -> bool:
    return isinstance(shape, Group) and not shape.opens and not any(map(is_region, shape.items))


def _once(shape: Shape) -> Shape:
    r"""Remove repeated values: `\frac{1}{2} \text{ or } 0.5` states one value twice."""
    if not isinstance(shape, Group) or shape.opens or shape.word != "or":
        return shape
    first, *others = shape.items
    return first if all(isinstance(item, Leaf) and same(first, item) for item in others) else shape


def _alone(shape: Shape) -> Shape:
    """Unwrap a single item: {5} is 5, and {(1, 2)} is the point."""
    if isinstance(shape, Group) and len(shape.items) == 1 and shape.opens == "{":
        item = shape.items[0]
        return item if not isinstance(item, Group) or item.opens == "(" else shape
    return shape


def value_of(shape: Shape) -> Shape | None:
    r"""Return the value that a form states: the last of an equation whose sides are names or that value; else None.

    `x = 5`, `5 = x`, `x = 2 + 3 = 5`, `x + y = 2 + 3 = 5` and `2 + 3 = 5` state 5; `2x = 5`, `x + 1 = 5`, `4 = 5` and
    `\gcd(4, 6) = 5` state nothing.
    """
    if not is_equation(shape):
        return shape
    assert isinstance(shape, Chain)
    sides = [computed(side) for side in shape.sides]
    names = [side for side in sides if is_name(side)]
    values = [side for side in sides if side not in names]
    if not values:  # y = x: the last side is the value
        return sides[-1]
    if not has_letters(values[-1]):
        if is_name(sides[0]) and len(values) > 1:  # A = lw = 48
            values = [side for side in values if not has_letters(side)]
        elif len(values) > 2 and is_evaluated(values[0], values[1]):  # m + n = 5 + 7 = 12
            del values[0]
    if any(contradicts(name, values[-1]) for name in names):
        return None
    return values[-1] if all(_same_amount(values[-1], side) for side in values[:-1]) else None


def _same_amount(value: Shape, side: Shape) -> bool:
    r"""Whether a side of arithmetic comes to a value, ignoring marks of money, percent, degrees and units."""
    if same(value, side):
        return True
    if not (isinstance(value, Leaf) and isinstance(side, Leaf)) or not _MARKS.search(side.text):
        return False
    plain = Leaf(_MARKS.sub("", value.text).strip())
    shares = side.text.replace(r"\%", r"\cdot\frac{1}{100}")
    return any(same(plain, Leaf(_MARKS.sub("", text).strip())) for text in (side.text, shares))


def _same_equation(gold: Shape, answer: Shape) -> bool:
    """Whether two equations are the same by their values, or as conditions up to a factor."""
    right, found = value_of(gold), value_of(answer)
    if right is not None and found is not None and not is_function_of_other(gold, answer):
        if same(right, found):
            return True
        if isinstance(right, Leaf) and isinstance(found, Leaf) and not (is_equation(gold) and is_equation(answer)):
            return False
    if not (is_equation(gold) and is_equation(answer)):
        return False
    one, other = _difference(gold), _difference(answer)
    return proportional(one, other)


def _difference(shape: Shape) -> object:
    if not isinstance(shape, Chain) or len(shape.sides) != 2 or not all(isinstance(side, Leaf) for side in shape.sides):
        return None
    left, right = (expression(side.text) if isinstance(side, Leaf) else None for side in shape.sides)
    return None if left is None or right is None else left - right


def _same_relation(gold: Shape, answer: Shape) -> bool:
    """Whether inequalities in several letters are the same, such as `x < y` and `y > x`."""
    if not (isinstance(gold, Chain) and isinstance(answer, Chain)):
        return False
    if not len(gold.relations) == len(answer.relations) == 1:
        return False
    relation, other = gold.relations[0], answer.relations[0]
    one, two = _difference(gold), _difference(answer)
    if one is None or two is None:
        return False
    if relation == other:
        return proportional(one, two, positive=relation != r"\ne")
    return FLIPPED.get(relation) == other and proportional(one, -1 * two, positive=True)  # type: ignore[operator]


def _same_texts(gold: Shape, answer: Shape) -> bool:
    """Whether two texts have the same relations between the same sides, with the same letters or any."""
    if not (isinstance(gold, Chain) and isinstance(answer, Chain)) or gold.relations != answer.relations:
        return False
    return len(gold.sides) == len(answer.sides) and all(map(same, gold.sides, answer.sides))


def _same_systems(gold: Shape, answer: Shape) -> bool | None:
    """Compare lists in which every item is an equation with a name; None if neither is such a list."""
    right, found = _system(gold), _system(answer)
    if right is None and found is None:
        return None
    if right is not None and found is not None:
        if isinstance(right, dict) and isinstance(found, dict) and right.keys() == found.keys():
            return all(same(right[name], found[name]) for name in right)
        right, found = _listed(right), _listed(found)
        return same(right, found)
    one = gold if right is None else _listed(right)
    other = answer if found is None else _listed(found)
    if isinstance(one, Group) and isinstance(other, Group) and "(" in (one.opens, other.opens):
        return same(one, other)
    named = right if right is not None else found
    return not isinstance(named, dict) and same(one, other)


def _listed(system: dict[str, Shape] | Group) -> Group:
    """Return values in the alphabetical order of their names, which is that of a point's coordinates."""
    if isinstance(system, Group):
        return system
    return Group(tuple(system[name] for name in sorted(system)), "(", ")")


def _system(shape: Shape) -> dict[str, Shape] | Group | None:
    """Return values by name if the names differ; a list of the values if all names are the same."""
    if not isinstance(shape, Group) or len(shape.items) < 2 or not all(is_equation(item) for item in shape.items):
        return None
    names, values = [name_of(item) for item in shape.items], [value_of(item) for item in shape.items]
    found = [value for value in values if value is not None]
    if None in names or len(found) < len(names):
        return None
    if len(set(names)) == 1:  # values of one letter are alternatives, not coordinates
        return Group(tuple(found), "{", "}", shape.word)
    if len(set(names)) < len(names):
        return None
    return {str(name): value for name, value in zip(names, found, strict=True)}


def _same_groups(gold: Group, answer: Group) -> bool:
    kinds = {_brackets(gold), _brackets(answer)}
    if any(map(is_dots, (*gold.items, *answer.items))):
        return (len(kinds) == 1 or kinds == {"", "{"}) and same_dotted(filled(gold.items), filled(answer.items), same)
    if "{" in kinds and kinds - {"{", ""}:
        return False
    if kinds == {"", "()"} and "or" in (gold.word, answer.word):
        return False
    if kinds <= {"{", ""}:
        return _same_in_any_order(gold.items, answer.items, distinct="{" in kinds)
    if len(kinds) == 2 and not ("" in kinds and ({"()", "[]"} & kinds)) and not _is_vector(gold, answer):
        return False
    if kinds == {"", "[]"} and _is_interval(gold if gold.opens else answer):
        return False
    gold, answer = _coordinates(gold), _coordinates(answer)
    return len(gold.items) == len(answer.items) and all(map(same, gold.items, answer.items))


def _brackets(group: Group) -> str:
    return "{" if group.opens == "{" else group.opens + group.closes


def _is_vector(gold: Group, answer: Group) -> bool:
    """Whether one group is a point and the other its coordinates in a row or a column."""
    kinds = {gold.opens, answer.opens}
    return kinds == {"(", "matrix"} and all(_coordinates(group).opens == "(" for group in (gold, answer))


def _coordinates(group: Group) -> Group:
    """Return a matrix of one row or one column as a point, and any other group unchanged."""
    rows = [item.items for item in group.items if isinstance(item, Group) and item.opens == "row"]
    if group.opens != "matrix" or len(rows) != len(group.items):
        return group
    if len(rows) == 1:
        return Group(rows[0], "(", ")")
    return Group(tuple(row[0] for row in rows), "(", ")") if all(len(row) == 1 for row in rows) else group


def _is_interval(group: Group) -> bool:
    """Whether two items in square brackets are the ends of an interval, the first below the second."""
    if len(group.items) != 2:
        return False
    ends = [read_single(item.text).number for item in group.items if isinstance(item, Leaf)]
    values = [end.value for end in ends if end is not None]
    return len(values) < 2 or values[0] < values[1]


def _same_in_any_order(gold: tuple[Shape, ...], answer: tuple[Shape, ...], *, distinct: bool) -> bool:
    if max(len(gold), len(answer)) > _MATCHED_ITEMS:
        return gold == answer
    if distinct:
        gold, answer = _distinct(gold), _distinct(answer)
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for item in gold:
        place = next((place for place, other in enumerate(left) if _same_items(item, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same_items(item: Shape, other: Shape) -> bool:
    """Whether two members of a list are equal; here {1} does not equal 1."""
    sets = [isinstance(one, Group) and one.opens == "{" for one in (item, other)]
    return sets[0] == sets[1] and same(item, other)


def _distinct(items: tuple[Shape, ...]) -> tuple[Shape, ...]:
    kept: list[Shape] = []
    for item in items:
        if not any(same(item, other) for other in kept):
            kept.append(item)
    return tuple(kept)
