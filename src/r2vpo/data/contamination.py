"""Training problems that share text with held-out ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from r2vpo.data.rows import PromptRow

BOILERPLATE_SHARE = 0.02
"""Text that this share of the held-out problems has in common, and at least three of them, is taken for a template."""
_WORD = re.compile(r"\w+")


def overlapping(train: Sequence[PromptRow], held_out: Iterable[PromptRow], words: int) -> set[int]:
    """Find the training problems that share so many words in a row with a held-out one.

    Words are compared without capitals and without what stands between them. A prompt of fewer words, or whose words
    are all those of a template, is compared whole, without capitals and white space.

    Args:
        train: the training problems.
        held_out: the held-out problems.
        words: how many words in a row.

    Returns:
        Indices into `train`.
    """
    prompts = [question_of(row) for row in held_out]
    grams = [_grams(prompt, words) for prompt in prompts]
    seen = Counter(gram for found in grams for gram in found)
    most = max(3.0, BOILERPLATE_SHARE * len(prompts))
    telling = {gram for gram, count in seen.items() if count < most}
    whole = {_squeezed(prompt) for prompt in prompts}
    return {
        index
        for index, prompt in enumerate(map(question_of, train))
        if _squeezed(prompt) in whole or not telling.isdisjoint(_grams(prompt, words))
    }


def question_of(row: PromptRow) -> str:
    """The text of a problem; of a chat, what its users say."""
    if isinstance(row.prompt, str):
        return row.prompt
    return "\n".join(message["content"] for message in row.prompt if message["role"] == "user")


def _grams(text: str, words: int) -> set[str]:
    found = _WORD.findall(text.casefold())
    return {" ".join(found[start : start + words]) for start in range(len(found) - words + 1)}


def _squeezed(text: str) -> str:
    return "".join(text.casefold().split())
