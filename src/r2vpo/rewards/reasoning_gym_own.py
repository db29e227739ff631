"""Replacements for reasoning-gym scorers that evaluate the text of an answer, or that accept any text as right.

Each takes the answer and the entry as the library's scorer does. The intended differences: an answer that is nothing
like the family's kind of answer scores 0, where some families give 0.01; lists are read as JSON, with either kind of
quotes; the game of 24 requires the row's own numbers, where the library accepts any four in their range, and exactly
24, where the library truncates decimals; a halting game of life is compared, where the library accepts every text that
is not empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from r2vpo.rewards.arithmetic import evaluate, plain_signs

Entry = dict[str, Any]

SYMBOLIC = frozenset(("polynomial_multiplication", "simple_integration", "intermediate_integration"))
"""Families whose answers are formulas: `symbolic.py` reads them, in child processes."""


def _matrix(answer: str, entry: Entry) -> float:
    return _text_or_list(answer, [entry["answer"]], _rows, 0.1)


def _spiral_matrix(answer: str, entry: Entry) -> float:
    return _text_or_list(answer.strip(), [entry["answer"].strip()], _spaced, 0.1)


def _string_insertion(answer: str, entry: Entry) -> float:
    return _text_or_list(answer, [entry["answer"]], "".join, 0.1)


def _n_queens(answer: str, entry: Entry) -> float:
    return _text_or_list(answer, entry["metadata"]["valid_answers"], _rows, 0.5)


def _countdown(answer: str, entry: Entry) -> float:
    return _made(answer, entry, entry["metadata"]["target"], 0.05)


def _puzzle24(answer: str, entry: Entry) -> float:
    return _made(answer, entry, 24, 0.01)


def _bitwise_arithmetic(answer: str, entry: Entry) -> float:
    try:
        return float(int(answer, 0) == int(entry["answer"], 16))
    except ValueError:
        return 0.0


def _game_of_life_halting(answer: str, entry: Entry) -> float:
    return float(answer.strip().casefold() == str(entry["answer"]).casefold())


OWN: dict[str, Callable[..., float]] = {
    "binary_matrix": _matrix,
    "spiral_matrix": _spiral_matrix,
    "string_insertion": _string_insertion,
    "n_queens": _n_queens,
    "countdown": _countdown,
    "puzzle24": _puzzle24,
    "bitwise_arithmetic": _bitwise_arithmetic,
    "game_of_life_halting": _game_of_life_halting,
}
"""The replacement scorers by family name."""


def _made(answer: str, entry: Entry, target: int, share: float) -> float:
    """Return 1 for an expression that makes a target from the row's numbers, or the given share for another one."""
    try:
        made = evaluate(plain_signs(answer).partition("=")[0])
    except ValueError:
        return 0.0
    uses = sorted(number for number, _ in made.numbers) == sorted(entry["metadata"]["numbers"])
    return 1.0 if uses and made.value == target else share


def _text_or_list(answer: str, right: list[str], written: Callable[[Any], str], share: float) -> float:
    """Return 1 for the text of a right answer, or the given share for a list whose written form is one of them."""
    if answer in right:
        return 1.0
    try:
        values = json.loads(answer.replace("'", '"').replace("(", "[").replace(")", "]"))
        return share if written(values) in right else 0.0
    except (ValueError, TypeError, RecursionError):
        return 0.0


def _spaced(row: Any) -> str:
    return " ".join(str(value) for value in row)


def _rows(rows: Any) -> str:
    return "\n".join(map(_spaced, rows))
