"""Score the form of a completion: a layout by name, or a regular expression."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import field_validator, model_validator

from r2vpo.rewards.options import PoolOptions
from r2vpo.rewards.text import text_of

READ_CHARACTERS = 100_000


class FormatOptions(PoolOptions):
    """Options of `format`: a layout or a pattern, and limits for the child processes in which a pattern is matched.

    Attributes:
        layout: name of the layout, `think_answer`.
        pattern: a regular expression that the whole completion has to match; `.` also matches a line break.
    """

    layout: Literal["think_answer"] | None = None
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from None
        return pattern

    @model_validator(mode="after")
    def _one(self) -> FormatOptions:
        if (self.layout is None) == (self.pattern is None):
            raise ValueError("needs layout or pattern, and not both: set one of them")
        return self


def format_reward(options: FormatOptions) -> Any:
    """Score 1 if a completion has the form, else 0.

    `think_answer`: the completion, without the space around it, is `<think>`, a text, `</think>`, space or nothing,
    `<answer>`, a text, `</answer>`; each of the four tags occurs once and neither text is empty. The first tag may be
    missing: the chat templates of many reasoning models write it at the end of the prompt, which a reward does not
    see.

    A pattern is matched in a child process, since some patterns take forever on some texts. A completion of over
    100,000 characters, and one that takes too long, scores 0.

    Source:
        The layout is that of DeepSeek-R1-Zero, arXiv 2501.12948, table 1.
    """
    pool = options.pool(f"{__name__}:matches")

    def format(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        texts = [text_of(completion) for completion in completions]
        if options.pattern is None:
            return [float(has_think_answer(text)) for text in texts]
        short = [row for row, text in enumerate(texts) if len(text) <= READ_CHARACTERS]
        outcomes = pool.score([(options.pattern, texts[row]) for row in short], short)
        scores = dict(zip(short, (outcome.score for outcome in outcomes), strict=True))
        return [scores.get(row, 0.0) for row in range(len(texts))]

    return format


def matches(pattern: str, text: str) -> float:
    """Return 1 if a pattern matches the whole text, else 0; runs in a child process."""
    return float(re.fullmatch(pattern, text, re.DOTALL) is not None)


def has_think_answer(text: str) -> bool:
    """Whether a text has the layout `think_answer`."""
    text = text.strip()
    if any(text.count(tag) != 1 for tag in ("</think>", "<answer>", "</answer>")):
        return False
    thought, _, rest = text.removeprefix("<think>").partition("</think>")
    answer = rest.strip()
    return (
        "<think>" not in thought + rest
        and answer.startswith("<answer>")
        and answer.endswith("</answer>")
        and bool(thought.strip())
        and bool(answer.removeprefix("<answer>").removesuffix("</answer>").strip())
    )
