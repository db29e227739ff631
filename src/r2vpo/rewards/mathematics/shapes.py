"""The outer form of an answer: a list, a bracketed group, a chain of relations, sets, or a single expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Union

from r2vpo.rewards.mathematics.braces import CLOSING

DOTS = r"\ldots"
_LIMIT = 200
"""Largest number of items of a list."""
_MARKS = re.compile(
    r"\\(?:le|ge|ne|approx|in|cup|cap|setminus|pm|mp|ldots|equiv|begin|end|langle|rangle)(?![A-Za-z])|\\text\{(?:or|and|not)\}"
    r"|\\[{}]|\\[A-Za-z]+|\\.|[{}()\[\],;=<>:|]"
)
_MATRIX = re.compile(
    r"(?:[(\[]\s*)?\\begin\s*\{(?P<kind>[pbB]?(?:small)?matrix|array|[dr]?cases)\}\s*(?:\{[^{}]*\})?(?P<inner>.*)\\end\s*\{(?P=kind)\}(?:\s*[)\]])?",
    re.DOTALL,
)
_SCALED = re.compile(r"(-?\s*(?:\d+|\\frac\{\d+\}\{\d+\})|-)\s*(?:\\cdot\s*)?(?=(?:[(\[]\s*)?\\begin\b)")
_CONDITION = re.compile(r"\\text\{\s*(?:if|for|when|where|as|,)\s*\}")
_BUILDER = re.compile(r"[A-Za-z](?:\s*\\in\s*\\mathbb\{R\})?\s*[|:]\s*(?P<condition>[^:]+)")
_RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    r"\le": r"\le",
    r"\ge": r"\ge",
    r"\ne": r"\ne",
    r"\in": r"\in",
    r"\equiv": "=",
    r"\approx": "=",
}
_SEPARATORS = frozenset((",", ";", r"\text{or}", r"\text{and}"))
_OPENS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
_CLOSES = {r"\{": (r"\}",), "{": ("}",), r"\langle": (r"\rangle",), "(": (")", "]"), "[": ("]", ")")}
_SET_WORDS = (r"\cup", r"\cap", r"\setminus")


@dataclass(frozen=True)
class Leaf:
    """A single expression in plain LaTeX."""

    text: str


@dataclass(frozen=True)
class Group:
    """Several answers: `opens` and `closes` are `(`, `[`, `{` and the like, or empty for a bare list.

    `word` is the separator: `,`, `or`, `and`.
    """

    items: tuple[Shape, ...]
    opens: str = ""
    closes: str = ""
    word: str = ","


@dataclass(frozen=True)
class Chain:
    """Sides with a relation between each two: `0 < x < 5`, `x = 5`."""

    sides: tuple[Shape, ...]
    relations: tuple[str, ...]


@dataclass(frozen=True)
class Sets:
    r"""Two sets with `\cup`, `\cap` or `\setminus` between them."""

    left: Shape
    right: Shape
    operation: str


Shape = Union[Leaf, Group, Chain, Sets]  # noqa: UP007  (the classes name it before it is there)


def read_shape(text: str) -> Shape:
    """Take an answer apart.

    Returns:
        Its outer form. Text that fits none of the other forms is a leaf.
    """
    text = text.strip()
    marks = list(_outer(text))
    separators = [mark for mark in marks if mark[0] in _SEPARATORS]
    if separators and len(separators) < _LIMIT:
        parts = [part for part in _between(text, separators) if part]
        word = next((name for name in ("or", "and") if any(mark[0] == rf"\text{{{name}}}" for mark in separators)), ",")
        if len(parts) == 1:
            return read_shape(parts[0])
        if parts:
            return Group(tuple(item for part in parts for item in _both_signs(read_shape(part))), word=word)
    relations = [mark for mark in marks if mark[0] in _RELATIONS]
    if relations and relations[-1][0] == r"\approx" and _is_approximated(text, relations):
        return read_shape(text[: relations[-1][1]])
    if relations and len(relations) < 20:
        sides = _between(text, relations)
        if not sides[0] and relations[0][0] in ("=", r"\approx"):
            return read_shape(text[relations[0][2] :])
        names = tuple(_RELATIONS[mark[0]] for mark in relations)
        if all(sides):
            return Chain(tuple(read_shape(side) for side in sides), names)
        return Leaf(text)
    for operation in _SET_WORDS[::-1]:
        found = [mark for mark in marks if mark[0] == operation]
        if found:
            before, after = text[: found[-1][1]].strip(), text[found[-1][2] :].strip()
            return Sets(read_shape(before), read_shape(after), operation) if before and after else Leaf(text)
    return _matrix(text) or _bracketed(text, marks) or _signs(text, marks) or Leaf(text)


def _is_approximated(text: str, relations: list[tuple[str, int, int]]) -> bool:
    r"""Whether a decimal after `\approx` only approximates what precedes it: `2\sqrt{5} \approx 4.47`."""
    before = _between(text[: relations[-1][1]], relations[:-1])[-1]
    return re.search(r"\d", before) is not None and re.match(r"\s*-?\d*\.?\d+", text[relations[-1][2] :]) is not None


def _outer(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the marks outside all brackets, each with its start and end."""
    depth, bars = 0, False
    expected: list[str] = []
    outside: list[bool] = []  # whether bars are open before each bracket: bars inside a bracket belong to it
    for match in _MARKS.finditer(text):
        mark = match[0]
        if mark == r"\begin":
            depth += 1
        elif mark == r"\end":
            depth -= 1
        elif mark == "|":
            bars = bars if text.startswith("_", match.end()) else not bars  # f'(x)|_{x=2}
        elif expected and (mark == expected[-1] or (mark in ")]" and expected[-1] in (")", "]"))):
            expected.pop()
            bars = outside.pop()
        elif mark in _OPENS:
            if not expected and depth == 0 and not bars:
                yield mark, match.start(), match.end()
            expected.append(_OPENS[mark])
            outside.append(bars)
            bars = False
        elif not expected and depth <= 0 and not bars:
            yield mark, match.start(), match.end()


def _between(text: str, marks: list[tuple[str, int, int]]) -> list[str]:
    edges = [0, *(edge for mark in marks for edge in mark[1:]), len(text)]
    return [text[edges[place] : edges[place + 1]].strip() for place in range(0, len(edges), 2)]


def _bracketed(text: str, marks: list[tuple[str, int, int]]) -> Shape | None:
    """Read a text that is one bracket from its beginning to its end."""
    if len(marks) != 1 or marks[0][1] != 0:
        return None
    opens = marks[0][0]
    closes = next((mark for mark in _CLOSES.get(opens, ()) if text.endswith(mark)), None)
    if closes is None or len(text) < len(opens) + len(closes) or _closes_early(text):
        return None
    inner = text[len(opens) : len(text) - len(closes)].strip()
    if opens == r"\{" and (builder := _BUILDER.fullmatch(inner)) is not None:
        return read_shape(builder["condition"])
    inside, is_half_open = read_shape(inner), opens + closes in ("(]", "[)")
    if isinstance(inside, Group) and not inside.opens:
        if is_half_open and len(inside.items) != 2:
            return None
        name = "{" if opens in (r"\{", "{") else "(" if opens == r"\langle" else opens
        return Group(inside.items, name, CLOSING[name] if name != opens else closes.lstrip("\\"), inside.word)
    if opens == r"\{":
        return Group((inside,), "{", "}")
    return None if is_half_open else inside


def _matrix(text: str) -> Shape | None:
    """Read a matrix as a group of rows, or as its only cell; brackets do not count; a determinant is an expression."""
    if (scaled := _SCALED.match(text)) is not None:
        inner = _matrix(text[scaled.end() :])
        if not isinstance(inner, Group) or inner.opens != "matrix":
            return None
        return _times(scaled[1].replace("-", "-1 \\cdot ").removesuffix(" \\cdot "), inner)
    if (found := _MATRIX.fullmatch(text)) is None or r"\begin" in found["inner"]:
        return None
    lines = re.split(r"\\\\(?:\s*\[[^\[\]]*\])?|\\cr\b", found["inner"].replace(r"\hline", ""))
    rows = [line for line in lines if line.strip()]
    is_system = "&" not in found["inner"] and all("=" in row for row in rows) and len(rows) > 1
    if "cases" in found["kind"] or is_system:
        return _cases(rows)
    read = tuple(Group(tuple(read_shape(cell) for cell in row.split("&")), "row", "row") for row in rows)
    return Group(read, "matrix", "matrix") if len(read) != 1 or len(read[0].items) != 1 else read[0].items[0]


def _times(factor: str, shape: Shape) -> Shape:
    """Return a matrix with the factor in every cell."""
    if isinstance(shape, Group):
        return Group(tuple(_times(factor, item) for item in shape.items), shape.opens, shape.closes)
    return Leaf(rf"{factor} \cdot ({shape.text})") if isinstance(shape, Leaf) else shape


def _cases(rows: list[str]) -> Group:
    """Return a list of equations, or of values with the condition for each."""
    cells = [[cell.strip(" ,;.") for cell in _CONDITION.sub(" ", row).split("&")] for row in rows]
    if all(len(row) == 1 or not row[0] or re.match(r"=", row[1]) for row in cells):
        return Group(tuple(read_shape(" ".join(row)) for row in cells))
    return Group(tuple(Group(tuple(map(read_shape, row)), "row", "row") for row in cells), "cases", "cases")


def _closes_early(text: str) -> bool:
    """Whether the first bracket is closed before the end, as in (1)(2)."""
    depth = 0
    ends = len(text) - (2 if text.endswith("\\}") else len("\\rangle") if text.endswith("\\rangle") else 1)
    for match in _MARKS.finditer(text):
        if match[0] in _OPENS:
            depth += 1
        elif match[0] in _OPENS.values():
            depth -= 1
            if depth == 0 and match.start() < ends:
                return True
    return False


def _signs(text: str, marks: list[tuple[str, int, int]]) -> Group | None:
    r"""Read `1 \pm \sqrt{2}` as the list of two, with every sign taken the same way."""
    if not any(mark[0] in (r"\pm", r"\mp") for mark in marks) and not re.match(r"-?\s*\\frac\{[^{}]*\\pm", text):
        return None
    upper = re.sub(r"\\pm(?![A-Za-z])", "+", re.sub(r"\\mp(?![A-Za-z])", "-", text))
    lower = re.sub(r"\\pm(?![A-Za-z])", "-", re.sub(r"\\mp(?![A-Za-z])", "+", text))
    return Group((read_shape(upper.strip().removeprefix("+").strip()), read_shape(lower)), word="\\pm")


def _both_signs(item: Shape) -> tuple[Shape, ...]:
    r"""Return two items for a `\pm 1` among the items of a list."""
    if (
        isinstance(item, Chain)
        and item.relations == ("=",)
        and (values := _both_signs(item.sides[1])) != (item.sides[1],)
    ):
        return tuple(Chain((item.sides[0], value), ("=",)) for value in values)
    return item.items if isinstance(item, Group) and item.word == "\\pm" else (item,)


def step_of(values: list[int]) -> int | None:
    """Return the constant difference of an arithmetic progression, or None."""
    steps = {after - before for before, after in pairwise(values)}
    return steps.pop() if len(steps) == 1 else None
