"""Score the letter chosen in a multiple-choice question."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import Field

from r2vpo.boxes import last_box
from r2vpo.data.rows import PromptRow
from r2vpo.rewards.choice_text import boxed_letter, chosen_letter
from r2vpo.rewards.options import RewardOptions, with_reasons
from r2vpo.rewards.text import answer_place, text_of, without_thoughts


class ChoiceOptions(RewardOptions):
    """Options of `choice`.

    Attributes:
        letters: the available letters, in capitals.
    """

    letters: str = Field(default="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_length=2, pattern=r"^[A-Z]+$")


def choice_reward(options: ChoiceOptions) -> Any:
    r"""Score 1 if a completion chooses the answer's letter, else 0; None for an answer without a letter.

    Thoughts are left out. The letter is looked for in these places, and the first place that exists decides, even if it
    contains no letter: the last closed `\boxed{}`; the last `<answer>`; the last statement such as "answer is X",
    "option X is correct" or "I choose X" in the last 1,000 characters. If none of them exists, the letter is the one
    that the completion begins with, or that its last line consists of. A statement that is denied, asked or supposed
    does not count. Two letters, as in "C and D" or "C or maybe D", do not choose either.
    """
    letters, letter = options.letters, letter_finder(options)

    def choice(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
        golds = [_gold(right, letters) for right in answer]
        pairs = zip(completions, golds, strict=True)
        return [None if gold is None else float(letter(text) == gold) for text, gold in pairs]

    def reason(row: PromptRow) -> str | None:
        said = f"the answer {row.answer!r} is none of the letters {letters}: correct one of them"
        return said if _gold(row.answer, letters) is None else None

    return with_reasons(choice, reason)


@lru_cache(maxsize=4096)
def _gold(answer: str, letters: str) -> str | None:
    box = last_box(answer)
    return chosen_letter(answer if box is None else box, letters, short=True)


def letter_finder(options: ChoiceOptions) -> Callable[[Any], str | None]:
    """Return a function from a completion to the letter that it chooses, a capital, or None."""

    def letter(completion: Any) -> str | None:
        region, is_tagged, box = answer_place(without_thoughts(text_of(completion)))
        if box is not None:
            return boxed_letter(region, box, options.letters)
        return chosen_letter(region, options.letters, short=is_tagged)

    return letter
