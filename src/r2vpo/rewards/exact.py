"""Compare the first line of an answer as a text."""

from __future__ import annotations

from typing import Any

from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.text import answer_block, bare, first_line, normalise


def exact_reward(options: RewardOptions) -> Any:
    """Score 1 if the first line of a completion's answer is the row's answer, else 0.

    Case, spaces, thousands separators and a full stop at the end do not count, nor does "Answer:" before either of the
    two. A row's answer of several lines is compared with the whole answer. Thoughts are left out, and if a line has a
    box, the content of the box is compared.
    """

    def exact(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        pairs = zip(completions, answer, strict=True)
        return [float(_same(_read(text, right), right)) for text, right in pairs]

    return exact


def _read(completion: Any, right: str) -> str:
    return answer_block(completion) if "\n" in right.strip() else first_line(completion)


def _same(line: str, right: str) -> bool:
    """Whether two lines are the same as they are, or without the words that introduce an answer."""
    if not normalise(line):  # nothing but a full stop
        return line.strip() == right.strip()
    if normalise(line) == normalise(right):
        return True
    plain = normalise(bare(line))
    return plain != "" and plain in (normalise(right), normalise(bare(right)))
