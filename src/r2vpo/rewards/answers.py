r"""The answer that a completion votes for, as a text that is the same for equal answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from r2vpo.rewards.choice import letter_finder
from r2vpo.rewards.countdown import find_expression
from r2vpo.rewards.math_answer import find_answer
from r2vpo.rewards.number_text import first_number
from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.registry import reward_options
from r2vpo.rewards.text import first_answer, first_line, normalise, text_of

AnswerFinder = Callable[[Any], str | None]
_SPACING = re.compile(r"\\(?:left|right)\b|\\[,;:!]|[\s$]")
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:\s*/\s*\d+)?")


def line_finder(_: Any) -> AnswerFinder:
    """Find the first line that is not empty, as the reward `exact` compares it."""
    return lambda completion: normalise(first_answer(completion)) or None


def number_finder(_: Any) -> AnswerFinder:
    """Find the first number of the answer's first line, as the reward `numeric` reads it."""

    def number(completion: Any) -> str | None:
        found = first_number(first_line(completion))
        return None if found is None else repr(found)

    return number


def expression_finder(_: Any) -> AnswerFinder:
    """Find the expression, as the reward `countdown` reads it, without its spaces."""
    return lambda completion: "".join((find_expression(completion) or "").split()) or None


def math_finder(_: Any) -> AnswerFinder:
    r"""Find the last box, or the last number of the last 1,000 characters.

    Votes are compared as texts: a number counts as its value, and spaces, dollars, `\left`, `\right` and the size of
    a fraction do not count. `\frac{1}{2}` and `0.5` are two different answers here, though `math` treats them as equal.
    """

    def answer(completion: Any) -> str | None:
        text, boxed = find_answer(text_of(completion))
        if not boxed:
            numbers = _NUMBER.findall(text)
            found = first_number(numbers[-1]) if numbers else None
            return None if found is None else repr(found)
        plain = _SPACING.sub("", text).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
        if _NUMBER.fullmatch(plain) and (value := first_number(plain)) is not None:
            return repr(value)
        return plain or None

    return answer


FINDERS: dict[str, Callable[[Any], AnswerFinder]] = {
    "exact": line_finder,
    "reasoning_gym": line_finder,
    "numeric": number_finder,
    "math": math_finder,
    "choice": letter_finder,
    "countdown": expression_finder,
}
"""The answer finder of each reward; the completions of other rewards contain no answer."""


def load_answer_finder(spec: str | Mapping[str, Any] | RewardOptions) -> AnswerFinder | None:
    """Return the function that finds the answer in a completion, for counting a reward's votes.

    Returns:
        A function from a completion to a text that is the same for equal answers, or to None if there is no answer; or
        None for a reward whose completions contain no answer.

    Raises:
        UserError: the options are wrong.
    """
    options = reward_options(spec)
    return FINDERS[options.name](options) if options.name in FINDERS else None
