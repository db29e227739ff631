"""What a worker of the reward `math` runs; only workers import it, since math-verify and sympy take a while to load."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from math_verify import parse, verify
from sympy.core.random import seed


def score_answer(text: str, boxed: bool, gold: str) -> float:
    r"""Compare one answer with the gold answer.

    Args:
        text: from `find_answer`.
        boxed: from `find_answer`: whether the text is the content of a `\boxed{}`.
        gold: the right answer, LaTeX or a plain number.

    Returns:
        1 or 0.

    Raises:
        ValueError: there is nothing in the gold answer to compare with.
    """
    wanted = _gold(gold)
    seed(0)  # sympy tries equations at random points
    found = parse(rf"\boxed{{{text}}}" if boxed else text, parsing_timeout=None)
    return float(verify(list(wanted), found, timeout_seconds=None))


@lru_cache(maxsize=4096)
def _gold(gold: str) -> tuple[Any, ...]:
    delimited = "$" in gold or r"\boxed" in gold or r"\(" in gold or r"\[" in gold
    parsed = parse(gold if delimited else rf"\boxed{{{gold}}}", parsing_timeout=None) if gold.strip() else []
    if not parsed:
        raise ValueError(f"the answer {gold!r} holds no mathematics: use the reward 'exact' for such data")
    return tuple(parsed)
