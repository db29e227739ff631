"""Score the countdown numbers game: an expression that makes the target from the row's numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from r2vpo.data.rows import PromptRow
from r2vpo.rewards.arithmetic import Evaluated, evaluate, plain_signs
from r2vpo.rewards.options import RewardOptions, with_reasons
from r2vpo.rewards.text import answer_place, text_of, without_thoughts

READ_CHARACTERS = 2000

_RUN = re.compile(r"[\d(+\-][\d\s()+\-*/=.]*")
_SAID = re.compile(r"answer\b(?:\s+is\b)?\s*[:=]?\s*", re.IGNORECASE)


class CountdownOptions(RewardOptions):
    """Options of `countdown`.

    Attributes:
        use_all: whether every number has to be used once; otherwise each may be left out.
    """

    use_all: bool = True


def countdown_reward(options: CountdownOptions) -> Any:
    r"""Score 1 if the last answer of a completion makes the target from the numbers, else 0.

    The answer is the content of the last `<answer>` or the last box outside the thoughts; if there is neither, the last
    expression after "answer is" or, without that, in the last 2,000 characters. It is an expression of whole numbers
    with `+ - * /` and parentheses, also in Unicode and LaTeX signs; `= 98` may follow it, and makes it wrong if that is
    not its value. Its exact rational value has to be the target, and every number has to be one of the row's, used
    once.

    Returns:
        The reward function; its attribute `unreadable` says which rows name no numbers or no target.
    """

    def countdown(prompts: list[Any], completions: list[Any], metadata: list[str], **_: Any) -> list[float | None]:
        scores: list[float | None] = []
        for completion, known in zip(completions, metadata, strict=True):
            game = _game(json.loads(known))
            found = None if game is None else find_expression(completion)
            scores.append(None if game is None else float(found is not None and solves(found, *game, options.use_all)))
        return scores

    def reason(row: PromptRow) -> str | None:
        said = "the metadata has no list 'nums' of whole numbers and no whole 'target': use data.schema countdown"
        return said if _game(row.metadata) is None else None

    return with_reasons(countdown, reason)


def find_expression(completion: Any) -> str | None:
    """Return the expression that a completion gives as its answer, in plain signs, or None."""
    region, is_tagged, box = answer_place(without_thoughts(text_of(completion)))
    if box is not None or is_tagged:
        return _trimmed(plain_signs((region if box is None else box)[:READ_CHARACTERS]))
    text = region[-READ_CHARACTERS:]
    said = list(_SAID.finditer(text))
    for part in (text[said[-1].end() :], text) if said else (text,):
        runs = [run for found in _RUN.findall(plain_signs(part)) if len(re.findall(r"\d+", run := _trimmed(found))) > 0]
        sums = [run for run in runs if re.search(r"[\d)]\s*[-+*/]\s*[-+(\d]", run)]
        if sums or runs:
            return (sums or runs)[-1]
    return None


def solves(text: str, numbers: Sequence[int], target: int, use_all: bool) -> bool:
    """Whether an expression makes the target from the numbers.

    Args:
        text: an expression, or an equation in which every side has the target's value; its first side that is more
            than a number has to use the numbers.
        numbers: the available numbers.
        target: the value.
        use_all: whether all of them have to be used.
    """
    try:
        sides = [evaluate(side) for side in text.split("=")]
    except ValueError:
        return False
    if any(side.value != Fraction(target) for side in sides):
        return False
    made = next((side for side in sides if side.operations), sides[0])
    return _uses(made, numbers, use_all)


def _uses(made: Evaluated, numbers: Sequence[int], use_all: bool) -> bool:
    left = Counter(numbers)
    for number, minus in made.numbers:
        used = -number if minus and left[-number] else number
        if not left[used]:
            return False
        left[used] -= 1
    return not use_all or left.total() == 0


def _trimmed(text: str) -> str:
    """Remove a list number before a text, emphasis marks, and a full stop or an empty equals sign after it."""
    return re.sub(r"^\d+\.\s+(?=[\d(])", "", text.strip(" \t\r\n*`").rstrip(".,;:= \n"))


def _game(known: dict[str, Any]) -> tuple[list[int], int] | None:
    numbers, target = known.get("nums"), known.get("target")
    whole = isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers)
    return (numbers, target) if whole and type(target) is int else None  # type: ignore[return-value]
