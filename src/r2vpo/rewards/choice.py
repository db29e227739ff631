"""The letter of a multiple choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import Field

from r2vpo.rewards.math_answer import find_answer
from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.text import completion_text

_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{(.*)\}", re.DOTALL)
_SPACE = r"[\s*:$]{0,4}"
_START_CHARACTERS = 1000


class ChoiceOptions(RewardOptions):
    """Options of `choice`.

    Attributes:
        letters: the letters there are, in capitals.
    """

    letters: str = Field(default="ABCDEFGHIJ", min_length=2, pattern=r"^[A-Z]+$")


def choice_reward(options: ChoiceOptions) -> Any:
    r"""Score 1 where the letter that a completion chooses is the answer's, else 0.

    The letter is looked for in three places, and the first place that has one decides: the last closed `\boxed{}` of
    the last 20,000 characters, where it stands alone, in brackets or before `.`, `)` or `:`; the last "answer is X",
    "answer: X" or "answer X" of the last 1,000 characters; the beginning of the completion, alone or before `.`, `)`
    or `:`. A box without a letter chooses none. In the box, and where it is all there is, a small letter counts too.

    Args:
        options: the letters.

    Returns:
        The reward function. It raises ValueError for an answer that is none of the letters.
    """
    letters, letter = options.letters, letter_finder(options)

    def choice(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        for right in answer:
            if len(right.strip()) != 1 or right.strip().upper() not in letters:
                raise ValueError(f"the answer {right!r} is none of the letters {letters}: correct one of them")
        pairs = zip(completions, answer, strict=True)
        return [float(letter(text) == right.strip().upper()) for text, right in pairs]

    return choice


def letter_finder(options: ChoiceOptions) -> Callable[[Any], str | None]:
    """Return a function from a completion to the letter that it chooses, a capital, or None.

    Args:
        options: the letters.
    """
    letters = options.letters
    # After the letter no letter, digit or apostrophe: "answer is A's" and "answer is Both" choose nothing.
    said = re.compile(rf"\b(?i:answer){_SPACE}(?:is\b{_SPACE})?\(?{_SPACE}([{letters}])(?![\w'])")
    alone = re.compile(rf"\W{{0,4}}([{letters}{letters.lower()}])\W{{0,4}}")
    begins = re.compile(rf"\W{{0,4}}([{letters}{letters.lower()}])\W{{0,2}}[.):]")

    def letter(completion: Any) -> str | None:
        text, boxed = find_answer(completion_text(completion))
        if boxed:
            text = inner[1] if (inner := _WRAPPED.fullmatch(text.strip())) else text
            found = alone.fullmatch(text.strip()) or begins.match(text.strip())
            return found[1].upper() if found else None
        if found_all := said.findall(text):
            return str(found_all[-1])
        start = completion_text(completion)[:_START_CHARACTERS].strip()
        found = alone.fullmatch(start)
        if found is None and (found := begins.match(start)) and not found[1].isupper():
            return None
        return found[1].upper() if found else None

    return letter
