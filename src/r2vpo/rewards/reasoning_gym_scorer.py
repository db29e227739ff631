"""The code that a worker of the reward `reasoning_gym` runs; only workers import it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import sympy
from reasoning_gym.factory import get_score_answer_fn

from r2vpo.rewards.reasoning_gym_own import SYMBOLIC
from r2vpo.rewards.symbolic import formula

_REFUSED = ("compile", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect")
_armed = False


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    # An import runs `exec` on code that it has read, which is not a model's text; evaluating a text requires compiling.
    if _armed and event in _REFUSED and not (event == "compile" and str(arguments[1]).endswith(".py")):
        raise PermissionError(f"{event} is refused while an answer is scored")


sys.addaudithook(_guard)


@cache
def _scorer(family: str) -> Callable[..., float]:
    score: Callable[..., float] = get_score_answer_fn(family)
    return score


def score_family(family: str, answer: str, entry: dict[str, Any]) -> float:
    """Score an answer as its family does, in a process in which no text can be compiled."""
    global _armed
    if family in SYMBOLIC:
        return _symbolic_score(family, answer, entry)
    scorer = _scorer(family)
    if family in ("arc_agi", "rearc"):  # they compare tuples, which JSON turns into lists
        known = entry["metadata"]
        entry = {**entry, "metadata": {**known, "output": tuple(map(tuple, known["output"]))}}
    _armed = True
    try:
        return float(scorer(answer=answer, entry=entry))
    finally:
        _armed = False


def _symbolic_score(family: str, answer: str, entry: dict[str, Any]) -> float:
    try:
        given = formula(answer)
    except ValueError:
        return 0.0
    if family == "polynomial_multiplication":
        return float(given == formula(entry["answer"]))
    variable = sympy.Symbol(entry["metadata"]["variable"])
    missing = sympy.diff(given, variable) - formula(entry["metadata"]["integrand"])
    return float(sympy.simplify(missing) == 0)
